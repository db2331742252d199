"""The stage, the centre of the window around it, and the panel of what the network sees."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage

from ddpm_studio.app.canvas import Particles, PictureCanvas, PointCanvas, grid_tiles
from ddpm_studio.app.data_panel import DataPanel, as_seen, as_shown
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.theme import color, theme
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform


def shown(qtbot, widget, width: int, height: int):
    qtbot.addWidget(widget)
    widget.resize(width, height)
    with qtbot.waitExposed(widget):
        widget.show()
    return widget


def pictures(*shades: int, size: int = 8, channels: int = 1) -> np.ndarray:
    return np.stack([np.full((size, size, channels), shade, np.uint8) for shade in shades])


def at(image: QImage, spot: QPoint) -> tuple[int, int, int]:
    return QColor(image.pixel(spot)).getRgb()[:3]


# -- where pictures go


@given(
    width=st.integers(60, 2000),
    height=st.integers(60, 1500),
    count=st.integers(1, 100),
    side=st.integers(4, 64),
    gap=st.integers(0, 8),
)
def test_tiles_are_equal_apart_and_inside(width, height, count, side, gap):
    tiles = grid_tiles(width, height, count, (side, side), gap)
    assert len(tiles) == count
    assert len({(tile.width(), tile.height()) for tile in tiles}) == 1
    if tiles[0].width() > 1:  # else there is no room for so many
        assert all(t.left() >= 0 and t.right() < width and t.top() >= 0 and t.bottom() < height for t in tiles)
    assert not any(a.intersects(b) for i, a in enumerate(tiles) for b in tiles[:i])


def test_tiles_fill_the_room_and_prefer_full_rows():
    columns = {tile.left() for tile in grid_tiles(800, 560, 36, (28, 28), 8)}
    assert len(columns) == 6
    assert len({tile.left() for tile in grid_tiles(800, 100, 8, (28, 28), 8)}) == 8
    assert len({tile.left() for tile in grid_tiles(100, 800, 8, (28, 28), 8)}) == 1
    assert grid_tiles(300, 300, 1, (28, 28), 8)[0].width() == 280  # a whole multiple


# -- pictures


def test_pictures_are_shown_exactly(qtbot):
    canvas = shown(qtbot, PictureCanvas(), 400, 300)
    colours = np.array([[250, 10, 20], [10, 240, 30], [5, 20, 230], [0, 0, 0]], np.uint8)
    items = np.broadcast_to(colours[:, None, None, :], (4, 6, 6, 3)).copy()
    items[3, :, 3:] = 255  # right half white: nearest neighbour keeps the edge hard
    canvas.set_frame(Frame(0, 500, items))
    image, tiles = canvas.grab().toImage(), canvas.tiles()
    assert [at(image, tile.center()) for tile in tiles[:3]] == [(250, 10, 20), (10, 240, 30), (5, 20, 230)]
    row = {at(image, QPoint(x, tiles[3].center().y())) for x in range(tiles[3].left(), tiles[3].right() + 1)}
    assert row == {(0, 0, 0), (255, 255, 255)}


def test_estimates_are_shown_instead_and_the_start_shows_x(qtbot):
    canvas = shown(qtbot, PictureCanvas(), 200, 200)
    frame = Frame(1, 10, pictures(100), pictures(200), pictures(30))
    for show, shade in (("x", 100), ("x0", 200), ("eps", 30)):
        canvas.set_frame(frame, show)
        assert at(canvas.grab().toImage(), canvas.tiles()[0].center()) == (shade,) * 3
    canvas.set_frame(Frame(0, 10, pictures(77)), "x0")
    assert at(canvas.grab().toImage(), canvas.tiles()[0].center()) == (77,) * 3


def test_a_frame_may_go_away_while_it_is_shown(qtbot):
    canvas = shown(qtbot, PictureCanvas(), 200, 200)
    items = pictures(90)
    canvas.set_frame(Frame(0, 1, items))
    canvas.grab()
    items[:] = 0  # the canvas has its own pixels
    assert at(canvas.grab().toImage(), canvas.tiles()[0].center()) == (90,) * 3


def test_click_chooses_and_hover_names_a_picture(qtbot):
    canvas = shown(qtbot, PictureCanvas(), 400, 300)
    canvas.set_frame(Frame(0, 500, pictures(0, 0, 0, 0)))
    tile = canvas.tiles()[2]
    with qtbot.waitSignal(canvas.picture_chosen) as caught:
        qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=tile.center())
    assert caught.args == [2]
    assert at(canvas.grab().toImage(), QPoint(tile.center().x(), tile.top() - 1)) == color("accent").getRgb()[:3]
    before = canvas.grab().toImage()
    qtbot.mouseMove(canvas, canvas.tiles()[0].center())
    assert canvas.grab().toImage() != before
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=tile.center())
    assert canvas.chosen == -1


# -- points


def test_particles_lie_where_their_points_are():
    points = np.array([[0, 0], [1, -0.5], [50, 50], [np.nan, 0]], np.float32)
    cloud = Particles(points, 200, 100, 40.0, 2.0, QColor(10, 20, 30))
    alpha = cloud.pixels >> 24
    assert alpha[50, 100] > 200  # the origin in the centre
    assert alpha[70, 140] > 200  # y upwards
    assert 0 < (alpha > 0).sum() < 80  # and nothing else


def test_particles_reach_over_the_border():
    cloud = Particles(np.array([[-1.0, 1.0], [1.0, -1.0]]), 80, 80, 40.0, 3.0, QColor(0, 0, 0))
    corners = cloud.pixels[[0, 79, 0], [0, 79, 79]] > 0
    assert corners.tolist() == [True, True, False]


def test_density_adds_up():
    faint = QColor(255, 255, 255, 60)
    once, often = (Particles(np.zeros((n, 2)), 20, 20, 1.0, 2.0, faint).pixels[10, 10] >> 24 for n in (1, 5))
    assert 40 < once < 80 < 150 < often < 255


def test_points_over_data(qtbot):
    canvas = shown(qtbot, PointCanvas(), 300, 300)
    cloud = Frame(3, 9, np.array([[1.0, 1.0]], np.float32))
    canvas.set_frame(cloud)
    alone = canvas.grab().toImage()
    canvas.set_data(np.full((50, 2), -1.0, np.float32))
    both = canvas.grab().toImage()
    unit = 150 / canvas.view_range
    particle = QPoint(round(150 + unit), round(150 - unit))
    data = QPoint(round(150 - unit), round(150 + unit))
    assert at(both, particle) == at(alone, particle) != at(alone, QPoint(20, 20))
    assert at(both, data) != at(alone, data)
    canvas.set_data(np.array([[9.0, 0.0]], np.float32))
    assert canvas.view_range > 9


# -- the view


def make_tape(shade: int = 128, count: int = 5, kind: str = "pictures") -> Tape:
    tape = Tape(kind, 1000, 5, training_step=1284, sampler="DDIM, 4 steps")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    for i, t in enumerate((1000, 750, 500, 250, 0)[:count]):
        if kind == "points":
            tape.frames.append(Frame(i, t, rng.normal(size=(40, 2)).astype(np.float32)))
        else:
            tape.frames.append(Frame(i, t, pictures(*[shade] * 9), pictures(*[255] * 9), pictures(*[1] * 9)))
    return tape


@pytest.fixture
def view(qtbot) -> ReverseView:
    return shown(qtbot, ReverseView(), 840, 760)


def test_below_a_grid_stands_what_all_cells_share(view):
    view.set_tape(make_tape())
    few, many, raw = make_tape(), make_tape(), make_tape()
    few.sampler = many.sampler = raw.sampler = "ddim"
    few.frames[-1] = replace(few.frames[-1], index=3)
    raw.weights = "raw"
    view.compare([make_tape(count=0), make_tape(count=0)], (4, 4))
    assert view.line.text() == "", "the process before is not in the grid"
    view.compare([few, many])
    assert view.line.text() == "step 1,284 · t = 0 · DDIM · EMA weights"
    assert not view.four_button.isEnabled()
    view.compare([many, raw])
    view.player.set_tape(raw)
    assert view.line.text() == "step 1,284 · t = 0 · DDIM, 4 steps"
    view.leave_comparison()
    assert view.line.text() == "step 1,284 · t = 0 · DDIM, 4 steps · EMA weights"
    assert view.four_button.isEnabled()


def test_an_empty_stage_says_what_will_appear(view):
    assert view.pictures._hint.isVisible()
    view.set_hint("Choose a run.")
    assert view.pictures._hint.text() == "Choose a run."
    view.set_tape(make_tape())
    assert not view.pictures._hint.isVisible()
    view.set_tape(None)
    assert view.pictures._hint.isVisible()


def test_it_tells_what_is_shown(qtbot, view):
    with qtbot.waitSignal(view.level_changed) as caught:
        view.set_tape(make_tape())
    assert caught.args[0] == 0
    assert caught.args[1] is view.player.frame
    assert view.line.text() == "step 1,284 · t = 0 · DDIM, 4 steps · EMA weights"
    with qtbot.waitSignal(view.level_changed) as caught:
        view.player.set_position(1)
    assert caught.args[0] == 750


def test_without_an_average_the_weights_are_raw_and_there_is_no_choice(view):
    view.set_tape(make_tape())
    view.set_averaged(False)
    assert view.line.text().endswith(" · raw weights")
    assert not view.weights_choice.isVisible()
    view.set_averaged(True)
    assert view.line.text().endswith(" · EMA weights")
    assert view.weights_choice.isVisible()


def test_the_weights_are_told_of_the_row_that_is_shown(view):
    reel = Reel()
    for step, averaged in ((100, True), (200, False), (300, True)):
        tape = make_tape()
        tape.training_step, tape.averaged = step, averaged
        reel.add(tape)
    view.set_reel(reel)
    view.clock.settle()
    for now in (True, False):
        view.set_averaged(now)  # the EMA's decay is changed, and that is undone
        for row, averaged in enumerate((True, False, True)):
            view.clock.set_row(row)
            assert view.weights_choice.isVisible() == averaged
            assert view.line.text().endswith(" · EMA weights" if averaged else " · raw weights")
    sample = make_tape()
    sample.weights = "raw"
    view.set_tape(sample)
    assert view.weights_choice.value() == "raw"
    view.clock.last()
    assert view.weights_choice.value() == "ema"


def test_the_sampler_is_called_as_in_the_form(view):
    tape = make_tape()
    tape.sampler = "dpmpp-2m"
    view.set_tape(tape)
    assert view.line.text() == "step 1,284 · t = 0 · DPM-Solver++, 4 steps · EMA weights"


@pytest.mark.parametrize(("kind", "end"), [("points", "data x_0"), ("pictures", "picture x_0")])
def test_the_end_of_the_timeline_is_what_is_learnt(view, kind, end):
    view.set_tape(make_tape(kind=kind))
    assert view.timeline._ends[1].text() == end


def test_show_and_weights_are_chosen(qtbot, view):
    view.set_tape(make_tape(shade=128))
    spot = view.pictures.tiles()[4].center()
    with qtbot.waitSignal(view.show_chosen) as caught:
        qtbot.mouseClick(view.show_choice.findChild(object, "x0"), Qt.MouseButton.LeftButton)
    assert caught.args == ["x0"]
    assert at(view.pictures.grab().toImage(), spot) == (255,) * 3
    view.player.set_position(2)  # the choice stays
    assert at(view.pictures.grab().toImage(), spot) == (255,) * 3
    with qtbot.waitSignal(view.weights_chosen) as caught:
        qtbot.mouseClick(view.weights_choice.findChild(object, "raw"), Qt.MouseButton.LeftButton)
    assert caught.args == ["raw"]


def test_points_and_pictures_each_have_their_canvas(view):
    view.set_tape(make_tape(kind="points"))
    assert view.stage.currentWidget() is view.points
    assert view.points.isVisible()
    view.set_data_points(np.full((5, 2), 8, np.float32))
    view.set_tape(make_tape())
    assert view.stage.currentWidget() is view.pictures


def test_keys_work_from_the_stage(qtbot, view):
    view.set_tape(make_tape())
    qtbot.keyClick(view.pictures, Qt.Key.Key_Home)
    assert view.player.position == 0
    qtbot.keyClick(view.pictures, Qt.Key.Key_Right)
    assert view.player.position == 1


def test_a_recording_is_named(view):
    assert not view.note.isVisible()
    view.set_note("A recording: 4,000 steps")
    assert view.note.isVisible()
    assert view.note.text() == "A recording: 4,000 steps"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_theme(qtbot, view, scheme):
    view.set_tape(make_tape())
    theme().prefer(scheme)
    qtbot.wait(1)  # palettes travel by posted events
    image = view.grab().toImage()
    stage = view.stage.mapTo(view, QPoint(view.stage.width() // 2, 6))
    assert at(image, stage) == color("stage").getRgb()[:3]
    assert at(image, QPoint(3, 3)) == color("window").getRgb()[:3]
    theme().prefer("system")


@pytest.mark.parametrize("size", [(472, 560), (840, 760)])
def test_it_fits(view, size):
    view.set_tape(make_tape())
    view.set_caption("same 36 noises, seed 0")
    view.resize(*size)
    assert (view.width(), view.height()) == size
    for part in (view.title, view.show_choice, view.weights_choice, view.stage, view.line, view.timeline):
        box = part.geometry()
        assert box.left() >= 0
        assert box.right() < size[0]
        assert box.width() >= part.minimumSizeHint().width()
    assert view.stage.height() > size[1] // 2


# -- the data panel


@dataclass(frozen=True)
class Data:
    """What the panel reads of a dataset."""

    kind: str
    train: Any
    classes: tuple[str, ...] = field(default=())


@pytest.fixture
def panel(qtbot) -> DataPanel:
    return shown(qtbot, DataPanel(), 300, 640)


@pytest.mark.parametrize("value_range", ["-1..1", "0..1"])
def test_value_ranges_go_there_and_back(value_range):
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    seen = as_seen(every, value_range)
    assert (seen.min(), seen.max()) == ((-1, 1) if value_range == "-1..1" else (0, 1))
    np.testing.assert_array_equal(as_shown(seen, value_range), every)
    assert as_shown(np.array([-5.0, 5.0]), value_range).tolist() == [0, 255]


def test_the_items_and_their_facts(panel):
    assert panel.pictures._hint.isVisible()
    panel.set_dataset(Data("pictures", pictures(*[60] * 1200, channels=3), ("hat", "shoe")))
    facts = {key: value.text() for key, value in panel._facts.items()}
    assert facts == {
        "count": "1,200",
        "size": "8 × 8 px",
        "channels": "3, colour",
        "range": "-1 … 1",
        "classes": "2",
    }
    panel.set_value_range("0..1")
    assert panel._facts["range"].text() == "0 … 1"
    image = panel.pictures.grab().toImage()
    assert len(panel.pictures.tiles()) == 16
    assert {at(image, tile.center()) for tile in panel.pictures.tiles()} == {(60, 60, 60)}


def test_noise_is_added_with_the_numbers_of_the_schedule(qtbot, panel):
    schedule = NoiseSchedule.linear()
    panel.set_dataset(Data("pictures", pictures(*[255] * 20)))
    panel.set_schedule(schedule)
    assert panel.equation.text() == "x_t = 1.000 x_0 + 0.000 ε"
    assert "∞" in panel.snr.text()
    with qtbot.waitSignal(panel.level_changed) as caught:
        panel.slider.setValue(170)
    assert caught.args == [170]
    assert panel.equation.text() == "x_t = 0.859 x_0 + 0.512 ε"
    assert panel._level.text() == "t = 170"
    expected = as_shown(schedule.add_noise(panel._x0, 170, panel._eps), "-1..1")
    np.testing.assert_array_equal(panel.pictures._items, expected)
    with qtbot.assertNotEmitted(panel.level_changed):
        panel.set_level(20)
    assert panel._level.text() == "t = 20"


def test_shuffle_shows_others(qtbot, panel):
    panel.set_dataset(Data("pictures", pictures(*range(200))))
    before = panel.pictures._items
    qtbot.mouseClick(panel.shuffle, Qt.MouseButton.LeftButton)
    assert not np.array_equal(before, panel.pictures._items)


def test_points_and_none(panel):
    rng = np.random.default_rng(0)
    panel.set_dataset(Data("points", rng.normal(size=(3000, 2)).astype(np.float32)))
    assert panel.stage.currentWidget() is panel.points
    assert panel._facts["size"].text() == "2 coordinates"
    panel.set_schedule(NoiseSchedule.cosine(100))
    panel.slider.setValue(100)
    panel.set_dataset(None)
    assert panel.pictures._hint.isVisible()
    assert not panel.shuffle.isEnabled()
