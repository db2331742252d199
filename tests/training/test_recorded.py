"""Recorded network calls: here what a card would repeat is run again, on the same memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ddpm_studio.diffusion.noise import seed_tensor
from ddpm_studio.diffusion.reverse import ReverseStep
from ddpm_studio.diffusion.samplers import sampler_of
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.engine import dataset_of
from ddpm_studio.evaluation import samples
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.training import recorded, sampling, walks
from ddpm_studio.training import step as step_module
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Comparison, Control
from ddpm_studio.training.events import Quicker, StepDone, TapeFinished, TapeGrew
from ddpm_studio.training.recorded import KEPT, RecordedCalls, Recordings
from ddpm_studio.training.sampling import Sources, compare, sample
from ddpm_studio.training.trainer import MemoryFullError, train

RecipeOf = Callable[..., Recipe]


class Card:
    """Records by remembering the work. Its memory is written by the next repetition, as that of a graph is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried, self.repeats = 0, 0
        self.records: list[int] = []  # pieces of each
        self.error: Exception | None = None
        for module in (recorded, walks):
            monkeypatch.setattr(module, "record_in_turn", self.record)

    def record(self, works: Sequence[Callable[[], object]], warm_up: Callable[[], object]) -> list[Callable[[], Any]]:
        self.tried += 1
        warm_up()
        if self.error is not None:
            raise self.error
        self.records.append(len(works))

        def repeated(work: Callable[[], object]) -> Callable[[], None]:
            work()

            def repeat() -> None:
                self.repeats += 1
                work()

            return repeat

        return [repeated(work) for work in works]


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


def recorded_calls() -> tuple[RecordedCalls, Recordings, list[str]]:
    """Of a layer of its own; what is told comes into the list."""
    layer, told = Layer(), list[str]()
    recordings = Recordings(told.append)
    return RecordedCalls(layer, layer, recordings), recordings, told


def test_a_call_that_comes_again_is_recorded(card: Card) -> None:
    call, _, told = recorded_calls()
    weight: Any = call._network.weight
    pairs = [ask(call, seed=seed) for seed in range(4)]
    assert all(torch.equal(found, wanted) for found, wanted in pairs), "none is written again"
    assert (len(card.records), card.repeats) == (1, 3)
    with torch.no_grad():
        weight.mul_(3)  # it learns on: the recording reads the same memory
    assert torch.equal(*ask(call))
    assert len(card.records) == 1
    labels = torch.arange(3)
    assert all(torch.equal(*ask(call, label=labels + i)) for i in range(3))
    assert len(card.records) == 2
    assert torch.equal(*ask(call, 4))
    assert len(card.records) == 2, "once is not again"
    weight.data = weight.data.clone()  # elsewhere now
    assert torch.equal(*ask(call))
    assert torch.equal(*ask(call))
    assert len(card.records) == 3
    assert not told


def test_few_recordings_are_kept_and_gradients_pass_by(card: Card) -> None:
    call, recordings, _ = recorded_calls()
    for count in range(1, KEPT + 3):
        for _ in range(2):
            ask(call, count)
    assert len(recordings) == KEPT
    before = card.repeats
    ask(call, KEPT + 2)
    assert card.repeats == before + 1, "the latest are kept"
    assert call(torch.ones(9, 2), torch.ones(9), None).requires_grad
    assert call(torch.ones(9, 2), torch.ones(9), None).requires_grad
    assert card.repeats == before + 1
    for count in range(1, 3 * recorded.KNOWN):
        ask(call, count)
    assert len(recordings._met) <= recorded.KNOWN


def test_what_cannot_be_recorded_is_called_and_told_once(card: Card) -> None:
    call, _, told = recorded_calls()
    card.error = RuntimeError("operation not permitted when stream is capturing\nand more")
    for _ in range(4):
        assert torch.equal(*ask(call))
    assert told == ["network calls are not recorded on this card: operation not permitted when stream is capturing"]
    card.error = None
    ask(call)
    assert (card.tried, card.records) == (1, [])


