"""The editors of the recipe form: a number or list as text, a choice, a switch, and the data source.

All have ``set_value``, ``set_mark`` and the signal ``edited``; reading and writing text is plain functions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from PySide6.QtCore import QCoreApplication, QRectF, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFocusEvent, QGuiApplication, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QCheckBox, QFileDialog, QWidget

from ddpm_studio.app.fields import NUMBER_WIDTH, ChoiceEditor, FlatLineEdit
from ddpm_studio.app.theme import color, tabular
from ddpm_studio.app.widgets import DENSE_HEIGHT
from ddpm_studio.data.points_file import ARRAY_SUFFIXES, TEXT_SUFFIXES
from ddpm_studio.recipes import Field

LIST_WIDTH = 120  # px
TYPING_PAUSE = 150  # ms after which a valid value is taken
DOUBT_PAUSE = 600  # ms more before a half-typed value is called wrong
DRAW = "data.draw"  # the action, and the choice in the list of data
POINTS = "data.points"  # the choice of a file of points
_NOTHING = object()  # equals no value

# -- values as text ---------------------------------------------------------------------------------------


def write(value: Any) -> str:
    """A value as the form shows it: 1,000 and 0.0001 and "32, 64"; None is empty."""
    if value is None:
        return ""
    if isinstance(value, tuple | list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, int):
        return f"{value:,}"
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa.removesuffix('.0')}{f'e{int(exponent)}' if e else ''}"


def read(field: Field, text: str) -> Any:
    """What a person typed as a value.

    Raises:
        ValueError: if it cannot be read, with a sentence to show.
    """
    text = text.strip().replace("−", "-")
    if field.optional and text.casefold() in ("", "none", "auto"):
        return None
    if field.kind == "text":
        return text
    try:
        if field.kind == "ints":
            return tuple(int(part) for part in text.replace(",", " ").replace(";", " ").split())
        if field.kind == "int":
            number = float("".join(text.replace(",", "").replace("'", "").split()))
            if not number.is_integer():
                raise ValueError
            return int(number)
        number = float(text.replace(",", "."))
        if not math.isfinite(number):
            raise ValueError
        return number
    except (ValueError, OverflowError):
        wanted = {
            "ints": QCoreApplication.translate("RecipeForm", "Write whole numbers with commas, such as 32, 64"),
            "int": QCoreApplication.translate("RecipeForm", "Write a whole number"),
            "float": QCoreApplication.translate("RecipeForm", "Write a number, such as 0.001 or 1e-3"),
        }
        raise ValueError(wanted[field.kind]) from None


def stepped(field: Field, value: float, direction: int) -> float:
    """The next value up (1) or down (-1): 1, 2, 5, 10 … for rates, which live in decades, else ``Setting.step``."""
    if field.kind == "float" and field.above == 0 and field.maximum is not None and field.maximum <= 1:
        ladder = [float(f"{lead}e{power}") for power in range(-9, 1) for lead in (1, 2, 5)]
        further = [rung for rung in ladder if (rung - value) * direction > 1e-9 * value]
        return (min if direction > 0 else max)(further, default=value)
    step = field.setting.step or (1 if field.kind == "int" else 0.1)
    number = value + direction * step
    if field.minimum is not None:
        number = max(number, field.minimum)
    if field.maximum is not None:
        number = min(number, field.maximum)
    return round(number) if field.kind == "int" else float(f"{number:.10g}")


# -- editors -------------------------------------------------------------------------------------------------


class LineEditor(FlatLineEdit):
    """A number, a list of numbers or an optional one, as text.

    While a person types, a value is ``offered``: whoever listens takes it by calling ``set_value`` with it.
    One that is not taken counts as half-typed; after a longer pause, Enter or leaving, it is ``edited``.
    """

    offered = Signal(object)  # take it if it fits
    edited = Signal(object)  # take it or say what is wrong with it
    unreadable = Signal(str)
    reverted = Signal()  # Escape: back to the last valid value

    def __init__(self, field: Field, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._field = field
        self._value: Any = None
        self._typed: Any = _NOTHING  # offered and not yet taken
        self._doubted = False
        self._pause = QTimer(self, singleShot=True)
        self._pause.timeout.connect(self._on_pause)
        self.setFont(tabular(self.font()))
        self.setFixedWidth(LIST_WIDTH if field.kind == "ints" else NUMBER_WIDTH)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setPlaceholderText(self.tr("auto") if field.default is None else self.tr("none"))
        self.textEdited.connect(self._on_typed)

    def set_value(self, value: Any) -> None:
        """Show a value; where the person is at work, text that already says the same stays as it was typed."""
        stands = self.hasFocus() and value in (self._typed, self._value)
        self._typed = _NOTHING
        self._value = value
        if not stands:
            self._show_value()

    @property
    def at_work(self) -> bool:
        """Whether something is half typed."""
        return self._pause.isActive() or self._doubted

    def commit(self) -> None:
        """Take what stands there now, be it valid or not."""
        if self.at_work:
            self._pause.stop()
            self._doubted = True
            self._on_pause()

    @Slot()
    def _on_typed(self) -> None:
        self._doubted = False
        self._pause.start(TYPING_PAUSE)

    @Slot()
    def _on_pause(self) -> None:
        sentence = ""
        try:
            self._typed = read(self._field, self.text())
        except ValueError as error:
            sentence = str(error)
        if self._doubted:
            self._doubted = False
            if sentence:
                self.unreadable.emit(sentence)
            else:
                self.edited.emit(self._typed)
            return
        if not sentence:
            self.offered.emit(self._typed)
        if sentence or self._typed is not _NOTHING:
            self._doubted = True
            self._pause.start(DOUBT_PAUSE)

    def _forget_typing(self) -> None:
        self._pause.stop()
        self._doubted = False
        self._typed = _NOTHING

    def _show_value(self) -> None:
        self._forget_typing()
        if self.text() != write(self._value):
            self.setText(write(self._value))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._finish()
            self.selectAll()
        elif key == Qt.Key.Key_Escape and (self._mark == "bad" or self.text() != write(self._value)):
            self._forget_typing()
            self._value = _NOTHING  # so that the next one is shown
            self.reverted.emit()
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and isinstance(self._value, int | float):
            self.commit()
            self.offered.emit(stepped(self._field, self._value, 1 if key == Qt.Key.Key_Up else -1))
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._finish()

    def _finish(self) -> None:
        self.commit()
        if self._mark != "bad":
            self._show_value()


class SourceEditor(ChoiceEditor):
    """What to learn: a built-in data set, or the user's own pictures or points."""

    def __init__(self, sets: dict[str, str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sets = sets
        self._value = ""
        self.dialog: QFileDialog | None = None

    def set_value(self, value: Any) -> None:
        if value != self._value or not self.count():
            self._value = value
            choices = [(name, title, "") for name, title in self._sets.items()]
            if value not in self._sets:
                choices.append((value, Path(value).name or value, value))
            choices.append(("", self.tr("Choose a folder…"), self.tr("A folder of your own pictures")))
            choices.append((POINTS, self.tr("Choose points…"), self.tr("A table or array of your own points, x and y")))
            choices.append((DRAW, self.tr("Draw your own…"), self.tr("Paint points in the plane and learn them")))
            self.set_choices(choices)
        super().set_value(value)

    @Slot(int)
    def _on_activated(self, index: int) -> None:
        chosen = self.itemData(index)
        if chosen not in ("", POINTS, DRAW):
            self._on_picked(chosen)
            return
        super().set_value(self._value)
        if chosen == DRAW:
            for action in self.window().actions():
                if action.objectName() == DRAW:
                    action.trigger()
            return
        points = chosen == POINTS
        title = self.tr("Choose points") if points else self.tr("Choose a folder of pictures")
        self.dialog = QFileDialog(self.window(), title)
        self.dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if points:
            self.dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
            endings = " ".join(f"*{ending}" for ending in TEXT_SUFFIXES + ARRAY_SUFFIXES)
            self.dialog.setNameFilter(self.tr("Points ({0})").format(endings))
        else:
            self.dialog.setFileMode(QFileDialog.FileMode.Directory)
            self.dialog.setOption(QFileDialog.Option.ShowDirsOnly)
        if QGuiApplication.platformName() == "offscreen":
            self.dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
        self.dialog.fileSelected.connect(self._on_picked)
        self.dialog.open()

    @Slot(str)
    def _on_picked(self, source: str) -> None:
        self.set_value(source)
        self.edited.emit(source)


class SwitchEditor(QCheckBox):
    """On or off, as a switch."""

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mark = ""
        self.setFixedSize(36, DENSE_HEIGHT)
        self.clicked.connect(self._on_clicked)

    def set_value(self, value: Any) -> None:
        self.setChecked(bool(value))

    def set_mark(self, mark: str) -> None:
        self._mark = mark
        self.update()

    @Slot(bool)
    def _on_clicked(self, on: bool) -> None:
        self.edited.emit(on)

    def hitButton(self, pos: Any) -> bool:
        return self.rect().contains(pos)

    def sizeHint(self) -> QSize:
        return QSize(36, DENSE_HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        track = QRectF(0.5, (self.height() - 20) / 2 + 0.5, 35, 19)
        on = self.isChecked()
        fill = color("accent" if self.isEnabled() else "faint") if on else color("raised")
        painter.setPen(color(self._mark or ("accent" if on or self.hasFocus() else "faint")))
        painter.setBrush(fill)
        painter.drawRoundedRect(track, 9.5, 9.5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color("on_accent" if on else "muted" if self.isEnabled() else "faint"))
        painter.drawEllipse(QRectF(track.right() - 17 if on else track.left() + 3, track.top() + 3, 13, 13))
        if self.hasFocus():
            painter.setPen(color("accent"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(track.adjusted(0, -2, 0, 2), 11.5, 11.5)


Editor = LineEditor | ChoiceEditor | SwitchEditor
