"""Long curves made short enough to draw, and smoothed. No Qt here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
BLOCK = 256  # values summed up once, when they are new


@dataclass(frozen=True)
class Bars:
    """A curve cut into pieces: where each starts (an index), its minimum, maximum and mean (NaN: no value)."""

    start: NDArray[np.int64]
    low: Float64
    high: Float64
    mean: Float64

    def zigzag(self, x: Float64) -> tuple[Float64, Float64]:
        """(x, y) that touches the minimum and the maximum of each piece: two points each."""
        y = np.empty(2 * len(self.low))
        y[0::2], y[1::2] = self.low, self.high
        return np.repeat(x[self.start], 2), y


class Summary:
    """Minimum, maximum, sum and count of each full block of a growing curve.

    So a curve of a million values is drawn from four thousand blocks. Values that are not finite count as
    missing.
    """

    def __init__(self, block: int = BLOCK) -> None:
        self._block = block
        self._blocks = np.empty((4, 0))
        self._mark = 0.0  # last value of the last block, to notice a curve that was rolled back

    def update(self, values: Float64) -> None:
        """Take in what has been appended to ``values``, which is the whole curve."""
        seen = self._blocks.shape[1] * self._block
        if seen and (len(values) < seen or not np.array_equal(values[seen - 1], self._mark, equal_nan=True)):
            self._blocks, seen = np.empty((4, 0)), 0
        full = len(values) // self._block * self._block
        if full > seen:
            new = _summed(values[seen:full], np.arange(0, full - seen, self._block))
            self._blocks = np.concatenate([self._blocks, new], axis=1)
            self._mark = float(values[full - 1])

    def bars(self, values: Float64, first: int, last: int, most: int) -> Bars:
        """The part [first, last) of the curve in about ``most`` pieces (whole blocks, if it is long)."""
        first, last = max(0, first), min(last, len(values))
        size = max(1, -(-(last - first) // most))
        if size < 2 * self._block:
            start = np.arange(first, last, size)
            return _bars(start, _summed(values[first:last], start - first))
        left, right = first // self._block, min(-(-last // self._block), self._blocks.shape[1])
        groups = np.arange(left, right, size // self._block)
        parts = [_merged(self._blocks[:, left:right], groups - left)]
        if right * self._block < last:  # newer than the last full block
            parts.append(_summed(values[right * self._block : last], np.zeros(1, np.int64)))
            groups = np.append(groups, right)
        return _bars(groups * self._block, np.concatenate(parts, axis=1))


def _summed(values: Float64, start: NDArray[np.int64]) -> Float64:
    """Rows low, high, sum and count of the pieces of ``values`` that begin at ``start``."""
    if not len(start):
        return np.empty((4, 0))
    there = np.isfinite(values)
    known = np.where(there, values, np.nan)
    return np.stack(
        [
            np.fmin.reduceat(known, start),
            np.fmax.reduceat(known, start),
            np.add.reduceat(np.where(there, values, 0.0), start),
            np.add.reduceat(there.astype(np.float64), start),
        ]
    )


def _merged(blocks: Float64, start: NDArray[np.int64]) -> Float64:
    """The same rows for groups of blocks."""
    if not len(start):
        return np.empty((4, 0))
    merge = (np.fmin, np.fmax, np.add, np.add)
    return np.stack([how.reduceat(row, start) for how, row in zip(merge, blocks, strict=True)])


def _bars(start: NDArray[np.int64], rows: Float64) -> Bars:
    with np.errstate(invalid="ignore", divide="ignore"):
        return Bars(start, rows[0], rows[1], rows[2] / rows[3])


def smooth(values: Float64, span: float) -> Float64:
    """Exponential average over ``span`` neighbours to both sides, so that nothing shifts (zero phase).

    Values that are not finite are left out; near the ends the average is over what there is.
    """
    there = np.isfinite(values)
    reach = int(min(len(values), np.ceil(5 * span)))
    if reach == 0 or not there.any():
        return values
    kernel = np.exp(-np.abs(np.arange(-reach, reach + 1)) / span)
    total = np.convolve(np.where(there, values, 0.0), kernel)[reach:-reach]
    weight = np.convolve(there.astype(np.float64), kernel)[reach:-reach]
    with np.errstate(invalid="ignore", divide="ignore"):
        averaged: Float64 = total / weight
    return averaged


def log_ticks(low: float, high: float) -> list[float]:
    """Round values between two positive bounds for a logarithmic axis: about 2 to 6 of them."""
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
        ticks = [d * 10.0**k for k in decades for d in digits if low <= d * 10.0**k <= high]
        if len(ticks) >= 3:
            return ticks[:: -(-len(ticks) // 6)]
    step = 10 ** np.floor(np.log10(max(high - low, 1e-12)))
    step = next(s * step for s in (1, 0.5, 0.2, 0.1) if (high - low) / (s * step) >= 2)
    return [float(k * step) for k in range(int(np.ceil(low / step)), int(high / step) + 1)]
