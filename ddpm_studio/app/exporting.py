"""Taking things along, from the question to the file: the dialog, the thread that writes, progress and Cancel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from PySide6.QtCore import QObject, Qt, QThread, QTimer, Signal, Slot
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.channels import LatestValue
from ddpm_studio.app.errors import show_error
from ddpm_studio.app.export_panel import ExportPanel, Shown
from ddpm_studio.app.jobs import Channels, CopyRunJob, Exported, ExportJob
from ddpm_studio.app.texts import time_left_at
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, PushButton
from ddpm_studio.app.worker import EngineWorker
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.take import Wanted
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control

if TYPE_CHECKING:
    from ddpm_studio.app.main_window import MainWindow


class ExportProgress(QWidget):
    """In the status bar while something is written: how far it is, and Cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("export_progress")
        self.text = Caption()
        self.cancel = PushButton(self.tr("Cancel"), "x", tooltip=self.tr("Stop writing; nothing is left"), height=24)
        self.cancel.setObjectName("export.cancel")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.text)
        row.addWidget(self.cancel)
        self.hide()


class StillWriting(QDialog):
    """In the way of the next question until the last answer is written: how far that is, and Cancel."""

    def __init__(self, bar: ExportProgress, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("still_writing")
        self.setWindowTitle(self.tr("Something is being written"))
        said = QLabel(self.tr("One thing at a time: the next one can be chosen as soon as this is written."))
        said.setWordWrap(True)
        said.setMinimumWidth(280)
        self.text = Caption(bar.text.text())
        self.cancel = PushButton(self.tr("Cancel writing"), "x", tooltip=bar.cancel.toolTip())
        self.cancel.setObjectName("still_writing.cancel")
        self.cancel.clicked.connect(bar.cancel.click)
        wait = PushButton(self.tr("Close"), primary=True, tooltip=self.tr("Close this; the writing goes on"))
        wait.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(wait)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(MARGIN)
        for widget in (said, self.text):
            column.addWidget(widget)
        column.addLayout(buttons)
        self.finished.connect(self.deleteLater)


class Exporting(QObject):
    """One export at a time, in a thread of its own, so that a training goes on meanwhile.

    ``done(Path)`` when it is complete; ``idle`` when the thread has ended, also after Cancel or a failure.
    """

    done = Signal(object)
    idle = Signal()
    _go = Signal(object)

    def __init__(self, window: MainWindow, parent: QObject) -> None:
        super().__init__(parent)
        self.panel: ExportPanel | None = None
        self.bar: ExportProgress | None = None  # made with the first export
        self.waiting: StillWriting | None = None
        self._window = window
        self._folder = Path.home()
        self._run: Run | None = None
        self._tapes: tuple[Tape, ...] = ()
        self._data: NDArray[Any] | None = None  # behind points
        self._moments: Sequence[Sequence[Tape]] = ()  # of runs side by side
        self._job: ExportJob | CopyRunJob | None = None
        self._thread: QThread | None = None
        self._worker: EngineWorker | None = None
        self._begun, self._complete = 0.0, False
        self._clock = QTimer(self)
        self._clock.setInterval(100)
        self._clock.timeout.connect(self._on_clock)

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def ask(self, run: Run | None, tapes: Sequence[Tape], shown: Shown | None = None) -> None:
        """Show the dialog: for ``tapes`` on the stage, and what the run on disk has; ``shown`` is on the stage now."""
        if self.busy and self.bar is not None:
            self.waiting = StillWriting(self.bar, self._window)
            self.waiting.accepted.connect(partial(self.ask, run, tuple(tapes), shown))
            self.waiting.finished.connect(self._on_waited)
            self.waiting.open()
            return
        self._run = run
        self._data = None if shown is None else shown.data
        self._moments = () if shown is None else shown.moments
        # As they are now: a tape may still grow.
        self._tapes = tuple(replace(tape, frames=list(tape.frames)) for tape in tapes)
        self.panel = ExportPanel(self._folder, "" if run is None else run.name, len(tapes), shown, self._window)
        self.panel.asked.connect(self.on_asked)
        self.panel.finished.connect(self.panel.deleteLater)
        self.panel.open()

    @Slot()
    def _on_waited(self) -> None:
        self.waiting = None

    @Slot(object, object, bool)
    def on_asked(self, wanted: Wanted, path: Path, of_stage: bool) -> None:
        """Write it."""
        if not self.busy:
            self._folder = path.parent
            tapes = self._tapes if of_stage else ()
            told = Control(), Channels(), LatestValue[tuple[int, int]]()
            self._begin(ExportJob(wanted, path, self._run, tapes, *told, self._data, self._moments))

    def copy(self, run: Run, path: Path) -> None:
        """Copy a run's folder."""
        if self.busy:
            self._say(self.tr("Something is being written already: wait for it, or cancel it."))
        else:
            self._begin(CopyRunJob(path, run, Control(), Channels(), LatestValue()))

    def _begin(self, job: ExportJob | CopyRunJob) -> None:
        self._job, self._complete = job, False
        # Neither has a parent: a parent in another thread would delete them under way.
        self._thread, self._worker = QThread(), EngineWorker()
        self._thread.setObjectName("export")
        self._worker.moveToThread(self._thread)
        queued = Qt.ConnectionType.QueuedConnection
        self._go.connect(self._worker.run, queued)
        self._worker.reported.connect(self._on_reported, queued)
        self._worker.failed.connect(self._on_failed, queued)
        self._worker.finished.connect(self._on_finished, queued)
        self._thread.finished.connect(self._worker.deleteLater)
        self._thread.start(QThread.Priority.LowPriority)
        self._begun = time.monotonic()
        if self.bar is None:
            self.bar = ExportProgress()
            self.bar.cancel.clicked.connect(self.on_cancel)
            self._window.status.add_job(self.bar)
        self.bar.text.setText(self.tr("Writing {0}").format(job.path.name))
        self.bar.cancel.setEnabled(True)
        self.bar.show()
        self._clock.start()
        self._go.emit(job)

    @Slot()
    def on_cancel(self) -> None:
        if self._job is not None and self.bar is not None:
            self._job.control.stop()
            self.bar.cancel.setEnabled(False)

    def shutdown(self) -> None:
        """The window closes: what is being written is cancelled, and nothing half is left."""
        if self._job is not None:
            self._job.control.stop()
        self._end_thread()

    @Slot()
    def _on_clock(self) -> None:
        told = None if self._job is None else self._job.progress.take()
        if told is None or self._job is None or self.bar is None:
            return
        share = told[0] / max(told[1], 1)
        text = self.tr("Writing {0}: {1:.0f} %").format(self._job.path.name, 100 * share)
        left = time_left_at(share, time.monotonic() - self._begun)
        self.bar.text.setText(" · ".join([text, left] if left else [text]))
        if self.waiting is not None:
            self.waiting.text.setText(self.bar.text.text())

    @Slot(object)
    def _on_reported(self, event: object) -> None:
        if isinstance(event, Exported):
            self._complete = True  # Cancel came too late, if at all
            self._say(self.tr("Saved {0}").format(event.path))
            self.done.emit(event.path)

    @Slot(str, str)
    def _on_failed(self, sentence: str, details: str) -> None:
        self._say(sentence)
        show_error(self._window, sentence, "" if "ExportError" in details or "RunError" in details else details)

    @Slot()
    def _on_finished(self) -> None:
        if self._job is not None and self._job.control.stopping and not self._complete:
            self._say(self.tr("Cancelled; nothing was written."))
        self._end_thread()
        self.idle.emit()
        if self.waiting is not None:
            self.waiting.accept()  # now to what was asked for meanwhile

    def _end_thread(self) -> None:
        self._clock.stop()
        if self.bar is not None:
            self.bar.hide()
        if self._thread is not None:
            self._thread.quit()
            self._thread.wait()
        self._thread, self._worker, self._job = None, None, None

    def _say(self, text: str) -> None:
        self._window.status.message.set_text(text)
