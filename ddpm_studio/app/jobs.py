"""What the engine thread can be asked to do: each job makes the generator that the worker drives.

Torch is imported when a job begins, in the engine thread, never before. No Qt here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.app.channels import LatestValue, MetricLog, Sights
from ddpm_studio.data import Cancelled, DataError, Dataset, open_dataset
from ddpm_studio.data.catalog import mnist_folder
from ddpm_studio.data.cifar import ARCHIVE_BYTES
from ddpm_studio.data.mnist import keep_mnist
from ddpm_studio.data.vision import MNIST_BYTES
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.take import Wanted, export_run, export_tapes
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import METRICS, EventRow, ProbeRow, Run
from ddpm_studio.training.control import Comparison, Control, SampleRequest
from ddpm_studio.training.events import (
    ForkForeseen,
    Probed,
    ProbeItems,
    ProbeSight,
    RolledBack,
    Started,
    StepDone,
    TapeFinished,
    TapeGrew,
    TapeStarted,
)

DOWNLOADED = {"mnist": MNIST_BYTES, "cifar-10": ARCHIVE_BYTES}  # data sets that do not come with the program

PROBED = ("step", "train", "held_out", "floor", "held_out_floor")  # of each probe, for the curves


@dataclass
class Channels:
    """Metrics and tapes on their way from the engine thread to the window; one set for each run on screen."""

    batch: MetricLog = field(default_factory=lambda: MetricLog("step", "loss", "lr", "grad_norm", "images_per_second"))
    probe: MetricLog = field(default_factory=lambda: MetricLog(*PROBED, capacity=1 << 10))
    levels: list[ProbeRow] = field(default_factory=list)
    sights: Sights = field(default_factory=Sights)
    reel: Reel = field(default_factory=Reel)  # the previews, by training step
    tape: LatestValue[TapeStarted] = field(default_factory=LatestValue)
    download: LatestValue[tuple[int, int]] = field(default_factory=LatestValue)  # bytes done, of all
    flags: list[tuple[int, str]] = field(default_factory=list)  # changes of settings; the window's alone

    def deliver(self, event: Any) -> bool:
        """Put an event into its channel; False for a state change, which must go as a signal."""
        match event:
            case StepDone():
                self.batch.append(event.step, event.loss, event.learning_rate, event.grad_norm, event.images_per_second)
            case Probed():
                if event.items is not None and event.sight is not None:
                    self.sights.add(event.items, event.sight)  # first: who sees the column may ask for it
                self.add_probe(ProbeRow.of(event))
            case TapeStarted():
                if event.purpose != "compare":  # those tapes came with ComparisonStarted
                    self.tape.put(event)
            case TapeFinished() if event.purpose == "preview" and event.tape.complete:
                self.reel.add(event.tape)
                return False
            case TapeGrew():
                pass  # the window reads the growing tape on its own clock
            case Started():
                self.forget_after(event.resumed_at)  # what came after the last save is trained again
                return False
            case RolledBack():
                self.forget_after(event.step)
                return False
            case _:
                return False
        return True

    def forget_after(self, step: int) -> None:
        """Drop what lies behind ``step``: the run goes on from there."""
        self.reel.forget_after(step)
        self.batch.truncate_after(step)
        self.probe.truncate_after(step)
        self.levels[:] = [row for row in self.levels if row.step <= step]
        self.sights.forget_after(step)

    def add_probe(self, row: ProbeRow) -> None:
        self.probe.append(*(getattr(row, name) for name in PROBED))
        self.levels.append(row)

    def fill(
        self,
        metrics: NDArray[np.float64],
        probes: list[ProbeRow],
        sights: tuple[ProbeItems | None, list[ProbeSight]] = (None, []),
    ) -> None:
        """The curves of a run that was opened from disk."""
        columns = [METRICS.index(name) for name in ("step", "loss", "learning_rate", "grad_norm", "images_per_second")]
        self.batch.extend(metrics[:, columns])
        for row in probes:
            self.add_probe(row)
        items, seen = sights
        for sight in seen:
            assert items is not None
            self.sights.add(items, sight)


@dataclass(frozen=True)
class RunOpened:
    """A run from disk is ready to be shown."""

    run: Run
    channels: Channels  # with its curves
    saved: bool  # whether it has a checkpoint
    recipe: Recipe
    metrics: NDArray[np.float64]
    probes: list[ProbeRow]
    events: list[EventRow]
    tape: Tape | None
    compared: list[Tape]
    dataset: Dataset | None


@dataclass(frozen=True)
class DataOpened:
    """The data set of a recipe is in memory."""

    source: str
    dataset: Dataset
    parameters: int | None = None  # of the recipe's network on these data


@dataclass(frozen=True)
class CompilerLookedFor:
    """Why torch.compile cannot be used on this computer; "" if it can, or nobody has tried yet."""

    missing: str


@dataclass(frozen=True)
class DataMissing:
    """The data of a recipe, which do not come with the program, are not here; ``asked``: a training wants them."""

    source: str
    sentence: str
    asked: bool


@dataclass(frozen=True)
class DataTaken:
    """Files were chosen to learn from: ``source`` is what a recipe calls them; ``asked``: a training wants them."""

    source: str
    asked: bool


@dataclass(frozen=True)
class LoadingStopped:
    """A training was stopped while its data were still on their way."""


@dataclass(frozen=True)
class TrainJob:
    """Train a run from where it stands."""

    run: Run
    control: Control
    channels: Channels
    until: int | None = None

    def events(self) -> Iterator[Any]:
        from ddpm_studio.engine import run_training

        recipe = self.run.current_recipe()
        try:
            dataset = _open(recipe, self.control, self.channels)
        except Cancelled:
            yield LoadingStopped()
            return
        except DataError as error:
            if recipe.data.source not in DOWNLOADED:
                raise
            yield DataMissing(recipe.data.source, str(error), asked=True)
            return
        yield DataOpened(recipe.data.source, dataset)
        cap = self.channels.reel.cap
        from ddpm_studio.training.trainer import MemoryFullError

        try:
            yield from run_training(self.run, self.control, dataset=dataset, until=self.until, frames_cap=cap)
        except MemoryFullError as error:
            yield error.event


@dataclass(frozen=True)
class SampleJob:
    """Sample from the last checkpoint of a run, or compare samplers on it."""

    run: Run
    control: Control
    channels: Channels
    request: SampleRequest | Comparison

    def events(self) -> Iterator[Any]:
        from ddpm_studio.engine import run_comparison, run_sampling

        if isinstance(self.request, Comparison):
            yield from run_comparison(self.run, self.control, self.request)
        else:
            yield from run_sampling(self.run, self.control, self.request)


@dataclass(frozen=True)
class OpenRunJob:
    """Read a run from disk; needs no torch."""

    run: Run
    control: Control
    channels: Channels

    def events(self) -> Iterator[Any]:
        recipe = self.run.current_recipe()
        with self.run.record() as record:
            opened = (record.metrics(), record.probes(), record.events(), record.last_tape(), record.last_comparison())
            sights = record.sights()
        self.channels.fill(*opened[:2], sights)
        saved = bool(self.run.checkpoints())
        yield RunOpened(self.run, self.channels, saved, recipe, *opened, _dataset(recipe, self.control))


@dataclass(frozen=True)
class OpenDataJob:
    """Load a data set to look at it; and see how much of a ``parent`` a fork to this recipe would carry over."""

    recipe: Recipe
    control: Control
    channels: Channels
    parent: Run | None = None

    def events(self) -> Iterator[Any]:
        source = self.recipe.data.source
        try:
            dataset = _open(self.recipe, self.control)
        except Cancelled:
            return
        except DataError as error:
            if source not in DOWNLOADED:
                raise
            yield DataMissing(source, str(error), asked=False)
            return
        yield DataOpened(source, dataset)
        if self.control.stopping:
            return
        from ddpm_studio.training.build import count_parameters

        yield DataOpened(self.recipe.data.source, dataset, count_parameters(self.recipe, dataset))
        yield _compiler(self.recipe)
        if self.parent is None or not (checkpoints := self.parent.checkpoints()):
            return
        from ddpm_studio.training.carry import agreeing, network_shapes

        mine, theirs = network_shapes(self.recipe, dataset), checkpoints[-1].shapes()
        agreed = agreeing({f"network.{name}": shape for name, shape in mine.items()}, theirs)
        yield ForkForeseen(self.recipe, len(agreed), len(mine))


@dataclass(frozen=True)
class Exported:
    """A file, or a folder of frames, is complete."""

    path: Path


@dataclass(frozen=True)
class ExportJob:
    """Write what is wanted of a run on disk, or of the processes on the stage if there are any; needs no torch."""

    wanted: Wanted
    path: Path
    run: Run | None
    tapes: tuple[Tape, ...]
    control: Control
    channels: Channels
    progress: LatestValue[tuple[int, int]]  # done, of all
    data: NDArray[Any] | None = None  # (M, 2), behind points
    moments: Sequence[Sequence[Tape]] = ()  # of runs on the stage, as ``export_tapes``

    def events(self) -> Iterator[Any]:
        if self.tapes:
            go_on = partial(_go_on, self)
            export_tapes(self.tapes, self.wanted, self.path, go_on, data=self.data, moments=self.moments)
        elif self.run is not None:
            export_run(self.run, self.wanted, self.path, partial(_go_on, self), data=self.data)
        yield Exported(self.path)


@dataclass(frozen=True)
class CopyRunJob:
    """Copy a run's folder; needs no torch."""

    path: Path
    run: Run
    control: Control
    channels: Channels
    progress: LatestValue[tuple[int, int]]  # bytes done, of all

    def events(self) -> Iterator[Any]:
        self.run.copy(self.path, partial(_go_on, self))
        yield Exported(self.path)


