"""One process of several side by side: its name, its canvas, what it cost, and what became of the modes."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import FrameCanvas, PictureCanvas, PointCanvas
from ddpm_studio.app.histogram_view import REACH, histogram, reach_for
from ddpm_studio.app.levels import level_text
from ddpm_studio.app.mode_facts import ModeFacts
from ddpm_studio.app.runs_panel import run_color
from ddpm_studio.app.tape_text import moves_text, sampler_text
from ddpm_studio.app.theme import GRID, tabular, theme
from ddpm_studio.app.verdict import verdict
from ddpm_studio.app.widgets import Caption, ElidedLabel
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.store.together import WatchedRun

MOST_MODES = 8  # whose shares are told
SHORT_WORDS, FULL_WORDS = (56, 96), (260, 96)  # px: a smaller cell of a grid has none, or short ones


class CompareCell(QWidget):
    """``in_grid``: its row and its column have labels, so it needs no name, and says less where there is little room.

    The tooltip has it all.
    """

    def __init__(self, tape: Tape, *, in_grid: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.tape = tape
        self.setObjectName(f"compare_cell.{tape.label}")
        self.title, self.facts, self.modes = ElidedLabel(), ElidedLabel(), ElidedLabel()
        self.title.setFont(tabular(self.title.font(), weight=QFont.Weight.DemiBold))
        self.title.setForegroundRole(QPalette.ColorRole.WindowText)
        self.title.set_text(tape.label)
        self.title.setHidden(in_grid)
        for label in (self.facts, self.modes):
            label.setFont(Caption().font())
            label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        for label in (self.title, self.facts, self.modes):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.canvas: FrameCanvas = PointCanvas() if tape.kind == "points" else PictureCanvas()
        self.canvas.setAccessibleName(tape.label)
        self.canvas.setMinimumSize(*((24, 24) if in_grid else (80, 64)))
        if in_grid:
            self.canvas.set_margin(GRID // 2)
        self.modes.hide()
        self.mixture: Mixture | None = None
        self._in_grid, self._roomy, self._short = in_grid, True, False
        self._wide = math.inf  # px, for words
        self._trails = self._at_end = False
        self._told: tuple[object, ...] = ()  # what the words speak of
        self._known: Mixture | None = None  # also of many modes
        self._blind = False
        self._reach = REACH
        self._judged: str | None = None  # once the tape is complete
        self.head = QHBoxLayout()
        self.head.setSpacing(GRID)
        self.head.addWidget(self.title)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(self.head)
        column.addWidget(self.facts)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.modes)

    def set_data(self, points: NDArray[Any] | None, mixture: Mixture | None, *, blind: bool = False) -> None:
        """As ``ReverseView.set_data_points``."""
        self._known, self._blind, self._judged, self._told = mixture, blind, None, ()
        self._reach = REACH if points is None else reach_for(points)
        if isinstance(self.canvas, PointCanvas):
            self.canvas.set_data(points)
            self.mixture = mixture if mixture is not None and len(mixture.means) <= MOST_MODES else None
            self._show_words()

    def set_with_trails(self, on: bool) -> None:
        """Draw the way that particles have come, but not over what they have come to: a cell is small."""
        self._trails = on
        if isinstance(self.canvas, PointCanvas):
            self.canvas.set_with_trails(on and not self._at_end)

    def set_room(self, width: float, height: float) -> None:
        """How large it will be, px: it keeps the words that fit."""
        roomy = not self._in_grid or (width >= SHORT_WORDS[0] and height >= SHORT_WORDS[1])
        short = self._in_grid and (width < FULL_WORDS[0] or height < FULL_WORDS[1])
        if (roomy, short, width) != (self._roomy, self._short, self._wide):
            self._roomy, self._short, self._wide, self._told = roomy, short, width, ()
            self._show_words()

    def _show_words(self) -> None:
        self.facts.setVisible(self._roomy)
        self.modes.setVisible(self._roomy and not self._short and self.mixture is not None)

    def show_at(self, share: float, show: str, *, running: bool) -> None:
        """Show the frame at ``share`` 0 … 1 of the process, or the newest before it."""
        tape = self.tape
        arrived = len(tape.frames)
        position = max(0, min(round(share * (tape.total - 1)), arrived - 1))
        frame = tape.frames[position] if arrived else None
        if frame is None:
            self.canvas.set_hint(self._wait(running))
        elif isinstance(self.canvas, PointCanvas):
            self.canvas.set_past(tape, position)
        self._at_end = frame is not None and tape.complete and position == arrived - 1
        self.set_with_trails(self._trails)
        self.canvas.set_frame(frame, show)
        told = (tape.training_step, arrived, position, show, running, level_text(frame.t if frame else None))
        if told != self._told:
            self._told = told
            self._tell(frame, show, running)

    def _tell(self, frame: Frame | None, show: str, running: bool) -> None:
        said = self._describe(frame, running)
        shares = spread = words = ""
        if self.mixture is not None and frame is not None and show != "eps":
            facts = ModeFacts.of(frame.view(show), self.mixture)
            shares = shares_text(facts.shares)
            spread = modes_text(self.tr("modes {0} % · spread {1}"), facts.shares, facts.spread)
            fewer = modes_text(self.tr("{0} % · spread {1}"), facts.shares, facts.spread)
            metrics = self.modes.fontMetrics()
            words = spread if metrics.horizontalAdvance(spread) <= self._wide else fewer
        self.modes.set_text(words)
        short = f"{shares} %" if shares else "–" if frame is None else self.tr("{0:,} calls").format(self.tape.calls)
        self.facts.set_text(short if self._short else said)
        self.setToolTip("\n".join(text for text in (self.tape.label, said, spread, self.verdict()) if text))

    def verdict(self) -> str:
        """What is wrong with the points it ended with; "" if nothing, or as long as it has not ended."""
        tape = self.tape
        if self._known is None or tape.kind != "points" or not tape.complete or not tape.count:
            return ""
        if self._judged is None:
            lost = 1 - float(histogram(tape.frames[-1].x, self._reach).sum())
            self._judged = verdict(tape, self._known, lost=lost, blind=self._blind)
        return self._judged

    def _wait(self, running: bool) -> str:
        """Why there is nothing to be seen."""
        if self._in_grid:
            return "…" if running else "–"
        return self.tr("Its turn comes.") if running else self.tr("Stopped before its turn.")

    def _describe(self, frame: Frame | None, running: bool) -> str:
        """E.g. "50 steps · 50 calls · 0.4 s"."""
        tape = self.tape
        if frame is None:
            return "–"
        parts = [moves_text(tape), self.tr("{0:,} calls").format(tape.calls), f"{tape.seconds:.1f} s"]
        if not (tape.complete or running):
            parts.append(self.tr("stopped"))
        return " · ".join(parts)


class RunCell(CompareCell):
    """One run among several: another tape at each training step; its words say where it stands, not what it cost."""

    def __init__(self, run: WatchedRun, parent: QWidget | None = None) -> None:
        super().__init__(Tape(run.kind, 1, 0, label=run.name), parent=parent)
        self.run = run
        self._early = False
        self.head.insertWidget(0, _Dot(run.place))

    def set_step(self, step: int) -> None:
        """The clock's training step: before a fork's beginning its first row is only what will come."""
        early = step < self.run.before
        if early != self._early:
            self._early, self._told = early, ()
            self.canvas.set_faint(early)

    def verdict(self) -> str:
        """None: a network that has only begun to learn is not to be judged."""
        return ""

    def _wait(self, running: bool) -> str:
        read = self.run.read.is_set()
        return self.tr("Nothing of this run can be shown.") if read else self.tr("Reading what was recorded…")

    def _describe(self, frame: Frame | None, running: bool) -> str:
        """E.g. "step 1,284 · t = 340 · DDIM, 50 steps"."""
        tape = self.tape
        if frame is None:
            return "–"
        if self._early:
            return self.tr("begins at step {step}").format(step=f"{self.run.before:,}")
        own = tape.training_step or 0
        step = self.tr("step {step}").format(step=f"{self.run.before + own:,}")
        if self.run.before:
            step += " " + self.tr("({own} since the fork)").format(own=f"{own:,}")
        return " · ".join([step, level_text(frame.t), sampler_text(tape)])


class _Dot(QWidget):
    """The colour of a run, as in the list and in its curve."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self._place = place
        self.setFixedSize(10, 16)
        theme().changed.connect(self.update)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(run_color(self._place))
        painter.drawEllipse(QRectF(0.5, self.height() / 2 - 4.5, 9, 9))


