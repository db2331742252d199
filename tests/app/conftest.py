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
from ddpm_studio.app.theme import install, theme


class PatientBot(QtBot):
    """Waits for what must come as long as the machine needs for it: one that is busy is no failure."""

    PATIENCE_MS = 60_000

    def waitUntil(self, callback: Callable[[], Any], *, timeout: int = PATIENCE_MS) -> None:  # noqa: N802
        super().waitUntil(callback, timeout=timeout)

    def waitSignal(self, signal: Any, *, timeout: int = PATIENCE_MS, **rest: Any) -> Any:  # noqa: N802
        return super().waitSignal(signal, timeout=timeout, **rest)

    def waitActive(self, widget: QWidget, *, timeout: int = PATIENCE_MS) -> Any:  # noqa: N802
        return super().waitActive(widget, timeout=timeout)


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
def opened(qtbot: QtBot, themed: None, engine_loaded: None) -> Iterator[Callable[[], MainWindow]]:
    """Makes windows; closes those that are still open, without a question."""
    windows: list[MainWindow] = []

    def make() -> MainWindow:
        window = MainWindow()
        windows.append(window)
        window.session.data_clock.setInterval(1)
        window.show()
        qtbot.waitUntil(lambda: settled(window))
        return window

    yield make
    for window in windows:
        if isValid(window):
            if window.isVisible():
                window.closing.wanted = True
                window.close()
                qtbot.waitUntil(lambda w=window: not w.isVisible())
            window.deleteLater()
    theme().prefer("system")


@pytest.fixture
def window(opened: Callable[[], MainWindow]) -> MainWindow:
    return opened()
