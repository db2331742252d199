"""Cards and the few kinds of text that panels are made of."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QToolTip, QWidget

from ddpm_studio.app.painting import draw_box, draw_math, math_width
from ddpm_studio.app.theme import color, tabular, theme


def show_tip_beside(widget: QWidget, before: str = "") -> None:
    """Its tooltip, after ``before``, at its right, where it covers nothing of the column that it stands in."""
    QToolTip.showText(widget.mapToGlobal(QPoint(widget.width(), 0)), before + widget.toolTip(), widget)


class Card(QFrame):
    """A flat panel with a hairline border; ``accent_bar`` marks its left edge."""

    def __init__(self, parent: QWidget | None = None, *, role: str = "panel", accent_bar: bool = False) -> None:
        super().__init__(parent)
        self._role = role
        self._accent_bar = accent_bar
        theme().changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        rect = QRectF(self.rect())
        if self._accent_bar:
            painter.setClipRect(QRectF(0, 0, 3, rect.height()))
            draw_box(painter, rect, color("accent"), color("accent"))
            painter.setClipRect(rect.adjusted(3, 0, 0, 0))
        draw_box(painter, rect, color(self._role), color("hairline"))


class Caption(QLabel):
    """Muted text: units, notes, legends."""

    def __init__(self, text: str = "", parent: QWidget | None = None, *, scale: float = 0.92) -> None:
        super().__init__(text, parent)
        self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.setFont(tabular(self.font(), scale))


class Heading(Caption):
    """The small title of a section."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setFont(tabular(self.font(), weight=QFont.Weight.DemiBold))


class EmptyHint(Caption):
    """What an empty panel says in one line: what will appear there, and how."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent, scale=1.0)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setWordWrap(True)


class Value(QLabel):
    """A number in tabular digits, right-aligned; ``reserve`` keeps its width."""

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, reserve: str = "", muted: bool = False
    ) -> None:
        super().__init__(text, parent)
        self.setFont(tabular(self.font()))
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if muted:
            self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        if reserve:
            self.setMinimumWidth(self.fontMetrics().horizontalAdvance(reserve))

    def set_text(self, text: str) -> None:
        """Show it; costs nothing if it is what stands there already."""
        if text != self.text():
            self.setText(text)


class MathLabel(QLabel):
    """One line with subscripts, in smaller type if it would not fit."""

    def sizeHint(self) -> QSize:
        return QSize(round(math_width(self.text(), self.font())) + 2, round(self.fontMetrics().height() * 1.25))

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    def fits(self, text: str) -> bool:
        """Whether there is room for it in the usual size."""
        return math_width(text, self.font()) <= self.width()

    def fitted(self) -> QFont:
        """The font in which the text fits; hinted widths do not scale evenly, so it is measured again."""
        font = QFont(self.font())
        for _ in range(4):
            wanted = math_width(self.text(), font)
            if wanted <= self.width():
                break
            font.setPointSizeF(max(1.0, font.pointSizeF() * 0.99 * self.width() / wanted))
        return font

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.fitted())
        painter.setPen(self.palette().color(self.foregroundRole()))
        draw_math(painter, QRectF(self.rect()), self.text(), self.alignment())


class Parts(QLabel):
    """Parts joined by " · " on as many lines as it has; a part is never broken. The last line ends in … if need be."""

    def __init__(self, lines: int = 2) -> None:
        super().__init__()
        self._lines = lines
        self.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.setFont(tabular(self.font(), 0.92))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 2)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_text(self, text: str) -> None:
        """Show it; costs nothing if it is what stands there already."""
        if text != self.text():
            self.setText(text)

    def lines(self) -> list[str]:
        """What is drawn."""
        metrics, room, lines = self.fontMetrics(), self.contentsRect().width(), [""]
        for part in self.text().split(" · "):
            longer = f"{lines[-1]} · {part}" if lines[-1] else part
            fits = metrics.horizontalAdvance(longer) <= room
            if fits or not lines[-1] or len(lines) == self._lines:
                lines[-1] = longer
            else:
                lines.append(part)
        return [metrics.elidedText(line, Qt.TextElideMode.ElideRight, room) for line in lines]

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        high = self.fontMetrics().lineSpacing()
        for i, line in enumerate(self.lines()):
            painter.drawText(QRectF(0, i * high, self.width(), high), Qt.AlignmentFlag.AlignVCenter, line)


class ElidedLabel(QLabel):
    """A line that ends in … where it does not fit; the tooltip then holds all of it."""

    def set_text(self, text: str) -> None:
        if text != self.text():
            self.setText(text)
            self._tell()

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._tell()

    def _tell(self) -> None:
        self.setToolTip(self.text() if self._elided() != self.text() else "")

    def _elided(self) -> str:
        room = self.contentsRect().width()
        return self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawText(self.contentsRect(), self.alignment(), self._elided())