NO_ROOM = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", NO_ROOM, ids=["torch", "cublas"])
def test_without_room_it_is_tried_again_ever_more_seldom(card: Card, error: Exception) -> None:
    call, recordings, told = recorded_calls()
    assert all(torch.equal(*ask(call, 5)) for _ in range(2))
    card.error = error
    tried = list[int]()
    for number in range(1, 101):
        before = card.tried
        assert torch.equal(*ask(call))
        if card.tried > before:
            tried.append(number)
    assert tried == [2, 2 + 4, 6 + 8, 14 + 16, 30 + 32]
    assert len(recordings) == 0, "what was recorded has made room"
    card.error = None
    assert all(torch.equal(*ask(call, 5)) for _ in range(4))
    assert len(recordings) == 1, "another shape has its own count"
    assert not told, "another time there may be room"


def test_a_recording_that_fails_later_is_made_good(card: Card) -> None:
    call, recordings, told = recorded_calls()
    layer: Any = call._network
    assert all(torch.equal(*ask(call)) for _ in range(3))
    wanted = layer.forward
    layer.forward = lambda *given: exec('raise RuntimeError("the graph is gone")')
    (found,) = recordings._made.values()
    found._call = layer.forward
    layer.forward = wanted
    assert torch.equal(*ask(call))
    assert told == ["network calls are not recorded on this card: the graph is gone"]
    assert len(recordings) == 0


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


