"""The diffusion-time clock and the bar that shows and moves it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QColor
from PySide6.QtTest import QSignalSpy
from PySide6.QtWidgets import QMenu, QWidget

from ddpm_studio.app.frame_strip import FrameStrip, LevelSlider
from ddpm_studio.app.playback import HOLD, RATE, Player
from ddpm_studio.app.theme import color, theme
from ddpm_studio.app.timeline import Timeline
from ddpm_studio.app.widgets import ToolButton
from ddpm_studio.diffusion.tape import Frame, Tape

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)  # the offscreen platform says so

LEVELS = (1000, 800, 600, 400, 200, 0)


class Clock:
    """A stopwatch in the test's hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def make_tape(count: int = len(LEVELS), total: int = len(LEVELS), shade: int = 200) -> Tape:
    tape = Tape("pictures", 1000, total)
    grow(tape, count, shade)
    return tape


def grow(tape: Tape, count: int, shade: int = 200) -> None:
    for _ in range(count):
        i = len(tape.frames)
        picture = np.full((4, 8, 8, 1), shade, np.uint8)
        tape.frames.append(Frame(i, LEVELS[i], picture))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def player(qapp, clock) -> Player:
    return Player(seconds=clock)


@pytest.fixture
def timeline(qtbot, player) -> Timeline:
    bar = Timeline(player)
    qtbot.addWidget(bar)
    bar.resize(800, bar.sizeHint().height())
    with qtbot.waitExposed(bar):
        bar.show()
    return bar


# -- the player


def test_without_a_tape_nothing_plays(player):
    player.play()
    player.step_forward()
    player.poll()
    assert (player.playing, player.frame, player.position, player.total) == (False, None, 0, 0)


def test_it_follows_the_newest_frame_of_a_growing_tape(player):
    tape = make_tape(0)
    player.set_tape(tape)
    for count in range(1, 7):
        grow(tape, 1)
        player.poll()
        assert (player.position, player.count, player.following) == (count - 1, count, True)


def test_a_new_tape_is_shown_when_its_first_frame_exists(player):
    old, new = make_tape(), make_tape(0)
    player.set_tape(old)
    player.set_tape(new)
    player.poll()
    assert player.tape is old
    grow(new, 1)
    player.poll()
    assert player.tape is new
    assert player.frame is new.frames[0]


def test_a_parked_bar_keeps_its_place_in_a_new_tape(player):
    old, new = make_tape(), make_tape(3)
    player.set_tape(old)
    player.set_position(3)  # t = 400
    player.set_tape(new)
    assert player.frame is old.frames[3]  # the new tape has not come that far
    grow(new, 1)
    player.poll()
    assert player.frame is new.frames[3]
    grow(new, 2)
    player.poll()
    assert player.frame is new.frames[3]
    assert not player.following


def test_what_was_asked_for_is_followed_wherever_the_bar_stands(player):
    old, new = make_tape(), make_tape(0)
    player.set_tape(old)
    player.set_position(3)
    player.set_tape(new, follow=True)
    player.poll()
    assert player.frame is old.frames[3], "whole, until there is something else"
    for count in range(1, 7):
        grow(new, 1)
        player.poll()
        assert (player.frame, player.following) == (new.frames[count - 1], True)


def test_a_parked_bar_takes_the_frame_nearest_in_t(player):
    old, new = make_tape(), Tape("pictures", 1000, 4)
    player.set_tape(old)
    player.set_position(3)  # t = 400
    for i, t in enumerate((1000, 500)):
        new.frames.append(Frame(i, t, old.frames[0].x))
    player.set_tape(new)
    assert player.tape is old  # a frame nearer than 500 may come
    new.frames.append(Frame(2, 100, old.frames[0].x))
    player.poll()
    assert player.frame is new.frames[1]


def test_a_tape_of_another_kind_is_shown_at_once(player):
    player.set_tape(make_tape())
    player.set_position(2)
    points = Tape("points", 100, 3, frames=[Frame(0, 100, np.zeros((5, 2), np.float32))])
    player.set_tape(points)
    assert player.tape is points


@pytest.mark.parametrize("index", [5, 99])
def test_releasing_at_the_last_frame_follows_again(player, index):
    player.set_tape(make_tape())
    player.set_position(2)
    assert not player.following
    player.set_position(index)
    assert player.following
    new = make_tape(2)
    player.set_tape(new)
    assert player.frame is new.frames[1]


def test_parking_on_a_growing_tape_stays(player):
    tape = make_tape(4)
    player.set_tape(tape)
    player.step_back()
    grow(tape, 2)
    player.poll()
    assert (player.position, player.count) == (2, 6)


