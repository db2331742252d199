"""What the painted controls draw with: rounded boxes, focus rings, and text with subscripts.

Text may hold subscripts as the papers write them in plain text: ``x_t``, ``x̂_0``, ``x_{t-1}``.
"""

from __future__ import annotations

import re

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.theme import color

RADIUS = 6.0  # px
_HAT = "\u0302"  # combining; not every font can set it on ε, so it is drawn as a letter of its own
_SUBSCRIPT = re.compile(r"_(\{[^}]*\}|[A-Za-z0-9]+)")


def draw_box(painter: QPainter, rect: QRectF, fill: QColor, border: QColor, width: float = 1.0) -> None:
    """A rounded box whose border lies inside ``rect``."""
    half = width / 2
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(border, width))
    painter.setBrush(fill)
    painter.drawRoundedRect(rect.adjusted(half, half, -half, -half), RADIUS - half, RADIUS - half)


def draw_focus(painter: QPainter, widget: QWidget) -> None:
    """The ring around a control that has the keyboard."""
    if widget.hasFocus():
        draw_box(painter, QRectF(widget.rect()), QColor(Qt.GlobalColor.transparent), color("accent"), 2.0)


def _runs(text: str, font: QFont) -> list[tuple[str, QFont, bool]]:
    small = QFont(font)
    small.setPointSizeF(font.pointSizeF() * 0.74)
    parts = _SUBSCRIPT.split(text)  # plain and subscript in turn
    return [(part.strip("{}"), small, True) if i % 2 else (part, font, False) for i, part in enumerate(parts)]


def math_width(text: str, font: QFont) -> float:
    """How wide ``draw_math`` writes, in px."""
    return sum(_advance(part, own) for part, own, _ in _runs(text, font))


def _advance(text: str, font: QFont) -> float:
    return QFontMetricsF(font).horizontalAdvance(text.replace(_HAT, ""))


def draw_math(
    painter: QPainter,
    rect: QRectF,
    text: str,
    align: Qt.AlignmentFlag = Qt.AlignmentFlag.AlignCenter,
) -> None:
    """One line of text with subscripts in the painter's font and pen, centred vertically."""
    font = painter.font()
    metrics = QFontMetricsF(font)
    x = rect.left()
    if align & Qt.AlignmentFlag.AlignHCenter:
        x += (rect.width() - math_width(text, font)) / 2
    elif align & Qt.AlignmentFlag.AlignRight:
        x += rect.width() - math_width(text, font)
    baseline = rect.top() + (rect.height() + metrics.ascent() - metrics.descent()) / 2
    for part, own, lowered in _runs(text, font):
        painter.setFont(own)
        y = baseline + (metrics.ascent() * 0.2 if lowered else 0)
        painter.drawText(QPointF(x, y), part.replace(_HAT, ""))
        for at in (i for i, letter in enumerate(part) if letter == _HAT and i):
            middle = x + (_advance(part[: at - 1], own) + _advance(part[:at], own)) / 2
            painter.drawText(QPointF(middle - _advance("ˆ", own) / 2, y), "ˆ")
        x += _advance(part, own)
    painter.setFont(font)
