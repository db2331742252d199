"""Garbage is collected in the window's thread alone."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest
from PySide6.QtCore import QObject, QTimer
from pytestqt.qtbot import QtBot

from ddpm_studio.app.garbage import Garbage, sweep

COMPILING = """
import gc, threading
from PySide6.QtCore import QCoreApplication
from ddpm_studio.app.garbage import Garbage
application = QCoreApplication([])
garbage = Garbage(application)
collected = []
gc.callbacks.append(lambda phase, info: collected.append(threading.current_thread().name))
def work():
    import torch
    double = torch.compile(lambda x: 2 * x, backend="eager")
    print(double(torch.ones(1)).item(), torch._dynamo.utils.counters["stats"]["unique_graphs"])
thread = threading.Thread(target=work, name="compile")
thread.start()
thread.join()
print(collected)
"""

pytestmark = pytest.mark.usefixtures("no_leaks")


class Cycle(QTimer):
    """As a dialog that was closed: it holds itself."""

    def __init__(self) -> None:
        super().__init__()
        self.me = self
        self.start(1000)


@pytest.fixture
def collecting() -> Iterator[None]:
    """As in the program, not as in the tests."""
    gc.enable()
    yield
    gc.disable()


def elsewhere() -> list[list[int]]:
    """Another thread makes more than enough for every generation of Python's collector."""
    made: list[list[int]] = []
    thread = threading.Thread(target=lambda: made.extend([i] for i in range(100_000)))
    thread.start()
    thread.join()
    return made


@pytest.mark.usefixtures("collecting")
def test_no_other_thread_takes_a_qt_object_apart(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(Garbage, "PERIOD_MS", 1)
    where: list[threading.Thread] = []
    parent = QObject()
    garbage = Garbage(parent)
    gone = weakref.ref(Cycle(), lambda _: where.append(threading.current_thread()))
    made = elsewhere()
    assert gone() is not None
    garbage.begin()
    qtbot.waitUntil(lambda: gone() is None)
    assert where == [threading.main_thread()]
    assert len(made) == 100_000
    garbage.end()
    assert gc.isenabled()


def test_the_oldest_generation_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", collected.append)
    monkeypatch.setattr(gc, "get_threshold", lambda: (700, 10, 10))
    for counts in ((0, 0, 0), (701, 3, 2), (900, 11, 10), (3, 11, 11)):
        monkeypatch.setattr(gc, "get_count", lambda counts=counts: counts)
        sweep()
    assert collected == [0, 1, 2]
    monkeypatch.setattr(gc, "get_threshold", lambda: (700, 10, 0))  # never: Python 3.14
    sweep()
    assert collected == [0, 1, 2, 1]


def test_torch_does_not_collect_where_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_DYNAMO_RUN_GC_AFTER_COMPILE", raising=False)
    done = subprocess.run([sys.executable, "-c", COMPILING], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["2.0 1", "[]"]
