"""The training loop, as a generator.

It yields after the optimizer step, the EMA update and the counters, so closing it at any yield leaves a
whole state. All chance in step n comes from (seed, n) and the data order from (seed, images seen): a
resumed run continues bit for bit on the CPU with no random state saved.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.training.budget import Budget
from ddpm_studio.training.build import Session, snapshot
from ddpm_studio.training.carry import agreeing, network_shapes, shapes_of
from ddpm_studio.training.compiled import Compiling
from ddpm_studio.training.compute import ThreadGovernor
from ddpm_studio.training.control import (
    ChangeRequest,
    Comparison,
    Control,
    ForkQuestion,
    PreviewRequest,
    SampleRequest,
    SaveRequest,
)
from ddpm_studio.training.events import (
    ChangeRefused,
    CheckpointDue,
    ComparisonRefused,
    CompileBegun,
    Event,
    Finished,
    ForkForeseen,
    MemoryFull,
    Paused,
    PreviewsPaid,
    Quicker,
    Resumed,
    RolledBack,
    SettingChanged,
    Skipped,
    Started,
    StepDone,
    StepSkipped,
    TapeFinished,
    TapeStarted,
    ThreadsChanged,
)
from ddpm_studio.training.memory import is_out_of_memory
from ddpm_studio.training.preview import preview_sampler
from ddpm_studio.training.probe import Probe
from ddpm_studio.training.sampling import SourceError, Sources, compare, sample
from ddpm_studio.training.step import TrainingStep

BAD_IN_A_ROW = 3  # non-finite steps before a roll-back
ROLL_BACKS = 4  # from one good state, before giving up
GOOD_SECONDS = 20.0  # of training without trouble make a state good
PROBE_SHARE = 0.015
PARTING = 0.5  # seconds that the last preview after Stop may take


class DivergedError(RuntimeError):
    """Training cannot go on: the loss stays non-finite; one sentence with a remedy."""


class MemoryFullError(RuntimeError):
    """A step does not fit into memory; one sentence with a remedy. ``event`` says the same in numbers."""

    def __init__(self, event: MemoryFull) -> None:
        super().__init__(event.sentence() + _remedy(event))
        self.event = event


@contextmanager
def built_in_memory() -> Iterator[None]:
    """Within: what has no room is told as ``MemoryFullError``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryFullError(MemoryFull(0, 0, 0)) from None


def _remedy(event: MemoryFull) -> str:
    """What to type for it."""
    if not event.smaller:
        return ""
    return f": add {'--resume ' if event.step else ''}--set training.batch={event.smaller}"


