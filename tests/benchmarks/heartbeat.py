"""How late the window is while recipes train, for several choices of priority, switch interval and threads, in turn:

    python tests/benchmarks/heartbeat.py [recipe ...] [--seconds 15] [--rounds 3] [--choices as-is,nice-0,...] [--json]

Each training has a process of its own, and one choice follows another (A B C, A B C), so that a busy machine is busy
for all of them. A beat's lateness is told apart: ``own`` is what the window's thread computed itself, ``cpu`` how long
it was ready and no core was free (Linux tells), and ``lock`` the rest: somebody held the interpreter. On a machine that
others use, only ``own`` and ``lock`` are this program's. ``--stacks`` shows where both threads were at late beats.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from statistics import median

import numpy as np

from ddpm_studio.paths import user_folder

RECIPES = ("moons", "pixel-faces", "ddpm-cifar10-laptop", "attention-mnist-laptop")
PATIENCE = 60.0  # seconds from Start to the first step
LATE = 12.0  # ms: so late a beat is worth a look at the stacks
CHOICES: dict[str, dict[str, float]] = {
    "as-is": {},
    "nice-0": {"nice": 0},
    "nice-10": {"nice": 10},
    "nice-19": {"nice": 19},
    "switch-1ms": {"interval": 1e-3},
    "switch-0.2ms": {"interval": 2e-4},
    "one-thread": {"threads": 1},
}
KEYS = (
    "steps_per_s",
    "p50",
    "p99",
    "worst",
    "own_p99",
    "cpu_p99",
    "lock_p99",
    "lock_worst",
    "before_worst",
    "before_own",
)


def beats(recipe: str, seconds: float, choice: dict[str, float]) -> dict[str, object]:
    """Train in the real window; the lateness of its beats in ms, and the stacks at late ones."""
    from PySide6.QtCore import QObject, Qt, QTimer, Slot

    from ddpm_studio.app import worker
    from ddpm_studio.app.main import Application
    from ddpm_studio.heap import keep_memory
    from ddpm_studio.recipes import find

    keep_memory()  # as the program does
    settings = {"training.steps": 1_000_000, "training.decay": "none"}
    wanted = find(recipe).with_settings(settings)
    if "threads" in choice:
        wanted = wanted.with_settings({"compute.threads": int(choice["threads"])})
    worker.NICENESS = int(choice.get("nice", worker.NICENESS))
    sys.setswitchinterval(choice.get("interval", sys.getswitchinterval()))
    application = Application([])
    window, main = application.window, threading.get_native_id()
    stacks: Counter[str] = Counter()
    period = 0.02

    def waited() -> float:
        """Seconds that this thread was ready to run and had no core."""
        try:
            return int(Path(f"/proc/self/task/{main}/schedstat").read_text().split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    class Watch(QObject):
        def __init__(self) -> None:
            super().__init__()
            self.asked = self.first = 0.0
            self.step = 0.0
            self.rows: list[tuple[float, float, float]] = []
            self.before = (0.0, 0.0, 0.0)  # of the worst beat between Start and the first step
            self.last = time.perf_counter()
            self.own, self.cpu = time.thread_time(), waited()

        @Slot()
        def beat(self) -> None:
            now, own, cpu = time.perf_counter(), time.thread_time(), waited()
            late = max(0.0, now - self.last - period)
            if self.first:
                self.rows.append((late, own - self.own, cpu - self.cpu))
            elif self.asked:
                self.before = max(self.before, (late, own - self.own, cpu - self.cpu))
            self.last, self.own, self.cpu = now, own, cpu
            self.go_on(now)

        def go_on(self, now: float) -> None:
            batch = window.controller.channels.batch
            if not self.asked:
                if window.controller.is_ready and not window.controller.busy:
                    self.asked = now
                    window.start(wanted)
            elif not self.first:
                if now - self.asked > PATIENCE or not window.controller.busy:
                    timer.stop()
                    window.controller.idle.connect(window.close)
                    if window.controller.busy:
                        window.controller.stop(keep=False)
                    else:
                        window.close()
                elif len(batch) > 1:
                    self.first, self.step = now, batch.last("step") or 0.0
            elif now - self.first > seconds:
                timer.stop()
                self.steps_per_s = ((batch.last("step") or 0.0) - self.step) / (now - self.first)
                window.controller.idle.connect(window.close)
                window.controller.stop(keep=False)

    watch, timer, over = Watch(), QTimer(), threading.Event()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(watch.beat)
    timer.start(round(1000 * period))

    def look() -> None:
        """Where the threads are while a beat is due; the looker waits for the interpreter's holder, too."""
        # Not sys._current_frames: to hold a frame of the window's is to keep its painter alive, and Qt then dies.
        with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
            while not over.wait(0.002):
                silent = 1000 * (time.perf_counter() - watch.last - period)
                if watch.asked and silent > LATE:
                    file.seek(0)
                    file.truncate()
                    faulthandler.dump_traceback(file)
                    file.seek(0)
                    phase = "training" if watch.first else "before the first step"
                    stacks[" | ".join([phase, *filter(None, map(_own, file.read().split("\n\n")))])] += 1

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    application.exec()
    over.set()
    looker.join()
    if not watch.rows:
        raise SystemExit(f"{recipe} did not begin to train: {window.status.message.text()}")
    late, own, cpu = 1000 * np.array(watch.rows).T
    cpu = np.minimum(cpu, late)
    own = np.minimum(own, late - cpu)
    lock = late - own - cpu

    def at(values: np.ndarray, q: float) -> float:
        return round(float(np.percentile(values, q)), 1)

    told = {"p50": at(late, 50), "p99": at(late, 99), "worst": at(late, 100), "own_p99": at(own, 99)}
    told |= {"cpu_p99": at(cpu, 99), "lock_p99": at(lock, 99), "lock_worst": at(lock, 100)}
    told |= {
        "before_worst": round(1000 * watch.before[0], 1),
        "before_own": round(1000 * watch.before[1], 1),
        "steps_per_s": round(watch.steps_per_s, 2),
    }
    return told | {"stacks": stacks.most_common(30)}


