"""CompactUNet: our small U-Net, shaped for the arithmetic of a laptop CPU.

A pixel-unshuffle stem (patch 2) works at half resolution with four times the channels, which costs about a
quarter. Every GroupNorm group holds 16 channels: smaller groups are many times slower in bfloat16 on the
CPU. Any height and width: the picture is padded inside to what the halvings need, and cut again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks.embeddings import Condition
from ddpm_studio.networks.layers import GroupNorm, attend

_GROUP = 16  # channels per GroupNorm group


def _norm(channels: int) -> GroupNorm:
    return GroupNorm(channels // _GROUP, channels)


def _zero(layer: nn.Conv2d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, norm scaled and shifted by the condition, SiLU, conv; plus a shortcut."""

    def __init__(self, channels_in: int, channels: int, condition: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(channels_in), nn.Conv2d(channels_in, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels)
        self.norm2, self.conv2 = _norm(channels), nn.Conv2d(channels, channels, 3, padding=1)
        self.shortcut = nn.Identity() if channels_in == channels else nn.Conv2d(channels_in, channels, 1)
        _zero(self.conv2)  # a block starts as its shortcut

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(condition)[:, :, None, None].to(h.dtype).chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        out: Tensor = self.shortcut(x) + h
        return out


class Attention(nn.Module):
    """Self-attention over all places, one head for each 32 channels (fewer where they would not share evenly)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(heads for heads in range(max(channels // 32, 1), 0, -1) if channels % heads == 0)
        self.norm, self.qkv = _norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        _zero(self.out)

    def forward(self, x: Tensor) -> Tensor:
        n, c, height, width = x.shape
        places = self.qkv(self.norm(x)).flatten(2).mT.unflatten(2, (3, self.heads, c // self.heads))
        h = attend(*places.permute(2, 0, 3, 1, 4)).transpose(1, 2).flatten(2)  # (N, H·W, C)
        out: Tensor = x + self.out(h.mT.reshape(n, c, height, width))
        return out


class CompactUNet(nn.Module):
    """x (N, C, H, W) → (N, C, H, W).

    Args:
        picture_channels: C, 1 or 3.
        channels: width of each level from fine to coarse, multiples of 16; each level halves the size.
        blocks: residual blocks per level, on the way down and on the way up.
        patch: side of the pixel-unshuffle stem.
        attention: self-attention in the middle, at the coarsest level.
        classes: 0, or the number of class labels.
        time_scale: makes the range of the time label about 1000.
    """

    def __init__(
        self,
        picture_channels: int = 1,
        channels: Sequence[int] = (32, 64),
        blocks: int = 1,
        patch: int = 2,
        attention: bool = False,
        classes: int = 0,
        time_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.patch = patch
        self.multiple = patch * 2 ** (len(channels) - 1)
        width = 4 * channels[0]
        self.condition = Condition(width, time_scale, classes)
        folded = picture_channels * patch**2
        self.enter = nn.Conv2d(folded, channels[0], 3, padding=1)

        down: list[nn.ModuleList] = []
        up: list[nn.ModuleList] = []
        self.shrink, self.grow = nn.ModuleList(), nn.ModuleList()
        here = channels[0]
        for level, wide in enumerate(channels):
            self.shrink.append(nn.Identity() if level == 0 else nn.Conv2d(here, wide, 3, stride=2, padding=1))
            down.append(nn.ModuleList(ResidualBlock(wide, wide, width) for _ in range(blocks)))
            here = wide
        self.middle1 = ResidualBlock(here, here, width)
        self.attention = Attention(here) if attention else nn.Identity()
        self.middle2 = ResidualBlock(here, here, width) if attention else None
        for level in reversed(range(len(channels))):
            wide = channels[level]
            up.append(nn.ModuleList(ResidualBlock(2 * wide, wide, width) for _ in range(blocks)))
            self.grow.append(nn.Conv2d(wide, channels[level - 1], 3, padding=1) if level else nn.Identity())
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.leave_norm = _norm(channels[0])
        self.leave = nn.Conv2d(channels[0], folded, 3, padding=1)
        _zero(self.leave)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        height, width = x.shape[-2:]
        x = F.pad(x, (0, -width % self.multiple, 0, -height % self.multiple))
        condition = self.condition(time, label)
        h = self.enter(F.pixel_unshuffle(x, self.patch))
        skips: list[Tensor] = []
        for shrink, level in zip(self.shrink, self.down, strict=True):
            h = shrink(h)
            for block in cast(nn.ModuleList, level):
                h = block(h, condition)
                skips.append(h)
        h = self.attention(self.middle1(h, condition))
        if self.middle2 is not None:
            h = self.middle2(h, condition)
        for level, grow in zip(self.up, self.grow, strict=True):
            for block in cast(nn.ModuleList, level):
                h = block(torch.cat((h, skips.pop()), dim=1), condition)
            if not isinstance(grow, nn.Identity):
                h = grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))
        h = self.leave(F.silu(self.leave_norm(h)))
        return F.pixel_shuffle(h, self.patch)[..., :height, :width]
