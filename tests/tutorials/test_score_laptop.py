"""What the laptop edition of tutorial 004 must reach: both modes, in their shares, as wide as the data."""

from __future__ import annotations

import numpy as np

from ddpm_studio.data import mixture_of
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import find
from ddpm_studio.training.build import build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.trainer import train

POINTS = 10_000  # the standard error of a share is then half a per cent


def test_it_learns_shares_and_spread() -> None:
    recipe = find("score-two-gaussians-laptop").with_settings({"preview.budget": 0.0})
    session = build(recipe, dataset_of(recipe))
    for _ in train(session, Control()):
        pass
    samples = None
    for event in sample(session, Control(), recipe.sampler, POINTS, recipe.seed, "ema", "sample"):
        if isinstance(event, TapeFinished):
            samples = event.tape.frames[-1].x
    assert samples is not None
    mixture = mixture_of("two-gaussians")
    assert mixture is not None
    np.testing.assert_allclose(mixture.shares(samples), mixture.weights, atol=0.03)
    np.testing.assert_allclose(mixture.spreads(samples), mixture.variance**0.5, rtol=0.2)
