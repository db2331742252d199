"""What the open window costs, and how late it is while a recipe trains:

    python tests/benchmarks/window.py [recipe] [seconds] [rounds]

Alternates a training without a window and one with it (previews on in both), each in a process of its own, and
prints steps per second, their ratio, and the lateness of the window's event loop after the first step.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile

HEADLESS = """
import sys, time, json
from ddpm_studio.engine import run_training
from ddpm_studio.recipes import find
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import StepDone
control = Control()
recipe = find(sys.argv[1]).with_settings({"training.steps": 1_000_000, "training.decay": "none"})
seconds = float(sys.argv[2])
first = last = None
asked = time.perf_counter()
for event in run_training(Run.create(recipe), control):
    if isinstance(event, StepDone):
        last = (event.step, time.perf_counter())
        first = first or last
        if last[1] - first[1] > seconds:
            control.stop(keep=False)
print(json.dumps({"steps_per_s": (last[0] - first[0]) / (last[1] - first[1]), "first_step_s": first[1] - asked}))
"""

WINDOW = """
import sys, time, json
from PySide6.QtCore import QObject, QTimer, Slot
from ddpm_studio.app.main import Application
from ddpm_studio.recipes import find

recipe = find(sys.argv[1]).with_settings({"training.steps": 1_000_000, "training.decay": "none"})
seconds = float(sys.argv[2])
application = Application([])
window = application.window

class Watch(QObject):
    asked = first = None
    result = {}
    @Slot()
    def tick(self):
        batch = window.controller.channels.batch
        if self.asked is None:
            if window.controller.is_ready and not window.controller.busy:
                self.asked = time.perf_counter()
                window.start(recipe)
        elif self.first is None:
            if len(batch):
                self.first = (batch.last("step"), time.perf_counter())
                self.result["first_step_s"] = self.first[1] - self.asked
                self.result["worst_before_ms"] = window.heartbeat.percentile(100)
                window.heartbeat.reset()
        elif time.perf_counter() - self.first[1] > seconds:
            took = time.perf_counter() - self.first[1]
            self.result |= {"steps_per_s": (batch.last("step") - self.first[0]) / took}
            for q in (50, 99, 100):
                self.result[f"late_p{q}_ms"] = window.heartbeat.percentile(q)
            timer.stop()
            self.stopping = time.perf_counter()
            window.controller.idle.connect(self.on_idle)
            window.controller.stop()
    @Slot()
    def on_idle(self):
        self.result["stop_s"] = time.perf_counter() - self.stopping
        window.close()

watch, timer = Watch(), QTimer()
timer.setInterval(10)
timer.timeout.connect(watch.tick)
timer.start()
application.exec()
print(json.dumps(watch.result))
"""


def main() -> None:
    recipe = sys.argv[1] if len(sys.argv) > 1 else "fashion-mnist"
    seconds = sys.argv[2] if len(sys.argv) > 2 else "15"
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    rows: dict[str, list[dict[str, float]]] = {"headless": [], "window": []}
    for _ in range(rounds):
        for name, code in (("headless", HEADLESS), ("window", WINDOW)):
            with tempfile.TemporaryDirectory() as home:
                environment = os.environ | {"DDPM_STUDIO_HOME": home, "DDPM_STUDIO_NO_DIALOGS": "1"}
                if not os.environ.get("DISPLAY"):
                    environment["QT_QPA_PLATFORM"] = "offscreen"
                done = subprocess.run(
                    [sys.executable, "-c", code, recipe, seconds],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                rows[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, results in rows.items():
        print(name)
        for key in results[0]:
            values = [row[key] for row in results]
            print(
                f"  {key:18} median {statistics.median(values):9.2f}   min {min(values):9.2f}   max {max(values):9.2f}"
            )
    pairs = zip(rows["window"], rows["headless"], strict=True)
    print(f"window / headless: {statistics.median(w['steps_per_s'] / h['steps_per_s'] for w, h in pairs):.3f}")


if __name__ == "__main__":
    main()
