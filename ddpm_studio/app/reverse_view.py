"""The centre of the window: a reverse process on its stage, what of it is shown, and the timeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFocusEvent, QFont, QKeyEvent, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import FrameCanvas, PictureCanvas, PointCanvas
from ddpm_studio.app.compare_view import CompareView
from ddpm_studio.app.four_up import FourUp
from ddpm_studio.app.histogram_view import HistogramView
from ddpm_studio.app.levels import level_text, levels
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.playback import Player
from ddpm_studio.app.recipe_editors import SwitchEditor
from ddpm_studio.app.tape_text import noise_text, sampler_text
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN, color, tabular
from ddpm_studio.app.timeline import Timeline
from ddpm_studio.app.two_clocks import ClockColumn, HasRows, TrainingClock
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, ElidedLabel, Segmented, ToolButton
from ddpm_studio.data.points import Mixture
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import kind_title
from ddpm_studio.store.together import Together

NARROW = 640  # px: below this the caption of the header is left out


class Scene(NamedTuple):
    """What the stage shows, so that it can come back."""

    tape: Tape | None
    position: int
    following: bool
    caption: str
    note: str
    reel: HasRows
    live: bool  # the clock of training time


class ReverseView(QWidget):
    """Owns the Player. ``poll`` it from the frame clock."""

    weights_chosen = Signal(str)  # "raw" or "ema"
    show_chosen = Signal(str)  # "x", "x0" or "eps"
    trails_chosen = Signal(bool)
    level_changed = Signal(int, object)  # t and Frame, when another frame is shown
    save_requested = Signal()
    uncovered = Signal(bool)  # False: the walk or the drawing lies in its place
    unwatched = Signal()  # what was side by side has left the stage

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("reverse_view")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(self.tr("Reverse process"))
        self.setBackgroundRole(QPalette.ColorRole.Shadow)  # the colour behind everything
        self.setAutoFillBackground(True)
        self.player = Player(self)
        self.pictures = PictureCanvas()
        self.points = PointCanvas()
        self.histogram = HistogramView()
        self.comparison = CompareView(self.player)
        self.four_up = FourUp(self.player, self.pictures, self.points)
        self.timeline = Timeline(self.player)
        self.clock = TrainingClock(self.player, self)
        self.clocks = ClockColumn(self.clock, self.player)
        self._kind_shown: tuple[object, ...] = ()  # of the tape
        self._shown: object = None
        self._averaged = True
        self._captioned: tuple[Tape | None, str] = None, ""  # the tape given last, and its caption
        self._before: Scene | None = None  # the comparison on the stage
        self._ringed = False  # the keyboard has come here by Tab
        self._lay_out()
        self.show_choice.chosen.connect(self._on_show)
        self.four_up.toggled.connect(self._on_four_up)
        self.four_button.toggled.connect(self.four_up.set_on)
        self.view_choice.chosen.connect(self._on_view)
        self.trails_switch.edited.connect(self._on_trails)
        self.weights_choice.chosen.connect(self.weights_chosen)
        self.timeline.save_requested.connect(self.save_requested)
        self.player.frame_changed.connect(self._on_frame)
        self.player.tape_changed.connect(self._on_tape)
        self.clock.row_wanted.connect(self._on_row)
        self.clock.changed.connect(self._on_clock)
        self.pictures.picture_chosen.connect(self._on_chosen)
        levels().changed.connect(self._show_line)

    def _lay_out(self) -> None:
        self.title = QLabel(self.tr("Reverse process"))
        self.title.setForegroundRole(QPalette.ColorRole.WindowText)
        self.title.setFont(tabular(self.title.font(), 1.1, QFont.Weight.DemiBold))
        self.show_choice = Segmented([("x", "x_t"), ("x0", "x̂_0"), ("eps", "ε̂")], self.tr("What is shown"))
        self.show_choice.setObjectName("show_choice")
        tips = {
            "x": self.tr("The state x_t: what is left to denoise"),
            "x0": self.tr("The network's estimate of the finished picture at this t"),
            "eps": self.tr("The network's estimate of the noise at this t"),
        }
        self.show_choice.set_tooltips(tips)
        self.weights_choice = Segmented([("raw", self.tr("Raw")), ("ema", "EMA")], self.tr("Weights"))
        self.weights_choice.setObjectName("weights_choice")
        self.weights_choice.set_value("ema")
        tips = {
            "raw": self.tr("Sample with the weights as they are now"),
            "ema": self.tr("Sample with their moving average, which is calmer"),
        }
        self.weights_choice.set_tooltips(tips)
        self.caption = _elided("caption", Qt.AlignmentFlag.AlignRight)
        self.four_button = ToolButton("maximize", self.tr("Four-up: one step of one picture in detail (Enter)"))
        self.four_button.setObjectName("four_button")
        self.four_button.setCheckable(True)
        header = QHBoxLayout()
        header.setSpacing(MARGIN)
        for widget in (self.title, self.show_choice, self.four_button, self.weights_choice):
            header.addWidget(widget)
        header.addWidget(self.caption, 1)
        self.view_choice = Segmented(
            [
                ("particles", self.tr("Particles")),
                ("score", self.tr("Score field")),
                ("histogram", self.tr("Histogram")),
            ],
            self.tr("How points are shown"),
            height=DENSE_HEIGHT,
        )
        self.view_choice.setObjectName("view_choice")
        tips = {
            "particles": self.tr("Each point, over the data"),
            "score": self.tr("The direction in which the density grows: as learnt, and as it is where that is known"),
            "histogram": self.tr("Data and samples side by side, and what each mode got"),
        }
        self.view_choice.set_tooltips(tips)
        self.trails_switch = SwitchEditor()
        self.trails_switch.setObjectName("trails")
        self.trails_switch.setAccessibleName(self.tr("Trails"))
        self.trails_switch.setToolTip(self.tr("Draw the way that points have come; click a point to follow it"))
        trails = Caption(self.tr("Trails"))
        trails.setBuddy(self.trails_switch)
        self.points_row = QWidget()
        points_row = QHBoxLayout(self.points_row)
        points_row.setContentsMargins(0, 0, 0, 0)
        points_row.addWidget(self.view_choice)
        points_row.addStretch(1)
        points_row.addWidget(trails)
        points_row.addWidget(self.trails_switch)
        self.points_row.hide()  # pictures have one view
        header.addStretch()  # takes the room of the caption where that is left out

        self.stage = QStackedWidget()
        self.stage.setObjectName("stage")
        self.stage.addWidget(self.pictures)
        self.stage.addWidget(self.points)
        self.stage.addWidget(self.histogram)
        self.stage.addWidget(self.comparison)
        self.stage.addWidget(self.four_up)
        self.stage.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.clock_slot = QHBoxLayout()  # for the vertical clock of training time
        self.clock_slot.setContentsMargins(0, 0, 0, 0)
        self.clock_slot.addWidget(self.clocks)
        middle = QHBoxLayout()
        middle.setSpacing(MARGIN)
        middle.addLayout(self.clock_slot)
        middle.addWidget(self.stage, 1)

        self.line = _elided("stage_line", Qt.AlignmentFlag.AlignLeft)
        self.note = _elided("stage_note", Qt.AlignmentFlag.AlignRight)
        below = QHBoxLayout()
        below.addWidget(self.line, 1)
        below.addWidget(self.note)
        self.note.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(GRID)
        column.addLayout(header)
        column.addWidget(self.points_row)
        column.addLayout(middle, 1)
        column.addLayout(below)
        column.addWidget(self.timeline)

    # -- what it is given

    def set_tape(self, tape: Tape | None, caption: str = "", *, follow: bool = False) -> None:
        """Show it, or, if the user has parked the bar, as soon as it has come as far; ``follow``: from its beginning.

        ``caption`` comes with it, not before.
        """
        self.compare([])
        self._captioned = tape, caption
        self.player.set_tape(tape, follow=follow)
        self._show_caption()

    def set_reel(self, reel: Reel) -> None:
        """The rows of the run on screen; runs side by side have rows of their own."""
        together = self.comparison.together
        self.clock.set_reel(reel if together is None else together)
        if together is not None:
            self.clock.settle()

    def compare(self, tapes: Sequence[Tape], calls: Sequence[int] = ()) -> None:
        """Show these side by side, as ``CompareView.set_tapes``; none: back to one process."""
        if not (tapes or self.comparison.cells):
            return
        if tapes:
            self._keep_scene()
            self.player.to_image()
        else:
            self._before = None
        self.comparison.set_tapes(tapes, calls)
        self.unwatched.emit()
        self._on_compared()

    def watch(self, together: Together) -> None:
        """Show runs side by side, on both clocks."""
        self._keep_scene()
        self.player.to_image()
        self.comparison.watch(together)
        self.clock.set_reel(together)
        self.clock.settle()
        self._on_compared()

    def _keep_scene(self) -> None:
        if not self.comparison.cells:
            self._before = self.scene()

    def _on_compared(self) -> None:
        self.four_button.setEnabled(not self.comparison.cells)  # a grid has no one step to show in detail
        self._on_clock()
        self._on_tape()
        self._on_frame()

    def leave_comparison(self) -> None:
        """Back to what was on the stage before."""
        if self._before is not None and self.comparison.cells:
            self.show_scene(self._before)

    def scene(self) -> Scene:
        """What is on the stage now."""
        player, clock = self.player, self.clock
        if self._before is not None and self.comparison.together is not None:
            return self._before  # rows of several runs are no tape of any
        texts = self.caption.text(), self.note.text()
        return Scene(player.tape, player.position, player.following, *texts, clock.reel, clock.live)

    def show_scene(self, scene: Scene) -> None:
        """Put it back, at the frame that was shown."""
        self.set_note(scene.note)
        self.set_tape(None)  # so that the place is not sought by what is on the stage now
        self.clock.set_reel(scene.reel)
        self.set_tape(scene.tape, scene.caption)
        if scene.tape is not None:
            self.set_weights(scene.tape.weights)
            if not scene.following:
                self.player.set_position(scene.position)
        self.clock.set_live(scene.live)

    @Slot()
    def poll(self) -> None:
        self.clock.poll()
        self.player.poll()
        self.comparison.poll()

    def set_data_points(
        self, points: NDArray[Any] | None, mixture: Mixture | None = None, *, blind: bool = False
    ) -> None:
        """The data (M, 2) that the particles are compared with, and their density, if it is known.

        ``blind``: whether the network that moves the particles does not see the noise level.
        """
        self.points.set_data(points)
        self.points.set_mixture(mixture)
        self.histogram.set_data(points, mixture)
        self.histogram.set_blind(blind)
        self.timeline.strip.set_range(self.points.view_range)
        self.clocks.map.set_range(self.points.view_range)

    def set_caption(self, text: str) -> None:
        """Muted text at the right of the header, e.g. "seed 3", of what is side by side."""
        self.caption.set_text(text)

    def _show_caption(self) -> None:
        """That of the tape which is shown: one that still waits for its first frame has to wait with its words."""
        tape, text = self._captioned
        if tape is self.player.tape and not self.comparison.cells:
            self.set_caption(text)

    def set_hint(self, text: str) -> None:
        """What the empty stage says."""
        for canvas in (self.pictures, self.points, self.histogram.canvas):
            canvas.set_hint(text)

    def set_note(self, text: str) -> None:
        """Say below the stage what plays, e.g. that it is a recording; empty: nothing."""
        self.note.set_text(text)
        self.note.setVisible(bool(text))
        self.line.setVisible(not text)  # on a small screen there is no room for both

    def set_weights(self, weights: str) -> None:
        """Show which weights are in use, "raw" or "ema", without asking for them."""
        self.weights_choice.set_value(weights)

    def set_averaged(self, on: bool) -> None:
        """Whether the run keeps a moving average of the weights at all; without one there is nothing to choose.

        A tape that is shown knows that better: it may have been recorded before a change.
        """
        if on != self._averaged:
            self._averaged = on
            self._show_average()
            self._show_line()

    def _is_averaged(self, tape: Tape | None) -> bool:
        """Whether there was an average to draw what it shows with."""
        return self._averaged if tape is None or tape.averaged is None else tape.averaged

    def _show_average(self) -> None:
        self.weights_choice.setVisible(self._is_averaged(self.player.tape))

    @property
    def show_what(self) -> str:
        return self.show_choice.value()

    @property
    def canvas(self) -> FrameCanvas | HistogramView | CompareView | FourUp:
        """What shows the tape: by its kind, points in the chosen view; several in a grid."""
        tape = self.player.tape
        if self.comparison.cells:
            return self.comparison
        if self.four_up.on and tape is not None:
            return self.four_up
        if tape is None or tape.kind != "points":
            return self.pictures
        return self.histogram if self.view_choice.value() == "histogram" else self.points

    # -- what happens

    @Slot()
    def _on_tape(self) -> None:
        tape = self.player.tape
        kind = () if tape is None else (tape.kind, tape.count, tape.seed)
        if kind != self._kind_shown:  # else picture i is of the same noise as before
            self._kind_shown = kind
            self.pictures.set_chosen(-1)
        if tape is not None and (self.comparison.together is not None or not self.comparison.cells):
            self.set_weights(tape.weights)
        self._show_caption()
        self._show_average()
        several = any(own.kind == "points" for own in self.comparison.tapes)
        self.points_row.setVisible(several or self.canvas in (self.points, self.histogram))
        self.view_choice.setHidden(several)  # only trails can be chosen
        self.stage.setCurrentWidget(self.canvas)

    @Slot()
    def _on_frame(self) -> None:
        frame, tape = self.player.frame, self.player.tape
        self.points.set_past(tape, self.player.position)
        self.canvas.set_frame(frame, self.show_what)
        self.histogram.set_tape(tape)
        self._show_line()  # also tells how far a growing tape has come
        if frame is self._shown:
            return
        self._shown = frame
        if frame is not None:
            self.level_changed.emit(frame.t, frame)

    @Slot(bool)
    def _on_four_up(self, on: bool) -> None:
        self.four_button.setChecked(on)
        self._on_tape()
        self._on_frame()

    @Slot(object, int)
    def _on_row(self, tape: Tape, position: int) -> None:
        """A training step was chosen, and maybe a place in its process."""
        self.set_note("")
        if self.comparison.together is None:
            self.compare([])
            self._captioned = tape, noise_text(tape, same=tape.count)
        if position >= 0:
            self.player.show(tape, position)
        else:
            self.player.set_tape(tape)

    @Slot()
    def _on_clock(self) -> None:
        several = self.comparison.together is not None
        two = bool(self.clock.rows) and (several or not self.comparison.cells)
        self.clocks.set_mapped(not several)
        self.clocks.setVisible(two)
        self.timeline.set_two_clocks(two)

    @Slot(int)
    def _on_chosen(self, item: int) -> None:
        self.clocks.map.set_show(self.show_what, item)

    @Slot()
    def _show_line(self) -> None:
        tape = self.player.tape
        self.line.set_text(self._describe(tape) if tape and self.player.frame else "")

    def _describe(self, tape: Tape) -> str:
        """Where both clocks stand, e.g. "step 1,284 · t = 340 · DDIM · EMA weights"; of a grid what its cells share."""
        step = self.tr("step {step}")
        if self.comparison.together is not None:  # each run says the rest itself
            return step.format(step=f"{tape.training_step or 0:,}")
        tapes = self.comparison.tapes or [tape]
        if all(own is not tape for own in tapes):
            return ""  # nothing of the grid has come yet

        def shared(told: Iterable[str]) -> str:
            texts = set(told)
            return texts.pop() if len(texts) == 1 else ""

        def weights(own: Tape) -> str:
            averaged = own.weights == "ema" and self._is_averaged(own)
            return self.tr("EMA weights") if averaged else self.tr("raw weights")

        parts = [
            shared("" if own.training_step is None else step.format(step=f"{own.training_step:,}") for own in tapes),
            "" if self.player.frame is None else level_text(self.player.frame.t),
            shared(map(sampler_text, tapes)) or shared(say(kind_title(own.sampler)) for own in tapes),
            shared(map(weights, tapes)),
        ]
        return " · ".join(filter(None, parts))

    @Slot(str)
    def _on_show(self, show: str) -> None:
        self.timeline.strip.set_show(show)
        self.clocks.map.set_show(show, self.pictures.chosen)
        self.canvas.set_frame(self.player.frame, show)
        self.show_chosen.emit(show)

    def set_trails(self, on: bool) -> None:
        """Whether particles draw the way they have come."""
        self.trails_switch.set_value(on)
        self._draw_trails(on)

    @Slot(object)
    def _on_trails(self, on: bool) -> None:
        self._draw_trails(on)
        self.trails_chosen.emit(on)

    def _draw_trails(self, on: bool) -> None:
        self.points.set_with_trails(on)
        self.comparison.set_trails(on)

    @Slot(str)
    def _on_view(self, view: str) -> None:
        self.points.set_with_score(view == "score")
        self.trails_switch.setEnabled(view == "particles")
        self.stage.setCurrentWidget(self.canvas)
        self.canvas.set_frame(self.player.frame, self.show_what)

    def setVisible(self, visible: bool) -> None:
        super().setVisible(visible)
        self.uncovered.emit(visible)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        item = self.comparison if self.comparison.cells else self.four_up
        if not (item.handle_key(event) or self.clocks.handle_key(event) or self.timeline.handle_key(event)):
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self._ringed = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._ringed = False
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._ringed:  # round the stage, which the keys move
            ring = QRectF(self.stage.geometry()).adjusted(-3, -3, 3, 3)
            draw_box(QPainter(self), ring, QColor(Qt.GlobalColor.transparent), color("accent"), 2.0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.caption.setVisible(self.width() >= NARROW)
        self.clocks.set_roomy(self.width() >= NARROW)


def _elided(name: str, align: Qt.AlignmentFlag) -> ElidedLabel:
    """One muted line that gives way."""
    label = ElidedLabel()
    label.setObjectName(name)
    label.setFont(Caption().font())
    label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
    label.setAlignment(align | Qt.AlignmentFlag.AlignVCenter)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
    return label
