"""The small dialog in which a person says what to take along, as what, and where to."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication, QDir, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.fields import ChoiceEditor, FlatLineEdit
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, PushButton
from ddpm_studio.export.grid import Show
from ddpm_studio.export.take import FORMATS, OF, SHOWS, Of, Wanted

STAGE = "stage"  # the processes on the stage; everything else is of the run on disk
WHAT = {
    STAGE: "What is on the stage",
    "process": "The run's last process",
    "learning": "The run's learning",
    "both": "Both clocks at once",
    "loss": "The run's loss",
    "report": "A report of the run",
}
ONE_ONLY = ("strip", "npy")  # formats that hold one process


def _(text: str) -> str:
    return QCoreApplication.translate("ExportPanel", text)


class ExportPanel(QDialog):
    """``asked`` gives (Wanted, Path, whether it is of the stage)."""

    asked = Signal(object, object, bool)

    def __init__(self, folder: Path, run: str, tapes: int, parent: QWidget | None = None) -> None:
        """``folder``: where files go at first; ``run``: the run's name, "" without one; ``tapes`` on the stage."""
        super().__init__(parent)
        self.setObjectName("export_panel")
        self.setWindowTitle(self.tr("Save pictures as") if tapes else self.tr("Export run"))
        self._folder, self._run, self._tapes = folder, run, tapes
        self._named = False  # the person chose the place: a change of format keeps its name
        self.what, self.format, self.show_choice = ChoiceEditor(), ChoiceEditor(), ChoiceEditor()
        self.where = FlatLineEdit()
        browse = PushButton(self.tr("Browse…"), "folder-open", tooltip=self.tr("Choose the place"))
        browse.clicked.connect(self._on_browse)
        grid = QGridLayout()
        grid.setHorizontalSpacing(MARGIN)
        grid.setVerticalSpacing(GRID)
        grid.setColumnStretch(1, 1)
        rows: tuple[tuple[str, QWidget, str], ...] = (
            (self.tr("What"), self.what, "what"),
            (self.tr("As"), self.format, "format"),
            (self.tr("Show"), self.show_choice, "show"),
            (self.tr("Where"), self.where, "where"),
        )
        self._labels: dict[str, QLabel] = {}
        for i, (text, widget, name) in enumerate(rows):
            label = QLabel(text)
            label.setBuddy(widget)
            widget.setObjectName(f"export.{name}")
            widget.setAccessibleName(text)
            self._labels[name] = label
            grid.addWidget(label, i, 0)
            grid.addWidget(widget, i, 1)
        grid.addWidget(browse, len(rows) - 1, 2)
        self.where.setMinimumWidth(420)
        self.note = Caption()
        self.note.setObjectName("export.note")
        self.note.setWordWrap(True)
        self.save = PushButton(self.tr("Save"), "download", primary=True, tooltip=self.tr("Write it; work goes on"))
        self.save.setObjectName("export.save")
        self.save.clicked.connect(self._on_save)
        cancel = PushButton(self.tr("Cancel"), tooltip=self.tr("Close (Esc)"))
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(GRID)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.save)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(2 * MARGIN, 2 * MARGIN, 2 * MARGIN, 2 * MARGIN)
        whole.setSpacing(MARGIN)
        whole.addLayout(grid)
        whole.addWidget(self.note)
        whole.addLayout(buttons)

        names = [STAGE] if tapes else []
        names += [name for name in WHAT if name != STAGE] if run else []
        self.what.set_choices((name, _(WHAT[name]), "") for name in names)
        self.what.set_value(STAGE if tapes else "report")
        self.show_choice.set_choices((name, _(text), "") for name, text in SHOWS.items())
        for editor in (self.what, self.format, self.show_choice):
            editor.setMinimumWidth(240)
            editor.setMaximumWidth(16_777_215)
        self.what.edited.connect(self._on_what)
        self.format.edited.connect(self._on_format)
        self.where.textEdited.connect(self._on_typed)
        self.where.textChanged.connect(self._show_note)
        self._on_what()

    def wanted(self) -> Wanted:
        what = self.what.currentData()
        of: Of = what if what in OF else "process"
        shown: Show = self.show_choice.currentData() if self._has_pictures() else "x"
        return Wanted(self.format.currentData(), of, show=shown)

    def path(self) -> Path:
        """Where it goes, with the format's ending."""
        path, ending = self._typed(), FORMATS[self.format.currentData()].ending
        return path if path.suffix.lower() == ending or not path.name else path.with_name(path.name + ending)

    def _typed(self) -> Path:
        return Path(self.where.text().strip())

    def _has_pictures(self) -> bool:
        return self.what.currentData() not in ("loss", "report")

    @Slot()
    def _on_what(self) -> None:
        """Offer the formats of what is chosen."""
        what, before = self.what.currentData(), self.format.currentData()
        if what == "loss":
            names = [name for name in FORMATS if name.startswith("loss-")]
        elif what == "report":
            names = ["html"]
        else:
            several = what == STAGE and self._tapes > 1
            names = [name for name, each in FORMATS.items() if each.clocks and not (several and name in ONE_ONLY)]
        self.format.set_choices((name, _(FORMATS[name].title), FORMATS[name].ending) for name in names)
        self.format.setMaximumWidth(16_777_215)
        self.format.set_value(before if before in names else names[0])
        for widget in (self.show_choice, self._labels["show"]):
            widget.setEnabled(self._has_pictures())
        self._on_format()

    @Slot()
    def _on_format(self) -> None:
        """A name for it, if the person has not given one, and the ending in any case."""
        ending = FORMATS[self.format.currentData()].ending
        if self._named and self._typed().name:
            path = self._typed()
            known = {each.ending for each in FORMATS.values()} - {""}
            stem = path.with_suffix("") if path.suffix.lower() in known else path
            self.where.setText(str(stem.with_name(stem.name + ending)))
            return
        what = self.what.currentData()
        name = "denoising" if what == STAGE else f"{self._run}-{what}"
        self.where.setText(QDir.toNativeSeparators(str(self._folder / (name + ending))))

    @Slot()
    def _on_typed(self) -> None:
        self._named = True

    @Slot()
    def _on_browse(self) -> None:
        each = FORMATS[self.format.currentData()]
        kinds = f"{_(each.title)} (*{each.ending})" if each.ending else ""
        chosen, _kind = QFileDialog.getSaveFileName(
            self, self.windowTitle(), str(self.path()), kinds, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if chosen:
            self._named = True
            self.where.setText(QDir.toNativeSeparators(chosen))

    @Slot()
    def _show_note(self) -> None:
        """What is wrong with the place, or will happen there."""
        named, path = bool(self._typed().name), self.path()
        folder = not FORMATS[self.format.currentData()].ending
        taken = named and folder and path.exists() and (not path.is_dir() or any(path.iterdir()))
        wrong = ""
        if not named:
            wrong = self.tr("Say where it is to go.")
        elif not path.is_absolute():
            wrong = self.tr("Write the whole path, from the root on.")
        elif taken or (path.is_dir() and not folder):
            wrong = self.tr("There is already a folder with this name: choose another one.")
        there = named and path.is_file()
        self.note.setText(wrong or (self.tr("The file with this name will be replaced.") if there else ""))
        self.where.set_mark("bad" if wrong else "")
        self.save.setEnabled(not wrong)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._on_save()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_save(self) -> None:
        if self.save.isEnabled():
            self.asked.emit(self.wanted(), self.path(), self.what.currentData() == STAGE)
            self.accept()
