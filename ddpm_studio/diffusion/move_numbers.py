"""The numbers of one recorded move: how a sampler made the next state from x_t, ε̂ and x̂_0. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.counted_noise import gaussian_of, mix
from ddpm_studio.diffusion.samplers import Place, WeightedSum, Weights, sampler_of
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape

LARGE = 10.0  # a factor above it: the other form is the one to read


class Form(NamedTuple):
    """One way to write the mean of a move: x · x_t + Σ_j weights[j] · (ε̂ or x̂_0).

    j = 0 is the estimate made in this move, j = 1 that of the move before, and so on.
    """

    of: Literal["eps", "x0"]
    x: float
    weights: tuple[float, ...]


class MoveNumbers(NamedTuple):
    """The state after a move is its mean + std · z.

    forms: ways to write the mean, the one to read first first; none where the sampler asks the network again on the
    way, of which a tape knows nothing. earlier: the levels of the estimates before this one, newest first.
    """

    forms: tuple[Form, ...]
    std: float
    earlier: tuple[int, ...] = ()


def move_numbers(schedule: NoiseSchedule, settings: Mapping[str, Any], grid: Sequence[int], index: int) -> MoveNumbers:
    """The numbers of move ``index`` (the first is 1) along ``grid``, the level of every state; as ``samplers`` make it.

    ``settings``: of a recipe's sampler, by name. x_t = α x̂_0 + σ ε̂ holds for what every denoiser says, clipped or not.

    Raises:
        ValueError: for a sampler that is not known here, a move that the grid does not have, or a level that the
            schedule does not have.
    """
    if not 1 <= index < len(grid):
        raise ValueError(f"a grid of {len(grid)} levels has no move {index}")
    t, u = grid[index - 1], grid[index]
    if not 0 <= u <= t <= schedule.steps or t == 0:
        raise ValueError(f"a move from {t} to {u} does not lie in this schedule's 0 … {schedule.steps}")
    sampler = sampler_of(settings)
    earlier = tuple(grid[: index - 1][::-1][: sampler.memory])
    place = Place(schedule, t, u, earlier, len(grid) - 1 - index if grid[-1] == 0 else math.inf)
    if isinstance(sampler, WeightedSum):
        weights = sampler.weights(place)
    elif u == 0:  # to the clean level every rule goes by one estimate
        weights = Weights(x0=(float(schedule.alpha[0]),))
    else:
        return MoveNumbers((), 0.0)
    a, s, _, _ = place.levels
    forms = _forms(weights, a, s)
    return MoveNumbers(forms, weights.std, earlier[: max(len(form.weights) for form in forms) - 1])


def _forms(weights: Weights, a: float, s: float) -> tuple[Form, ...]:
    """Written with ε̂ and with x̂_0, by x_t = a x̂_0 + s ε̂; one of them where estimates of before are of one kind."""
    x0, *x0_before = weights.x0 or (0.0,)
    eps, *eps_before = weights.eps or (0.0,)
    forms = []
    if a > 0 and not any(x0_before):
        forms.append(Form("eps", weights.x + x0 / a, (eps - x0 * s / a, *eps_before)))
    if not any(eps_before):
        forms.append(Form("x0", weights.x + eps / s, (x0 - eps * a / s, *x0_before)))
    # near the top of a schedule a is next to nothing, and the sum with ε̂ is a difference of thousands
    return tuple(sorted(forms, key=lambda form: abs(form.x) > LARGE))


class RecordedMove(NamedTuple):
    """Move ``number`` (the first is 1) from level t to u, as far as a tape knows it.

    x: the state it began with, None if the tape left that one out. after: the frame that it led to. numbers: None
    on a tape that does not say how it was made.
    """

    number: int
    t: int | None
    u: int
    x: Frame | None
    after: Frame
    numbers: MoveNumbers | None


def recorded_move(tape: Tape, position: int) -> RecordedMove | None:
    """The move that begins at the frame at ``position``; at the end, the last one. None before there is any."""
    frames = tape.frames[: len(tape.frames)]
    place = min(position, len(frames) - 2)
    if place < 0 or frames[place + 1].eps is None:
        return None
    before, after = frames[place], frames[place + 1]
    whole = after.index == before.index + 1
    t = before.t if whole else tape.grid[after.index - 1] if 0 < after.index <= len(tape.grid) else None
    numbers = None
    if tape.schedule and tape.settings and after.index < len(tape.grid):
        numbers = move_numbers(NoiseSchedule.named(**tape.schedule), tape.settings, tape.grid, after.index)
    return RecordedMove(after.index, t, after.t, before if whole else None, after, numbers)


def noise_added(tape: Tape, move: RecordedMove, item: int) -> NDArray[np.float32] | None:
    """z of one item in a move: float32 (H, W, C) or (2,); None if none was added, or if that is not known.

    A sampler that adds noise does so in every move but the last, so the number of a move is that of its draw.
    """
    if move.numbers is None or move.numbers.std == 0:
        return None
    shape = move.after.x.shape[1:]
    seed = mix(tape.seed, item)
    if len(shape) == 1:
        return gaussian_of(seed, move.number, shape)
    high, wide, channels = shape
    return gaussian_of(seed, move.number, (channels, high, wide)).transpose(1, 2, 0)
