"""Several runs on disk side by side, by what they have recorded: as the window watches them. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ddpm_studio.diffusion.reel import CAP, Reel
from ddpm_studio.export.clocks import Say, nearest_step, silent
from ddpm_studio.export.errors import ExportError, Progress, advance
from ddpm_studio.export.take import Wanted, export_tapes
from ddpm_studio.store import Run
from ddpm_studio.store.together import Together, WatchedRun, read_rows


def export_runs(
    runs: Sequence[Run],
    wanted: Wanted,
    path: Path,
    progress: Progress | None = None,
    *,
    data: NDArray[Any] | None = None,
    say: Say = silent,
) -> None:
    """Write what is wanted of several runs, each under its name, points over the ``data`` (M, 2) that all learn.

    Training steps are counted as in the window, those of a fork from its first parent's beginning on. ``say`` as in
    ``export_run``.

    Raises:
        ExportError: if a run has recorded nothing, there is no such step, or some learn points and some pictures; and
            as ``export_tapes``.
        Cancelled: if ``progress`` answers False. RunError, RecordError: if a run is damaged.
    """
    together = _read(runs, progress)
    moments, steps = together.moments(), [row.training_step or 0 for row in together.rows]
    shown = moments[nearest_step(steps, wanted.step, max(steps[-1], *map(_learnt, runs)), say)]
    export_tapes([tape for tape in shown if tape.frames], wanted, path, progress, data=data, moments=moments)


def _learnt(run: Run) -> int:
    """The last training step of a run, counted in the same way."""
    parent = run.parent()
    with run.record() as record:
        return (parent.before if parent else 0) + int(record.last_metrics().get("step", 0))


def _read(runs: Sequence[Run], progress: Progress | None) -> Together:
    own = [run.name for run in runs]
    names = own if len(set(own)) == len(own) else [str(run.path) for run in runs]
    watched = []
    for done, (run, name) in enumerate(zip(runs, names, strict=True)):
        parent, reel = run.parent(), Reel(CAP // len(runs))
        read_rows(run, reel, partial(progress, done, len(runs)) if progress else lambda: True)
        advance(progress, done, len(runs))
        if not reel.rows:
            raise ExportError(f"{name} has recorded no previews yet: train it on, or choose another run")
        watched.append(WatchedRun(name, run.recipe().learns, before=parent.before if parent else 0, reel=reel))
    of = {run.kind: run.name for run in watched}
    if len(of) > 1:
        raise ExportError(f"{of['points']} learns points and {of['pictures']} pictures: choose runs of one kind")
    return Together(watched)
