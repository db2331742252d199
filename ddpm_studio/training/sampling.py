"""Recording a reverse process on a tape, frame by frame, as it happens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm_studio.diffusion.denoiser import Denoiser
from ddpm_studio.diffusion.noise import mix
from ddpm_studio.diffusion.reverse import ReverseStep, reverse_process
from ddpm_studio.diffusion.samplers import SAMPLERS, Sampler
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape, kept_indices
from ddpm_studio.diffusion.timesteps import timestep_grid
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import Event, TapeFinished, TapeGrew, TapeStarted


def make_sampler(settings: Any) -> Sampler:
    """The rule for a recipe's sampler section."""
    cls = SAMPLERS[settings.kind]
    knobs = {knob.name: getattr(settings, knob.name) for knob in fields(cls)}
    sampler: Sampler = cls(**knobs)
    return sampler


def item_seeds(seed: int, count: int) -> list[int]:
    """A seed for each item: item i has the same noise in every process that starts from ``seed``."""
    return [mix(seed, i) for i in range(count)]


def record(
    denoiser: Denoiser,
    settings: Any,
    tape: Tape,
    shape: Sequence[int],
    *,
    count: int,
    value_range: tuple[float, float],
    control: Control,
    purpose: str,
    every_state: bool = False,
    classes: int = 0,
    device: torch.device | str = "cpu",
) -> Iterator[Event]:
    """Run one reverse process and keep its states on ``tape``, at most 120 of them unless ``every_state``.

    ``settings`` is a sampler section of a recipe. It stops between two moves when ``control`` says so; a pause
    comes after it. With
    ``classes`` items are asked for class 0, 1, 2, … in turn.
    """
    start = time.perf_counter()
    schedule = denoiser.schedule
    grid = timestep_grid(schedule, min(settings.steps, schedule.steps), settings.spacing)
    sampler = make_sampler(settings)
    kept = set(range(len(grid)) if every_state else kept_indices(len(grid) - 1))
    tape.total = len(kept)
    label = torch.arange(count, device=device) % classes if classes else None
    yield TapeStarted(tape, purpose)
    steps = reverse_process(
        denoiser, grid, sampler, shape, seeds=item_seeds(tape.seed, count), label=label, device=device
    )
    for step in steps:
        if step.index in kept:
            tape.frames.append(to_frame(step, schedule, tape.kind, value_range))
            yield TapeGrew(tape)
        if control.stopping and step.index < step.total:
            break
    yield TapeFinished(tape, purpose, time.perf_counter() - start)


def to_frame(step: ReverseStep, schedule: NoiseSchedule, kind: str, value_range: tuple[float, float]) -> Frame:
    """A state as it is shown. Each array is new, so frames can be kept while the process goes on."""
    if kind == "points":
        x, x0, eps = (None if v is None else v.float().cpu().numpy().copy() for v in (step.x, step.x0, step.eps))
    else:
        # A variance-exploding state is shown divided by its growing spread; elsewhere this divides by 1.
        alpha, sigma = float(schedule.alpha[step.t]), float(schedule.sigma[step.t])
        x = to_uint8(step.x / max(1.0, (alpha**2 + sigma**2) ** 0.5), *value_range)
        x0 = None if step.x0 is None else to_uint8(step.x0, *value_range)
        eps = None if step.eps is None else to_uint8(step.eps, -2.5, 2.5)  # 99 % of a normal
    assert x is not None
    return Frame(step.index, step.t, x, x0, eps)


def to_uint8(x: Tensor, low: float, high: float) -> NDArray[np.uint8]:
    """float (N, C, H, W) in low … high → uint8 (N, H, W, C), rounded, clamped, contiguous."""
    grey = ((x - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(grey.permute(0, 2, 3, 1).cpu().numpy())
