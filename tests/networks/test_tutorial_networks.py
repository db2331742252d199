"""The tutorials' networks: equal, layer by layer, to what the documents print, written out again here.

Each transcription takes the weights by their own names, in the order of the document, and computes in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.networks import AttentionUNet, DDPMUNet, ScoreMLP, Scratch5UNet, SimpleUnet
from ddpm_studio.networks.embeddings import Condition, interleaved_own, interleaved_pairs, sinusoidal

TINY: dict[str, Callable[[], nn.Module]] = {
    "scratch5": lambda: Scratch5UNet(1, (4, 6, 8), 10),
    "simple": lambda: SimpleUnet(3, (4, 6, 8), 8),
    "simple, shared norm": lambda: SimpleUnet(3, (4, 6, 8), 8, shared_norm=True),
    "attention": lambda: AttentionUNet(1, 8, (1, 2, 4), 12, 20, 4),
    "score": lambda: ScoreMLP(2),
    "score, level-aware": lambda: ScoreMLP(2, (8, 8), level_aware=True),
    "ddpm": lambda: DDPMUNet(3, 8, (1, 2, 2)),
}
tiny = pytest.mark.parametrize("name", TINY)


def count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def on_meta(build: Callable[[], nn.Module]) -> Any:
    with torch.device("meta"):
        return build()


def stirred(network: nn.Module) -> Any:
    """The network in float64, with every weight and every running statistic drawn at random: nothing is 0 or 1."""
    generator = torch.Generator().manual_seed(3)
    network.double()
    with torch.no_grad():
        for name, tensor in (*network.named_parameters(), *network.named_buffers()):
            if tensor.is_floating_point():
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                spread = tensor[0].numel() ** -0.5 if tensor.dim() > 1 else 0.3
                tensor.copy_(1 + 0.3 * noise.abs() if name.endswith("running_var") else spread * noise)
                if name.endswith(".weight") and tensor.dim() == 1:
                    tensor.add_(1)
    return network


def sample(network: nn.Module, side: int = 8, items: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    if isinstance(network, ScoreMLP):
        x = torch.randn(items, 2, generator=generator, dtype=torch.float64)
        return x, torch.tensor([0.001, 0.3, 1.0], dtype=torch.float64)[:items]
    channels = next(m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d))
    x = torch.randn(items, channels, side, side, generator=generator, dtype=torch.float64)
    return x, torch.tensor([1.0, 500.0, 1000.0], dtype=torch.float64)[:items]


def norm_by_hand(x: Tensor, norm: nn.Module) -> Tensor:
    """BatchNorm in words: the batch's statistics in training, the running ones otherwise."""
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.training:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    else:
        mean, variance = norm.running_mean, norm.running_var
    mean, variance, gain, bias = (v[None, :, None, None] for v in (mean, variance, norm.weight, norm.bias))
    return (x - mean) / torch.sqrt(variance + 1e-5) * gain + bias


def group_norm_by_hand(x: Tensor, norm: Any, groups: int, eps: float) -> Tensor:
    n, c, h, w = x.shape
    parts = x.reshape(n, groups, -1)
    parts = (parts - parts.mean(2, keepdim=True)) / torch.sqrt(parts.var(2, correction=0, keepdim=True) + eps)
    return parts.view(n, c, h, w) * norm.weight[:, None, None] + norm.bias[:, None, None]


def conv(x: Tensor, layer: Any, **how: Any) -> Tensor:
    return F.conv2d(x, layer.weight, layer.bias, **how)


def linear(x: Tensor, layer: Any) -> Tensor:
    return x @ layer.weight.T + layer.bias


def spread_out(v: Tensor) -> Tensor:
    """One number a channel, at every place."""
    return v.view(*v.shape, 1, 1)


# The embeddings, one entry at a time


def embedding_000(t: float, d: int) -> list[float]:
    return [(math.cos if i % 2 else math.sin)(t / 10000 ** (i / d)) for i in range(d)]


def embedding_002(t: float, d: int) -> list[float]:
    h = d // 2
    angles = [t * math.exp(-j * math.log(10000) / (h - 1)) for j in range(h)]
    return [math.sin(a) for a in angles] + [math.cos(a) for a in angles]


