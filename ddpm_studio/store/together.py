"""The recorded rows of several runs on one clock of training time. No torch."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Literal

from ddpm_studio.diffusion.reel import Reel, Rows
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.store.run import Run

MOST_RUNS = 4  # side by side, as pictures or as curves


def read_rows(run: Run, reel: Reel, wanted: Callable[[], bool] = lambda: True) -> None:
    """Read a run's previews into ``reel``, as long as they are ``wanted``.

    Raises:
        RecordError: if the record is damaged.
    """
    with run.record() as record:
        for tape in record.rows():
            if not wanted():
                return
            with suppress(ValueError):  # of an unknown step
                reel.add(tape, older=True)


@dataclass(frozen=True)
class WatchedRun:
    """One of the runs.

    ``place``: of its colour among those of runs. ``before``: steps that a fork's weights had learnt before its own
    first one. ``read``: set when there is nothing more to be read from disk.
    """

    name: str
    kind: Literal["pictures", "points"]
    place: int = 0
    before: int = 0
    reel: Reel = field(default_factory=Reel)
    read: Event = field(default_factory=Event)


class Together:
    """Rows as ``Reel.rows``, for a ``TrainingClock``: one for each training step that any of the runs has recorded.

    A fork's steps are counted from its first parent's beginning on, as in the curves. The tape of a row is that of the
    leading run, the one whose process has most frames; ``at`` has those of all runs.
    """

    def __init__(self, runs: Sequence[WatchedRun]) -> None:
        self.runs = tuple(runs)
        self._seen: tuple[Rows, ...] = tuple(() for _ in runs)
        self._rows: Rows = ()
        self._steps: list[list[int]] = [[] for _ in runs]
        self._tapes: list[list[Tape]] = [[] for _ in runs]
        self._copies: dict[tuple[int, str, int | None], tuple[Tape, Tape]] = {}  # the original keeps its id taken

    @property
    def rows(self) -> Rows:
        """The same tuple as long as no run has another row."""
        seen = tuple(run.reel.rows for run in self.runs)
        if any(now is not before for now, before in zip(seen, self._seen, strict=True)):
            self._seen = seen
            self._join()
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the rows of all runs."""
        return sum(run.reel.nbytes for run in self.runs)

    @property
    def cap(self) -> int:
        """Bytes that they may take."""
        return sum(run.reel.cap for run in self.runs)

    @property
    def kept(self) -> int:
        """Rows of all runs."""
        return sum(run.reel.kept for run in self.runs)

    def _join(self) -> None:
        of = list(zip(self.runs, self._seen, strict=True))
        before, self._copies = self._copies, {}

        def copy(tape: Tape, label: str, step: int | None) -> Tape:
            """The same one for the same row; the frames are shared."""
            key = (id(tape), label, step)
            made = before.get(key) or (tape, replace(tape, label=label, training_step=step))
            return self._copies.setdefault(key, made)[1]

        self._steps = [[run.before + (tape.training_step or 0) for tape in rows] for run, rows in of]
        self._tapes = [[copy(tape, run.name, tape.training_step) for tape in rows] for run, rows in of]
        steps = sorted({step for own in self._steps for step in own})
        if steps:
            lead = max((rows for rows in self._tapes if rows), key=lambda rows: max(tape.total for tape in rows))
            i = next(i for i, rows in enumerate(self._tapes) if rows is lead)
            nearest = ((lead[_nearest(self._steps[i], step)], step) for step in steps)
            self._rows = tuple(copy(tape, tape.label, step) for tape, step in nearest)
        else:
            self._rows = ()

    def at(self, step: int) -> list[Tape | None]:
        """Each run's row nearest to a training step; a run that is shorter stays at its last one. None: it has none.

        The tapes have their own training steps, and the run's name as their label.
        """
        return [
            tapes[_nearest(steps, step)] if tapes else None
            for steps, tapes in zip(self._steps, self._tapes, strict=True)
        ]

    def moments(self) -> list[list[Tape]]:
        """For each of ``rows`` the tapes of all runs that have any, their steps on this clock, a run's name as label.

        Before a fork's beginning its tape has no frames.
        """
        found = []
        for row in self.rows:
            step = row.training_step or 0
            found.append(
                [
                    replace(
                        tape,
                        training_step=run.before + (tape.training_step or 0 if step >= run.before else 0),
                        frames=tape.frames if step >= run.before else [],
                    )
                    for run, tape in zip(self.runs, self.at(step), strict=True)
                    if tape is not None
                ]
            )
        return found


def _nearest(steps: Sequence[int], step: int) -> int:
    """The place of the nearest of rising ``steps``; of two, the earlier."""
    after = bisect_left(steps, step)
    if after == 0 or (after < len(steps) and steps[after] - step < step - steps[after - 1]):
        return after
    return after - 1
