"""The two clocks of a run on disk: training step x noise level. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

from numpy.typing import NDArray

from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Frame, Tape, kept_indices
from ddpm_studio.export.errors import ExportError
from ddpm_studio.store import Record

T = TypeVar("T")
Say = Callable[[str], None]  # takes a sentence for the user


def silent(sentence: str) -> None:
    """Says nothing."""


class Clocks:
    """The previews that a run recorded, all from the same noise: one tape for each training step, in order.

    Only one tape is in memory at a time, so that a long record can be read. ``items`` picks pictures by their number.

    Raises:
        ExportError: if nothing has been recorded, or an item is not there.
    """

    def __init__(self, record: Record, items: Sequence[int] = ()) -> None:
        rows = record.tape_steps()
        if not rows:
            raise ExportError(f"{record.path.parent.name} has recorded no pictures yet: train it for a while first")
        # Previews may have changed on the way (of the raw weights, say): those of the last one's noise are comparable.
        kinds = record.tape_kinds()
        found = {step: tape for tape, step in rows if kinds[tape] == kinds[rows[-1][0]]}  # a step's last one
        self.steps, self._ids = list(found), list(found.values())
        # A run may have learnt on since its last preview: steps until there are its own, too.
        self.last = max(self.steps[-1], int(record.last_metrics().get("step", 0)))
        self._record, self._items = record, items
        self._row, self._tape = -1, Tape("pictures", 0, 0)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def chosen(self) -> bool:
        """Whether some items were picked."""
        return bool(self._items)

    def tape(self, row: int) -> Tape:
        """The reverse process at the training step ``steps[row]``."""
        row = range(len(self))[row]
        if row != self._row:
            self._row, self._tape = row, picked(self._record.tape(self._ids[row]), self._items)
        return self._tape

    def nearest(self, step: int | None, say: Say = silent) -> int:
        """The row of the training step nearest to ``step`` (said where it is another), the last one without any.

        Raises:
            ExportError: if the run has not come to that step.
        """
        return nearest_step(self.steps, step, self.last, say)


def nearest_step(steps: Sequence[int], step: int | None, last: int, say: Say = silent) -> int:
    """The place of the one of ``steps`` nearest to ``step``, which is said where it is another; the last without any.

    Raises:
        ExportError: if ``step`` is after the ``last`` one that was learnt.
    """
    if step is None:
        return len(steps) - 1
    if step > last:
        raise ExportError(f"there is no training step {step:,}: the last one is {last:,}")
    place = min(range(len(steps)), key=lambda i: abs(steps[i] - step))
    if steps[place] != step:
        say(f"Training step {step:,} is not recorded: step {steps[place]:,} is the nearest")
    return place


def picked(tape: Tape, items: Sequence[int]) -> Tape:
    """The tape with some of its items, or with all if none is named.

    Raises:
        ExportError: if one of them is not there.
    """
    if not items:
        return tape
    wrong = next((item for item in items if not 0 <= item < tape.count), None)
    if wrong is not None:
        raise ExportError(f"there is no item {wrong}: the record holds {tape.count}, counted from 0")
    which = list(items)

    def part(array: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if array is None else array[which]

    frames = [Frame(f.index, f.t, f.x[which], part(f.x0), part(f.eps)) for f in tape.frames]
    return replace(tape, frames=frames)


def frame_near(tape: Tape, t: int | None) -> Frame:
    """The frame whose level is nearest to t; the last one without any."""
    return tape.frames[-1] if t is None else min(tape.frames, key=lambda frame: abs(frame.t - t))


def share_of(tape: Tape, t: int | None, say: Say = silent) -> float | None:
    """How far a process is (``frame_at``) at the level nearest to t, which is said where it is another; None without t.

    Raises:
        ExportError: if there is no such level.
    """
    if t is None:
        return None
    most = max(tape.steps, tape.frames[0].t)
    if t > most:
        raise ExportError(f"there is no noise level t = {t:,}: they go from 0 to {most:,}")
    place = min(range(len(tape.frames)), key=lambda i: abs(tape.frames[i].t - t))
    if tape.frames[place].t != t:
        say(f"t = {t:,} is not recorded: t = {tape.frames[place].t:,} is the nearest")
    return place / max(len(tape.frames) - 1, 1)


class Columns:
    """At most ``most`` places in a process, with the ``levels`` that the last of ``clocks`` has there."""

    def __init__(self, clocks: Clocks, most: int) -> None:
        last = clocks.tape(-1)
        places = thinned(range(len(last.frames)), most)
        self._last = last
        self.alike = True  # whether all rows so far go through the same levels
        self._shares = [place / max(len(last.frames) - 1, 1) for place in places]
        self.levels = [last.frames[place].t for place in places]

    def frames(self, tape: Tape) -> list[Frame]:
        """The frame of each column in a row.

        By share: rows may be narrowed. By level where the row goes through others, since it was drawn with another
        sampler or other steps; but not where many frames are of one level, as of Langevin dynamics.
        """
        same = tape.grid == self._last.grid
        self.alike = self.alike and same
        if same or not (_falls(tape) and _falls(self._last)):
            return [frame_at(tape, share) for share in self._shares]
        return [tape.frames[0], *(frame_near(tape, t) for t in self.levels[1:-1]), tape.frames[-1]]


def _falls(tape: Tape) -> bool:
    """Whether each state is of a lower level than the one before."""
    return all(b.t < a.t for a, b in pairwise(tape.frames))


def thinned(values: Sequence[T], most: int) -> list[T]:
    """At most ``most`` (at least 2) of the values, evenly spread; the first and the last always."""
    return [values[i] for i in kept_indices(len(values) - 1, most)]
