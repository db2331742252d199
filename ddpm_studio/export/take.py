"""Take it with you: what of a run, or of a process on the screen, can be written, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.clocks import Clocks, Columns, Say, frame_near, picked, share_of, silent
from ddpm_studio.export.compared import compared_strip
from ddpm_studio.export.errors import ExportError, Progress
from ddpm_studio.export.film import Film, Moments, at_share, diagonal, learning, process, runs_diagonal, runs_learning
from ddpm_studio.export.grid import SHOWN, Plane, Show
from ddpm_studio.export.loss import write_loss
from ddpm_studio.export.points import write_points
from ddpm_studio.export.strip import both_strip, learning_strip, process_strip
from ddpm_studio.export.writers import write_array, write_film, write_image
from ddpm_studio.store import Run

Of = Literal["process", "learning", "both"]


class Format(NamedTuple):
    """``ending`` of its files ("" for a folder); ``clocks``: it shows the pictures, so that ``Wanted.of`` counts.

    ``one``: it holds one process, not several side by side; ``points``: it holds points, at one moment of one process.
    """

    title: str
    ending: str
    clocks: bool = True
    one: bool = False
    points: bool = False


FORMATS = {
    "gif": Format("GIF", ".gif"),
    "apng": Format("APNG, every shade", ".apng"),
    "webp": Format("WebP, every shade", ".webp"),
    "mp4": Format("Video, MPEG-4", ".mp4"),
    "webm": Format("Video, VP9", ".webm"),
    "strip": Format("Filmstrip", ".png"),
    "picture": Format("Picture", ".png"),
    "frames": Format("Folder of pictures", ""),
    "npy": Format("Array for NumPy", ".npy", one=True),
    "points-csv": Format("Points as a table", ".csv", one=True, points=True),
    "points-npy": Format("Points as an array", ".npy", one=True, points=True),
    "loss-csv": Format("Loss as a table", ".csv", False),
    "loss-png": Format("Loss as a picture", ".png", False),
    "loss-svg": Format("Loss as a drawing", ".svg", False),
    "html": Format("HTML with both clocks", ".html", False),
}

OF: dict[Of, str] = {
    "process": "The reverse process",
    "learning": "The learning",
    "both": "Both clocks",
}
# What exactly is written, where a format's title leaves that open; "several" processes are side by side.
TELLS: dict[tuple[str, str], str] = {
    ("picture", "process"): "All pictures or points at one moment of the process.",
    ("picture", "several"): "The labelled grid at one moment of the processes.",
    ("picture", "learning"): "What came of the same noise at the last training step.",
    ("picture", "both"): "What came of the same noise at the last training step.",
    ("strip", "process"): "A row for each of the first pictures, from x_T to x_0.",
    ("strip", "several"): "A row for each cell of the grid, from x_T to x_0: its first picture.",
    ("strip", "learning"): "A row for each of the first pictures, from the first training step to the last.",
    ("strip", "both"): "A row for each training step, from x_T to x_0: the first picture.",
    ("frames", "process"): "A PNG for each moment of the process, 0000.png at x_T.",
    ("frames", "several"): "A PNG of the whole labelled grid for each moment, 0000.png at x_T.",
    ("frames", "learning"): "A PNG for each training step.",
    ("frames", "both"): "A PNG for each step from x_T at the first training step to x_0 at the last.",
    ("picture", "stage-learning"): "The labelled grid at the last training step.",
    ("picture", "stage-both"): "The labelled grid at the last training step.",
    ("frames", "stage-learning"): "A PNG of the whole labelled grid for each training step.",
    ("frames", "stage-both"): "A PNG for each step from x_T at the first training step to x_0 at the last.",
    ("npy", "process"): "One array: moment × picture or point × its values.",
    ("npy", "learning"): "One array: training step × picture or point × its values.",
    ("npy", "both"): "One array: training step × moment × picture or point × its values.",
    ("points-csv", "process"): "A line for each point, x and y: the program can learn 20 or more.",
    ("points-npy", "process"): "float32, point × 2: the program can learn 20 or more.",
}
SHOWS: dict[Show, str] = SHOWN | {"x": "x_t"}  # where it is a choice, the state has a name, too


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes:
        format: one of FORMATS.
        of: the reverse process at one training step, what came of each training step, or both clocks (a film then
            walks along the diagonal, a filmstrip has a row for each training step, an array holds every cell).
        step: training step of the process; the nearest recorded one, the last if None.
        t: noise level of the learning, or of a picture or points of a process (instead of ``share``); the nearest
            recorded one, the end if None.
        show: the state, or what the network predicts there.
        items: which pictures, from 0; all if empty.
        share: 0 (x_T) … 1 (x_0), the moment of a process that a picture or points are of.
        behind: draw the data behind points, where they are at hand.
    """

    format: str
    of: Of = "process"
    step: int | None = None
    t: int | None = None
    show: Show = "x"
    items: tuple[int, ...] = ()
    share: float = 1.0
    behind: bool = True


