"""The main window. It only wires: panels to the controller, and the controller's events to the panels."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt, QTimer, Slot
from PySide6.QtGui import QActionGroup, QCloseEvent, QDragEnterEvent, QDropEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QDockWidget, QMainWindow, QToolBar, QWidget

from ddpm_studio.app.actions import make_actions, set_tip
from ddpm_studio.app.appearance import ROOMY, Appearance, fill, stacked
from ddpm_studio.app.banner import Banner
from ddpm_studio.app.closing import Closing
from ddpm_studio.app.comparing import Comparing
from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.draw_data import DrawData
from ddpm_studio.app.edition_badge import EditionBadge
from ddpm_studio.app.errors import show_error
from ddpm_studio.app.files import FileActions
from ddpm_studio.app.heartbeat import Heartbeat
from ddpm_studio.app.log_panel import LogPanel
from ddpm_studio.app.main_menu import MainMenu
from ddpm_studio.app.offers import Offers
from ddpm_studio.app.qt_types import QtTypes
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.reports import Reports
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.runs_panel import RunsPanel
from ddpm_studio.app.session import Session
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.side_by_side import SideBySide
from ddpm_studio.app.stage import Stage
from ddpm_studio.app.status import StatusBar
from ddpm_studio.app.texts import settings_text
from ddpm_studio.app.top_bar import TopBar
from ddpm_studio.app.two_clocks import MB, cap_of
from ddpm_studio.app.walking import Walking
from ddpm_studio.data import BUILT_IN, Dataset
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.store import Run

if TYPE_CHECKING:
    from ddpm_studio.app.learning_plots import LearningPlots


class MainWindow(QMainWindow):
    """Centre: the reverse process. Left: the recipe. Right: learning and data, runs and log.

    What has a room of its own: ``session`` (recipe, run, data), ``stage`` (what moves), ``reports`` (what the
    engine says), ``appearance`` (panels and theme), ``closing``, ``files``.
    """

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
        self.session = Session(self.controller, self.settings, self)
        self.files = FileActions(self)
        self.appearance = Appearance(self, self.settings)
        self.closing = Closing(self, self.controller)
        self.actions_by_id = make_actions(self, self.session, self.files, self.appearance, self.closing)
        self.appearance.actions = self.actions_by_id
        self._problems: dict[str, str] = {}  # of the form
        self.failures: list[str] = []  # sentences told since the start (for the smoke test)

        self._build()
        self._wire()
        self.appearance.choose_theme(self.settings.text("theme", "system"))
        self.form.set_level_of_detail(self.settings.text("level", "watch"))
        self._on_cap(cap_of(self.settings.text("frames_cap", "")))
        self.view.set_trails(self.settings.text("trails", "on") == "on")
        self.session.choose(self.session.recipe)

    # -- building

    def _build(self) -> None:
        for action in self.actions_by_id.values():
            self.addAction(action)
        self.menu = MainMenu(self.actions_by_id, self.appearance, self.settings, self)
        self.top_bar = TopBar(self.actions_by_id, self.menu, self.session.seed_lock)
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
        self.view.clocks.bind_actions(
            {name: action for name, action in self.actions_by_id.items() if name.startswith("clock.")}
        )
        clocks = QActionGroup(self)  # their keys move nothing that is out of sight
        clocks.setExclusionPolicy(QActionGroup.ExclusionPolicy.None_)
        for name, action in self.actions_by_id.items():
            if name.startswith(("playback.", "clock.")):
                clocks.addAction(action)
        self.view.uncovered.connect(clocks.setEnabled)
        self.offer = Banner()
        self.offer.setObjectName("offer")
        self.setCentralWidget(stacked(self.banner, self.offer, self.view))

        self.form = RecipeForm({name: entry.title for name, entry in BUILT_IN.items()})
        self.badge = EditionBadge()
        self.runs_panel, self.log_panel = RunsPanel(), LogPanel()
        logging.getLogger("ddpm_studio").addHandler(self.log_panel.handler)
        self.learning_holder, self.data_holder = QWidget(), QWidget()  # filled after the first paint
        left, right = Qt.DockWidgetArea.LeftDockWidgetArea, Qt.DockWidgetArea.RightDockWidgetArea
        dock = self.appearance.add_dock
        dock("recipe", self.tr("Recipe"), stacked(self.badge, self.form), left)
        learning = dock("learning", self.tr("Learning"), self.learning_holder, right)
        data = dock("data", self.tr("Data"), self.data_holder, right)
        runs = dock("runs", self.tr("Runs"), self.runs_panel, right)
        log = dock("log", self.tr("Log"), self.log_panel, right)
        self.tabifyDockWidget(learning, data)
        self.tabifyDockWidget(runs, log)
        learning.raise_()
        runs.raise_()
        self.status = StatusBar(self.heartbeat)
        self.setStatusBar(self.status)
        self.stage = Stage(self.view, self.form, self.controller, self.session)
        self.comparing = Comparing(self, self.view, self.controller, self.session)
        self.side_by_side = SideBySide(self.view, self.controller, self.session)
        self.walking = Walking(self.view, self.controller, self.session)
        self.draw_data = DrawData(self.view, self.session, self.walking)
        self.offers = Offers(self.offer, self.files, self)
        self.reports = Reports(
            self.controller,
            self.session,
            self.stage,
            top_bar=self.top_bar,
            form=self.form,
            banner=self.banner,
            status=self.status,
            runs_panel=self.runs_panel,
            offers=self.offers,
        )

    def _wire(self) -> None:
        controller, session, reports = self.controller, self.session, self.reports
        controller.state_changed.connect(self._on_state)
        controller.reported.connect(reports.on_event)
        controller.failed.connect(session.on_failed)
        controller.failed.connect(self._on_failed)
        controller.plots_loaded.connect(self._on_plots_loaded)
        controller.ready.connect(reports.on_ready)
        controller.idle.connect(self._on_idle)
        session.recipe_chosen.connect(self._on_recipe_chosen)
        session.recipe_changed.connect(self._on_recipe_changed)
        session.recipe_chosen.connect(reports.on_recipe_chosen)
        session.run_begun.connect(self.stage.clear)
        session.run_begun.connect(self.status.forget_saved)
        session.run_begun.connect(self.banner.hide)
        session.run_restored.connect(self.stage.restore)
        session.run_left.connect(self.stage.leave_run)
        session.run_left.connect(reports.on_run_left)
        session.run_left.connect(self._show_actions)
        session.runs_changed.connect(reports.list_runs)
        session.recipe_restored.connect(self._on_recipe_restored)
        session.history_changed.connect(self._show_history)
        session.history_changed.connect(self._show_ahead)
        session.fork_needed.connect(self._on_fork_needed)
        self.form.fork_line.forked.connect(session.on_fork)
        self.form.fork_line.undone.connect(session.on_wish_dropped)
        session.said.connect(reports.say)
        session.refused.connect(self._on_refused)
        self.stage.said.connect(reports.say)
        self.comparing.said.connect(reports.say)
        self.side_by_side.refused.connect(self.banner.show_notice)
        self.side_by_side.refused.connect(reports.say)
        self.runs_panel.side_by_side_wanted.connect(self.side_by_side.on_wanted)
        self.actions_by_id["data.draw"].triggered.connect(self.draw_data.on_draw)
        self.actions_by_id["help.walk"].triggered.connect(self.draw_data.leave)
        self.actions_by_id["help.walk"].triggered.connect(self.walking.on_walk)
        for name in ("run.resume", "run.sample_now"):  # what comes of it is to be seen
            self.actions_by_id[name].triggered.connect(self.draw_data.leave)
            self.actions_by_id[name].triggered.connect(self.walking.leave)
        self.top_bar.recipe_chosen.connect(session.on_recipe_named)
        session.recipe_chosen.connect(self.offers.on_recipe_chosen)
        session.recipe_changed.connect(self.offers.on_recipe)
        self.offers.settings_wanted.connect(self._on_changes_wanted)
        self.offers.start_wanted.connect(self.on_start)
        self.offers.resume_wanted.connect(session.on_resume)
        self.offers.data_wanted.connect(session.data_clock.start)
        self.offers.files_chosen.connect(session.on_files_chosen)
        self.offers.said.connect(reports.say)
        self.badge.recipe_chosen.connect(session.on_recipe_named)
        self.badge.changes_wanted.connect(self._on_changes_wanted)
        self.form.recipe_changed.connect(session.on_recipe_edited)
        self.form.problems_changed.connect(self._on_problems)
        self.form.level_changed.connect(self._on_level_of_detail)
        self.view.weights_chosen.connect(self._on_weights)
        self.view.trails_chosen.connect(self._on_trails)
        self.view.clocks.cap_chosen.connect(self._on_cap)
        self.view.save_requested.connect(self.files.on_save_tape)
        self.menu.run_chosen.connect(session.open_run)
        self.runs_panel.run_opened.connect(session.open_run)
        for asked in (self.menu.run_chosen, self.runs_panel.run_opened, self.runs_panel.side_by_side_wanted):
            asked.connect(self._on_stage_wanted)
        self.runs_panel.curves_wanted.connect(reports.on_curves_wanted)
        self.runs_panel.folder_shown.connect(self.files.on_show_folder)
        self.runs_panel.rename_requested.connect(self.files.on_rename)
        self.runs_panel.trash_requested.connect(self.files.on_trash)
        self.files.run_moved.connect(session.on_run_moved)
        self.files.run_moved.connect(self.comparing.on_run_moved)

    # -- the first seconds

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.oldSize().width() < ROOMY <= event.size().width() and self.appearance.shown:
            QTimer.singleShot(0, self.appearance, self.appearance.widen)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self.appearance.shown:
            self.appearance.restore()
            self.view.setFocus()
            self.stage.play_first_tape()
            QTimer.singleShot(0, self, self._on_first_paint)

    @Slot()
    def _on_first_paint(self) -> None:
        QTimer.singleShot(30, self, self._on_painted)

    @Slot()
    def _on_painted(self) -> None:
        """What can wait until the window is on the screen: plots, data, the list of runs, and torch."""
        self.reports.list_runs()
        types = QtTypes(self)
        types.made.connect(self.controller.load_plots)
        types.made.connect(types.deleteLater)
        types.make()

    @Slot()
    def _on_plots_loaded(self) -> None:
        from ddpm_studio.app.data_panel import DataPanel
        from ddpm_studio.app.learning_plots import LearningPlots

        # In turns of the event loop: a data panel, the plots, then torch, so that the tape plays on between them.
        if self.stage.data_panel is None:
            data_panel = DataPanel()
            self.stage.set_data_panel(data_panel)
            fill(self.data_holder, data_panel)
            QTimer.singleShot(0, self, self._on_plots_loaded)
            return
        plots = LearningPlots()
        fill(self.learning_holder, plots)
        self.stage.set_plots(plots)
        self.controller.load_engine()
        self.session.data_clock.start()

    # -- recipe and run

    @property
    def recipe(self) -> Recipe:
        """The one that Start uses."""
        return self.session.recipe

    @property
    def run(self) -> Run | None:
        """The one on screen."""
        return self.session.run

    @property
    def dataset(self) -> Dataset | None:
        """The data on screen."""
        return self.session.dataset

    @property
    def plots(self) -> LearningPlots | None:
        """None before the first paint."""
        return self.stage.plots

    def start(self, recipe: Recipe, folder: Path | None = None) -> None:
        """Begin a new run."""
        self.session.start(recipe, folder)

    def open_run(self, path: Path) -> None:
        """Show a run from disk."""
        self.session.open_run(path)

    def open_path(self, path: Path) -> None:
        """A run, a recipe file, or a folder of pictures: whatever was dropped or named on the command line."""
        self.session.open_path(path)

    @Slot()
    def on_start(self) -> None:
        if not self.form.problems():  # takes what is being typed, too
            self.start(self.form.recipe())

    @Slot()
    def on_sample(self) -> None:
        self.stage.await_samples()
        self.session.sample(self.view.weights_choice.value())

    @Slot()
    def on_compare(self) -> None:
        self.comparing.on_compare()

    @Slot()
    def _on_stage_wanted(self) -> None:
        """What was chosen to be seen is moved by the keys, too."""
        self.view.setFocus()

    @Slot(str)
    def _on_weights(self, weights: str) -> None:
        if not self.session.preview(weights) and self.view.player.tape is not None:
            self.view.set_weights(self.view.player.tape.weights)  # nothing can be drawn now: say what is shown

    @Slot(bool)
    def _on_trails(self, on: bool) -> None:
        self.settings.set_text("trails", "on" if on else "off")

    @Slot(object)
    def _on_recipe_chosen(self, recipe: Recipe) -> None:
        self.form.set_recipe(recipe, recipe)
        self.badge.set_recipe(recipe)
        self.top_bar.set_recipe(recipe)
        self.stage.choose_recipe(recipe)

    @Slot(object)
    def _on_recipe_changed(self, recipe: Recipe) -> None:
        self.badge.set_recipe(recipe)
        self.top_bar.set_recipe(recipe)
        self.stage.show_recipe(recipe)

    @Slot(object)
    def _on_recipe_restored(self, recipe: Recipe) -> None:
        self.form.set_recipe(recipe, self.session.baseline)

    @Slot()
    def _show_history(self) -> None:
        for name, way in (("edit.undo", -1), ("edit.redo", 1)):
            now, then = self.session.history.recipe, self.session.history.next(way)
            what = settings_text(now, now.differences(then)) if then is not None else ""
            said = self.tr("Undo") if way < 0 else self.tr("Redo")
            self.actions_by_id[name].setEnabled(then is not None)
            self.actions_by_id[name].setText(f"{said}: {what}" if what else said)

    @Slot()
    def _show_ahead(self) -> None:
        more, until = self.session.ahead()
        text = self.tr("Go on with the run on screen")
        if more:
            text = self.tr("{0}: {1:,} more steps, up to step {2:,}").format(text, more, until)
        set_tip(self.actions_by_id["run.resume"], text)

    @Slot(str)
    def _on_fork_needed(self, sentence: str) -> None:
        self.form.tell_fork(sentence)
        self.actions_by_id["edit.fork"].setEnabled(bool(sentence))

    @Slot(dict)
    def _on_changes_wanted(self, changes: dict[str, Any]) -> None:
        """Settings were chosen outside of the form."""
        try:
            recipe = self.form.recipe().with_settings(changes)
        except RecipeError as error:
            self.reports.say(str(error))
            return
        self.form.set_recipe(recipe, self.session.baseline)
        self.session.on_recipe_edited(recipe)

    @Slot(dict)
    def _on_problems(self, problems: dict[str, str]) -> None:
        self._problems = problems
        self._show_actions()
        setting, text = next(iter(problems.items()), ("", ""))
        name = settings_text(self.session.wish, [setting]) if setting else ""
        self.reports.say(f"{name}: {text}" if name else text)

    @Slot(str)
    def _on_level_of_detail(self, level: str) -> None:
        self.settings.set_text("level", level)

    @Slot(int)
    def _on_cap(self, megabytes: int) -> None:
        """Room for recorded frames: at once in memory, with the next training in the run's file."""
        self.settings.set_text("frames_cap", str(megabytes))
        self.side_by_side.set_cap(megabytes * MB)
        self.view.clocks.set_cap(megabytes)

    # -- what the engine says

    @Slot(object)
    def _on_state(self, state: State) -> None:
        self._show_actions()
        if self.controller.training:  # begun, or gone on with
            self.offers.withdraw()
        self.badge.set_running(state not in (State.IDLE, State.LOADING))
        self.view.comparison.set_training(self.controller.training)
        self.reports.on_state(state)

    @Slot()
    def _show_actions(self) -> None:
        saved = self.session.has_checkpoint
        self.top_bar.set_state(self.controller.state, can_start=not self._problems, can_resume=saved, can_sample=saved)

    @Slot()
    def _on_idle(self) -> None:
        self.session.on_idle()
        self.stage.on_idle()
        self._show_actions()
        self.offers.on_idle()
        self.closing.on_idle()

    @Slot(str, str)
    def _on_failed(self, sentence: str, details: str) -> None:
        if self.controller.state is State.LOADING:  # nobody asked for it in so many words: a notice is enough
            self.banner.show_notice(sentence)
        else:
            self.closing.call_off()  # it must be read first
            self.view.set_hint(sentence)  # seen if nothing else is on the stage
            self.report_failure(sentence, details)
        self.reports.say(sentence)

    @Slot(str)
    def _on_refused(self, sentence: str) -> None:
        show_error(self, sentence, "")

    def report_failure(self, sentence: str, details: str) -> None:
        """Tell of an error; the window lives on."""
        self.failures.append(sentence)
        show_error(self, sentence, details)

    def report_crash(self, trace: str) -> None:
        """The last session ended in native code: its trace was left in a file."""
        show_error(
            self, self.tr("DDPM Studio ended unexpectedly last time. Runs are saved up to their last autosave."), trace
        )

    # -- dropping and closing

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if event.mimeData().hasUrls() and not self.controller.training:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        for url in event.mimeData().urls()[:1]:
            self.open_path(Path(url.toLocalFile()))

    def quit_after_saving(self) -> None:
        """Stop the training, keep everything, close when the engine is idle."""
        self.closing.quit_after_saving()

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.closing.may_close():
            event.ignore()
            return
        self.session.data_clock.stop()
        self.stage.stop_clocks()
        self.side_by_side.stop_reading()
        self.reports.close()
        self.heartbeat.stop()
        logging.getLogger("ddpm_studio").removeHandler(self.log_panel.handler)
        self.appearance.remember()
        self.settings.sync()
        self.files.exporting.shutdown()
        self.controller.shutdown()
        event.accept()

    @property
    def docks(self) -> dict[str, QDockWidget]:
        """The panels' docks by name."""
        return self.appearance.docks
