"""Comparisons with rows and columns: every cell in its place, with the words that fit; trails; and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ddpm_studio.app.compare_cell import AxisLabel, CompareCell
from ddpm_studio.app.compare_view import CompareView, grid_of
from ddpm_studio.app.playback import Player
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.theme import install
from ddpm_studio.data import mixture_of
from ddpm_studio.diffusion.tape import Frame, Tape

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]
STAGE_AT_1024 = (480, 390)  # px


@pytest.fixture(autouse=True)
def themed(qapp: QApplication) -> None:
    install(qapp)


def a_tape(row: str, column: str, kind: Any = "pictures", frames: int = 5) -> Tape:
    label = ", ".join(text for text in (row, column) if text)
    tape = Tape(kind, 100, frames, "", 7, "ema", "ddim", label=label, row=row, column=column, calls=frames - 1)
    for i in range(frames):
        x = np.full((4, 6, 6, 1), i, np.uint8) if kind == "pictures" else np.full((9, 2), i / 4 - 0.5, np.float32)
        tape.frames.append(Frame(i, 100 - i, x, x, x))
    return tape


def a_grid(rows: int, columns: int, kind: Any = "pictures") -> list[Tape]:
    return [a_tape(f"row {r}", f"column {c}", kind) for r in range(rows) for c in range(columns)]


@pytest.fixture
def view(qapp: QApplication) -> Iterator[CompareView]:
    view = CompareView(Player())
    view.resize(900, 600)
    view.show()
    yield view
    view.close()
    view.deleteLater()


def centre(view: CompareView, cell: CompareCell | AxisLabel) -> QPoint:
    return cell.mapTo(view, cell.rect().center())


def labels(view: CompareView) -> dict[str, AxisLabel]:
    return {label.text(): label for label in view.findChildren(AxisLabel) if label.isVisible()}


def test_every_cell_stands_under_its_column_and_beside_its_row(qapp: QApplication, view: CompareView) -> None:
    tapes = a_grid(3, 4)
    del tapes[5]  # it was stopped: its place stays empty
    view.set_tapes(tapes)
    QTest.qWait(20)
    named = labels(view)
    assert set(named) == {f"row {i}" for i in range(3)} | {f"column {i}" for i in range(4)}
    for cell in view.cells:
        at = centre(view, cell)
        assert abs(at.x() - centre(view, named[cell.tape.column]).x()) <= 1
        assert abs(at.y() - centre(view, named[cell.tape.row]).y()) <= 1
        assert not cell.title.isVisible(), "row and column say it"
    view.set_tapes(tapes[:2])
    QTest.qWait(20)
    assert set(labels(view)) == {"row 0", "column 0", "column 1"}
    view.set_tapes([])
    assert not labels(view)


def test_a_label_says_what_it_is_where_there_is_room(view: CompareView) -> None:
    tapes = [a_tape(r, c) for r in ("0", "1") for c in ("12", "50")]
    for tape in tapes:
        tape.row_key, tape.column_key = "seed", "steps"
    view.set_tapes(tapes)
    QTest.qWait(20)
    named = labels(view)
    assert set(named) == {"Seed 0", "Seed 1", "Sampling steps 12", "Sampling steps 50"}
    column = named["Sampling steps 50"]
    assert column._elided() == "Sampling steps 50"
    column.resize(60, column.height())
    assert column._elided() == "50"


def test_without_two_axes_the_cells_keep_their_names() -> None:
    assert grid_of([a_tape("", "a"), a_tape("", "b")]) == ([], [])
    assert grid_of([a_tape("a", "b"), a_tape("a", "b")]) == ([], []), "two cannot have one place"
    assert grid_of(a_grid(2, 1)) == (["row 0", "row 1"], ["column 0"])


def test_24_cells_fit_on_a_small_screen_and_say_less(view: CompareView) -> None:
    view.set_tapes(a_grid(4, 6))
    room = view.minimumSizeHint()
    assert room.width() <= STAGE_AT_1024[0]
    assert room.height() <= STAGE_AT_1024[1]
    view.resize(*STAGE_AT_1024)
    QTest.qWait(20)
    cell = view.cells[0]
    assert cell.canvas.width() > 60
    assert cell.canvas.height() > 60
    assert not cell.facts.isVisible()
    assert cell.toolTip() == "row 0, column 0\n4 steps · 4 calls · 0.0 s"
    view.resize(900, 600)
    view.refresh()
    assert (cell.facts.isVisible(), cell.facts.text()) == (True, "4 calls")
    view.set_tapes(a_grid(2, 2))
    assert view.cells[0].facts.text() == "4 steps · 4 calls · 0.0 s"


def test_what_a_small_cloud_tells_are_its_modes(view: CompareView) -> None:
    view.set_tapes(a_grid(4, 6, "points"))
    view.set_data(None, mixture_of("two-gaussians"))
    facts = view.cells[0].facts.text()
    assert facts.endswith(" %")
    assert "spread" in view.cells[0].toolTip()
    assert not view.cells[0].modes.isVisible()


def test_processes_that_only_their_frames_tell_apart(view: CompareView) -> None:
    """Tapes are the same one or not; comparing them by value would compare their pictures."""
    view.set_tapes([a_tape("", ""), a_tape("", "")])
    view._player.set_tape(a_tape("", ""))
    view.refresh()
    assert [int(cell.canvas._items.flat[0]) for cell in view.cells if cell.canvas._items is not None] == [4, 4]


def test_previews_that_wait_can_be_gone_back_to(qtbot: QtBot, view: CompareView) -> None:
    view.set_tapes(a_grid(1, 2))
    assert view.back.text() == "Back"
    assert "previews" not in view.line.text()
    view.set_training(True)
    assert view.back.text() == "Back to previews"
    assert view.line.text().endswith("previews wait")
    with qtbot.waitSignal(view.back_wanted):
        view.back.click()
    view.set_training(False)
    assert view.back.text() == "Back"
    assert "previews" not in view.line.text()


def test_trails_are_drawn_in_every_cell_when_they_are_wanted(qapp: QApplication) -> None:
    view = ReverseView()
    view.resize(1000, 800)
    view.show()
    try:
        view.set_trails(True)
        view.compare(a_grid(2, 2, "points"))
        assert view.trails_switch.isVisible()
        assert not view.view_choice.isVisible()
        cells = view.comparison.cells
        QTest.qWait(20)
        ends = [cell.canvas.grab().toImage() for cell in cells]
        view.player.step_back()
        drawn = [cell.canvas.grab().toImage() for cell in cells]
        view.trails_switch.click()
        bare = [cell.canvas.grab().toImage() for cell in cells]
        assert all(a != b for a, b in zip(drawn, bare, strict=True))
        view.player.to_image()
        assert [cell.canvas.grab().toImage() for cell in cells] == ends, "no trails over what came out"
        view.player.set_position(0)
        start = [cell.canvas.grab().toImage() for cell in cells]
        view.trails_switch.click()
        assert [cell.canvas.grab().toImage() for cell in cells] == start, "nothing has moved yet"
        view.compare(a_grid(2, 2))
        assert not view.trails_switch.isVisible()
    finally:
        view.close()
        view.deleteLater()
