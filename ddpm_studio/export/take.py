"""Take it with you: what of a run, or of a process on the screen, can be written, and as what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.clocks import Clocks, frame_near, picked
from ddpm_studio.export.errors import ExportError, Progress
from ddpm_studio.export.film import Film, Show, diagonal, learning, process
from ddpm_studio.export.loss import write_loss
from ddpm_studio.export.strip import both_strip, learning_strip, process_strip
from ddpm_studio.export.writers import write_array, write_film, write_image
from ddpm_studio.store import Run

Of = Literal["process", "learning", "both"]


class Format(NamedTuple):
    """``ending`` of its files ("" for a folder); ``clocks``: it shows the pictures, so that ``Wanted.of`` counts."""

    title: str
    ending: str
    clocks: bool = True


FORMATS = {
    "gif": Format("GIF", ".gif"),
    "apng": Format("APNG, every shade", ".apng"),
    "webp": Format("WebP, every shade", ".webp"),
    "mp4": Format("Video, MPEG-4", ".mp4"),
    "webm": Format("Video, VP9", ".webm"),
    "strip": Format("Filmstrip", ".png"),
    "picture": Format("Picture of the end", ".png"),
    "frames": Format("Folder of pictures", ""),
    "npy": Format("Array for NumPy", ".npy"),
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
SHOWS: dict[Show, str] = {"x": "x_t", "x0": "predicted x_0", "eps": "predicted ε"}


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes:
        format: one of FORMATS.
        of: the reverse process at one training step, what came of each training step, or both clocks (a film then
            walks along the diagonal, a filmstrip has a row for each training step, an array holds every cell).
        step: training step of the process; the nearest recorded one, the last if None.
        t: noise level that is shown of the learning; the picture if None.
        show: the state, or what the network predicts there.
        items: which pictures, from 0; all if empty.
    """

    format: str
    of: Of = "process"
    step: int | None = None
    t: int | None = None
    show: Show = "x"
    items: tuple[int, ...] = ()


def format_for(path: Path) -> str:
    """The format that a file's ending says (a .png is a filmstrip); "" if it says none."""
    return next((name for name, each in FORMATS.items() if each.ending and each.ending == path.suffix.lower()), "")


def default_name(run: Run, wanted: Wanted) -> str:
    """What a file is called if nobody says."""
    each = FORMATS[wanted.format]
    part = wanted.of if each.clocks else wanted.format.partition("-")[0].replace("html", "report")
    return f"{run.name}-{part}{each.ending}"


def export_run(run: Run, wanted: Wanted, path: Path, progress: Progress | None = None) -> None:
    """Write what is wanted of a run on disk.

    Raises:
        ExportError: if there is nothing to write, or it cannot be written. Cancelled: if ``progress`` answers False;
            nothing is left behind. RunError, RecordError: if the run is damaged.
    """
    if wanted.format == "html":
        from ddpm_studio.export.report import write_report

        write_report(run, path, progress)
        return
    title = run_title(run)
    if wanted.format.startswith("loss-"):
        write_loss(run, wanted.format.removeprefix("loss-"), path, title)
        return
    with run.record() as record:
        clocks = Clocks(record, wanted.items)
        if wanted.of == "process":
            _write_process([clocks.tape(clocks.nearest(wanted.step))], wanted, path, progress)
        elif wanted.format == "strip":
            chosen = bool(wanted.items)
            image = (
                learning_strip(clocks, wanted.show, wanted.t, chosen=chosen, progress=progress)
                if wanted.of == "learning"
                else both_strip(clocks, wanted.show, progress)
            )
            write_image(image, path)
        elif wanted.format == "npy":
            _write_cells(clocks, wanted, path, progress)
        else:
            film = learning(clocks, wanted.show, wanted.t) if wanted.of == "learning" else diagonal(clocks, wanted.show)
            _write_film(film, wanted.format, path, progress)


def _write_film(film: Film, kind: str, path: Path, progress: Progress | None) -> None:
    if kind == "picture":
        write_image(next(Film(film.pictures[-1:]).images()), path)
    else:
        write_film(film, kind, path, progress)


def export_tapes(tapes: Sequence[Tape], wanted: Wanted, path: Path, progress: Progress | None = None) -> None:
    """Write processes that are in memory, side by side; raises as ``export_run``."""
    if not FORMATS[wanted.format].clocks or wanted.of != "process":
        raise ExportError("only a run has a learning and a loss")
    _write_process([picked(tape, wanted.items) for tape in tapes], wanted, path, progress)


def _write_process(tapes: Sequence[Tape], wanted: Wanted, path: Path, progress: Progress | None) -> None:
    if not all(tape.frames for tape in tapes):
        raise ExportError("there is nothing to write yet: the process has no pictures")
    if wanted.format in ("strip", "npy") and len(tapes) > 1:
        raise ExportError("a filmstrip or an array holds one process: choose a film or a folder of pictures")
    if wanted.format == "strip":
        write_image(process_strip(tapes[0], wanted.show, chosen=bool(wanted.items)), path)
    elif wanted.format == "npy":
        frames = tapes[0].frames
        write_array((frame.view(wanted.show) for frame in frames), len(frames), path, progress)
    else:
        _write_film(process(tapes, wanted.show), wanted.format, path, progress)


def _write_cells(clocks: Clocks, wanted: Wanted, path: Path, progress: Progress | None) -> None:
    """(training step, N, …) of the learning, (training step, frame, N, …) of both."""
    tapes = (clocks.tape(row) for row in range(len(clocks)))
    if wanted.of == "learning":
        arrays = (frame_near(tape, wanted.t).view(wanted.show) for tape in tapes)
    else:
        arrays = (np.stack([frame.view(wanted.show) for frame in tape.frames]) for tape in tapes)
    write_array(arrays, len(clocks), path, progress)


def run_title(run: Run) -> str:
    """The recipe's title and the folder's name, which tells runs of one recipe apart."""
    return f"{run.recipe().title} ({run.name})"
