"""Reading the disk for the window, in a thread of the pool, so that a slow disk never holds it up."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from PySide6.QtCore import QObject, Qt, QThreadPool, Signal, Slot

log = logging.getLogger(__name__)


class Reading(QObject):
    """One question at a time; of those that wait only the newest is asked.

    ``answered(object)`` in the window's thread; never with None, which says that nothing could be read.
    """

    answered = Signal(object)
    _read = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.busy = False
        self._waiting: Callable[[], object] | None = None
        self._closed = False
        self._read.connect(self._on_read, Qt.ConnectionType.QueuedConnection)

    def ask(self, question: Callable[[], object]) -> None:
        """Answer ``question`` when the one before has been answered; it touches nothing of the window's."""
        self._waiting = question
        if not self.busy:
            self._go_on()

    def close(self) -> None:
        """No answer is wanted any more."""
        self._closed = True

    def _go_on(self) -> None:
        question, self._waiting = self._waiting, None
        self.busy = question is not None and not self._closed
        if question is not None and self.busy:
            QThreadPool.globalInstance().start(partial(self._answer, question))

    def _answer(self, question: Callable[[], object]) -> None:
        """In the thread of the pool."""
        answer = None
        try:
            answer = question()
        except Exception:  # the window lives on
            log.exception("something could not be read")
        with suppress(RuntimeError):  # the window has been deleted meanwhile
            self._read.emit(answer)

    @Slot(object)
    def _on_read(self, answer: object) -> None:
        self._go_on()
        if answer is not None and not self._closed:
            self.answered.emit(answer)
