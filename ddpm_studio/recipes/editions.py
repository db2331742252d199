"""The tutorials' two editions, "as printed" and "laptop", and how far a recipe is from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ddpm_studio.recipes.library import built_in
from ddpm_studio.recipes.recipe import SECTION_TITLES, Recipe, kind_title, means_alike, section_class
from ddpm_studio.recipes.settings import NONE, Field, fields_of

Edition = Literal["printed", "laptop"]
Say = Callable[[str], str]  # a text in the language of the person who reads it
EDITIONS: dict[Edition, str] = {"printed": "As printed", "laptop": "Laptop edition"}
_KINDS = {"schedule.kind": "Noise schedule", "network.kind": "Network", "sampler.kind": "Sampler"}
# No document says anything of these, so a recipe is as printed with any of them.
_OPEN = ("seed", "compute.", "preview.", "training.autosave")
_OPEN_DATA = ("002",)  # the pictures it was made for are not offered any more: any folder of pictures will do


def edition_of(recipe: Recipe, edition: Edition) -> Recipe | None:
    """The built-in recipe of the tutorial that ``recipe`` comes from, in one of its editions; None without any."""
    of_tutorial = (other for other in built_in().values() if recipe.tutorial and other.tutorial == recipe.tutorial)
    return next((other for other in of_tutorial if other.edition == edition), None)


def own_differences(recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """Like ``printed_differences``, but from the edition that it began as, printed or laptop: what was changed."""
    return _differences(recipe, edition_of(recipe, recipe.edition) if recipe.edition else None)


def printed_differences(recipe: Recipe) -> dict[str, tuple[Any, Any]]:
    """How a recipe differs from what its tutorial prints: ``{"training.batch": (64, 128)}``, its value first.

    Empty if it is as printed, and for a recipe of no tutorial. What the documents leave open does not count:
    seed, computer, preview, autosave, and the pictures of tutorial 002. Where a section has another
    kind, settings that only one of the kinds has, or that mean another thing in it, are not listed beside it.
    """
    return _differences(recipe, edition_of(recipe, "printed"))


def reset_changes(recipe: Recipe, path: str, to: Recipe | None = None) -> dict[str, Any]:
    """What ``Recipe.with_settings`` needs to make one setting that of its own edition again, or that of ``to``.

    A section's kind brings the settings that are not those of the kind it replaces.
    """
    edition = to or (edition_of(recipe, recipe.edition) if recipe.edition else None)
    if edition is None:
        return {}
    section, _, name = path.rpartition(".")
    values = edition.model_dump(mode="json")
    if name != "kind":
        return {path: values[section][name]}
    return {path: values[section][name]} | {
        f"{section}.{key}": value
        for key, value in values[section].items()
        if not _in_both(recipe, edition, f"{section}.{key}")
    }


def _differences(recipe: Recipe, other: Recipe | None) -> dict[str, tuple[Any, Any]]:
    if other is None:
        return {}
    differences = recipe.differences(other)
    both = [path for path in _paths(recipe) if path in differences and _in_both(recipe, other, path)]
    return {path: differences[path] for path in both if not _is_open(recipe, path)}


def _in_both(recipe: Recipe, other: Recipe, path: str) -> bool:
    """Whether two recipes have a setting in the same sense."""
    section, _, name = path.rpartition(".")
    mine, theirs = section_class(recipe, section), section_class(other, section)
    return name in mine.model_fields and name in theirs.model_fields and means_alike(mine, theirs, name)


def _paths(recipe: Recipe) -> list[str]:
    """All settings, section by section, its kind first."""
    names = {
        section: sorted(type(getattr(recipe, section)).model_fields, key=_kind_first) for section in SECTION_TITLES
    }
    return [f"{section}.{name}" for section in SECTION_TITLES for name in names[section]]


def _kind_first(name: str) -> bool:
    return name != "kind"


def _is_open(recipe: Recipe, path: str) -> bool:
    return path.startswith(_OPEN) or (path == "data.source" and recipe.tutorial in _OPEN_DATA)


# -- in words ------------------------------------------------------------------------------------------------
# ``say`` is given each text before numbers are put into it; as it is, the words are English.


def label_of(recipe: Recipe, path: str) -> str:
    """What the form calls a setting, e.g. "Batch"."""
    if path in _KINDS:
        return _KINDS[path]
    field = _field_of(recipe, path)
    return path if field is None else field.setting.label


def text_of(recipe: Recipe, path: str, value: Any, say: Say = str) -> str:
    """A value as the form shows it: "on", "64, 128, 256", "0.0002"."""
    if path in _KINDS:
        return say(kind_title(value))
    if isinstance(value, bool):
        return say("on") if value else say("off")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    field = _field_of(recipe, path)
    if field is None:
        return str(value)
    if value is None:
        return say("auto") if field.default is None else say(NONE)
    choices = field.setting.choices or {}
    return say(choices[value]) if value in choices else str(value)


def _field_of(recipe: Recipe, path: str) -> Field | None:
    section, _, name = path.rpartition(".")
    cls = section_class(recipe, section) if section else Recipe
    return next((field for field in fields_of(cls) if field.name == name), None)


def difference_texts(
    recipe: Recipe, differences: dict[str, tuple[Any, Any]], say: Say = str, text: str = "{0} {1} (printed {2})"
) -> dict[str, str]:
    """Differences by setting in the form's words: ``{"training.batch": "batch 64 (printed 128)"}``."""
    return {
        path: say(text).format(
            _small(say(label_of(recipe, path))), *(text_of(recipe, path, value, say) for value in values)
        )
        for path, values in differences.items()
    }


def badge(recipe: Recipe, say: Say = str) -> str:
    """In a few words: "as printed", "differs: batch 64 (printed 128), …", "laptop edition"; "" without a tutorial."""
    changed = own_differences(recipe)
    if edition_of(recipe, "printed") is None or not recipe.edition:
        return ""
    if recipe.edition == "printed":
        texts = difference_texts(recipe, changed, say)
        return say("differs: {0}").format(", ".join(texts.values())) if changed else say("as printed")
    texts = difference_texts(recipe, changed, say, "{0} {1} (edition's {2})")
    return say("laptop edition, changed: {0}").format(", ".join(texts.values())) if changed else say("laptop edition")


def _small(label: str) -> str:
    """A label in the middle of a sentence: a symbol or an abbreviation keeps its capital."""
    return label[:1].lower() + label[1:] if label[1:2].islower() else label
