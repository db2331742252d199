"""The main window. It only wires: panels to the controller, and the controller's events to the panels."""

from __future__ import annotations

import logging
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QByteArray, QSize, Qt, QTimer, Slot
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QShowEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu, QToolBar, QVBoxLayout, QWidget

from ddpm_studio.app.actions import ACTIONS, MENUS, make_actions, set_icons
from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.errors import Banner, show_error
from ddpm_studio.app.files import FileActions, QuitQuestion
from ddpm_studio.app.heartbeat import Heartbeat
from ddpm_studio.app.jobs import DataOpened, RunOpened
from ddpm_studio.app.log_panel import LogPanel
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.runs_panel import RunRow, RunsPanel
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.status import StatusBar, time_left
from ddpm_studio.app.theme import theme
from ddpm_studio.app.top_bar import TopBar
from ddpm_studio.data import BUILT_IN, Dataset
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.diffusion import Frame, NoiseSchedule, Tape
from ddpm_studio.paths import resource
from ddpm_studio.recipes import Recipe, RecipeError, built_in, find, for_data, live_settings, read
from ddpm_studio.recipes.recipe import DDIM
from ddpm_studio.store import Run, RunError, list_runs
from ddpm_studio.training.control import SampleRequest
from ddpm_studio.training.events import (
    ChangeRefused,
    CheckpointDue,
    Finished,
    RolledBack,
    SaveFailed,
    SettingChanged,
    Started,
    StepSkipped,
    TapeFinished,
    TapeStarted,
    ThreadsChanged,
    Waiting,
)

if TYPE_CHECKING:
    from ddpm_studio.app.data_panel import DataPanel
    from ddpm_studio.app.learning_plots import LearningPlots

log = logging.getLogger(__name__)

FIRST_TAPE = ("tapes", "first.npz")
SAMPLE_SECONDS = 8.0  # samples stay on the stage at least so long
SAMPLE_COUNT = {"pictures": 64, "points": 2000}


