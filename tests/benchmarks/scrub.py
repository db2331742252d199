"""Frames a second while both clocks are scrubbed and a model trains on the same cores:

    python tests/benchmarks/scrub.py [SECONDS]

Trains pixel-faces (64 previews of 32 x 32) in the real window until a few rows are recorded, then moves the clocks
to another cell sixty times a second, back and forth through t and through the rows, and counts what is painted.
Prints frames a second, their time, the lateness of the event loop, and the training's speed before and meanwhile.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

import numpy as np

from ddpm_studio.heap import keep_memory

ROWS = 4  # recorded before it begins


def main() -> None:
    keep_memory()  # as the program does
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"DDPM_STUDIO_HOME": home, "DDPM_STUDIO_NO_DIALOGS": "1"}
        if not os.environ.get("DISPLAY"):
            os.environ["QT_QPA_PLATFORM"] = "offscreen"
        print(json.dumps(measure(seconds), indent=1))


def measure(seconds: float) -> dict[str, float]:
    from PySide6.QtCore import QEvent, QObject, Qt, QTimer, Slot

    from ddpm_studio.app.main import Application
    from ddpm_studio.recipes import find

    recipe = find("pixel-faces").with_settings(
        {"training.steps": 1_000_000, "training.decay": "none", "preview.count": 64, "preview.budget": 10.0}
    )
    application = Application([])
    window = application.window
    window.resize(1440, 900)

    class Scrub(QObject):
        result: dict[str, float] = {}
        painted: list[float] = []
        asked = begun = 0.0
        first = (0.0, 0.0)  # step and time when the scrubbing began
        place = 0

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802  (Qt's name)
            if self.begun and event.type() == QEvent.Type.Paint:
                self.painted.append(time.perf_counter())
            return False

        @Slot()
        def tick(self) -> None:
            batch = window.controller.channels.batch
            clock = window.view.clock
            if not self.asked:
                if window.controller.is_ready and not window.controller.busy:
                    self.asked = time.perf_counter()
                    window.start(recipe)
            elif not self.begun:
                if len(clock.rows) >= ROWS:
                    self.first = (batch.last("step") or 0.0, time.perf_counter())
                    self.begun = self.first[1]
                    window.view.canvas.installEventFilter(self)
                    window.heartbeat.reset()
            elif time.perf_counter() - self.begun < seconds:
                self.place += 1
                columns = max(window.view.player.total - 1, 1)
                clock.set_cell(self.place // 3 % len(clock.rows), self.place % (columns + 1) / columns)
            else:
                self.finish(batch)

        def finish(self, batch: Any) -> None:
            timer.stop()
            took = time.perf_counter() - self.begun
            gaps = 1000 * np.diff(self.painted)
            self.result |= {
                "asked_per_s": self.place / took,
                "frames_per_s": len(self.painted) / took,
                "frame_ms_p50": float(np.percentile(gaps, 50)),
                "frame_ms_p99": float(np.percentile(gaps, 99)),
                "late_ms_p99": window.heartbeat.percentile(99),
                "late_ms_worst": window.heartbeat.percentile(100),
                "rows": len(window.view.clock.rows),
                "steps_per_s": (batch.last("step") - self.first[0]) / took,
                "steps_per_s_before": self.first[0] / (self.first[1] - self.asked),
            }
            window.controller.idle.connect(window.close)
            window.controller.stop()

    scrub, timer = Scrub(), QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(16)
    timer.timeout.connect(scrub.tick)
    timer.start()
    application.exec()
    return scrub.result


if __name__ == "__main__":
    main()