class AxisLabel(ElidedLabel):
    """A column of the grid, or a row: that is written upwards. ``name``: what it is, said where there is room."""

    def __init__(self, name: str, text: str, *, upwards: bool) -> None:
        super().__init__()
        self._upwards, self._value = upwards, text
        self.setObjectName(f"compare_{'row' if upwards else 'column'}.{text}")
        self.setFont(tabular(Caption().font(), weight=QFont.Weight.DemiBold))
        self.setForegroundRole(QPalette.ColorRole.WindowText)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        ways = QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed
        self.setSizePolicy(*(reversed(ways) if upwards else ways))
        self.set_text(f"{name} {text}".strip())
        if upwards:
            self.setFixedWidth(self.fontMetrics().height() + 2)

    def _elided(self) -> str:
        room = self.height() if self._upwards else self.width()
        metrics = self.fontMetrics()
        whole = metrics.horizontalAdvance(self.text()) <= room
        return metrics.elidedText(self.text() if whole else self._value, Qt.TextElideMode.ElideRight, room)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        wide, high = self.width(), self.height()
        if self._upwards:
            painter.translate(0, high)
            painter.rotate(-90)
            wide, high = high, wide
        painter.drawText(QRectF(0, 0, wide, high), Qt.AlignmentFlag.AlignCenter, self._elided())


def modes_text(text: str, shares: NDArray[Any], spread: float) -> str:
    """The share of each mode, and how wide they are on average."""
    return text.format(shares_text(shares), f"{spread:.2g}" if math.isfinite(spread) else "–")


def shares_text(shares: NDArray[Any]) -> str:
    """Percentages, or their range where there are many."""
    percent = [f"{100 * share:.0f}" for share in shares]
    return ":".join(percent) if len(percent) <= 3 else f"{100 * shares.min():.0f}–{100 * shares.max():.0f}"
