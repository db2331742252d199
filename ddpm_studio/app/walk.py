"""The guided walk: what a diffusion model does, forward and backward, in six steps on one picture (tutorial 001).

Made when it is first opened; it needs numpy only, so it works while the engine trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSignalBlocker, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFont, QHideEvent, QKeyEvent, QPalette
from PySide6.QtWidgets import QAbstractButton, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.frame_strip import LevelSlider
from ddpm_studio.app.levels import level_text, levels
from ddpm_studio.app.painting import rich
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN, tabular
from ddpm_studio.app.walk_math import TUTORIAL, small, some_faces, walkable
from ddpm_studio.app.walk_steps import PAPER, SCRIPT_SIZE, Scene, Step, all_steps, wrapped
from ddpm_studio.app.widgets import (
    Caption,
    ElidedLabel,
    MathLabel,
    PanelScroll,
    PushButton,
    Segmented,
    ToolButton,
    Value,
    icon_button,
)
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import Recipe, built_in

if TYPE_CHECKING:
    from ddpm_studio.data import Dataset

FACES_SOURCE = "pixel-faces"
FACES = 32  # pictures to choose from while no data is open
STEPS_A_TURN = 100  # of the chain, so that the window answers between them
SECONDS = 10  # that Play takes from end to end
TURN = 33  # ms
WIDEST = 980  # px: longer lines are hard to read
_KEYS = {Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Space}
_ENTER = {Qt.Key.Key_Return, Qt.Key.Key_Enter}
_ALL = _KEYS | _ENTER | {Qt.Key.Key_Escape}


class _Scroll(PanelScroll):
    """Leaves the keys of the page to the page."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in _ALL:
            event.ignore()
        else:
            super().keyPressEvent(event)


