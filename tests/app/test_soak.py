"""A short soak of the real window, in a process of its own: memory flat, and nothing piles up."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SOAK = Path(__file__).parents[1] / "benchmarks" / "soak.py"


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    spec = importlib.util.spec_from_file_location("soak", SOAK)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_a_jump_is_no_slope(soak: ModuleType) -> None:
    x = [float(i) for i in range(20)]
    assert soak.slope(x, [7.0] * 20) == 0
    assert soak.slope(x, [3 * i for i in x]) == 3
    assert soak.slope(x, [0.0] * 17 + [500.0] * 3) == 0
    assert soak.slope(x[:1], [1.0]) == 0


def test_the_window_holds_no_more_after_many_lives(soak: ModuleType) -> None:
    command = [sys.executable, str(SOAK), "--minutes", "0.75", "--train", "0.5", "--json"]
    paths = os.pathsep.join(filter(None, [str(SOAK.parents[2]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    lives = told["samples"][2:]
    assert len(lives) >= 2
    for name in ("children", "timers", "wrapped"):
        held = [life[name] for life in lives]
        assert max(held) - held[0] < len(held) - 1 or len(held) < 4, f"{name} pile up: {held}"
        assert told["summary"][f"{name}_per_minute"] < 6, held
    assert told["summary"]["threads_per_minute"] < 2
    assert told["summary"]["files_per_minute"] < 2
    memory = [life["rss_mb"] for life in lives]
    # By lives, not by minutes: a fast machine lives more of them. One window that stays would be 3 MB.
    assert soak.slope(list(range(len(memory))), memory) < 1.5, memory
