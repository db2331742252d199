"""The compute plan: device, precision, memory layout, threads; chosen by measuring, and readable."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ddpm_studio.paths import user_folder
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.crew import Crew, prepare_thread
from ddpm_studio.training.flat import Flat, Learner
from ddpm_studio.training.memory import is_out_of_memory
from ddpm_studio.training.recorded import WARM_UP, RecordedCalls, Recordings, record, told

if TYPE_CHECKING:
    from ddpm_studio.training.compiled import Compiled

BUDGET = 0.8  # seconds of measuring before a first training; a large network is measured with fewer items
POINTS = "bfloat16 would round where points are"
FEW = 2  # items; batch norm has nothing to go by with one
_REPLAYS = 3  # of a recorded step that are timed together
_LAYOUTS = {"channels_last": True, "contiguous": False}
_PAYS = 1.1  # times as fast as what rounds less; else that is taken
# A thread's own time is too coarse on some systems; there the wall clock must do.
THREAD_CLOCK = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-4 else time.perf_counter

_REVISION = 5  # of our networks and of how they are measured: what is remembered of an earlier one counts no more


class DeviceError(RuntimeError):
    """The wished device is not there; one sentence."""


@dataclass(frozen=True)
class ComputePlan:
    """Where and how to compute, and why."""

    device: torch.device
    precision: str  # "float32", "bfloat16", or "tf32": float32 of whose factors a card reads 10 bits behind the point
    channels_last: bool
    threads: int
    reason: str = ""
    single_item_seconds: float = math.inf  # of a step with one thread, per item; inf: threads stay
    crew: Crew | None = None  # shares the items of a batch; None: the threads share each operation
    compiled: Compiled | None = None  # what a network in training is called with, once it is built
    masters: bool = False  # a network learns with bfloat16 weights, copies of the float32 ones, in place of autocast
    recorded: bool = True  # on a card; False: to compare

    @property
    def graphs(self) -> bool:
        """Whether steps and calls are recorded once and replayed: on a card, slower to be told than to compute."""
        return self.recorded and self.device.type == "cuda"

    def describe(self) -> str:
        """For the top bar: "CPU, bf16, channels_last, 2 threads"."""
        names = {"float32": "fp32", "tf32": "TF32", "bfloat16": "bf16 weights" if self.masters else "bf16"}
        parts = ["CPU", names[self.precision]]
        if self.channels_last:
            parts.append("channels_last")
        if self.device.type == "cuda":
            parts[0] = torch.cuda.get_device_name(self.device)
        else:
            parts.append(f"{self.threads} thread{'s' if self.threads != 1 else ''}")
        if self.compiled is not None:
            parts.append("compiled")
        return ", ".join(parts)

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device and into the plan's memory layout."""
        network = network.to(self.device)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        placed: nn.Module = network.to(memory_format=layout)  # type: ignore[call-overload]
        return placed

    def settle(self) -> None:
        """Tell a card's libraries how to compute from now on: they have one setting for the whole process."""
        if self.device.type == "cuda":
            exact = self.precision == "float32"
            torch.backends.cudnn.benchmark = True  # the quickest algorithm for each shape, chosen as it comes first
            torch.backends.cudnn.allow_tf32 = not exact
            torch.set_float32_matmul_precision("highest" if exact else "high")

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision != "bfloat16":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def call(self, network: nn.Module) -> Callable[..., Tensor]:
        """The network as a function that computes in this plan's precision and layout, float32 in and out."""
        run = network if self.compiled is None else self.compiled.of(network)
        precision = nullcontext if self.masters and network.training else self.autocast

        def compute(x: Tensor, time_label: Tensor, label: Tensor | None = None) -> Tensor:
            self.settle()
            if self.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with precision():
                out: Tensor = run(x, time_label, label)
            return out.float()

        return compute

    def call_shared(self, network: nn.Module, recordings: Recordings | None = None) -> Callable[..., Tensor]:
        """``call`` for sampling: the crew shares the items, where there is one; on a card, calls are recorded.

        Items that do not fit into memory together, nor without the ``recordings``, are computed in parts, and so are
        those of later calls.
        """
        alone, crew = self.call(network), self.crew
        if self.graphs and recordings is not None:
            alone = RecordedCalls(alone, network, recordings)
        most: int | None = None

        def shared(x: Tensor, time_label: Tensor, label: Tensor | None) -> Tensor:
            if crew is None:
                return alone(x, time_label, label)
            with_gradient = torch.is_grad_enabled()  # each thread has a switch of its own

            def part(member: int, items: slice) -> Tensor:
                with torch.set_grad_enabled(with_gradient):
                    return alone(x[items], time_label[items], None if label is None else label[items])

            return torch.cat(crew.share(part, len(x)))

        def compute(x: Tensor, time_label: Tensor, label: Tensor | None = None) -> Tensor:
            nonlocal most
            while True:
                size = min(most or len(x), len(x))
                parts = [slice(start, start + size) for start in range(0, len(x), size)]
                try:
                    if len(parts) == 1:
                        return shared(x, time_label, label)
                    return torch.cat([shared(x[p], time_label[p], None if label is None else label[p]) for p in parts])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or (size == 1 and not recordings):
                        raise
                if recordings:  # here, where the error has let go of what it held
                    recordings.forget()
                    continue
                most = size // 2
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()

        return compute

    def set_threads(self, threads: int) -> None:
        """Let this many threads compute from now on."""
        if self.crew is None:
            torch.set_num_threads(threads)
        else:
            self.crew.active = threads


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


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def choose_plan(
    recipe: Recipe,
    network: nn.Module,
    shape: Sequence[int],
    precision: str | None = None,
    masters: bool | None = None,
) -> ComputePlan:
    """Choose a plan for training ``network`` on items of ``shape``.

    ``precision`` and ``masters`` fix these (a resumed run keeps those it was trained with). What the recipe leaves open
    is measured the first time that this machine meets this network, and remembered.

    Raises:
        DeviceError: see ``pick_device``.
    """
    device = pick_device(recipe.compute.device)
    pictures = len(shape) == 3
    threads = _threads(recipe, shape)
    crew = Crew(threads) if pictures and threads > 1 and device.type == "cpu" and _items_are_alone(network) else None
    prepare_thread(threads if crew is None else 1)
    plan = ComputePlan(device, "float32", False, threads, POINTS, crew=crew)
    if not pictures:
        return plan
    known = Remembered(recipe, shape, device)
    choice = known.read()
    if precision is not None and not (choice and choice.is_as_begun(precision, masters)):
        known = Remembered(recipe, shape, device, precision, masters)
        choice = known.read()
    if choice is None:
        wishes = known.precisions, known.layouts, masters
        choice = _Benchmark(network, shape).choose(plan, recipe.training.batch, *wishes)
        known.write(choice)
    plan = _chosen(plan, choice, recipe, precision)
    if threads > 1 and recipe.compute.threads is None and device.type == "cpu":
        plan = replace(plan, single_item_seconds=choice.single_item_seconds)
    return plan


