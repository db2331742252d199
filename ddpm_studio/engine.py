"""One page that drives a generator and records what it yields.

The window's worker and the command line both go through it, so nothing is recorded, resumed or stopped in
two ways. Whoever calls gets every event after it has been recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ddpm_studio.data import DataError, DataFacts, Dataset, open_dataset
from ddpm_studio.diffusion.reel import CAP
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.recipes.sections import Data
from ddpm_studio.store import (
    Checkpoint,
    CheckpointError,
    ProbeRow,
    Record,
    RecordError,
    Run,
    RunError,
    forget_checkpoints_after,
    save_checkpoint,
)
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.carry import carry_over
from ddpm_studio.training.compute import DeviceError, pick_device
from ddpm_studio.training.control import Comparison, Control, SampleRequest
from ddpm_studio.training.events import (
    Carried,
    CheckpointDue,
    Event,
    Finished,
    Probed,
    Quicker,
    RolledBack,
    SaveFailed,
    SettingChanged,
    Started,
    StepDone,
    StepSkipped,
    TapeFinished,
    ThreadsChanged,
    Waiting,
)
from ddpm_studio.training.sampling import Origin, SourceError, Sources, compare, sample
from ddpm_studio.training.trainer import built_in_memory, train


def dataset_of(recipe: Recipe, *, download: bool = False) -> Dataset:
    """The recipe's data in memory; ``download`` lets MNIST be fetched if it is not there."""
    data = recipe.data
    return open_dataset(data.source, height=data.height, width=data.width, count=data.count, download=download)


def open_session(
    run: Run,
    *,
    step: int | None = None,
    device: str | None = None,
    dataset: Dataset | None = None,
    threads: int | None = None,
) -> Session:
    """Build a run's session from its last checkpoint (or the one at ``step``), or at step 0 if it has none.

    ``device`` and ``threads`` override the recipe's. Training needs the recipe's ``dataset``; to sample, the checkpoint
    knows enough of it (an older one does not, so then the data are opened).

    Raises:
        RunError: if the wished checkpoint is not there. CheckpointError: if it is damaged.
    """
    found = None if step is None and not run.checkpoints() else _checkpoint_at(run, step)
    numbers, recipe = found.about() if found else (None, run.recipe())
    wishes = {"compute.device": device, "compute.threads": threads}
    recipe = recipe.with_settings({setting: wish for setting, wish in wishes.items() if wish is not None})
    data = dataset or (found.data() if found else None) or dataset_of(recipe)
    session = build(recipe, data, **_to_keep(recipe, numbers))
    if found is not None and numbers is not None:
        tensors = found.tensors()
        try:
            session.load_state(tensors, numbers)
        except ValueError as error:
            raise CheckpointError(f"{found.tensors_file} cannot be used: {error}") from None
    return session


def _to_keep(recipe: Recipe, numbers: dict[str, Any] | None) -> dict[str, Any]:
    """How a resumed run computes, on the kind of device where that was chosen; older checkpoints say less of it."""
    if numbers is None or numbers.get("device") != pick_device(recipe.compute.device).type:
        return {}
    return {name: numbers[name] for name in ("precision", "masters") if name in numbers}


def fork(run: Run, step: int | None, recipe: Recipe, path: Path | None = None) -> Run:
    """A new run of ``recipe`` that will begin with what ``run`` had learnt at its last checkpoint, or at ``step``.

    What fits is carried over when its training begins; its own steps count from 0, and its record says how many
    were learnt before.

    Raises:
        RunError: if there is no such checkpoint, or the folder cannot be made.
    """
    return Run.create(recipe, path, run.fork_point(step))


def _carry_over(run: Run, session: Session) -> Carried | None:
    """Give a fork that has not begun yet what its parent had learnt; saved at once, as the parent may go."""
    parent = run.parent()
    if parent is None or run.checkpoints():
        return None
    found = [c for c in Run(parent.path).checkpoints() if c.step == parent.step]
    if not found:
        raise RunError(f"{parent.path} has no checkpoint at step {parent.step} any more, which this run is forked from")
    numbers, recipe = found[0].about()
    carried = carry_over(session, recipe, found[0].tensors(), numbers)
    save_checkpoint(run.checkpoint_folder, *session.state(), session.recipe, session.data)
    return carried


