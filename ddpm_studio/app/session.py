"""What a person works on: the recipe that Start uses, the run on screen, its data; and what can be asked of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, QTimer, Signal, Slot

from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.jobs import Channels
from ddpm_studio.app.seed_lock import SeedLock
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.undo import RecipeHistory
from ddpm_studio.data import Dataset
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.data.points_file import is_points_file
from ddpm_studio.recipes import Recipe, RecipeError, built_in, find, for_data, live_settings, read
from ddpm_studio.recipes.sections import PointMLP, ScoreMLP
from ddpm_studio.store import CheckpointError, Parent, Run, RunError
from ddpm_studio.training.control import ForkQuestion, SampleRequest
from ddpm_studio.training.events import ForkForeseen

AT_RESUME = {"training.steps"}  # may change when a run goes on
SAMPLE_COUNT = {"pictures": 64, "points": 2000}


def kind_of(recipe: Recipe) -> Literal["points", "pictures"]:
    """What a recipe learns."""
    return "points" if isinstance(recipe.network, PointMLP | ScoreMLP) else "pictures"


def _live_changes(before: Recipe, after: Recipe) -> dict[str, Any]:
    """What of an edit can take effect between two steps; settings that only a former kind has are left out."""
    live = live_settings(before) | live_settings(after)
    return {
        setting: new
        for setting, (_, new) in before.differences(after).items()
        if setting in live and hasattr(getattr(after, setting.partition(".")[0]), setting.partition(".")[2])
    }


class Session(QObject):
    """Has no widgets: the window passes in what was clicked and shows what is told.

    Signals: ``recipe_chosen(Recipe)`` another recipe, against which changes are marked; ``recipe_changed(Recipe)``
    one of its settings; ``run_begun`` a training was asked for, nothing is to be seen of it yet; ``run_restored`` it
    could not begin, and the run before is on screen again; ``run_left`` none is any more; ``runs_changed`` the runs
    on disk; ``recipe_restored(Recipe)`` an edit was undone or redone; ``history_changed`` what can be undone;
    ``fork_needed(sentence)`` what is wished for needs a new run, or "" if nothing does; ``said(text)`` for the status
    bar; ``refused(sentence)`` what was asked for cannot be done.
    """

    recipe_chosen = Signal(object)
    recipe_changed = Signal(object)
    run_begun = Signal()
    run_restored = Signal()
    run_left = Signal()
    runs_changed = Signal()
    recipe_restored = Signal(object)
    history_changed = Signal()
    fork_needed = Signal(str)
    said = Signal(str)
    refused = Signal(str)

    def __init__(self, controller: RunController, settings: WindowSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.seed_lock = SeedLock(settings, self)
        self.recipe = built_in()["fashion-mnist"]
        self.baseline = self.recipe  # changes are marked against it
        self.wish = self.recipe  # what the form says; in a training only its live settings are the recipe's, too
        self.history = RecipeHistory(self.recipe)
        self._foreseen: ForkForeseen | None = None
        self._forking = False  # as soon as the engine is idle
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
        self.recipe = self.baseline = self.wish = recipe
        self.history = RecipeHistory(recipe)
        self.recipe_chosen.emit(recipe)
        self.data_clock.start()
        self._tell_wish()

    @Slot(object)
    def on_recipe_edited(self, recipe: Recipe) -> None:
        """The form has another value."""
        self.history.push(recipe)
        self._take(recipe)

    def _take(self, recipe: Recipe) -> None:
        """Live settings take effect at once; in a training the others are a wish, which needs a fork."""
        self.wish = recipe
        before = self.recipe
        if not self._controller.training:
            self._forget_data(recipe)
            self.recipe = recipe
            if before.data != recipe.data or before.network != recipe.network:
                self.data_clock.start()
        elif changes := _live_changes(before, recipe):
            try:
                self.recipe = before.with_settings(changes)
            except RecipeError:  # fits together with the rest of the wish only
                self._tell_wish()
                return
            self._controller.change(changes)
        self.recipe_changed.emit(self.recipe)
        self._tell_wish()

    @Slot()
    def on_undo(self) -> None:
        self._restore(self.history.undo())

    @Slot()
    def on_redo(self) -> None:
        self._restore(self.history.redo())

    def _restore(self, recipe: Recipe) -> None:
        if recipe != self.wish:
            self.recipe_restored.emit(recipe)
            self._take(recipe)

    # -- forks

    def _trained(self) -> Recipe | None:
        """What the run on screen learns, if it can be forked; None also if its folder has been taken away."""
        if self.run is None or not (self._controller.training or self.has_checkpoint):
            return None
        try:
            return self.recipe if self._controller.training else self.run_recipe
        except (RunError, CheckpointError):
            return None

    def structural_wishes(self) -> list[str]:
        """Settings in which the form differs from the run on screen and that no running network can change."""
        base = self._trained()
        if base is None:
            return []
        free = live_settings(base) | live_settings(self.wish) | AT_RESUME
        return [setting for setting in base.differences(self.wish) if setting not in free]

    def _tell_wish(self) -> None:
        """Say what needs a fork, and ask the engine what that would carry over."""
        self.history_changed.emit()
        wishes = self.structural_wishes()
        if not wishes:
            self._foreseen = None
            self.fork_needed.emit("")
            return
        if self._foreseen is not None and self._foreseen.recipe != self.wish:
            self._foreseen = None
        same = not any(setting.startswith(("network.", "data.")) for setting in wishes)
        if self._foreseen is None and self._controller.training and not same:
            self._controller.ask(ForkQuestion(self.wish))
        text = self.tr("Needs a fork: {0}.").format(", ".join(wishes))
        if same:
            rest = self.tr("A new run takes along all weights, their EMA and the optimizer's moments.")
        elif self._foreseen is None:
            rest = self.tr("A new run takes along the weights whose names and shapes agree, their EMA and moments.")
        else:
            rest = self.tr(
                "A new run takes along {0} of {1} weight tensors (same name and shape), their EMA and moments."
            )
            rest = rest.format(self._foreseen.weights, self._foreseen.of)
        self.fork_needed.emit(f"{text} {rest} {self.tr('Its steps count from 0.')}")

    @Slot(object)
    def on_foreseen(self, foreseen: ForkForeseen) -> None:
        """The engine knows what a fork would carry over."""
        if foreseen.recipe == self.wish:
            self._foreseen = foreseen
            self._tell_wish()

    @Slot()
    def on_fork(self) -> None:
        """Make a new run from this point; a training is stopped and saved first."""
        if self._controller.training:
            self._forking = True
            self.said.emit(self.tr("Saving; then the fork begins…"))
            self._controller.stop()
        else:
            self._fork()

    @Slot()
    def _fork(self) -> None:
        if self.run is None:
            return
        try:
            parent = self.run.fork_point()
        except RunError as error:
            self.refused.emit(str(error))
            return
        self.start(self.recipe, parent=parent)

    @Slot()
    def on_wish_dropped(self) -> None:
        """Take back what would need a fork; live settings stay as they are."""
        base = self._trained()
        if base is None:
            return
        changes = {} if self._controller.training else _live_changes(base, self.wish)
        try:
            recipe = base.with_settings(changes)
        except RecipeError:
            recipe = base
        self.history.push(recipe, alone=True)
        self._restore(recipe)

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
            parent = self.run if self.structural_wishes() else None
            self._controller.open_data(self.recipe, instead=self.run is None, parent=parent)

    @Slot(object, bool)
    def on_files_chosen(self, path: Path, asked: bool) -> None:
        """Files to learn from instead of what is missing; ``asked``: it was Start that missed it."""
        if self._is_free():
            self._controller.take_data(path, asked)

    # -- run

    def start(self, recipe: Recipe, folder: Path | None = None, parent: Parent | None = None) -> None:
        """Begin a new run, with what its ``parent`` had learnt if it is a fork."""
        if not self._is_free():
            return
        if recipe != self.recipe:
            self.choose(recipe)
        try:
            run = Run.create(recipe, folder, parent)
        except RunError as error:
            self.refused.emit(str(error))
            return
        self._before, self.run = (self.run, self.has_checkpoint, self._controller.channels), run
        self.has_checkpoint, self._begun = False, self.run
        self._controller.train(self.run)
        self.run_begun.emit()
        self._tell_wish()
        self._remember_run()

    @Slot()
    def on_resume(self) -> None:
        if self.run is None or not self.run.checkpoints():
            return
        trained = self.run.current_recipe()
        asked = trained.differences(self.recipe)
        live = live_settings(self.recipe)
        if asked.keys() - live - {"training.steps"}:
            history = self.history
            self.take_up(trained)  # the form shows another recipe; a run goes on with its own
            self.history = history  # so that what was wished for comes back with an undo
            self.history.push(trained, alone=True)
            asked = {}
        step, wanted = self.run.checkpoints()[-1].step, self.recipe.training.steps
        # A finished run goes on for half as long again, unless more steps were asked for.
        until = wanted if wanted > step else step + max(step // 2, 1)
        self._controller.train(self.run, until, self._controller.channels)
        if asked and (changes := _live_changes(trained, self.recipe)):
            self._controller.change(changes)
        self._tell_wish()
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
        """Sample from the run on screen: the recipe's sampler, the lock's seed and ``weights``, "raw" or "ema"."""
        if self.run is None:
            return
        request = SampleRequest(SAMPLE_COUNT[self.kind], self.seed_lock.take(), weights, self.recipe.sampler)
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
        if self.wish != self.recipe:
            self._take(self.wish)  # no run holds it back any more
        else:
            self._tell_wish()
        if self._forking:
            self._forking = False
            QTimer.singleShot(0, self, self._fork)  # when all have heard that the engine is idle
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
