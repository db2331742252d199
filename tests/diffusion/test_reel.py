"""A reel: rows that compare, in the order of training, below a cap, never without the first or the last."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.diffusion.reel import LEAST_ROWS, Reel, coarse_to_fine, frame_at, narrowed, to_drop
from ddpm_studio.diffusion.tape import Frame, Tape


def a_row(
    step: int,
    frames: int = 5,
    *,
    side: int = 4,
    weights: str = "ema",
    seed: int = 0,
    count: int = 2,
    eta: float = 0.0,
) -> Tape:
    x = np.full((frames, count, side, side, 1), step % 256, np.uint8)
    kept = [Frame(i, frames - 1 - i, x[i], x[i] if i else None, x[i] if i else None) for i in range(frames)]
    settings = {"kind": "ddim", "steps": frames - 1, "eta": eta}
    return Tape("pictures", 1000, frames, "", step, weights, "ddim", seed, kept, settings=settings)  # type: ignore[arg-type]


@given(st.lists(st.sampled_from("ab"), max_size=60))
def test_of_each_kind_every_second_row_goes_but_never_the_first_or_the_last(kinds: list[str]) -> None:
    gone = to_drop(kinds)
    assert gone == sorted(set(gone))
    for kind in set(kinds):
        own = [i for i, other in enumerate(kinds) if other == kind]
        left = [i for i in own if i not in gone]
        assert (left[0], left[-1]) == (own[0], own[-1])
        assert len(left) == (len(own) // 2 + 1 if len(own) > 1 else 1)
        places = [own.index(i) for i in left]
        assert all(b - a <= 2 for a, b in pairwise(places)), "the rest lie evenly"


@given(st.integers(1, 80), st.integers(1, 40_000))
def test_a_narrowed_row_keeps_its_ends_and_fits(frames: int, cap: int) -> None:
    tape = a_row(3, frames)
    kept = narrowed(tape, cap)
    assert kept.complete
    assert kept.frames[0] is tape.frames[0]
    assert kept.frames[-1] is tape.frames[-1]
    assert kept.nbytes <= cap / LEAST_ROWS or len(kept.frames) <= 2
    assert [f.t for f in kept.frames] == [f.t for f in narrowed(a_row(9, frames), cap).frames], "rows stay comparable"
    if tape.nbytes <= cap / LEAST_ROWS:
        assert kept is tape


@given(st.lists(st.integers(0, 500), min_size=1, max_size=120), st.integers(8, 60))
def test_rows_stay_in_order_and_below_the_cap(steps: list[int], many: int) -> None:
    cap = many * a_row(0).nbytes
    reel = Reel(cap)
    for step in steps:
        reel.add(a_row(step))
        assert list(reel.steps) == sorted(set(reel.steps))
        assert reel.nbytes == sum(tape.nbytes for tape in reel.rows) <= cap
    assert set(reel.steps) <= set(steps)
    assert (reel.steps[0], reel.steps[-1]) == (min(steps), max(steps))
    if len(set(steps)) <= many:
        assert set(reel.steps) == set(steps)
    reel.cap = cap // 2
    assert reel.nbytes <= cap // 2 or len(reel.rows) == 2


@given(st.integers(0, 300))
def test_coarse_to_fine_gives_every_place_once_the_ends_first(count: int) -> None:
    order = list(coarse_to_fine(count))
    assert sorted(order) == list(range(count))
    assert order[:2] == [count - 1, 0][:count]


def test_a_cell_is_the_frame_at_its_share() -> None:
    reel = Reel()
    for step in (0, 10, 40):
        reel.add(a_row(step))
    assert reel.rows[1].training_step == 10
    assert [frame_at(reel.rows[2], share).index for share in (0, 0.25, 0.5, 1)] == [0, 1, 2, 4]


def test_a_step_has_one_row() -> None:
    reel = Reel()
    reel.add(a_row(5))
    again = a_row(5)
    reel.add(again)
    assert reel.rows == (again,)
    reel.add(a_row(5), older=True)
    assert reel.rows == (again,), "what is here is newer than what lies on disk"


@pytest.mark.parametrize("other", [{"frames": 6}, {"eta": 1.0}])
def test_another_sampler_and_other_steps_leave_all_rows(other: dict[str, object]) -> None:
    """They begin with the same noise; nothing of a training may get out of reach for them."""
    reel = Reel()
    reel.add(a_row(0))
    reel.add(a_row(20, **other))  # type: ignore[arg-type]
    reel.add(a_row(10))
    assert reel.steps == (0, 10, 20)


@pytest.mark.parametrize("other", [{"weights": "raw"}, {"seed": 1}, {"count": 3}])
def test_only_rows_that_compare_are_side_by_side_and_the_others_come_back(other: dict[str, object]) -> None:
    reel = Reel()
    reel.add(a_row(0))
    reel.add(a_row(10))
    reel.add(a_row(20, **other))  # type: ignore[arg-type]
    assert reel.steps == (20,)
    reel.add(a_row(15, **other), older=True)  # type: ignore[arg-type]
    reel.add(a_row(5), older=True)
    assert reel.steps == (15, 20), "rows from disk do not choose what is shown"
    reel.add(a_row(30))
    assert reel.steps == (0, 5, 10, 30)
    assert reel.kept == 6


def test_a_smaller_cap_narrows_the_rows_that_are_there_so_that_they_compare_with_the_next() -> None:
    reel = Reel()
    for step in (0, 10, 20):
        reel.add(a_row(step, 40))
    reel.cap = LEAST_ROWS * a_row(0, 20).nbytes
    reel.add(a_row(30, 40))
    assert reel.steps == (0, 10, 20, 30)
    assert len({len(tape.frames) for tape in reel.rows}) == 1
    assert reel.rows[0].nbytes < a_row(0, 40).nbytes


def test_what_lies_behind_a_step_is_forgotten_also_when_it_comes_from_disk_later() -> None:
    reel = Reel()
    for step in (0, 10, 20):
        reel.add(a_row(step))
    reel.forget_after(10)
    reel.add(a_row(15), older=True)
    assert reel.steps == (0, 10)
    reel.add(a_row(12))
    assert reel.steps == (0, 10, 12), "trained again"


def test_only_a_whole_tape_of_a_known_step_is_a_row() -> None:
    growing, unknown = a_row(3), a_row(3)
    growing.frames.pop()
    unknown.training_step = None
    for tape in (growing, unknown):
        with pytest.raises(ValueError, match="complete tape of a known training step"):
            Reel().add(tape)
