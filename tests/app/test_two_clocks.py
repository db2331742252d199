"""Training time and diffusion time: which row is shown, what plays, and the map on which both are dragged."""

from __future__ import annotations

from threading import Event

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest

from ddpm_studio.app.cell_map import CELL, shown_rows
from ddpm_studio.app.jobs import Channels
from ddpm_studio.app.playback import HOLD, RATE, Player
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.stage import read_unless
from ddpm_studio.app.two_clocks import CAPS, MB, ROW_RATE, TrainingClock, cap_of
from ddpm_studio.diffusion.reel import CAP, Reel, frame_at
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.recipes import find
from ddpm_studio.store import Run
from ddpm_studio.training.events import Started, TapeFinished

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform

LEVELS = (1000, 750, 500, 250, 0)
STEPS = (0, 10, 40, 100, 300)


def a_row(step: int, *, kind: str = "pictures", weights: str = "ema", frames: int = len(LEVELS)) -> Tape:
    tape = Tape(kind, 1000, len(LEVELS), "", step, weights, "ddim")  # type: ignore[arg-type]
    for i in range(frames):
        x = np.full((4, 8, 8, 1), 50 * i, np.uint8) if kind == "pictures" else np.full((9, 2), 0.1 * i, np.float32)
        tape.frames.append(Frame(i, LEVELS[i], x, x if i else None, x if i else None))
    return tape


def a_reel(kind: str = "pictures", steps: tuple[int, ...] = STEPS) -> Reel:
    reel = Reel()
    for step in steps:
        reel.add(a_row(step, kind=kind))
    return reel


class Watch:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def player(qapp, watch) -> Player:
    return Player(seconds=watch)


@pytest.fixture
def clock(player) -> TrainingClock:
    clock = TrainingClock(player)
    clock.row_wanted.connect(lambda tape, at: player.set_tape(tape) if at < 0 else player.show(tape, at))
    clock.set_reel(a_reel())
    player.set_tape(clock.rows[-1])
    return clock


def step_shown(player: Player) -> int | None:
    return player.tape.training_step if player.tape else None


# -- the clock


def test_a_row_changes_and_the_level_stays(player, clock):
    assert (clock.row, clock.live) == (4, True)
    player.set_position(2)
    clock.earlier()
    assert (step_shown(player), player.frame.t) == (100, 500)
    assert not clock.live
    clock.first()
    assert (step_shown(player), player.frame.t, clock.row) == (0, 500, 0)
    clock.earlier()
    assert clock.row == 0, "there is nothing before"
    clock.later()
    assert step_shown(player) == 10
    clock.last()
    assert (step_shown(player), player.frame.t, clock.live) == (300, 500, True)


def test_a_parked_clock_holds_what_comes_and_a_live_one_does_not(player, clock):
    growing = a_row(400, frames=1)
    assert not clock.holds(growing)
    clock.set_row(1)
    assert clock.holds(growing)
    assert not clock.holds(a_row(400, weights="raw")), "a person asked for other weights: they are to be seen"
    clock.reel.add(a_row(400))
    clock.set_reel(clock.reel)
    assert (clock.row, clock.steps[-1], step_shown(player)) == (1, 400, 10)
    clock.last()
    assert not clock.holds(growing)


def test_rows_that_are_thinned_out_leave_the_place_where_it_is(player, clock):
    clock.set_row(3)
    clock.reel.cap = clock.reel.nbytes * 3 // 10  # narrowed to three fifths, they are still too much
    clock.set_reel(clock.reel)
    assert clock.steps == (0, 40, 300)
    assert (clock.row, step_shown(player)) == (1, 100), "the row nearest to what is shown"


def test_samples_are_no_row_and_another_run_is_live_again(player, clock):
    clock.set_row(1)
    sample = a_row(300)
    sample.seed = 7
    player.set_tape(sample)
    assert clock.row == -1
    clock.earlier()
    assert step_shown(player) == 300, "from nowhere to the newest row"
    clock.set_row(0)
    clock.set_reel(a_reel(steps=(0, 5)))
    assert clock.live


def test_both_clocks_at_once(player, clock):
    changes = []
    player.frame_changed.connect(lambda: changes.append(player.frame))
    clock.set_cell(2, 0.5)
    assert (step_shown(player), player.frame.t, player.following) == (40, 500, False)
    assert len(changes) == 1, "one frame is shown, not one for each clock"
    clock.set_cell(2, 1.0)
    assert (player.frame.t, player.following) == (0, True)


# -- play


def run(player, clock, watch, seconds: float, each: float = 1 / 30) -> list[tuple[int | None, int]]:
    seen = []
    for _ in range(round(seconds / each)):
        watch.now += each
        clock.poll()
        player.poll()
        seen.append((step_shown(player), player.position))
    return seen


