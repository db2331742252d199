"""The networks: any size in, the same size out, and nothing predicted before anything is learnt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ddpm_studio.networks import CompactUNet, PointMLP
from ddpm_studio.networks.compact_unet import Attention
from ddpm_studio.networks.embeddings import sinusoidal


def awake(network: nn.Module) -> nn.Module:
    """The network with its zero-initialised layers drawn at random, so that an output depends on all of it."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def far_change(network: nn.Module, side: int = 64) -> float:
    """How much the far corner of the output moves when one pixel of the near corner is changed."""
    x = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(1))
    other = x.clone()
    other[0, 0, 0, 0] += 3
    with torch.no_grad():
        time = torch.tensor([500.0])
        return float((network(x, time) - network(other, time))[..., -1, -1].abs().max())


@pytest.mark.parametrize("channels", [1, 3], ids=["grey", "colour"])
@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (64, 64), (17, 23), (8, 31), (48, 24), (9, 9)])
def test_any_size_goes_through_and_comes_back(height: int, width: int, channels: int) -> None:
    network = awake(CompactUNet(channels, (16, 32, 48), attention=True))
    x = torch.randn(2, channels, height, width)
    out = network(x, torch.tensor([1.0, 999.0]))
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert out.isfinite().all()


@pytest.mark.parametrize("patch", [1, 2, 3, 4])
@pytest.mark.parametrize("blocks", [1, 2])
def test_any_stem_and_depth(patch: int, blocks: int) -> None:
    network = awake(CompactUNet(1, (16, 32), blocks=blocks, patch=patch))
    assert network(torch.randn(2, 1, 19, 26), torch.ones(2)).shape == (2, 1, 19, 26)


def test_padding_is_outside_the_picture_only() -> None:
    """A size that fits needs no padding; the last row and column of one that does not are still predicted."""
    network = awake(CompactUNet(1, (16, 32)))
    out = network(torch.randn(1, 1, 27, 29), torch.ones(1))
    assert out[..., -1, :].abs().min() > 0
    assert out[..., :, -1].abs().min() > 0


@pytest.mark.parametrize(
    "network",
    [CompactUNet(1), CompactUNet(3, (16, 32), attention=True, classes=4), PointMLP(2, 32, 2)],
    ids=["grey", "colour", "points"],
)
def test_nothing_is_predicted_at_the_start(network: nn.Module) -> None:
    shape = (2,) if isinstance(network, PointMLP) else (3 if network.condition.classes else 1, 28, 28)
    assert not network(torch.randn(4, *shape), torch.arange(4.0)).any()


def test_a_block_starts_as_its_shortcut() -> None:
    network = CompactUNet(1, (16, 32), attention=True)
    x = torch.randn(2, 32, 4, 4)
    assert torch.equal(network.middle1(x, torch.randn(2, 64)), x)
    assert torch.equal(network.attention(x), x)


@pytest.mark.parametrize("channels", [(16,), (32, 64), (48, 80, 112), (64, 128, 256)])
def test_every_group_holds_16_channels_or_more(channels: tuple[int, ...]) -> None:
    norms = [m for m in CompactUNet(1, channels, attention=True).modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) > 2 * len(channels)
    assert all(norm.num_channels / norm.num_groups >= 16 for norm in norms)


@pytest.mark.parametrize("channels", range(16, 513, 16))
def test_attention_of_any_width_shares_its_channels_evenly(channels: int) -> None:
    """112 and 176 channels once could not be shared among heads of 32."""
    attention = Attention(channels)
    assert channels % attention.heads == 0
    assert attention.heads == channels // 32 or channels % 32 or channels < 32
    with torch.no_grad():
        assert attention(torch.randn(1, channels, 2, 3)).shape == (1, channels, 2, 3)


def test_the_written_out_attention_is_the_fused_one() -> None:
    attention = awake(Attention(96))
    x = torch.randn(2, 96, 5, 3)
    with torch.no_grad():
        fused = attention(x)
    torch.testing.assert_close(attention(x), fused, rtol=1e-4, atol=1e-5)


def test_attention_lets_distant_pixels_see_each_other() -> None:
    torch.manual_seed(0)
    assert far_change(awake(CompactUNet(1, (16, 16), attention=True))) > 1e-5


def test_attention_does_not_care_where_a_place_lies() -> None:
    attention = awake(Attention(32))
    x, order = torch.randn(1, 32, 4, 4), torch.randperm(16)
    shuffled = x.flatten(2)[..., order].view_as(x)
    expected = attention(x).flatten(2)[..., order].view_as(x)
    torch.testing.assert_close(attention(shuffled), expected, rtol=1e-4, atol=1e-5)


def test_time_and_label_change_the_output() -> None:
    network = awake(CompactUNet(1, (16, 32), classes=3))
    x = torch.randn(1, 1, 16, 16)

    def out(time: float, label: int | None) -> Tensor:
        return network(x, torch.tensor([time]), None if label is None else torch.tensor([label]))

    assert not torch.allclose(out(10, 0), out(900, 0))
    assert not torch.allclose(out(10, 0), out(10, 1))
    assert torch.equal(out(10, None), out(10, 3)), "the last row of the table stands for no label"
    assert network.condition.label.weight.shape[0] == 4


def test_items_of_a_batch_do_not_see_each_other() -> None:
    network = awake(CompactUNet(1, (16, 32), attention=True, classes=2))
    x, time, label = torch.randn(3, 1, 12, 12), torch.tensor([1.0, 50.0, 900.0]), torch.tensor([0, 1, 2])
    alone = torch.cat([network(x[i : i + 1], time[i : i + 1], label[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(network(x, time, label), alone, rtol=1e-4, atol=1e-5)


def test_parameter_counts_of_the_defaults() -> None:
    def count(network: nn.Module) -> int:
        return sum(p.numel() for p in network.parameters())

    assert count(CompactUNet()) == 446_436
    assert count(PointMLP()) == 174_082
    assert count(CompactUNet(classes=10)) - count(CompactUNet()) == 11 * 128


def test_every_parameter_learns() -> None:
    for network, shape in (
        (CompactUNet(1, (16, 32), attention=True, classes=2), (1, 8, 8)),
        (PointMLP(2, 16, 2), (2,)),
    ):
        awake(network)
        label = torch.tensor([0, 1, 2, 0]) if isinstance(network, CompactUNet) else None
        network(torch.randn(4, *shape), torch.arange(4.0), label).square().sum().backward()
        assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_points_of_any_dimension() -> None:
    network = awake(PointMLP(3, 16, 1))
    assert network(torch.randn(5, 3), torch.zeros(5)).shape == (5, 3)


def test_the_time_embedding_has_sines_first() -> None:
    e = sinusoidal(torch.tensor([0.0, 2.0]), 8)
    assert torch.equal(e[0], torch.tensor([0.0] * 4 + [1.0] * 4))
    torch.testing.assert_close(e[1, 0], torch.tensor(2.0).sin())
    torch.testing.assert_close(e[1, 3], torch.tensor(2e-4).sin())
    torch.testing.assert_close(sinusoidal(torch.tensor([1.0]), 8, scale=2.0)[0], e[1])
