"""What the network of one training step made of one fixed item, below the loss by noise level."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.item_tiles import Tile, draw_tile, has_notes, line_height, reach_of
from ddpm_studio.app.labels import ElidedLabel
from ddpm_studio.app.levels import level_text, levels
from ddpm_studio.app.theme import GRID, tabular, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, ToolButton
from ddpm_studio.training.events import ProbeItems, ProbeSight

MOST_SIDE = 96.0  # px of an item


class ProbeView(QWidget):
    """x_t, ε, ε̂ and x̂_0 side by side, until it is closed."""

    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("probe_view")
        self.setAccessibleName(self.tr("What the network saw"))
        self.setToolTip(self.tr("The same trained item at every step: noisy, its noise, and the network's estimates"))
        self.caption = ElidedLabel()
        self.caption.setObjectName("probe_caption")
        self.caption.setFont(Caption().font())
        self.caption.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.close_button = ToolButton("x", self.tr("Close (Esc)"), size=DENSE_HEIGHT)
        self.close_button.setObjectName("close_probe")
        self.close_button.clicked.connect(self.closed)
        head = QHBoxLayout()
        head.addWidget(self.caption, 1)
        head.addWidget(self.close_button)
        self._row = _Row()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addWidget(self._row)
        self._shown: tuple[ProbeItems, ProbeSight, int] | None = None
        levels().changed.connect(self._show)

    @property
    def tiles(self) -> list[Tile]:
        return self._row.tiles

    def set_sight(self, items: ProbeItems, sight: ProbeSight, k: int) -> None:
        """Show the item of bin ``k``."""
        self._shown = (items, sight, k)
        self._show()

    def set_nothing(self) -> None:
        """A run that was recorded before there was anything to see here."""
        self._shown = None
        self._show()

    def _show(self) -> None:
        if self._shown is None:
            self._row.set_tiles([])
            self.caption.set_text(self.tr("This run did not record what its network saw"))
            return
        items, sight, k = self._shown
        said = self.tr("The model of step {step} at {t}")
        self.caption.set_text(said.format(step=f"{sight.step:,}", t=level_text(int(items.t[k]))))
        self._row.set_tiles(
            [
                Tile("x_t", items.x[k]),
                Tile("ε", items.eps[k]),
                Tile("ε̂", sight.eps[k]),
                Tile("x̂_0", sight.x0[k]),
            ]
        )

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        else:
            super().keyPressEvent(event)


class _Row(QWidget):
    """Tiles of one size beside each other."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tiles: list[Tile] = []
        self.setFont(tabular(self.font(), 0.92))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_tiles(self, tiles: list[Tile]) -> None:
        self.tiles = tiles
        self.setVisible(bool(tiles))
        self._fit()
        self.update()

    def _side(self) -> float:
        return min(MOST_SIDE, (self.width() - 3 * GRID) / 4)

    def _fit(self) -> None:
        self.setFixedHeight(round(self._side() + (1 + has_notes(self.tiles)) * line_height(self.font())))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        reach, noted, side = reach_of(self.tiles), has_notes(self.tiles), self._side()
        gap = (self.width() - 4 * side) / 3
        for i, tile in enumerate(self.tiles):
            draw_tile(painter, QRectF(i * (side + gap), 0, side, self.height()), tile, reach, noted=noted)
