"""Samples as a file: a grid, the reverse process as GIF or video, or an array."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export.grid import frame_image, side_by_side

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

    def write(self, *tapes: Tape) -> None:
        """Write a complete tape, or several of a kind side by side, all at the same share of their process.

        Raises:
            ExportError: if the file cannot be written, or its ending says nothing; an array holds one tape.
        """
        tape = tapes[0]
        if self.path.suffix.lower() not in ENDINGS:
            raise ExportError(f"{self.path.name} must end in one of {', '.join(ENDINGS)}")
        if len(tapes) > 1 and self.path.suffix.lower() == ".npy":
            raise ExportError(f"{self.path.name} would hold one process: save several as .png, .gif, .mp4 or .webm")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            match self.path.suffix.lower():
                case ".png":
                    _image_at(tapes, 1.0).save(self.path)
                case ".npy":
                    # uint8 (N, H, W, C) or float32 (N, 2); a trace has a leading axis of steps + 1
                    with self.path.open("wb") as file:  # given a name, numpy would append .npy to .NPY
                        np.save(file, np.stack([f.x for f in tape.frames]) if self.trace else tape.frames[-1].x)
                case ".gif":
                    self._write_gif(tapes)
                case ending:
                    self._write_video(tapes, CODECS[ending])
        except OSError as error:
            raise ExportError(
                f"{self.path} cannot be written: {error.strerror or error}; choose another place"
            ) from None

    def _images(self, tapes: Sequence[Tape]) -> list[Image.Image]:
        count = max(len(tape.frames) for tape in tapes)
        return [_image_at(tapes, i / max(count - 1, 1)) for i in range(count)]

    def _write_gif(self, tapes: Sequence[Tape]) -> None:
        images = self._images(tapes)
        each = max(20, round(1000 * SECONDS / len(images)))  # ms; browsers slow anything faster down
        images[0].save(
            self.path,
            save_all=True,
            append_images=images[1:],
            duration=[*[each] * (len(images) - 1), 1000 + each],
            loop=0,
        )

    def _write_video(self, tapes: Sequence[Tape], codec: str) -> None:
        import av

        images = self._images(tapes)
        rate = max(1, round(len(images) / SECONDS))
        with av.open(str(self.path), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(rate))
            stream.width, stream.height = images[0].size
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            for image in [*images, *[images[-1]] * rate]:
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
            container.mux(stream.encode(None))


def _image_at(tapes: Sequence[Tape], share: float) -> Image.Image:
    """Each tape's frame at ``share`` 0 … 1 of its process, with its caption."""
    frames = [tape.frames[round(share * (len(tape.frames) - 1))] for tape in tapes]
    return side_by_side(
        [frame_image(tape, frame, caption=caption(tape, frame.t)) for tape, frame in zip(tapes, frames, strict=True)]
    )


def caption(tape: Tape, t: int) -> str:
    """What a picture says about itself: sampler, number of steps, seed, level."""
    step = "" if tape.training_step is None else f"step {tape.training_step:,}   "
    moves = tape.frames[-1].index if tape.frames else 0  # a long process keeps fewer frames than it has states
    return f"{step}{tape.label or tape.sampler}, {moves} steps   seed {tape.seed}   t = {t}"