def run_training(
    run: Run,
    control: Control,
    *,
    dataset: Dataset | None = None,
    device: str | None = None,
    until: int | None = None,
    seconds: float | None = None,
    frames_cap: int = CAP,
) -> Iterator[Event]:
    """Train a run from where it stands and record everything. The caller gets the events.

    ``until`` beyond the recipe's last step makes that the last step, so that a falling learning rate falls
    later. ``frames_cap``: bytes of previews that the record keeps. Closing this generator (or an error) leaves the last
    checkpoint and the whole record on disk.
    """
    yield Waiting("Loading data and building the network")
    with run.locked():  # before anything is read that another program may be writing
        with built_in_memory():
            data = dataset or dataset_of(run.current_recipe(), download=True)
            session = open_session(run, device=device, dataset=data)
        carried = _carry_over(run, session)
        longer: Event | None = None
        if until is not None and until > session.recipe.training.steps:
            longer = SettingChanged(session.step, "training.steps", session.recipe.training.steps, until)
            session.recipe = session.recipe.with_settings({"training.steps": until})
        with run.record(write=True, frames_cap=frames_cap) as record:
            record.forget_after(session.step)  # what came after the last save is trained again
            if carried is not None:
                _keep(run, record, session, carried)
                yield carried
            if longer is not None:
                _keep(run, record, session, longer)
                yield longer
            sources = SavedSources(run, session, device=device)
            for event in train(session, control, until=until, seconds=seconds, sources=sources):
                try:
                    _keep(run, record, session, event)
                except CheckpointError as error:
                    if not isinstance(event, CheckpointDue) or event.reason not in ("autosave", "asked"):
                        raise
                    event = SaveFailed(event.step, str(error))
                yield event


def run_sampling(
    run: Run,
    control: Control,
    request: SampleRequest,
    *,
    step: int | None = None,
    device: str | None = None,
    keep: bool = True,
    every_state: bool = False,
) -> Iterator[Event]:
    """Sample from a saved run: its last checkpoint, or the one at ``step``.

    ``keep`` records the tape in the run; ``every_state`` leaves no state of a long process out of it.

    Raises:
        RunError: if the run has no checkpoint yet.
    """
    yield Waiting("Loading the network")
    _require_checkpoint(run)
    session = open_session(run, step=step, device=device)
    settings = request.sampler or session.recipe.sampler
    yield from _recorded(
        sample(
            session, control, settings, request.count, request.seed, request.weights, "sample", every_state=every_state
        ),
        run if keep else None,
    )


def run_comparison(
    run: Run,
    control: Control,
    comparison: Comparison,
    *,
    device: str | None = None,
    keep: bool = True,
) -> Iterator[Event]:
    """Sample every cell of a comparison from ``run``'s checkpoints and those of the other runs that it names.

    Cells whose checkpoint is None take their run's last one. ``keep``: as for ``run_sampling``. When ``control`` says
    stop, it ends with the tape in hand, incomplete.

    Raises:
        SourceError: before anything is sampled, if a run or a checkpoint is not there, or their items have different
            shapes; later, if a checkpoint is damaged.
    """
    yield Waiting("Loading the network")
    yield from _recorded(compare(SavedSources(run, device=device), control, comparison), run if keep else None)


