"""How a network is told the noise level: a number becomes a vector of sines and cosines."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoidal(time: Tensor, width: int, scale: float = 1.0) -> Tensor:
    """sin and cos of ``scale``·time at ``width``/2 frequencies from 1 down to 1/10000.

    time: float32 (N,). Returns float32 (N, width), all sines first (DDPM's own layout).
    """
    half = width // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / (half - 1))
    angle = scale * time.float()[:, None] * frequencies
    return torch.cat((angle.sin(), angle.cos()), dim=1)


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
        vector: Tensor = self.mlp(sinusoidal(time, self.features, self.time_scale))
        if self.label is not None:
            if label is None:
                label = torch.full((len(time),), self.classes, device=time.device)
            vector = vector + self.label(label)
        return vector
