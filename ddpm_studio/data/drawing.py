"""A drawing of points on a square canvas, and its file: what a person paints becomes a point set to learn."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.data.dataset import DataError
from ddpm_studio.data.points import points_dataset
from ddpm_studio.data.points_file import read_points
from ddpm_studio.files import write_whole
from ddpm_studio.paths import user_folder

Dots = NDArray[np.float64]
"""(N, 3): x and y on the canvas, -1 … 1, and the width of the brush that made the dot, 0 for none."""

DENSITY = 4_000  # dots per unit of area under the brush
MOST = 50_000  # dots on a canvas
LEAST = 50  # dots that can be used
LEARNT_LEAST = 2_000  # points of a file: so many have a density
PRESET_COUNT, PRESET_SCALE = 4_000, 0.4  # a standardised set then fits on the canvas
HISTORY = 200  # steps that can be undone
WIDEST = 2.0  # brush
FITTED = 0.8  # how far from the middle a fitted drawing reaches
_MIRRORS = {"none": [(1, 1)], "left-right": [(1, 1), (-1, 1)], "up-down": [(1, 1), (1, -1)]}


class Drawing:
    """Dots on a canvas, with undo and redo. A stroke is one step: ``begin``, ``extend`` as often as wanted, ``end``."""

    def __init__(self, dots: Dots | None = None) -> None:
        self._past: list[Dots] = []
        self._future: list[Dots] = []
        self._before: Dots | None = None  # the stroke in hand
        self._last = np.zeros(2)
        self._owed = 0.0  # parts of a dot
        self._rng = np.random.default_rng(0)
        self.dots: Dots = np.zeros((0, 3)) if dots is None else dots[:MOST]

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    @property
    def drawing(self) -> bool:
        """Whether a stroke is in hand."""
        return self._before is not None

    @property
    def full(self) -> bool:
        return len(self.dots) >= MOST

    # -- strokes

    def begin(self, x: float, y: float, width: float, *, erase: bool = False, mirror: str = "none") -> None:
        """Put the brush down; ``mirror``: "none", "left-right" or "up-down"."""
        self.end()
        self._before, self._last = self.dots, np.array([x, y], dtype=np.float64)
        self._width, self._erase, self._signs = width, erase, _MIRRORS[mirror]
        self._owed = 0.5
        self._mark(self._last, np.pi / 4 * width**2)

    def extend(self, x: float, y: float) -> None:
        """Move the brush on, if it is down."""
        if self._before is not None:
            here = np.array([x, y], dtype=np.float64)
            self._mark(here, self._width * float(np.linalg.norm(here - self._last)))
            self._last = here

    def end(self) -> None:
        """Lift the brush: the stroke is a step now."""
        before, self._before = self._before, None
        if before is not None and before is not self.dots:
            self._remember(before)

    def _mark(self, here: Dots, area: float) -> None:
        """Spray or erase from the last place to this one."""
        if self._erase:
            for sign in np.array(self._signs, dtype=np.float64):
                near = _distance(self.dots[:, :2], self._last * sign, here * sign) <= self._width / 2
                if near.any():
                    self.dots = self.dots[~near]
            return
        self._owed += area * DENSITY
        count = min(int(self._owed), MOST)
        self._owed -= count
        self._spray(here, count)

    def _spray(self, here: Dots, count: int) -> None:
        along = self._rng.random((count, 1))
        at = self._last + along * (here - self._last) + _in_disc(self._rng, count) * self._width / 2
        every = np.concatenate([at * sign for sign in np.array(self._signs, dtype=np.float64)])
        every = every[(np.abs(every) <= 1).all(axis=1)][: MOST - len(self.dots)]
        if len(every):
            new = np.concatenate([every, np.full((len(every), 1), self._width)], axis=1)
            self.dots = np.concatenate([self.dots, new])

    # -- the whole

    def replace(self, dots: Dots) -> None:
        """Other dots, as one step."""
        self.end()
        self._remember(self.dots)
        self.dots = dots[:MOST]

    def add(self, dots: Dots) -> None:
        self.replace(np.concatenate([self.dots, dots]))

    def clear(self) -> None:
        if len(self.dots):
            self.replace(np.zeros((0, 3)))

    def move(self, dx: float, dy: float) -> None:
        """All dots; they stop at the edge of the canvas."""
        if len(self.dots):
            low, high = self.dots[:, :2].min(axis=0), self.dots[:, :2].max(axis=0)
            shift = np.clip((dx, dy), np.minimum(-1 - low, 0), np.maximum(1 - high, 0))
            if shift.any():
                self.replace(self.dots + np.array((*shift, 0.0)))

    def scale(self, factor: float) -> None:
        """All dots about their middle, at most until they fill the canvas."""
        if len(self.dots):
            middle = self._middle()
            reach = float(np.abs(self.dots[:, :2] - middle).max())
            factor = min(factor, max(1.0, float((1 - np.abs(middle)).min()) / max(reach, 1e-9)))
            self._fit_to(middle, middle, factor)

    def fit(self) -> None:
        """In the middle of the canvas, as large as is comfortable."""
        if len(self.dots):
            middle = self._middle()
            reach = float(np.abs(self.dots[:, :2] - middle).max())
            self._fit_to(middle, np.zeros(2), FITTED / max(reach, 1e-9))

    def _middle(self) -> Dots:
        middle: Dots = (self.dots[:, :2].min(axis=0) + self.dots[:, :2].max(axis=0)) / 2
        return middle

    def _fit_to(self, middle: Dots, target: Dots, factor: float) -> None:
        moved = (self.dots[:, :2] - middle) * factor + target
        width = np.minimum(self.dots[:, 2:] * factor, WIDEST)
        self.replace(np.concatenate([np.clip(moved, -1, 1), width], axis=1))

    def undo(self) -> None:
        self.end()
        if self._past:
            self._future.append(self.dots)
            self.dots = self._past.pop()

    def redo(self) -> None:
        self.end()
        if self._future:
            self._past.append(self.dots)
            self.dots = self._future.pop()

    def _remember(self, before: Dots) -> None:
        self._past = [*self._past[1 - HISTORY :], before]
        self._future.clear()

    # -- what is learnt

    def points(self) -> NDArray[np.float64]:
        """The dots as points (N, 2), and if they are few, 2,000 of them: the same ones again, jittered a little.

        By up to a quarter of the brush, so that a stroke keeps its form.
        """
        at = self.dots[:, :2]
        missing = LEARNT_LEAST - len(at)
        if missing <= 0 or not len(at):
            return at
        rng = np.random.default_rng(1)
        again = self.dots[rng.integers(0, len(at), missing)]
        return np.concatenate([at, again[:, :2] + _in_disc(rng, missing) * again[:, 2:] / 4])


def _in_disc(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Evenly in the disc of radius 1, (count, 2)."""
    angle, radius = 2 * np.pi * rng.random(count), np.sqrt(rng.random(count))
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _distance(points: Dots, start: Dots, end: Dots) -> NDArray[np.float64]:
    """From each point to the line from start to end."""
    along = end - start
    part = np.clip((points - start) @ along / max(float(along @ along), 1e-12), 0, 1)
    distance: NDArray[np.float64] = np.linalg.norm(points - start - part[:, None] * along, axis=1)
    return distance


