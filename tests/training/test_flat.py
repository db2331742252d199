"""Flat parameters: one vector, the same steps as torch's AdamW takes parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe
from ddpm_studio.training import step as step_module
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import Quicker, StepDone
from ddpm_studio.training.flat import Flat, FlatAdamW
from ddpm_studio.training.step import TrainingStep, compute
from ddpm_studio.training.trainer import train

BETAS = (0.9, 0.99)
GO = torch.zeros(())
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def network() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(64, 5))
    return net.to(memory_format=torch.channels_last)


def test_every_parameter_is_a_view_in_its_own_layout() -> None:
    net = network()
    before = deepcopy(net)
    flat = Flat(net)
    assert flat.names == [name for name, _ in before.named_parameters()]
    for mine, old in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.equal(mine, old)
        assert [mine.is_contiguous(memory_format=layout) for layout in LAYOUTS if mine.ndim == 4] == [
            old.is_contiguous(memory_format=layout) for layout in LAYOUTS if old.ndim == 4
        ]
        assert mine.untyped_storage().data_ptr() == flat.values.untyped_storage().data_ptr()
    flat.values.zero_()
    assert not any(p.any() for p in net.parameters())
    x = torch.randn(2, 3, 6, 6)
    copied = deepcopy(net)  # as the average is made: nothing is shared with it
    flat.values.fill_(1.0)
    assert not copied(x).any()


def descend(net: nn.Module, ours: FlatAdamW, theirs: torch.optim.Optimizer, plain: nn.Module, steps: int) -> None:
    for i in range(steps):
        x = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(i))
        ours.gradient.zero_()
        net(x).square().mean().backward()
        ours.rate.fill_(1e-2)
        ours.step(BETAS[0], GO)
        theirs.zero_grad()
        plain(x).square().mean().backward()
        theirs.step()


def assert_alike(net: nn.Module, plain: nn.Module) -> None:
    for (name, mine), other in zip(net.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7, msg=name)


def test_it_steps_as_torch_does_parameter_by_parameter() -> None:
    net, plain = network(), network()
    ours = FlatAdamW(net, betas=BETAS, weight_decay=0.1)
    theirs = torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=BETAS, weight_decay=0.1)
    descend(net, ours, theirs, plain, 6)
    assert_alike(net, plain)
    for index, slots in theirs.state_dict()["state"].items():
        for slot, value in slots.items():
            mine = ours.slots()[f"{ours.flat.names[index]}.{slot}"]
            torch.testing.assert_close(mine, value, rtol=1e-5, atol=1e-8, check_dtype=False)


def test_parameters_that_joined_later_are_corrected_for_their_own_steps() -> None:
    """What a fork carries over: some parameters have taken ten steps, the one in the middle none."""
    net, plain = network(), network()
    ours = FlatAdamW(net, betas=BETAS, weight_decay=0.0)
    theirs = torch.optim.AdamW(plain.parameters(), lr=1e-2, betas=BETAS, weight_decay=0.0)
    descend(net, ours, theirs, plain, 10)
    slots = {name: value for name, value in ours.slots().items() if not name.startswith("2.")}
    ours.load_slots(slots)
    for parameter in plain[2].parameters():
        del theirs.state[parameter]
    assert [float(ours.slots()[f"{name}.step"]) for name in ours.flat.names] == [10, 10, 10, 10, 0, 0, 10, 10]
    descend(net, ours, theirs, plain, 3)
    assert_alike(net, plain)
    assert [float(ours.slots()[f"{name}.step"]) for name in ours.flat.names] == [13, 13, 13, 13, 3, 3, 13, 13]


def test_a_skipped_step_moves_nothing() -> None:
    net = network()
    ours = FlatAdamW(net, betas=BETAS, weight_decay=0.1)
    ours.gradient.fill_(float("nan"))
    before = ours.flat.values.clone(), {name: slot.clone() for name, slot in ours.slots().items()}
    ours.rate.fill_(1.0)
    ours.step(BETAS[0], torch.ones(()))
    assert torch.equal(before[0], ours.flat.values)
    assert all(torch.equal(before[1][name], slot) for name, slot in ours.slots().items())


def test_moments_of_another_shape_are_left_out() -> None:
    ours = FlatAdamW(network(), betas=BETAS, weight_decay=0.0)
    slots = {name: torch.ones_like(slot) for name, slot in ours.slots().items()}
    slots["0.weight.exp_avg"] = torch.ones(1, 2, 3, 3)
    ours.load_slots(slots)
    assert not ours.slots()["0.weight.exp_avg_sq"].any()
    assert ours.slots()["0.bias.exp_avg"].all()
    assert float(ours.slots()["0.weight.step"]) == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=8, max_size=8))
def test_segments_cover_the_vector_and_hold_one_key_each(keys: list[int]) -> None:
    flat = Flat(network())
    parts = flat.segments(keys)
    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(flat.values)
    inside = [{k for k, at in zip(keys, flat.starts, strict=True) if p.start <= at < p.stop} for p in parts]
    assert all(len(those) == 1 for those in inside)
    assert all(a != b for a, b in pairwise(inside))


# -- the step


@pytest.fixture
def session(recipe_of: Callable[..., Recipe]) -> Session:
    recipe = recipe_of("pictures", training__clip_norm=1.0)
    return build(recipe, dataset_of(recipe))


def state_of(session: Session) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in session.state()[0].items()}


def test_a_step_that_is_held_moves_nothing(session: Session) -> None:
    """As a recording warms up: all is computed, nothing stays."""
    before = state_of(session)
    session.optimizer.rate.fill_(1.0)
    values = compute(session, torch.arange(6), torch.tensor(0.5), torch.ones(()))
    assert values.isfinite().all()
    assert all(torch.equal(before[name], tensor) for name, tensor in state_of(session).items())


class Recorded(step_module._Replay):
    """The replay without a card: the recorded lines are run, and what a graph cannot do is an error."""

    def _record(self) -> None:
        self.replay = self._take_row


def test_replayed_steps_are_the_eager_ones(recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of("pictures", training__clip_norm=1.0, training__warmup=3)
    eager, replayed = (build(recipe, dataset_of(recipe)) for _ in range(2))
    steps = TrainingStep(eager)
    wanted = [steps.advance()[0] for _ in range(20)]
    monkeypatch.setattr(type(replayed.plan), "graphs", property(lambda plan: True))
    monkeypatch.setattr(step_module, "_Replay", Recorded)
    monkeypatch.setattr(step_module, "MOST", 7)
    steps, done = TrainingStep(replayed), []
    while len(done) < 20:
        done += steps.advance(20 - len(done))
    assert done == wanted
    ours, theirs = eager.state(), replayed.state()
    assert ours[1] == theirs[1]
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())


@pytest.mark.parametrize(("seen", "batch"), [(36, 6), (36, 64), (0, 64)], ids=["after a resume", "larger", "all"])
@pytest.mark.parametrize("epoch_end", ["short", "drop", "run-on"])
def test_whole_batches_alone_are_recorded(
    epoch_end: str, seen: int, batch: int, recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 38 items a batch of 6 leaves 2 at the end of an epoch, where a resumed run may begin."""
    recipe = recipe_of("pictures", data__epoch_end=epoch_end, training__batch=batch)
    session = build(recipe, dataset_of(recipe))
    session.images_seen = seen
    monkeypatch.setattr(type(session.plan), "graphs", property(lambda plan: True))
    recorded: list[int] = []

    class Counted(Recorded):
        def _take_row(self) -> None:
            recorded.append(len(self._index[0]))
            super()._take_row()

    monkeypatch.setattr(step_module, "_Replay", Counted)
    steps, done = TrainingStep(session), []
    while len(done) < 12:
        done += steps.advance()
    whole = batch if epoch_end == "run-on" else min(batch, len(session.order._permutation(0)))
    assert recorded == [size for size in (stepped.items for stepped in done) if size == whole]
    assert len(recorded) >= 10
    assert not steps.eager_because


