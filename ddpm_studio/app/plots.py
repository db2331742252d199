"""What every plot is made of: a quiet pyqtgraph plot in the theme's colours, and its legend.

Imported after the first paint only, because pyqtgraph takes a while to load.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.curves import log_ticks
from ddpm_studio.app.labels import EmptyHint
from ddpm_studio.app.texts import on_axis
from ddpm_studio.app.theme import GRID, color, tabular, theme

pg.setConfigOption("exitCleanup", False)

AXIS_WIDTH = 36  # px, so that plots line up and no number moves them
AXIS_HEIGHT = 18


def pen(role: str, opacity: float = 1.0, width: float = 1.0, dashed: bool = False) -> QPen:
    """A cosmetic pen in a named colour."""
    made = QPen(color(role, opacity), width)
    made.setCosmetic(True)
    if dashed:
        made.setDashPattern([4, 3])
    return made


class LogAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis whose values are log10 of what its numbers say, with round numbers at any zoom."""

    log = False

    def tickValues(self, low: float, high: float, size: float) -> Any:
        if not self.log or not -300 < low < high < 300:
            return super().tickValues(low, high, size)
        return [(None, [float(np.log10(value)) for value in log_ticks(10**low, 10**high)])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float | None) -> list[str]:
        numbers = [10**v for v in values] if self.log else [v * scale for v in values]
        return [on_axis(number) for number in numbers]


class Plot(pg.PlotWidget):  # type: ignore[misc]
    """Drag to move, Ctrl and wheel to zoom, double click for everything; hover for numbers."""

    hovered = Signal(float)  # x under the pointer; NaN when it leaves
    moved = Signal()  # by the person
    reset = Signal()

    def __init__(self, name: str, accessible_name: str, height: int, unit: str, parent: QWidget | None = None) -> None:
        """``unit``: what the horizontal axis counts; ``height``: px at least."""
        self._left = LogAxis("left")
        self._unit = unit
        super().__init__(parent, axisItems={"left": self._left, "bottom": LogAxis("bottom")})
        self.setObjectName(name)
        self.setAccessibleName(accessible_name)
        self.setMinimumHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setFrameShape(self.Shape.NoFrame)
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setAntialiasing(False)
        self.getPlotItem().setContentsMargins(0, 2, 0, 0)
        self.getViewBox().setDefaultPadding(0)
        self.disableAutoRange()
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setStyle(tickFont=tabular(self.font(), 0.82), tickLength=0, tickTextOffset=4)
        self._left.setWidth(AXIS_WIDTH)
        self.getAxis("bottom").setHeight(AXIS_HEIGHT)
        self._hint = EmptyHint()
        self._hint.setFont(tabular(self.font(), 0.9))
        over = QVBoxLayout(self)
        over.setContentsMargins(AXIS_WIDTH + GRID, GRID, GRID, AXIS_HEIGHT + GRID)
        over.addWidget(self._hint)
        self._hint.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._hint.hide()
        self._cross = pg.InfiniteLine(angle=90)
        self._cross.hide()
        self.addItem(self._cross, ignoreBounds=True)
        self.getViewBox().sigRangeChangedManually.connect(self._on_moved)
        self.setMouseTracking(True)
        theme().changed.connect(self._on_theme)
        self.dress()

    @Slot()
    def _on_theme(self) -> None:  # a slot that is overridden would outlive the widget
        self.dress()

    def dress(self) -> None:
        """Put on the colours in force; a plot with curves extends this."""
        self.setBackground(color("panel"))
        for side in ("left", "bottom"):
            axis = self.getAxis(side)
            axis.setPen(pen("hairline"))
            axis.setTextPen(pen("muted"))
        self._left.setGrid(70)
        self._cross.setPen(pen("muted", 0.7))

    def sizeHint(self) -> QSize:
        return QSize(100, self.minimumHeight())  # the panel gives it what room there is

    def set_hint(self, text: str) -> None:
        """What an empty plot says instead of numbers at its axes; "" once there is a curve."""
        if text != self._hint.text() or not text:
            self._hint.setText(text)
        if self._hint.isHidden() == bool(text):
            self._hint.setVisible(bool(text))
            for side in ("left", "bottom"):
                self.getAxis(side).setStyle(showValues=not text)

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:
        if self._hint.isHidden():
            painter.setFont(self.getAxis("bottom").style["tickFont"])
            painter.setPen(color("faint"))
            corner = QRectF(0, self.height() - AXIS_HEIGHT, AXIS_WIDTH - 6, AXIS_HEIGHT)
            painter.drawText(corner, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._unit)

    def set_log(self, log: bool) -> None:
        """Say whether the y values given are log10 of what the axis shall say."""
        self._left.log = log
        self._left.picture = None
        self._left.update()

    @Slot(object)
    def _on_moved(self, _axes: object) -> None:
        self.moved.emit()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.reset.emit()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        view = self.getViewBox()
        spot = QPointF(event.position())
        inside = view.sceneBoundingRect().contains(spot)
        x = view.mapSceneToView(spot).x() if inside else float("nan")
        self._cross.setVisible(inside)
        if inside:
            self._cross.setPos(x)
        self.hovered.emit(x)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self._cross.hide()
        self.hovered.emit(float("nan"))

    def wheelEvent(self, event: QWheelEvent) -> None:
        # A wheel without Ctrl belongs to the panel, which scrolls.
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event)
        else:
            event.ignore()


