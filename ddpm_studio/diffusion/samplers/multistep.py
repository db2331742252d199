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
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.samplers.move import Place, WeightedSum, Weights
from ddpm_studio.diffusion.samplers.one_step import Euler


def _lams(place: Place) -> list[float]:
    """lam of the levels looked at, newest first. A level where nothing of x_0 is left has none: it is left out."""
    alpha, sigma = place.schedule.alpha, place.schedule.sigma
    return [math.log(alpha[t] / sigma[t]) for t in (place.t, *place.earlier) if alpha[t] > 0]


def _moments(count: int, h: float) -> list[float]:
    """∫ h e^(h (r - 1)) r^k dr over 0 … 1, for k below ``count``."""
    if h < 1:  # where the recursion loses digits; h^20/20! is below them
        series = [(-h) ** j / math.factorial(k + j + 1) for k in range(count) for j in range(20)]
        return [h * math.factorial(k) * sum(series[20 * k : 20 * k + 20]) for k in range(count)]
    moments = [-math.expm1(-h)]
    for k in range(1, count):
        moments.append(1 - k / h * moments[-1])
    return moments


def _integral(lams: Sequence[float], start: float, end: float) -> NDArray[np.float64]:
    """The weights of x̂_0 at ``lams`` in ∫ e^(l - end) x̂_0(l) dl over start … end, with the polynomial through them.

    Of two predictions it takes the value of their line at half way: DPM-Solver++(2M), and the B_2(h) of UniPC.
    """
    h = end - start
    moments = _moments(len(lams), h)
    if len(lams) == 2:
        moments[1] = moments[0] / 2
    places = np.vander((np.array(lams) - start) / h, increasing=True)
    return np.linalg.solve(places.T, np.array(moments))


def _exponential_step(place: Place, order: int) -> Weights:
    """From level t to u by the newest predictions, as many as the order that can be had."""
    a, s, a_u, s_u = place.levels
    if a == 0 or s_u == 0:
        return Euler().weights(place)
    lams = _lams(place)
    used = lams[: int(min(order, 1 + place.left))]
    return Weights(s_u / s, x0=tuple(a_u * _integral(used, lams[0], math.log(a_u / s_u))))


@dataclass(frozen=True)
class DPMSolver2M(WeightedSum):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order in lam."""

    memory: ClassVar[int] = 1

    def weights(self, place: Place) -> Weights:
        return _exponential_step(place, 2)


@dataclass(frozen=True)
class DPMSolver3M(WeightedSum):
    """DPM-Solver++(3M): the parabola through three predictions, integrated exactly; third order.

    The authors' code (and diffusers) multiplies the second divided difference by the coefficient that belongs to
    the second derivative, which is twice as large, and so stays of second order.
    """

    memory: ClassVar[int] = 2

    def weights(self, place: Place) -> Weights:
        return _exponential_step(place, 3)


@dataclass(frozen=True)
class UniPC(WeightedSum):
    """UniPC-3 with B_2(h) that predicts x_0 (arXiv 2302.04867, algorithms 5 and 6).

    The predictor's x is where the network is asked next. With its answer the corrector makes the move behind anew,
    through one prediction more: no network call is added. Both versions of that move begin at one point, so the
    corrected x differs from x by their two integrals alone, and nothing need be remembered but predictions.
    """

    memory: ClassVar[int] = 3

    def weights(self, place: Place) -> Weights:
        predictor = _exponential_step(place, 3)
        lams = _lams(place)
        a, _, _, s_u = place.levels
        if len(lams) < 2 or s_u == 0:
            return predictor
        now, *before = lams
        used = before[: int(min(3, 2 + place.left))]  # by the predictor of the move behind
        x0 = np.zeros(1 + len(before))
        x0[: len(predictor.x0)] = predictor.x0
        x0[: 1 + len(used)] += predictor.x * a * _integral([now, *used], before[0], now)
        x0[1 : 1 + len(used)] -= predictor.x * a * _integral(used, before[0], now)
        return Weights(predictor.x, x0=tuple(x0))


@dataclass(frozen=True)
class IPNDM(WeightedSum):
    """Improved PNDM with four predictions (arXiv 2204.13902, section 3; the multistep of 2202.09778).

    The straight line of Euler with the eps of Adams and Bashforth, whose weights are those of even steps on any grid:
    fourth order where a grid is even in s/a, second where it is not.
    """

    memory: ClassVar[int] = 3
    ADAMS: ClassVar = (
        (1.0,),
        (3 / 2, -1 / 2),
        (23 / 12, -16 / 12, 5 / 12),
        (55 / 24, -59 / 24, 37 / 24, -9 / 24),
    )

    def weights(self, place: Place) -> Weights:
        a, s, a_u, s_u = place.levels
        if not place.earlier or s_u == 0 or a == 0:
            return Euler().weights(place)
        # Euler's line is (a'/a) x + c eps; written with x0, the first move has no 1/a
        c = s_u - a_u * s / a
        first, *more = self.ADAMS[len(place.earlier)]
        return Weights(x0=(a_u,), eps=(s_u + c * (first - 1), *(c * weight for weight in more)))
