"""All that was recorded of a training, as a small picture: training steps downwards, the process to the right."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from ddpm_studio.app.canvas import LEAST_RANGE, Particles
from ddpm_studio.app.painting import draw_focus
from ddpm_studio.app.theme import color, theme
from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Frame, Tape

COLUMNS = 8
CELL = 17  # px
EDGE = 1  # px round the map, for the ring
SPRITE = 32  # px, most of a picture that is kept
AT_ONCE = 6  # rows drawn in one go: a long record must not hold up the window


def shown_rows(count: int, height: int) -> list[int]:
    """Which of ``count`` rows are seen in ``height`` px: evenly spread, the first and the last always."""
    most = max(2, height // CELL)
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]


def extent(count: int, height: int) -> int:
    """How many of ``height`` px that many rows take: the map grows downwards until it is full."""
    return len(shown_rows(count, height)) * CELL


class CellMap(QWidget):
    """One item of each cell, small. A press or a drag goes to that training step and that t at once; ← and → go one
    column, all other keys are those of the clocks.

    Rows go down as the training goes on, columns from x_T to x_0; in each cell is the first item, or the chosen one.
    """

    cell_picked = Signal(int, float)  # row, and share 0 … 1 of the process

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("cell_map")
        self.setAccessibleName(self.tr("Map of what was recorded: training step down, noise level across"))
        self.setToolTip(self.tr("All that was recorded: training goes down, noise becomes data to the right"))
        self.setFixedWidth(COLUMNS * CELL + 2 * EDGE)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._rows: tuple[Tape, ...] = ()
        self._row, self._share = -1, 1.0
        self._show, self._item, self._range = "x", 0, LEAST_RANGE
        self._sprites: dict[int, tuple[Tape, QImage]] = {}  # by row
        self._drawn: QPixmap | None = None  # all rows, without the clocks
        theme().changed.connect(self._forget)

    def sizeHint(self) -> QSize:
        return QSize(COLUMNS * CELL + 2 * EDGE, 8 * CELL)

    # -- what it is given

    def set_rows(self, rows: tuple[Tape, ...]) -> None:
        if rows is not self._rows:
            kept = {id(tape): sprite for tape, sprite in self._sprites.values()}
            self._rows = rows
            self._sprites = {i: (tape, kept[id(tape)]) for i, tape in enumerate(rows) if id(tape) in kept}
            self._redraw()

    def set_show(self, show: str, item: int = 0) -> None:
        """What of a cell is drawn: "x", "x0" or "eps", and of which item."""
        if (show, max(item, 0)) != (self._show, self._item):
            self._show, self._item = show, max(item, 0)
            self._forget()

    def set_range(self, reach: float) -> None:
        """The plane that cells of points show: -reach … reach."""
        if reach != self._range:
            self._range = reach
            self._forget()

    def set_place(self, row: int, share: float) -> None:
        """Where both clocks stand; row -1 for nowhere."""
        if (row, share) != (self._row, self._share):
            self._row, self._share = row, share
            self.update()

    def _forget(self) -> None:
        self._sprites.clear()
        self._redraw()

    def _redraw(self) -> None:
        self._drawn = None
        self.update()

    # -- places

    @property
    def _room(self) -> int:
        return self.height() - 2 * EDGE

    def centre(self, row: int, share: float) -> QPointF:
        """Where a cell lies, in px."""
        y = (row + 0.5) / max(len(self._rows), 1) * extent(len(self._rows), self._room)
        return QPointF(EDGE + (share * (COLUMNS - 1) + 0.5) * CELL, EDGE + y)

    def _pick(self, event: QMouseEvent) -> None:
        if not self._rows:
            return
        x, y = event.position().x() - EDGE, event.position().y() - EDGE
        row = math.floor(y / extent(len(self._rows), self._room) * len(self._rows))
        share = (x / CELL - 0.5) / (COLUMNS - 1)
        self.cell_picked.emit(min(max(row, 0), len(self._rows) - 1), min(max(share, 0.0), 1.0))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._pick(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._pick(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        by = (event.key() == Qt.Key.Key_Right) - (event.key() == Qt.Key.Key_Left)
        if not by or not self._rows:
            super().keyPressEvent(event)
            return
        row = self._row if self._row >= 0 else len(self._rows) - 1
        frames = len(self._rows[row].frames)
        share = self._share + by / max(min(frames, COLUMNS) - 1, 1)  # with few frames several columns show the same
        self.cell_picked.emit(row, min(max(share, 0.0), 1.0))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._redraw()

    # -- drawing

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._drawn is None and self._rows:
            self._draw_rows()
        painter = QPainter(self)
        if self._drawn is not None:
            painter.drawPixmap(EDGE, EDGE, self._drawn)
        if self._row >= 0:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            at = self.centre(self._row, self._share)
            painter.setPen(QPen(color("accent", 0.5), 1))
            painter.drawLine(QPointF(EDGE, at.y()), QPointF(self.width() - EDGE, at.y()))
            painter.drawLine(QPointF(at.x(), EDGE), QPointF(at.x(), EDGE + extent(len(self._rows), self._room)))
            half = CELL / 2
            for pen in (QPen(color("stage"), 5), QPen(color("accent"), 2)):  # a rim, as it lies on pictures
                painter.setPen(pen)
                painter.drawRoundedRect(QRectF(at.x() - half, at.y() - half, CELL, CELL), 3, 3)
        draw_focus(painter, self)

    def _draw_rows(self) -> None:
        """Put together what is seen; rows that are still to be drawn come with the next paint."""
        seen = shown_rows(len(self._rows), self._room)
        ratio = self.devicePixelRatioF()
        whole = QPixmap(round(COLUMNS * CELL * ratio), round(len(seen) * CELL * ratio))
        whole.setDevicePixelRatio(ratio)
        whole.fill(color("stage"))
        painter = QPainter(whole)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        fresh = 0
        for k, i in enumerate(seen):
            if i not in self._sprites and fresh < AT_ONCE:
                self._sprites[i] = (self._rows[i], self._sprite(self._rows[i]))
                fresh += 1
            if i in self._sprites:
                painter.drawImage(QRectF(0, k * CELL, COLUMNS * CELL, CELL - 1), self._sprites[i][1])
        painter.end()
        self._drawn = whole
        if fresh == AT_ONCE and any(i not in self._sprites for i in seen):
            self._redraw()

    def _sprite(self, tape: Tape) -> QImage:
        """A row: one item of each of ``COLUMNS`` frames, side by side."""
        frames = [frame_at(tape, k / (COLUMNS - 1)) for k in range(COLUMNS)]
        if tape.kind == "points":
            return self._clouds(frames)
        items = [frame.view(self._show)[min(self._item, len(frame.x) - 1)] for frame in frames]
        step = math.ceil(max(items[0].shape[:2]) / SPRITE)
        row = np.concatenate([item[::step, ::step] for item in items], axis=1)
        height, width = row.shape[:2]
        pixels = np.full((height, width, 4), 255, np.uint8)
        pixels[..., :3] = row  # one channel is repeated
        return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGBX8888).copy()

    def _clouds(self, frames: list[Frame]) -> QImage:
        image = QImage(COLUMNS * SPRITE, SPRITE, QImage.Format.Format_ARGB32_Premultiplied)
        image.fill(Qt.GlobalColor.transparent)
        painter = QPainter(image)
        for k, frame in enumerate(frames):
            unit = SPRITE / 2 / self._range
            cloud = Particles(frame.view(self._show)[:200], SPRITE, SPRITE, unit, 0.7, color("accent", 0.6))
            painter.drawImage(k * SPRITE, 0, cloud.image)
        painter.end()
        return image