@pytest.mark.parametrize("polls", [1, 7, 100])
@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
def test_speed_does_not_depend_on_the_poll_rate(player, clock, polls, speed):
    player.set_tape(make_tape())
    player.set_speed(speed)
    player.play()  # from the noise, since x_0 was shown
    seconds = 2.5 / RATE / speed
    for _ in range(polls):
        clock.now += seconds / polls
        player.poll()
    assert player.position == 2


def test_play_stops_at_the_picture(player, clock):
    player.set_tape(make_tape())
    player.play()
    assert player.position == 0
    clock.now = 100
    player.poll()
    assert (player.position, player.playing, player.following) == (5, False, True)


def test_a_loop_holds_the_picture_and_begins_again(player, clock):
    player.set_tape(make_tape())
    player.set_loop(True)
    player.play()
    clock.now = (5 + HOLD - 0.5) / RATE
    player.poll()
    assert player.position == 5
    clock.now = (5 + HOLD + 1.5) / RATE
    player.poll()
    assert (player.position, player.playing) == (1, True)


def test_playing_a_growing_tape_waits_for_frames(player, clock):
    tape = make_tape(2)
    player.set_tape(tape)
    player.play()
    clock.now = 10
    player.poll()
    assert (player.position, player.playing) == (1, True)
    grow(tape, 4)
    clock.now += 1.5 / RATE
    player.poll()
    assert (player.position, player.playing) == (2, True)


def test_pause_does_not_let_time_run(player, clock):
    player.set_tape(make_tape())
    player.play()
    clock.now = 1.5 / RATE
    player.poll()
    player.pause()
    clock.now = 50
    player.poll()
    player.play()
    player.poll()
    assert player.position == 1


def test_one_signal_for_one_change(player):
    moved, state, tapes = (QSignalSpy(s) for s in (player.frame_changed, player.state_changed, player.tape_changed))
    player.set_tape(make_tape())
    assert (moved.count(), state.count(), tapes.count()) == (1, 0, 1)
    player.poll()
    player.set_position(5)
    player.set_loop(False)
    player.set_speed(1.0)
    assert (moved.count(), state.count(), tapes.count()) == (1, 0, 1)
    player.to_noise()
    player.set_loop(True)
    assert (moved.count(), state.count()) == (2, 1)
    player.set_tape(None)
    assert (player.tape, player.frame, tapes.count()) == (None, None, 2)


# -- the bar


def accent_ring(timeline: Timeline) -> list[int]:
    """The slots whose border is in the accent colour."""
    image = timeline.strip.grab().toImage()
    wanted = color("accent").rgb()
    found = []
    for k, (_, place) in enumerate(timeline.strip.places()):
        if QColor(image.pixel(place.center().x(), place.top())).rgb() == wanted:
            found.append(k)
    return found


def test_it_shows_t_and_marks_the_thumbnail(timeline, player):
    player.set_tape(make_tape())
    assert timeline.level.text() == "t = 0"
    assert accent_ring(timeline) == [5]
    player.set_position(1)
    assert timeline.level.text() == "t = 800"
    assert timeline.slider.value() == 1
    assert timeline.slider.accessibleDescription() == "t = 800"
    assert accent_ring(timeline) == [1]


def test_thumbnails_fill_up_live(timeline, player):
    tape = make_tape(2, shade=255)
    player.set_tape(tape)

    def filled() -> list[bool]:
        image = timeline.strip.grab().toImage()
        # inside a picture, away from the cross between the four
        return [QColor(image.pixel(p.left() + 14, p.top() + 14)).value() > 250 for _, p in timeline.strip.places()]

    theme().prefer("dark")
    assert filled() == [True, True, False, False, False, False]
    grow(tape, 2, shade=255)
    player.poll()
    assert filled() == [True, True, True, True, False, False]
    player.set_tape(make_tape(shade=0))  # another tape: other thumbnails
    assert not any(filled())
    theme().prefer("system")


