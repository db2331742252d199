"""The way that particles have come, drawn behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage
from pytestqt.qtbot import QtBot

from ddpm_studio.app.canvas import PointCanvas
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.trails import MOST, Trails, sample, trail_of
from ddpm_studio.diffusion.tape import Frame, Tape

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform

PLACE = (200, 100, 20.0)  # px, px, px for a length of 1
RED = QColor(255, 0, 0, 128)


def tape_of(*states: Any, total: int = 0) -> Tape:
    tape = Tape(kind="points", steps=100, total=total or len(states))
    for i, state in enumerate(states):
        x = np.array(state, np.float32)
        estimates = (None, None) if i == 0 else (x + 1, -x)
        tape.frames.append(Frame(i, 100 - i, x, *estimates))
    return tape


def alphas(image: QImage | None) -> Any:
    assert image is not None
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
    return (pixels >> 24).astype(int).copy()


def drawn(trails: Trails, position: int) -> Any:
    return alphas(trails.image(position, RED))


LINE = tape_of([[-4.0, 0.0]], [[-1.0, 0.0]], [[2.0, 0.0]])  # 20, 80 and 140 px from the left, half-way down


def test_a_trail_leads_from_the_start_to_the_frame_shown_and_fades_with_age() -> None:
    trails = Trails(LINE, "x", *PLACE)
    assert trails.image(0, RED) is None  # nothing has moved yet
    first, both = drawn(trails, 1), drawn(trails, 2)
    rows = both[48:52].max(axis=0)
    assert (first[48:52, 24:76].max(axis=0) > 60).all()
    assert not first[:, 84:].any()
    assert (rows[84:136] > rows[24:76].max()).all(), "the older half is not fainter"
    assert (rows[24:76] > 5).all(), "the older half is gone"
    for beside in (both[:46], both[54:], rows[145:]):
        assert not beside.any()


def test_going_back_shows_what_was_there(qtbot: QtBot) -> None:
    rng = np.random.default_rng(0)
    tape = tape_of(*rng.normal(0, 1.5, (8, 50, 2)).cumsum(axis=0) / 3)
    trails = Trails(tape, "x", *PLACE)
    forwards = [drawn(trails, i) for i in range(1, 8)]
    backwards = [drawn(trails, i) for i in range(7, 0, -1)][::-1]
    fresh = [drawn(Trails(tape, "x", *PLACE), i) for i in range(1, 8)]
    for a, b, c in zip(forwards, backwards, fresh, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_a_growing_tape_adds_to_its_trails() -> None:
    tape = tape_of([[-4.0, 0.0]], [[-1.0, 0.0]], total=3)
    trails = Trails(tape, "x", *PLACE)
    assert not drawn(trails, 1)[:, 90:].any()
    tape.frames.append(LINE.frames[2])
    np.testing.assert_array_equal(drawn(trails, 2), drawn(Trails(LINE, "x", *PLACE), 2))


def test_estimates_have_trails_of_their_own() -> None:
    estimate = drawn(Trails(LINE, "x0", *PLACE), 2)
    assert estimate[28:32, 104:156].max(axis=0).all()  # from (0, 1) to (3, 1): the start has no estimate
    assert not estimate[:, :96].any()


def test_what_runs_away_draws_nothing_far_and_does_not_stop_the_rest() -> None:
    wild = [[[0.0, 0.0], [1.0, 1.0]], [[1e30, 0.0], [2.0, 1.0]], [[np.nan, np.inf], [3.0, 1.0]]]
    seen = drawn(Trails(tape_of(*wild), "x", *PLACE), 2)
    assert seen[28:32, 124:156].max(axis=0).all()
    assert not seen[34:].any()  # nothing of the first
    assert [len(piece.toList()) for piece in trail_of(tape_of(*wild), 2, 0, "x", PLACE)] == [1]


def test_thousands_have_a_readable_sample() -> None:
    assert sample(7).tolist() == list(range(7))
    many = sample(5000)
    assert (len(many), many[0], many[-1]) == (MOST, 0, 4999)
    assert len(set(np.diff(many).tolist())) <= 2  # evenly spread


def show(view: ReverseView, tape: Tape, position: int) -> QImage:
    view.set_tape(tape)
    view.player.poll()
    view.player.set_position(position)
    return view.points.grab().toImage()


def test_the_switch_draws_trails_and_a_click_follows_one(qtbot: QtBot) -> None:
    view = ReverseView()
    qtbot.addWidget(view)
    view.resize(700, 600)
    view.show()
    tape = tape_of([[-2.0, 0.0], [0.0, 2.0]], [[0.0, 0.0], [2.0, 2.0]], [[2.0, 0.5], [2.0, -1.0]])
    view.set_trails(False)
    bare = show(view, tape, 1)
    with qtbot.waitSignal(view.trails_chosen) as told:
        qtbot.mouseClick(view.trails_switch, Qt.MouseButton.LeftButton, pos=QPoint(8, 14))
    assert told.args == [True]
    trails = view.points.grab().toImage()
    assert trails != bare
    view.player.set_position(2)
    assert view.points.grab().toImage() != trails
    view.player.set_position(1)
    assert view.points.grab().toImage() == trails

    middle = view.points.rect().center()
    with qtbot.waitSignal(view.points.point_chosen) as chosen:
        qtbot.mouseClick(view.points, Qt.MouseButton.LeftButton, pos=middle + QPoint(3, 3))
    assert chosen.args == [0]
    assert view.points.grab().toImage() != trails
    view.set_tape(tape_of([[0.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 2.0]]))  # the same noise, learnt more
    assert view.points.chosen == 0
    qtbot.mouseClick(view.points, Qt.MouseButton.LeftButton, pos=QPoint(3, 3))  # far from all
    assert view.points.chosen == -1


def test_a_marked_particle_that_is_not_there_is_no_matter(qtbot: QtBot) -> None:
    canvas = PointCanvas()
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.set_with_trails(True)
    canvas.set_chosen(40)
    for tape in (LINE, tape_of(np.full((50, 2), np.nan), np.full((50, 2), 1e38))):
        canvas.set_past(tape, 1)
        canvas.set_frame(tape.frames[1])
        assert not canvas.grab().isNull()
