"""The real window, used as a person would: start, watch, scrub, change, stop, reopen, go wrong, quit."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import hashlib
import logging
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from PySide6.QtCore import QEvent, QMimeData, QPointF, Qt, QThread, QTimer, QTranslator, QUrl
from PySide6.QtGui import QAction, QDropEvent, QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.jobs import DataMissing
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.recipe_rows import FieldRow
from ddpm_studio.app.reports import _change
from ddpm_studio.app.session import Session
from ddpm_studio.app.theme import install
from ddpm_studio.app.widgets import PushButton
from ddpm_studio.app.worker import _sentence
from ddpm_studio.data import cifar, mnist
from ddpm_studio.data.vision import torchvision
from ddpm_studio.recipes import Recipe, built_in, find
from ddpm_studio.recipes.tutorials import tutorials
from ddpm_studio.store import Run, list_runs
from ddpm_studio.training.events import Carried, MemoryFull, SaveFailed, Waiting

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]
LONG = 1_000_000
Key = Qt.Key


def small(steps: int = LONG, **settings: Any) -> Recipe:
    """Two Gaussians, tiny, with a preview at once."""
    base = {
        "training.steps": steps,
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
    return find("two-gaussians").with_settings(base | {k.replace("__", "."): v for k, v in settings.items()})


def steps(window: MainWindow) -> int:
    return len(window.controller.channels.batch)


def train(qtbot: QtBot, window: MainWindow, recipe: Recipe, least: int = 5) -> None:
    window.start(recipe)
    qtbot.waitUntil(lambda: window.controller.state is State.TRAINING and steps(window) >= least)


def wait_idle(qtbot: QtBot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: not window.controller.busy)


def press(window: MainWindow, action: str) -> None:
    assert window.actions_by_id[action].isEnabled(), f"{action} cannot be pressed"
    window.actions_by_id[action].trigger()


def message(window: MainWindow) -> str:
    return window.status.message.text()


def row(window: MainWindow, path: str) -> FieldRow:
    return window.form._rows()[path]


def type_in(window: MainWindow, path: str, text: str) -> None:
    editor = row(window, path).editor
    editor.setFocus()
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Key.Key_Return)


# -- a run


def test_start_watch_scrub_pause_sample_stop_reopen_resume(qtbot, window, opened):
    enabled = {name: a.isEnabled() for name, a in window.actions_by_id.items()}
    assert enabled["run.start"]
    assert not enabled["run.resume"]
    assert not enabled["run.stop"]
    empty = window.plots.loss.grab().toImage()

    window.session.choose(small())
    QTest.keyClick(window, Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: window.controller.state is State.TRAINING)
    assert not window.actions_by_id["run.start"].isEnabled()
    qtbot.waitUntil(lambda: steps(window) > 20)
    n = steps(window)
    qtbot.waitUntil(lambda: steps(window) > n)
    assert "Learning" in message(window)

    # curves and preview
    qtbot.waitUntil(lambda: window.plots.loss.last_step() > 0)
    qtbot.waitUntil(lambda: window.plots.loss.grab().toImage() != empty)
    player = window.view.player
    qtbot.waitUntil(lambda: window.top_bar.step.text().startswith("Step "))
    shown = window.top_bar.width()
    window.top_bar.resize(1000, window.top_bar.height())
    qtbot.waitUntil(lambda: "CPU, fp32, 1 thread\n" in window.top_bar.step.toolTip())
    window.top_bar.resize(shown, window.top_bar.height())
    qtbot.waitUntil(lambda: player.tape is not None and player.tape.complete and player.tape.training_step is not None)
    qtbot.waitUntil(lambda: player.count == player.total)  # the player has noticed it, too
    assert player.tape.kind == "points"

    # the timeline by keyboard and mouse; no new preview comes between a look and a click
    window.stage.stop_clocks()
    level = window.view.timeline.level
    window.view.setFocus()
    QTest.keyClick(window.view, Key.Key_Home)
    noise = level.text()
    QTest.keyClick(window.view, Key.Key_Right)
    assert level.text() != noise
    QTest.keyClick(window.view, Key.Key_Left)
    assert level.text() == noise
    strip = window.view.timeline.strip
    place = strip.places()[-1][1]
    QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=place.center())
    assert level.text() == "t = 0" != noise
    QTest.keyClick(window.view, Key.Key_End)
    window.stage.start_clocks()

    # pause and go on
    press(window, "run.pause")
    qtbot.waitUntil(lambda: window.controller.state is State.PAUSED)
    assert message(window) == "Paused"
    n = steps(window)
    qtbot.wait(60)
    assert steps(window) == n
    assert window.actions_by_id["run.pause"].text() == "Resume"
    press(window, "run.pause")
    qtbot.waitUntil(lambda: steps(window) > n)

    # a sample of this moment
    press(window, "run.sample_now")
    qtbot.waitUntil(lambda: player.tape is not None and player.tape.count == 2000)
    assert window.controller.training

    press(window, "run.stop")
    assert window.controller.state is State.STOPPING
    wait_idle(qtbot, window)
    assert "everything is saved" in message(window)
    run = window.run
    assert run.checkpoints()
    last = steps(window)

    # sample from what was saved
    press(window, "run.sample_now")
    assert window.controller.state is State.SAMPLING
    wait_idle(qtbot, window)
    qtbot.waitUntil(lambda: "Sampled in" in message(window))

    # a fresh window shows the run as it was
    window.close()
    other = opened()
    other.open_run(run.path)
    qtbot.waitUntil(lambda: "Opened" in message(other))
    wait_idle(qtbot, other)
    assert steps(other) == last
    assert other.recipe == small()
    assert other.view.player.tape is not None
    assert other.form.card.where.text() == "t = 0", "as in the player"
    assert len(other.controller.channels.probe) > 0
    qtbot.waitUntil(lambda: other.plots.loss.last_step() == last)
    qtbot.waitUntil(lambda: [r.path for r in other.runs_panel.model.rows()] == [run.path])

    press(other, "run.resume")
    qtbot.waitUntil(lambda: steps(other) > last)
    press(other, "run.stop")
    wait_idle(qtbot, other)
    with run.record() as record:
        metrics = record.metrics()
    assert np.array_equal(metrics[:, 0], np.arange(1, len(metrics) + 1)), "no step twice, none left out"


def test_a_finished_run_says_so_and_goes_on_for_half_as_long(qtbot, window, caplog):
    window.start(small(10))
    qtbot.waitUntil(lambda: message(window) == "Done: 10 steps.")
    wait_idle(qtbot, window)
    assert "5 more steps" in window.top_bar.resume.toolTip()
    type_in(window, "training.steps", "12")
    assert "2 more steps" in window.top_bar.resume.toolTip()
    type_in(window, "training.steps", "10")
    with caplog.at_level(logging.INFO, "ddpm_studio"):
        press(window, "run.resume")
        assert window.form.recipe().training.steps == window.recipe.training.steps == 15
        qtbot.waitUntil(lambda: message(window) == "Done: 15 steps.")
    assert steps(window) == 15
    assert "Learning Two Gaussians: 5 more steps, up to step 15" in caplog.messages
    wait_idle(qtbot, window)
    assert window.run.current_recipe() == window.recipe == window.form.recipe()
    assert "7 more steps" in window.top_bar.resume.toolTip()


def test_a_change_while_training_is_an_event_and_a_flag(qtbot, window, opened):
    train(qtbot, window, small())
    assert "a fork of it can" in row(window, "network.width").toolTip()
    type_in(window, "training.learning_rate", "0.0007")
    qtbot.waitUntil(lambda: bool(window.controller.channels.flags))
    assert window.controller.channels.flags[0][1] == "Learning rate: 0.003 → 0.0007"
    qtbot.waitUntil(lambda: "0.0007" in window.plots.readout.text())
    press(window, "run.stop")
    wait_idle(qtbot, window)
    with window.run.record() as record:
        changes = [e.about for e in record.events() if e.kind == "setting_changed"]
    assert changes == [{"setting": "training.learning_rate", "old": 0.003, "new": 0.0007}]

    path = window.run.path
    window.close()
    other = MainWindow()  # named on the command line: the run is there before the plots are
    try:
        other.show()
        other.open_path(path)
        qtbot.waitUntil(lambda: other.plots is not None and "0.0007" in other.plots.readout.text())
        assert other.recipe.training.learning_rate == 0.0007
        wait_idle(qtbot, other)
    finally:
        other.close()
        other.deleteLater()


def test_another_recipe_lets_go_of_the_run(qtbot, window):
    window.start(small(40))
    qtbot.waitUntil(lambda: message(window) == "Done: 40 steps.")
    wait_idle(qtbot, window)
    qtbot.waitUntil(lambda: window.view.player.tape is not None and window.plots.loss.last_step() == 40)
    path = window.run.path
    type_in(window, "training.learning_rate", "0.0007")
    assert window.actions_by_id["run.resume"].isEnabled(), "an edit keeps it"

    window.top_bar.recipe_chosen.emit("moons")
    actions = window.actions_by_id
    assert not any(actions[f"run.{name}"].isEnabled() for name in ("resume", "sample_now", "compare", "save_as"))
    assert window.run is None
    assert window.view.player.tape is None
    assert window.view.caption.text() == ""
    assert "points will drift" in window.view.points._hint.text()
    assert window.form.card.where.text() == f"t = {window.recipe.schedule.steps // 2:,}"
    assert window.plots.loss.last_step() == 1, "the axis of empty curves"
    assert message(window) == "Ready. Start learns Moons."
    qtbot.waitUntil(lambda: window.top_bar.step.text() == "")
    wait_idle(qtbot, window)
    qtbot.waitUntil(lambda: [row.path for row in window.runs_panel.model.rows()] == [path])  # it stays in the list

    window.open_run(path)
    wait_idle(qtbot, window)
    assert window.recipe == small(40)
    assert actions["run.resume"].isEnabled()
    assert window.view.player.tape is not None
    assert window.form.card.where.text() == "t = 0", "as in the player"
    assert message(window).startswith("Opened ")


def test_a_recipe_chosen_while_a_run_is_opened_wins(qtbot, window):
    window.start(small(3))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    wait_idle(qtbot, window)
    window.open_run(window.run.path)
    window.session.choose(find("moons"))
    qtbot.waitUntil(lambda: window.dataset is not None and window.dataset.name == "moons")
    wait_idle(qtbot, window)
    assert window.recipe == find("moons")
    assert window.run is None


def test_a_start_that_fails_loses_nothing(qtbot, window):
    window.start(small(40))
    qtbot.waitUntil(lambda: message(window) == "Done: 40 steps.")
    wait_idle(qtbot, window)
    last = window.controller.channels.reel
    qtbot.waitUntil(lambda: window.view.player.tape is last.rows[-1] and last.steps[-1] == 40)
    run, tape, caption = window.run, window.view.player.tape, window.view.caption.text()
    window._on_changes_wanted({"data.source": "/nowhere"})
    wait_idle(qtbot, window)
    window.failures.clear()
    window.on_start()
    wait_idle(qtbot, window)
    assert window.failures
    assert window.run is run
    assert window.view.player.tape is tape
    assert window.view.caption.text() == caption != ""
    assert window.actions_by_id["run.resume"].isEnabled()
    qtbot.waitUntil(lambda: window.plots.loss.last_step() == 40)
    assert [s.run.path for s in list_runs()] == [run.path]


def test_what_is_being_typed_counts_when_start_is_pressed(qtbot, window):
    window.session.choose(small(3))
    window.form.set_level_of_detail("everything")
    editor = row(window, "training.steps").editor
    editor.setFocus()
    editor.selectAll()
    QTest.keyClicks(editor, "4")
    press(window, "run.start")
    qtbot.waitUntil(lambda: message(window) == "Done: 4 steps.")


def test_an_invalid_field_disables_start_with_a_sentence(qtbot, window):
    window.form.set_level_of_detail("everything")
    start = window.actions_by_id["run.start"]
    type_in(window, "training.batch", "0")
    assert not start.isEnabled()
    sentence = message(window)
    assert sentence
    with qtbot.waitSignal(window.controller.idle):
        window.session.data_clock.start(1)  # a data load comes and goes, Start stays off and the mark stays on
    assert not start.isEnabled()
    assert window.form.problems()
    window.actions_by_id["run.start"].trigger()
    assert window.run is None
    type_in(window, "training.batch", "16")
    assert start.isEnabled()
    assert message(window) == ""


def test_start_in_the_middle_of_a_data_load(qtbot, window):
    """The curves are those of the new run, and nothing pushes it out of the queue."""
    window.session.choose(find("pixel-faces"))
    window.controller.open_data(window.recipe)
    assert window.controller.state is State.LOADING
    window.start(small(30))
    assert window.controller.state is State.STARTING
    qtbot.wait(350)  # the data clock of the new recipe
    qtbot.waitUntil(lambda: message(window) == "Done: 30 steps.")
    qtbot.waitUntil(lambda: window.plots.loss.last_step() == 30)
    assert len(list_runs()) == 1


def test_nothing_else_opens_while_a_training_goes_on(qtbot, window, tmp_path):
    other = Run.create(small(), tmp_path / "other")
    train(qtbot, window, small())
    run = window.run
    for path in (other.path, tmp_path):
        window.open_path(path)
        assert window.run is run
        assert window.recipe == small()
        assert "Stop what runs first" in message(window)
    press(window, "run.stop")
    wait_idle(qtbot, window)


# -- pictures, folders, failures


def pictures(folder: Path, n: int = 6) -> Path:
    folder.mkdir()
    for i in range(n):
        noise = np.random.default_rng(i).integers(0, 255, (40, 36, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"{i}.png")
    return folder


TINY = {
    "training.steps": 2,
    "training.batch": 2,
    "network.channels": (16,),
    "preview.count": 2,
    "preview.steps": 2,
    "data.height": 8,
    "data.width": 8,
    "compute.threads": 1,
    "compute.device": "cpu",
}


def test_a_dropped_folder_of_pictures_is_learnt(qtbot, window, tmp_path):
    folder = pictures(tmp_path / "my pictures")
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(folder))])
    nothing = Qt.KeyboardModifier.NoModifier
    drop = QDropEvent(QPointF(9, 9), Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, nothing)
    window.dropEvent(drop)
    assert window.recipe.data.source == str(folder)
    assert window.top_bar.recipe_button.text() == "my pictures"
    qtbot.waitUntil(lambda: window.dataset is not None and window.dataset.shape == (3, 32, 32))
    wait_idle(qtbot, window)
    window.start(window.recipe.with_settings(TINY))
    qtbot.waitUntil(lambda: message(window) == "Done: 2 steps.")
    assert not window.failures


def test_a_picture_recipe(qtbot, window):
    window.start(find("fashion-mnist").with_settings(TINY | {"training.steps": 3, "network.patch": 1}))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    qtbot.waitUntil(lambda: window.view.player.tape is not None and window.view.player.tape.kind == "pictures")
    assert not window.failures


def test_a_failed_training_is_one_sentence_and_the_next_start_works(qtbot, window, tmp_path, capfd):
    recipe = find("pixel-faces").with_settings({**TINY, "data.source": str(tmp_path / "gone")})
    window.start(recipe)
    qtbot.waitUntil(lambda: bool(window.failures))
    wait_idle(qtbot, window)
    assert str(tmp_path / "gone") in window.failures[0]
    assert "Something unexpected" not in window.failures[0]
    assert message(window) == window.failures[0]
    assert not window.actions_by_id["run.resume"].isEnabled()
    window.start(small(5))
    qtbot.waitUntil(lambda: message(window) == "Done: 5 steps.")
    assert str(tmp_path / "gone") in capfd.readouterr().err


def test_a_run_that_cannot_be_opened_is_one_sentence(window, tmp_path, capfd):
    (tmp_path / "recipe.toml").write_text("name = 3")
    window.open_path(tmp_path)
    window.open_path(tmp_path / "recipe.toml")
    window.open_path(tmp_path / "nowhere")
    assert len(capfd.readouterr().err.strip().splitlines()) >= 3
    assert window.actions_by_id["run.start"].isEnabled()


# -- the tutorials' recipes


def test_the_menu_has_each_tutorial_in_two_editions(window):
    menu = window.top_bar.recipe_button.menu()
    chosen = {action.objectName(): action for action in menu.findChildren(QAction) if action.data()}
    assert chosen.keys() == {f"recipe.{name}" for name in built_in()}
    printed, laptop = chosen["recipe.score-two-gaussians"], chosen["recipe.score-two-gaussians-laptop"]
    assert (printed.text(), laptop.text()) == ("As printed", "Laptop edition")
    assert printed.parent() is laptop.parent() is not menu
    assert printed.parent().title() == f"004  {tutorials()['004'].title}"
    assert chosen["recipe.moons"].parent() is menu
    laptop.trigger()
    assert window.recipe == find("score-two-gaussians-laptop")


def choose_in_badge(window: MainWindow, name: str) -> None:
    menu = window.badge.pill.menu()
    menu.aboutToShow.emit()
    (action,) = [action for action in menu.actions() if action.objectName() == name]
    action.trigger()


def test_the_badge_follows_every_change(qtbot, window):
    assert window.badge.isHidden(), "Fashion-MNIST is of no tutorial"
    window.session.choose(find("score-two-gaussians"))
    window.form.set_level_of_detail("everything")
    pill = window.badge.pill
    assert pill.isVisible()
    assert pill.text() == "As printed"
    type_in(window, "training.batch", "64")
    type_in(window, "training.steps", "9")
    assert pill.text() == "Differs: training steps 9 (printed 100,000), batch 64 (printed 512)"
    assert "batch 64 (printed 512)" in pill.toolTip().splitlines()
    choose_in_badge(window, "edition.reset.training.batch")
    assert window.recipe.training.batch == 512
    assert pill.text() == "Differs: training steps 9 (printed 100,000)"
    assert row(window, "training.batch").changed_from == ""
    assert row(window, "training.steps").changed_from == "100,000", "the form still marks the other"
    choose_in_badge(window, "edition.reset")
    assert pill.text() == "As printed"
    assert window.recipe == find("score-two-gaussians")
    type_in(window, "seed", "7")
    assert pill.text() == "As printed", "no document prints a seed"
    choose_in_badge(window, "edition.laptop")
    assert window.recipe == find("score-two-gaussians-laptop")
    assert pill.text() == "Laptop edition"
    steps_wanted = window.recipe.training.steps
    assert f"training steps {steps_wanted:,} (printed 100,000)" in pill.toolTip().splitlines()
    choose_in_badge(window, "edition.printed.training.steps")
    assert window.recipe.training.steps == 100_000
    assert pill.text() == f"Laptop edition, changed: training steps 100,000 (edition's {steps_wanted:,})"


def test_the_badge_of_a_run(qtbot, window):
    tiny = {"training.steps": 2, "training.batch": 8, "compute.threads": 1, "preview.count": 4, "sampler.steps": 2}
    window.start(find("score-two-gaussians-laptop").with_settings(tiny))
    qtbot.waitUntil(lambda: message(window) == "Done: 2 steps.")
    wait_idle(qtbot, window)
    qtbot.waitUntil(lambda: len(window.runs_panel.model.rows()) == 1)
    (listed,) = window.runs_panel.model.rows()
    assert listed.note.startswith("laptop edition, changed: training steps 2")
    path = window.run.path
    window.session.choose(find("moons"))
    assert window.badge.isHidden()
    window.open_run(path)
    qtbot.waitUntil(lambda: not window.badge.isHidden())
    assert window.badge.pill.text().lower() == listed.note.lower()
    wait_idle(qtbot, window)


def test_any_pictures_will_do_for_002(window, tmp_path):
    window.session.choose(find("simple-unet-cars"))
    assert window.badge.note.isVisible()
    window.session.on_recipe_edited(window.recipe.with_settings({"data.source": str(tmp_path)}))
    assert not window.badge.note.isVisible()
    assert window.badge.pill.text() == "As printed"


# -- data that are not there

SMALL_CHAIN = {
    "training.steps": 2,
    "training.batch": 2,
    "schedule.steps": 4,
    "sampler.steps": 4,
    "preview.count": 1,
    "preview.steps": 2,
    "compute.threads": 1,
    "compute.device": "cpu",
}


def offer(window: MainWindow, name: str) -> Any:
    return window.offer.findChild(PushButton, f"banner.{name}")


def test_mnist_without_files_and_network_offers_what_to_do(qtbot, window, monkeypatch, tmp_path):
    torchvision()
    from torchvision.datasets import MNIST

    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    window.session.choose(find("scratch5-mnist").with_settings(SMALL_CHAIN | {"network.channels": (8, 8, 8)}))
    qtbot.waitUntil(lambda: offer(window, "use.fashion-mnist") is not None)
    assert "Start downloads it" in window.offer.sentence.text()
    assert offer(window, "again") is None, "nothing was tried yet"
    wait_idle(qtbot, window)

    press(window, "run.start")
    qtbot.waitUntil(lambda: offer(window, "again") is not None)
    sentence = window.offer.sentence.text()
    assert sentence.startswith("MNIST could not be downloaded (127.0.0.1:9: ")
    assert message(window) == sentence
    assert not window.failures, "no dialog: the offer says it"
    assert list_runs() == []
    wait_idle(qtbot, window)

    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: "")
    QTest.mouseClick(offer(window, "choose"), Qt.MouseButton.LeftButton)
    assert window.offer.isVisible(), "nothing was chosen"
    assert not window.controller.training
    QTest.mouseClick(offer(window, "again"), Qt.MouseButton.LeftButton)
    assert window.controller.state is State.STARTING
    wait_idle(qtbot, window)
    qtbot.waitUntil(lambda: offer(window, "again") is not None)

    QTest.mouseClick(offer(window, "use.fashion-mnist"), Qt.MouseButton.LeftButton)
    assert window.recipe.data.source == "fashion-mnist"
    assert "data fashion-mnist (printed mnist)" in window.badge.pill.text()
    qtbot.waitUntil(lambda: message(window) == "Done: 2 steps.")
    assert not window.offer.isVisible()
    wait_idle(qtbot, window)


def test_an_offer_goes_when_an_old_run_goes_on(qtbot, window):
    window.start(small(3))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    wait_idle(qtbot, window)
    window.offers.missing(DataMissing(window.recipe.data.source.replace("two-gaussians", "mnist"), "Not here.", True))
    window.offers.on_idle()
    assert window.offer.isVisible()
    press(window, "run.resume")
    assert window.controller.training
    assert not window.offer.isVisible()
    wait_idle(qtbot, window)


def test_a_notice_swallows_no_offer(qtbot, window):
    window.offers.missing(DataMissing("mnist", "MNIST is not here.", False))
    window.offers.on_idle()
    window.reports.on_event(SaveFailed(3, "The disk is full: free some room."))
    assert window.banner.sentence.text() == "The disk is full: free some room."
    assert window.banner.isVisible()
    assert window.offer.isVisible()
    assert offer(window, "use.fashion-mnist").isVisible()
    QTest.mouseClick(offer(window, "use.fashion-mnist"), Qt.MouseButton.LeftButton)
    assert window.recipe.data.source == "fashion-mnist"
    assert window.banner.isVisible(), "an answer to one is none to the other"
    wait_idle(qtbot, window)


def test_what_was_said_of_one_run_is_not_said_of_the_next(qtbot, window):
    window.start(small(3))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    wait_idle(qtbot, window)
    run = window.run.path

    def tell() -> None:
        window.reports.on_event(SaveFailed(3, "The disk is full: free some room."))
        window.offers.full(MemoryFull(3, 1, 0))
        window.offers.on_idle()
        assert window.banner.isVisible()
        assert window.offer.isVisible()

    def silent() -> bool:
        return not (window.banner.isVisible() or window.offer.isVisible())

    tell()
    window.open_run(run)
    qtbot.waitUntil(lambda: "Opened" in message(window))
    assert silent()
    wait_idle(qtbot, window)
    tell()
    window.start(small(3))
    assert silent()
    wait_idle(qtbot, window)
    tell()
    window.session.choose(find("swiss-roll"))
    assert silent()
    wait_idle(qtbot, window)


@pytest.mark.parametrize("cover", ["help.walk", "data.draw"])
def test_keys_move_nothing_that_is_out_of_sight(qtbot, window, cover):
    view = window.view
    playback = [window.actions_by_id[name] for name in ("playback.play", "playback.step_back", "clock.play_training")]
    assert all(action.isEnabled() for action in playback)
    window.actions_by_id[cover].trigger()
    assert view.isHidden()
    window.runs_panel.setFocus()
    place = view.player.position
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Home, Qt.Key.Key_T, Qt.Key.Key_L):
        for widget in (window, window.runs_panel, window.walking.walk or window.draw_data.panel):
            QTest.keyClick(widget, key)
    view.poll()
    assert not any(action.isEnabled() for action in playback)
    assert not view.player.playing
    assert not view.player.loop or window.stage._first_tape is view.player.tape
    assert view.player.position == place
    window.walking.leave()
    window.draw_data.leave()
    assert all(action.isEnabled() for action in playback)
    QTest.keyClick(view, Qt.Key.Key_Home)
    QTest.keyClick(view, Qt.Key.Key_Right)
    assert view.player.position == 1


@pytest.mark.parametrize("asked", ["run.resume", "run.sample_now"])
def test_what_was_asked_for_is_not_hidden_by_the_walk(qtbot, window, asked):
    window.start(small(3))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    wait_idle(qtbot, window)
    for cover in (window.walking.on_walk, window.draw_data.on_draw):
        cover()
        assert window.view.isHidden()
        press(window, asked)
        assert not window.view.isHidden()
        wait_idle(qtbot, window)


def test_start_while_something_runs_is_a_sentence(qtbot, window):
    train(qtbot, window, small())
    runs = len(list_runs())
    window.session.start(small(2))
    assert message(window) == "Stop what runs first; then something else can begin."
    assert len(list_runs()) == runs


def test_long_sampling_says_how_far_it_is(qtbot, window):
    window.start(small(3))
    qtbot.waitUntil(lambda: message(window) == "Done: 3 steps.")
    wait_idle(qtbot, window)
    said = []
    window.session.recipe = window.recipe.with_settings({"sampler.kind": "langevin-plain", "sampler.steps": 100_000})
    press(window, "run.sample_now")

    def progress():
        said.append(message(window))
        return said[-1].startswith("Sampling: ") and not said[-1].startswith("Sampling: 0 %")

    qtbot.waitUntil(progress)
    assert window.stage.sampling is not None
    press(window, "run.stop")
    wait_idle(qtbot, window)
    assert window.stage.sampling is None
    shown = window.view.player.tape.frames[-1].index
    assert 0 < shown < 100_000
    assert message(window) == f"Sampling stopped at {shown:,} of 100,000"


def test_caption_line_and_pictures_tell_of_one_tape(qtbot, window):
    window.start(small(40))
    qtbot.waitUntil(lambda: message(window) == "Done: 40 steps.")
    wait_idle(qtbot, window)
    view, player = window.view, window.view.player
    qtbot.waitUntil(lambda: player.tape is not None and view.clock.row == len(view.clock.rows) - 1 > 0)
    preview, caption = player.tape, view.caption.text()
    assert caption == "same 16 noises, seed 0"
    player.set_position(4)
    window.form.set_level_of_detail("everything")
    type_in(window, "sampler.steps", "1000")
    window.session.seed_lock.set_seed(77)
    seen: list[tuple[bool, str]] = []
    player.frame_changed.connect(lambda: seen.append((player.tape is preview, view.caption.text())))
    press(window, "run.sample_now")
    window.stage._on_frame_clock()
    assert (player.tape, view.caption.text()) == (preview, caption), "nothing else has come yet"
    qtbot.waitUntil(lambda: player.count > 2 and player.tape is not preview)
    assert player.following
    press(window, "run.stop")
    wait_idle(qtbot, window)
    assert set(seen) == {(False, "seed 77")}
    came = player.tape.frames[-1].index
    assert 0 < came < 1000
    qtbot.waitUntil(lambda: f" · DPM-Solver++, {came:,} of 1,000 steps · " in view.line.text())  # the next look
    view.clock.first()
    assert view.caption.text() == caption, "a row is no sample"
    window.status.previews_took(0.5, 0.02)
    window.open_run(window.run.path)
    wait_idle(qtbot, window)
    assert window.status._previews.text() == "", "what is opened is not being trained"


def test_a_sample_stays_while_the_training_goes_on(qtbot, window, monkeypatch):
    monkeypatch.setattr("ddpm_studio.app.stage.SAMPLE_SECONDS", 0.0)
    train(qtbot, window, small(preview__budget=10))
    player, clock = window.view.player, window.view.clock
    qtbot.waitUntil(lambda: len(clock.rows) > 0)
    press(window, "run.sample_now")
    qtbot.waitUntil(lambda: player.tape.count == 2000 and player.tape.complete)
    sample, rows = player.tape, len(clock.rows)
    qtbot.waitUntil(lambda: len(clock.rows) > rows + 1)
    assert player.tape is sample
    assert "Ctrl+↓" in window.view.note.text()
    window.view.setFocus()
    QTest.keyClick(window.view, Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
    assert player.tape in clock.rows
    assert not window.view.note.text()
    shown = player.tape
    qtbot.waitUntil(lambda: player.tape.training_step > shown.training_step)
    press(window, "run.stop")
    wait_idle(qtbot, window)


def test_a_long_recipe_title_can_be_read(window):
    window.session.choose(find("score-two-gaussians-laptop"))
    assert window.top_bar.recipe_button.toolTip().startswith("Score: two Gaussians, laptop\n")


class Marker(QTranslator):
    """A language in which each sentence ends in a sign."""

    def translate(self, context: str, text: str, about: str | None = None, n: int = -1) -> str:
        return text + "§"

    def isEmpty(self) -> bool:  # noqa: N802
        return False


def test_what_lower_layers_say_is_translated_in_the_window(qtbot, qapp, window):
    Run.create(find("scratch5-mnist").with_settings({"training.batch": 64}))
    marker = Marker()
    qapp.installTranslator(marker)
    try:
        window.session.choose(find("scratch5-mnist").with_settings({"training.batch": 64}))
        assert "batch§ 64 (printed 128)§" in window.badge.pill.text()
        window.reports.list_runs()
        qtbot.waitUntil(lambda: not window.reports._listing.busy)
        assert "batch§ 64 (printed 128)§" in window.runs_panel.model.rows()[0].note
        window.reports.on_event(Waiting("Loading the network"))
        assert message(window) == "Loading the network§…"
        window.reports.on_event(Carried(3, 4, 2, 4, data_order=True))
        said = "Forked: 3 of 4 weight tensors, their EMA and 2 optimizer moments came along; the data go on where"
        assert window.banner.sentence.text().replace("§", "").startswith(said)
        assert window.banner.sentence.text().count("§") == 3
        assert _sentence(MemoryError()).endswith("network§")
        assert _change(window.recipe, "training.ema_decay", 0.9, 0.0) == "EMA decay§: 0.9 → 0"
    finally:
        qapp.removeTranslator(marker)
        window.session.choose(find("fashion-mnist"))
        wait_idle(qtbot, window)


def test_few_parameters_are_counted_one_by_one(window):
    assert window.reports._facts(parameters=314)["network"] == [("Parameters", "314", "")]
    assert window.reports._facts(parameters=35_746_307)["network"] == [("Parameters", "35.75", "M")]


@pytest.mark.parametrize(("action", "key"), [("playback.save_as", Key.Key_E), ("data.draw", Key.Key_D)])
def test_the_windows_keys_go_before_those_of_a_line_of_text(qtbot, window, action, key):
    window.form.set_level_of_detail("everything")
    editor = row(window, "training.learning_rate").editor
    editor.setFocus()
    with qtbot.waitActive(window):
        window.activateWindow()
    taken = QKeyEvent(QEvent.Type.ShortcutOverride, key, Qt.KeyboardModifier.ControlModifier)
    taken.accept()  # as Qt does it in X, where Ctrl+E is the end of the line
    editor.event(taken)
    assert not taken.isAccepted()
    done = []
    window.actions_by_id[action].triggered.disconnect()
    window.actions_by_id[action].triggered.connect(lambda: done.append(action))
    window.actions_by_id[action].setEnabled(True)
    QTest.keyClick(editor, key, Qt.KeyboardModifier.ControlModifier)
    assert done == [action]


def test_no_two_shortcuts_are_the_same(window):
    keys = [key.toString() for action in window.findChildren(QAction) for key in action.shortcuts()]
    assert len(keys) == len(set(keys)), sorted(key for key in set(keys) if keys.count(key) > 1)


def test_own_pictures_instead_of_what_is_missing(qtbot, window, monkeypatch, tmp_path):
    folder = pictures(tmp_path / "mine")
    window.session.choose(find("ddpm-cifar10-laptop").with_settings({"data.source": "cifar-10"} | SMALL_CHAIN))
    qtbot.waitUntil(lambda: offer(window, "use.pixel-faces") is not None)
    wait_idle(qtbot, window)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(folder))
    QTest.mouseClick(offer(window, "choose"), Qt.MouseButton.LeftButton)
    assert window.recipe.data.source == str(folder)
    qtbot.waitUntil(lambda: window.dataset is not None and window.dataset.shape == (3, 32, 32))
    assert not window.controller.training, "Start was not pressed"
    wait_idle(qtbot, window)


def test_files_that_are_mnist_leave_the_recipe_as_printed(qtbot, window, monkeypatch, tmp_path, home):
    rng, known = np.random.default_rng(0), {}
    for part, (name, _) in mnist.CONTENT.items():
        shape = (40, 28, 28) if "images" in part else (40,)
        content = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        content += rng.integers(0, 10, shape, np.uint8).tobytes()
        (tmp_path / name).write_bytes(content)
        known[part] = (name, hashlib.md5(content).hexdigest())
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *args: str(tmp_path))
    window.session.choose(find("scratch5-mnist"))
    for is_mnist in (True, False):
        qtbot.waitUntil(lambda: window.offer.isVisible() and offer(window, "choose") is not None)
        wait_idle(qtbot, window)
        monkeypatch.setattr(mnist, "CONTENT", known if is_mnist else mnist.CONTENT | {"test labels": ("", "")})
        QTest.mouseClick(offer(window, "choose"), Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: window.dataset is not None and len(window.dataset.train) == 40)
        wait_idle(qtbot, window)
        assert window.recipe.data.source == ("mnist" if is_mnist else str(tmp_path))
        assert window.badge.pill.text() == ("As printed" if is_mnist else f"Differs: data {tmp_path} (printed mnist)")
        if is_mnist:
            assert message(window) == f"These files are MNIST: copied into {home / 'datasets' / 'mnist'}."
            shutil.rmtree(home / "datasets")
            window.session.choose(find("scratch5-mnist"))
            assert not window.offer.isVisible(), "nothing was missing any more"


def test_a_download_shows_how_far_it_is_and_can_be_stopped(qtbot, window, monkeypatch, home):
    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(cifar.ARCHIVE_BYTES))
            self.end_headers()
            with contextlib.suppress(OSError):  # the other side hangs up
                while True:
                    self.wfile.write(bytes(1 << 16))
                    time.sleep(0.01)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/cifar.tar.gz"
        monkeypatch.setattr(cifar, "ARCHIVE", dataclasses.replace(cifar.ARCHIVE, urls=(url,)))
        window.session.choose(find("ddpm-cifar10"))
        qtbot.waitUntil(lambda: offer(window, "use.pixel-faces") is not None)
        window.start(window.recipe)
        assert not window.offer.isVisible(), "it has begun: the offer has no place any more"
        bar = window.top_bar
        qtbot.waitUntil(lambda: bar.step.text().endswith(" of 170.1 MB"))
        assert message(window).startswith("Downloading CIFAR-10: ")
        qtbot.waitUntil(lambda: bar.progress.share > 0)
        before = bar.progress.share
        qtbot.waitUntil(lambda: bar.progress.share > before)
        press(window, "run.stop")
        wait_idle(qtbot, window)
        assert message(window) == "Stopped before the first step; nothing was kept."
        assert list((home / "datasets" / "cifar-10").iterdir()) == []
        assert list_runs() == []
        qtbot.waitUntil(lambda: bar.step.text() == "")
    finally:
        server.shutdown()
        server.server_close()
        serving.join()


# -- what it remembers


def test_docks_that_a_small_window_made_narrow_are_wide_again_where_there_is_room(qtbot, window, opened):
    def wide(other: MainWindow) -> bool:
        return other.docks["recipe"].width() >= 276 and other.docks["learning"].width() >= 312

    window.resize(1024, 768)
    qtbot.waitUntil(lambda: not wide(window))
    window.resize(1440, 900)
    qtbot.waitUntil(lambda: wide(window))
    window.resize(1024, 768)
    qtbot.waitUntil(lambda: not wide(window))
    window.close()
    other = opened()
    assert not wide(other)
    other.resize(1440, 900)
    qtbot.waitUntil(lambda: wide(other))


def test_detail_layout_and_theme_are_remembered(qtbot, window, opened, home):
    window.form._detail.chosen.emit("everything")
    window.docks["log"].hide()
    press(window, "view.theme_light")
    qtbot.wait(50)  # palettes come one turn of the loop later
    light = window.grab().toImage().pixelColor(window.width() // 2, 4).lightness()
    press(window, "view.theme_dark")
    qtbot.wait(50)
    dark = window.grab().toImage().pixelColor(window.width() // 2, 4).lightness()
    assert dark < 90 < 160 < light
    assert window.actions_by_id["view.theme_dark"].isChecked()
    assert not window.actions_by_id["view.theme_light"].isChecked()
    window.close()
    assert (home / "window.ini").is_file()

    other = opened()
    assert other.form.level() == "everything"
    assert other.docks["log"].isHidden()
    assert other.actions_by_id["view.theme_dark"].isChecked()
    press(other, "view.reset_layout")
    assert all(not dock.isHidden() for dock in other.docks.values())
    other.close()
    third = opened()
    assert not third.docks["log"].isHidden()


# -- quitting


def test_closing_while_training_saves_and_quits(qtbot, window):
    train(qtbot, window, small())
    window.close()
    assert window.isVisible(), "the step in hand ends first"
    qtbot.waitUntil(lambda: not window.isVisible())
    assert window.run.checkpoints()[-1].step == steps(window)


@pytest.mark.parametrize("answer", ["save", "keep", "discard"])
def test_the_question_when_closing(qtbot, window, monkeypatch, answer):
    monkeypatch.delenv("DDPM_STUDIO_NO_DIALOGS")
    train(qtbot, window, small())
    window.close()
    box = window.closing.question
    qtbot.waitUntil(box.isVisible)
    n = steps(window)
    qtbot.waitUntil(lambda: steps(window) > n)  # it goes on while the question is open
    QTest.mouseClick({"save": box._save, "keep": box._keep, "discard": box._discard}[answer], Qt.MouseButton.LeftButton)
    if answer == "keep":
        n = steps(window)
        qtbot.waitUntil(lambda: steps(window) > n + 2)
        assert window.isVisible()
        assert window.controller.training
        press(window, "run.stop")
        wait_idle(qtbot, window)
        assert window.isVisible()
        return
    qtbot.waitUntil(lambda: not window.isVisible())
    assert bool(window.run.checkpoints()) == (answer == "save")


@pytest.mark.parametrize("answer", ["_save", "_discard"])
def test_the_training_ends_while_the_question_is_open(qtbot, window, monkeypatch, answer):
    monkeypatch.delenv("DDPM_STUDIO_NO_DIALOGS")
    train(qtbot, window, small())
    window.close()
    qtbot.waitUntil(window.closing.question.isVisible)
    window.controller.stop()
    wait_idle(qtbot, window)
    QTest.mouseClick(getattr(window.closing.question, answer), Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not window.isVisible())


@pytest.mark.timeout(600)  # each takes a second or three, as busy as the machine is
def test_fifty_windows_leave_nothing_behind(qtbot, qapp, monkeypatch):
    """Threads, timers, windows and log handlers as before; memory within reason."""
    monkeypatch.setattr(RunController, "load_plots", lambda self: None)
    monkeypatch.setattr(Session, "_on_data_wanted", lambda self: None)
    install(qapp)

    def once(painted: bool) -> None:
        window = MainWindow()
        window.show()
        qtbot.wait(40 if painted else 1)
        window.close()
        window.deleteLater()
        qtbot.wait(1)
        del window
        gc.collect()  # a closed window is a cycle

    def count() -> tuple[int, ...]:
        gc.collect()
        kinds = [type(o) for o in gc.get_objects()]
        handlers = len(logging.getLogger("ddpm_studio").handlers)
        windows, objects = (
            len(qapp.topLevelWidgets()),
            [sum(issubclass(k, c) for k in kinds) for c in (QThread, QTimer)],
        )
        alive = sum(k is MainWindow for k in kinds)
        return windows, handlers, alive, *objects

    for _ in range(5):
        once(painted=True)
    process = psutil.Process()
    qtbot.wait(60)  # the timers of windows that were gone before their first paint
    before, threads, memory = count(), process.num_threads(), process.memory_info().rss
    for i in range(45):
        once(painted=i % 5 == 0)
    qtbot.wait(60)
    assert all(now <= then for now, then in zip(count(), before, strict=True)), (count(), before)
    qtbot.waitUntil(lambda: process.num_threads() <= threads)
    grown = (process.memory_info().rss - memory) / 1e6
    assert grown < 15, f"{grown:.0f} MB more after 45 windows"
