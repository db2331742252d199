"""A grid of cells: one noise for all of a seed, one tape each, kept with the run, held and stopped at will."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddpm_studio import engine
from ddpm_studio.diffusion.denoiser import Denoiser
from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.engine import run_comparison, run_training
from ddpm_studio.recipes import Recipe, RecipeError, find
from ddpm_studio.recipes.axes import Axis, Cell, cells
from ddpm_studio.recipes.comparing import calls_at_most, sampler_choices, set_knob
from ddpm_studio.recipes.sections import DDIM, DDPM, Heun, Langevin, PlainLangevin
from ddpm_studio.store import Run
from ddpm_studio.training import sampling
from ddpm_studio.training.control import Comparison, Control
from ddpm_studio.training.events import (
    ComparisonFinished,
    ComparisonRefused,
    ComparisonStarted,
    Event,
    Finished,
    Paused,
    Resumed,
    StepDone,
    TapeFinished,
    TapeGrew,
)
from ddpm_studio.training.sampling import SourceError, Sources, Tone, compare, network_calls, record

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
        if isinstance(event, ComparisonFinished) and event.stopped:
            with run.record() as record:
                assert [tape.label for tape in record.last_comparison()] == ["DDPM"]
            assert control.comparison_stopped
            control.ask(comparison_of(ALL[4:], 4, 0))  # what was said about the one before counts no more
    ended, again = of(ComparisonFinished, seen)
    assert ended.stopped
    assert [tape.complete for tape in ended.tapes] == [True, False, False]
    assert [len(tape.frames) for tape in ended.tapes] == [5, 2, 0]
    assert not again.stopped
    assert of(Finished, seen)[0].step == 4


def test_a_comparison_can_be_stopped_while_it_waits_for_a_step(recipe_of: RecipeOf, new_run: NewRun) -> None:
    run, control = new_run(recipe_of()), Control()
    seen: list[Event] = []
    for event in run_training(run, control, until=4):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 2:
            control.ask(comparison_of(ALL[2:], 4, 0))
            control.stop_comparison()
    (ended,) = of(ComparisonFinished, seen)
    assert ended.stopped
    assert not any(tape.frames for tape in ended.tapes)
    assert of(Finished, seen)[0].step == 4


@pytest.fixture
def two_runs(recipe_of: RecipeOf, new_run: NewRun) -> tuple[Run, Run]:
    """One with checkpoints at steps 2 and 4, and another with other weights, sampler and schedule, at 2."""
    one = new_run(recipe_of(), "one")
    for until in (2, 4):
        list(run_training(one, Control(), until=until))
    other = new_run(recipe_of(seed=9, sampler__kind="heun", schedule__kind="linear", network__depth=3), "other")
    list(run_training(other, Control(), until=2))
    return one, other


def grid_of(run: Run, rows: Axis | None, columns: Axis | None, seed: int = 5, **more: Any) -> tuple[Cell, ...]:
    table = cells(run.recipe(), rows, columns, seed=seed, **more)
    return tuple(cell for row in table for cell in row)


@given(seed=st.integers(0, 2**31 - 1), count=st.integers(1, 6))
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_one_seed_is_one_noise_bit_for_bit(two_runs: tuple[Run, Run], seed: int, count: int) -> None:
    one, other = two_runs
    recipes = {run.path: run.recipe() for run in two_runs}
    wanted = [
        *grid_of(one, Axis("checkpoint", (2, 4)), Axis("sampler", ("dpmpp-2m", "ddpm", "langevin-plain")), seed),
        *grid_of(one, Axis("run", tuple(recipes)), Axis("weights", ("ema", "raw")), seed, recipes=recipes),
    ]
    tapes = of(ComparisonFinished, list(run_comparison(one, Control(), Comparison(tuple(wanted), count), keep=False)))[
        0
    ].tapes
    assert len(tapes) == 10
    noise = tapes[0].frames[0].x
    assert noise.shape == (count, 2)
    for tape in tapes:
        assert tape.frames[0].x.tobytes() == noise.tobytes()
    ends = [tape.frames[-1].x.tobytes() for tape in tapes]
    assert ends[3] == ends[6]  # the same cell, asked for by its checkpoint and by its run
    assert len(set(ends)) == 9
    another = Comparison(grid_of(other, None, Axis("seed", (seed, (seed + 1) % 2**31))), count)
    again, differs = of(ComparisonFinished, list(run_comparison(other, Control(), another, keep=False)))[0].tapes
    assert again.frames[0].x.tobytes() == noise.tobytes() != differs.frames[0].x.tobytes()


def test_all_cells_together_take_no_more_than_their_room(
    two_runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, room = two_runs[0], 150_000
    monkeypatch.setattr(sampling, "COMPARED", room)
    cells = grid_of(run, Axis("seed", (1, 2)), Axis("steps", (5, 40)))
    events = list(run_comparison(run, Control(), Comparison(cells, 100), keep=False))
    tapes = of(ComparisonFinished, events)[0].tapes
    assert sum(tape.nbytes for tape in tapes) <= room
    assert {len(tape.frames) for tape in tapes} == {6, room // (4 * (3 * 100 * 8 + 3200))}
    assert all(tape.complete and tape.frames[-1].t == 0 for tape in tapes)


def test_pictures_of_two_runs_begin_alike(recipe_of: RecipeOf, new_run: NewRun) -> None:
    runs = [new_run(recipe_of("pictures", seed=seed), f"pictures {seed}") for seed in (0, 1)]
    for run in runs:
        list(run_training(run, Control(), until=1))
    axis = Axis("run", tuple(run.path for run in runs))
    wanted = Comparison(grid_of(runs[0], None, axis, recipes={run.path: run.recipe() for run in runs}), 3)
    left, right = of(ComparisonFinished, list(run_comparison(runs[0], Control(), wanted)))[0].tapes
    assert (left.column, right.column) == ("pictures 0", "pictures 1")
    assert left.frames[0].x.tobytes() == right.frames[0].x.tobytes()
    assert not np.array_equal(left.frames[-1].x, right.frames[-1].x)


def test_tapes_say_where_they_come_from_and_a_run_keeps_the_grid(
    two_runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_runs
    loaded: list[tuple[str, int | None]] = []
    real = engine.open_session

    def spy(run: Run, *, step: int | None = None, **more: Any) -> Any:
        loaded.append((run.name, step))
        return real(run, step=step, **more)

    monkeypatch.setattr(engine, "open_session", spy)
    recipes = {run.path: run.recipe() for run in two_runs}
    wanted = grid_of(one, Axis("seed", (1, 2)), Axis("run", tuple(recipes)), recipes=recipes)
    events = list(run_comparison(one, Control(), Comparison(wanted, 4)))
    tapes = of(ComparisonFinished, events)[0].tapes
    assert [(tape.row, tape.column, tape.seed) for tape in tapes] == [
        ("1", "one", 1),
        ("1", "other", 1),
        ("2", "one", 2),
        ("2", "other", 2),
    ]
    assert [tape.sampler for tape in tapes] == ["dpmpp-2m", "heun"] * 2  # each run's own
    assert [tape.training_step for tape in tapes] == [4, 2] * 2
    assert tapes[1].schedule == other.recipe().schedule.model_dump() != tapes[0].schedule
    assert loaded == [("one", 4), ("other", 2)]
    assert of(ComparisonStarted, events)[0].calls == tuple(tape.calls for tape in tapes)
    with one.record() as record:
        assert [tape.label for tape in record.last_comparison()] == [tape.label for tape in tapes]
    with other.record() as record:
        assert not record.last_comparison()


@given(
    st.sampled_from(["ddpm", "ddim", "euler", "heun", "dpmpp-2m"]),
    st.integers(1, 60),
    st.sampled_from(["uniform", "quadratic", "karras", "log-snr"]),
    st.sampled_from(["cosine", "linear", "flow"]),
)
def test_calls_are_known_before_they_are_made(kind: str, steps: int, spacing: str, schedule: str) -> None:
    changes = {"schedule.kind": schedule, "schedule.steps": 60, "prediction.predicts": "v", "preview.steps": 5}
    wishes = {"sampler.kind": kind, "sampler.steps": steps, "sampler.spacing": spacing}
    recipe = find("moons").with_settings(changes | wishes)
    table = NoiseSchedule.named(**recipe.schedule.model_dump())
    blank = Denoiser(lambda x, t, label=None: torch.zeros_like(x), table, Parameterization("v"))
    tape = Tape("points", 60, 0)
    list(record(blank, recipe.sampler, tape, (2,), count=1, tone=Tone(), control=Control(), purpose="compare"))
    assert tape.calls == network_calls(recipe.sampler, table) <= calls_at_most(recipe.sampler)


def test_what_cannot_be_compared_is_said_before_anything_is_sampled(
    two_runs: tuple[Run, Run], recipe_of: RecipeOf, new_run: NewRun, tmp_path: Path
) -> None:
    one, other = two_runs
    pictures, empty = new_run(recipe_of("pictures"), "pictures"), new_run(recipe_of(), "empty")
    list(run_training(pictures, Control(), until=1))
    wide = new_run(recipe_of("pictures", data__width=16), "wide")
    list(run_training(wide, Control(), until=1))
    base = Cell(DDIM(steps=2), 0)
    for first, cell, why in (
        (one, Cell(DDIM(steps=2), 0, checkpoint=3), "one has no checkpoint at step 3; there are: 2, 4"),
        (one, Cell(DDIM(steps=2), 0, checkpoint=4, run=other.path), "other has no checkpoint at step 4"),
        (one, Cell(DDIM(steps=2), 0, run=empty.path), "empty has no checkpoint yet"),
        (one, Cell(DDIM(steps=2), 0, run=tmp_path / "gone"), "there is no folder"),
        (one, Cell(DDIM(steps=2), 0, run=tmp_path), "is not a run"),
        (one, Cell(DDIM(steps=2), 0, label="P", run=pictures.path), "P makes pictures of 12 × 8 in colour, and .*2-D"),
        (pictures, Cell(DDIM(steps=2), 0, run=wide.path), "pictures of 16 × 8 in colour, and .*pictures of 12 × 8"),
    ):
        seen: list[Event] = []
        with pytest.raises(SourceError, match=why):
            seen.extend(run_comparison(first, Control(), Comparison((base, cell), 2)))
        assert not of(ComparisonStarted, seen)


def test_a_damaged_checkpoint_ends_a_comparison_and_keeps_what_is_complete(two_runs: tuple[Run, Run]) -> None:
    one, _ = two_runs
    one.checkpoints()[-1].tensors_file.write_bytes(b"no tensors")
    seen: list[Event] = []
    wanted = Comparison(grid_of(one, None, Axis("checkpoint", (2, 4))), 2)
    with pytest.raises(SourceError, match="step-000004"):
        seen.extend(run_comparison(one, Control(), wanted))
    ended = of(ComparisonFinished, seen)[0]
    assert ended.stopped
    assert [tape.complete for tape in ended.tapes] == [True, False]
    with one.record() as record:
        assert [tape.column for tape in record.last_comparison()] == ["2"]


def test_nothing_about_another_run_ends_a_training(two_runs: tuple[Run, Run]) -> None:
    one, other = two_runs
    about = other.checkpoints()[-1].about_file
    about.write_text(about.read_text(encoding="utf-8").replace("ema_updates", "odd"), encoding="utf-8")
    control, seen = Control(), list[Event]()
    control.ask(Comparison((Cell(DDIM(steps=2), 3, run=other.path),), 2))
    seen.extend(run_training(one, control, until=6))
    (refused,) = of(ComparisonRefused, seen)
    assert about.name in refused.reason
    assert of(Finished, seen)[0].step == 6


@pytest.mark.parametrize("at", ["opening", "sampling"])
def test_full_memory_ends_a_comparison_and_no_training(
    two_runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    one, other = two_runs
    real = {"opening": engine.open_session, "sampling": sampling.start_noise}[at]
    calls = 0

    def full(*args: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*args, **more)

    if at == "opening":
        monkeypatch.setattr(engine, "open_session", full)
    else:
        monkeypatch.setattr(sampling, "start_noise", full)
    control = Control()
    far = Cell(DDIM(steps=2), 3, label="far", run=other.path)
    control.ask(Comparison((Cell(DDIM(steps=2), 3, label="here"), far), 2))
    seen = list(run_training(one, control, until=6))
    assert [tape.complete for tape in of(ComparisonFinished, seen)[0].tapes] == [True, False]
    assert [event.reason for event in of(ComparisonRefused, seen)] == [
        "far does not fit into memory: compare fewer items"
    ]
    assert of(Finished, seen)[0].step == 6


def test_what_was_opened_for_a_refused_comparison_is_let_go() -> None:
    class Far(Sources):
        held = True

        def forget(self) -> None:
            self.held = False

    far = Far(None)
    with pytest.raises(SourceError):
        next(compare(far, Control(), comparison_of(ALL, 2, 0)))
    assert not far.held


def test_the_run_in_training_is_known_by_any_way_to_it(two_runs: tuple[Run, Run], tmp_path: Path) -> None:
    one, _ = two_runs
    (tmp_path / "link").symlink_to(one.path.parent)
    way, control, seen = tmp_path / "link" / one.name, Control(), list[Event]()
    for event in run_training(Run(way), control, until=6):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 5:
            control.ask(Comparison((Cell(DDIM(steps=2), 3, run=way),), 2))
    assert [tape.training_step for tape in of(ComparisonFinished, seen)[0].tapes] == [5]


@pytest.mark.parametrize("training", [False, True])
def test_all_cells_compute_with_the_threads_of_the_first(
    two_runs: tuple[Run, Run], recipe_of: RecipeOf, new_run: NewRun, training: bool
) -> None:
    one, _ = two_runs
    greedy = new_run(recipe_of(compute__threads=3), "greedy")
    list(run_training(greedy, Control(), until=1))
    torch.set_num_threads(1)
    wanted = Comparison((Cell(DDIM(steps=2), 3, checkpoint=2), Cell(DDIM(steps=2), 3, run=greedy.path)), 2)
    control, used = Control(), set[int]()
    if training:
        control.ask(wanted)
    for event in run_training(one, control, until=5) if training else run_comparison(one, control, wanted):
        if isinstance(event, TapeGrew | StepDone):
            used.add(torch.get_num_threads())
    assert used == {1}


def test_a_pause_in_another_runs_cells_is_told_at_the_step_of_the_training(two_runs: tuple[Run, Run]) -> None:
    one, other = two_runs
    control, seen = Control(), list[Event]()
    for event in run_training(one, control, until=6):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 5:
            control.ask(Comparison((Cell(DDIM(steps=2), 3), Cell(DDIM(steps=2), 3, run=other.path)), 2))
        if isinstance(event, TapeFinished) and event.purpose == "compare":
            control.pause()
        if isinstance(event, Paused):
            control.pause(False)
    assert [event.step for event in of(Paused, seen) + of(Resumed, seen)] == [5, 5, 5, 5]


def test_a_training_compares_with_what_is_on_disk_and_goes_on_bit_for_bit(
    two_runs: tuple[Run, Run], recipe_of: RecipeOf, new_run: NewRun
) -> None:
    one, other = two_runs
    same = new_run(recipe_of(), "same")
    list(run_training(same, Control(), until=2))
    list(run_training(same, Control(), until=4))
    list(run_training(same, Control(), until=8))
    control, seen = Control(), list[Event]()
    here = Cell(DDIM(steps=2), 3, label="now")
    damaged = other.checkpoints()[-1].tensors_file
    for event in run_training(one, control, until=8):
        seen.append(event)
        if isinstance(event, StepDone) and event.step == 5:
            wanted = (here, Cell(DDIM(steps=2), 3, checkpoint=2), Cell(DDIM(steps=2), 3, run=other.path), here)
            control.ask(Comparison(wanted, 2))
            control.ask(Comparison((here, Cell(DDIM(steps=2), 3, checkpoint=3)), 2))
        if isinstance(event, ComparisonRefused) and damaged.stat().st_size > 20:
            damaged.write_bytes(b"no tensors")
            control.ask(Comparison((here, Cell(DDIM(steps=2), 3, run=other.path)), 2))
    first, second = of(ComparisonFinished, seen)
    assert [tape.training_step for tape in first.tapes] == [5, 2, 2, 5]
    assert not first.stopped
    assert len({tape.frames[0].x.tobytes() for tape in first.tapes}) == 1
    assert first.tapes[0].frames[-1].x.tobytes() == first.tapes[3].frames[-1].x.tobytes()
    reasons = [event.reason for event in of(ComparisonRefused, seen)]
    assert len(reasons) == 2
    assert "no checkpoint at step 3" in reasons[0]
    assert damaged.name in reasons[1]
    assert [tape.complete for tape in second.tapes] == [True, False]
    assert of(Finished, seen)[0].step == 8
    mine, theirs = (run.checkpoints()[-1].tensors() for run in (one, same))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("training", [False, True])
def test_a_pause_takes_effect_between_two_cells(two_runs: tuple[Run, Run], training: bool) -> None:
    one, _ = two_runs
    control, seen, held = Control(), list[Event](), 0
    wanted = Comparison(grid_of(one, None, Axis("sampler", ("ddim", "ddpm", "euler"))), 2)

    def hold(seconds: float = 0.05) -> None:
        """Somebody looks at the pause for a while, and says resume."""
        nonlocal held
        held += 1
        if held == 3:
            control.pause(False)

    control.hold = hold  # type: ignore[method-assign]
    if training:
        control.ask(wanted)
    events = run_training(one, control, until=5) if training else run_comparison(one, control, wanted)
    for event in events:
        seen.append(event)
        if isinstance(event, TapeGrew) and event.tape.sampler == "ddim":
            control.pause()
    tapes = of(ComparisonFinished, seen)[0].tapes
    assert all(tape.complete for tape in tapes)
    paused, resumed = seen.index(of(Paused, seen)[0]), seen.index(of(Resumed, seen)[0])
    assert [event.tape.sampler for event in of(TapeFinished, seen[:paused])] == ["ddim"]
    assert [event.tape.sampler for event in of(TapeFinished, seen[resumed:])] == ["ddpm", "euler"]
    assert resumed == paused + 1
    assert held == 3
    assert len(of(Paused, seen)) == len(of(Resumed, seen)) == 1
    assert not training or of(Finished, seen)[0].step == 5


def test_a_pause_in_the_last_cell_is_told_before_the_training_waits(two_runs: tuple[Run, Run]) -> None:
    one, _ = two_runs
    control, seen = Control(), list[Event]()
    control.ask(Comparison(grid_of(one, None, None), 2))
    control.hold = lambda seconds=0.05: control.pause(False)  # type: ignore[method-assign]
    for event in run_training(one, control, until=5):
        seen.append(event)
        if isinstance(event, TapeGrew):
            control.pause()
    kinds = [type(event) for event in seen if isinstance(event, ComparisonFinished | Paused | Resumed | StepDone)]
    assert kinds == [ComparisonFinished, Paused, Resumed, StepDone]


def test_a_comparison_can_be_stopped_in_its_pause(two_runs: tuple[Run, Run]) -> None:
    one, _ = two_runs
    control, seen = Control(), list[Event]()
    for event in run_comparison(one, control, Comparison(grid_of(one, None, Axis("seed", (1, 2))), 2)):
        seen.append(event)
        if isinstance(event, TapeGrew):
            control.pause()
        if isinstance(event, Paused):
            control.stop_comparison()
    ended = of(ComparisonFinished, seen)[0]
    assert [tape.complete for tape in ended.tapes] == [True, False]
    assert not of(Resumed, seen)  # it still is paused


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
        "DPM-Solver++(3M)",
        "UniPC",
        "iPNDM",
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
