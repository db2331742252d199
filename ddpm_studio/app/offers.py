"""Next steps where a training cannot go on: other data for those that are not here, a smaller batch for full memory."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal, Slot

from ddpm_studio.app.banner import Banner
from ddpm_studio.app.files import FileActions
from ddpm_studio.app.jobs import DataMissing, DataTaken
from ddpm_studio.app.texts import say
from ddpm_studio.data import BUILT_IN
from ddpm_studio.data.catalog import mnist_folder
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.events import MemoryFull

INSTEAD = {"mnist": "fashion-mnist", "cifar-10": "pixel-faces"}  # comes with the program and suits the same networks


class Offers(QObject):
    """Shows them in the banner as soon as the engine is idle.

    Signals: ``settings_wanted`` what a choice changes in the recipe; ``start_wanted`` it was Start that failed;
    ``resume_wanted`` a training that has begun goes on; ``data_wanted`` what was missing is here;
    ``files_chosen(Path, asked)`` files that the engine must look at first.
    """

    settings_wanted = Signal(dict)
    data_wanted = Signal()
    files_chosen = Signal(object, bool)
    said = Signal(str)
    start_wanted = Signal()
    resume_wanted = Signal()

    def __init__(self, banner: Banner, files: FileActions, parent: QObject) -> None:
        super().__init__(parent)
        self._banner, self._files = banner, files
        self._coming: DataMissing | None = None  # waits for the engine
        self._shown: DataMissing | None = None
        self._taken: DataTaken | None = None  # waits, too
        self._full: MemoryFull | None = None  # waits, too
        self._smaller: MemoryFull | None = None  # what is offered
        banner.action_chosen.connect(self._on_chosen)
        banner.closed.connect(self._on_closed)

    def missing(self, event: DataMissing) -> None:
        self._coming = event

    def taken(self, event: DataTaken) -> None:
        self._taken = event

    def full(self, event: MemoryFull) -> None:
        self._full = event

    def _offer_smaller(self, full: MemoryFull) -> None:
        self._smaller = full if full.smaller else None
        go_on = self.tr("Go on with a batch of {0:,}") if full.step else self.tr("Start with a batch of {0:,}")
        choices = {"smaller": go_on.format(full.smaller)} if full.smaller else {}
        self._banner.show_notice(full.sentence(say) + ".", choices=choices)

    def _use(self, taken: DataTaken) -> None:
        """The files that were chosen instead of MNIST: they may be MNIST itself, and the recipe stays as it is."""
        if taken.source == "mnist":
            self.said.emit(self.tr("These files are MNIST: copied into {0}.").format(mnist_folder()))
            self.data_wanted.emit()
        else:
            self.settings_wanted.emit({"data.source": taken.source})
        if taken.asked:
            self.start_wanted.emit()

    @Slot()
    def on_idle(self) -> None:
        missing, self._coming = self._coming, None
        taken, self._taken = self._taken, None
        full, self._full = self._full, None
        if full is not None:
            self._offer_smaller(full)
        if taken is not None:
            self._use(taken)
        if missing is None:
            return
        self._shown = missing
        use = INSTEAD[missing.source]
        choices = {
            f"use.{use}": self.tr("Use {0}").format(BUILT_IN[use].title),
            "choose": self.tr("Choose IDX files or a folder…")
            if missing.source == "mnist"
            else self.tr("Choose a folder…"),
        }
        if missing.asked:
            self._banner.show_notice(missing.sentence, choices=choices | {"again": self.tr("Try again")})
        else:
            text = self.tr("{0} does not come with the program: Start downloads it.")
            self._banner.show_notice(text.format(BUILT_IN[missing.source].title), kind="info", choices=choices)

    @Slot(object)
    def on_recipe(self, recipe: Recipe) -> None:
        """An offer for other data has no place any more."""
        if self._shown is not None and recipe.data.source != self._shown.source:
            self.withdraw()

    @Slot(object)
    def on_recipe_chosen(self, recipe: Recipe) -> None:
        """Nor has one for the run that was on screen; other data are missing still."""
        if self._shown is None or recipe.data.source != self._shown.source:
            self.withdraw()

    @Slot()
    def withdraw(self) -> None:
        """Something else has begun."""
        self._shown = self._smaller = None
        self._banner.hide()

    @Slot(str)
    def _on_chosen(self, choice: str) -> None:
        missing, smaller = self._shown, self._smaller
        self._smaller = None
        if choice == "smaller" and smaller is not None:
            self.settings_wanted.emit({"training.batch": smaller.smaller})
            (self.resume_wanted if smaller.step else self.start_wanted).emit()
        if missing is None:
            return
        if choice == "choose":
            path = self._files.choose_data()
            if path is None:
                self._banner.show()  # nothing was chosen: the offer stands
                return
            if missing.source == "mnist":
                self._shown = None
                self.files_chosen.emit(path, missing.asked)
            else:
                self._take({"data.source": str(path)}, missing)
        elif choice == "again":
            self._take({}, missing)
        elif choice.startswith("use."):
            self._take({"data.source": choice.removeprefix("use.")}, missing)

    def _take(self, changes: dict[str, str], missing: DataMissing) -> None:
        self._shown = None
        if changes:
            self.settings_wanted.emit(changes)
        if missing.asked:
            self.start_wanted.emit()

    @Slot()
    def _on_closed(self) -> None:
        self._shown = self._smaller = None
