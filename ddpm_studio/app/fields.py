"""The flat line edit and combo box of forms and filters; a coloured border marks them as changed or wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from PySide6.QtCore import QEvent, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QKeyEvent, QKeySequence, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QComboBox, QLineEdit, QSizePolicy, QWidget

from ddpm_studio.app.actions import ACTIONS
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.theme import color, icon
from ddpm_studio.app.widgets import DENSE_HEIGHT, NoWheel

NUMBER_WIDTH = 84  # px
# Wherever the focus is they are the window's; Qt has other keys, too, for what they do in a line of text (Ctrl+E: End).
WINDOW_KEYS = {QKeySequence(a.shortcut) for a in ACTIONS if a.shortcut.startswith("Ctrl+") and a.menu != "Edit"}
NARROWEST_CHOICE, WIDEST_CHOICE = 104, 156  # px


def _draw_field(painter: QPainter, widget: QWidget, mark: str) -> None:
    border = color(mark) if mark else color("accent" if widget.hasFocus() else "hairline")
    draw_box(painter, QRectF(widget.rect()), color("raised"), border, 2.0 if widget.hasFocus() else 1.0)


class FlatLineEdit(QLineEdit):
    """A line of text in a flat box."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mark = ""
        self.setFrame(False)
        self.setFixedHeight(DENSE_HEIGHT)
        self.setTextMargins(6, 0, 6, 0)
        clear = QPalette()
        clear.setColor(QPalette.ColorRole.Base, QColor(Qt.GlobalColor.transparent))
        self.setPalette(clear)  # the box is painted below the text

    def set_mark(self, mark: str) -> None:
        """Colour the border: "changed", "bad" or "" for neither."""
        self._mark = mark
        self.update()

    def event(self, event: QEvent) -> bool:
        own = isinstance(event, QKeyEvent) and QKeySequence(event.keyCombination()) in WINDOW_KEYS
        if own and event.type() == QEvent.Type.ShortcutOverride:
            event.ignore()
            return False
        return super().event(event)

    def cut_text(self) -> str:
        """The whole text where only some of it can be seen, else ""."""
        return self.text() if self.fontMetrics().horizontalAdvance(self.text()) > self.width() - 14 else ""

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        _draw_field(painter, self, self._mark)
        painter.end()
        super().paintEvent(event)


class ChoiceEditor(QComboBox):
    """One of a few texts, each standing for a value. ``edited`` follows the person only."""

    edited = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._mark = ""
        self.setFixedHeight(DENSE_HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self._no_wheel = NoWheel(self)
        self._no_wheel.guard(self)
        self.activated.connect(self._on_activated)
        self.currentIndexChanged.connect(self._on_index)

    def set_choices(self, choices: Iterable[tuple[str, str, str]]) -> None:
        """Fill with (value, text, tooltip)."""
        self.clear()
        for value, text, tip in choices:
            self.addItem(text, value)
            self.setItemData(self.count() - 1, tip or None, Qt.ItemDataRole.ToolTipRole)
        widest = max(self.fontMetrics().horizontalAdvance(self.itemText(i)) for i in range(self.count()))
        self.view().setMinimumWidth(widest + 40)

    def sizeHint(self) -> QSize:
        """As wide as what is chosen: the rest is for its label."""
        width = self.fontMetrics().horizontalAdvance(self.currentText()) + 36
        return QSize(min(max(NUMBER_WIDTH, width), WIDEST_CHOICE), DENSE_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """Where there is little room it leaves some to its label."""
        return QSize(min(self.sizeHint().width(), NARROWEST_CHOICE), DENSE_HEIGHT)

    def set_value(self, value: Any) -> None:
        self.setCurrentIndex(self.findData(value))

    def set_mark(self, mark: str) -> None:
        """Colour the border: "changed", "bad" or "" for neither."""
        self._mark = mark
        self.update()

    @Slot()
    def _on_index(self) -> None:
        self.updateGeometry()

    @Slot(int)
    def _on_activated(self, index: int) -> None:
        self.edited.emit(self.itemData(index))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        _draw_field(painter, self, self._mark)
        role = "muted" if self.isEnabled() else "faint"
        icon("chevron-down", role).paint(painter, self.width() - 22, (self.height() - 16) // 2, 16, 16)
        room = QRectF(self.rect()).adjusted(8, 0, -24, 0)
        painter.setPen(self.palette().color(QPalette.ColorRole.Text))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, self.shown())

    def shown(self) -> str:
        """As much of the current text as there is room for."""
        return self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, self.width() - 31)

    def cut_text(self) -> str:
        """The whole text where only some of it can be seen, else ""."""
        return self.currentText() if self.shown() != self.currentText() else ""
