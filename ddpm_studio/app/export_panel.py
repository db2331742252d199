"""The small dialog in which a person says what to take along, as what, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QDir, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.fields import ChoiceEditor, FlatLineEdit
from ddpm_studio.app.levels import CODE, level_text, levels
from ddpm_studio.app.recipe_editors import SwitchEditor
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, PushButton
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.grid import Show
from ddpm_studio.export.take import FORMATS, OF, SHOWS, TELLS, Of, Wanted, default_name, fits

STAGE = "stage"  # the processes on the stage; everything else is of the run on disk
WHAT = {
    STAGE: "What is on the stage",
    "stage-learning": "The learning of the runs on the stage",
    "stage-both": "Both clocks of the runs on the stage",
    "process": "The run's reverse process",
    "learning": "The run's learning",
    "both": "Both clocks at once",
    "loss": "The run's loss",
    "report": "A report of the run",
}
LAST, END, ALL, SHOWN = "last", "end", "all", "shown"


@dataclass(frozen=True)
class Shown:
    """What the stage shows while the question is asked, so that it can be chosen.

    Attributes:
        kind: of what is exported. step: training step of the weights. t: noise level. share: 0 (x_T) … 1 (x_0), the
            place in the process. item: the picture that is marked, or -1. data: (M, 2), behind points.
            show: the state or an estimate. moments: of runs side by side the processes of each training step.
    """

    kind: Literal["pictures", "points"] = "pictures"
    step: int | None = None
    t: int | None = None
    share: float = 1.0
    item: int = -1
    data: NDArray[Any] | None = field(default=None, compare=False)
    show: Show = "x"
    moments: Sequence[Sequence[Tape]] = ()


def _(text: str) -> str:
    return QCoreApplication.translate("ExportPanel", text)


class ExportPanel(QDialog):
    """``asked`` gives (Wanted, Path, whether it is of the stage)."""

    asked = Signal(object, object, bool)

    def __init__(
        self, folder: Path, run: str, tapes: int, shown: Shown | None = None, parent: QWidget | None = None
    ) -> None:
        """``folder``: where files go at first; ``run``: the run's name, "" without one; ``tapes`` on the stage."""
        super().__init__(parent)
        self.setObjectName("export_panel")
        self.setWindowTitle(self.tr("Save pictures as") if tapes else self.tr("Export run"))
        self._folder, self._run, self._tapes, self._shown = folder, run, tapes, shown or Shown()
        self._timed = False  # the person chose the moment
        self._named = False  # the person chose the place: a change of format keeps its name
        self.what, self.format, self.show_choice = ChoiceEditor(), ChoiceEditor(), ChoiceEditor()
        self.step_choice, self.moment_choice, self.item_choice = ChoiceEditor(), ChoiceEditor(), ChoiceEditor()
        self.behind = SwitchEditor()
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
            (self.tr("Training step"), self.step_choice, "step"),
            (self.tr("Moment"), self.moment_choice, "moment"),
            (self.tr("Pictures"), self.item_choice, "items"),
            (self.tr("Data behind the points"), self.behind, "behind"),
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

        stage = [name for name in WHAT if name.startswith(STAGE)]
        names = (stage if self._shown.moments else [STAGE]) if tapes else []
        names += [name for name in WHAT if name not in stage] if run else []
        self.what.set_choices((name, _(WHAT[name]), "") for name in names)
        self.what.set_value(STAGE if tapes else "report")
        self.show_choice.set_choices(
            (name, _(text).replace("_t", "ₜ").replace("_0", "₀"), "") for name, text in SHOWS.items()
        )
        self.show_choice.set_value(self._shown.show if tapes else "x")
        step, t, item = self._shown.step, self._shown.t, self._shown.item
        steps = [(LAST, self.tr("The last recorded"), "")]
        if step is not None:
            steps.append((SHOWN, self.tr("The one shown: {0}").format(f"{step:,}"), ""))
        moments = [(END, self.tr("The end"), "")]
        if t is not None and self._shown.share < 1:
            moments.append((SHOWN, self.tr("The one shown: {0}").format(level_text(t)), ""))
        items = [(ALL, self.tr("All"), "")]
        if item >= 0:
            items.append((SHOWN, self.tr("The marked one, number {0}").format(item + 1), ""))
        self._choices = {"step": self.step_choice, "moment": self.moment_choice, "items": self.item_choice}
        for (name, editor), choices in zip(self._choices.items(), (steps, moments, items), strict=True):
            editor.set_choices(choices)
            editor.set_value(choices[0][0])
            for widget in (editor, self._labels[name]):
                widget.setVisible(len(choices) > 1)  # else there is nothing to choose
        self.behind.set_value(True)
        for widget in (self.behind, self._labels["behind"]):
            widget.setVisible(self._shown.data is not None)
        for editor in (self.what, self.format, self.show_choice, *self._choices.values()):
            editor.setMinimumWidth(240)
            editor.setMaximumWidth(16_777_215)
        self.what.edited.connect(self._on_what)
        self.moment_choice.edited.connect(self._on_timed)
        self.format.edited.connect(self._on_format)
        self.where.textEdited.connect(self._on_typed)
        self.where.textChanged.connect(self._show_note)
        self._on_what()

    def wanted(self) -> Wanted:
        what = self.what.currentData()
        name = what.removeprefix("stage-")
        of: Of = name if name in OF else "process"
        shown: Show = self.show_choice.currentData() if self._has_pictures() else "x"
        own = {name for name in self._choices if self._applies(name) and self._choices[name].currentData() == SHOWN}
        moment = "moment" in own
        return Wanted(
            self.format.currentData(),
            of,
            step=self._shown.step if "step" in own else None,
            t=self._shown.t if moment and what == "learning" else None,
            show=shown,
            items=(self._shown.item,) if "items" in own else (),
            share=self._shown.share if moment and what != "learning" else 1.0,
            behind=self.behind.isChecked(),
        )

    def _applies(self, name: str) -> bool:
        """Whether a choice among what is shown makes a difference to what is to be written."""
        what, format_ = self.what.currentData(), FORMATS[self.format.currentData()]
        match name:
            case "step":
                return bool(what == "process")
            case "moment":
                still = format_.points or self.format.currentData() == "picture"
                return bool(what in ("learning", "stage-learning") or (still and what in (STAGE, "process")))
            case _:
                return self._has_pictures()

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
            one = not what.startswith(STAGE) or (what == STAGE and self._tapes == 1)
            points = self._shown.kind == "points" and what in (STAGE, "process")
            fits = {name: each for name, each in FORMATS.items() if each.clocks and (points or not each.points)}
            names = [name for name, each in fits.items() if one or not each.one]
            if what.startswith("stage-"):
                names.remove("strip")
        self.format.set_choices((name, _(FORMATS[name].title), FORMATS[name].ending) for name in names)
        self.format.setMaximumWidth(16_777_215)
        self.format.set_value(before if before in names else names[0])
        for widget in (self.show_choice, self._labels["show"]):
            widget.setEnabled(self._has_pictures())
        if not self._timed:  # of what is on the stage the moment that is seen, if there is a choice
            seen = self.moment_choice.findData(SHOWN) >= 0 and what == STAGE
            self.moment_choice.set_value(SHOWN if seen else END)
        self._on_format()

    @Slot()
    def _on_timed(self) -> None:
        self._timed = True

    @Slot()
    def _on_format(self) -> None:
        """A name for it, if the person has not given one, and the ending in any case."""
        for name, editor in self._choices.items():
            for widget in (editor, self._labels[name]):
                widget.setEnabled(self._applies(name))
        drawn = self.what.currentData() != "loss" and not FORMATS[self.format.currentData()].one
        self.behind.setEnabled(drawn)
        self._labels["behind"].setEnabled(drawn)
        ending = FORMATS[self.format.currentData()].ending
        if self._named and self._typed().name:
            path = self._typed()
            known = {each.ending for each in FORMATS.values()} - {""}
            stem = path.with_suffix("") if path.suffix.lower() in known else path
            self.where.setText(str(stem.with_name(stem.name + ending)))
            self._show_note()
            return
        what, wanted = self.what.currentData(), self.wanted()
        name = (
            default_name("denoising", wanted, of="")
            if what == STAGE
            else default_name("runs" if what.startswith(STAGE) else self._run, wanted)
        )
        self.where.setText(QDir.toNativeSeparators(str(self._folder / name)))
        self._show_note()

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
        """What is wrong with the place; else what will be written, and whether a file makes room for it."""
        named, path = bool(self._typed().name), self.path()
        folder = not FORMATS[self.format.currentData()].ending
        taken = named and folder and path.exists() and (not path.is_dir() or any(path.iterdir()))
        wrong = ""
        if not named:
            wrong = self.tr("Say where it is to go.")
        elif not path.is_absolute():
            wrong = self.tr("Write the whole path, from the root on.")
        elif not fits(self._typed(), self.format.currentData()):
            name, kind = self._typed().name, self.format.currentData()
            ending = FORMATS[kind].ending or self.tr("no suffix")
            wrong = self.tr("{0} is no name for {1}: let it end in {2}.").format(name, kind, ending)
        elif taken or (path.is_dir() and not folder):
            wrong = self.tr("There is already a folder with this name: choose another one.")
        there = named and path.is_file()
        replaced = self.tr("The file with this name will be replaced.") if there else ""
        self.note.setText(wrong or " ".join(filter(None, [self._tell(), replaced])))
        self.where.set_mark("bad" if wrong else "")
        self.save.setEnabled(not wrong)

    def _tell(self) -> str:
        """What exactly is written, where that is not plain."""
        what = self.what.currentData()
        of = ("process" if self._tapes == 1 else "several") if what == STAGE else what
        told = TELLS.get((self.format.currentData(), of), "")
        count = self.tr("In files t counts from 1, as in papers.") if levels().count == CODE and what != "loss" else ""
        return " ".join(filter(None, [_(told) if told else "", count]))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._on_save()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_save(self) -> None:
        if self.save.isEnabled():
            self.asked.emit(self.wanted(), self.path(), self.what.currentData().startswith(STAGE))
            self.accept()
