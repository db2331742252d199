"""What each thing that makes training quicker is worth: the same steps, a rung at a time, then with other batches."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ddpm_studio.bench.children import LeftOutError
from ddpm_studio.bench.effort import Effort, wait_for
from ddpm_studio.bench.flops import data_of, flops_of
from ddpm_studio.bench.micro import known_ceiling
from ddpm_studio.bench.networks import enter
from ddpm_studio.data import Dataset
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.compiled import Compiling
from ddpm_studio.training.compute import DeviceError, has_bfloat16, pick_device
from ddpm_studio.training.control import Control
from ddpm_studio.training.recorded import told
from ddpm_studio.training.step import TrainingStep

RECIPE = "fashion-mnist"


@dataclass(frozen=True)
class Way:
    """How steps are computed on a rung; see ``ComputePlan``. ``recorded``: as a graph, on a card; ``crew``: threads
    share the items of a batch in place of each operation, on a processor."""

    name: str
    precision: str
    layout: str = "contiguous"
    masters: bool = False
    recorded: bool = False
    crew: bool = False
    compiled: bool = False


@dataclass(frozen=True)
class Course:
    """What is climbed on a kind of device. ``steps``: after which losses are compared, the mean of the last tenth."""

    ways: tuple[Way, ...]
    batches: tuple[int, ...]
    steps: int


CARD = Course(
    (
        Way("float32", "float32"),
        Way("+ TF32", "tf32"),
        Way("+ autocast", "bfloat16"),
        Way("+ channels_last", "bfloat16", "channels_last"),
        Way("+ masters", "bfloat16", "channels_last", masters=True),
        Way("+ recorded", "bfloat16", "channels_last", masters=True, recorded=True),
        Way("+ torch.compile", "bfloat16", "channels_last", masters=True, recorded=True, compiled=True),
    ),
    (64, 128, 256, 512, 1024, 2048),
    500,
)
PROCESSOR = Course(
    (
        Way("float32", "float32"),
        Way("+ channels_last", "float32", "channels_last"),
        Way("+ crew", "float32", "channels_last", crew=True),
        Way("+ autocast", "bfloat16", "channels_last", crew=True),
        Way("+ torch.compile", "bfloat16", "channels_last", crew=True, compiled=True),
    ),
    (16, 32, 64, 128),
    200,
)


@dataclass(frozen=True)
class Rung:
    """``mfu``: of the measured limit in bfloat16, 0 … 1. ``why`` it is not what its name says, or ""."""

    name: str
    batch: int
    plan: str = ""
    step_ms: float = 0.0
    items_per_s: float = 0.0
    mfu: float = 0.0
    peak_mb: float = 0.0  # of the card's memory
    loss: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Ladder:
    recipe: str
    steps: int
    rungs: list[Rung] = field(default_factory=list)


def ladder(effort: Effort) -> Iterator[Ladder]:
    """Climb what the device has.

    Raises:
        LeftOutError: where a card is asked for and there is none.
    """
    try:
        device = pick_device(effort.device)
    except DeviceError as error:
        raise LeftOutError(str(error)) from error
    yield from climb(CARD if device.type == "cuda" else PROCESSOR, effort)


def climb(course: Course, effort: Effort) -> Iterator[Ladder]:
    """All ways with the recipe's batch, then the last that is not compiled with the others; what fails says why.

    Ways that need bfloat16 are left out on a processor without it, which would take minutes for a step.
    """
    recipe = find(RECIPE).with_settings({"compute.device": effort.device, "preview.budget": 0.0})
    batches, steps = ((8, 16), 6) if effort.quick else (course.batches, course.steps)
    batch = batches[0] if effort.quick else recipe.training.batch
    ways = [way for way in course.ways if way.precision != "bfloat16" or has_bfloat16(pick_device(effort.device))]
    best = [way for way in ways if not way.compiled][-1]
    rungs = [(way, batch) for way in ways] + [(best, each) for each in batches if each != batch]
    data, result = dataset_of(recipe), Ladder(recipe.name, steps)
    for number, (way, size) in enumerate(rungs):
        effort.at(number / len(rungs), f"{way.name}, batch {size}")
        try:
            found = _measure(recipe, data, way, size, steps, effort)
        except RuntimeError as error:  # no such kernel, no memory: the others go on
            found = Rung(way.name, size, why=told(error))
        result = replace(result, rungs=[*result.rungs, found])
        yield result
        gc.collect()  # before the next one's memory is counted


def _measure(recipe: Recipe, data: Dataset, way: Way, batch: int, steps: int, effort: Effort) -> Rung:
    compiled = "on" if way.compiled else "off"
    wishes: dict[str, Any] = {"training.batch": batch, "compute.layout": way.layout, "compute.compile": compiled}
    device = pick_device(effort.device)
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    session = build(recipe.with_settings(wishes), data, precision=way.precision, masters=way.masters)
    session.plan = replace(session.plan, recorded=way.recorded, crew=session.plan.crew if way.crew else None)
    enter(session)
    why = _built(session) if way.compiled else ""
    if way.crew and session.plan.crew is None:
        why = "one thread alone has nobody to share with"
    step, losses = TrainingStep(session), list[float]()
    while len(losses) < steps:
        losses += [taken.loss for taken in step.advance(steps - len(losses))]
    wait_for(device)
    taken, begun = 0, time.perf_counter()
    while taken == 0 or time.perf_counter() - begun < effort.seconds / 2:
        taken += len(step.advance(64))
        wait_for(device)
    each = (time.perf_counter() - begun) / taken
    _, flops = flops_of(recipe, data_of(recipe))
    return Rung(
        way.name,
        batch,
        session.plan.describe(),
        1000 * each,
        batch / each,
        flops * batch / each / known_ceiling("bfloat16", effort),
        torch.cuda.max_memory_reserved() / 1e6 if device.type == "cuda" else 0.0,
        statistics.mean(losses[-max(steps // 10, 1) :]),
        why or step.eager_because,
    )


def _built(session: Session) -> str:
    """Wait until the session's code is built; why it can't be, or ""."""
    compiling = Compiling(session, Control())
    while (news := compiling.news()) is None:
        time.sleep(0.05)
    return "" if news.good else news.reason
