"""How much a benchmark may take, how it tells where it is, and contestants measured in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ddpm_studio.data.dataset import Cancelled


@dataclass(frozen=True)
class Effort:
    """What was asked for.

    Attributes:
        seconds: that each contestant is measured.
        quick: tiny sizes and few of everything, to see that it works; the numbers mean little.
        device: "auto", "cpu" or "cuda".
        run: whose last network the samplers race on; None: one is trained.
        train_seconds: for which that one is trained, and the longest that "quality" trains.
        book_seconds: for which "quality" trains the book's loop as printed, too.
        tell: is called with the part of the section that is done (0 … 1) and what comes next; False: stop.
    """

    seconds: float = 10.0
    quick: bool = False
    device: str = "auto"
    run: Path | None = None
    train_seconds: float = 120.0
    book_seconds: float = 0.0
    tell: Callable[[float, str], bool] = lambda done, what: True

    @property
    def pictures(self) -> int:
        """How many are drawn for a distance; as many held-out ones give its floor."""
        return 32 if self.quick else 500

    def at(self, done: float, what: str) -> None:
        """Tell where it is.

        Raises:
            Cancelled: if it is to stop.
        """
        if not self.tell(min(done, 1.0), what):
            raise Cancelled


@dataclass(frozen=True)
class Contestant:
    """``once`` does a piece of work to its very end and returns how many items that were; ``enter`` prepares for it."""

    once: Callable[[], int]
    enter: Callable[[], None] = lambda: None


def rates(
    contestants: Mapping[str, Contestant],
    seconds: float,
    look: Callable[[float], None] = lambda done: None,
    *,
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Items per second of each contestant in each round: A B A B …, so that a slow minute hits all of them.

    Each works for about ``seconds`` in all, at least once a round, after one piece that is not counted. ``look`` is
    called between two pieces with the part that is done.
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for contestant in contestants.values():
        look(0.0)
        contestant.enter()
        contestant.once()
    for number in range(rounds):
        for place, (name, contestant) in enumerate(contestants.items()):
            contestant.enter()
            items, start = 0, clock()
            while items == 0 or clock() - start < seconds / rounds:
                look((number + place / len(contestants)) / rounds)
                items += contestant.once()
            found[name].append(items / (clock() - start))
    return found


def ratio(a: list[float], b: list[float]) -> float:
    """How many times as fast a is as b: the median over the rounds in which both were measured."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def wait_for(device: torch.device) -> None:
    """Until a card has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize()
