"""Changes while a run goes on: undo and redo, what needs a fork, forks in the window, flags."""

from __future__ import annotations

import logging
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from ddpm_studio.app.controller import State
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.recipe_rows import FieldRow
from ddpm_studio.app.runs_panel import RunRow, arranged
from ddpm_studio.app.undo import RecipeHistory
from ddpm_studio.paths import runs_folder
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import Parent, ProbeRow, Run, list_runs

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)]

SMALL = find("two-gaussians").with_settings(
    {
        "training.steps": 1_000_000,
        "training.batch": 32,
        "training.decay": "none",
        "network.width": 16,
        "network.depth": 1,
        "preview.count": 16,
        "preview.steps": 8,
        "sampler.steps": 4,
        "compute.threads": 1,
        "compute.device": "cpu",
    }
)


# -- the history alone


def test_history_goes_back_and_forth() -> None:
    now = [0.0]
    history = RecipeHistory(SMALL, lambda: now[0])
    one, two = (SMALL.with_settings({"training.batch": n}) for n in (8, 16))
    assert history.next(-1) is history.next(1) is None
    history.push(one)
    now[0] = 5
    history.push(two)
    assert history.next(-1) == one
    assert [history.undo(), history.undo(), history.undo()] == [one, SMALL, SMALL]
    assert history.redo() == one
    other = one.with_settings({"seed": 4})
    history.push(other)  # what was undone is forgotten
    assert history.redo() == other
    assert history.undo() == one


def test_a_wheel_turned_on_is_one_edit_and_two_settings_are_two() -> None:
    now = [0.0]
    history = RecipeHistory(SMALL, lambda: now[0])
    for n in (8, 16, 24):
        now[0] += 0.2
        history.push(SMALL.with_settings({"training.batch": n}))
    history.push(history.recipe.with_settings({"training.learning_rate": 0.1}))
    assert history.undo().training.batch == 24
    assert history.undo() == SMALL


# -- in the window


@pytest.fixture
def window(window: MainWindow) -> MainWindow:
    window.form.set_level_of_detail("everything")
    return window


def trained(qtbot: QtBot, window: MainWindow, recipe: Recipe = SMALL) -> Run:
    window.start(recipe)
    is_training(qtbot, window)
    assert window.run is not None
    return window.run


def is_training(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(
        lambda: window.controller.state is State.TRAINING and len(window.controller.channels.batch) > 5,
    )


def stopped(qtbot: QtBot, window: MainWindow) -> None:
    window.session.on_stop()
    qtbot.waitUntil(lambda: window.controller.state is State.IDLE)


def type_into(window: MainWindow, path: str, text: str) -> QLineEdit:
    editor = next(r.editor for r in window.form.findChildren(FieldRow) if r.path == path)
    assert isinstance(editor, QLineEdit)
    editor.setFocus()
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Qt.Key.Key_Return)
    return editor


def test_undo_and_redo_before_a_run(qtbot: QtBot, window: MainWindow) -> None:
    window.session.choose(SMALL)
    undo, redo = window.actions_by_id["edit.undo"], window.actions_by_id["edit.redo"]
    assert not undo.isEnabled()
    window.activateWindow()
    editor = type_into(window, "training.batch", "48")
    assert undo.text() == "Undo: Batch"
    QTest.keyClick(editor, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)  # with the text still in hand
    assert window.form.recipe() == window.recipe == SMALL
    assert editor.text() == "32"
    assert not undo.isEnabled()
    redo.trigger()
    assert window.form.recipe().training.batch == window.recipe.training.batch == 48
    assert not redo.isEnabled()


