"""Point sets: standardised, the same every time, and true to the densities they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.data import DataError, mixture_of, open_dataset
from ddpm_studio.data.points import SHAPES, points_dataset

MIXTURES = ("two-gaussians", "eight-gaussians", "dino")


@pytest.mark.parametrize("name", SHAPES)
def test_every_set_is_standardised_and_split(name: str) -> None:
    dataset = open_dataset(name)
    assert dataset.kind == "points"
    assert dataset.shape == (2,)
    assert (len(dataset), len(dataset.held_out)) == (20_000, 2_000)
    whole = np.concatenate([dataset.train, dataset.held_out]).astype(np.float64)
    np.testing.assert_allclose(whole.mean(axis=0), 0, atol=0.01)
    assert whole.var(axis=0).mean() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", SHAPES)
def test_the_same_points_every_time(name: str) -> None:
    np.testing.assert_array_equal(points_dataset(name, 50, 5).train, points_dataset(name, 50, 5).train)


@given(n=st.integers(1, 300), name=st.sampled_from(list(SHAPES)))
def test_any_number_of_points(n: int, name: str) -> None:
    points = SHAPES[name](n, np.random.default_rng(n))
    assert points.shape == (n, 2)
    assert points.dtype == np.float64
    assert np.isfinite(points).all()


def test_two_gaussians_are_the_tutorials() -> None:
    mixture = mixture_of("two-gaussians")
    assert mixture is not None
    np.testing.assert_allclose(mixture.means, [[-0.998752, -0.998752], [0.998752, 0.998752]], atol=1e-6)
    assert np.sqrt(mixture.variance) == pytest.approx(0.0499376, abs=1e-6)
    train = open_dataset("two-gaussians").train
    for sign in (-1, 1):
        mode = train[np.sign(train[:, 0]) == sign]
        assert len(mode) == pytest.approx(10_000, abs=100)
        np.testing.assert_allclose(mode.mean(axis=0), sign * 0.99875, atol=0.003)
        np.testing.assert_allclose(mode.std(axis=0), 0.04994, rtol=0.03)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_mixture_is_the_density_of_the_points(name: str) -> None:
    mixture = mixture_of(name)
    assert mixture is not None
    assert mixture.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture.centre, 0, atol=1e-12)
    assert mixture.scale == pytest.approx(1)
    points = open_dataset(name).train.astype(np.float64)
    square = ((points[:, None] - mixture.means) ** 2).sum(axis=2)
    # Mean log density under the mixture, of the set's own points and of fresh ones drawn from the mixture.
    fresh = mixture.draw(20_000, np.random.default_rng(1))
    fresh_square = ((fresh[:, None] - mixture.means) ** 2).sum(axis=2)

    def log_density(distances: np.ndarray) -> float:
        parts = mixture.weights * np.exp(-distances / (2 * mixture.variance)) / (2 * np.pi * mixture.variance)
        return float(np.log(parts.sum(axis=1)).mean())

    assert log_density(square) == pytest.approx(log_density(fresh_square), abs=0.04)


def test_other_sets_are_no_mixtures() -> None:
    assert mixture_of("moons") is None
    assert mixture_of("no such name") is None


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(DataError, match="choose one of two-gaussians"):
        points_dataset("circles")


def test_checkerboard_leaves_half_the_squares_empty() -> None:
    raw = SHAPES["checkerboard"](4_000, np.random.default_rng(0))
    filled = np.unique(np.floor(raw).astype(int), axis=0)
    assert len(filled) == 8
    assert set(filled.sum(axis=1) % 2) == {0}
