"""How points fall on the modes of their data: shares and spreads, and what goes wrong with them. No Qt, no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.data.points import Mixture

NARROW = 0.6  # of the data's spread: below this the samples are too tight to be chance
OFF = 0.05  # a share this far from the data's, and from chance, is wrong


@dataclass(frozen=True, eq=False)
class ModeFacts:
    """The points of one moment against the mixture they should follow.

    Attributes:
        shares: float64 (K,), the part of the points nearest to each mode; data_shares: that of the data.
        spreads: float64 (K,), standard deviations per dimension; NaN where a mode has no points. From the
            median distance, since a few points that a network throws far away would drown all others.
        data_spread: that of each mode of the data.
    """

    shares: NDArray[np.float64]
    spreads: NDArray[np.float64]
    data_shares: NDArray[np.float64]
    data_spread: float

    @classmethod
    def of(cls, points: NDArray[Any], mixture: Mixture) -> ModeFacts:
        """points: (N, 2) in the units of the mixture."""
        nearest = mixture.nearest(points)
        spreads = np.array([_spread(points[nearest == k]) for k in range(len(mixture.means))])
        return cls(mixture.shares(points), spreads, mixture.weights, float(np.sqrt(mixture.variance)))

    @property
    def spread(self) -> float:
        """One number for all modes: the root of the mean variance of the points; NaN without points."""
        there = self.shares > 0
        total = self.shares[there].sum()
        return float(np.sqrt(self.shares[there] @ self.spreads[there] ** 2 / total)) if total > 0 else float("nan")

    @property
    def narrow(self) -> bool:
        """Whether the points lie clearly closer together than the data do."""
        return self.spread < NARROW * self.data_spread

    def wrong_mode(self, count: int) -> int | None:
        """The mode whose share of ``count`` points is furthest from the data's; None if all are near it.

        Far is more than ``OFF`` and more than four standard errors.
        """
        off = np.abs(self.shares - self.data_shares)
        k = int(off.argmax())
        share = self.data_shares[k]
        chance = 4 * float(np.sqrt(share * (1 - share) / max(count, 1)))
        return k if off[k] > max(OFF, chance) else None


def _spread(points: NDArray[Any]) -> float:
    """The standard deviation per dimension of (N, 2) if they are normal: half of |x|² lies below 2 ln 2 variances."""
    if not len(points):
        return float("nan")
    away = points.astype(np.float64) - np.median(points, axis=0)
    return float(np.sqrt(np.median((away**2).sum(axis=1)) / (2 * np.log(2))))
