"""The compute plan: device, precision, memory layout, threads; chosen by measuring, and readable."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_studio.recipes import Recipe


class DeviceError(RuntimeError):
    """The wished device is not there; one sentence."""


@dataclass(frozen=True)
class ComputePlan:
    """Where and how to compute, and why."""

    device: torch.device
    precision: str  # "float32" or "bfloat16"
    channels_last: bool
    threads: int
    reason: str = ""
    single_item_seconds: float = math.inf  # of a step with one thread, per item; inf: threads stay

    @property
    def graphs(self) -> bool:
        """Whether steps are recorded once and replayed: on a card, which takes longer to be told than to compute."""
        return self.device.type == "cuda"

    def describe(self) -> str:
        """For the status bar: "CPU, bf16, 2 threads"."""
        short = {"float32": "fp32", "bfloat16": "bf16"}[self.precision]
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)}, {short}"
        return f"CPU, {short}, {self.threads} thread{'s' if self.threads != 1 else ''}"

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device and into the plan's memory layout."""
        network = network.to(self.device)
        if self.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def call(self, network: nn.Module) -> Callable[..., Tensor]:
        """The network as a function that computes in this plan's precision and layout, float32 in and out."""

        def compute(x: Tensor, time_label: Tensor, label: Tensor | None = None) -> Tensor:
            if self.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with self.autocast():
                out: Tensor = network(x, time_label, label)
            return out.float()

        return compute