def embedding_003(t: float, d: int) -> list[float]:
    row = [0.0] * d
    for i in range(d // 2):
        row[2 * i] = math.sin(t / 10000 ** (2 * i / d))
        row[2 * i + 1] = math.cos(t / 10000 ** (2 * i / d))
    return row


EMBEDDINGS = [(interleaved_own, embedding_000), (sinusoidal, embedding_002), (interleaved_pairs, embedding_003)]


def rows(embedding: Callable[[float, int], list[float]], time: Tensor, width: int) -> Tensor:
    return torch.tensor([embedding(t, width) for t in time.tolist()], dtype=torch.float64)


@pytest.mark.parametrize(("ours", "plain"), EMBEDDINGS, ids=["000", "002", "003"])
@pytest.mark.parametrize("width", [4, 32, 100, 128])
def test_an_embedding_is_the_plain_loop(ours: Any, plain: Any, width: int) -> None:
    time = torch.tensor([0.0, 1.0, 2.0, 17.0, 500.0, 999.0, 1000.0, 0.25], dtype=torch.float64)
    got = ours(time, width)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, rows(plain, time, width), rtol=0, atol=1e-12)
    single = ours(time.float(), width)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), got, rtol=0, atol=3e-4)
    assert ours(time.bfloat16(), width).dtype == ours(time.long(), width).dtype == torch.float32


@pytest.mark.parametrize(
    ("ours", "row"),
    [
        (interleaved_own, [0.84147098, 0.99500417, 0.00999983, 0.9999995]),
        (sinusoidal, [0.84147098, 0.0001, 0.54030231, 1.0]),
        (interleaved_pairs, [0.84147098, 0.54030231, 0.00999983, 0.99995]),
    ],
    ids=["000", "001 and 002", "003"],
)
def test_the_three_embeddings_of_one(ours: Any, row: list[float]) -> None:
    got = ours(torch.ones(1, dtype=torch.float64), 4)[0]
    torch.testing.assert_close(got, torch.tensor(row, dtype=torch.float64), rtol=0, atol=1e-8)


def test_our_own_networks_see_the_same_float32_numbers_as_ever() -> None:
    """Their checkpoints were trained on these: bit by bit."""
    time = torch.cat((torch.arange(1001.0), torch.linspace(0, 1, 99)))
    for width, scale in ((8, 1.0), (32, 1.0), (64, 1.0), (64, 1000.0), (64, 3.5), (128, 1.0)):
        frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2 - 1))
        angle = scale * time[:, None] * frequencies
        assert torch.equal(sinusoidal(time, width, scale), torch.cat((angle.sin(), angle.cos()), dim=1))
    condition = Condition(16, 1.0)
    assert torch.equal(condition(time.double(), None), condition(time, None))


# The networks, written out


def plain_scratch5(net: Any, x: Tensor, time: Tensor, width: int) -> Tensor:
    v = rows(embedding_000, time, width)

    def block(part: Any, x: Tensor) -> Tensor:
        first, _, second = part.shift
        y = x + spread_out(linear(linear(v, first).clamp(min=0), second))
        for i in (0, 3):
            y = norm_by_hand(conv(y, part.convs[i], padding=1), part.convs[i + 1]).clamp(min=0)
        return y

    pool, double = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")
    x1 = block(net.down1, x)
    x2 = block(net.down2, pool(x1))
    y = double(block(net.bottom, pool(x2)))
    y = double(block(net.up2, torch.cat([y, x2], 1)))
    return conv(block(net.up1, torch.cat([y, x1], 1)), net.leave)


def plain_simple(net: Any, x: Tensor, time: Tensor, width: int, shared: bool) -> Tensor:
    t = linear(rows(embedding_002, time, width), net.time).clamp(min=0)

    def block(part: Any, x: Tensor, up: bool) -> Tensor:
        h = norm_by_hand(conv(x, part.conv1, padding=1).clamp(min=0), part.norm1)
        h = h + spread_out(linear(t, part.shift).clamp(min=0))
        h = norm_by_hand(conv(h, part.conv2, padding=1).clamp(min=0), part.norm1 if shared else part.norm2)
        resize = F.conv_transpose2d if up else F.conv2d
        return resize(h, part.resize.weight, part.resize.bias, stride=2, padding=1)

    x = conv(x, net.enter, padding=1)
    kept = []
    for part in net.falling:
        x = block(part, x, False)
        kept.append(x)
    for part in net.rising:
        x = block(part, torch.cat((x, kept.pop()), 1), True)
    return conv(x, net.leave)


