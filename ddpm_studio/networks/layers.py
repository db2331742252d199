"""Layers that several networks share: the usual formulas, each in the way that is quickest where it runs.

A processor's bfloat16 operators are not all quick: some are many times slower than their float32 twins.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXACT = ("time", "condition", "leave")  # parts that stay float32, as our networks name them: time MLP and last layer


def products(network: nn.Module) -> list[nn.Module]:
    """The layers that multiply by weights, where most of the work is, but for those of the ``EXACT`` parts."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    named = network.named_modules()
    return [layer for name, layer in named if isinstance(layer, kinds) and name.split(".")[0] not in EXACT]


def read_as_weights(network: nn.Module) -> nn.Module:
    """Let each layer take its input in the type of its own weights: so a network of two types needs no autocast.

    Norms over channels take any type as it is, and keep their statistics float32.
    """

    def in_its_type(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        weight = next(layer.parameters())
        return tuple(each.to(weight.dtype) for each in given)

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.LayerNorm):
            layer.register_forward_pre_hook(in_its_type)
    return network


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q·kᵀ/√width)·v: each place takes from all places.

    q, k, v: (N, heads, places, width), and so is the result.
    """
    if torch.is_grad_enabled() and q.dtype == torch.bfloat16 and not q.is_cuda:
        # Written out: the bfloat16 backward of the fused kernel is several times slower on the CPU.
        return torch.softmax((q * q.shape[-1] ** -0.5) @ k.mT, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class GroupNorm(nn.GroupNorm):
    """torch's own, with a way of its own for bfloat16 where that of torch is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W), and so is the result, in the type and layout of x."""
        if x.dtype == torch.bfloat16:
            if x.is_cuda:
                out: Tensor = NormByChannel.apply(x, self.weight, self.bias, self.num_groups, self.eps)  # type: ignore[no-untyped-call]
                return out
            if (self.num_channels // self.num_groups) % 16:
                # The CPU's bfloat16 kernel takes the channels of a group 16 at a time, and a rest one by one.
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


class NormByChannel(torch.autograd.Function):
    """GroupNorm as one multiple and one summand for each channel of each item, so that any layout stays as it is.

    Statistics are float32 (float64 for float64); what is as large as x is read and written in the type of x. On a card
    torch would turn channels_last into contiguous memory here, and autocast would compute it all in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        """x: (N, C, H, W); weight, bias: (C,). Returns (N, C, H, W) like x."""
        exact = torch.promote_types(x.dtype, torch.float32)
        size = x[0].numel() // groups
        with torch.autocast(x.device.type, enabled=False):
            total = x.sum((2, 3), dtype=exact)
            squares = torch.linalg.vector_norm(x, dim=(2, 3), dtype=exact).square()
            mean = _grouped(total, groups).sum(2, keepdim=True) / size
            variance = _grouped(squares, groups).sum(2, keepdim=True) / size - mean.square()
            rstd = (variance.clamp(min=0) + eps).rsqrt()
            scale = rstd * weight.view(groups, -1)
            shift = bias.view(groups, -1) - mean * scale
            ctx.save_for_backward(x, weight, mean, rstd)
            return torch.addcmul(_for(x, shift), x, _for(x, scale))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, rstd = ctx.saved_tensors
        (gradient,) = gradients
        groups = mean.shape[1]
        size, by_group = x[0].numel() // groups, weight.view(groups, -1)
        plain = _grouped(gradient.sum((2, 3), dtype=mean.dtype), groups)
        along_x = _grouped((gradient * x).sum((2, 3), dtype=mean.dtype), groups)
        along_x = along_x - mean * plain
        # What a change of x does through the variance, and through the mean.
        slope = -(rstd**3) * (along_x * by_group).sum(2, keepdim=True) / size
        level = -rstd * (plain * by_group).sum(2, keepdim=True) / size - slope * mean
        rest = torch.addcmul(_for(x, level.expand_as(plain)), x, _for(x, slope.expand_as(plain)))
        for_x = rest.addcmul_(gradient, _for(x, rstd * by_group))
        for_weight, for_bias = (rstd * along_x).sum(0).flatten(), plain.sum(0).flatten()
        return for_x, for_weight.to(weight.dtype), for_bias.to(weight.dtype), None, None


def _grouped(by_channel: Tensor, groups: int) -> Tensor:
    """(N, C) as (N, groups, channels of a group)."""
    return by_channel.view(len(by_channel), groups, -1)


def _for(x: Tensor, by_channel: Tensor) -> Tensor:
    """One number for each channel of each item, in the type of x, to be spread over the places."""
    return by_channel.reshape(*x.shape[:2], 1, 1).to(x.dtype)