def remembered_plan(recipe: Recipe, shape: Sequence[int]) -> ComputePlan | None:
    """What a training of ``recipe`` on items of ``shape`` would compute with here, if that is known without measuring.

    Raises:
        DeviceError: see ``pick_device``.
    """
    device = pick_device(recipe.compute.device)
    plan = ComputePlan(device, "float32", False, _threads(recipe, shape), POINTS)
    if len(shape) != 3:
        return plan
    choice = Remembered(recipe, shape, device).read()
    return None if choice is None else _chosen(plan, choice, recipe, None)


def _chosen(plan: ComputePlan, choice: Choice, recipe: Recipe, precision: str | None) -> ComputePlan:
    wish = precision or recipe.compute.precision
    asked = {"auto": "", precision: "as this run began; "}.get(wish, "as asked; ")
    return replace(
        plan,
        precision=choice.precision,
        channels_last=choice.channels_last,
        masters=choice.masters,
        reason=asked + choice.reason if choice.reason else asked.removesuffix("; "),
    )


def _threads(recipe: Recipe, shape: Sequence[int]) -> int:
    """Sharing a network of points among threads costs more than it gains: they wait for each other."""
    return recipe.compute.threads or (available_cores() if len(shape) == 3 else 1)


@dataclass(frozen=True)
class Choice:
    """What a measurement found best, and why. ``single_item_seconds``, ``masters``: see ``ComputePlan``."""

    precision: str
    channels_last: bool
    reason: str
    single_item_seconds: float
    masters: bool = False

    def is_as_begun(self, precision: str, masters: bool | None) -> bool:
        """Whether a run with these goes on as it began with this choice: in its memory layout, too."""
        return self.precision == precision and masters in (None, self.masters)


