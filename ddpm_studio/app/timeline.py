"""The bar under the stage: thumbnails of a tape, the slider of diffusion time, and the transport."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QActionGroup,
    QFont,
    QKeyEvent,
    QPalette,
    QResizeEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.frame_strip import RING, FrameStrip, LevelSlider
from ddpm_studio.app.levels import level_text, levels
from ddpm_studio.app.playback import PLAYS, SPEEDS, Player
from ddpm_studio.app.text_button import TextButton
from ddpm_studio.app.theme import GRID, MARGIN, tabular
from ddpm_studio.app.widgets import Card, MathLabel, Value, icon_button

NARROW = 600  # px: below this the words beside t are left out


class TimeSlider(LevelSlider):
    """Of diffusion time: ↑ and ↓ are not its own, they move the clock of training time."""

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            event.ignore()
        else:
            super().keyPressEvent(event)


class Timeline(Card):
    """Shows and moves a Player. Keys: Space, ←/→, Home/End, +/- for speed, L for loop."""

    save_requested = Signal()

    def __init__(self, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("timeline")
        self._player = player
        self.strip = FrameStrip(player)
        self.slider = TimeSlider()
        self.level = Value()
        self.level.setObjectName("level")
        self.level.setAccessibleName(self.tr("Noise level shown"))
        self.level.setFont(tabular(self.level.font(), weight=QFont.Weight.DemiBold))
        # More than that is shown if there is room for it.
        self.level.setMinimumWidth(self.level.fontMetrics().horizontalAdvance(" t = 88,888 "))
        self.level.setForegroundRole(QPalette.ColorRole.WindowText)
        self.level.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._ends = MathLabel(self.tr("x_T noise")), MathLabel(self.tr("picture x_0"))
        for label in self._ends:
            label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.speed = TextButton("1×", self.tr("Speed of play (+ and -)"), reserve="0.25×")
        self.speed.setObjectName("speed")
        self.speed.setMenu(self._speed_menu())
        self.plays = TextButton("", self.tr("What Play moves"), reserve=self.tr("Play step"))
        self.plays.setObjectName("plays")
        self.plays.setMenu(self._plays_menu())
        self.save = TextButton(self.tr("Save as…"), self.tr("Save as a picture, GIF or video"))
        self.save.setObjectName("save_tape")
        self.save.clicked.connect(self.save_requested)
        self._actions = self._own_actions()
        self._buttons = {name: icon_button(action) for name, action in self._actions.items()}
        self._lay_out()
        for name, action in self._actions.items():
            self._connect(name, action)

        self.strip.frame_picked.connect(player.set_position)
        self.slider.valueChanged.connect(self._on_slider)
        player.frame_changed.connect(self._on_frame)
        player.tape_changed.connect(self._on_tape)
        player.state_changed.connect(self._on_state)
        levels().changed.connect(self._show_level)
        self._on_tape()
        self._on_frame()
        self._on_state()

    # -- how it is put together

    def _own_actions(self) -> dict[str, QAction]:
        """In the order of the row."""
        named = {
            "playback.to_noise": ("skip-back", self.tr("To the noise x_T (Home)")),
            "playback.step_back": ("step-back", self.tr("One frame towards the noise (←)")),
            "playback.play": ("play", self.tr("Play or pause (Space)")),
            "playback.step_forward": ("step-forward", self.tr("One frame towards the picture (→)")),
            "playback.to_image": ("skip-forward", self.tr("To the picture x_0, and follow new ones (End)")),
            "playback.loop": ("repeat", self.tr("Play again and again (L)")),
        }
        actions = {}
        for name, (icon_name, tip) in named.items():
            actions[name] = action = QAction(tip, self)
            action.setObjectName(name)
            action.setProperty("icon_name", icon_name)
            action.setToolTip(tip)
            action.setCheckable(name == "playback.loop")
        return actions

    def bind_actions(self, actions: Mapping[str, QAction]) -> None:
        """Let the buttons stand for these actions (ids ``playback.…``) instead of our own."""
        for name in self._actions.keys() & actions.keys():
            own, action = self._actions[name], actions[name]
            if action.property("icon_name") is None:
                action.setProperty("icon_name", own.property("icon_name"))
            button = self._buttons[name]
            button.removeAction(own)
            button.setDefaultAction(action)
            self._actions[name] = action
            self._connect(name, action)
            own.deleteLater()
        self._on_state()

    def _connect(self, name: str, action: QAction) -> None:
        button, player = self._buttons[name], self._player
        button.setObjectName(name)
        button.setAccessibleName(action.toolTip())
        if name == "playback.loop":
            action.setCheckable(True)
            action.toggled.connect(player.set_loop)
            return
        does = {
            "playback.to_noise": player.to_noise,
            "playback.step_back": player.step_back,
            "playback.play": player.toggle,
            "playback.step_forward": player.step_forward,
            "playback.to_image": player.to_image,
        }
        action.triggered.connect(does[name])

    def _speed_menu(self) -> QMenu:
        menu = QMenu(self)
        self._speeds = QActionGroup(menu)
        for value in SPEEDS:
            entry = self._speeds.addAction(f"{value:g}×")
            entry.setCheckable(True)
            entry.setData(value)
            menu.addAction(entry)
        self._speeds.triggered.connect(self._on_speed)
        return menu

    def _plays_menu(self) -> QMenu:
        """What Play moves; a choice where a training has been recorded."""
        menu = QMenu(self)
        self._plays = QActionGroup(menu)
        texts = {
            "t": self.tr("Play diffusion time: noise becomes data"),
            "training": self.tr("Play training time: the model learns, at this t"),
            "both": self.tr("Play both"),
        }
        for value in PLAYS:
            entry = self._plays.addAction(texts[value])
            entry.setCheckable(True)
            entry.setData(value)
            menu.addAction(entry)
        self._plays.triggered.connect(self._on_plays)
        return menu

    def set_two_clocks(self, on: bool) -> None:
        """Whether there is a training time to play, too."""
        if on == self.plays.isHidden():
            self.plays.setVisible(on)
            if not on:
                self._player.set_plays("t")

    def _lay_out(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(0)
        row.addSpacing(-GRID // 2)  # so that the icon, not its button, lines up with the strip
        for button in self._buttons.values():
            row.addWidget(button)
        row.addWidget(self.speed)
        row.addWidget(self.plays)
        self.plays.hide()
        row.addStretch(1)
        row.addWidget(self._ends[0])
        row.addSpacing(GRID)
        row.addWidget(self.level)
        row.addSpacing(GRID)
        row.addWidget(self._ends[1])
        row.addStretch(1)
        row.addWidget(self.save)
        row.addSpacing(-GRID // 2)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN - RING, MARGIN, GRID // 2)
        column.setSpacing(GRID // 2)
        column.addWidget(self.strip)
        column.addWidget(self.slider)
        column.addLayout(row)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for label in self._ends:
            label.setVisible(self.width() >= NARROW)
        self.save.setText(self.tr("Save as…") if self.width() >= NARROW else self.tr("Save…"))

    def set_lit(self, lit: bool) -> None:
        """Let t stand out: a symbol that belongs to it is pointed at."""
        self.level.setForegroundRole(QPalette.ColorRole.Link if lit else QPalette.ColorRole.WindowText)

    # -- the player moves

    @Slot()
    def _on_tape(self) -> None:
        self.strip.change_tape()
        tape = self._player.tape
        end = self.tr("data x_0") if tape is not None and tape.kind == "points" else self.tr("picture x_0")
        if end != self._ends[1].text():
            self._ends[1].setText(end)
        self.save.setEnabled(self._player.count > 0)

    @Slot()
    def _on_frame(self) -> None:
        player = self._player
        with QSignalBlocker(self.slider):  # only a person's move goes to the player
            self.slider.setRange(0, max(0, player.total - 1))
            self.slider.setValue(player.position)
        self.slider.setEnabled(player.total > 1)
        self.slider.set_arrived(player.count - 1)
        self._show_level()
        self.save.setEnabled(player.count > 0)
        self.strip.refresh()

    @Slot()
    def _show_level(self) -> None:
        frame = self._player.frame
        text = level_text(frame.t if frame else None)
        if text != self.level.text():
            self.level.setText(text)
            self.slider.setAccessibleDescription(text)

    @Slot()
    def _on_state(self) -> None:
        player = self._player
        play = self._actions["playback.play"]
        play.setProperty("icon_name", "pause" if player.playing else "play")
        self._buttons["playback.play"].update()
        self._actions["playback.loop"].setChecked(player.loop)
        self.speed.setText(f"{player.speed:g}×")
        short = {"t": self.tr("Play t"), "training": self.tr("Play step"), "both": self.tr("Play both")}
        self.plays.setText(short[player.plays])
        for entry in self._plays.actions():
            entry.setChecked(entry.data() == player.plays)
        for entry in self._speeds.actions():
            entry.setChecked(entry.data() == player.speed)

    # -- the person moves

    @Slot(int)
    def _on_slider(self, value: int) -> None:
        self._player.set_position(value)
        self._on_frame()  # back to the newest frame if that one has not arrived

    @Slot(QAction)
    def _on_speed(self, entry: QAction) -> None:
        self._player.set_speed(entry.data())

    @Slot(QAction)
    def _on_plays(self, entry: QAction) -> None:
        self._player.set_plays(entry.data())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not self.handle_key(event):
            super().keyPressEvent(event)

    def handle_key(self, event: QKeyEvent) -> bool:
        """Do what the key means here; False if it means nothing."""
        player, key = self._player, event.key()
        if event.modifiers() & ~(Qt.KeyboardModifier.ShiftModifier | Qt.KeyboardModifier.KeypadModifier):
            return False
        if key == Qt.Key.Key_Space:
            player.toggle()
        elif key == Qt.Key.Key_Left:
            player.step_back()
        elif key == Qt.Key.Key_Right:
            player.step_forward()
        elif key == Qt.Key.Key_Home:
            player.to_noise()
        elif key == Qt.Key.Key_End:
            player.to_image()
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            player.set_speed(player.speed * 2)
        elif key == Qt.Key.Key_Minus:
            player.set_speed(player.speed / 2)
        elif key == Qt.Key.Key_L:
            player.set_loop(not player.loop)
        else:
            return False
        return True
