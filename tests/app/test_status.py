"""The bar at the bottom tells what previews cost."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from ddpm_studio.app.exporting import ExportProgress
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
    bar.previews_took(0.32, 0.02)
    assert "Previews 32.0 %, ahead of their 2 %" in texts(), "the first ones"
    bar.previews_took(0.0201, 0.02)
    assert "Previews 2.0 %" in texts()
    bar.previews_took(None)
    assert not [text for text in texts() if text.startswith("Previews")]


def test_a_job_leaves_the_stage_where_it_is_and_the_message_its_room(qtbot):
    parent = QWidget()
    qtbot.addWidget(parent)
    bar = StatusBar(Heartbeat(parent), parent)
    bar.message.set_text("Opened /home/me/runs/faces")
    bar.refresh()
    bar.resize(1024, bar.sizeHint().height())
    parent.show()
    told = [label for label in bar.findChildren(Caption) if not label.isHidden()]
    assert [label.text().split()[0] for label in told] == ["Window:", "Memory"], "what says nothing takes no room"
    job = ExportProgress()
    job.text.setText("Writing two-gaussians-2026-11-21.mp4: 43 % · 12 s left")
    bar.add_job(job)
    job.show()
    qtbot.waitUntil(lambda: bar.message.width() >= bar.message.fontMetrics().horizontalAdvance(bar.message.text()))
    assert bar.sizeHint().height() <= bar.minimumHeight()
    assert all(label.isHidden() for label in told)
    job.hide()
    assert not any(label.isHidden() for label in told)
