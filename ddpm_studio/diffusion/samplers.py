"""Samplers: short rules that take x from one level to the next.

A rule is a pure function of a ``Move``. It keeps no state: rules of higher order read the earlier
predictions that the reverse process hands them. Notation of the comments: level t has (a, s), the next
level u has (a', s'); lam = log(a/s).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from ddpm_studio.diffusion.denoiser import DenoiserLike, Prediction
from ddpm_studio.diffusion.schedule import NoiseSchedule


class Past(NamedTuple):
    """An earlier level of the same process and what was predicted there."""

    t: int
    prediction: Prediction


@dataclass(frozen=True)
class Move:
    """Everything a rule may look at: from x at level t, with its prediction, to level u.

    ``past`` holds the earlier predictions, newest last, at most ``sampler.memory`` of them. ``noise()``
    draws standard normal noise of the shape of x.
    """

    schedule: NoiseSchedule
    x: Tensor
    t: int
    u: int
    prediction: Prediction
    past: Sequence[Past]
    noise: Callable[[], Tensor]
    denoiser: DenoiserLike
    label: Any = None

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """(a, s, a', s')."""
        sch = self.schedule
        return float(sch.alpha[self.t]), float(sch.sigma[self.t]), float(sch.alpha[self.u]), float(sch.sigma[self.u])


class Sampler(Protocol):
    """One rule. ``memory``: how many earlier predictions it reads; ``calls``: network calls in a step at most."""

    memory: ClassVar[int]
    calls: ClassVar[int]

    def step(self, move: Move) -> Tensor: ...


def _first_order(move: Move, eta: float, variance: str) -> Tensor:
    """The one first-order step: DDPM (eta 1), DDIM (eta 0) and all between (DDIM eq. 12).

    r = a/a', v = s² - r² s'² (the variance of q(x_t|x_u)), post = v s'²/s² (that of q(x_u|x_t, x_0)).
    """
    a, s, a_u, s_u = move.levels
    r = a / a_u
    v = max(s**2 - (r * s_u) ** 2, 0.0)
    post = v * (s_u / s) ** 2
    x0, eps = move.prediction
    x = a_u * x0 + math.sqrt(max(s_u**2 - eta**2 * post, 0.0)) * eps
    std = math.sqrt(v) if variance == "beta" else eta * math.sqrt(post)
    if std > 0 and s_u > 0:  # noise is added iff the next level is not clean
        x = x + std * move.noise()
    return x


@dataclass(frozen=True)
class DDPM:
    """Ancestral sampling (DDPM, algorithm 2). ``variance``: "posterior" (eq. 7) or "beta" (σ² = β)."""

    variance: str = "posterior"
    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.variance not in ("posterior", "beta"):
            raise ValueError(f"variance is {self.variance!r}; it must be posterior or beta")

    def step(self, move: Move) -> Tensor:
        return _first_order(move, 1.0, self.variance)


@dataclass(frozen=True)
class DDIM:
    """Generalised DDIM (eq. 12, 16); eta = 0 is deterministic, eta = 1 is DDPM."""

    eta: float = 0.0
    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta:g}; it must lie in 0 … 1")

    def step(self, move: Move) -> Tensor:
        return _first_order(move, self.eta, "posterior")


@dataclass(frozen=True)
class Euler:
    """Euler for the probability-flow ODE d(x/a)/d(s/a) = eps (EDM, algorithm 1 without lines 6-8).

    x_u/a' = x/a + (s'/a' - s/a) eps is the straight line through (x0, eps): DDIM with eta = 0. Written in x0
    it has no 1/a, which is infinite at the top of a flow and costs four digits at that of a cosine schedule.
    """

    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 1

    def step(self, move: Move) -> Tensor:
        _, _, a_u, s_u = move.levels
        return a_u * move.prediction.x0 + s_u * move.prediction.eps


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
        a, s, a_u, s_u = move.levels
        euler = Euler().step(move)
        if s_u == 0:  # the denoiser has no slope at the clean level
            return euler
        n, n_u = math.hypot(a, s), math.hypot(a_u, s_u)
        x0, eps = move.prediction
        x0_u, eps_u = move.denoiser(euler, move.u, move.label)
        slope = (a * eps - s * x0) / n + (a_u * eps_u - s_u * x0_u) / n_u
        angle = math.atan2(s_u, a_u) - math.atan2(s, a)
        return n_u * (move.x / n + angle / 2 * slope)


@dataclass(frozen=True)
class DPMSolver2M:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): extrapolates x0 in lam."""

    memory: ClassVar[int] = 1
    calls: ClassVar[int] = 1

    def step(self, move: Move) -> Tensor:
        a, s, a_u, s_u = move.levels
        x0 = move.prediction.x0
        if s_u == 0:
            return x0
        if a == 0:
            return a_u * x0 + s_u * move.prediction.eps
        lam = math.log(a / s)
        g = math.log(a_u / s_u) - lam  # h_i of the paper
        D = x0
        if move.past and float(move.schedule.alpha[move.past[-1].t]) > 0:
            earlier = move.past[-1]
            g_prev = lam - math.log(move.schedule.alpha[earlier.t] / move.schedule.sigma[earlier.t])
            # D = (1 + 1/(2r)) x0 - 1/(2r) x0_prev with r = g_prev/g
            D = x0 + (g / (2 * g_prev)) * (x0 - earlier.prediction.x0)
        return (s_u / s) * move.x - a_u * math.expm1(-g) * D


@dataclass(frozen=True)
class Langevin:
    """One Langevin move, at the level where x is (NCSN, algorithm 1, line 6; tutorial 004, 2.2.7).

    x + α_t s(x) + √(2 α_t) u with the score s = -eps/sigma_t. The grid says how often a level is visited and
    when the next one begins; going down leaves x as it is. No noise is added where the next level is clean.

    ``step_size``: α. Annealed, α_t = α sigma_t²/sigma_T²; else α_t = α at every level.
    """

    step_size: float = 0.1
    annealed: bool = True
    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size is {self.step_size:g}; it must be above 0")

    def step(self, move: Move) -> Tensor:
        s = float(move.schedule.sigma[move.t])
        alpha_t = self.step_size
        if self.annealed:
            alpha_t *= (s / float(move.schedule.sigma[-1])) ** 2
        x = move.x - alpha_t / s * move.prediction.eps
        if move.u > 0:
            x = x + math.sqrt(2 * alpha_t) * move.noise()
        return x


@dataclass(frozen=True)
class PlainLangevin(Langevin):
    """Langevin moves of one length at one level (tutorial 004, 2.2.6)."""

    step_size: float = 5e-4
    annealed: bool = False


SAMPLERS: dict[str, type[Any]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "dpmpp-2m": DPMSolver2M,
    "langevin": Langevin,
    "langevin-plain": PlainLangevin,
}
