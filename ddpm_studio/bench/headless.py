"""A training without a window, as a process of its own: ``python -m ddpm_studio.bench.headless RECIPE SECONDS``.

Prints one JSON object: steps per second after the run-in, seconds to the first, and when that was (since 1970).
"""

from __future__ import annotations

import json
import sys
import time

from ddpm_studio.engine import run_training
from ddpm_studio.heap import keep_memory
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import StepDone

RUN_IN = 3.0  # seconds after the first step, which speed leaves out: the many first rows are not what a run costs


def endless(name: str) -> Recipe:
    """A recipe that does not end by itself."""
    return find(name).with_settings({"training.steps": 1_000_000, "training.decay": "none"})


def main() -> None:
    keep_memory()  # as the program does
    recipe, seconds, control = endless(sys.argv[1]), float(sys.argv[2]), Control()
    asked = time.perf_counter()
    result: dict[str, float] = {}
    ran_in: tuple[int, float] | None = None  # step and moment
    for event in run_training(Run.create(recipe), control):
        if not isinstance(event, StepDone):
            continue
        now = time.perf_counter()
        if not result:
            first = now
            result = {"first_step_s": now - asked, "first_step_at": time.time()}
        if now - first < min(seconds, RUN_IN):
            continue
        if ran_in is None:
            ran_in = (event.step, now)
        elif now - ran_in[1] >= seconds:
            result["steps_per_s"] = (event.step - ran_in[0]) / (now - ran_in[1])
        if seconds == 0 or "steps_per_s" in result:
            control.stop(keep=False)
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
