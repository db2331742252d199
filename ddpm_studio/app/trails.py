"""The way that particles have come, from the frames of a tape before the one that is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor, QImage, QPolygonF

from ddpm_studio.app.density import density_image, paint_density
from ddpm_studio.diffusion.tape import Frame, Tape

MOST = 200  # particles with a trail: more cover each other
FINEST = 1.0  # px between the dots of a trail
MOST_DOTS = 80_000  # of all trails: beyond, the dots stand wider apart
LEAST_WEIGHT = 0.2  # of the oldest piece, where the newest has 1
FADE = 3.0  # times e fades a piece by, over the whole process

Dots = tuple[NDArray[np.int64], NDArray[np.float32]]


class Trails:
    """The trails of one tape on a canvas of ``width`` x ``height`` device pixels, ``unit`` px for a length of 1.

    The lines are kept as dots on the pixels, frame by frame, so that any place of the process is drawn from a part of
    them, forwards or backwards, and a frame that arrives adds its own.
    """

    def __init__(self, tape: Tape, show: str, width: int, height: int, unit: float) -> None:
        self.tape, self.show = tape, show
        self.of = (show, width, height, unit)
        self._width, self._height, self._unit = width, height, unit
        self._who = sample(tape.count)
        self._pieces: list[Dots] = []  # one for each frame, empty for the first
        self._flat = np.zeros(0, np.int64)
        self._share = np.zeros(0, np.float32)
        self._frame = np.zeros(0, np.int32)
        self._ends = [0]  # of the dots of each frame
        self._last: NDArray[np.float64] | None = None

    def image(self, position: int, tint: QColor) -> QImage | None:
        """The trails up to the frame at ``position`` as a transparent image; None where there are none yet."""
        self._read(position)
        end = self._ends[min(position + 1, len(self._pieces))]
        if not end:
            return None
        age = np.arange(position + 1)[::-1] / max(self.tape.total - 1, 1)
        fade = np.maximum(np.exp(-FADE * age), LEAST_WEIGHT).astype(np.float32)
        weight = self._share[:end] * fade[self._frame[:end]]
        self.pixels = paint_density(self._flat[:end], weight, self._width * self._height, tint)  # the image's memory
        return density_image(self.pixels.reshape(self._height, self._width))

    def _read(self, position: int) -> None:
        """Take up the frames as far as ``position``."""
        frames = self.tape.frames[: position + 1]
        new = frames[len(self._pieces) :]
        if not new:
            return
        for frame in new:
            self._pieces.append(self._piece(frame))
        counts = [len(flat) for flat, _ in self._pieces]
        self._ends = [0, *np.cumsum(counts).tolist()]
        self._flat = np.concatenate([flat for flat, _ in self._pieces])
        self._share = np.concatenate([share for _, share in self._pieces])
        self._frame = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def _piece(self, frame: Frame) -> Dots:
        """The dots from the last frame to this one."""
        here = to_pixels(view(frame, self.show), self._who, self._width, self._height, self._unit)
        before, self._last = self._last, here if here is not None else self._last
        if here is None or before is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        return dots(before, here, self._width, self._height, self.tape.total)


def sample(count: int) -> NDArray[np.int64]:
    """Which of ``count`` particles have a trail: all, or ``MOST`` spread evenly, the same for one count."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST)).astype(np.int64))


def view(frame: Frame, show: str) -> NDArray[Any] | None:
    """What a trail goes through; the start has no estimates, so trails of those begin after it."""
    return None if show != "x" and frame.x0 is None else frame.view(show)


def to_pixels(
    items: NDArray[Any] | None,
    who: NDArray[np.int64],
    width: int,
    height: int,
    unit: float,
) -> NDArray[np.float64] | None:
    """Device pixels (n, 2) of some particles; NaN further than one canvas outside, where they have run away."""
    if items is None:
        return None
    at = items[who].astype(np.float64) * (unit, -unit) + (width / 2, height / 2)
    with np.errstate(invalid="ignore"):
        near = (at > (-width, -height)) & (at < (2 * width, 2 * height))
    at[~near.all(axis=1)] = np.nan
    return at


def dots(before: NDArray[np.float64], here: NDArray[np.float64], width: int, height: int, frames: int) -> Dots:
    """Straight lines as dots that share their weight among the four pixels around them: (pixel, weight)."""
    start, along = before, here - before
    whole = np.isfinite(along).all(axis=1)
    start, along = start[whole], along[whole]
    length = np.hypot(along[:, 0], along[:, 1])
    gap = max(FINEST, float(length.sum()) * max(frames, 1) / MOST_DOTS)
    count = np.maximum(np.ceil(length / gap), 1).astype(np.int64)
    which = np.repeat(np.arange(len(count)), count)
    step = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    at = start[which] + along[which] * ((step + 0.5) / count[which])[:, None] - 0.5
    # A line has the same strength however its dots are spaced; one that does not move leaves nothing.
    full = (np.minimum(length / count, 2.0))[which]
    corner = np.floor(at)
    part = at - corner
    flats, shares = [], []
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        x, y = corner[:, 0] + dx, corner[:, 1] + dy
        share = full * np.abs(1 - dx - part[:, 0]) * np.abs(1 - dy - part[:, 1])
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (share > 0.01)
        flats.append((y[seen] * width + x[seen]).astype(np.int64))
        shares.append(share[seen].astype(np.float32))
    return np.concatenate(flats), np.concatenate(shares)


def trail_of(tape: Tape, position: int, which: int, show: str, place: tuple[int, int, float]) -> list[QPolygonF]:
    """The whole way of one particle up to ``position``, in pieces where it has run away.

    ``place``: width and height of the canvas and px of a length of 1.
    """
    pieces: list[QPolygonF] = [QPolygonF()]
    for frame in tape.frames[: position + 1]:
        at = to_pixels(view(frame, show), np.array([which]), *place)
        if at is None:
            continue
        if np.isnan(at).any():
            pieces.append(QPolygonF())
        else:
            pieces[-1].append(QPointF(*at[0].tolist()))
    return [piece for piece in pieces if piece.size()]
