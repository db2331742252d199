"""The window for a long time: does its memory stay flat, and does nothing pile up?

    python tests/benchmarks/soak.py [--minutes 60] [--train 4] [--json]

One life after another in one window: train a small network with previews, play both clocks, zoom the plots, sample,
compare samplers and go back, stop, fork, watch runs and their curves side by side and leave them. After each (about
10 s) memory, objects, timers, threads, open files and the lateness of the event loop are told. The slope of memory is
the median of the slopes between all pairs of samples (Theil and Sen), so that a jump is no slope; the first tenth,
when caches fill, is left out. Exit status 1: something failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import psutil

from ddpm_studio.heap import keep_memory

if TYPE_CHECKING:
    from ddpm_studio.app.main_window import MainWindow

WARM_UP = 2  # lives, at least
KEPT_RUNS = 4  # on disk; else the list of runs would grow
PATIENCE = 60.0  # seconds that one wish may take
SMALL = {
    "training.steps": 1_000_000,
    "training.decay": "none",
    "training.batch": 64,
    "network.width": 32,
    "preview.count": 100,
    "preview.steps": 10,
}


@dataclass(frozen=True)
class Sample:
    """What the process holds at the end of a life; lateness in ms, since the one before."""

    seconds: float
    rss_mb: float
    wrapped: int  # living QObjects that Python knows
    children: int  # widgets below the window
    timers: int
    threads: int
    files: int
    late_p99: float
    late_worst: float


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The median of the slopes between all pairs of points with different ``x``; 0 for fewer than two."""
    slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in combinations(range(len(x)), 2) if x[j] != x[i]]
    return median(slopes) if slopes else 0.0