def test_training_plays_at_one_level_and_ends(player, clock, watch):
    player.set_position(2)
    clock.play_training()
    seen = run(player, clock, watch, len(STEPS) / ROW_RATE + 0.3)
    assert list(dict.fromkeys(step for step, _ in seen)) == list(STEPS), "every row, from the first"
    assert {position for _, position in seen} == {2}
    assert not player.playing


def test_both_play_to_their_ends(player, clock, watch):
    player.set_plays("both")
    player.play()
    seen = run(player, clock, watch, max(len(STEPS) / ROW_RATE, len(LEVELS) / RATE) + 0.3)
    assert list(dict.fromkeys(step for step, _ in seen)) == list(STEPS)
    positions = [position for _, position in seen]
    assert positions == sorted(positions)
    assert positions[0] == 0
    assert positions[-1] == len(LEVELS) - 1
    assert not player.playing


def test_a_loop_goes_on(player, clock, watch):
    player.set_plays("both")
    player.set_loop(True)
    player.play()
    seen = run(player, clock, watch, 2 * (len(STEPS) + HOLD) / ROW_RATE)
    assert [s for s, _ in seen].count(0) > 2
    assert player.playing
    clock.set_row(1)
    assert not player.playing, "a person took the clock"


def test_play_moves_diffusion_time_alone_by_default(player, clock, watch):
    player.play()
    seen = run(player, clock, watch, 1.0)
    assert {step for step, _ in seen} == {300}
    assert seen[-1] == (300, len(LEVELS) - 1)


def test_with_one_row_there_is_no_training_to_play(player, clock, watch):
    clock.set_reel(a_reel(steps=(3,)))
    clock.play_training()
    run(player, clock, watch, 0.1)
    assert not player.playing


# -- what is seen


@pytest.fixture
def view(qtbot) -> ReverseView:
    view = ReverseView()
    qtbot.addWidget(view)
    view.resize(900, 700)
    with qtbot.waitExposed(view):
        view.show()
    return view


def fill(view: ReverseView, kind: str = "pictures") -> None:
    view.clock.set_reel(a_reel(kind))
    view.set_tape(view.clock.rows[-1])
    QTest.qWait(20)


def at(view: ReverseView, row: int, share: float) -> QPoint:
    return view.clocks.map.centre(row, share).toPoint()


@pytest.mark.parametrize("kind", ["pictures", "points"])
def test_the_map_takes_both_clocks_where_it_is_pressed_and_dragged(qtbot, view, kind):
    assert not view.clocks.isVisible(), "nothing is recorded yet"
    fill(view, kind)
    assert view.clocks.map.isVisible()
    qtbot.mousePress(view.clocks.map, Qt.MouseButton.LeftButton, pos=at(view, 1, 0.5))
    assert (view.player.tape.training_step, view.player.frame.t) == (10, 500)
    assert view.line.text().startswith("step 10 · t = 500")
    qtbot.mouseMove(view.clocks.map, at(view, 3, 0.0))
    qtbot.mouseRelease(view.clocks.map, Qt.MouseButton.LeftButton, pos=at(view, 3, 0.0))
    view.clocks.map.cell_picked.emit(3, 0.0)  # the offscreen platform moves without a button
    assert (view.player.tape.training_step, view.player.frame.t) == (100, 1000)
    assert view.clocks.step.text() == "100"


def test_the_map_and_the_stage_by_keys(qtbot, view):
    fill(view)
    with qtbot.waitActive(view):
        view.activateWindow()
    for widget in (view, view.clocks.map):
        assert widget.focusPolicy() & Qt.FocusPolicy.TabFocus
    view.clocks.map.setFocus(Qt.FocusReason.TabFocusReason)
    qtbot.keyClick(view.clocks.map, Qt.Key.Key_Left)
    assert (view.player.tape.training_step, view.player.share) == (300, 0.75)
    for key, share in ((Qt.Key.Key_Right, 1), (Qt.Key.Key_Right, 1), (Qt.Key.Key_Left, 0.75)):
        qtbot.keyClick(view.clocks.map, key)
        assert view.player.share == share
    qtbot.keyClick(view.clocks.map, Qt.Key.Key_Up)
    assert view.player.tape.training_step == 100
    qtbot.keyClick(view.clocks.map, Qt.Key.Key_Home)
    assert view.player.position == 0
    plain = view.grab().toImage()
    view.setFocus(Qt.FocusReason.TabFocusReason)
    place = view.stage.geometry()
    ring = QPoint(place.center().x(), place.top() - 3)
    assert view.grab().toImage().pixelColor(ring) != plain.pixelColor(ring)
    view.clearFocus()
    view.setFocus(Qt.FocusReason.MouseFocusReason)
    assert view.grab().toImage().pixelColor(ring) == plain.pixelColor(ring), "who clicks knows where he is"


