"""Curves against the training step: the loss (batch, probe, held-out), and one more of the reader's choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QCoreApplication, QElapsedTimer, QRect, QRectF, Qt, Signal, Slot
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.channels import MetricLog
from ddpm_studio.app.curves import Bars, Summary, smooth
from ddpm_studio.app.plots import AXIS_HEIGHT, AXIS_WIDTH, Plot, curve, pen
from ddpm_studio.app.theme import color

Float64 = NDArray[np.float64]
REACH = 10.0  # a loss above so many times that of a run's begin and its median has blown up
LOG_REACH = 1e4  # on a logarithmic scale
RANGE_EVERY = 500  # ms between two looks at the range
FLAG_SIZE = 26  # px
FLAG_REACH = 6  # px: so near the pointer, a flag says what was changed
SMOOTHING = {"off": 0.0, "light": 0.01, "strong": 0.05}  # part of the visible width averaged over


def between(summary: Summary, x: Float64, y: Float64, left: float, right: float, most: int) -> Bars:
    """The part of a curve between two x, and its neighbours, in about ``most`` pieces."""
    summary.update(y)
    first, last = np.searchsorted(x, [left, right])
    return summary.bars(y, int(first) - 1, int(last) + 1, most)


class Series:
    """One column of a log, drawn as an envelope or a line that costs the same at any length."""

    def __init__(self, item: Any, log: MetricLog, column: str) -> None:
        self.item, self.log, self.column = item, log, column

    def values(self) -> tuple[Float64, Float64]:
        """(steps, values), of one length."""
        values, steps = self.log.view(self.column), self.log.view(self.log.columns[0])
        n = min(len(values), len(steps))
        return steps[:n], values[:n]

    def bars(self, left: float, right: float, most: int) -> tuple[Float64, Bars]:
        """The steps and the part of the curve between two steps, in about ``most`` pieces."""
        steps, values = self.values()
        return steps, between(self.log.summaries[self.column], steps, values, left, right, most)

    def at(self, step: float) -> float:
        """The value at the nearest step recorded; NaN if there is none."""
        steps, values = self.values()
        if not len(steps):
            return float("nan")
        i = int(np.clip(np.searchsorted(steps, step), 0, len(steps) - 1))
        if i and abs(steps[i - 1] - step) < abs(steps[i] - step):
            i -= 1
        return float(values[i])


def scale_of(losses: Float64) -> float:
    """The larger of a curve's first value and its median; NaN if none is finite. A long curve is sampled."""
    sample = losses[:: max(1, len(losses) // 1000)]
    sample = sample[np.isfinite(sample)]
    return float(max(sample[0], np.median(sample))) if len(sample) else float("nan")


class StepPlot(Plot):
    """Curves against the step. ``refresh`` redraws what has grown; the range follows at 2 Hz until moved."""

    readout_changed = Signal(str)

    def __init__(self, name: str, accessible_name: str, height: int, parent: QWidget | None = None) -> None:
        self._series: dict[str, Series] = {}
        self._log = False
        self._frozen = False
        self._dirty = True
        self._lengths: tuple[int, ...] = ()
        self._ranged = QElapsedTimer()
        self._bounds: list[Float64] = []
        self._beyond = float("nan")  # the highest value drawn that the range leaves out
        self._empty = QCoreApplication.translate("StepPlot", "grows as training goes on")
        super().__init__(name, accessible_name, height, QCoreApplication.translate("StepPlot", "step"), parent)
        self.set_hint(self._empty)
        self.getAxis("bottom").enableAutoSIPrefix(False)
        self.moved.connect(self._on_frozen)
        self.reset.connect(self._on_reset)
        self.hovered.connect(self._on_hovered)

    def set_log_scale(self, log: bool) -> None:
        self._log = log
        self.set_log(log)
        self._frozen = False
        self._redraw_soon()

    @property
    def log_scale(self) -> bool:
        return self._log

    def refresh(self) -> None:
        """Redraw if anything has grown; call at 10 Hz."""
        lengths = tuple(len(series.log) for series in self._series.values())
        if lengths == self._lengths and not self._dirty:
            return
        self._lengths = lengths
        self.set_hint("" if any(lengths) or self._has_others() else self._empty)
        if self._frozen:
            self._draw(*self.getViewBox().viewRange()[0])
            self._dirty = False
            return
        right = self.last_step()
        self._draw(0.0, right)
        self._dirty = self._ranged.isValid() and self._ranged.elapsed() < RANGE_EVERY  # to be fitted later
        if not self._dirty:
            self._fit(right)
            self._ranged.start()

    def last_step(self) -> float:
        """The largest step of all curves, at least 1."""
        ends = [series.values()[0][-1] for series in self._series.values() if len(series.log)]
        return float(max([1.0, *ends]))

    def _draw(self, left: float, right: float) -> None:
        """Draw all series between two steps; leaves what they span in ``_bounds``."""
        raise NotImplementedError

    def _has_others(self) -> bool:
        """Whether there is something to see besides the run's own series."""
        return False

    def _pieces(self) -> int:
        return max(50, int(self.getViewBox().width()))

    def _set(self, item: Any, x: Float64, y: Float64) -> None:
        """Hand finite data to a curve."""
        if self._log:
            with np.errstate(invalid="ignore", divide="ignore"):
                y = np.log10(y)
        there = np.isfinite(y)
        item.setData(x[there], y[there])
        self._bounds.append(y[there])

    def _fit(self, right: float) -> None:
        values = np.concatenate(self._bounds) if self._bounds else np.empty(0)
        if not len(values):
            return
        top = self._ceiling()
        self._beyond = float(values.max()) if (values > top).any() and (values <= top).any() else float("nan")
        if not np.isnan(self._beyond):
            values = values[values <= top]
        low, high = np.percentile(values, [0.2, 99.5])  # a single outlier shall not flatten the rest
        if not self._log and 0 <= low < 0.5 * high:
            low = 0.0
        margin = max(0.06 * (high - low), 1e-3 * abs(high), 1e-12)
        self.setRange(xRange=(0.0, right), yRange=(low - margin * (low != 0), high + margin), padding=0)

    def _ceiling(self) -> float:
        """Values above it do not stretch the range, as drawn."""
        return float("inf")

    def beyond_text(self) -> str:
        """What stands where curves leave the plot at its top; "" where none does."""
        if np.isnan(self._beyond) or self._frozen:
            return ""
        value = self._beyond if not self._log else 10**self._beyond if self._beyond < 300 else float("inf")
        return QCoreApplication.translate("StepPlot", "↑ off scale, to {0}").format(f"{value:.2g}")

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:
        super().drawForeground(painter, rect)
        if text := self.beyond_text():
            painter.setFont(self.getAxis("bottom").style["tickFont"])
            painter.setPen(color("changed"))
            corner = QRectF(AXIS_WIDTH, 2, self.width() - AXIS_WIDTH - 4, AXIS_HEIGHT)
            painter.drawText(corner, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, text)

    def _redraw_soon(self) -> None:
        self._dirty = True
        self._ranged.invalidate()

    @Slot()
    def _on_frozen(self) -> None:
        self._frozen = self._dirty = True
        self.refresh()

    @Slot()
    def _on_reset(self) -> None:
        self._frozen = False
        self._redraw_soon()
        self.refresh()

    @Slot(float)
    def _on_hovered(self, step: float) -> None:
        self.readout_changed.emit("" if np.isnan(step) else self._readout(max(0.0, step)))

    def _readout(self, step: float) -> str:
        raise NotImplementedError


class LossPlot(StepPlot):
    """Thin batch loss, thick probe loss, dashed held-out loss; flags where a setting was changed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self._flags: list[tuple[float, Any]] = []
        self._flag_texts: list[str] = []
        self._compared: list[tuple[str, Any, Float64, Summary]] = []  # name, curve, (step, loss) of runs side by side
        self._smoothing = 0.0
        super().__init__("loss_plot", "", 104, parent)
        self.setAccessibleName(self.tr("Loss against the training step"))
        self._batch = curve(self)
        self._smoothed = curve(self, smooth=True)
        self._held_out = curve(self, smooth=True, dashed=True)
        self._probe = curve(self, smooth=True)
        self._floor = curve(self)
        self._held_out_floor = curve(self)
        self._pennants = pg.ScatterPlotItem(size=FLAG_SIZE, pxMode=True)
        self.addItem(self._pennants, ignoreBounds=True)
        self._dots = pg.ScatterPlotItem(size=6, pxMode=True)  # runs that were probed once have no line yet
        self.addItem(self._dots, ignoreBounds=True)
        self.getViewBox().sigRangeChanged.connect(self._on_range)
        self.dress()

    def dress(self) -> None:
        super().dress()
        if hasattr(self, "_pennants"):  # the base class dresses before there are curves
            self._batch.setPen(pen("batch", 0.55))
            self._smoothed.setPen(pen("text", 0.75))
            self._held_out.setPen(pen("good", width=1.5, dashed=True))
            self._probe.setPen(pen("accent", width=2))
            self._floor.setPen(pen("text", 0.8, dashed=True))
            self._held_out_floor.setPen(pen("muted", 0.8, dashed=True))
            self._pennants.setBrush(color("changed"))
            self._pennants.setPen(pen("changed"))
            for _, line in self._flags:
                line.setPen(pen("changed", dashed=True))

    def set_logs(self, batch: MetricLog | None, probe: MetricLog | None) -> None:
        """``batch``: step, loss, …; ``probe``: step, train, held_out."""
        self._series = {}
        if batch is not None:
            self._series["loss"] = Series(self._batch, batch, "loss")
        if probe is not None:
            self._series["held_out"] = Series(self._held_out, probe, "held_out")
            self._series["train"] = Series(self._probe, probe, "train")
            for name, item in (("floor", self._floor), ("held_out_floor", self._held_out_floor)):
                if name in probe.columns:  # not a number where it is not known
                    self._series[name] = Series(item, probe, name)
        own = (self._batch, self._smoothed, self._held_out, self._probe, self._floor, self._held_out_floor)
        for item in own:
            item.setData([], [])
        self._frozen = False
        self._redraw_soon()

    def set_compared(self, runs: Sequence[tuple[str, QColor, Float64]]) -> None:
        """Show the probe losses of runs side by side instead: name, colour, (step, loss) as (n, 2); none: as before."""
        fresh = [name for name, _, _ in runs] != [name for name, *_ in self._compared]
        for _, item, *_ in self._compared:
            self.removeItem(item)
        self._compared = []
        for name, shade, points in runs:
            item = curve(self, smooth=True)
            line = QPen(shade, 2)
            line.setCosmetic(True)
            item.setPen(line)
            self._compared.append((name, item, points, Summary()))
        own = [series.item for series in self._series.values()]
        for item in (*own, self._smoothed, self._pennants, *(line for _, line in self._flags)):
            item.setVisible(not runs)
        if not runs:
            self._dots.setData([], [])
        if fresh:
            self._frozen = False
        self._redraw_soon()

    def _has_others(self) -> bool:
        return bool(self._compared)

    def last_step(self) -> float:
        if self._compared:
            return float(max([1.0, *(points[-1, 0] for _, _, points, _ in self._compared if len(points))]))
        return self.own_last_step()

    def own_last_step(self) -> float:
        """That of the run on screen, whatever is compared; at least 1."""
        return super().last_step()

    def _ceiling(self) -> float:
        """Some times what a run begins with, or its median: of runs compared, the middle one's counts."""
        if self._compared:
            scales = [scale_of(points[:, 1]) for _, _, points, _ in self._compared]
        else:
            scales = [scale_of(self._series[n].values()[1]) for n in ("train", "held_out", "loss") if n in self._series]
            scales = [float(np.nanmax(scales))] if not np.isnan(scales).all() else []
        scales = sorted(scale for scale in scales if np.isfinite(scale))
        if not scales:
            return float("inf")
        middle = scales[(len(scales) - 1) // 2]
        return float(np.log10(LOG_REACH * middle)) if self._log else REACH * middle

    def set_smoothing(self, name: str) -> None:
        """ "off", "light" or "strong"."""
        self._smoothing = SMOOTHING[name]
        self._dirty = True

    def add_flag(self, step: float, text: str = "") -> None:
        """Mark a change of a setting; ``text`` says what, from and to, near the flag."""
        self._flag_texts.append(text)
        line = pg.InfiniteLine(pos=step, angle=90, pen=pen("changed", dashed=True))
        self.addItem(line, ignoreBounds=True)
        line.setVisible(not self._compared)
        self._flags.append((step, line))
        self._on_range()

    def clear_flags(self) -> None:
        for _, line in self._flags:
            self.removeItem(line)
        self._flags.clear()
        self._flag_texts.clear()
        self._on_range()

    def flags_near(self, step: float) -> str:
        """What the flags say that stand within a few pixels of ``step``."""
        left, right = self.getViewBox().viewRange()[0]
        near = FLAG_REACH * (right - left) / max(self.getViewBox().width(), 1.0)
        said: dict[float, list[str]] = {}
        for (at, _), text in zip(self._flags, self._flag_texts, strict=True):
            if text and abs(at - step) <= near:
                said.setdefault(at, []).append(text)
        return " · ".join(self.tr("step {0}: {1}").format(f"{at:,.0f}", "; ".join(all_)) for at, all_ in said.items())

    @Slot()
    def _on_range(self) -> None:
        (left, right), (_, top) = self.getViewBox().viewRange()
        turned = right - FLAG_SIZE / 2 * (right - left) / max(self.getViewBox().width(), 1.0)  # no room for it behind
        steps = [step for step, _ in self._flags]
        symbols = [_pennant(-1 if turned < step <= right else 1) for step in steps]
        self._pennants.setData(steps, [top] * len(steps), symbol=symbols)

    def _draw(self, left: float, right: float) -> None:
        self._bounds, most = [], self._pieces()
        if self._compared:
            for _, item, points, summary in self._compared:
                bars = between(summary, points[:, 0], points[:, 1], left, right, most)
                self._set(item, points[bars.start, 0], bars.mean)
            self._draw_dots()
            return
        for name, series in self._series.items():
            steps, bars = series.bars(left, right, most)
            if name != "loss":
                self._set(series.item, steps[bars.start], bars.mean)
                continue
            self._set(series.item, *bars.zigzag(steps))
            if self._smoothing and len(bars.start) > 2:
                span = self._smoothing * len(bars.start)
                self._set(self._smoothed, steps[bars.start], smooth(bars.mean, span))
            else:
                self._smoothed.setData([], [])

    def _draw_dots(self) -> None:
        """Of compared runs that are one point; a loss at or below 0 has no logarithm."""
        once = [(item, *points[0]) for _, item, points, _ in self._compared if len(points) == 1]
        once = [(item, step, loss) for item, step, loss in once if np.isfinite(loss) and (loss > 0 or not self._log)]
        losses = [np.log10(loss) if self._log else loss for _, _, loss in once]
        brushes = [item.opts["pen"].color() for item, _, _ in once]
        self._dots.setData([step for _, step, _ in once], losses, brush=brushes, pen=None)

    def _readout(self, step: float) -> str:
        if self._compared:
            return self._compared_readout(step)
        if flags := self.flags_near(step):
            return flags
        parts = [self.tr("step {step}").format(step=f"{step:,.0f}")]
        names = {"train": self.tr("probe"), "held_out": self.tr("held-out"), "loss": self.tr("batch")}
        names["floor"] = self.tr("lowest expected")
        for name, said in names.items():
            value = self._series[name].at(step) if name in self._series else float("nan")
            if np.isfinite(value):
                parts.append(f"{said} {value:.4g}")
        return " · ".join(parts)

    def _compared_readout(self, step: float) -> str:
        parts = [self.tr("step {step}").format(step=f"{step:,.0f}")]
        for name, _, points, _ in self._compared:
            if len(points) and points[0, 0] <= step <= points[-1, 0]:
                parts.append(f"{name} {np.interp(step, points[:, 0], points[:, 1]):.4g}")
        return " · ".join(parts)


class MetricPlot(StepPlot):
    """One column of the batch log, chosen by the reader."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("metric_plot", "", 88, parent)
        self._line = curve(self)
        self.dress()

    def dress(self) -> None:
        super().dress()
        if hasattr(self, "_line"):
            self._line.setPen(pen("accent"))

    def set_series(self, log: MetricLog | None, column: str) -> None:
        there = log is not None and column in log.columns
        self._series = {column: Series(self._line, log, column)} if log is not None and there else {}
        self._line.setData([], [])
        self._frozen = False
        self._redraw_soon()

    def _draw(self, left: float, right: float) -> None:
        self._bounds = []
        for series in self._series.values():
            steps, bars = series.bars(left, right, self._pieces())
            self._set(series.item, *bars.zigzag(steps))

    def _readout(self, step: float) -> str:
        value = next((series.at(step) for series in self._series.values()), float("nan"))
        if not np.isfinite(value):
            return ""
        at = self.tr("step {step}").format(step=f"{step:,.0f}")
        return f"{at} · {value:.4g}"


def _pennant(way: int) -> QPainterPath:
    """A small flag whose pole is the dashed line, to the right (1) or left (-1); symbols reach from -0.5 to 0.5."""
    path = QPainterPath()
    path.moveTo(0, 0)
    path.lineTo(0.5 * way, 0.2)
    path.lineTo(0, 0.4)
    path.closeSubpath()
    return path
