"""Many samples for a measurement: no tape, only the last state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ddpm_studio.data.dataset import Cancelled
from ddpm_studio.training.build import Session
from ddpm_studio.training.sampling import Tone, item_seeds, make_grid, make_sampler, to_uint8
from ddpm_studio.training.walks import walk

_BATCH = 250


def draw(
    session: Session,
    settings: Any,
    count: int,
    *,
    seed: int = 0,
    weights: str = "ema",
    progress: Callable[[int, int], bool] | None = None,
) -> NDArray[Any]:
    """``count`` items with the session's weights of this moment: pictures uint8 (count, H, W, C), points float32
    (count, 2).

    ``settings`` is a sampler section of a recipe. Item i is the one that ``sample`` draws from the same seed. Where
    the network knows classes, they are asked for in turn. ``progress`` is called with (done, count) after each batch.

    Raises:
        Cancelled: if ``progress`` returned False.
    """
    sampler = make_sampler(settings)
    # Clipping x0 inside a multistep rule spoils what it extrapolates from.
    clip = sampler.memory == 0
    denoiser, again = session.sampling_denoiser(weights, clip=clip), session.again(weights, clip=clip)
    grid, device, tone = make_grid(settings, session.schedule), session.plan.device, Tone.of(session.recipe)
    seeds, parts = item_seeds(seed, count), []
    for start in range(0, count, _BATCH):
        mine = seeds[start : start + _BATCH]
        label = torch.arange(start, start + len(mine), device=device) % session.classes if session.classes else None
        steps = walk(
            denoiser, grid, sampler, session.shape,
            seeds=mine, stops=(len(grid) - 1,), label=label, device=device, again=again,
        )  # fmt: skip
        x = None
        for step in steps:
            x = step.x
        assert x is not None
        parts.append(to_uint8(x, tone) if x.dim() == 4 else x.float().cpu().numpy())
        if progress is not None and not progress(start + len(mine), count):
            raise Cancelled
    return np.concatenate(parts)
