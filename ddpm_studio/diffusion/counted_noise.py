"""The noise of one item as numpy draws it: the same numbers as ``noise.gaussian``, without torch.

So a window that shows a recorded process can say which z was added in a move, though the tape holds no z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MASK = (1 << 64) - 1
MULTIPLIERS = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53  # of MurmurHash3's fmix64
GOLDEN = 0x9E3779B97F4A7C15


def mix(*words: int) -> int:
    """Mix integers into one 63-bit seed (fixed, unlike Python's ``hash``); order matters."""
    state = 0
    for word in words:
        state = (state + GOLDEN + (word & MASK)) & MASK
        for multiplier in MULTIPLIERS:
            state = ((state ^ (state >> 33)) * multiplier) & MASK
        state ^= state >> 33
    return state >> 1


def gaussian_of(seed: int, move: int, shape: Sequence[int]) -> NDArray[np.float32]:
    """Standard normal noise, float32 ``shape``: row i of ``noise.gaussian(seeds, move, shape)`` with seeds[i] = seed.

    The two agree to the last few digits: numpy and torch round logarithm and cosine in their own ways.
    """
    size = math.prod(shape)
    key = np.uint64(mix(seed, move))
    bits = key + np.arange((size + 1) // 2, dtype=np.uint64) * np.uint64(GOLDEN)  # wraps
    for multiplier in MULTIPLIERS:
        bits = (bits ^ (bits >> np.uint64(33))) * np.uint64(multiplier)
    bits ^= bits >> np.uint64(33)
    first = ((bits >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32
    second = ((bits & np.uint64(0xFFFFFFFF)).astype(np.float64) + 0.5) * 2.0**-32
    radius = np.sqrt(-2 * np.log(first)).astype(np.float32)
    angle = (2 * math.pi * second).astype(np.float32)
    z: NDArray[np.float32] = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return z.ravel()[:size].reshape(shape)
