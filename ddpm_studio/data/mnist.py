"""MNIST's own four files, known by what is in them wherever they lie."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
import zlib
from pathlib import Path

from ddpm_studio.data.dataset import Cancelled, DataError, Progress
from ddpm_studio.data.idx import find_idx

# MD5 of the unpacked files, as many programs that fetch them have it.
CONTENT = {
    "train images": ("train-images-idx3-ubyte", "6bbc9ace898e44ae57da46a324031adb"),
    "train labels": ("train-labels-idx1-ubyte", "a25bea736e30d166cdddb491f175f624"),
    "test images": ("t10k-images-idx3-ubyte", "2646ac647ad5339dbf082846283269ea"),
    "test labels": ("t10k-labels-idx1-ubyte", "27ae3e4e09519cfbb04c329615203637"),
}
_PIECE = 1 << 20  # bytes between two looks at the progress callback


def keep_mnist(chosen: Path, folder: Path, progress: Progress | None = None) -> bool:
    """If ``chosen``, a folder or a file in it, holds all of MNIST, copy it into ``folder``; whether it does.

    ``progress`` is called with (files done, files of all). Raises DataError where the copy cannot be stored;
    Cancelled when ``progress`` returned False.
    """
    try:
        found = find_idx(chosen if chosen.is_dir() else chosen.parent)
    except OSError:
        return False
    for done, (part, (_, digest)) in enumerate(CONTENT.items()):
        if part not in found or _digest(found[part], done, progress) != digest:
            return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=folder) as scratch:
            names = {part: name + found[part].suffix.lower() for part, (name, _) in CONTENT.items()}
            for part, name in names.items():
                shutil.copyfile(found[part], Path(scratch, name))
            for name in reversed(names.values()):  # the training pictures last: without them it is not yet MNIST
                Path(scratch, name).replace(folder / name)
    except OSError as error:
        raise DataError(
            f"MNIST cannot be stored in {folder} ({error.strerror or error}): make room or let the program write "
            "there, and choose the files again."
        ) from error
    return True


def _digest(path: Path, done: int, progress: Progress | None) -> str:
    """MD5 of what is in a file, packed with gzip or not; "" of one that cannot be read."""
    digest = hashlib.md5(usedforsecurity=False)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                if progress is not None and not progress(done, len(CONTENT)):
                    raise Cancelled
    except (OSError, EOFError, zlib.error):
        return ""
    return digest.hexdigest()
