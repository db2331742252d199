"""Time from the start of the process to the window's first paint: python tests/benchmarks/startup.py [runs]

Each run is a process of its own with an empty home. Also prints when the recorded tape played its second
frame and that torch was not there yet, and how late the event loop was until torch was loaded.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

CHILD = """
import json, os, psutil, sys, time
begun = psutil.Process().create_time()
from ddpm_studio.heap import keep_memory
keep_memory()  # as the program does
from PySide6.QtCore import QEvent, QObject, QTimer, Slot
from ddpm_studio.app.main import Application

class Watch(QObject):
    times = {}
    @Slot()
    def on_frame(self):
        if window.view.player.position > 0:
            self.times.setdefault("second_frame", time.time() - begun)
            self.times.setdefault("torch_at_second_frame", "torch" in sys.modules)
    @Slot()
    def on_ready(self):
        self.times["torch_ready"] = time.time() - begun
        self.times["worst_wait_ms"] = window.heartbeat.percentile(100)
        QTimer.singleShot(300, window, window.close)
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint:
            self.times.setdefault("first_paint", time.time() - begun)
        return False

application = Application([])
window, watch = application.window, Watch()
window.view.installEventFilter(watch)
window.view.player.frame_changed.connect(watch.on_frame)
window.controller.ready.connect(watch.on_ready)
application.exec()
print(json.dumps(watch.times), flush=True)
os._exit(0)  # as the program does where the engine is in the middle of an import
"""


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as home:
            environment = os.environ | {"DDPM_STUDIO_HOME": home, "DDPM_STUDIO_NO_DIALOGS": "1"}
            if not os.environ.get("DISPLAY"):
                environment["QT_QPA_PLATFORM"] = "offscreen"
            done = subprocess.run(
                [sys.executable, "-c", CHILD], env=environment, capture_output=True, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
    for name in rows[0]:
        values = [float(row[name]) for row in rows]
        print(f"{name:24} median {statistics.median(values):7.2f}   min {min(values):7.2f}   max {max(values):7.2f}")


if __name__ == "__main__":
    main()
