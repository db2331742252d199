"""What the window's thread must not do, as each piece of it would be a late beat while a network trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.recipes import find

WATCHED = """
import json, sys, threading
from PySide6.QtCore import QTimer
from ddpm_studio.app.main import Application
from ddpm_studio.recipes import find

window_thread, seen, watching = threading.get_ident(), [], []

def hook(event, arguments):
    if not watching or threading.get_ident() != window_thread:
        return
    if event == "import" or (event in ("os.listdir", "os.scandir") and str(arguments[0]).endswith("runs")):
        seen.append(f"{watching[-1]}: {event} {arguments[0]}")

sys.addaudithook(hook)
application = Application([])
window = application.window
controller = window.controller
small = {"training.steps": 1000000, "training.batch": 16, "network.width": 16, "compute.threads": 1}

def turn():
    if not watching and controller.is_ready and window.plots is not None and not controller.busy:
        watching.append("start")
        window.start(find("two-gaussians").with_settings(small))
    elif watching == ["start"] and len(controller.channels.batch) > 20:
        watching.append("stop")
        controller.stop()
    elif watching == ["start", "stop"] and not controller.busy:
        timer.stop()
        watching.clear()
        window.close()

timer = QTimer()
timer.timeout.connect(turn)
timer.start(20)
application.exec()
print(json.dumps(seen))
"""


def test_a_training_begins_and_ends_without_imports_and_a_list_of_runs_in_the_windows_thread(tmp_path: Path):
    """Modules are imported while the window warms up; the runs are listed in a thread of the pool."""
    kept = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONWARNINGS")}
    environment = kept | {"QT_QPA_PLATFORM": "offscreen", "DDPM_STUDIO_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_the_form_is_not_filled_anew_because_the_engine_does_something(qtbot, monkeypatch):
    """A start goes through three states; only what the form says of a running run follows, and once."""
    form = RecipeForm()
    qtbot.addWidget(form)
    form.set_recipe(find("moons"))
    filled: list[object] = []
    monkeypatch.setattr(RecipeForm, "_show", lambda self, problems=None: filled.append(problems))
    editor = form._rows()["training.steps"].editor
    form.set_running(True)
    assert not editor.isEnabled()
    tip = editor.toolTip()
    form.set_running(True)
    assert editor.toolTip() == tip
    form.set_running(False)
    assert editor.isEnabled()
    assert filled == []
