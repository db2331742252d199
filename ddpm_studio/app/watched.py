"""A training in the window, watched, as a process of its own: ``python -m ddpm_studio.app.watched RECIPE SECONDS``.

Prints one JSON object: seconds from Start to the first step, steps per second after the run-in, how late the event loop
was from the first step on in ms, and seconds from Stop to stopped.
"""

from __future__ import annotations

import json
import sys
import time

from PySide6.QtCore import QObject, QTimer, Slot

from ddpm_studio.app.main import Application
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.bench.headless import RUN_IN, endless
from ddpm_studio.heap import keep_memory
from ddpm_studio.recipes import Recipe

HAND = 1.0  # seconds: nobody presses Start sooner, and meanwhile it makes ready


class Watch(QObject):
    """Starts ``recipe`` as soon as a hand would, and stops ``seconds`` after the run-in.

    It looks every 10 ms until the first step, then seldom: its own looks take the interpreter from the training.
    """

    def __init__(self, window: MainWindow, recipe: Recipe, seconds: float) -> None:
        super().__init__(window)
        self._window, self._recipe, self._seconds = window, recipe, seconds
        self._ready = self._asked = self._first = self._stopping = 0.0
        self._ran_in: tuple[float, float] | None = None  # step and moment
        self.result: dict[str, float] = {}
        self._timer = QTimer(self)
        self._timer.setInterval(10)
        self._timer.timeout.connect(self._on_tick)
        self._timer.start()

    @Slot()
    def _on_tick(self) -> None:
        window, now = self._window, time.perf_counter()
        if not self._asked:
            if not window.controller.is_ready or window.controller.busy:
                return
            self._ready = self._ready or now
            if now - self._ready >= HAND:
                self._asked = now
                window.start(self._recipe)
        elif not self._first:
            if self._step():
                self._first = now
                self.result["first_step_s"] = now - self._asked
                window.heartbeat.reset()
                self._timer.setInterval(250)
        elif self._ran_in is None:
            if now - self._first >= min(self._seconds, RUN_IN):
                self._ran_in = (self._step(), now)
        elif now - self._ran_in[1] > self._seconds:
            self.result["steps_per_s"] = (self._step() - self._ran_in[0]) / (now - self._ran_in[1])
            for q in (50, 99, 100):
                self.result[f"late_p{q}_ms"] = window.heartbeat.percentile(q)
            self._timer.stop()
            self._stopping = now
            window.controller.idle.connect(self._on_idle)
            window.controller.stop()

    def _step(self) -> float:
        return self._window.controller.channels.batch.last("step") or 0.0

    @Slot()
    def _on_idle(self) -> None:
        self.result["stop_s"] = time.perf_counter() - self._stopping
        self._window.close()


def main() -> None:
    keep_memory()  # as the program does
    application = Application([])
    watch = Watch(application.window, endless(sys.argv[1]), float(sys.argv[2]))
    application.exec()
    print(json.dumps(watch.result))  # noqa: T201


if __name__ == "__main__":
    main()