def train(
    session: Session,
    control: Control,
    *,
    until: int | None = None,
    seconds: float | None = None,
    sources: Sources | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Event]:
    """Train ``session`` up to step ``until`` (default: the recipe's), or for ``seconds``.

    ``sources`` open what comparisons ask for beside ``session``; without them there is nothing else.
    Yields ``Started`` first and ``Finished`` last; before ``Finished`` it yields a ``CheckpointDue``.

    Raises:
        DivergedError: after several roll-backs without a finite loss.
        MemoryFullError: if a step does not fit into memory; the session stands as before it.
    """
    begun = clock()
    last_step = session.recipe.training.steps if until is None else until
    plan = session.plan
    yield Started(last_step, session.step, session.images_seen, plan.describe(), session.parameters, plan.reason)
    with built_in_memory():
        watch = _Watch(session, control, sources or Sources(session))
        good, bad, skipped, roll_backs = snapshot(session), 0, 0, 0
    saved_at = good_at = begun
    trained, rate, governor, step = 0.0, _Rate(), ThreadGovernor(session.plan), TrainingStep(session)
    compiling = Compiling(session, control)
    if compiling.begun:
        yield CompileBegun(session.step)
    if session.step < last_step:
        yield from watch.look(trained)

    while session.step < last_step and not control.stopping:
        yield from watch.answer(trained)
        if _stopped(control):
            break
        start = clock()
        try:
            taken = step.advance(last_step - session.step)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            taken = []  # told below, where the error has let go of what it held
        if not taken:
            if session.step > 0 and control.keep:
                yield CheckpointDue(session.step, "memory")
            batch = session.recipe.training.batch
            raise MemoryFullError(MemoryFull(session.step, batch, batch // 2))
        spent = clock() - start
        trained += spent
        each = spent / len(taken)
        for done in taken:
            threads = governor.observe(each, done.items)
            if threads is not None:
                yield ThreadsChanged(done.step, threads, _plan_now(session, threads))
            speed = rate.update(done.items, each)
            if done.finite:
                bad = 0
                yield StepDone(done.step, done.images_seen, done.loss, done.rate, done.grad_norm, speed)
            else:
                bad, skipped = bad + 1, skipped + 1
                what = "loss" if not math.isfinite(done.loss) else "gradient"
                yield StepSkipped(done.step, f"the {what} was not finite", bad, skipped)
        yield from session.news()
        if (news := compiling.news()) is not None:
            yield Quicker(session.step, *news, _plan_now(session, governor.threads) if news.good else "")
        if bad >= BAD_IN_A_ROW:
            roll_backs, bad = roll_backs + 1, 0
            if roll_backs > ROLL_BACKS:
                session.load_state(*good)
                if control.keep:
                    yield CheckpointDue(session.step, "diverged")
                raise DivergedError(
                    f"training cannot go on at step {session.step}: the loss is not finite even after {ROLL_BACKS} "
                    "roll-backs; lower the learning rate or clip the gradient"
                )
            scale, from_step = session.rate_scale / 2, session.step
            session.load_state(*good)
            session.rate_scale = scale
            yield RolledBack(session.step, from_step, scale, f"{BAD_IN_A_ROW} steps in a row were not finite")
        now = clock()
        if now - saved_at >= 60 * session.recipe.training.autosave:
            saved_at = now
            yield CheckpointDue(session.step, "autosave")
        if now - good_at >= GOOD_SECONDS and bad == 0:
            good, good_at, roll_backs = snapshot(session), now, 0
        if session.step < last_step:
            yield from watch.look(trained)
        if seconds is not None and clock() - begun >= seconds:
            break

    compiling.give_up()
    stopped = session.step < last_step
    if not stopped:
        yield from watch.last_look()
    elif control.keep:
        yield from watch.parting_look()
    if control.keep:
        yield CheckpointDue(session.step, "stopped" if stopped else "finished")
    yield Finished(session.step, session.images_seen, stopped, clock() - begun)


def _plan_now(session: Session, threads: int) -> str:
    """How steps are computed with so many threads; what was built is for all of them."""
    plan = session.plan
    fits = threads == plan.threads
    return replace(plan, threads=threads, compiled=plan.compiled if fits else None).describe()


def _stopped(control: Control) -> bool:
    """Asked for anew: another thread may have said stop since the last look."""
    return control.stopping


class _Rate:
    """Images per second, averaged over about the last second."""

    def __init__(self) -> None:
        self._images, self._seconds = 0.0, 0.0

    def update(self, images: int, seconds: float) -> float:
        keep = math.exp(-seconds)
        self._images = keep * self._images + images
        self._seconds = keep * self._seconds + seconds
        return self._images / max(self._seconds, 1e-9)


class _Watch:
    """What goes on between steps: previews and probes within their budgets, and the answers to requests."""

    def __init__(self, session: Session, control: Control, sources: Sources) -> None:
        self.session, self.control, self.sources = session, control, sources
        self.weights = "ema"
        self.shown = -1  # step of the last preview
        self.probe = Probe(session)
        self.probes = Budget(PROBE_SHARE, burst=0.3)
        self.previews = Budget(session.recipe.preview.budget / 100, burst=1.0)
        self.seconds = 0.0  # that previews took
        self.told: set[str] = set()  # what was left out for lack of memory

    def look(self, trained: float) -> Iterator[Event]:
        """Probe and preview, if they are due."""
        if self.probes.due(trained):
            start = time.perf_counter()
            yield from self.spare(self._measure(), "probe")
            self.probes.pay(time.perf_counter() - start, trained)
        self.previews.share = self.session.recipe.preview.budget / 100
        if self.previews.due(trained):
            yield from self.preview(trained)

    def last_look(self) -> Iterator[Event]:
        """The finished network, whatever the budget says."""
        yield from self.spare(self._measure(), "probe")
        if self.session.recipe.preview.budget > 0:
            yield from self.preview(0.0)

    def parting_look(self) -> Iterator[Event]:
        """After Stop: a row of what was trained, if that takes no longer than a person likes to wait."""
        cost = self.previews.cost
        if self.session.recipe.preview.budget > 0 and 0 < cost < PARTING and self.shown != self.session.step:
            yield from self.preview(0.0, Control())  # the one in hand says stop

    def _measure(self) -> Iterator[Event]:
        yield self.probe(self.session)

    def spare(self, events: Iterator[Event], what: str) -> Iterator[Event]:
        """``events``, as far as there is memory for them: a look at the network must not end its training."""
        tape: TapeStarted | None = None
        try:
            for event in events:
                tape = event if isinstance(event, TapeStarted) else tape
                yield event
            return
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if tape is not None and not tape.tape.complete:
            yield TapeFinished(tape.tape, tape.purpose, 0.0)
        if what not in self.told:
            self.told.add(what)
            yield Skipped(self.session.step, what)

    def _draw(self, control: Control | None) -> Iterator[Event]:
        recipe = self.session.recipe
        settings = preview_sampler(self.session, self.weights)
        yield from sample(
            self.session,
            control or self.control,
            settings,
            recipe.preview.count,
            recipe.seed,
            self.weights,
            "preview",
        )

    def preview(self, trained: float, control: Control | None = None) -> Iterator[Event]:
        start = time.perf_counter()
        self.shown = self.session.step
        yield from self.spare(self._draw(control), "preview")
        spent = time.perf_counter() - start
        self.previews.pay(spent, trained)
        self.seconds += spent
        if trained > 0:
            yield PreviewsPaid(self.session.step, self.seconds / (trained + self.seconds))

    def answer(self, trained: float) -> Iterator[Event]:
        """Take the requests; during a pause wait for more, so that sampling and saving work then too."""
        if not (self.control.waiting or self.control.paused):
            return
        paused = self.control.paused
        if paused:
            yield Paused(self.session.step)
        while True:
            while (request := self.control.take()) is not None and not self.control.stopping:
                match request:
                    case SampleRequest():
                        settings = request.sampler or self.session.recipe.sampler
                        drawn = sample(
                            self.session,
                            self.control,
                            settings,
                            request.count,
                            request.seed,
                            request.weights,
                            "sample",
                        )
                        yield from self.spare(drawn, "sample")
                    case Comparison():
                        yield from self.compare(request)
                    case SaveRequest():
                        yield CheckpointDue(self.session.step, "asked")
                    case PreviewRequest():
                        self.weights = request.weights
                        yield from self.preview(trained)
                    case ChangeRequest():
                        yield from self.change(request)
                    case ForkQuestion():
                        yield from self.foresee(request.recipe)
            if not self.control.paused or self.control.stopping:
                break
            if not paused:  # it came while a request was answered
                paused = True
                yield Paused(self.session.step)
            self.control.hold()
        if paused and not self.control.stopping:
            yield Resumed(self.session.step)

    def compare(self, comparison: Comparison) -> Iterator[Event]:
        """A checkpoint that cannot be had must not end a training."""
        try:
            yield from compare(self.sources, self.control, comparison)
        except SourceError as error:
            yield ComparisonRefused(str(error))

    def foresee(self, recipe: Recipe) -> Iterator[Event]:
        """What a fork would carry over; silent where the wish has other data, which are not here to be asked."""
        if recipe.data != self.session.recipe.data:
            return
        try:
            mine = network_shapes(recipe, self.session.data)
        except (RecipeError, ValueError):  # it is told when the fork is made
            return
        theirs = shapes_of(self.session.network.state_dict())
        yield ForkForeseen(recipe, len(agreeing(mine, theirs)), len(mine))

    def change(self, request: ChangeRequest) -> Iterator[Event]:
        """Live settings take effect. The recipe is a frozen value, so the session gets another one."""
        session, before = self.session, self.session.recipe
        try:
            session.recipe = before.with_settings(request.changes)
        except RecipeError as error:  # a wish that does not fit must not end a training
            yield ChangeRefused(session.step, str(error))
            return
        if session.recipe.preview != before.preview:
            session.preview_calls = 0  # to be chosen anew
        for setting, (old, new) in before.differences(session.recipe).items():
            yield SettingChanged(session.step, setting, old, new)