class _Pages(QWidget):
    """One step at a time. Unlike in Qt's own stack, those that are hidden ask for no room."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self._steps, self.index = steps, 0
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for step in steps:
            column.addWidget(step)
            step.hide()

    def show_step(self, index: int) -> None:
        self._steps[self.index].hide()
        self.index = index
        self._steps[index].show()


class Walk(QWidget):
    """A page over the stage. Keys: ←/→ and Home/End move t, Space plays, Enter goes on, Escape closes."""

    closed = Signal()

    def __init__(self, recipe: Recipe, recording: Tape | None = None, parent: QWidget | None = None) -> None:
        """``recording``: what the last step plays until there is a tape of a run."""
        super().__init__(parent)
        self.setObjectName("walk")
        self.setAccessibleName(self.tr("Guided walk"))
        self.setBackgroundRole(QPalette.ColorRole.Window)
        self.setAutoFillBackground(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self._faces = self._pictures = some_faces(FACES)
        self._dataset: Dataset | None = None
        self._in_hand = False  # whether the recipe walked is the person's
        self.scene = Scene(recipe, NoiseSchedule.linear(), small(self._pictures[0]), recording=recording)
        self.steps = all_steps()
        self._visited: set[int] = set()
        self._stale = set(range(len(self.steps)))  # steps that do not know the recipe or picture yet
        self._chain_timer, self._play_timer = QTimer(self), QTimer(self)
        self._place = 0.0  # of Play, in levels
        self._lay_out()
        self._wire()
        self.set_recipe(recipe)

    # -- how it is put together

    def _lay_out(self) -> None:
        self.about = Caption()
        self.about.setObjectName("walk_about")
        self.title = ElidedLabel()
        self.title.setForegroundRole(QPalette.ColorRole.WindowText)
        self.title.setFont(tabular(self.title.font(), 1.3, QFont.Weight.DemiBold))
        self.stand_in = Caption(self.tr("faces stand in"))
        self.stand_in.setObjectName("walk_stand_in")
        self.stand_in.setToolTip(self.tr("The recipe's own pictures are not open, so faces stand in for them"))
        self.stand_in.setAccessibleName(self.stand_in.toolTip())
        self.another = icon_button("shuffle", self.tr("Another picture, other noise"))
        self.another.setObjectName("walk_another")
        self.close_button = ToolButton("x", self.tr("Close the walk (Esc)"))
        self.close_button.setObjectName("walk_close")
        header = QHBoxLayout()
        header.setSpacing(MARGIN)
        header.addWidget(self.title)
        header.addStretch(1)
        header.addWidget(self.another)
        header.addWidget(self.close_button)
        captions = QHBoxLayout()
        captions.setSpacing(MARGIN)
        captions.addWidget(self.about)
        captions.addWidget(self.stand_in)
        captions.addStretch(1)

        self.text = wrapped(QLabel())
        self.equation, self.numbers = MathLabel(), MathLabel()
        for label, name, scale in ((self.equation, "walk_equation", 1.15), (self.numbers, "walk_numbers", 1.0)):
            label.setObjectName(name)
            label.setFont(tabular(label.font(), scale))
            label.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            label.setForegroundRole(QPalette.ColorRole.WindowText)
        self.numbers.setForegroundRole(QPalette.ColorRole.Link)
        self.note = wrapped(Caption(scale=1.0))
        self.stack = _Pages(self.steps)
        self.stack.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

        self.play = ToolButton("play", self.tr("Play or pause (Space)"))
        self.play.setObjectName("walk_play")
        self.slider = LevelSlider()
        self.slider.setObjectName("walk_slider")
        self.slider.setToolTip(self.tr("Diffusion time: picture x_0 on the left, noise x_T on the right"))
        self.level = Value(reserve="t = 8,888 (code)")
        transport = QHBoxLayout()
        transport.setSpacing(GRID)
        transport.addWidget(self.play)
        transport.addWidget(self.slider, 1)
        transport.addWidget(self.level)

        self.back = PushButton(self.tr("Back"))
        self.back.setObjectName("walk_back")
        self.go_on = PushButton(self.tr("Next"), primary=True)
        self.go_on.setObjectName("walk_next")
        self.go_on.reserve([self.tr("Next"), self.tr("Done")])
        self.choice = Segmented([(str(i), str(i + 1)) for i in range(len(self.steps))], self.tr("Step of the walk"))
        self.choice.setObjectName("walk_choice")
        self.choice.set_tooltips({str(i): step.title for i, step in enumerate(self.steps)})
        footer = QHBoxLayout()
        footer.addWidget(self.back)
        footer.addStretch(1)
        footer.addWidget(self.choice)
        footer.addStretch(1)
        footer.addWidget(self.go_on)

        page = QWidget()
        page.setMaximumWidth(WIDEST)
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addLayout(header)
        column.addLayout(captions)
        column.addWidget(self._scrolled(), 1)
        column.addLayout(transport)
        column.addLayout(footer)
        outer = QHBoxLayout(self)
        outer.setContentsMargins(2 * MARGIN, MARGIN, 2 * MARGIN, MARGIN)
        outer.addWidget(page)

    def _scrolled(self) -> PanelScroll:
        """What a low window has no room for at once."""
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(self.text)
        column.addWidget(self.equation)
        column.addWidget(self.numbers)
        column.addWidget(self.stack, 1)
        column.addWidget(self.note)
        return _Scroll(content)

    def _wire(self) -> None:
        self._chain_timer.setSingleShot(True)
        self._chain_timer.setInterval(0)
        self._chain_timer.timeout.connect(self._on_chain)
        levels().changed.connect(self._refresh)
        self._play_timer.setInterval(TURN)
        self._play_timer.timeout.connect(self._on_turn)
        self.slider.valueChanged.connect(self._on_slider)
        self.play.clicked.connect(self._on_play)
        self.another.clicked.connect(self._on_another)
        self.back.clicked.connect(self._on_back)
        self.go_on.clicked.connect(self._on_next)
        self.close_button.clicked.connect(self.leave)
        self.choice.chosen.connect(self._on_choice)

    # -- what it is given

    def set_recipe(self, recipe: Recipe) -> None:
        """The recipe in hand: it is walked if it is one of the tutorial's; otherwise the paper's is."""
        self._in_hand = walkable(recipe)
        self.scene.recipe = recipe if self._in_hand else built_in()[PAPER]
        schedule = NoiseSchedule.named(**self.scene.recipe.schedule.model_dump())
        self.scene.judge_tape()
        self._take_pictures()
        self._tell()
        share = self.scene.t / self.scene.schedule.steps
        self.scene.set_schedule(schedule)
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, schedule.steps)
            self.slider.setPageStep(max(1, schedule.steps // 10))
            self.slider.setValue(round(share * schedule.steps))
        self.slider.set_arrived(schedule.steps)
        self._stale = set(range(len(self.steps)))
        self._on_slider(self.slider.value())

    def set_dataset(self, dataset: Dataset | None) -> None:
        """That of the recipe in hand. Its pictures are shown with that recipe; built-in faces stand in for others."""
        self._dataset = dataset
        self._take_pictures()
        self._tell()
        self._refresh()

    def set_tape(self, tape: Tape | None, ran: Recipe | None = None) -> None:
        """What a run recorded last, and the recipe of that run; it may still grow."""
        self.scene.tape = tape if tape is not None and tape.kind == "pictures" else None
        self.scene.ran = ran
        self.scene.judge_tape()
        self._refresh()

    def begin(self) -> None:
        """Show the step where it was left, ready for the keyboard."""
        self._show(self.step)
        self.slider.setFocus()

    # -- what follows from it

    @property
    def step(self) -> int:
        """Index of the step shown."""
        return self.stack.index

    def _take_pictures(self) -> None:
        data = self._dataset if self._in_hand else None
        pictures = data.train if data is not None and data.kind == "pictures" else self._faces
        if pictures is not self._pictures:
            self._pictures = pictures
            self._choose(self.scene.seed)
        else:
            self._measure()

    def _choose(self, seed: int) -> None:
        """A picture and its noise, the same for one seed."""
        chosen = int(np.random.default_rng(seed).integers(len(self._pictures))) if seed else 0
        self.scene.set_picture(small(self._pictures[chosen]), seed)
        self._measure()
        self._stale = set(range(len(self.steps)))

    def _measure(self) -> None:
        """The size that the recipe's network gets; faces that stand in for other data are taken for that size."""
        high, wide = self._pictures.shape[1:3]
        asked = self.scene.recipe.data
        self.scene.size = (asked.height or asked.width or high, asked.width or asked.height or wide)

    def _tell(self) -> None:
        """Where the person is, and what is shown."""
        self.about.setText(
            self.tr("{0} of {1} · {2}").format(self.step + 1, len(self.steps), say(self.scene.recipe.title))
        )
        self.stand_in.setVisible(self._pictures is self._faces and self.scene.recipe.data.source != FACES_SOURCE)

    def _show(self, index: int) -> None:
        self._stop()
        self.stack.show_step(index)
        step = self.steps[index]
        self.title.set_text(self.tr("Tutorial {0} · {1}").format(TUTORIAL, step.title))
        self._tell()
        self.text.setText(rich(step.text, SCRIPT_SIZE))
        self.choice.set_value(str(index))
        self.back.setEnabled(index > 0)
        self.go_on.setText(self.tr("Done") if index == len(self.steps) - 1 else self.tr("Next"))
        if index not in self._visited:
            self._visited.add(index)
            if self.scene.t == 0 or step.backward:
                self.slider.setValue(round(step.begins * self.scene.schedule.steps))
        self._refresh()

    @Slot()
    def _refresh(self) -> None:
        """Draw the step shown for this t; a chain that has far to go comes after it."""
        step, scene = self.steps[self.step], self.scene
        if self.step in self._stale:
            self._stale.remove(self.step)
            step.prepare(scene)
        for label, text in ((self.equation, step.equation(scene)), (self.numbers, step.numbers(scene))):
            if text != label.text():
                label.setText(text)
                label.setAccessibleName(text)
        note = rich(step.note(scene), SCRIPT_SIZE)
        if note != self.note.text():
            self.note.setText(note)
        self.level.set_text(level_text(scene.t))
        self.slider.setAccessibleDescription(self.level.text())
        if step.walks_chain and not scene.chain.go(scene.t, STEPS_A_TURN):
            self._chain_timer.start()
        step.refresh(scene)

    @Slot()
    def _on_chain(self) -> None:
        if self.isVisible():
            self._refresh()

    # -- play

    @Slot()
    def _on_play(self) -> None:
        if self._play_timer.isActive():
            self._stop()
            return
        first, last = self._ends()
        self._place = float(first if self.scene.t == last else self.scene.t)
        self.play.set_icon_name("pause")
        self._play_timer.start()

    def _ends(self) -> tuple[int, int]:
        """Where Play begins and where it ends."""
        steps = self.scene.schedule.steps
        return (steps, 0) if self.steps[self.step].backward else (0, steps)

    @Slot()
    def _on_turn(self) -> None:
        first, last = self._ends()
        self._place += (last - first) * TURN / 1000 / SECONDS
        self.slider.setValue(round(self._place))
        if self.slider.value() == last:
            self._stop()

    def _stop(self) -> None:
        self._play_timer.stop()
        self.play.set_icon_name("play")

    # -- what the person does

    @Slot(int)
    def _on_slider(self, t: int) -> None:
        self.scene.t = t
        if round(self._place) != t:
            self._stop()
        self._refresh()

    @Slot()
    def _on_another(self) -> None:
        self._choose(self.scene.seed + 1)
        self._refresh()

    @Slot(str)
    def _on_choice(self, index: str) -> None:
        self._show(int(index))

    @Slot()
    def _on_back(self) -> None:
        self._show(max(0, self.step - 1))

    @Slot()
    def _on_next(self) -> None:
        if self.step == len(self.steps) - 1:
            self.leave()
        else:
            self._show(self.step + 1)

    @Slot()
    def leave(self) -> None:
        self._stop()
        self.hide()
        self.closed.emit()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._chain_timer.stop()
        self._stop()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, slider = Qt.Key(event.key()), self.slider
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
        elif key == Qt.Key.Key_Escape:
            self.leave()
        elif key in _ENTER:
            button = self.focusWidget()
            if isinstance(button, QAbstractButton) and button is not self.go_on and button.isCheckable() is False:
                button.click()
            else:
                self._on_next()
        elif key == Qt.Key.Key_Space:
            self._on_play()
        elif key in _KEYS:
            steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
            ends = {Qt.Key.Key_Home: slider.minimum(), Qt.Key.Key_End: slider.maximum()}
            slider.setValue(ends[key] if key in ends else slider.value() + steps[key])
        else:
            super().keyPressEvent(event)