class MainWindow(QMainWindow):
    """Centre: the reverse process. Left: the recipe. Right: learning and data, runs and log."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("main_window")
        self.setWindowTitle("DDPM Studio")
        self.setDocumentMode(True)
        room = self.screen().availableSize()
        room -= QSize(32, 64)  # for frame and title bar
        self.setMinimumSize(QSize(1024, 640).boundedTo(room))
        self.resize(QSize(1440, 900).boundedTo(room))
        self.setAcceptDrops(True)
        self.settings = WindowSettings()
        self.heartbeat = Heartbeat(self)
        self.controller = RunController(self)
        self.files = FileActions(self)
        self.actions_by_id = make_actions(self, self.files)
        self.run: Run | None = None
        self.recipe = built_in()["fashion-mnist"]
        self.dataset: Dataset | None = None
        self.plots: LearningPlots | None = None
        self.data_panel: DataPanel | None = None
        self._default_layout: QByteArray | None = None
        self._plan, self._steps, self._has_checkpoint, self._probes_shown = "", 0, False, 0
        self._first_tape: Tape | None = None
        self._begun: Run | None = None  # made by the start in hand
        self._held: TapeStarted | None = None  # a preview that waits until samples have been seen
        self._schedule = NoiseSchedule.cosine()
        self._hold_until = 0.0  # of time.monotonic()
        self._quitting = False
        self._problems: dict[str, str] = {}  # of the form
        self.failures: list[str] = []  # sentences told since the start (for the smoke test)

        self._build()
        self._wire()
        self._apply_theme_choice(self.settings.text("theme", "system"))
        self.form.set_level_of_detail(self.settings.text("level", "watch"))
        self._choose(self.recipe)

    # -- building

    def _build(self) -> None:
        for action in self.actions_by_id.values():
            self.addAction(action)
        self.top_bar = TopBar(self.actions_by_id, self._menu())
        bar = QToolBar(self.tr("Run"), self)
        bar.setObjectName("toolbar")
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        bar.addWidget(self.top_bar)
        self.addToolBar(bar)

        self.banner = Banner()
        self.view = ReverseView()
        self.view.timeline.bind_actions(
            {name: action for name, action in self.actions_by_id.items() if name.startswith("playback.")}
        )
        centre = QWidget()
        column = QVBoxLayout(centre)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.banner)
        column.addWidget(self.view, 1)
        self.setCentralWidget(centre)

        self.form = RecipeForm({name: entry.title for name, entry in BUILT_IN.items()})
        self.runs_panel, self.log_panel = RunsPanel(), LogPanel()
        logging.getLogger("ddpm_studio").addHandler(self.log_panel.handler)
        self.learning_holder, self.data_holder = QWidget(), QWidget()  # filled after the first paint
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        self.docks = {
            "recipe": self._dock("recipe", self.tr("Recipe"), self.form, left),
            "learning": self._dock("learning", self.tr("Learning"), self.learning_holder, right),
            "data": self._dock("data", self.tr("Data"), self.data_holder, right),
            "runs": self._dock("runs", self.tr("Runs"), self.runs_panel, right),
            "log": self._dock("log", self.tr("Log"), self.log_panel, right),
        }
        self.tabifyDockWidget(self.docks["learning"], self.docks["data"])
        self.tabifyDockWidget(self.docks["runs"], self.docks["log"])
        self.docks["learning"].raise_()
        self.docks["runs"].raise_()
        self.status = StatusBar(self.heartbeat)
        self.setStatusBar(self.status)

    def _dock(self, name: str, title: str, content: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self)
        dock.setObjectName(f"dock.{name}")
        dock.setWidget(content)
        self.addDockWidget(area, dock)
        return dock

    def _menu(self) -> QMenu:
        menu = QMenu(self)
        for title in MENUS:
            sub = menu.addMenu(title)
            for spec in ACTIONS:
                if spec.menu == title:
                    sub.addAction(self.actions_by_id[spec.id])
            if title == "Run":
                self._recent_menu = sub.addMenu(self.tr("Open recent"))
                self._recent_menu.aboutToShow.connect(self._on_recents_wanted)
                self._recent_menu.triggered.connect(self._on_recent)
            if title == "View":
                self._panel_menu = sub.addMenu(self.tr("Panels"))
                self._panel_menu.aboutToShow.connect(self._on_panels_wanted)
        return menu

    def _wire(self) -> None:
        controller = self.controller
        controller.state_changed.connect(self._on_state)
        controller.reported.connect(self._on_reported)
        controller.failed.connect(self._on_failed)
        controller.plots_loaded.connect(self._on_plots_loaded)
        controller.ready.connect(self._on_ready)
        controller.idle.connect(self._on_idle)
        self.top_bar.recipe_chosen.connect(self._on_recipe_chosen)
        self.form.recipe_changed.connect(self._on_recipe_changed)
        self.form.problems_changed.connect(self._on_problems)
        self.form.level_changed.connect(self._on_level_of_detail)
        self.view.weights_chosen.connect(self._on_weights)
        self.view.level_changed.connect(self._on_level)
        self.view.save_requested.connect(self.files.on_save_tape)
        self.runs_panel.run_opened.connect(self._on_run_chosen)
        self.runs_panel.folder_shown.connect(self.files.on_show_folder)
        self.runs_panel.rename_requested.connect(self.files.on_rename)
        self.runs_panel.trash_requested.connect(self.files.on_trash)
        self.files.runs_changed.connect(self._list_runs)
        theme().changed.connect(self._on_theme)
        self._clocks = [
            self._clock(33, self._on_frame_clock),
            # Each repaint takes a core from the training for some milliseconds, and its threads wait for each other.
            self._clock(500, self._on_plot_clock),
            self._clock(500, self._on_text_clock),
            self._clock(1000, self._on_slow_clock),
        ]
        self._data_clock = QTimer(self)
        self._data_clock.setSingleShot(True)
        self._data_clock.setInterval(300)
        self._data_clock.timeout.connect(self._on_data_wanted)

    def _clock(self, period_ms: int, slot: Any) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(period_ms)
        timer.timeout.connect(slot)
        timer.start()
        return timer

    # -- the first seconds

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._default_layout is None:
            self.resizeDocks([self.docks["recipe"], self.docks["learning"]], [276, 312], Qt.Orientation.Horizontal)
            self.resizeDocks([self.docks["learning"], self.docks["runs"]], [540, 160], Qt.Orientation.Vertical)
            self._default_layout = self.saveState()
            self.view.setFocus()
            layout = self.settings.layout()
            if layout is not None:
                self.restoreGeometry(layout[0])
                self.restoreState(layout[1])
            self._play_first_tape()
            QTimer.singleShot(0, self, self._on_first_paint)

    def _play_first_tape(self) -> None:
        """Something moves before torch is there: noise becoming pictures, recorded earlier."""
        try:
            tape = Tape.load(resource(*FIRST_TAPE))
        except ValueError as error:
            log.warning("%s", error)
            return
        self._first_tape = tape
        self.view.set_tape(tape)
        self.view.player.set_loop(True)
        self.view.player.to_noise()
        self.view.player.play()
        self.view.set_note(self.tr("A recording. Drag the bar, or press Start to watch one learn."))

    @Slot()
    def _on_first_paint(self) -> None:
        QTimer.singleShot(30, self, self._on_painted)

    @Slot()
    def _on_painted(self) -> None:
        """What can wait until the window is on the screen: plots, data, the list of runs, and torch."""
        self.controller.load_plots()
        self._list_runs()

    @Slot()
    def _on_plots_loaded(self) -> None:
        from ddpm_studio.app.data_panel import DataPanel
        from ddpm_studio.app.learning_plots import LearningPlots

        # In turns of the event loop: a data panel, the plots, then torch, so that the tape plays on between them.
        if self.data_panel is None:
            self.data_panel = DataPanel()
            self.data_panel.level_changed.connect(self._on_data_level)
            _fill(self.data_holder, self.data_panel)
            QTimer.singleShot(0, self, self._on_plots_loaded)
            return
        self.plots = LearningPlots()
        _fill(self.learning_holder, self.plots)
        self._show_channels()
        self._show_recipe(self.recipe)
        self.controller.load_engine()
        self._data_clock.start()

    @Slot()
    def _on_ready(self) -> None:
        self._say(self.tr("Ready. Start learns {0}.").format(self.recipe.title))

    # -- recipe

    @Slot(str)
    def _on_recipe_chosen(self, name: str) -> None:
        self._choose(find(name))

    def _choose(self, recipe: Recipe) -> None:
        """Make a recipe the one that Start uses, and the one that changes are marked against."""
        if self._first_tape is not None and self.view.player.tape is self._first_tape and recipe != self.recipe:
            self.view.set_note("")  # the recording is of other data
            self.view.set_tape(None)
        self.recipe = recipe
        self.form.set_recipe(recipe, recipe)
        self._show_recipe(recipe)
        self._data_clock.start()

    @Slot(object)
    def _on_recipe_changed(self, recipe: Recipe) -> None:
        before, self.recipe = self.recipe, recipe
        if self.controller.training:
            changes = before.differences(recipe)
            self.controller.change({setting: new for setting, (_, new) in changes.items() if new is not None})
        elif before.data != recipe.data or before.network != recipe.network:
            self._data_clock.start()
        self._show_recipe(recipe)

    def _show_recipe(self, recipe: Recipe) -> None:
        self.top_bar.set_recipe(recipe)
        try:
            self._schedule = NoiseSchedule.named(**recipe.schedule.model_dump())
        except ValueError as error:  # allowed by each setting, but too much together
            self._say(str(error))
            return
        if self.plots is not None and self.data_panel is not None:
            self.plots.set_schedule(self._schedule)
            self.data_panel.set_schedule(self._schedule)
            self.data_panel.set_value_range(recipe.data.value_range)

    @Slot(dict)
    def _on_problems(self, problems: dict[str, str]) -> None:
        self._problems = problems
        self._show_actions()
        self._say(next((f"{setting}: {text}" for setting, text in problems.items()), ""))

    @Slot()
    def _on_data_wanted(self) -> None:
        if not self.controller.training:
            self.controller.open_data(self.recipe)

    @Slot(str)
    def _on_level_of_detail(self, level: str) -> None:
        self.settings.set_text("level", level)

    # -- run

    @Slot()
    def _on_start(self) -> None:
        if not self.form.problems():  # takes what is being typed, too
            self.start(self.form.recipe())

    def start(self, recipe: Recipe, folder: Path | None = None) -> None:
        """Begin a new run."""
        if recipe != self.recipe:
            self._choose(recipe)
        try:
            self.run = Run.create(recipe, folder)
        except RunError as error:
            show_error(self, str(error), "")
            return
        self._has_checkpoint, self._begun = False, self.run
        self.view.set_note("")
        self.view.set_tape(None)
        self.view.set_hint(self.tr("Building the network…"))
        self.controller.train(self.run)
        self._show_channels()
        self._remember_run()

    @Slot()
    def _on_resume(self) -> None:
        if self.run is None or not self.run.checkpoints():
            return
        trained = self.run.current_recipe()
        asked = trained.differences(self.recipe)
        live = live_settings(self.recipe)
        if asked.keys() - live - {"training.steps"}:
            self._choose(trained)  # the form shows another recipe; a run goes on with its own
            asked = {}
        step, wanted = self.run.checkpoints()[-1].step, self.recipe.training.steps
        # A finished run goes on for half as long again, unless more steps were asked for.
        until = wanted if wanted > step else step + max(step // 2, 1)
        self.controller.train(self.run, until, self.controller.channels)
        changes = {setting: new for setting, (_, new) in asked.items() if setting in live and new is not None}
        if changes:
            self.controller.change(changes)
        self._list_runs()

    @Slot()
    def _on_pause(self) -> None:
        self.controller.pause(self.controller.state is not State.PAUSED)

    @Slot()
    def _on_stop(self) -> None:
        self.controller.stop()

    @Slot()
    def _on_save(self) -> None:
        self.controller.save()

    @Slot()
    def _on_sample(self) -> None:
        if self.run is None:
            return
        kind = "points" if self.recipe.network.kind == "point-mlp" else "pictures"
        seed = self.recipe.seed
        request = SampleRequest(SAMPLE_COUNT[kind], seed, self.view.weights_choice.value(), self.recipe.sampler)
        self.controller.sample(self.run, request)

    @Slot(str)
    def _on_weights(self, weights: str) -> None:
        if self.controller.training:
            self.controller.preview(weights)
        elif self.run is not None and self._has_checkpoint and not self.controller.busy:
            preview = self.recipe.preview
            steps = min(preview.steps, self.recipe.schedule.steps)
            request = SampleRequest(preview.count, self.recipe.seed, weights, DDIM(steps=steps))
            self.controller.sample(self.run, request)
        elif self.view.player.tape is not None:
            self.view.set_weights(self.view.player.tape.weights)  # nothing can be drawn now: say what is shown

    def open_run(self, path: Path) -> None:
        """Show a run from disk."""
        if not self._can_open():
            return
        try:
            self.run = Run.open(path)
        except RunError as error:
            show_error(self, str(error), "")
            return
        self.controller.open_run(self.run)
        self._remember_run()

    def open_path(self, path: Path) -> None:
        """A run, a recipe file, or a folder of pictures: whatever was dropped or named on the command line."""
        if not self._can_open():
            return
        try:
            if path.is_file() and path.suffix == ".toml" and not (path.parent / "record.sqlite").exists():
                self._choose(read(path))
            elif (path.is_dir() and not (path / "recipe.toml").exists()) or is_idx_file(path):
                self._choose(for_data(path))
            else:
                self.open_run(path)
        except RecipeError as error:
            show_error(self, str(error), "")

    def _can_open(self) -> bool:
        free = self.controller.state in (State.IDLE, State.LOADING)
        if not free:
            self._say(self.tr("Stop what runs first; then something else can be opened."))
        return free

    def _remember_run(self) -> None:
        if self.run is not None:
            self.settings.add_recent(self.run.path)
            self._list_runs()

    @Slot()
    def _list_runs(self) -> None:
        training = self.controller.run if self.controller.training else None
        rows = [
            RunRow(s.run.path, s.title, s.step, s.changed, s.loss, training is not None and s.run.path == training.path)
            for s in list_runs()
        ]
        self.runs_panel.set_rows(rows)

    def _say(self, text: str) -> None:
        """Tell it in the status bar; the log keeps it."""
        if text:
            log.info("%s", text)
        self.status.message.set_text(text)

    # -- what the engine says

    @Slot(object)
    def _on_state(self, state: State) -> None:
        training = self.controller.training or state is State.STOPPING
        self.form.set_running(training)
        self._show_actions()
        texts = {
            State.PAUSED: self.tr("Paused"),
            State.STOPPING: self.tr("Finishing the step and saving…"),
            State.SAMPLING: self.tr("Sampling…"),
        }
        if state in texts:
            self._say(texts[state])

    def _show_actions(self) -> None:
        saved = self._has_checkpoint
        self.top_bar.set_state(self.controller.state, can_start=not self._problems, can_resume=saved, can_sample=saved)

    @Slot(object)
    def _on_reported(self, event: object) -> None:
        match event:
            case Waiting():
                self._say(event.text + "…")
            case Started():
                self._plan, self._steps = event.plan, event.steps
                self.form.set_facts(self._facts(parameters=event.parameters))
                self._say(self.tr("Learning {0}").format(self.recipe.title))
                self.view.set_hint(self.tr("The first preview comes in a moment."))
            case CheckpointDue():
                self._has_checkpoint = True
                self.status.saved()
            case SettingChanged():
                text = _change(event.setting, event.old, event.new)
                log.info("step %d: %s", event.step, text)
                self._add_flag(event.step, text)
            case SaveFailed() | ChangeRefused():
                self.banner.show_notice(event.reason)
            case StepSkipped():
                text = self.tr("Step {0:,} was skipped because {1}; {2:,} skipped in all.")
                self.banner.show_notice(text.format(event.step, event.reason, event.total))
            case RolledBack():
                text = self.tr("Back to step {0:,} with the learning rate × {1:g}: {2}.")
                self.banner.show_notice(text.format(event.step, event.rate_scale, event.reason))
            case ThreadsChanged():
                one = self.tr("Other programs use the processor: learning goes on with one thread")
                self._say(one if event.threads == 1 else self.tr("Trying all threads again"))
            case TapeFinished() if event.purpose == "sample":
                self._hold_until = time.monotonic() + SAMPLE_SECONDS
                self._say(self.tr("Sampled in {0:.1f} s").format(event.seconds))
            case Finished():
                done = (
                    self.tr("Stopped at step {0:,}; everything is saved.")
                    if event.stopped
                    else self.tr("Done: {0:,} steps.")
                )
                self._say(done.format(event.step))
            case RunOpened():
                self._show_run(event)
            case DataOpened():
                self._show_data(event)

    def _show_run(self, opened: RunOpened) -> None:
        self._choose(opened.recipe)
        self._has_checkpoint = bool(opened.run.checkpoints())
        self._show_channels()
        started = [e.about for e in opened.events if e.kind == "started"]
        self._plan = str(started[-1].get("plan", "")) if started else ""
        self._steps = opened.recipe.training.steps
        if opened.dataset is not None:
            self._show_data(DataOpened(opened.recipe.data.source, opened.dataset))
        for event in opened.events:
            if event.kind == "setting_changed":
                self._add_flag(event.step, _change(**event.about))
        self.view.set_note("")
        self.view.set_hint(self.tr("This run has no pictures yet."))
        if opened.tape is not None:
            self.view.set_weights(opened.tape.weights)
        self.view.set_tape(opened.tape)
        self.view.player.to_image()
        self.status.forget_saved()
        self._say(self.tr("Opened {0}").format(opened.run.path))

    def _show_data(self, opened: DataOpened) -> None:
        if self.data_panel is not None:
            self.data_panel.set_dataset(opened.dataset)
        self.dataset = opened.dataset
        for note in opened.dataset.notes:
            self.banner.show_notice(note, kind="info")
        self.form.set_facts(self._facts(parameters=opened.parameters))

    def _facts(self, parameters: int | None = None) -> dict[str, list[tuple[str, str, str]]]:
        facts: dict[str, list[tuple[str, str, str]]] = {}
        dataset = self.dataset
        if dataset is not None:
            facts["data"] = [
                (self.tr("Items"), f"{len(dataset):,}", ""),
                (self.tr("Held out"), f"{len(dataset.held_out):,}", ""),
            ]
            if dataset.kind == "pictures":
                channels, height, width = dataset.shape
                facts["data"].append((self.tr("Size"), f"{width} × {height}" + (" × 3" if channels == 3 else ""), "px"))
        if parameters is not None:
            facts["network"] = [(self.tr("Parameters"), f"{parameters / 1e6:.2f}", "M")]
        return facts

    @Slot(str, str)
    def _on_failed(self, sentence: str, details: str) -> None:
        if self.controller.state is State.LOADING:  # nobody asked for it in so many words: a notice is enough
            self.banner.show_notice(sentence)
        else:
            self._quitting = False  # it must be read first
            self.view.set_hint(sentence)  # seen if nothing else is on the stage
            self.report_failure(sentence, details)
        self._say(sentence)

    def report_failure(self, sentence: str, details: str) -> None:
        """Tell of an error; the window lives on."""
        self.failures.append(sentence)
        show_error(self, sentence, details)

    def report_crash(self, trace: str) -> None:
        """The last session ended in native code: its trace was left in a file."""
        show_error(
            self, self.tr("DDPM Studio ended unexpectedly last time. Runs are saved up to their last autosave."), trace
        )

    @Slot()
    def _on_idle(self) -> None:
        if self._begun is not None:
            self._begun.remove_if_empty()  # a training that could not begin leaves no trace
            if not self._begun.path.is_dir():
                self.run = None
            self._begun = None
        self._list_runs()
        if self.run is not None:
            self._has_checkpoint = bool(self.run.checkpoints())
            self._show_actions()
        if self._quitting:
            QTimer.singleShot(0, self, self.close)

    # -- clocks

    def _show_channels(self) -> None:
        """Point the plots to the run on screen."""
        if self.plots is not None:
            channels = self.controller.channels
            self.plots.set_logs(channels.batch, channels.probe)
            self._probes_shown = 0
            for step, text in channels.flags:
                self.plots.add_flag(step, text)

    def _add_flag(self, step: int, text: str) -> None:
        self.controller.channels.flags.append((step, text))
        if self.plots is not None:
            self.plots.add_flag(step, text)

    @Slot()
    def _on_frame_clock(self) -> None:
        started = self.controller.channels.tape.take() or self._held
        # What was asked for stays on the stage for a while before previews go on.
        held = started is not None and started.purpose == "preview" and time.monotonic() < self._hold_until
        self._held = started if held else None
        if started is not None and not held:
            tape = started.tape
            if self.dataset is not None and self.dataset.kind == tape.kind == "points":
                self.view.set_data_points(self.dataset.held_out)
            self.view.set_note("")
            self.view.set_weights(tape.weights)
            # While it samples and for some seconds after; TapeFinished sets the end.
            self._hold_until = math.inf if started.purpose == "sample" else 0.0
            count = self.recipe.preview.count
            same = self.tr("same {0:,} noises, seed {1}").format(count, tape.seed)
            self.view.set_caption(same if started.purpose == "preview" else self.tr("seed {0}").format(tape.seed))
            self.view.set_tape(tape)
        self.view.poll()

    @Slot()
    def _on_plot_clock(self) -> None:
        if self.plots is None or self.isMinimized():
            return
        levels = self.controller.channels.levels
        for step, t, losses in levels[self._probes_shown :]:
            self.plots.add_probe(step, t, losses)
        self._probes_shown = len(levels)
        self.plots.refresh()

    @Slot()
    def _on_text_clock(self) -> None:
        batch = self.controller.channels.batch
        step, rate = batch.last("step"), batch.last("images_per_second")
        if step is None or not self._steps:
            self.top_bar.set_numbers()
            return
        live = self.controller.training
        left = ""
        if live and rate and len(batch) > 30:
            left = time_left((self._steps - step) * self.recipe.training.batch / rate)
        self.top_bar.set_numbers(
            plan=self._plan,
            rate=self.tr("{0:,.0f} img/s").format(rate or 0) if live else "",
            step=self.tr("Step {0:,.0f} of {1:,}").format(step, max(self._steps, int(step))),
            share=step / max(self._steps, step),
            left=left,
        )

    @Slot()
    def _on_slow_clock(self) -> None:
        self.status.refresh()
        step = self.controller.channels.batch.last("step")
        if self.controller.training and step is not None:
            self.runs_panel.set_active_step(int(step))

    @Slot(int, object)
    def _on_level(self, t: int, frame: Frame | None) -> None:
        if self.plots is not None and t <= self._schedule.steps:
            self.form.set_level(t, float(self._schedule.alpha[t]), float(self._schedule.sigma[t]))
            self.plots.set_level(t)

    @Slot(int)
    def _on_data_level(self, t: int) -> None:
        self._on_level(t, None)

    # -- theme and layout

    @Slot()
    def _on_theme(self) -> None:
        set_icons(self.actions_by_id)

    @Slot()
    def _on_theme_system(self) -> None:
        self._apply_theme_choice("system")

    @Slot()
    def _on_theme_light(self) -> None:
        self._apply_theme_choice("light")

    @Slot()
    def _on_theme_dark(self) -> None:
        self._apply_theme_choice("dark")

    def _apply_theme_choice(self, choice: str) -> None:
        self.settings.set_text("theme", choice)
        theme().prefer(choice)
        for name in ("system", "light", "dark"):
            self.actions_by_id[f"view.theme_{name}"].setChecked(name == choice)

    @Slot()
    def _on_reset_layout(self) -> None:
        self.settings.forget_layout()
        if self._default_layout is not None:
            self.restoreState(self._default_layout)
        for dock in self.docks.values():
            dock.show()
        self.docks["learning"].raise_()
        self.docks["runs"].raise_()

    @Slot()
    def _on_panels_wanted(self) -> None:
        self._panel_menu.clear()
        for dock in self.docks.values():
            self._panel_menu.addAction(dock.toggleViewAction())

    @Slot()
    def _on_recents_wanted(self) -> None:
        self._recent_menu.clear()
        for path in self.settings.recents():
            self._recent_menu.addAction(path.name).setData(path)

    @Slot(QAction)
    def _on_recent(self, action: QAction) -> None:
        self.open_run(action.data())

    @Slot(object)
    def _on_run_chosen(self, path: Path) -> None:
        self.open_run(path)

    # -- dropping and closing

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and not self.controller.training:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for url in event.mimeData().urls()[:1]:
            self.open_path(Path(url.toLocalFile()))

    @Slot()
    def _on_quit(self) -> None:
        self.close()

    def closeEvent(self, event: QCloseEvent) -> None:
        """Quit in stages: ask, let the step finish and save, then end the thread and go."""
        if self.controller.training and not self._quitting:
            event.ignore()
            self._ask_to_quit()
            return
        if self.controller.busy and self.controller.state is not State.LOADING:
            event.ignore()  # the step in hand ends first; then idle closes again
            self._quitting = True
            self.controller.stop()
            return
        for clock in (*self._clocks, self._data_clock):
            clock.stop()
        self.heartbeat.stop()
        logging.getLogger("ddpm_studio").removeHandler(self.log_panel.handler)
        if self._default_layout is not None:
            self.settings.set_layout(self.saveGeometry(), self.saveState())
        self.settings.sync()
        self.controller.shutdown()
        event.accept()

    def _ask_to_quit(self) -> None:
        if os.environ.get("DDPM_STUDIO_NO_DIALOGS"):
            self.quit_after_saving()
            return
        self._quit_box = QuitQuestion(self)
        self._quit_box.finished.connect(self._on_quit_answer)
        self._quit_box.open()

    @Slot()
    def _on_quit_answer(self) -> None:
        answer = self._quit_box.answer
        if answer == "save":
            self.quit_after_saving()
        elif answer == "discard":
            self._quit_when_idle(keep=False)

    def quit_after_saving(self) -> None:
        """Stop the training, keep everything, close when the engine is idle."""
        self._quit_when_idle(keep=True)

    def _quit_when_idle(self, *, keep: bool) -> None:
        self._quitting = True
        self.controller.stop(keep=keep)
        if not self.controller.busy:  # the training may have ended while the question was open
            QTimer.singleShot(0, self, self.close)


def _change(setting: str, old: object, new: object) -> str:
    """A change of a setting as its flag says it."""
    return f"{setting.partition('.')[2].replace('_', ' ')}: {old} → {new}"


def _fill(holder: QWidget, panel: QWidget) -> None:
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(panel)
