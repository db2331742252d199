"""The tutorial's own loop beside ours: the same network, the same pictures, the same batch, in turn."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from ddpm_studio.bench.effort import Contestant, Effort, rates, ratio
from ddpm_studio.bench.networks import step_once
from ddpm_studio.bench.printed import PrintedLoop
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.recipes.sections.networks import Scratch5UNet
from ddpm_studio.training.build import build
from ddpm_studio.training.compute import available_cores, pick_device

PRINTED = "scratch5-mnist"
DATA = "fashion-mnist"  # as many pixels as MNIST, and always there


@dataclass(frozen=True)
class Loop:
    """``times``: how many times as fast as the tutorial's, the median over the rounds."""

    name: str
    plan: str
    items_per_s: float
    times: float


@dataclass(frozen=True)
class Loops:
    recipe: str
    batch: int
    loops: list[Loop] = field(default_factory=list)


def book_recipe(effort: Effort) -> Recipe:
    """The recipe of the printed loop, on pictures that are always there; a tiny network if it is to be quick."""
    wanted = {"data.source": DATA, "compute.device": effort.device}
    tiny = {"network.channels": [4, 8, 12], "training.batch": 16} if effort.quick else {}
    return find(PRINTED).with_settings({**wanted, **tiny})


def printed_loop(recipe: Recipe, effort: Effort) -> PrintedLoop:
    """The tutorial's loop with the same network and batch as ``recipe``."""
    device, settings = pick_device(effort.device), recipe.network
    assert isinstance(settings, Scratch5UNet)
    a, b, c = settings.channels
    torch.manual_seed(recipe.seed)
    return PrintedLoop(dataset_of(recipe).train, device, batch=recipe.training.batch, widths=(a, b, c))


def as_torch_begins() -> None:
    """Threads and denormals as a script finds them."""
    torch.set_flush_denormal(False)
    torch.set_num_threads(available_cores())


def loops(effort: Effort) -> Iterator[Loops]:
    """Race the tutorial's loop against ours in its own precision, and against ours as the plan would have it."""
    recipe = book_recipe(effort)
    effort.at(0.0, "building")
    data, theirs = dataset_of(recipe), printed_loop(recipe, effort)
    exact = build(recipe.with_settings({"compute.precision": "float32"}), data)
    free = build(recipe.with_settings({"compute.precision": "auto"}), data)
    contestants = {
        "tutorial": Contestant(theirs.step, as_torch_begins),
        "ours, its precision": step_once(exact),
        "ours": step_once(free),
    }
    plans = ["fp32, as printed", exact.plan.describe(), free.plan.describe()]
    found = rates(contestants, effort.seconds, lambda done: effort.at(done, "in turn"), rounds=3 if effort.quick else 5)
    yield Loops(
        PRINTED,
        recipe.training.batch,
        [
            Loop(name, plan, statistics.median(each), ratio(each, found["tutorial"]))
            for (name, each), plan in zip(found.items(), plans, strict=True)
        ],
    )
