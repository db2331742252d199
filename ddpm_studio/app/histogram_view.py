"""Data and samples as 2-D histograms side by side (tutorial 004), and what the samples make of the modes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPalette
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ddpm_studio.app.canvas import FrameCanvas
from ddpm_studio.app.mode_facts import ModeFacts
from ddpm_studio.app.texts import measured
from ddpm_studio.app.theme import GRID, MARGIN, color, tabular
from ddpm_studio.app.verdict import mode_name, percent, verdict
from ddpm_studio.app.widgets import Caption
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.tape import Frame, Tape

BINS, REACH = 100, 2.0  # of the tutorial's histograms
EACH = 4  # modes that are told one by one; more are told together
TITLE, TICKS = 22, 20  # px


def reach_for(points: NDArray[Any]) -> float:
    """How far a histogram that shows all these points (M, 2) goes to each side: as the tutorial's, or further."""
    most = float(np.abs(points).max()) if len(points) else 0.0
    return max(REACH, math.ceil(2.1 * most) / 2)


def histogram(points: NDArray[Any], reach: float = REACH) -> NDArray[np.float64]:
    """The part of all points (N, 2) in each square of -reach … reach, float64 (BINS, BINS); the top row is high y.

    As in numpy's histogram2d a point on the upper edge counts; points outside and not finite are in no square.
    """
    inside = points[(np.abs(points) <= reach).all(axis=1)]
    square = np.minimum((inside + reach) * (BINS / (2 * reach)), BINS - 1).astype(np.int64)
    counts = np.bincount((BINS - 1 - square[:, 1]) * BINS + square[:, 0], minlength=BINS * BINS)
    return counts.reshape(BINS, BINS) / max(len(points), 1)


def heat(share: NDArray[np.float64], most: float) -> NDArray[np.uint32]:
    """RGB32 pixels: from the stage's colour (0) over the accent to the text's (``most``), on a root scale."""
    tints = [color(role) for role in ("panel", "accent", "text")]
    stops = np.array([(tint.red(), tint.green(), tint.blue()) for tint in tints], dtype=np.float64)
    level = np.sqrt(share / most if most > 0 else share)
    r, g, b = (np.interp(level, (0, 0.6, 1), stop).round().astype(np.uint32) for stop in stops.T)
    return np.ascontiguousarray(0xFF << 24 | r << 16 | g << 8 | b, dtype=np.uint32)


