"""The session holds the run on screen, what it learns and whether it is saved; the window's thread reads no disk."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from ddpm_studio.app import files
from ddpm_studio.app.controller import State
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.paths import runs_folder
from ddpm_studio.recipes import find
from ddpm_studio.store import Record, Run, list_runs
from ddpm_studio.store import run as store_run
from ddpm_studio.training.control import SampleRequest
from ddpm_studio.training.events import RolledBack
from tests.app.test_live_changes import SMALL, stopped, trained, type_into
from tests.app.test_live_changes import window as window_with_torch
from tests.app.test_side_by_side import a_row, a_run, listed

window = window_with_torch  # the fixture

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)]


def idle(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: window.controller.state is State.IDLE and not window.session.data_clock.isActive())


def done(qtbot: QtBot, window: MainWindow) -> Run:
    """A run that was trained a little and stands still."""
    run = trained(qtbot, window)
    stopped(qtbot, window)
    idle(qtbot, window)
    return run


@pytest.fixture
def no_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which parts of a run the window's thread has read."""
    read: list[str] = []

    def watch(of: type, name: str) -> None:
        before: Callable[..., object] = getattr(of, name)

        def watched(*args: object, **rest: object) -> object:
            if threading.current_thread() is threading.main_thread():
                read.append(name)
            return before(*args, **rest)

        monkeypatch.setattr(of, name, watched)

    for of, name in ((Run, "recipe"), (Run, "current_recipe"), (Run, "checkpoints"), (Record, "__init__")):
        watch(of, name)
    return read


def test_a_run_with_a_damaged_checkpoint_can_be_left(qtbot: QtBot, window: MainWindow) -> None:
    run = done(qtbot, window)
    for file in run.checkpoint_folder.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    type_into(window, "training.batch", "9")
    idle(qtbot, window)
    assert window.session.run_recipe.training.batch == 32
    window.on_compare()
    assert window.comparing.panel is not None
    window.comparing.panel.reject()
    window.session.on_resume()
    idle(qtbot, window)
    assert "damaged" in window.failures[-1]
    window.session.choose(find("pixel-faces"))
    assert window.recipe == find("pixel-faces")
    assert window.run is None
    idle(qtbot, window)


def test_a_run_whose_folder_went_can_be_left(qtbot: QtBot, window: MainWindow) -> None:
    run = done(qtbot, window)
    told: list[str] = []
    window.session.refused.disconnect()
    window.session.refused.connect(told.append)
    shutil.rmtree(run.path)
    window.on_compare()
    assert window.comparing.panel is not None
    window.comparing.panel.reject()
    window.session.on_resume()
    assert told == [f"{run.path} has no checkpoint any more: its files were moved"]
    window.session.on_recipe_named("pixel-faces")
    assert window.recipe == find("pixel-faces")
    idle(qtbot, window)


def test_an_edit_reads_no_disk(qtbot: QtBot, window: MainWindow, no_disk: list[str]) -> None:
    done(qtbot, window)
    no_disk.clear()
    type_into(window, "network.depth", "2")
    assert window.session.structural_wishes() == ["network.depth"]
    assert window.session.run_recipe == SMALL
    assert no_disk == []


def test_a_renamed_run_stays_on_screen(qtbot: QtBot, window: MainWindow) -> None:
    run = done(qtbot, window)
    window.files.on_rename(run.path, "renamed")
    assert window.run == Run(run.path.with_name("renamed"))
    assert window.run.checkpoints()
    assert window.actions_by_id["run.sample_now"].isEnabled()
    assert window.settings.recents()[0] == window.run.path
    qtbot.waitUntil(lambda: [row.name for row in window.runs_panel.model.rows()] == ["renamed"])
    window.session.on_resume()
    assert window.controller.training
    stopped(qtbot, window)
    idle(qtbot, window)
    assert window.failures == []


