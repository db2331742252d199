"""How long from a cold start to pictures of some quality, for our recipe and, if asked, for the book's own loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

from torch import Tensor

from ddpm_studio.bench.children import first_step_seconds
from ddpm_studio.bench.distance import Judge
from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.loops import as_torch_begins, book_recipe, printed_loop
from ddpm_studio.bench.networks import enter
from ddpm_studio.bench.samplers import RECIPE, tiny
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import find
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.step import TrainingStep

GOALS = (20.0, 14.0)
APART, BOOK_APART = 1.15, 1.5  # from one look at the pictures to the next, in seconds trained
BOOK_STEPS = 50  # of DDIM: its own 1,000 would take longer than its training


@dataclass(frozen=True)
class Look:
    """``seconds``: trained so far; what looking took is not in it."""

    seconds: float
    step: int
    distance: float


@dataclass(frozen=True)
class Curve:
    """``goals``: distance → seconds from cold start to the first look that was below it, None if none was."""

    name: str
    start_seconds: float  # from starting the program to its first training step
    looks: list[Look] = field(default_factory=list)
    goals: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """``sooner``: how many times sooner ours was as good as the book's loop at its best."""

    pictures: int
    floor: float
    curves: list[Curve] = field(default_factory=list)
    sooner: float | None = None


def quality(effort: Effort) -> Iterator[Quality]:
    """Train the default recipe whole, as long as it is allowed to, and look at its pictures again and again."""
    effort.at(0.0, "a cold start")
    start = first_step_seconds(RECIPE, effort)
    recipe = tiny(find(RECIPE), effort)
    data = dataset_of(recipe)
    judge = Judge(data, effort)
    result = Quality(judge.count, judge.floor)
    yield result
    session = build(recipe, data)
    enter(session)
    step = TrainingStep(session)

    def ours() -> int | None:
        if session.step >= recipe.training.steps:
            return None
        step.advance(recipe.training.steps - session.step)
        return session.step

    longest = effort.seconds if effort.quick else effort.train_seconds
    whole = longest + effort.book_seconds
    settings = recipe.sampler

    def measure(seconds: float) -> float:
        return judge.distance(session, settings, 0, partial(effort.at, seconds / whole, "drawing"))[0]

    for curve in _follow(Curve(recipe.name, start), ours, measure, longest, effort, 0.0, whole, APART):
        yield replace(result, curves=[curve])
        ended = curve
    result = replace(result, curves=[ended])
    if effort.book_seconds > 0:
        yield from _book(result, judge, effort, longest, whole)


def _book(result: Quality, judge: Judge, effort: Effort, before: float, whole: float) -> Iterator[Quality]:
    recipe = book_recipe(effort)
    # Sampled by us, with fewer steps: its looks are worth no less for it, and take minutes less.
    sampled = recipe.with_settings({"sampler.kind": "ddim", "sampler.steps": BOOK_STEPS if not effort.quick else 4})
    session = build(sampled, dataset_of(recipe))
    loop = printed_loop(recipe, effort)
    steps = 0

    def theirs() -> int | None:
        nonlocal steps
        loop.step()
        steps += 1
        return steps

    def measure(seconds: float) -> float:
        take_weights(session, loop.model.state_dict().values())
        enter(session)
        look = partial(effort.at, (before + seconds) / whole, "drawing, the book's")
        found, _ = judge.distance(session, sampled.sampler, 0, look)
        as_torch_begins()
        return found

    as_torch_begins()
    start = result.curves[0].start_seconds
    book, longest = Curve("the book's loop", start), effort.book_seconds
    for curve in _follow(book, theirs, measure, longest, effort, before, whole, BOOK_APART):
        yield replace(result, curves=[*result.curves, curve], sooner=sooner(result.curves[0], curve))


def sooner(ours: Curve, book: Curve) -> float | None:
    """How many times sooner ours was as good as the book's best, each from its cold start; None if it never was."""
    best = min(book.looks, key=lambda look: look.distance)
    as_good = next((look.seconds for look in ours.looks if look.distance <= best.distance), None)
    return None if as_good is None else (book.start_seconds + best.seconds) / (ours.start_seconds + as_good)


def take_weights(session: Session, values: Iterable[Tensor]) -> None:
    """Give network and EMA the weights of the printed network, which lists its own in the same order."""
    values = list(values)
    for network in (session.network, session.ema):
        named = dict(zip(network.state_dict(), values, strict=True))
        network.load_state_dict(named)


def _follow(
    curve: Curve,
    advance: Callable[[], int | None],
    measure: Callable[[float], float],
    longest: float,
    effort: Effort,
    before: float,
    whole: float,
    apart: float,
) -> Iterator[Curve]:
    """Train for ``longest`` seconds, to the last step or until all goals are reached, with a look ever so often."""
    trained, due, step, ended = 0.0, min(3.0, longest / 2), 0, False
    while not ended:
        start = time.perf_counter()
        taken = advance()
        trained += time.perf_counter() - start
        step = step if taken is None else taken
        ended = taken is None or trained >= longest
        effort.at((before + trained) / whole, f"{curve.name}, step {step:,}")
        if trained >= due or ended:
            curve = with_look(curve, Look(trained, step, measure(trained)))
            due = apart * trained
            yield curve
            ended = ended or all(seconds is not None for seconds in curve.goals.values())


def with_look(curve: Curve, look: Look) -> Curve:
    """The curve with one more look, and the goals that it reached first."""
    goals = {f"{goal:g}": curve.goals.get(f"{goal:g}") for goal in GOALS}
    for goal in GOALS:
        if goals[f"{goal:g}"] is None and look.distance < goal:
            goals[f"{goal:g}"] = curve.start_seconds + look.seconds
    return replace(curve, looks=[*curve.looks, look], goals=goals)
