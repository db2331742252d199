"""What a person sees when something goes wrong: a notice in a bar, or one sentence with details to copy.

Unexpected exceptions of any thread, and what Qt itself complains about, end in the log; the hooks also
report exceptions to the window. ``DDPM_STUDIO_NO_DIALOGS=1`` turns dialogs into log entries.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

from PySide6.QtCore import (
    QCoreApplication,
    QMessageLogContext,
    QObject,
    QRectF,
    QSize,
    Qt,
    QtMsgType,
    Signal,
    Slot,
    qInstallMessageHandler,
)
from PySide6.QtGui import QFontDatabase, QGuiApplication, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from shiboken6 import isValid

from ddpm_studio.app.theme import GRID, MARGIN, color, icon, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, PushButton, ToolButton

_log = logging.getLogger("ddpm_studio")
_KINDS = {  # of a notice: icon, colour
    "info": ("info", "accent"),
    "warning": ("triangle-alert", "changed"),
    "error": ("circle-alert", "bad"),
}


class _Sign(QWidget):
    """The icon of a notice, always in the colours in force."""

    def __init__(self, kind: str, size: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.kind = kind
        self.setFixedSize(size, size)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        icon(*_KINDS[self.kind]).paint(painter, self.rect())


class ErrorDialog(QDialog):
    """One sentence; the details unfold and can be copied. Further errors join it instead of piling up."""

    def __init__(self, sentence: str, details: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("error")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(QCoreApplication.applicationName() or "DDPM Studio")
        self._count = 1
        self.sentence = QLabel(sentence)
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.sentence.setMinimumWidth(240)
        self.sentence.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.more = QLabel()
        self.more.hide()
        self.details = QPlainTextEdit(details)
        self.details.setObjectName("error.details")
        self.details.setAccessibleName(self.tr("Details"))
        self.details.setReadOnly(True)
        self.details.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.details.hide()

        self.unfold = PushButton(self.tr("Details"), "chevron-right", tooltip=self.tr("What exactly happened"))
        self.unfold.setObjectName("error.unfold")
        self.unfold.setVisible(bool(details))
        self.unfold.clicked.connect(self._on_unfold)
        copy = PushButton(self.tr("Copy"), "copy", tooltip=self.tr("Copy the sentence and the details"))
        copy.setObjectName("error.copy")
        copy.clicked.connect(self._on_copy)
        close = PushButton(self.tr("Close"), primary=True, tooltip=self.tr("Close this message"))
        close.setObjectName("error.close")
        close.clicked.connect(self.accept)

        head = QHBoxLayout()
        head.setSpacing(MARGIN)
        head.addWidget(_Sign("error", 24), 0, Qt.AlignmentFlag.AlignTop)
        head.addWidget(self.sentence, 1)
        foot = QHBoxLayout()
        foot.setSpacing(GRID)
        foot.addWidget(self.unfold)
        foot.addStretch()
        foot.addWidget(copy)
        foot.addWidget(close)
        column = QVBoxLayout(self)
        column.setContentsMargins(2 * GRID, 2 * GRID, 2 * GRID, 2 * GRID)
        column.setSpacing(MARGIN)
        column.addLayout(head)
        column.addWidget(self.more)
        column.addWidget(self.details, 1)
        column.addLayout(foot)
        close.setFocus()
        self._fit()

    def join(self, sentence: str, details: str) -> None:
        """Another error came while this one is still open."""
        self._count += 1
        self.more.setText(self.tr("… and %n more", "", self._count - 1))
        self.more.show()
        self.unfold.show()
        if self.details.document().characterCount() < 200_000:
            self.details.appendPlainText(f"\n{sentence}\n{details}")

    @Slot()
    def _on_unfold(self) -> None:
        shown = self.details.isHidden()
        self.details.setVisible(shown)
        self.unfold.set_icon_name("chevron-down" if shown else "chevron-right")
        self._fit()

    @Slot()
    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{self.sentence.text()}\n\n{self.details.toPlainText()}")

    def _fit(self) -> None:
        wanted = QSize(720, 480) if not self.details.isHidden() else QSize(440, 0)
        room = (self.screen() or QGuiApplication.primaryScreen()).availableSize() * 0.9
        self.resize(wanted.boundedTo(room).expandedTo(self.minimumSizeHint()))


_open: list[ErrorDialog] = []  # at most one; without a parent only this keeps it


def show_error(parent: QWidget | None, sentence: str, details: str = "") -> ErrorDialog | None:
    """Tell a person, without stopping anything; only in the window's thread. Returns the dialog, if there is one."""
    _log.error("%s", sentence)
    if os.environ.get("DDPM_STUDIO_NO_DIALOGS") == "1":
        if sys.stderr is not None:
            sys.stderr.write(f"{sentence}\n{details}\n" if details else f"{sentence}\n")
        return None
    _open[:] = [dialog for dialog in _open if isValid(dialog) and dialog.isVisible()]
    if _open:
        _open[0].join(sentence, details)
    else:
        _open.append(ErrorDialog(sentence, details, parent))
        _open[0].show()
    return _open[0]


