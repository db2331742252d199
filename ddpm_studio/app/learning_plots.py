"""The right panel: what learning looks like. The loss, the loss by noise level, the schedule, other curves.

pyqtgraph comes in with this module, so the window imports it after its first paint.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QTimer, Slot
from PySide6.QtGui import QAction, QActionGroup, QColor, QPalette
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.channels import MetricLog, Sights
from ddpm_studio.app.labels import ElidedLabel, Parts
from ddpm_studio.app.level_map import ColorScale, LevelMap
from ddpm_studio.app.loss_plot import SMOOTHING, LossPlot, MetricPlot
from ddpm_studio.app.plots import Legend
from ddpm_studio.app.probe_view import ProbeView
from ddpm_studio.app.schedule_plot import SchedulePlot
from ddpm_studio.app.text_button import TextButton
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import (
    DENSE_HEIGHT,
    Caption,
    Heading,
    PanelScroll,
    Segmented,
    ToolButton,
)
from ddpm_studio.diffusion.schedule import NoiseSchedule


class LearningPlots(QWidget):
    """Reads the metric logs on its own clock: call ``refresh`` at 10 Hz."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("learning_plots")
        self._batch: MetricLog | None = None
        self._probe: MetricLog | None = None
        self._before: float | None = None  # see ``set_compared``
        self._flag = ""
        self._said = ""
        self._pointed = ""  # what is under the pointer in the loss plot
        self.loss = LossPlot()
        self.levels = LevelMap()
        self.sight = ProbeView()
        self._sights = Sights()
        self.schedule = SchedulePlot()
        self.chosen_metric = MetricPlot()
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(MARGIN, MARGIN, 0, MARGIN)  # the scroll bar is as wide as a margin
        column.setSpacing(GRID // 2)
        self._lay_out_loss(column)
        column.addSpacing(GRID)
        self._lay_out_levels(column)
        column.addSpacing(GRID)
        column.addWidget(self.schedule, 3)
        column.addSpacing(GRID // 2)
        self._lay_out_more(column)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        self._scroll = PanelScroll(content)
        self._scroll.setMinimumWidth(content.minimumSizeHint().width() + MARGIN)  # nothing is cut off at the right
        outer.addWidget(self._scroll)
        self.loss.readout_changed.connect(self._on_loss_readout)
        self.levels.readout_changed.connect(self._on_levels_readout)
        self.levels.cell_chosen.connect(self._on_cell)
        self.sight.closed.connect(self._on_sight_closed)
        self._tell()

    # -- how it is put together

    def _lay_out_loss(self, column: QVBoxLayout) -> None:
        self.log_button = TextButton(self.tr("log"), self.tr("Logarithmic scale of the loss"))
        self.log_button.setObjectName("log_scale")
        self.log_button.setCheckable(True)
        self.log_button.toggled.connect(self._on_log)
        self.smoothing_button = TextButton("", self.tr("Smoothing of the batch loss"))
        self.smoothing_button.setObjectName("smoothing")
        self.smoothing_button.setCheckable(True)
        menu = QMenu(self)
        self._smoothings = QActionGroup(menu)
        names = {"off": self.tr("Not smoothed"), "light": self.tr("Light"), "strong": self.tr("Strong")}
        for name in SMOOTHING:
            entry = self._smoothings.addAction(names[name])
            entry.setObjectName(name)
            entry.setCheckable(True)
            menu.addAction(entry)
        self._smoothings.triggered.connect(self._on_smoothing)
        self._smoothings.actions()[0].setChecked(True)
        self.smoothing_button.setText(self.tr("smooth"))
        self.smoothing_button.setMenu(menu)
        row = QHBoxLayout()
        row.setSpacing(0)
        row.addWidget(Heading(self.tr("Loss")), 1)
        for button in (self.smoothing_button, self.log_button):
            button.setFixedHeight(DENSE_HEIGHT)
            row.addWidget(button)
        self.legend = Legend()
        self.legend.setToolTip(
            self.tr(
                "Probe: the same trained items, noise and levels at every step.\nHeld-out: other items, never "
                "trained. A distance between both from the start is that of the items; one that grows is overfitting.\n"
                "Lowest expected, where the data's density is known: the loss, on these very items, of the network "
                "that is best on average. On so few items another one may by chance come out a little lower."
            )
        )
        self.readout = _parts("loss_readout")
        column.addLayout(row)
        column.addWidget(self.loss, 4)
        column.addWidget(self.legend)
        self._run_legends: list[Legend] = []  # a line for each of the runs side by side
        self._legends = QVBoxLayout()
        self._legends.setSpacing(0)
        column.addLayout(self._legends)
        self.apart = _line("loss_apart")
        self.apart.setForegroundRole(QPalette.ColorRole.Text)
        self.apart.hide()
        column.addWidget(self.apart)
        column.addWidget(self.readout)

    def _lay_out_levels(self, column: QVBoxLayout) -> None:
        self.levels_caption = _parts("levels_caption")
        row = QHBoxLayout()
        self.levels_heading = Heading(self.tr("Loss by noise level"))
        row.addWidget(self.levels_heading, 1)
        self._scale = ColorScale(self.levels)
        row.addWidget(self._scale)
        column.addLayout(row)
        column.addWidget(self.levels, 3)
        column.addWidget(self.levels_caption)
        column.addWidget(self.sight)
        self.sight.hide()
        self._on_levels_readout("")

    def _lay_out_more(self, column: QVBoxLayout) -> None:
        self.more_button = ToolButton("chevron-right", self.tr("More curves"), size=DENSE_HEIGHT)
        self.more_button.setObjectName("more_curves")
        self.more_button.clicked.connect(self._on_more)
        names = [("lr", self.tr("rate")), ("grad_norm", self.tr("gradient")), ("images_per_second", self.tr("speed"))]
        self.metric_choice = Segmented(names, self.tr("Curve shown"), height=DENSE_HEIGHT)
        self.metric_choice.setObjectName("metric_choice")
        self._metric_names = {
            "lr": self.tr("Learning rate"),
            "grad_norm": self.tr("Norm of the gradient"),
            "images_per_second": self.tr("Images per second"),
        }
        self.metric_choice.set_tooltips(self._metric_names)
        self.metric_choice.chosen.connect(self._on_metric)
        self.chosen_metric.readout_changed.connect(self._on_metric_readout)
        self.metric_readout = _line("metric_readout")
        row = QHBoxLayout()
        row.setSpacing(GRID // 2)
        row.addWidget(Heading(self.tr("More curves")), 1)
        row.addWidget(self.more_button)
        self._more = QWidget()
        inner = QVBoxLayout(self._more)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(GRID // 2)
        for widget in (self.metric_choice, self.chosen_metric, self.metric_readout):
            inner.addWidget(widget)
        self._more.hide()
        column.addLayout(row)
        column.addWidget(self._more, 2)

    # -- what it is given

    def set_logs(self, batch: MetricLog | None, probe: MetricLog | None) -> None:
        """``batch``: step, loss and perhaps lr, grad_norm, images_per_second; ``probe``: step, train, held_out."""
        self._batch, self._probe = batch, probe
        self._flag = self._said = self._pointed = ""
        self.loss.set_logs(batch, probe)
        self.loss.clear_flags()
        self.levels.clear()
        self.chosen_metric.set_series(batch, self.metric_choice.value())
        self.readout.set_text("")
        self._scale.refresh()
        self.refresh()

    def add_flag(self, step: float, text: str) -> None:
        """Mark a change of a setting; ``text`` like "rate ×3 at 900"."""
        self.loss.add_flag(step, text)
        self._flag, self._said = text, ""
        self._tell()

    def set_sights(self, sights: Sights) -> None:
        """What the probed networks saw: shown for a cell of the map that is chosen."""
        self._sights = sights

    def set_compared(
        self,
        runs: Sequence[tuple[str, QColor, NDArray[np.float64]]],
        apart: Sequence[str] = (),
        before: float | None = None,
    ) -> None:
        """Draw the probe losses of some runs on common axes: name, colour, (step, loss); none: the run on screen.

        ``apart``: the settings for which their losses are not one quantity, if they are not. ``before``: where the
        steps of the run on screen begin on those axes; None: it is not among them, and its map has its own.
        """
        self._before = before
        self.levels_heading.setText(
            self.tr("Loss by noise level, run on screen") if runs and before is None else self.tr("Loss by noise level")
        )
        self.loss.set_compared(runs)
        names = [self.tr("the data") if name == "Data" else name for name in apart]
        one = len(names) == 1 and "Data" not in apart
        said = self.tr("These losses do not compare: {0} differs" if one else "These losses do not compare: {0} differ")
        self.apart.set_text(said.format(", ".join(names)) if apart else "")
        self.apart.setVisible(bool(apart))
        while len(self._run_legends) < len(runs):
            self._run_legends.append(Legend())
            self._legends.addWidget(self._run_legends[-1])
        for i, legend in enumerate(self._run_legends):
            legend.setVisible(i < len(runs))
            if i < len(runs):
                name, shade, points = runs[i]
                legend.set_entries([(shade, _named(name, float(points[-1, 1]) if len(points) else None), False)])
        self.legend.setVisible(not runs)
        self.refresh()

    def add_probe(
        self,
        step: float,
        levels: NDArray[np.floating],
        losses: NDArray[np.floating],
        floor: NDArray[np.floating] | None = None,
    ) -> None:
        """One column of the loss by noise level, as ``LevelMap.add_probe``."""
        self.levels.add_probe(step, levels, losses, floor)
        self._scale.refresh()

    def set_schedule(self, schedule: NoiseSchedule) -> None:
        self.schedule.set_schedule(schedule)

    def set_level(self, t: int) -> None:
        """The t that is shown elsewhere."""
        self.schedule.set_level(t)

    @Slot()
    def refresh(self) -> None:
        """Draw what is new; costs little when nothing is, and nothing when hidden."""
        if not self.isVisible():
            return
        self.loss.refresh()
        if self._before is None:  # on an axis of its own
            self.levels.set_last_step(self.loss.own_last_step())
        else:
            self.levels.set_last_step(self.loss.last_step(), self._before)
        if self._more.isVisible():
            self.chosen_metric.refresh()
        self._tell()

    def summary(self) -> str:
        """The loss in one sentence, for those who cannot see the curve."""
        probe = self._probe
        if probe is None or not len(probe):
            return self.tr("No loss yet: it appears here once training has started.")
        losses, steps = probe.view("train"), probe.view("step")
        n = min(len(losses), len(steps))
        now, before = losses[n - 1], losses[max(0, n - 1 - max(1, n // 10))]
        if not np.isfinite(now):
            course = self.tr("not a number")
        elif now < 0.99 * before:
            course = self.tr("falling")
        elif now > 1.01 * before:
            course = self.tr("rising")
        else:
            course = self.tr("level")
        said = self.tr("Probe loss {loss} at step {step}, {course}")
        return said.format(loss=f"{now:.3g}", step=f"{steps[n - 1]:,.0f}", course=course)

    def _tell(self) -> None:
        """Legend and summary, if the numbers in them have changed."""
        names = ("train", "held_out", "floor", "held_out_floor")
        there = self._probe.columns if self._probe is not None else ()
        train, held_out, *floors = (
            self._probe.last(n) if self._probe is not None and n in there else None for n in names
        )
        said = str((train, held_out, floors, self._flag, self._batch is None))  # a nan is never equal to itself
        if said == self._said:
            return
        self._said = said
        entries = [("accent", _named(self.tr("probe"), train), False)]
        if held_out is not None and np.isfinite(held_out):
            entries.append(("good", _named(self.tr("held-out"), held_out), True))
        entries.append(("batch", self.tr("batch"), False))
        known = (("text", self.tr("lowest expected")), ("muted", self.tr("of held-out")))
        for (shade, name), floor in zip(known, floors, strict=True):
            if floor is not None and np.isfinite(floor):
                entries.append((shade, _named(name, floor), True))
        self.legend.set_entries(entries)
        self.loss.setAccessibleDescription(self.summary())
        self._on_loss_readout(self._pointed)

    # -- what the person does

    @Slot(bool)
    def _on_log(self, on: bool) -> None:
        self.loss.set_log_scale(on)
        self.loss.refresh()

    @Slot(QAction)
    def _on_smoothing(self, entry: QAction) -> None:
        self.loss.set_smoothing(entry.objectName())
        self.smoothing_button.setChecked(entry.objectName() != "off")
        self.loss.refresh()

    @Slot()
    def _on_more(self) -> None:
        shown = not self._more.isVisible()
        self._more.setVisible(shown)
        self.more_button.set_icon_name("chevron-down" if shown else "chevron-right")
        self._on_metric(self.metric_choice.value())
        if shown:
            self._scroll_to(self._more)

    def _scroll_to(self, opened: QWidget) -> None:
        """Let what has just been opened be seen, once it has its place."""
        QTimer.singleShot(0, opened, lambda: self._scroll.ensureWidgetVisible(opened, 0, GRID))

    @Slot(str)
    def _on_metric(self, column: str) -> None:
        self.chosen_metric.set_series(self._batch, column)
        self.chosen_metric.setAccessibleName(self._metric_names[column])
        self._on_metric_readout("")
        self.chosen_metric.refresh()

    @Slot(str)
    def _on_loss_readout(self, text: str) -> None:
        self._pointed = text
        self.readout.set_text(text or self._flag)

    @Slot(str)
    def _on_levels_readout(self, text: str) -> None:
        told = text or self.levels.told_chosen()
        self.levels_caption.set_text(told or self.tr("t low at the top, step to the right"))

    @Slot(float, int)
    def _on_cell(self, step: float, k: int) -> None:
        sight, items = self._sights.nearest(step), self._sights.items
        if k >= 0 and sight is not None and items is not None:
            self.sight.set_sight(items, sight, k)
        elif k >= 0:
            self.sight.set_nothing()
        opened = k >= 0 and self.sight.isHidden()
        self.sight.setVisible(k >= 0)
        if opened:
            self._scroll_to(self.sight)
        self._on_levels_readout("")

    @Slot()
    def _on_sight_closed(self) -> None:
        self.levels.choose(None)
        self.levels.setFocus()

    @Slot(str)
    def _on_metric_readout(self, text: str) -> None:
        self.metric_readout.set_text(text or self._metric_names[self.metric_choice.value()])


def _named(name: str, value: float | None) -> str:
    return name if value is None else f"{name} {value:.3g}"


def _parts(name: str) -> Parts:
    """Two muted lines of numbers."""
    label = Parts()
    label.setObjectName(name)
    return label


def _line(name: str) -> ElidedLabel:
    """One muted line of fixed height."""
    label = ElidedLabel(" ")
    label.setObjectName(name)
    label.setFont(Caption().font())
    label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    label.setFixedHeight(label.fontMetrics().height() + 2)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return label
