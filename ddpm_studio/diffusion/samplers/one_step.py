"""Rules that look at this level alone: DDPM, DDIM, Euler and Heun."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ddpm_studio.diffusion.samplers.move import Move, Place, WeightedSum, Weights

if TYPE_CHECKING:
    from torch import Tensor


def _first_order(place: Place, eta: float, variance: str) -> Weights:
    """The one first-order step: DDPM (eta 1), DDIM (eta 0) and all between (DDIM eq. 12).

    r = a/a', v = s² - r² s'² (the variance of q(x_t|x_u)), post = v s'²/s² (that of q(x_u|x_t, x_0)).
    """
    a, s, a_u, s_u = place.levels
    r = a / a_u
    v = max(s**2 - (r * s_u) ** 2, 0.0)
    post = v * (s_u / s) ** 2
    std = math.sqrt(v) if variance == "beta" else eta * math.sqrt(post)
    eps = math.sqrt(max(s_u**2 - eta**2 * post, 0.0))
    return Weights(x0=(a_u,), eps=(eps,), std=std if s_u > 0 else 0.0)  # noise is added iff the next level is not clean


@dataclass(frozen=True)
class DDPM(WeightedSum):
    """Ancestral sampling (DDPM, algorithm 2). ``variance``: "posterior" (eq. 7) or "beta" (σ² = β)."""

    variance: str = "posterior"

    def __post_init__(self) -> None:
        if self.variance not in ("posterior", "beta"):
            raise ValueError(f"variance is {self.variance!r}; it must be posterior or beta")

    def weights(self, place: Place) -> Weights:
        return _first_order(place, 1.0, self.variance)


@dataclass(frozen=True)
class DDIM(WeightedSum):
    """Generalised DDIM (eq. 12, 16); eta = 0 is deterministic, eta = 1 is DDPM."""

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta:g}; it must lie in 0 … 1")

    def weights(self, place: Place) -> Weights:
        return _first_order(place, self.eta, "posterior")


@dataclass(frozen=True)
class Euler(WeightedSum):
    """Euler for the probability-flow ODE d(x/a)/d(s/a) = eps (EDM, algorithm 1 without lines 6-8).

    x_u/a' = x/a + (s'/a' - s/a) eps is the straight line through (x0, eps): DDIM with eta = 0. Written in x0
    it has no 1/a, which is infinite at the top of a flow and costs four digits at that of a cosine schedule.
    """

    def weights(self, place: Place) -> Weights:
        _, _, a_u, s_u = place.levels
        return Weights(x0=(a_u,), eps=(s_u,))


@dataclass(frozen=True)
class Heun:
    """Heun's method for the same ODE (EDM, algorithm 1): Euler, then the mean of both slopes.

    The algorithm leaves the time variable free. Ours is the angle phi = atan(s/a) with x = n z, n = |(a, s)|:
    z = cos(phi) x0 + sin(phi) eps, dz/dphi = cos(phi) eps - sin(phi) x0. It is bounded at both ends, where
    time = s/a takes one step of 20,000 at the top of a cosine schedule and leaves the data far behind.
    """

    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 2

    def step(self, move: Move) -> Tensor:
        a, s, a_u, s_u = move.place.levels
        euler = Euler().step(move)
        if s_u == 0:  # the denoiser has no slope at the clean level
            return euler
        n, n_u = math.hypot(a, s), math.hypot(a_u, s_u)
        x0, eps = move.prediction
        x0_u, eps_u = move.denoiser(euler, move.u, move.label)
        slope = (a * eps - s * x0) / n + (a_u * eps_u - s_u * x0_u) / n_u
        angle = math.atan2(s_u, a_u) - math.atan2(s, a)
        return n_u * (move.x / n + angle / 2 * slope)
