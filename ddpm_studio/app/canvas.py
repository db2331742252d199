"""The stage: one frame of a tape, as a grid of pictures or as particles in the plane."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ddpm_studio.app.density import density_image, paint_density
from ddpm_studio.app.labels import EmptyHint
from ddpm_studio.app.levels import level_text
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.score_field import Arrows, draw_arrows, draw_legend
from ddpm_studio.app.theme import GRID, color, tabular, theme
from ddpm_studio.app.trails import Trails, trail_of
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Frame, ScoreField, Tape

MARGIN = 2 * GRID  # px round the pictures
MOST = 400  # pictures shown at once
LEAST_RANGE = 2.5  # the plane shows at least -2.5 … 2.5
NUMBERS = 20  # px along the border that are kept clear of lines, for the numbers; twice that at the left
LEAST_NUMBERED = 140  # px: a smaller plane has no numbers
RADIUS = 1.5  # px, particles (a disc then touches 5 x 5 pixels)
TURNS: dict[int, int] = {Qt.Key.Key_BracketLeft: -1, Qt.Key.Key_BracketRight: 1}  # the item before and after
FAINT = 0.25  # opacity of what is not there yet
REACH = 14  # px from the pointer to the particle that a click marks


class Sheet:
    """The pictures of one frame as one RGBX image, one below the other; ``pixels`` keeps the memory alive."""

    def __init__(self, items: NDArray[Any]) -> None:
        n, h, w, channels = items.shape
        self.count, self.height, self.width = n, h, w
        self.pixels = np.full((n * h, w, 4), 255, np.uint8)
        self.pixels[..., :3] = items.reshape(n * h, w, channels)  # one channel is repeated
        self.image = QImage(self.pixels.data, w, n * h, 4 * w, QImage.Format.Format_RGBX8888)

    def draw(self, painter: QPainter, i: int, where: QRect) -> None:
        """Draw picture ``i``: crisp when enlarged, smooth when reduced. The painter is in device pixels."""
        reduced = where.width() < self.width
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, reduced)
        painter.drawImage(where, self.image, QRect(0, i * self.height, self.width, self.height))


class Particles:
    """Points as soft discs whose opacity adds up, on a transparent image of device pixels."""

    def __init__(self, points: NDArray[Any], width: int, height: int, unit: float, radius: float, tint: QColor) -> None:
        """``unit``: pixels for a length of 1 (the origin is in the centre); ``radius``: pixels."""
        reach = math.ceil(radius + 0.5)
        with np.errstate(invalid="ignore", over="ignore"):  # what has run away is not seen
            x, y = width / 2 + points[:, 0] * unit, height / 2 - points[:, 1] * unit
            seen = (x > -reach) & (x < width + reach) & (y > -reach) & (y < height + reach)
        x, y = x[seen].astype(np.float32), y[seen].astype(np.float32)
        left, top = np.floor(x), np.floor(y)
        near = np.arange(-reach, reach + 1, dtype=np.float32)
        across = near + 0.5 - (x - left)[:, None]
        down = near + 0.5 - (y - top)[:, None]
        distance = np.sqrt(down[:, :, None] ** 2 + across[:, None, :] ** 2)
        weight = np.clip(radius + 0.5 - distance, 0, 1)
        pad = 2 * reach + 1  # so that discs at the border need no test
        stride = width + 2 * pad
        rows = (top[:, None] + near + pad).astype(np.int64)
        columns = (left[:, None] + near + pad).astype(np.int64)
        flat = (rows[:, :, None] * stride + columns[:, None, :]).ravel()
        padded = paint_density(flat, weight.ravel(), (height + 2 * pad) * stride, tint).reshape(-1, stride)
        self.pixels = padded[pad : pad + height, pad : pad + width].copy()
        self.image = density_image(self.pixels)


def grid_tiles(width: int, height: int, count: int, item: tuple[int, int], gap: int, whole: bool = True) -> list[QRect]:
    """Where ``count`` pictures of (height, width) ``item`` go: as large as they fit, centred, equal gaps."""
    high, wide = item
    best, columns, rows, score = 0.0, 1, count, -1.0
    for c in range(1, count + 1):
        r = math.ceil(count / c)
        scale = min((width - (c - 1) * gap) / (c * wide), (height - (r - 1) * gap) / (r * high))
        # Whole multiples are crispest; between them pixels differ by one, which costs less than much lost room.
        if whole and scale >= 1 and math.floor(scale) >= 0.8 * scale:
            scale = math.floor(scale)
        if scale * count / (r * c) > score:  # empty places count against it
            best, columns, rows, score = scale, c, r, scale * count / (r * c)
    w, h = max(1, math.floor(wide * best)), max(1, math.floor(high * best))
    left = (width - columns * w - (columns - 1) * gap) // 2
    top = (height - rows * h - (rows - 1) * gap) // 2
    return [QRect(left + i % columns * (w + gap), top + i // columns * (h + gap), w, h) for i in range(count)]


class FrameCanvas(QWidget):
    """A rounded stage that shows one view of one frame, or says what will appear there."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._items: NDArray[Any] | None = None
        self._show = "x"
        self._faint = False
        self._hint = EmptyHint("", self)
        self._layout = QVBoxLayout(self)
        self._layout.addWidget(self._hint)
        self.set_margin(MARGIN)
        self.set_hint(self.tr("Press Start: pictures will condense out of noise here."))
        self.setMinimumSize(160, 120)
        theme().changed.connect(self.update)

    def set_margin(self, margin: int) -> None:
        """px round the pictures, and round what is said instead of them."""
        self._margin = margin
        self._layout.setContentsMargins(3 * margin, margin, 3 * margin, margin)
        self.update()

    def set_hint(self, text: str) -> None:
        """What stands here while there is no frame."""
        self._hint.setText(text)

    def set_faint(self, on: bool) -> None:
        """What is shown is not there yet."""
        if on != self._faint:
            self._faint = on
            self.update()

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        """``show``: "x", "x0" or "eps". The frame's arrays are read, never written."""
        items = None if frame is None or not len(frame.x) else frame.view(show)
        if items is self._items and show == self._show:
            return
        self._items, self._show = items, show
        self._hint.setVisible(items is None)
        if frame is not None:
            said = self.tr("%n item(s) at noise level {t}", "", len(frame.x)).format(t=level_text(frame.t))
            self.setAccessibleDescription(said)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        draw_box(painter, QRectF(self.rect()), color("stage"), color("stage"))
        if self._items is not None:
            painter.setOpacity(FAINT if self._faint else 1)
            self._draw(painter, self._items)

    def _draw(self, painter: QPainter, items: NDArray[Any]) -> None:
        raise NotImplementedError

    def _device_size(self) -> tuple[int, int]:
        ratio = self.devicePixelRatioF()
        return round(self.width() * ratio), round(self.height() * ratio)