def test_a_place_that_comes_back_brings_back_whether_it_was_live(qtbot, view):
    fill(view)
    view.clock.set_row(1)
    scene = view.scene()
    view.clock.last()
    with qtbot.waitSignal(view.clock.changed):
        view.clock.set_live(False)
    view.clock.last()
    view.show_scene(scene)
    assert not view.clock.live
    assert not view.clocks.bar.live


def test_cells_show_what_was_recorded(view):
    fill(view)
    image = view.clocks.map.grab().toImage()
    for share, shade in ((0.0, 0), (0.5, 100)):
        spot = at(view, 1, share) + QPoint(0, CELL // 4)
        assert abs(QColor(image.pixel(spot)).red() - shade) < 12


def test_the_bar_the_keys_and_the_accessible_text(qtbot, view):
    fill(view)
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Up)
    assert view.player.tape.training_step == 100
    qtbot.keyClick(view, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    assert view.player.tape.training_step == 0
    qtbot.keyClick(view.timeline.slider, Qt.Key.Key_Down)
    assert view.player.tape.training_step == 10, "up and down are the other clock's, there too"
    bar = view.clocks.bar
    qtbot.keyClick(bar, Qt.Key.Key_Down)
    assert view.player.tape.training_step == 40
    assert bar.accessibleDescription() == "step 40"
    qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(10, round(bar._y(3))))
    assert view.player.tape.training_step == 100


def test_a_row_change_decodes_one_frame(view):
    fill(view)
    view.grab()
    strip = view.timeline.strip

    def drawn() -> list[int]:
        return [id(frame) for frame, _ in strip._drawn.values()]

    before = drawn()
    view.clock.set_row(1)
    view.grab()
    assert drawn() == before, "thumbnails wait until it has come to rest"
    strip._rest.stop()
    strip._rest.timeout.emit()
    view.grab()
    assert not set(drawn()) & set(before)


def test_the_chosen_picture_stays_chosen_through_the_training(view):
    fill(view)
    view.pictures.set_chosen(2)
    view.clock.first()
    assert view.pictures.chosen == 2
    assert view.clocks.map._item == 2


def test_the_map_gives_way_where_there_is_no_room(view):
    fill(view)
    view.resize(500, 600)
    QTest.qWait(10)
    assert not view.clocks.map.isVisible()
    assert view.clocks.bar.isVisible()
    assert "(0 of 256 MB, 5 previews)" in view.clocks.map_button.toolTip(), "who hides has to tell"
    view.clocks.map_button.click()
    assert view.clocks.map.isVisible(), "who wants it gets it"
    view.clocks.map_button.click()
    view.resize(900, 600)
    QTest.qWait(10)
    assert not view.clocks.map.isVisible(), "and who does not, does not"


def test_the_meter_tells_what_is_kept(view):
    fill(view)
    assert view.clocks.meter.text() == "0 of 256 MB, 5 previews"
    assert CAP == 256 * MB, "as the file's, in the same unit"


@pytest.mark.parametrize(("text", "cap"), [("64", 64), ("1024", 1024), ("", CAP // MB), ("odd", 256), ("7", 256)])
def test_odd_settings_mean_the_usual_room(text, cap):
    assert cap_of(text) == cap
    assert cap in CAPS


def test_the_map_shows_the_first_and_the_last_row():
    for count in (1, 2, 9, 300):
        rows = shown_rows(count, 10 * CELL)
        assert (rows[0], rows[-1]) == (0, count - 1)
        assert len(rows) == min(count, 10)


# -- from disk


def test_the_rows_of_a_run_are_read_beside_everything_else(tmp_path):
    run = Run.create(find("moons"), tmp_path / "run")
    with run.record(write=True) as record:
        for step in STEPS:
            record.add_tape(a_row(step), "preview")
    reel = Reel()
    read_unless(Event(), run, reel)
    assert reel.steps == STEPS
    np.testing.assert_array_equal(frame_at(reel.rows[1], 0.5).x, a_row(10).frames[2].x)
    unwanted = Event()
    unwanted.set()
    other = Reel()
    read_unless(unwanted, run, other)
    assert other.rows == ()


def test_previews_become_rows_and_a_resumed_run_goes_on_with_them():
    channels = Channels()
    growing = a_row(40, frames=3)
    for tape, purpose in ((a_row(0), "preview"), (a_row(10), "preview"), (a_row(20), "sample"), (growing, "preview")):
        assert not channels.deliver(TapeFinished(tape, purpose, 0.1)), "the window is told, too"
    assert channels.reel.steps == (0, 10), "a sample, or one that was stopped, is no row"
    channels.reel.add(a_row(50))
    channels.deliver(Started(100, 10, 640, "CPU", 1000))
    assert channels.reel.steps == (0, 10), "what came after the last save is trained again"
    channels.deliver(TapeFinished(a_row(30), "preview", 0.1))
    assert channels.reel.steps == (0, 10, 30)