def format_for(path: Path) -> str:
    """The format that a file's ending says (a .png is a filmstrip, a .csv the loss); "" if it says none."""
    whole = [name for name, each in FORMATS.items() if not each.points and each.ending == path.suffix.lower() != ""]
    return whole[0] if whole else ""


def fits(path: Path, kind: str) -> bool:
    """Whether a name can be one of a file of this format: it ends like it, or says nothing (frames are a folder)."""
    ending, own = path.suffix.lower(), FORMATS[kind].ending
    return ending in ("", own) if own else ending not in {each.ending for each in FORMATS.values()} - {""}


def default_name(name: str, wanted: Wanted, of: str | None = None) -> str:
    """What a file is called if nobody says: never as one of another format from the same place.

    ``name``: of what it is taken from; ``of``: what of it, by default what is wanted.
    """
    each = FORMATS[wanted.format]
    if each.points:
        parts = [name, "points"]
    elif each.clocks:
        alike = [other for other in FORMATS.values() if other.clocks and not other.points]
        shared = sum(other.ending == each.ending for other in alike) > 1
        parts = [name, wanted.of if of is None else of, wanted.format if shared else ""]
    else:
        parts = [name, wanted.format.partition("-")[0].replace("html", "report")]
    return "-".join(filter(None, parts)) + each.ending


def export_run(
    run: Run,
    wanted: Wanted,
    path: Path,
    progress: Progress | None = None,
    *,
    data: NDArray[Any] | None = None,
    say: Say = silent,
) -> None:
    """Write what is wanted of a run on disk, points over the ``data`` (M, 2) if they are given.

    ``say`` is told if the nearest training step or level is taken for one that is not recorded.

    Raises:
        ExportError: if there is nothing to write, no such step, level or item, or it cannot be written. Cancelled: if
            ``progress`` answers False; nothing is left behind. RunError, RecordError: if the run is damaged.
    """
    if wanted.format == "html":
        from ddpm_studio.export.report import write_report

        write_report(run, path, progress, _plane(wanted, data))
        return
    if FORMATS[wanted.format].points and wanted.of != "process":
        raise ExportError("points are written of one process: choose it by its training step")
    title = run_title(run)
    if wanted.format.startswith("loss-"):
        write_loss(run, wanted.format.removeprefix("loss-"), path, title)
        return
    with run.record() as record:
        clocks, plane = Clocks(record, wanted.items), _plane(wanted, data)
        if wanted.of == "process":
            tape = clocks.tape(clocks.nearest(wanted.step, say))
            share = share_of(tape, wanted.t, say)
            moment = wanted if share is None else replace(wanted, share=share)
            _write_process([tape], moment, path, progress, plane)
            return
        share_of(clocks.tape(-1), wanted.t, say)
        if wanted.format == "strip":
            chosen = bool(wanted.items)
            image = (
                learning_strip(clocks, wanted.show, wanted.t, chosen=chosen, progress=progress, plane=plane)
                if wanted.of == "learning"
                else both_strip(clocks, wanted.show, progress, plane)
            )
            write_image(image, path)
        elif wanted.format == "npy":
            _write_cells(clocks, wanted, path, progress)
        else:
            film = (
                learning(clocks, wanted.show, wanted.t, plane)
                if wanted.of == "learning"
                else diagonal(clocks, wanted.show, plane)
            )
            _write_film(film, wanted.format, path, progress)


