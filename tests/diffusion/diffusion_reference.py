"""What the tests of the core share: tables of every kind, a single move, and diffusers with its warnings held."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor

from ddpm_studio.diffusion import NoiseSchedule
from ddpm_studio.diffusion.denoiser import DenoiserLike, Prediction
from ddpm_studio.diffusion.samplers import Move, Past, Sampler

BUILDERS = ("linear", "scaled_linear", "quadratic", "sigmoid", "cosine", "geometric", "flow")


@st.composite
def schedules(draw: st.DrawFn, least: int = 2, most: int = 300) -> NoiseSchedule:
    """Any schedule that a recipe can describe, T between ``least`` and ``most``."""
    kind = draw(st.sampled_from(BUILDERS))
    if kind == "scaled_linear":  # β is above 1 for T ≤ 20
        least = max(least, 21)
    steps = draw(st.integers(least, most))
    if kind in ("linear", "quadratic", "sigmoid"):
        first = draw(st.floats(1e-5, 0.01))
        return getattr(NoiseSchedule, kind)(steps, first, draw(st.floats(first, 0.05)))
    if kind == "geometric":
        low = draw(st.floats(1e-3, 1))
        return NoiseSchedule.geometric(steps, low, low * draw(st.floats(1.5, 1e4)))
    schedule: NoiseSchedule = getattr(NoiseSchedule, kind)(steps)
    return schedule


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def predicted(schedule: NoiseSchedule, x: Tensor, t: int, eps: Tensor) -> Prediction:
    """The prediction of a network that says ``eps``."""
    a, s = float(schedule.alpha[t]), float(schedule.sigma[t])
    return Prediction((x - s * eps) / a, eps)


def take(
    schedule: NoiseSchedule,
    sampler: Sampler,
    x: Tensor,
    t: int,
    u: int,
    prediction: Prediction,
    *,
    z: Tensor | None = None,
    past: Sequence[Past] = (),
    denoiser: DenoiserLike | None = None,
) -> Tensor:
    """One move of a sampler, with the noise ``z`` if it asks for any."""

    def noise() -> Tensor:
        assert z is not None, "this move must not draw noise"
        return z

    return sampler.step(Move(schedule, x, t, u, prediction, past, noise, denoiser))  # type: ignore[arg-type]


def diffusers_scheduler(name: str, schedule: NoiseSchedule | None = None, **settings: Any) -> Any:
    """A scheduler of diffusers; with ``schedule``, its float32 table is replaced by that float64 one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import diffusers
    if schedule is not None:
        settings["num_train_timesteps"] = schedule.steps
    scheduler = getattr(diffusers, name)(**settings)
    if schedule is not None and hasattr(scheduler, "alphas_cumprod"):
        scheduler.alphas_cumprod = torch.from_numpy(np.array(schedule.alpha_bar[1:]))
    return scheduler
