"""What has to be measured in a process of its own: a cold start, and a training with and without the window."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ddpm_studio.bench.effort import Effort

HEADLESS, WATCHED = "ddpm_studio.bench.headless", "ddpm_studio.app.watched"
_LONGEST = 600.0  # seconds beyond those asked for, after which a process hangs


class ChildError(RuntimeError):
    """A process of the benchmark failed; one sentence."""


class LeftOutError(RuntimeError):
    """A section cannot be measured here; the reason, one sentence."""


def require_window() -> None:
    """Raises ``LeftOutError`` where the window cannot be opened."""
    if importlib.util.find_spec("PySide6") is None:
        raise LeftOutError("PySide6 is not installed here, so there is no window")
    require_python()


def require_python() -> None:
    """Raises ``LeftOutError`` where this program is no Python that could be started again."""
    if getattr(sys, "frozen", False):
        raise LeftOutError("it needs an installed Python, and this is the packaged program")


def child(module: str, recipe: str, seconds: float, home: Path, effort: Effort, done: float) -> dict[str, float]:
    """What ``python -m MODULE RECIPE SECONDS`` printed; its runs and settings go to ``home``.

    Raises:
        ChildError: if it failed. Cancelled: if it is to stop; the process is ended then.
    """
    environment = os.environ | {"DDPM_STUDIO_HOME": str(home), "DDPM_STUDIO_NO_DIALOGS": "1"}
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        environment["QT_QPA_PLATFORM"] = "offscreen"
    command = [sys.executable, "-m", module, recipe, str(seconds)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said, tempfile.TemporaryFile("w+", encoding="utf-8") as told:
        # A session of its own: Ctrl-C is for this process, which then ends that one.
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=told, start_new_session=True)
        try:
            begun = time.monotonic()
            while process.poll() is None:
                effort.at(done, recipe)
                if time.monotonic() - begun > seconds + _LONGEST:
                    raise ChildError(f"{module} has not ended after {seconds + _LONGEST:.0f} s")
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        said.seek(0)
        told.seek(0)
        lines, messages = said.read().splitlines(), told.read().splitlines()
    if process.returncode != 0 or not lines:
        raise ChildError(f"{module} {recipe} failed: {messages[-1] if messages else 'it said nothing'}")
    result: dict[str, float] = json.loads(lines[-1])
    return result


def first_step_seconds(recipe: str, effort: Effort) -> float:
    """Seconds from starting the program to the end of the first training step, on a machine that knows no plan yet."""
    require_python()
    with tempfile.TemporaryDirectory() as home:
        begun = time.time()
        return child(HEADLESS, recipe, 0.0, Path(home), effort, 0.0)["first_step_at"] - begun
