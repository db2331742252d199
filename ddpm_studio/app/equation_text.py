"""What equation cards are written with: lines of mathematics, symbols that can be pointed at, and short notes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QTextDocument,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from ddpm_studio.app.labels import show_tip_beside
from ddpm_studio.app.painting import draw_box, draw_focus, draw_math, math_width, rich
from ddpm_studio.app.theme import color, tabular, theme
from ddpm_studio.recipes.tutorials import Symbol

SMALLEST = 7.0  # pt
_PAD = 3.0  # px around a symbol that is pointed at


@dataclass(frozen=True)
class _Piece:
    """Part of a line as it was laid out; ``symbol`` is the index of its symbol, or -1."""

    text: str
    rect: QRectF
    symbol: int


def split_symbols(line: str, symbols: Sequence[Symbol]) -> list[tuple[str, Symbol | None]]:
    """A line in pieces: symbols, the longest that fit, and what stands between them.

    Nothing inside of braces is a symbol of its own, nor is a letter of a word or of an index.
    """
    if not symbols:
        return [(line, None)]
    by_text = {symbol.text: symbol for symbol in symbols}
    longest_first = sorted(by_text, key=len, reverse=True)
    pattern = "|".join(re.escape(text) for text in longest_first)
    pieces: list[tuple[str, Symbol | None]] = []
    end = 0
    for match in re.finditer(rf"(?<![_^A-Za-z'])(?:{pattern})(?![A-Za-z0-9²_'\u0302\u0303])", line):
        before = line[: match.start()]
        if before.count("{") > before.count("}"):
            continue
        if match.start() > end:
            pieces.append((line[end : match.start()], None))
        pieces.append((match[0], by_text[match[0]]))
        end = match.end()
    if end < len(line):
        pieces.append((line[end:], None))
    return pieces


class MathLines(QWidget):
    """A line or two of mathematics, all in smaller type if one would not fit. It never asks for more width."""

    def __init__(self, lines: int, role: str = "text", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._role = role
        self._most = lines
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def text(self) -> str:
        return self._text

    def set_text(self, text: str) -> None:
        """Lines are separated by a line feed."""
        if text != self._text:
            self._text = text
            self.setAccessibleName(text.replace("\n", " "))
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(0, round(self._most * QFontMetricsF(self.font()).height() * 1.2))

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def _fitted(self) -> QFont:
        """The font in which all lines fit; hinted widths do not scale evenly, so it is measured again."""
        font = QFont(self.font())
        room = max(self.width() - 2 * _PAD, 1.0)
        lines = [[text for text, _ in self._pieces_of(line)] for line in self._text.split("\n")]
        for _ in range(4):
            widest = max(sum(math_width(text, font) for text in line) for line in lines)
            if widest <= room or font.pointSizeF() <= SMALLEST:
                break
            font.setPointSizeF(max(SMALLEST, font.pointSizeF() * 0.99 * room / widest))
        return font

    def _pieces_of(self, line: str) -> list[tuple[str, int]]:
        return [(line, -1)]

    def _layout(self) -> list[_Piece]:
        font = self._fitted()
        lines = self._text.split("\n")
        height = QFontMetricsF(font).height() * 1.2
        top = (self.height() - height * len(lines)) / 2
        pieces = []
        for row, line in enumerate(lines):
            x = _PAD
            for text, symbol in self._pieces_of(line):
                width = math_width(text, font)
                pieces.append(_Piece(text, QRectF(x, top + row * height, width, height), symbol))
                x += width
        return pieces

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self._fitted())
        for piece in self._layout():
            painter.setPen(self._paint_below(painter, piece))
            draw_math(painter, piece.rect, piece.text, Qt.AlignmentFlag.AlignLeft)

    def _paint_below(self, painter: QPainter, piece: _Piece) -> QColor:
        """What stands behind a piece; returns the colour it is written in."""
        return color(self._role if self.isEnabled() else "faint")


class EquationText(MathLines):
    """An equation whose symbols can be pointed at, with the mouse or with the arrow keys.

    ``pointed`` gives the symbol, or None when it is left.
    """

    pointed = Signal(object)
    turned = Signal(int)  # ↑ (-1) or ↓ (+1): another equation is wanted

    def __init__(self, lines: int, parent: QWidget | None = None) -> None:
        super().__init__(lines, parent=parent)
        self._sans = QFont(self.font())
        serif = QFont(["STIX Two Text", "Cambria", "Georgia", "DejaVu Serif", "serif"])
        serif.setStyleHint(QFont.StyleHint.Serif)
        serif.setPointSizeF(self.font().pointSizeF() * 1.3)
        serif.setItalic(True)
        self._serif = serif
        self._symbols: tuple[Symbol, ...] = ()
        self._colors: Mapping[str, str] = {}
        self._at = -1
        self.setMouseTracking(True)

    def set_equation(self, text: str, symbols: Sequence[Symbol], colors: Mapping[str, str] | None = None) -> None:
        """Show an equation; only those of ``symbols`` that occur in it can be pointed at.

        ``colors``: the named colour of what some symbols belong to, such as a curve.
        """
        colors = colors or {}
        if (text, self._found(text, symbols), colors) == (self._text, self._symbols, self._colors):
            return
        self._colors = colors
        self._point(-1)
        self._symbols = self._found(text, symbols)
        self.setFont(self._serif)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus if self._symbols else Qt.FocusPolicy.NoFocus)
        self.set_text(text)

    def set_headline(self, text: str) -> None:
        """Words in the place of an equation."""
        self._point(-1)
        self._symbols, self._colors = (), {}
        font = QFont(self._sans)
        font.setWeight(QFont.Weight.DemiBold)
        self.setFont(font)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.set_text(text)

    def symbols(self) -> tuple[Symbol, ...]:
        """The symbols that can be pointed at, from left to right."""
        return self._symbols

    def _found(self, text: str, symbols: Sequence[Symbol]) -> tuple[Symbol, ...]:
        pieces = [piece for line in text.split("\n") for piece in split_symbols(line, symbols)]
        return tuple(dict.fromkeys(symbol for _, symbol in pieces if symbol is not None))

    def _pieces_of(self, line: str) -> list[tuple[str, int]]:
        pieces = split_symbols(line, self._symbols)
        return [(text, -1 if symbol is None else self._symbols.index(symbol)) for text, symbol in pieces]

    def place_of(self, text: str) -> QPointF:
        """Where a symbol stands: the middle of its first place in the equation."""
        return next(p.rect.center() for p in self._layout() if p.symbol >= 0 and p.text == text)

    def _point(self, at: int) -> None:
        if at != self._at:
            self._at = at
            self.pointed.emit(self._symbols[at] if at >= 0 else None)
            self.update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        over = [p.symbol for p in self._layout() if p.symbol >= 0 and p.rect.contains(event.position())]
        self._point(over[0] if over else -1)

    def leaveEvent(self, event: QEvent) -> None:
        self._point(-1)

    def event(self, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._does(event) is not None:
            event.accept()  # else the arrow keys would move the player
            return True
        if kind == QEvent.Type.FocusIn:
            self._point(max(self._at, 0))
        elif kind == QEvent.Type.FocusOut:
            self._point(-1)
        return super().event(event)

    def _does(self, event: QKeyEvent) -> tuple[int, int] | None:
        """What a key means, as steps among (symbols, equations); None: nothing."""
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            return None
        steps = {
            Qt.Key.Key_Left: (-1, 0),
            Qt.Key.Key_Right: (1, 0),
            Qt.Key.Key_Up: (0, -1),
            Qt.Key.Key_Down: (0, 1),
        }
        return steps.get(Qt.Key(event.key()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        does = self._does(event)
        if does is None or not self._symbols:
            super().keyPressEvent(event)
            return
        across, down = does
        if across:
            self._point(min(max(self._at + across, 0), len(self._symbols) - 1))
        if down:
            self.turned.emit(down)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        draw_focus(QPainter(self), self)

    def _paint_below(self, painter: QPainter, piece: _Piece) -> QColor:
        if piece.symbol < 0:
            return super()._paint_below(painter, piece)
        if piece.symbol == self._at:
            draw_box(painter, piece.rect.adjusted(-_PAD, 0, _PAD, 0), color("accent", 0.22), color("accent"))
        roles = [self._colors[name] for name in self._symbols[piece.symbol].belongs if name in self._colors]
        return color(roles[0] if len(roles) == 1 else self._role)


class Note(QWidget):
    """A few lines of muted text with subscripts, cut off with … where the room ends; the tooltip then has it all."""

    def __init__(self, lines: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self._role = "muted"
        self.setFont(tabular(self.font(), 0.92))
        # Subscripts make a line a little taller.
        self.setFixedHeight(round((lines + 0.4) * QFontMetricsF(self.font()).lineSpacing()))
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def text(self) -> str:
        return self._text

    def set_text(self, text: str, role: str = "muted") -> None:
        if (text, role) != (self._text, self._role):
            self._text, self._role = text, role
            self.setAccessibleName(text)
            self.setToolTip(f"<p>{rich(text)}</p>" if text else "")
            self.update()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip:
            if self.shown() != self._text:
                show_tip_beside(self)
            return True
        return super().event(event)

    def shown(self) -> str:
        """As much of the text as there is room for."""
        words = self._text.split(" ")
        if self._document(self._text).size().height() <= self.height():
            return self._text
        fits, fails = 0, len(words)
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fit = self._document(" ".join(words[:middle]) + " …").size().height() <= self.height()
            fits, fails = (middle, fails) if fit else (fits, middle)
        return " ".join(words[:fits]) + " …"

    def _document(self, text: str) -> QTextDocument:
        document = QTextDocument()
        document.setDocumentMargin(0)
        document.setDefaultFont(self.font())
        document.setTextWidth(max(self.width() - 2 * _PAD, 1))
        document.setHtml(f"<span style='color: {color(self._role).name()}'>{rich(text)}</span>")
        return document

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.translate(_PAD, 0)  # in line with the mathematics
        self._document(self.shown()).drawContents(painter)
