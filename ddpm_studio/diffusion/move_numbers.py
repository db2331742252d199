"""The numbers of one recorded move: how a sampler made the next state from x_t, ε̂ and x̂_0. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.counted_noise import gaussian_of, mix
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape


class MoveNumbers(NamedTuple):
    """The state after a move is its mean + std · z.

    with_eps: (a, b) of the mean a x_t + b ε̂; with_x0: (a, b) of the same mean a x_t + b x̂_0; None where the mean is
    no such sum, because the sampler looks at more than one estimate, or where x_t holds nothing of x_0.
    """

    with_eps: tuple[float, float] | None
    with_x0: tuple[float, float] | None
    std: float


def move_numbers(schedule: NoiseSchedule, settings: Mapping[str, Any], t: int, u: int, index: int) -> MoveNumbers:
    """The numbers of move ``index`` (the first is 1) from level t to u, as ``samplers`` makes it.

    ``settings``: of a recipe's sampler, by name. x_t = α x̂_0 + σ ε̂ holds for what every denoiser says, clipped or not.

    Raises:
        ValueError: for a sampler that is not known here, or a level that the schedule does not have.
    """
    if not 0 <= u <= t <= schedule.steps or t == 0:
        raise ValueError(f"a move from {t} to {u} does not lie in this schedule's 0 … {schedule.steps}")
    a, s = float(schedule.alpha[t]), float(schedule.sigma[t])
    a_u, s_u = float(schedule.alpha[u]), float(schedule.sigma[u])
    kind = settings["kind"]
    if kind in ("langevin", "langevin-plain"):
        step = float(settings["step_size"]) * ((s / float(schedule.sigma[-1])) ** 2 if kind == "langevin" else 1.0)
        std = math.sqrt(2 * step) if u > 0 else 0.0
        return MoveNumbers((1.0, -step / s), (1 - step / s**2, step * a / s**2), std)
    eta, variance = {
        "ddpm": (1.0, settings.get("variance", "posterior")),
        "ddim": (float(settings.get("eta", 0.0)), "posterior"),
        "euler": (0.0, "posterior"),
        "heun": (0.0, "posterior"),  # in its last move
        # in its first, from pure noise its second, and its last
        **dict.fromkeys(("dpmpp-2m", "dpmpp-3m", "unipc"), (0.0, "posterior")),
        "ipndm": (0.0, "posterior"),  # in its first and its last
    }.get(kind, (math.nan, ""))
    if math.isnan(eta):
        raise ValueError(f"no sampler is called {kind!r}")
    after_noise = 1 + (float(schedule.alpha[-1]) == 0)
    alone = {"heun": 0, "ipndm": 1, "dpmpp-2m": after_noise, "dpmpp-3m": after_noise, "unipc": after_noise}.get(
        kind, index
    )  # moves by one estimate
    if index > alone and s_u > 0:
        return MoveNumbers(None, None, 0.0)
    v = max(s**2 - (a / a_u * s_u) ** 2, 0.0)
    posterior = v * (s_u / s) ** 2
    c = math.sqrt(max(s_u**2 - eta**2 * posterior, 0.0))  # the mean is a' x̂_0 + c ε̂
    std = 0.0 if s_u == 0 else math.sqrt(v) if variance == "beta" else eta * math.sqrt(posterior)
    return MoveNumbers((a_u / a, c - a_u * s / a) if a > 0 else None, (c / s, a_u - c * a / s), std)


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
    if t is not None and tape.schedule and tape.settings:
        schedule = NoiseSchedule.named(**tape.schedule)
        numbers = move_numbers(schedule, tape.settings, t, after.t, after.index)
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
