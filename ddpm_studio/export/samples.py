"""Samples as a file: a grid, the reverse process as GIF or video, or an array."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.grid import frame_image

ENDINGS = (".png", ".gif", ".mp4", ".webm", ".npy")
SECONDS = 4.0  # of a film, with the last frame held for one second more
CODECS = {".webm": "libvpx-vp9", ".mp4": "mpeg4"}  # codecs that may be shipped: no x264


class ExportError(RuntimeError):
    """A file cannot be written; one sentence."""


class SampleFile:
    """Where samples go; what is written follows from the file's ending."""

    def __init__(self, path: Path, *, trace: bool = False) -> None:
        self.path, self.trace = path, trace

    @property
    def every_state(self) -> bool:
        """Whether each state of the process is needed (a trace), not only a watchable selection."""
        return self.trace

    def write(self, tape: Tape) -> None:
        """Write a complete tape.

        Raises:
            ExportError: if the file cannot be written, or its ending says nothing.
        """
        if self.path.suffix.lower() not in ENDINGS:
            raise ExportError(f"{self.path.name} must end in one of {', '.join(ENDINGS)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            match self.path.suffix.lower():
                case ".png":
                    last = tape.frames[-1]
                    frame_image(tape, last, caption=caption(tape, last.t)).save(self.path)
                case ".npy":
                    # uint8 (N, H, W, C) or float32 (N, 2); a trace has a leading axis of steps + 1
                    with self.path.open("wb") as file:  # given a name, numpy would append .npy to .NPY
                        np.save(file, np.stack([f.x for f in tape.frames]) if self.trace else tape.frames[-1].x)
                case ".gif":
                    self._write_gif(tape)
                case ending:
                    self._write_video(tape, CODECS[ending])
        except OSError as error:
            raise ExportError(
                f"{self.path} cannot be written: {error.strerror or error}; choose another place"
            ) from None

    def _images(self, tape: Tape) -> list[Image.Image]:
        return [frame_image(tape, frame, caption=caption(tape, frame.t)) for frame in tape.frames]

    def _write_gif(self, tape: Tape) -> None:
        images = self._images(tape)
        each = max(20, round(1000 * SECONDS / len(images)))  # ms; browsers slow anything faster down
        images[0].save(
            self.path,
            save_all=True,
            append_images=images[1:],
            duration=[*[each] * (len(images) - 1), 1000 + each],
            loop=0,
        )

    def _write_video(self, tape: Tape, codec: str) -> None:
        import av

        images = self._images(tape)
        rate = max(1, round(len(images) / SECONDS))
        with av.open(str(self.path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(rate))
            stream.width, stream.height = images[0].size
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            for image in [*images, *[images[-1]] * rate]:
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
            container.mux(stream.encode(None))


def caption(tape: Tape, t: int) -> str:
    """What a picture says about itself: sampler, number of steps, seed, level."""
    step = "" if tape.training_step is None else f"step {tape.training_step:,}   "
    moves = tape.frames[-1].index if tape.frames else 0  # a long process keeps fewer frames than it has states
    return f"{step}{tape.sampler}, {moves} steps   seed {tape.seed}   t = {t}"
