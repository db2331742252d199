"""Notices: a sentence in a thin bar, perhaps with what to do about it."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal, Slot
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.theme import GRID, MARGIN, color, icon, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, PushButton, ToolButton

_KINDS = {  # of a notice: icon, colour
    "info": ("info", "accent"),
    "warning": ("triangle-alert", "changed"),
    "error": ("circle-alert", "bad"),
}


class Sign(QWidget):
    """The icon of a notice, always in the colours in force."""

    def __init__(self, kind: str, size: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self.setFixedSize(size, size)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        icon(*_KINDS[self.kind]).paint(painter, self.rect())


class Banner(QWidget):
    """A thin bar for what a person should know but need not act on, such as skipped steps."""

    action_chosen = Signal(str)  # the key given with the notice
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self._key = ""
        self._sign = Sign("info", 16)
        self.sentence = QLabel()
        self.sentence.setWordWrap(True)
        self.action = PushButton(height=DENSE_HEIGHT)
        self.action.setObjectName("banner.action")
        self.action.clicked.connect(self._on_action)
        self._close = ToolButton("x", self.tr("Close this notice"), size=DENSE_HEIGHT)
        self._close.setObjectName("banner.close")
        self._close.clicked.connect(self._on_close)
        self._choices = QWidget()  # a row of buttons below the sentence
        self._choices.hide()
        middle = QVBoxLayout()
        middle.setSpacing(GRID // 2)
        middle.addWidget(self.sentence, 1)
        middle.addWidget(self._choices, 0, Qt.AlignmentFlag.AlignLeft)
        row = QHBoxLayout(self)
        row.setContentsMargins(MARGIN, GRID, GRID // 2, GRID)
        row.setSpacing(GRID)
        row.addWidget(self._sign)
        row.addLayout(middle, 1)
        row.addWidget(self.action)
        row.addWidget(self._close)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        theme().changed.connect(self.update)
        self.hide()

    def show_notice(
        self,
        sentence: str,
        *,
        kind: str = "warning",
        action: str = "",
        key: str = "",
        choices: dict[str, str] | None = None,
    ) -> None:
        """Show a sentence ("info", "warning" or "error"), with a button if ``action`` has its text.

        ``choices`` are several buttons below the sentence, as {key: text}.
        """
        self._key = key
        self._set_choices(choices or {})
        self._sign.kind = kind
        self.sentence.setText(sentence)
        self.setAccessibleName(sentence)
        self.action.setText(action)
        self.action.setToolTip(action)
        self.action.setVisible(bool(action))
        self.show()
        self.update()

    def _set_choices(self, choices: dict[str, str]) -> None:
        old = self._choices
        self._choices = QWidget()
        row = QHBoxLayout(self._choices)
        row.setContentsMargins(0, 0, 0, GRID // 2)
        row.setSpacing(GRID)
        for key, text in choices.items():
            button = PushButton(text, tooltip=text, height=DENSE_HEIGHT)
            button.setObjectName(f"banner.{key}")
            button.setProperty("key", key)
            button.clicked.connect(self._on_choice)
            row.addWidget(button)
        layout = self.layout()
        assert layout is not None
        layout.replaceWidget(old, self._choices)
        self._choices.setVisible(bool(choices))
        old.hide()
        old.deleteLater()

    @Slot()
    def _on_choice(self) -> None:
        self._key = self.sender().property("key")
        self._on_action()

    @Slot()
    def _on_action(self) -> None:
        key = self._key
        self.hide()
        self.action_chosen.emit(key)

    @Slot()
    def _on_close(self) -> None:
        self.hide()
        self.closed.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        role = _KINDS[self._sign.kind][1]
        painter.fillRect(self.rect(), color("panel"))
        painter.fillRect(self.rect(), color(role, 0.12))
        painter.fillRect(QRectF(0, self.height() - 1, self.width(), 1), color("hairline"))
        painter.fillRect(QRectF(0, 0, 3, self.height()), color(role))
