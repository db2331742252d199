"""What a person sees when something goes wrong: one sentence with details to copy.

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
    QSize,
    Qt,
    QtMsgType,
    Signal,
    Slot,
    qInstallMessageHandler,
)
from PySide6.QtGui import QFontDatabase, QGuiApplication
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

from ddpm_studio.app.banner import Sign
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import PushButton

_log = logging.getLogger("ddpm_studio")


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
        head.addWidget(Sign("error", 24), 0, Qt.AlignmentFlag.AlignTop)
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
