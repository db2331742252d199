"""The probe loss by noise level, as a picture: the training step to the right, t from low to high downwards."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QRectF, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QPainter, QPainterPath, QPaintEvent
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

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("level_map")
        self.setAccessibleName(self.tr("Loss by noise level and training step"))
        self.setMinimumHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)
        self.setFont(tabular(self.font(), 0.82))
        self._steps: list[float] = []
        self._columns: list[Float64] = []
        self._levels: Float64 = np.empty(0)
        self._last_step = 1.0
        self._image: QImage | None = None
        self._pixels: NDArray[np.uint8] = np.empty(0, np.uint8)
        # Fixed colours, the same in light and dark: they carry data. Perceptually even, safe for the colour-blind.
        self._colors: NDArray[np.uint8] = pg.colormap.get("viridis").getLookupTable(nPts=256)[:, :3]
        theme().changed.connect(self.update)

    def add_probe(self, step: float, levels: NDArray[np.floating], losses: NDArray[np.floating]) -> None:
        """One column: the mean loss in each bin of noise levels; ``levels`` are the bins' t, ascending."""
        if len(levels) != len(self._levels):
            self.clear()
        while self._steps and self._steps[-1] >= step:  # after a roll-back
            self._steps.pop()
            self._columns.pop()
        self._levels = np.asarray(levels, np.float64)
        self._steps.append(float(step))
        self._columns.append(np.asarray(losses, np.float64))
        self.set_last_step(step)
        self._image = None
        self.update()

    def clear(self) -> None:
        self._steps, self._columns, self._image = [], [], None
        self._last_step = 1.0
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
        i = int(self._column((where.x() - room.left()) / room.width() * self._last_step))
        k = min(len(self._levels) - 1, int(where.y() / room.height() * len(self._levels)))
        said = self.tr("step {step} · t ≈ {t} · loss {loss}")
        self.readout_changed.emit(
            said.format(
                step=f"{self._steps[i]:,.0f}",
                t=level_number(round(self._levels[k])),
                loss=f"{self._columns[i][k]:.3g}",
            )
        )

    def leaveEvent(self, event: QEvent) -> None:
        self.readout_changed.emit("")


class ColorScale(QWidget):
    """What the colours of a LevelMap mean: "0.01 ▮▮▮ 1.2"."""

    def __init__(self, level_map: LevelMap, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._map = level_map
        self.setFont(level_map.font())
        self.setFixedSize(128, self.fontMetrics().height() + 2)
        self.setToolTip(self.tr("Colours of the loss, on a logarithmic scale"))
        strip = np.full((1, 256, 4), 255, np.uint8)
        strip[..., :3] = level_map._colors
        self._strip = strip
        theme().changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        bounds = self._map.bounds()
        if bounds is None:
            return
        painter, bar = QPainter(self), QRectF(46, self.height() / 2 - 3, 36, 6)
        image = QImage(self._strip.data, 256, 1, 1024, QImage.Format.Format_RGBX8888)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(bar, image)
        painter.setPen(color("muted"))
        align = Qt.AlignmentFlag
        for left, side, loss in ((0, align.AlignRight, bounds[0]), (86, align.AlignLeft, bounds[1])):
            painter.drawText(QRectF(left, 0, 42, self.height()), side | align.AlignVCenter, f"{loss:.2g}")
