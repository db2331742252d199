"""The moving average of the weights, from which samples come."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


def ema_copy(network: nn.Module) -> nn.Module:
    """A separate module in evaluation mode: sampling never touches the network in training."""
    return deepcopy(network).eval().requires_grad_(False)


def warmed_up(decay: float, updates: int) -> float:
    """min(decay, (1 + n)/(10 + n)): a constant 0.9999 would leave 37 % of the initial weights after 10,000 steps."""
    return min(decay, (1 + updates) / (10 + updates))


class Averaging:
    """Moves one network's weights towards another's; their tensors are looked up once."""

    def __init__(self, ema: nn.Module, network: nn.Module) -> None:
        self._mine: list[Tensor] = list(ema.parameters())
        self._theirs: list[Tensor] = list(network.parameters())
        self._my_buffers, self._their_buffers = list(ema.buffers()), list(network.buffers())

    @torch.no_grad()
    def __call__(self, decay: float) -> None:
        """ema += (1 - decay) (network - ema) in place; buffers (such as batch norm's statistics) are copied."""
        torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)
        for mine, theirs in zip(self._my_buffers, self._their_buffers, strict=True):
            mine.copy_(theirs)
