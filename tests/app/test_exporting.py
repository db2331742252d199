"""Taking things along in the window: the dialog offers what can be had, and a thread of its own writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QObject, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from ddpm_studio.app import exporting as exporting_module
from ddpm_studio.app import jobs
from ddpm_studio.app.export_panel import STAGE, ExportPanel, Shown
from ddpm_studio.app.exporting import Exporting
from ddpm_studio.app.heartbeat import Heartbeat
from ddpm_studio.app.levels import CODE, PAPER, levels
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.status import StatusBar
from ddpm_studio.app.theme import install
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export.take import FORMATS, Wanted
from ddpm_studio.recipes import built_in
from ddpm_studio.store import Run

pytestmark = pytest.mark.usefixtures("no_leaks")


def a_tape(step: int = 7, frames: int = 4) -> Tape:
    draw = np.random.default_rng(step)
    x = draw.integers(0, 256, (frames, 4, 8, 8, 1), dtype=np.uint8)
    kept = [Frame(i, 30 - 10 * i, x[i], x[i] if i else None, x[i] if i else None) for i in range(frames)]
    return Tape("pictures", 30, frames, "T", step, "ema", "ddim", 0, kept)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run.create(built_in()["fashion-mnist"], tmp_path / "run")
    with run.record(write=True) as record:
        for step in (0, 10, 40):
            record.add_metrics(step, step, 0.5, 1e-3, 1.0, 100.0)
            record.add_tape(a_tape(step), "preview")
    return run


@pytest.fixture
def panel_of(qtbot: QtBot, qapp: QApplication, tmp_path: Path) -> Callable[..., ExportPanel]:
    install(qapp)

    def make(run: str = "run", tapes: int = 1, shown: Shown | None = None) -> ExportPanel:
        panel = ExportPanel(tmp_path, run, tapes, shown)
        qtbot.addWidget(panel)
        panel.show()
        return panel

    return make


def offered(panel: ExportPanel) -> list[str]:
    return [panel.format.itemData(i) for i in range(panel.format.count())]


def choose(editor: object, value: str) -> None:
    editor.set_value(value)  # type: ignore[attr-defined]
    editor.edited.emit(value)  # type: ignore[attr-defined]


def test_formats_follow_what_is_chosen(panel_of: Callable[..., ExportPanel]) -> None:
    panel = panel_of()
    assert panel.what.currentData() == STAGE
    films = [name for name, each in FORMATS.items() if each.clocks and not each.points]
    assert offered(panel) == films
    choose(panel.what, "loss")
    assert offered(panel) == ["loss-csv", "loss-png", "loss-svg"]
    assert not panel.show_choice.isEnabled()
    choose(panel.what, "report")
    assert offered(panel) == ["html"]
    assert panel.path().name == "run-report.html"
    choose(panel.what, "learning")
    choose(panel.format, "webm")
    choose(panel.show_choice, "x0")
    assert panel.wanted() == Wanted("webm", "learning", show="x0")
    assert panel.path().name == "run-learning.webm"


def test_only_what_there_is(panel_of: Callable[..., ExportPanel]) -> None:
    several = panel_of("", 3)
    assert [several.what.itemData(i) for i in range(several.what.count())] == [STAGE]
    assert "npy" not in offered(several)
    of_run = panel_of("run", 0)
    assert of_run.what.findData(STAGE) == -1
    assert of_run.what.currentData() == "report"


def test_points_can_be_had_of_one_process_of_points(panel_of: Callable[..., ExportPanel]) -> None:
    panel = panel_of("run", 1, Shown("points", 40, 7, 0.5))
    for what, there in ((STAGE, True), ("process", True), ("learning", False), ("both", False)):
        choose(panel.what, what)
        assert ({"points-csv", "points-npy"} <= set(offered(panel))) == there
        assert ({"points-csv", "points-npy"} & set(offered(panel)) != set()) == there
    choose(panel.what, STAGE)
    choose(panel.format, "points-csv")
    choose(panel.moment_choice, "shown")
    assert panel.wanted() == Wanted("points-csv", share=0.5)
    assert "points-csv" not in offered(panel_of("run", 2, Shown("points")))


def test_runs_on_the_stage_can_be_followed_on_both_clocks(panel_of: Callable[..., ExportPanel]) -> None:
    rows = [[a_tape(step), a_tape(step)] for step in (3, 7)]
    panel = panel_of("", 2, Shown("pictures", 7, 340, 0.66, moments=rows))
    assert [panel.what.itemData(i) for i in range(panel.what.count())] == [STAGE, "stage-learning", "stage-both"]
    choose(panel.what, "stage-learning")
    assert not {"strip", "npy"} & set(offered(panel))
    assert panel.path().name == "runs-learning.gif"
    assert panel.wanted() == Wanted("gif", "learning")
    choose(panel.moment_choice, "shown")
    assert panel.wanted() == Wanted("gif", "learning", share=0.66)
    choose(panel.what, "stage-both")
    asked: list[tuple[object, ...]] = []
    panel.asked.connect(lambda *what: asked.append(what))
    panel._on_save()
    assert asked == [(Wanted("gif", "both"), panel.path(), True)]


def test_data_behind_points_are_drawn_where_the_window_shows_them(
    qtbot: QtBot,
    panel_of: Callable[..., ExportPanel],
    exporting: Exporting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not panel_of("run", 1, Shown("points", 40, 7, 0.5)).behind.isVisible(), "there are none"
    data = np.full((30, 2), [1.5, -1.5], np.float32)
    shown = Shown("points", 40, 7, 0.5, data=data)
    panel = panel_of("run", 1, shown)
    assert panel.behind.isVisible()
    assert panel.wanted().behind
    choose(panel.format, "points-csv")
    assert not panel.behind.isEnabled()
    for what, has_points in (("loss", False), ("report", True), (STAGE, True)):
        choose(panel.what, what)
        assert panel.behind.isEnabled() == has_points
    choose(panel.format, "picture")
    assert panel.behind.isEnabled()
    tape = Tape("points", 1000, 2, training_step=40)
    tape.frames += [Frame(i, 1000 - 1000 * i, np.zeros((9, 2), np.float32)) for i in range(2)]
    exporting._tapes, exporting._data = (tape,), shown.data
    asked: list[jobs.ExportJob] = []
    monkeypatch.setattr(exporting, "_begin", asked.append)
    written = []
    for _ in range(2):
        exporting.on_asked(panel.wanted(), tmp_path / "a.png", True)
        list(asked[-1].events())
        with Image.open(tmp_path / "a.png") as picture:
            written.append(np.asarray(picture.convert("L"))[300:500, 300:500].min())  # the data's corner
        qtbot.mouseClick(panel.behind, Qt.MouseButton.LeftButton)
    assert written[0] < 150 < 180 < written[1]


def test_what_is_shown_can_be_chosen(panel_of: Callable[..., ExportPanel]) -> None:
    panel = panel_of("run", 1, Shown("pictures", 1284, 340, 0.66, 5))
    choices = (panel.step_choice, panel.moment_choice, panel.item_choice)
    assert [editor.itemText(1) for editor in choices] == [
        "The one shown: 1,284",
        "The one shown: t = 340",
        "The marked one, number 6",
    ]
    choose(panel.what, "process")
    choose(panel.format, "picture")
    assert panel.wanted() == Wanted("picture", "process"), "at first the last step, the end, all"
    for editor in choices:
        assert editor.isEnabled()
        choose(editor, "shown")
    assert panel.wanted() == Wanted("picture", "process", step=1284, items=(5,), share=0.66)
    choose(panel.format, "gif")
    assert [editor.isEnabled() for editor in choices] == [True, False, True]
    assert panel.wanted() == Wanted("gif", "process", step=1284, items=(5,)), "a film has all moments"
    choose(panel.what, "learning")
    assert panel.wanted() == Wanted("gif", "learning", t=340, items=(5,))
    choose(panel.what, "both")
    assert panel.wanted() == Wanted("gif", "both", items=(5,))
    choose(panel.what, "loss")
    assert not any(editor.isEnabled() for editor in choices)
    assert panel.wanted() == Wanted("loss-csv")


def test_of_the_stage_it_is_what_is_seen_unless_something_else_is_chosen(panel_of: Callable[..., ExportPanel]) -> None:
    panel = panel_of("run", 1, Shown("pictures", 1284, 520, 0.48, show="x0"))
    choose(panel.format, "picture")
    assert panel.wanted() == Wanted("picture", share=0.48, show="x0")
    choose(panel.what, "process")
    assert panel.wanted() == Wanted("picture", "process", show="x0"), "the run's is told by its end"
    choose(panel.what, STAGE)
    choose(panel.moment_choice, "end")
    choose(panel.what, "process")
    choose(panel.what, STAGE)
    assert panel.wanted() == Wanted("picture", show="x0"), "a choice stays"


def test_levels_are_counted_as_on_the_stage(panel_of: Callable[..., ExportPanel]) -> None:
    shown = Shown("pictures", 5, 412, 0.5)
    assert "counts" not in panel_of(shown=shown).note.text()
    levels().set_count(CODE)
    try:
        panel = panel_of(shown=shown)
        assert "t = 411 (code)" in panel.moment_choice.itemText(1)
        assert "t counts from 1" in panel.note.text()
    finally:
        levels().set_count(PAPER)


def test_there_is_no_question_without_a_choice(panel_of: Callable[..., ExportPanel]) -> None:
    panel = panel_of("run", 1, Shown("pictures", 40, 0, 1.0, -1))
    assert panel.step_choice.isVisible()
    assert not panel.moment_choice.isVisible()
    assert not panel.item_choice.isVisible()
    assert not panel_of("run", 1).step_choice.isVisible()


@pytest.mark.parametrize(("tapes", "words"), [(1, "each moment of the process"), (3, "the whole labelled grid")])
def test_it_says_what_will_be_written(panel_of: Callable[..., ExportPanel], tapes: int, words: str) -> None:
    panel = panel_of("run", tapes)
    choose(panel.format, "frames")
    assert words in panel.note.text()
    choose(panel.format, "gif")
    assert panel.note.text() == ""
    choose(panel.format, "strip")
    assert panel.note.text().startswith("A row for each")


def test_a_name_that_was_typed_stays(panel_of: Callable[..., ExportPanel], tmp_path: Path) -> None:
    panel = panel_of()
    panel.where.clear()
    QTest.keyClicks(panel.where, str(tmp_path / "v1.2 mine.gif"))
    choose(panel.format, "webp")
    assert panel.path() == tmp_path / "v1.2 mine.webp"
    choose(panel.format, "frames")
    assert panel.path() == tmp_path / "v1.2 mine"
    choose(panel.format, "mp4")
    assert panel.path() == tmp_path / "v1.2 mine.mp4"


def test_a_name_of_another_kind_is_refused_as_on_the_command_line(
    panel_of: Callable[..., ExportPanel], tmp_path: Path
) -> None:
    panel = panel_of()
    choose(panel.format, "gif")
    panel.where.clear()
    QTest.keyClicks(panel.where, str(tmp_path / "both.pdf"))
    assert panel.note.text() == "both.pdf is no name for gif: let it end in .gif."
    assert not panel.save.isEnabled()
    panel.where.setText(str(tmp_path / "both"))
    assert panel.save.isEnabled()
    assert panel.path() == tmp_path / "both.gif"


def test_no_two_formats_have_one_name(panel_of: Callable[..., ExportPanel]) -> None:
    panel, names = panel_of("run", 1, Shown("points", 40, 7, 0.5)), []
    for what in (STAGE, "process", "learning", "both", "loss", "report"):
        choose(panel.what, what)
        for kind in offered(panel):
            choose(panel.format, kind)
            names.append(panel.path().name)
    assert len(set(names)) == len(names)
    assert {"denoising.gif", "denoising-strip.png", "run-process-picture.png", "run-points.csv"} <= set(names)


def test_the_note_tells_before_it_happens(panel_of: Callable[..., ExportPanel], tmp_path: Path) -> None:
    panel = panel_of()
    assert panel.save.isEnabled()
    (tmp_path / "denoising.gif").touch()
    choose(panel.format, "gif")
    panel._show_note()
    assert "replaced" in panel.note.text()
    for text in ("", "relative.gif", str(tmp_path.parent)):
        panel.where.setText(text)
        assert panel.save.isEnabled() == (text == str(tmp_path.parent)), text  # an ending makes it another name
    (tmp_path / "full" / "x").mkdir(parents=True)
    choose(panel.format, "frames")
    panel.where.setText(str(tmp_path / "full"))
    assert not panel.save.isEnabled()
    asked: list[object] = []
    panel.asked.connect(lambda *what: asked.append(what))
    QTest.keyClick(panel, Qt.Key.Key_Return)
    assert not asked
    panel.where.setText(str(tmp_path / "new"))
    QTest.keyClick(panel, Qt.Key.Key_Return)
    assert asked == [(Wanted("frames"), tmp_path / "new", True)]


class Window(QObject):
    """What ``Exporting`` needs of the main window."""

    def __init__(self) -> None:
        super().__init__()
        self.heartbeat = Heartbeat(self)
        self.status = StatusBar(self.heartbeat)


@pytest.fixture
def exporting(qtbot: QtBot, qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exporting]:
    install(qapp)
    window = Window()
    qtbot.addWidget(window.status)
    window.status.show()
    made = Exporting(window, window)  # type: ignore[arg-type]
    made.window = window  # type: ignore[attr-defined]
    made.failures = []  # type: ignore[attr-defined]
    monkeypatch.setattr(exporting_module, "show_error", lambda _, text, details: made.failures.append((text, details)))  # type: ignore[attr-defined]
    yield made
    made.shutdown()
    window.heartbeat.stop()


def said(exporting: Exporting) -> str:
    return exporting.window.status.message.text()  # type: ignore[attr-defined]


def export(qtbot: QtBot, exporting: Exporting, wanted: Wanted, path: Path, *, of_stage: bool) -> None:
    with qtbot.waitSignal(exporting.idle):
        exporting.on_asked(wanted, path, of_stage)
        assert exporting.busy
        assert exporting.bar is not None
        assert exporting.bar.isVisible()
    assert not exporting.busy
    assert not exporting.bar.isVisible()


def test_of_the_stage_and_of_the_run(qtbot: QtBot, exporting: Exporting, run: Run, tmp_path: Path) -> None:
    exporting._run, exporting._tapes = run, (a_tape(3), a_tape(4))
    export(qtbot, exporting, Wanted("gif"), tmp_path / "a.gif", of_stage=True)
    assert said(exporting) == f"Saved {tmp_path / 'a.gif'}"
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 4
        wide = film.width
    export(qtbot, exporting, Wanted("gif", "learning"), tmp_path / "b.gif", of_stage=False)
    with Image.open(tmp_path / "b.gif") as film:
        assert (film.n_frames, 2 * film.width) == (3, wide)
    export(qtbot, exporting, Wanted("loss-csv"), tmp_path / "c.csv", of_stage=False)
    assert len((tmp_path / "c.csv").read_text(encoding="utf-8").splitlines()) == 4
    assert exporting.failures == []  # type: ignore[attr-defined]


def test_what_cannot_be_written_is_told(qtbot: QtBot, exporting: Exporting, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    exporting._run = run
    export(qtbot, exporting, Wanted("html"), tmp_path / "file" / "a.html", of_stage=False)
    ((sentence, details),) = exporting.failures  # type: ignore[attr-defined]
    assert "cannot be written" in sentence
    assert details == "", "it is no fault of the program: there is nothing to report"
    export(qtbot, exporting, Wanted("html"), tmp_path / "a.html", of_stage=False)
    assert (tmp_path / "a.html").is_file()


def test_cancel(qtbot: QtBot, exporting: Exporting, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = Event(), Event()
    real = jobs._go_on

    def slow(job: jobs.ExportJob, done: int, of: int) -> bool:
        begun.set()
        assert go.wait(60)
        return real(job, done, of)

    monkeypatch.setattr(jobs, "_go_on", slow)
    exporting._run = run
    exporting.on_asked(Wanted("gif"), tmp_path / "a.gif", False)
    assert begun.wait(60)
    exporting.copy(run, tmp_path / "copy")
    assert "already" in said(exporting), "one at a time"
    with qtbot.waitSignal(exporting.idle):
        assert exporting.bar is not None
        qtbot.mouseClick(exporting.bar.cancel, Qt.MouseButton.LeftButton)
        go.set()
    assert said(exporting) == "Cancelled; nothing was written."
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("cancel", [False, True])
def test_what_is_asked_for_meanwhile_comes_next(
    cancel: bool,
    qtbot: QtBot,
    window: MainWindow,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go = Event()
    real = jobs._go_on

    def slow(job: jobs.ExportJob, done: int, of: int) -> bool:
        assert go.wait(60)
        return real(job, done, of)

    monkeypatch.setattr(jobs, "_go_on", slow)
    exporting = window.files.exporting
    try:
        window.view.compare([replace(a_tape(), label=name, column=name) for name in "abc"])
        window.session.run = exporting._run = run
        exporting.on_asked(Wanted("gif"), tmp_path / "a.gif", False)
        window.actions_by_id["run.export"].trigger()
        waiting = exporting.waiting
        assert waiting is not None
        assert waiting.isModal(), "keys reach nothing behind it"
        assert "a.gif" in waiting.text.text()
        QTest.keyClick(waiting, Qt.Key.Key_Escape)
        assert exporting.waiting is None
        assert exporting.panel is None
        assert len(window.view.comparison.cells) == 3
        window.actions_by_id["run.export"].trigger()
        assert exporting.waiting is not None
        if cancel:
            qtbot.mouseClick(exporting.waiting.cancel, Qt.MouseButton.LeftButton)
        with qtbot.waitSignal(exporting.idle):
            go.set()
        assert (tmp_path / "a.gif").exists() is not cancel
        qtbot.waitUntil(lambda: exporting.panel is not None)
        assert exporting.waiting is None
        exporting.panel.reject()
    finally:
        go.set()


def test_closing_while_it_writes(qtbot: QtBot, exporting: Exporting, run: Run, tmp_path: Path) -> None:
    exporting._run = run
    exporting.on_asked(Wanted("webm", "both"), tmp_path / "a.webm", False)
    exporting.shutdown()
    assert not exporting.busy
    left = {path.name for path in tmp_path.iterdir()}
    assert left in ({"run"}, {"run", "a.webm"}), "complete or absent"


def test_in_the_main_window(qtbot: QtBot, window: MainWindow, run: Run, tmp_path: Path) -> None:
    window.actions_by_id["run.export"].trigger()
    assert window.files.exporting.panel is None
    assert "no run yet" in window.status.message.text()
    tape = a_tape()
    window.view.set_tape(tape)
    window.actions_by_id["playback.save_as"].trigger()
    panel = window.files.exporting.panel
    assert panel is not None
    assert [panel.what.itemData(i) for i in range(panel.what.count())] == [STAGE]
    choose(panel.format, "npy")
    panel.where.setText(str(tmp_path / "a.npy"))
    tape.frames.append(tape.frames[-1])  # it grows while the dialog is open
    with qtbot.waitSignal(window.files.exporting.idle):
        qtbot.mouseClick(panel.save, Qt.MouseButton.LeftButton)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [frame.x for frame in a_tape().frames])
    window.session.run = run
    window.actions_by_id["run.export"].trigger()
    panel = window.files.exporting.panel
    assert panel is not None
    assert panel.path().name == "run-report.html"
    assert panel.path().parent == tmp_path, "where the last one went"
    panel.reject()
    window.view.compare([replace(a_tape(), label=name, column=name) for name in "abc"])
    window.view.player.set_position(1)
    window.view.comparison.cells[1].canvas.set_chosen(2)
    window.actions_by_id["playback.save_as"].trigger()
    panel = window.files.exporting.panel
    assert panel is not None
    choose(panel.format, "picture")
    choose(panel.moment_choice, "shown")
    choose(panel.item_choice, "shown")
    assert panel.wanted() == Wanted("picture", items=(2,), share=1 / 3)
    panel.reject()