def preset(name: str) -> Dots:
    """A built-in point set as dots."""
    at = points_dataset(name, PRESET_COUNT, 1).train[:, :2] * PRESET_SCALE
    at = at[(np.abs(at) <= 1).all(axis=1)].astype(np.float64)
    return np.concatenate([at, np.zeros((len(at), 1))], axis=1)


# -- files


def drawn_folder() -> Path:
    return user_folder() / "datasets" / "drawn"


def drawn_files() -> list[Path]:
    """The drawings there are, the newest first."""
    found = drawn_folder().glob("*.npz") if drawn_folder().is_dir() else iter(())
    return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)


def usual_name() -> str:
    return datetime.now().strftime("drawing %Y-%m-%d %H.%M")


def save_drawing(drawing: Drawing, name: str) -> Path:
    """Write the drawing into the user's folder as an .npz of ``points`` (N, 2) and ``dots``; returns where.

    An older file is never replaced, as a run may have learnt it: another of this name gets a number.
    Raises DataError where there is too little to learn, or the file cannot be written.
    """
    if len(drawing.dots) < LEAST:
        raise DataError(f"There are only {len(drawing.dots)} points: draw at least {LEAST}.")
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "-", name).strip(" .")[:80] or usual_name()
    folder = drawn_folder()
    free = (folder / f"{name}{f' {i}' if i > 1 else ''}.npz" for i in range(1, 10_000))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = next(each for each in free if not each.exists())
        write_whole(path, partial(_write, drawing))
    except OSError as error:
        raise DataError(f"The drawing cannot be written to {folder}: {error.strerror or error}.") from error
    return path


def _write(drawing: Drawing, path: Path) -> None:
    with path.open("wb") as file:  # numpy would add an ending to a name
        np.savez_compressed(file, points=drawing.points(), dots=drawing.dots)


def load_drawing(path: Path) -> Drawing:
    """A drawing, or the points of any file, to go on with. Raises DataError where the file holds none."""
    points = read_points(path)
    dots = _dots(path) if path.suffix.lower() == ".npz" else None
    if dots is None:
        dots = np.concatenate([points, np.zeros((len(points), 1))], axis=1)
    if dots.ndim != 2 or dots.shape[1] != 3 or not (np.abs(dots[:, :2]) <= 2).all():
        raise DataError(f"{path} is no drawing: its points lie off the canvas.")
    width = np.nan_to_num(dots[:, 2:]).clip(0, WIDEST)
    return Drawing(np.concatenate([dots[:, :2], width], axis=1))


def _dots(path: Path) -> Dots | None:
    """None in a file of points that nobody drew."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            return file["dots"].astype(np.float64) if "dots" in file.files else None
    except Exception as error:  # numpy stumbles over a broken file in many ways
        raise DataError(f"{path} cannot be read as a drawing.") from error
