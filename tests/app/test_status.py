"""The bar at the bottom tells what previews cost."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from ddpm_studio.app.heartbeat import Heartbeat
from ddpm_studio.app.labels import Caption
from ddpm_studio.app.status import StatusBar


def test_the_share_of_the_previews_is_shown_and_forgotten(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    bar = StatusBar(Heartbeat(parent), parent)

    def texts():
        return [label.text() for label in bar.findChildren(Caption)]

    bar.previews_took(0.0184)
    assert "Previews 1.8 %" in texts()
    bar.previews_took(None)
    assert not [text for text in texts() if text.startswith("Previews")]
