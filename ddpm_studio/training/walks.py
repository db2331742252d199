"""Reverse processes of which only some states are wanted: on a card, those that come again are recorded whole."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_studio.diffusion.denoiser import Denoiser
from ddpm_studio.diffusion.noise import seed_tensor
from ddpm_studio.diffusion.reverse import ReverseStep, State, Walk, reverse_process, start_noise
from ddpm_studio.diffusion.samplers import Sampler
from ddpm_studio.training.recorded import Recordings, copies, fill, form_of, record_in_turn

LONGEST = 256  # network calls of a recorded walk: a recording holds each operation of each of them
KIND = "walks of samplers"


@dataclass(frozen=True)
class Again:
    """With what the walks of ``network`` are recorded. Its ``denoiser`` computes calls as they are and nothing else."""

    recordings: Recordings
    network: nn.Module
    denoiser: Denoiser


@torch.no_grad()
def walk(
    denoiser: Denoiser,
    grid: Sequence[int],
    sampler: Sampler,
    shape: Sequence[int],
    *,
    seeds: Sequence[int],
    stops: Collection[int],
    x: Tensor | None = None,
    label: Tensor | None = None,
    device: torch.device | str = "cpu",
    again: Again | None = None,
) -> Iterator[ReverseStep]:
    """``reverse_process``, of which the states with an index in ``stops`` are wanted; others may be left out.

    The same states come out, recorded or not: one recording from each stop to the next, whatever lies between.
    """
    if x is None:
        x = start_noise(denoiser.schedule, grid[0], seeds, shape, device=device)
    told = -1
    if again is not None and (len(grid) - 1) * sampler.calls <= LONGEST:
        keys = seed_tensor(seeds, device)
        of = again.denoiser
        about = (of.clip, of.parameterization, of.label_rule, of.scale_input)
        form = (form_of(again.network), about, tuple(grid), sampler, frozenset(stops), x.shape, x.dtype, label is None)
        make = partial(RecordedWalk, again.denoiser, grid, sampler, shape, stops, x, keys, label)
        recorded: RecordedWalk | None = again.recordings.find(KIND, form, make)
        failure: Exception | None = None
        try:
            for step in () if recorded is None else recorded(x, keys, label):
                yield step
                told = step.index
        except Exception as error:  # of whatever library; the same walk without a recording comes to the same
            failure = error.with_traceback(None)
        if failure is not None:
            recorded = None
            again.recordings.failed(KIND, failure)
        elif recorded is not None:
            return
    for step in reverse_process(denoiser, grid, sampler, shape, seeds=seeds, x=x, label=label, device=device):
        if step.index > told:
            yield step


class RecordedWalk:
    """The moves of one sampler along one grid, for one number of items, told in pieces that end at the stops."""

    def __init__(
        self,
        denoiser: Denoiser,
        grid: Sequence[int],
        sampler: Sampler,
        shape: Sequence[int],
        stops: Collection[int],
        *given: Tensor | None,
    ) -> None:
        """``given``: x (N, *shape), the items' keys int64 (N,), and their labels int64 (N,) or None."""
        self._given = copies(given)
        x, keys, label = self._given
        assert x is not None
        assert keys is not None
        self._walk = Walk(denoiser, grid, sampler, shape, keys=keys, label=label)
        self._states: dict[int, State] = {0: self._walk.start(x)}
        self._ends = sorted({stop for stop in stops if stop > 0} | {self._walk.total})
        pieces = zip([0, *self._ends[:-1]], self._ends, strict=True)
        works = [partial(self._go, start, end) for start, end in pieces]
        self._repeats = record_in_turn(works, lambda: self._after(0, min(2, self._walk.total)))

    def _after(self, start: int, end: int) -> State:
        """States between two stops are not held: their memory serves those after them."""
        state = self._states[start]
        for _ in range(end - start):
            state = self._walk.move(state)
        return state

    def _go(self, start: int, end: int) -> None:
        self._states[end] = self._after(start, end)

    def __call__(self, *given: Tensor | None) -> Iterator[ReverseStep]:
        """The states at the start and at the stops, in new tensors."""
        fill(self._given, given)
        yield self._copy(0)
        for end, repeat in zip(self._ends, self._repeats, strict=True):
            repeat()
            yield self._copy(end)

    def _copy(self, index: int) -> ReverseStep:
        step: Any = self._states[index].step
        x, x0, eps = copies((step.x, step.x0, step.eps))
        copied: ReverseStep = replace(step, x=x, x0=x0, eps=eps)
        return copied
