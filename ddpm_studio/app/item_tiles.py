"""One item of a tape, large, under its symbol: a picture, or a vector in the plane with its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QLineF, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPen, QPolygonF

from ddpm_studio.app.canvas import LEAST_RANGE, Sheet
from ddpm_studio.app.painting import draw_box, draw_math, math_width
from ddpm_studio.app.theme import color, tabular

HEAD = 3.0  # px, half the width of an arrow's head


class Tile(NamedTuple):
    """``symbol`` as ``draw_math`` writes it; ``item``: uint8 (H, W, C), or float (2,), or None: then ``note`` says why.

    ``note`` stands below the item: one line, or numbers of a vector if it is empty.
    """

    symbol: str
    item: NDArray[Any] | None
    note: str = ""


def reach_of(tiles: Sequence[Tile]) -> float:
    """Half the side of the square of the plane that shows all vectors on one scale."""
    most = [float(np.abs(tile.item).max()) for tile in tiles if tile.item is not None and tile.item.ndim == 1]
    return max([LEAST_RANGE, *(1.1 * m for m in most if np.isfinite(m))])


def has_notes(tiles: Sequence[Tile]) -> bool:
    """Whether any has a line below it; else no room is kept for one."""
    return any(tile.note or tile.item is None or tile.item.ndim == 1 for tile in tiles)


def line_height(font: QFont) -> float:
    """Of the symbol's line and of the note's."""
    return QFontMetricsF(font).height() * 1.35


def draw_tile(painter: QPainter, room: QRectF, tile: Tile, reach: float, *, noted: bool = True) -> None:
    """Symbol, square and note in ``room``; ``reach`` as of ``reach_of``. The painter's font is that of the symbol.

    ``noted``: whether room is kept for the note.
    """
    font = painter.font()
    line = line_height(font)
    side = max(8.0, min(room.width(), room.height() - (1 + noted) * line))
    square = QRectF(room.center().x() - side / 2, room.top() + line, side, side)
    painter.setPen(color("text"))
    draw_math(painter, QRectF(room.left(), room.top(), room.width(), line), tile.symbol)
    below = tile.note
    if tile.item is None:
        draw_box(painter, square, color("stage"), color("hairline"))
        painter.setPen(color("muted"))
        wrapped = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(square.adjusted(6, 6, -6, -6), wrapped, tile.note)
        return
    if tile.item.ndim == 1:
        _draw_vector(painter, square, tile.item, reach)
        x, y = tile.item
        below = below or f"({x:.2f}, {y:.2f})".replace("-", "−")
    else:
        _draw_picture(painter, square, tile.item)
    small = tabular(font, 0.9)
    if (wanted := math_width(below, small)) > room.width():
        small.setPointSizeF(small.pointSizeF() * room.width() / wanted)
    painter.setFont(small)
    painter.setPen(color("muted"))
    draw_math(painter, QRectF(room.left(), square.bottom(), room.width(), line), below)
    painter.setFont(font)


def _draw_picture(painter: QPainter, square: QRectF, item: NDArray[Any]) -> None:
    ratio = painter.device().devicePixelRatioF()
    high, wide = item.shape[:2]
    scale = square.width() * ratio / max(high, wide)
    width, height = max(1, round(wide * scale)), max(1, round(high * scale))
    spot = square.center() * ratio
    where = QRect(round(spot.x() - width / 2), round(spot.y() - height / 2), width, height)
    painter.save()
    painter.scale(1 / ratio, 1 / ratio)
    Sheet(item[None]).draw(painter, 0, where)
    painter.restore()


def _draw_vector(painter: QPainter, square: QRectF, item: NDArray[Any], reach: float) -> None:
    painter.save()
    draw_box(painter, square, color("stage"), color("hairline"))
    painter.setClipRect(square.adjusted(1, 1, -1, -1))
    middle, unit = square.center(), square.width() / 2 / reach
    painter.setPen(color("faint", 0.6))
    painter.drawLine(QLineF(square.left(), middle.y(), square.right(), middle.y()))
    painter.drawLine(QLineF(middle.x(), square.top(), middle.x(), square.bottom()))
    if np.isfinite(item).all():
        along = QPointF(float(item[0]) * unit, -float(item[1]) * unit)
        tip, length = middle + along, float(np.hypot(along.x(), along.y()))
        painter.setPen(QPen(color("accent"), 2))
        painter.setBrush(color("accent"))
        painter.drawLine(QLineF(middle, tip))
        if length > 3 * HEAD:
            back = along * (3 * HEAD / length)
            aside = QPointF(-back.y(), back.x()) / 3
            painter.drawPolygon(QPolygonF([tip, tip - back + aside, tip - back - aside]))
        else:
            painter.drawEllipse(tip, 2, 2)
    painter.restore()
