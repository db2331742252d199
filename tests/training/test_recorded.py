"""Recorded network calls: here what a card would repeat is run again, on the same memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ddpm_studio.diffusion.reverse import ReverseStep
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe
from ddpm_studio.training import recorded, sampling
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import Quicker, TapeFinished, TapeGrew
from ddpm_studio.training.recorded import KEPT, RecordedCalls
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.trainer import train

RecipeOf = Callable[..., Recipe]


class Card:
    """Records by remembering the work. Its memory is written by the next repetition, as that of a graph is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.records, self.repeats, self.error = 0, 0, None  # type: tuple[int, int, Exception | None]
        monkeypatch.setattr(recorded, "record", self.record)

    def record(self, work: Callable[[], object]) -> Callable[[], Any]:
        if self.error is not None:
            raise self.error
        self.records += 1
        work()

        def repeat() -> None:
            self.repeats += 1
            work()

        return repeat


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))
        self.called = 0

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        self.called += 1
        return self.weight * x + t[:, None] + (0 if label is None else label[:, None])


def ask(call: RecordedCalls, count: int = 3, label: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor]:
    """What comes out, and what should."""
    draw = torch.Generator().manual_seed(seed)
    x, t = torch.randn(count, 2, generator=draw), torch.rand(count, generator=draw)
    with torch.no_grad():
        found = call(x, t, label)
        wanted = call._network.weight * x + t[:, None] + (0 if label is None else label[:, None])  # type: ignore[operator]
    return found, wanted


def test_a_call_that_comes_again_is_recorded(card: Card) -> None:
    layer, told = Layer(), list[str]()
    call = RecordedCalls(layer, layer, told.append)
    pairs = [ask(call, seed=seed) for seed in range(4)]
    assert all(torch.equal(found, wanted) for found, wanted in pairs), "none is written again"
    assert (card.records, card.repeats) == (1, 3)
    with torch.no_grad():
        layer.weight.mul_(3)  # it learns on: the recording reads the same memory
    assert torch.equal(*ask(call))
    assert card.records == 1
    labels = torch.arange(3)
    assert all(torch.equal(*ask(call, label=labels + i)) for i in range(3))
    assert card.records == 2
    assert torch.equal(*ask(call, 4))
    assert card.records == 2, "once is not again"
    layer.weight.data = layer.weight.data.clone()  # elsewhere now
    assert torch.equal(*ask(call))
    assert torch.equal(*ask(call))
    assert card.records == 3
    assert not told


def test_few_recordings_are_kept_and_gradients_pass_by(card: Card) -> None:
    layer = Layer()
    call = RecordedCalls(layer, layer, lambda why: None)
    for count in range(1, KEPT + 3):
        for _ in range(2):
            ask(call, count)
    assert len(call._recorded) == KEPT
    before = card.repeats
    assert call(torch.ones(9, 2), torch.ones(9), None).requires_grad
    assert call(torch.ones(9, 2), torch.ones(9), None).requires_grad
    assert card.repeats == before


def test_what_cannot_be_recorded_is_called_and_told_once(card: Card) -> None:
    layer, told = Layer(), list[str]()
    call = RecordedCalls(layer, layer, told.append)
    card.error = torch.OutOfMemoryError("CUDA out of memory")
    assert all(torch.equal(*ask(call)) for _ in range(3))
    assert not told, "another time there may be room"
    card.error = RuntimeError("operation not permitted when stream is capturing\nand more")
    for _ in range(4):
        assert torch.equal(*ask(call))
    assert told == ["network calls are not recorded on this card: operation not permitted when stream is capturing"]
    card.error = None
    ask(call)
    assert card.records == 0


# -- in a session


@pytest.fixture
def on_a_card(card: Card, monkeypatch: pytest.MonkeyPatch, recipe_of: RecipeOf) -> Callable[..., Session]:
    """Sessions on a processor that takes itself for a card."""

    def make(kind: str = "pictures", **changes: Any) -> Session:
        recipe = recipe_of(kind, **changes)
        session = build(recipe, dataset_of(recipe))
        monkeypatch.setattr(type(session.plan), "graphs", property(lambda plan: True))
        return session

    return make


