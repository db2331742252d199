"""What the guided walk paints: pictures side by side, quiet curves, the time code, and the shape of a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from ddpm_studio.app.canvas import Sheet
from ddpm_studio.app.painting import draw_box, draw_math, math_width
from ddpm_studio.app.theme import GRID, color, tabular, theme
from ddpm_studio.app.walk_math import Float64, Level

LINE = 18.0  # px, a caption
AXIS = 40.0  # px, for the numbers at the left
LEFT = Qt.AlignmentFlag.AlignLeft
RIGHT = Qt.AlignmentFlag.AlignRight
MIDDLE = Qt.AlignmentFlag.AlignCenter


@dataclass(frozen=True)
class Tile:
    """A picture, uint8 (H, W, 1 or 3), what it is called, and the sign that stands before it ("+", "=", "→")."""

    caption: str
    picture: NDArray[np.uint8] | None
    sign: str = ""
    marked: bool = False


@dataclass(frozen=True)
class Line:
    """A curve: a named colour, what it is, x and y. ``filled`` down to 0, or ``dashed``."""

    role: str
    text: str
    x: Float64
    y: Float64
    filled: bool = False
    dashed: bool = False


def draw_picture(painter: QPainter, rect: QRectF, picture: NDArray[np.uint8]) -> None:
    """Crisp pixels, one grey channel or RGB."""
    sheet = Sheet(picture[np.newaxis])
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, rect.width() < sheet.width)
    painter.drawImage(rect, sheet.image)


class _View(QWidget):
    """A painted view: it follows the theme and takes what room there is."""

    def __init__(self, name: str, height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFont(tabular(self.font(), 0.9))
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(200, self.minimumHeight())


class PictureRows(_View):
    """Rows of pictures of one size, each with its caption below it."""

    def __init__(self, name: str, height: int = 96, parent: QWidget | None = None) -> None:
        super().__init__(name, height, parent)
        self._rows: list[list[Tile]] = []

    def set_rows(self, *rows: Sequence[Tile]) -> None:
        self._rows = [list(row) for row in rows if row]
        self.setAccessibleDescription("; ".join(" ".join(f"{t.sign} {t.caption}" for t in row) for row in self._rows))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._rows:
            return
        painter = QPainter(self)
        painter.setFont(self.font())
        columns = max(len(row) for row in self._rows)
        gap = 28.0 if any(tile.sign for row in self._rows for tile in row) else 6.0
        tall = self.height() / len(self._rows)
        side = max(8.0, min((self.width() - gap * (columns - 1) - 4) / columns, tall - LINE - 6))
        left = (self.width() - columns * side - gap * (columns - 1)) / 2
        for r, row in enumerate(self._rows):
            top = r * tall + (tall - side - LINE) / 2
            for c, tile in enumerate(row):
                self._draw_tile(painter, tile, QRectF(left + c * (side + gap), top, side, side), gap)

    def _draw_tile(self, painter: QPainter, tile: Tile, rect: QRectF, gap: float) -> None:
        painter.setPen(color("text"))
        painter.setFont(tabular(self.font(), 1.4))
        draw_math(painter, QRectF(rect.left() - gap, rect.top(), gap, rect.height()), tile.sign)
        painter.setFont(self.font())
        if tile.picture is None:
            draw_box(painter, rect, color("stage"), color("hairline"))
        else:
            draw_picture(painter, rect, tile.picture)
        if tile.marked:
            painter.setPen(QPen(color("accent"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(rect.adjusted(-2, -2, 2, 2))
        painter.setPen(color("text" if tile.marked else "muted"))
        draw_math(painter, QRectF(rect.left() - gap / 2, rect.bottom() + 3, rect.width() + gap, LINE), tile.caption)


class Curves(_View):
    """A few curves between two round numbers, with their legend above and a line at the present x."""

    def __init__(self, name: str, unit: str, height: int = 96, parent: QWidget | None = None) -> None:
        """``unit``: what the horizontal axis counts."""
        super().__init__(name, height, parent)
        self._unit, self._lines = unit, list[Line]()
        self._x, self._y, self._at = (0.0, 1.0), (0.0, 1.0), float("nan")

    def set_lines(self, lines: Sequence[Line], x: tuple[float, float], y: tuple[float, float]) -> None:
        """What lies outside of y is cut off at the edge."""
        self._lines, self._x, self._y = list(lines), x, y
        self.setAccessibleDescription(", ".join(line.text for line in lines))
        self.update()

    def set_at(self, x: float) -> None:
        self._at = x
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        room = QRectF(self.rect()).adjusted(AXIS, self._draw_legend(painter) + 4, -6, -LINE)
        painter.setPen(QPen(color("hairline"), 1))
        for part in (0.0, 0.5, 1.0):
            y = room.bottom() - part * room.height()
            painter.drawLine(QPointF(room.left(), y), QPointF(room.right(), y))
        painter.setPen(color("muted"))
        for part in (0.0, 1.0):
            number = self._y[0] + part * (self._y[1] - self._y[0])
            where = QRectF(0, room.bottom() - part * room.height() - LINE / 2, AXIS - 5, LINE)
            painter.drawText(where, RIGHT | Qt.AlignmentFlag.AlignVCenter, f"{number:g}")
        below = QRectF(room.left(), room.bottom() + 1, room.width(), LINE)
        painter.drawText(below, LEFT, f"{self._x[0]:,g}")
        painter.drawText(below, RIGHT, f"{self._x[1]:,g}")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, self._unit)
        painter.setClipRect(room.adjusted(-5, -5, 5, 5))
        for line in self._lines:
            self._draw_line(painter, room, line)
        if self._x[0] <= self._at <= self._x[1]:
            x = self._place(room, self._at, 0).x()
            painter.setPen(QPen(color("muted"), 1))
            painter.drawLine(QPointF(x, room.top()), QPointF(x, room.bottom()))
            for line in self._lines:
                there = QPointF(x, self._place(room, 0, float(np.interp(self._at, line.x, line.y))).y())
                painter.setPen(QPen(color("panel"), 1.5))
                painter.setBrush(color(line.role))
                painter.drawEllipse(there, 4, 4)

    def _place(self, room: QRectF, x: float, y: float) -> QPointF:
        across = (x - self._x[0]) / (self._x[1] - self._x[0])
        up = min(1.0, max(0.0, (y - self._y[0]) / (self._y[1] - self._y[0])))
        return QPointF(room.left() + across * room.width(), room.bottom() - up * room.height())

    def _draw_line(self, painter: QPainter, room: QRectF, line: Line) -> None:
        every = max(1, len(line.x) // max(1, int(room.width())))
        points = [self._place(room, x, y) for x, y in zip(line.x[::every], line.y[::every], strict=True)]
        if line.filled:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(color(line.role, 0.25))
            ends = QPointF(points[-1].x(), room.bottom()), QPointF(points[0].x(), room.bottom())
            painter.drawPolygon(QPolygonF([*points, *ends]))
        pen = QPen(color(line.role), 1.6)
        if line.dashed:
            pen.setDashPattern([4, 3])
        painter.setPen(pen)
        painter.drawPolyline(QPolygonF(points))

    def _draw_legend(self, painter: QPainter) -> float:
        """Draws it on as many rows as it needs; how high that is."""
        x, y = AXIS, 0.0
        for line in self._lines:
            width = math_width(line.text, self.font())
            if x > AXIS and x + 14 + width > self.width():
                x, y = AXIS, y + LINE
            painter.fillRect(QRectF(x, y + LINE / 2 - 1, 9, 2), color(line.role))
            painter.setPen(color("muted"))
            draw_math(painter, QRectF(x + 14, y, width + 2, LINE), line.text, LEFT)
            x += 14 + width + 2 * GRID
        return y + LINE


class TimeCode(_View):
    """The vectors of all times as a heat map, times downwards; below it the present one as bars."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(name, 150, parent)
        self._table: Float64 = np.zeros((1, 2))
        self._row, self._top = 0, ""

    def set_table(self, table: Float64) -> None:
        """(times, width), -1 … 1."""
        self._table = table
        self._row = min(self._row, len(table) - 1)
        self.update()

    def set_row(self, row: int, said: str) -> None:
        self._row, self._top = min(row, len(self._table) - 1), said
        self.setAccessibleDescription(said)
        self.update()

    def _pixels(self, height: int) -> NDArray[np.uint8]:
        """Blue above 0, orange below: the two colours of the theme, which the colour-blind can tell apart."""
        rows = self._table[np.linspace(0, len(self._table) - 1, max(2, height)).astype(int)]
        named = [color(role) for role in ("changed", "panel", "accent")]
        below, zero, above = (np.array([c.red(), c.green(), c.blue()], np.float64) for c in named)
        shades = (
            zero + np.clip(rows, 0, 1)[..., None] * (above - zero) + np.clip(-rows, 0, 1)[..., None] * (below - zero)
        )
        pixels: NDArray[np.uint8] = np.round(shades).astype(np.uint8)
        return pixels

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        bars_high = max(36.0, self.height() * 0.22)
        room = QRectF(self.rect()).adjusted(AXIS, LINE + 2, -6, -bars_high - GRID)
        painter.setPen(color("muted"))
        half = QRectF(room.left(), 0, room.width() / 2, LINE)
        painter.drawText(half, MIDDLE, self.tr("sines"))
        painter.drawText(half.translated(room.width() / 2, 0), MIDDLE, self.tr("cosines"))
        ends = QRectF(0, room.top(), AXIS - 5, room.height())
        painter.drawText(ends, RIGHT | Qt.AlignmentFlag.AlignTop, "0")
        painter.drawText(ends, RIGHT | Qt.AlignmentFlag.AlignBottom, f"{len(self._table) - 1:,}")
        draw_picture(painter, room, self._pixels(round(room.height())))
        y = room.top() + room.height() * self._row / max(1, len(self._table) - 1)
        painter.setPen(QPen(color("text"), 1.5))
        painter.drawLine(QPointF(room.left() - 4, y), QPointF(room.right() + 4, y))
        self._draw_bars(painter, QRectF(room.left(), room.bottom() + GRID, room.width(), bars_high))

    def _draw_bars(self, painter: QPainter, room: QRectF) -> None:
        values = self._table[self._row]
        wide, middle = room.width() / len(values), room.center().y()
        painter.setPen(QPen(color("hairline"), 1))
        painter.drawLine(QPointF(room.left(), middle), QPointF(room.right(), middle))
        for i, value in enumerate(values):
            high = float(value) * room.height() / 2
            bar = QRectF(room.left() + i * wide, middle - max(high, 0), max(1.0, wide - 1), abs(high))
            painter.fillRect(bar, color("accent" if value > 0 else "changed"))
        painter.setPen(color("muted"))
        painter.drawText(
            QRectF(0, room.top(), AXIS - 5, room.height()), RIGHT | Qt.AlignmentFlag.AlignVCenter, self._top
        )


