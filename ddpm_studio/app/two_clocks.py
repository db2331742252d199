"""The clock of training time, beside that of diffusion time: the same noise, seen by a model that has learnt more."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Protocol

from PySide6.QtCore import QObject, QPointF, QRectF, QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QAction, QActionGroup, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.cell_map import EDGE, CellMap, extent
from ddpm_studio.app.frame_strip import HANDLE, DirectSlider
from ddpm_studio.app.playback import HOLD, RATE, Player
from ddpm_studio.app.text_button import TextButton
from ddpm_studio.app.theme import GRID, color, tabular, theme
from ddpm_studio.app.widgets import Caption, Value, icon_button
from ddpm_studio.diffusion.reel import CAP, Reel, Rows
from ddpm_studio.diffusion.tape import Tape

ROW_RATE = RATE / 2  # rows a second at 1x: one has to be looked at
MB = 1_000_000  # bytes, as ``ddpm-studio info`` counts them
CAPS = (64, 256, 1024)  # MB of previews that are kept


class HasRows(Protocol):
    """A ``Reel``, or several of them on one clock."""

    @property
    def rows(self) -> Rows: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def cap(self) -> int: ...

    @property
    def kept(self) -> int: ...


class TrainingClock(QObject):
    """Which row of the reel is shown. No widget in here.

    While it is *live*, the newest row is shown as it comes. A person who parks it at a row keeps that row; at the last
    one it is live again. The place in t is the player's, and stays when the row changes.
    """

    changed = Signal()  # rows, place, or live
    row_wanted = Signal(object, int)  # Tape, and the position in it; -1: where the player is

    def __init__(self, player: Player, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.reel: HasRows = Reel()
        self.rows: Rows = ()
        self.steps: tuple[int, ...] = ()
        self.live = True
        self.row = -1  # shown; -1: what is shown is no row, nor will be one
        self._player = player
        self._place = 0.0  # while it plays, in rows
        self._moving = False
        player.tape_changed.connect(self._on_tape)

    # -- rows

    def set_reel(self, reel: HasRows) -> None:
        """Show this one, or what has been added to it; costs nothing if nothing has."""
        rows = reel.rows
        if reel is self.reel and rows is self.rows:
            return
        if reel is not self.reel:
            self.live = True
        self.reel, self.rows = reel, rows
        self.steps = tuple(tape.training_step or 0 for tape in rows)
        self.row = self._row_of(self._player.tape)
        self.changed.emit()

    def holds(self, tape: Tape) -> bool:
        """Whether a person has parked this clock among rows that compare with ``tape``: then that one waits."""
        return not self.live and bool(self.rows) and _compare(tape, self.rows[-1])

    def _row_of(self, tape: Tape | None) -> int:
        if tape is None or tape.training_step is None or not self.rows or not _compare(tape, self.rows[-1]):
            return -1
        after = bisect_left(self.steps, tape.training_step)
        if after == len(self.steps):
            return after - 1
        before = max(after - 1, 0)
        nearer = tape.training_step - self.steps[before] < self.steps[after] - tape.training_step
        return before if nearer else after

    @Slot()
    def _on_tape(self) -> None:
        row = self._row_of(self._player.tape)
        if row != self.row:
            self.row = row
            self.changed.emit()

    def settle(self) -> None:
        """Let one of the rows be shown: the newest while live, else the nearest to what is shown."""
        last = len(self.rows) - 1
        row = self.row if self.row >= 0 and not self.live else last
        if self.rows and self.rows[row] is not self._player.tape:
            self.go(row)

    # -- moves

    def go(self, row: int, share: float | None = None) -> None:
        """Show a row (the nearest there is), at ``share`` 0 … 1 of its process if one is given."""
        if not self.rows:
            return
        row = min(max(row, 0), len(self.rows) - 1)
        tape = self.rows[row]
        live, self.live = self.live, row == len(self.rows) - 1
        if share is not None:
            self.row_wanted.emit(tape, round(share * (len(tape.frames) - 1)))
        elif tape is not self._player.tape:
            self.row_wanted.emit(tape, -1)
        if self.live != live:
            self.changed.emit()

    def set_live(self, live: bool) -> None:
        """Whether the newest row is shown as it comes; the row that is shown stays."""
        if live != self.live:
            self.live = live
            self.changed.emit()

    @Slot(int)
    def set_row(self, row: int) -> None:
        """A person goes there: playing training time ends."""
        if self._moving:
            self._player.pause()
        self.go(row)

    @Slot(int, float)
    def set_cell(self, row: int, share: float) -> None:
        self._player.pause()
        self.go(row, share)

    @Slot()
    def earlier(self) -> None:
        self.set_row((self.row if self.row >= 0 else len(self.rows)) - 1)

    @Slot()
    def later(self) -> None:
        self.set_row((self.row if self.row >= 0 else len(self.rows) - 1) + 1)

    @Slot()
    def first(self) -> None:
        self.set_row(0)

    @Slot()
    def last(self) -> None:
        self.set_row(len(self.rows) - 1)

    @Slot()
    def play_training(self) -> None:
        """Play through the rows, at the t where the player stands; or stop that."""
        if self._player.playing and self._player.plays == "training":
            self._player.pause()
        else:
            self._player.set_plays("training")
            self._player.play()

    def poll(self) -> None:
        """Move on while it plays; call before the player's."""
        player, last = self._player, len(self.rows) - 1
        wanted = player.playing and player.plays != "t"
        if not wanted or last < 1:
            self._moving = player.training_runs = False
            if wanted and player.plays == "training":
                player.pause()  # there is nothing to play
            return
        if not self._moving:
            self._moving = True
            self._place = float(self.row if 0 <= self.row < last else 0)
        else:
            self._place += player.elapsed * ROW_RATE * player.speed
        if self._place >= last and player.loop:
            self._place %= last + HOLD / 2
        self.go(int(min(self._place, last)))
        player.training_runs = player.loop or self._place < last
        if not player.training_runs and (player.plays == "training" or player.position >= player.total - 1):
            player.pause()


