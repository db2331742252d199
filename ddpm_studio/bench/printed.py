"""Tutorial 000's training loop as it is printed, written down anew, to be timed beside ours.

What costs it time is kept as it stands there: the embedding made one item at a time, pictures scaled one by one in a
``DataLoader``, the loss read after each step. Left out: its bar of progress.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from ddpm_studio.data.vision import torchvision

LEVELS, WIDTH, BATCH, RATE = 1000, 100, 128, 1e-3


class Pictures(TorchDataset[tuple[Tensor, int]]):
    """uint8 (N, H, W, 1) as torchvision's MNIST hands them out: one at a time, through an image, to 0 … 1."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        torchvision()
        from torchvision.transforms import ToTensor

        self._pictures, self._transform = torch.tensor(pictures[..., 0]), ToTensor()

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pictures[i].numpy())), 0


def encode(time: Tensor, width: int, device: torch.device) -> Tensor:
    """The embedding of one level."""
    out = torch.zeros(width, device=device)
    i = torch.arange(0, width, device=device)
    slower = torch.exp(i / width * math.log(10000))
    out[0::2] = torch.sin(time / slower[0::2])
    out[1::2] = torch.cos(time / slower[1::2])
    return out


def encode_all(times: Tensor, width: int) -> Tensor:
    out = torch.zeros(len(times), width, device=times.device)
    for i in range(len(times)):
        out[i] = encode(times[i], width, times.device)
    return out


class Block(nn.Module):
    def __init__(self, into: int, out: int, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, into), nn.ReLU(), nn.Linear(into, into))
        self.convs = nn.Sequential(
            nn.Conv2d(into, out, 3, padding=1),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.Conv2d(out, out, 3, padding=1),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        )

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        n, c, _, _ = x.shape
        out: Tensor = self.convs(x + self.mlp(v).view(n, c, 1, 1))
        return out


class UNet(nn.Module):
    """x (N, 1, H, W) and levels 1 … 1000 int64 (N,) → the noise in x. Its parts stand in the order of our own's."""

    def __init__(self, widths: tuple[int, int, int] = (64, 128, 256)) -> None:
        super().__init__()
        a, b, c = widths
        self.down1, self.down2, self.bottom = Block(1, a, WIDTH), Block(a, b, WIDTH), Block(b, c, WIDTH)
        self.up2, self.up1 = Block(b + c, b, WIDTH), Block(a + b, a, WIDTH)
        self.out = nn.Conv2d(a, 1, 1)
        self.pool, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: Tensor, times: Tensor) -> Tensor:
        v = encode_all(times, WIDTH)
        fine = self.down1(x, v)
        half = self.down2(self.pool(fine), v)
        x = self.bottom(self.pool(half), v)
        x = self.up2(torch.cat([self.grow(x), half], dim=1), v)
        x = self.up1(torch.cat([self.grow(x), fine], dim=1), v)
        out: Tensor = self.out(x)
        return out


class Diffuser:
    def __init__(self, device: torch.device) -> None:
        self.alpha_bars = torch.cumprod(1 - torch.linspace(0.0001, 0.02, LEVELS, device=device), dim=0)

    def add_noise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        assert (t >= 1).all()
        assert (t <= LEVELS).all()
        bar = self.alpha_bars[t - 1].view(len(t), 1, 1, 1)
        noise = torch.randn_like(x)
        return torch.sqrt(bar) * x + torch.sqrt(1 - bar) * noise, noise


class PrintedLoop:
    """The loop, one step at a call: it goes through the pictures again and again.

    Attributes:
        model: the network that it trains, float32 on ``device``.
    """

    def __init__(
        self,
        pictures: NDArray[np.uint8],
        device: torch.device,
        *,
        batch: int = BATCH,
        widths: tuple[int, int, int] = (64, 128, 256),
    ) -> None:
        self._device = device
        self._loader = DataLoader(Pictures(pictures), batch_size=batch, shuffle=True)
        self._diffuser = Diffuser(device)
        self.model = UNet(widths).to(device)
        self._steps = self._epochs()

    def step(self) -> int:
        """Take the next step; returns how many pictures it saw. Their loss has been read, so it has ended."""
        return next(self._steps)

    def _epochs(self) -> Iterator[int]:
        device, model = self._device, self.model
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        while True:
            total = 0.0
            for pictures, _ in self._loader:
                optimizer.zero_grad()
                x = pictures.to(device)
                t = torch.randint(1, LEVELS + 1, (len(x),), device=device)
                noisy, noise = self._diffuser.add_noise(x, t)
                loss = F.mse_loss(noise, model(noisy, t))
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                total += loss.item()
                yield len(x)
