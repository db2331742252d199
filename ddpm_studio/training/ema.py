"""The moving average of the weights, from which samples come."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

from ddpm_studio.training.flat import Flat


def ema_copy(network: nn.Module) -> nn.Module:
    """A separate module in evaluation mode: sampling never touches the network in training."""
    return deepcopy(network).eval().requires_grad_(False)


def warmed_up(decay: float, updates: int) -> float:
    """min(decay, (1 + n)/(10 + n)): a constant 0.9999 would leave 37 % of the initial weights after 10,000 steps."""
    return min(decay, (1 + updates) / (10 + updates))


class Averaging:
    """Moves one network's weights towards another's, all in one operation; both are flat."""

    def __init__(self, ema: nn.Module, network: nn.Module, values: Tensor) -> None:
        """``values`` (P,): the parameters of ``network``. Those of ``ema`` are moved into a vector of their own."""
        self._mine, self._theirs = Flat(ema).values, values
        self._buffers = list(zip(ema.buffers(), network.buffers(), strict=True))

    @torch.no_grad()
    def __call__(self, weight: Tensor, skip: Tensor) -> None:
        """ema += weight (network - ema) in place; buffers (such as batch norm's statistics) are copied.

        weight, skip: () on the device. Nothing moves if ``skip`` is 1.
        """
        self._mine.lerp_(self._theirs, weight * (1 - skip))
        for mine, theirs in self._buffers:
            mine.copy_(torch.where(skip.bool(), mine, theirs))