def plain_attention_unet(net: Any, x: Tensor, time: Tensor, width: int, heads: int) -> Tensor:
    t = linear(linear(rows(embedding_003, time, width), net.time[0]).clamp(min=0), net.time[2])

    def entered(parts: Any, x: Tensor) -> Tensor:
        return conv(group_norm_by_hand(x, parts[0], 8, 1e-5).clamp(min=0), parts[2], padding=1)

    def residual(part: Any, x: Tensor) -> Tensor:
        h = entered(part.conv1, x)
        h = entered(part.conv2, h + spread_out(linear(t.clamp(min=0), part.shift[1])))
        return h + (conv(x, part.shortcut) if h.shape[1] != x.shape[1] else x)

    def layer_norm(x: Tensor, norm: Any) -> Tensor:
        x = (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-5)
        return x * norm.weight + norm.bias

    def attend(part: Any, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        size = c // heads
        places = x.permute(0, 2, 3, 1).reshape(n, h * w, c)
        q, k, v = linear(layer_norm(places, part.norm), part.qkv).split(c, dim=2)
        seen = []
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            scores = torch.einsum("nic,njc->nij", q[..., mine], k[..., mine]) / math.sqrt(size)
            weights = scores.exp() / scores.exp().sum(2, keepdim=True)
            seen.append(torch.einsum("nij,njc->nic", weights, v[..., mine]))
        places = places + linear(torch.cat(seen, 2), part.mix)
        norm, first, _, second = part.mlp
        inner = linear(layer_norm(places, norm), first)
        inner = inner * 0.5 * (1 + torch.erf(inner / math.sqrt(2)))
        places = places + linear(inner, second)
        return places.view(n, h, w, c).permute(0, 3, 1, 2)

    def halves(x: Tensor) -> Tensor:
        return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4

    def grown(layer: Any, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)

    (a0, b0), (a1, m1, b1, n1), (a2, b2) = net.down
    (c2, d2), (c1, o1, d1, p1), (c0, d0) = net.up
    s0 = residual(b0, residual(a0, conv(x, net.enter, padding=1)))
    s1 = attend(n1, residual(b1, attend(m1, residual(a1, halves(s0)))))
    s2 = residual(b2, residual(a2, halves(s1)))
    y = residual(net.middle[2], attend(net.middle[1], residual(net.middle[0], s2)))
    y = grown(net.grow[0], residual(d2, residual(c2, torch.cat([y, s2], 1))))
    y = grown(net.grow[1], attend(p1, residual(d1, attend(o1, residual(c1, torch.cat([y, s1], 1))))))
    return entered(net.leave, residual(d0, residual(c0, torch.cat([y, s0], 1))))


def plain_ddpm(net: Any, x: Tensor, time: Tensor, width: int) -> Tensor:
    """Three levels of one block each, attention at the second: 8 and 16 wide, in 2 and 4 groups."""

    def swish(x: Tensor) -> Tensor:
        return x / (1 + torch.exp(-x))

    def norm(x: Tensor, layer: Any) -> Tensor:
        return group_norm_by_hand(x, layer, x.shape[1] // 4, 1e-6)

    t = linear(swish(linear(rows(embedding_002, time, width), net.time[0])), net.time[2])

    def residual(part: Any, x: Tensor) -> Tensor:
        h = conv(swish(norm(x, part.norm1)), part.conv1, padding=1) + spread_out(linear(swish(t), part.shift))
        h = conv(swish(norm(h, part.norm2)), part.conv2, padding=1)
        return h + (conv(x, part.shortcut) if h.shape[1] != x.shape[1] else x)

    def attend(part: Any, x: Tensor) -> Tensor:
        h = norm(x, part.norm)
        q, k, v = conv(h, part.q), conv(h, part.k), conv(h, part.v)
        weights = torch.einsum("bchw,bcij->bhwij", q, k) / math.sqrt(x.shape[1])
        weights = weights.flatten(3).softmax(3).view(weights.shape)
        return x + conv(torch.einsum("bhwij,bcij->bchw", weights, v), part.out)

    def halves(part: Any, x: Tensor) -> Tensor:
        """Same as a conv of stride 1 with a border of zeros, of which every second place is kept, from (1, 1) on."""
        return conv(x, part.conv, padding=1)[..., 1::2, 1::2]

    def doubles(part: Any, x: Tensor) -> Tensor:
        return conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), part.conv, padding=1)

    down, up, middle = net.down, net.up, net.middle
    kept = [conv(x, net.enter, padding=1)]
    kept.append(residual(down[0][0], kept[-1]))
    kept.append(halves(down[1], kept[-1]))
    kept.append(attend(down[2][1], residual(down[2][0], kept[-1])))
    kept.append(halves(down[3], kept[-1]))
    kept.append(residual(down[4][0], kept[-1]))
    y = residual(middle[2], attend(middle[1], residual(middle[0], kept[-1])))
    for part in (up[0], up[1]):
        y = residual(part[0], torch.cat([y, kept.pop()], 1))
    y = doubles(up[2], y)
    for part in (up[3], up[4]):
        y = attend(part[1], residual(part[0], torch.cat([y, kept.pop()], 1)))
    y = doubles(up[5], y)
    for part in (up[6], up[7]):
        y = residual(part[0], torch.cat([y, kept.pop()], 1))
    assert not kept
    return conv(swish(norm(y, net.leave_norm)), net.leave, padding=1)


