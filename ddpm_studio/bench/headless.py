"""A training without a window, as a process of its own: ``python -m ddpm_studio.bench.headless RECIPE SECONDS``.

Prints one JSON object: steps per second after the first step, seconds to it, and when it was (seconds since 1970).
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


def endless(name: str) -> Recipe:
    """A recipe that does not end by itself."""
    return find(name).with_settings({"training.steps": 1_000_000, "training.decay": "none"})


def main() -> None:
    keep_memory()  # as the program does
    recipe, seconds, control = endless(sys.argv[1]), float(sys.argv[2]), Control()
    asked, first, last = time.perf_counter(), None, None
    at = 0.0
    for event in run_training(Run.create(recipe), control):
        if isinstance(event, StepDone):
            last = (event.step, time.perf_counter())
            if first is None:
                first, at = last, time.time()
            if last[1] - first[1] >= seconds:
                control.stop(keep=False)
    assert first is not None
    assert last is not None
    took = last[1] - first[1]
    result = {"first_step_s": first[1] - asked, "first_step_at": at}
    if last[0] > first[0]:
        result["steps_per_s"] = (last[0] - first[0]) / took
    print(json.dumps(result))  # noqa: T201


if __name__ == "__main__":
    main()
