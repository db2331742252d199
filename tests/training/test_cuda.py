"""The same on an NVIDIA card; left out where there is none.

What cannot be recorded goes on eagerly and is told: where a recording is meant, it is asserted that it was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.ladder import ladder
from ddpm_studio.engine import dataset_of, open_session, run_sampling, run_training
from ddpm_studio.evaluation.samples import draw
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run
from ddpm_studio.training import sampling
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control, SampleRequest
from ddpm_studio.training.events import Event, Probed, Quicker, StepDone, TapeFinished
from ddpm_studio.training.leaving import Leaving
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.step import Stepped, TrainingStep

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card can be used here"),
]
RecipeOf = Callable[..., Recipe]


def session_of(recipe: Recipe, *, eager: bool = False, **plan: Any) -> Session:
    """On the card, with changes of its plan."""
    recipe = recipe.with_settings({"compute.device": DEVICE})
    session = build(recipe, dataset_of(recipe))
    session.plan = replace(session.plan, recorded=not eager, **plan)
    return session


def all_recorded(events: Iterable[Event]) -> bool:
    return not [event for event in events if isinstance(event, Quicker) and not event.good]


def stepped(session: Session, count: int) -> list[Stepped]:
    """So many steps; recorded, unless its plan is eager."""
    steps, done = TrainingStep(session), list[Stepped]()
    while len(done) < count:
        done += steps.advance(count - len(done))
    assert steps.eager_because == ""
    assert (steps._replay is not None) == session.plan.graphs
    return done


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_train_resume_and_sample_on_the_card(
    kind: str, precision: str, recipe_of: RecipeOf, new_run: Callable[..., Run]
) -> None:
    run = new_run(recipe_of(kind, compute__device=DEVICE, compute__precision=precision, preview__budget=3.0))
    events = [*run_training(run, Control(), until=6), *run_training(run, Control(), until=12)]
    assert [e.step for e in events if isinstance(e, StepDone)] == list(range(1, 13))
    assert all(np.isfinite([e.train, e.held_out]).all() for e in events if isinstance(e, Probed))
    assert all_recorded(events)
    session = open_session(run)
    assert session.step == 12
    assert all(p.device.type == DEVICE for p in session.network.parameters())
    for device in (DEVICE, "cpu"):  # what a card has learnt, a processor can draw
        made = list(run_sampling(run, Control(), SampleRequest(5, 0), device=device))
        assert all_recorded(made)
        (tape,) = [e.tape for e in made if isinstance(e, TapeFinished)]
        assert tape.complete
        shape, dtype = ((5, 2), np.float32) if kind == "points" else ((5, 8, 12, 3), np.uint8)
        assert all(f.x.shape == shape and f.x.dtype == dtype for f in tape.frames)


def test_auto_takes_the_card(recipe_of: RecipeOf, new_run: Callable[..., Run]) -> None:
    session = open_session(new_run(recipe_of("pictures", compute__device="auto", compute__precision="auto")))
    assert session.plan.device.type == DEVICE
    assert torch.cuda.get_device_name() in session.plan.describe()
    for way in ("TF32", "bfloat16", "masters"):
        assert way in session.plan.reason
    assert "cannot be had" not in session.plan.reason


@pytest.mark.parametrize(
    ("kind", "plan", "near"),
    [
        ("points", {}, 1e-3),
        ("pictures", {"precision": "float32"}, 1e-3),
        ("pictures", {"precision": "tf32"}, 1e-2),
        ("pictures", {"precision": "bfloat16"}, 3e-2),
        ("pictures", {"precision": "bfloat16", "masters": True}, 3e-2),
    ],
)
def test_replayed_steps_are_the_eager_ones(kind: str, plan: dict[str, Any], near: float, recipe_of: RecipeOf) -> None:
    """The same items, levels and noise; what is left is the order of sums."""
    recipe = recipe_of(kind, training__clip_norm=1.0, data__epoch_end="short")
    eager, replayed = session_of(recipe, eager=True, **plan), session_of(recipe, **plan)
    eager.images_seen = replayed.images_seen = eager.order.count - 2  # so that the first batch is a short one
    wanted, found = stepped(eager, 20), stepped(replayed, 20)
    assert [each.items for each in found] == [each.items for each in wanted]
    assert found[0].items == 2
    assert [each.rate for each in found] == [each.rate for each in wanted]
    for name in ("loss", "grad_norm"):
        mine, theirs = (np.array([getattr(each, name) for each in steps]) for steps in (found, wanted))
        np.testing.assert_allclose(mine, theirs, rtol=5 * near, err_msg=name)
    for mine, theirs in ((replayed.network, eager.network), (replayed.ema, eager.ema)):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 1 - near
    assert replayed.state()[1] == eager.state()[1]


def test_learning_with_masters_agrees_with_float32(recipe_of: RecipeOf) -> None:
    recipe = recipe_of("pictures", training__learning_rate=3e-3, training__batch=16)
    exact = session_of(recipe, precision="float32")
    rounded = session_of(recipe, precision="bfloat16", masters=True)
    first = [stepped(session, 1)[0].loss for session in (exact, rounded)]
    a, b = exact.optimizer.gradient, rounded.optimizer.gradient
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.98
    assert not torch.equal(a, b)
    assert first[1] == pytest.approx(first[0], rel=0.02)
    losses = [np.array([each.loss for each in stepped(session, 60)]) for session in (exact, rounded)]
    assert losses[0][-15:].mean() < 0.97 * losses[0][:5].mean()
    assert losses[1][-15:].mean() == pytest.approx(losses[0][-15:].mean(), rel=0.05)
    assert {tensor.dtype for tensor in rounded.state()[0].values()} == {torch.float32}


@pytest.mark.parametrize("kind", ["ddpm", "ddim", "heun", "dpmpp-3m", "unipc", "ipndm"])
def test_recorded_sampling_is_the_plain_one(kind: str, recipe_of: RecipeOf) -> None:
    """Calls, walks with frames and whole walks, before and after the weights have moved."""
    recipe = recipe_of("pictures", sampler__kind=kind, sampler__steps=8)
    plain, session = session_of(recipe, eager=True, precision="float32"), session_of(recipe, precision="float32")
    for _ in range(2):
        wanted = tape_of(plain)
        for _ in range(3):  # the call is recorded, the walk is, it is repeated
            assert_near(tape_of(session), wanted)
        pictures = draw(plain, recipe.sampler, 5)
        for _ in range(3):
            assert near(draw(session, recipe.sampler, 5), pictures)
        assert len(session.recordings) >= 3
        stepped(plain, 5)
        session.load_state(*plain.state())
    assert not session.notes


def tape_of(session: Session) -> Any:
    events = list(sample(session, Control(), session.recipe.sampler, 5, 1, "ema", "sample"))
    assert all_recorded(events)
    return next(event.tape for event in events if isinstance(event, TapeFinished))


def near(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    """Grey levels of which few differ, and by one."""
    off = np.abs(a.astype(int) - b.astype(int))
    return a.shape == b.shape and bool(off.max() <= 1) and bool((off > 0).mean() < 0.02)


def assert_near(tape: Any, wanted: Any) -> None:
    assert len(tape.frames) == len(wanted.frames)
    assert tape.calls == wanted.calls
    for mine, theirs in zip(tape.frames, wanted.frames, strict=True):
        assert (mine.index, mine.t) == (theirs.index, theirs.t)
        assert near(mine.x, theirs.x)
        assert (mine.x0 is None) == (theirs.x0 is None)
        if mine.x0 is not None:
            assert near(mine.x0, theirs.x0)
            assert near(mine.eps, theirs.eps)


def test_frames_leave_while_the_next_is_computed() -> None:
    """Their memory is not given away before they have arrived."""
    leaving = Leaving(DEVICE)
    assert leaving.ahead == 1
    for size in (1, 1000, 1 << 22):
        there, wanted = [], []
        for seed in range(8):
            made = torch.randn(size, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(seed))
            wanted.append(made.cpu().numpy())
            there.append(leaving([made * 1, None]))
            torch.full((size,), torch.nan, device=DEVICE)
        for each, right in zip(there, wanted, strict=True):
            found, nothing = each()
            assert nothing is None
            assert found is not None
            assert np.array_equal(found, right)


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_frames_that_leave_beside_the_computing_are_the_same(
    kind: str, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = session_of(recipe_of(kind, sampler__steps=5), eager=True)
    found = tape_of(session)

    class Waiting(Leaving):
        def __init__(self, device: Any) -> None:
            super().__init__(device)
            self.ahead = 0

    monkeypatch.setattr(sampling, "Leaving", Waiting)
    wanted = tape_of(session)
    assert found.complete
    for mine, theirs in zip(found.frames, wanted.frames, strict=True):
        for name in ("x", "x0", "eps"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert (a is None and b is None) or np.allclose(a, b, atol=1e-4 if kind == "points" else 1)


def test_no_rung_of_the_ladder_is_missing() -> None:
    *_, found = ladder(Effort(seconds=0.2, quick=True, device=DEVICE))
    assert not [rung for rung in found.rungs if rung.why and "compile" not in rung.name]  # which needs a compiler
    assert all(rung.items_per_s > 0 and rung.peak_mb > 0 for rung in found.rungs)
