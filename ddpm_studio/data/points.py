"""Point sets in the plane: small enough to learn in seconds, and to draw whole.

Each shape is a function ``(n, rng) -> float64 (n, 2)`` in its own units; ``points_dataset`` standardises it. Four of
them are mixtures of Gaussians, so the best possible denoiser is known in closed form: ``mixture_of`` gives it away.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.data.dataset import DataError, Dataset
from ddpm_studio.paths import resource

Points = NDArray[np.float64]
Shape = Callable[[int, np.random.Generator], Points]

TRAIN_COUNT = 20_000
HELD_OUT_COUNT = 2_000


@dataclass(frozen=True, eq=False)
class Mixture:
    """Gaussians with one round covariance: means float64 (K, 2), covariance ``variance * I``, weights (K,), sum 1."""

    means: Points
    variance: float
    weights: Points

    @property
    def centre(self) -> Points:
        """The mean of the whole mixture, (2,)."""
        centre: Points = self.weights @ self.means
        return centre

    @property
    def scale(self) -> float:
        """One standard deviation for both axes: the root of the mean of their variances."""
        spread = self.weights @ (self.means - self.centre) ** 2
        return float(np.sqrt(spread.mean() + self.variance))

    def standardised(self) -> Mixture:
        """The same mixture moved and scaled to centre 0 and scale 1."""
        return Mixture((self.means - self.centre) / self.scale, self.variance / self.scale**2, self.weights)

    def draw(self, n: int, rng: np.random.Generator) -> Points:
        """float64 (n, 2). Each component gets its exact share, give or take one point."""
        if np.ptp(self.weights) == 0:
            which = rng.permutation(np.arange(n) % len(self.weights))
        else:
            # A comb of n teeth at a random place over the weights laid end to end (systematic sampling).
            comb = (np.arange(n) + rng.random()) / n
            which = rng.permutation(np.searchsorted(np.cumsum(self.weights)[:-1], comb, side="right"))
        points: Points = self.means[which] + np.sqrt(self.variance) * rng.standard_normal((n, 2))
        return points

    def score(self, x: NDArray[np.floating[Any]], alpha: float = 1.0, sigma: float = 0.0) -> Points:
        """grad_x log p(x), float64 (N, 2), of the mixture noised to ``alpha * x0 + sigma * eps``.

        x: (N, 2); alpha >= 0, sigma >= 0, not both 0. With sum_k r_k = 1 the shares of the components in x, it is
        (alpha * sum_k r_k m_k - x) / (alpha^2 * variance + sigma^2). The closed form behind tutorial 004's (2.2.5).
        """
        spread = self._spread(alpha, sigma)
        share = self._log_shares(x, alpha, spread)
        share = np.exp(share - share.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        score: Points = (alpha * (share @ self.means) - x) / spread
        return score

    def log_density(self, x: NDArray[np.floating[Any]], alpha: float = 1.0, sigma: float = 0.0) -> Points:
        """log p(x), float64 (N,), of the mixture noised as for ``score``; x: (N, 2)."""
        x, spread = x.astype(np.float64), self._spread(alpha, sigma)
        terms = self._log_shares(x, alpha, spread)
        top = terms.max(axis=1)
        total = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
        log_density: Points = total - (x**2).sum(axis=1) / (2 * spread) - np.log(2 * np.pi * spread)
        return log_density

    def nearest(self, x: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
        """The component most likely to have made each point of x (N, 2): int64 (N,); -1 where one is not finite."""
        finite = np.isfinite(x).all(axis=1)
        nearest = np.full(len(x), -1, dtype=np.int64)
        nearest[finite] = self._log_shares(x[finite], 1.0, self.variance).argmax(axis=1)
        return nearest

    def shares(self, x: NDArray[np.floating[Any]]) -> Points:
        """The part of the points x (N, 2) that is nearest to each component: float64 (K,).

        The sum is 1, less where points are not finite, and 0 where there are no points.
        """
        nearest = self.nearest(x)
        return np.bincount(nearest[nearest >= 0], minlength=len(self.means)) / max(len(nearest), 1)

    def spreads(self, x: NDArray[np.floating[Any]]) -> Points:
        """How wide the points x (N, 2) lie around each component: float64 (K,), to compare with sqrt(variance).

        The root mean square distance per dimension of the points nearest to a component from their own mean; NaN where
        there are none.
        """
        x, nearest = x.astype(np.float64), self.nearest(x)
        own = (x[nearest == k] for k in range(len(self.means)))
        return np.array([np.sqrt(part.var(axis=0).mean()) if len(part) else np.nan for part in own])

    def _spread(self, alpha: float, sigma: float) -> float:
        """The variance of each noised component, per dimension."""
        spread = alpha**2 * self.variance + sigma**2
        if not spread > 0:
            raise ValueError(f"A mixture at alpha {alpha}, sigma {sigma} has no density: one must be above 0.")
        return spread

    def _log_shares(self, x: NDArray[np.floating[Any]], alpha: float, spread: float) -> Points:
        """(N, K): log of weight times density, but for what is the same for all components.

        Without |x|^2, so that it is exact far away too, and one product of matrices.
        """
        means = alpha * self.means
        terms: Points = (x @ means.T - (means**2).sum(axis=1) / 2) / spread + np.log(self.weights)
        return terms


def _equal(means: Points, variance: float) -> Mixture:
    return Mixture(means, variance, np.full(len(means), 1 / len(means)))


def two_gaussians_mixture() -> Mixture:
    """Half N((-2, -2), 0.01 I), half N((2, 2), 0.01 I), as the score-based tutorial has it: 0.01 is the covariance."""
    return _equal(np.array([[-2.0, -2.0], [2.0, 2.0]]), 0.01)


def uneven_gaussians_mixture() -> Mixture:
    """The two Gaussians, but four fifths of the points lie at (-2, -2): do samples find the right shares?

    Langevin dynamics without enough noise does not: Song & Ermon 2019 (arXiv 1907.05600), section 3.2.2.
    """
    return dataclasses.replace(two_gaussians_mixture(), weights=np.array([0.8, 0.2]))


def eight_gaussians_mixture() -> Mixture:
    """Eight on a circle of radius 2, standard deviation 0.15."""
    angle = np.arange(8) * np.pi / 4
    return _equal(2 * np.stack([np.cos(angle), np.sin(angle)], axis=1), 0.15**2)


@functools.cache
def dino_mixture() -> Mixture:
    """The 142 dots of the drawing (0..100), each blurred by 1 so that there is a density to learn."""
    dots = np.loadtxt(resource("data", "dino.csv"), delimiter=",", skiprows=1, dtype=np.float64)
    return _equal(dots, 1.0)


def two_gaussians(n: int, rng: np.random.Generator) -> Points:
    return two_gaussians_mixture().draw(n, rng)


def uneven_gaussians(n: int, rng: np.random.Generator) -> Points:
    return uneven_gaussians_mixture().draw(n, rng)


def eight_gaussians(n: int, rng: np.random.Generator) -> Points:
    return eight_gaussians_mixture().draw(n, rng)


def dino(n: int, rng: np.random.Generator) -> Points:
    return dino_mixture().draw(n, rng)


def moons(n: int, rng: np.random.Generator) -> Points:
    """Two half circles that reach into each other."""
    angle = rng.uniform(0, np.pi, n)
    lower = rng.permutation(np.arange(n) % 2).astype(bool)
    upper_arc = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower_arc = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    return np.where(lower[:, None], lower_arc, upper_arc) + 0.06 * rng.standard_normal((n, 2))


def swiss_roll(n: int, rng: np.random.Generator) -> Points:
    """One band rolled up one and a half times."""
    angle = 1.5 * np.pi * (1 + 2 * rng.random(n))
    roll = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1)
    return roll + 0.35 * rng.standard_normal((n, 2))


def checkerboard(n: int, rng: np.random.Generator) -> Points:
    """The eight dark squares of a 4x4 board, evenly filled: hard edges, the test of a sharp density."""
    column = rng.integers(0, 4, n)
    row = 2 * rng.integers(0, 2, n) + column % 2
    corner = np.stack([column, row], axis=1).astype(np.float64)
    return corner + rng.random((n, 2))


def spiral(n: int, rng: np.random.Generator) -> Points:
    """Two arms that wind around each other."""
    # The square root spreads the points evenly along the arm, whose length grows with the angle squared.
    angle = 3 * np.pi * np.sqrt(rng.random(n))
    arm = np.where(rng.permutation(np.arange(n) % 2) == 0, 1.0, -1.0)
    radius = angle + 0.5
    curve = np.stack([-radius * np.cos(angle), radius * np.sin(angle)], axis=1) * arm[:, None]
    return curve + 0.25 * rng.standard_normal((n, 2))


SHAPES: dict[str, Shape] = {
    "two-gaussians": two_gaussians,
    "uneven-gaussians": uneven_gaussians,
    "eight-gaussians": eight_gaussians,
    "moons": moons,
    "swiss-roll": swiss_roll,
    "checkerboard": checkerboard,
    "spiral": spiral,
    "dino": dino,
}

_MIXTURES: dict[str, Callable[[], Mixture]] = {
    "two-gaussians": two_gaussians_mixture,
    "uneven-gaussians": uneven_gaussians_mixture,
    "eight-gaussians": eight_gaussians_mixture,
    "dino": dino_mixture,
}


def mixture_of(name: str) -> Mixture | None:
    """The exact density of the built-in point set ``name``, standardised; None where it is no mixture."""
    make = _MIXTURES.get(name)
    return make().standardised() if make else None


def points_dataset(name: str, train: int = TRAIN_COUNT, held_out: int = HELD_OUT_COUNT) -> Dataset:
    """The built-in point set ``name``, the same points every time. Raises DataError for an unknown name."""
    if name not in SHAPES:
        raise DataError(f"There is no point set called {name!r}: choose one of {', '.join(SHAPES)}.")
    raw = SHAPES[name](train + held_out, np.random.default_rng(0))
    make = _MIXTURES.get(name)
    if make:
        # By the exact moments, not the drawn ones, so that mixture_of is the density of these very points.
        centre, scale = make().centre, make().scale
    else:
        centre = raw.mean(axis=0)
        scale = float(np.sqrt(raw.var(axis=0).mean()))
    points = ((raw - centre) / scale).astype(np.float32)
    return Dataset(name=name, kind="points", train=points[:train], held_out=points[train:])