def plain_score(net: Any, x: Tensor, sigma: Tensor) -> Tensor:
    h = x
    for layer in net.body[:-1:2]:
        h = linear(h, layer)
        h = torch.where(h > 0, h, torch.exp(h) - 1)
    return linear(h, net.body[-1]) / sigma[:, None]


PLAIN: list[tuple[Callable[[], nn.Module], Callable[..., Tensor]]] = [
    (lambda: Scratch5UNet(1, (4, 6, 8), 10), lambda *a: plain_scratch5(*a, 10)),
    (lambda: SimpleUnet(3, (4, 6, 8), 8), lambda *a: plain_simple(*a, 8, False)),
    (lambda: SimpleUnet(1, (4, 6, 8, 5), 8, shared_norm=True), lambda *a: plain_simple(*a, 8, True)),
    (lambda: AttentionUNet(1, 16, (1, 2, 3), 12, 20, 4), lambda *a: plain_attention_unet(*a, 12, 4)),
    (lambda: DDPMUNet(3, 8, (1, 2, 2), blocks=1, dropout=0.0), lambda *a: plain_ddpm(*a, 8)),
    (ScoreMLP, plain_score),
]


@pytest.mark.parametrize("grad", [True, False], ids=["written-out", "fused"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(
    ("build", "plain"), PLAIN, ids=["000", "002", "002, shared norm", "003, ours", "001's paper", "004"]
)
def test_a_network_is_its_transcription(build: Any, plain: Any, training: bool, grad: bool) -> None:
    network = stirred(build()).train(training)
    x, time = sample(network, side=8 if getattr(network, "multiple", 1) < 8 else 16)
    expected = plain(network, x, time).detach()  # before the network rewrites its running statistics
    with torch.set_grad_enabled(grad):
        got = network(x, time)
    assert got.shape == x.shape
    assert got.dtype == torch.float64
    torch.testing.assert_close(got.detach(), expected, rtol=1e-12, atol=1e-12)
    assert expected.abs().max() > 0.1


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (Scratch5UNet, 2_167_784),
        (SimpleUnet, 62_438_883),
        (lambda: SimpleUnet(shared_norm=True), 62_433_123),
        (lambda: SimpleUnet(1), 62_437_601),
        (lambda: SimpleUnet(1, shared_norm=True), 62_431_841),
        (AttentionUNet, 31_995_649),
        (lambda: AttentionUNet(base=64, time_features=64, time_width=256), 8_010_625),
        (ScoreMLP, 314),
        (lambda: ScoreMLP(2, (64, 64), level_aware=True), 4_610),
        (DDPMUNet, 35_746_307),
    ],
)
def test_parameter_counts(build: Callable[[], nn.Module], size: int) -> None:
    assert count(on_meta(build)) == size


def test_parameter_counts_of_the_parts() -> None:
    net = on_meta(Scratch5UNet)
    parts = (net.down1, net.down2, net.bottom, net.up2, net.up1, net.leave)
    assert [count(p) for p in parts] == [37_927, 232_576, 915_712, 777_216, 204_288, 65]
    net = on_meta(SimpleUnet)
    assert [count(p) for p in net.falling] == [488_448, 1_943_552, 7_753_728, 30_973_952]
    assert [count(p) for p in net.rising] == [16_011_264, 4_007_936, 1_004_544, 252_416]
    assert [count(p) for p in (net.time, net.enter, net.leave)] == [1_056, 1_792, 195]