@pytest.mark.parametrize("kind", ["ddpm", "ddim", "heun", "dpmpp-2m", "dpmpp-3m", "unipc", "ipndm", "langevin"])
def test_recorded_samples_are_the_eager_ones(
    kind: str, card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf
) -> None:
    """Every rule, those that look back too: one recording serves all their moves."""
    recipe = recipe_of("pictures", sampler__kind=kind, sampler__steps=8)
    plain = build(recipe, dataset_of(recipe))
    (wanted,) = tapes(plain)
    session = on_a_card(sampler__kind=kind, sampler__steps=8)
    first, second = tapes(session)[0], tapes(session)[0]
    assert card.records == 1
    assert card.repeats >= 2 * 8 - 2
    for tape in (first, second):
        assert len(tape.frames) == len(wanted.frames)
        for mine, theirs in zip(tape.frames, wanted.frames, strict=True):
            assert np.array_equal(mine.x, theirs.x)
            assert mine.x0 is None or np.array_equal(mine.x0, theirs.x0)


def tapes(session: Session) -> list[Any]:
    events = list(sample(session, Control(), session.recipe.sampler, 5, 1, "ema", "sample"))
    return [event.tape for event in events if isinstance(event, TapeFinished)]


def test_samples_follow_what_is_learnt(
    card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The average moves on between two looks, and the first step moves it to other memory."""
    plain_recipe = recipe_of("pictures")
    plain = build(plain_recipe, dataset_of(plain_recipe))
    wanted = [tapes(plain)[0]]
    for until in (3, 6):
        list(train(plain, Control(), until=until))
        wanted.append(tapes(plain)[0])
    session = on_a_card()
    found = [tapes(session)[0]]
    for until in (3, 6):
        list(train(session, Control(), until=until))
        found.append(tapes(session)[0])
    assert card.repeats > 6
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.array_equal(mine.frames[-1].x, theirs.frames[-1].x)
    assert not np.array_equal(found[0].frames[-1].x, found[-1].frames[-1].x)


def test_a_training_tells_why_calls_are_not_recorded(card: Card, on_a_card: Callable[..., Session]) -> None:
    session = on_a_card()
    card.error = RuntimeError("no graphs here")
    events = list(train(session, Control(), until=4))
    told = [event.reason for event in events if isinstance(event, Quicker)]
    assert "network calls are not recorded on this card: no graphs here" in told
    assert len(told) == len(set(told))


@pytest.mark.parametrize("kind", ["points", "pictures"])
@pytest.mark.parametrize("ahead", [1, 3])
def test_frames_that_come_later_are_the_same(
    kind: str, ahead: int, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a card a frame is waited for when the next move is on its way."""
    recipe = recipe_of(kind, sampler__steps=5)
    session = build(recipe, dataset_of(recipe))
    (wanted,) = tapes(session)
    leaving = sampling.Leaving("cpu")
    leaving.ahead = ahead
    monkeypatch.setattr(sampling, "Leaving", lambda device: leaving)
    grew: list[tuple[int, int]] = []
    for event in sample(session, Control(), recipe.sampler, 5, 1, "ema", "sample"):
        if isinstance(event, TapeGrew):
            grew.append((event.tape.calls, len(event.tape.frames)))
    assert grew[0] == (ahead, 1)
    assert grew[-1] == (5, 6)
    assert all(now[1] == before[1] + 1 for before, now in pairwise(grew)), "each is told"
    found = event.tape
    assert found.complete
    for mine, theirs in zip(found.frames, wanted.frames, strict=True):
        assert (mine.index, mine.t) == (theirs.index, theirs.t)
        for name in ("x", "x0", "eps"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert (a is None and b is None) or np.array_equal(a, b)
        assert (mine.field is None) == (theirs.field is None) == (kind == "pictures")
        if mine.field is not None and theirs.field is not None:
            assert np.array_equal(mine.field.score, theirs.field.score)


def test_the_size_of_the_noise_is_told_before_it_is_clipped_to_grey_levels() -> None:
    """Grey levels end at ±2.5, so what a picture's ε̂ amounts to cannot be had from them."""
    eps = torch.stack([torch.full((3, 2, 2), 4.0), torch.linspace(-3, 3, 12).view(3, 2, 2)])
    schedule = NoiseSchedule.cosine(10)
    step = ReverseStep(1, 5, 6, 8, torch.zeros_like(eps), torch.zeros_like(eps), eps, 1)
    frame = sampling.send_frame(sampling.Leaving("cpu"), step, schedule, "pictures", sampling.Tone())()
    assert frame.eps is not None
    assert frame.eps_rms is not None
    assert frame.eps[0].min() == 255
    assert np.allclose(frame.eps_rms, [4.0, float(eps[1].square().mean().sqrt())])
    start = replace(step, x0=None, eps=None)
    assert sampling.send_frame(sampling.Leaving("cpu"), start, schedule, "pictures", sampling.Tone())().eps_rms is None
