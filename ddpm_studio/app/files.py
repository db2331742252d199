"""What the window does with files: open, save as, rename, trash; and the questions it asks."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import QFile, QObject, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget

from ddpm_studio import __version__
from ddpm_studio.app.canvas import PictureCanvas, PointCanvas
from ddpm_studio.app.controller import State
from ddpm_studio.app.errors import show_error
from ddpm_studio.app.export_panel import Shown
from ddpm_studio.app.exporting import Exporting
from ddpm_studio.export.grid import Show
from ddpm_studio.files import write_text
from ddpm_studio.paths import runs_folder, user_folder
from ddpm_studio.recipes import dumps

if TYPE_CHECKING:
    from ddpm_studio.app.main_window import MainWindow

log = logging.getLogger(__name__)


class FileActions(QObject):
    """The file actions of one window. All dialogs are asked here and nowhere else."""

    run_moved = Signal(object, object)  # Path before, and now; None: it is in the trash

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.exporting = Exporting(window, self)

    def _save_name(self, title: str, name: str, kinds: str) -> Path | None:
        chosen, _ = QFileDialog.getSaveFileName(self._window, title, str(Path.home() / name), kinds)
        return Path(chosen) if chosen else None

    @Slot()
    def on_open_run(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, self.tr("Open run"), str(runs_folder()))
        if folder:
            self._window.open_run(Path(folder))

    @Slot()
    def on_open_pictures(self) -> None:
        folder = QFileDialog.getExistingDirectory(self._window, self.tr("Learn a folder of pictures"), str(Path.home()))
        if folder:
            self._window.open_path(Path(folder))

    def choose_data(self) -> Path | None:
        """A folder to learn from instead of what is missing."""
        folder = QFileDialog.getExistingDirectory(
            self._window, self.tr("A folder with IDX files, or of pictures"), str(Path.home())
        )
        return Path(folder) if folder else None

    @Slot()
    def on_open_recipe(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self._window, self.tr("Open recipe"), str(Path.home()), self.tr("Recipes (*.toml)")
        )
        if chosen:
            self._window.open_path(Path(chosen))

    @Slot()
    def on_save_recipe(self) -> None:
        recipe = self._window.recipe
        path = self._save_name(self.tr("Save recipe as"), f"{recipe.name}.toml", self.tr("Recipes (*.toml)"))
        if path is not None:
            try:
                write_text(path, dumps(recipe))
            except OSError as error:
                self._cannot(path, error)

    @Slot()
    def on_save_run_as(self) -> None:
        run = self._window.run
        if run is None:
            return
        path = self._save_name(self.tr("Save run as"), run.name, "")
        if path is not None:
            self.exporting.copy(run, path)

    @Slot()
    def on_save_tape(self) -> None:
        """Save the process on screen, or several side by side."""
        view = self._window.view
        tapes = view.comparison.tapes or ([view.player.tape] if view.player.tape is not None else [])
        if view.comparison.together is not None:  # what runs have recorded, by their names
            runs = view.comparison.together.runs
            tapes = [replace(tape, label=run.name) for tape, run in zip(tapes, runs, strict=True)]
        tapes = [tape for tape in tapes if tape.frames]
        if tapes:
            self.exporting.ask(self._window.run, tapes, self._shown())

    def _shown(self) -> Shown:
        """Where both clocks stand, and which picture is marked."""
        view, player = self._window.view, self._window.view.player
        if player.tape is None or player.frame is None:
            return Shown()
        canvas = view.comparison.cells[0].canvas if view.comparison.cells else view.pictures
        item = canvas.chosen if player.tape.kind == "pictures" and isinstance(canvas, PictureCanvas) else -1
        data = canvas.data if isinstance(canvas, PointCanvas) else view.points.data
        kind = player.tape.kind
        together = view.comparison.together
        return Shown(
            kind,
            player.tape.training_step,
            player.frame.t,
            player.share,
            item,
            data if kind == "points" else None,
            show=cast(Show, view.show_what),
            moments=together.moments() if together is not None else (),
        )

    @Slot()
    def on_export_run(self) -> None:
        """Take the run on screen along."""
        if self._window.run is None:
            self._window.status.message.set_text(self.tr("There is no run yet: start one, or open one."))
        else:
            self.exporting.ask(self._window.run, (), self._shown())

    @Slot(object)
    def on_show_folder(self, path: Path) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))

    @Slot(object, str)
    def on_rename(self, path: Path, name: str) -> None:
        target = path.with_name(name)
        if self._in_use(path):
            return
        try:
            if target.exists():
                raise FileExistsError(None, self.tr("there is already a run with this name"))
            path.rename(target)
        except OSError as error:
            self._cannot(target, error)
        else:
            self.run_moved.emit(path, target)

    @Slot(object)
    def on_trash(self, path: Path) -> None:
        """To the system's trash, never deleted outright; the list has asked already."""
        if self._in_use(path):
            return
        if move_to_trash(path):
            self.run_moved.emit(path, None)
        else:
            show_error(
                self._window, self.tr("{0} cannot be moved to the trash; delete it in a file manager").format(path), ""
            )

    def _in_use(self, path: Path) -> bool:
        """Whether the engine works on this run; then it is said what to do first."""
        controller = self._window.controller
        used = controller.state not in (State.IDLE, State.LOADING) and (
            controller.state is State.SAMPLING or (controller.run is not None and controller.run.path == path)
        )
        if used:
            self._window.reports.say(self.tr("Stop what runs first; then a run can be renamed or moved."))
        return used

    @Slot()
    def on_about(self) -> None:
        box = QMessageBox(self._window)
        box.setObjectName("about")
        box.setWindowTitle(self.tr("About DDPM Studio"))
        box.setText(
            self.tr(
                "<b>DDPM Studio {0}</b><br>Train a small diffusion model and watch it learn.<br><br>"
                "MIT licence. Fashion-MNIST (MIT), DiceBear pixel art (CC0), Datasaurus dino (MIT), "
                "Lucide icons (ISC), Inter (OFL).<br><br>Runs and settings: {1}"
            ).format(__version__, user_folder())
        )
        box.open()

    def _cannot(self, path: Path, error: OSError) -> None:
        show_error(self._window, self.tr("{0} cannot be written: {1}").format(path, error.strerror or error), "")


def move_to_trash(path: Path) -> bool:
    """Whether the system has taken it."""
    return bool(QFile(str(path)).moveToTrash())


class QuitQuestion(QMessageBox):
    """Asked when the window is closed while a training goes on."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("quit_question")
        self.setWindowTitle(self.tr("Quit"))
        self.setText(self.tr("A training is still running."))
        role = QMessageBox.ButtonRole
        self._save = self.addButton(self.tr("Save and quit"), role.AcceptRole)
        self._keep = self.addButton(self.tr("Keep training"), role.RejectRole)
        self._discard = self.addButton(self.tr("Quit without saving"), role.DestructiveRole)
        self.setDefaultButton(self._save)
        self.setEscapeButton(self._keep)

    @property
    def answer(self) -> str:
        """ "save", "keep" or "discard"."""
        clicked = self.clickedButton()
        return "save" if clicked is self._save else "discard" if clicked is self._discard else "keep"
