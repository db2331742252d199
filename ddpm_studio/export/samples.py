"""Samples as a file: a grid, the reverse process as a film, an array, or a table of points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.errors import ExportError, Progress
from ddpm_studio.export.film import at_share, caption, process
from ddpm_studio.export.grid import Plane
from ddpm_studio.export.points import write_points
from ddpm_studio.export.writers import write_array, write_film, write_image

__all__ = ["ENDINGS", "SEVERAL", "ExportError", "SampleFile", "caption", "either"]

FILMS = {".gif": "gif", ".apng": "apng", ".webp": "webp", ".mp4": "mp4", ".webm": "webm"}
SEVERAL = (".png", *FILMS)  # can show several tapes side by side
ENDINGS = (*SEVERAL, ".npy", ".csv")


def either(endings: Sequence[str]) -> str:
    """In words: ".png, .gif or .mp4"."""
    return " or ".join(filter(None, [", ".join(endings[:-1]), endings[-1]]))


class SampleFile:
    """Where samples go; what is written follows from the file's ending."""

    def __init__(self, path: Path, *, trace: bool = False) -> None:
        self.path, self.trace = path, trace

    @property
    def every_state(self) -> bool:
        """Whether each state of the process is needed (a trace), not only a watchable selection."""
        return self.trace

    def write(self, *tapes: Tape, progress: Progress | None = None, plane: Plane | None = None) -> None:
        """Write a complete tape, or several of a kind side by side, all at the same share of their process.

        Points are drawn over the ``plane``.

        Raises:
            ExportError: if the file cannot be written, or its ending says nothing; an array or a table holds one
                tape, and a table points.
            Cancelled: if ``progress`` answers False; nothing is left behind.
        """
        ending = self.path.suffix.lower()
        if ending not in ENDINGS:
            raise ExportError(f"{self.path.name} must end in {either(ENDINGS)}")
        if len(tapes) > 1 and ending not in SEVERAL:
            raise ExportError(f"{self.path.name} would hold one process: save several as {either(SEVERAL)}")
        if ending == ".png":
            write_image(at_share(tapes, 1.0, plane=plane), self.path)
        elif ending == ".csv":
            write_points(tapes[0], self.path)
        elif ending == ".npy":
            # uint8 (N, H, W, C) or float32 (N, 2); a trace has a leading axis of steps + 1
            frames = tapes[0].frames
            array = np.stack([frame.x for frame in frames]) if self.trace else frames[-1].x
            write_array(iter([array]), 1, self.path, progress, stack=False)
        else:
            write_film(process(tapes, plane=plane), FILMS[ending], self.path, progress)