def asked_precisions(recipe: Recipe, device: torch.device, precision: str | None = None) -> tuple[str, ...]:
    """Those that a recipe leaves open on this device; ``precision``: see ``choose_plan``."""
    if precision is not None:
        return (precision,)
    wish = recipe.compute.precision
    asked = ("float32", "bfloat16") if wish == "auto" else (wish,)
    return (*asked, "tf32") if device.type == "cuda" and "float32" in asked else asked


class Remembered:
    """A choice on disk, for one network on one machine; another version of torch measures again.

    The same network then always computes in the same way, however busy the machine was at some start.
    """

    def __init__(
        self,
        recipe: Recipe,
        shape: Sequence[int],
        device: torch.device,
        precision: str | None = None,
        masters: bool | None = None,
    ) -> None:
        """``precision``, ``masters``: see ``choose_plan``."""
        layout = recipe.compute.layout
        self.precisions = asked_precisions(recipe, device, precision)
        self.layouts = ("channels_last", "contiguous") if layout == "auto" else (layout,)
        fixed = [] if masters is None or self.precisions != ("bfloat16",) else [masters]
        wishes = [*self.precisions, *self.layouts, *fixed]
        network = recipe.network.model_dump(mode="json")
        facts = (*machine(device), network, list(shape), recipe.training.batch, _threads(recipe, shape), wishes)
        self._key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self._file = user_folder() / "compute-plans.json"

    def read(self) -> Choice | None:
        """The choice, or None if there is none that can be read."""
        try:
            return Choice(**json.loads(self._file.read_text(encoding="utf-8"))[self._key])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, choice: Choice) -> None:
        """Keep a choice; one that cannot be written is measured again the next time."""
        keep_in(self._file, self._key, asdict(choice))


def machine(device: torch.device) -> tuple[Any, ...]:
    """What a measurement holds for: this computer, its card if that computes, and this torch."""
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    here = (platform.node(), platform.machine(), os.cpu_count(), torch.backends.cpu.get_cpu_capability(), card)
    return (here, torch.__version__, _REVISION)


