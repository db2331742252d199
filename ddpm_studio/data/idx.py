"""MNIST-style IDX files, gzip or not (the format is described at the MNIST page: magic, sizes, bytes)."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ddpm_studio.data.dataset import Array, DataError, Dataset, split

_UNSIGNED_BYTES = 0x08
_LARGEST = 1 << 32  # bytes unpacked: more is not a picture set for this program


def read_idx(path: Path) -> Array:
    """The array in an IDX file of unsigned bytes, uint8.

    Raises:
        DataError: if the file cannot be read, is no IDX file, or is cut off.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); copy it again") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or not 1 <= raw[3] <= 4:
        raise DataError(f"{path} is not an IDX file: it does not begin with the IDX magic number")
    if raw[2] != _UNSIGNED_BYTES:
        raise DataError(
            f"{path} holds values of type 0x{raw[2]:02x}; only unsigned bytes (0x08) are pictures or labels"
        )
    start = 4 + 4 * raw[3]
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    size = math.prod(shape)
    if size > _LARGEST or len(raw) - start != size:
        held = max(len(raw) - start, 0)
        raise DataError(f"{path} should hold {size:,} bytes for its shape {shape}, but holds {held:,}; copy it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def is_idx(path: Path) -> bool:
    """Whether a file's name is that of an IDX file, or a folder holds a training file of that name."""
    if path.is_dir():
        return _find(path, "train", "images", 3) is not None
    return any(mark in path.name for mark in ("-idx", ".idx")) or path.suffix in (".idx", ".ubyte")


def open_idx(path: Path) -> Dataset:
    """A folder with MNIST's file names, or one images file (labels beside it are found by their name).

    Raises:
        DataError: if files are missing or damaged, or pictures and labels do not match.
    """
    if path.is_dir():
        images_file = _find(path, "train", "images", 3)
        if images_file is None:
            raise DataError(f"{path} holds no file train-images-idx3-ubyte (or .gz); choose another folder")
        labels_file = _find(path, "train", "labels", 1)
        test_images, test_labels = _find(path, "t10k", "images", 3), _find(path, "t10k", "labels", 1)
    else:
        images_file, test_images, test_labels = path, None, None
        beside = path.with_name(path.name.replace("images", "labels").replace("idx3", "idx1"))
        labels_file = beside if beside != path and beside.is_file() else None
    images, labels = _pair(images_file, labels_file)
    name = path.name if path.is_dir() else path.name.split("-")[0].split(".")[0]
    classes = () if labels is None else tuple(str(i) for i in range(int(labels.max()) + 1))
    if test_images is None:
        return split(name, "pictures", images, labels, classes)
    held, held_labels = _pair(test_images, test_labels)
    if labels is None or held_labels is None:
        return Dataset(name, "pictures", images, held[:1000])
    return Dataset(name, "pictures", images, held[:1000], labels, held_labels[:1000], classes)


def _pair(images_file: Path, labels_file: Path | None) -> tuple[Array, Array | None]:
    images = read_idx(images_file)
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise DataError(f"{images_file} has shape {images.shape}; pictures have (count, height, width)")
    if labels_file is None:
        return images, None
    labels = read_idx(labels_file)
    if labels.shape != (len(images),):
        raise DataError(
            f"{labels_file} has {labels.shape[0]:,} labels for {len(images):,} pictures in {images_file.name}"
        )
    return images, labels.astype(np.int64)


def _find(folder: Path, part: str, what: str, dims: int) -> Path | None:
    for join in ("-", "."):
        for ending in ("", ".gz"):
            path = folder / f"{part}-{what}{join}idx{dims}-ubyte{ending}"
            if path.is_file():
                return path
    return None
