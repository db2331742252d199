"""The probe loss by noise level, as a picture: the training step to the right, t from low to high downwards."""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from ddpm_studio.app.levels import level_number
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.plots import AXIS_WIDTH
from ddpm_studio.app.theme import color, tabular, theme

Float64 = NDArray[np.float64]
BAR, GAP = 20, 4  # px of the colours in their scale
HEIGHT = 72  # px at least
ALONE = 8  # px of a probe that has no neighbour yet
REACH = 10.0  # a loss above so many times the median, or the first, has blown up: the colours do not stretch so far


class LevelMap(QWidget):
    """Columns are probes, placed by their step so that they stand below the loss curve; rows are bins of t."""

    readout_changed = Signal(str)
    cell_chosen = Signal(float, int)  # a probe's step and a bin; bin -1: none any more

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("level_map")
        self.setAccessibleName(self.tr("Loss by noise level and training step"))
        self.setMinimumHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(self.tr("Click, or use the arrow keys, to see what the network saw there"))
        self.setFont(tabular(self.font(), 0.82))
        self._steps: list[float] = []
        self._columns: list[Float64] = []
        self._floors: list[Float64 | None] = []
        self._chosen: tuple[float, int] | None = None  # step and bin
        self._levels: Float64 = np.empty(0)
        self._last_step = 1.0
        self._before = 0.0  # on the axis, before the run's own first step
        self._image: QImage | None = None
        self._pixels: NDArray[np.uint8] = np.empty(0, np.uint8)
        # Fixed colours, the same in light and dark: they carry data. Perceptually even, safe for the colour-blind.
        self._colors: NDArray[np.uint8] = pg.colormap.get("viridis").getLookupTable(nPts=256)[:, :3]
        theme().changed.connect(self.update)

    def add_probe(
        self,
        step: float,
        levels: NDArray[np.floating],
        losses: NDArray[np.floating],
        floor: NDArray[np.floating] | None = None,
    ) -> None:
        """One column: the mean loss in each bin of noise levels; ``levels`` are the bins' t, ascending.

        ``floor``: the lowest expected in each bin, where that is known.
        """
        if len(levels) != len(self._levels):
            self.clear()
        while self._steps and self._steps[-1] >= step:  # after a roll-back
            self._steps.pop()
            self._columns.pop()
            self._floors.pop()
        self._levels = np.asarray(levels, np.float64)
        self._steps.append(float(step))
        self._columns.append(np.asarray(losses, np.float64))
        self._floors.append(None if floor is None else np.asarray(floor, np.float64))
        self.set_last_step(max(self._last_step, self._before + step), self._before)
        self._image = None
        self.update()

    def clear(self) -> None:
        self._steps, self._columns, self._floors, self._image = [], [], [], None
        self._last_step, self._before = 1.0, 0.0
        self.choose(None)
        self.update()

    def set_last_step(self, step: float, before: float = 0.0) -> None:
        """The step at the right edge, that of the loss curve; the run's own begin after ``before`` of its parents'."""
        now = (float(max(1.0, step, before + (self._steps[-1] if self._steps else 0))), before)
        if now != (self._last_step, self._before):
            self._last_step, self._before = now
            self._image = None
            self.update()

    def bounds(self) -> tuple[float, float] | None:
        """The losses that the ends of the colour scale stand for: round, so that they seldom move; None: no probe."""
        losses = self._finite()
        if not len(losses):
            return None
        first = self._columns[0][np.isfinite(self._columns[0])]
        most = REACH * max(float(np.median(losses)), float(np.max(first, initial=0.0)))
        losses = losses[losses <= most]
        low = round_down(float(np.percentile(losses, 1, method="lower")))
        high = round_up(float(np.percentile(losses, 99, method="higher")))
        return low, high if high > low else round_up(low * 1.01)

    def beyond(self) -> tuple[bool, bool]:
        """Whether some loss lies below the colour scale, and above it."""
        bounds, losses = self.bounds(), self._finite()
        if bounds is None:
            return False, False
        broken = not np.isfinite(np.array(self._columns)).all()
        return bool(losses.min() < bounds[0]), bool(losses.max() > bounds[1] or broken)

    def _finite(self) -> Float64:
        losses = np.array(self._columns)
        return losses[np.isfinite(losses) & (losses > 0)]

    def _room(self) -> QRectF:
        return QRectF(AXIS_WIDTH, 0, max(1, self.width() - AXIS_WIDTH), self.height())

    def _edges(self) -> Float64:
        """Where the columns begin and end, in the run's own steps: each reaches half-way to its neighbours."""
        steps = np.array(self._steps)
        if len(steps) == 1:
            half = ALONE / self._room().width() * self._last_step / 2
            centre = min(max(steps[0], half), max(half, self._last_step - self._before - half))
            return np.array([centre - half, centre + half])
        middle = (steps[1:] + steps[:-1]) / 2
        ends = max(0.0, 2 * steps[0] - middle[0]), min(self._last_step - self._before, 2 * steps[-1] - middle[-1])
        return np.concatenate([ends[:1], middle, ends[1:]])

    def _column(self, step: float | Float64) -> NDArray[np.int64]:
        """The probe nearest to each of the run's own steps."""
        return np.searchsorted(self._edges()[1:-1], step, side="right")

    def _compose(self, width: int) -> QImage:
        bounds, edges = self.bounds(), self._edges()
        steps = (np.arange(width) + 0.5) / width * self._last_step - self._before
        losses = np.array(self._columns)[self._column(steps)].T
        if bounds is not None:
            low, high = np.log(bounds)
            with np.errstate(invalid="ignore", divide="ignore"):
                part = (np.log(losses) - low) / (high - low)
            shade = np.round(np.clip(np.nan_to_num(part, nan=1.0, posinf=1.0, neginf=0.0), 0, 1) * 255)
        else:
            shade = np.full(losses.shape, 255.0)
        self._pixels = np.full((*losses.shape, 4), 255, np.uint8)
        self._pixels[..., :3] = self._colors[shade.astype(np.uint8)]
        self._pixels[:, (steps < edges[0]) | (steps > edges[-1]), 3] = 0  # not probed
        form = QImage.Format.Format_RGBA8888
        return QImage(self._pixels.data, width, len(losses), 4 * width, form)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, room = QPainter(self), self._room()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(color("muted"))
        painter.setFont(self.font())
        if not self._steps:
            draw_box(painter, room, color("stage", 0.5), color("hairline"))
            painter.setPen(color("muted"))
            painter.drawText(room, Qt.AlignmentFlag.AlignCenter, self.tr("fills up as probes come in"))
            return
        if self._image is None or self._image.width() != round(room.width()):
            self._image = self._compose(round(room.width()))
        clip = QPainterPath()
        clip.addRoundedRect(room, 4, 4)
        painter.setClipPath(clip)
        painter.fillRect(room, color("stage", 0.5))
        painter.drawImage(room, self._image)
        painter.setClipping(False)
        self._draw_chosen(painter, room)
        if self.hasFocus():
            draw_box(painter, room, QColor(Qt.GlobalColor.transparent), color("accent"), 2.0)
        painter.setPen(color("muted"))
        ends = QRectF(0, 0, AXIS_WIDTH - 5, self.height())
        right = Qt.AlignmentFlag.AlignRight
        painter.drawText(ends, right | Qt.AlignmentFlag.AlignTop, f"{self._levels[0]:,.0f}")
        painter.drawText(ends, right | Qt.AlignmentFlag.AlignVCenter, "t")
        painter.drawText(ends, right | Qt.AlignmentFlag.AlignBottom, f"{self._levels[-1]:,.0f}")

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        room, where = self._room(), event.position()
        if not self._steps or not room.contains(where):
            self.readout_changed.emit("")
            return
        self.readout_changed.emit(self.told(*self._cell(where)))

    def _cell(self, where: QPointF) -> tuple[int, int]:
        """(probe, bin) at a place in the room."""
        room = self._room()
        i = int(self._column((where.x() - room.left()) / room.width() * self._last_step - self._before))
        return i, min(len(self._levels) - 1, int(where.y() / room.height() * len(self._levels)))

    def told(self, i: int, k: int) -> str:
        """What is known of bin ``k`` of probe ``i``."""
        said = self.tr("step {step} · t ≈ {t} · loss {loss}").format(
            step=f"{self._steps[i]:,.0f}",
            t=level_number(round(self._levels[k])),
            loss=f"{self._columns[i][k]:.3g}",
        )
        floor = self._floors[i]
        if floor is not None:
            said += self.tr(" · lowest expected {floor}").format(floor=f"{floor[k]:.3g}")
        return said

    # -- choosing a cell

    @property
    def chosen(self) -> tuple[float, int] | None:
        """The step and the bin of the cell that was chosen."""
        return self._chosen

    def told_chosen(self) -> str:
        """As ``told``; empty if no cell is chosen."""
        return "" if self._chosen is None else self.told(int(self._column(self._chosen[0])), self._chosen[1])

    def choose(self, cell: tuple[int, int] | None) -> None:
        """Choose bin k of probe i, given as (i, k); None: no cell."""
        chosen = None if cell is None else (self._steps[cell[0]], cell[1])
        if chosen != self._chosen:
            self._chosen = chosen
            self.setAccessibleDescription("" if cell is None else self.told(*cell))
            self.cell_chosen.emit(*(chosen or (0.0, -1)))
            self.update()

    def _draw_chosen(self, painter: QPainter, room: QRectF) -> None:
        if self._chosen is None:
            return
        step, k = self._chosen
        i = int(self._column(step))
        left, right = self._edges()[i : i + 2]
        high, wide = room.height() / len(self._levels), room.width() / self._last_step
        across = max(4.0, (right - left) * wide)
        cell = QRectF(room.left() + (left + self._before) * wide, k * high, across, high)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        for grown, tint in ((1, Qt.GlobalColor.black), (0, Qt.GlobalColor.white)):  # seen on any colour of the map
            painter.setPen(QPen(tint, 1))
            painter.drawRect(cell.toRect().adjusted(-grown, -grown, grown - 1, grown - 1))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._steps and self._room().contains(event.position()):
            self.choose(self._cell(event.position()))
        else:
            super().mousePressEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
            Qt.Key.Key_Return: (0, 0),
            Qt.Key.Key_Space: (0, 0),
        }
        if event.key() == Qt.Key.Key_Escape and self._chosen is not None:
            self.choose(None)
        elif (by := moves.get(Qt.Key(event.key()))) is not None and self._steps:
            last, bins = len(self._steps) - 1, len(self._levels)
            i, k = (last, bins // 2) if self._chosen is None else (int(self._column(self._chosen[0])), self._chosen[1])
            if self._chosen is not None:
                i, k = min(max(i + by[0], 0), last), min(max(k + by[1], 0), bins - 1)
            self.choose((i, k))
        else:
            super().keyPressEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self.readout_changed.emit("")


def round_down(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not above a positive value."""
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{max(d for d in (1, 2, 5) if d == 1 or d * unit <= value * (1 + 1e-9)) * unit:.1g}")


def round_up(value: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below a positive value."""
    unit = 10.0 ** math.floor(math.log10(value))
    return float(f"{min(d for d in (1, 2, 5, 10) if d == 10 or d * unit >= value * (1 - 1e-9)) * unit:.1g}")


class ColorScale(QWidget):
    """What the colours of a LevelMap mean: "0.01 ▮▮▮ 1.2"."""

    def __init__(self, level_map: LevelMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._map = level_map
        self.setFont(level_map.font())
        self._ends = ("", "")
        self.refresh()
        strip = np.full((1, 256, 4), 255, np.uint8)
        strip[..., :3] = level_map._colors
        self._strip = strip
        theme().changed.connect(self.update)

    def refresh(self) -> None:
        """Say what the map's colours mean now; "≤" and "≥": some losses lie beyond."""
        bounds, (below, above) = self._map.bounds(), self._map.beyond()
        tip = self.tr("Colours of the loss, on a logarithmic scale that grows with the losses")
        if bounds is not None:
            self._ends = ("≤ " * below + f"{bounds[0]:.2g}", "≥ " * above + f"{bounds[1]:.2g}")
            if above:
                tip += "\n" + self.tr("Higher losses have the colour of its end")
        else:
            self._ends = ("", "")
        self.setToolTip(tip)
        widths = sum(self.fontMetrics().horizontalAdvance(end) for end in self._ends)
        self.setFixedSize(widths + BAR + 2 * GAP + 2, self.fontMetrics().height() + 2)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._ends[0]:
            return
        left = self.fontMetrics().horizontalAdvance(self._ends[0]) + GAP
        painter, bar = QPainter(self), QRectF(left, self.height() / 2 - 3, BAR, 6)
        image = QImage(self._strip.data, 256, 1, 1024, QImage.Format.Format_RGBX8888)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(bar, image)
        painter.setPen(color("muted"))
        for x, text in ((0, self._ends[0]), (left + BAR + GAP, self._ends[1])):
            painter.drawText(QRectF(x, 0, self.width(), self.height()), Qt.AlignmentFlag.AlignVCenter, text)
