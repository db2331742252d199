"""The seed of the next samples: typed, locked, drawn anew, remembered; and samples that start from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ddpm_studio.app import seed_lock
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.seed_lock import SeedControl, SeedLock
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import find

pytestmark = [
    pytest.mark.usefixtures("themed", "no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]


@pytest.fixture
def control(qtbot: QtBot) -> Iterator[SeedControl]:
    control = SeedControl(SeedLock(WindowSettings(), QApplication.instance()))
    control.show()
    yield control
    control.close()
    control.deleteLater()


def type_in(control: SeedControl, text: str) -> None:
    control.editor.selectAll()
    QTest.keyClicks(control.editor, text)
    QTest.keyClick(control.editor, Qt.Key.Key_Return)


def test_what_is_typed_is_locked_and_remembered(control: SeedControl) -> None:
    lock = control._lock
    assert (lock.seed, lock.locked) == (0, True)
    control.button.click()
    assert not lock.locked
    assert control.button.icon_name == "lock-open"
    type_in(control, "1,234")
    assert (lock.seed, lock.locked) == (1234, True)
    assert control.button.isChecked()
    assert [lock.take(), lock.take()] == [1234, 1234]
    other = SeedLock(WindowSettings())
    assert (other.seed, other.locked) == (1234, True)


def test_open_it_is_a_new_one_each_time_and_shown(control: SeedControl, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter((77, 9_999))
    monkeypatch.setattr(seed_lock.random, "randrange", lambda end: next(drawn))
    control.button.click()
    for seed, text in ((77, "77"), (9_999, "9,999")):
        assert control._lock.take() == seed
        assert control.editor.text() == text
        assert not control.button.isChecked()
    control.button.click()
    assert control._lock.take() == 9_999, "what is seen is locked"
    assert SeedLock(WindowSettings()).take() == 9_999


def test_what_is_no_seed_is_said_and_changes_nothing(control: SeedControl) -> None:
    for typed in ("-1", "12 cats", str(2**31)):
        type_in(control, typed)
        assert control.problem, typed
        assert control.editor.toolTip() == control.problem
        assert control._lock.seed == 0
    QTest.keyClick(control.editor, Qt.Key.Key_Escape)
    assert (control.problem, control.editor.text()) == ("", "0")
    assert control.editor.toolTip() != ""


@pytest.mark.parametrize("kept", ["-3", "many", "", "²", str(2**31)])
def test_a_damaged_setting_is_no_obstacle(kept: str) -> None:
    WindowSettings().set_text("seed", kept)
    assert SeedLock(WindowSettings()).seed == 0


def test_sample_now_starts_from_the_seed_in_the_bar(
    qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_lock.random, "randrange", lambda end: 4321)
    settings = {"training.steps": 3, "network.width": 16, "sampler.steps": 4, "compute.threads": 1}
    window.session.start(find("two-gaussians").with_settings(settings))
    qtbot.waitUntil(lambda: window.session.has_checkpoint and not window.controller.busy)

    def sampled() -> Tape:
        window.stage._on_frame_clock()  # the last preview may still be on its way
        before = window.view.player.tape
        window.actions_by_id["run.sample_now"].trigger()
        qtbot.waitUntil(lambda: window.view.player.tape is not before)
        qtbot.waitUntil(lambda: not window.controller.busy)
        tape = window.view.player.tape
        assert tape is not None
        assert tape.complete
        return tape

    control = window.top_bar.seed
    type_in(control, "5")
    first, again = sampled(), sampled()
    assert first.seed == again.seed == 5
    assert np.array_equal(first.frames[0].x, again.frames[0].x)
    assert window.view.caption.text() == "seed 5"
    control.button.click()
    other = sampled()
    assert (other.seed, control.editor.text(), window.view.caption.text()) == (4321, "4,321", "seed 4321")
    assert not np.array_equal(first.frames[0].x, other.frames[0].x)
