"""However a training is interrupted, it goes on bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_studio import engine
from ddpm_studio.engine import dataset_of, open_session, run_training
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run, RunError
from ddpm_studio.training import step
from ddpm_studio.training.build import build, snapshot
from ddpm_studio.training.control import ChangeRequest, Control, SampleRequest, SaveRequest
from ddpm_studio.training.events import CheckpointDue, Event, RolledBack, StepDone, TapeGrew
from ddpm_studio.training.trainer import train

RecipeOf, NewRun = Callable[..., Recipe], Callable[..., Run]


def drain(events: Iterator[Event]) -> list[Event]:
    return list(events)


def last_state(run: Run) -> dict[str, torch.Tensor]:
    return run.checkpoints()[-1].tensors()


def assert_same(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    assert {name.partition(".")[0] for name in mine} == {"network", "ema", "optimizer"}
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_in_one_go_is_in_two_and_in_many(kind: str, recipe_of: RecipeOf, new_run: NewRun) -> None:
    """200 steps = 100 + saved + loaded + 100 = stopped by Control in the middle, again and again."""
    recipe = recipe_of(kind, training__steps=200 if kind == "points" else 60, training__clip_norm=0.5)
    total = recipe.training.steps
    whole, half, stopped = (new_run(recipe, name) for name in ("whole", "half", "stopped"))
    drain(run_training(whole, Control()))
    drain(run_training(half, Control(), until=total // 2))
    assert half.checkpoints()[-1].step == total // 2
    drain(run_training(half, Control()))
    while not stopped.checkpoints() or stopped.checkpoints()[-1].step < total:
        control, steps = Control(), 0
        for event in run_training(stopped, control):
            steps += isinstance(event, StepDone)
            if steps == total // 3 + 1:
                control.stop()
    assert len(stopped.checkpoints()) == 3
    for other in (half, stopped):
        assert_same(last_state(whole), last_state(other))
        assert whole.checkpoints()[-1].about()[0] == other.checkpoints()[-1].about()[0]
        with whole.record() as mine, other.record() as theirs:
            np.testing.assert_array_equal(mine.metrics()[:, :5], theirs.metrics()[:, :5])
            assert len(mine.metrics()) == total


def test_live_changes_survive_a_resume(recipe_of: RecipeOf, new_run: NewRun) -> None:
    recipe = recipe_of()
    whole, half = new_run(recipe, "whole"), new_run(recipe, "half")
    change = ChangeRequest({"training.learning_rate": 1e-2})
    for run, until in ((whole, 40), (half, 20)):
        control = Control()
        for event in run_training(run, control, until=until):
            if isinstance(event, StepDone) and event.step == 10:
                control.ask(change)
    drain(run_training(half, Control(), until=40))
    assert_same(last_state(whole), last_state(half))
    assert half.recipe() == recipe, "what was asked stays"
    assert half.current_recipe().training.learning_rate == 1e-2
    with half.record() as record:
        (event,) = [e for e in record.events() if e.kind == "setting_changed"]
    assert (event.step, event.about) == (10, {"setting": "training.learning_rate", "old": 3e-3, "new": 1e-2})


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_closing_at_any_yield_leaves_a_state_that_goes_on(kind: str, recipe_of: RecipeOf) -> None:
    recipe = recipe_of(kind, training__steps=5, preview__budget=10.0)
    data = dataset_of(recipe)

    def requests() -> Control:
        control = Control()
        control.ask(SampleRequest(2, 0, "raw"))
        control.ask(SaveRequest())
        return control

    straight = build(recipe, data)
    count = len(drain(train(straight, requests())))
    for n in range(0, count, 1 if kind == "points" else 5):
        session = build(recipe, data)
        events = train(session, requests())
        for _ in range(n + 1):
            next(events)
        events.close()
        assert torch.is_grad_enabled()
        again = build(recipe, data)
        again.load_state(*snapshot(session))
        drain(train(again, Control()))
        assert_same(again.state()[0], straight.state()[0])


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_watching_does_not_change_what_is_learnt(kind: str, recipe_of: RecipeOf) -> None:
    states = []
    for budget in (0.0, 10.0):
        session = build(recipe_of(kind, training__steps=12, preview__budget=budget), dataset_of(recipe_of(kind)))
        control = Control()
        if budget:
            control.ask(SampleRequest(3, 1, "raw"))
        events = drain(train(session, control))
        assert any(isinstance(e, TapeGrew) for e in events) == (budget > 0)
        states.append(session.state()[0])
    assert_same(*states)


def test_a_run_is_locked_before_anything_of_it_is_read(
    recipe_of: RecipeOf, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another program learns between the reading and the lock would be deleted."""
    run, tried, real = new_run(recipe_of()), 0, engine.open_session

    def another_program(*args: Any, **more: Any) -> Any:
        nonlocal tried
        tried += 1
        with pytest.raises(RunError, match="another program"):
            drain(run_training(Run(run.path), Control(), until=3))
        return real(*args, **more)

    monkeypatch.setattr(engine, "open_session", another_program)
    drain(run_training(run, Control(), until=2))
    assert tried == 1
    assert [c.step for c in run.checkpoints()] == [2]