class Breaking(Recorded):
    """A card on which recording does not work, or replaying from some replay on."""

    recordable, replays = True, 0

    def _record(self) -> None:
        if not self.recordable:
            self._take_row()  # an error can come when half of it has been tried
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        self.replay = self._replay_some

    def _replay_some(self) -> None:
        type(self).replays -= 1
        if self.replays < 0:
            raise RuntimeError("the graph is gone")
        self._take_row()


@pytest.mark.parametrize(("recordable", "replays"), [(False, 0), (True, 0), (True, 3), (True, 8)])
def test_steps_that_cannot_be_recorded_are_taken_eagerly(
    recordable: bool, replays: int, recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of("pictures", training__steps=12)
    eager, broken = (build(recipe, dataset_of(recipe)) for _ in range(2))
    list(train(eager, Control()))
    monkeypatch.setattr(type(broken.plan), "graphs", property(lambda plan: True))
    monkeypatch.setattr(step_module, "_Replay", Breaking)
    monkeypatch.setattr(Breaking, "recordable", recordable)
    monkeypatch.setattr(Breaking, "replays", replays)
    events = list(train(broken, Control()))
    assert [e.step for e in events if isinstance(e, StepDone)] == list(range(1, 13))
    (told,) = [e for e in events if isinstance(e, Quicker) and e.reason.startswith("steps")]
    why = "the graph is gone" if recordable else "operation not permitted when stream is capturing"
    assert told.reason == f"steps are not recorded on this card: {why}"
    ours, theirs = eager.state(), broken.state()
    assert ours[1] == theirs[1]
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())
