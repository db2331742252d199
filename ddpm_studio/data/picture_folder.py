"""A folder of the user's own pictures, brought to one size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ddpm_studio.data.dataset import Array, Cancelled, DataError, Dataset, Progress, split_pictures

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
DEFAULT_SIDE = 32
_MOST_PIXELS = 1 << 28  # of all pictures together: about 800 MB in colour, held in memory at once
_GREY_TOLERANCE = 2  # a grey photograph saved as a colour JPEG comes back with channels apart by rounding


def find_pictures(folder: Path) -> list[Path]:
    """Every picture file below ``folder``, in an order that no file system changes; hidden files are left out."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        # "._x.jpg" is what macOS leaves on a memory stick: no picture.
        shown = (Path(parent, name) for name in files if not name.startswith("."))
        found.extend(path for path in shown if path.suffix.lower() in SUFFIXES)
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def read_picture(path: Path, height: int, width: int) -> Array:
    """One picture as uint8 (height, width, 3): upright, centre-cropped to the aspect, resized with Lanczos.

    Transparent parts become white. Of several frames the first is taken. Raises what Pillow raises.
    """
    with Image.open(path) as opened:
        # Lets the JPEG decoder skip detail that resizing would throw away: several times faster on photographs.
        opened.draft(None, (4 * width, 4 * height))
        upright = ImageOps.exif_transpose(opened)
        picture = _to_rgb(upright)
    return fit(picture, height, width)


def fit(picture: Image.Image, height: int, width: int) -> Array:
    """uint8 (height, width, 3 or, for a grey picture, no last axis), cropped in the middle and resized."""
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith(("I", "F")):
        # Pillow cuts 16-bit grey off at 255 instead of scaling it.
        deep = np.asarray(picture, dtype=np.float64)
        top = 65535.0 if picture.mode.startswith("I") else max(float(deep.max()), 1.0)
        return Image.fromarray(np.clip(deep * (255 / top), 0, 255).round().astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        page = Image.new("RGBA", clear.size, "white")
        return Image.alpha_composite(page, clear).convert("RGB")
    return picture.convert("RGB")


def read_picture_folder(
    folder: Path, height: int | None = None, width: int | None = None, progress: Progress | None = None
) -> Dataset:
    """All pictures below ``folder`` at one size (32 x 32 unless said; one side given makes a square).

    Where every picture lies in one of two or more immediate subfolders, these are the classes. Where all are grey, C is
    1. Files that cannot be read are left out and counted in ``notes``.
    Raises DataError below two readable pictures or where all would be too large, Cancelled when ``progress`` says so.
    """
    height, width = height or width or DEFAULT_SIDE, width or height or DEFAULT_SIDE
    paths = find_pictures(folder)
    if len(paths) * height * width > _MOST_PIXELS:
        raise DataError(
            f"{folder} has {len(paths):,} pictures, too many for memory at {width} x {height}: choose a smaller size."
        )
    read: list[Path] = []
    pictures: list[Array] = []
    skipped: list[Path] = []
    for done, path in enumerate(paths):
        if progress is not None and not progress(done, len(paths)):
            raise Cancelled
        try:
            pictures.append(read_picture(path, height, width))
            read.append(path)
        except MemoryError:
            raise
        except Exception:  # a damaged file makes decoders raise nearly anything
            skipped.append(path)
    if progress is not None:
        progress(len(paths), len(paths))
    if len(pictures) < 2:
        broken = f" and {len(skipped)} that cannot be read" if skipped else ""
        raise DataError(
            f"{folder} has {len(pictures) or 'no'} usable picture{broken}: at least 2 are needed, as "
            f"{', '.join(sorted(suffix[1:] for suffix in SUFFIXES))}."
        )
    images = np.stack(pictures)
    if _all_grey(images):
        images = images[..., 1:2]
    labels, classes = _classes(path.relative_to(folder) for path in read)
    return split_pictures(folder.name, images, labels, classes, _notes(folder, skipped, len(paths)))


def _notes(folder: Path, skipped: list[Path], total: int) -> tuple[str, ...]:
    if not skipped:
        return ()
    files, were = ("files", "were") if len(skipped) > 1 else ("file", "was")
    first = skipped[0].relative_to(folder)
    which = f"{first} and others" if len(skipped) > 1 else str(first)
    return (f"{len(skipped)} of {total} {files} could not be read and {were} left out: {which}.",)


def _all_grey(images: Array) -> bool:
    # Picture by picture: the difference of the whole set would take its memory three times over.
    return all(int(np.ptp(image, axis=2).max()) <= _GREY_TOLERANCE for image in images)


def _classes(paths: Iterable[Path]) -> tuple[Array | None, tuple[str, ...]]:
    tops = [path.parts[0] if len(path.parts) > 1 else None for path in paths]
    names = tuple(sorted({top for top in tops if top is not None}))
    if None in tops or len(names) < 2:
        return None, ()
    index = {name: number for number, name in enumerate(names)}
    return np.array([index[top] for top in tops if top is not None], dtype=np.int64), names
