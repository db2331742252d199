"""How late the window's event loop is: always measured, so that a freeze is a number and not a feeling."""

from __future__ import annotations

import faulthandler
import logging
import sys
import threading
import time
from typing import IO

import numpy as np
from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer, Slot

log = logging.getLogger(__name__)


class Heartbeat(QObject):
    """A 20 ms beat in the window's thread; any stall delays the next beat. Lateness in ms, last 4,096 beats."""

    PERIOD_MS, SIZE = 20, 4096

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.late_ms = np.zeros(self.SIZE, np.float32)
        self.count = 0
        self.last_beat = time.monotonic()
        self._clock = QElapsedTimer()
        self._clock.start()
        self._due = self.PERIOD_MS * 1_000_000
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_beat)
        self._timer.start(self.PERIOD_MS)

    @Slot()
    def _on_beat(self) -> None:
        now = self._clock.nsecsElapsed()
        self.late_ms[self.count % self.SIZE] = max(0, now - self._due) / 1e6
        self.count += 1
        self._due = now + self.PERIOD_MS * 1_000_000
        self.last_beat = time.monotonic()

    def reset(self) -> None:
        """Forget the beats so far (before a measurement)."""
        self.count = 0

    def percentile(self, q: float) -> float:
        """Lateness in ms of the q-th percentile; 100 is the worst."""
        n = min(self.count, self.SIZE)
        # Not np.percentile, which imports numpy.ma when it is called first: that would be a late beat itself.
        return float(np.sort(self.late_ms[:n])[round((n - 1) * q / 100)]) if n else 0.0

    def stop(self) -> None:
        self._timer.stop()


class Watchdog(threading.Thread):
    """Writes the stacks of all threads when the heart has not beaten for two seconds, at most once a minute."""

    def __init__(self, heartbeat: Heartbeat, file: IO[str] | None = None) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._heartbeat, self._file = heartbeat, file
        self._end = threading.Event()

    def run(self) -> None:
        quiet_until = 0.0
        while not self._end.wait(0.5):
            silent = time.monotonic() - self._heartbeat.last_beat
            if silent > 2 and time.monotonic() > quiet_until:
                quiet_until = time.monotonic() + 60
                log.warning("the window has not answered for %.1f s", silent)
                faulthandler.dump_traceback(self._file or sys.stderr)

    def stop(self) -> None:
        self._end.set()
        self.join()