class HistogramCanvas(FrameCanvas):
    """Two squares, one colour scale: the data on the left, the points of the frame on the right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("histogram_canvas")
        self.setAccessibleName(self.tr("Histograms of the data and of the samples"))
        self.setToolTip(self.tr("Share of the points in each of 100 × 100 squares, one root scale for both"))
        self._reach = REACH
        self._data: NDArray[np.float64] | None = None
        self._counted: tuple[NDArray[Any], NDArray[np.float64]] | None = None

    def set_data(self, points: NDArray[Any] | None) -> None:
        """points: (M, 2)."""
        self._reach = REACH if points is None else reach_for(points)
        self._data = None if points is None else histogram(points, self._reach)
        self._counted = None
        self.update()

    def part_inside(self, points: NDArray[Any]) -> float:
        """The part of these points (N, 2) that lies inside the square."""
        return float(histogram(points, self._reach).sum())

    def _samples(self, items: NDArray[Any]) -> NDArray[np.float64]:
        if self._counted is None or self._counted[0] is not items:
            self._counted = items, histogram(items, self._reach)
        return self._counted[1]

    def squares(self) -> tuple[QRectF, QRectF]:
        """Where the data and the samples are drawn, in px."""
        side = min((self.width() - 4 * MARGIN) / 2, self.height() - TITLE - TICKS - MARGIN)
        top = (self.height() - TITLE - TICKS - side) / 2 + TITLE
        gap = min(2 * MARGIN + GRID, self.width() - 2 * side - 2 * MARGIN)
        left = (self.width() - 2 * side - gap) / 2
        return QRectF(left, top, side, side), QRectF(left + side + gap, top, side, side)

    def _draw(self, painter: QPainter, items: NDArray[Any]) -> None:
        samples = self._samples(items)
        most = max(float(share.max()) for share in (samples, self._data) if share is not None)
        painter.setFont(tabular(self.font(), 0.92))
        left, right = self.squares()
        for place, share, title in ((left, self._data, self.tr("data")), (right, samples, self.tr("samples"))):
            if share is None or place.width() < GRID:
                continue
            pixels = heat(share, most)
            image = QImage(pixels.data, BINS, BINS, 4 * BINS, QImage.Format.Format_RGB32)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
            painter.drawImage(place, image)
            painter.setPen(color("hairline"))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(place)
            painter.setPen(color("text"))
            above = QRectF(place.left(), place.top() - TITLE, place.width(), TITLE)
            painter.drawText(above, Qt.AlignmentFlag.AlignCenter, title)
            painter.setPen(color("muted"))
            below = QRectF(place.left(), place.bottom(), place.width(), TICKS)
            sides = (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight)
            for x, side in zip((-self._reach, 0, self._reach), sides, strict=True):
                painter.drawText(below, side | Qt.AlignmentFlag.AlignVCenter, f"{x:g}".replace("-", "−"))


class HistogramView(QWidget):
    """The two histograms; below them share and spread of each mode, and why they are wrong where they are."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("histogram_view")
        self.canvas = HistogramCanvas()
        self.facts, self.note = Caption(), Caption()
        self.facts.setObjectName("mode_facts")
        self.note.setObjectName("mode_note")
        self.note.setForegroundRole(QPalette.ColorRole.WindowText)  # it is to be read
        for label in (self.facts, self.note):
            label.setWordWrap(True)
            label.setAlignment(Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop)
            label.hide()
        self._mixture: Mixture | None = None
        self._points: NDArray[Any] | None = None
        self._blind = False
        self._judged: Tape | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID // 2)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.facts)
        column.addWidget(self.note)

    # -- what it is given

    def set_data(self, points: NDArray[Any] | None, mixture: Mixture | None) -> None:
        """The data (M, 2) and their density, if it is known."""
        if points is self._points:
            return
        self._points = points
        self.canvas.set_data(points)
        self._mixture = mixture
        self.facts.hide()
        self._forget()

    def set_blind(self, blind: bool) -> None:
        """Whether the network that draws does not see the noise level."""
        if blind != self._blind:
            self._blind = blind
            self._forget()

    def set_frame(self, frame: Frame | None, show: str = "x") -> None:
        """As a canvas has it."""
        self.canvas.set_frame(frame, show)
        told = frame is not None and len(frame.x) > 0 and show != "eps" and self._mixture is not None
        if told and frame is not None and self._mixture is not None:
            points = frame.view(show)
            lost = 1 - self.canvas.part_inside(points)
            outside = self.tr("; {0} % outside").format(f"{100 * lost:.1f}") if lost > 5e-4 else ""
            self.facts.setText(self._tell(ModeFacts.of(points, self._mixture)) + outside)
        self.facts.setVisible(told)

    def set_tape(self, tape: Tape | None) -> None:
        """Say what is wrong with the end of a complete tape. It stands until another tape is complete."""
        mixture = self._mixture
        if tape is None or mixture is None or tape is self._judged:
            return
        if tape.kind != "points" or not tape.complete or not tape.count:
            return
        self._judged = tape
        lost = 1 - self.canvas.part_inside(tape.frames[-1].x)
        text = verdict(tape, mixture, lost=lost, blind=self._blind)
        self.note.setText(text)
        self.note.setVisible(bool(text))

    # -- what it says

    def _forget(self) -> None:
        self._judged = None
        self.note.hide()
        self.note.setText("")

    def _tell(self, facts: ModeFacts) -> str:
        assert self._mixture is not None
        count = len(facts.shares)
        if count <= EACH:
            text = self.tr("{mode} {share} (data {data}), spread {spread} (data {data_spread:.3f})")
            return "\n".join(
                text.format(
                    mode=mode_name(self._mixture, k),
                    share=f"{100 * facts.shares[k]:.1f} %",
                    data=percent(facts.data_shares[k]),
                    spread=measured(facts.spreads[k]),
                    data_spread=facts.data_spread,
                )
                for k in range(count)
            )
        low, high = (f"{100 * share:.1f}" for share in (facts.shares.min(), facts.shares.max()))
        return self.tr(
            "{count} modes: {low} to {high} % of the points in each (data {data}), "
            "spread {spread} (data {data_spread:.3f})"
        ).format(
            count=count,
            low=low,
            high=high,
            data=f"{100 * facts.data_shares.mean():.3g} %",
            spread=measured(facts.spread),
            data_spread=facts.data_spread,
        )
