"""What moves in the window: tapes in the player, curves and levels in the plots. It has the clocks they go by."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QThreadPool, QTimer, Signal, Slot

from ddpm_studio.app.controller import RunController
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.reverse_view import ReverseView, Scene
from ddpm_studio.app.session import Session
from ddpm_studio.app.tape_text import noise_text
from ddpm_studio.diffusion import Frame, NoiseSchedule, Tape
from ddpm_studio.diffusion.reel import Reel
from ddpm_studio.paths import resource
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import RecordError, Run
from ddpm_studio.store.together import read_rows
from ddpm_studio.training.events import TapeStarted

if TYPE_CHECKING:
    from ddpm_studio.app.data_panel import DataPanel
    from ddpm_studio.app.learning_plots import LearningPlots

log = logging.getLogger(__name__)

FIRST_TAPE = ("tapes", "first.npz")
SAMPLE_SECONDS = 8.0  # samples stay on the stage at least so long, after those of a training that has ended


def read_unless(unwanted: Event, run: Run, reel: Reel) -> None:
    """Read a run's previews into ``reel``; in a thread of the pool."""
    try:
        read_rows(run, reel, lambda: not unwanted.is_set())
    except RecordError as error:
        log.warning("%s", error)


class Stage(QObject):
    """The player's and the plots' wiring. The plots and the data panel come after the first paint."""

    said = Signal(str)  # for the status bar

    def __init__(self, view: ReverseView, form: RecipeForm, controller: RunController, session: Session) -> None:
        super().__init__(session)
        self.view = view
        self.plots: LearningPlots | None = None
        self.data_panel: DataPanel | None = None
        self._form = form
        self._controller = controller
        self._session = session
        self._recipe: Recipe | None = None  # shown last
        self._schedule = NoiseSchedule.cosine()
        self._probes_shown = 0
        self._first_tape: Tape | None = None
        self.sampling: Tape | None = None  # samples that were asked for, while they grow
        self._sampled: Tape | None = None  # the last of those that have ended
        self._awaited = False  # samples were asked for, and none of them has been seen
        self._held: TapeStarted | None = None  # a preview that waits until samples have been seen
        self._hold_until = 0.0  # of time.monotonic()
        self._before: Scene | None = None  # on the stage when the start in hand was asked for
        self._reader = Event()  # set: rows of the run that was opened last are not wanted any more
        view.level_changed.connect(self._on_level)
        view.player.tape_changed.connect(self._on_tape)
        form.symbol_pointed.connect(self._on_symbol)
        self._frame_clock, self._plot_clock = QTimer(self), QTimer(self)
        self._frame_clock.timeout.connect(self._on_frame_clock)
        view.player.state_changed.connect(self._on_play_state)
        self._plot_clock.timeout.connect(self._on_plot_clock)
        self.start_clocks()

    def start_clocks(self) -> None:
        self._on_play_state()
        # Each repaint takes a core from the training for some milliseconds, and its threads wait for each other.
        self._plot_clock.start(500)

    def stop_clocks(self) -> None:
        self._frame_clock.stop()
        self._plot_clock.stop()
        self._reader.set()

    # -- panels that come late

    def set_data_panel(self, panel: DataPanel) -> None:
        self.data_panel = panel
        panel.level_changed.connect(self._on_data_level)

    def set_plots(self, plots: LearningPlots) -> None:
        self.plots = plots
        self.show_channels()
        if self._recipe is not None:
            self.show_recipe(self._recipe)

    # -- recipe

    def choose_recipe(self, recipe: Recipe) -> None:
        """Another recipe: the first tape, a recording of other data, leaves the stage."""
        if self._first_tape is not None and self.view.player.tape is self._first_tape and recipe != self._recipe:
            self.view.set_note("")
            self.view.set_tape(None)
        if self._session.run is None:
            self.view.set_hint(
                self.tr("Press Start: points will drift out of noise here.")
                if self._session.kind == "points"
                else self.tr("Press Start: pictures will condense out of noise here.")
            )
        self.show_recipe(recipe)

    def show_recipe(self, recipe: Recipe) -> None:
        """Show the noise levels of a recipe."""
        self._recipe = recipe
        if self._session.run is None or self._controller.training:  # else another recipe's tape is on the stage
            self._show_average(recipe)
        try:
            self._schedule = NoiseSchedule.named(**recipe.schedule.model_dump())
        except ValueError as error:  # allowed by each setting, but too much together
            self.said.emit(str(error))
            return
        if self.plots is not None and self.data_panel is not None:
            self.plots.set_schedule(self._schedule)
            self.data_panel.set_schedule(self._schedule)
            self.data_panel.set_value_range(recipe.data.value_range)

    def _show_average(self, recipe: Recipe) -> None:
        self.view.set_averaged(recipe.training.ema_decay > 0)

    # -- tapes

    def play_first_tape(self) -> None:
        """Something moves before torch is there: noise becoming pictures, recorded earlier."""
        try:
            tape = Tape.load(resource(*FIRST_TAPE))
        except ValueError as error:
            log.warning("%s", error)
            return
        self._first_tape = tape
        self.view.set_tape(tape)
        self.view.player.set_loop(True)
        self.view.player.to_noise()
        self.view.player.play()
        self.view.set_note(self.tr("A recording. Drag the bar, or press Start to watch one learn."))

    @Slot()
    def clear(self) -> None:
        """A run begins: nothing of it is to be seen yet."""
        self._before = self.view.scene()
        self._empty()
        self.view.set_hint(self.tr("Building the network…"))
        self._show_average(self._session.recipe)
        self.show_channels()

    @Slot()
    def restore(self) -> None:
        """A run could not begin: what was there before is there again."""
        self._show_average(self._session.run_recipe)
        if self._before is not None:
            self.view.show_scene(self._before)
        self.show_channels()

    @Slot()
    def leave_run(self) -> None:
        """The run on screen is let go: nothing of it stays."""
        self._empty()
        self._reader.set()
        self._before = None
        self._form.set_level(None)
        self.show_channels()

    def _empty(self) -> None:
        self._held = self.sampling = None
        self._hold_until, self._awaited = 0.0, False
        self.view.set_note("")
        self.view.set_tape(None)

    def show_last(self, tape: Tape | None) -> None:
        """The last tape of a run that was opened, at its end."""
        self.view.set_note("")
        self.view.set_hint(self.tr("This run has no pictures yet."))
        recipe, caption = self._session.run_recipe, ""
        self._show_average(recipe)
        if tape is not None:
            self._show_data_points(tape)
            self.view.set_weights(tape.weights)
            preview = (tape.seed, tape.count) == (recipe.seed, recipe.preview.count)
            caption = noise_text(tape, same=tape.count if preview else 0)
        self.view.set_tape(tape, caption)
        self.view.player.to_image()
        self._read_rows()

    def _read_rows(self) -> None:
        """Bring the recorded rows of the run that was opened into its reel, besides everything else."""
        self._reader.set()
        run = self._session.run
        if run is not None:
            self._reader = Event()
            reel = self._controller.channels.reel
            QThreadPool.globalInstance().start(partial(read_unless, self._reader, run, reel))

    def _show_data_points(self, tape: Tape) -> None:
        """What the particles of ``tape`` are compared with."""
        if tape.kind == "points":
            points, mixture, blind = self._session.compared_with(self._session.run_recipe)
            self.view.set_data_points(points, mixture, blind=blind)

    def await_samples(self) -> None:
        """Samples were asked for: they are to be seen from their first frame on, wherever the clock stands."""
        self._awaited = True

    def hold_samples(self, tape: Tape) -> None:
        """Samples are complete, or were stopped: in a training previews wait until a person lets them come."""
        self.sampling, self._sampled = None, tape
        self._hold_until = math.inf if self._controller.training else time.monotonic() + SAMPLE_SECONDS
        if self.view.player.tape is tape:
            self._tell_held()

    def on_idle(self) -> None:
        """Nothing grows any more, even if it failed half-way."""
        self.sampling = self._before = None
        self._hold_until = min(self._hold_until, time.monotonic() + SAMPLE_SECONDS)

    @Slot()
    def _on_play_state(self) -> None:
        """Sixty times a second while something plays; half as often to notice what arrives."""
        self._frame_clock.setTimerType(Qt.TimerType.PreciseTimer)
        self._frame_clock.start(16 if self.view.player.playing else 33)

    @Slot()
    def _on_frame_clock(self) -> None:
        self.view.set_reel(self._controller.channels.reel)
        started = self._controller.channels.tape.take() or self._held
        if started is not None and started.purpose == "preview" and self.view.clock.holds(started.tape):
            started = None  # a person looks at another training step; this one becomes a row when it is complete
        # What was asked for stays on the stage for a while before previews go on.
        seen = time.monotonic() >= self._hold_until and not self.view.comparison.cells
        held = started is not None and started.purpose == "preview" and not seen
        self._held = started if held else None
        if started is not None and not held:
            tape = started.tape
            self._show_data_points(tape)
            self.view.set_note("")
            self.view.set_weights(tape.weights)
            # While it samples and for some seconds after; hold_samples sets the end, and may have come first.
            over = tape is self._sampled or not self._controller.busy
            self.sampling = tape if started.purpose == "sample" and not over else None
            if not over:
                self._hold_until = math.inf if self.sampling is not None else 0.0
            preview = started.purpose == "preview"
            caption = noise_text(tape, same=self._session.recipe.preview.count if preview else 0)
            self.view.set_tape(tape, caption, follow=self._awaited and not preview)
            self._awaited = self._awaited and preview
            if tape is self._sampled:
                self._tell_held()
        elif self._kept and self.view.player.tape is not self._sampled:  # a person went to another row
            self._hold_until = 0.0
        self.view.poll()

    @property
    def _kept(self) -> bool:
        """Whether samples stay on the stage, though a training goes on."""
        return self._hold_until == math.inf and self.sampling is None

    def _tell_held(self) -> None:
        if self._kept:
            self.view.set_note(self.tr("Your sample stays; Ctrl+↓ shows the previews again."))

    # -- curves and levels

    def show_channels(self) -> None:
        """Point the plots to the run on screen."""
        if self.plots is not None:
            channels = self._controller.channels
            self.plots.set_logs(channels.batch, channels.probe)
            self.plots.set_sights(channels.sights)
            self._probes_shown = 0
            for step, text in channels.flags:
                self.plots.add_flag(step, text)

    def forget_flags(self, step: int) -> None:
        """The run goes on from ``step``: what was changed behind it has not happened."""
        flags = self._controller.channels.flags
        kept = [flag for flag in flags if flag[0] <= step]
        if len(kept) < len(flags):
            flags[:] = kept
            self.show_channels()

    def add_flag(self, step: int, text: str) -> None:
        """Mark a change of a setting in the curves."""
        self._controller.channels.flags.append((step, text))
        if self.plots is not None:
            self.plots.add_flag(step, text)

    @Slot()
    def _on_plot_clock(self) -> None:
        if self.plots is None or self.view.window().isMinimized():
            return
        levels = self._controller.channels.levels
        for row in levels[self._probes_shown :]:
            self.plots.add_probe(row.step, row.levels, row.train_by_level, row.floor_by_level)
        self._probes_shown = len(levels)
        self.plots.refresh()

    @Slot(int, object)
    def _on_level(self, t: int, frame: Frame | None) -> None:
        if t <= self._schedule.steps:
            self._form.set_level(t)
            if self.plots is not None:
                self.plots.set_level(t)

    @Slot()
    def _on_tape(self) -> None:
        tape = self.view.player.tape
        self._form.set_stage(*((tape.sampler, tape.grid) if tape is not None and tape.grid else ("", ())))

    @Slot(object)
    def _on_symbol(self, belongs: tuple[str, ...]) -> None:
        """What a symbol of the equation card belongs to stands out."""
        self.view.timeline.set_lit("player.t" in belongs)
        if self.plots is not None:
            curves = (name.removeprefix("curve.") for name in belongs if name.startswith("curve."))
            self.plots.schedule.highlight(tuple(curves))

    @Slot(int)
    def _on_data_level(self, t: int) -> None:
        self._on_level(t, None)
