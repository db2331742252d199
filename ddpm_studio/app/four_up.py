"""One move of one picture or point, large: x_t, ε̂, x̂_0, and the next state with the noise that was added."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtCore import QEvent, QObject, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import TURNS, PictureCanvas, PointCanvas
from ddpm_studio.app.item_tiles import Tile, draw_tile, line_height, reach_of
from ddpm_studio.app.labels import Caption, MathLabel
from ddpm_studio.app.levels import level_number, level_text, levels
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.playback import Player
from ddpm_studio.app.texts import four_decimals
from ddpm_studio.app.theme import GRID, MARGIN, color, tabular, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, ToolButton
from ddpm_studio.diffusion.move_numbers import Form, MoveNumbers, RecordedMove, noise_added, recorded_move
from ddpm_studio.diffusion.tape import Frame, Tape

NOISE_RANGE = 2.5  # of a picture of noise, black to white, as on a tape


class FourUp(QWidget):
    """Goes by the player's clock. The item is the one marked in the canvas, at first the first one."""

    toggled = Signal(bool)  # whether it shall be on the stage

    def __init__(
        self, player: Player, pictures: PictureCanvas, points: PointCanvas, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("four_up")
        self.setAccessibleName(self.tr("One step in detail"))
        self._player, self._pictures, self._points = player, pictures, points
        self._shown: tuple[object, ...] = ()  # of the tape
        self._tape: Tape | None = None
        self.on = False
        self.item = 0
        self.tiles: list[Tile] = []
        self._whole = ""  # the last line, with all of its words
        self.caption = Caption()
        self._back = ToolButton("chevron-left", self.tr("The picture or point before ([)"), size=DENSE_HEIGHT)
        self._forward = ToolButton("chevron-right", self.tr("The next picture or point (])"), size=DENSE_HEIGHT)
        self._back.clicked.connect(self._on_back)
        self._forward.clicked.connect(self._on_forward)
        head = QHBoxLayout()
        head.addWidget(self._back)
        head.addWidget(self.caption)
        head.addWidget(self._forward)
        head.addStretch()
        self.lines = [MathLabel() for _ in range(3)]
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, GRID, MARGIN, GRID)
        column.setSpacing(GRID // 2)
        column.addLayout(head)
        column.addStretch(1)
        for label in self.lines:
            label.setForegroundRole(self.foregroundRole())
            label.setFont(tabular(label.font()))
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        for canvas in (pictures, points):
            canvas.installEventFilter(self)
        pictures.picture_chosen.connect(self._on_chosen)
        points.point_chosen.connect(self._on_chosen)
        levels().changed.connect(self._show)
        theme().changed.connect(self.update)

    # -- on and off

    @Slot(bool)
    def set_on(self, on: bool) -> None:
        if on != self.on:
            self.on, self._tape = on, None
            self.toggled.emit(on)

    def handle_key(self, event: QKeyEvent) -> bool:
        """Enter opens it and closes it, Esc closes it; [ and ] mark the item before and after, Esc marks none."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._player.tape is not None:
            self.set_on(not self.on)
        elif event.key() == Qt.Key.Key_Escape and self.on:
            self.set_on(False)
        elif (by := TURNS.get(event.key())) and self._player.tape is not None:
            self._turn(by)
        elif event.key() == Qt.Key.Key_Escape and self._chosen >= 0:
            self._pictures.set_chosen(-1)
            self._points.set_chosen(-1)
        else:
            return False
        return True

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.MouseButtonDblClick or self._player.tape is None:
            return super().eventFilter(watched, event)
        if watched is self._pictures and isinstance(event, QMouseEvent):
            self.set_item(self._pictures.at(event.position()))
        self.set_on(True)
        return True

    # -- what it shows

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        """The clock stands at another frame; both are read from the player."""
        self._show()

    def set_item(self, item: int) -> None:
        """Show picture or point ``item``, and mark it in the canvas; below 0: the one that was shown last."""
        tape = self._player.tape
        if tape is not None and 0 <= item < tape.count:
            self.item = item
            self._canvas(tape).set_chosen(item)
            self._show()

    def _canvas(self, tape: Tape) -> PictureCanvas | PointCanvas:
        return self._points if tape.kind == "points" else self._pictures

    @Slot(int)
    def _on_chosen(self, item: int) -> None:
        if item >= 0:
            self.item = item
            self._show()

    @Slot()
    def _on_back(self) -> None:
        self._turn(-1)

    @Slot()
    def _on_forward(self) -> None:
        self._turn(1)

    @property
    def _chosen(self) -> int:
        """The item that is marked in the canvas; -1: none."""
        tape = self._player.tape
        return -1 if tape is None else self._canvas(tape).chosen

    def _turn(self, by: int) -> None:
        tape = self._player.tape
        if tape is not None and tape.count:
            seen = self.on or self._chosen >= 0  # else the one that was shown last is marked first
            self.set_item((min(self.item, tape.count - 1) + (by if seen else 0)) % tape.count)

    @Slot()
    def _show(self) -> None:
        tape = self._player.tape
        if not self.on or tape is None or not tape.count:
            return
        item = min(self.item, tape.count - 1)
        move = recorded_move(tape, self._player.position)
        key = (item, move.number if move else -1, levels().count)
        if tape is self._tape and key == self._shown:
            return
        self._tape, self._shown = tape, key
        said = self.tr("point {i} of {n}") if tape.kind == "points" else self.tr("picture {i} of {n}")
        self.caption.setText(said.format(i=f"{item + 1:,}", n=f"{tape.count:,}"))
        lines = [self.tr("The first step is on its way"), "", ""]
        if move is None:
            self.tiles = []
        else:
            self.tiles = self._tiles_of(tape, move, item)
            lines = self._lines_of(tape, move, item)
        for label, text in zip(self.lines, lines, strict=True):
            label.setText(text)
        self._whole = lines[2]
        self._fit()
        looks_back = move is not None and move.numbers is not None and bool(move.numbers.earlier)
        self.lines[1].setToolTip(self.tr("In brackets: the level t of an estimate made before") if looks_back else "")
        self.setAccessibleDescription(" · ".join(line for line in lines if line))
        self.update()

    def _fit(self) -> None:
        """Where there is little room, the tooltip says what kind of size it is."""
        line, words = self.lines[2], self.tr(" (root mean square)")
        whole = line.fits(self._whole)
        line.setText(self._whole if whole else self._whole.replace(words, ""))
        line.setToolTip("" if whole else self._whole)

    def _tiles_of(self, tape: Tape, move: RecordedMove, item: int) -> list[Tile]:
        assert move.after.x0 is not None
        assert move.after.eps is not None
        points = tape.kind == "points"
        after = "x_{t−1}" if move.t is not None and move.u == move.t - 1 else "x_s"
        at = f"s = {level_text(move.u).partition(' = ')[2]}" if after == "x_s" else level_text(move.u)
        x = None if move.x is None else move.x.x[item]
        left_out = self.tr("This recording left this state out to save room")
        tiles = [
            Tile("x_t", x, left_out if x is None else "" if points else level_text(move.t)),
            Tile("ε̂", move.after.eps[item], "" if points else self._size(move, item)),
            Tile("x̂_0", move.after.x0[item]),
            Tile(after, move.after.x[item], "" if points else at),
        ]
        z = noise_added(tape, move, item)
        if z is not None:
            grey = np.round(np.clip((z + NOISE_RANGE) * (255 / (2 * NOISE_RANGE)), 0, 255)).astype(np.uint8)
            assert move.numbers is not None
            added = self.tr("added times σ_t = {0}").format(four_decimals(move.numbers.std))
            tiles.append(Tile("z", z if points else grey, "" if points else added))
        return tiles

    def _size(self, move: RecordedMove, item: int) -> str:
        """ "|ε̂| = 0.98"; empty if it was not recorded."""
        assert move.after.eps is not None
        if move.after.eps_rms is not None:
            return f"|ε̂| = {four_decimals(float(move.after.eps_rms[item]))}"
        if move.after.eps.ndim == 2:  # of a point nothing is clipped
            return f"|ε̂| = {four_decimals(math.sqrt(float(np.square(move.after.eps[item]).mean())))}"
        return ""

    def _lines_of(self, tape: Tape, move: RecordedMove, item: int) -> list[str]:
        size = self._size(move, item)
        if size:
            size += self.tr(" (root mean square)")
        numbers = move.numbers
        if numbers is None:
            return [self.tr("This recording does not say how its steps were made"), "", size]
        after = next(tile.symbol for tile in self.tiles[3:])
        noise = f"σ_t = {four_decimals(numbers.std)}" if numbers.std else self.tr("no noise is added")
        facts = (f"{level_text(move.t)} → {level_text(move.u)}", noise, size)
        return [*self._sums(numbers, after), " · ".join(text for text in facts if text)]

    def _sums(self, numbers: MoveNumbers, after: str) -> tuple[str, str]:
        """How the next state is made; then the same written otherwise, or what comes from estimates made before."""
        if not numbers.forms:
            return self.tr("The network is asked twice: {0} lies along the mean of both slopes").format(after), ""
        (first, before), *others = [_sum(form, numbers) for form in numbers.forms]
        return f"{after} = {first}", before or "".join(f"= {other}" for other, _ in others)

    # -- painting

    def _places(self) -> list[QRectF]:
        """Where the tiles go: in as many rows as make them largest."""
        top = self.caption.geometry().bottom() + GRID
        bottom = self.lines[0].geometry().top() - GRID
        room = QRectF(MARGIN, top, self.width() - 2 * MARGIN, max(1, bottom - top))
        n, line = len(self.tiles), line_height(self.font())

        def side(columns: int) -> float:
            rows = -(-n // columns)
            wide = (room.width() - (columns - 1) * MARGIN) / columns
            return min(wide, (room.height() - (rows - 1) * GRID) / rows - 2 * line)

        columns = max(range(1, n + 1), key=lambda c: (side(c), -(-n % c), c))  # full rows, if that costs nothing
        size, rows = side(columns), -(-n // columns)
        high = size + 2 * line
        over = (room.height() - rows * high - (rows - 1) * GRID) / 2
        places = []
        for i in range(n):
            row, column = divmod(i, columns)
            inside = min(columns, n - row * columns)
            left = room.center().x() - (inside * size + (inside - 1) * MARGIN) / 2
            spot = left + column * (size + MARGIN), room.top() + over + row * (high + GRID)
            places.append(QRectF(*spot, size, high))
        return places

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        draw_box(painter, QRectF(self.rect()), color("stage"), color("stage"))
        if not self.tiles:
            return
        painter.setFont(self.font())
        reach = reach_of(self.tiles)
        for tile, place in zip(self.tiles, self._places(), strict=True):
            draw_tile(painter, place, tile, reach)


def _sum(form: Form, numbers: MoveNumbers) -> tuple[str, str]:
    """E.g. "1.0230 x_t − 0.2140 ε̂ + 0.0310 z", and "+ 0.1070 ε̂(412)" of the estimate made before, at level 412."""
    symbol = {"eps": "ε̂", "x0": "x̂_0"}[form.of]
    symbols = [symbol, *(f"{symbol}({level_number(t)})" for t in numbers.earlier)]
    weighted = zip(form.weights, symbols, strict=True)
    now, *before = [f"{'−' if weight < 0 else '+'} {four_decimals(abs(weight))} {of}" for weight, of in weighted]
    noise = f" + {four_decimals(numbers.std)} z" if numbers.std else ""
    return f"{four_decimals(form.x)} x_t {now}{noise}", " ".join(before)
