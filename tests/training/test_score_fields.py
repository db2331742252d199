"""Tapes of points carry the score that their denoiser sees, at the level of each frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ddpm_studio.data.points import mixture_of
from ddpm_studio.diffusion import NoiseSchedule, Tape
from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
from ddpm_studio.diffusion.tape import kept_indices
from ddpm_studio.recipes.sections import DDIM, Langevin
from ddpm_studio.training.control import Control
from ddpm_studio.training.sampling import FIELD_SIDE, Tone, make_grid, record


def recorded(settings: Any, schedule: NoiseSchedule, kind: str = "points", **options: Any) -> Tape:
    """A tape of the best possible denoiser of the two Gaussians."""
    mixture = mixture_of("two-gaussians")
    assert mixture is not None
    oracle = GaussianMixtureDenoiser(
        schedule, torch.from_numpy(mixture.means), mixture.variance, torch.from_numpy(mixture.weights)
    )
    tape = Tape(kind=kind, steps=schedule.steps, total=0)  # type: ignore[arg-type]
    control = Control()
    for _ in record(
        oracle,  # type: ignore[arg-type]
        settings,
        tape,
        (2,),
        count=3,
        tone=Tone(),
        control=control,
        purpose="sample",
        **options,
    ):
        pass
    return tape


@pytest.mark.parametrize(
    ("settings", "schedule"),
    [
        (DDIM(steps=7), NoiseSchedule.cosine(100)),
        (Langevin(steps=5, moves=4), NoiseSchedule.geometric(20, 0.01, 1.0)),
    ],
)
def test_the_recorded_field_of_a_perfect_network_is_the_true_score(settings: Any, schedule: NoiseSchedule) -> None:
    mixture = mixture_of("two-gaussians")
    assert mixture is not None
    tape = recorded(settings, schedule)
    grid = make_grid(settings, schedule)
    assert len(tape.frames) == len(grid)
    for frame in tape.frames:
        t = grid[max(frame.index - 1, 0)]  # where the prediction was made
        field = frame.field
        assert field is not None
        assert (field.alpha, field.sigma) == (schedule.alpha[t], schedule.sigma[t])
        true = mixture.score(field.spots, field.alpha, field.sigma).reshape(FIELD_SIDE, FIELD_SIDE, 2)
        # float32, and eps = (x - alpha x0)/sigma cancels where sigma is small
        np.testing.assert_allclose(field.score, true, rtol=1e-3, atol=1e-5 / field.sigma**2)


def test_a_tape_of_every_state_has_no_more_fields_than_another() -> None:
    settings = Langevin(steps=5, moves=60)
    schedule = NoiseSchedule.geometric(20, 0.01, 1.0)
    tape = recorded(settings, schedule, every_state=True)
    assert len(tape.frames) == 301
    assert [f.index for f in tape.frames if f.field is not None] == list(kept_indices(300))
    assert sum(f.field is not None for f in tape.frames) == 120
