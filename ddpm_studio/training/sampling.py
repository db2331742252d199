"""Sampling from a session: with one sampler or several side by side, on tapes that grow frame by frame."""

from __future__ import annotations

import math
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ddpm_studio.diffusion.denoiser import Denoiser
from ddpm_studio.diffusion.noise import mix
from ddpm_studio.diffusion.reel import CAP
from ddpm_studio.diffusion.reverse import ReverseStep, start_noise
from ddpm_studio.diffusion.samplers import Sampler, sampler_of
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import FRAMES, Frame, ScoreField, Tape, kept_indices, lattice
from ddpm_studio.diffusion.timesteps import timestep_grid
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.training.build import VALUE_RANGES, Session
from ddpm_studio.training.control import Comparison, Control
from ddpm_studio.training.events import (
    ComparisonFinished,
    ComparisonStarted,
    Event,
    Paused,
    Quicker,
    Resumed,
    TapeFinished,
    TapeGrew,
    TapeStarted,
)
from ddpm_studio.training.leaving import Leaving
from ddpm_studio.training.memory import is_out_of_memory
from ddpm_studio.training.walks import Again, walk

COMPARED = CAP // 2  # bytes of all cells of a comparison
FIELD_SIDE, FIELD_REACH = 20, 2.5  # of the lattice on which the score of points is recorded


def make_sampler(settings: Any) -> Sampler:
    """The rule for a recipe's sampler section."""
    return sampler_of(settings.model_dump())


def make_grid(settings: Any, schedule: NoiseSchedule) -> list[int]:
    """The levels that a recipe's sampler section visits; Langevin dynamics stays for many moves at each."""
    if settings.kind == "langevin-plain":
        return [settings.level] * (settings.steps + 1)  # noise to the end: it never leaves its level
    end = getattr(settings, "end_level", 0)
    grid = timestep_grid(schedule, min(settings.steps, schedule.steps - end), settings.spacing, end=end)
    if settings.kind == "langevin":
        return [t for t in grid[:-1] for _ in range(settings.moves)] + grid[-1:]
    return grid


class Tone(NamedTuple):
    """How values become grey levels: low … high to 0 … 255, the nearest or the one below, maybe as a negative."""

    low: float = -1.0
    high: float = 1.0
    truncate: bool = False
    inverted: bool = False

    @classmethod
    def of(cls, recipe: Recipe) -> Tone:
        data = recipe.data
        return cls(*VALUE_RANGES[data.value_range], data.grey_levels == "truncate", data.inverted)


NOISE_TONE = Tone(-2.5, 2.5)  # 99 % of a normal


def sample(
    session: Session,
    control: Control,
    settings: Any,
    count: int,
    seed: int,
    weights: str,
    purpose: str,
    *,
    every_state: bool = False,
    most: int = FRAMES,
    tape: Tape | None = None,
) -> Iterator[Event]:
    """Sample with the session's weights of this moment, recorded on ``tape`` or a new one; tells the session's news.

    ``settings`` is a sampler section of a recipe; ``weights`` is "ema" or "raw".
    """
    tape = tape or _new_tape(Origin.of(session), settings, seed, weights)
    # Clipping x0 inside a multistep rule spoils what it extrapolates from.
    clip = make_sampler(settings).memory == 0
    drawn = record(
        session.sampling_denoiser(weights, clip=clip),
        settings,
        tape,
        session.shape,
        count=count,
        tone=Tone.of(session.recipe),
        control=control,
        purpose=purpose,
        every_state=every_state,
        most=most,
        classes=session.classes,
        device=session.plan.device,
        again=session.again(weights, clip=clip),
    )
    for event in drawn:
        yield event
        yield from session.news()


class SourceError(RuntimeError):
    """What a cell is to be sampled with cannot be had; one sentence."""


