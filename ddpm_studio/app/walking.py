"""When the guided walk is offered, opened over the stage and closed again, and what it is told meanwhile."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QBoxLayout

from ddpm_studio.app.banner import Banner
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.jobs import DataOpened, RunOpened
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.session import Session
from ddpm_studio.app.stage import FIRST_TAPE
from ddpm_studio.app.walk_math import TUTORIAL
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.paths import resource
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.events import ComparisonStarted

if TYPE_CHECKING:
    from ddpm_studio.app.walk import Walk

log = logging.getLogger(__name__)


class Walking(QObject):
    """The walk lies in the place of the view, which waits behind it; it is made when it is first opened."""

    def __init__(self, view: ReverseView, controller: RunController, session: Session) -> None:
        super().__init__(session)
        self.walk: Walk | None = None
        self.offer = Banner()
        self.offer.setObjectName("walk_offer")
        self._view, self._session = view, session
        self._layout().insertWidget(self._layout().indexOf(view), self.offer)
        self._offered = False  # a person who has seen it once need not close it again
        self._seen = 0  # frames of the tape that the walk knows
        self._played = False  # the view, when the walk was opened
        session.recipe_chosen.connect(self._on_recipe)
        session.recipe_changed.connect(self._on_recipe)
        session.run_begun.connect(self.leave)
        controller.reported.connect(self._on_event)
        self.offer.action_chosen.connect(self.on_walk)
        view.player.frame_changed.connect(self._on_frame)

    @property
    def open(self) -> bool:
        return self.walk is not None and not self.walk.isHidden()

    def _layout(self) -> QBoxLayout:
        centre = self._view.parentWidget()
        layout = centre.layout() if centre is not None else None
        assert isinstance(layout, QBoxLayout)  # the banner and the view, one above the other
        return layout

    @Slot()
    def on_walk(self) -> None:
        """Open it, with what is on screen."""
        self.offer.hide()
        if self.walk is None:
            self.walk = self._make()
        if not self.open:
            self._played = self._view.player.playing
            self._view.player.pause()
        self._view.hide()
        self.walk.show()
        self._tell()
        self.walk.begin()

    def _make(self) -> Walk:
        from ddpm_studio.app.walk import Walk

        recording = None
        try:
            recording = Tape.load(resource(*FIRST_TAPE))
        except ValueError as error:
            log.warning("%s", error)
        walk = Walk(self._session.recipe, recording, self._view.parentWidget())
        walk.hide()
        self._layout().addWidget(walk, 1)
        walk.closed.connect(self._on_closed)
        return walk

    def _tell(self) -> None:
        if self.walk is not None:
            self.walk.set_recipe(self._session.recipe)
            self.walk.set_dataset(self._session.dataset)
            self._on_frame()

    @Slot()
    def leave(self) -> None:
        """Something else is to be seen on the stage."""
        self.offer.hide()
        self._played = False
        if self.walk is not None and self.open:
            self.walk.leave()

    @Slot()
    def _on_closed(self) -> None:
        self._view.show()
        self._view.setFocus()
        if self._played:
            self._view.player.play()

    # -- the offer

    @Slot(object)
    def _on_recipe(self, recipe: Recipe) -> None:
        if self.open:
            self._tell()
        elif recipe.tutorial != TUTORIAL:
            self.offer.hide()
        elif not self._offered:
            self._offered = True
            text = self.tr("New to diffusion? Six steps show on one picture how it works.")
            self.offer.show_notice(text, kind="info", action=self.tr("Take the walk"))

    # -- what happens meanwhile

    @Slot(object)
    def _on_event(self, event: object) -> None:
        if self.walk is None or not self.open:
            return
        match event:
            case DataOpened():
                self.walk.set_dataset(event.dataset)
            case RunOpened() | ComparisonStarted():
                self.leave()

    @Slot()
    def _on_frame(self) -> None:
        """The walk gets a run's tape, and each frame of it that arrives; without a run a recording plays."""
        if self.walk is None or not self.open:
            return
        run, tape, scene = self._session.run, self._view.player.tape, self.walk.scene
        if run is None or tape is None or tape.kind != "pictures":
            run = tape = None
        count = len(tape.frames) if tape is not None else 0
        if tape is not scene.tape or count != self._seen:
            self._seen = count
            learnt = None if run is None else self._session.run_recipe
            self.walk.set_tape(tape, scene.ran if tape is scene.tape else learnt)
