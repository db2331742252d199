"""How a network is told the noise level: a number becomes a vector of sines and cosines.

The tutorials print three such vectors. They differ in order and in frequencies; for time 1 and width 4:

- 000, :func:`interleaved_own`:     sin 1, cos .1,   sin .01, cos .001
- 001 and 002, :func:`sinusoidal`:  sin 1, sin 1e-4, cos 1,   cos 1e-4
- 003, :func:`interleaved_pairs`:   sin 1, cos 1,    sin .01, cos .01
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_BASE = math.log(10_000)


def _number(time: Tensor) -> Tensor:
    """The precision to compute in: float64 stays, all else becomes float32 (not every device knows float64)."""
    return time if time.dtype == torch.float64 else time.float()


def sinusoidal(time: Tensor, width: int, scale: float = 1.0) -> Tensor:
    """Tutorials 001 and 002, DDPM's own layout: with h = width/2, all h sines, then all h cosines.

    sin and cos of ``scale``·time·10000^(-j/(h-1)), j = 0..h-1: the frequencies run from 1 down to 1/10000.
    For time 1 and width 4: [.84147098, .0001, .54030231, 1.0].

    time: (N,). width: even, 4 or more. Returns (N, width), float64 for float64, otherwise float32.
    """
    time, half = _number(time), width // 2
    frequencies = torch.exp(-_BASE * torch.arange(half, device=time.device, dtype=time.dtype) / (half - 1))
    angle = scale * time[:, None] * frequencies
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def interleaved_own(time: Tensor, width: int) -> Tensor:
    """Tutorial 000: entry i is of time/10000^(i/width), the sine where i is even, the cosine where it is odd.

    The exponent holds i itself, so a sine and the cosine beside it have frequencies of their own.
    For time 1 and width 4: [.84147098, .99500417, .00999983, .9999995].

    time: (N,). Returns (N, width), float64 for float64, otherwise float32.
    """
    time = _number(time)
    place = torch.arange(width, device=time.device, dtype=time.dtype)
    angle = time[:, None] / torch.exp(place / width * _BASE)
    return torch.where(place % 2 == 0, angle.sin(), angle.cos())


def interleaved_pairs(time: Tensor, width: int) -> Tensor:
    """Tutorial 003, equation (3): entries 2i and 2i+1 are the sine and the cosine of time/10000^(2i/width).

    For time 1 and width 4: [.84147098, .54030231, .00999983, .99995].

    time: (N,). width: even. Returns (N, width), float64 for float64, otherwise float32.
    """
    time = _number(time)
    even = torch.arange(0, width, 2, device=time.device, dtype=time.dtype)
    angle = time[:, None] * torch.exp(even * (-_BASE / width))
    return torch.stack((angle.sin(), angle.cos()), dim=2).flatten(1)


def embed(embedding: Callable[[Tensor, int], Tensor], time: Tensor, width: int, like: Tensor) -> Tensor:
    """The embedding (N, width) in the type of ``like`` (a weight), and computed in it where that is float64."""
    exact = torch.promote_types(like.dtype, torch.float32)
    return embedding(time.to(exact), width).to(like.dtype)


class Condition(nn.Module):
    """The condition vector of our own networks: noise level, plus class label where there is one.

    The label table has one row more than there are classes: the last row stands for "no label".
    """

    def __init__(self, width: int, time_scale: float, classes: int = 0) -> None:
        super().__init__()
        self.features, self.time_scale, self.classes = 64, time_scale, classes
        self.mlp = nn.Sequential(nn.Linear(self.features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.label = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, time: Tensor, label: Tensor | None) -> Tensor:
        """time: float32 (N,); label: int64 (N,) or None. Returns (N, width)."""
        vector: Tensor = self.mlp(sinusoidal(time.float(), self.features, self.time_scale))
        if self.label is not None:
            if label is None:
                label = torch.full((len(time),), self.classes, device=time.device)
            vector = vector + self.label(label)
        return vector
