"""AttentionUNet: a network for tutorial 003, which prints little of its own.

Printed are the embedding (equation (3)), the time MLP, and the sum inside a residual block. The layout (norms, widths,
poolings, skips, where the MLP of attention stands) follows the repository the tutorial names. The attention is ours:
the published one takes only the diagonal of its attention matrix, so no pixel ever sees another, and it stands at
different sizes on the two paths. Here it is true attention, at the second size on both paths and in the middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks.embeddings import embed, interleaved_pairs
from ddpm_studio.networks.layers import GroupNorm, attend

_GROUPS = 8
_ATTENTION_LEVEL = 1  # 14x14 of a picture of 28x28


def _enter(channels_in: int, channels: int) -> nn.Sequential:
    return nn.Sequential(GroupNorm(_GROUPS, channels_in), nn.ReLU(), nn.Conv2d(channels_in, channels, 3, padding=1))


class ResidualBlock(nn.Module):
    """shortcut(x) + conv2(conv1(x) + shift(time)), as printed; each conv is GroupNorm, ReLU, conv 3x3."""

    def __init__(self, channels_in: int, channels: int, time_width: int) -> None:
        super().__init__()
        self.conv1 = _enter(channels_in, channels)
        self.shift = nn.Sequential(nn.ReLU(), nn.Linear(time_width, channels))
        self.conv2 = _enter(channels, channels)
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x: (N, channels_in, H, W); vector: (N, time_width). Returns (N, channels, H, W)."""
        out: Tensor = self.shortcut(x) + self.conv2(self.conv1(x) + self.shift(vector)[:, :, None, None])
        return out


class AttentionBlock(nn.Module):
    """Every pixel looks at every pixel: norm, attention, added; then norm, linear, GELU, linear, added."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared evenly among {heads} heads")
        self.heads = heads
        self.norm, self.qkv = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels)
        self.mix = nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W), and so is the result."""
        n, c, height, width = x.shape
        places = x.flatten(2).mT  # (N, H·W, C)
        qkv = self.qkv(self.norm(places)).view(n, height * width, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, H·W, C/heads)
        places = places + self.mix(attend(q, k, v).transpose(1, 2).flatten(2))
        places = places + self.mlp(places)
        out: Tensor = places.mT.reshape(n, c, height, width)
        return out


class AttentionUNet(nn.Module):
    """x (N, C, H, W) → (N, C, H, W). time is the tutorial's t, 0..T; label is not looked at.

    Two residual blocks a size on each path, halved by mean pooling, doubled by a transposed 2x2 convolution, one skip
    a size. See the top of this file for what of it is the tutorial's. 31,995,649 parameters as it stands;
    8,010,625 with base, time_features and time_width half as large.

    Args:
        picture_channels: C, 1 or 3.
        base: width at the full size, a multiple of 8 and of heads.
        multipliers: width of each size, in multiples of base, from fine to coarse.
        time_features: entries of the embedding, even.
        time_width: width of the time MLP.
        heads: of attention.
    """

    def __init__(
        self,
        picture_channels: int = 1,
        base: int = 128,
        multipliers: Sequence[int] = (1, 2, 4),
        time_features: int = 128,
        time_width: int = 512,
        heads: int = 4,
    ) -> None:
        super().__init__()
        self.time_features = time_features
        self.multiple = 2 ** (len(multipliers) - 1)
        self.time = nn.Sequential(nn.Linear(time_features, time_width), nn.ReLU(), nn.Linear(time_width, time_width))
        widths = [base * m for m in multipliers]

        def level(number: int, channels_in: int, channels: int) -> nn.ModuleList:
            """Two residual blocks, each followed by attention at the one level that has it."""
            parts: list[nn.Module] = []
            for here in (channels_in, channels):
                parts.append(ResidualBlock(here, channels, time_width))
                if number == _ATTENTION_LEVEL:
                    parts.append(AttentionBlock(channels, heads))
            return nn.ModuleList(parts)

        self.enter = nn.Conv2d(picture_channels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(level(i, widths[max(i - 1, 0)], wide) for i, wide in enumerate(widths))
        self.middle = nn.ModuleList(
            (
                ResidualBlock(widths[-1], widths[-1], time_width),
                AttentionBlock(widths[-1], heads),
                ResidualBlock(widths[-1], widths[-1], time_width),
            )
        )
        # On the way up a level already leaves with the width of the finer one.
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for i in reversed(range(len(widths))):
            finer = widths[max(i - 1, 0)]
            self.up.append(level(i, 2 * widths[i], finer))
            self.grow.append(nn.ConvTranspose2d(finer, finer, 2, stride=2) if i else nn.Identity())
        self.leave = nn.Sequential(
            GroupNorm(_GROUPS, widths[0]), nn.ReLU(), nn.Conv2d(widths[0], picture_channels, 3, padding=1)
        )

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(f"sides must be multiples of {self.multiple}, not {tuple(x.shape[-2:])}")
        vector = self.time(embed(interleaved_pairs, time, self.time_features, next(self.time.parameters())))
        h = self.enter(x)
        skips: list[Tensor] = []
        for number, parts in enumerate(self.down):
            h = _through(parts, h if number == 0 else F.avg_pool2d(h, 2), vector)
            skips.append(h)
        h = _through(self.middle, h, vector)
        for parts, grow in zip(self.up, self.grow, strict=True):
            h = grow(_through(parts, torch.cat((h, skips.pop()), dim=1), vector))
        out: Tensor = self.leave(h)
        return out


def _through(parts: nn.Module, h: Tensor, vector: Tensor) -> Tensor:
    for part in cast(nn.ModuleList, parts):
        h = part(h, vector) if isinstance(part, ResidualBlock) else part(h)
    return h