# -- unexpected exceptions --------------------------------------------------------------------------------


class Hooks(QObject):
    """The program's exception hooks. Lives in the window's thread, where ``report`` is called."""

    _caught = Signal(str, str)

    def __init__(self, report: Callable[[str, str], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._report = report
        self._busy = threading.local()  # an error while reporting an error is only logged
        self._caught.connect(self._on_caught)
        self._before = (sys.excepthook, threading.excepthook, sys.unraisablehook)
        sys.excepthook = self._on_exception
        threading.excepthook = self._on_thread_exception
        sys.unraisablehook = self._on_unraisable
        self._qt_before = qInstallMessageHandler(_on_qt_message)

    def remove(self) -> None:
        """Put back what was there before."""
        sys.excepthook, threading.excepthook, sys.unraisablehook = self._before
        qInstallMessageHandler(self._qt_before)

    def _on_exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        details = "".join(traceback.format_exception(kind, error, trace))
        if getattr(self._busy, "now", False):
            _log.critical("While reporting an error:\n%s", details)
            return
        self._busy.now = True
        try:
            _log.critical("Unexpected error\n%s", details)
            said = str(error).strip().splitlines()[:1]
            reason = f"{kind.__name__}: {said[0]}" if said else kind.__name__
            self._caught.emit(self.tr("Something went wrong ({}).").format(reason), details)
        finally:
            self._busy.now = False

    def _on_thread_exception(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            self._on_exception(args.exc_type, args.exc_value, args.exc_traceback)

    def _on_unraisable(self, args: Any) -> None:
        # From destructors: nothing that a person could act on, and args.object must not be kept alive.
        details = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        _log.error("%s\n%s", args.err_msg or "Exception ignored", details)

    @Slot(str, str)
    def _on_caught(self, sentence: str, details: str) -> None:
        try:
            self._report(sentence, details)
        except Exception:
            _log.exception("The error could not be shown")


def install_excepthooks(report: Callable[[str, str], None]) -> Hooks:
    """Send unexpected exceptions of all threads to ``report(sentence, details)`` and Qt's messages to the log.

    ``report`` is called in the thread that calls this. Keep the result as long as the program runs.
    """
    return Hooks(report)


_QT_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


def _on_qt_message(kind: QtMsgType, context: QMessageLogContext, message: str | None) -> None:
    log = logging.getLogger(f"qt.{context.category}" if context.category else "qt")
    log.log(_QT_LEVELS.get(kind, logging.WARNING), "%s", message)
    if kind == QtMsgType.QtFatalMsg:  # Qt aborts next
        for handler in logging.getLogger().handlers:
            handler.flush()


# -- notices ------------------------------------------------------------------------------------------------


class Banner(QWidget):
    """A thin bar for what a person should know but need not act on, such as skipped steps."""

    action_chosen = Signal(str)  # the key given with the notice
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("banner")
        self._key = ""
        self._sign = _Sign("info", 16)
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
        row.setContentsMargins(MARGIN, GRID // 2, GRID // 2, GRID // 2)
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
