"""The probe loss by noise level, as a picture: the training step to the right, t from low to high downwards."""

from __future__ import annotations

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
HEIGHT = 72  # px at least


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
        self.set_last_step(step)
        self._image = None
        self.update()

    def clear(self) -> None:
        self._steps, self._columns, self._floors, self._image = [], [], [], None
        self._last_step = 1.0
        self.choose(None)
        self.update()

    def set_last_step(self, step: float) -> None:
        """The step at the right edge: that of the loss curve."""
        if step != self._last_step and step >= (self._steps[-1] if self._steps else 0):
            self._last_step = max(1.0, float(step))
            self._image = None
            self.update()

    def bounds(self) -> tuple[float, float] | None:
        """The losses that the ends of the colour scale stand for; None before the first probe."""
        losses = np.array(self._columns)
        losses = losses[np.isfinite(losses) & (losses > 0)]
        if not len(losses):
            return None
        low, high = np.percentile(losses, [1, 99])
        return float(low), float(max(high, low * 1.01))

    def _room(self) -> QRectF:
        return QRectF(AXIS_WIDTH, 0, max(1, self.width() - AXIS_WIDTH), self.height())

    def _column(self, step: float | Float64) -> NDArray[np.int64]:
        """The probe whose column holds each step: a column ends at its probe, so that the newest is seen."""
        return np.minimum(np.searchsorted(self._steps, step), len(self._steps) - 1)

    def _compose(self, width: int) -> QImage:
        bounds = self.bounds()
        steps = (np.arange(width) + 0.5) / width * self._last_step
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
        self._pixels[:, steps > self._steps[-1], 3] = 0  # not probed yet
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
        i = int(self._column((where.x() - room.left()) / room.width() * self._last_step))
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
        left = self._steps[i - 1] if i else 0.0
        high, wide = room.height() / len(self._levels), room.width() / self._last_step
        cell = QRectF(room.left() + left * wide, k * high, max(4.0, (self._steps[i] - left) * wide), high)
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


class ColorScale(QWidget):
    """What the colours of a LevelMap mean: "0.01 ▮▮▮ 1.2"."""

    def __init__(self, level_map: LevelMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._map = level_map
        self.setFont(level_map.font())
        self.setFixedSize(96, self.fontMetrics().height() + 2)
        self.setToolTip(self.tr("Colours of the loss, on a logarithmic scale"))
        strip = np.full((1, 256, 4), 255, np.uint8)
        strip[..., :3] = level_map._colors
        self._strip = strip
        theme().changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        bounds = self._map.bounds()
        if bounds is None:
            return
        painter, bar = QPainter(self), QRectF(42, self.height() / 2 - 3, 20, 6)
        image = QImage(self._strip.data, 256, 1, 1024, QImage.Format.Format_RGBX8888)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(bar, image)
        painter.setPen(color("muted"))
        align, high = Qt.AlignmentFlag, self.height()
        for left, side, loss in ((0, align.AlignRight, bounds[0]), (65, align.AlignLeft, bounds[1])):
            painter.drawText(QRectF(left, 0, 31 if left else 39, high), side | align.AlignVCenter, f"{loss:.2g}")
