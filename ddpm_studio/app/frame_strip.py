"""What the timeline is made of: a strip of thumbnails that fills up live, and a slim slider."""

from __future__ import annotations

from PySide6.QtCore import QRect, QRectF, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QSlider, QWidget

from ddpm_studio.app.canvas import LEAST_RANGE, Particles, Sheet, grid_tiles
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.playback import Player
from ddpm_studio.app.theme import GRID, color, theme
from ddpm_studio.diffusion.tape import Frame

TILE = 56  # px, thumbnails
MOST_TILES = 12
RING = 2  # px, outline of a thumbnail
HANDLE = 7.0  # px, radius
REST = 120  # ms that a tape stays before its thumbnails are drawn: none while a person scrubs through tapes


class FrameStrip(QWidget):
    """Thumbnails of evenly chosen frames; those not recorded yet are empty slots. A click goes there."""

    frame_picked = Signal(int)

    def __init__(self, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("frame_strip")
        self.setAccessibleName(self.tr("Thumbnails of the reverse process"))
        self.setToolTip(self.tr("From noise to picture: click to go there"))
        self.setFixedHeight(TILE + 2 * RING)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._player = player
        self._show = "x"
        self._range = LEAST_RANGE
        self._drawn: dict[int, tuple[Frame, QPixmap]] = {}  # by slot
        self._current = -1
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(REST)
        self._rest.timeout.connect(self.redraw)
        theme().changed.connect(self.redraw)

    def set_show(self, show: str) -> None:
        if show != self._show:
            self._show = show
            self.redraw()

    def set_range(self, reach: float) -> None:
        """The plane that thumbnails of points show: -reach … reach."""
        if reach != self._range:
            self._range = reach
            self.redraw()

    def places(self) -> list[tuple[int, QRect]]:
        """(frame index, place) of each thumbnail, from x_T to x_0."""
        total = self._player.total or MOST_TILES
        pitch = TILE + 2 * RING + GRID // 2
        n = max(2, min(MOST_TILES, (self.width() + GRID // 2) // pitch, total))
        side = TILE + 2 * RING
        spread = (self.width() - side) / (n - 1)
        return [(round(k * (total - 1) / (n - 1)), QRect(round(k * spread), 0, side, side)) for k in range(n)]

    @Slot()
    def redraw(self) -> None:
        """Forget all thumbnails."""
        self._drawn.clear()
        self.update()

    def change_tape(self) -> None:
        """Another tape: its thumbnails replace a whole strip when it has come to rest, or else at once."""
        tape = self._player.tape
        if tape is not None and tape.complete and len(self._drawn) == len(self.places()):
            self._rest.start()
        else:
            self._rest.stop()
            self.redraw()

    @Slot()
    def refresh(self) -> None:
        """Repaint only the slots that have changed."""
        tape, places = self._player.tape, self.places()
        current = min(range(len(places)), key=lambda k: abs(places[k][0] - self._player.position))
        for k, (index, place) in enumerate(places):
            arrived = tape is not None and index < self._player.count
            dirty = arrived != (k in self._drawn) or (k in (current, self._current) and current != self._current)
            stale = tape is not None and arrived and not dirty and self._drawn[k][0] is not tape.frames[index]
            if dirty or (stale and not self._rest.isActive()):
                self.update(place)
        self._current = current

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        player, tape = self._player, self._player.tape
        for k, (index, place) in enumerate(self.places()):
            if not event.rect().intersects(place):
                continue
            inner = place.adjusted(RING, RING, -RING, -RING)
            if tape is not None and index < player.count:
                frame = tape.frames[index]
                if k not in self._drawn or (self._drawn[k][0] is not frame and not self._rest.isActive()):
                    self._drawn[k] = (frame, self._thumbnail(frame))
                painter.drawPixmap(inner.topLeft(), self._drawn[k][1])
            else:
                self._drawn.pop(k, None)
                draw_box(painter, QRectF(inner), color("stage", 0.5), color("hairline"))
            if k == self._current and player.count:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(QPen(color("accent"), RING))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(place).adjusted(1, 1, -1, -1), 4, 4)

    def _thumbnail(self, frame: Frame) -> QPixmap:
        """The first four pictures, or the cloud."""
        ratio = self.devicePixelRatioF()
        side = round(TILE * ratio)
        pixmap = QPixmap(side, side)
        pixmap.fill(color("stage"))
        painter = QPainter(pixmap)
        items = frame.view(self._show)
        if items.ndim == 2:
            unit = side / 2 / self._range
            cloud = Particles(items[:600], side, side, unit, 0.7 * ratio, color("accent", 0.6))
            painter.drawImage(0, 0, cloud.image)
        elif len(items):
            sheet, gap = Sheet(items[:4]), round(2 * ratio)
            room, item = side - 2 * gap, (sheet.height, sheet.width)
            for i, where in enumerate(grid_tiles(room, room, sheet.count, item, gap, whole=False)):
                sheet.draw(painter, i, where.translated(gap, gap))
        painter.end()
        pixmap.setDevicePixelRatio(ratio)
        return pixmap

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.redraw()
        self.refresh()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        for index, place in self.places():
            if place.contains(event.position().toPoint()):
                self.frame_picked.emit(index)


class DirectSlider(QSlider):
    """A QSlider that goes where it is clicked and follows from there."""

    def _follow(self, event: QMouseEvent) -> None:
        """Take the value where the mouse is."""
        raise NotImplementedError

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._follow(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._follow(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)


class LevelSlider(DirectSlider):
    """A slim slider; the part not recorded yet is fainter."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setObjectName("level_slider")
        self.setAccessibleName(self.tr("Noise level t"))
        self.setToolTip(self.tr("Diffusion time: noise x_T on the left, picture x_0 on the right"))
        self.setFixedHeight(20)
        self._arrived = 0
        theme().changed.connect(self.update)

    def set_arrived(self, last: int) -> None:
        """The last value that can be shown."""
        if last != self._arrived:
            self._arrived = last
            self.update()

    def _x(self, value: int) -> float:
        span = max(1, self.maximum() - self.minimum())
        return HANDLE + (self.width() - 2 * HANDLE) * (value - self.minimum()) / span

    def _follow(self, event: QMouseEvent) -> None:
        part = (event.position().x() - HANDLE) / max(1.0, self.width() - 2 * HANDLE)
        self.setValue(round(self.minimum() + part * (self.maximum() - self.minimum())))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        middle, x = self.height() / 2, self._x(self.value())
        arrived = max(x, self._x(min(self._arrived, self.maximum())))
        track = QRectF(0, middle - 2, self.width(), 4)
        painter.setBrush(color("hairline", 0.5))
        painter.drawRoundedRect(track, 2, 2)
        if self.isEnabled():
            track.setRight(arrived + HANDLE)
            painter.setBrush(color("hairline"))
            painter.drawRoundedRect(track, 2, 2)
            track.setRight(x)
            painter.setBrush(color("accent"))
            painter.drawRoundedRect(track, 2, 2)
        ring = "text" if self.hasFocus() else "panel"
        painter.setPen(QPen(color(ring), 2))
        painter.setBrush(color("accent" if self.isEnabled() else "faint"))
        painter.drawEllipse(QRectF(x - HANDLE, middle - HANDLE, 2 * HANDLE, 2 * HANDLE).adjusted(1, 1, -1, -1))
