"""One page that drives a generator and records what it yields.

The window's worker and the command line both go through it, so nothing is recorded, resumed or stopped in
two ways. Whoever calls gets every event after it has been recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Any

from ddpm_studio.data import Dataset, open_dataset
from ddpm_studio.diffusion.reel import CAP
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.store import (
    CheckpointError,
    ProbeRow,
    Record,
    Run,
    RunError,
    forget_checkpoints_after,
    save_checkpoint,
)
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.carry import carry_over
from ddpm_studio.training.compute import pick_device
from ddpm_studio.training.control import Comparison, Control, SampleRequest
from ddpm_studio.training.events import (
    Carried,
    CheckpointDue,
    Event,
    Finished,
    Probed,
    RolledBack,
    SaveFailed,
    SettingChanged,
    Started,
    StepDone,
    StepSkipped,
    TapeFinished,
    TapeStarted,
    ThreadsChanged,
    Waiting,
)
from ddpm_studio.training.sampling import compare, sample
from ddpm_studio.training.trainer import train


def dataset_of(recipe: Recipe, *, download: bool = False) -> Dataset:
    """The recipe's data in memory; ``download`` lets MNIST be fetched if it is not there."""
    data = recipe.data
    return open_dataset(data.source, height=data.height, width=data.width, count=data.count, download=download)


def open_session(
    run: Run, *, step: int | None = None, device: str | None = None, dataset: Dataset | None = None
) -> Session:
    """Build a run's session from its last checkpoint (or the one at ``step``), or at step 0 if it has none.

    ``device`` overrides the recipe's. Training needs the recipe's ``dataset``; to sample, the checkpoint knows enough
    of it (an older one does not, so then the data are opened).

    Raises:
        RunError: if the wished checkpoint is not there. CheckpointError: if it is damaged.
    """
    found = [c for c in run.checkpoints() if step is None or c.step == step]
    if step is not None and not found:
        there = ", ".join(str(c.step) for c in run.checkpoints()) or "none"
        raise RunError(f"{run.path} has no checkpoint at step {step}; there are: {there}")
    if not found:
        recipe, numbers = run.recipe(), None
    else:
        numbers, recipe = found[-1].about()
    if device is not None:
        recipe = recipe.with_settings({"compute.device": device})
    data = dataset or (found[-1].data() if found else None) or dataset_of(recipe)
    session = build(recipe, data, precision=_precision_to_keep(recipe, numbers))
    if numbers is not None:
        tensors = found[-1].tensors()
        try:
            session.load_state(tensors, numbers)
        except ValueError as error:
            raise CheckpointError(f"{found[-1].tensors_file} cannot be used: {error}") from None
    return session


def _precision_to_keep(recipe: Recipe, numbers: dict[str, Any] | None) -> str | None:
    """A resumed run keeps its precision on the kind of device where it was chosen."""
    if numbers is None or numbers.get("device") != pick_device(recipe.compute.device).type:
        return None
    return str(numbers["precision"])


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
    session = open_session(run, device=device, dataset=dataset or dataset_of(run.current_recipe(), download=True))
    carried = _carry_over(run, session)
    longer: Event | None = None
    if until is not None and until > session.recipe.training.steps:
        longer = SettingChanged(session.step, "training.steps", session.recipe.training.steps, until)
        session.recipe = session.recipe.with_settings({"training.steps": until})
    with run.locked(), run.record(write=True, frames_cap=frames_cap) as record:
        record.forget_after(session.step)  # what came after the last save is trained again
        if carried is not None:
            _keep(run, record, session, carried)
            yield carried
        if longer is not None:
            _keep(run, record, session, longer)
            yield longer
        for event in train(session, control, until=until, seconds=seconds):
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
    request: SampleRequest | Comparison,
    *,
    step: int | None = None,
    device: str | None = None,
    keep: bool = True,
    every_state: bool = False,
) -> Iterator[Event]:
    """Sample from a saved run (its last checkpoint, or the one at ``step``), or compare samplers on it.

    ``keep`` records the tape in the run; ``every_state`` leaves no state of a long process out of it.

    Raises:
        RunError: if the run has no checkpoint yet.
    """
    yield Waiting("Loading the network")
    if not run.checkpoints():
        raise RunError(f"{run.path} has no checkpoint yet, so there is nothing to sample from: train it first")
    session = open_session(run, step=step, device=device)
    if isinstance(request, Comparison):
        events = compare(session, control, request, every_state=every_state)
    else:
        settings = request.sampler or session.recipe.sampler
        events = sample(
            session, control, settings, request.count, request.seed, request.weights, "sample", every_state=every_state
        )
    for event in events:
        if keep and isinstance(event, TapeFinished):
            with run.record(write=True) as record:
                _keep(run, record, session, event)
        yield event


def run_grid(
    run: Run, control: Control, cells: Sequence[Cell], *, count: int | None = None, device: str | None = None
) -> Iterator[Event]:
    """Sample every cell of a labelled grid, checkpoint by checkpoint, so that each is loaded once. Nothing is kept.

    A cell's tape has its label. Item i of every cell with the same seed starts from the same noise. Without ``count``
    a cell has 4 pictures or 512 points. When ``control`` says stop, it ends with the tape in hand, incomplete.

    Raises:
        RunError: if the run lacks a checkpoint that a cell asks for. CheckpointError: if it is damaged.
    """
    dataset: Dataset | None = None

    def trained(cell: Cell) -> int:
        return cell.checkpoint

    for step, those in groupby(sorted(cells, key=trained), trained):
        yield Waiting(f"Loading training step {step:,}")
        session = open_session(run, step=step, device=device, dataset=dataset)
        dataset = session.dataset
        many = count or (512 if session.data.kind == "points" else 4)
        for cell in those:
            for event in sample(session, control, cell.settings, many, cell.seed, cell.weights, "sample"):
                if isinstance(event, TapeStarted):
                    event.tape.label = cell.label
                yield event
            if control.stopping:
                return


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
        case ThreadsChanged():
            record.add_event(event.step, "threads_changed", {"threads": event.threads})
        case Started():
            record.add_event(
                event.resumed_at,
                "started",
                {"plan": event.plan, "why": session.plan.reason, "until": event.steps},
            )
        case Finished():
            record.add_event(event.step, "stopped" if event.stopped else "finished", {"seconds": event.seconds})