class NetworkShape(_View):
    """What goes in at the left, the U-Net's sizes, and what comes out at the right."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(name, 190, parent)
        self._levels: list[Level] = []
        self._into: list[Tile] = []
        self._out: list[Tile] = []
        self._time = ""

    def set_levels(self, levels: Sequence[Level]) -> None:
        self._levels = list(levels)
        self.setAccessibleDescription(", ".join(f"{v.side} × {v.side}, {v.width}" for v in levels))
        self.update()

    def set_pictures(self, into: Sequence[Tile], out: Sequence[Tile], time: str) -> None:
        """``time``: what is said of the vector that every block gets."""
        self._into, self._out, self._time = list(into), list(out), time
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        most = max(len(self._into), len(self._out), 1)
        side = max(24.0, min(self.width() * 0.21, self.height() / most - LINE - 8))
        for tiles, left in ((self._into, 2.0), (self._out, self.width() - side - 2)):
            tall = self.height() / max(1, len(tiles))
            for i, tile in enumerate(tiles):
                box = QRectF(left, i * tall + (tall - side - LINE) / 2, side, side)
                if tile.picture is not None:
                    draw_picture(painter, box, tile.picture)
                painter.setPen(color("muted"))
                draw_math(painter, QRectF(left - 8, box.bottom() + 3, side + 16, LINE), tile.caption)
        room = QRectF(side + 30, 4, self.width() - 2 * side - 60, self.height() - LINE - 12)
        self._draw_arrow(painter, QPointF(side + 8, self.height() / 2 - LINE / 2), 16)
        self._draw_arrow(painter, QPointF(self.width() - side - 24, self.height() / 2 - LINE / 2), 16)
        self._draw_levels(painter, room)
        painter.setPen(color("changed"))
        draw_math(painter, QRectF(room.left() - 20, self.height() - LINE - 2, room.width() + 40, LINE), self._time)

    def _draw_arrow(self, painter: QPainter, at: QPointF, long: float) -> None:
        tip = at + QPointF(long, 0)
        painter.setPen(QPen(color("muted"), 1.4))
        painter.drawLine(at, tip)
        painter.drawPolyline(QPolygonF([tip + QPointF(-5, -4), tip, tip + QPointF(-5, 4)]))

    def _draw_levels(self, painter: QPainter, room: QRectF) -> None:
        """A funnel: going down at the left, up at the right; dashed lines are the skips between them."""
        count = len(self._levels)
        if not count or room.width() < 60:
            return
        tall = room.height() / count
        high = min(38.0, tall - 6)
        inset = room.width() * 0.26 / max(1, count - 1)
        wide = room.width() * 0.27
        sizes, widths = [f"{level.side}×{level.side}" for level in self._levels], [f"{v.width}" for v in self._levels]
        both = [f"{size} · {width}" for size, width in zip(sizes, widths, strict=True)]
        narrow = max(math_width(text, self.font()) for text in both) > wide - 6
        for i in range(count):
            y = room.top() + i * tall + (tall - high) / 2
            left = QRectF(room.left() + i * inset, y, wide, high)
            right = QRectF(room.right() - i * inset - wide, y, wide, high)
            if i == count - 1:
                left = right = left.united(right)
            else:
                pen = QPen(color("faint"), 1.2)
                pen.setDashPattern([4, 3])
                painter.setPen(pen)
                painter.drawLine(QPointF(left.right() + 3, y + high / 2), QPointF(right.left() - 3, y + high / 2))
                self._draw_elbows(painter, left, right, inset, tall - high)
            for box in (left,) if i == count - 1 else (left, right):
                draw_box(painter, box, _tint(i, count), color("accent"))
                painter.setPen(color("text"))
                if narrow:
                    upper = QRectF(box.left(), box.top() + 2, box.width(), box.height() / 2)
                    draw_math(painter, upper, sizes[i])
                    draw_math(painter, upper.translated(0, box.height() / 2 - 3), widths[i])
                else:
                    draw_math(painter, box, both[i])

    def _draw_elbows(self, painter: QPainter, left: QRectF, right: QRectF, inset: float, gap: float) -> None:
        painter.setPen(QPen(color("muted"), 1.2))
        down = QPointF(left.center().x() + inset / 2, left.bottom() + 1)
        up = QPointF(right.center().x() - inset / 2, right.bottom() + 1)
        below = QPointF(0, max(2.0, gap - 2))
        painter.drawLine(down, down + below)
        painter.drawPolyline(QPolygonF([down + below + QPointF(-3, -4), down + below, down + below + QPointF(3, -4)]))
        painter.drawLine(up, up + below)
        painter.drawPolyline(QPolygonF([up + QPointF(-3, 4), up, up + QPointF(3, 4)]))


def _tint(i: int, count: int) -> QColor:
    """Stronger where the network is coarser and wider."""
    return color("accent", 0.12 + 0.25 * i / max(1, count - 1))
