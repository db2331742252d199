"""Shared controls, the list of runs, the log, error messages and notices."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, QRect, Qt, QTimer, QtMsgType, qWarning
from PySide6.QtGui import QAction, QColor, QFont, QFontMetrics, QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QLabel, QLineEdit, QMenu, QVBoxLayout, QWidget
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from ddpm_studio.app import errors
from ddpm_studio.app import theme as themes
from ddpm_studio.app.banner import Banner
from ddpm_studio.app.errors import ErrorDialog, Hooks, install_excepthooks, show_error
from ddpm_studio.app.log_panel import MAX_LINES, LogHandler, LogPanel
from ddpm_studio.app.painting import math_width
from ddpm_studio.app.runs_panel import COLOR_ROLE, RunRow, RunsPanel, run_color, shortened
from ddpm_studio.app.widgets import (
    ElidedLabel,
    MathLabel,
    PanelScroll,
    PushButton,
    Segmented,
    Value,
    icon_button,
)

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")  # gaps of "offscreen"


@pytest.fixture(autouse=True)
def _theme(qapp: QApplication) -> None:
    themes.theme()


def shown(qtbot: QtBot, widget: QWidget) -> None:
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)


def has_color(picture: QImage, wanted: QColor, area: QRect | None = None) -> bool:
    area = area or picture.rect()
    return any(
        picture.pixelColor(x, y).rgb() == wanted.rgb()
        for x in range(area.left(), area.right() + 1)
        for y in range(area.top(), area.bottom() + 1)
    )


# -- shared controls ------------------------------------------------------------------------------------------


@pytest.fixture
def segments(qtbot: QtBot) -> Segmented:
    made = Segmented([("x", "x_t"), ("x0", "x̂_0"), ("eps", "ε̂"), ("four", "four-up")], "Shown")
    shown(qtbot, made)
    return made


def item(segments: Segmented, key: str) -> QAbstractButton:
    found = segments.findChild(QAbstractButton, key)
    assert found is not None
    return found


def test_a_segment_is_chosen_with_the_mouse(segments: Segmented, qtbot: QtBot) -> None:
    assert segments.value() == "x"
    with qtbot.waitSignal(segments.chosen) as told:
        QTest.mouseClick(item(segments, "eps"), Qt.MouseButton.LeftButton)
    assert told.args == ["eps"]
    assert segments.value() == "eps"
    accent = themes.color("accent")
    assert has_color(item(segments, "eps").grab().toImage(), accent)
    assert not has_color(item(segments, "x").grab().toImage(), accent)


def test_arrow_keys_move_the_choice_past_disabled_segments(segments: Segmented) -> None:
    seen: list[str] = []
    segments.chosen.connect(seen.append)
    segments.set_item_enabled("x0", False)
    item(segments, "x").setFocus()
    QTest.keyClick(item(segments, "x"), Qt.Key.Key_Right)
    assert QApplication.focusWidget() is item(segments, "eps")
    QTest.keyClick(item(segments, "eps"), Qt.Key.Key_Left)
    QTest.keyClick(item(segments, "x"), Qt.Key.Key_Left)  # there is nothing further left
    assert seen == ["eps", "x"]


def test_setting_a_value_is_not_a_choice(segments: Segmented) -> None:
    seen: list[str] = []
    segments.chosen.connect(seen.append)
    segments.set_value("four")
    assert segments.value() == "four"
    assert seen == []


def test_subscripts_are_smaller_than_the_text_they_belong_to(segments: Segmented) -> None:
    font = segments.font()
    assert math_width("x", font) < math_width("x_t", font) < math_width("xt", font)
    assert math_width("x_{t-1}", font) < math_width("xt-1", font)
    assert math_width("ε̂", font) == math_width("ε", font)


def test_a_math_label_shrinks_rather_than_being_cut(qtbot: QtBot) -> None:
    label = MathLabel("x_t = α_t x_0 + σ_t ε")
    shown(qtbot, label)
    label.setFixedSize(60, 24)
    picture = label.grab().toImage()
    background = picture.pixelColor(0, 0)
    assert any(picture.pixelColor(x, y) != background for x in range(50, 60) for y in range(24))


def test_a_button_follows_its_action(qtbot: QtBot) -> None:
    action = QAction("&Start")
    action.setProperty("icon_name", "play")
    button = PushButton(action=action, primary=True)
    shown(qtbot, button)
    narrow = button.sizeHint().width()
    assert has_color(button.grab().toImage(), themes.color("accent"))
    action.setText("Resume training")
    assert button.sizeHint().width() > narrow
    action.setEnabled(False)
    assert not button.isEnabled()
    assert not has_color(button.grab().toImage(), themes.color("accent"))
    action.setEnabled(True)
    with qtbot.waitSignal(action.triggered):
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_reserved_width_does_not_jump(qtbot: QtBot) -> None:
    button = PushButton("Pause", "pause")
    qtbot.addWidget(button)
    button.reserve(["Pause", "Resume"])
    width = button.sizeHint().width()
    button.setText("Resume")
    assert button.sizeHint().width() == width


def test_a_menu_button_opens_its_menu(qtbot: QtBot) -> None:
    button = PushButton("Fashion-MNIST")
    plain = button.sizeHint().width()
    menu = QMenu(button)
    menu.addAction("Two moons")
    button.setMenu(menu)
    assert button.sizeHint().width() == plain + 24  # the chevron
    shown(qtbot, button)
    opened: list[bool] = []
    menu.aboutToShow.connect(lambda: opened.append(True))
    QTimer.singleShot(100, menu, menu.close)  # the menu runs a loop of its own
    QTest.keyClick(button, Qt.Key.Key_Space)
    assert opened


def test_icon_buttons_are_square_and_named(qtbot: QtBot) -> None:
    button = icon_button("skip-back", "To the noise")
    qtbot.addWidget(button)
    assert (button.width(), button.height()) == (32, 32)
    assert button.accessibleName() == button.toolTip() == "To the noise"


def test_an_elided_label_tells_all_in_its_tooltip(qtbot: QtBot) -> None:
    label = ElidedLabel("a name that is far too long for its place")
    qtbot.addWidget(label)
    label.resize(60, 20)
    label.show()
    assert label.toolTip() == label.text()
    label.resize(600, 20)
    assert label.toolTip() == ""


def test_a_value_reserves_its_width(qtbot: QtBot) -> None:
    value = Value("9", reserve="10,000")
    qtbot.addWidget(value)
    width = value.minimumWidth()
    value.set_text("10,000")
    assert value.sizeHint().width() <= width + 2


def test_a_panel_scrolls_up_and_down_only(qtbot: QtBot) -> None:
    content = QWidget()
    column = QVBoxLayout(content)
    for i in range(50):
        column.addWidget(QLabel(f"line {i} of text that is wider than the panel"))
    panel = PanelScroll(content)
    shown(qtbot, panel)
    panel.resize(160, 200)
    panel.verticalScrollBar().setValue(100)
    assert panel.verticalScrollBar().value() == 100
    assert not panel.horizontalScrollBar().isVisible()


# -- runs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows(tmp_path: Path) -> list[RunRow]:
    made = []
    for i, name in enumerate(["fashion, rate ×3", "fashion, first try", "two Gaussians"]):
        folder = tmp_path / f"run-{i}"
        folder.mkdir()
        made.append(RunRow(folder, name, 1000 * (i + 1), datetime(2026, 1, 2 + i), 0.08, active=i == 0))
    return made


@pytest.fixture
def runs(qtbot: QtBot, rows: list[RunRow]) -> RunsPanel:
    panel = RunsPanel()
    panel.resize(292, 240)
    panel.set_rows(rows)
    shown(qtbot, panel)
    return panel


def trigger(panel: RunsPanel, name: str) -> None:
    action = panel.view.findChild(QAction, name)
    assert action is not None
    assert action.isEnabled()
    action.trigger()


def test_the_list_of_runs_is_a_proper_model(runs: RunsPanel, rows: list[RunRow], qtmodeltester: ModelTester) -> None:
    qtmodeltester.check(runs.model)
    runs.set_rows(rows[1:])
    runs.set_rows([])
    runs.set_rows(rows)


def test_an_empty_list_says_what_will_be_there(qtbot: QtBot) -> None:
    panel = RunsPanel()
    shown(qtbot, panel)
    assert not panel.view.isVisible()
    assert any("Start" in label.text() for label in panel.findChildren(QLabel) if label.isVisible())


def test_a_run_opens_by_double_click_and_by_enter(runs: RunsPanel, rows: list[RunRow], qtbot: QtBot) -> None:
    opened: list[Path] = []
    runs.run_opened.connect(opened.append)
    place = runs.view.visualRect(runs.model.index(1)).center()
    QTest.mouseClick(runs.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    QTest.mouseDClick(runs.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert opened == [rows[1].path]
    runs.view.setFocus()
    QTest.keyClick(runs.view, Qt.Key.Key_Down)
    QTest.keyClick(runs.view, Qt.Key.Key_Return)
    assert opened == [rows[1].path, rows[2].path]


def test_rows_show_their_colour_and_a_missing_folder_is_faint(runs: RunsPanel, rows: list[RunRow]) -> None:
    def dot(i: int) -> QColor:
        rect = runs.view.visualRect(runs.model.index(i))
        return runs.view.viewport().grab().toImage().pixelColor(rect.left() + 12, rect.center().y())

    assert dot(1).rgb() == run_color(runs.model.color_of(rows[1])).rgb()
    rows[1].path.rmdir()
    runs.set_rows(rows)
    assert dot(1).rgb() == themes.color("faint").rgb()
    runs.set_current(rows[1].path)
    opened: list[Path] = []
    runs.run_opened.connect(opened.append)
    QTest.keyClick(runs.view, Qt.Key.Key_Return)
    assert opened == []


def test_a_new_step_changes_one_row_and_keeps_the_choice(runs: RunsPanel, rows: list[RunRow], qtbot: QtBot) -> None:
    runs.set_current(rows[1].path)
    with qtbot.waitSignal(runs.model.dataChanged) as told:
        runs.set_rows([replace(rows[0], step=1001), *rows[1:]])
    assert told.args[0].row() == told.args[1].row() == 0
    newcomer = replace(rows[0], path=rows[0].path.parent, name="new")
    runs.set_rows([newcomer, *rows])
    current = runs.current()
    assert current is not None
    assert current.path == rows[1].path


def a_row(folder: Path, name: str, born: float) -> RunRow:
    path = folder / name
    path.mkdir(exist_ok=True)
    return RunRow(path, name, 10, datetime(2026, 1, 1), born=born)


def test_a_run_keeps_its_colour_and_chosen_ones_differ(qtbot: QtBot, tmp_path: Path) -> None:
    panel = RunsPanel()
    shown(qtbot, panel)
    rows = [a_row(tmp_path, f"run {i}", 100.0 + i) for i in range(8)]
    panel.set_rows(rows[3:6])
    before = [panel.model.color_of(row) for row in rows[3:6]]
    assert len(set(before)) == 3
    renamed = a_row(tmp_path, "another name", rows[4].born)
    panel.set_rows([*rows[::-1], renamed])
    assert [panel.model.color_of(row) for row in (rows[3], renamed, rows[5])] == before
    fresh = RunsPanel()
    qtbot.addWidget(fresh)
    fresh.set_rows(rows)
    again = [fresh.model.color_of(row) for row in rows]
    for i in range(5):
        assert len(set(again[i : i + 4])) == 4, "of four that follow each other no two look alike"
    wanted: list[list[tuple[RunRow, QColor]]] = []
    fresh.curves_wanted.connect(wanted.append)
    same = [i for i in range(8) if again[i] == again[0]]
    assert len(same) > 1
    for i in same[:2]:
        fresh.view.selectionModel().select(fresh.model.index(i), QItemSelectionModel.SelectionFlag.Select)
    (_, one), (_, other) = wanted[-1]
    assert one.rgb() != other.rgb()
    assert fresh.model.index(same[1]).data(COLOR_ROLE).rgb() == other.rgb(), "in the list as in the plot"


def test_a_run_that_begins_is_seen_instead_of_those_compared(qtbot: QtBot, tmp_path: Path) -> None:
    panel = RunsPanel()
    shown(qtbot, panel)
    rows = [a_row(tmp_path, f"run {i}", 100.0 + i) for i in range(3)]
    panel.set_rows(rows)
    panel.view.selectAll()
    wanted: list[list[tuple[RunRow, QColor]]] = []
    panel.curves_wanted.connect(wanted.append)
    panel.set_rows([replace(rows[0], active=True), *rows[1:]])  # resumed: it is among them
    assert len(wanted[-1]) == 3
    newcomer = replace(a_row(tmp_path, "new", 0.0), active=True)
    panel.set_rows([newcomer, *rows])
    assert wanted[-1] == []
    assert panel.chosen() == [newcomer]


def test_the_run_on_the_stage_is_marked_and_chosen(runs: RunsPanel, rows: list[RunRow]) -> None:
    def marked() -> list[int]:
        image = runs.view.viewport().grab().toImage()
        accent = themes.color("accent").rgb()
        places = [runs.view.visualRect(runs.model.index(i)) for i in range(len(runs.model.rows()))]
        return [i for i, rect in enumerate(places) if image.pixel(rect.left() + 2, rect.center().y()) == accent]

    assert marked() == []
    runs.set_shown(rows[1].path)
    assert (marked(), runs.chosen()) == ([1], [rows[1]])
    assert "on the stage" in runs.model.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
    runs.set_current(rows[2].path)
    runs.set_shown(rows[1].path)
    assert (marked(), runs.chosen()) == ([1], [rows[2]]), "who looks around is not called back"
    newcomer = replace(rows[0], path=rows[0].path.parent, name="new", active=False)
    runs.set_shown(newcomer.path)
    runs.set_rows([newcomer, *rows])
    assert (marked(), runs.chosen()) == ([0], [newcomer])
    runs.view.selectAll()
    runs.set_shown(rows[2].path)
    assert (marked(), len(runs.chosen())) == ([3], 4), "those chosen to be compared stay chosen"
    runs.set_shown(None)
    assert marked() == []


def test_a_short_name_keeps_its_time(qtbot: QtBot) -> None:
    metrics = QFontMetrics(QFont())
    name = "Two Gaussians, 10:54"
    assert shortened(name, metrics, 1000) == name
    short = shortened(name, metrics, metrics.horizontalAdvance(name) - 20)
    assert short.startswith("Two Gau")
    assert short.endswith("…, 10:54")
    assert metrics.horizontalAdvance(short) <= metrics.horizontalAdvance(name) - 20
    assert shortened(name, metrics, metrics.horizontalAdvance("10:54")) != name


def test_a_run_is_renamed_in_place(runs: RunsPanel, rows: list[RunRow], qtbot: QtBot) -> None:
    asked: list[tuple[Path, str]] = []
    runs.rename_requested.connect(lambda path, name: asked.append((path, name)))
    runs.set_current(rows[2].path)
    trigger(runs, "runs.rename")
    editor = runs.view.findChild(QLineEdit)
    assert editor is not None
    editor.selectAll()
    QTest.keyClicks(editor, "clouds")
    QTest.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bool(asked))
    assert asked == [(rows[2].path, "clouds")]
    assert runs.model.index(2).data() == "two Gaussians"  # until the folder really has the new name


def test_a_run_goes_to_the_trash_only_when_confirmed(runs: RunsPanel, rows: list[RunRow]) -> None:
    asked: list[Path] = []
    runs.trash_requested.connect(asked.append)
    runs.set_current(rows[2].path)
    trigger(runs, "runs.trash")
    assert runs.confirmation is not None
    assert "two Gaussians" in runs.confirmation.text()
    runs.confirmation.reject()
    assert asked == []
    trigger(runs, "runs.trash")
    yes = runs.confirmation.findChild(QAbstractButton, "runs.confirm_trash.yes")
    assert yes is not None
    yes.click()
    assert asked == [rows[2].path]


def test_the_run_being_trained_cannot_be_thrown_away(runs: RunsPanel, rows: list[RunRow]) -> None:
    runs.set_current(rows[0].path)
    action = runs.view.findChild(QAction, "runs.trash")
    assert action is not None
    assert not action.isEnabled()


def test_the_folder_of_a_run_can_be_shown(runs: RunsPanel, rows: list[RunRow], qtbot: QtBot) -> None:
    runs.set_current(rows[1].path)
    with qtbot.waitSignal(runs.folder_shown) as told:
        trigger(runs, "runs.show_folder")
    assert told.args == [rows[1].path]


# -- log ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(qtbot: QtBot) -> Iterator[tuple[LogPanel, logging.Logger]]:
    panel = LogPanel()
    qtbot.addWidget(panel)
    logger = logging.getLogger("ddpm_studio.test_panels")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(panel.handler)
    yield panel, logger
    logger.removeHandler(panel.handler)


def test_the_log_pulls_only_while_it_is_seen(log: tuple[LogPanel, logging.Logger], qtbot: QtBot) -> None:
    panel, logger = log
    logger.info("before")
    QTest.qWait(300)
    assert panel.text.toPlainText() == ""
    panel.show()
    assert "before" in panel.text.toPlainText()
    threads = [threading.Thread(target=logger.info, args=(f"from thread {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    qtbot.waitUntil(lambda: panel.text.toPlainText().count("from thread") == 4)
    panel.hide()
    assert not panel._clock.isActive()


def test_the_log_is_filtered_by_level_and_text(log: tuple[LogPanel, logging.Logger]) -> None:
    panel, logger = log
    panel.show()
    logger.debug("detail")
    logger.info("recipe read")
    logger.error("disk full")
    panel.pull()
    assert "detail" not in panel.text.toPlainText()
    panel.levels.setFocus()
    QTest.keyClick(panel.levels, Qt.Key.Key_Up)
    assert "detail" in panel.text.toPlainText()
    QTest.keyClicks(panel.search, "DISK")
    assert panel.text.toPlainText().splitlines()[0].endswith("disk full")
    assert panel.text.blockCount() == 1
    QTest.mouseClick(panel._copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text().endswith("disk full")


def test_the_log_keeps_a_bounded_number_of_lines(log: tuple[LogPanel, logging.Logger]) -> None:
    panel, logger = log
    for i in range(MAX_LINES + 10):
        logger.info("line %d", i)
    panel.show()
    assert panel.text.blockCount() == MAX_LINES
    assert panel.text.toPlainText().endswith(f"line {MAX_LINES + 9}")


def test_the_log_can_be_saved(log: tuple[LogPanel, logging.Logger], tmp_path: Path) -> None:
    panel, logger = log
    logger.warning("σ is not finite")
    panel.show()
    QTest.mouseClick(panel._save, Qt.MouseButton.LeftButton)
    assert panel.dialog is not None
    panel.dialog.fileSelected.emit(str(tmp_path / "out.log"))
    panel.dialog.close()
    assert "σ is not finite" in (tmp_path / "out.log").read_text(encoding="utf-8")


def test_a_handler_formats_tracebacks() -> None:
    handler = LogHandler()
    try:
        raise OSError("gone")
    except OSError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", None, sys.exc_info())
    handler.handle(record)
    ((level, text),) = handler.take()
    assert level == logging.ERROR
    assert "OSError: gone" in text
    assert handler.take() == []


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> QWidget:
    monkeypatch.delenv("DDPM_STUDIO_NO_DIALOGS", raising=False)
    window = QWidget()
    qtbot.addWidget(window)
    return window


def test_an_error_is_one_sentence_with_details_to_unfold(host: QWidget) -> None:
    dialog = show_error(host, "The folder holds no pictures.", "Traceback: here")
    assert dialog is not None
    assert not dialog.isModal()
    assert not dialog.details.isVisible()
    QTest.mouseClick(dialog.unfold, Qt.MouseButton.LeftButton)
    assert dialog.details.isVisible()
    assert dialog.details.toPlainText() == "Traceback: here"
    assert dialog.height() <= dialog.screen().availableSize().height()
    copy = dialog.findChild(QAbstractButton, "error.copy")
    assert copy is not None
    QTest.mouseClick(copy, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "The folder holds no pictures.\n\nTraceback: here"
    dialog.close()


def test_errors_join_the_open_dialog_instead_of_piling_up(host: QWidget) -> None:
    first = show_error(host, "One.", "a")
    assert first is not None
    assert show_error(host, "Two.", "b") is first
    assert len(host.findChildren(ErrorDialog)) == 1
    assert first.more.text() == "… and 1 more"
    assert "Two.\nb" in first.details.toPlainText()
    first.close()
    second = show_error(host, "Three.")
    assert second is not None
    assert second is not first
    assert not second.unfold.isVisible()
    second.close()


def test_no_dialogs_in_ci(host: QWidget, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DDPM_STUDIO_NO_DIALOGS", "1")
    assert os.environ["DDPM_STUDIO_NO_DIALOGS"] == "1"
    assert show_error(host, "It broke.", "why") is None
    assert not host.findChildren(ErrorDialog)
    assert capfd.readouterr().err.endswith("It broke.\nwhy\n")


@pytest.fixture
def caught(qapp: QApplication) -> Iterator[tuple[Hooks, list[tuple[str, str, int]]]]:
    seen: list[tuple[str, str, int]] = []
    hooks = install_excepthooks(lambda s, d: seen.append((s, d, threading.get_ident())))
    yield hooks, seen
    hooks.remove()


def test_an_exception_is_reported_and_logged(
    caught: tuple[Hooks, list[tuple[str, str, int]]], caplog: pytest.LogCaptureFixture
) -> None:
    _, seen = caught
    try:
        raise ValueError("σ must be positive\nand finite")
    except ValueError:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    ((sentence, details, _),) = seen
    assert sentence == "Something went wrong (ValueError: σ must be positive)."
    assert "test_panels.py" in details
    assert "σ must be positive" in caplog.text


def test_an_exception_of_another_thread_is_reported_in_the_windows_thread(
    caught: tuple[Hooks, list[tuple[str, str, int]]], qtbot: QtBot
) -> None:
    _, seen = caught

    def fail() -> None:
        raise RuntimeError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    qtbot.waitUntil(lambda: bool(seen))
    assert "in a thread" in seen[0][0]
    assert seen[0][2] == threading.get_ident()


def test_an_error_while_reporting_does_not_go_round_in_circles(
    qapp: QApplication, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def broken(sentence: str, details: str) -> None:
        calls.append(sentence)
        try:
            raise KeyError("in the reporter")
        except KeyError:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        raise OSError("no window")

    hooks = install_excepthooks(broken)
    try:
        sys.excepthook(ValueError, ValueError("first"), None)
    finally:
        hooks.remove()
    assert len(calls) == 1
    assert "While reporting an error" in caplog.text
    assert "The error could not be shown" in caplog.text


def test_qt_messages_go_into_the_log(
    caught: tuple[Hooks, list[tuple[str, str, int]]], caplog: pytest.LogCaptureFixture
) -> None:
    qWarning("from Qt itself")
    records = [record for record in caplog.records if record.name.startswith("qt")]
    assert [(record.levelno, record.getMessage()) for record in records] == [(logging.WARNING, "from Qt itself")]
    assert errors._QT_LEVELS[QtMsgType.QtFatalMsg] == logging.CRITICAL


def test_the_hooks_can_be_taken_out_again(qapp: QApplication) -> None:
    before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    hooks = install_excepthooks(lambda sentence, details: None)
    assert sys.excepthook != before[0]
    hooks.remove()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before


# -- notices -------------------------------------------------------------------------------------------------------


def test_a_notice_shows_a_sentence_and_its_action(qtbot: QtBot) -> None:
    banner = Banner()
    qtbot.addWidget(banner)
    assert not banner.isVisible()
    banner.show_notice("3 steps skipped: loss was not finite", action="Show", key="skipped")
    assert banner.isVisible()
    assert banner.accessibleName() == "3 steps skipped: loss was not finite"
    assert has_color(banner.grab().toImage(), themes.color("changed"), QRect(0, 0, 3, 3))
    with qtbot.waitSignal(banner.action_chosen) as told:
        QTest.mouseClick(banner.action, Qt.MouseButton.LeftButton)
    assert told.args == ["skipped"]
    assert not banner.isVisible()
    banner.show_notice("Resumed at step 800", kind="info")
    assert not banner.action.isVisible()
    with qtbot.waitSignal(banner.closed):
        QTest.mouseClick(banner._close, Qt.MouseButton.LeftButton, pos=QPoint(10, 10))
    assert not banner.isVisible()


def test_a_run_in_training_keeps_its_name_and_its_place(qtbot, tmp_path):
    from datetime import datetime

    panel = RunsPanel()
    qtbot.addWidget(panel)
    panel.set_rows([RunRow(tmp_path, "now", 3, datetime(2026, 1, 1), None, True)])
    panel.set_current(tmp_path)
    assert not panel.model.flags(panel.model.index(0)) & Qt.ItemFlag.ItemIsEditable
    panel.set_rows([RunRow(tmp_path, "now", 3, datetime(2026, 1, 1), None, False)])
    assert panel.model.flags(panel.model.index(0)) & Qt.ItemFlag.ItemIsEditable
