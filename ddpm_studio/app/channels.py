"""What flows from the engine thread to the window: metrics and tapes. (State changes are queued signals.)

The window pulls on its own clocks; the worker never waits for it. No Qt here.
"""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.app.curves import Summary
from ddpm_studio.training.events import ProbeItems, ProbeSight

T = TypeVar("T")


class LatestValue(Generic[T]):
    """A slot of size one: a put before the take replaces what lay there. Any thread puts, the window takes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._item: T | None = None
        self.dropped = 0

    def put(self, item: T) -> None:
        with self._lock:
            self.dropped += self._item is not None
            self._item = item

    def take(self) -> T | None:
        with self._lock:
            item, self._item = self._item, None
        return item


class MetricLog:
    """Named columns of float64 that only grow: one writer, readers never lock.

    A reader sees rows [0, n): n is published after its row, and a larger buffer holds all older rows.
    """

    def __init__(self, *columns: str, capacity: int = 1 << 14) -> None:
        self.columns = columns
        self.summaries = {column: Summary() for column in columns}  # for the one who draws; see ``extend``
        self._buffer = np.empty((len(columns), capacity))
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, *values: float) -> None:
        n, buffer = self._n, self._buffer
        if n == buffer.shape[1]:
            buffer = self._grown(2 * n)
        buffer[:, n] = values
        self._n = n + 1  # publish last

    def extend(self, rows: NDArray[np.float64]) -> None:
        """Append many rows at once, (rows, columns), before anybody reads; they are summed up here already."""
        n = self._n + len(rows)
        buffer = self._grown(2 * n) if n > self._buffer.shape[1] else self._buffer
        buffer[:, self._n : n] = rows.T
        self._n = n
        for column, summary in self.summaries.items():
            summary.update(self.view(column))

    def _grown(self, capacity: int) -> NDArray[np.float64]:
        """A larger buffer with the rows so far; memory that no row has touched costs nothing."""
        buffer = np.empty((len(self.columns), capacity))
        buffer[:, : self._n] = self._buffer[:, : self._n]
        self._buffer = buffer
        return buffer

    def truncate_after(self, step: float) -> None:
        """Forget rows whose first column is above ``step`` (a roll-back); only between two appends."""
        self._n = int(np.searchsorted(self._buffer[0, : self._n], step, side="right"))

    def view(self, column: str) -> NDArray[np.float64]:
        """The rows so far of one column, without a copy."""
        n, buffer = self._n, self._buffer  # n first: the buffer can only be newer
        view: NDArray[np.float64] = buffer[self.columns.index(column), :n]
        return view

    def last(self, column: str) -> float | None:
        rows = self.view(column)
        return float(rows[-1]) if len(rows) else None


class Sights:
    """What the probed networks of a run saw, by training step: the worker adds, the window looks.

    Above ``cap`` bytes every second goes, never the first or the last.
    """

    def __init__(self, cap: int = 16 << 20) -> None:
        self._cap = cap
        self._sights: list[ProbeSight] = []  # replaced, never changed, so that a reader holds a whole one
        self.items: ProbeItems | None = None

    def __len__(self) -> int:
        return len(self._sights)

    def add(self, items: ProbeItems, sight: ProbeSight) -> None:
        sights = [s for s in self._sights if s.step != sight.step] + [sight]
        if len(sights) * sight.nbytes > self._cap:
            sights = [sights[0], *sights[2:-1:2], sights[-1]]
        self.items, self._sights = items, sights

    def forget_after(self, step: int) -> None:
        self._sights = [s for s in self._sights if s.step <= step]

    def nearest(self, step: float) -> ProbeSight | None:
        """That of ``step``, or of the nearest step that was kept."""
        return min(self._sights, key=lambda s: abs(s.step - step), default=None)
