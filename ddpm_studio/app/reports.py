"""What the engine says, told to the panels: sentences, notices, flags, facts and numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Slot
from PySide6.QtGui import QColor

from ddpm_studio.app.banner import Banner
from ddpm_studio.app.controller import RunController, State
from ddpm_studio.app.jobs import CompilerLookedFor, DataMissing, DataOpened, DataTaken, LoadingStopped, RunOpened
from ddpm_studio.app.offers import Offers
from ddpm_studio.app.reading import Reading
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.runs_panel import RunRow, RunsPanel
from ddpm_studio.app.session import Session
from ddpm_studio.app.stage import Stage
from ddpm_studio.app.status import StatusBar
from ddpm_studio.app.texts import say, time_left, time_left_at
from ddpm_studio.app.top_bar import TopBar
from ddpm_studio.data import BUILT_IN
from ddpm_studio.diffusion import Tape
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.editions import label_of, text_of
from ddpm_studio.recipes.quantity import apart
from ddpm_studio.store import RecordError, Run, RunSummary, computed_with, list_runs
from ddpm_studio.training.events import (
    Carried,
    ChangeRefused,
    CheckpointDue,
    CompileBegun,
    Finished,
    ForkForeseen,
    MemoryFull,
    PreviewsPaid,
    Quicker,
    RolledBack,
    SaveFailed,
    SettingChanged,
    Skipped,
    Started,
    StepSkipped,
    TapeFinished,
    ThreadsChanged,
    Waiting,
)

log = logging.getLogger(__name__)


class Reports(QObject):
    """Connects nothing itself but its clocks; the window connects the controller's signals to its slots."""

    def __init__(
        self,
        controller: RunController,
        session: Session,
        stage: Stage,
        *,
        top_bar: TopBar,
        form: RecipeForm,
        banner: Banner,
        status: StatusBar,
        runs_panel: RunsPanel,
        offers: Offers,
    ) -> None:
        super().__init__(session)
        self._controller, self._session, self._stage = controller, session, stage
        self._top_bar, self._form, self._banner = top_bar, form, banner
        self._status, self._runs_panel, self._offers = status, runs_panel, offers
        self._plan, self._why, self._steps = "", "", 0  # of the training on screen
        self._downloading = False
        self._listing, self._reading_curves = Reading(self), Reading(self)
        self._listing.answered.connect(self._on_listed)
        self._reading_curves.answered.connect(self._on_curves)
        self._text_clock, self._slow_clock = QTimer(self), QTimer(self)
        self._text_clock.timeout.connect(self._on_text_clock)
        self._slow_clock.timeout.connect(self._on_slow_clock)
        self._text_clock.start(500)
        self._slow_clock.start(1000)

    def close(self) -> None:
        self._listing.close()
        self._reading_curves.close()
        self._text_clock.stop()
        self._slow_clock.stop()

    @Slot(str)
    def say(self, text: str) -> None:
        """Tell it in the status bar; the log keeps it."""
        if text:
            log.info("%s", text)
        self._status.message.set_text(text)

    @Slot()
    def list_runs(self) -> None:
        """Look at the runs on disk; the panel shows them when they have been read, and at once which is on screen."""
        self._show_run_in_list()
        self._listing.ask(partial(list_runs, say=say))

    @Slot(object)
    def _on_listed(self, found: list[RunSummary]) -> None:
        self._session.runs = found
        training = self._controller.run if self._controller.training else None
        parents = {s.born: s.run.path for s in found}  # by their birth: folders may have been renamed
        rows = [
            RunRow(
                s.run.path,
                s.title,
                s.step,
                s.trained,
                s.loss,
                active=training is not None and s.run.path == training.path,
                note=s.edition,
                parent=parents.get(s.parent.born) if s.parent else None,
                forked_at=s.parent.step if s.parent else None,
                before=s.parent.before if s.parent else 0,
                recipe=s.recipe,
                previews=s.previews,
                born=s.born,
            )
            for s in found
        ]
        self._runs_panel.set_rows(rows)
        self._show_run_in_list()

    @Slot()
    def _show_run_in_list(self) -> None:
        run = self._session.run
        self._runs_panel.set_shown(run.path if run is not None else None)

    @Slot(list)
    def on_curves_wanted(self, wanted: list[tuple[RunRow, QColor]]) -> None:
        """Draw the probe losses of runs side by side; a fork's begins where its parent stood."""
        self._reading_curves.ask(partial(_curves, wanted))

    @Slot(object)
    def _on_curves(self, curves: list[tuple[RunRow, QColor, NDArray[np.float64]]]) -> None:
        recipes = [self._session.recipe if row.active else row.recipe for row, _, _ in curves]
        if self._stage.plots is not None:
            names = apart([recipe for recipe in recipes if recipe is not None])
            shown = self._session.run.path if self._session.run is not None else None
            self._stage.plots.set_compared(
                [(row.name, shade, points) for row, shade, points in curves],
                [say(name) for name in names],
                next((float(row.before) for row, _, _ in curves if row.path == shown), None),
            )

    # -- events

    @Slot()
    def on_ready(self) -> None:
        self._tell_recipe()

    @Slot(object)
    def on_recipe_chosen(self, recipe: Recipe) -> None:
        """Another recipe, or another run: what was said of the one before holds no more."""
        self._banner.hide()
        if self._session.dataset is None:
            self._form.set_facts({})
        if self._controller.is_ready and self._session.run is None:
            self._tell_recipe()

    @Slot()
    def on_run_left(self) -> None:
        self._plan, self._steps = "", 0
        self._show_run_in_list()
        self._status.forget_saved()
        self._status.previews_took(None)

    def _tell_recipe(self) -> None:
        self.say(self.tr("Ready. Start learns {0}.").format(self._session.recipe.title))

    @Slot(object)
    def on_state(self, state: State) -> None:
        self._downloading = False
        self._form.set_running(self._controller.training or state is State.STOPPING)
        texts = {
            State.PAUSED: self.tr("Paused"),
            State.STOPPING: self.tr("Finishing the step and saving…"),
            State.SAMPLING: self.tr("Sampling…"),
        }
        if state in texts:
            self.say(texts[state])

    @Slot(object)
    def on_event(self, event: object) -> None:
        match event:
            case Waiting():
                self.say(say(event.text) + "…")
            case Started():
                self._plan, self._steps = event.plan, event.steps
                self._stage.forget_flags(event.resumed_at)
                self._tell_plan(event.why)
                self._status.previews_took(None)
                self._form.set_facts(self._facts(parameters=event.parameters))
                learning = self.tr("Learning {0}").format(self._session.recipe.title)
                more = self.tr("{0}: {1:,} more steps, up to step {2:,}")
                left = event.steps - event.resumed_at
                self.say(more.format(learning, left, event.steps) if event.resumed_at else learning)
                self._stage.view.set_hint(self.tr("The first preview comes in a moment."))
            case CheckpointDue():
                self._session.has_checkpoint = True
                self._status.saved()
            case SettingChanged():
                text = _change(self._session.recipe, event.setting, event.old, event.new)
                log.info("step %d: %s", event.step, text)
                self._stage.add_flag(event.step, text)
            case ForkForeseen():
                self._session.on_foreseen(event)
            case Carried():
                self._banner.show_notice(self.tr("Forked: {0}.").format(event.sentence(say)), kind="info")
                self.say(self.tr("Forked: {0}.").format(event.sentence(say)))
            case SaveFailed() | ChangeRefused():
                self._banner.show_notice(event.reason)
            case StepSkipped():
                text = self.tr("Step {0:,} was skipped because {1}; {2:,} skipped in all.")
                self._banner.show_notice(text.format(event.step, event.reason, event.total))
            case RolledBack():
                self._stage.forget_flags(event.step)
                text = self.tr("Back to step {0:,} with the learning rate × {1:g}: {2}.")
                self._banner.show_notice(text.format(event.step, event.rate_scale, event.reason))
            case MemoryFull():
                self._offers.full(event)
                self._stage.view.set_hint(event.sentence(say) + ".")
                self.say(event.sentence(say) + ".")
            case Skipped():
                self._banner.show_notice(event.sentence(say) + ".")
            case CompileBegun():
                self.say(self.tr("torch.compile builds code beside the training, which is slower meanwhile"))
            case Quicker():
                self.say(event.reason + ".")
                if event.plan:
                    self._plan = event.plan
                    self._tell_plan("; ".join(filter(None, [self._why, event.reason])))
            case PreviewsPaid():
                self._status.previews_took(event.share, self._session.recipe.preview.budget / 100)
            case ThreadsChanged():
                self._plan = event.plan or self._plan
                if event.threads == 1:  # that all are tried again stands in the plan: it may help for a second only
                    self.say(self.tr("Other programs use the processor: learning goes on with one thread"))
            case TapeFinished() if event.purpose == "sample":
                self._stage.hold_samples(event.tape)
                self.say(self._sampled(event))
            case Finished():
                done = (
                    self.tr("Stopped at step {0:,}; everything is saved.")
                    if event.stopped
                    else self.tr("Done: {0:,} steps.")
                )
                self.say(done.format(event.step))
            case LoadingStopped():
                text = self.tr("Stopped before the first step; nothing was kept.")
                self._stage.view.set_hint(text)
                self.say(text)
            case DataMissing():
                self._show_missing(event)
            case DataTaken():
                self._offers.taken(event)
            case RunOpened():
                self._show_run(event)
            case CompilerLookedFor():
                self._form.set_compiler(event.missing)
            case DataOpened():
                self._show_data(event)

    def _sampled(self, event: TapeFinished) -> str:
        tape = event.tape
        if tape.complete:
            return self.tr("Sampled in {0:.1f} s").format(event.seconds)
        moves = tape.frames[-1].index if tape.frames else 0
        return self.tr("Sampling stopped at {0:,} of {1:,}").format(moves, len(tape.grid) - 1)

    def _show_run(self, opened: RunOpened) -> None:
        if not self._session.take_run(opened):
            return
        self._stage.show_channels()
        self._plan, why = computed_with(opened.events)
        self._tell_plan(why)
        self._steps = opened.recipe.training.steps
        if opened.dataset is not None:
            self._show_data(DataOpened(opened.recipe.data.source, opened.dataset))
        for event in opened.events:
            if event.kind == "setting_changed":
                text = _change(opened.recipe, **event.about)
                log.info("step %d: %s", event.step, text)
                self._stage.add_flag(event.step, text)
            elif event.kind in ("started", "rolled_back"):
                self._stage.forget_flags(int(event.about.get("to", event.step)))
        self._stage.show_last(opened.tape)
        self._status.forget_saved()
        self._status.previews_took(None)
        self.say(self.tr("Opened {0}").format(opened.run.path))

    def _show_data(self, opened: DataOpened) -> None:
        if self._stage.data_panel is not None:
            self._stage.data_panel.set_dataset(opened.dataset)
        self._session.dataset = opened.dataset
        for note in opened.dataset.notes:
            self._banner.show_notice(note, kind="info")
        self._form.set_facts(self._facts(parameters=opened.parameters))

    def _tell_plan(self, why: str) -> None:
        """Beside the plan itself, why it was chosen, and what became of it; the engine's own words."""
        self._why = why
        self._top_bar.plan.setToolTip(self.tr("Why: {0}").format(why) if why else "")

    def _show_missing(self, missing: DataMissing) -> None:
        self._session.dataset = None
        if self._stage.data_panel is not None:
            self._stage.data_panel.set_dataset(None)
        self._form.set_facts({})
        self._offers.missing(missing)
        if missing.asked:
            self._stage.view.set_hint(self.tr("{0} is not here yet.").format(BUILT_IN[missing.source].title))
            self.say(missing.sentence)

    def _facts(self, parameters: int | None = None) -> dict[str, list[tuple[str, str, str]]]:
        facts: dict[str, list[tuple[str, str, str]]] = {}
        dataset = self._session.dataset
        if dataset is not None:
            facts["data"] = [
                (self.tr("Items"), f"{len(dataset):,}", ""),
                (self.tr("Held out"), f"{len(dataset.held_out):,}", ""),
            ]
            if dataset.kind == "pictures":
                channels, height, width = dataset.shape
                facts["data"].append((self.tr("Size"), f"{width} × {height}" + (" × 3" if channels == 3 else ""), "px"))
        if parameters is not None:
            many = parameters >= 100_000
            number = (f"{parameters / 1e6:.2f}", "M") if many else (f"{parameters:,}", "")
            facts["network"] = [(self.tr("Parameters"), *number)]
        return facts

    # -- numbers

    @Slot()
    def _on_text_clock(self) -> None:
        channels = self._controller.channels
        if (loading := channels.download.take()) is not None:
            self._show_download(*loading)
            return
        if self._stage.sampling is not None and self._controller.state is not State.STOPPING:
            self._show_sampling(self._stage.sampling)
        batch = channels.batch
        step, rate = batch.last("step"), batch.last("images_per_second")
        if step is None or not self._steps:
            if not self._downloading:
                self._top_bar.set_numbers()
            return
        live = self._controller.training
        left = ""
        if live and rate and len(batch) > 30:
            left = time_left((self._steps - step) * self._session.recipe.training.batch / rate)
        self._top_bar.set_numbers(
            plan=self._plan,
            rate=self._rate().format(rate or 0) if live else "",
            step=self.tr("Step {0:,.0f} of {1:,}").format(step, max(self._steps, int(step))),
            share=step / max(self._steps, step),
            left=left,
        )

    def _rate(self) -> str:
        return self.tr("{0:,.0f} points/s") if self._session.kind == "points" else self.tr("{0:,.0f} img/s")

    def _show_sampling(self, tape: Tape) -> None:
        share = max(len(tape.frames) - 1, 0) / max(tape.total - 1, 1)
        text = self.tr("Sampling: {0:.0f} %").format(100 * share)
        left = time_left_at(share, tape.seconds)
        self._status.message.set_text(" · ".join([text, left] if left else [text]))

    def _show_download(self, done: int, of: int) -> None:
        if self._controller.state is not State.STARTING:
            return
        self._downloading = done < of
        title = BUILT_IN[self._session.recipe.data.source].title
        text = self.tr("{0:.1f} of {1:.1f} MB").format(done / 1e6, of / 1e6)
        self._top_bar.set_numbers(step=text, share=done / of)
        self._status.message.set_text(self.tr("Downloading {0}: {1}").format(title, text))
        self._stage.view.set_hint(
            self.tr("Downloading {0}: {1}. Stop cancels it.").format(title, text)
            if done < of
            else self.tr("Reading {0}…").format(title)
        )

    @Slot()
    def _on_slow_clock(self) -> None:
        self._status.refresh()
        step = self._controller.channels.batch.last("step")
        if self._controller.training and step is not None:
            self._runs_panel.set_active_step(int(step))


def _curves(wanted: Sequence[tuple[RunRow, QColor]]) -> list[tuple[RunRow, QColor, NDArray[np.float64]]]:
    """Step and probe loss of each run, read in a thread of the pool; a fork's steps go on from its parent's."""
    found = []
    for row, shade in wanted:
        try:
            with Run(row.path).record() as record:
                points = record.probe_curve()
        except RecordError:
            continue
        points[:, 0] += row.before
        found.append((row, shade, points))
    return found


def _change(recipe: Recipe, setting: str, old: object, new: object) -> str:
    """A change of a setting as its flag says it."""
    values = (text_of(recipe, setting, value, say) for value in (old, new))
    return f"{say(label_of(recipe, setting))}: {' → '.join(values)}"
