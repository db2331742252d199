"""Multistep rules: they look again at what was predicted before, instead of asking the network more often.

DPM-Solver++ and UniPC solve the probability-flow ODE in lam = log(a/s):

    x_u = (s'/s) x + a' ∫ e^(l - lam_u) x̂_0(l) dl,  l = lam_t … lam_u,

with a polynomial through the predictions x̂_0 in place of the curve (arXiv 2211.01095, eq. 8; 2302.04867). The first
moves have fewer predictions and so a lower order, and so have the last two before the clean level, where lam is
infinite.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from ddpm_studio.diffusion.samplers.move import Move
from ddpm_studio.diffusion.samplers.one_step import Euler


class _Seen(NamedTuple):
    """A prediction x̂_0 and the lam of its level."""

    lam: float
    x0: Tensor


def _seen(move: Move) -> list[_Seen]:
    """The predictions of a move, newest first. A level where nothing of x_0 is left has no lam: it is left out."""
    alpha, sigma = move.schedule.alpha, move.schedule.sigma
    looks = [(move.t, move.prediction), *((past.t, past.prediction) for past in reversed(move.past))]
    return [_Seen(math.log(alpha[t] / sigma[t]), prediction.x0) for t, prediction in looks if alpha[t] > 0]


def _moments(count: int, h: float) -> list[float]:
    """∫ h e^(h (r - 1)) r^k dr over 0 … 1, for k below ``count``."""
    if h < 1:  # where the recursion loses digits; h^20/20! is below them
        series = [(-h) ** j / math.factorial(k + j + 1) for k in range(count) for j in range(20)]
        return [h * math.factorial(k) * sum(series[20 * k : 20 * k + 20]) for k in range(count)]
    moments = [-math.expm1(-h)]
    for k in range(1, count):
        moments.append(1 - k / h * moments[-1])
    return moments


def _integral(seen: Sequence[_Seen], start: float, end: float) -> Tensor:
    """∫ e^(l - end) x̂_0(l) dl over start … end, with the polynomial through ``seen`` for x̂_0.

    Of two predictions it takes the value of their line at half way: DPM-Solver++(2M), and the B_2(h) of UniPC.
    """
    h = end - start
    places = [(each.lam - start) / h for each in seen]
    moments = _moments(len(seen), h)
    if len(seen) == 2:
        moments[1] = moments[0] / 2
    weights = np.linalg.solve(np.vander(places, increasing=True).T, moments)
    total = float(weights[0]) * seen[0].x0
    for weight, each in zip(weights[1:], seen[1:], strict=True):
        total = total + float(weight) * each.x0
    return total


def _exponential_step(move: Move, x: Tensor, seen: Sequence[_Seen], order: int) -> Tensor:
    """From x at level t to u by the newest predictions, as many as the order that can be had."""
    a, s, a_u, s_u = move.levels
    if s_u == 0:
        return move.prediction.x0
    if a == 0:
        return Euler().step(move)
    usable = seen[: int(min(order, 1 + move.left))]
    return (s_u / s) * x + a_u * _integral(usable, seen[0].lam, math.log(a_u / s_u))


@dataclass(frozen=True)
class DPMSolver2M:
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order in lam."""

    memory: ClassVar[int] = 1
    calls: ClassVar[int] = 1

    def step(self, move: Move) -> Tensor:
        return _exponential_step(move, move.x, _seen(move), 2)


@dataclass(frozen=True)
class DPMSolver3M:
    """DPM-Solver++(3M): the parabola through three predictions, integrated exactly; third order.

    The authors' code (and diffusers) multiplies the second divided difference by the coefficient that belongs to
    the second derivative, which is twice as large, and so stays of second order.
    """

    memory: ClassVar[int] = 2
    calls: ClassVar[int] = 1

    def step(self, move: Move) -> Tensor:
        return _exponential_step(move, move.x, _seen(move), 3)


@dataclass(frozen=True)
class UniPC:
    """UniPC-3 with B_2(h) that predicts x_0 (arXiv 2302.04867, algorithms 5 and 6).

    The predictor's x is where the network is asked next. With its answer the corrector makes the move behind anew,
    through one prediction more: no network call is added. Both versions of that move begin at one point, so the
    corrected x differs from x by their two integrals alone, and nothing need be remembered but predictions.
    """

    memory: ClassVar[int] = 3
    calls: ClassVar[int] = 1

    def step(self, move: Move) -> Tensor:
        seen, x = _seen(move), move.x
        a, _, _, s_u = move.levels
        if len(seen) > 1 and s_u > 0:
            now, before = seen[0], seen[1:]
            used = before[: int(min(3, 2 + move.left))]  # by the predictor of the move behind
            corrected = _integral([now, *used], before[0].lam, now.lam)
            x = x + a * (corrected - _integral(used, before[0].lam, now.lam))
        return _exponential_step(move, x, seen, 3)


@dataclass(frozen=True)
class IPNDM:
    """Improved PNDM with four predictions (arXiv 2204.13902, section 3; the multistep of 2202.09778).

    The straight line of Euler with the eps of Adams and Bashforth, whose weights are those of even steps on any grid:
    fourth order where a grid is even in s/a, second where it is not.
    """

    memory: ClassVar[int] = 3
    calls: ClassVar[int] = 1
    WEIGHTS: ClassVar = (
        (1.0,),
        (3 / 2, -1 / 2),
        (23 / 12, -16 / 12, 5 / 12),
        (55 / 24, -59 / 24, 37 / 24, -9 / 24),
    )

    def step(self, move: Move) -> Tensor:
        x = Euler().step(move)
        a, s, a_u, s_u = move.levels
        if not move.past or s_u == 0 or a == 0:
            return x
        weights = self.WEIGHTS[len(move.past)]
        eps = move.prediction.eps
        # Euler's line is (a'/a) x + c eps; written so, the first move has no 1/a
        more = (weights[0] - 1) * eps
        for weight, past in zip(weights[1:], reversed(move.past), strict=True):
            more = more + weight * past.prediction.eps
        return x + (s_u - a_u * s / a) * more
