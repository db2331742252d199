"""Samplers for few steps against 1,000 steps on one network: the fewest calls that draw pictures as good."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ddpm_studio.bench.distance import Judge
from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.networks import enter
from ddpm_studio.engine import dataset_of, open_session
from ddpm_studio.recipes import Recipe, RecipeError, find
from ddpm_studio.store import Run
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import StepDone
from ddpm_studio.training.sampling import network_calls
from ddpm_studio.training.trainer import train

RECIPE = "fashion-mnist"
WITHIN = 1.05  # of the distance of 1,000 steps: as good
NEAR = 1.5  # times that distance: of such samplers the noise is told
SEEDS = 3  # sets of pictures for each, whose distances differ by what chance makes of them
STEPS = (4, 5, 6, 8, 10, 12, 15, 20, 25, 35, 50, 100)
RULES = (
    ("ipndm", "uniform"),
    ("ipndm", "karras"),
    ("unipc", "uniform"),
    ("unipc", "log-snr"),
    ("dpmpp-3m", "log-snr"),
    ("dpmpp-2m", "uniform"),
    ("dpmpp-2m", "log-snr"),
    ("dpmpp-2m", "karras"),
    ("ddim", "uniform"),
)


@dataclass(frozen=True)
class Drawn:
    """A sampler's pictures: ``distances`` of as many sets from different noise, ``seconds`` for one set."""

    sampler: str
    spacing: str
    steps: int
    calls: int
    distances: list[float]
    seconds: float

    @property
    def distance(self) -> float:
        return statistics.mean(self.distances)


@dataclass(frozen=True)
class Winner:
    """The fewest calls at equal quality, and how many times fewer calls and seconds than 1,000 steps that is."""

    sampler: str
    spacing: str
    steps: int
    calls: int
    distance: float
    fewer_calls: float
    fewer_seconds: float


@dataclass(frozen=True)
class Samplers:
    """``noise``: standard deviation of the mean distance of as many sets of pictures as each sampler drew, over those
    samplers that come near the reference: of poor ones it is larger.
    """

    network: str
    trained_steps: int
    pictures: int  # in a set
    floor: float
    reference: Drawn | None = None
    few: list[Drawn] = field(default_factory=list)
    noise: float | None = None
    winner: Winner | None = None


def samplers(effort: Effort) -> Iterator[Samplers]:
    """Race them on the run that was given, or on a network that is trained here.

    Raises:
        RecipeError: if the run learnt points, which have no such distance.
    """
    session, name = _network(effort)
    recipe = session.recipe
    judge = Judge(dataset_of(recipe), effort)
    result = Samplers(name, session.step, judge.count, judge.floor)
    many = 20 if effort.quick else min(1000, session.schedule.steps)
    seeds, ladder = (2, (4, 8)) if effort.quick else (SEEDS, STEPS)
    rules = RULES[:2] if effort.quick else RULES
    wanted = [("ddpm", "uniform", many), *((*rule, steps) for steps in ladder for rule in rules)]
    total, done = sum(steps for *_, steps in wanted), 0
    enter(session)
    yield result
    for kind, spacing, steps in wanted:
        if result.winner is not None and steps > result.winner.steps:
            return  # no fewer calls
        effort.at(done / total, what := f"{kind}, {steps} steps")
        settings = recipe.with_settings(
            {"sampler.kind": kind, "sampler.spacing": spacing, "sampler.steps": steps}
        ).sampler
        look = partial(effort.at, done / total, what)
        sets = [judge.distance(session, settings, seed, look) for seed in range(seeds)]
        distances, seconds = ([pair[i] for pair in sets] for i in range(2))
        calls = network_calls(settings, session.schedule)
        drawn = Drawn(kind, spacing, steps, calls, distances, statistics.median(seconds))
        if result.reference is None:
            result = replace(result, reference=drawn)
        else:
            result = conclude(replace(result, few=[*result.few, drawn]))
        done += steps
        yield result


def conclude(result: Samplers) -> Samplers:
    """With the noise, and the fewest calls whose distance is within 5 % and the noise of the reference's."""
    if result.reference is None:
        return result
    near = [each for each in result.few if each.distance <= NEAR * result.reference.distance]
    noise = pooled([result.reference, *near])
    limit = WITHIN * result.reference.distance + noise
    good = [each for each in result.few if each.distance <= limit]
    if not good:
        return replace(result, noise=noise, winner=None)
    best = min(good, key=lambda each: (each.calls, each.distance))
    winner = Winner(
        best.sampler,
        best.spacing,
        best.steps,
        best.calls,
        best.distance,
        result.reference.calls / best.calls,
        result.reference.seconds / best.seconds,
    )
    return replace(result, noise=noise, winner=winner)


def pooled(drawn: Sequence[Drawn]) -> float:
    """The standard deviation of each sampler's mean distance, over all of them; 0 if each has but one."""
    squares = [statistics.variance(each.distances) / len(each.distances) for each in drawn if len(each.distances) > 1]
    return statistics.mean(squares) ** 0.5 if squares else 0.0


def _network(effort: Effort) -> tuple[Session, str]:
    if effort.run is not None:
        run = Run.open(effort.run)
        session = open_session(run, device=effort.device)
        if session.data.kind != "pictures":
            raise RecipeError({"": f"{effort.run} learnt points; distances are measured between pictures"})
        return session, str(effort.run)
    recipe = tiny(find(RECIPE), effort)
    session = build(recipe, dataset_of(recipe))
    seconds = effort.seconds if effort.quick else effort.train_seconds
    begun = time.perf_counter()
    for event in train(session, Control(), seconds=seconds):
        if isinstance(event, StepDone):
            effort.at(min((time.perf_counter() - begun) / seconds, 1.0), "training the network")
    return session, recipe.name


def tiny(recipe: Recipe, effort: Effort) -> Recipe:
    """The recipe without previews, on the device asked for; a tiny network if it is to be quick."""
    changes: dict[str, Any] = {"preview.budget": 0.0, "compute.device": effort.device}
    if effort.quick:
        changes |= {"network.channels": [16, 16], "training.batch": 8}
    return recipe.with_settings(changes)
