"""What the machine can do at best: products of matrices, the convolutions of the default network, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpm_studio.bench.effort import Effort, wait_for
from ddpm_studio.bench.flops import DTYPES, data_of
from ddpm_studio.recipes import find
from ddpm_studio.training.build import make_network
from ddpm_studio.training.compute import ComputePlan, available_cores, pick_device

DEFAULT = "fashion-mnist"
_CEILINGS: dict[tuple[str, str, int, bool], Ceiling] = {}


@dataclass(frozen=True)
class Ceiling:
    """The most FLOP/s seen in products of square matrices, and forward in a wide convolution."""

    precision: str
    threads: int
    products_per_s: float
    convolutions_per_s: float

    @property
    def flops_per_s(self) -> float:
        """The better of the two, which come from different libraries: one may be far from the machine's limit."""
        return max(self.products_per_s, self.convolutions_per_s)


@dataclass(frozen=True)
class Convolution:
    """One shape of the default network at its batch, in channels_last: FLOP/s forward, and backward with the gradient
    of its input."""

    count: int  # layers of this shape
    batch: int
    channels_in: int
    channels: int
    kernel: int
    stride: int
    height: int  # of what it gets
    width: int
    precision: str
    forward_flops_per_s: float
    backward_flops_per_s: float


@dataclass(frozen=True)
class Micro:
    """``copy_bytes_per_s``: bytes read and written a second by copies too large for the caches."""

    ceilings: list[Ceiling] = field(default_factory=list)
    copy_bytes_per_s: float | None = None
    convolutions: list[Convolution] = field(default_factory=list)


def micro(effort: Effort) -> Iterator[Micro]:
    """Measure the machine's limits."""
    device = pick_device(effort.device)
    result = Micro()
    counts = sorted({1, available_cores()}) if device.type == "cpu" else [available_cores()]
    shapes = list(shapes_of_convolutions(DEFAULT))
    parts = len(DTYPES) * (len(counts) + len(shapes)) + 1
    done = 0
    for precision in DTYPES:
        for threads in counts:
            effort.at(done / parts, f"the limit, {precision}")
            result = replace(result, ceilings=[*result.ceilings, ceiling(precision, threads, effort)])
            done += 1
            yield result
    effort.at(done / parts, "memory")
    with threads_of(available_cores()):
        result = replace(result, copy_bytes_per_s=_copy_rate(device, effort))
    yield result
    for (layer, height, width), count in shapes:
        for precision in DTYPES:
            done += 1
            effort.at(done / parts, "convolutions")
            with threads_of(available_cores()):
                found = _convolution(layer, height, width, count, precision, device, effort)
            result = replace(result, convolutions=[*result.convolutions, found])
            yield result


def ceiling(precision: str, threads: int, effort: Effort) -> Ceiling:
    """The most FLOP/s, now or earlier in this process.

    Products and a convolution that give a whole processor work, and fit its caches as a network's do; more on a card.
    """
    device, kind = pick_device(effort.device), DTYPES.get(precision)
    card = device.type == "cuda"
    side = 256 if effort.quick else 8192 if card else 2048
    a, b = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    batch, wide = (2 if effort.quick else 256 if card else 16), 128
    layer = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
    x, weight = (
        torch.randn(shape, device=device).to(kind, memory_format=torch.channels_last)
        for shape in ((batch, wide, 32, 32), layer.weight.shape)
    )
    ComputePlan(device, precision, False, threads).settle()
    with threads_of(threads), torch.no_grad():
        products = 2 * side**3 / shortest(lambda: a @ b, device, _share(effort, 0.5))
        convolutions = convolution_flops(layer, batch, 32, 32) / shortest(
            lambda: F.conv2d(x, weight, padding=1), device, _share(effort, 0.5)
        )
    key = (device.type, precision, threads, effort.quick)
    before = _CEILINGS.get(key, Ceiling(precision, threads, 0.0, 0.0))
    _CEILINGS[key] = Ceiling(
        precision, threads, max(before.products_per_s, products), max(before.convolutions_per_s, convolutions)
    )
    return _CEILINGS[key]


