"""Qt's Python types, made in the window's thread before any other thread asks for them.

PySide6 makes a class when its name is first looked up, and pyqtgraph looks up every name of three modules while it is
imported in the engine's thread. Two threads that make types at once can crash the interpreter (seen once, while the
window painted), so all of them are made here first, a few milliseconds at a time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import QObject, QTimer, Signal, Slot

SLICE = 0.004  # seconds in one turn of the event loop


class QtTypes(QObject):
    """Looks up every name of QtCore, QtGui and QtWidgets in turns of the event loop; then emits ``made``."""

    made = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._left: Iterator[tuple[object, str]] = (
            (module, name) for module in (QtCore, QtGui, QtWidgets) for name in dir(module)
        )

    @Slot()
    def make(self) -> None:
        """Go on; called again by itself until nothing is left."""
        end = time.perf_counter() + SLICE
        for module, name in self._left:
            getattr(module, name, None)
            if time.perf_counter() >= end:
                QTimer.singleShot(0, self, self.make)
                return
        self.made.emit()
