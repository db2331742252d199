"""A folder of pictures as a data set: cut to one size, grey or colour as the pictures are."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddpm_studio.data.dataset import DataError, Dataset, split

log = logging.getLogger(__name__)

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
SIDE = 32  # px, where no size is asked for
MOST_PIXELS = 1 << 28  # of all pictures together, about 800 MB in colour

Progress = Callable[[int, int], bool]  # (done, of) -> go on?


def open_picture_folder(
    folder: Path, *, height: int | None = None, width: int | None = None, progress: Progress | None = None
) -> Dataset:
    """All pictures below ``folder``, cut from the middle and resized to height × width (default 32 × 32).

    If every picture lies in a subfolder, the subfolders are the classes. Files that are no pictures are
    skipped and logged.

    Raises:
        DataError: if fewer than two pictures can be read, if all together are too large, or on cancel.
    """
    height, width = height or width or SIDE, width or height or SIDE
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    if len(paths) * height * width > MOST_PIXELS:
        raise DataError(
            f"{folder} has {len(paths):,} pictures, too many at {width} × {height} px; choose a smaller size"
        )
    pictures, used = [], []
    for done, path in enumerate(paths):
        if progress is not None and not progress(done, len(paths)):
            raise DataError("opening the folder was cancelled")
        picture = _read(path, height, width)
        if picture is not None:
            pictures.append(picture)
            used.append(path)
    if len(pictures) < 2:
        raise DataError(
            f"{folder} holds {len(pictures)} readable pictures; at least 2 are needed, 100 or more are better"
        )
    items = np.stack(pictures)
    if (items[..., :1] == items).all():  # all grey: one channel is enough
        items = np.ascontiguousarray(items[..., :1])
    parents = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in used]
    names = tuple(sorted({p for p in parents if p is not None}))
    if None in parents or len(names) < 2:
        return split(folder.name, "pictures", items)
    return split(folder.name, "pictures", items, np.array([names.index(p) for p in parents if p is not None]), names)


def _read(path: Path, height: int, width: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None:
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("RGBA", "LA", "P", "PA"):  # what is transparent becomes white
                upright = upright.convert("RGBA")
                ground = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(ground, upright)
            cut = ImageOps.fit(upright.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
            return np.asarray(cut, dtype=np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        log.warning("skipped %s: %s", path, error)
        return None
