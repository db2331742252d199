"""What a person works on: the recipe that Start uses, the run on screen, its data; and what can be asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.jobs import Channels
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.data import Dataset
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.data.points_file import is_points_file
from ddpm_studio.recipes import Recipe, RecipeError, built_in, find, for_data, live_settings, read
from ddpm_studio.recipes.sections import PointMLP, ScoreMLP
from ddpm_studio.store import Run, RunError
from ddpm_studio.training.control import SampleRequest

SAMPLE_COUNT = {"pictures": 64, "points": 2000}


def kind_of(recipe: Recipe) -> Literal["points", "pictures"]:
    """What a recipe learns."""
    return "points" if isinstance(recipe.network, PointMLP | ScoreMLP) else "pictures"


class Session(QObject):
    """Has no widgets: the window passes in what was clicked and shows what is told.

    Signals: ``recipe_chosen(Recipe)`` another recipe, against which changes are marked; ``recipe_changed(Recipe)``
    one of its settings; ``run_begun`` a training was asked for, nothing is to be seen of it yet; ``run_restored`` it
    could not begin, and the run before is on screen again; ``run_left`` none is any more; ``runs_changed`` the runs
    on disk; ``said(text)`` for the status bar; ``refused(sentence)`` what was asked for cannot be done.
    """

    recipe_chosen = Signal(object)
    recipe_changed = Signal(object)
    run_begun = Signal()
    run_restored = Signal()
    run_left = Signal()
    runs_changed = Signal()
    said = Signal(str)
    refused = Signal(str)

    def __init__(self, controller: RunController, settings: WindowSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.recipe = built_in()["fashion-mnist"]
        self.baseline = self.recipe  # changes are marked against it
        self.run: Run | None = None
        self.dataset: Dataset | None = None
        self.has_checkpoint = False
        self.data_clock = QTimer(self)  # data are opened when the recipe has come to rest
        self.data_clock.setSingleShot(True)
        self.data_clock.setInterval(300)
        self.data_clock.timeout.connect(self._on_data_wanted)
        self._controller = controller
        self._settings = settings
        self._begun: Run | None = None  # made by the start in hand
        self._before: tuple[Run | None, bool, Channels] | None = None  # on screen before it: run, saved, curves

    # -- recipe

    @Slot(str)
    def on_recipe_named(self, name: str) -> None:
        self.choose(find(name))

    def choose(self, recipe: Recipe) -> None:
        """Make a recipe the one that Start uses; the run on screen, if it learnt another, is let go."""
        if self.run is not None and recipe != self.run_recipe:
            self.run, self.has_checkpoint = None, False
            self._controller.channels = Channels()
            self.run_left.emit()
        self.take_up(recipe)

    def take_up(self, recipe: Recipe) -> None:
        """Make a recipe, maybe that of the run on screen, the one that changes are marked against."""
        self._forget_data(recipe)
        self.recipe = self.baseline = recipe
        self.recipe_chosen.emit(recipe)
        self.data_clock.start()

    @Slot(object)
    def on_recipe_edited(self, recipe: Recipe) -> None:
        """The form has another value."""
        self._forget_data(recipe)
        before, self.recipe = self.recipe, recipe
        if self._controller.training:
            changes = before.differences(recipe)
            self._controller.change({setting: new for setting, (_, new) in changes.items() if new is not None})
        elif before.data != recipe.data or before.network != recipe.network:
            self.data_clock.start()
        self.recipe_changed.emit(recipe)

    def _forget_data(self, recipe: Recipe) -> None:
        """Data in memory that are not those of the recipe to come are not compared with anything any more."""
        if recipe.data != self.recipe.data:
            self.dataset = None

    @property
    def kind(self) -> Literal["points", "pictures"]:
        """What the recipe learns."""
        return kind_of(self.recipe)

    @property
    def run_recipe(self) -> Recipe:
        """What the run on screen learns, whatever the form says by now; the form's recipe without a run."""
        return self.recipe if self.run is None else self.run.current_recipe()

    @Slot()
    def _on_data_wanted(self) -> None:
        if not self._controller.training:
            self._controller.open_data(self.recipe, instead=self.run is None)

    @Slot(object, bool)
    def on_files_chosen(self, path: Path, asked: bool) -> None:
        """Files to learn from instead of what is missing; ``asked``: it was Start that missed it."""
        if self._is_free():
            self._controller.take_data(path, asked)

    # -- run

    def start(self, recipe: Recipe, folder: Path | None = None) -> None:
        """Begin a new run."""
        if not self._is_free():
            return
        if recipe != self.recipe:
            self.choose(recipe)
        try:
            run = Run.create(recipe, folder)
        except RunError as error:
            self.refused.emit(str(error))
            return
        self._before, self.run = (self.run, self.has_checkpoint, self._controller.channels), run
        self.has_checkpoint, self._begun = False, self.run
        self._controller.train(self.run)
        self.run_begun.emit()
        self._remember_run()

    @Slot()
    def on_resume(self) -> None:
        if self.run is None or not self.run.checkpoints():
            return
        trained = self.run.current_recipe()
        asked = trained.differences(self.recipe)
        live = live_settings(self.recipe)
        if asked.keys() - live - {"training.steps"}:
            self.take_up(trained)  # the form shows another recipe; a run goes on with its own
            asked = {}
        step, wanted = self.run.checkpoints()[-1].step, self.recipe.training.steps
        # A finished run goes on for half as long again, unless more steps were asked for.
        until = wanted if wanted > step else step + max(step // 2, 1)
        self._controller.train(self.run, until, self._controller.channels)
        changes = {setting: new for setting, (_, new) in asked.items() if setting in live and new is not None}
        if changes:
            self._controller.change(changes)
        self.runs_changed.emit()

    @Slot()
    def on_pause(self) -> None:
        self._controller.pause(self._controller.state is not State.PAUSED)

    @Slot()
    def on_stop(self) -> None:
        self._controller.stop()

    @Slot()
    def on_save(self) -> None:
        self._controller.save()

    def sample(self, weights: str) -> None:
        """Sample from the run on screen, with the recipe's sampler and ``weights``, "raw" or "ema"."""
        if self.run is None:
            return
        request = SampleRequest(SAMPLE_COUNT[self.kind], self.recipe.seed, weights, self.recipe.sampler)
        self._controller.sample(self.run, request)

    def preview(self, weights: str) -> bool:
        """Draw the preview with other weights; False if nothing can be drawn now."""
        if self._controller.training:
            self._controller.preview(weights)
        elif self.run is not None and self.has_checkpoint and not self._controller.busy:
            request = SampleRequest(self.recipe.preview.count, self.recipe.seed, weights, self.recipe.preview_sampler())
            self._controller.sample(self.run, request)
        else:
            return False
        return True

    @Slot()
    def on_idle(self) -> None:
        """The engine has nothing to do any more."""
        if self._begun is not None:
            self._begun.remove_if_empty()  # a training that could not begin leaves no trace
            if not self._begun.path.is_dir() and self._before is not None:
                self.run, self.has_checkpoint, channels = self._before
                if self.run is not None:
                    self._controller.channels = channels
                    self.run_restored.emit()
            self._begun = self._before = None
        if self.run is not None:
            self.has_checkpoint = bool(self.run.checkpoints())
        self.runs_changed.emit()

    # -- opening

    @Slot(object)
    def open_run(self, path: Path) -> None:
        """Show a run from disk."""
        if not self._is_free():
            return
        try:
            self.run = Run.open(path)
        except RunError as error:
            self.refused.emit(str(error))
            return
        self._controller.open_run(self.run)
        self._remember_run()

    def open_path(self, path: Path) -> None:
        """A run, a recipe file, a folder of pictures, or points: whatever was dropped or named on the command line."""
        if not self._is_free():
            return
        try:
            if path.is_file() and path.suffix == ".toml" and not (path.parent / "record.sqlite").exists():
                self.choose(read(path))
            elif is_points_file(path):
                self.choose(for_data(path, "points"))
            elif (path.is_dir() and not (path / "recipe.toml").exists()) or is_idx_file(path):
                self.choose(for_data(path))
            else:
                self.open_run(path)
        except RecipeError as error:
            self.refused.emit(str(error))

    def _is_free(self) -> bool:
        free = self._controller.state in (State.IDLE, State.LOADING)
        if not free:
            self.said.emit(self.tr("Stop what runs first; then something else can begin."))
        return free

    def _remember_run(self) -> None:
        if self.run is not None:
            self._settings.add_recent(self.run.path)
            self.runs_changed.emit()
