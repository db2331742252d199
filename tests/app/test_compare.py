"""Side by side: the dialog, the grid on one clock, and the whole of it in the real window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget
from pytestqt.qtbot import QtBot

from ddpm_studio.app import seed_lock
from ddpm_studio.app.canvas import PictureCanvas, PointCanvas
from ddpm_studio.app.compare_pages import LinePage, SamplerPage, SamplerRow, TickPage
from ddpm_studio.app.compare_panel import ComparePanel, RunChoice, Subject
from ddpm_studio.app.compare_view import CompareView
from ddpm_studio.app.controller import State
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.playback import Player
from ddpm_studio.app.recipe_editors import LineEditor, SwitchEditor
from ddpm_studio.app.seed_lock import SeedLock
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.tape_text import moves_text, sampler_text
from ddpm_studio.data import Mixture, mixture_of
from ddpm_studio.diffusion.tape import Frame, ScoreField, Tape
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.recipes.sections import DDIM, DDPM, Heun, Langevin
from ddpm_studio.training.control import Comparison

pytestmark = [
    pytest.mark.usefixtures("themed", "no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]


def tape_of(label: str, frames: int, total: int, kind: Any = "pictures", sampler: str = "ddim") -> Tape:
    tape = Tape(kind, 100, total, sampler=sampler, label=label, comparison="one")
    grow(tape, frames)
    return tape


def grow(tape: Tape, frames: int) -> None:
    """Each frame of pictures is as grey as its index says."""
    for _ in range(frames):
        i = len(tape.frames)
        x = np.full((4, 6, 6, 1), i, np.uint8) if tape.kind == "pictures" else np.full((8, 2), i, np.float32)
        tape.frames.append(Frame(i, 100 - i, x, x, x))
        tape.calls, tape.seconds = i, i / 10


@pytest.fixture
def player(qapp: QApplication) -> Player:
    return Player()


@pytest.fixture
def view(qtbot: QtBot, player: Player) -> Iterator[CompareView]:
    view = CompareView(player)
    view.resize(900, 600)
    view.show()
    yield view
    view.close()
    view.deleteLater()


def shown(view: CompareView) -> list[int]:
    """The index of the frame in each canvas; -1: none."""
    found = []
    for cell in view.cells:
        items = cell.canvas._items
        found.append(-1 if items is None else int(items.flat[0]))
    return found


# -- the grid


def test_all_canvases_stand_at_the_same_share_of_their_process(view: CompareView, player: Player) -> None:
    view.set_tapes([tape_of("short", 6, 6), tape_of("long", 21, 21), tape_of("middle", 11, 11)])
    player.poll()
    assert player.tape is view.tapes[1]  # the finest bar
    assert shown(view) == [5, 20, 10]
    for at, expected in ((0, [0, 0, 0]), (10, [2, 10, 5]), (20, [5, 20, 10])):
        player.set_position(at)
        view.poll()
        assert shown(view) == expected


def test_one_frame_is_one_refresh(view: CompareView, player: Player, monkeypatch: pytest.MonkeyPatch) -> None:
    view.set_tapes([tape_of("one", 6, 6), tape_of("two", 6, 6)])
    view.poll()
    refreshed = []
    refresh = view.refresh
    monkeypatch.setattr(view, "refresh", lambda: (refreshed.append(player.position), refresh()))
    player.frame_changed.connect(lambda: view.set_frame(player.frame))
    player.set_position(2)
    view.poll()
    assert refreshed == [2]
    view.poll()
    assert refreshed == [2, 2], "what has arrived meanwhile"


def test_what_grows_is_shown_live_and_the_others_go_along(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 0, 5), tape_of("second", 0, 9)
    view.set_tapes([first, second], [4, 8])
    assert shown(view) == [-1, -1]
    grow(first, 3)
    view.poll()
    player.poll()
    view.poll()
    assert shown(view) == [2, -1]
    assert view.line.text() == "1 of 2"
    assert view.progress.share == pytest.approx(2 / 12)
    assert view.stop.isVisibleTo(view)
    grow(first, 2)
    grow(second, 5)
    view.poll()
    player.poll()
    view.poll()
    assert player.tape is second
    assert shown(view) == [2, 4]  # half of each
    assert "left" not in view.line.text()  # too early to tell
    grow(second, 4)
    second.seconds = 3.0
    view.end()
    assert not view.stop.isVisibleTo(view)
    assert "2 side by side, same noise" in view.line.text()


def test_time_left_and_a_comparison_that_was_stopped(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 5, 5), tape_of("second", 0, 9)
    first.seconds = 40.0
    view.set_tapes([first, second], [4, 4])
    assert view.line.text() == "2 of 2 · 40 s left"
    grow(second, 2)
    view.end()
    assert player.tape is first
    assert view.cells[1].facts.text().endswith("stopped")
    assert view.cells[0].facts.text() == "4 steps · 4 calls · 40.0 s"


def test_a_parked_bar_stays_where_it_is_when_the_next_sampler_leads(view: CompareView, player: Player) -> None:
    first, second = tape_of("first", 5, 5), tape_of("second", 0, 9, sampler="langevin-plain")
    view.set_tapes([first, second], [4, 8])
    player.set_position(2)
    grow(second, 4)
    view.poll()
    assert player.tape is first  # the other has not come half way
    assert shown(view) == [2, 3]
    grow(second, 1)
    view.poll()
    assert player.tape is second
    assert player.position == 4
    assert shown(view) == [2, 4]


def test_a_picture_is_chosen_in_all(view: CompareView) -> None:
    view.set_tapes([tape_of("one", 3, 3), tape_of("two", 3, 3)])
    canvases = [cell.canvas for cell in view.cells]
    assert all(isinstance(canvas, PictureCanvas) for canvas in canvases)
    canvases[0].set_chosen(2)
    assert [canvas.chosen for canvas in canvases] == [2, 2]
    canvases[1].set_chosen(-1)
    assert [canvas.chosen for canvas in canvases] == [-1, -1]


def test_points_tell_the_modes_of_a_known_mixture(view: CompareView) -> None:
    mixture = mixture_of("two-gaussians")
    assert isinstance(mixture, Mixture)
    tape = tape_of("one", 1, 1, "points", "langevin")
    tape.frames[0] = Frame(0, 0, np.repeat(mixture.means[[0, 0, 0, 1]], 5, axis=0).astype(np.float32))
    other = tape_of("two", 1, 1, "points")
    view.set_tapes([tape, other])
    view.set_data(np.zeros((4, 2)), mixture)
    view.poll()
    assert view.cells[0].modes.text().startswith("modes 75:25 %")
    assert view.cells[0].facts.text().startswith("0 moves")
    assert "data 50:50 %, spread 0.05" in view.line.text()
    view.set_data(np.zeros((4, 2)), None)
    assert not view.cells[0].modes.isVisibleTo(view)
    assert isinstance(view.cells[0].canvas, PointCanvas)


def test_the_numbers_of_the_modes_stay_where_words_do_not_fit(qtbot: QtBot, view: CompareView) -> None:
    tapes = [tape_of(str(i), 1, 1, "points") for i in range(5)]
    view.resize(470, 420)
    view.set_tapes(tapes)
    view.set_data(np.zeros((4, 2)), mixture_of("two-gaussians"))
    label = view.cells[0].modes
    qtbot.waitUntil(lambda: label.isVisible() and label.width() < 200)
    assert label.text() == "100:0 % · spread 0"
    assert label.fontMetrics().horizontalAdvance(label.text()) <= label.width()
    view.resize(1100, 420)
    view.poll()
    assert label.text() == "modes 100:0 % · spread 0"


def test_the_clock_ends_where_the_cleanest_ends(view: CompareView, player: Player) -> None:
    stays, ends = tape_of("plain Langevin", 40, 40), tape_of("DDIM", 11, 11)
    ends.frames[-1] = Frame(10, 0, ends.frames[-1].x)
    view.set_tapes([stays, ends])
    view.poll()
    assert player.tape is ends
    assert player.frame is not None
    assert player.frame.t == 0


def test_what_is_wrong_with_a_cloud_is_told_for_the_canvas_that_has_it(view: CompareView) -> None:
    mixture = mixture_of("two-gaussians")
    assert isinstance(mixture, Mixture)
    good, bad = tape_of("one", 0, 1, "points"), tape_of("two", 0, 1, "points", "langevin-plain")
    even = np.repeat(mixture.means[[0, 1]], 500, axis=0).astype(np.float32)
    good.frames.append(Frame(0, 0, even))
    view.set_tapes([good, bad])
    view.set_data(np.zeros((4, 2)), mixture)
    assert not view.note.isVisible(), "nothing has ended"
    bad.frames.append(Frame(0, 5, np.repeat(mixture.means[[0, 0, 0, 1]], 250, axis=0).astype(np.float32)))
    view.poll()
    assert view.note.text().startswith("two: 75 % of the points ended nearest to the ")
    assert view.note.isVisible()
    assert "75 %" in view.cells[1].toolTip()
    assert view.cells[0].verdict() == ""
    view.set_tapes([good])
    assert not view.note.isVisible()


def test_langevin_tells_levels_and_moves() -> None:
    tape = Tape("points", 100, 5, sampler="langevin", grid=[100, 100, 50, 50, 0])
    for index, t in enumerate((100, 100, 50, 50, 0)):  # two moves at each of two levels
        assert moves_text(tape) == f"{max(index - 1, 0)} of 4 moves", "it still grows"
        tape.frames.append(Frame(index, t, np.zeros((1, 2), np.float32)))
    assert sampler_text(tape) == "annealed Langevin, 2 levels × 2 moves"
    tape.sampler = "langevin-plain"
    tape.frames[-1] = Frame(1000, 14, tape.frames[0].x, field=ScoreField(np.zeros((2, 2, 2)), 1.0, 0.1379, 2.5))
    assert sampler_text(tape) == "plain Langevin, 1,000 moves at σ = 0.14"


@pytest.mark.parametrize(("size", "columns"), [((1100, 500), 3), ((420, 430), 2), ((300, 900), 1)])
def test_the_grid_makes_the_canvases_large(view: CompareView, size: tuple[int, int], columns: int) -> None:
    view.set_tapes([tape_of(str(i), 2, 2) for i in range(3)])
    view.resize(*size)
    assert view._columns == columns


# -- the dialog


def steps_of(cells: Any) -> list[int]:
    return [cell.settings.steps for cell in cells]


class Asker:
    """The dialog of a run of moons, and what it was asked for."""

    def __init__(self, recipe: Recipe, **changes: Any) -> None:
        self.parent = QWidget()
        self.looked = 0
        self.lock = SeedLock(WindowSettings(), self.parent)
        self.lock.set_seed(5)
        subject = Subject(recipe, "points", 2000, "ema", (100, 200, 300, 400, 500), False, self.runs)
        self.panel = ComparePanel(replace(subject, **changes), self.lock, has_last=False, parent=self.parent)
        self.asked: list[Comparison] = []
        self.panel.asked.connect(self.asked.append)
        self.panel.show()

    def runs(self) -> list[RunChoice]:
        self.looked += 1
        return [
            RunChoice(Path(f"/runs/moons-{i}"), f"Moons {i}", f"step {i}", find("moons").with_settings(changes))
            for i, changes in enumerate(({}, {"sampler.steps": 7}, {"sampler.kind": "heun"}))
        ]

    def choose(self, across: str, down: str = "none") -> None:
        for choice, key in ((self.panel.across, across), (self.panel.down, down)):
            button = choice.findChild(QAbstractButton, key)
            assert button is not None
            QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def type_in(self, key: str, text: str) -> LineEditor:
        page = self.panel.page(key)
        assert isinstance(page, LinePage)
        page.editor.selectAll()
        QTest.keyClicks(page.editor, text)
        return page.editor

    def start(self) -> Comparison:
        QTest.mouseClick(self.panel.start, Qt.MouseButton.LeftButton)
        assert not self.panel.isVisible()
        return self.asked[-1]

    @property
    def samplers(self) -> dict[str, SamplerRow]:
        page = self.panel.page("sampler")
        assert isinstance(page, SamplerPage)
        return {row.choice.settings.kind: row for row in page.rows}

    def ticks(self, key: str) -> dict[str, SwitchEditor]:
        page = self.panel.page(key)
        assert isinstance(page, TickPage)
        return {switch.accessibleName(): switch for switch in page.switches}


@pytest.fixture
def ask(qtbot: QtBot) -> Iterator[Callable[..., Asker]]:
    made: list[Asker] = []

    def make(recipe: Recipe | None = None, **changes: Any) -> Asker:
        made.append(Asker(recipe or find("moons"), **changes))
        return made[-1]

    yield make
    for asker in made:
        asker.panel.close()
        asker.parent.deleteLater()


Ask = Callable[..., Asker]


def test_samplers_are_ticked_and_have_their_knobs(ask: Ask) -> None:
    asker = ask()
    for kind in ("langevin-plain", "ddpm"):
        asker.samplers[kind].tick.click()
    asker.samplers["langevin"].knob.selectAll()
    QTest.keyClicks(asker.samplers["langevin"].knob, "7")
    comparison = asker.start()
    assert [cell.label for cell in comparison.cells] == ["Annealed Langevin", "DDIM", "Heun"]
    assert isinstance(comparison.cells[0].settings, Langevin)
    assert comparison.cells[0].settings.moves == 7
    assert comparison.count == 2000
    assert {(cell.seed, cell.weights, cell.checkpoint, cell.run) for cell in comparison.cells} == {
        (5, "ema", None, None)
    }


def test_it_says_which_samplers_cannot_be(ask: Ask) -> None:
    asker = ask()
    rows, panel = asker.samplers, asker.panel
    for kind in ("euler", "dpmpp-2m"):
        rows[kind].tick.click()
    assert panel.note.text() == "Tick two to six samplers."
    assert not panel.start.isEnabled()
    rows["dpmpp-2m"].tick.click()
    assert panel.start.isEnabled()
    rows["ddim"].knob.selectAll()
    QTest.keyClicks(rows["ddim"].knob, "99999")
    rows["ddim"].knob.commit()
    assert not panel.start.isEnabled()
    assert panel.note.text().startswith("DDIM: ")
    QTest.keyClick(rows["ddim"].knob, Qt.Key.Key_Escape)
    assert panel.start.isEnabled()
    assert panel.isVisible()
    assert "network calls" in panel.note.text()


def test_a_line_of_numbers_of_steps(ask: Ask) -> None:
    asker = ask()
    asker.choose("steps")
    page = asker.panel.page("steps")
    assert isinstance(page, LinePage)
    assert page.editor.text() == "5, 10, 20"
    assert asker.panel.note.text() == "3 cells · at most 35 network calls"
    for typed, said in (
        ("5, ten", "Write whole numbers with commas"),
        ("5", "Write two to six numbers of steps"),
        ("1 2 3 4 5 6 7", "Write two to six numbers of steps"),
        ("5, 0", "0: a process takes at least one step"),
        ("5, 5000", "steps=5000 does not fit"),
    ):
        asker.type_in("steps", typed).commit()
        assert said in asker.panel.note.text(), typed
        assert asker.panel.note.text().endswith(".")
        assert not asker.panel.start.isEnabled()
    editor = asker.type_in("steps", "4, 8 8; 20")
    QTest.keyClick(editor, Qt.Key.Key_Return)  # starts from there
    assert steps_of(asker.asked[0].cells) == [4, 8, 20]
    assert not asker.panel.isVisible()


def test_rows_and_columns(ask: Ask) -> None:
    asker = ask(seconds=0.05)
    asker.choose("seed", "sampler")
    for kind in ("langevin-plain", "langevin"):
        asker.samplers[kind].tick.click()
    assert not asker.panel.seed.isEnabled()
    asker.type_in("seed", "3, 5").commit()
    assert asker.panel.note.text() == "2 × 3 cells · at most 160 network calls · a few s"
    cells = asker.start().cells
    assert [(cell.row, cell.column, cell.seed) for cell in cells] == [
        (row, str(seed), seed) for row in ("DDPM", "DDIM", "Heun") for seed in (3, 5)
    ]
    assert asker.lock.seed == 5


def test_too_many_cells_are_refused_before_they_are_sampled(ask: Ask) -> None:
    asker = ask()
    asker.choose("seed", "sampler")
    asker.type_in("seed", "1 2 3 4 5").commit()
    assert asker.panel.note.text() == "5 × 5 are 25 cells: at most 24 fit side by side."
    assert not asker.panel.start.isEnabled()
    asker.type_in("seed", "1 2 3 4").commit()
    assert asker.panel.start.isEnabled()
    bad = asker.type_in("seed", f"1, {2**31}")
    bad.commit()
    assert asker.panel.note.text().startswith(str(2**31))
    assert not asker.panel.start.isEnabled()


def test_what_goes_across_cannot_go_down(ask: Ask) -> None:
    asker = ask()
    asker.choose("seed", "steps")
    asker.choose("steps")
    assert asker.panel.down.value() == "none"
    down = {button.objectName(): button.isEnabled() for button in asker.panel.down.findChildren(QAbstractButton)}
    assert [key for key, on in down.items() if not on] == ["steps"]
    asker.choose("run")
    assert not asker.panel.down.findChild(QAbstractButton, "checkpoint").isEnabled()
    asker.choose("sampler", "steps")
    assert not asker.samplers["ddim"].knob.isEnabled(), "the other axis says how many"
    assert asker.samplers["langevin"].knob.isEnabled()


def test_training_steps_are_those_on_disk_and_now(ask: Ask) -> None:
    asker = ask(training=True, weights="raw")
    asker.choose("checkpoint")
    ticks = asker.ticks("checkpoint")
    assert [name for name, tick in ticks.items() if tick.isChecked()] == ["100", "300", "500", "now"]
    ticks["300"].click()
    cells = asker.start().cells
    assert [(cell.checkpoint, cell.weights) for cell in cells] == [(100, "raw"), (500, "raw"), (None, "raw")]
    assert cells[-1].label == "Training step now"


def test_one_checkpoint_and_no_average_leave_nothing_to_compare(ask: Ask) -> None:
    asker = ask(find("moons").with_settings({"training.ema_decay": 0.0}), checkpoints=(100,))
    for key in ("checkpoint", "weights"):
        for choice in (asker.panel.across, asker.panel.down):
            button = choice.findChild(QAbstractButton, key)
            assert not button.isEnabled()
            assert button.toolTip().startswith("This run ")


def test_runs_are_looked_for_when_they_are_wanted(ask: Ask) -> None:
    asker = ask()
    assert asker.looked == 0
    asker.choose("run")
    assert asker.looked == 1
    ticks = asker.ticks("run")
    assert [tick.isChecked() for tick in ticks.values()] == [True, True, False]
    ticks["Moons 2"].click()
    cells = asker.start().cells
    assert [(cell.run, cell.settings.kind, cell.settings.steps) for cell in cells] == [
        (Path("/runs/moons-0"), "dpmpp-2m", 20),
        (Path("/runs/moons-1"), "dpmpp-2m", 7),
        (Path("/runs/moons-2"), "heun", 20),
    ]
    assert [cell.column for cell in cells] == list(ticks), "as the dialog calls them, not as their folders"


def test_many_runs_are_scrolled_to(qtbot: QtBot, ask: Ask) -> None:
    moons = find("moons")
    asker = ask(runs=lambda: [RunChoice(Path(f"/runs/{i}"), f"Run {i}", "", moons) for i in range(12)])
    asker.choose("run")
    last = asker.ticks("run")["Run 11"]
    assert last.visibleRegion().isEmpty()
    with qtbot.waitActive(asker.panel):
        asker.panel.activateWindow()
    asker.panel.down.findChild(QAbstractButton, "none").setFocus()
    QTest.keyClick(asker.panel.focusWidget(), Qt.Key.Key_Backtab)
    assert last.hasFocus()
    assert last.visibleRegion().boundingRect() == last.rect()
    QTest.keyClick(last, Qt.Key.Key_Space)
    assert [cell.column for cell in asker.start().cells] == ["Run 0", "Run 1", "Run 11"]


def test_an_open_lock_draws_a_seed_when_it_starts(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed_lock.random, "randrange", lambda end: 77)
    asker = ask()
    asker.panel.seed.editor.selectAll()
    QTest.keyClicks(asker.panel.seed.editor, "-1")
    asker.panel.seed.editor.commit()
    assert asker.panel.note.text().startswith("Seed: ")
    assert not asker.panel.start.isEnabled()
    QTest.keyClick(asker.panel.seed.editor, Qt.Key.Key_Escape)
    asker.panel.seed.button.click()
    asker.choose("weights")
    assert {cell.seed for cell in asker.start().cells} == {77}
    assert (asker.lock.seed, asker.lock.locked) == (77, False)


def test_the_tab_key_goes_from_top_to_bottom(ask: Ask) -> None:
    asker = ask()
    panel = asker.panel
    panel.activateWindow()
    asker.choose("checkpoint", "steps")
    panel.across.findChild(QAbstractButton, "checkpoint").setFocus()
    seen: list[QWidget] = []
    while len(seen) < 40 and (not seen or seen[-1] is not panel.start):
        QTest.keyClick(panel.focusWidget(), Qt.Key.Key_Tab)
        seen.append(panel.focusWidget())
    page = panel.page("steps")
    assert isinstance(page, LinePage)
    assert seen == [
        *asker.ticks("checkpoint").values(),
        panel.down.findChild(QAbstractButton, "steps"),
        page.editor,
        panel.seed.editor,
        panel.seed.button,
        panel.cancel,
        panel.start,
    ]


# -- the window


def small(steps: int, source: str = "two-gaussians") -> Recipe:
    """Tiny."""
    base = {
        "training.steps": steps,
        "training.batch": 32,
        "network.width": 16,
        "network.depth": 1,
        "preview.count": 16,
        "preview.steps": 4,
        "sampler.steps": 4,
        "compute.threads": 1,
        "compute.device": "cpu",
    }
    return find(source).with_settings(base)


COMPARED = {"DDPM": DDPM(steps=4), "DDIM": DDIM(steps=3), "Heun": Heun(steps=5)}


def comparison(seed: int, **samplers: Any) -> Comparison:
    return Comparison(tuple(Cell(each, seed, label=name, column=name) for name, each in samplers.items()), 200)


def press(choice: QWidget, key: str) -> None:
    button = choice.findChild(QAbstractButton, key)
    assert button is not None
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def opened(window: MainWindow) -> ComparePanel:
    window.actions_by_id["run.compare"].trigger()
    panel = window.comparing.panel
    assert panel is not None
    assert panel.isVisible()
    return panel


def test_during_a_training_and_from_disk_and_again_when_reopened(qtbot: QtBot, window: MainWindow) -> None:
    view, grid, action = window.view, window.view.comparison, window.actions_by_id["run.compare"]
    assert not action.isEnabled()
    window.session.start(small(1_000_000))
    qtbot.waitUntil(lambda: window.controller.state is State.TRAINING)
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") is not None)
    opened(window).reject()
    qtbot.waitUntil(lambda: view.player.tape is not None)  # what Back goes back to
    window.comparing._on_asked(comparison(0, **COMPARED))
    qtbot.waitUntil(lambda: len(grid.cells) == 3 and all(tape.complete for tape in grid.tapes))
    qtbot.waitUntil(lambda: not grid._running)
    assert window.controller.training
    assert view.stage.currentWidget() is grid
    noises = [cell.tape.frames[0].x for cell in grid.cells]
    assert all(np.array_equal(noise, noises[0]) for noise in noises)
    step = window.controller.channels.batch.last("step")
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") > step + 3)
    assert view.stage.currentWidget() is grid  # previews wait
    window.actions_by_id["playback.to_noise"].trigger()
    view.poll()
    assert [cell.canvas._items is cell.tape.frames[0].x for cell in grid.cells] == [True] * 3
    grid.back.click()
    assert view.stage.currentWidget() is view.points
    window.controller.stop()
    qtbot.waitUntil(lambda: not window.controller.busy)
    window.stage._on_frame_clock()  # the last preview may still be on its way
    before, caption = view.player.tape, view.caption.text()
    assert before is not None
    assert caption.startswith("same ")
    view.player.pause()  # else it moves on until the comparison begins
    view.player.set_position(1)

    first_two = {name: COMPARED[name] for name in ("DDPM", "DDIM")}
    window.comparing._on_asked(comparison(3, **first_two))  # from disk
    qtbot.waitUntil(lambda: len(grid.cells) == 2 and not grid._running)
    assert "Compared in" in window.status.message.text()
    assert view.caption.text() == "seed 3"
    assert {tape.seed for tape in grid.tapes} == {3}
    assert not np.array_equal(grid.tapes[0].frames[0].x, noises[0])
    qtbot.waitUntil(lambda: action.isEnabled() and not window.controller.busy)
    grid.back.click()
    assert view.player.tape is before
    assert (view.player.position, view.caption.text()) == (1, caption)
    run = window.session.run
    assert run is not None
    qtbot.waitUntil(lambda: not window.controller.busy)  # while it is, nothing else opens
    window.session.open_run(run.path)
    qtbot.waitUntil(lambda: not window.controller.busy)
    assert not grid.cells
    panel = opened(window)
    assert panel._subject.recipe == run.recipe(), "the run's, whatever the form says"
    panel.last.click()
    assert [tape.label for tape in grid.tapes] == ["DDPM", "DDIM"]
    assert all(tape.complete for tape in grid.tapes)
    assert view.stage.currentWidget() is grid


def test_the_last_comparison_stays_when_its_run_is_renamed(qtbot: QtBot, window: MainWindow) -> None:
    grid = window.view.comparison
    window.session.start(small(5))
    qtbot.waitUntil(lambda: window.session.has_checkpoint and not window.controller.busy)
    window.comparing._on_asked(comparison(0, **{name: COMPARED[name] for name in ("DDPM", "DDIM")}))
    qtbot.waitUntil(lambda: len(grid.cells) == 2 and not grid._running)
    qtbot.waitUntil(lambda: not window.controller.busy)
    run = window.session.run
    assert run is not None
    window.files.on_rename(run.path, "renamed")
    assert window.session.run is not None
    assert window.session.run.name == "renamed"
    panel = opened(window)
    assert panel._subject.seconds > 0, "what a network call costs is known, too"
    panel.last.click()
    assert [tape.label for tape in grid.tapes] == ["DDPM", "DDIM"]


def test_training_steps_and_seeds_of_a_training_through_the_dialog(qtbot: QtBot, window: MainWindow) -> None:
    grid, controller = window.view.comparison, window.controller
    window.session.start(small(1_000_000))
    for count in (1, 2):
        qtbot.waitUntil(lambda: controller.state is State.TRAINING)
        qtbot.waitUntil(lambda: controller.channels.batch.last("step") is not None)
        step = controller.channels.batch.last("step")
        qtbot.waitUntil(lambda at=step: controller.channels.batch.last("step") > at + 3)
        window.session.on_save()
        run = window.session.run
        assert run is not None
        qtbot.waitUntil(lambda run=run, count=count: len(run.checkpoints()) == count)
    panel = opened(window)
    press(panel.across, "checkpoint")
    press(panel.down, "seed")
    page = panel.page("seed")
    assert isinstance(page, LinePage)
    page.editor.selectAll()
    QTest.keyClicks(page.editor, "4, 9")
    QTest.keyClick(page.editor, Qt.Key.Key_Return)
    assert not panel.isVisible()
    qtbot.waitUntil(lambda: len(grid.cells) == 6 and not grid._running)
    assert controller.training
    saved = [checkpoint.step for checkpoint in run.checkpoints()]
    tapes = grid.tapes
    assert [tape.column for tape in tapes[:3]] == [f"{saved[0]:,}", f"{saved[1]:,}", "now"]
    assert [tape.row for tape in tapes] == ["4"] * 3 + ["9"] * 3
    steps = [tape.training_step for tape in tapes[:3]]
    assert steps[:2] == saved[:2]
    assert steps[2] is not None
    assert steps[2] > saved[1]
    assert all(np.array_equal(tape.frames[0].x, tapes[0].frames[0].x) for tape in tapes[:3])
    assert not np.array_equal(tapes[0].frames[0].x, tapes[3].frames[0].x)
    assert not np.array_equal(tapes[0].frames[-1].x, tapes[1].frames[-1].x), "it has learnt something between"
    assert window.view.caption.text() == "", "there is no one seed"


def test_two_runs_through_the_dialog(qtbot: QtBot, window: MainWindow) -> None:
    grid = window.view.comparison
    for changes in ({"sampler.steps": 3}, {"sampler.steps": 6, "sampler.kind": "heun"}, {"training.steps": 4}):
        window.session.start(small(5).with_settings(changes))
        qtbot.waitUntil(lambda: window.session.has_checkpoint and not window.controller.busy)
    panel = opened(window)
    press(panel.across, "run")
    page = panel.page("run")
    assert isinstance(page, TickPage)
    assert [switch.isChecked() for switch in page.switches] == [True, True, False]
    assert [tick.note for tick in page._ticks] == ["step 4", "step 5", "step 5"]
    QTest.keyClick(page.switches[0], Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: len(grid.cells) == 2 and not grid._running)
    assert [(tape.sampler, len(tape.frames)) for tape in grid.tapes] == [("dpmpp-2m", 5), ("heun", 7)]
    assert np.array_equal(grid.tapes[0].frames[0].x, grid.tapes[1].frames[0].x)
    assert {tape.label for tape in grid.tapes} == {tick.text for tick in page._ticks[:2]}
    qtbot.waitUntil(lambda: not window.controller.busy)
    panel = opened(window)
    assert "about" in panel.note.text() or "a few s" in panel.note.text()
    panel.reject()


def test_a_checkpoint_that_went_meanwhile_is_told_and_the_training_goes_on(qtbot: QtBot, window: MainWindow) -> None:
    window.session.start(small(1_000_000))
    qtbot.waitUntil(lambda: len(window.controller.channels.batch) > 0)
    cells = tuple(Cell(DDIM(steps=3), 0, checkpoint=at, label=str(at)) for at in (77_777, None))
    window.comparing._on_asked(Comparison(cells, 20))
    qtbot.waitUntil(lambda: "no checkpoint" in window.status.message.text())
    step = window.controller.channels.batch.last("step")
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") > step)
    assert not window.view.comparison.cells


def test_stopping_a_comparison_is_not_stopping_the_training(qtbot: QtBot, window: MainWindow) -> None:
    grid = window.view.comparison
    window.session.start(small(1_000_000))
    qtbot.waitUntil(lambda: len(window.controller.channels.batch) > 0)
    window.comparing._on_asked(comparison(0, Langevin=Langevin(steps=100, moves=10_000), **COMPARED))
    qtbot.waitUntil(lambda: bool(grid.cells and grid.tapes[0].frames))
    assert grid.stop.isVisible()
    grid.stop.click()
    qtbot.waitUntil(lambda: not grid._running)
    assert "Stopped after 0 of 4" in window.status.message.text()
    step = window.controller.channels.batch.last("step")
    qtbot.waitUntil(lambda: window.controller.channels.batch.last("step") > step)
    assert window.controller.state is State.TRAINING
