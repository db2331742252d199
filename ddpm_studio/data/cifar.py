"""CIFAR-10 in its binary version: records of one label and 3072 bytes, the planes red, green, blue of 32 x 32.

Source of the format: https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version". The Python version is pickled: a
pickle can run any code while it is opened, so it never is.
"""

from __future__ import annotations

import contextlib
import shutil
import tarfile
from pathlib import Path

import numpy as np

from ddpm_studio.data.dataset import Array, Cancelled, DataError, Dataset, Progress
from ddpm_studio.data.download import Download, Remote

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"
FILES = (*TRAIN_FILES, TEST_FILE)
SUBFOLDER = "cifar-10-batches-bin"  # what the archive unpacks to
ARCHIVE = Remote(
    "cifar-10-binary.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    "c32a1d4ab5d03f1284b67883e8d87530",
)
ARCHIVE_BYTES = 170_052_171
PICTURES = 10_000  # in each file
TEST_MOST = 1_000  # held out, as of MNIST
_SIDE = 32
_RECORD = 1 + 3 * _SIDE**2


def find_cifar(folder: Path) -> Path | None:
    """The folder with most of CIFAR-10's files: ``folder`` or its ``cifar-10-batches-bin``; None if there are none."""
    place = min((folder, folder / SUBFOLDER), key=lambda place: len(missing(place)))
    return None if len(missing(place)) == len(FILES) else place


def refuse_pickles(folder: Path) -> None:
    """Raises DataError where ``folder`` is the Python version of CIFAR-10."""
    for place in (folder, folder / "cifar-10-batches-py"):
        if (place / "data_batch_1").is_file():
            raise DataError(
                f"{place} holds the Python version of CIFAR-10, which is not opened because pickles can run code: "
                f"fetch the binary version, {ARCHIVE.name}."
            )


def missing(place: Path) -> list[str]:
    """The names of the files that are not in ``place``."""
    return [name for name in FILES if not (place / name).is_file()]


def read_cifar(place: Path, name: str | None = None, progress: Progress | None = None) -> Dataset:
    """The six files in ``place``: 50,000 pictures to learn from, the first 1,000 of the test file held out.

    Raises DataError where a file is missing, cannot be read, is too short or too long, or has a label above 9;
    Cancelled when ``progress``, called with pictures, returned False.
    """
    if lacking := missing(place):
        raise DataError(
            f"{place} lacks {', '.join(lacking)}: put all six files of CIFAR-10 there, {FILES[0]} to {FILES[4]} "
            f"and {TEST_FILE}."
        )
    count = PICTURES * len(TRAIN_FILES)
    train = np.empty((count, _SIDE, _SIDE, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for number, file in enumerate(TRAIN_FILES):
        if progress is not None and not progress(number * PICTURES, count + PICTURES):
            raise Cancelled
        part = slice(number * PICTURES, (number + 1) * PICTURES)
        train[part], labels[part] = _read(place / file)
    test, test_labels = _read(place / TEST_FILE)
    return Dataset(
        name=name or place.name,
        kind="pictures",
        train=train,
        held_out=test[:TEST_MOST].copy(),  # not a view, which would hold all of them
        labels=labels,
        held_out_labels=test_labels[:TEST_MOST],
        classes=CLASSES,
    )


def _read(path: Path) -> tuple[Array, Array]:
    """Pictures uint8 (N, 32, 32, 3) and labels int64 (N,)."""
    right = PICTURES * _RECORD
    try:
        size = path.stat().st_size
        raw = np.fromfile(path, np.uint8) if size == right else None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if raw is None or len(raw) != right:
        raise DataError(f"{path} holds {size:,} bytes, not the {right:,} of {PICTURES:,} pictures: fetch it again.")
    records = raw.reshape(PICTURES, _RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise DataError(
            f"{path} gives picture {int(labels.argmax()):,} the label {labels.max()}, but labels run from 0 to 9: "
            "fetch it again."
        )
    return records[:, 1:].reshape(PICTURES, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1), labels


def download_cifar(folder: Path, progress: Progress | None = None) -> Path:
    """The binary version, checked by MD5, into ``folder``; returns the folder with the six files.

    Raises what ``Download.fetched`` raises.
    """
    otherwise = f"unpack {ARCHIVE.name} into {folder}, or choose pixel-faces, which is built in"
    place = folder / SUBFOLDER
    with Download("CIFAR-10", (ARCHIVE,), ARCHIVE_BYTES, otherwise).fetched(folder, progress) as scratch:
        with tarfile.open(scratch / ARCHIVE.name) as archive:
            for member in archive:
                # By their plain names: no path in the archive decides where anything lands.
                name = Path(member.name).name
                if name not in FILES or not member.isfile():
                    continue
                if progress is not None and not progress(ARCHIVE_BYTES, ARCHIVE_BYTES):
                    raise Cancelled
                packed = archive.extractfile(member)
                assert packed is not None  # it is a file
                with contextlib.closing(packed), (scratch / name).open("wb") as out:
                    shutil.copyfileobj(packed, out)
        place.mkdir(exist_ok=True)
        for name in FILES:
            (scratch / name).replace(place / name)
    return place
