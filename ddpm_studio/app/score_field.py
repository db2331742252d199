"""Arrows of a score field: what the network has learnt over what is true, on one scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPolygonF

from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.theme import GRID, color
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import ScoreField

LONGEST = 1.4  # squares of the lattice: longer arrows are cut, so that they do not cover each other
TYPICAL = 0.9  # squares: the arrow of the reference length
LEAST_SQUARE = 22.0  # px: in smaller ones two arrows on each other are a smudge
TRUE_WIDTH, TRUE_HEAD = 6.0, 13.0  # px: wide and pale, beneath
LEARNT_WIDTH, LEARNT_HEAD = 1.5, 6.0  # px: thin and strong, above
TRUE, LEARNT = ("changed", 0.45), ("accent", 1.0)  # colour and opacity


@dataclass(frozen=True, eq=False)
class Arrows:
    """The arrows of one field in the plane.

    Attributes:
        spots: float64 (M, 2), where they begin.
        learnt, true: float64 (M, 2), as drawn, in units of the plane; true is None without a closed form.
        one_square: the length of a score whose arrow is one square of the lattice long.
    """

    spots: NDArray[np.float64]
    learnt: NDArray[np.float64]
    true: NDArray[np.float64] | None
    one_square: float

    @classmethod
    def of(cls, field: ScoreField, mixture: Mixture | None) -> Arrows:
        """Both fields on the scale of the true one, of the learnt one where there is none."""
        spots, square = field.spots, 2 * field.reach / len(field.score)
        learnt = field.score.reshape(-1, 2).astype(np.float64)
        learnt[~np.isfinite(learnt).all(axis=1)] = 0
        true = mixture.score(spots, field.alpha, field.sigma) if mixture else None
        lengths = np.linalg.norm(learnt if true is None else true, axis=1)
        one_square = max(float(np.quantile(lengths, 0.95)), 1e-12) / TYPICAL
        cut = (_cut(v / one_square * square, LONGEST * square) for v in (learnt, true) if v is not None)
        return cls(spots, next(cut), next(cut, None), one_square)

    def for_squares(self, side: float) -> Arrows:
        """These, or every second one twice as long, where a square of the lattice is only ``side`` px wide.

        The squares are then those of the thinner lattice, so ``one_square`` stays.
        """
        if side >= LEAST_SQUARE:
            return self
        count = math.isqrt(len(self.spots))
        kept = np.arange(count * count).reshape(count, count)[::2, ::2].ravel()
        true = None if self.true is None else 2 * self.true[kept]
        return Arrows(self.spots[kept], 2 * self.learnt[kept], true, self.one_square)


def _cut(vectors: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    cut: NDArray[np.float64] = vectors * np.minimum(1, longest / np.maximum(length, 1e-12))
    return cut


def outlines(
    spots: NDArray[Any], vectors: NDArray[Any], place: tuple[float, float, float], shaft: float, head: float
) -> list[QPolygonF]:
    """The outline of each arrow in px, its shaft and its head as wide as said; short arrows have smaller ones.

    ``place``: width and height of the canvas, whose middle is the origin, and the px of a length of 1.
    """
    width, height, unit = place
    start = np.stack([width / 2 + spots[:, 0] * unit, height / 2 - spots[:, 1] * unit], axis=1)
    along = vectors * (unit, -unit)
    length = np.hypot(*along.T)[:, np.newaxis]
    seen = length[:, 0] > 1  # px; a shorter one is a smudge
    start, along, length = start[seen], along[seen], length[seen]
    ahead = along / length
    across = ahead[:, ::-1] * (1, -1)
    size = np.minimum(head, 0.6 * length)  # of the head, along and across
    half = shaft / 2 * size / head
    neck, tip = start + along - size * ahead, start + along
    corners = [start + half * across, neck + half * across, neck + size / 2 * across, tip]
    corners += [neck - size / 2 * across, neck - half * across, start - half * across]
    return [QPolygonF([QPointF(*corner) for corner in arrow]) for arrow in np.stack(corners, axis=1).tolist()]


def draw_arrows(painter: QPainter, arrows: Arrows, width: float, height: float, unit: float, room: QRectF) -> None:
    """The true field wide and pale, the learnt one thin and strong over it, both within ``room``, px.

    Where they agree, a thin arrow lies along the middle of a wide one.
    """
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setClipRect(room)
    painter.setPen(Qt.PenStyle.NoPen)
    kinds = ((arrows.true, *TRUE, TRUE_WIDTH, TRUE_HEAD), (arrows.learnt, *LEARNT, LEARNT_WIDTH, LEARNT_HEAD))
    for vectors, role, alpha, shaft, head in kinds:
        if vectors is not None:
            painter.setBrush(color(role, alpha))
            for outline in outlines(arrows.spots, vectors, (width, height, unit), shaft, head):
                painter.drawPolygon(outline)
    painter.restore()


def draw_legend(painter: QPainter, entries: list[tuple[str, str]], left: float, top: float) -> None:
    """(colour name or "", text), one below the other, on a plate that begins at ``left``, ``top`` px.

    "changed" stands for the true field, "accent" for the learnt one.
    """
    metrics = QFontMetricsF(painter.font())
    line, mark = metrics.height() + 2, 18.0
    widths = [metrics.horizontalAdvance(text) + (mark if role else 0) for role, text in entries]
    box = QRectF(left, top, max(widths) + 2 * GRID, len(entries) * line + GRID)
    draw_box(painter, box, color("panel"), color("hairline"))
    for i, (role, text) in enumerate(entries):
        row = QRectF(box.left() + GRID, top + GRID / 2 + i * line, box.width() - 2 * GRID, line)
        if role:
            thick = TRUE_WIDTH if role == TRUE[0] else LEARNT_WIDTH
            ink = color(*TRUE) if role == TRUE[0] else color(*LEARNT)
            painter.fillRect(QRectF(row.left(), row.center().y() - thick / 2, 12, thick), ink)
            row.setLeft(row.left() + mark)
        painter.setPen(color("text" if role else "muted"))
        painter.drawText(row, Qt.AlignmentFlag.AlignVCenter, text)
