"""Runs side by side: their rows on one clock of training time, from the list of runs to the stage and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from ddpm_studio.app import canvas
from ddpm_studio.app.controller import State
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.two_clocks import MB
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.paths import runs_folder
from ddpm_studio.recipes import find
from ddpm_studio.store import Parent, Run

pytestmark = [
    pytest.mark.usefixtures("themed", "no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]


def a_row(step: int, frames: int = 5, kind: Any = "pictures", shade: int = 0) -> Tape:
    """Its frames tell which they are: of pictures by their grey, 10 a frame above ``shade``."""
    tape = Tape(kind, 1000, frames, "", step, "ema", "ddim", seed=3)
    for i in range(frames):
        x = np.full((4, 8, 8, 1), shade + 10 * i, np.uint8)
        x = x if kind == "pictures" else np.full((9, 2), i / frames, np.float32)
        tape.frames.append(Frame(i, 1000 - 1000 * i // (frames - 1), x, x + 1 if i else None, x if i else None))
    return tape


def a_run(name: str, rows: Sequence[Tape] = (), recipe: str = "pixel-faces") -> Path:
    run = Run.create(find(recipe), runs_folder() / name)
    with run.record(write=True) as record:
        record.add_event(0, "started", {})
        for row in rows:
            record.add_tape(row, "preview")
    return run.path


# -- the window


def listed(window: MainWindow) -> None:
    """Look at the runs on disk, and wait until they are listed."""
    window.reports.list_runs()
    while window.reports._listing.busy:
        QTest.qWait(5)


def choose(window: MainWindow, *paths: Path) -> None:
    listed(window)
    panel = window.runs_panel
    panel.view.clearSelection()
    for i, row in enumerate(panel.model.rows()):
        if row.path in paths:
            panel.view.selectionModel().select(panel.model.index(i), QItemSelectionModel.SelectionFlag.Select)
    QTest.qWait(10)


def shades(window: MainWindow) -> list[int]:
    """Of the first pixel in each canvas; -1: nothing is shown."""
    found = []
    for cell in window.view.comparison.cells:
        items = cell.canvas._items
        found.append(-1 if items is None else int(items.flat[0]))
    return found


def all_read(window: MainWindow, rows: int) -> bool:
    return len(window.view.clock.rows) == rows and -1 not in shades(window)


def test_chosen_runs_are_watched_on_both_clocks_and_back(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = a_run("one", [a_row(step, shade=step) for step in (0, 20, 100)])
    two = a_run("two", [a_row(step, 9, shade=100 + step) for step in (0, 20, 60)])
    view, panel = window.view, window.runs_panel
    tape, position = view.player.tape, 1
    view.player.set_position(position)
    choose(window, one)
    assert not panel.watch.isVisible()
    choose(window, one, two)
    panel.watch.click()
    qtbot.waitUntil(lambda: all_read(window, 4))
    assert view.clock.steps == (0, 20, 60, 100)
    order = ["one" if one.name in row.path.name else "two" for row in panel.chosen()]

    def shown() -> dict[str, int]:
        return dict(zip(order, shades(window), strict=True))

    assert shown() == {"one": 140, "two": 240}, "the newest rows, at x_0"
    assert view.clocks.isVisible()
    assert not view.clocks.map.isVisible()
    assert view.line.text() == "step 100"
    view.player.set_position(4)  # of nine
    qtbot.waitUntil(lambda: shown() == {"one": 120, "two": 200})  # with the next frame
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert view.clocks.step.text() == "60"
    qtbot.waitUntil(lambda: shown() == {"one": 40, "two": 200})  # 20 and 100 are as far; the earlier one
    qtbot.keyClick(view, Qt.Key.Key_Up)
    qtbot.waitUntil(lambda: shown() == {"one": 40, "two": 160})
    assert "step 20 · t = 500" in view.comparison.cells[0].facts.text()
    view.show_choice.chosen.emit("x0")
    qtbot.waitUntil(lambda: shown() == {"one": 41, "two": 161})
    view.show_choice.chosen.emit("x")
    drawn: list[int] = []
    sheet = canvas.Sheet
    monkeypatch.setattr(canvas, "Sheet", lambda items: drawn.append(len(items)) or sheet(items))
    view.clock.first()
    view.comparison.grab()
    assert drawn == [4, 4], "what is shown is drawn, and nothing else"
    view.player.set_speed(4.0)
    view.player.set_loop(False)
    view.clock.play_training()
    qtbot.waitUntil(lambda: not view.player.playing and view.clock.row == 3)
    qtbot.waitUntil(lambda: shown() == {"one": 120, "two": 200})
    view.comparison.back.click()
    assert (view.player.tape, view.player.position) == (tape, position)
    assert not view.comparison.cells
    qtbot.waitUntil(lambda: view.clock.reel is window.controller.channels.reel)
    assert not view.clocks.isVisible()


def test_a_fork_is_faint_before_its_beginning(qtbot: QtBot, window: MainWindow) -> None:
    parent = a_run("parent", [a_row(step, shade=20) for step in (0, 100, 300)])
    fork = Run.create(find("pixel-faces"), runs_folder() / "fork", Parent(parent, 100, 100, 0.0))
    with fork.record(write=True) as record:
        for step in (0, 50):
            record.add_tape(a_row(step, shade=80), "preview")
    view = window.view
    choose(window, parent, fork.path)
    window.runs_panel.watch.click()
    qtbot.waitUntil(lambda: all_read(window, 4))
    own = next(cell for cell in view.comparison.cells if cell.run.before)  # type: ignore[attr-defined]

    def contrast() -> int:
        """Of a picture against the stage round it."""
        image = own.canvas.grab().toImage()
        picture = own.canvas.tiles()[0].center()  # type: ignore[attr-defined]
        return abs(image.pixelColor(picture).red() - image.pixelColor(3, image.height() // 2).red())

    view.clock.set_row(1)  # where it begins
    qtbot.waitUntil(lambda: "step 100 (0 since the fork)" in own.facts.text())
    there = contrast()
    view.clock.first()
    qtbot.waitUntil(lambda: own.facts.text() == "begins at step 100")
    assert "step 0" in next(cell for cell in view.comparison.cells if cell is not own).facts.text()
    assert 0 < contrast() < there / 2
    view.clock.set_row(1)
    qtbot.waitUntil(lambda: "since the fork" in own.facts.text())
    assert contrast() == there


def test_the_room_that_is_chosen_holds_for_all_that_are_watched(qtbot: QtBot, window: MainWindow) -> None:
    window.resize(1440, 900)
    paths = [a_run(name, [a_row(step) for step in (0, 20)]) for name in ("one", "two")]
    window.session.open_run(paths[0])
    qtbot.waitUntil(lambda: window.run is not None and not window.controller.busy)
    choose(window, *paths)
    window.runs_panel.watch.click()
    qtbot.waitUntil(lambda: all_read(window, 2))
    together = window.view.comparison.together
    assert together is not None
    qtbot.waitUntil(lambda: all(run.read.is_set() for run in together.runs))  # that in hand, too
    for megabytes in (64, 1024):
        window.view.clocks.cap_chosen.emit(megabytes)
        assert [run.reel.cap // MB for run in together.runs] == [megabytes] * 2
    assert together.kept == 4
    assert window.view.clocks.meter.isVisible()
    window.view.clocks.refresh()
    assert window.view.clocks.meter.text() == "0 of 2048 MB"
    window.view.clocks.cap_chosen.emit(256)


def test_a_run_in_training_grows_beside_another(qtbot: QtBot, window: MainWindow) -> None:
    other = a_run("other", [a_row(step, kind="points") for step in (0, 5, 1_000_000)], "moons")
    recipe = find("moons").with_settings(
        {
            "training.steps": 2_000_000,
            "training.batch": 32,
            "network.width": 16,
            "network.depth": 1,
            "preview.count": 16,
            "preview.steps": 4,
            "compute.threads": 1,
            "compute.device": "cpu",
        }
    )
    window.session.start(recipe)
    controller, view = window.controller, window.view
    qtbot.waitUntil(lambda: controller.state is State.TRAINING and bool(controller.channels.reel.rows))
    qtbot.waitUntil(lambda: view.player.tape is not None)  # what Back goes back to
    run = window.session.run
    assert run is not None
    choose(window, other, run.path)
    window.runs_panel._side_by_side.trigger()
    qtbot.waitUntil(lambda: view.clock.rows[-1:] != () and view.clock.steps[-1] == 1_000_000)
    assert view.comparison.back.text() == "Back to previews"
    rows = len(view.clock.rows)
    qtbot.waitUntil(lambda: len(view.clock.rows) > rows)
    qtbot.waitUntil(lambda: all(cell.tape.frames for cell in view.comparison.cells))
    own = next(cell for cell in view.comparison.cells if cell.run.reel is controller.channels.reel)  # type: ignore[attr-defined]
    qtbot.waitUntil(lambda: own.tape.training_step == controller.channels.reel.rows[-1].training_step)
    assert view.comparison.cells, "previews wait"
    view.comparison.back.click()
    assert view.stage.currentWidget() is view.points
    before = view.player.tape
    qtbot.waitUntil(lambda: view.player.tape is not before)  # previews go on
    assert view.clock.reel is controller.channels.reel
    assert view.clock.live


def test_what_cannot_be_watched_is_said_in_one_sentence(qtbot: QtBot, window: MainWindow) -> None:
    faces = a_run("faces", [a_row(0)])
    moons = a_run("moons", [a_row(0, kind="points")], "moons")
    young = a_run("young")
    told = window.banner.sentence
    for runs, sentence in (
        ((faces, moons), "learns points and"),
        ((faces, young), "has recorded no previews yet"),
    ):
        choose(window, *runs)
        window.runs_panel.watch.click()
        assert sentence in told.text()
        assert window.banner.isVisible()
        assert not window.view.comparison.cells
    choose(window, faces, a_run("others", [a_row(0)]))
    (faces / "recipe.toml").unlink()  # meanwhile
    window.runs_panel.watch.click()
    assert str(faces) in told.text()
    assert not window.view.comparison.cells


def test_two_to_four_runs_can_be_chosen(window: MainWindow) -> None:
    panel = window.runs_panel
    paths = [a_run(f"run-{i}", [a_row(0), a_row(9)]) for i in range(5)]
    for count in range(6):
        choose(window, *paths[:count])
        assert panel._side_by_side.isEnabled() == (2 <= count <= 4), count
        assert panel.watch.isVisible() == (count > 1), count
        assert panel.watch.isEnabled() == (2 <= count <= 4) or count < 2, count
    choose(window, *paths[:4])
    panel.watch.click()
    assert len(window.view.comparison.cells) == 4
    caps = [cell.run.reel.cap for cell in window.view.comparison.cells]  # type: ignore[attr-defined]
    assert sum(caps) <= Reel().cap
    window.session.choose(find("moons"))  # the stage is for something else
    window.view.set_tape(None)
    assert window.view.comparison.together is None


def test_what_is_opened_or_watched_has_the_keys(qtbot: QtBot, window: MainWindow) -> None:
    steps = (0, 7, 20)
    paths = [a_run(name, [a_row(step) for step in steps]) for name in ("a", "b")]
    listed(window)
    panel = window.runs_panel
    assert panel.model.shown is None
    with qtbot.waitActive(window):
        window.activateWindow()
    panel.view.setFocus()
    row = next(i for i, row in enumerate(panel.model.rows()) if row.path == paths[0])
    place = panel.view.visualRect(panel.model.index(row)).center()
    for click in (QTest.mouseClick, QTest.mouseDClick):
        click(panel.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: window.view.clock.steps == steps)
    assert window.view.hasFocus()
    qtbot.waitUntil(lambda: panel.model.shown == paths[0])
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Up)
    assert window.view.player.tape.training_step == 7
    choose(window, *paths)
    panel.view.setFocus()
    panel.watch.click()
    qtbot.waitUntil(lambda: all_read(window, 3))
    QTest.keyClick(window.focusWidget(), Qt.Key.Key_Up)
    assert window.view.clock.row < 2
    assert len(panel.chosen()) == 2, "the list stays as it is"
