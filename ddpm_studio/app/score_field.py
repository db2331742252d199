"""Arrows of a score field: what the network has learnt over what is true, on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen

from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.theme import GRID, color
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import ScoreField

LONGEST = 1.4  # squares of the lattice: longer arrows are cut, so that they do not cover each other
TYPICAL = 0.9  # squares: the arrow of the reference length
HEAD = 0.32  # of an arrow's length


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


def _cut(vectors: NDArray[np.float64], longest: float) -> NDArray[np.float64]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    cut: NDArray[np.float64] = vectors * np.minimum(1, longest / np.maximum(length, 1e-12))
    return cut


def lines(spots: NDArray[Any], vectors: NDArray[Any], width: float, height: float, unit: float) -> list[QLineF]:
    """Shaft and head of each arrow in px; ``unit``: px for a length of 1, the origin in the middle."""
    start = np.stack([width / 2 + spots[:, 0] * unit, height / 2 - spots[:, 1] * unit], axis=1)
    along = vectors * (unit, -unit)
    tip = start + along
    across = along[:, ::-1] * (1, -1)
    head = [tip - HEAD * (along + side * across) for side in (0.6, -0.6)]
    seen = np.hypot(*along.T) > 1  # px; a shorter one is a smudge
    ends = [np.hstack([tip, end])[seen] for end in (start, *head)]
    return [QLineF(*row) for row in np.concatenate(ends).tolist()]


def draw_arrows(painter: QPainter, arrows: Arrows, width: float, height: float, unit: float) -> None:
    """The true field first and stronger, the learnt one over it: where they agree they lie on each other."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pairs = ((arrows.true, "changed", 3.0), (arrows.learnt, "accent", 1.4))
    for vectors, role, wide in pairs:
        if vectors is not None:
            painter.setPen(QPen(color(role), wide, c=Qt.PenCapStyle.RoundCap))
            painter.drawLines(lines(arrows.spots, vectors, width, height, unit))


def draw_legend(painter: QPainter, entries: list[tuple[str, str]], left: float, top: float) -> None:
    """(colour name or "", text), one below the other, in a box that begins at ``left``, ``top`` px."""
    metrics = QFontMetricsF(painter.font())
    line, mark = metrics.height() + 2, 18.0
    widths = [metrics.horizontalAdvance(text) + (mark if role else 0) for role, text in entries]
    box = QRectF(left, top, max(widths) + 2 * GRID, len(entries) * line + GRID)
    draw_box(painter, box, color("panel", 0.9), color("hairline"))
    for i, (role, text) in enumerate(entries):
        row = QRectF(box.left() + GRID, top + GRID / 2 + i * line, box.width() - 2 * GRID, line)
        if role:
            painter.fillRect(QRectF(row.left(), row.center().y() - 1, 12, 2), color(role))
            row.setLeft(row.left() + mark)
        painter.setPen(color("text" if role else "muted"))
        painter.drawText(row, Qt.AlignmentFlag.AlignVCenter, text)
