"""The user's own points in the plane, from a file: two columns as text (.csv, .tsv, .txt) or an array (.npy, .npz)."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.data.dataset import Array, DataError, Dataset

TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
ARRAY_SUFFIXES = (".npy", ".npz")
LEAST, MOST = 20, 1_000_000  # points
MOST_BYTES = 100 << 20  # of a file, unpacked
FARTHEST = 1e12  # coordinates beyond lose their digits when they are squared in float32
HELD_OUT_SHARE, HELD_OUT_MOST = 0.1, 2_000

_BETWEEN = re.compile(r"\s*[,;\t]\s*|\s+")


def is_points_file(path: Path) -> bool:
    """Whether ``path`` is a file that may hold points: its ending tells."""
    return path.suffix.lower() in TEXT_SUFFIXES + ARRAY_SUFFIXES and path.is_file()


def read_points_file(path: Path) -> Dataset:
    """The points in a file as a dataset: standardised, one in ten held out (at most 2,000), the same ones every time.

    Text has two numbers a line with a comma, semicolon, tab or space between them; empty lines, what follows a # and
    one line of names at the top are passed over. An .npz holds one array, or one called "points". The points keep
    their shape: one scale for both axes, as for the built-in sets.
    Raises DataError, with the line or row, where the file cannot be read or holds anything but 20 … 1,000,000 finite
    points that differ.
    """
    points = read_points(path)
    centre = points.mean(axis=0)
    scale = float(np.sqrt(points.var(axis=0).mean()))
    if not scale > 1e-9 * (1 + float(np.abs(centre).max())):
        raise DataError(f"All points of {path} lie in one place: there is no shape to learn from them.")
    order = np.random.default_rng(0).permutation(len(points))
    standard = ((points[order] - centre) / scale).astype(np.float32)
    held_out = min(HELD_OUT_MOST, math.ceil(HELD_OUT_SHARE * len(points)))
    # With its ending, so that no file is taken for the built-in set of the same name, whose density is known.
    return Dataset(name=path.name, kind="points", train=standard[held_out:], held_out=standard[:held_out])


def read_points(path: Path) -> NDArray[np.float64]:
    """The points as they stand in the file, float64 (N, 2). Raises DataError as ``read_points_file``."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DataError(f"{path} has {size >> 20:,} MB: at most {MOST_BYTES >> 20} MB of points can be read.")
        text = path.suffix.lower() in TEXT_SUFFIXES
        points, rows = _parse(path) if text else (_array(path), None)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not LEAST <= len(points) <= MOST:
        raise DataError(f"{path} holds {len(points):,} points: from {LEAST} to {MOST:,} can be learnt.")
    bad = np.flatnonzero(~(np.abs(points) <= FARTHEST).all(axis=1))
    if len(bad):
        where = f"line {rows[bad[0]]}" if rows is not None else f"row {bad[0] + 1}"
        raise DataError(
            f"{path}, {where}: {points[bad[0]].tolist()} is no point, or too far away; correct it or leave it out."
        )
    return points


def _parse(path: Path) -> tuple[NDArray[np.float64], list[int]]:
    """Points of a text file, and the line of each, counted from 1."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a text file in UTF-8: save it as CSV with two columns, x and y.") from None
    points: list[tuple[float, float]] = []
    rows: list[int] = []
    named = False
    for number, line in enumerate(lines, start=1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        cells = _BETWEEN.split(content)
        if len(cells) != 2:
            raise DataError(
                f"{path}, line {number}: {len(cells)} columns where there must be two, x and y: {_cut(line)}"
            )
        try:
            points.append((float(cells[0]), float(cells[1])))
        except ValueError:
            if points or named:
                raise DataError(f"{path}, line {number}: these are not two numbers: {_cut(line)}") from None
            named = True
            continue
        rows.append(number)
        if len(points) > MOST:
            raise DataError(f"{path} holds more than {MOST:,} points: leave some out.")
    return np.array(points, dtype=np.float64).reshape(-1, 2), rows


def _cut(line: str) -> str:
    line = line.strip()
    return repr(line if len(line) <= 40 else line[:39] + "…")


def _array(path: Path) -> NDArray[np.float64]:
    try:
        if path.suffix.lower() == ".npz":
            array = _from_npz(path)
        else:
            with path.open("rb") as file:
                array = np.load(file, allow_pickle=False)
    except (DataError, OSError):
        raise
    except Exception as error:  # numpy stumbles over a broken file in many ways
        raise DataError(f"{path} is not an array that numpy can read without pickles: save it with numpy.") from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {array.dtype} {array.shape}: points must be numbers of shape (N, 2).")
    if len(array) > MOST:
        raise DataError(f"{path} holds {len(array):,} points: from {LEAST} to {MOST:,} can be learnt.")
    return array.astype(np.float64)


def _from_npz(path: Path) -> Array:
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MOST_BYTES:
        raise DataError(
            f"{path} unpacks to {unpacked >> 20:,} MB: at most {MOST_BYTES >> 20} MB of points can be read."
        )
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        names: list[str] = list(file.files)
        if "points" not in names and len(names) != 1:
            found = ", ".join(names) or "none"
            raise DataError(f"{path} must hold one array, or one called points; it holds {found}.")
        array: NDArray[Any] = file["points" if "points" in names else names[0]]
        return array
