"""One step of training as a fixed program over fixed memory: the same lines run eagerly and as a graph on a card.

A card takes longer to be told a small step than to compute it. There the step is recorded once (a CUDA graph) and
replayed, several in a row; nothing in it depends on a value that only the host could read.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_studio.diffusion.noise import mix
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.build import Session
from ddpm_studio.training.ema import warmed_up
from ddpm_studio.training.memory import is_out_of_memory
from ddpm_studio.training.objective import draw_levels, loss_per_item
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.recorded import record, told

SLICE_SECONDS = 0.02  # of replayed steps between two looks at what is asked for
MOST = 64  # steps in a slice


class Stepped(NamedTuple):
    """What one step came to. If loss or gradient norm is not finite, it left all weights as they were."""

    step: int
    images_seen: int
    items: int
    loss: float
    grad_norm: float
    rate: float  # learning rate

    @property
    def finite(self) -> bool:
        return math.isfinite(self.loss) and math.isfinite(self.grad_norm)


class _Host(NamedTuple):
    """What the host knows of a step before it."""

    items: Tensor  # int64 (batch,): which
    rate: float
    weight: float  # with which the average moves towards the network


class TrainingStep:
    """Takes the steps of a session: ``advance`` moves its weights, average, moments and counters.

    Attributes:
        eager_because: why no step is recorded any more, though a card computes; "" as long as that works.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._replay: _Replay | None = None
        self.eager_because = ""

    def advance(self, most: int = 1) -> list[Stepped]:
        """Take a step; on a card that replays them, as many as take 20 ms, but at most ``most``.

        Where there is no room for it, sampling gives back what its recordings hold.
        """
        try:
            return self._advance(most)
        except (RuntimeError, MemoryError) as error:
            if not (is_out_of_memory(error) and self._session.recordings):
                raise
        self._session.recordings.forget()  # here, where the error has let go of what it held
        return self._advance(most)

    def _advance(self, most: int) -> list[Stepped]:
        session = self._session
        # Adam's β1 is a number of the recording: where it moves with each step, nothing is recorded.
        recordable = session.recipe.training.decay != "one-cycle"
        if session.plan.graphs and recordable and not self.eager_because and (done := self._replayed(most)):
            return done
        host = self._hosts(1)[0]
        device = session.plan.device
        _seed(session, 0)
        session.optimizer.rate.fill_(host.rate)
        values = compute(session, host.items.to(device), torch.tensor(host.weight, device=device), None)
        return self._count([host], [values.tolist()])

    def _replayed(self, most: int) -> list[Stepped]:
        """Steps by a recording. None where an epoch ends within the batch, or where recording or replaying fails."""
        session = self._session
        index = self._hosts(1)[0].items
        if len(index) < session.order.whole(session.recipe.training.batch):
            return []  # not recorded: whole ones come more often
        try:
            if self._replay is None or not self._replay.fits():
                self._replay = None  # its memory first
                self._replay = _Replay(session, index)
            hosts = self._hosts(min(most, self._replay.slice))
            return self._count(hosts, self._replay(hosts))
        except Exception as error:  # of whatever library: a step that is not recorded does the same
            done = self._replay.done if self._replay is not None else []
            if is_out_of_memory(error) and session.recordings and not done:
                self._replay = None
                raise  # with their room it may go
            self.eager_because = told(error)
            session.notes.append(f"steps are not recorded on this card: {self.eager_because}")
        self._replay = None
        _release(session)
        return self._count(hosts[: len(done)], done) if done else []

    def _hosts(self, count: int) -> list[_Host]:
        """The next ``count`` steps as the host knows them, fewer where a batch of another size comes."""
        session = self._session
        settings, recipe, seen = session.recipe.training, session.recipe, session.images_seen
        hosts: list[_Host] = []
        for i in range(count):
            index = session.order(seen, settings.batch)
            if hosts and len(index) != len(hosts[0].items):
                break
            decay = settings.ema_decay
            if settings.ema_warmup:
                decay = warmed_up(decay, session.ema_updates + i)
            rate = learning_rate(recipe, session.step + i) * session.rate_scale
            hosts.append(_Host(index, rate, 1 - decay))
            seen += len(index)
        return hosts

    def _count(self, hosts: list[_Host], values: list[list[float]]) -> list[Stepped]:
        session, done = self._session, []
        for host, (loss, norm) in zip(hosts, values, strict=True):
            session.step += 1
            session.images_seen += len(host.items)
            done.append(Stepped(session.step, session.images_seen, len(host.items), loss, norm, host.rate))
            session.ema_updates += done[-1].finite
        return done


