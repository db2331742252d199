"""The moving average of the weights, from which samples come."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


def ema_copy(network: nn.Module) -> nn.Module:
    """A separate module in evaluation mode: sampling never touches the network in training."""
    return deepcopy(network).eval().requires_grad_(False)


def warmed_up(decay: float, updates: int) -> float:
    """min(decay, (1 + n)/(10 + n)): a constant 0.9999 would leave 37 % of the initial weights after 10,000 steps."""
    return min(decay, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """ema += (1 - decay) (network - ema) in place; buffers (such as batch norm's statistics) are copied."""
    weight = 1 - decay
    torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), weight)
    for mine, theirs in zip(ema.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)
