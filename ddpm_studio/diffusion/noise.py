"""Noise that belongs to a picture, not to a batch.

Sampling draws z as a pure function of (seed of the picture, number of the move, place in the picture).
Picture i is then the same alone or in any batch, on any device, and when a process is replayed from the
middle; and there is no generator state to keep. The bits come from the 64-bit finalizer of MurmurHash3,
made normal by the Box-Muller transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ddpm_studio.diffusion.counted_noise import GOLDEN, MASK, MULTIPLIERS, mix

__all__ = ["gaussian", "mix", "seed_tensor"]


def _signed(value: int) -> int:
    """A 64-bit word as the int64 that torch stores."""
    value &= MASK
    return value - (1 << 64) if value >> 63 else value


_C1, _C2 = (_signed(multiplier) for multiplier in MULTIPLIERS)


def _shift33(x: Tensor) -> Tensor:
    return (x >> 33) & 0x7FFFFFFF  # >> copies the sign bit; the mask makes it a logical shift


def _finalize(x: Tensor) -> Tensor:
    """MurmurHash3's fmix64, on int64 (multiplication wraps)."""
    x = (x ^ _shift33(x)) * _C1
    x = (x ^ _shift33(x)) * _C2
    return x ^ _shift33(x)


def seed_tensor(seeds: Sequence[int], device: torch.device | str = "cpu") -> Tensor:
    """Seeds as int64 (N,): made once where a long process draws often."""
    return torch.tensor([_signed(seed) for seed in seeds], dtype=torch.int64, device=device)


def gaussian(
    seeds: Sequence[int] | Tensor, move: int, shape: Sequence[int], *, device: torch.device | str = "cpu"
) -> Tensor:
    """Standard normal noise, float32 (len(seeds), *shape).

    ``move`` counts the draws of one process (0 is x_T). Row i depends on (seeds[i], move) alone; ``seeds``
    may be a ``seed_tensor`` on the device.
    """
    size = math.prod(shape)
    keys = seeds if isinstance(seeds, Tensor) else seed_tensor(seeds, device)
    keys = _finalize(_finalize(keys + _signed(GOLDEN)) + _signed(GOLDEN + move))
    keys = (keys >> 1) & (MASK >> 1)  # mix(seed, move) of all seeds at once
    half = (size + 1) // 2
    counter = torch.arange(half, dtype=torch.int64, device=device) * _signed(GOLDEN)
    bits = _finalize(keys[:, None] + counter)
    # Each 64-bit word gives two uniforms in (0, 1), and the pair two independent normals.
    first = (((bits >> 32) & 0xFFFFFFFF).double() + 0.5) * 2.0**-32
    second = ((bits & 0xFFFFFFFF).double() + 0.5) * 2.0**-32
    radius = torch.sqrt(-2 * torch.log(first)).float()
    angle = (2 * math.pi * second).float()
    z = torch.stack((radius * torch.cos(angle), radius * torch.sin(angle)), dim=-1)
    return z.view(len(seeds), -1)[:, :size].reshape(len(seeds), *shape)
