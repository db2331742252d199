"""Samples for a measurement are the ones that a tape would show."""

from __future__ import annotations

import numpy as np
import pytest

from ddpm_studio.data import Dataset
from ddpm_studio.data.dataset import Cancelled
from ddpm_studio.evaluation.samples import draw
from ddpm_studio.recipes import find
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.trainer import train


@pytest.fixture(scope="module")
def session() -> Session:
    """A conditional network after a few steps, so that noise and class labels both matter."""
    recipe = find("fashion-mnist").with_settings(
        {
            "network.channels": (16, 16),
            "network.class_label": True,
            "training.steps": 6,
            "training.warmup": 0,
            "training.batch": 8,
            "compute.precision": "float32",
            "compute.device": "cpu",
            "compute.threads": 1,
            "preview.budget": 0.0,
        }
    )
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (24, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(24) % 3
    dataset = Dataset("noise", "pictures", pictures, pictures[:3], labels, labels[:3], ("a", "b", "c"))
    made = build(recipe, dataset)
    for _ in train(made, Control()):
        pass
    return made


@pytest.mark.parametrize(("kind", "weights"), [("ddpm", "ema"), ("dpmpp-2m", "raw")])
def test_the_same_pictures_as_on_a_tape_whatever_the_batch(
    session: Session, monkeypatch: pytest.MonkeyPatch, kind: str, weights: str
):
    monkeypatch.setattr("ddpm_studio.evaluation.samples._BATCH", 4)
    settings = session.recipe.with_settings({"sampler.kind": kind, "sampler.steps": 4}).sampler
    drawn = draw(session, settings, 7, seed=5, weights=weights)
    events = sample(session, Control(), settings, 7, 5, weights, "sample")
    tape = next(event.tape for event in events if isinstance(event, TapeFinished))
    last = tape.frames[-1].x
    assert drawn.dtype == np.uint8
    assert drawn.shape == (7, 8, 8, 1)
    assert np.abs(drawn.astype(int) - last).max() <= 1  # another batch rounds otherwise
    assert (draw(session, settings, 7, seed=6, weights=weights) != drawn).mean() > 0.5


def test_points_are_given_as_they_are(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ddpm_studio.evaluation.samples._BATCH", 4)
    recipe = find("two-gaussians").with_settings({"network.width": 16, "compute.threads": 1, "sampler.steps": 3})
    random = np.random.default_rng(0)
    values = random.standard_normal((20, 2), dtype=np.float32)
    points = build(recipe, Dataset("points", "points", values, values[:4]))
    drawn = draw(points, recipe.sampler, 7, seed=5)
    events = sample(points, Control(), recipe.sampler, 7, 5, "ema", "sample")
    tape = next(event.tape for event in events if isinstance(event, TapeFinished))
    assert (drawn.dtype, drawn.shape) == (np.float32, (7, 2))
    assert drawn == pytest.approx(tape.frames[-1].x, abs=1e-4)


def test_it_can_be_cancelled(session: Session, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ddpm_studio.evaluation.samples._BATCH", 2)
    told: list[tuple[int, int]] = []

    def progress(done: int, count: int) -> bool:
        told.append((done, count))
        return done < 4

    with pytest.raises(Cancelled):
        draw(session, session.recipe.sampler, 7, progress=progress)
    assert told == [(2, 7), (4, 7)]