class PictureCanvas(FrameCanvas):
    """uint8 (N, H, W, C), grey or RGB, as a grid with one size for all; a click chooses a picture."""

    picture_chosen = Signal(int)  # -1: none

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("picture_canvas")
        self.setAccessibleName(self.tr("Pictures"))
        self.setMouseTracking(True)
        self._sheet: Sheet | None = None
        self._sheet_of: NDArray[Any] | None = None
        self._tiles: list[QRect] = []
        self._tiles_for: tuple[int, ...] = ()
        self._hovered = -1
        self.chosen = -1

    def set_chosen(self, i: int) -> None:
        if i != self.chosen:
            self.chosen = i
            self.update()
            self.picture_chosen.emit(i)

    def tiles(self) -> list[QRect]:
        """The place of each picture, in device pixels of this widget."""
        if self._items is None:
            return []
        count, *item = self._items.shape[:3]
        key = (*self._device_size(), self._margin, count, *item)
        if key != self._tiles_for:
            ratio = self.devicePixelRatioF()
            margin, gap = round(self._margin * ratio), round((GRID if count <= 64 else GRID / 2) * ratio)
            room = key[0] - 2 * margin, key[1] - 2 * margin
            tiles = grid_tiles(*room, min(count, MOST), (item[0], item[1]), gap)
            self._tiles, self._tiles_for = [tile.translated(margin, margin) for tile in tiles], key
        return self._tiles

    def _draw(self, painter: QPainter, items: NDArray[Any]) -> None:
        tiles = self.tiles()
        if self._sheet is None or self._sheet_of is not items:
            self._sheet, self._sheet_of = Sheet(items[: len(tiles)]), items
        ratio = self.devicePixelRatioF()
        painter.scale(1 / ratio, 1 / ratio)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for i, tile in enumerate(tiles):
            self._sheet.draw(painter, i, tile)
        for i, tint in ((self._hovered, color("muted")), (self.chosen, color("accent"))):
            if 0 <= i < len(tiles):
                painter.setPen(QPen(tint, round(2 * ratio), j=Qt.PenJoinStyle.MiterJoin))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                edge = round(ratio)
                painter.drawRect(tiles[i].adjusted(-edge, -edge, edge, edge))
        painter.scale(ratio, ratio)
        if 0 <= self._hovered < len(tiles):
            self._draw_number(painter, self._hovered, tiles[self._hovered], ratio)

    def _draw_number(self, painter: QPainter, i: int, tile: QRect, ratio: float) -> None:
        painter.setFont(tabular(self.font(), 0.86))
        text = self.tr("picture {i}").format(i=i + 1)
        width = painter.fontMetrics().horizontalAdvance(text) + 12
        box = QRectF(tile.left() / ratio, tile.bottom() / ratio - 16, width, 20)
        box.moveLeft(min(box.left(), self.width() - width - 4))
        draw_box(painter, box, color("panel"), color("hairline"))
        painter.setPen(color("text"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)

    def at(self, where: QPointF) -> int:
        """The picture at a place of this widget; -1: none."""
        spot = (where * self.devicePixelRatioF()).toPoint()
        return next((i for i, tile in enumerate(self.tiles()) if tile.contains(spot)), -1)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hover(self.at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        self._hover(-1)

    def _hover(self, i: int) -> None:
        if i != self._hovered:
            self._hovered = i
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._items is not None:
            i = self.at(event.position())
            self.set_chosen(-1 if i == self.chosen else i)
        else:
            super().mousePressEvent(event)


class PointCanvas(FrameCanvas):
    """float32 (N, 2) as soft particles over the faint data points, with equal axes; with trails or score arrows.

    A click marks the nearest particle, whose trail is drawn whole; the same place in another tape stays marked, as
    previews begin at the same noise.
    """

    point_chosen = Signal(int)  # -1: none

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("point_canvas")
        self.setAccessibleName(self.tr("Points in the plane"))
        self._data: NDArray[Any] | None = None
        self._range = LEAST_RANGE
        self._ground: Particles | None = None
        self._ground_key: tuple[Any, ...] = ()
        self._mixture: Mixture | None = None
        self._with_score = False
        self._field: ScoreField | None = None
        self._arrows: Arrows | None = None
        self._tape: Tape | None = None  # the past of what is shown
        self._position = 0
        self._with_trails = False
        self._trails: Trails | None = None
        self.chosen = -1

    def set_chosen(self, i: int) -> None:
        """Mark one particle; -1: none."""
        if i != self.chosen:
            self.chosen = i
            self.update()
            self.point_chosen.emit(i)

    def set_past(self, tape: Tape | None, position: int) -> None:
        """The tape of the frame shown and its place there: the trails come out of the frames before it."""
        if tape is not self._tape or position != self._position:
            self._tape, self._position = tape, position
            self.update()

    def set_with_trails(self, on: bool) -> None:
        """Draw the way that the particles have come."""
        if on != self._with_trails:
            self._with_trails, self._trails = on, None
            self.update()

    def set_data(self, points: NDArray[Any] | None) -> None:
        """The data (M, 2) behind the particles; the view covers all of it."""
        if points is self._data:
            return
        self._data = points
        most = float(np.abs(points).max()) if points is not None and len(points) else 0.0
        self._range = max(LEAST_RANGE, 1.2 * most)
        self._ground = None
        self.update()

    @property
    def data(self) -> NDArray[Any] | None:
        """What lies behind the particles, (M, 2)."""
        return self._data

    def set_mixture(self, mixture: Mixture | None) -> None:
        """The density whose true score is drawn beside the learnt one."""
        if mixture is not self._mixture:
            self._mixture, self._arrows = mixture, None
            self.update()

    def set_with_score(self, on: bool) -> None:
        """Draw the frame's score field, with the particles faint."""
        if on != self._with_score:
            self._with_score = on
            self.update()

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        field = frame.field if frame is not None else None
        if field is not self._field:
            self._field, self._arrows = field, None
            self.update()
        super().set_frame(frame, show)

    @property
    def view_range(self) -> float:
        """The plane is shown from minus this to this, or more along the longer side."""
        return self._range

    def _draw(self, painter: QPainter, items: NDArray[Any]) -> None:
        ratio = self.devicePixelRatioF()
        width, height = self._device_size()
        unit = min(width, height) / 2 / self._range
        self._draw_grid(painter, unit / ratio)
        painter.scale(1 / ratio, 1 / ratio)
        if self._data is not None and self._show != "eps":  # the noise has nothing to do with the data
            key = (width, height, unit, color("muted").rgb())
            if self._ground is None or key != self._ground_key:
                tint = color("muted", 0.3)
                self._ground = Particles(self._data, width, height, unit, RADIUS * ratio, tint)
                self._ground_key = key
            painter.drawImage(0, 0, self._ground.image)
        tint = color("text", 0.2) if self._with_score else color("accent", 0.75)
        place = (width, height, unit)
        trails = self._with_trails and not self._with_score
        if trails:
            self._draw_trails(painter, place)
        cloud = Particles(items, width, height, unit, RADIUS * ratio, tint)
        painter.drawImage(0, 0, cloud.image)
        if 0 <= self.chosen < len(items):
            self._draw_chosen(painter, items[self.chosen], place, ratio, trails)
        if self._with_score:
            painter.scale(ratio, ratio)
            self._draw_score(painter, unit / ratio)

    def _draw_trails(self, painter: QPainter, place: tuple[int, int, float]) -> None:
        if self._tape is None:
            return
        of = (self._show, *place)
        if self._trails is None or self._trails.tape is not self._tape or self._trails.of != of:
            self._trails = Trails(self._tape, self._show, *place)
        image = self._trails.image(self._position, color("accent", 0.5))
        if image is not None:
            painter.drawImage(0, 0, image)

    def _draw_chosen(
        self, painter: QPainter, at: NDArray[Any], place: tuple[int, int, float], ratio: float, trail: bool
    ) -> None:
        """The marked particle with a ring around it; its whole trail, if wanted, in the colour of text."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color("text"), 1.75 * ratio, j=Qt.PenJoinStyle.RoundJoin))
        if trail and self._tape is not None:
            for piece in trail_of(self._tape, self._position, self.chosen, self._show, place):
                painter.drawPolyline(piece)
        x, y = self._pixels(at[np.newaxis], place)[0]
        if abs(x) < 2 * place[0] and abs(y) < 2 * place[1]:  # it has not run away
            painter.drawEllipse(QPointF(x, y), 5 * ratio, 5 * ratio)

    @staticmethod
    def _pixels(items: NDArray[Any], place: tuple[int, int, float]) -> NDArray[np.float64]:
        width, height, unit = place
        at: NDArray[np.float64] = items.astype(np.float64) * (unit, -unit) + (width / 2, height / 2)
        return at

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton or self._items is None:
            super().mousePressEvent(event)
            return
        width, height = self.width(), self.height()
        at = self._pixels(self._items, (width, height, min(width, height) / 2 / self._range))
        away = np.hypot(at[:, 0] - event.position().x(), at[:, 1] - event.position().y())
        i = int(np.argmin(np.where(np.isfinite(away), away, np.inf)))
        self.set_chosen(i if away[i] <= REACH and i != self.chosen else -1)

    def _draw_score(self, painter: QPainter, unit: float) -> None:
        painter.setFont(tabular(self.font(), 0.86))
        legend = [("", self.tr("This recording holds no score field"))]
        if self._field is not None:
            if self._arrows is None:
                self._arrows = Arrows.of(self._field, self._mixture)
            room = QRectF(2 * NUMBERS, 0, self.width() - 2 * NUMBERS, self.height() - NUMBERS)
            arrows = self._arrows.for_squares(2 * self._field.reach / len(self._field.score) * unit)
            draw_arrows(painter, arrows, self.width(), self.height(), unit, room)
            legend = [("accent", self.tr("learnt score"))]
            if self._arrows.true is not None:
                legend.append(("changed", self.tr("true score")))
            legend.append(("", self.tr("at σ = {sigma:.2g}").format(sigma=self._field.sigma)))
            one = float(f"{self._arrows.one_square:.2g}")  # so that 1300 is not 1.3e+03
            legend.append(("", self.tr("1 square = {score:,g}").format(score=one)))
        draw_legend(painter, legend, 3 * MARGIN, MARGIN)  # beside the numbers, off the diagonal where modes like to lie

    def _draw_grid(self, painter: QPainter, unit: float) -> None:
        """Faint lines at round numbers, the axes a little stronger, numbers along the left and the bottom."""
        step = next(s * 10**p for p in range(-3, 9) for s in (1, 2, 5) if s * 10**p * unit >= 64)
        w, h = self.width(), self.height()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setFont(tabular(self.font(), 0.86))
        edge = NUMBERS if min(w, h) >= LEAST_NUMBERED else 0
        for k in range(math.ceil(-w / 2 / unit / step), math.floor(w / 2 / unit / step) + 1):
            x = round(w / 2 + k * step * unit)
            painter.setPen(color("faint", 0.6 if k == 0 else 0.25))
            painter.drawLine(x, 0, x, h - edge)
            painter.setPen(color("muted"))
            if edge and 2 * edge < x < w - edge:
                place = QRectF(x - 30, h - edge, 60, edge)
                painter.drawText(place, Qt.AlignmentFlag.AlignCenter, f"{k * step:g}".replace("-", "−"))
        for k in range(math.ceil(-h / 2 / unit / step), math.floor(h / 2 / unit / step) + 1):
            y = round(h / 2 - k * step * unit)
            painter.setPen(color("faint", 0.6 if k == 0 else 0.25))
            painter.drawLine(2 * edge, y, w, y)
            painter.setPen(color("muted"))
            if edge and edge < y < h - edge:
                place = QRectF(0, y - 10, 1.6 * edge, 20)
                align = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                painter.drawText(place, align, f"{k * step:g}".replace("-", "−"))
