"""The noise schedule drawn against t; it moves as its settings are tweaked."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Slot
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ddpm_studio.app.levels import level_text
from ddpm_studio.app.painting import rich
from ddpm_studio.app.plots import Legend, Plot, curve, pen
from ddpm_studio.app.theme import GRID, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, Heading, Segmented
from ddpm_studio.diffusion.schedule import NoiseSchedule

CURVES = {"signal": "signal", "noise": "signal", "log_snr": "log_snr", "beta": "beta"}  # and the choice that shows it
LEFT_OVER = 0.05  # of the picture at t = T: more than this is worth a sentence


class SchedulePlot(QWidget):
    """Signal and noise, log SNR, or β against t, with a line at the t that is shown elsewhere."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._schedule: NoiseSchedule | None = None
        self._entries: list[tuple[str, str, bool]] = []
        self._lit: tuple[str, ...] = ()  # curves that stand out
        self.plot = Plot("schedule_plot", self.tr("Noise schedule against t"), 88, "t")
        self._first = curve(self.plot, smooth=True)
        self._second = curve(self.plot, smooth=True)
        self.plot.set_hint(self.tr("follows the settings of the schedule"))
        self._level = pg.InfiniteLine(angle=90)
        self._level.hide()
        self.plot.addItem(self._level, ignoreBounds=True)
        self.plot.setMouseEnabled(x=False, y=False)
        texts = [("signal", self.tr("signal, noise")), ("log_snr", self.tr("log SNR")), ("beta", "β")]
        self.choice = Segmented(texts, self.tr("Curve of the schedule"), height=DENSE_HEIGHT)
        self.choice.setObjectName("schedule_choice")
        self.choice.set_tooltips(
            {
                "signal": self.tr("How much of the picture and how much noise is in x_t"),
                "log_snr": self.tr("Logarithm of the signal-to-noise ratio"),
                "beta": self.tr("Variance added by the step from t - 1 to t"),
            }
        )
        self.legend = Legend()
        self.warning = Caption()  # beside the heading, where no scroll bar hides it; the tooltip has the sentence
        self.warning.setObjectName("schedule_warning")
        self.warning.hide()
        head = QHBoxLayout()
        head.addWidget(Heading(self.tr("Schedule")), 1)
        head.addWidget(self.warning)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID // 2)
        column.addLayout(head)
        column.addWidget(self.choice)
        column.addWidget(self.plot, 1)
        column.addWidget(self.legend)
        self.choice.chosen.connect(self._on_choice)
        self.plot.hovered.connect(self._on_hovered)
        theme().changed.connect(self._on_theme)
        self._on_theme()

    def set_schedule(self, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        self.plot.set_hint("")
        left_over = float(schedule.alpha[-1] / np.hypot(schedule.alpha[-1], schedule.sigma[-1]))
        if left_over > LEFT_OVER:
            short = self.tr("{percent} % of x_0 left at T")
            said = self.tr(
                "At t = T {percent} % of the picture is left: samples start from a noise the network never saw."
            )
            if self._ladder:
                short = self.tr("data show at T")
                said = self.tr(
                    "At t = T the data still show through noise of σ = {sigma:.3g}: Langevin moves make up for that, "
                    "other samplers start from a noise the network never saw."
                )
            facts = {"percent": f"{100 * left_over:.0f}", "sigma": schedule.sigma[-1]}
            sentence = said.format(**facts)
            self.warning.setText(rich(short.format(**facts)))
            self.warning.setToolTip(f"<p>{sentence}</p>")
            self.warning.setAccessibleName(sentence)
        self.warning.setVisible(left_over > LEFT_OVER)
        self._draw()

    @property
    def _ladder(self) -> bool:
        """Whether the picture stays whole and only the noise grows: from there on σ is drawn on a log axis."""
        return self._schedule is not None and self._schedule.exploding

    def set_level(self, t: int) -> None:
        """Where the line stands."""
        self._level.setPos(t)
        self._level.show()

    def highlight(self, curves: tuple[str, ...]) -> None:
        """Let curves stand out, of "signal", "noise", "log_snr" and "beta"; while they do they are shown."""
        if curves != self._lit:
            self._lit = curves
            self._draw()
            self._on_theme()

    @property
    def _which(self) -> str:
        """The choice, or what shows the curves that stand out."""
        wanted = [CURVES[name] for name in self._lit]
        return self.choice.value() if not wanted or self.choice.value() in wanted else wanted[0]

    def _draw(self) -> None:
        schedule = self._schedule
        if schedule is None:
            return
        t = np.arange(schedule.steps + 1)
        which = self._which
        if self._ladder:  # nothing fades: what there is to see is the noise, over decades
            t, first, second = t[1:], schedule.log_snr[1:], np.full(schedule.steps, np.nan)
            if which != "log_snr":
                first = np.log10(schedule.sigma[1:] if which == "signal" else schedule.betas)
            labels = {"signal": self.tr("σ noise"), "log_snr": self.tr("log SNR"), "beta": self.tr("σ² added at t")}
            entries = [("accent", labels[which], False)]
        elif which == "signal":
            first, second = schedule.alpha, schedule.sigma
            names = (
                (self.tr("√ᾱ signal"), self.tr("√(1−ᾱ) noise"))
                if schedule.preserving
                else (self.tr("α signal"), self.tr("σ noise"))
            )
            entries = [("accent", names[0], False), ("changed", names[1], False)]
        else:
            first = schedule.log_snr if which == "log_snr" else np.append(np.nan, schedule.betas)
            second = np.full(len(t), np.nan)
            entries = [("accent", self.tr("log SNR") if which == "log_snr" else self.tr("β at t"), False)]
        values = np.concatenate([first, second])
        values = values[np.isfinite(values)]
        low, high = float(values.min()), float(values.max())
        if which == "signal" and not self._ladder:
            low = 0.0
        margin = 0.06 * max(high - low, 1e-9)
        for item, y in ((self._first, first), (self._second, second)):
            there = np.isfinite(y)
            item.setData(t[there], y[there])
        self.plot.set_log(self._ladder and which != "log_snr")
        self.plot.setRange(xRange=(0, schedule.steps), yRange=(low - margin, high + margin), padding=0)
        self._entries = entries
        self.legend.set_entries(entries)

    @Slot()
    def _on_theme(self) -> None:
        shown = [name for name in self._lit if CURVES[name] == self._which]
        second = "noise" in shown and not self._ladder
        first = bool(shown) if self._ladder else any(name != "noise" for name in shown)
        self._first.setPen(pen("accent", width=3.5 if first else 1.5))
        self._second.setPen(pen("changed", width=3.5 if second else 1.5))
        self._level.setPen(pen("muted"))

    @Slot(str)
    def _on_choice(self, _which: str) -> None:
        self._draw()

    @Slot(float)
    def _on_hovered(self, x: float) -> None:
        schedule = self._schedule
        if schedule is None or np.isnan(x):
            self.legend.set_entries(self._entries)
            return
        t = int(np.clip(round(x), 0, schedule.steps))
        numbers = [f"{schedule.alpha[t]:.3f}", f"{abs(schedule.sigma[t]):.3f}"]
        if self._ladder:
            numbers = [f"{schedule.sigma[t]:.3g}"]
        if self.choice.value() == "log_snr":
            numbers = [f"{schedule.log_snr[t]:.2f}"]
        elif self.choice.value() == "beta":
            numbers = [f"{schedule.betas[t - 1]:.3g}" if t else "–"]
        shown = [
            (role, f"{text.split()[-1]} {number}", dashed)
            for (role, text, dashed), number in zip(self._entries, numbers, strict=True)
        ]
        self.legend.set_entries([*shown, ("muted", level_text(t), False)])
