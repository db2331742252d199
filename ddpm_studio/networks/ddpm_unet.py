"""DDPMUNet: the network of the paper that tutorial 001 tells of (arXiv 2006.11239, appendix B), for 32x32 pictures."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks.embeddings import embed, sinusoidal
from ddpm_studio.networks.layers import GroupNorm, attend

_NEAR_ZERO = 1e-5  # square root of the published scale of the variance, 1e-10


def _norm(channels: int) -> GroupNorm:
    """32 groups, as published; in narrower editions fewer, so that a group keeps 4 channels or more."""
    groups = next(g for g in range(max(min(32, channels // 4), 1), 0, -1) if channels % g == 0)
    return GroupNorm(groups, channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """norm, swish, conv, the noise level added, norm, swish, dropout, conv; plus a shortcut."""

    def __init__(self, channels_in: int, channels: int, time_width: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels_in), nn.Conv2d(channels_in, channels, 3, padding=1)
        self.shift = nn.Linear(time_width, channels)
        self.norm2, self.conv2 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x: (N, channels_in, H, W); vector: (N, time_width), after its swish. Returns (N, channels, H, W)."""
        h = self.conv1(F.silu(self.norm1(x))) + self.shift(vector)[:, :, None, None]
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        out: Tensor = self.shortcut(x) + h
        return out


class Attention(nn.Module):
    """Self-attention over all places, with one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v = (nn.Conv2d(channels, channels, 1) for _ in range(3))
        self.out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W), and so is the result."""
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).mT[:, None] for layer in (self.q, self.k, self.v))  # (N, 1, H·W, C)
        out: Tensor = x + self.out(attend(q, k, v)[:, 0].mT.reshape(x.shape))
        return out


class Halve(nn.Module):
    """A conv of stride 2 with TensorFlow's SAME padding: one row and column of zeros, below and right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return out


class Double(nn.Module):
    """Every pixel four times, then a conv."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return out


class DDPMUNet(nn.Module):
    """x (N, C, H, W) → (N, C, H, W). time is t - 1, 0..T-1; label is not looked at.

    35,746,307 parameters as it stands (the paper says 35.7 million). The first conv, every block and every halving
    on the way down leave a skip, so each level has one block more on the way up. The last layer of every branch starts
    near zero: a fresh network predicts next to nothing.

    Args:
        picture_channels: C, 1 or 3.
        base: width at the full size, even, 4 or more.
        multipliers: width of each size, in multiples of base, from fine to coarse.
        blocks: residual blocks a size on the way down.
        attention_levels: indices of the sizes with attention after each block: 1 is 16x16 of 32x32.
        dropout: share of numbers dropped inside a residual block while training, 0 to 1.
    """

    def __init__(
        self,
        picture_channels: int = 3,
        base: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        blocks: int = 2,
        attention_levels: Collection[int] = (1,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.features, time_width = base, 4 * base
        self.multiple = 2 ** (len(multipliers) - 1)
        self.time = nn.Sequential(nn.Linear(self.features, time_width), nn.SiLU(), nn.Linear(time_width, time_width))

        def unit(level: int, channels_in: int, channels: int) -> nn.ModuleList:
            parts: list[nn.Module] = [ResidualBlock(channels_in, channels, time_width, dropout)]
            if level in attention_levels:
                parts.append(Attention(channels))
            return nn.ModuleList(parts)

        # Each entry of `down` leaves one skip, each entry of `up` takes one or only doubles the size.
        self.enter = nn.Conv2d(picture_channels, base, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        here, skips = base, [base]
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(unit(level, here, base * multiplier))
                here = base * multiplier
                skips.append(here)
            if level < len(multipliers) - 1:
                self.down.append(Halve(here))
                skips.append(here)
        self.middle = nn.ModuleList(
            (
                ResidualBlock(here, here, time_width, dropout),
                Attention(here),
                ResidualBlock(here, here, time_width, dropout),
            )
        )
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                self.up.append(unit(level, here + skips.pop(), base * multiplier))
                here = base * multiplier
            if level:
                self.up.append(Double(here))
        self.leave_norm, self.leave = _norm(here), nn.Conv2d(here, picture_channels, 3, padding=1)
        self._start()

    def _start(self) -> None:
        """The published start: uniform by the mean of fan-in and fan-out, biases zero, last layers near zero."""
        last = {id(self.leave)}
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                last.add(id(module.conv2))
            elif isinstance(module, Attention):
                last.add(id(module.out))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight, _NEAR_ZERO if id(module) in last else 1.0)
                nn.init.zeros_(cast(Tensor, module.bias))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(f"sides must be multiples of {self.multiple}, not {tuple(x.shape[-2:])}")
        # Every block begins with a swish of the time vector: once is enough.
        vector = F.silu(self.time(embed(sinusoidal, time, self.features, next(self.time.parameters()))))
        h = self.enter(x)
        skips = [h]
        for part in self.down:
            h = part(h) if isinstance(part, Halve) else _through(part, h, vector)
            skips.append(h)
        h = _through(self.middle, h, vector)
        for part in self.up:
            h = part(h) if isinstance(part, Double) else _through(part, torch.cat((h, skips.pop()), dim=1), vector)
        out: Tensor = self.leave(F.silu(self.leave_norm(h)))
        return out


def _through(parts: nn.Module, h: Tensor, vector: Tensor) -> Tensor:
    for part in cast(nn.ModuleList, parts):
        h = part(h, vector) if isinstance(part, ResidualBlock) else part(h)
    return h
