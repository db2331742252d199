"""A reel: the reverse processes of one fixed noise, recorded while a model learnt.

Its rows are tapes by training step, its columns the levels t of their frames. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

from ddpm_studio.diffusion.tape import Frame, Tape

CAP = 256_000_000  # bytes of frames
LEAST_ROWS = 8  # that fit under any cap: a row takes at most so large a part of it
_COMPARED = ("kind", "steps", "seed", "weights")  # not the sampler: another one takes the same noise elsewhere

Rows = tuple[Tape, ...]


def kind_of_row(about: dict[str, Any], count: int) -> tuple[Hashable, ...]:
    """What rows must have in common to be compared, from ``Tape.about()`` and ``Tape.count``: the same noise, and the
    same kind of weights. Each says itself with which sampler it was drawn.
    """
    return count, *(json.dumps(about.get(name), sort_keys=True) for name in _COMPARED)


def to_drop(kinds: Sequence[Hashable]) -> list[int]:
    """Which rows go when there are too many: of each kind every second one, never its first or its last.

    ``kinds``: of the rows, in the order of training. Returns their places, rising; empty if nothing may go.
    """
    places: dict[Hashable, list[int]] = {}
    for place, kind in enumerate(kinds):
        places.setdefault(kind, []).append(place)
    return sorted(place for own in places.values() for place in own[1:-1:2])


def narrowed(tape: Tape, cap: int) -> Tape:
    """The complete ``tape``, or one without every second inner frame, and so on, until it takes its part of ``cap``.

    Equal tapes lose equal frames, so that rows stay comparable. The first and the last frame stay in any case.
    """
    frames = list(tape.frames)
    while len(frames) > 2 and sum(frame.nbytes for frame in frames) > cap / LEAST_ROWS:
        del frames[1:-1:2]
    return tape if len(frames) == len(tape.frames) else replace(tape, frames=frames, total=len(frames))


def coarse_to_fine(count: int) -> Iterator[int]:
    """The places 0 … count - 1, the last and the first before those between them, which come evenly spread."""
    seen: set[int] = set()
    gap = max(count - 1, 1)
    while len(seen) < count:
        for place in (count - 1, *range(0, count, gap)):
            if place not in seen:
                seen.add(place)
                yield place
        gap = max(gap // 2, 1)


def frame_at(tape: Tape, share: float) -> Frame:
    """The frame at ``share`` 0 (x_T) … 1 (x_0) of a complete process."""
    return tape.frames[round(share * (len(tape.frames) - 1))]


class _Row(NamedTuple):
    step: int
    kind: Hashable
    nbytes: int
    tape: Tape


def _row_of(tape: Tape) -> _Row:
    return _Row(tape.training_step or 0, kind_of_row(tape.about(), tape.count), tape.nbytes, tape)


class Reel:
    """Rows that one thread shows while others add to them.

    ``rows`` is a tuple, another one after each change: those that compare with the row added last, by training step.
    The others (of other weights, say) are kept too, and come back with the next row of their kind. All rows together
    stay below ``cap`` bytes as long as two of each kind do.
    """

    def __init__(self, cap: int = CAP) -> None:
        self._lock = Lock()
        self._all: tuple[_Row, ...] = ()
        self._cap = cap
        self._newest: Hashable = None  # the kind of ``rows``
        self._limit: int | None = None  # rows from disk behind it are forgotten
        self.rows: Rows = ()
        self.nbytes = 0
        self.kept = 0  # rows of any kind

    @property
    def cap(self) -> int:
        """Bytes; a smaller one takes effect at once."""
        return self._cap

    @cap.setter
    def cap(self, cap: int) -> None:
        with self._lock:
            self._cap = cap
            self._keep(tuple(_row_of(narrowed(row.tape, cap)) for row in self._all))

    @property
    def steps(self) -> tuple[int, ...]:
        """The training steps of the rows, rising."""
        return tuple(tape.training_step or 0 for tape in self.rows)

    def add(self, tape: Tape, *, older: bool = False) -> None:
        """Put a complete tape among the rows; one of the same kind and step gives way.

        ``older``: it comes from disk, so rows that are here already are newer, and say which kind is shown.

        Raises:
            ValueError: if the tape is not complete, or nobody knows the training step of its weights.
        """
        if not tape.complete or tape.training_step is None:
            raise ValueError("only a complete tape of a known training step can be a row of a reel")
        with self._lock:
            row = _row_of(narrowed(tape, self._cap))
            same = any(own[:2] == row[:2] for own in self._all)
            if older and (same or (self._limit is not None and row.step > self._limit)):
                return
            if not older or self._newest is None:
                self._newest = row.kind
            rows = [own for own in self._all if own[:2] != row[:2]] + [row]
            self._keep(tuple(sorted(rows, key=lambda own: own.step)))

    def forget_after(self, step: int) -> None:
        """Drop the rows behind ``step``, here and when they come from disk: the training goes on from there."""
        with self._lock:
            self._limit = step if self._limit is None else min(step, self._limit)
            self._keep(tuple(row for row in self._all if row.step <= step))

    def _keep(self, rows: tuple[_Row, ...]) -> None:
        while (nbytes := sum(row.nbytes for row in rows)) > self._cap:
            drop = set(to_drop([row.kind for row in rows]))
            if not drop:
                break
            rows = tuple(row for i, row in enumerate(rows) if i not in drop)
        self._all, self.nbytes, self.kept = rows, nbytes, len(rows)
        self.rows = tuple(row.tape for row in rows if row.kind == self._newest)
