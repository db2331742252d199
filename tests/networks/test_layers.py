"""The layers that several networks share: the usual formulas, whichever way they are computed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpm_studio.networks.layers import GroupNorm, NormByChannel, attend


def drawn(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def deep(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def error(ours: Tensor, exact: Tensor) -> float:
    return float((ours.double() - exact.double()).norm() / exact.double().norm())


def with_gradients(way: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    """What it gives, and the gradient of each input under a fixed gradient of the result."""
    inputs = tuple(each.detach().requires_grad_() for each in inputs)
    out = way(*inputs)
    return out.detach(), *torch.autograd.grad(out, inputs, drawn(*out.shape, seed=9).to(out))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_the_norm_by_channel_is_torchs_in_value_and_gradient(layout: torch.memory_format) -> None:
    x = (3 + 2 * drawn(3, 12, 4, 5)).contiguous(memory_format=layout)
    weight, bias = drawn(12, seed=1), drawn(12, seed=2)
    theirs = with_gradients(lambda x, w, b: F.group_norm(x, 4, w, b, 1e-5), x, weight, bias)
    ours = with_gradients(lambda *inputs: NormByChannel.apply(*inputs, 4, 1e-5), x, weight, bias)
    assert ours[0].is_contiguous(memory_format=layout)
    assert ours[1].is_contiguous(memory_format=layout)
    for mine, exact in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-10, atol=1e-10)


def test_the_gradient_of_the_norm_by_channel_is_its_slope() -> None:
    inputs = [each.requires_grad_() for each in (drawn(2, 6, 2, 3), drawn(6, seed=1), drawn(6, seed=2))]
    assert torch.autograd.gradcheck(lambda *each: NormByChannel.apply(*each, 3, 1e-5), inputs)


def test_the_norm_by_channel_keeps_bfloat16_and_its_exact_statistics() -> None:
    x, weight, bias = deep(1 + drawn(4, 32, 16, 16)).bfloat16(), 1 + 0.1 * drawn(32, seed=1), 0.1 * drawn(32, seed=2)
    exact = with_gradients(lambda x, w, b: F.group_norm(x, 4, w, b, 1e-5), x.double(), weight, bias)
    ours = with_gradients(lambda *inputs: NormByChannel.apply(*inputs, 4, 1e-5), x, weight.float(), bias.float())
    assert [each.dtype for each in ours] == [torch.bfloat16, torch.bfloat16, torch.float32, torch.float32]
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    assert max(error(mine, other) for mine, other in zip(ours, exact, strict=True)) < 8e-3


@pytest.mark.parametrize("channels", [16, 24, 128], ids=["2 a group", "3 a group", "16 a group"])
def test_group_norm_in_bfloat16_is_near_the_exact_one(channels: int) -> None:
    norm = GroupNorm(8, channels)
    x = deep(drawn(3, channels, 6, 6)).bfloat16()
    exact = with_gradients(lambda x: F.group_norm(x, 8, eps=norm.eps), x.double())
    ours = with_gradients(norm, x)
    assert ours[0].dtype == ours[1].dtype == torch.bfloat16
    assert ours[0].is_contiguous(memory_format=torch.channels_last)
    assert max(error(mine, other) for mine, other in zip(ours, exact, strict=True)) < 5e-3


def test_group_norm_in_float32_is_torchs() -> None:
    norm, plain = GroupNorm(4, 8), torch.nn.GroupNorm(4, 8)
    x = drawn(2, 8, 3, 3, dtype=torch.float32)
    assert torch.equal(norm(x), plain(x))
    assert list(norm.state_dict()) == list(plain.state_dict())


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize(("dtype", "near"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_attention_is_its_formula(dtype: torch.dtype, near: float, grad: bool) -> None:
    q, k, v = (drawn(2, 3, 7, 8, dtype=dtype, seed=seed) for seed in range(3))

    def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return (q @ k.mT / 8**0.5).softmax(-1) @ v

    exact = with_gradients(formula, q.double(), k.double(), v.double())
    with torch.set_grad_enabled(grad):
        ours = with_gradients(attend, q, k, v) if grad else (attend(q, k, v),)
    assert all(each.dtype == dtype for each in ours)
    assert max(error(mine, other) for mine, other in zip(ours, exact, strict=False)) < near
