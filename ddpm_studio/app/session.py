"""What a person works on: the recipe that Start uses, the run on screen, its data; and what can be asked of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal, Slot

from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.jobs import Channels, RunOpened
from ddpm_studio.app.seed_lock import SeedLock
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.texts import settings_text
from ddpm_studio.app.undo import RecipeHistory
from ddpm_studio.data import Dataset, mixture_of
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.data.points import Mixture
from ddpm_studio.data.points_file import is_points_file
from ddpm_studio.recipes import Recipe, RecipeError, built_in, find, for_data, live_settings, read
from ddpm_studio.store import CheckpointError, Parent, Run, RunError, RunSummary
from ddpm_studio.training.control import ForkQuestion, SampleRequest
from ddpm_studio.training.events import ForkForeseen

AT_RESUME = {"training.steps"}  # may change when a run goes on
SAMPLE_COUNT = {"pictures": 64, "points": 2000}


def _live_changes(before: Recipe, after: Recipe) -> dict[str, Any]:
    """What of an edit can take effect between two steps; settings that only a former kind has are left out."""
    live = live_settings(before) | live_settings(after)
    return {
        setting: new
        for setting, (_, new) in before.differences(after).items()
        if setting in live and hasattr(getattr(after, setting.partition(".")[0]), setting.partition(".")[2])
    }


def longer(step: int) -> int:
    """A run that ended at ``step`` goes on for half as long again, unless more steps were asked for."""
    return step + max(step // 2, 1)


class _OnScreen(NamedTuple):
    """What a start takes the place of, so that it can come back."""

    run: Run | None
    learns: Recipe | None
    saved: bool
    channels: Channels


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
        self.has_checkpoint = False  # of the run on screen
        self.runs: list[RunSummary] = []  # on disk, when they were last looked at; see Reports.list_runs
        self.dataset: Dataset | None = None
        self._learns: Recipe | None = None  # the run on screen
        self._opening: Run | None = None  # is being read; until then the one before stays on screen
        self.data_clock = QTimer(self)  # data are opened when the recipe has come to rest
        self.data_clock.setSingleShot(True)
        self.data_clock.setInterval(300)
        self.data_clock.timeout.connect(self._on_data_wanted)
        self._controller = controller
        self._settings = settings
        self._begun: Run | None = None  # made by the start in hand
        self._before: _OnScreen | None = None  # before it

    # -- recipe

    @Slot(str)
    def on_recipe_named(self, name: str) -> None:
        if self._is_free():
            self.choose(find(name))

    def choose(self, recipe: Recipe) -> None:
        """Make a recipe the one that Start uses; the run on screen, if it learnt another, is let go."""
        self._opening = None
        if recipe != self.run_recipe:
            self._let_go()
        self.take_up(recipe)

    def _let_go(self) -> None:
        """No run is on screen any more."""
        if self.run is not None:
            self.run, self._learns, self.has_checkpoint = None, None, False
            self._controller.channels = Channels()
            self.run_left.emit()

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
                self.recipe = self._learns = before.with_settings(changes)
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
        """What the run on screen learns, if it can be forked."""
        can_fork = self.run is not None and (self._controller.training or self.has_checkpoint)
        return self._learns if can_fork else None

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
        text = self.tr("Needs a fork: {0}.").format(settings_text(self.wish, wishes))
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
        if self.run is None or not self.structural_wishes():  # it may have been undone while the run was saved
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
        return self.recipe.learns

    @property
    def run_recipe(self) -> Recipe:
        """What the run on screen learns, whatever the form says by now; the form's recipe without a run."""
        return self._learns or self.recipe

    def compared_with(self, recipe: Recipe) -> tuple[NDArray[Any] | None, Mixture | None, bool]:
        """What the points of a recipe's network are held against: the data (M, 2), as far as they are in memory, their
        density, if it is known, and whether the network is ``Recipe.blind``.
        """
        data = self.dataset if recipe.data == self.recipe.data else None
        points = data.held_out if data is not None and data.kind == "points" else None
        return points, mixture_of(recipe.data.source), recipe.blind

    @Slot()
    def _on_data_wanted(self) -> None:
        if not self._controller.training:
            parent = self.run if self.structural_wishes() else None
            self._controller.open_data(self.recipe, instead=self._opening is None, parent=parent)

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
        self._before = _OnScreen(self.run, self._learns, self.has_checkpoint, self._controller.channels)
        self.run, self._learns, self.has_checkpoint = run, recipe, False
        self._begun, self._opening = run, None
        self._controller.train(run)
        self.run_begun.emit()
        self._tell_wish()
        self._remember_run()

    def ahead(self) -> tuple[int, int]:
        """How many steps the run on screen would go on for, and up to which; (0, 0) without one."""
        step = int(self._controller.channels.batch.last("step") or 0)
        if self.run is None or not step:
            return 0, 0
        wanted = (self.run_recipe if self.structural_wishes() else self.recipe).training.steps
        until = wanted if wanted > step else longer(step)
        return until - step, until

    @Slot()
    def on_resume(self) -> None:
        if self.run is None or not self.has_checkpoint:
            return
        saved, trained = self.run.checkpoints(), self.run_recipe
        if not saved:
            self.refused.emit(self.tr("{0} has no checkpoint any more: its files were moved").format(self.run.path))
            return
        self._opening = None
        asked = trained.differences(self.recipe)
        live = live_settings(self.recipe)
        if asked.keys() - live - {"training.steps"}:
            history = self.history
            self.take_up(trained)  # the form shows another recipe; a run goes on with its own
            self.history = history  # so that what was wished for comes back with an undo
            self.history.push(trained, alone=True)
            asked = {}
        step, wanted = saved[-1].step, self.recipe.training.steps
        if wanted <= step:
            wanted = longer(step)
            recipe = self.recipe.with_settings({"training.steps": wanted})
            self.history.push(recipe, alone=True)
            self._restore(recipe)  # the form says so, too
        self._controller.train(self.run, wanted, self._controller.channels)
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
        recipe = self._to_sample()
        request = SampleRequest(SAMPLE_COUNT[recipe.learns], self.seed_lock.take(), weights, recipe.sampler)
        self._controller.sample(self.run, request)

    def _to_sample(self) -> Recipe:
        """What the run on screen learns, with the form's live settings, its sampler above all, as far as they suit."""
        try:
            return self.run_recipe.with_settings(_live_changes(self.run_recipe, self.recipe))
        except RecipeError:
            return self.run_recipe

    def preview(self, weights: str) -> bool:
        """Draw the preview with other weights; False if nothing can be drawn now."""
        if self._controller.training:
            self._controller.preview(weights)
        elif self.run is not None and self.has_checkpoint and not self._controller.busy:
            recipe = self._to_sample()
            request = SampleRequest(recipe.preview.count, recipe.seed, weights, recipe.preview_sampler())
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
                self.run, self._learns, self.has_checkpoint, channels = self._before
                if self.run is not None:
                    self._controller.channels = channels
                    self.run_restored.emit()
            self._begun = self._before = None
        self._opening = None
        self._look()
        if self.wish != self.recipe:
            self._take(self.wish)  # no run holds it back any more
        else:
            self._tell_wish()
        if self._forking:
            self._forking = False
            QTimer.singleShot(0, self, self._fork)  # when all have heard that the engine is idle
        self.runs_changed.emit()

    def _look(self) -> None:
        """See what the run on screen has saved by now; what it learns stays as it is known if that is damaged."""
        if self.run is not None:
            self.has_checkpoint = bool(self.run.checkpoints())
            with suppress(RunError, CheckpointError):
                self._learns = self.run.current_recipe()

    @Slot(str, str)
    def on_failed(self, sentence: str, details: str) -> None:
        """The engine could not do what it was asked for: no fork follows."""
        self._forking = False

    @Slot(object, object)
    def on_run_moved(self, old: Path, new: Path | None) -> None:
        """A run's folder has another path, or None: it is in the trash."""
        if self.run is not None and self.run.path == old:
            if new is None:
                self._let_go()
                self._tell_wish()
            else:
                self.run = Run(new)
                self._settings.add_recent(new)
        self.runs_changed.emit()

    # -- opening

    @Slot(object)
    def open_run(self, path: Path) -> None:
        """Read a run from disk; it takes the place of the one on screen when it has been read."""
        if not self._is_free():
            return
        try:
            self._opening = Run.open(path)
        except RunError as error:
            self.refused.emit(str(error))
            return
        self._controller.open_run(self._opening)

    def take_run(self, opened: RunOpened) -> bool:
        """Put a run that has been read on screen; False if another recipe was chosen meanwhile."""
        if opened.run is not self._opening:
            return False
        self.run, self._learns, self.has_checkpoint = opened.run, opened.recipe, opened.saved
        self._opening, self._controller.channels = None, opened.channels
        self.take_up(opened.recipe)
        self._remember_run()
        return True

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