def _write_film(film: Film, kind: str, path: Path, progress: Progress | None) -> None:
    if kind == "picture":
        write_image(film.draw(len(film) - 1), path)
    else:
        write_film(film, kind, path, progress)


def export_tapes(
    tapes: Sequence[Tape],
    wanted: Wanted,
    path: Path,
    progress: Progress | None = None,
    *,
    data: NDArray[Any] | None = None,
    moments: Moments = (),
) -> None:
    """Write processes that are in memory, side by side, points over the ``data``; raises as ``export_run``.

    ``moments``: of runs side by side the processes of each training step, for films of their learning; ``share`` is
    where in the process that is shown.
    """
    each = FORMATS[wanted.format]
    if wanted.of != "process" and moments and each.clocks and not each.one and wanted.format != "strip":
        rows = [[picked(tape, wanted.items if tape.frames else ()) for tape in row] for row in moments]
        plane = _plane(wanted, data)
        film = (
            runs_learning(rows, wanted.show, wanted.share, plane)
            if wanted.of == "learning"
            else runs_diagonal(rows, wanted.show, plane)
        )
        _write_film(film, wanted.format, path, progress)
        return
    if not each.clocks or wanted.of != "process":
        raise ExportError("only a run has a learning and a loss")
    _write_process([picked(tape, wanted.items) for tape in tapes], wanted, path, progress, _plane(wanted, data))


def _plane(wanted: Wanted, data: NDArray[Any] | None) -> Plane:
    """What lies below points; noise has nothing to do with the data."""
    return Plane(data if wanted.behind and wanted.show != "eps" else None)


def _write_process(tapes: Sequence[Tape], wanted: Wanted, path: Path, progress: Progress | None, plane: Plane) -> None:
    if not all(tape.frames for tape in tapes):
        raise ExportError("there is nothing to write yet: the process has no pictures")
    kind, several = wanted.format, len(tapes) > 1
    if FORMATS[kind].one and several:
        raise ExportError("an array or a table holds one process: choose a film, a filmstrip or a folder of pictures")
    if FORMATS[kind].points:
        write_points(tapes[0], path, kind.removeprefix("points-"), share=wanted.share, show=wanted.show)
    elif kind == "strip":
        chosen = bool(wanted.items)
        made = compared_strip(tapes, wanted.show, chosen=chosen, plane=plane) if several else None
        write_image(made or process_strip(tapes[0], wanted.show, chosen=chosen, plane=plane), path)
    elif kind == "picture":
        write_image(at_share(tapes, wanted.share, wanted.show, plane), path)
    elif kind == "npy":
        frames = tapes[0].frames
        write_array((frame.view(wanted.show) for frame in frames), len(frames), path, progress)
    else:
        write_film(process(tapes, wanted.show, plane), kind, path, progress)


def _write_cells(clocks: Clocks, wanted: Wanted, path: Path, progress: Progress | None) -> None:
    """(training step, N, …) of the learning, (training step, frame, N, …) of both."""
    tapes = (clocks.tape(row) for row in range(len(clocks)))
    if wanted.of == "learning":
        arrays = (frame_near(tape, wanted.t).view(wanted.show) for tape in tapes)
    else:
        columns = Columns(clocks, len(clocks.tape(-1).frames))
        arrays = (np.stack([frame.view(wanted.show) for frame in columns.frames(tape)]) for tape in tapes)
    write_array(arrays, len(clocks), path, progress)


def run_title(run: Run) -> str:
    """The recipe's title and the folder's name, which tells runs of one recipe apart."""
    return f"{run.recipe().title} ({run.name})"
