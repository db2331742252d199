"""The tutorials' editions: what counts as a difference, in which words, and how it is reset."""

from __future__ import annotations

import contextlib

import pytest

from ddpm_studio.recipes import KIND_TITLES, Recipe, RecipeError, built_in, find, kind_title, kinds_of
from ddpm_studio.recipes.editions import (
    badge,
    difference_texts,
    edition_of,
    own_differences,
    printed_differences,
    reset_changes,
)

NUMBERS = ("000", "001", "002", "003", "004")


@pytest.mark.parametrize("number", NUMBERS)
def test_each_tutorial_has_both_editions(number: str) -> None:
    of_it = [recipe for recipe in built_in().values() if recipe.tutorial == number]
    assert sorted(recipe.edition for recipe in of_it) == ["laptop", "printed"]
    printed, laptop = edition_of(of_it[0], "printed"), edition_of(of_it[0], "laptop")
    assert printed is not None
    assert laptop is not None
    assert badge(printed) == "as printed"
    assert printed_differences(printed) == own_differences(printed) == {}
    assert badge(laptop) == "laptop edition"
    assert own_differences(laptop) == {}
    differences = printed_differences(laptop)
    assert differences
    assert differences.items() <= laptop.differences(printed).items()


def test_a_change_is_said_in_the_words_of_the_form() -> None:
    recipe = find("scratch5-mnist").with_settings({"training.batch": 64, "training.stratified": True})
    assert printed_differences(recipe) == {"training.batch": (64, 128), "training.stratified": (True, False)}
    said = badge(recipe)
    assert said.startswith("differs: batch 64 (printed 128), ")
    assert "spread levels on (printed off)" in said


def test_what_the_document_leaves_open_is_no_difference() -> None:
    changes = {"seed": 5, "compute.threads": 1, "preview.count": 9, "training.autosave": 3.0}
    for name in ("scratch5-mnist", "score-two-gaussians"):
        assert badge(find(name).with_settings(changes)) == "as printed"
    assert badge(find("simple-unet-cars").with_settings({"data.source": "/home/me/cars"})) == "as printed"
    assert badge(find("scratch5-mnist").with_settings({"data.source": "/home/me/digits"})).startswith("differs: data ")


def test_kinds_are_called_as_in_the_form() -> None:
    other = find("scratch5-mnist").with_settings({"schedule.kind": "scaled_linear", "network.kind": "compact-unet"})
    assert badge(other).startswith("differs: noise schedule scaled linear (printed linear), network compact U-Net ")
    assert kind_title("langevin") == "annealed Langevin"
    known = {kind for section in ("schedule", "network", "sampler") for kind in kinds_of(section)}
    assert KIND_TITLES.keys() <= known  # none is left over


def test_another_kind_is_one_difference_and_is_reset_whole() -> None:
    printed = find("scratch5-mnist")
    other = printed.with_settings({"sampler.kind": "ddim", "sampler.steps": 50})
    assert badge(other) == "differs: sampler DDIM (printed DDPM), sampling steps 50 (printed 1,000)"
    changes: dict[str, object] = {}
    for path in own_differences(other):
        changes |= reset_changes(other, path)
    assert other.with_settings(changes) == printed


@pytest.mark.parametrize(("steps", "step_size"), [(1000, 5e-4), (200, 0.1)])
def test_what_another_kind_means_by_a_name_is_no_difference_of_its_own(steps: int, step_size: float) -> None:
    """Both Langevin walks have steps and a step size, but not of the same thing; reset, the kind brings its own."""
    printed = find("score-two-gaussians")
    other = printed.with_settings(
        {"sampler.kind": "langevin-plain", "sampler.steps": steps, "sampler.step_size": step_size}
    )
    assert list(own_differences(other)) == ["sampler.kind"]
    assert other.with_settings(reset_changes(other, "sampler.kind")) == printed


@pytest.mark.parametrize("name", [recipe.name for recipe in built_in().values() if recipe.tutorial])
def test_any_setting_is_reset_alone(name: str) -> None:
    before = find(name)
    changes = {"training.batch": 7, "training.learning_rate": 3e-5, "schedule.kind": "cosine"}
    changed = before.with_settings(changes)
    for path in own_differences(changed):
        after = changed.with_settings(reset_changes(changed, path))
        assert path not in own_differences(after)
        assert own_differences(after).items() <= own_differences(changed).items()


def test_an_empty_setting_is_called_as_in_the_form() -> None:
    recipe = find("score-two-gaussians").with_settings({"data.count": None})
    assert badge(recipe) == "differs: points auto (printed 1,000,000)"
    assert "clip gradient none (printed 1)" in badge(find("ddpm-cifar10").with_settings({"training.clip_norm": None}))


@pytest.mark.parametrize("number", NUMBERS)
def test_a_laptop_edition_becomes_the_printed_one_setting_by_setting(number: str) -> None:
    recipe = next(r for r in built_in().values() if r.tutorial == number and r.edition == "laptop")
    printed = edition_of(recipe, "printed")
    left = len(printed_differences(recipe))
    while differences := printed_differences(recipe):
        for path in differences:  # some settings fit only once others do
            with contextlib.suppress(RecipeError):
                recipe = recipe.with_settings(reset_changes(recipe, path, printed))
        assert len(printed_differences(recipe)) < left
        left = len(printed_differences(recipe))


def test_a_laptop_edition_says_what_was_changed_in_it() -> None:
    laptop = find("scratch5-mnist-laptop").with_settings({"training.batch": 16})
    assert badge(laptop) == "laptop edition, changed: batch 16 (edition's 64)"
    assert printed_differences(laptop)["training.batch"] == (16, 128)
    assert (
        "channels 32, 64, 128 (printed 64, 128, 256)" in difference_texts(laptop, printed_differences(laptop)).values()
    )


def test_a_recipe_of_no_tutorial_has_no_badge() -> None:
    for recipe in (Recipe(), find("moons"), Recipe(tutorial="999", edition="printed")):
        assert badge(recipe) == ""
        assert printed_differences(recipe) == own_differences(recipe) == reset_changes(recipe, "training.batch") == {}


def test_words_can_be_said_in_another_language() -> None:
    """Every word goes through ``say`` before numbers are put into it; only numbers and signs do not."""
    words: list[str] = []

    def other(text: str) -> str:
        words.append(text)
        return text.upper()

    changed = find("scratch5-mnist").with_settings({"training.batch": 64, "training.stratified": True})
    assert badge(changed, other).startswith("DIFFERS: BATCH 64 (PRINTED 128), ")
    assert "SPREAD LEVELS ON (PRINTED OFF)" in badge(changed, other)
    assert "{0} {1} (printed {2})" in words
    assert badge(find("scratch5-mnist"), other) == "AS PRINTED"
    laptop = find("scratch5-mnist-laptop")
    assert badge(laptop, other) == "LAPTOP EDITION"
    assert badge(laptop.with_settings({"training.batch": 16}), other).startswith(
        "LAPTOP EDITION, CHANGED: BATCH 16 (EDI"
    )