RULES = ["ddpm", "ddim", "heun", "dpmpp-2m", "dpmpp-3m", "unipc", "ipndm", "langevin"]


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("whole", [True, False], ids=["walks", "calls"])
def test_recorded_samples_are_the_eager_ones(
    whole: bool,
    kind: str,
    card: Card,
    on_a_card: Callable[..., Session],
    recipe_of: RecipeOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every rule, those that look back too: one recording of a call serves all moves, one of a walk is all of them."""
    if not whole:
        monkeypatch.setattr(walks, "LONGEST", 7)
    rule = {"sampler__kind": kind, "sampler__steps": 8} | ({"sampler__moves": 3} if kind == "langevin" else {})
    recipe = recipe_of("pictures", **rule)
    plain = build(recipe, dataset_of(recipe))
    (wanted,) = tapes(plain)
    (other,) = tapes(plain, seed=2)
    session = on_a_card(**rule)
    found = [tapes(session)[0], tapes(session)[0], tapes(session, seed=2)[0]]
    assert card.records == [1, wanted.total - 1] if whole else [1]
    assert card.repeats == (wanted.calls - 1 + 2 * (wanted.total - 1) if whole else 3 * wanted.calls - 1)
    for tape, theirs in zip(found, [wanted, wanted, other], strict=True):
        assert_same(tape, theirs)
    assert not session.notes


def assert_same(tape: Tape, wanted: Tape) -> None:
    assert (tape.calls, len(tape.frames)) == (wanted.calls, len(wanted.frames))
    for mine, theirs in zip(tape.frames, wanted.frames, strict=True):
        assert (mine.index, mine.t) == (theirs.index, theirs.t)
        for name in ("x", "x0", "eps", "eps_rms"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert (a is None and b is None) or np.array_equal(a, b)


@pytest.mark.parametrize("kind", ["ddpm", "unipc", "heun"])
def test_many_items_are_drawn_by_one_recording_of_the_whole_walk(
    kind: str, card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch after batch with no state in between; the last one is smaller."""
    monkeypatch.setattr(samples, "_BATCH", 4)
    recipe = recipe_of("pictures", sampler__kind=kind, sampler__steps=6)
    wanted = samples.draw(build(recipe, dataset_of(recipe)), recipe.sampler, 18)
    session = on_a_card(sampler__kind=kind, sampler__steps=6)
    assert np.array_equal(samples.draw(session, recipe.sampler, 18), wanted)
    assert card.records == [1, 1, 1], "the call, the walk, and the call for the last two"
    before = card.repeats
    session.recordings.forget()
    assert np.array_equal(samples.draw(session, recipe.sampler, 18, weights="raw"), wanted)
    assert card.repeats > before


def test_states_of_a_recorded_walk_are_not_written_again(card: Card, on_a_card: Callable[..., Session]) -> None:
    """In a graph each repetition writes the same memory, and all see it: here it is looked at directly."""
    session = on_a_card()
    again = session.again("ema")
    assert again is not None
    keys, x = seed_tensor([1, 2]), torch.randn(2, *session.shape)
    made = walks.RecordedWalk(
        again.denoiser, [1000, 500, 100, 0], sampler_of({"kind": "ddpm"}), session.shape, (0, 2, 3), x, keys, None
    )
    steps = list(made(x, keys, None))
    assert [step.index for step in steps] == [0, 2, 3]
    inside = [state.step for state in made._states.values()]
    ours, theirs = ({id(each) for s in of for each in (s.x, s.x0, s.eps) if each is not None} for of in (steps, inside))
    assert not ours & theirs
    assert x.data_ptr() not in {state.step.x.data_ptr() for state in made._states.values()}


@pytest.mark.parametrize("good", [2, 9], ids=["while it is recorded", "while it is repeated"])
def test_a_walk_that_cannot_be_recorded_goes_on_and_is_told_once(
    good: int, card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it begins, or in the middle; each state comes once."""
    recipe = recipe_of("pictures", sampler__kind="dpmpp-2m", sampler__steps=6)
    (wanted,) = tapes(build(recipe, dataset_of(recipe)))
    session = on_a_card(sampler__kind="dpmpp-2m", sampler__steps=6)
    pieces, real = [0], walks.RecordedWalk._go

    def go(self: Any, start: int, end: int) -> None:
        pieces[0] += 1
        if pieces[0] > good:
            raise RuntimeError("no room in the stream\nand more")
        real(self, start, end)

    monkeypatch.setattr(walks.RecordedWalk, "_go", go)
    events = [event for _ in range(3) for event in sampled(session)]
    for tape in (event.tape for event in events if isinstance(event, TapeFinished)):
        assert_same(tape, wanted)
    told = [event.reason for event in events if isinstance(event, Quicker)]
    assert told == ["walks of samplers are not recorded on this card: no room in the stream"]


def sampled(session: Session, seed: int = 1) -> list[Any]:
    return list(sample(session, Control(), session.recipe.sampler, 5, seed, "ema", "sample"))


def tapes(session: Session, seed: int = 1) -> list[Any]:
    return [event.tape for event in sampled(session, seed) if isinstance(event, TapeFinished)]


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


@pytest.mark.parametrize("seen", ["sample", "compare", "last look"])
def test_whoever_samples_is_told_what_is_not_recorded(
    seen: str, card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf
) -> None:
    """Not the next training step alone: there may be none."""
    session = on_a_card(preview__budget=3.0)
    card.error = RuntimeError("no graphs here")
    if seen == "sample":
        events = sampled(session)
    elif seen == "compare":
        cells = tuple(Cell(session.recipe.sampler, seed, label=str(seed)) for seed in range(2))
        events = list(compare(Sources(session), Control(), Comparison(cells, 3)))
    else:
        session.step = session.recipe.training.steps
        events = list(train(session, Control()))
    told = [event.reason for event in events if isinstance(event, Quicker)]
    assert "network calls are not recorded on this card: no graphs here" in told
    assert len(told) == len(set(told))
    assert not session.notes


def test_sampling_makes_room_for_a_step(
    card: Card, on_a_card: Callable[..., Session], recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its recordings the step goes, and comes to the same; where it does not go either, that is told."""
    recipe = recipe_of("pictures")
    plain, session = build(recipe, dataset_of(recipe)), on_a_card()
    monkeypatch.setattr(type(session.plan), "graphs", property(lambda plan: plan is session.plan))
    list(train(plain, Control(), until=4))
    tapes(session)
    assert session.recordings
    real, always = step_module.loss_per_item, False

    def loss(*given: Any) -> Tensor:
        if session.recordings or always:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(*given)

    monkeypatch.setattr(step_module, "loss_per_item", loss)
    events = list(train(session, Control(), until=4))
    assert len([event for event in events if isinstance(event, StepDone)]) == 4
    assert not [event for event in events if isinstance(event, Quicker)], "steps are recorded after all"
    ours, theirs = session.state()[0], plain.state()[0]
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    tapes(session)
    tapes(session)
    always = True
    with pytest.raises(MemoryFullError):
        list(train(session, Control(), until=6))
    assert not session.recordings


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