def _own(dump: str) -> str:
    """Of one thread's stack, as faulthandler writes it: the innermost line, and the innermost of ours; "" if none."""
    lines = re.findall(r'File "(.*)", line (\d+) in (.*)', dump)
    ours = [line for line in lines if "ddpm_studio" in line[0]]
    if not ours or "watchdog" in dump or any(name == "look" for *_, name in lines):
        return ""
    return " < ".join(
        dict.fromkeys(f"{Path(file).name}:{number} {name}" for file, number, name in [lines[0], *ours[:3]])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("recipes", nargs="*", default=list(RECIPES))
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--choices", default="as-is,nice-0,switch-1ms", help=f"of {', '.join(CHOICES)}")
    parser.add_argument("--stacks", action="store_true", help="where the threads were at late beats")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        print(json.dumps(beats(asked.recipes[0], asked.seconds, CHOICES[asked.child])))
        return
    rows: dict[tuple[str, str], list[dict[str, float]]] = {}
    stacks: Counter[str] = Counter()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    datasets = user_folder() / "datasets"
    with tempfile.TemporaryDirectory() as home:  # one for all: what it computes best in is measured once
        if datasets.is_dir():
            Path(home, "datasets").symlink_to(datasets.resolve())  # what has been downloaded
        environment = os.environ | {"DDPM_STUDIO_HOME": home, "DDPM_STUDIO_NO_DIALOGS": "1"}
        for _ in range(asked.rounds):
            for recipe in asked.recipes:
                for choice in asked.choices.split(","):
                    command = [sys.executable, __file__, recipe, "--seconds", str(asked.seconds), "--child", choice]
                    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                    told = json.loads(done.stdout.splitlines()[-1])
                    for stack, times in told.pop("stacks"):
                        stacks[f"{recipe} | {stack}"] += times
                    rows.setdefault((recipe, choice), []).append(told)
    result = [
        {"recipe": recipe, "choice": choice}
        | {key: (max if "worst" in key else median)(row[key] for row in told) for key in KEYS}
        for (recipe, choice), told in rows.items()
    ]
    if asked.json:
        print(json.dumps({"rows": result, "all": [[*key, told] for key, told in rows.items()], "stacks": stacks}))
        return
    print(f"{'':36}" + "".join(f"{key:>13}" for key in KEYS))
    for row in result:
        print(f"{row['recipe']:23} {row['choice']:12}" + "".join(f"{row[key]:13.1f}" for key in KEYS))
    if asked.stacks:
        for stack, times in stacks.most_common(40):
            print(f"{times:5} {stack}")


if __name__ == "__main__":
    main()
