"""How many network calls a preview takes: as many as its budget has room for, chosen once for all rows."""

from __future__ import annotations

import time

import torch

from ddpm_studio.recipes.sections import Sampler
from ddpm_studio.training.build import Session
from ddpm_studio.training.compute import THREAD_CLOCK

FEWEST, MOST = 6, 20  # with fewer nothing is seen, with more nothing new
EVERY = 10.0  # seconds of training from one preview to the next that the budget should pay for
SHORT = 0.1  # seconds; a longer call is not tried again


def calls_that_fit(share: float, seconds: float) -> int:
    """Network calls of ``seconds`` each whose cost is ``share`` of ``EVERY`` seconds of training, 6 … 20."""
    return max(FEWEST, min(MOST, int(share * EVERY / seconds)))


def preview_sampler(session: Session, weights: str) -> Sampler:
    """The sampler section of the session's previews; where the recipe leaves the steps open, a measured choice.

    The choice stays with the session and its saved states: rows of other steps go through other levels.
    """
    recipe = session.recipe
    if recipe.preview.steps is None and session.preview_calls == 0:
        session.preview_calls = calls_that_fit(recipe.preview.budget / 100, call_seconds(session, weights))
    return recipe.preview_sampler(session.preview_calls)


@torch.no_grad()
def call_seconds(session: Session, weights: str) -> float:
    """How long one network call for the items of a preview takes: the shortest of three, for the first warms up.

    A processor is asked for the time of this thread: the rows of a run are not coarser because it began while other
    programs were busy. The budget itself is paid in real seconds.
    """
    clock = THREAD_CLOCK if session.plan.device.type == "cpu" else time.perf_counter
    denoiser = session.sampling_denoiser(weights)
    count, device = session.recipe.preview.count, session.plan.device
    x = torch.zeros(count, *session.shape, device=device)
    label = torch.arange(count, device=device) % session.classes if session.classes else None
    shortest = float("inf")
    for _ in range(3):
        start = clock()
        float(denoiser(x, session.schedule.steps, label).eps.sum())  # waits for a card
        shortest = min(shortest, clock() - start)
        if shortest > SHORT and not session.plan.graphs:  # a card first chooses its algorithms, and then records
            break
    return max(shortest, 1e-9)