def keep_in(file: Path, key: str, value: Any) -> None:
    """Add an entry to a JSON object on disk, of which the last 100 stay; an error of the disk is not told."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    known = dict(list(known.items())[-99:]) if isinstance(known, dict) else {}
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f".{file.name}.{os.getpid()}.part")
        part.write_text(json.dumps(known | {key: value}, indent=1), encoding="utf-8")
        part.replace(file)


def _items_are_alone(network: nn.Module) -> bool:
    """Whether an item's result depends on nothing but the item: not on the batch's statistics, nor on chance."""
    parts = list(network.modules())
    by_chance = any(isinstance(part, nn.Dropout) and part.p > 0 for part in parts)
    return not by_chance and not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in parts)


@torch.no_grad()
def fill_zeros(network: nn.Module) -> None:
    """Give small values to the layers that begin as zeros: they would hide from a gradient what lies before them."""
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        if not p.any():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.02)


def _name(plan: ComputePlan | Choice) -> str:
    if plan.masters:
        return "bfloat16 with float32 masters"
    return {"float32": "float32", "tf32": "TF32 in float32's products", "bfloat16": "bfloat16"}[plan.precision]


def _runs(plan: ComputePlan) -> int:
    """How often a network is run to be timed once; being recorded takes about as long as a run."""
    return WARM_UP + 1 + _REPLAYS if plan.graphs else 1


def _ways(exact: ComputePlan, precisions: Sequence[str], masters: bool | None) -> list[ComputePlan]:
    """What may be quicker than ``exact``, from what rounds least on; masters where nothing else is known on a card."""
    ways = [replace(exact, precision=name) for name in ("tf32", "bfloat16") if name in precisions]
    if "bfloat16" in precisions and (exact.graphs if masters is None else masters):
        rounded = replace(ways[-1], masters=True)
        ways = [*ways, rounded] if masters is None else [*ways[:-1], rounded]
    return ways


def _thread_seconds(work: Callable[[], None]) -> float:
    start = THREAD_CLOCK()
    work()
    return THREAD_CLOCK() - start


def _card_seconds(work: Callable[[], None]) -> float:
    """Recorded if that works: else it would be timed how long a card takes to be told."""
    again = work
    try:
        again = record(work)
    except Exception as error:  # a training will say so
        if is_out_of_memory(error):
            raise
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(_REPLAYS):
        again()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / _REPLAYS


class _Benchmark:
    """Times training steps of a copy of the network; about a second in all, and what libraries take to get ready."""

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        self._network, self._shape = deepcopy(network), shape
        fill_zeros(self._network)

    def step(self, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        """Seconds for forward and backward with one thread, and the gradient as one vector.

        On a CPU these are the thread's own seconds, which other programs do not lengthen; on a card those of a
        recording.
        """
        net = plan.place(self._network)
        flat = Flat(net)
        learner = Learner(net, flat, flat.gradient(net), rounded=plan.masters)
        g = torch.Generator().manual_seed(1)
        x = torch.randn(count, *self._shape, generator=g).to(plan.device)
        t = (1000 * torch.rand(count, generator=g)).to(plan.device)
        goal = torch.randn(count, *self._shape, generator=g).to(plan.device)

        def work() -> None:
            learner.begin()
            (plan.call(learner.network)(x, t) - goal).square().mean().backward()  # type: ignore[no-untyped-call]
            learner.end()

        return (_card_seconds if plan.graphs else _thread_seconds)(work), learner.gradient

    def choose(
        self,
        plan: ComputePlan,
        batch: int,
        precisions: Sequence[str],
        layouts: Sequence[str],
        masters: bool | None = None,
    ) -> Choice:
        """The fastest of these precisions and memory layouts that gives the same gradient.

        ``masters``: whether bfloat16 is learnt with them; None: what is faster.

        Raises:
            RuntimeError, MemoryError: if not even two items fit into memory.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return self._choose(plan, batch, precisions, layouts, masters)
        except (RuntimeError, MemoryError) as error:
            if batch <= 2 or not is_out_of_memory(error):
                raise
            return self._choose(plan, 2, precisions, layouts, masters)
        finally:
            torch.set_num_threads(before)

    def _choose(
        self, plan: ComputePlan, batch: int, precisions: Sequence[str], layouts: Sequence[str], masters: bool | None
    ) -> Choice:
        plans = {name: replace(plan, precision="float32", channels_last=_LAYOUTS[name]) for name in layouts}
        first = plans[layouts[0]]  # what nearly always wins, and what bfloat16 computes in
        ways = _ways(first, precisions, masters)
        most = batch if first.graphs else min(batch, 32)
        if "float32" not in precisions:
            return self._choose_fixed(first, ways, batch, most)
        seconds, gradient = self.step(first, FEW)
        if seconds * _runs(first) > BUDGET / 3:  # so large that few steps of few items must do
            choice = Choice("float32", first.channels_last, f"one step of {FEW} items was timed", seconds / FEW)
            return self._quickest(choice, ways, batch, FEW, gradient)
        for other in list(plans.values())[1:]:
            self.step(other, FEW)
        count = self._affordable(first, most)
        tried = {name: self._best(each, count) for name, each in plans.items()}
        best = min(tried, key=lambda name: tried[name][0])
        reason = f"{best} as asked"
        if len(tried) == 2:
            reason = f"channels_last is {tried['contiguous'][0] / tried['channels_last'][0]:.1f}× as fast as contiguous"
        choice = Choice("float32", _LAYOUTS[best], reason, tried[best][0] / count)
        return self._quickest(choice, ways, batch, count, tried[layouts[0]][1])

    def _choose_fixed(self, exact: ComputePlan, ways: Sequence[ComputePlan], batch: int, most: int) -> Choice:
        """The first of these ways, or one that pays beside it; ``exact`` is not asked for, only compared with."""
        fixed, *others = ways
        self.step(fixed, FEW)  # libraries choose their algorithms
        count = self._affordable(fixed, most)
        seconds, gradient = self._best(fixed, count)
        reason = "" if others else "not compared"
        choice = Choice(fixed.precision, fixed.channels_last, reason, seconds / count, fixed.masters)
        if others:
            gradient = self.step(exact, count)[1]
        return self._quickest(choice, others, batch, count, gradient)

    def _quickest(
        self, choice: Choice, ways: Sequence[ComputePlan], batch: int, count: int, gradient: Tensor
    ) -> Choice:
        """``choice``, or what pays of these ways: each beside the best before it, and it must agree with ``gradient``.

        The winner's reason comes first.
        """
        best, reasons = choice, [choice.reason]
        for way in ways:
            try:
                seconds, why = self._compared(way, best, batch, count, gradient)
            except RuntimeError as error:
                if is_out_of_memory(error):
                    raise
                seconds, why = None, f"{_name(way)} cannot be had here: {told(error)}"
            if seconds is None:
                reasons.append(why)
            else:
                best = Choice(way.precision, way.channels_last, "", seconds / count, way.masters)
                reasons.insert(0, why)
        return replace(best, reason="; ".join(reason for reason in reasons if reason))

    def _compared(
        self, way: ComputePlan, best: Choice, batch: int, count: int, gradient: Tensor
    ) -> tuple[float | None, str]:
        """The seconds of ``count`` items, if it pays beside ``best`` and agrees with their ``gradient``; and why."""
        name, before = _name(way), best.single_item_seconds
        than = "" if best.precision == "float32" else f" than {_name(best)}"
        if not has_bfloat16(way.device):
            return None, "this CPU has no bfloat16 instructions"
        # A CPU without fast ones can be 50 times slower in bfloat16: find out on few items.
        if count > FEW:
            self.step(way, FEW)
            if self.step(way, FEW)[0] > 3 * before * FEW + 0.02:
                return None, f"{name} is slower{than} here"
        seconds, theirs = self._best(way, count)
        gain, agreement = before * count / seconds, float(torch.cosine_similarity(gradient, theirs, dim=0))
        # Rounding differs from item to item, so in a whole batch less of it is left than in these few.
        if not 1 - agreement < 0.01 * min(max(batch / count, 1), 3):
            return None, f"{name} gives another gradient here (cosine {agreement:.3f})"
        if gain < _PAYS:
            return None, f"{name} gains too little{than.replace(' than', ' over')} here ({gain:.2f}×)"
        return seconds, f"{name} is {gain:.1f}× faster{than} here and agrees (cosine {agreement:.4f})"

    def _best(self, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        """The least seconds of three steps, of two if they are long, and the gradient; the first is a cold one.

        A recording is warm, and timed over several repetitions: one will do.
        """
        if plan.graphs:
            return self.step(plan, count)
        tried = [self.step(plan, count) for _ in range(2)]
        while len(tried) < 3 and sum(seconds for seconds, _ in tried) < BUDGET / 8:
            tried.append(self.step(plan, count))
        return min(seconds for seconds, _ in tried), tried[-1][1]

    def _affordable(self, plan: ComputePlan, most: int) -> int:
        """At most ``most`` items, fewer for a network so large that the step would keep the user waiting."""
        few = min(most, FEW)
        each = max(self.step(plan, few)[0], 1e-6) * _runs(plan) / few
        return max(few, min(most, int(BUDGET / 4 / each)))


def has_bfloat16(device: torch.device) -> bool:
    """Whether a processor has instructions for it; cards do."""
    return device.type != "cpu" or bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


class ThreadGovernor:
    """Falls back to one thread while other programs need the processor.

    Threads that share an operation wait for each other; when one of them has to wait for its turn on the
    processor, all do, and training becomes ten to a hundred times slower than with one thread. So when
    steps take longer than one thread would need, one thread goes on, and later all are tried again.
    Only where the recipe leaves the number of threads open: results of different numbers of threads differ
    in the last bit.
    """

    LOOK = 1.0  # seconds of steps that are judged together
    RETRY = 20.0  # seconds with one thread before all are tried again; twice as long each time that this did not help
    LONGEST = 320.0  # seconds at most

    def __init__(self, plan: ComputePlan) -> None:
        self._plan = plan
        self.threads = plan.threads
        self._recent: list[float] = []  # seconds per item
        self._looked = 0.0  # seconds in which these were collected
        self._alone = self._together = 0.0  # seconds with one thread, and of good looks with all of them since
        self._retry = self.RETRY

    def observe(self, seconds: float, items: int) -> int | None:
        """A step of ``items`` took this long; returns the new number of threads if it has just changed."""
        if not math.isfinite(self._plan.single_item_seconds):
            return None
        if self.threads == 1:
            self._alone += seconds
            return self._change(self._plan.threads) if self._alone > self._retry else None
        self._recent.append(seconds / items)
        self._looked += seconds
        if self._looked < self.LOOK or len(self._recent) < 5:
            return None
        typical = sorted(self._recent)[len(self._recent) // 2]
        self._recent.clear()
        looked, self._looked = self._looked, 0.0
        if typical <= 1.5 * self._plan.single_item_seconds:
            self._together += looked
            return None
        tried = self._alone > 0 and self._together < self.RETRY
        self._retry = min(2 * self._retry, self.LONGEST) if tried else self.RETRY
        return self._change(1)

    def _change(self, threads: int) -> int:
        self._plan.set_threads(threads)
        self.threads, self._looked = threads, 0.0
        if threads == 1:
            self._alone = 0.0
        else:
            self._together = 0.0
        self._recent.clear()
        return threads
