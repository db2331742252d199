"""Comparing, from the question to the grid: the dialog, the engine's answers, and what a run has kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.compare_panel import ComparePanel, RunChoice, Subject
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.jobs import RunOpened
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.session import Session
from ddpm_studio.app.tape_text import noise_text
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.store import Run
from ddpm_studio.training.control import Comparison
from ddpm_studio.training.events import ComparisonFinished, ComparisonRefused, ComparisonStarted, TapeFinished

COUNT = {"pictures": 16, "points": 2000}  # for each cell
MOST_RUNS = 24  # that the dialog offers


class Comparing(QObject):
    """Has no widget of its own on the stage: the grid belongs to the view."""

    said = Signal(str)  # for the status bar

    def __init__(self, window: QWidget, view: ReverseView, controller: RunController, session: Session) -> None:
        super().__init__(session)
        self.panel: ComparePanel | None = None
        self._window, self._view, self._controller, self._session = window, view, controller, session
        self._last: list[Tape] = []
        self._last_of: Run | None = None  # the run that they are of
        self._measured: tuple[Run | None, float] = None, 0.0  # seconds of a network call for one item, and whose
        controller.reported.connect(self._on_event)
        view.comparison.back_wanted.connect(self._on_back)
        view.comparison.stop_wanted.connect(self._on_stop)

    @Slot()
    def on_compare(self) -> None:
        """Ask what is to be compared."""
        run = self._session.run
        if run is None:
            return
        recipe = self._session.run_recipe  # not the form's: that of the run which is sampled
        kind = recipe.learns
        measured_of, seconds = self._measured
        subject = Subject(
            recipe,
            kind,
            COUNT[kind],
            self._view.weights_choice.value(),
            tuple(checkpoint.step for checkpoint in run.checkpoints()),
            self._controller.training,
            self._runs,
            seconds * COUNT[kind] if measured_of == run else 0.0,
        )
        has_last = bool(self._last) and self._last_of == run
        self.panel = ComparePanel(subject, self._session.seed_lock, has_last=has_last, parent=self._window)
        self.panel.asked.connect(self._on_asked)
        self.panel.last_wanted.connect(self._on_last_wanted)
        self.panel.finished.connect(self.panel.deleteLater)
        self.panel.open()

    def _runs(self) -> list[RunChoice]:
        """The run in hand; then those of its kind that have a checkpoint, of the same data first, newest first.

        The others are those that the panel lists.
        """
        run = self._session.run
        if run is None:
            return []
        mine = self._session.run_recipe
        step = self.tr("step {0:,}")
        found: list[RunChoice] = []
        title, saved = run.name, run.checkpoints()
        now = step.format(saved[-1].step) if saved else ""
        for other in self._session.runs:
            if other.run == run:
                title = other.title
            elif other.recipe is None or other.saved is None:
                continue
            elif other.recipe.learns == mine.learns and len(found) < MOST_RUNS:
                found.append(RunChoice(other.run.path, other.title, step.format(other.saved), other.recipe))
        if self._controller.training:
            now = self.tr("now")
        found.sort(key=lambda choice: choice.recipe.data.source != mine.data.source)
        return [RunChoice(run.path, title, now, mine), *found]

    @Slot(object)
    def _on_asked(self, comparison: Comparison) -> None:
        if self._session.run is not None:
            self._controller.sample(self._session.run, comparison)

    @Slot(object)
    def _on_event(self, event: object) -> None:
        match event:
            case ComparisonStarted():
                self._show(event.tapes, event.calls)
                self.said.emit(self.tr("Comparing: {0} cells…").format(len(event.tapes)))
            case TapeFinished():
                self._measure(event.tape)
            case ComparisonFinished():
                self._last = [tape for tape in event.tapes if tape.complete]
                self._last_of = self._session.run
                self._view.comparison.end()
                text = self.tr("Stopped after {0} of {1} cells") if event.stopped else self.tr("Compared in {2:.1f} s")
                self.said.emit(text.format(len(self._last), len(event.tapes), event.seconds))
            case ComparisonRefused():
                self.said.emit(event.reason)
            case RunOpened():
                self._last, self._last_of = event.compared, event.run
                if event.tape is not None:
                    self._measure(event.tape)

    def _measure(self, tape: Tape) -> None:
        """What a network call costs, so that the next comparison can be told how long it will take."""
        if tape.complete and tape.calls and tape.count:
            self._measured = self._session.run, tape.seconds / tape.calls / tape.count

    def _show(self, tapes: Sequence[Tape], calls: Sequence[int] = ()) -> None:
        recipe = self._session.run_recipe
        points, mixture, blind = self._session.compared_with(recipe)
        if any(tape.title != recipe.title for tape in tapes):
            points = mixture = None  # runs that learnt something else
        self._view.compare(tapes, calls)
        self._view.comparison.set_data(points, mixture, blind=blind)
        self._view.set_note("")
        self._view.set_weights(tapes[0].weights)
        seeds = {tape.seed for tape in tapes}
        self._view.set_caption(noise_text(tapes[0]) if len(seeds) == 1 else "")

    @Slot(object, object)
    def on_run_moved(self, old: Path, new: Path | None) -> None:
        """A run's folder has another path, or None: what is known of it goes along."""
        moved = Run(new) if new is not None else None
        if self._last_of is not None and self._last_of.path == old:
            self._last_of = moved
        measured_of, seconds = self._measured
        if measured_of is not None and measured_of.path == old:
            self._measured = moved, seconds

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