class SavedSources(Sources):
    """Sessions of saved checkpoints, of ``run`` and of others, one at a time.

    While ``run`` is trained, ``session`` is its own, which serves the cells of this moment.
    """

    def __init__(self, run: Run, session: Session | None = None, *, device: str | None = None) -> None:
        super().__init__(session)
        self._run, self._device = run, device
        self._datasets: dict[Data, Dataset] = {}
        self._opened: tuple[Checkpoint, Session] | None = None

    def origin(self, cell: Cell) -> Origin:
        with _as_source_error():
            run = self._run_of(cell)
            if self.session is not None and self._is_in_hand(run, cell):
                return Origin.of(self.session)
            checkpoint = self._checkpoint(run, cell)
            data = self._data(checkpoint)
            return Origin(checkpoint.about()[1], data.kind, data.shape, checkpoint.step)

    def open(self, cell: Cell) -> Session:
        with _as_source_error():
            run = self._run_of(cell)
            if self.session is not None and self._is_in_hand(run, cell):
                return self.session
            checkpoint = self._checkpoint(run, cell)
            if self._opened is None or self._opened[0] != checkpoint:
                # All compute with as many threads: a training beside this goes on with its own, and nothing is timed.
                first = self.session is None and self._opened is None
                threads = None if first else torch.get_num_threads()
                self._opened = None  # before the next one: two large networks may be too many
                data = self._data(checkpoint)
                dataset = data if isinstance(data, Dataset) else None
                session = open_session(run, step=checkpoint.step, device=self._device, dataset=dataset, threads=threads)
                self._opened = checkpoint, session
            return self._opened[1]

    def forget(self) -> None:
        self._opened = None
        self._datasets.clear()

    def _run_of(self, cell: Cell) -> Run:
        return self._run if cell.run is None else Run.open(cell.run)

    def _is_in_hand(self, run: Run, cell: Cell) -> bool:
        return run == self._run and cell.checkpoint is None

    def _checkpoint(self, run: Run, cell: Cell) -> Checkpoint:
        _require_checkpoint(run)
        return _checkpoint_at(run, cell.checkpoint)

    def _data(self, checkpoint: Checkpoint) -> Dataset | DataFacts:
        """What a checkpoint says of its data, or, as an older one says nothing, the data; these are opened once."""
        facts = checkpoint.data()
        if facts is not None:
            return facts
        recipe = checkpoint.about()[1]
        if recipe.data not in self._datasets:
            self._datasets[recipe.data] = dataset_of(recipe)
        return self._datasets[recipe.data]


@contextmanager
def _as_source_error() -> Iterator[None]:
    try:
        yield
    except (RunError, RecordError, CheckpointError, RecipeError, DataError, DeviceError, OSError) as error:
        raise SourceError(str(error)) from error


def _recorded(events: Iterator[Event], run: Run | None) -> Iterator[Event]:
    """Keep the tapes that come complete in the record of ``run``, if there is one."""
    for event in events:
        if run is not None and isinstance(event, TapeFinished) and event.tape.complete:
            with run.record(write=True) as record:
                record.add_tape(event.tape, event.purpose)
        yield event


def _require_checkpoint(run: Run) -> None:
    if not run.checkpoints():
        raise RunError(f"{run.path} has no checkpoint yet, so there is nothing to sample from: train it first")


def _checkpoint_at(run: Run, step: int | None) -> Checkpoint:
    """The checkpoint at ``step``, or the last; there must be one.

    Raises:
        RunError: if there is none at that step.
    """
    there = run.checkpoints()
    found = [checkpoint for checkpoint in there if step in (None, checkpoint.step)]
    if not found:
        steps = ", ".join(str(checkpoint.step) for checkpoint in there) or "none"
        raise RunError(f"{run.path} has no checkpoint at step {step}; there are: {steps}")
    return found[-1]


def _keep(run: Run, record: Record, session: Session, event: Event) -> None:
    """Record one event."""
    match event:
        case StepDone():
            record.add_metrics(
                event.step,
                event.images_seen,
                event.loss,
                event.learning_rate,
                event.grad_norm,
                event.images_per_second,
            )
        case Probed():
            record.add_probe(ProbeRow.of(event), event.items, event.sight)
        case TapeFinished() if event.tape.complete:
            record.add_tape(event.tape, event.purpose)
        case CheckpointDue():
            record.flush()
            save_checkpoint(run.checkpoint_folder, *session.state(), session.recipe, session.data)
        case RolledBack():
            record.forget_after(event.step)
            forget_checkpoints_after(run.checkpoint_folder, event.step)
            record.add_event(
                event.from_step,
                "rolled_back",
                {"to": event.step, "rate_scale": event.rate_scale, "reason": event.reason},
            )
        case StepSkipped():
            record.add_event(event.step, "step_skipped", {"reason": event.reason, "total": event.total})
        case SettingChanged():
            record.add_event(
                event.step, "setting_changed", {"setting": event.setting, "old": event.old, "new": event.new}
            )
        case Carried():
            record.add_event(0, "carried", asdict(event))
        case Quicker():
            record.add_event(event.step, "computing", {"what": event.reason, "used": event.good, "plan": event.plan})
        case ThreadsChanged():
            record.add_event(event.step, "threads_changed", {"threads": event.threads})
        case Started():
            record.add_event(
                event.resumed_at,
                "started",
                {
                    "plan": event.plan,
                    "why": session.plan.reason,
                    "until": event.steps,
                    "frames_cap": record.frames_cap,
                },
            )
        case Finished():
            record.add_event(event.step, "stopped" if event.stopped else "finished", {"seconds": event.seconds})
