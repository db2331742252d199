"""What the training and sampling generators yield. Plain values, no torch: the window reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.tape import Items, Tape

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Started:
    """Everything is built; the first step comes next. ``resumed_at`` is 0 for a new run."""

    steps: int
    resumed_at: int
    images_seen: int
    plan: str
    parameters: int
    why: str = ""  # this plan


@dataclass(frozen=True)
class StepDone:
    """One optimizer step is finished and the EMA updated."""

    step: int
    images_seen: int
    loss: float
    learning_rate: float
    grad_norm: float
    images_per_second: float


@dataclass(frozen=True)
class StepSkipped:
    """A step whose loss or gradient was not finite: the weights were left as they were."""

    step: int
    reason: str
    in_a_row: int
    total: int


@dataclass(frozen=True)
class RolledBack:
    """Three bad steps in a row: back to the last good state, with a lower learning rate."""

    step: int
    from_step: int
    rate_scale: float
    reason: str


class ProbeItems(NamedTuple):
    """One trained item of each noise-level bin, as tapes hold items: what a network that is probed is shown.

    t: int64 (bins,); x (the noisy x_t), eps: uint8 (bins, H, W, C), or float32 (bins, 2).
    """

    t: Items
    x: Items
    eps: Items


class ProbeSight(NamedTuple):
    """What the network of a training step made of the ``ProbeItems``: its estimates, of the same shapes."""

    step: int
    eps: Items
    x0: Items

    @property
    def nbytes(self) -> int:
        return self.eps.nbytes + self.x0.nbytes


@dataclass(frozen=True)
class Probed:
    """Loss of the EMA weights on fixed (x, t, eps), for trained and held-out items.

    ``levels`` are the middles of the noise-level bins; the ``_by_level`` arrays have the same length.
    The floors: the loss of the network that is best on average over all data, measured on these very items, where it
    is known; on few items another may by chance do a little better.
    """

    step: int
    train: float
    held_out: float
    levels: Floats
    train_by_level: Floats
    held_out_by_level: Floats
    floor_by_level: Floats | None = None
    items: ProbeItems | None = None  # the same all along a run
    sight: ProbeSight | None = None
    held_out_floor_by_level: Floats | None = None


@dataclass(frozen=True)
class TapeStarted:
    """A reverse process begins; ``tape`` will grow frame by frame. ``purpose``: "preview", "sample" or "compare".

    ``calls``: how often it will ask the network, which ``tape.calls`` counts; 0 where nobody knows.
    """

    tape: Tape
    purpose: str
    calls: int = 0


@dataclass(frozen=True)
class TapeGrew:
    """One more frame lies in the tape."""

    tape: Tape


@dataclass(frozen=True)
class TapeFinished:
    """The reverse process ended (or was stopped: then ``tape.complete`` is False)."""

    tape: Tape
    purpose: str
    seconds: float


@dataclass(frozen=True)
class ComparisonStarted:
    """Cells are compared: ``tapes``, empty yet and in the order of the cells, will grow one after another.

    ``calls``: how often each will ask the network.
    """

    tapes: tuple[Tape, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class ComparisonFinished:
    """The comparison ended, or was stopped: then not all of its tapes are complete."""

    tapes: tuple[Tape, ...]
    stopped: bool
    seconds: float


@dataclass(frozen=True)
class ComparisonRefused:
    """A checkpoint or a run that a comparison asks for cannot be used; what is complete stays, a training goes on."""

    reason: str


@dataclass(frozen=True)
class SettingChanged:
    """A live setting took effect before the step after ``step``."""

    step: int
    setting: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Carried:
    """A fork begins with what its parent has learnt: how many of its tensors came from there, by name and shape."""

    weights: int
    of: int
    moments: int  # parameters whose moments came along
    averaged: int  # tensors of the EMA
    data_order: bool

    def sentence(self, say: Callable[[str], str] = str) -> str:
        """What came along, in words; ``say`` puts a text into the language of the person who reads it."""
        order = say("the data go on where they were") if self.data_order else say("the data begin anew")
        text = say(
            "{0} of {1} weight tensors, their EMA and {2} optimizer moments came along; {3}; its own steps count from 0"
        )
        return text.format(self.weights, self.of, self.moments, order)


@dataclass(frozen=True)
class ForkForeseen:
    """What a fork to another recipe would carry over: ``weights`` ``of`` its tensors."""

    recipe: Any
    weights: int
    of: int


@dataclass(frozen=True)
class ChangeRefused:
    """Live settings that do not fit together; everything stays as it was."""

    step: int
    reason: str


@dataclass(frozen=True)
class SaveFailed:
    """The state could not be saved (a full disk, say); the training goes on."""

    step: int
    reason: str


@dataclass(frozen=True)
class ThreadsChanged:
    """Other programs need the processor (``threads`` 1), or all are tried again. ``plan``: how it computes now."""

    step: int
    threads: int
    plan: str = field(default="", compare=False)


@dataclass(frozen=True)
class MemoryFull:
    """A step does not fit into memory: training ends as it stood before it. ``smaller`` may fit; 0: nothing smaller.

    ``batch`` 0: not even the network and its data fit. ``step`` 0: nothing was learnt yet; else all up to it is saved.
    """

    step: int
    batch: int
    smaller: int

    def sentence(self, say: Callable[[str], str] = str) -> str:
        """What happened and what may help; ``say`` puts a text into the language of the person who reads it."""
        if self.batch == 0:
            text = say("The network and its data do not fit into memory: choose a smaller network or fewer data")
        elif self.smaller:
            text = say("Learning does not fit into memory with a batch of {0:,}; {1:,} may").format(
                self.batch, self.smaller
            )
        else:
            text = say("Learning does not fit into memory even with one item: choose a smaller network or smaller data")
        return text if self.step == 0 else text + say("; what was learnt up to step {0:,} is saved").format(self.step)


@dataclass(frozen=True)
class Skipped:
    """A preview, a probe or samples were given up, which do not fit into memory; the training goes on."""

    step: int
    what: str  # "preview", "probe" or "sample"

    def sentence(self, say: Callable[[str], str] = str) -> str:
        names = {"preview": say("A preview"), "probe": say("A probe"), "sample": say("A sample")}
        return say("{0} does not fit into memory and was left out; learning goes on").format(names[self.what])


@dataclass(frozen=True)
class CompileBegun:
    """torch.compile builds code beside the training, which is slower meanwhile; a ``Quicker`` tells what came of it."""

    step: int


@dataclass(frozen=True)
class Quicker:
    """How steps are computed has changed, or could not be: ``reason`` says what, in one sentence without a stop.

    ``plan``: how they are computed now (``ComputePlan.describe``), "" where that has not changed.
    """

    step: int
    reason: str
    good: bool
    plan: str = ""


@dataclass(frozen=True)
class PreviewsPaid:
    """One more preview was drawn: all of them took ``share`` 0 … 1 of the time so far, early more than budgeted."""

    step: int
    share: float


@dataclass(frozen=True)
class CheckpointDue:
    """The state is whole and should be saved now, before the generator is asked to go on."""

    step: int
    reason: str  # "autosave", "asked", "stopped", "finished", "diverged"


@dataclass(frozen=True)
class Paused:
    step: int


@dataclass(frozen=True)
class Resumed:
    step: int


@dataclass(frozen=True)
class Finished:
    """No more steps: all done, or stopped by the user."""

    step: int
    images_seen: int
    stopped: bool
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """Something slow goes on before the first step; ``text`` says what."""

    text: str


Event = (
    Started
    | Carried
    | ForkForeseen
    | StepDone
    | StepSkipped
    | RolledBack
    | Probed
    | TapeStarted
    | TapeGrew
    | TapeFinished
    | ComparisonStarted
    | ComparisonFinished
    | ComparisonRefused
    | SettingChanged
    | ChangeRefused
    | SaveFailed
    | ThreadsChanged
    | MemoryFull
    | Skipped
    | CompileBegun
    | Quicker
    | PreviewsPaid
    | CheckpointDue
    | Paused
    | Resumed
    | Finished
    | Waiting
)
