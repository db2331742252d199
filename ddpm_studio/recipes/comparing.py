"""Which samplers a recipe can be sampled with side by side, and how each is set up for it. No torch and no Qt."""

from __future__ import annotations

from typing import Any, NamedTuple

from ddpm_studio.recipes.recipe import Recipe, kind_title, kinds_of
from ddpm_studio.recipes.sections import Langevin
from ddpm_studio.recipes.settings import Field, fields_of

_USUAL = {
    "points": ("langevin-plain", "langevin", "ddpm", "ddim", "heun"),
    "pictures": ("ddpm", "ddim", "heun", "dpmpp-2m"),
}


class SamplerChoice(NamedTuple):
    """One sampler that can be ticked: its section, what it is called, whether it is ticked at first, its main knob."""

    settings: Any
    label: str
    usual: bool
    knob: Field


def sampler_choices(recipe: Recipe, kind: str) -> list[SamplerChoice]:
    """Every sampler, set up for ``recipe`` on data of ``kind`` "points" or "pictures".

    The recipe's own sampler is as it is there; the others that go from noise to data take as many steps. A Langevin
    walk needs many more, small ones.
    """
    choices = []
    kinds = kinds_of("sampler")
    walks = ("langevin-plain", "langevin")  # first: where they fail, the others are seen to be needed
    for name in (*walks, *(kind for kind in kinds if kind not in walks)):
        cls: Any = kinds[name]
        settings = recipe.sampler if recipe.sampler.kind == name else cls(**_knobs(recipe, name))
        wanted = "moves" if name == "langevin" else "steps"
        knob = next(field for field in fields_of(cls) if field.name == wanted)
        choices.append(SamplerChoice(settings, sampler_label(name), name in _USUAL[kind], knob))
    return choices


def _knobs(recipe: Recipe, name: str) -> dict[str, Any]:
    T = recipe.schedule.steps
    if name == "langevin-plain":
        return {}
    if name == "langevin":
        return {"steps": min(20, T), "moves": 25, "spacing": "log-snr"}  # down to the weakest noise
    own = 50 if recipe.sampler.kind in ("langevin", "langevin-plain") else recipe.sampler.steps
    return {"steps": min(own, T)}


def set_knob(recipe: Recipe, choice: SamplerChoice, value: int) -> Any:
    """The sampler section of ``choice`` with its main knob at ``value``.

    Raises:
        RecipeError: if it does not fit the recipe's schedule.
    """
    values = recipe.model_dump(mode="json")
    values["sampler"] = choice.settings.model_dump(mode="json") | {choice.knob.name: value}
    return Recipe.parse(values).sampler


def sampler_label(kind: str) -> str:
    """What a kind of sampler is called where it stands alone: "Annealed Langevin"."""
    title = kind_title(kind)
    return title if title[1:2].isupper() else title[:1].upper() + title[1:]  # iPNDM stays as it is


def calls_at_most(settings: Any) -> int:
    """How often a sampler section asks the network at most; Heun's last move, to the clean level, asks once."""
    if isinstance(settings, Langevin):
        return settings.steps * settings.moves
    return 2 * settings.steps if settings.kind == "heun" else int(settings.steps)
