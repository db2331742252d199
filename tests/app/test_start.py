"""Starting: no torch before the first paint, clean sources, the smoke test, Ctrl-C, the crash file."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PySide6 import QtWidgets
from PySide6.QtCore import QObject

import ddpm_studio
from ddpm_studio.app.main import main

SOURCES = sorted((Path(ddpm_studio.__file__).parent / "app").glob("*.py"))
EXPECTED = re.compile(
    r"^(INFO |This plugin does not support|WARNING ddpm_studio\.app\.heartbeat|qt\.qpa\.|libEGL|MESA)", re.MULTILINE
)


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS")}
    return kept | {"QT_QPA_PLATFORM": "offscreen", "DDPM_STUDIO_HOME": str(home), "OMP_NUM_THREADS": "1"} | more


def run(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment(home, **more), capture_output=True, text=True, timeout=250)


def unknown(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if line.strip() and not EXPECTED.match(line)]


# -- sources


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_source(source: Path):
    """No nested event loops, no killed threads, no colours but the theme's, no slot that would run in the worker."""
    text = source.read_text(encoding="utf-8")
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    names = {call.func.attr for call in calls}
    assert not names & {"processEvents", "terminate"}
    for call in calls:
        if call.func.attr == "connect":
            assert not any(isinstance(a, ast.Lambda) for a in call.args), f"line {call.lineno}: a lambda as slot"
        if call.func.attr == "singleShot":
            assert len(call.args) >= 3, f"line {call.lineno}: singleShot without a context object"
    if source.name != "theme.py":
        literals = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        assert not [s for s in literals if re.fullmatch(r"#[0-9a-fA-F]{3,8}", s)]
        made = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "QColor"]
        numbers = [n.lineno for n in made if any(isinstance(a, ast.Constant) and a.value != 0 for a in n.args)]
        assert not numbers, f"colours in lines {numbers}"


# -- the first paint

FIRST_PAINT = """
import json, sys
from PySide6.QtCore import QTimer
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.main import Application
seen = {}
def load_plots(self):
    seen["torch"], seen["pyqtgraph"] = "torch" in sys.modules, "pyqtgraph" in sys.modules
    seen["visible"], seen["plays"] = application.window.isVisible(), application.window.view.player.playing
    QTimer.singleShot(0, application.window, application.window.close)
RunController.load_plots = load_plots
application = Application([])
application.window.session.data_clock.stop()
status = application.exec()
print(json.dumps(seen | {"status": status}))
"""


def test_the_window_is_there_and_moves_before_torch(home):
    done = run(home, "-c", FIRST_PAINT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "torch": False,
        "pyqtgraph": False,
        "visible": True,
        "plays": True,
        "status": 0,
    }
    assert not unknown(done.stderr)
    assert not (home / "crash.log").exists()


def test_smoke_test(home):
    done = run(home, "-m", "ddpm_studio", "--smoke-test")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    report = json.loads(lines[0])
    assert report["ok"] is True
    assert (report["stage"], report["steps"], report["error"]) == ("done", 3, "")
    assert not unknown(done.stderr), done.stderr
    assert list(home.iterdir()) == [], "it works in a folder of its own"


def test_ctrl_c_saves_and_quits(home):
    """In the middle of a training; a stall of the window in between is no crash."""
    script = """
import sys
from PySide6.QtCore import QTimer
from ddpm_studio.app.main import Application
from ddpm_studio.recipes import find
application = Application([])
window = application.window
small = {"training.steps": 1000000, "training.batch": 16, "network.width": 16, "compute.threads": 1}
window.controller.ready.connect(lambda: window.start(find("two-gaussians").with_settings(small)))
timer = QTimer()
timer.timeout.connect(lambda: len(window.controller.channels.batch) > 20 and (timer.stop(), print("go", flush=True)))
timer.start(20)
application._crash_file.write("late")
application._crash_file.flush()
sys.exit(application.exec())
"""
    process = subprocess.Popen([sys.executable, "-c", script], env=environment(home), stdout=-1, stderr=-1, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=250)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, stderr
    assert not unknown(stderr)
    (folder,) = (home / "runs").iterdir()
    assert list((folder / "checkpoints").glob("*.safetensors"))
    assert not (home / "crash.log").exists(), "a clean end is no crash"
    assert (home / "stalls.log").read_text().startswith("late"), "a busy machine adds stalls of its own"


def test_a_crash_is_told_once(home):
    (home / "crash.log").write_text("Fatal Python error: Segmentation fault\n")
    script = """
from PySide6.QtCore import QTimer
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.main import Application
RunController.load_plots = lambda self: None
for _ in range(2):
    application = Application([])
    application.window.session.data_clock.stop()
    QTimer.singleShot(60, application.window, application.window.close)
    application.exec()
"""
    done = run(home, "-c", script, DDPM_STUDIO_NO_DIALOGS="1")
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("DDPM Studio ended unexpectedly")]
    assert len(told) == 1
    assert "Segmentation fault" in done.stderr


# -- without a window


def test_no_display_names_the_twin(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform in ("win32", "darwin"):
        pytest.skip("there is always a display")
    assert main([]) == 1
    said = capsys.readouterr()
    assert "ddpm-studio train fashion-mnist" in said.err
    assert said.out == ""


def test_help_is_given_wherever_it_is_asked_for(capsys, monkeypatch):
    from ddpm_studio.__main__ import main as program

    for option in ("--help", "--version"):
        monkeypatch.setattr(sys, "argv", ["ddpm-studio", "moons", option])
        assert program() == 0
    assert "bench" in capsys.readouterr().out


def test_an_option_that_nobody_knows(capsys):
    assert main(["--verion"]) == 2
    assert "there is no option --verion" in capsys.readouterr().err


def test_a_path_that_is_not_there(tmp_path, capsys):
    began = time.monotonic()
    assert main([str(tmp_path / "nowhere")]) == 1
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
    assert time.monotonic() - began < 5


def test_types_are_made_in_turns(qtbot, monkeypatch):
    from ddpm_studio.app import qt_types

    monkeypatch.setattr(qt_types, "SLICE", 0.0)
    owner, turns = QObject(), []
    types = qt_types.QtTypes(owner)
    monkeypatch.setattr(qt_types.QTimer, "singleShot", lambda *a: turns.append(a[-1]))
    types.make()
    with qtbot.waitSignal(types.made):
        while turns:
            turns.pop()()
    left = [name for name in dir(QtWidgets) if name not in vars(QtWidgets)]
    assert not left, "every type exists now, so that another thread makes none"


NAMED = """
from PySide6.QtCore import QTimer
from ddpm_studio.app.main import Application
application = Application([], "moons")
print(application.window.recipe.name)
QTimer.singleShot(0, application.window, application.window.close)
application.exec()
"""


def test_a_built_in_recipe_is_named_on_the_command_line(home):
    done = run(home, "-c", NAMED)
    assert done.stdout.split() == ["moons"], done.stderr
