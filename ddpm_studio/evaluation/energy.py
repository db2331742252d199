"""Energy distance between two clouds of points, which needs no features: Székely and Rizzo 2013, equation (2.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_ROWS = 2048  # of distances at a time


def energy_distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """2·E|X − Y| − E|X − X′| − E|Y − Y′|: 0 where both come from one distribution, in the unit of the coordinates.

    a, b: (n, d) and (m, d) with n, m ≥ 2. Pairs of a point with itself do not count, so chance alone may take the
    estimate below 0 (it has no bias).
    """
    x, y = (torch.from_numpy(np.array(points, np.float64)) for points in (a, b))
    within = sum(_mean_distance(cloud, cloud) * len(cloud) / (len(cloud) - 1) for cloud in (x, y))
    return 2 * _mean_distance(x, y) - within


def _mean_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    # Without the product of matrices, whose rounding makes the distance of a point to itself large.
    parts = (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))
    total = sum(float(torch.cdist(part, y, compute_mode="donot_use_mm_for_euclid_dist").sum()) for part in parts)
    return total / (len(x) * len(y))
