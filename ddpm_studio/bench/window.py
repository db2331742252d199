"""What the open window costs, and how late it is while a recipe trains, previews on."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddpm_studio.bench.children import HEADLESS, WATCHED, child, require_window
from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.flops import data_of
from ddpm_studio.recipes import built_in
from ddpm_studio.training.build import count_parameters

ROUNDS = 3
DOWNLOADED = ("mnist", "cifar-10")


@dataclass(frozen=True)
class Watched:
    """A recipe in the window: medians over the rounds, but for the worst lateness, which is the worst of all.

    ``speed``: training speed with the window over that without, the median over the rounds. ``first_step_s``: from
    Start to the first step, where what the network computes best in is known already.
    """

    recipe: str
    steps_per_s: float
    speed: float
    late_p99_ms: float
    late_worst_ms: float
    first_step_s: float
    stop_s: float


@dataclass(frozen=True)
class Window:
    rounds: int
    recipes: list[Watched] = field(default_factory=list)


def extremes() -> list[str]:
    """The default recipes with the fewest and the most parameters whose data are always there."""
    sizes = {
        name: count_parameters(recipe, data_of(recipe))
        for name, recipe in built_in().items()
        if not recipe.tutorial and recipe.data.source not in DOWNLOADED
    }
    return [min(sizes, key=sizes.__getitem__), max(sizes, key=sizes.__getitem__)]


def window(effort: Effort, recipes: Sequence[str] = ()) -> Iterator[Window]:
    """Train without a window and with it, in turn, each in a process of its own.

    Raises:
        LeftOutError: where there is no window.
    """
    require_window()
    names = list(recipes or extremes())
    if effort.quick:
        names = names[:1]
    rounds = 1 if effort.quick else ROUNDS
    result, done, parts = Window(rounds), 0, 2 * rounds * len(names)
    for name in names:
        rows: dict[str, list[dict[str, float]]] = {HEADLESS: [], WATCHED: []}
        with tempfile.TemporaryDirectory() as home:  # one for all: what it computes best in is measured once
            for _ in range(rounds):
                for module, found in rows.items():
                    found.append(child(module, name, effort.seconds, Path(home), effort, done / parts))
                    done += 1
        result = replace(result, recipes=[*result.recipes, summary(name, rows[HEADLESS], rows[WATCHED])])
        yield result


def summary(name: str, without: Sequence[dict[str, float]], within: Sequence[dict[str, float]]) -> Watched:
    """Of the rounds' results, in pairs."""

    def middle(key: str) -> float:
        return statistics.median(row[key] for row in within)

    pairs = zip(within, without, strict=True)
    return Watched(
        recipe=name,
        steps_per_s=middle("steps_per_s"),
        speed=statistics.median(a["steps_per_s"] / b["steps_per_s"] for a, b in pairs),
        late_p99_ms=middle("late_p99_ms"),
        late_worst_ms=max(row["late_p100_ms"] for row in within),
        first_step_s=middle("first_step_s"),
        stop_s=middle("stop_s"),
    )
