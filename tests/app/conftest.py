"""The real window, and the theme without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from ddpm_studio.app.main_window import MainWindow
from ddpm_studio.app.theme import install


@pytest.fixture
def themed(qapp: QApplication) -> None:
    install(qapp)


@pytest.fixture
def window(qtbot: QtBot, qapp: QApplication) -> Iterator[MainWindow]:
    window = MainWindow()
    window.session.data_clock.setInterval(1)
    window.show()
    qtbot.waitUntil(lambda: window.controller.is_ready and window.stage.plots is not None, timeout=30_000)
    yield window
    if isValid(window):
        window.controller.stop()
        qtbot.waitUntil(lambda: not window.controller.busy, timeout=30_000)
        window.close()
        window.deleteLater()
