"""Samplers side by side: a canvas for each, all at the same share of their process."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QFont, QPalette, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import FrameCanvas, PictureCanvas, PointCanvas
from ddpm_studio.app.histogram_view import REACH, histogram, reach_for
from ddpm_studio.app.mode_facts import ModeFacts
from ddpm_studio.app.playback import Player
from ddpm_studio.app.status import time_left_at
from ddpm_studio.app.tape_text import moves_text
from ddpm_studio.app.theme import GRID, MARGIN, tabular
from ddpm_studio.app.top_bar import ThinProgress
from ddpm_studio.app.verdict import verdict
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, ElidedLabel, PushButton
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Frame, Tape

MOST_MODES = 8  # whose shares are told
TEXT_HEIGHT = 56  # px above and below a canvas, about


class SamplerCell(QWidget):
    """One sampler: its name and cost, its canvas, and what became of the modes of a known mixture."""

    def __init__(self, tape: Tape, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tape = tape
        self.setObjectName(f"compare_cell.{tape.sampler}")
        self.title, self.facts, self.modes = ElidedLabel(), ElidedLabel(), ElidedLabel()
        self.title.setFont(tabular(self.title.font(), weight=QFont.Weight.DemiBold))
        self.title.setForegroundRole(QPalette.ColorRole.WindowText)
        self.title.set_text(tape.label)
        for label in (self.facts, self.modes):
            label.setFont(Caption().font())
            label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        for label in (self.title, self.facts, self.modes):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.canvas: FrameCanvas = PointCanvas() if tape.kind == "points" else PictureCanvas()
        self.canvas.setMinimumSize(80, 64)
        self.canvas.setAccessibleName(tape.label)
        self.modes.hide()
        self.mixture: Mixture | None = None
        self._told: tuple[int, str] | None = None  # the frame whose modes stand there
        self._known: Mixture | None = None  # also of many modes
        self._blind = False
        self._reach = REACH
        self._judged: str | None = None  # once the tape is complete
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.title)
        column.addWidget(self.facts)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.modes)

    def set_data(self, points: NDArray[Any] | None, mixture: Mixture | None, *, blind: bool = False) -> None:
        """As ``ReverseView.set_data_points``."""
        self._known, self._blind, self._judged = mixture, blind, None
        self._reach = REACH if points is None else reach_for(points)
        if isinstance(self.canvas, PointCanvas):
            self.canvas.set_data(points)
            self.mixture = mixture if mixture is not None and len(mixture.means) <= MOST_MODES else None
            self.modes.setVisible(self.mixture is not None)

    def show_at(self, share: float, show: str, *, running: bool) -> None:
        """Show the frame at ``share`` 0 … 1 of the process, or the newest before it."""
        tape = self.tape
        arrived = len(tape.frames)
        self.facts.set_text(self._describe(running))
        if not arrived:
            self.canvas.set_hint(self.tr("Its turn comes.") if running else self.tr("Stopped before its turn."))
            self.canvas.set_frame(None)
            return
        frame = tape.frames[min(round(share * (tape.total - 1)), arrived - 1)]
        self.canvas.set_frame(frame, show)
        if self.mixture is not None and self._told != (frame.index, show):
            self._told = frame.index, show
            self.modes.set_text(self._tell_modes(self.mixture, frame, show))

    def verdict(self) -> str:
        """What is wrong with the points it ended with; "" if nothing, or as long as it has not ended."""
        tape = self.tape
        if self._known is None or tape.kind != "points" or not tape.complete or not tape.count:
            return ""
        if self._judged is None:
            lost = 1 - float(histogram(tape.frames[-1].x, self._reach).sum())
            self._judged = verdict(tape, self._known, lost=lost, blind=self._blind)
            for widget in (self.facts, self.modes, self.canvas):
                widget.setToolTip(self._judged)
        return self._judged

    def _describe(self, running: bool) -> str:
        """E.g. "50 steps · 50 calls · 0.4 s"."""
        tape = self.tape
        if not tape.frames:
            return "–"
        parts = [moves_text(tape), self.tr("{0:,} calls").format(tape.calls), f"{tape.seconds:.1f} s"]
        if not (tape.complete or running):
            parts.append(self.tr("stopped"))
        return " · ".join(parts)

    def _tell_modes(self, mixture: Mixture, frame: Frame, show: str) -> str:
        """The share of each mode, and how wide they are on average."""
        if show == "eps":
            return ""
        facts = ModeFacts.of(frame.view(show), mixture)
        return _modes(self.tr("modes {0} % · spread {1}"), facts.shares, facts.spread)


def _modes(text: str, shares: NDArray[Any], spread: float) -> str:
    return text.format(_shares(shares), f"{spread:.2g}" if math.isfinite(spread) else "–")


def _shares(shares: NDArray[Any]) -> str:
    """Percentages, or their range where there are many."""
    percent = [f"{100 * share:.0f}" for share in shares]
    return ":".join(percent) if len(percent) <= 3 else f"{100 * shares.min():.0f}–{100 * shares.max():.0f}"


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
        self.cells: list[SamplerCell] = []
        self._calls: tuple[int, ...] = ()
        self._running = False
        self._show = "x"
        self._columns = 0
        self.back = PushButton(self.tr("Back"), "chevron-left", tooltip=self.tr("Back to one process"))
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

    # -- what it is given

    @property
    def tapes(self) -> list[Tape]:
        return [cell.tape for cell in self.cells]

    def set_tapes(self, tapes: Sequence[Tape], calls: Sequence[int] = ()) -> None:
        """Show these. With ``calls``, the network calls that each will take, they are still growing."""
        for cell in self.cells:
            self._grid.removeWidget(cell)
            cell.hide()
            cell.deleteLater()
        self.cells = [SamplerCell(tape) for tape in tapes]
        self._calls, self._running = tuple(calls), bool(calls)
        for cell in self.cells:
            if isinstance(cell.canvas, PictureCanvas):
                cell.canvas.picture_chosen.connect(self._on_picture)
        self._columns = 0
        self._place()
        self.poll()

    def set_data(self, points: NDArray[Any] | None, mixture: Mixture | None, *, blind: bool = False) -> None:
        """As ``ReverseView.set_data_points``."""
        for cell in self.cells:
            cell.set_data(points, mixture, blind=blind)
        self.refresh()

    def end(self) -> None:
        """No tape grows any more."""
        self._running = False
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
        lead = self._lead()
        if lead is not None and lead is not self._player.tape:
            self._player.set_tape(lead, by_share=True)
        self.refresh()

    def _lead(self) -> Tape | None:
        """The tape that grows, so that it is seen live; afterwards the longest, whose bar is the finest."""
        if self._running:
            growing = [tape for tape in self.tapes if tape.frames and not tape.complete]
            present = [tape for tape in self.tapes if tape is self._player.tape]
            return next(iter(growing + present), None) or next((tape for tape in self.tapes if tape.frames), None)
        whole = [tape for tape in self.tapes if tape.complete] or [tape for tape in self.tapes if tape.frames]
        return max(whole, key=lambda tape: len(tape.frames), default=None)

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        """The player shows another frame (of the lead), or ``show`` was chosen: all go along."""
        self._show = show
        self.refresh()

    def refresh(self) -> None:
        share = self._player.share if self._player.tape in self.tapes else 1.0
        for cell in self.cells:
            cell.show_at(share, self._show, running=self._running)
        self.stop.setVisible(self._running)
        self.progress.setVisible(self._running)
        self.line.set_text(self._tell_progress() if self._running else self._tell_end())

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
        first = next((tape for tape in self.tapes if tape.frames), None)
        if first is None:
            return ""
        text = self.tr("{0} samplers, same noise").format(len(self.cells))
        mixture = self.cells[0].mixture
        if mixture is not None:
            truth = self.tr("data {0} %, spread {1}")
            text += " · " + _modes(truth, mixture.weights, math.sqrt(mixture.variance))
        return text

    @Slot(int)
    def _on_picture(self, i: int) -> None:
        """The same noise in every canvas."""
        for cell in self.cells:
            if isinstance(cell.canvas, PictureCanvas):
                cell.canvas.set_chosen(i)

    # -- places

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        """As many columns as make the canvases largest."""
        count = len(self.cells)
        if not count:
            return
        columns = max(range(1, count + 1), key=self._side)
        if columns == self._columns:
            return
        self._columns = columns
        for i in range(6):
            self._grid.setColumnStretch(i, 1 if i < columns else 0)
            self._grid.setRowStretch(i, 1 if i < -(-count // columns) else 0)
        for i, cell in enumerate(self.cells):
            self._grid.addWidget(cell, i // columns, i % columns)

    def _side(self, columns: int) -> float:
        """The shorter side of a canvas, px."""
        rows = -(-len(self.cells) // columns)
        wide = (self.width() - (columns - 1) * MARGIN) / columns
        high = (self.height() - DENSE_HEIGHT - GRID - (rows - 1) * MARGIN) / rows - TEXT_HEIGHT
        return min(wide, high)