def test_a_roll_back_takes_its_checkpoints_along(
    recipe_of: RecipeOf, new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved at step 6, rolled back to 0, stopped at 4: step 6 belongs to a course that was given up."""
    run, control = new_run(recipe_of()), Control()
    control.ask(SaveRequest())
    real, calls = step.loss_per_item, 0

    def sometimes_nan(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*args) * (float("nan") if 7 <= calls <= 9 else 1)

    monkeypatch.setattr(step, "loss_per_item", sometimes_nan)
    rolled = None
    for event in run_training(run, control, until=20):
        if isinstance(event, StepDone) and event.step == 6:
            control.ask(SaveRequest())
        if isinstance(event, RolledBack):
            assert [c.step for c in run.checkpoints()] == [0]
            rolled = event
        if rolled and isinstance(event, StepDone) and event.step == 4:
            control.stop()
    assert rolled is not None
    assert (rolled.step, rolled.from_step, rolled.rate_scale) == (0, 9, 0.5)
    assert [c.step for c in run.checkpoints()] == [0, 4]
    assert open_session(run).rate_scale == 0.5
    with run.record() as record:
        assert record.metrics()[:, 0].tolist() == [1, 2, 3, 4]
        assert [e.kind for e in record.events() if "ro" in e.kind] == ["rolled_back"]


def test_the_optimizer_keeps_the_layout_of_the_weights(recipe_of: RecipeOf) -> None:
    """The fused AdamW pairs elements by their place in memory, so loaded moments must lie as the weights do."""
    recipe = recipe_of("pictures", compute__layout="channels_last")
    session = build(recipe, dataset_of(recipe))
    drain(train(session, Control(), until=2))
    flat = {name: t.contiguous() for name, t in session.state()[0].items()}  # as a checkpoint has them
    again = build(session.recipe, session.dataset)
    again.load_state(flat, session.state()[1])
    moments = again.optimizer.slots()
    assert any(not p.is_contiguous() for p in again.network.parameters())
    for name, p in again.network.named_parameters():
        assert {moments[f"{name}.{slot}"].stride() for slot in ("exp_avg", "exp_avg_sq")} == {p.stride()}


def test_a_state_of_another_network_is_refused(recipe_of: RecipeOf) -> None:
    session = build(recipe_of(), dataset_of(recipe_of()))
    other = build(recipe_of(network__width=24), session.dataset)
    with pytest.raises(ValueError, match="belong to another network"):
        session.load_state(*other.state())


def test_checkpoint_comes_before_the_end(recipe_of: RecipeOf) -> None:
    session, control = build(recipe_of(), dataset_of(recipe_of())), Control()
    events = drain(train(session, control, until=3))
    assert [type(e).__name__ for e in events[-2:]] == ["CheckpointDue", "Finished"]
    assert [e.reason for e in events if isinstance(e, CheckpointDue)] == ["finished"]
    control.stop(keep=False)
    assert not any(isinstance(e, CheckpointDue) for e in train(session, control, until=9))
