"""Python's garbage collector, held to the window's thread."""

from __future__ import annotations

import gc
import os

from PySide6.QtCore import QObject, QTimer, Slot


class Garbage(QObject):
    """Collects once a second, if there is something, in the window's thread and in no other.

    By itself Python collects in whichever thread happens to allocate. A dialog that was closed is a cycle: the engine's
    thread would take it apart, and destroy its timers, animations and widgets while Qt uses them in the window's. And
    torch would collect after each compilation, in the thread that compiles: make this before torch is imported.
    """

    PERIOD_MS = 1000

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._was_enabled = gc.isenabled()
        gc.disable()
        # The environment, for a setting of torch._dynamo.config holds only in the thread that sets it.
        os.environ["TORCH_DYNAMO_RUN_GC_AFTER_COMPILE"] = "0"
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._on_time)

    @Slot()
    def begin(self) -> None:
        """When all modules are there: these stay, and to look through them each time takes a fifth of a second."""
        if not self._timer.isActive():
            gc.freeze()
            self._timer.start(self.PERIOD_MS)

    def end(self) -> None:
        """Python does it again as before."""
        self._timer.stop()
        if self._was_enabled:
            gc.enable()

    @Slot()
    def _on_time(self) -> None:
        sweep()


def sweep() -> None:
    """Collect the oldest generation whose turn it is, in the calling thread, by Python's own thresholds."""
    counts, limits = gc.get_count(), gc.get_threshold()
    due = [generation for generation in range(3) if counts[generation] > limits[generation] > 0]
    if due:
        gc.collect(due[-1])