def summary(samples: Sequence[Sample]) -> dict[str, float]:
    """Slopes per minute after the warm-up, and the lateness; at least one sample beyond it."""
    settled = samples[max(WARM_UP, len(samples) // 10) :]
    minutes = [sample.seconds / 60 for sample in settled]
    told = {
        f"{name}_per_minute": slope(minutes, [float(getattr(sample, name)) for sample in settled])
        for name in ("rss_mb", "wrapped", "children", "timers", "threads", "files")
    }
    told["late_p99"] = median(sample.late_p99 for sample in settled)
    told["late_worst"] = max(sample.late_worst for sample in settled)
    return told


Wish = Callable[[], bool] | float  # what is waited for; or so many seconds


def life(window: MainWindow, number: int, train: float) -> Iterator[Wish]:
    """What a person does between two looks at the memory; each yield waits."""
    from ddpm_studio.app.controller import State
    from ddpm_studio.recipes import find
    from ddpm_studio.recipes.axes import Cell
    from ddpm_studio.recipes.sections import DDIM, DDPM, Heun
    from ddpm_studio.training.control import Comparison

    controller, session, view = window.controller, window.session, window.view
    grid, act = view.comparison, window.actions_by_id

    def idle() -> bool:
        return not controller.busy

    yield 0.1  # the look at the memory made the window late, not itself
    window.heartbeat.reset()
    yield lambda: controller.is_ready and idle() and window.stage.plots is not None
    if number % 3 == 0:
        session.start(find("moons").with_settings(SMALL | {"seed": number}))
    else:  # a fork of the one before
        width = 32 + 16 * (number % 3)
        session.on_recipe_edited(session.recipe.with_settings({"network.width": width}))
        session.on_fork()
    yield lambda: controller.state is State.TRAINING and len(controller.channels.batch) > 0
    view.player.set_plays("both")
    view.player.play()
    yield train
    act["run.sample_now"].trigger()
    step = controller.channels.batch.last("step") or 0
    yield lambda: (controller.channels.batch.last("step") or 0) > step
    samplers = {"DDPM": DDPM(steps=5), "DDIM": DDIM(steps=5), "Heun": Heun(steps=5)}
    cells = tuple(Cell(sampler, number, label=name, column=name) for name, sampler in samplers.items())
    assert session.run is not None
    controller.sample(session.run, Comparison(cells, 100))
    yield lambda: len(grid.cells) == 3 and not grid._running
    grid.back.click()
    assert window.stage.plots is not None
    plot = window.stage.plots.loss
    plot.setRange(xRange=(0, step / 2), padding=0)
    plot.moved.emit()
    yield 0.2
    plot.reset.emit()
    controller.stop()
    yield idle
    window.reports.list_runs()
    panel = window.runs_panel
    for row in range(min(2, panel.model.rowCount())):
        panel.view.selectionModel().select(panel.model.index(row), panel.view.selectionModel().SelectionFlag.Select)
    if panel.model.rowCount() > 1:
        panel._side_by_side.trigger()
        yield 1.0
    panel.view.selectionModel().clearSelection()
    act["run.sample_now"].trigger()
    yield idle
    folders = sorted((r.path for r in panel.model.rows()), key=lambda path: path.stat().st_mtime)
    for folder in folders[:-KEPT_RUNS]:
        shutil.rmtree(folder, ignore_errors=True)


def soak(minutes: float, train: float, tell: Callable[[Sample], None]) -> list[Sample]:
    """Live for so long; a sample after each life, to which ``tell`` listens.

    Raises:
        RuntimeError: when the window reports a failure, or a wish takes too long; one sentence.
    """
    from PySide6.QtCore import QObject, QTimer, Slot
    from PySide6.QtWidgets import QWidget
    from shiboken6 import isValid

    from ddpm_studio.app.main import Application

    application = Application([])
    window, process, samples = application.window, psutil.Process(), list[Sample]()
    start = time.monotonic()
    wrong: list[str] = []

    def look() -> Sample:
        worst, p99 = (window.heartbeat.percentile(q) for q in (100, 99))
        gc.collect()
        # Asking for all children would wrap Qt's own short-lived ones, which Python then keeps: that is a leak.
        known = [o for o in gc.get_objects() if issubclass(type(o), QObject) and isValid(o)]
        return Sample(
            round(time.monotonic() - start, 1),
            round(process.memory_info().rss / 1e6, 1),
            len(known),
            len(window.findChildren(QWidget)),
            sum(issubclass(type(o), QTimer) for o in known),
            process.num_threads(),
            process.num_fds() if hasattr(process, "num_fds") else process.num_handles(),
            round(p99, 1),
            round(worst, 1),
        )

    class Driver(QObject):
        number = 0
        steps: Iterator[Wish] = iter(())
        wish: Wish = 0.0
        since = time.monotonic()

        @Slot()
        def tick(self) -> None:
            try:
                self.go_on()
            except Exception as error:
                wrong.append(f"{type(error).__name__}: {error}")
            if window.failures:
                wrong.extend(window.failures)
            if wrong:
                timer.stop()
                window.close()

        def go_on(self) -> None:
            waited = time.monotonic() - self.since
            if waited > PATIENCE:
                line = getattr(self.steps, "gi_frame", None)
                raise RuntimeError(f"life {self.number} waits too long at line {line.f_lineno if line else '?'}")
            if waited < self.wish if isinstance(self.wish, float) else not self.wish():
                return
            wish = next(self.steps, None)
            if wish is None:
                if self.number:
                    samples.append(look())
                    tell(samples[-1])
                if time.monotonic() - start > 60 * minutes and len(samples) > WARM_UP + 1:
                    timer.stop()
                    window.close()
                    return
                self.steps, wish = life(window, self.number, train), 0.0
                self.number += 1
            self.wish, self.since = wish, time.monotonic()

    driver, timer = Driver(), QTimer()
    timer.timeout.connect(driver.tick)
    timer.start(50)
    application.exec()
    if wrong:
        raise RuntimeError(wrong[0])
    return samples


def main() -> int:
    keep_memory()  # as the program does
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--train", type=float, default=4.0, help="seconds of each training")
    parser.add_argument("--json", action="store_true", help="one line: all samples and their summary")
    asked = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

    def tell(sample: Sample) -> None:
        if not asked.json:
            print("  ".join(f"{name} {value:g}" for name, value in asdict(sample).items()), flush=True)

    with tempfile.TemporaryDirectory(prefix="ddpm-studio-soak-") as home:
        os.environ |= {"DDPM_STUDIO_HOME": str(Path(home)), "DDPM_STUDIO_NO_DIALOGS": "1"}
        try:
            samples = soak(asked.minutes, asked.train, tell)
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 1
    told = summary(samples)
    if asked.json:
        print(json.dumps({"summary": told, "samples": [asdict(sample) for sample in samples]}))
    else:
        print("\n".join(f"{name:22} {value:10.3f}" for name, value in told.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