def test_sides_must_be_multiples() -> None:
    multiples = [on_meta(build).multiple for build in (Scratch5UNet, SimpleUnet, AttentionUNet, DDPMUNet)]
    assert multiples == [4, 16, 4, 8]
    for build in (Scratch5UNet, lambda: SimpleUnet(1), AttentionUNet, lambda: DDPMUNet(1)):
        network = on_meta(build)
        good, time = 3 * network.multiple, torch.ones(2, device="meta")
        x = torch.empty(2, 1, good, 2 * good, device="meta")
        assert network(x, time).shape == x.shape
        for shape in ((good + 2, good), (good, good - 2)):
            with pytest.raises(ValueError, match=f"multiples of {network.multiple}"):
                network(torch.empty(2, 1, *shape, device="meta"), time)


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="three widths"):
        Scratch5UNet(1, (64, 128))
    with pytest.raises(ValueError, match="two or more"):
        SimpleUnet(1, (64,))
    with pytest.raises(ValueError, match="heads"):
        AttentionUNet(base=8, heads=3)


@tiny
def test_every_parameter_learns(name: str) -> None:
    network = stirred(TINY[name]()).train()
    x, time = sample(network)
    network(x, time).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@tiny
def test_bfloat16_autocast_is_near_float32(name: str) -> None:
    network = stirred(TINY[name]()).float().eval()
    x, time = (v.float() for v in sample(network))
    with torch.no_grad():
        exact = network(x, time)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        trained = network.train()(x, time)
        trained.float().square().mean().backward()
    assert (rough.float() - exact).norm() < 0.05 * exact.norm()
    assert trained.isfinite().all()


@tiny
def test_the_label_is_not_looked_at_and_the_time_is(name: str) -> None:
    network = stirred(TINY[name]()).eval()
    x, time = sample(network)
    out = network(x, time)
    assert torch.equal(network(x, time, torch.tensor([0, 1, 2])), out)
    assert not torch.allclose(network(x, time + 1), out)


@tiny
def test_no_tensor_has_two_names(name: str) -> None:
    """A checkpoint format without aliases must be able to hold it."""
    tensors = TINY[name]().state_dict().values()
    assert len({t.data_ptr() for t in tensors}) == len(tensors)


def test_sampling_in_eval_mode_leaves_the_running_statistics_alone() -> None:
    for build in (TINY["scratch5"], TINY["simple, shared norm"]):
        network = stirred(build())
        before = {k: v.clone() for k, v in network.state_dict().items()}
        network.eval()(*sample(network))
        assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
        network.train()(*sample(network))
        assert not all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


@pytest.mark.parametrize("name", ["attention", "ddpm"])
def test_attention_lets_distant_pixels_see_each_other(name: str) -> None:
    network = stirred(TINY[name]())
    attention = network.middle[1]
    x = torch.randn(1, attention.norm.weight.numel(), 8, 8, dtype=torch.float64)
    other = x.clone()
    other[0, :, 0, 0] += torch.randn(x.shape[1], dtype=torch.float64)
    with torch.no_grad():
        assert (attention(x) - attention(other))[..., 7, 7].abs().max() > 1e-6


def test_ddpm_starts_by_predicting_next_to_nothing() -> None:
    network = DDPMUNet(3, 16).eval()
    x, time = torch.randn(2, 3, 16, 16), torch.tensor([0.0, 999.0])
    assert 0 < network(x, time).abs().max() < 1e-2
    assert all(not m.bias.any() for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def test_ddpm_drops_in_training_only() -> None:
    network = stirred(DDPMUNet(3, 8, (1, 2), dropout=0.5))
    x, time = sample(network)
    assert not torch.equal(network(x, time), network(x, time))
    network.eval()
    assert torch.equal(network(x, time), network(x, time))


@pytest.mark.parametrize("base", [4, 8, 20, 32, 48, 64, 96, 128])
def test_ddpm_of_any_width(base: int) -> None:
    norms = [m for m in on_meta(lambda: DDPMUNet(3, base)).modules() if isinstance(m, nn.GroupNorm)]
    assert all(norm.num_channels % norm.num_groups == 0 for norm in norms)
    if base == 128:
        assert {norm.num_groups for norm in norms} == {32}


def test_the_printed_score_network_sees_the_level_only_in_its_divisor() -> None:
    blind, aware = stirred(ScoreMLP()), stirred(ScoreMLP(2, (8, 8), level_aware=True))
    x = torch.randn(5, 2, dtype=torch.float64)
    low, high = (torch.full((5,), s, dtype=torch.float64) for s in (0.01, 0.5))
    torch.testing.assert_close(blind(x, low) * 0.01, blind(x, high) * 0.5, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(aware(x, low) * 0.01, aware(x, high) * 0.5, rtol=0.01)
