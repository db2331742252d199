"""The program in a real X server with a window manager: real keys, real focus, a real close."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

TOOLS = ("Xvfb", "openbox", "xdotool")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.xserver,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]


class Screen:
    """An X server with openbox, and xdotool on it."""

    def __init__(self, size: str, home: Path) -> None:
        self._processes: list[subprocess.Popen[str]] = []
        read, write = os.pipe()
        with os.fdopen(read) as numbers:
            # -noreset: else the first client that leaves restarts the server, and openbox may be about to connect.
            arguments = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-nolisten", "tcp", "-noreset"]
            self._start(arguments, pass_fds=(write,))
            os.close(write)
            number = numbers.readline().strip()
        assert number, "Xvfb did not start"
        dropped = ("QT_QPA_PLATFORM", "WAYLAND_DISPLAY", "DDPM_STUDIO_NO_DIALOGS")
        self.env = {k: v for k, v in os.environ.items() if k not in dropped}
        self.env |= {"DISPLAY": f":{number}", "DDPM_STUDIO_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self._start(["openbox"], env=self.env)
        wait(lambda: "_NET" in self._root(), "openbox")

    def _start(self, command: list[str], **more: object) -> subprocess.Popen[str]:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet, text=True, **more)  # type: ignore[call-overload]
        self._processes.append(process)
        return process

    def _root(self) -> str:
        done = subprocess.run(["xdotool", "get_num_desktops"], env=self.env, capture_output=True, text=True)
        return "_NET" if done.returncode == 0 else ""

    def program(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "ddpm_studio", *arguments]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=self.env, stdout=pipe, stderr=pipe, text=True)
        self._processes.append(process)
        return process

    def tell(self, *arguments: str) -> str:
        done = subprocess.run(["xdotool", *arguments], env=self.env, capture_output=True, text=True, timeout=20)
        return done.stdout.strip()

    def window(self, title: str = "^DDPM Studio$") -> str:
        found = wait(lambda: self.tell("search", "--onlyvisible", "--name", title).splitlines(), "the window")
        self.tell("windowfocus", "--sync", found[-1])
        return str(found[-1])

    def geometry(self, window: str) -> dict[str, int]:
        lines = self.tell("getwindowgeometry", "--shell", window).splitlines()
        return {name: int(value) for name, value in (line.split("=") for line in lines)}

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


def wait(ready: Callable[[], Any], what: str, seconds: float = 100.0) -> Any:
    """What ``ready`` gives as soon as it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := ready():
            return result
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds:g} s for {what}")


@pytest.fixture
def screens(home: Path) -> Iterator[Callable[[str], Screen]]:
    made: list[Screen] = []

    def make(size: str = "1280x800") -> Screen:
        made.append(Screen(size, home))
        return made[-1]

    yield make
    for screen in made:
        screen.close()


def steps_of(home: Path) -> int:
    """How far the only run has come, read while it is written."""
    records = list(home.glob("runs/*/record.sqlite"))
    if not records:
        return 0
    try:
        with closing(sqlite3.connect(f"file:{records[0]}?mode=ro", uri=True)) as base:
            return int(base.execute("select coalesce(max(step), 0) from metrics").fetchone()[0])
    except sqlite3.Error:
        return 0


SMALL = """
name = "tiny"
title = "Tiny"
[data]
source = "two-gaussians"
[network]
kind = "point-mlp"
width = 16
depth = 1
[prediction]
clip_x0 = false
[training]
steps = 1000000
batch = 32
[preview]
count = 16
steps = 4
[compute]
threads = 1
device = "cpu"
"""


def test_train_scrub_and_quit_with_real_keys(screens, home, tmp_path):
    screen = screens()
    (tmp_path / "tiny.toml").write_text(SMALL)
    program = screen.program(str(tmp_path / "tiny.toml"))
    window = screen.window()
    time.sleep(0.5)
    screen.tell("key", "--clearmodifiers", "ctrl+Return")
    wait(lambda: steps_of(home) > 20, "steps")
    for key in ("Home", "Right", "Right", "space", "space", "End", "l", "l"):
        screen.tell("key", key)
    n = steps_of(home)
    wait(lambda: steps_of(home) > n, "more steps")
    assert program.poll() is None
    screen.tell("key", "--clearmodifiers", "ctrl+q")
    asked = screen.window("^Quit$")
    assert asked != window
    screen.tell("key", "Return")  # the default: save and quit
    out, err = program.communicate(timeout=250)
    assert program.returncode == 0, err
    assert out == ""
    assert "Traceback" not in err
    (run,) = (home / "runs").iterdir()
    assert list((run / "checkpoints").glob("*.safetensors"))
    assert not (home / "crash.log").exists()


def test_a_small_screen_and_the_close_button(screens, home):
    screen = screens("1024x768")
    program = screen.program()
    window = screen.window()
    time.sleep(0.5)
    place = screen.geometry(window)
    assert place["X"] >= 0
    assert place["Y"] >= 0
    assert place["X"] + place["WIDTH"] <= 1024
    assert place["Y"] + place["HEIGHT"] <= 768
    screen.tell("key", "--clearmodifiers", "alt+F4")  # openbox sends the window what its close button sends
    _, err = program.communicate(timeout=250)
    assert program.returncode == 0, err
    assert "Traceback" not in err


def test_smoke_test_on_x(screens):
    program = screens().program("--smoke-test")
    out, err = program.communicate(timeout=250)
    assert program.returncode == 0, err
    assert json.loads(out)["ok"] is True
    assert len(out.splitlines()) == 1
