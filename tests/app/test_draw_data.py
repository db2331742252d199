"""Drawing one's own data: the strokes, their file, the panel, and a run that learns what was drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ddpm_studio.app import draw_data
from ddpm_studio.app.draw_data import DrawPanel
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.recipe_editors import DRAW, SourceEditor
from ddpm_studio.app.theme import install
from ddpm_studio.data import DataError, drawing, open_dataset
from ddpm_studio.data.drawing import (
    LEARNT_LEAST,
    Drawing,
    drawn_files,
    drawn_folder,
    load_drawing,
    preset,
    save_drawing,
)
from ddpm_studio.data.points_file import read_points

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform
Key = Qt.Key
CONTROL, SHIFT, NONE = (
    Qt.KeyboardModifier.ControlModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.NoModifier,
)


def line(picture: Drawing, y: float, width: float = 0.1, **how: Any) -> None:
    """A stroke from left to right in a few moves."""
    picture.begin(-0.8, y, width, **how)
    for x in (-0.5, 0.0, 0.2, 0.8):
        picture.extend(x, y)
    picture.end()


# -- strokes


def test_a_stroke_sprays_evenly_within_the_brush() -> None:
    picture = Drawing()
    line(picture, 0.5)
    x, y, width = picture.dots.T
    assert len(x) == pytest.approx(drawing.DENSITY * (1.6 * 0.1 + np.pi / 4 * 0.01), rel=0.02)
    assert np.abs(y - 0.5).max() <= 0.05
    assert np.abs(x).max() <= 0.85
    assert set(width) == {0.1}
    counts, _ = np.histogram(x, bins=8, range=(-0.8, 0.8))
    assert counts.max() < 1.6 * counts.min()  # fast moves leave no gaps


def test_the_eraser_takes_only_what_is_under_it() -> None:
    picture = Drawing()
    line(picture, 0.5)
    before = len(picture.dots)
    picture.begin(0.0, 0.9, 0.2, erase=True)
    picture.extend(0.0, 0.1)
    picture.end()
    x = picture.dots[:, 0]
    assert np.abs(x).min() > 0.1
    assert 0.7 * before < len(x) < before
    picture.begin(0.0, -0.9, 0.2, erase=True)  # nothing there: no step to undo
    picture.end()
    picture.undo()
    assert len(picture.dots) == before


@pytest.mark.parametrize(("mirror", "axis"), [("left-right", 0), ("up-down", 1)])
def test_a_mirror_draws_and_erases_twice(mirror: str, axis: int) -> None:
    picture = Drawing()
    picture.begin(0.5, 0.5, 0.1, mirror=mirror)
    picture.end()
    signs = np.sign(picture.dots[:, axis])
    assert (signs > 0).sum() == (signs < 0).sum() > 20
    picture.begin(0.5, 0.5, 0.3, erase=True, mirror=mirror)
    picture.end()
    assert not len(picture.dots)


def test_every_step_can_be_undone_and_done_again() -> None:
    picture = Drawing()
    steps = [
        lambda: line(picture, 0.5),
        lambda: line(picture, 0.0, erase=False, mirror="up-down"),
        lambda: picture.add(preset("moons")),
        lambda: picture.move(0.05, -0.05),
        lambda: picture.scale(0.5),
        lambda: picture.fit(),
        lambda: picture.clear(),
    ]
    states = [picture.dots]
    for step in steps:
        step()
        states.append(picture.dots)
    assert all(len(a) != len(b) or not np.array_equal(a, b) for a, b in pairwise(states))
    for state in states[-2::-1]:
        picture.undo()
        np.testing.assert_array_equal(picture.dots, state)
    assert not picture.can_undo
    for state in states[1:]:
        picture.redo()
        np.testing.assert_array_equal(picture.dots, state)
    assert not picture.can_redo
    picture.undo()
    line(picture, -0.9)
    assert not picture.can_redo  # another way was taken


def test_the_canvas_bounds_what_is_on_it() -> None:
    picture = Drawing()
    picture.begin(0.99, 0.99, 0.6)
    for _ in range(200):
        picture.extend(-0.99, 0.99)
        picture.extend(0.99, -0.99)
    picture.end()
    assert picture.full
    assert len(picture.dots) == drawing.MOST
    picture.move(0.5, 0.5)
    picture.scale(3.0)
    assert np.abs(picture.dots[:, :2]).max() <= 1


# -- files


def test_a_drawing_is_kept_learnt_and_gone_on_with(tmp_path: Path) -> None:
    picture = Drawing()
    line(picture, 0.5)
    path = save_drawing(picture, "a/b: face?")
    assert path == drawn_folder() / "a-b- face-.npz"
    again = load_drawing(path)
    np.testing.assert_array_equal(again.dots, picture.dots)
    points = read_points(path)
    assert len(points) == LEARNT_LEAST  # few dots become a density
    assert np.abs(points[:, 1] - 0.5).max() <= 0.05 + 0.025
    assert len(np.unique(points, axis=0)) == LEARNT_LEAST
    assert open_dataset(str(path)).kind == "points"
    line(again, -0.5)
    second = save_drawing(again, "a/b: face?")
    assert {each.name for each in drawn_folder().iterdir()} == {path.name, second.name}  # and nothing beside them
    assert second.stem == "a-b- face- 2"  # a run may have learnt the first
    assert len(read_points(path)) == LEARNT_LEAST
    assert set(drawn_files()) == {path, second}


def test_a_drawing_that_was_made_large_opens_again() -> None:
    picture = Drawing()
    picture.begin(0.0, 0.0, 1.2)
    picture.end()
    picture.replace(picture.dots[np.linalg.norm(picture.dots[:, :2], axis=1) < 0.1])
    picture.fit()
    assert picture.dots[:, 2].max() == drawing.WIDEST
    path = save_drawing(picture, "large")
    np.testing.assert_array_equal(load_drawing(path).dots, picture.dots)
    with np.load(path) as file:
        points = file["points"]
    odd = np.where(np.arange(len(picture.dots)) % 2, 9.6, np.nan)  # as the program once kept them
    np.savez(path, points=points, dots=np.column_stack([picture.dots[:, :2], odd]))
    again = load_drawing(path)
    assert set(again.dots[:, 2]) == {0.0, drawing.WIDEST}
    assert np.isfinite(again.points()).all()


def test_points_of_any_file_can_be_gone_on_with(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    np.save(tmp_path / "mine.npy", points)
    np.testing.assert_array_equal(load_drawing(tmp_path / "mine.npy").dots, np.column_stack([points, np.zeros(100)]))


def test_too_little_and_what_is_no_drawing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="only 0 points"):
        save_drawing(Drawing(), "nothing")
    assert not drawn_files()
    path = tmp_path / "far.npz"
    np.savez(path, points=np.arange(200.0).reshape(100, 2))
    with pytest.raises(DataError, match="off the canvas"):
        load_drawing(path)
    drawn_folder().parent.mkdir(parents=True)
    drawn_folder().write_text("a file in the way")
    picture = Drawing()
    line(picture, 0.0)
    with pytest.raises(DataError, match="cannot be written"):
        save_drawing(picture, "x")


# -- the panel


@pytest.fixture
def panel(qtbot: QtBot, qapp: QApplication) -> DrawPanel:
    install(qapp)
    panel = DrawPanel()
    qtbot.addWidget(panel)
    panel.resize(420, 640)
    panel.show()
    return panel


def drag(panel: DrawPanel, *places: tuple[float, float]) -> None:
    """With the mouse, between places on the canvas of -1 … 1."""
    square = panel.canvas.square()
    half = square.width() / 2
    spots = [QPoint(round(square.center().x() + x * half), round(square.center().y() - y * half)) for x, y in places]
    QTest.mousePress(panel.canvas, Qt.MouseButton.LeftButton, pos=spots[0])
    for spot in spots[1:]:
        QTest.mouseMove(panel.canvas, spot)
    QTest.mouseRelease(panel.canvas, Qt.MouseButton.LeftButton, pos=spots[-1])


def child(panel: DrawPanel, name: str) -> Any:
    found = panel.findChild(object, f"draw.{name}")
    assert found is not None, name
    return found


def test_painting_with_the_mouse_and_the_tools(panel: DrawPanel, qtbot: QtBot) -> None:
    assert not panel.use.isEnabled()
    empty = panel.grab().toImage()
    drag(panel, (-0.5, 0.5), (0.0, 0.5), (0.5, 0.5))
    dots = panel.canvas.drawing.dots
    assert np.abs(dots[:, 1] - 0.5).max() < 0.08
    assert panel.count.text().startswith(f"{len(dots):,}")
    assert panel.grab().toImage() != empty
    assert panel.use.isEnabled()

    qtbot.mouseClick(panel.tool.findChild(object, "eraser"), Qt.MouseButton.LeftButton)
    panel.width_slider.setValue(40)
    drag(panel, (-0.5, 0.5), (0.5, 0.5))
    assert not len(panel.canvas.drawing.dots)
    for name, left in (("undo", len(dots)), ("redo", 0), ("undo", len(dots)), ("clear", 0)):
        qtbot.mouseClick(child(panel, name), Qt.MouseButton.LeftButton)
        assert len(panel.canvas.drawing.dots) == left, name


def test_the_keyboard_can_do_it_all(panel: DrawPanel, qtbot: QtBot) -> None:
    canvas = panel.canvas
    qtbot.keyClick(canvas, Key.Key_Up)
    assert not len(canvas.drawing.dots)  # the brush is not down yet
    for key in (Key.Key_Space, *[Key.Key_Right] * 6, Key.Key_Space, Key.Key_Up):
        qtbot.keyClick(canvas, key)
    x, y = canvas.drawing.dots[:, :2].T
    assert (x.min(), x.max()) == pytest.approx((0, 0.3), abs=0.065)
    assert np.abs(y - 0.05).max() <= 0.061
    qtbot.keyClick(canvas, Key.Key_Left, CONTROL | SHIFT)
    assert canvas.drawing.dots[:, 0] == pytest.approx(x - 0.01)
    qtbot.keyClick(canvas, Key.Key_Z, CONTROL)
    assert canvas.drawing.dots[:, 0] == pytest.approx(x)
    qtbot.keyClick(canvas, Key.Key_Z, CONTROL)
    assert not len(canvas.drawing.dots)
    qtbot.keyClick(canvas, Key.Key_Z, CONTROL | SHIFT)
    assert len(canvas.drawing.dots) == len(x)
    with qtbot.waitSignal(panel.closed):
        qtbot.keyClick(canvas, Key.Key_Escape)


def test_the_brush_is_set_with_all_arrows(panel: DrawPanel, qtbot: QtBot) -> None:
    slider = panel.width_slider
    before = slider.value()
    qtbot.keyClick(slider, Key.Key_Up)
    assert slider.value() == before + 1
    qtbot.keyClick(slider, Key.Key_Left)
    assert slider.value() == before


def test_dots_are_drawn_anew_only_when_they_are_others(panel: DrawPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    make = draw_data.Particles
    monkeypatch.setattr(draw_data, "Particles", lambda *a: drawn.append(len(a[0])) or make(*a))
    drag(panel, (-0.5, 0.5), (0.5, 0.5))
    panel.canvas.grab()
    drawn.clear()
    QTest.mouseMove(panel.canvas, QPoint(30, 30))
    panel.canvas.grab()
    assert not drawn
    panel.canvas.drawing.undo()
    panel.canvas.drawing.redo()
    panel.canvas.touch()
    panel.canvas.grab()
    assert drawn == [len(panel.canvas.drawing.dots)]


def test_a_built_in_set_is_a_start(panel: DrawPanel) -> None:
    panel.start_from.activated.emit(panel.start_from.findData("dino"))
    assert len(panel.canvas.drawing.dots) > 3000
    assert panel.start_from.currentText() == "Start from…"
    assert not panel.start_from.findData("fashion-mnist") >= 0  # pictures are no points


# -- in the window


@pytest.mark.usefixtures("no_leaks")
def test_what_was_drawn_is_learnt(window: MainWindow, qtbot: QtBot) -> None:
    editor = window.form.findChild(SourceEditor)
    assert editor is not None
    editor.activated.emit(editor.findData(DRAW))
    panel = window.draw_data.panel
    assert panel is not None
    assert panel.isVisible()
    assert not window.view.isVisible()
    drag(panel, (-0.6, 0.4), (0.0, -0.4), (0.6, 0.4))
    panel.name.setText("my V")
    qtbot.mouseClick(panel.use, Qt.MouseButton.LeftButton)
    assert window.view.isVisible()
    assert not panel.isVisible()
    assert (window.recipe.title, window.recipe.network.kind) == ("my V", "point-mlp")
    assert Path(window.recipe.data.source) == (drawn_folder() / "my V.npz").resolve()
    qtbot.waitUntil(lambda: window.dataset is not None and window.dataset.name == "my V.npz")

    window.actions_by_id["data.draw"].trigger()  # to go on with it
    assert panel.isVisible()
    assert len(panel.canvas.drawing.dots) > 300
    window.actions_by_id["help.walk"].trigger()
    assert not panel.isVisible()
    window.actions_by_id["data.draw"].trigger()
    assert panel.isVisible()
    assert not window.walking.open
    assert len(panel.canvas.drawing.dots) > 300

    window.start(window.recipe.with_settings({"training.steps": 30, "preview.count": 50, "compute.device": "cpu"}))
    assert not panel.isVisible()
    qtbot.waitUntil(lambda: not window.controller.busy)
    assert not window.failures
    qtbot.waitUntil(lambda: window.view.player.tape is not None and window.view.player.tape.kind == "points")


@pytest.mark.usefixtures("no_leaks")
def test_an_undo_on_the_canvas_is_not_the_recipes(window: MainWindow, qtbot: QtBot) -> None:
    batch = window.recipe.training.batch
    window.session.on_recipe_edited(window.recipe.with_settings({"training.batch": 48}))
    window.actions_by_id["data.draw"].trigger()
    panel = window.draw_data.panel
    assert panel is not None
    with qtbot.waitActive(window):
        window.activateWindow()
    drag(panel, (-0.6, 0.4), (0.6, 0.4))
    panel.canvas.setFocus()
    dots = len(panel.canvas.drawing.dots)
    for key, modifiers, left in ((Key.Key_Z, CONTROL, 0), (Key.Key_Z, CONTROL | SHIFT, dots)) * 2:
        QTest.keyClick(panel.canvas, key, modifiers)
        assert (len(panel.canvas.drawing.dots), window.recipe.training.batch) == (left, 48)
    window.draw_data.leave()
    QTest.keyClick(window.view, Key.Key_Z, CONTROL)
    assert window.recipe.training.batch == batch


@pytest.mark.usefixtures("no_leaks")
def test_a_points_file_that_is_opened_is_the_data(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    path = tmp_path / "ring.csv"
    angle = np.linspace(0, 6.28, 300)
    np.savetxt(path, np.stack([np.cos(angle), np.sin(angle)], axis=1), delimiter=",", header="x,y", comments="")
    window.open_path(path)
    qtbot.waitUntil(lambda: window.dataset is not None and window.dataset.name == "ring.csv")
    assert window.recipe.title == "ring"
