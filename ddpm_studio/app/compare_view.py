"""Processes side by side, all at the same share of their way; runs also at the same step of their training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import TURNS, PictureCanvas, PointCanvas
from ddpm_studio.app.compare_cell import AxisLabel, CompareCell, RunCell, modes_text
from ddpm_studio.app.playback import Player
from ddpm_studio.app.texts import time_left_at
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, ElidedLabel, PushButton, ThinProgress
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.diffusion.tape_text import axis_names
from ddpm_studio.store.together import Together

TEXT_HEIGHT = 56  # px above and below a canvas, about


def grid_of(tapes: Sequence[Tape]) -> tuple[list[str], list[str]]:
    """The labels of the rows and the columns of the grid in which ``tapes`` have a place; empty: they have none."""
    rows, columns = (list(dict.fromkeys(labels)) for labels in zip(*((t.row, t.column) for t in tapes), strict=True))
    alone = len({(tape.row, tape.column) for tape in tapes}) == len(tapes)
    return (rows, columns) if alone and all(rows) and all(columns) else ([], [])


class CompareView(QWidget):
    """The grid. It takes its place in the processes from ``player``, which plays one of the tapes, the lead.

    ``poll`` it on the frame clock. Without tapes it is empty, and the player is left alone.
    """

    back_wanted = Signal()
    stop_wanted = Signal()

    def __init__(self, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compare_view")
        self._player = player
        self.cells: list[CompareCell] = []
        self.together: Together | None = None  # runs on both clocks
        self._calls: tuple[int, ...] = ()
        self._labels: list[AxisLabel] = []
        self._axes: tuple[list[str], list[str]] = ([], [])  # labels of the rows and the columns
        self._trails = self._training = False
        self._running = False
        self._show = "x"
        self._fresh = False  # the player has shown another frame since the last poll
        self._columns = 0
        self.back = PushButton(self.tr("Back"), "chevron-left")
        self.back.setObjectName("compare.back")
        self.back.clicked.connect(self.back_wanted)
        self.stop = PushButton(self.tr("Stop"), "square", tooltip=self.tr("Stop comparing; what is complete is kept"))
        self.stop.setObjectName("compare.stop")
        self.stop.clicked.connect(self.stop_wanted)
        for button in (self.back, self.stop):
            button.setFixedHeight(DENSE_HEIGHT)
        self.line = ElidedLabel()
        self.line.setObjectName("compare.line")
        self.line.setFont(Caption().font())
        self.line.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.line.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.progress = ThinProgress()
        self.progress.setAccessibleName(self.tr("Progress of the comparison"))
        head = QHBoxLayout()
        head.setSpacing(MARGIN)
        head.addWidget(self.back)
        head.addWidget(self.line, 1)
        head.addWidget(self.progress, 0, Qt.AlignmentFlag.AlignVCenter)
        head.addWidget(self.stop)
        self.note = QLabel()
        self.note.setObjectName("compare.verdict")
        self.note.setFont(Caption().font())
        self.note.setForegroundRole(QPalette.ColorRole.WindowText)  # it is to be read
        self.note.setWordWrap(True)
        self.note.hide()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(MARGIN)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addLayout(head)
        column.addLayout(self._grid, 1)
        column.addWidget(self.note)
        self.set_training(False)

    # -- what it is given

    @property
    def tapes(self) -> list[Tape]:
        return [cell.tape for cell in self.cells]

    def set_tapes(self, tapes: Sequence[Tape], calls: Sequence[int] = ()) -> None:
        """Show these: in the grid of their labels, if they have one, else as large as they fit.

        With ``calls``, the network calls that each will take, they are still growing.
        """
        self.together = None
        self._axes = grid_of(tapes) if tapes else ([], [])
        self._set_cells([CompareCell(tape, in_grid=bool(self._axes[0])) for tape in tapes], calls)

    def watch(self, together: Together) -> None:
        """Show recorded runs; the player has the tape of one of the rows, and all go along with its training step."""
        self.together, self._axes = together, ([], [])
        self._set_cells([RunCell(run) for run in together.runs])

    def _set_cells(self, cells: Sequence[CompareCell], calls: Sequence[int] = ()) -> None:
        for old in (*self.cells, *self._labels):
            self._grid.removeWidget(old)
            old.hide()
            old.deleteLater()
        self.cells = list(cells)
        rows, columns = self._axes
        down, across = axis_names(self.cells[0].tape) if rows else ("", "")
        self._labels = [AxisLabel(across, text, upwards=False) for text in columns]
        self._labels += [AxisLabel(down, text, upwards=True) for text in rows]
        self._calls, self._running = tuple(calls), bool(calls)
        for cell in self.cells:
            cell.set_with_trails(self._trails)
            if isinstance(cell.canvas, PictureCanvas):
                cell.canvas.picture_chosen.connect(self._on_chosen)
            elif isinstance(cell.canvas, PointCanvas):
                cell.canvas.point_chosen.connect(self._on_chosen)
        self._columns, self._fresh = 0, False
        self._place()
        self.poll()

    def set_data(self, points: NDArray[Any] | None, mixture: Mixture | None, *, blind: bool = False) -> None:
        """As ``ReverseView.set_data_points``."""
        for cell in self.cells:
            cell.set_data(points, mixture, blind=blind)
        self.refresh()

    def set_trails(self, on: bool) -> None:
        """Whether particles draw the way they have come."""
        self._trails = on
        for cell in self.cells:
            cell.set_with_trails(on)

    def set_training(self, on: bool) -> None:
        """Whether a training goes on, whose previews wait as long as this is in their place."""
        self._training = on
        self.back.setText(self.tr("Back to previews") if on else self.tr("Back"))
        self.back.setToolTip(
            self.tr("The training goes on, and its previews wait until you go back to them")
            if on
            else self.tr("Back to what was here before")
        )
        self.refresh()

    def end(self) -> None:
        """No tape grows any more."""
        self._running = self._fresh = False
        self.poll()

    def clear(self) -> None:
        if self.cells:
            self.set_tapes([])

    # -- one clock for all

    @Slot()
    def poll(self) -> None:
        """Notice new frames; hand the player the tape that leads."""
        if not self.cells:
            return
        lead = self._lead() if self.together is None else None  # there, the clock of training time leads
        if lead is not None and lead is not self._player.tape:
            self._player.set_tape(lead, by_share=True)
        if not self._fresh:
            self.refresh()
        self._fresh = False

    def _lead(self) -> Tape | None:
        """The tape that grows, so that it is seen live.

        Afterwards the longest, whose bar is the finest, of those that come to the cleanest level: some Langevin
        dynamics stay at one, which is the end of no other.
        """
        if self._running:
            growing = [tape for tape in self.tapes if tape.frames and not tape.complete]
            present = [tape for tape in self.tapes if tape is self._player.tape]
            return next(iter(growing + present), None) or next((tape for tape in self.tapes if tape.frames), None)
        whole = [tape for tape in self.tapes if tape.complete] or [tape for tape in self.tapes if tape.frames]
        return max(whole, key=lambda tape: (-tape.frames[-1].t, len(tape.frames)), default=None)

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        """The player shows another frame (of the lead), or ``show`` was chosen: all go along."""
        self._show = show
        self.refresh()
        self._fresh = True

    def refresh(self) -> None:
        """Show in every cell what belongs to the place of the clocks."""
        tape = self._player.tape
        if self.together is None:
            share = self._player.share if any(tape is own for own in self.tapes) else 1.0
        else:
            share = self._player.share
            step = tape.training_step if tape is not None else None
            found = self.together.at(step) if step is not None else []
            for cell, own in zip(self.cells, found, strict=False):
                cell.tape = own or cell.tape
                if isinstance(cell, RunCell) and step is not None:
                    cell.set_step(step)
        for cell in self.cells:
            cell.show_at(share, self._show, running=self._running)
        self.stop.setVisible(self._running)
        self.progress.setVisible(self._running)
        parts = [self._tell_progress() if self._running else self._tell_end()]
        if self._training and self.cells:
            parts.append(self.tr("previews wait"))
        self.line.set_text(" · ".join(part for part in parts if part))
        self._show_verdict()

    def _show_verdict(self) -> None:
        """The sentence on the canvas under the mouse, else on the first that has one."""
        told = [(cell, cell.verdict()) for cell in self.cells]
        wrong = [(cell, text) for cell, text in told if text]
        pointed = [(cell, text) for cell, text in wrong if cell.underMouse()]
        text = next((f"{cell.tape.label}: {text}" for cell, text in pointed or wrong), "")
        if text != self.note.text():
            self.note.setText(text)
            self.note.setVisible(bool(text))

    def _tell_progress(self) -> str:
        share = sum(
            calls if cell.tape.complete else min(cell.tape.calls, calls)
            for cell, calls in zip(self.cells, self._calls, strict=True)
        ) / max(sum(self._calls), 1)
        self.progress.set_share(share)
        at = sum(cell.tape.complete for cell in self.cells)
        text = self.tr("{0} of {1}").format(min(at + 1, len(self.cells)), len(self.cells))
        left = time_left_at(share, sum(cell.tape.seconds for cell in self.cells))
        return " · ".join([text, left] if left else [text])

    def _tell_end(self) -> str:
        tapes = [tape for tape in self.tapes if tape.frames]
        if not tapes:
            return ""
        text = self.tr("{0} side by side").format(len(self.cells))
        if len({(tape.seed, tape.count, tape.frames[0].x.shape) for tape in tapes}) == 1:
            text += ", " + self.tr("same noise")
        mixture = self.cells[0].mixture
        if mixture is not None:
            truth = self.tr("data {0} %, spread {1}")
            text += " · " + modes_text(truth, mixture.weights, math.sqrt(mixture.variance))
        return text

    def handle_key(self, event: QKeyEvent) -> bool:
        """[ and ] mark the item before and after in every canvas, Esc marks none; False if the key means nothing."""
        canvases = [cell.canvas for cell in self.cells if isinstance(cell.canvas, PictureCanvas | PointCanvas)]
        count = min((tape.count for tape in self.tapes if tape.count), default=0)
        chosen = canvases[0].chosen if canvases else -1
        by = TURNS.get(event.key())
        if by and canvases and count:
            self._on_chosen((chosen + by) % count if chosen >= 0 else 0)
        elif event.key() == Qt.Key.Key_Escape and chosen >= 0:
            self._on_chosen(-1)
        else:
            return False
        return True

    @Slot(int)
    def _on_chosen(self, i: int) -> None:
        """The same noise in every canvas."""
        for cell in self.cells:
            if isinstance(cell.canvas, PictureCanvas | PointCanvas):
                cell.canvas.set_chosen(i)

    # -- places

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        """Each in its place of the grid; without one, as many columns as make the canvases largest."""
        count = len(self.cells)
        if not count:
            return
        rows, names = self._axes
        columns = len(names) or max(range(1, count + 1), key=lambda columns: min(self._room(columns)))
        wide, high = self._room(columns)
        for cell in self.cells:
            cell.set_room(wide, high)
        if columns == self._columns:
            return
        self._columns = columns
        first = 1 if rows else 0  # after the labels
        down = len(rows) or -(-count // columns)
        self._grid.setSpacing(GRID // 2 if rows else MARGIN)
        for i in range(max(self._grid.columnCount(), columns + first)):
            self._grid.setColumnStretch(i, 1 if first <= i < columns + first else 0)
        for i in range(max(self._grid.rowCount(), down + first)):
            self._grid.setRowStretch(i, 1 if first <= i < down + first else 0)
        for i, label in enumerate(self._labels):
            across = i < columns
            self._grid.addWidget(label, 0 if across else i - columns + 1, i + 1 if across else 0)
        for i, cell in enumerate(self.cells):
            tape = cell.tape
            spot = (rows.index(tape.row), names.index(tape.column)) if rows else divmod(i, columns)
            self._grid.addWidget(cell, spot[0] + first, spot[1] + first)

    def _room(self, columns: int) -> tuple[float, float]:
        """Width and height of a canvas, px, about; in a grid, of a cell with its words."""
        rows, gap = len(self._axes[0]) or -(-len(self.cells) // columns), MARGIN
        wide, high = self.width(), self.height() - DENSE_HEIGHT - GRID
        beside, words = 0, TEXT_HEIGHT
        if self._axes[0]:
            gap, beside, words = GRID // 2, 20, 0
        wide, high = wide - beside - (columns - 1) * gap, high - beside - (rows - 1) * gap
        return wide / columns, high / rows - words