def _go_on(job: ExportJob | CopyRunJob, done: int, of: int) -> bool:
    """Tell how far it is; whether it may go on."""
    job.progress.put((done, of))
    return not job.control.stopping


@dataclass(frozen=True)
class TakeDataJob:
    """See whether files that were chosen instead of MNIST are MNIST; then they are copied to where it is looked for."""

    path: Path
    asked: bool
    control: Control
    channels: Channels

    def events(self) -> Iterator[Any]:
        def go_on(done: int, of: int) -> bool:
            return not self.control.stopping

        try:
            kept = keep_mnist(self.path, mnist_folder(), go_on)
        except Cancelled:
            return
        yield DataTaken("mnist" if kept else str(self.path), self.asked)


Job = TrainJob | SampleJob | OpenRunJob | OpenDataJob | ExportJob | CopyRunJob | TakeDataJob


def _compiler(recipe: Recipe) -> CompilerLookedFor:
    """Nothing is tried here: that would take seconds to minutes of the processor."""
    from ddpm_studio.training.compiled import compiler_verdict
    from ddpm_studio.training.compute import DeviceError, pick_device

    try:
        return CompilerLookedFor(compiler_verdict(pick_device(recipe.compute.device)) or "")
    except DeviceError:
        return CompilerLookedFor("")


def _dataset(recipe: Recipe, control: Control) -> Dataset | None:
    """The recipe's data if they are still there: an old run can be watched without them."""
    try:
        return _open(recipe, control)
    except ValueError:
        return None


def _open(recipe: Recipe, control: Control, channels: Channels | None = None) -> Dataset:
    """The recipe's data; ends with ``Cancelled`` when ``control`` says stop.

    With ``channels`` they are downloaded if need be, and it is told how far that is.
    """
    data = recipe.data

    def go_on(done: int, of: int) -> bool:
        if channels is not None and of == DOWNLOADED.get(data.source):  # else it counts pictures
            channels.download.put((done, of))
        return not control.stopping

    return open_dataset(
        data.source,
        height=data.height,
        width=data.width,
        count=data.count,
        progress=go_on,
        download=channels is not None,
    )
