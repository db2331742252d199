"""Control: the commands of whoever watches, polled by the generators between two steps.

Any thread may call; nothing here waits but ``hold``. No torch and no Qt.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from threading import Event
from typing import Any

from ddpm_studio.recipes.axes import Cell


@dataclass(frozen=True)
class SampleRequest:
    """Sample now, with the weights of this moment."""

    count: int
    seed: int
    weights: str = "ema"
    sampler: Any = None  # a recipe's sampler section; None takes the recipe's own


@dataclass(frozen=True)
class Comparison:
    """Sample one cell of a labelled grid after another, ``count`` items each, row by row.

    Item i starts from the same noise in all cells of one seed.
    """

    cells: tuple[Cell, ...]
    count: int


@dataclass(frozen=True)
class SaveRequest:
    """Save the state now."""


@dataclass(frozen=True)
class PreviewRequest:
    """Show a preview now, whatever the budget says; ``weights`` for this and later ones."""

    weights: str


@dataclass(frozen=True)
class ChangeRequest:
    """Change live settings together, e.g. ``{"training.learning_rate": 3e-4}``."""

    changes: dict[str, Any]


@dataclass(frozen=True)
class ForkQuestion:
    """How much would a fork to this recipe carry over? Nothing changes."""

    recipe: Any


Request = SampleRequest | Comparison | SaveRequest | PreviewRequest | ChangeRequest | ForkQuestion


class Control:
    """Stop, pause, and a queue of requests."""

    def __init__(self) -> None:
        self._stop, self._run, self._enough = Event(), Event(), Event()
        self._run.set()
        self.keep = True
        self._requests: deque[Request] = deque()

    def stop(self, *, keep: bool = True) -> None:
        """End after the step in hand. Also ends a pause. Without ``keep`` nothing is saved any more."""
        self.keep = self.keep and keep
        self._stop.set()
        self._run.set()

    def stop_comparison(self) -> None:
        """End the comparison in hand, or that waits for its turn; a training goes on."""
        self._enough.set()

    @property
    def comparison_stopped(self) -> bool:
        return self._enough.is_set() or self.stopping

    def pause(self, on: bool = True) -> None:
        if on:
            self._run.clear()
        else:
            self._run.set()

    def ask(self, request: Request) -> None:
        if isinstance(request, Comparison):
            self._enough.clear()  # that was said about an earlier one
        self._requests.append(request)

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        return not self._run.is_set()

    @property
    def waiting(self) -> bool:
        """Whether a request lies in the queue."""
        return bool(self._requests)

    def take(self) -> Request | None:
        return self._requests.popleft() if self._requests else None

    def hold(self, seconds: float = 0.05) -> None:
        """Wait while paused, at most this long, so that requests are answered during a pause too."""
        self._run.wait(seconds)
