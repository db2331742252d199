"""The rows of several runs on one clock of training time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.store.together import Together, WatchedRun


def a_row(step: int, frames: int = 5) -> Tape:
    tape = Tape("pictures", 1000, frames, "", step, "ema", "ddim", seed=3)
    for i in range(frames):
        x = np.full((4, 8, 8, 1), 10 * i, np.uint8)
        tape.frames.append(Frame(i, 1000 - 1000 * i // (frames - 1), x, x + 1 if i else None, x if i else None))
    return tape


def watched(*tapes: Tape, before: int = 0) -> WatchedRun:
    run = WatchedRun("run", "pictures", before=before)
    for tape in tapes:
        run.reel.add(tape)
    return run


def steps_of(found: Sequence[Tape | None]) -> list[int | None]:
    return [None if tape is None else tape.training_step for tape in found]


def test_the_rows_are_those_of_all_and_each_run_shows_its_nearest() -> None:
    short = watched(*(a_row(step) for step in (0, 10, 50)))
    fine = watched(*(a_row(step, 9) for step in (0, 40, 200)))
    together = Together([short, fine, WatchedRun("empty", "pictures")])
    assert [tape.training_step for tape in together.rows] == [0, 10, 40, 50, 200]
    assert {len(tape.frames) for tape in together.rows} == {9}, "the finest process leads"
    assert steps_of(together.at(50)) == [50, 40, None]
    assert steps_of(together.at(40)) == [50, 40, None]
    assert steps_of(together.at(10)) == [10, 0, None]
    assert steps_of(together.at(200)) == [50, 200, None], "the shorter one stays at its last"
    assert together.at(10)[0].frames[0] is short.reel.rows[1].frames[0], "nothing is copied"
    rows = together.rows
    assert together.rows is rows
    short.reel.add(a_row(60))
    assert [tape.training_step for tape in together.rows] == [0, 10, 40, 50, 60, 200]


def test_a_row_that_is_still_there_is_the_same_tape() -> None:
    one, two = watched(a_row(0), a_row(20)), watched(a_row(0, 9), a_row(40, 9))
    together = Together([one, two])
    rows, shown = together.rows, together.at(20)
    one.reel.add(a_row(30))
    assert [step for step, row in zip((0, 20, 30, 40), together.rows, strict=True) if any(row is old for old in rows)]
    assert [any(row is old for old in rows) for row in together.rows] == [True, True, False, True]
    assert [now is old for now, old in zip(together.at(20), shown, strict=True)] == [True, True]
    assert together.kept == 5
    assert together.nbytes == one.reel.nbytes + two.reel.nbytes


def test_a_fork_begins_where_its_parent_stood() -> None:
    together = Together([watched(a_row(0), a_row(100), a_row(300)), watched(a_row(0), a_row(50), before=100)])
    assert [tape.training_step for tape in together.rows] == [0, 100, 150, 300]
    assert steps_of(together.at(150)) == [100, 50]


def test_what_is_taken_along_of_each_training_step() -> None:
    parent, fork = watched(a_row(0), a_row(100), a_row(300)), watched(a_row(0), a_row(50), before=100)
    moments = Together([parent, fork, WatchedRun("empty", "pictures")]).moments()
    told = [[(tape.training_step, len(tape.frames)) for tape in row] for row in moments]
    assert told == [[(0, 5), (100, 0)], [(100, 5), (100, 5)], [(100, 5), (150, 5)], [(300, 5), (150, 5)]]