def test_the_slider_moves_the_player(qtbot, timeline, player):
    player.set_tape(make_tape())
    slider = timeline.slider
    middle = slider.height() // 2
    qtbot.mousePress(slider, Qt.MouseButton.LeftButton, pos=QPoint(2, middle))
    assert player.position == 0
    qtbot.mouseMove(slider, QPoint(slider.width() * 2 // 5, middle))
    assert player.position == 2
    qtbot.mouseRelease(slider, Qt.MouseButton.LeftButton, pos=QPoint(slider.width() * 2 // 5, middle))
    qtbot.mouseMove(slider, QPoint(slider.width() - 2, middle))
    assert player.position == 2  # released
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    assert player.position == 4
    qtbot.keyClick(slider, Qt.Key.Key_Home)
    assert player.position == 0


def test_the_slider_cannot_run_ahead_of_the_recording(qtbot, timeline, player):
    player.set_tape(make_tape(3))
    slider = timeline.slider
    qtbot.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(slider.width() - 2, slider.height() // 2))
    assert (player.position, slider.value(), player.following) == (2, 2, True)


def test_a_click_on_a_thumbnail_goes_there(qtbot, timeline, player):
    player.set_tape(make_tape())
    index, place = timeline.strip.places()[2]
    qtbot.mouseClick(timeline.strip, Qt.MouseButton.LeftButton, pos=place.center())
    assert player.position == index == 2


def test_keys(qtbot, timeline, player):
    player.set_tape(make_tape())
    for key, position in (
        (Qt.Key.Key_Home, 0),
        (Qt.Key.Key_Right, 1),
        (Qt.Key.Key_Right, 2),
        (Qt.Key.Key_Left, 1),
        (Qt.Key.Key_End, 5),
    ):
        qtbot.keyClick(timeline, key)
        assert player.position == position
    qtbot.keyClick(timeline, Qt.Key.Key_Space)
    assert player.playing
    qtbot.keyClick(timeline, Qt.Key.Key_Plus)
    qtbot.keyClick(timeline, Qt.Key.Key_Plus)
    qtbot.keyClick(timeline, Qt.Key.Key_Plus)
    assert (player.speed, timeline.speed.text()) == (4.0, "4×")
    qtbot.keyClick(timeline, Qt.Key.Key_Minus)
    assert player.speed == 2.0
    qtbot.keyClick(timeline, Qt.Key.Key_L)
    assert player.loop
    assert timeline.findChild(QAction, "playback.loop").isChecked()


def test_buttons_and_speed_menu(qtbot, timeline, player):
    player.set_tape(make_tape())

    def click(name: str) -> None:
        qtbot.mouseClick(timeline.findChild(ToolButton, name), Qt.MouseButton.LeftButton)

    click("playback.to_noise")
    assert player.position == 0
    click("playback.step_forward")
    assert player.position == 1
    click("playback.play")
    assert player.playing
    click("playback.play")
    click("playback.to_image")
    assert (player.playing, player.position) == (False, 5)
    click("playback.loop")
    assert player.loop
    quarter = timeline.speed.menu().actions()[0]
    quarter.trigger()
    assert (player.speed, timeline.speed.text()) == (0.25, "0.25×")
    assert [a.isChecked() for a in timeline.speed.menu().actions()] == [True, False, False, False, False]


def test_actions_from_the_window_take_over(qtbot, timeline, player):
    player.set_tape(make_tape())
    actions = {name: QAction(name, timeline) for name in ("playback.play", "playback.to_noise", "playback.loop")}
    timeline.bind_actions(actions)
    actions["playback.to_noise"].trigger()
    assert player.position == 0
    actions["playback.play"].trigger()
    assert player.playing
    assert actions["playback.play"].property("icon_name") == "pause"
    actions["playback.loop"].trigger()
    assert player.loop
    player.set_loop(False)
    assert not actions["playback.loop"].isChecked()
    qtbot.mouseClick(timeline.findChild(ToolButton, "playback.play"), Qt.MouseButton.LeftButton)
    assert not player.playing


def test_save_is_offered_once_there_is_something(qtbot, timeline, player):
    assert not timeline.save.isEnabled()
    player.set_tape(make_tape())
    with qtbot.waitSignal(timeline.save_requested):
        qtbot.mouseClick(timeline.save, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize("width", [440, 600, 815, 1400])
def test_nothing_overlaps_and_nothing_jumps(timeline, player, width):
    timeline.resize(width, timeline.height())
    player.set_tape(make_tape())
    timeline.layout().activate()
    row = [
        w
        for w in timeline.findChildren(QWidget)
        if w.isVisible() and not isinstance(w, QMenu | FrameStrip | LevelSlider)
    ]
    boxes = sorted((w.geometry() for w in row), key=lambda box: box.left())
    assert all(a.right() < b.left() for a, b in itertools.pairwise(boxes))
    assert boxes[-1].right() < timeline.width()
    places = [place for _, place in timeline.strip.places()]
    assert all(a.right() < b.left() for a, b in itertools.pairwise(places))
    before = timeline.level.geometry()
    player.to_noise()  # t = 1,000 is longer than t = 0
    player.set_speed(0.25)
    timeline.layout().activate()
    assert timeline.level.geometry() == before
