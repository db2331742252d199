"""Scratch5UNet: the network of tutorial 000, after step 09 of the book it follows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks.embeddings import embed, interleaved_own


class TimedConvs(nn.Module):
    """Adds the noise level to its input, one number a channel; then (conv 3x3, BatchNorm, ReLU) twice."""

    def __init__(self, channels_in: int, channels: int, time_width: int) -> None:
        super().__init__()
        self.shift = nn.Sequential(nn.Linear(time_width, channels_in), nn.ReLU(), nn.Linear(channels_in, channels_in))
        self.convs = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """x: (N, channels_in, H, W); embedding: (N, time_width). Returns (N, channels, H, W)."""
        out: Tensor = self.convs(x + self.shift(embedding)[:, :, None, None])
        return out


class Scratch5UNet(nn.Module):
    """x (N, C, H, W) → (N, C, H, W). time is t itself, 1..T; label is not looked at.

    As the tutorial prints it: two max-poolings down, two bilinear doublings up, a skip at both finer sizes. In the
    first block the noise level is a single number added to the raw grey picture.

    Args:
        picture_channels: C, 1 or 3.
        channels: width of the full, half and quarter size.
        time_width: entries of the embedding.
    """

    def __init__(
        self, picture_channels: int = 1, channels: Sequence[int] = (64, 128, 256), time_width: int = 100
    ) -> None:
        super().__init__()
        if len(channels) != 3:
            raise ValueError(f"this network has three sizes, so it takes three widths, not {tuple(channels)}")
        fine, half, quarter = channels
        self.time_width = time_width
        self.multiple = 2 ** (len(channels) - 1)
        self.down1 = TimedConvs(picture_channels, fine, time_width)
        self.down2 = TimedConvs(fine, half, time_width)
        self.bottom = TimedConvs(half, quarter, time_width)
        self.up2 = TimedConvs(quarter + half, half, time_width)
        self.up1 = TimedConvs(half + fine, fine, time_width)
        self.leave = nn.Conv2d(fine, picture_channels, 1)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(f"sides must be multiples of {self.multiple}, not {tuple(x.shape[-2:])}")
        v = embed(interleaved_own, time, self.time_width, self.leave.weight)
        fine = self.down1(x, v)
        half = self.down2(F.max_pool2d(fine, 2), v)
        h = self.bottom(F.max_pool2d(half, 2), v)
        h = self.up2(torch.cat((_double(h), half), dim=1), v)
        h = self.up1(torch.cat((_double(h), fine), dim=1), v)
        out: Tensor = self.leave(h)
        return out


def _double(x: Tensor) -> Tensor:
    out = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
    if out.requires_grad:
        # The gradient comes as a view into that of the joined channels; read so, its way back takes five times longer.
        deep = out.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if deep else torch.contiguous_format
        out.register_hook(lambda gradient: gradient.contiguous(memory_format=layout))  # type: ignore[no-untyped-call]
    return out
