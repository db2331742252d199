"""reverse_process: from x_T to x_0 as a generator, one ``ReverseStep`` for each state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_studio.diffusion.denoiser import DenoiserLike, Prediction
from ddpm_studio.diffusion.noise import gaussian, seed_tensor
from ddpm_studio.diffusion.samplers import Move, Past, Sampler
from ddpm_studio.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class ReverseStep:
    """A state of the process. Its tensors are never written again, so they may be kept and scrubbed.

    Attributes:
        index: 0 for the start x_T, then 1 … total.
        total: number of moves in the grid.
        t: the level of ``x``.
        t_from: the level at which x0 and eps were predicted (``t`` itself for the start).
        x: float32 (N, …), the state at level t.
        x0, eps: the prediction that led here, or None for the start.
        nfe: network calls so far.
    """

    index: int
    total: int
    t: int
    t_from: int
    x: Tensor
    x0: Tensor | None
    eps: Tensor | None
    nfe: int


def start_noise(
    schedule: NoiseSchedule,
    t: int,
    seeds: Sequence[int],
    shape: Sequence[int],
    *,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Where a process begins, float32 (N, *shape). Item i depends on seeds[i] alone.

    z itself on a table that keeps the variance, whatever is left of the picture there (DDPM, algorithm 2, line 1:
    at the top of tutorial 002 sigma is .976 only); elsewhere sigma_t · z (NCSN, algorithm 1; flows).
    """
    spread = 1.0 if schedule.preserving else float(schedule.sigma[t])
    return gaussian(seeds, 0, shape, device=device) * spread


class State(NamedTuple):
    """Where a process stands, and all that its next move depends on."""

    step: ReverseStep
    past: tuple[Past, ...]  # the predictions that the rule may look at, newest last
    draws: int  # of noise so far


class Walk:
    """The moves of a sampler along a grid, each a function of the state before it; see ``reverse_process``.

    Attributes:
        grid: the levels. total: moves in it.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        grid: Sequence[int],
        sampler: Sampler,
        shape: Sequence[int],
        *,
        keys: Tensor,
        schedule: NoiseSchedule | None = None,
        label: Tensor | None = None,
    ) -> None:
        """``keys``: the ``seed_tensor`` of the items, on the device where all is computed.

        Raises:
            ValueError: if the grid rises or leaves the schedule.
        """
        table: NoiseSchedule = schedule if schedule is not None else denoiser.schedule  # type: ignore[attr-defined]
        if len(grid) < 2 or any(t < u for t, u in pairwise(grid)):
            raise ValueError(f"the levels of a grid must not rise; got {list(grid)[:6]}…")
        if grid[0] > table.steps or grid[-1] < 0:
            raise ValueError(f"the grid runs from {grid[0]} to {grid[-1]}, outside the schedule's 0 … {table.steps}")
        self.grid, self.total = list(grid), len(grid) - 1
        self._denoiser, self._sampler, self._table = denoiser, sampler, table
        self._shape, self._keys, self._label = tuple(shape), keys, label

    def start(self, x: Tensor) -> State:
        """Before the first move: x (N, *shape) at level grid[0]."""
        return State(ReverseStep(0, self.total, self.grid[0], self.grid[0], x, None, None, 0), (), 0)

    @torch.no_grad()
    def move(self, state: State) -> State:
        """The next state, in new tensors."""
        step, index = state.step, state.step.index + 1
        t, u = self.grid[index - 1 : index + 1]
        nfe, draws = step.nfe, state.draws

        def predict(x: Tensor, t: int, label: Tensor | None) -> Prediction:
            nonlocal nfe
            nfe += 1
            return self._denoiser(x, t, label)

        def noise() -> Tensor:
            nonlocal draws
            draws += 1
            return gaussian(self._keys, draws, self._shape, device=self._keys.device).to(step.x)

        prediction = predict(step.x, t, self._label)
        left = self.total - index if self.grid[-1] == 0 else math.inf
        x = self._sampler.step(
            Move(self._table, step.x, t, u, prediction, state.past, noise, predict, self._label, left)
        )
        past = (*state.past, Past(t, prediction))
        kept = past[max(len(past) - self._sampler.memory, 0) :]
        return State(ReverseStep(index, self.total, u, t, x, prediction.x0, prediction.eps, nfe), kept, draws)


def reverse_process(
    denoiser: DenoiserLike,
    grid: Sequence[int],
    sampler: Sampler,
    shape: Sequence[int],
    *,
    seeds: Sequence[int],
    schedule: NoiseSchedule | None = None,
    x: Tensor | None = None,
    label: Tensor | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[ReverseStep]:
    """Walk the grid with one sampler; yields the start, then one step for each finished move.

    Args:
        grid: falling levels, e.g. from ``timestep_grid``; a level that stands there again is one more move at it.
        shape: of one item, e.g. (1, 28, 28).
        seeds: one for each item; item i depends on seeds[i] alone, whatever the batch.
        schedule: needed only for denoisers that do not carry one.
        x: start state at level grid[0], (N, *shape); default ``start_noise`` there (at T: pure noise).
        label: int64 (N,) class labels or None.

    Raises:
        ValueError: if the grid rises or leaves the schedule.
    """
    table: NoiseSchedule = schedule if schedule is not None else denoiser.schedule  # type: ignore[attr-defined]
    walk = Walk(denoiser, grid, sampler, shape, keys=seed_tensor(seeds, device), schedule=table, label=label)
    if x is None:
        x = start_noise(table, grid[0], seeds, shape, device=device)
    state = walk.start(x)
    yield state.step
    while state.step.index < walk.total:
        state = walk.move(state)
        yield state.step
