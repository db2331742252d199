"""Point sets in the plane: small enough to learn in seconds, and to draw whole.

Each shape is a function ``(n, rng) -> float64 (n, 2)`` in its own units; ``points_dataset`` standardises it. Three of
them are mixtures of Gaussians, so the best possible denoiser is known in closed form: ``mixture_of`` gives it away.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

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
        """float64 (n, 2). With equal weights each component gets its exact share, give or take one point."""
        if np.ptp(self.weights) == 0:
            which = rng.permutation(np.arange(n) % len(self.weights))
        else:
            which = rng.choice(len(self.weights), size=n, p=self.weights)
        points: Points = self.means[which] + np.sqrt(self.variance) * rng.standard_normal((n, 2))
        return points


def _equal(means: Points, variance: float) -> Mixture:
    return Mixture(means, variance, np.full(len(means), 1 / len(means)))


def two_gaussians_mixture() -> Mixture:
    """Half N((-2, -2), 0.01 I), half N((2, 2), 0.01 I), as the score-based tutorial has it: 0.01 is the covariance."""
    return _equal(np.array([[-2.0, -2.0], [2.0, 2.0]]), 0.01)


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
    "eight-gaussians": eight_gaussians,
    "moons": moons,
    "swiss-roll": swiss_roll,
    "checkerboard": checkerboard,
    "spiral": spiral,
    "dino": dino,
}

_MIXTURES: dict[str, Callable[[], Mixture]] = {
    "two-gaussians": two_gaussians_mixture,
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
