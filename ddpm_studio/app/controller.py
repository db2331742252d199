"""RunController: the state machine between the window and the engine thread. It owns thread and worker."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, QThread, Signal, Slot

from ddpm_studio.app.jobs import Channels, Job, OpenDataJob, OpenRunJob, SampleJob, TakeDataJob, TrainJob
from ddpm_studio.app.worker import EngineWorker
from ddpm_studio.diffusion.reel import CAP
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run
from ddpm_studio.training.control import (
    ChangeRequest,
    Comparison,
    Control,
    PreviewRequest,
    Request,
    SampleRequest,
    SaveRequest,
)
from ddpm_studio.training.events import Paused, Resumed, Started

# Slow to import, so after the first paint. The last comes with torch's first optimizer: not at Start, then.
PLOTS, ENGINE, OPTIMIZER = "ddpm_studio.app.learning_plots", "ddpm_studio.engine", "torch._dynamo"
IN_PASSING = ("numpy.ma", "tomlkit")  # else np.percentile and the first run import these in the window's thread


# Threads that did not end in time, with what they run: Qt aborts where one is destroyed that runs.
unended: list[tuple[QThread, EngineWorker]] = []


class State(StrEnum):
    """What the engine does, as the window sees it. Every button follows from this and from nothing else."""

    IDLE = "idle"
    STARTING = "starting"  # a training was asked for; its first step is still to come
    TRAINING = "training"
    PAUSED = "paused"
    SAMPLING = "sampling"  # from a saved run
    LOADING = "loading"  # a run or a data set
    STOPPING = "stopping"


class RunController(QObject):
    """Lives in the window's thread.

    Signals: ``state_changed(State)``; ``reported(object)`` an event of the engine; ``failed(sentence,
    details)``; ``plots_loaded`` and ``ready`` when pyqtgraph and torch
    are there; ``loaded`` when nothing is left to import; ``idle`` when a job has ended and no other follows.
    """

    state_changed = Signal(object)
    reported = Signal(object)
    failed = Signal(str, str)
    plots_loaded = Signal()
    ready = Signal()
    loaded = Signal()
    idle = Signal()
    _warm = Signal(object)
    _go = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = State.IDLE
        self.is_ready = False
        self.channels = Channels()
        self._frames_cap = CAP
        self._job: Job | None = None
        self._next: Job | None = None
        # Neither thread nor worker has a parent: a parent in another thread would delete them under way.
        self._thread = QThread()
        self._thread.setObjectName("engine")
        self._thread.setStackSize(16 << 20)  # macOS gives 512 KB, too little for BLAS
        self._worker = EngineWorker()
        self._worker.moveToThread(self._thread)
        queued = Qt.ConnectionType.QueuedConnection
        self._warm.connect(self._worker.warm_up, queued)
        self._go.connect(self._worker.run, queued)
        self._worker.imported.connect(self._on_imported, queued)
        self._worker.reported.connect(self._on_reported, queued)
        self._worker.failed.connect(self._on_failed, queued)
        self._worker.finished.connect(self._on_finished, queued)
        self._thread.finished.connect(self._worker.deleteLater)
        self._thread.start()

    # -- commands

    @Slot()
    def load_plots(self) -> None:
        """Import pyqtgraph; after the first paint, and after ``QtTypes``."""
        self._warm.emit((*IN_PASSING, PLOTS))

    def load_engine(self) -> None:
        """Import torch; when the window has nothing large to build any more."""
        self._warm.emit((ENGINE, OPTIMIZER))

    def train(self, run: Run, until: int | None = None, channels: Channels | None = None) -> None:
        """Train a new run, or go on with one whose curves ``channels`` already hold."""
        self._begin(TrainJob(run, Control(), channels or Channels(), until), State.STARTING)

    def sample(self, run: Run, request: SampleRequest | Comparison) -> None:
        """Sample or compare samplers: between two steps of the training in hand, else from the last checkpoint."""
        if self.training:
            self.ask(request)
        else:
            self._begin(SampleJob(run, Control(), self.channels, request), State.SAMPLING)

    def open_run(self, run: Run) -> None:
        """Read a run; what is on screen stays until ``RunOpened`` brings its channels."""
        self._begin(OpenRunJob(run, Control(), Channels()), State.LOADING)

    def open_data(self, recipe: Recipe, *, instead: bool = False, parent: Run | None = None) -> None:
        """Load a recipe's data to look at them; waits its turn, and gives way to anything else.

        ``instead``: a run that is still being opened is not wanted any more. ``parent``: the recipe may become a
        fork of it, so ``ForkForeseen`` is reported too.
        """
        job = OpenDataJob(recipe, Control(), self.channels, parent)
        if self._job is None:
            self._begin(job, State.LOADING)
        elif self.state is State.LOADING and (instead or isinstance(self._newest, OpenDataJob)):
            self._next = job  # a run that is being opened brings its own data

    def take_data(self, path: Path, asked: bool) -> None:
        """Look at files that a person chose to learn from; see ``DataTaken``."""
        self._begin(TakeDataJob(path, asked, Control(), self.channels), State.LOADING)

    def pause(self, on: bool) -> None:
        if self.training and self._newest is not None:
            self._newest.control.pause(on)

    def stop(self, *, keep: bool = True) -> None:
        """End the job in hand after its step; what was learnt is saved, unless ``keep`` is False."""
        if self._job is not None and self.state is not State.STOPPING:
            self._job.control.stop(keep=keep)
            self._next = None
            self._set(State.STOPPING)

    def stop_comparison(self) -> None:
        """End the comparison in hand; a training goes on."""
        if self._job is not None:
            self._job.control.stop_comparison()

    def save(self) -> None:
        self.ask(SaveRequest())

    def change(self, changes: dict[str, Any]) -> None:
        """Change live settings of the training in hand, together."""
        self.ask(ChangeRequest(changes))

    def preview(self, weights: str) -> None:
        """Show a preview of these weights now, and of these from now on."""
        self.ask(PreviewRequest(weights))

    def ask(self, request: Request) -> None:
        if self.training and self._newest is not None:
            self._newest.control.ask(request)

    @property
    def training(self) -> bool:
        """Whether a training is in hand, running or paused."""
        return self.state in (State.STARTING, State.TRAINING, State.PAUSED)

    @property
    def busy(self) -> bool:
        return self.state is not State.IDLE

    @property
    def run(self) -> Run | None:
        """The run of the job in hand."""
        return getattr(self._newest, "run", None)

    @property
    def _newest(self) -> Job | None:
        """The job that the state speaks of: the one in hand, or the one it gives way to."""
        return self._next or self._job

    def shutdown(self, timeout_ms: int = 15_000) -> bool:
        """The last stage of quitting: it waits for the thread; False if that has not ended in time."""
        if self._job is not None:
            self._job.control.stop()
        self._next = None
        self._thread.requestInterruption()
        self._thread.quit()
        ended = self._thread.wait(timeout_ms)
        if not ended:
            unended.append((self._thread, self._worker))
        return ended

    def set_frames_cap(self, cap: int) -> None:
        """Bytes of previews that are kept: in memory from now on, on disk from the next training on."""
        self._frames_cap = self.channels.reel.cap = cap

    # -- the engine's answers

    def _begin(self, job: Job, state: State) -> None:
        job.channels.reel.cap = self._frames_cap
        if self._job is None:
            self._job = job
            self._go.emit(job)
        elif self.state is State.LOADING:
            self._job.control.stop()
            self._next = job  # what is being loaded to look at gives way
        else:
            raise RuntimeError(f"the engine is {self.state}; nothing else can begin")
        if not isinstance(job, OpenRunJob):
            self.channels = job.channels
        self._set(state)

    def _set(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    @Slot(str)
    def _on_imported(self, module: str) -> None:
        if module == PLOTS:
            self.plots_loaded.emit()
        elif module == ENGINE:
            self.is_ready = True
            self.ready.emit()
        elif module == OPTIMIZER:
            self.loaded.emit()

    @Slot(object)
    def _on_reported(self, event: object) -> None:
        if self._next is not None:
            return  # from a job that has given way
        if self.state is not State.STOPPING:
            if isinstance(event, Started | Resumed):
                self._set(State.TRAINING)
            elif isinstance(event, Paused):
                self._set(State.PAUSED)
        self.reported.emit(event)

    @Slot(str, str)
    def _on_failed(self, sentence: str, details: str) -> None:
        if self._next is None:
            self.failed.emit(sentence, details)

    @Slot()
    def _on_finished(self) -> None:
        self._job, self._next = self._next, None
        if self._job is not None:
            self._go.emit(self._job)  # its state has been shown since it was asked for
        else:
            self._set(State.IDLE)
            self.idle.emit()