def _compare(tape: Tape, row: Tape) -> bool:
    """Whether ``tape``, which may still be growing, shows the same noise as ``row``."""
    facts = [(t.kind, t.steps, t.seed, t.weights) for t in (tape, row)]
    return facts[0] == facts[1] and tape.count in (0, row.count)


class TrainingBar(DirectSlider):
    """A slim slider of training time that goes down as the training goes on, with a mark for each row."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Vertical, parent)
        self.setObjectName("training_bar")
        self.setAccessibleName(self.tr("Training step"))
        self.setToolTip(self.tr("Training time: the first step at the top, now at the bottom (↑ ↓)"))
        self.setInvertedAppearance(True)
        self.setInvertedControls(True)
        self.setFixedWidth(20)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Expanding)
        self.live = True
        self.placed = True  # whether the clock stands at a row
        theme().changed.connect(self.update)

    @property
    def _count(self) -> int:
        return self.maximum() + 1

    def _y(self, row: float) -> float:
        room = extent(self._count, self.height() - 2 * EDGE)
        return EDGE + (row + 0.5) / self._count * room

    def _follow(self, event: QMouseEvent) -> None:
        room = extent(self._count, self.height() - 2 * EDGE)
        wanted = round((event.position().y() - EDGE) / room * self._count - 0.5)
        self.setValue(wanted)
        if not self.placed:
            self.valueChanged.emit(self.value())  # the value is an old one

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        middle = self.width() / 2
        end, at = self._y(self._count - 1), self._y(self.value())
        painter.setBrush(color("hairline", 0.5))
        painter.drawRoundedRect(QRectF(middle - 2, EDGE, 4, self.height() - 2 * EDGE), 2, 2)
        painter.setBrush(color("hairline"))
        painter.drawRoundedRect(QRectF(middle - 2, EDGE, 4, end), 2, 2)
        painter.setBrush(color("accent"))
        if self.placed:
            painter.drawRoundedRect(QRectF(middle - 2, EDGE, 4, at), 2, 2)
        apart = max(1, round(3 * self._count / max(end, 1)))  # marks closer than 3 px would be a grey bar
        painter.setPen(QPen(color("muted"), 1))
        for row in range(0, self._count, apart):
            painter.drawLine(round(middle + 5), round(self._y(row)), round(middle + 8), round(self._y(row)))
        if not self.placed:
            return
        painter.setPen(QPen(color("text" if self.hasFocus() else "panel" if self.live else "accent"), 2))
        painter.setBrush(color("accent" if self.live else "panel"))  # hollow: it stays where it is
        painter.drawEllipse(QPointF(middle, at), HANDLE - 1, HANDLE - 1)


class ClockColumn(QWidget):
    """The bar of training time, the map of all cells, and how much is kept. Hidden until there is a row."""

    cap_chosen = Signal(int)  # MB

    def __init__(self, clock: TrainingClock, player: Player, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("clock_column")
        self._clock, self._player = clock, player
        self._roomy, self._map_wanted = True, True
        self._mapped = True  # whether there is one training to be mapped
        self._said = False  # a person has said whether the map is to be seen
        self.step = Value()
        self.step.setObjectName("training_step")
        self.step.setAccessibleName(self.tr("Training step shown"))
        self.step.setFont(tabular(self.step.font(), weight=QFont.Weight.DemiBold))
        self.step.setForegroundRole(QPalette.ColorRole.WindowText)
        self.bar = TrainingBar()
        self.map = CellMap()
        self.title = Caption(self.tr("step"))
        self._actions = self._own_actions()
        self._buttons = {name: icon_button(action) for name, action in self._actions.items()}
        self._map_tip = self.tr("Show or hide the map of all that was recorded")
        self.map_button = icon_button("images", self._map_tip)
        self.map_button.setObjectName("map_button")
        self.map_button.setAccessibleName(self.map_button.toolTip())
        self.map_button.setCheckable(True)
        self.map_button.clicked.connect(self._on_map)
        tip = self.tr(
            "Room for recorded previews: at once in memory, with the next training in the run's file. "
            "There, samples and comparisons come on top"
        )
        self.meter = TextButton("", tip)
        self.meter.setObjectName("frames_meter")
        self._caps = QActionGroup(self)
        menu = QMenu(self)
        for cap in CAPS:
            entry = self._caps.addAction(self.tr("Keep up to {0} MB").format(cap))
            entry.setCheckable(True)
            entry.setData(cap)
            menu.addAction(entry)
        self.meter.setMenu(menu)
        self._caps.triggered.connect(self._on_cap)
        self._lay_out()
        for name, action in self._actions.items():
            self._connect(name, action)
        self.bar.valueChanged.connect(clock.set_row)
        self.map.cell_picked.connect(clock.set_cell)
        clock.changed.connect(self.refresh)
        player.frame_changed.connect(self._on_frame)
        player.tape_changed.connect(self._show_step)
        player.state_changed.connect(self._on_state)
        self._show_map()
        self.hide()

    def _own_actions(self) -> dict[str, QAction]:
        named = {
            "clock.first": ("skip-back", self.tr("To the first training step")),
            "clock.play_training": ("play", self.tr("Play through the training (T)")),
            "clock.last": ("skip-forward", self.tr("To the newest training step, and follow")),
        }
        actions = {}
        for name, (icon_name, tip) in named.items():
            actions[name] = action = QAction(tip, self)
            action.setToolTip(tip)
            action.setProperty("icon_name", icon_name)
        return actions

    def bind_actions(self, actions: Mapping[str, QAction]) -> None:
        """Let these actions (ids ``clock.…``) move the clock, and the buttons stand for them."""
        for name, action in actions.items():
            if name in self._actions:
                own = self._actions[name]
                self._buttons[name].removeAction(own)
                self._buttons[name].setDefaultAction(action)
                self._actions[name] = action
                own.deleteLater()
            self._connect(name, action)
        self._on_state()

    def _connect(self, name: str, action: QAction) -> None:
        clock = self._clock
        does = {
            "clock.earlier": clock.earlier,
            "clock.later": clock.later,
            "clock.first": clock.first,
            "clock.last": clock.last,
            "clock.play_training": clock.play_training,
        }
        if name in self._buttons:
            self._buttons[name].setObjectName(name)
            self._buttons[name].setAccessibleName(action.toolTip())
        action.triggered.connect(does[name])

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(GRID // 2)
        head.addWidget(self.title)
        head.addWidget(self.step)
        head.addStretch(1)
        middle = QHBoxLayout()
        middle.setSpacing(GRID // 2)
        middle.addWidget(self.bar)
        middle.addWidget(self.map)
        middle.addStretch(1)
        self._foot = foot = QHBoxLayout()
        foot.setSpacing(0)
        for button in self._buttons.values():
            foot.addWidget(button)
        foot.addWidget(self.map_button)
        foot.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID // 2)
        column.addLayout(head)
        column.addLayout(middle, 1)
        column.addLayout(foot)
        column.addWidget(self.meter)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)

    def set_roomy(self, roomy: bool) -> None:
        """Whether there is room for the map; where there is little, it is there if a person wants it."""
        if roomy != self._roomy:
            self._roomy = roomy
            self._show_map()

    def set_mapped(self, mapped: bool) -> None:
        """Whether the rows are those of one run: a map of several would show only one of them."""
        if mapped != self._mapped:
            self._mapped = mapped
            self._show_map()

    @Slot(bool)
    def _on_map(self, on: bool) -> None:
        self._map_wanted, self._said = on, True
        self._show_map()

    def _show_map(self) -> None:
        on = self._map_wanted if self._said else self._roomy
        self.map_button.setChecked(on)
        self.map_button.setVisible(self._mapped)
        self.map.setVisible(on and self._mapped)
        self.meter.setVisible(on)
        for part in (self.title, self._buttons["clock.first"], self._buttons["clock.last"]):
            part.setVisible(on)
        way = QHBoxLayout.Direction
        self._foot.setDirection(way.LeftToRight if on else way.TopToBottom)

    def handle_key(self, event: QKeyEvent) -> bool:
        """Do what the key means here; False if it means nothing."""
        clock, key = self._clock, event.key()
        far = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        if key == Qt.Key.Key_Up:
            (clock.first if far else clock.earlier)()
        elif key == Qt.Key.Key_Down:
            (clock.last if far else clock.later)()
        else:
            return False
        return True

    def set_cap(self, megabytes: int) -> None:
        """Show which room is in force."""
        for entry in self._caps.actions():
            entry.setChecked(entry.data() == megabytes)

    @Slot()
    def refresh(self) -> None:
        """Rows, place or live have changed."""
        clock = self._clock
        self.bar.live, self.bar.placed = clock.live, clock.row >= 0
        with QSignalBlocker(self.bar):  # only a person's move goes to the clock
            self.bar.setRange(0, max(0, len(clock.rows) - 1))
            self.bar.setValue(max(clock.row, 0))
        self.bar.update()
        self.map.set_rows(clock.rows)
        reel = clock.reel
        one, more = self.tr("{0:.0f} of {1:.0f} MB, 1 preview"), self.tr("{0:.0f} of {1:.0f} MB, {2} previews")
        # Without the map there is less room for words.
        text = self.tr("{0:.0f} of {1:.0f} MB") if not self._mapped else one if reel.kept == 1 else more
        self.meter.setText(text.format(reel.nbytes / MB, reel.cap / MB, reel.kept))
        # In a narrow window the meter is hidden with the map, and this button is what there is of both.
        self.map_button.setToolTip(f"{self._map_tip} ({self.meter.text()})")
        self._show_step()
        self._on_frame()

    @Slot()
    def _on_frame(self) -> None:
        self.map.set_place(self._clock.row, self._player.share)

    @Slot()
    def _show_step(self) -> None:
        tape = self._player.tape
        step = tape.training_step if tape is not None else None
        self.step.setText("" if step is None else f"{step:,}")
        self.bar.setAccessibleDescription("" if step is None else self.tr("step {step}").format(step=f"{step:,}"))

    @Slot()
    def _on_state(self) -> None:
        runs = self._player.playing and self._player.plays != "t"
        self._actions["clock.play_training"].setProperty("icon_name", "pause" if runs else "play")
        self._buttons["clock.play_training"].update()

    @Slot(QAction)
    def _on_cap(self, entry: QAction) -> None:
        self.cap_chosen.emit(entry.data())


def cap_of(text: str) -> int:
    """MB from the settings; anything odd is the usual cap."""
    return int(text) if text.isdigit() and int(text) in CAPS else CAP // MB