def test_a_trashed_run_is_let_go(qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    run = done(qtbot, window)

    def trash(path: Path) -> bool:
        shutil.rmtree(path)
        return True

    monkeypatch.setattr(files, "move_to_trash", trash)
    window.files.on_trash(run.path)
    qtbot.waitUntil(lambda: window.run is None)
    assert not window.actions_by_id["run.sample_now"].isEnabled()
    assert not window.actions_by_id["run.resume"].isEnabled()
    assert window.view.player.tape is None
    qtbot.waitUntil(lambda: window.runs_panel.model.rows() == [])


def test_while_a_run_is_sampled_it_keeps_its_place(qtbot: QtBot, window: MainWindow) -> None:
    run = trained(qtbot, window, SMALL.with_settings({"sampler.steps": 500}))
    stopped(qtbot, window)
    idle(qtbot, window)
    window.session.sample("raw")
    assert window.controller.state is State.SAMPLING
    assert window.badge._running
    window.files.on_rename(run.path, "renamed")
    window.files.on_trash(run.path)
    window.session.on_recipe_named("pixel-faces")
    assert window.run == run
    assert run.path.is_dir()
    assert "Stop what runs first" in window.status.message.text()
    assert window.recipe.name == SMALL.name
    window.controller.stop()
    idle(qtbot, window)


def test_a_fork_that_was_undone_meanwhile_does_not_begin(qtbot: QtBot, window: MainWindow) -> None:
    run = trained(qtbot, window)
    type_into(window, "network.depth", "2")
    window.session.on_fork()
    window.session.on_undo()
    idle(qtbot, window)
    qtbot.wait(50)
    assert window.run == run
    assert window.controller.state is State.IDLE
    assert len(list_runs()) == 1


def test_no_fork_begins_after_a_failure(qtbot: QtBot, window: MainWindow) -> None:
    run = trained(qtbot, window)
    type_into(window, "network.depth", "2")
    window.session.on_fork()
    window.controller._on_failed("The disk is full", "")
    idle(qtbot, window)
    qtbot.wait(50)
    assert window.run == run
    assert window.controller.state is State.IDLE


def test_a_run_that_cannot_be_read_leaves_the_one_on_screen(qtbot: QtBot, window: MainWindow) -> None:
    run = done(qtbot, window)
    channels, tape = window.controller.channels, window.view.player.tape
    bad = Run.create(find("pixel-faces"), runs_folder() / "bad")
    bad.record_file.write_bytes(b"not a database at all" * 100)
    window.session.open_run(bad.path)
    idle(qtbot, window)
    assert "cannot be" in window.banner.sentence.text()
    assert window.run == run
    assert window.controller.channels is channels
    assert len(channels.batch) > 0
    assert window.view.player.tape is tape
    assert window.session.has_checkpoint
    assert bad.path not in window.settings.recents()


def test_samples_go_by_what_the_run_has_learnt(
    qtbot: QtBot,
    window: MainWindow,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done(qtbot, window)
    asked: list[SampleRequest] = []
    monkeypatch.setattr(window.controller, "sample", lambda run, request: asked.append(request))
    window.session.on_recipe_edited(window.recipe.with_settings({"sampler.steps": 7}))
    window.on_sample()
    assert (asked[-1].count, asked[-1].sampler.steps) == (2000, 7)
    window.session.on_recipe_edited(window.recipe.with_settings({"network.kind": "compact-unet"}))
    idle(qtbot, window)
    window.on_sample()
    assert asked[-1].count == 2000, "the run learns points, whatever the form says"
    window.session.preview("raw")
    assert (asked[-1].count, asked[-1].seed) == (16, SMALL.seed)


def test_what_was_changed_behind_a_roll_back_has_no_flag(qtbot: QtBot, window: MainWindow) -> None:
    done(qtbot, window)
    assert window.plots is not None
    window.stage.add_flag(3, "early")
    window.stage.add_flag(900_000, "late")
    window.reports.on_event(RolledBack(10, 900_001, 0.5, "NaN"))
    assert window.controller.channels.flags == [(3, "early")]
    assert window.plots.loss._flag_texts == ["early"]


def test_a_reopened_run_has_no_flag_behind_a_roll_back(qtbot: QtBot, window: MainWindow) -> None:
    run = Run(a_run("back", [a_row(1)]))
    change = {"setting": "training.learning_rate", "old": 0.1, "new": 0.2}
    with run.record(write=True) as record:
        record.add_event(5, "setting_changed", change)
        record.add_event(50, "setting_changed", change)
        record.add_event(60, "rolled_back", {"to": 20, "rate_scale": 0.5, "reason": "NaN"})
        record.add_event(25, "setting_changed", change)
    window.session.open_run(run.path)
    idle(qtbot, window)
    assert [step for step, _ in window.controller.channels.flags] == [5, 25]


def test_the_list_and_its_curves_are_read_elsewhere(
    qtbot: QtBot,
    window: MainWindow,
    no_disk: list[str],
) -> None:
    for i in range(3):
        a_run(f"run {i}", [a_row(1)])
    no_disk.clear()
    listed(window)
    rows = window.runs_panel.model.rows()
    assert {row.name for row in rows} == {f"run {i}" for i in range(3)}
    window.reports.on_curves_wanted([(row, QColor("red")) for row in rows])
    window.side_by_side.on_wanted([(row, i) for i, row in enumerate(rows)])
    qtbot.waitUntil(lambda: not window.reports._reading_curves.busy)
    assert window.view.comparison.together is not None
    assert no_disk == []
    qtbot.waitUntil(lambda: all(run.read.is_set() for run in window.view.comparison.together.runs))
    window.view.leave_comparison()


def test_only_runs_that_have_changed_are_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [a_run(f"run {i}", [a_row(1)]) for i in range(3)]
    list_runs()
    read: list[Path] = []
    before = store_run.Run.record
    monkeypatch.setattr(Run, "record", lambda run, **rest: (read.append(run.path), before(run, **rest))[1])
    assert len(list_runs()) == 3
    assert read == []
    with before(Run(paths[1]), write=True) as record:
        record.add_metrics(7, 1, 1, 1, 1, 1)
        record.flush()
        assert {s.step for s in list_runs()} == {0, 7}, "also while somebody writes"
    assert set(read) == {paths[1]}
    shutil.rmtree(paths[0])
    assert len(list_runs()) == 2


def test_reading_ends_when_the_runs_leave_the_stage(qtbot: QtBot, window: MainWindow) -> None:
    paths = [a_run(f"run {i}", [a_row(k) for k in range(3)]) for i in range(2)]
    listed(window)
    window.side_by_side.on_wanted([(row, i) for i, row in enumerate(window.runs_panel.model.rows())])
    unwanted = window.side_by_side._unwanted
    assert not unwanted.is_set()
    window.session.open_run(paths[0])
    idle(qtbot, window)
    assert window.view.comparison.together is None
    assert unwanted.is_set()
    assert window.view._before is None


def test_a_damaged_array_is_left_out(qtbot: QtBot, window: MainWindow) -> None:
    bad, good = (a_run(name, [a_row(k) for k in range(3)]) for name in ("bad", "good"))
    with sqlite3.connect(bad / "record.sqlite") as db:
        db.execute("update arrays set shape = 'x' where tape = 2")
        db.execute("insert into probe_arrays values (3, 'floor', '<f8', 'x', ?)", (b"",))
    db.close()
    with Run(bad).record() as record:
        assert [tape.training_step for tape in record.rows()] == [2, 0]
        assert record._probe_arrays("floor") == {}
    listed(window)
    window.side_by_side.on_wanted([(row, i) for i, row in enumerate(window.runs_panel.model.rows())])
    together = window.view.comparison.together
    assert together is not None
    qtbot.waitUntil(lambda: all(run.read.is_set() for run in together.runs))
    assert {run.name: len(run.reel.rows) for run in together.runs} == {"bad": 2, "good": 3}
    assert good.is_dir()
    window.view.leave_comparison()


def test_a_run_whose_folder_goes_while_it_begins_leaves_the_window_alive(
    qtbot: QtBot,
    window: MainWindow,
) -> None:
    window.start(SMALL)
    assert window.run is not None
    window.run.remove_if_empty()
    window.run.remove_if_empty()  # which has gone
    window.session.on_stop()
    idle(qtbot, window)
    assert window.session._begun is None


def test_a_run_is_copied_whole_while_it_is_trained(
    qtbot: QtBot,
    window: MainWindow,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    trained(qtbot, window)
    window.session.on_save()
    qtbot.waitUntil(lambda: window.session.has_checkpoint)
    target = tmp_path / "copy"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *args: (str(target), ""))
    with qtbot.waitSignal(window.files.exporting.done):
        window.files.on_save_run_as()
    assert window.controller.training, "which has gone on"
    copy = Run.open(target)
    assert copy.checkpoints()[-1].about()[1].title == SMALL.title
    with copy.record() as record:
        assert len(record.metrics()) > 0
        assert next(event.kind for event in record.events()) == "started"
    qtbot.waitUntil(lambda: not window.files.exporting.busy)
    assert not list(tmp_path.glob(".*")), "no half of it"


def test_a_copy_that_is_cancelled_leaves_nothing(home: Path, tmp_path: Path) -> None:
    from ddpm_studio.data import Cancelled
    from ddpm_studio.store import RunError

    run = Run(a_run("whole", [a_row(k) for k in range(3)]))
    told: list[tuple[int, int]] = []
    with pytest.raises(Cancelled):
        run.copy(tmp_path / "copy", lambda done, of: bool(told.append((done, of))))
    assert list(tmp_path.iterdir()) == []
    run.copy(tmp_path / "copy", lambda done, of: not told.append((done, of)))
    assert told[-1][0] == told[-1][1] > 0
    with pytest.raises(RunError, match="already there"):
        run.copy(tmp_path / "copy", lambda done, of: True)
