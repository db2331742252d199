"""Comparing samplers, from the question to the grid: the dialog, the engine's answers, and what a run has kept."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.compare_panel import ComparePanel
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.jobs import RunOpened
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.session import Session, kind_of
from ddpm_studio.data import mixture_of
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.recipes.sections import ScoreMLP
from ddpm_studio.store import Run
from ddpm_studio.training.control import Comparison
from ddpm_studio.training.events import ComparisonFinished, ComparisonRefused, ComparisonStarted

COUNT = {"pictures": 16, "points": 2000}  # for each sampler
NEW_SEEDS = 10_000  # short enough to be read and typed again


class Comparing(QObject):
    """Has no widget of its own on the stage: the grid belongs to the view."""

    said = Signal(str)  # for the status bar

    def __init__(self, window: QWidget, view: ReverseView, controller: RunController, session: Session) -> None:
        super().__init__(session)
        self.panel: ComparePanel | None = None
        self._window, self._view, self._controller, self._session = window, view, controller, session
        self._last: list[Tape] = []
        self._last_of: Run | None = None  # the run that they are of
        self._seed, self._locked = 0, True
        self._seed_of: Run | None = None  # the run that these are of
        controller.reported.connect(self._on_event)
        view.comparison.back_wanted.connect(self._on_back)
        view.comparison.stop_wanted.connect(self._on_stop)

    @Slot()
    def on_compare(self) -> None:
        """Ask which samplers."""
        if self._session.run is None:
            return
        recipe = self._session.run_recipe  # not the form's: that of the run which is sampled
        kind = kind_of(recipe)
        has_last = bool(self._last) and self._last_of is self._session.run
        if self._seed_of is not self._session.run:
            self._seed, self._locked, self._seed_of = recipe.seed, True, self._session.run
        self.panel = ComparePanel(
            recipe,
            kind,
            COUNT[kind],
            seed=self._seed if self._locked else random.randrange(NEW_SEEDS),
            locked=self._locked,
            has_last=has_last,
            parent=self._window,
        )
        self.panel.asked.connect(self._on_asked)
        self.panel.last_wanted.connect(self._on_last_wanted)
        self.panel.finished.connect(self.panel.deleteLater)
        self.panel.open()

    @Slot(object, int, bool)
    def _on_asked(self, entries: tuple[tuple[str, Any], ...], seed: int, locked: bool) -> None:
        run = self._session.run
        if run is not None:
            self._seed, self._locked, self._seed_of = seed, locked, run
            weights = self._view.weights_choice.value()
            cells = tuple(Cell(settings, seed, weights, label=label, column=label) for label, settings in entries)
            comparison = Comparison(cells, COUNT[kind_of(self._session.run_recipe)])
            self._controller.sample(run, comparison)

    @Slot(object)
    def _on_event(self, event: object) -> None:
        match event:
            case ComparisonStarted():
                self._show(event.tapes, event.calls)
                self.said.emit(self.tr("Comparing {0} samplers…").format(len(event.tapes)))
            case ComparisonFinished():
                self._last = [tape for tape in event.tapes if tape.complete]
                self._last_of = self._session.run
                self._view.comparison.end()
                text = (
                    self.tr("Stopped after {0} of {1} samplers") if event.stopped else self.tr("Compared in {2:.1f} s")
                )
                self.said.emit(text.format(len(self._last), len(event.tapes), event.seconds))
            case ComparisonRefused():
                self.said.emit(event.reason)
            case RunOpened():
                self._last, self._last_of = event.compared, event.run

    def _show(self, tapes: Sequence[Tape], calls: Sequence[int] = ()) -> None:
        data = self._session.dataset
        points = data.held_out if data is not None and data.kind == "points" else None
        self._view.compare(tapes, calls)
        recipe = self._session.run_recipe
        blind = isinstance(recipe.network, ScoreMLP) and not recipe.network.level_aware
        self._view.comparison.set_data(points, mixture_of(recipe.data.source), blind=blind)
        self._view.set_note("")
        self._view.set_weights(tapes[0].weights)
        self._view.set_caption(self.tr("seed {0}").format(tapes[0].seed))

    @Slot()
    def _on_last_wanted(self) -> None:
        self._show(self._last)

    @Slot()
    def _on_stop(self) -> None:
        self._controller.stop_comparison()

    @Slot()
    def _on_back(self) -> None:
        self._controller.stop_comparison()
        self._view.leave_comparison()
