"""What the painted controls draw with: rounded boxes, focus rings, and text with subscripts.

Text may hold subscripts and superscripts as the papers write them in plain text: ``x_t``, ``x̂_0``,
``x_{t-1}``, ``10^{-4}``.
"""

from __future__ import annotations

import html
import re

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.theme import color

RADIUS = 6.0  # px
_ACCENTS = {"\u0302": "ˆ", "\u0303": "˜"}  # combining; not every font can set them on ε: drawn as letters of their own
_BARE = {ord(accent): None for accent in _ACCENTS}
_SCRIPT = re.compile(r"([_^])(\{[^}]*\}|[A-Za-z0-9θ]+)")
_SHIFT = {"_": 0.2, "^": -0.35}  # downwards, in ascents


def rich(text: str, script_size: float | None = None) -> str:
    """The same text as HTML, for labels and tooltips; ``script_size`` in pt, else as small as Qt makes them."""
    style = f' style="font-size:{script_size:g}pt"' if script_size else ""
    tags = {"_": "sub", "^": "sup"}
    return _SCRIPT.sub(
        lambda m: f"<{tags[m[1]]}{style}>{m[2].strip('{}')}</{tags[m[1]]}>", html.escape(text, quote=False)
    )


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


def _runs(text: str, font: QFont) -> list[tuple[str, QFont, float]]:
    """Pieces of text with their font and their shift downwards in ascents."""
    small = QFont(font)
    small.setPointSizeF(font.pointSizeF() * 0.74)
    parts = _SCRIPT.split(text)  # plain, mark, script; and again
    runs = [(parts[0], font, 0.0)]
    for mark, script, plain in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        runs += [(script.strip("{}"), small, _SHIFT[mark]), (plain, font, 0.0)]
    return runs


def math_width(text: str, font: QFont) -> float:
    """How wide ``draw_math`` writes, in px."""
    return sum(_advance(part, own) for part, own, _ in _runs(text, font))


def _advance(text: str, font: QFont) -> float:
    return QFontMetricsF(font).horizontalAdvance(text.translate(_BARE))


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
    for part, own, shift in _runs(text, font):
        painter.setFont(own)
        y = baseline + metrics.ascent() * shift
        painter.drawText(QPointF(x, y), part.translate(_BARE))
        for at, accent in ((i, _ACCENTS[letter]) for i, letter in enumerate(part) if letter in _ACCENTS and i):
            middle = x + (_advance(part[: at - 1], own) + _advance(part[:at], own)) / 2
            painter.drawText(QPointF(middle - _advance(accent, own) / 2, y), accent)
        x += _advance(part, own)
    painter.setFont(font)
