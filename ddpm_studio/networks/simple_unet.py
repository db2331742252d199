"""SimpleUnet: the network of tutorial 002."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks.embeddings import embed, sinusoidal


class Stage(nn.Module):
    """conv 3x3, ReLU, BatchNorm; the noise level added; conv 3x3, ReLU, BatchNorm; then half or double the size.

    The order is the printed one: ReLU comes before the BatchNorm.

    Args:
        channels_in: width of the input. A rising stage takes twice as much: its input comes with a skip.
        channels: width of the output.
        time_width: width of the embedding.
        rising: doubles the size, where it otherwise halves it.
        shared_norm: one BatchNorm serves both places, in its weights and in its running statistics.
    """

    def __init__(self, channels_in: int, channels: int, time_width: int, rising: bool, shared_norm: bool) -> None:
        super().__init__()
        self.shift = nn.Linear(time_width, channels)
        self.conv1 = nn.Conv2d(2 * channels_in if rising else channels_in, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        # None, not a second name for norm1: a checkpoint must not hold one tensor under two names.
        self.norm2 = None if shared_norm else nn.BatchNorm2d(channels)
        resize = nn.ConvTranspose2d if rising else nn.Conv2d
        self.resize = resize(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (N, channels_in or its double, H, W); embedding: (N, time_width)."""
        h = self.norm1(F.relu(self.conv1(x)))
        h = h + F.relu(self.shift(embedding))[:, :, None, None]
        norm2 = self.norm1 if self.norm2 is None else self.norm2
        out: Tensor = self.resize(norm2(F.relu(self.conv2(h))))
        return out


class SimpleUnet(nn.Module):
    """x (N, C, H, W) → (N, C, H, W). time is t - 1, 0..T-1; label is not looked at.

    As the tutorial prints it, oddities kept: the lowest rising stage gets its input joined to itself, and there is
    no skip at the full size.

    Args:
        picture_channels: C, 1 or 3.
        channels: widths from fine to coarse, two or more; the size is halved between one and the next.
        time_width: entries of the embedding, even, 4 or more.
        shared_norm: one BatchNorm a stage, used twice. The code the tutorial prints has two (62,438,883 parameters);
            the count in its text (62,433,123) is that of one.
    """

    def __init__(
        self,
        picture_channels: int = 3,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        time_width: int = 32,
        shared_norm: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise ValueError(f"this network takes two or more widths, not {tuple(channels)}")
        self.time_width = time_width
        self.multiple = 2 ** (len(channels) - 1)
        self.time = nn.Linear(time_width, time_width)
        self.enter = nn.Conv2d(picture_channels, channels[0], 3, padding=1)
        self.falling = nn.ModuleList(
            Stage(fine, coarse, time_width, False, shared_norm) for fine, coarse in pairwise(channels)
        )
        self.rising = nn.ModuleList(
            Stage(coarse, fine, time_width, True, shared_norm) for coarse, fine in pairwise(reversed(channels))
        )
        self.leave = nn.Conv2d(channels[0], picture_channels, 1)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(f"sides must be multiples of {self.multiple}, not {tuple(x.shape[-2:])}")
        embedding = F.relu(self.time(embed(sinusoidal, time, self.time_width, self.time.weight)))
        h = self.enter(x)
        skips: list[Tensor] = []
        for stage in self.falling:
            h = stage(h, embedding)
            skips.append(h)
        for stage in self.rising:
            h = stage(torch.cat((h, skips.pop()), dim=1), embedding)
        out: Tensor = self.leave(h)
        return out
