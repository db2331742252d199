"""EngineWorker: lives in the engine thread and drives generators. It never touches a widget."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import traceback

from PySide6.QtCore import QCoreApplication, QObject, QThread, Signal, Slot

from ddpm_studio.app.jobs import Job
from ddpm_studio.data import Cancelled

log = logging.getLogger(__name__)

# Of the engine's threads on Linux, where each has its own; the window's is 0, so that it gets a core when it wakes:
# what it waits for while a large network trains is a core, not the interpreter (tests/benchmarks/heartbeat.py).
NICENESS = 5
SWITCH_INTERVAL = 0.001  # seconds; while modules are imported the window gets the interpreter back this soon


class EngineWorker(QObject):
    """Runs one job at a time.

    Signals (all queued to the controller): ``reported`` a state change; ``failed`` one sentence and the
    details; ``finished`` after every job, failed or not; ``imported`` a module of the warm-up.
    """

    reported = Signal(object)
    failed = Signal(str, str)
    finished = Signal()
    imported = Signal(str)

    @Slot(object)
    def warm_up(self, modules: tuple[str, ...]) -> None:
        """Import what is slow to import here, so that the window goes on; the engine (torch) last.

        Torch is imported in the thread that will use it: its thread pools belong to it.
        """
        if sys.platform == "linux":  # elsewhere it takes processes only; before torch makes its own threads
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_INTERVAL)
        for module in modules:
            if QThread.currentThread().isInterruptionRequested():
                break  # the window has been closed meanwhile
            try:
                importlib.import_module(module)
            except BaseException as error:
                self.failed.emit(_tr("{0} cannot be loaded: {1}").format(module, error), traceback.format_exc())
            else:
                self.imported.emit(module)
        sys.setswitchinterval(interval)

    @Slot(object)
    def run(self, job: Job) -> None:
        """Drive a job to its end; its events go to their channels."""
        try:
            for event in job.events():
                if not job.channels.deliver(event):
                    self.reported.emit(event)
        except Cancelled:
            pass  # the person has already gone on to something else
        except BaseException as error:  # MemoryError and SystemExit too: the thread must live on
            # A text, not the traceback object: that would keep every tensor of the failed job alive.
            self.failed.emit(_sentence(error), traceback.format_exc())
        finally:
            self.finished.emit()


def _tr(text: str) -> str:
    return QCoreApplication.translate("EngineWorker", text)  # which any thread may call


def _sentence(error: BaseException) -> str:
    """One sentence for the user."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return _tr("There is not enough memory for this: choose a smaller batch or a smaller network")
    if type(error).__module__.startswith("ddpm_studio"):
        return str(error)  # ours: written for the user
    return _tr("Something unexpected happened: {0}: {1}").format(type(error).__name__, error)