def pick_device(wish: str) -> torch.device:
    """The device for "auto", "cpu" or "cuda".

    Raises:
        DeviceError: if "cuda" is asked for and no card can be used.
    """
    if wish == "cpu" or (wish == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise DeviceError("no NVIDIA card can be used here (compute.device is cuda); choose auto or cpu")
    return torch.device("cuda")


def prepare_thread(threads: int) -> None:
    """Settle torch in the calling thread: number of threads, no denormals.

    Both belong to the thread that computes, so this runs there and before its first operation.
    """
    torch.set_flush_denormal(True)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_plan(recipe: Recipe, network: nn.Module, shape: Sequence[int], precision: str | None = None) -> ComputePlan:
    """Choose a plan for training ``network`` on items of ``shape``.

    ``precision`` fixes it (a resumed run keeps the one it was trained with); otherwise the recipe's wish
    counts, and "auto" measures: bfloat16 is taken only if it is faster here and agrees.

    Raises:
        DeviceError: see ``pick_device``.
    """
    device = pick_device(recipe.compute.device)
    pictures = len(shape) == 3
    # Sharing a network of points among threads costs more than it gains: they wait for each other.
    threads = recipe.compute.threads or (available_cores() if pictures else 1)
    prepare_thread(threads)
    exact, fast = (ComputePlan(device, p, pictures, threads) for p in ("float32", "bfloat16"))
    bench = _Benchmark(network, shape)
    wish = precision or recipe.compute.precision
    if wish != "auto":
        plan = exact if wish == "float32" else fast
        plan = replace(plan, reason="as asked" if precision is None else "as this run began")
    elif not pictures:
        plan = replace(exact, reason="points are too small to gain from bfloat16")
    else:
        reason, pays = bench.compare(exact, fast, recipe.training.batch)
        plan = replace(fast if pays else exact, reason=reason)
    if device.type == "cpu" and threads > 1 and recipe.compute.threads is None:
        plan = replace(plan, single_item_seconds=bench.single_thread_item(plan, recipe.training.batch))
    return plan


class _Benchmark:
    """Times training steps of a copy of the network; under a second in all."""

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        self._network, self._shape = deepcopy(network), shape
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in self._network.parameters():  # zero-initialised layers would hide what lies before them
                if not p.any():
                    p.copy_(torch.randn(p.shape, generator=generator) * 0.02)

    def step(self, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        """Seconds for forward and backward, and the gradient as one vector."""
        net = plan.place(self._network)
        g = torch.Generator().manual_seed(1)
        x = torch.randn(count, *self._shape, generator=g).to(plan.device)
        t = (1000 * torch.rand(count, generator=g)).to(plan.device)
        goal = torch.randn(count, *self._shape, generator=g).to(plan.device)
        net.zero_grad(set_to_none=True)
        start = time.perf_counter()
        (plan.call(net)(x, t) - goal).square().mean().backward()  # type: ignore[no-untyped-call]
        grad = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        if plan.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, grad

    def compare(self, exact: ComputePlan, fast: ComputePlan, batch: int) -> tuple[str, bool]:
        """Whether bfloat16 pays here, and why."""
        if exact.device.type == "cpu" and not (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        ):
            return "this CPU has no bfloat16 instructions", False
        # A CPU without fast ones can be 50 times slower in bfloat16: find out on two pictures.
        for plan in (exact, fast):
            self.step(plan, 2)
        if self.step(fast, 2)[0] > 3 * self.step(exact, 2)[0] + 0.02:
            return "bfloat16 is slower here", False
        count = self._affordable(exact, min(batch, 32))
        slow = [self.step(exact, count) for _ in range(3)]
        quick = [self.step(fast, count) for _ in range(3)]
        gain = min(s for s, _ in slow) / min(s for s, _ in quick)
        agreement = float(torch.cosine_similarity(slow[-1][1], quick[-1][1], dim=0))
        if not agreement > 0.99:
            return f"bfloat16 gives another gradient here (cosine {agreement:.3f})", False
        if gain < 1.1:
            return f"bfloat16 gains too little here ({gain:.2f}×)", False
        return f"bfloat16 is {gain:.1f}× faster here and agrees (cosine {agreement:.4f})", True

    def _affordable(self, plan: ComputePlan, most: int) -> int:
        """At most ``most`` items, fewer for a network so large that the step would keep the user waiting."""
        few = min(most, 2)
        return max(few, min(most, int(0.2 * few / self.step(plan, few)[0])))

    def single_thread_item(self, plan: ComputePlan, batch: int) -> float:
        """Seconds per item of a training step with one thread, from a quarter of the batch."""
        torch.set_num_threads(1)
        try:
            count = self._affordable(plan, max(batch // 4, 1))
            seconds = min(self.step(plan, count)[0] for _ in range(2))
        finally:
            torch.set_num_threads(plan.threads)
        return seconds / count


class ThreadGovernor:
    """Falls back to one thread while other programs need the processor.

    Threads that share an operation wait for each other; when one of them has to wait for its turn on the
    processor, all do, and training becomes ten to a hundred times slower than with one thread. So when
    steps take longer than one thread would need, one thread goes on, and later all are tried again.
    Only where the recipe leaves the number of threads open: results of different numbers of threads differ
    in the last bit.
    """

    LOOK = 1.0  # seconds of steps that are judged together
    RETRY = 20.0  # seconds with one thread before all are tried again

    def __init__(self, plan: ComputePlan) -> None:
        self._plan = plan
        self.threads = plan.threads
        self._recent: list[float] = []  # seconds per item
        self._looked = 0.0  # seconds in which these were collected
        self._alone = 0.0

    def observe(self, seconds: float, items: int) -> int | None:
        """A step of ``items`` took this long; returns the new number of threads if it has just changed."""
        if not math.isfinite(self._plan.single_item_seconds):
            return None
        if self.threads == 1:
            self._alone += seconds
            return self._change(self._plan.threads) if self._alone > self.RETRY else None
        self._recent.append(seconds / items)
        self._looked += seconds
        if self._looked < self.LOOK or len(self._recent) < 5:
            return None
        typical = sorted(self._recent)[len(self._recent) // 2]
        self._recent.clear()
        self._looked = 0.0
        return self._change(1) if typical > 1.5 * self._plan.single_item_seconds else None

    def _change(self, threads: int) -> int:
        torch.set_num_threads(threads)
        self.threads, self._alone, self._looked = threads, 0.0, 0.0
        self._recent.clear()
        return threads
