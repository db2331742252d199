"""What the command line shows of a job in hand, on stderr: bars, messages, and how Ctrl-C ends it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import FrameType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import (
    Carried,
    CheckpointDue,
    ComparisonStarted,
    CompileBegun,
    Event,
    Finished,
    Probed,
    Quicker,
    RolledBack,
    SaveFailed,
    Skipped,
    Started,
    StepDone,
    StepSkipped,
    TapeFinished,
    TapeGrew,
    TapeStarted,
    Waiting,
)

console = Console(stderr=True, highlight=False)


class Interruptible:
    """Within: the first Ctrl-C (or SIGTERM) asks the engine to stop after its step; a second one ends at once."""

    def __init__(self, control: Control, doing: str = "Finishing the step and saving…") -> None:
        self._control, self._doing, self._asked = control, doing, False

    def __enter__(self) -> Interruptible:
        self._old = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self._old.items():
            signal.signal(which, handler)

    def __bool__(self) -> bool:
        return self._asked

    def _on_signal(self, which: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self._control.stop()
        console.print(f"\n{self._doing} (Ctrl-C again ends at once)")


def progress_bar(*further: ProgressColumn, counted: bool = False) -> Progress:
    """What is done, how much of it (``counted``: in numbers, too), the time it took and the time left."""
    columns = [TextColumn("[bold]{task.description}"), BarColumn()]
    if counted:
        columns.append(MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), *further, console=console)


class Measuring:
    """The bar of measurements that go through sections, one after the other: anew for each of them."""

    def __init__(self, bar: Progress, control: Control) -> None:
        self._bar, self._control = bar, control
        self._task = bar.add_task("", total=1.0)
        self._section = ""

    def begin(self, section: str) -> None:
        self._section = section
        self._bar.reset(self._task, total=1.0, description=section)

    def tell(self, done: float, what: str) -> bool:
        """How far (0 … 1) a section is, and with what; False ends it."""
        self._bar.update(self._task, completed=done, description=f"{self._section}: {what}")
        return not self._control.stopping

    def end(self, stopped: bool) -> None:
        self._bar.update(self._task, completed=1.0, description=f"{self._section}: {'stopped' if stopped else 'done'}")


def show_training(events: Iterator[Event], run: Run) -> int:
    """Draw progress until the events end; returns the last step."""
    step = 0
    probe = ""
    with progress_bar(TextColumn("{task.fields[text]}"), counted=True) as bar:
        task = bar.add_task("Training", total=None, text="")
        for event in events:
            match event:
                case Carried():
                    bar.console.print(f"Forked: {event.sentence()}.", markup=False, soft_wrap=True)
                case Waiting():
                    bar.update(task, text=event.text)
                case Started():
                    step = event.resumed_at
                    bar.console.print(f"Run: {run.path}", markup=False, soft_wrap=True)
                    why = f" (why: {event.why})" if event.why else ""
                    bar.console.print(
                        f"{event.parameters:,} parameters; {event.plan}{why}", markup=False, soft_wrap=True
                    )
                    if step >= event.steps:
                        bar.console.print(f"Already at step {step:,}; ask for more with --steps.", markup=False)
                    bar.update(task, total=event.steps, completed=step)
                case StepDone():
                    step = event.step
                    text = f"loss {event.loss:.4f}{probe} {event.images_per_second:,.0f} img/s"
                    bar.update(task, completed=step, text=text)
                case Probed():
                    probe = f" probe {event.train:.4f}"
                case StepSkipped():
                    bar.console.print(f"Step {event.step} skipped: {event.reason}.", markup=False)
                case RolledBack():
                    bar.console.print(
                        f"Back to step {event.step} with the learning rate × {event.rate_scale:g}: {event.reason}.",
                        markup=False,
                    )
                case SaveFailed():
                    bar.console.print(f"Not saved: {event.reason}.", markup=False)
                case CompileBegun():
                    bar.console.print("torch.compile builds code beside the training, which is slower meanwhile.")
                case Quicker():
                    bar.console.print(f"From step {event.step} on: {event.reason}.", markup=False, soft_wrap=True)
                case Skipped():
                    bar.console.print(f"{event.sentence()}.", markup=False, soft_wrap=True)
                case CheckpointDue():
                    bar.update(task, text="saving")
                case Finished():
                    step = event.step
                    bar.update(task, completed=step, text=f"{'stopped' if event.stopped else 'done'}{probe}")
    return step


def show_sampling(events: Iterator[Event]) -> list[Tape]:
    """The tapes, when they have ended."""
    tapes = []
    with progress_bar(counted=True) as bar:
        task = bar.add_task("Sampling", total=None)
        for event in events:
            match event:
                case TapeStarted():
                    bar.reset(task, total=event.calls, description=f"Sampling {event.tape.label}")
                case TapeGrew():
                    bar.update(task, completed=event.tape.calls)
                case TapeFinished():
                    tapes.append(event.tape)
                case Quicker():
                    _say(bar, event)
    return tapes


def show_comparison(events: Iterator[Event]) -> tuple[Tape, ...]:
    """The tapes of a comparison, in the order of its cells, when it has ended."""
    tapes: tuple[Tape, ...] = ()
    with progress_bar() as bar:
        task = bar.add_task("", total=None)
        for event in events:
            match event:
                case Waiting():
                    bar.update(task, description=event.text)
                case ComparisonStarted():
                    tapes = event.tapes
                    bar.update(task, total=sum(event.calls))
                case TapeStarted():
                    bar.update(task, description=event.tape.label)
                case TapeGrew():
                    bar.update(task, completed=sum(tape.calls for tape in tapes))
                case Quicker():
                    _say(bar, event)
    return tapes


def _say(bar: Progress, event: Quicker) -> None:
    bar.console.print(f"{event.reason[0].upper()}{event.reason[1:]}.", markup=False, soft_wrap=True)
