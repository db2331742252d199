"""Watching runs side by side, from their choice in the list to the stage: by what they have recorded, so at once."""

from __future__ import annotations

from functools import partial
from threading import Event

from PySide6.QtCore import QObject, QThreadPool, Signal, Slot

from ddpm_studio.app.controller import RunController
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.runs_panel import RunRow
from ddpm_studio.app.session import Session
from ddpm_studio.app.stage import read_unless
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run
from ddpm_studio.store.together import Together, WatchedRun


def _read(run: Run, watched: WatchedRun, unwanted: Event) -> None:
    """Read a run's previews; in a thread of the pool."""
    try:
        read_unless(unwanted, run, watched.reel)
    finally:
        watched.read.set()


class SideBySide(QObject):
    """Has no widget of its own on the stage: the canvases belong to the view."""

    refused = Signal(str)  # why these runs cannot be watched together

    def __init__(self, view: ReverseView, controller: RunController, session: Session) -> None:
        super().__init__(session)
        self._view, self._controller, self._session = view, controller, session
        self._unwanted = Event()  # set: what is still being read is not wanted any more
        view.unwatched.connect(self.stop_reading)

    def set_cap(self, cap: int) -> None:
        """Bytes of rows in memory: the run in hand has so many, and all others that are watched share as many."""
        self._controller.set_frames_cap(cap)
        self._share(cap)

    def _share(self, cap: int) -> None:
        together, hand = self._view.comparison.together, self._controller.channels.reel
        others = [run.reel for run in together.runs if run.reel is not hand] if together is not None else []
        for reel in others:
            reel.cap = cap // len(others)

    @Slot()
    def stop_reading(self) -> None:
        self._unwanted.set()

    @Slot(list)
    def on_wanted(self, rows: list[tuple[RunRow, int]]) -> None:
        """Show these runs, each with the number of its colour."""
        recipes = [row.recipe for row, _ in rows if row.recipe is not None]
        if wrong := self._why_not([row for row, _ in rows], recipes):
            self.refused.emit(wrong)
            return
        self.stop_reading()
        self._unwanted = Event()
        hand = self._controller.channels.reel
        watched = []
        for recipe, (row, place) in zip(recipes, rows, strict=True):
            own = self._in_hand(row)
            reel = hand if own else Reel()
            watched.append(WatchedRun(row.name, recipe.learns, place, row.before, reel))
            if own:  # it is read, and grows, anyway
                watched[-1].read.set()
            else:
                QThreadPool.globalInstance().start(partial(_read, Run(row.path), watched[-1], self._unwanted))
        self._view.watch(Together(watched))
        self._share(hand.cap)
        self._show_data(recipes)
        self._view.set_note("")
        self._view.set_caption("")

    def _in_hand(self, row: RunRow) -> bool:
        return self._session.run is not None and self._session.run.path == row.path

    def _why_not(self, rows: list[RunRow], recipes: list[Recipe]) -> str:
        """One sentence; "" if they can be watched."""
        for row in rows:
            if row.recipe is None or not Run(row.path).recipe_file.is_file():
                return self.tr("{0} cannot be read: its files are damaged or were moved.").format(row.path)
        kinds = [recipe.learns for recipe in recipes]
        if len(set(kinds)) > 1:
            points, pictures = rows[kinds.index("points")].name, rows[kinds.index("pictures")].name
            text = self.tr("{0} learns points and {1} pictures: choose runs of one kind to watch them side by side.")
            return text.format(points, pictures)
        for row in rows:
            if not (row.previews or (self._in_hand(row) and self._controller.channels.reel.rows)):
                text = self.tr("{0} has recorded no previews yet: train it on, or choose another run.")
                return text.format(row.name)
        return ""

    def _show_data(self, recipes: list[Recipe]) -> None:
        """What points are compared with; the data only if all runs learn those on screen, so that all axes are one."""
        alike = all(recipe.data == self._session.recipe.data for recipe in recipes)
        for cell, recipe in zip(self._view.comparison.cells, recipes, strict=True):
            points, mixture, blind = self._session.compared_with(recipe)
            cell.set_data(points if alike else None, mixture, blind=blind)
        self._view.comparison.refresh()
