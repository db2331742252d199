"""The log: what the program has said, with filters. The handler never calls Qt; the panel pulls."""

from __future__ import annotations

import logging
from collections import deque
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import (
    QFontDatabase,
    QGuiApplication,
    QHideEvent,
    QShowEvent,
    QTextCharFormat,
    QTextCursor,
    QTextOption,
)
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QPlainTextEdit, QVBoxLayout, QWidget

from ddpm_studio.app.fields import ChoiceEditor, FlatLineEdit
from ddpm_studio.app.theme import GRID, MARGIN, color, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, ThinScrollBar, ToolButton

MAX_LINES = 5_000
PULL_EVERY = 250  # ms

_log = logging.getLogger(__name__)


class LogHandler(logging.Handler):
    """Keeps the newest records as (level, text) for the panel to take; any thread may log."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
        self._waiting: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._waiting.append((record.levelno, self.format(record)))
        except Exception:
            self.handleError(record)

    def take(self) -> list[tuple[int, str]]:
        """The records since the last call, oldest first."""
        return [self._waiting.popleft() for _ in range(len(self._waiting))]


class LogPanel(QWidget):
    """Shows what ``handler`` collects, while visible. Attach the handler to a logger yourself."""

    def __init__(self, handler: LogHandler | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.handler = handler or LogHandler()
        self._records: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)
        self.dialog: QFileDialog | None = None

        self.levels = ChoiceEditor()
        self.levels.setObjectName("log.level")
        self.levels.setAccessibleName(self.tr("Least important level to show"))
        self.levels.setToolTip(self.tr("Hides what is less important"))
        self.levels.set_choices(
            [
                (str(logging.DEBUG), self.tr("All"), ""),
                (str(logging.INFO), self.tr("Info"), ""),
                (str(logging.WARNING), self.tr("Warnings"), ""),
                (str(logging.ERROR), self.tr("Errors"), ""),
            ]
        )
        self.levels.set_value(str(logging.INFO))
        self.levels.edited.connect(self._rewrite)
        self.search = FlatLineEdit()
        self.search.setObjectName("log.search")
        self.search.setAccessibleName(self.tr("Text to look for"))
        self.search.setToolTip(self.tr("Shows only entries with this text"))
        self.search.setPlaceholderText(self.tr("Filter"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._rewrite)
        self._copy = ToolButton("copy", self.tr("Copy what is shown"), size=DENSE_HEIGHT)
        self._copy.setObjectName("log.copy")
        self._copy.clicked.connect(self._on_copy)
        self._save = ToolButton("save", self.tr("Save what is shown…"), size=DENSE_HEIGHT)
        self._save.setObjectName("log.save")
        self._save.clicked.connect(self._on_save)

        self.text = QPlainTextEdit()
        self.text.setObjectName("log.text")
        self.text.setAccessibleName(self.tr("Log"))
        self.text.setReadOnly(True)
        self.text.setFrameShape(QPlainTextEdit.Shape.NoFrame)
        self.text.viewport().setAutoFillBackground(False)
        self.text.setMaximumBlockCount(MAX_LINES)
        self.text.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.text.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical, self.text))
        self.text.setPlaceholderText(self.tr("What the program does is written here, line by line."))
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setPointSizeF(self.font().pointSizeF() * 0.88)
        self.text.setFont(font)

        row = QHBoxLayout()
        row.setSpacing(GRID // 2)
        row.addWidget(self.levels)
        row.addWidget(self.search, 1)
        row.addWidget(self._copy)
        row.addWidget(self._save)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, GRID // 2, 0, 0)  # the scroll bar is as wide as a margin
        column.setSpacing(GRID)
        row.setContentsMargins(0, 0, MARGIN, 0)
        column.addLayout(row)
        column.addWidget(self.text, 1)

        self._clock = QTimer(self)
        self._clock.setInterval(PULL_EVERY)
        self._clock.timeout.connect(self.pull)
        theme().changed.connect(self._rewrite)

    @Slot()
    def pull(self) -> None:
        """Take what has been logged since the last time."""
        new = self.handler.take()
        self._records.extend(new)
        self._write([record for record in new if self._passes(*record)])

    @Slot(str)
    def save_to(self, path: str) -> None:
        """Write what is shown to a file."""
        try:
            Path(path).write_text(self.text.toPlainText() + "\n", encoding="utf-8")
        except OSError as error:
            _log.error("The log could not be saved to %s: %s", path, error.strerror)

    def _passes(self, level: int, text: str) -> bool:
        return level >= int(self.levels.currentData()) and self.search.text().casefold() in text.casefold()

    @Slot()
    def _rewrite(self) -> None:
        self.text.clear()
        self._write([record for record in self._records if self._passes(*record)])

    def _write(self, records: list[tuple[int, str]]) -> None:
        if not records:
            return
        bar = self.text.verticalScrollBar()
        follow = bar.value() >= bar.maximum() - 2  # stay where a person has scrolled to
        cursor = QTextCursor(self.text.document())
        cursor.beginEditBlock()
        for level, text in records:
            cursor.movePosition(QTextCursor.MoveOperation.End)
            form = QTextCharFormat()
            form.setForeground(color(_role(level)))
            if not self.text.document().isEmpty():
                cursor.insertBlock()
            cursor.insertText(text, form)
        cursor.endEditBlock()
        if follow:
            bar.setValue(bar.maximum())

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self.text.toPlainText())

    @Slot()
    def _on_save(self) -> None:
        self.dialog = QFileDialog(self.window(), self.tr("Save the log"))
        self.dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        self.dialog.setDefaultSuffix("log")
        if QGuiApplication.platformName() == "offscreen":
            self.dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
        self.dialog.fileSelected.connect(self.save_to)
        self.dialog.open()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.pull()
        self._clock.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._clock.stop()


def _role(level: int) -> str:
    if level >= logging.ERROR:
        return "bad"
    if level >= logging.WARNING:
        return "changed"
    return "text" if level >= logging.INFO else "muted"
