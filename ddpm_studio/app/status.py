"""The bar at the bottom: how late the window is, what is recorded, memory, when the run was saved."""

from __future__ import annotations

import time

import psutil
from PySide6.QtCore import QEvent, QObject
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QStatusBar, QWidget

from ddpm_studio.app.heartbeat import Heartbeat
from ddpm_studio.app.labels import Caption, ElidedLabel
from ddpm_studio.app.theme import GRID, MARGIN, tabular

HEIGHT = 30  # px: as high as with a button in it, so that the stage stays where it is
ROOMY = 1280  # px: there is room for a job and for the machine


class StatusBar(QStatusBar):
    """Text once a second: readable, and cheap."""

    _job: QWidget | None = None  # of the class, as Qt asks the filter until the very end

    def __init__(self, heartbeat: Heartbeat, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.setMinimumHeight(HEIGHT)
        self.setContentsMargins(MARGIN // 2, 0, MARGIN, 0)
        self._heartbeat = heartbeat
        self._process = psutil.Process()
        self._saved_at: float | None = None
        self.message = ElidedLabel()
        self.message.setObjectName("status_message")
        self._wait, self._previews, self._memory, self._saved = Caption(), Caption(), Caption(), Caption()
        self._wait.setToolTip(self.tr("How late the window's event loop was, over the last 80 seconds"))
        self._previews.setToolTip(
            self.tr("Share of the time that previews took; the first ones run ahead of their budget")
        )
        self.addWidget(self.message, 1)
        for label in (self._previews, self._wait, self._memory, self._saved):
            label.setFont(tabular(label.font()))
            label.setContentsMargins(GRID // 2, 0, 0, 0)
            label.hide()  # until it says something
            self.addPermanentWidget(label)

    def add_job(self, bar: QWidget) -> None:
        """Right of the message a job that tells how far it is: it comes and goes."""
        self._job = bar
        bar.installEventFilter(self)
        self.insertPermanentWidget(1, bar)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if watched is self._job and event.type() in (QEvent.Type.ShowToParent, QEvent.Type.HideToParent):
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        """On a small screen a job takes the room of what tells of the machine, not that of the message."""
        narrow = self._job is not None and not self._job.isHidden() and self.width() < ROOMY
        for label in (self._wait, self._memory):
            label.setVisible(bool(label.text()) and not narrow)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def saved(self) -> None:
        """The run has just been saved."""
        self._saved_at = time.monotonic()

    def forget_saved(self) -> None:
        self._saved_at = None

    def previews_took(self, share: float | None, budget: float = 1.0) -> None:
        """Share of the time so far, 0 … 1, and what they may take in the long run; None: no training is on screen."""
        ahead = share is not None and share > 1.1 * budget  # nobody has to wonder about less
        text = self.tr("Previews {0:.1f} %, ahead of their {1:g} %") if ahead else self.tr("Previews {0:.1f} %")
        text = "" if share is None else text.format(100 * share, 100 * budget)
        self._set(self._previews, text)

    def refresh(self) -> None:
        late = self.tr("Window: wait {p99:.0f} ms, worst {worst:.0f} ms")
        self._set(self._wait, late.format(p99=self._heartbeat.percentile(99), worst=self._heartbeat.percentile(100)))
        self._set(self._memory, self.tr("Memory {0:.1f} GB").format(self._process.memory_info().rss / 1e9))
        saved = ""
        if self._saved_at is not None:
            seconds = time.monotonic() - self._saved_at
            saved = (
                self.tr("Saved {0:.0f} s ago").format(seconds)
                if seconds < 90
                else self.tr("Saved {0:.0f} min ago").format(seconds / 60)
            )
        self._set(self._saved, saved)
        self._fit()

    @staticmethod
    def _set(label: Caption, text: str) -> None:
        if text != label.text():
            label.setText(text)
            label.setVisible(bool(text))