def known_ceiling(precision: str, effort: Effort) -> float:
    """The ceiling with all threads, measured now unless it has been."""
    key = (pick_device(effort.device).type, precision, available_cores(), effort.quick)
    known = _CEILINGS[key] if key in _CEILINGS else ceiling(precision, available_cores(), effort)
    return known.flops_per_s


def shapes_of_convolutions(recipe_name: str) -> Iterator[tuple[tuple[nn.Conv2d, int, int], int]]:
    """The different convolutions of a recipe's network: ((layer, height, width of its input), how many)."""
    recipe = find(recipe_name)
    facts = data_of(recipe)
    seen: dict[tuple[object, ...], tuple[tuple[nn.Conv2d, int, int], int]] = {}

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv2d)
        height, width = given[0].shape[2:]
        key = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, height, width)
        seen[key] = ((layer, height, width), seen[key][1] + 1 if key in seen else 1)

    with torch.device("meta"):
        network = make_network(recipe, facts)
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                part.register_forward_pre_hook(look)
        network(torch.zeros(1, *facts.shape), torch.ones(1))
    yield from seen.values()


def convolution_flops(layer: nn.Conv2d, batch: int, height: int, width: int) -> int:
    """FLOPs of a forward pass over pictures of height x width: a product and a sum for each weight and place."""
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], layer.padding[0]
    assert isinstance(padding, int)
    places = ((height + 2 * padding - kernel) // stride + 1) * ((width + 2 * padding - kernel) // stride + 1)
    return 2 * batch * places * layer.out_channels * (layer.in_channels // layer.groups) * kernel**2


def shortest(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """The least seconds that ``work`` took: within ``seconds``, or three times if that is not too long."""
    work()
    wait_for(device)
    best, begun, times = float("inf"), time.perf_counter(), 0
    while times == 0 or time.perf_counter() - begun < (seconds if times >= 3 else 10 * seconds):
        start = time.perf_counter()
        work()
        wait_for(device)
        best, times = min(best, time.perf_counter() - start), times + 1
    return max(best, 1e-9)


@contextmanager
def threads_of(threads: int) -> Iterator[None]:
    """Within: torch shares its operations among so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _share(effort: Effort, most: float) -> float:
    """Seconds for one of many small measurements."""
    return min(effort.seconds / 10, most)


def _copy_rate(device: torch.device, effort: Effort) -> float:
    count = 1 << (22 if effort.quick else 27)
    a = torch.zeros(count, dtype=torch.uint8, device=device)
    b = torch.ones_like(a)
    return 2 * count / shortest(lambda: b.copy_(a), device, _share(effort, 0.5))


def _convolution(
    layer: nn.Conv2d, height: int, width: int, count: int, precision: str, device: torch.device, effort: Effort
) -> Convolution:
    batch = 2 if effort.quick else find(DEFAULT).training.batch
    kind = DTYPES[precision]

    def deep(*shape: int) -> Tensor:
        return torch.randn(shape, device=device).to(kind, memory_format=torch.channels_last).requires_grad_()

    x, weight = deep(batch, layer.in_channels, height, width), deep(*layer.weight.shape)

    def forward() -> Tensor:
        return F.conv2d(x, weight, None, layer.stride, layer.padding)

    out = forward()
    grad = torch.randn_like(out)
    seconds = _share(effort, 0.2)
    ahead = shortest(forward, device, seconds)
    back = shortest(lambda: torch.autograd.grad(out, (x, weight), grad, retain_graph=True), device, seconds)
    flops = convolution_flops(layer, batch, height, width)
    return Convolution(
        count,
        batch,
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size[0],
        layer.stride[0],
        height,
        width,
        precision,
        flops / ahead,
        2 * flops / back,
    )