class Origin(NamedTuple):
    """What is known of a cell's network before it is loaded; ``step`` is how long it was trained."""

    recipe: Recipe
    kind: Literal["pictures", "points"]
    shape: tuple[int, ...]  # of an item: (C, H, W) or (D,)
    step: int

    @classmethod
    def of(cls, session: Session) -> Origin:
        return cls(session.recipe, session.data.kind, session.shape, session.step)


class Sources:
    """Where the cells of a comparison get their networks: these know the session in hand alone, the engine's open more.

    Raises:
        SourceError: from ``origin`` and ``open``, where there is no such checkpoint or run.
    """

    def __init__(self, session: Session | None) -> None:
        self.session = session

    def origin(self, cell: Cell) -> Origin:
        """Loads no network."""
        return Origin.of(self.open(cell))

    def open(self, cell: Cell) -> Session:
        """The session to sample ``cell`` with; the one before is not needed any more."""
        if self.session is None or cell.run is not None or cell.checkpoint is not None:
            raise SourceError(f"{cell.label} is on disk, and here is nothing but the network in hand")
        return self.session

    def forget(self) -> None:
        """Let go of what was opened beside the session in hand."""


def compare(sources: Sources, control: Control, comparison: Comparison) -> Iterator[Event]:
    """Sample cell after cell, each on a tape of its own. Those of one checkpoint follow each other: it is loaded once.

    Tapes have fewer frames than others where all of them would take more than ``COMPARED`` bytes.
    Before anything is sampled it is known that every cell can be, and starts from the same noise as the others of its
    seed. ``control`` stops it between two moves; a pause takes effect between two cells.

    Raises:
        SourceError: if a cell's checkpoint or run cannot be used. It comes after ``ComparisonFinished`` if the
            comparison has begun.
    """
    try:
        yield from _compare(sources, control, comparison)
    finally:
        sources.forget()


def _compare(sources: Sources, control: Control, comparison: Comparison) -> Iterator[Event]:
    begun = time.perf_counter()
    cells = comparison.cells
    origins = [sources.origin(cell) for cell in cells]
    _require_one_noise(cells, origins)
    name = uuid.uuid4().hex  # no chance of the run: it only holds the tapes together
    tapes = tuple(_cell_tape(cell, origin, name) for cell, origin in zip(cells, origins, strict=True))
    schedules = [NoiseSchedule.named(**origin.recipe.schedule.model_dump()) for origin in origins]
    calls = tuple(network_calls(cell.settings, own) for cell, own in zip(cells, schedules, strict=True))
    yield ComparisonStarted(tapes, calls)
    failed: SourceError | None = None
    told: set[str] = set()
    asked_in_a_pause = control.paused  # which it does not wait for
    try:
        for i in _by_checkpoint(cells):
            asked_in_a_pause = asked_in_a_pause and control.paused
            if control.paused and not asked_in_a_pause:
                yield from _pause(control, sources.session.step if sources.session else origins[i].step)
            if control.comparison_stopped:
                break
            cell, session = cells[i], sources.open(cells[i])
            drawn = sample(
                session,
                control,
                cell.settings,
                comparison.count,
                cell.seed,
                cell.weights,
                "compare",
                most=min(FRAMES, _frames_that_fit(comparison, origins[0])),
                tape=tapes[i],
            )
            for event in drawn:
                if isinstance(event, Quicker):  # each session that is opened has the same to tell
                    if event.reason in told:
                        continue
                    told.add(event.reason)
                yield event
    except SourceError as error:
        failed = error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        failed = SourceError(f"{cells[i].label} does not fit into memory: compare fewer items")
    yield ComparisonFinished(tapes, not all(tape.complete for tape in tapes), time.perf_counter() - begun)
    if failed is not None:
        raise failed


