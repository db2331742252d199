"""Samplers side by side: the same start for all, one tape each, kept with the run, stopped at will."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ddpm_studio.engine import run_comparison, run_training
from ddpm_studio.recipes import Recipe, RecipeError, find
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.recipes.comparing import sampler_choices, set_knob
from ddpm_studio.recipes.sections import DDIM, DDPM, Heun, Langevin, PlainLangevin
from ddpm_studio.store import Run
from ddpm_studio.training.control import Comparison, Control
from ddpm_studio.training.events import (
    ComparisonFinished,
    ComparisonStarted,
    Event,
    Finished,
    Paused,
    StepDone,
    TapeFinished,
    TapeGrew,
)

RecipeOf = Callable[..., Recipe]
NewRun = Callable[..., Run]
ALL = (
    ("Plain", PlainLangevin(steps=9)),
    ("Annealed", Langevin(steps=2, moves=3)),
    ("DDPM", DDPM(steps=4)),
    ("DDIM", DDIM(steps=3)),
    ("Heun", Heun(steps=3)),
)


Entries = tuple[tuple[str, Any], ...]


def comparison_of(entries: Entries, count: int, seed: int) -> Comparison:
    return Comparison(tuple(Cell(settings, seed, label=label, column=label) for label, settings in entries), count)


def of(kind: type, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_every_sampler_starts_from_the_same_noise_and_the_run_keeps_all(
    kind: str, recipe_of: RecipeOf, new_run: NewRun
) -> None:
    run = new_run(recipe_of(kind))
    list(run_training(run, Control(), until=2))
    events = list(run_comparison(run, Control(), comparison_of(ALL, 5, 3)))
    tapes = of(ComparisonFinished, events)[0].tapes
    assert [tape.label for tape in tapes] == [label for label, _ in ALL]
    for tape in tapes:
        assert tape.complete
        assert tape.count == 5
        assert tape.training_step == 2
        assert np.array_equal(tape.frames[0].x, tapes[0].frames[0].x)
    assert [tape.calls for tape in tapes] == [9, 6, 4, 3, 5]  # Heun's last step needs one
    assert of(ComparisonStarted, events)[0].calls == (9, 6, 4, 3, 5)
    assert {event.purpose for event in of(TapeFinished, events)} == {"compare"}
    different = {tape.frames[-1].x.tobytes() for tape in tapes}
    assert len(different) == len(tapes)

    list(run_comparison(run, Control(), comparison_of(ALL[2:4], 5, 4)))
    with run.record() as record:
        kept = record.last_comparison()
        assert record.last_tape() is None or not record.last_tape().comparison
    assert [(tape.label, tape.seed, tape.calls) for tape in kept] == [("DDPM", 4, 4), ("DDIM", 4, 3)]
    assert all(tape.seconds > 0 for tape in kept)


def test_it_works_between_two_steps_and_during_a_pause(recipe_of: RecipeOf, new_run: NewRun) -> None:
    run, control = new_run(recipe_of()), Control()
    seen: list[Event] = []
    for event in run_training(run, control, until=6):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            control.ask(comparison_of(ALL[2:], 4, 0))
        if isinstance(event, StepDone) and event.step == 4:
            control.pause()
            control.ask(comparison_of(ALL[:2], 4, 0))
        if isinstance(event, ComparisonFinished) and control.paused:
            control.pause(False)
    first, second = of(ComparisonFinished, seen)
    assert [tape.training_step for tape in first.tapes] == [2, 2, 2]
    assert not first.stopped
    assert [tape.training_step for tape in second.tapes] == [4, 4]
    assert seen.index(of(Paused, seen)[0]) < seen.index(second)
    assert of(Finished, seen)[0].step == 6


def test_stopping_a_comparison_leaves_the_training_and_what_is_complete(recipe_of: RecipeOf, new_run: NewRun) -> None:
    run, control = new_run(recipe_of()), Control()
    seen: list[Event] = []
    for event in run_training(run, control, until=4):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            control.ask(comparison_of(ALL[2:], 4, 0))
        if isinstance(event, TapeGrew) and event.tape.label == "DDIM" and len(event.tape.frames) == 2:
            control.stop_comparison()
    ended = of(ComparisonFinished, seen)[0]
    assert ended.stopped
    assert [tape.complete for tape in ended.tapes] == [True, False, False]
    assert [len(tape.frames) for tape in ended.tapes] == [5, 2, 0]
    assert of(Finished, seen)[0].step == 4
    with run.record() as record:
        assert [tape.label for tape in record.last_comparison()] == ["DDPM"]
    again = list(run_comparison(run, control_after(control), comparison_of(ALL[3:], 4, 0)))
    assert not of(ComparisonFinished, again)[0].stopped


def control_after(control: Control) -> Control:
    """The same one, which has heard "enough" before: that was about an earlier comparison."""
    assert control.comparison_stopped
    return control


def test_choices_are_set_up_from_the_recipe() -> None:
    recipe = find("moons")
    choices = sampler_choices(recipe, "points")
    assert [choice.label for choice in choices] == [
        "Plain Langevin",
        "Annealed Langevin",
        "DDPM",
        "DDIM",
        "Euler",
        "Heun",
        "DPM-Solver++",
    ]
    by_kind = {choice.settings.kind: choice for choice in choices}
    assert by_kind[recipe.sampler.kind].settings == recipe.sampler
    assert by_kind["ddpm"].settings.steps == by_kind["heun"].settings.steps == recipe.sampler.steps
    assert [choice.settings.kind for choice in choices if choice.usual] == [
        "langevin-plain",
        "langevin",
        "ddpm",
        "ddim",
        "heun",
    ]
    assert set_knob(recipe, by_kind["langevin"], 7).moves == 7
    assert set_knob(recipe, by_kind["ddim"], 7).steps == 7
    with pytest.raises(RecipeError, match="do not fit into T"):
        set_knob(recipe, by_kind["ddim"], recipe.schedule.steps + 1)


@pytest.mark.parametrize("name", ["score-two-gaussians", "score-two-gaussians-laptop", "attention-mnist", "moons"])
def test_each_choice_fits_the_recipe_as_it_stands(name: str) -> None:
    recipe = find(name)
    for kind in ("points", "pictures"):
        for choice in sampler_choices(recipe, kind):
            assert set_knob(recipe, choice, getattr(choice.settings, choice.knob.name)) == choice.settings
