"""What each built-in recipe's network costs, how fast it trains and samples, and what share of the limit that is."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ddpm_studio.bench.effort import Contestant, Effort, rates, wait_for
from ddpm_studio.bench.flops import data_of, flops_of
from ddpm_studio.bench.micro import known_ceiling
from ddpm_studio.data import DataFacts, Dataset
from ddpm_studio.recipes import Recipe, built_in
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.crew import prepare_thread
from ddpm_studio.training.sampling import network_calls
from ddpm_studio.training.step import TrainingStep

QUICK = ("fashion-mnist", "two-gaussians", "score-two-gaussians-laptop")
_EXPECTED = 0.3  # of the ceiling: with which a step is foreseen, to find a batch that can be afforded
_CALLED = 64  # items of a network call


@dataclass(frozen=True)
class Network:
    """A recipe's network. ``batch`` is smaller than the recipe's where its step would take too long to be measured.

    ``shares``: of the measured ceiling in the same precision, 0 … 1.
    """

    recipe: str
    parameters: int
    plan: str
    batch: int
    recipe_batch: int
    step_gflop: float  # of a training step of ``batch`` items
    train_items_per_s: float
    train_share: float
    call_items_per_s: float  # items that the network is asked about a second
    calls: int  # that the recipe's own sampler makes
    sample_items_per_s: float  # drawn with that sampler
    sample_share: float

    @property
    def step_seconds(self) -> float | None:
        """Of the recipe's own step; None where a smaller batch was measured, which costs more for each item."""
        return self.batch / self.train_items_per_s if self.batch == self.recipe_batch else None


@dataclass(frozen=True)
class Networks:
    networks: list[Network] = field(default_factory=list)


def networks(effort: Effort) -> Iterator[Networks]:
    """Train and sample with each network for a while, on items that show nothing: speed does not depend on it."""
    result, recipes = Networks(), different(built_in())
    if effort.quick:
        recipes = [recipe for recipe in recipes if recipe.name in QUICK]
    for number, recipe in enumerate(recipes):
        effort.at(number / len(recipes), recipe.name)
        found = _measure(recipe, effort, number / len(recipes), 1 / len(recipes))
        result = replace(result, networks=[*result.networks, found])
        yield result
        gc.collect()  # the larger ones hold gigabytes


def different(recipes: dict[str, Recipe]) -> list[Recipe]:
    """One recipe of each network and shape of items, the first."""
    found: dict[str, Recipe] = {}
    for recipe in recipes.values():
        found.setdefault(f"{recipe.network!r} {data_of(recipe).shape} {recipe.training.batch}", recipe)
    return list(found.values())


def stand_in(facts: DataFacts, count: int) -> Dataset:
    """Items of the same shape and classes that show nothing."""
    draw = np.random.default_rng(0)
    values: Any
    if facts.kind == "pictures":
        channels, height, width = facts.shape
        values = draw.integers(0, 256, (count + 2, height, width, channels), dtype=np.uint8)
    else:
        values = draw.standard_normal((count + 2, *facts.shape), dtype=np.float32)
    labels = np.arange(count + 2, dtype=np.int64) % len(facts.classes) if facts.classes else None
    return Dataset(
        name=facts.name,
        kind=facts.kind,
        train=values[:count],
        held_out=values[count:],
        labels=None if labels is None else labels[:count],
        held_out_labels=None if labels is None else labels[count:],
        classes=facts.classes,
    )


def affordable(batch: int, flops: float, ceiling: float, seconds: float) -> int:
    """The batch, or the largest power of two below it whose step should not take longer than ``seconds``."""
    while batch > 2 and batch * flops / (_EXPECTED * ceiling) > seconds:
        batch = 1 << (batch - 1).bit_length() - 1
    return batch


def step_once(session: Session) -> Contestant:
    """Takes a training step, or on a card a slice of them."""
    step, plan = TrainingStep(session), session.plan

    def once() -> int:
        items = sum(taken.items for taken in step.advance(64))
        wait_for(plan.device)
        return items

    return Contestant(once, lambda: enter(session))


def enter(session: Session) -> None:
    """Settle torch's threads as the session's plan wants them."""
    prepare_thread(1 if session.plan.crew else session.plan.threads)


def call_once(session: Session, count: int) -> Contestant:
    """Asks the denoiser about ``count`` items in the middle of the schedule."""
    denoiser = session.sampling_denoiser("ema")
    device, t = session.plan.device, session.schedule.steps // 2
    x = torch.randn(count, *session.shape, device=device)
    label = torch.arange(count, device=device) % session.classes if session.classes else None

    @torch.no_grad()
    def once() -> int:
        denoiser(x, t, label)
        wait_for(device)
        return count

    return Contestant(once, lambda: enter(session))


def speeds(session: Session, count: int, effort: Effort, done: float, share: float) -> tuple[float, float]:
    """Items trained, and items that the network is asked about, a second: medians of rounds in turn."""
    found = rates(
        {"train": step_once(session), "call": call_once(session, count)},
        effort.seconds / 2,
        lambda part: effort.at(done + share * part, session.recipe.name),
        rounds=2 if effort.quick else 5,
    )
    return statistics.median(found["train"]), statistics.median(found["call"])


def _measure(recipe: Recipe, effort: Effort, done: float, share: float) -> Network:
    facts = data_of(recipe)
    call, step = flops_of(recipe, facts)
    rough = known_ceiling("float32", effort)  # the precision is not known before it is built
    room = effort.seconds
    batch = affordable(8 if effort.quick else recipe.training.batch, step, rough, room)
    wanted = recipe.with_settings({"training.batch": batch, "compute.device": effort.device})
    session = build(wanted, stand_in(facts, max(2 * batch, 64)))
    count = affordable(batch if effort.quick else _CALLED, call, rough, room)
    trained, called = speeds(session, count, effort, done, share)
    ceiling = known_ceiling(session.plan.precision, effort)
    calls = network_calls(recipe.sampler, session.schedule)
    return Network(
        recipe=recipe.name,
        parameters=session.parameters,
        plan=session.plan.describe(),
        batch=batch,
        recipe_batch=recipe.training.batch,
        step_gflop=step * batch / 1e9,
        train_items_per_s=trained,
        train_share=trained * step / ceiling,
        call_items_per_s=called,
        calls=calls,
        sample_items_per_s=called / calls,
        sample_share=called * call / ceiling,
    )
