"""Points in the plane: small distributions on which everything about diffusion can be seen in seconds."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.data.dataset import Dataset
from ddpm_studio.paths import resource

Floats = NDArray[np.float64]
Rng = np.random.Generator

TRAIN, HELD_OUT = 20_000, 2_000


@dataclass(frozen=True, eq=False)
class Mixture:
    """A mixture of isotropic Gaussians: means (K, 2), one variance per dimension, weights (K,), all equal."""

    means: Floats
    variance: float
    weights: Floats


def _eight() -> Floats:
    angle = np.arange(8) * np.pi / 4
    return 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


_MIXTURES = {
    # Tutorial 004: half N((-2,-2), 0.01 I), half N((2,2), 0.01 I); 0.01 is the variance.
    "two-gaussians": Mixture(np.array([[-2.0, -2.0], [2.0, 2.0]]), 0.01, np.full(2, 1 / 2)),
    "eight-gaussians": Mixture(_eight(), 0.02, np.full(8, 1 / 8)),
}


def _draw(mixture: Mixture, n: int, rng: Rng) -> Floats:
    # The share of each component is exact, so that the modes lie where the tutorial says.
    component = rng.permutation(np.arange(n) % len(mixture.weights))
    drawn: Floats = mixture.means[component] + np.sqrt(mixture.variance) * rng.standard_normal((n, 2))
    return drawn


def two_gaussians(n: int, rng: Rng) -> Floats:
    """Two narrow Gaussians far apart (tutorial 004)."""
    return _draw(_MIXTURES["two-gaussians"], n, rng)


def eight_gaussians(n: int, rng: Rng) -> Floats:
    """Eight Gaussians on a circle."""
    return _draw(_MIXTURES["eight-gaussians"], n, rng)


def moons(n: int, rng: Rng) -> Floats:
    """Two half circles that reach into each other."""
    angle, upper = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.where(upper, np.cos(angle), 1 - np.cos(angle))
    y = np.where(upper, np.sin(angle), 0.5 - np.sin(angle))
    return np.stack([x, y], axis=1) + 0.06 * rng.standard_normal((n, 2))


def swiss_roll(n: int, rng: Rng) -> Floats:
    """A spiral of one and a half turns, seen along the roll."""
    angle = 1.5 * np.pi * (1 + 2 * rng.random(n))
    return np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) + 0.25 * rng.standard_normal((n, 2))


def checkerboard(n: int, rng: Rng) -> Floats:
    """The dark squares of a 4 × 4 board."""
    column = rng.integers(0, 4, n)
    row = 2 * rng.integers(0, 2, n) + column % 2
    return np.stack([column, row], axis=1) + rng.random((n, 2)) - 2


def spiral(n: int, rng: Rng) -> Floats:
    """Two arms that wind around each other."""
    turn = np.sqrt(rng.random(n)) * 3 * np.pi
    arm = np.where(rng.random(n) < 0.5, 1, -1)
    return (arm * turn * np.stack([np.cos(turn), np.sin(turn)])).T + 0.2 * rng.standard_normal((n, 2))


def dino(n: int, rng: Rng) -> Floats:
    """The Datasaurus: 142 points, each blurred a little."""
    drawing = np.loadtxt(resource("data", "dino.csv"), delimiter=",", skiprows=1)
    blurred: Floats = drawing[rng.integers(0, len(drawing), n)] + 0.8 * rng.standard_normal((n, 2))
    return blurred


DRAWS: dict[str, Callable[[int, Rng], Floats]] = {
    "two-gaussians": two_gaussians,
    "eight-gaussians": eight_gaussians,
    "moons": moons,
    "swiss-roll": swiss_roll,
    "checkerboard": checkerboard,
    "spiral": spiral,
    "dino": dino,
}


def _standardised(name: str) -> tuple[Floats, Floats, float]:
    """(points, their mean, their one spread): always the same points."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    points = DRAWS[name](TRAIN + HELD_OUT, rng)
    mean = points.mean(axis=0)
    # One spread for both axes, so that circles stay circles.
    spread = float(np.sqrt(((points - mean) ** 2).mean()))
    return (points - mean) / spread, mean, spread


def open_points(name: str) -> Dataset:
    """The named points: 20,000 to learn, 2,000 held out; float32, zero mean, unit root mean square."""
    points = _standardised(name)[0].astype(np.float32)
    return Dataset(name, "points", points[:TRAIN], points[TRAIN:])


def mixture_of(name: str) -> Mixture | None:
    """The exact distribution of a standardised set, where it is a mixture of Gaussians, for closed-form denoisers."""
    if name not in _MIXTURES:
        return None
    known: Any = _MIXTURES[name]
    _, mean, spread = _standardised(name)
    return Mixture((known.means - mean) / spread, known.variance / spread**2, known.weights)