def curve(plot: Plot, smooth: bool = False, dashed: bool = False) -> Any:
    """An empty curve that takes finite data only (so that pyqtgraph need not look).

    ``smooth`` edges are for a few hundred points; on a long live curve they would cost too much. They are drawn
    line by line: the outline of a noisy curve as a whole takes twenty times as long. ``dashed``: not so, or each
    line would begin with a dash.
    """
    item = pg.PlotCurveItem(connect="all", skipFiniteCheck=True, antialias=smooth)
    item.setSegmentedLineMode("on" if smooth and not dashed else "auto")
    plot.addItem(item, ignoreBounds=True)
    return item


class Legend(QWidget):
    """ "Colour: what it is", in the order given, on as many lines as that takes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: list[tuple[str | QColor, str, bool]] = []
        self._lines = 1
        self.setFont(tabular(self.font(), 0.9))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_entries(self, entries: Sequence[tuple[str | QColor, str, bool]]) -> None:
        """(name of a colour or the colour itself, text, dashed)."""
        if list(entries) != self._entries:
            others = len(entries) != len(self._entries)
            self._entries = list(entries)
            self.setAccessibleName(", ".join(text for _, text, _ in entries))
            self._fit(anew=others)
            self.update()

    def _fit(self, anew: bool) -> None:
        """Numbers that grow shorter take no line away: nothing jumps."""
        needed = self._places()[-1][1] + 1 if self._entries else 1
        lines = needed if anew else max(needed, self._lines)
        if lines != self._lines:
            self._lines = lines
            self.updateGeometry()

    def _places(self) -> list[tuple[int, int]]:
        """(left, line) of each entry."""
        places, x, line = [], 0, 0
        for _, text, _ in self._entries:
            wide = GRID + 6 + self.fontMetrics().horizontalAdvance(text)
            if x and x + wide > self.width():
                x, line = 0, line + 1
            places.append((x, line))
            x += wide + 2 * GRID
        return places

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit(anew=True)

    def sizeHint(self) -> QSize:
        return QSize(100, self._lines * (self.fontMetrics().height() + 2))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, high = QPainter(self), self.fontMetrics().height() + 2
        for (role, text, dashed), (x, line) in zip(self._entries, self._places(), strict=True):
            middle = line * high + high // 2
            for left, right in ((x, x + 3), (x + 5, x + 8)) if dashed else ((x, x + 8),):
                shade = role if isinstance(role, QColor) else color(role)
                painter.fillRect(QRectF(left, middle - 1, right - left, 2), shade)
            painter.setPen(color("muted"))
            room = QRectF(x + GRID + 6, line * high, max(0, self.width() - x - GRID - 6), high)
            shown = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(room.width()) + 1)
            painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, shown)