def test_each_undo_in_a_run_is_an_event_and_a_flag(
    qtbot: QtBot, window: MainWindow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ddpm_studio")
    run = trained(qtbot, window)
    flags = window.controller.channels.flags
    type_into(window, "training.clip_norm", "0.5")
    qtbot.waitUntil(lambda: len(flags) == 1)
    window.actions_by_id["edit.undo"].trigger()
    qtbot.waitUntil(lambda: len(flags) == 2)
    window.actions_by_id["edit.redo"].trigger()
    qtbot.waitUntil(lambda: len(flags) == 3)
    was = SMALL.training.clip_norm
    assert was == 1
    assert [text for _, text in flags] == [f"Clip gradient: {a} → {b}" for a, b in ((1, 0.5), (0.5, 1), (1, 0.5))]
    assert window.plots is not None
    window.plots.refresh()
    assert "Clip gradient: 1 → 0.5" in window.plots.loss.flags_near(flags[0][0])
    assert window.plots.loss.flags_near(-1e6) == ""
    assert f"step {flags[0][0]}: Clip gradient: 1 → 0.5" in caplog.text  # which the log panel shows
    stopped(qtbot, window)
    with run.record() as record:
        told = [e.about for e in record.events() if e.kind == "setting_changed"]
    assert [(e["old"], e["new"]) for e in told] == [(was, 0.5), (0.5, was), (was, 0.5)]


def test_the_choice_of_weights_is_that_of_the_row_shown(qtbot: QtBot, window: MainWindow) -> None:
    trained(qtbot, window)
    view = window.view

    def previews(averaged: bool) -> bool:
        tape = view.player.tape
        return tape is not None and tape.averaged is averaged and view.weights_choice.isVisible() == averaged

    qtbot.waitUntil(lambda: previews(True))
    type_into(window, "training.ema_decay", "0")
    qtbot.waitUntil(lambda: previews(False) and view.line.text().endswith("raw weights"))
    qtbot.waitUntil(lambda: any(row.averaged is False for row in view.clock.rows))
    window.actions_by_id["edit.undo"].trigger()
    qtbot.waitUntil(lambda: previews(True) and view.line.text().endswith("EMA weights"))
    stopped(qtbot, window)
    for row, tape in enumerate(view.clock.rows):
        view.clock.set_row(row)
        assert view.weights_choice.isVisible() == tape.averaged
        assert view.line.text().endswith("EMA weights" if tape.averaged else "raw weights")


def test_a_structural_wish_waits_for_a_fork(qtbot: QtBot, window: MainWindow) -> None:
    window.resize(1024, 700)
    parent = trained(qtbot, window)
    line = window.form.fork_line
    assert not line.isVisible()
    type_into(window, "network.depth", "2")
    assert line.isVisible()
    assert "Needs a fork: Depth." in line.sentence.text()
    edited = window.form.focusWidget()
    assert edited is not None
    qtbot.waitUntil(lambda: edited.visibleRegion().boundingRect() == edited.rect())  # the line does not hide it
    assert window.recipe == SMALL  # the run goes on with its own
    qtbot.waitUntil(lambda: "weight tensors" in line.sentence.text())
    qtbot.waitUntil(lambda: edited.visibleRegion().boundingRect() == edited.rect())
    type_into(window, "training.learning_rate", "0.002")  # live settings still take effect
    qtbot.waitUntil(lambda: bool(window.controller.channels.flags))
    assert window.recipe == SMALL.with_settings({"training.learning_rate": 0.002})
    QTest.mouseClick(line.undo, Qt.MouseButton.LeftButton)
    assert not line.isVisible()
    assert window.form.recipe() == window.recipe
    window.actions_by_id["edit.undo"].trigger()
    assert line.isVisible()
    QTest.mouseClick(line.fork, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.run is not None and window.run.path != parent.path)
    is_training(qtbot, window)
    child = window.run
    assert child is not None
    assert not line.isVisible()
    assert window.recipe.network.depth == 2  # type: ignore[union-attr]
    assert window.recipe.training.learning_rate == 0.002
    qtbot.waitUntil(lambda: "weight tensors" in window.banner.sentence.text())
    stopped(qtbot, window)
    told = child.parent()
    assert told is not None
    assert told.path == parent.path
    assert told.step == parent.checkpoints()[-1].step
    assert {s.run.path for s in list_runs()} == {parent.path, child.path}
    listed(qtbot, window)
    row = next(r for r in window.runs_panel.model.rows() if r.path == child.path)
    assert row.parent == parent.path
    assert row.depth == 1
    assert row.before == told.step


def test_a_stopped_run_can_be_forked_and_resume_keeps_the_wish(qtbot: QtBot, window: MainWindow) -> None:
    parent = trained(qtbot, window)
    stopped(qtbot, window)
    type_into(window, "schedule.steps", "300")
    line = window.form.fork_line
    assert "Needs a fork: Steps T. A new run takes along all weights" in line.sentence.text()
    type_into(window, "network.depth", "3")
    qtbot.waitUntil(lambda: "weight tensors" in line.sentence.text())
    assert "Needs a fork: Steps T, Depth." in line.sentence.text()
    window.actions_by_id["edit.undo"].trigger()
    qtbot.waitUntil(lambda: window.controller.state is State.IDLE and not window.session.data_clock.isActive())
    window.session.on_resume()
    is_training(qtbot, window)
    assert window.run == parent
    assert window.form.recipe().schedule.steps == SMALL.schedule.steps
    window.actions_by_id["edit.undo"].trigger()  # the wish again
    assert line.isVisible()
    stopped(qtbot, window)
    assert line.isVisible()
    assert window.recipe.schedule.steps == 300
    window.actions_by_id["edit.fork"].trigger()
    is_training(qtbot, window)
    assert window.run is not None
    assert window.run != parent
    stopped(qtbot, window)
    assert window.run.recipe().schedule.steps == 300


def test_a_run_that_is_taken_away_needs_no_fork(qtbot: QtBot, window: MainWindow) -> None:
    run = trained(qtbot, window)
    stopped(qtbot, window)
    shutil.rmtree(run.path)
    type_into(window, "network.depth", "2")  # the data are opened, and then the run is looked at again
    qtbot.waitUntil(lambda: not window.form.fork_line.isVisible())
    assert window.recipe.network.depth == 2  # type: ignore[union-attr]
    window.session.on_wish_dropped()  # does nothing
    assert window.recipe.network.depth == 2  # type: ignore[union-attr]


# -- runs side by side


def a_row(folder: Path, name: str, **rest: Any) -> RunRow:
    (folder / name).mkdir()
    return RunRow(folder / name, name, 100, datetime(2026, 1, 2), **rest)


def test_forks_stand_below_their_parents(tmp_path: Path) -> None:
    old = a_row(tmp_path, "old")
    new = a_row(tmp_path, "new")
    fork = a_row(tmp_path, "fork", parent=old.path, forked_at=70, before=70)
    second = a_row(tmp_path, "second", parent=fork.path, forked_at=5, before=75)
    orphan = a_row(tmp_path, "orphan", parent=tmp_path / "gone", forked_at=9, before=9)
    found = arranged([second, orphan, fork, new, old])
    assert [(row.name, row.depth) for row in found] == [
        ("orphan", 0),
        ("new", 0),
        ("old", 0),
        ("fork", 1),
        ("second", 2),
    ]


def listed(qtbot: QtBot, window: MainWindow) -> None:
    """Look at the runs on disk, and wait until they are listed."""
    window.reports.list_runs()
    qtbot.waitUntil(lambda: not window.reports._listing.busy)


def test_chosen_runs_share_their_axes(qtbot: QtBot, window: MainWindow) -> None:
    runs = [Run.create(SMALL.with_settings({"seed": n}), runs_folder() / f"run {n}") for n in range(2)]
    runs.append(Run.create(SMALL, runs_folder() / "fork", Parent(runs[0].path, 100, 100, 0.0)))
    for i, run in enumerate(runs):
        with run.record(write=True) as record:
            for step in (0, 50, 100):
                record.add_probe(ProbeRow(step, 1.0 + i, 1.0, *(np.ones(2),) * 3))
    listed(qtbot, window)
    panel, plots = window.runs_panel, window.plots
    assert plots is not None
    index = {row.name: panel.model.index(i) for i, row in enumerate(panel.model.rows())}
    for name in ("run 0", "fork"):
        spot = panel.view.visualRect(index[name]).center()
        QTest.mouseClick(
            panel.view.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, pos=spot
        )
    qtbot.waitUntil(lambda: len(plots.loss._compared) == 2)
    drawn = {name: item for name, item, *_ in plots.loss._compared}
    assert drawn.keys() == {"run 0", "fork"}
    steps, losses = drawn["fork"].getData()
    assert list(steps) == [100, 150, 200]  # from where its parent stood
    assert list(losses) == [3, 3, 3]
    assert plots.loss.last_step() == 200
    assert drawn["fork"].opts["pen"].color() != drawn["run 0"].opts["pen"].color()
    assert [legend.accessibleName() for legend in plots._run_legends] == ["run 0 1", "fork 3"]
    assert "run 0 1" in plots.loss._readout(100)
    listed(qtbot, window)  # the choice survives
    assert len(panel.chosen()) == 2
    QTest.mouseClick(
        panel.view.viewport(), Qt.MouseButton.LeftButton, pos=panel.view.visualRect(index["run 1"]).center()
    )
    qtbot.waitUntil(lambda: plots.loss._compared == [])
    assert plots.legend.isVisible()
    assert not plots._run_legends[0].isVisible()


def test_losses_of_another_kind_on_one_axis_are_told_apart(qtbot: QtBot, window: MainWindow) -> None:
    changes = {"one": {}, "alike": {"seed": 7}, "other": {"objective.loss": "l1", "prediction.predicts": "x0"}}
    changes |= {"elsewhere": {"data.source": "spiral"}, "steep": {"objective.loss": "l1"}}
    for name, change in changes.items():
        run = Run.create(SMALL.with_settings(change), runs_folder() / name)
        with run.record(write=True) as record:
            record.add_probe(ProbeRow(50, 1.0, 1.0, *(np.ones(2),) * 3))
    listed(qtbot, window)
    rows, plots = {row.name: row for row in window.runs_panel.model.rows()}, window.plots
    assert plots is not None
    for names, said in (
        (("one", "alike"), ""),
        (("one", "other"), "These losses do not compare: Loss, Predicts differ"),
        (("one", "elsewhere"), "These losses do not compare: the data differ"),
        (("one", "steep"), "These losses do not compare: Loss differs"),
        (("alike",), ""),
    ):
        window.reports.on_curves_wanted([(rows[name], QColor("red")) for name in names])
        qtbot.waitUntil(lambda: not window.reports._reading_curves.busy)
        assert plots.apart.text() == said
        assert plots.apart.isVisible() == bool(said)
