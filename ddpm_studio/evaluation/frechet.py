"""How far two sets of features lie apart: the Fréchet distance, its floor, and the kernel distance.

Features are float64 (N, D), one row an item; both distances are computed in float64, with numpy alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
_BLOCK = 1000


class Floor(NamedTuple):
    """What true pictures get: the distance from the trained to so many held-out ``items``."""

    distance: float
    items: int


def frechet(a: Rows, b: Rows) -> float:
    """The squared Fréchet distance of the normals with the means and covariances of ``a`` and ``b`` (arXiv 1706.08500).

    |μ_a - μ_b|² + tr(A + B - 2 (A B)^½), never negative. It has a positive bias that falls as 1/N: compare only
    values of the same N, and give N. Below about 4 D rows it is mostly bias.

    Raises:
        ValueError: if the sets do not fit together, have fewer than 2 rows, or hold values that are not finite.
    """
    _check(a, b)
    apart = a.mean(0) - b.mean(0)
    root_a, root_b = _root(_covariance(a)), _root(_covariance(b))
    # tr (A B)^½ is the sum of the singular values of A^½ B^½. These need no root of a rounded zero, as eigenvalues
    # of A B do, where 1e-16 becomes 1e-8.
    common = np.linalg.svd(root_a @ root_b, compute_uv=False).sum()
    spread = (root_a**2).sum() + (root_b**2).sum() - 2 * common
    return max(float(apart @ apart + spread), 0.0)


def floor(train: Rows, held_out: Rows, count: int) -> Floor:
    """The Fréchet distance of ``train`` to the first ``count`` held-out items, or to all where there are fewer.

    No generator should get below it. Compare as many samples with it as it has ``items``.
    """
    held_out = held_out[:count]
    return Floor(frechet(train, held_out), len(held_out))


def kernel_distance(a: Rows, b: Rows) -> float:
    """The kernel distance (KID, arXiv 1801.01401): unbiased MMD² with the kernel (x·y/D + 1)³.

    Its mean does not depend on N; near 0 it may fall below 0.

    Raises:
        ValueError: see ``frechet``.
    """
    _check(a, b)
    return _mean_kernel(a, a, same=True) + _mean_kernel(b, b, same=True) - 2 * _mean_kernel(a, b, same=False)


def _mean_kernel(a: Rows, b: Rows, *, same: bool) -> float:
    """The mean of the kernel over all pairs; an item with itself is no pair. In blocks: 10,000² values are 800 MB."""
    total = 0.0
    for start in range(0, len(a), _BLOCK):
        kernel = (a[start : start + _BLOCK] @ b.T / a.shape[1] + 1) ** 3
        total += float(kernel.sum())
        if same:
            total -= float(kernel.diagonal(start).sum())
    return total / (len(a) * (len(b) - same))


def _covariance(rows: Rows) -> Rows:
    centred = rows - rows.mean(0)
    out: Rows = centred.T @ centred / (len(rows) - 1)
    return out


def _root(covariance: Rows) -> Rows:
    """The symmetric root of a symmetric matrix with no negative eigenvalues but for rounding."""
    values, vectors = np.linalg.eigh(covariance)
    out: Rows = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return out


def _check(a: Rows, b: Rows) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets (N, D) of at least 2 rows and the same D are needed; got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features that are not finite numbers have no distance")
