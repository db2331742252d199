"""For every test: no screen, no user's folder, no dialogs, one thread; and nothing of Qt may be left behind.

Garbage is collected between tests, in the main thread, and at no other time: a window that was closed is a cycle, and
Python would take it apart in whichever thread allocates next, often that of the next window's engine, which Qt does
not survive. The app has ``app/garbage.py`` for this.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported
os.environ.setdefault("QT_ACCESSIBILITY", "0")

import pytest

from ddpm_studio.app.garbage import sweep

gc.disable()


def pytest_collection_finish() -> None:
    """What is there before the first test stays, and is not looked through again after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def garbage() -> Iterator[None]:
    """The first to begin and so the last to end."""
    yield
    sweep()


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's folder of the test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(folder))
    monkeypatch.setenv("DDPM_STUDIO_NO_DIALOGS", "1")
    return folder


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Threads that wait for each other are slower than one on busy cores; and denormals as torch has them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)  # training sets it; other tests count on denormals


@pytest.fixture
def no_leaks(qapp: Any) -> Iterator[None]:
    """Fails if the test leaves a running thread, an active timer or animation, or a visible window; names it."""
    before = {id(o) for o in _alive()}
    yield
    for _ in range(20):
        qapp.sendPostedEvents(None, 52)  # DeferredDelete
        qapp.sendPostedEvents()
    if any(id(o) not in before for o in _alive()):
        gc.collect()  # what nobody holds any more is no leak
    left = [_name(o) for o in _alive() if id(o) not in before]
    assert not left, f"left behind: {', '.join(left)}"


def _alive() -> list[Any]:
    """What runs or is shown now."""
    from PySide6.QtCore import QAbstractAnimation, QThread, QTimer
    from PySide6.QtWidgets import QApplication
    from shiboken6 import isValid

    running = {
        QTimer: QTimer.isActive,
        QThread: lambda o: o.isRunning() and o is not QThread.currentThread(),
        QAbstractAnimation: lambda o: o.state() == QAbstractAnimation.State.Running,
    }
    found: list[Any] = [w for w in QApplication.topLevelWidgets() if w.isVisible()]
    kinds: dict[type, Any] = {}
    for o in gc.get_objects():
        kind = type(o)  # never isinstance: that wakes lazy objects
        if kind not in kinds:
            kinds[kind] = next((runs for base, runs in running.items() if issubclass(kind, base)), None)
        if kinds[kind] is not None and isValid(o) and kinds[kind](o):
            found.append(o)
    return found


def _name(o: Any) -> str:
    parent = o.parent()
    return f"{type(o).__name__} {o.objectName()!r} of {type(parent).__name__ if parent else 'nothing'}"
