"""Points of a process as numbers, as ``data.points_file`` reads them."""

from __future__ import annotations

from pathlib import Path

from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.errors import ExportError
from ddpm_studio.export.grid import Show
from ddpm_studio.export.writers import write_array, write_file
from ddpm_studio.files import text


def write_points(tape: Tape, path: Path, kind: str = "csv", *, share: float = 1.0, show: Show = "x") -> None:
    """The points at ``share`` 0 … 1 of a process: two columns of text ("csv"), or float32 (N, 2) ("npy").

    Raises:
        ExportError: if the tape holds pictures, or the file cannot be written.
    """
    if tape.kind != "points":
        raise ExportError(f"{path.name} would hold points, and these are pictures: choose a picture or an array")
    points = frame_at(tape, share).view(show)
    if kind == "npy":
        write_array(iter([points]), 1, path, stack=False)
    else:
        write_file(path, text("x,y\n" + "".join(f"{x},{y}\n" for x, y in points)))
