"""No memory left: what was learnt stays, and a smaller batch is offered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ddpm_studio.cli import main
from ddpm_studio.engine import dataset_of, open_session, run_training
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import Run
from ddpm_studio.training import step as step_module
from ddpm_studio.training import trainer
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.compute import ComputePlan
from ddpm_studio.training.control import ChangeRequest, Control, SampleRequest
from ddpm_studio.training.crew import Crew
from ddpm_studio.training.events import CheckpointDue, Event, Finished, MemoryFull, Skipped, StepDone, TapeFinished
from ddpm_studio.training.memory import is_out_of_memory
from ddpm_studio.training.trainer import MemoryFullError, train

RecipeOf = Callable[..., Recipe]
NO_ROOM = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError(),
]


def session_of(recipe: Recipe) -> Session:
    return build(recipe, dataset_of(recipe))


def until_full(events: Any) -> tuple[list[Event], MemoryFullError]:
    seen: list[Event] = []
    with pytest.raises(MemoryFullError) as told:
        seen.extend(events)  # keeps what came before the error
    return seen, told.value


def full_at(monkeypatch: pytest.MonkeyPatch, step: int, error: BaseException, fits: int = 0) -> None:
    """From ``step`` on only batches of ``fits`` items have room; the error comes in the middle of a step."""
    real = step_module.loss_per_item

    def loss(recipe: Recipe, out: Tensor, *rest: Tensor) -> Tensor:
        if len(out) > fits and taken[0] >= step:
            raise error
        return real(recipe, out, *rest)

    def count(self: Any, hosts: Any, values: Any) -> Any:
        taken[0] += 1
        return counted(self, hosts, values)

    taken, counted = [0], step_module.TrainingStep._count
    monkeypatch.setattr(step_module.TrainingStep, "_count", count)
    monkeypatch.setattr(step_module, "loss_per_item", loss)


def test_other_errors_are_not_taken_for_it() -> None:
    assert all(is_out_of_memory(error) for error in NO_ROOM)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))


@pytest.mark.parametrize("error", NO_ROOM, ids=["card", "allocator", "python"])
def test_what_was_learnt_is_whole_and_saved(
    error: BaseException, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_at(monkeypatch, 5, error)
    session, plain = session_of(recipe_of()), session_of(recipe_of())
    seen, told = until_full(train(session, Control()))
    assert isinstance(seen[-1], CheckpointDue)
    assert told.event == MemoryFull(5, 32, 16)
    assert str(told) == (
        "Learning does not fit into memory with a batch of 32; 16 may; what was learnt up to step 5 is saved: "
        "add --resume --set training.batch=16"
    )
    monkeypatch.undo()
    list(train(plain, Control(), until=5))
    ours, theirs = session.state(), plain.state()
    assert ours[1] == theirs[1]
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())


def test_nothing_learnt_is_not_saved_and_one_item_has_no_half(
    recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_at(monkeypatch, 0, MemoryError())
    seen, told = until_full(train(session_of(recipe_of()), Control()))
    assert not [event for event in seen if isinstance(event, CheckpointDue | StepDone)]
    assert str(told).endswith("16 may: add --set training.batch=16")
    _, told = until_full(train(session_of(recipe_of(training__batch=1)), Control()))
    assert told.event.smaller == 0
    assert "smaller network" in str(told)


def test_no_room_to_build(recipe_of: RecipeOf, new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    def place(self: ComputePlan, network: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(ComputePlan, "place", place)
    _, told = until_full(run_training(new_run(recipe_of()), Control()))
    assert "choose a smaller network or fewer data" in str(told)


def test_the_run_goes_on_with_the_smaller_batch(
    recipe_of: RecipeOf, new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_at(monkeypatch, 4, MemoryError(), fits=16)
    run = new_run(recipe_of(training__steps=8))
    until_full(run_training(run, Control()))
    assert open_session(run).step == 4
    control = Control()
    control.ask(ChangeRequest({"training.batch": 16}))
    events = list(run_training(run, control))
    assert isinstance(events[-1], Finished)
    session = open_session(run)
    assert (session.step, session.images_seen) == (8, 4 * 32 + 4 * 16)
    assert session.recipe.training.batch == 16


def test_the_command_line_does_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full_at(monkeypatch, 4, MemoryError(), fits=64)
    out = str(tmp_path / "run")
    half = find("moons").training.batch // 2
    assert half > 64
    assert main(["train", "moons", "--steps", "6", "--out", out, "--set", "training.batch=128"]) == 1
    assert "128; 64 may" in " ".join(capsys.readouterr().err.split())
    again = ["train", "moons", "--steps", "6", "--out", out, "--resume", "--set"]
    assert main([*again, "network.width=8"]) == 2
    assert main([*again, "training.batch=64"]) == 0
    assert open_session(Run.open(Path(out))).step == 6


# -- looks at the network


class Small:
    """A call of the network that has room for so many items."""

    def __init__(self, most: int) -> None:
        self.most, self.asked = most, list[int]()

    def __call__(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.asked.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return x + t.view(-1, 1) + (0 if label is None else label.view(-1, 1))


@pytest.mark.parametrize("crew", [None, 2])
def test_items_that_do_not_fit_together_are_computed_in_parts(
    crew: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ComputePlan(torch.device("cpu"), "float32", False, 1, crew=Crew(crew) if crew else None)
    small = Small(3)
    monkeypatch.setattr(ComputePlan, "call", lambda self, network: small)
    call = plan.call_shared(torch.nn.Identity())
    x, t, label = torch.randn(11, 2), torch.rand(11), torch.arange(11)
    want = x + t[:, None] + label[:, None]
    assert torch.equal(call(x, t, label), want)
    small.asked.clear()
    assert torch.equal(call(x, t, label), want)
    assert max(small.asked) <= 3, "what did not fit is not tried again"
    small.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        call(x, t, label)


def test_looks_without_room_are_left_out_and_told_once(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(trainer, "PROBE_SHARE", 1.0)
    session = session_of(recipe_of(training__steps=12, preview__budget=10.0))
    session.ema.forward = no_room  # type: ignore[method-assign]
    control = Control()
    control.ask(SampleRequest(3, 0))
    events = list(train(session, control))
    assert isinstance(events[-1], Finished)
    assert not events[-1].stopped
    assert len([event for event in events if isinstance(event, StepDone)]) == 12
    told = [event for event in events if isinstance(event, Skipped)]
    assert sorted(event.what for event in told) == ["preview", "probe", "sample"]
    tapes = [event.tape for event in events if isinstance(event, TapeFinished)]
    assert tapes
    assert not any(tape.complete for tape in tapes), "each that was begun is told to have ended"
