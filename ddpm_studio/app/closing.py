"""Quitting in stages: ask, let the step in hand finish and save, then go."""

from __future__ import annotations

import os

from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtWidgets import QWidget

from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.files import QuitQuestion


class Closing(QObject):
    """Asked by the window's ``closeEvent``; closes the window again when the engine is idle."""

    def __init__(self, window: QWidget, controller: RunController) -> None:
        super().__init__(window)
        self.question: QuitQuestion | None = None
        self.wanted = False  # quit as soon as the engine is idle
        self._window = window
        self._controller = controller

    def may_close(self) -> bool:
        """Whether the window can go now; if not, the next stage has been begun."""
        controller = self._controller
        if controller.training and not self.wanted:
            self._ask()
            return False
        if controller.busy and controller.state is not State.LOADING:
            self._quit_when_idle(keep=True)
            return False
        return True

    def quit_after_saving(self) -> None:
        """Stop the training, keep everything, close when the engine is idle."""
        self._quit_when_idle(keep=True)

    def call_off(self) -> None:
        """Something must be read first."""
        self.wanted = False

    @Slot()
    def on_quit(self) -> None:
        self._window.close()

    @Slot()
    def on_idle(self) -> None:
        if self.wanted:
            QTimer.singleShot(0, self._window, self._window.close)

    def _ask(self) -> None:
        if os.environ.get("DDPM_STUDIO_NO_DIALOGS"):
            self.quit_after_saving()
            return
        self.question = QuitQuestion(self._window)
        self.question.finished.connect(self._on_answer)
        self.question.open()

    @Slot()
    def _on_answer(self) -> None:
        assert self.question is not None
        answer = self.question.answer
        if answer == "save":
            self.quit_after_saving()
        elif answer == "discard":
            self._quit_when_idle(keep=False)

    def _quit_when_idle(self, *, keep: bool) -> None:
        self.wanted = True
        self._controller.stop(keep=keep)
        if not self._controller.busy:  # the training may have ended while the question was open
            QTimer.singleShot(0, self._window, self._window.close)
