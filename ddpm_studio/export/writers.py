"""Writers of films: one for each kind of file. A file is complete or absent, also when its writing is cancelled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from os.path import isfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.export.errors import ExportError, Progress, advance
from ddpm_studio.export.film import HOLD, Film
from ddpm_studio.files import part_of, write_whole

# VP9 is free of royalties and libvpx is BSD; MPEG-4 part 2 is FFmpeg's own code (LGPL), its patents have ended. H.264
# would need x264 (GPL).
CODECS = {"webm": "libvpx-vp9", "mp4": "mpeg4"}
BIT_RATE = 4_000_000


def write_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file that then takes the place of ``path``; folders above it are made.

    Raises:
        ExportError: if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, write)
    except OSError as error:
        raise _cannot(path, error) from None


def write_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a new folder that then gets the name ``path``.

    Raises:
        ExportError: if the folder is there and not empty, or cannot be written.
    """
    part = part_of(path)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ExportError(f"{path} is already there and not empty: choose another name for the frames")
        part.mkdir(parents=True)
        write(part)
        if path.exists():
            path.rmdir()  # empty; Windows renames onto nothing
        part.rename(path)
    except OSError as error:
        raise _cannot(path, error) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _cannot(path: Path, error: OSError) -> ExportError:
    above = next((folder for folder in path.absolute().parents if isfile(folder)), None)
    why = f"{above} is a file, not a folder" if above else error.strerror or error
    return ExportError(f"{path} cannot be written: {why}; choose another place")


def write_film(film: Film, kind: str, path: Path, progress: Progress | None = None) -> None:
    """Write a film as "gif", "apng", "webp", "mp4", "webm" or "frames" (a folder of PNG files).

    ``progress`` counts pictures.

    Raises:
        ExportError: if it cannot be written. Cancelled: if ``progress`` says so; nothing is left behind.
    """
    if kind == "frames":
        write_folder(path, lambda part: _frames(film, part, progress))
    elif kind in CODECS:
        write_file(path, lambda part: _video(film, kind, part, progress))
    else:
        write_file(path, lambda part: _animation(film, kind, part, progress))


class _Told:
    """A film's pictures but the first ``skip``, as often as they are asked for; asks before each whether to go on."""

    def __init__(self, film: Film, progress: Progress | None, *, skip: int = 0, passes: int = 1) -> None:
        self._film, self._progress, self._skip = film, progress, skip
        self._done, self._total = 0, passes * (len(film) - skip)

    def __iter__(self) -> Iterator[Image.Image]:
        for image in islice(self._film.images(), self._skip, None):
            self.ask()
            self._done += 1
            yield image
        self.ask()

    def ask(self) -> None:
        advance(self._progress, self._done, self._total)


class _Watched:
    """A file that asks at each write whether to go on: Pillow encodes some films only after their last picture."""

    def __init__(self, file: BinaryIO, ask: Callable[[], None]) -> None:
        self._file, self._ask = file, ask

    def write(self, data: Any) -> int:
        self._ask()
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _animation(film: Film, kind: str, part: Path, progress: Progress | None) -> None:
    each, last = round(1000 * film.each), round(1000 * (film.each + HOLD))  # ms
    durations = [*[each] * (len(film) - 1), last]
    # Pillow's writer of APNG looks through all pictures once before it writes them.
    later = _Told(film, progress, skip=1, passes=2 if kind == "apng" else 1)
    first = next(film.images())
    options: dict[str, dict[str, Any]] = {
        "gif": {"format": "GIF", "append_images": map(_plain, later)},
        "apng": {"format": "PNG", "append_images": later, "default_image": False},
        "webp": {"format": "WEBP", "append_images": later, "lossless": True, "quality": 50, "method": 2},
    }
    with part.open("wb") as file:
        (_plain(first) if kind == "gif" else first).save(
            _Watched(file, later.ask),
            save_all=True,
            duration=durations if len(film) > 1 else last,
            loop=0,
            **options[kind],
        )


def _plain(image: Image.Image) -> Image.Image:
    """Grey where nothing is coloured: a GIF then keeps every shade."""
    pixels = np.asarray(image)
    grey = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    return image.convert("L") if grey else image


def _video(film: Film, kind: str, part: Path, progress: Progress | None) -> None:
    import av

    rate = max(1, round(1 / film.each))
    with av.open(str(part), "w", format=kind) as container:
        stream = container.add_stream(CODECS[kind], rate=Fraction(rate))
        stream.pix_fmt, stream.bit_rate = "yuv420p", BIT_RATE
        if kind == "webm":  # quick, and without looking ahead: progress and Cancel are then true
            stream.options = {"deadline": "good", "cpu-used": "4", "lag-in-frames": "0"}
        image: Image.Image | None = None
        for image in _Told(film, progress):
            if not stream.codec_context.is_open:
                stream.width, stream.height = image.size
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        assert image is not None
        for _ in range(round(rate * HOLD)):
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))


def _frames(film: Film, part: Path, progress: Progress | None) -> None:
    for number, image in enumerate(_Told(film, progress)):
        image.save(part / f"{number:04d}.png")


def write_image(image: Image.Image, path: Path) -> None:
    """A PNG.

    Raises:
        ExportError: if it cannot be written.
    """
    write_file(path, lambda part: image.save(part, format="PNG"))


def write_array(
    arrays: Iterator[NDArray[Any]], count: int, path: Path, progress: Progress | None = None, *, stack: bool = True
) -> None:
    """``count`` arrays of one shape and dtype as a .npy with one more axis in front (or the only one as it is).

    Raises:
        ExportError: if they differ in shape, or the file cannot be written. Cancelled: if ``progress`` says so.
    """

    def write(part: Path) -> None:
        whole: Any = None
        for done, array in enumerate(arrays):
            advance(progress, done, count)
            if whole is None:
                shape = (count, *array.shape) if stack else array.shape
                # Straight to the disk: a long record may not fit into memory.
                whole = np.lib.format.open_memmap(part, mode="w+", dtype=array.dtype, shape=shape)
            if array.shape != whole.shape[1:] and stack:
                raise ExportError(f"{path.name} cannot hold processes of different lengths: choose one training step")
            whole[done if stack else ...] = array
        whole.flush()
        advance(progress, count, count)

    write_file(path, write)
