"""A flat button of muted text."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QToolButton, QWidget

from ddpm_studio.app.painting import draw_box, draw_focus
from ddpm_studio.app.theme import CONTROL_HEIGHT, GRID, color, tabular, theme


class TextButton(QToolButton):
    """As wide as the widest text it will show; accent when checked."""

    def __init__(self, text: str, tooltip: str, reserve: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._reserve = reserve
        self.setText(text)
        self.setToolTip(tooltip)
        self.setAccessibleName(tooltip)
        self.setFont(tabular(self.font()))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        wide = max(metrics.horizontalAdvance(text) for text in (self.text(), self._reserve))
        return QSize(wide + 2 * GRID, CONTROL_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        lit = self.isEnabled() and (self.underMouse() or self.isDown())
        if lit:
            draw_box(painter, QRectF(self.rect()), color("raised"), color("hairline"))
        role = "accent" if self.isChecked() else "text" if lit else "muted"
        painter.setPen(color(role if self.isEnabled() else "faint"))
        painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, self.text())
        draw_focus(painter, self)
