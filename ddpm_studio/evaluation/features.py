"""What our fixed classifier sees in pictures: 128 numbers for each, between which distances mean something.

The classifier is a small convolutional network, trained once to tell the built-in Fashion-MNIST pictures' classes
and bent digits and letters (``packaging/train_classifier.py``), and pinned by its hash: distances measured with other
weights could not be compared. Their scale is its own, not that of the Inception network in papers.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ddpm_studio.paths import resource

GLYPHS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without I and O, which are 1 and 0
CLASSES = 10 + len(GLYPHS)  # ten of clothes come first
SIDE = 28
FEATURES = 128
SHA256 = "5961ff631dc662e75ba7137af59d360c1461d5e28658d99d948e0b385ee8c158"
_BATCH = 500
_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601


class FeatureError(RuntimeError):
    """The classifier's file is not the one this program knows; one sentence."""


class Classifier(nn.Module):
    """float32 (N, 1, 28, 28) in -1 … 1 → class scores (N, 44).

    ``features`` are the means over the picture of the last 128 maps, none negative.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (1, 16, 32, 64, FEATURES)
        strides = (1, 2, 1, 2)  # 28, 14, 14, 7 pixels
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, padding=1)
            for before, after, stride in zip(widths, widths[1:], strides, strict=False)
        )
        self.scores = nn.Linear(FEATURES, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = F.relu(convolution(x))
        return x.mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.scores(self.features(x))
        return out


def to_input(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (N, H, W, 1 or 3) → what the classifier sees, float32 (N, 1, 28, 28) in -1 … 1.

    Colours become grey, so a wrong hue of the same brightness is not seen; other sizes are resized, smoothed
    where they shrink.
    """
    x = torch.tensor(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    if x.shape[1] == 3:
        x = (x * torch.tensor(_GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    if x.shape[2:] != (SIDE, SIDE):
        x = F.interpolate(x, (SIDE, SIDE), mode="bilinear", antialias=True)
    return x


@torch.no_grad()
def features(pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The classifier's features of uint8 (N, H, W, 1 or 3) pictures, float64 (N, 128).

    Raises:
        ValueError: if these are not pictures. FeatureError: if the classifier's file is missing or altered.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] not in (1, 3) or not pictures.size:
        raise ValueError(f"pictures must be uint8 (N, H, W, 1 or 3) with N ≥ 1; got {pictures.dtype} {pictures.shape}")
    network = _classifier()
    parts = [network.features(to_input(pictures[i : i + _BATCH])) for i in range(0, len(pictures), _BATCH)]
    return torch.cat(parts).double().numpy()


@functools.lru_cache(maxsize=1)
def _classifier() -> Classifier:
    """The shipped classifier on the CPU, so that a distance is the same wherever the samples were made."""
    path = resource("classifier", "small.npz")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise FeatureError(
            f"{path}, which comes with the program, cannot be read: install DDPM Studio again."
        ) from error
    if hashlib.sha256(raw).hexdigest() != SHA256:
        raise FeatureError(f"{path} is not the classifier that distances are measured with: install DDPM Studio again.")
    with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
        return load(dict(arrays))


def load(arrays: Mapping[str, NDArray[Any]]) -> Classifier:
    """A classifier with the given weights, named as in its ``state_dict``."""
    network = Classifier()
    network.load_state_dict({name: torch.from_numpy(array).float() for name, array in arrays.items()})
    return network.eval().requires_grad_(False)
