"""IDX, the format of MNIST and its kin: a big-endian header, then raw bytes; often packed with gzip.

Source of the format: https://yann.lecun.com/exdb/mnist, "The IDX file format".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ddpm_studio.data.dataset import Array, DataError, Dataset, split_pictures

_UNSIGNED_BYTE = 0x08
_MOST_BYTES = 2 << 30  # a damaged header may ask for anything; the largest known set (EMNIST) has 0.6 GB
_TEST_MOST = 1_000  # held-out items are looked at again and again while training: more only costs time
_NAME = re.compile(r"(train|t10k|test)[-_.](images|labels)[-_.]idx([13])[-_.]ubyte(\.gz)?", re.IGNORECASE)


def read_idx(path: Path) -> Array:
    """The uint8 array in an IDX file, packed with gzip or not (its first bytes tell, not its name).

    Raises DataError where the file is missing, damaged, cut short, too long, or holds other numbers than bytes.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            return _read(cast(BinaryIO, stream), path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}): fetch it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(stream: BinaryIO, path: Path) -> Array:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or not 1 <= magic[3] <= 4:
        raise DataError(f"{path} is not an IDX file: it must begin with the bytes 00 00 08 and a number of dimensions.")
    if magic[2] != _UNSIGNED_BYTE:
        raise DataError(f"{path} holds numbers of type 0x{magic[2]:02x}: only unsigned bytes (0x08) are understood.")
    header = stream.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path} is cut short: it ends inside its header, so fetch it again.")
    shape = struct.unpack(f">{magic[3]}I", header)
    size = math.prod(shape)
    if size == 0:
        raise DataError(f"{path} is empty: its header says {_times(shape)}.")
    if size > _MOST_BYTES:
        raise DataError(f"{path} claims {size:,} bytes ({_times(shape)}): its header is damaged, so fetch it again.")
    # In pieces: one read() of the claimed size would take that much memory before finding the file short.
    body = bytearray()
    while piece := stream.read(min(1 << 20, size + 1 - len(body))):
        body += piece
    if len(body) != size:
        found = "more" if len(body) > size else f"only {len(body):,}"
        raise DataError(f"{path} should hold {size:,} bytes ({_times(shape)}) but holds {found}: fetch it again.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)


def is_idx_file(path: Path) -> bool:
    """Whether a file begins like IDX, packed or not. Never raises."""
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            magic = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in (8, 9, 11, 12, 13, 14) and 1 <= magic[3] <= 4


def find_idx(folder: Path) -> dict[str, Path]:
    """The files of an MNIST-like folder by what they are: "train images", "train labels", "test images", "test labels".

    Of a packed and an unpacked copy the unpacked one is taken.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix.lower() == ".gz", path.name)):
        match = _NAME.fullmatch(path.name)
        if match and path.is_file():
            part = "train" if match[1].lower() == "train" else "test"
            found.setdefault(f"{part} {match[2].lower()}", path)
    return found


def read_idx_folder(folder: Path, name: str | None = None) -> Dataset:
    """A folder of MNIST's four files, or some of them. A test file, where there is one, becomes the held-out part.

    Raises DataError where there are no images, or where images and labels do not belong together.
    """
    found = find_idx(folder)
    title = name or folder.name
    if "train images" not in found:
        raise DataError(
            f"{folder} has no IDX file of training pictures: train-images-idx3-ubyte (or .gz) must be there."
        )
    images = _read_images(found["train images"])
    labels = _read_labels(found.get("train labels"), images)
    if "test images" not in found:
        return split_pictures(title, images, labels, _digits(labels))
    test = _read_images(found["test images"])
    if test.shape[1:] != images.shape[1:]:
        raise DataError(
            f"{found['test images']} holds pictures of {_times(test.shape[1:3])}, but those to learn from are "
            f"{_times(images.shape[1:3])}: put files of one set into the folder."
        )
    # Without names for the training items, those of the test items are of no use.
    test_labels = None if labels is None else _read_labels(found.get("test labels"), test)
    held_out_labels = None if test_labels is None else test_labels[:_TEST_MOST]
    return Dataset(
        name=title,
        kind="pictures",
        train=images,
        held_out=test[:_TEST_MOST],
        labels=labels,
        held_out_labels=held_out_labels,
        classes=_digits(labels, held_out_labels),
    )


def read_idx_file(path: Path) -> Dataset:
    """One IDX file of pictures; labels are found beside it by their name. Raises DataError where it holds else."""
    images = _read_images(path)
    beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
    labels = _read_labels(beside if beside != path and beside.is_file() else None, images)
    return split_pictures(path.name, images, labels, _digits(labels))


def _read_images(path: Path) -> Array:
    images = read_idx(path)
    if images.ndim != 3:
        what = "labels" if images.ndim == 1 else f"{images.ndim} dimensions"
        raise DataError(f"{path} holds {what}, not grey pictures: choose the file of images (idx3).")
    return images[..., np.newaxis]


def _read_labels(path: Path | None, images: Array) -> Array | None:
    if path is None:
        return None
    labels = read_idx(path)
    if labels.ndim != 1:
        raise DataError(f"{path} holds {labels.ndim} dimensions, not labels: a file of labels (idx1) has one.")
    if len(labels) != len(images):
        raise DataError(f"{path} holds {len(labels):,} labels for {len(images):,} pictures: use files of one set.")
    return labels.astype(np.int64)


def _digits(*labels: Array | None) -> tuple[str, ...]:
    known = [part.max() for part in labels if part is not None]
    return tuple(str(index) for index in range(int(max(known)) + 1)) if known else ()
