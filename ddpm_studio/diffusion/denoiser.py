"""Denoiser: a network made into the one thing that samplers see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.diffusion.schedule import NoiseSchedule


class Prediction(NamedTuple):
    """A consistent pair: x = alpha_t * x0 + sigma_t * eps. Both of the shape of x, float32 or float64."""

    x0: Tensor
    eps: Tensor


def time_label(rule: str, schedule: NoiseSchedule, t: Tensor) -> Tensor:
    """The number that tells the network the level t (integer tensor (N,)), float32 (N,).

    Rules: "t" (paper, 1..T), "t-1" (code, 0..T-1), "t/T", "sigma" (σ/α), "log-sigma" (log(σ/α)/4, as EDM).

    Raises:
        ValueError: for an unknown rule.
    """
    if rule == "t":
        return t.float()
    if rule == "t-1":
        return t.float() - 1
    if rule == "t/T":
        return t.float() / schedule.steps
    alpha, sigma = schedule.at(t, torch.empty(0, device=t.device))
    ratio: Tensor = (sigma / alpha.clamp_min(1e-5)).view(-1)
    if rule == "sigma":
        return ratio
    if rule == "log-sigma":
        return ratio.log() / 4
    raise ValueError(f"no time label rule is called {rule!r}")


@dataclass(frozen=True)
class Denoiser:
    """network + schedule + parameterization + label rule + clipping: ``(x, t, label) -> Prediction``.

    Attributes:
        network: ``(x, time, label) -> out``; time float32 (N,), label int64 (N,) or None; out like x.
        clip: (low, high) to which x0 is clipped, with eps re-derived so that the pair stays consistent.
        scale_input: divide x by sqrt(alpha² + sigma²) before the network sees it, so that its input has
            variance about 1; changes nothing on a variance-preserving schedule.
    """

    network: Callable[..., Tensor]
    schedule: NoiseSchedule
    parameterization: Parameterization = Parameterization.EPSILON
    label_rule: str = "t"
    clip: tuple[float, float] | None = None
    scale_input: bool = False

    def output(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The raw network output for x (N, …) at levels t int64 (N,): what the loss looks at."""
        if self.scale_input:
            alpha, sigma = self.schedule.at(t, x)
            x = x / (alpha**2 + sigma**2) ** 0.5
        return self.network(x, time_label(self.label_rule, self.schedule, t), label)

    def __call__(self, x: Tensor, t: int, label: Tensor | None = None) -> Prediction:
        """Estimate x0 and eps at level t > 0. x: (N, …); label: int64 (N,) or None.

        Raises:
            ValueError: at level 0, where there is no noise to find.
        """
        if not 0 < t <= self.schedule.steps:
            raise ValueError(f"level {t} is not one of 1 … {self.schedule.steps}")
        levels = torch.full((x.shape[0],), t, dtype=torch.int64, device=x.device)
        out = self.output(x, levels, label).to(x.dtype)
        alpha, sigma = self.schedule.at(t, x)
        x0, eps = self.parameterization.decode(x, out, alpha, sigma)
        if self.clip is not None:
            x0 = x0.clamp(*self.clip)
            eps = (x - alpha * x0) / sigma
        return Prediction(x0, eps)


# Anything with this call is a denoiser: a closed-form one too.
DenoiserLike = Callable[[Tensor, int, Any], Prediction]
