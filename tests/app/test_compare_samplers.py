"""Samplers side by side: the dialog, the grid on one clock, and the whole of it in the real window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from ddpm_studio.app import comparing
from ddpm_studio.app.canvas import PictureCanvas, PointCanvas
from ddpm_studio.app.compare_panel import ComparePanel
from ddpm_studio.app.compare_view import CompareView
from ddpm_studio.app.controller import State
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.playback import Player
from ddpm_studio.app.tape_text import moves_text, sampler_text
from ddpm_studio.app.theme import install
from ddpm_studio.data import Mixture, mixture_of
from ddpm_studio.diffusion.tape import Frame, ScoreField, Tape
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.recipes.sections import DDIM, DDPM, Heun, Langevin

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]


@pytest.fixture(autouse=True)
def themed(qapp: QApplication) -> None:
    install(qapp)


def tape_of(label: str, frames: int, total: int, kind: Any = "pictures", sampler: str = "ddim") -> Tape:
    tape = Tape(kind, 100, total, sampler=sampler, label=label, comparison="one")
    grow(tape, frames)
    return tape


def grow(tape: Tape, frames: int) -> None:
    """Each frame of pictures is as grey as its index says."""
    for _ in range(frames):
        i = len(tape.frames)
        x = np.full((4, 6, 6, 1), i, np.uint8) if tape.kind == "pictures" else np.full((8, 2), i, np.float32)
        tape.frames.append(Frame(i, 100 - i, x, x, x))
        tape.calls, tape.seconds = i, i / 10


@pytest.fixture
def player(qapp: QApplication) -> Player:
    return Player()


@pytest.fixture
def view(qtbot: QtBot, player: Player) -> Iterator[CompareView]:
    view = CompareView(player)
    view.resize(900, 600)
    view.show()
    yield view
    view.close()
    view.deleteLater()


def shown(view: CompareView) -> list[int]:
    """The index of the frame in each canvas; -1: none."""
    found = []
    for cell in view.cells:
        items = cell.canvas._items
        found.append(-1 if items is None else int(items.flat[0]))
    return found


# -- the grid


def test_all_canvases_stand_at_the_same_share_of_their_process(view: CompareView, player: Player) -> None:
    view.set_tapes([tape_of("short", 6, 6), tape_of("long", 21, 21), tape_of("middle", 11, 11)])
    player.poll()
    assert player.tape is view.tapes[1]  # the finest bar
    assert shown(view) == [5, 20, 10]
    for at, expected in ((0, [0, 0, 0]), (10, [2, 10, 5]), (20, [5, 20, 10])):
        player.set_position(at)
        view.poll()
        assert shown(view) == expected


def test_what_grows_is_shown_live_and_the_others_go_along(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 0, 5), tape_of("second", 0, 9)
    view.set_tapes([first, second], [4, 8])
    assert shown(view) == [-1, -1]
    grow(first, 3)
    view.poll()
    player.poll()
    view.poll()
    assert shown(view) == [2, -1]
    assert view.line.text() == "1 of 2"
    assert view.progress.share == pytest.approx(2 / 12)
    assert view.stop.isVisibleTo(view)
    grow(first, 2)
    grow(second, 5)
    view.poll()
    player.poll()
    view.poll()
    assert player.tape is second
    assert shown(view) == [2, 4]  # half of each
    assert "left" not in view.line.text()  # too early to tell
    grow(second, 4)
    second.seconds = 3.0
    view.end()
    assert not view.stop.isVisibleTo(view)
    assert "2 side by side, same noise" in view.line.text()


def test_time_left_and_a_comparison_that_was_stopped(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 5, 5), tape_of("second", 0, 9)
    first.seconds = 40.0
    view.set_tapes([first, second], [4, 4])
    assert view.line.text() == "2 of 2 · 40 s left"
    grow(second, 2)
    view.end()
    assert player.tape is first
    assert view.cells[1].facts.text().endswith("stopped")
    assert view.cells[0].facts.text() == "4 steps · 4 calls · 40.0 s"


def test_a_parked_bar_stays_where_it_is_when_the_next_sampler_leads(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 5, 5), tape_of("second", 0, 9, sampler="langevin-plain")
    view.set_tapes([first, second], [4, 8])
    player.set_position(2)
    grow(second, 4)
    view.poll()
    assert player.tape is first  # the other has not come half way
    assert shown(view) == [2, 3]
    grow(second, 1)
    view.poll()
    assert player.tape is second
    assert player.position == 4
    assert shown(view) == [2, 4]


def test_a_picture_is_chosen_in_all(view: CompareView) -> None:
    view.set_tapes([tape_of("one", 3, 3), tape_of("two", 3, 3)])
    canvases = [cell.canvas for cell in view.cells]
    assert all(isinstance(canvas, PictureCanvas) for canvas in canvases)
    canvases[0].set_chosen(2)
    assert [canvas.chosen for canvas in canvases] == [2, 2]
    canvases[1].set_chosen(-1)
    assert [canvas.chosen for canvas in canvases] == [-1, -1]


def test_points_tell_the_modes_of_a_known_mixture(view: CompareView) -> None:
    mixture = mixture_of("two-gaussians")
    assert isinstance(mixture, Mixture)
    tape = tape_of("one", 1, 1, "points", "langevin")
    tape.frames[0] = Frame(0, 0, np.repeat(mixture.means[[0, 0, 0, 1]], 5, axis=0).astype(np.float32))
    other = tape_of("two", 1, 1, "points")
    view.set_tapes([tape, other])
    view.set_data(np.zeros((4, 2)), mixture)
    view.poll()
    assert view.cells[0].modes.text().startswith("modes 75:25 %")
    assert view.cells[0].facts.text().startswith("0 moves")
    assert "data 50:50 %, spread 0.05" in view.line.text()
    view.set_data(np.zeros((4, 2)), None)
    assert not view.cells[0].modes.isVisibleTo(view)
    assert isinstance(view.cells[0].canvas, PointCanvas)


def test_what_is_wrong_with_a_cloud_is_told_for_the_canvas_that_has_it(view: CompareView) -> None:
    mixture = mixture_of("two-gaussians")
    assert isinstance(mixture, Mixture)
    good, bad = tape_of("one", 0, 1, "points"), tape_of("two", 0, 1, "points", "langevin-plain")
    even = np.repeat(mixture.means[[0, 1]], 500, axis=0).astype(np.float32)
    good.frames.append(Frame(0, 0, even))
    view.set_tapes([good, bad])
    view.set_data(np.zeros((4, 2)), mixture)
    assert not view.note.isVisible(), "nothing has ended"
    bad.frames.append(Frame(0, 5, np.repeat(mixture.means[[0, 0, 0, 1]], 250, axis=0).astype(np.float32)))
    view.poll()
    assert view.note.text().startswith("two: 75 % of the points ended nearest to the ")
    assert view.note.isVisible()
    assert "75 %" in view.cells[1].toolTip()
    assert view.cells[0].verdict() == ""
    view.set_tapes([good])
    assert not view.note.isVisible()


def test_langevin_tells_levels_and_moves() -> None:
    tape = Tape("points", 100, 5, sampler="langevin")
    for index, t in enumerate((100, 100, 50, 50, 0)):  # two moves at each of two levels
        assert moves_text(tape) == f"{max(index - 1, 0)} moves", "it still grows"
        tape.frames.append(Frame(index, t, np.zeros((1, 2), np.float32)))
    assert sampler_text(tape) == "annealed Langevin, 2 levels × 2 moves"
    tape.sampler = "langevin-plain"
    tape.frames[-1] = Frame(1000, 14, tape.frames[0].x, field=ScoreField(np.zeros((2, 2, 2)), 1.0, 0.1379, 2.5))
    assert sampler_text(tape) == "plain Langevin, 1,000 moves at σ = 0.14"


@pytest.mark.parametrize(("size", "columns"), [((1100, 500), 3), ((420, 430), 2), ((300, 900), 1)])
def test_the_grid_makes_the_canvases_large(view: CompareView, size: tuple[int, int], columns: int) -> None:
    view.set_tapes([tape_of(str(i), 2, 2) for i in range(3)])
    view.resize(*size)
    assert view._columns == columns


# -- the dialog


@pytest.fixture
def panel(qtbot: QtBot) -> Iterator[ComparePanel]:
    parent = QWidget()
    panel = ComparePanel(find("moons"), "points", 2000, seed=5, locked=True, has_last=False, parent=parent)
    panel.show()
    yield panel
    panel.close()
    parent.deleteLater()


def test_the_dialog_gives_what_is_ticked(qtbot: QtBot, panel: ComparePanel) -> None:
    asked: list[Any] = []
    seeds: list[Any] = []
    panel.asked.connect(lambda entries, seed, locked: (asked.append(entries), seeds.append((seed, locked))))
    rows = {row.choice.settings.kind: row for row in panel.rows}
    for kind in ("langevin-plain", "ddpm"):
        rows[kind].tick.click()
    rows["langevin"].knob.selectAll()
    QTest.keyClicks(rows["langevin"].knob, "7")
    QTest.mouseClick(panel.start, Qt.MouseButton.LeftButton)
    labels = [label for label, _ in asked[0]]
    assert labels == ["Annealed Langevin", "DDIM", "Heun"]
    assert isinstance(asked[0][0][1], Langevin)
    assert asked[0][0][1].moves == 7
    assert seeds == [(5, True)]
    assert not panel.isVisible()


def test_a_seed_can_be_typed_and_unlocked(panel: ComparePanel) -> None:
    seeds: list[Any] = []
    panel.asked.connect(lambda entries, seed, locked: seeds.append((seed, locked)))
    row = panel.seed_row
    for typed in ("-1", "12 cats", str(2**31)):
        row.editor.selectAll()
        QTest.keyClicks(row.editor, typed)
        QTest.keyClick(row.editor, Qt.Key.Key_Return)
        assert not panel.start.isEnabled(), typed
        assert panel.note.text().startswith("Seed: ")
    QTest.keyClick(row.editor, Qt.Key.Key_Escape)
    assert row.editor.text() == "5"
    assert panel.start.isEnabled()
    row.editor.selectAll()
    QTest.keyClicks(row.editor, "1234")
    row.lock.click()
    QTest.mouseClick(panel.start, Qt.MouseButton.LeftButton)
    assert seeds == [(1234, False)]


def test_the_dialog_says_what_cannot_be(panel: ComparePanel) -> None:
    rows = {row.choice.settings.kind: row for row in panel.rows}
    for kind in ("euler", "dpmpp-2m"):
        rows[kind].tick.click()
    assert panel.note.text() == "Tick two to six samplers."
    assert not panel.start.isEnabled()
    rows["dpmpp-2m"].tick.click()
    assert panel.start.isEnabled()
    rows["ddim"].knob.selectAll()
    QTest.keyClicks(rows["ddim"].knob, "99999")
    QTest.keyClick(rows["ddim"].knob, Qt.Key.Key_Return)
    assert not panel.start.isEnabled()
    assert panel.note.text().startswith("DDIM: ")
    QTest.keyClick(rows["ddim"].knob, Qt.Key.Key_Escape)
    assert panel.start.isEnabled()
    assert "network calls at most" in panel.note.text()


# -- the window


def small(steps: int, source: str = "two-gaussians") -> Recipe:
    """Tiny."""
    base = {
        "training.steps": steps,
        "training.batch": 32,
        "network.width": 16,
        "network.depth": 1,
        "preview.count": 16,
        "preview.steps": 4,
        "sampler.steps": 4,
        "compute.threads": 1,
        "compute.device": "cpu",
    }
    return find(source).with_settings(base)


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication) -> Iterator[MainWindow]:
    window = MainWindow()
    window.session.data_clock.setInterval(1)
    window.show()
    qtbot.waitUntil(lambda: window.controller.is_ready and window.stage.plots is not None, timeout=30_000)
    yield window
    if isValid(window):
        window.controller.stop()
        qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)
        window.close()
        window.deleteLater()


ENTRIES = (("DDPM", DDPM(steps=4)), ("DDIM", DDIM(steps=3)), ("Heun", Heun(steps=5)))


def test_during_a_training_and_from_disk_and_again_when_reopened(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing.random, "randrange", lambda end: 77)
    view, grid, action = window.view, window.view.comparison, window.actions_by_id["run.compare"]
    assert not action.isEnabled()
    window.session.start(small(1_000_000))
    qtbot.waitUntil(lambda: window.controller.state is State.TRAINING, timeout=30_000)
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") is not None, timeout=30_000)
    action.trigger()
    panel = window.comparing.panel
    assert panel is not None
    assert panel.isVisible()
    panel.reject()
    window.comparing._on_asked(ENTRIES, 0, True)
    qtbot.waitUntil(lambda: len(grid.cells) == 3 and all(tape.complete for tape in grid.tapes), timeout=30_000)
    qtbot.waitUntil(lambda: not grid._running, timeout=30_000)
    assert window.controller.training
    assert view.stage.currentWidget() is grid
    noises = [cell.tape.frames[0].x for cell in grid.cells]
    assert all(np.array_equal(noise, noises[0]) for noise in noises)
    step = window.controller.channels.batch.last("step")
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") > step + 3, timeout=30_000)
    assert view.stage.currentWidget() is grid  # previews wait
    window.actions_by_id["playback.to_noise"].trigger()
    view.poll()
    assert [cell.canvas._items is cell.tape.frames[0].x for cell in grid.cells] == [True] * 3
    grid.back.click()
    assert view.stage.currentWidget() is view.points
    window.controller.stop()
    qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)
    view.poll()
    before, caption = view.player.tape, view.caption.text()
    assert before is not None
    assert caption.startswith("same ")
    view.player.set_position(1)

    window.comparing._on_asked(ENTRIES[:2], 3, True)  # from disk
    qtbot.waitUntil(lambda: len(grid.cells) == 2 and not grid._running, timeout=30_000)
    assert "Compared in" in window.status.message.text()
    assert view.caption.text() != caption
    assert {tape.seed for tape in grid.tapes} == {3}
    assert not np.array_equal(grid.tapes[0].frames[0].x, noises[0])
    qtbot.waitUntil(lambda: action.isEnabled() and not window.controller.busy, timeout=30_000)
    for locked, seed in ((True, 3), (False, 77)):
        window.comparing._locked = locked
        action.trigger()
        assert window.comparing.panel is not None
        assert window.comparing.panel.seed_row.editor.text() == str(seed)
        assert window.comparing.panel.seed_row.locked == locked
        window.comparing.panel.reject()
    grid.back.click()
    assert view.player.tape is before
    assert (view.player.position, view.caption.text()) == (1, caption)
    run = window.session.run
    assert run is not None
    qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)  # while it is, nothing else opens
    window.session.open_run(run.path)
    qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)
    assert not grid.cells
    action.trigger()
    panel = window.comparing.panel
    assert panel is not None
    assert panel.rows[0].recipe == run.recipe(), "the run's, whatever the form says"
    assert (panel.seed_row.seed, panel.seed_row.locked) == (run.recipe().seed, True)
    panel.last.click()
    assert [tape.label for tape in grid.tapes] == ["DDPM", "DDIM"]
    assert all(tape.complete for tape in grid.tapes)
    assert view.stage.currentWidget() is grid


def test_stopping_a_comparison_is_not_stopping_the_training(qtbot: QtBot, window: MainWindow) -> None:
    grid = window.view.comparison
    window.session.start(small(1_000_000))
    qtbot.waitUntil(lambda: len(window.controller.channels.batch) > 0, timeout=30_000)
    window.comparing._on_asked((("Langevin", Langevin(steps=100, moves=10_000)), *ENTRIES), 0, True)
    qtbot.waitUntil(lambda: bool(grid.cells and grid.tapes[0].frames), timeout=30_000)
    assert grid.stop.isVisible()
    grid.stop.click()
    qtbot.waitUntil(lambda: not grid._running, timeout=30_000)
    assert "Stopped after 0 of 4" in window.status.message.text()
    step = window.controller.channels.batch.last("step")
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") > step, timeout=30_000)
    assert window.controller.state is State.TRAINING
