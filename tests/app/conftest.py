"""The real window, and the theme without it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from ddpm_studio.app.controller import ENGINE, OPTIMIZER, PLOTS
from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.theme import install


class PatientBot(QtBot):
    """Waits for what must come as long as the machine needs for it: one that is busy is no failure."""

    LEAST_MS = 60_000

    def waitUntil(self, callback: Callable[[], Any], *, timeout: int = LEAST_MS) -> None:  # noqa: N802
        super().waitUntil(callback, timeout=max(timeout, self.LEAST_MS))

    def waitSignal(self, signal: Any, *, timeout: int = LEAST_MS, raising: bool = True, **rest: Any) -> Any:  # noqa: N802
        patient = max(timeout, self.LEAST_MS) if raising else timeout  # of what must not come, all of it is waited
        return super().waitSignal(signal, timeout=patient, raising=raising, **rest)

    def waitActive(self, widget: QWidget, *, timeout: int = LEAST_MS) -> Any:  # noqa: N802
        return super().waitActive(widget, timeout=max(timeout, self.LEAST_MS))


@pytest.fixture
def qtbot(qapp: QApplication, request: pytest.FixtureRequest) -> QtBot:
    return PatientBot(request)


@pytest.fixture
def themed(qapp: QApplication) -> None:
    install(qapp)


@pytest.fixture(scope="session")
def engine_loaded() -> None:
    """A window's engine imports torch in its thread, for minutes on a busy machine: that is of ``test_start``."""
    for module in (PLOTS, ENGINE, OPTIMIZER):
        importlib.import_module(module)


def settled(window: MainWindow) -> bool:
    """Everything is loaded, and the data of the first recipe are on show: nothing comes by itself any more."""
    engine = window.controller
    there = engine.is_ready and window.plots is not None and window.dataset is not None
    return there and not engine.busy and not window.session.data_clock.isActive()


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication, engine_loaded: None) -> Iterator[MainWindow]:
    window = MainWindow()
    window.session.data_clock.setInterval(1)
    window.show()
    qtbot.waitUntil(lambda: settled(window), timeout=60_000)
    yield window
    if isValid(window):
        window.controller.stop()
        qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)
        window.close()
        window.deleteLater()