def compute(session: Session, index: Tensor, weight: Tensor, hold: Tensor | None) -> Tensor:
    """The step on the items ``index`` int64 (batch,): (loss, gradient norm), float32 (2,) on the device.

    The average moves by ``weight`` () towards the network. Nothing moves if the loss or the gradient is not finite, or
    if ``hold`` () is 1.
    """
    recipe, settings = session.recipe, session.recipe.training
    x0, label = session.items.batch(index)
    if not session.classes:
        label = None
    t = draw_levels(len(x0), session.schedule.steps, settings.stratified, x0.device, recipe.objective.first_level)
    eps = torch.randn_like(x0)

    adam, crew = session.optimizer, session.plan.crew

    def descend(member: int, items: slice) -> Tensor:
        """The part of the loss that these items make, its gradient added to the member's own."""
        learner = session.members[member]
        learner.begin()
        denoiser = session.training_denoiser(learner.network)
        alpha, sigma = session.schedule.at(t[items], x0)
        x_t = alpha * x0[items] + sigma * eps[items]
        target = denoiser.parameterization.encode(x0[items], eps[items], alpha, sigma)
        out = denoiser.output(x_t, t[items], None if label is None else label[items])
        losses = loss_per_item(recipe, out, target, alpha, sigma)
        loss = losses.mean() * (len(losses) / len(x0))
        loss.backward()  # type: ignore[no-untyped-call]
        learner.end()
        return loss.detach()

    if crew is None:
        loss = descend(0, slice(None))
    else:
        parts = crew.share(descend, len(x0))
        loss = torch.stack(parts).sum()
        for other in session.members[1 : len(parts)]:
            adam.gradient.add_(other.gradient)
    norm = torch.linalg.vector_norm(adam.gradient)
    if settings.clip_norm is not None:
        adam.gradient.mul_((settings.clip_norm / (norm + 1e-6)).clamp(max=1.0))
    result = torch.stack((loss, norm))
    skip = result.isfinite().all().logical_not().float()
    if hold is not None:
        skip = torch.maximum(skip, hold)
    adam.step(adam_beta1(recipe, session.step), skip)
    session.average(weight, skip)
    return result


def _release(session: Session) -> None:
    """Give back the memory of what was recorded."""
    if session.plan.device.type == "cuda":
        torch.cuda.empty_cache()


def _seed(session: Session, ahead: int) -> None:
    """All chance of the step ``ahead`` of the present one: levels, noise, mirroring, dropout.

    Seeds the default generator of the device alone: torch.manual_seed keeps a stack trace for absent cards.
    """
    seed = mix(session.recipe.seed, 0, session.step + ahead)
    torch.default_generator.manual_seed(seed)
    if session.plan.device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _recorded(recipe: Recipe) -> Recipe:
    """The recipe without what the host tells each replay, so that a change of it needs no new recording."""
    moving: dict[str, Any] = {"training.learning_rate": 1e-3, "training.ema_decay": 0.5, "preview.budget": 0.0}
    return recipe.with_settings(moving)


class _Replay:
    """A recorded step; what differs from step to step lies in rows, of which each replay takes the next."""

    def __init__(self, session: Session, index: Tensor) -> None:
        self._session, self._recipe = session, _recorded(session.recipe)
        self._adam, self._seen = session.optimizer.adam, session.recipe
        self.slice = 1
        device = session.plan.device
        self._index = index.to(device).repeat(MOST, 1)
        self._rate, self._weight = (torch.zeros(MOST, device=device) for _ in range(2))
        self._results = torch.zeros(MOST, 2, device=device)
        self._row = torch.zeros(1, dtype=torch.int64, device=device)
        self._hold = torch.ones((), device=device)
        self._plan = session.plan
        self.done: list[list[float]] = []  # of the last call, where it failed
        self.replay: Callable[[], Any]
        buffers = [(buffer, buffer.clone()) for buffer in session.network.buffers()]
        try:
            self._record()
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
        self._hold.zero_()

    def _record(self) -> None:
        """Record the step. Nothing moves in it: all is held."""
        self.replay = record(self._take_row)

    def fits(self) -> bool:
        """Whether what was recorded is still what the session computes."""
        recipe = self._session.recipe
        same, self._seen = recipe is self._seen, recipe
        others = self._adam is self._session.optimizer.adam and self._plan is self._session.plan
        return others and (same or self._recipe == _recorded(recipe))

    def _take_row(self) -> None:
        row = self._row
        self._session.optimizer.rate.copy_(self._rate.index_select(0, row)[0])
        index = self._index.index_select(0, row)[0]
        weight = self._weight.index_select(0, row)[0]
        self._results.index_copy_(0, row, compute(self._session, index, weight, self._hold)[None])
        row.add_(1)

    def __call__(self, hosts: list[_Host]) -> list[list[float]]:
        """Replay the steps that the host has planned: (loss, gradient norm) of each."""
        begun, count = time.perf_counter(), len(hosts)
        self._index[:count].copy_(torch.stack([host.items for host in hosts]))
        self._rate[:count].copy_(torch.tensor([host.rate for host in hosts]))
        self._weight[:count].copy_(torch.tensor([host.weight for host in hosts]))
        self._row.zero_()
        self.done = []
        try:
            for i in range(count):
                _seed(self._session, i)
                self.replay()
        except Exception:
            self.done = self._results[: int(self._row)].tolist()  # these have moved the weights
            raise
        values: list[list[float]] = self._results[:count].tolist()  # waits for the card, once in a slice
        each = (time.perf_counter() - begun) / count
        self.slice = min(max(round(SLICE_SECONDS / each), 1), MOST)
        return values