def _frames_that_fit(comparison: Comparison, origin: Origin) -> int:
    """How many frames each cell may keep, so that together they take at most ``COMPARED`` bytes; at least 2."""
    item = math.prod(origin.shape) * (4 if origin.kind == "points" else 1)
    field = 8 * FIELD_SIDE**2 if origin.kind == "points" else 0
    return max(2, COMPARED // (len(comparison.cells) * (3 * comparison.count * item + field)))


def _pause(control: Control, step: int) -> Iterator[Event]:
    yield Paused(step)
    while control.paused and not control.comparison_stopped:
        control.hold()
    if not (control.paused or control.stopping):
        yield Resumed(step)


def _by_checkpoint(cells: Sequence[Cell]) -> list[int]:
    """The places of the cells, those of one checkpoint together, in the order in which each comes first."""
    wanted = [(cell.run, cell.checkpoint) for cell in cells]
    return sorted(range(len(cells)), key=lambda i: wanted.index(wanted[i]))


def _require_one_noise(cells: Sequence[Cell], origins: Sequence[Origin]) -> None:
    """Items of another shape start from other noise, so there would be nothing to compare."""
    first = origins[0]
    for cell, origin in zip(cells, origins, strict=True):
        if (origin.kind, origin.shape) != (first.kind, first.shape):
            raise SourceError(
                f"{cell.label} makes {_items(origin)}, and {cells[0].label} makes {_items(first)}, which cannot start "
                "from the same noise: compare runs of one kind and size"
            )


def _items(origin: Origin) -> str:
    if origin.kind == "points":
        return f"points in {origin.shape[0]}-D"
    channels, height, width = origin.shape
    return f"pictures of {width} × {height} in {'grey' if channels == 1 else 'colour'}"


def network_calls(settings: Any, schedule: NoiseSchedule) -> int:
    """How often a recipe's sampler section asks the network in one process."""
    grid, calls = make_grid(settings, schedule), make_sampler(settings).calls
    spared = calls - 1 if schedule.sigma[grid[-1]] == 0 else 0  # no second call at the clean level
    return calls * (len(grid) - 1) - spared


def _cell_tape(cell: Cell, origin: Origin, comparison: str) -> Tape:
    tape = _new_tape(origin, cell.settings, cell.seed, cell.weights)
    tape.label, tape.row, tape.column, tape.comparison = cell.label, cell.row, cell.column, comparison
    tape.row_key, tape.column_key = cell.row_key, cell.column_key
    return tape


def _new_tape(origin: Origin, settings: Any, seed: int, weights: str) -> Tape:
    return Tape(
        kind=origin.kind,
        steps=origin.recipe.schedule.steps,
        total=0,
        title=origin.recipe.title,
        training_step=origin.step,
        weights="raw" if weights == "raw" else "ema",
        sampler=settings.kind,
        seed=seed,
        schedule=origin.recipe.schedule.model_dump(),
        settings=settings.model_dump(),
        averaged=origin.recipe.training.ema_decay > 0,
    )


def item_seeds(seed: int, count: int) -> list[int]:
    """A seed for each item: item i has the same noise in every process that starts from ``seed``."""
    return [mix(seed, i) for i in range(count)]


def record(
    denoiser: Denoiser,
    settings: Any,
    tape: Tape,
    shape: Sequence[int],
    *,
    count: int,
    tone: Tone,
    control: Control,
    purpose: str,
    every_state: bool = False,
    most: int = FRAMES,
    classes: int = 0,
    device: torch.device | str = "cpu",
    again: Again | None = None,
) -> Iterator[Event]:
    """Run one reverse process and keep its states on ``tape``, at most ``most`` of them unless ``every_state``.

    ``settings`` is a sampler section of a recipe. Every sampler starts from the same noise of level T. It stops
    between two moves when ``control`` says so; a pause comes after it. With ``classes`` items are asked for class
    0, 1, 2, … in turn. At most 120 frames of points carry the score field, one small network call each. ``again``: see
    ``walk``.
    """
    start = time.perf_counter()
    schedule = denoiser.schedule
    grid = make_grid(settings, schedule)
    sampler = make_sampler(settings)
    fewer = set(kept_indices(len(grid) - 1, most))
    kept = set(range(len(grid))) if every_state else fewer
    fields = fewer if tape.kind == "points" and not classes else set()
    tape.total, tape.grid = len(kept), [int(t) for t in grid]
    label = torch.arange(count, device=device) % classes if classes else None
    yield TapeStarted(tape, purpose, network_calls(settings, schedule))
    seeds = item_seeds(tape.seed, count)
    x = start_noise(schedule, schedule.steps, seeds, shape, device=device)
    steps = walk(denoiser, grid, sampler, shape, seeds=seeds, stops=kept, x=x, label=label, device=device, again=again)
    spots = torch.from_numpy(lattice(FIELD_SIDE, FIELD_REACH)).float().to(device)
    leaving, coming = Leaving(device), deque[Callable[[], Frame]]()
    for step in steps:
        tape.calls, tape.seconds = step.nfe, time.perf_counter() - start
        if step.index in kept:
            score = score_at(denoiser, step.t_from, spots) if step.index in fields else None
            coming.append(send_frame(leaving, step, schedule, tape.kind, tone, score))
        while len(coming) > leaving.ahead:
            tape.frames.append(coming.popleft()())
            yield TapeGrew(tape)
        enough = control.comparison_stopped if purpose == "compare" else control.stopping
        if enough and step.index < step.total:
            break
    for frame in coming:
        tape.frames.append(frame())
        yield TapeGrew(tape)
    yield TapeFinished(tape, purpose, time.perf_counter() - start)


@torch.no_grad()
def score_at(denoiser: Denoiser, t: int, spots: Tensor) -> Tensor:
    """The score -eps/sigma_t as ``denoiser`` sees it at level t > 0: float32 (n, 2), of points (n, 2)."""
    return (-denoiser(spots, t).eps / float(denoiser.schedule.sigma[t])).float()


def send_frame(
    leaving: Leaving, step: ReverseStep, schedule: NoiseSchedule, kind: str, tone: Tone, score: Tensor | None = None
) -> Callable[[], Frame]:
    """A state as it is shown, sent off now: to be called for when the next state is being computed.

    Each array is new, so frames can be kept while the process goes on. ``score``: of the places of the lattice at the
    level where the prediction was made.
    """
    shown: list[Tensor | None]
    if kind == "points":
        shown = [*(None if v is None else v.float() for v in (step.x, step.x0, step.eps)), None]
    else:
        # A variance-exploding state is shown divided by its growing spread; elsewhere this divides by 1.
        alpha, sigma = float(schedule.alpha[step.t]), float(schedule.sigma[step.t])
        shown = [
            _grey_levels(step.x / max(1.0, (alpha**2 + sigma**2) ** 0.5), tone),
            None if step.x0 is None else _grey_levels(step.x0, tone),
            None if step.eps is None else _grey_levels(step.eps, NOISE_TONE),
            None if step.eps is None else step.eps.float().flatten(1).square().mean(1).sqrt(),
        ]
    coming = leaving([*shown, score])

    def arrived() -> Frame:
        x, x0, eps, rms, arrows = coming()
        assert x is not None
        field: ScoreField | None = None
        if arrows is not None:
            alpha, sigma = float(schedule.alpha[step.t_from]), float(schedule.sigma[step.t_from])
            field = ScoreField(arrows.reshape(FIELD_SIDE, FIELD_SIDE, 2), alpha, sigma, FIELD_REACH)
        return Frame(step.index, step.t, x, x0, eps, field, rms)

    return arrived


def to_uint8(x: Tensor, tone: Tone) -> NDArray[np.uint8]:
    """float (N, C, H, W) → uint8 (N, H, W, C), clamped, contiguous."""
    return np.ascontiguousarray(_grey_levels(x, tone).cpu().numpy())


def _grey_levels(x: Tensor, tone: Tone) -> Tensor:
    grey = (x - tone.low) * (255 / (tone.high - tone.low))
    if tone.inverted:
        grey = 255 - grey
    grey = (grey if tone.truncate else grey.round()).clamp(0, 255).to(torch.uint8)
    return grey.permute(0, 2, 3, 1).contiguous()
