"""Point sets: standardised, the same every time, and true to the densities they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.data import DataError, Mixture, mixture_of, open_dataset
from ddpm_studio.data.points import SHAPES, points_dataset

MIXTURES = ("two-gaussians", "uneven-gaussians", "eight-gaussians", "dino")


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


def mixture(name: str) -> Mixture:
    found = mixture_of(name)
    assert found is not None
    return found


@given(n=st.integers(1, 400), seed=st.integers(0, 99), weight=st.floats(0.01, 0.99))
def test_each_component_gets_its_share(n: int, seed: int, weight: float) -> None:
    uneven = Mixture(np.array([[-9.0, 0.0], [9.0, 0.0]]), 0.01, np.array([weight, 1 - weight]))
    assert abs((uneven.draw(n, np.random.default_rng(seed))[:, 0] < 0).sum() - n * weight) <= 1 + 1e-9


def test_uneven_gaussians() -> None:
    uneven, points = mixture("uneven-gaussians"), open_dataset("uneven-gaussians").train
    # Centre -1.2, scale sqrt(2.56 + 0.01).
    np.testing.assert_allclose(uneven.means[:, 0], [-0.8 / np.sqrt(2.57), 3.2 / np.sqrt(2.57)])
    np.testing.assert_allclose(uneven.shares(points), [0.8, 0.2], atol=0.002)
    np.testing.assert_allclose(uneven.spreads(points), np.sqrt(uneven.variance), rtol=0.02)


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize(("alpha", "sigma"), [(1.0, 0.0), (1.0, 0.3), (0.6, 0.8), (0.0, 1.0), (1.0, 20.0)])
def test_the_score_is_the_slope_of_the_log_density(name: str, alpha: float, sigma: float) -> None:
    known = mixture(name)
    x = np.random.default_rng(2).uniform(-2, 2, (200, 2))
    h = 1e-5 * max(sigma, np.sqrt(known.variance))
    slope = np.stack(
        [
            (known.log_density(x + step, alpha, sigma) - known.log_density(x - step, alpha, sigma)) / (2 * h)
            for step in h * np.eye(2)
        ],
        axis=1,
    )
    score = known.score(x, alpha, sigma)
    np.testing.assert_allclose(score, slope, atol=2e-5 * np.abs(score).max())


@pytest.mark.parametrize("name", MIXTURES)
def test_the_density_has_mass_one_and_the_known_values(name: str) -> None:
    known = mixture(name)
    side = np.linspace(-4, 4, 401)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    mass = np.exp(known.log_density(grid, 0.8, 0.2)).sum() * (side[1] - side[0]) ** 2
    assert mass == pytest.approx(1, abs=1e-4)
    parts = np.exp(-((grid[::97, None] - known.means) ** 2).sum(axis=2) / (2 * (known.variance + 1)))
    plain = np.log(parts @ known.weights / (2 * np.pi * (known.variance + 1)))
    np.testing.assert_allclose(known.log_density(grid[::97], 1, 1), plain, rtol=1e-10)


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("level", [1, 300, 1000])
def test_the_score_is_that_of_the_closed_form_denoiser(name: str, level: int) -> None:
    import torch

    from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
    from ddpm_studio.diffusion.schedule import NoiseSchedule

    known = mixture(name)
    schedule = NoiseSchedule.from_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))
    oracle = GaussianMixtureDenoiser(
        schedule, torch.from_numpy(known.means), known.variance, torch.from_numpy(known.weights)
    )
    alpha, sigma = float(schedule.alpha[level]), float(schedule.sigma[level])
    x = np.random.default_rng(3).normal(0, 1.5, (300, 2))
    eps = oracle(torch.from_numpy(x), level).eps.numpy()
    np.testing.assert_allclose(known.score(x, alpha, sigma), -eps / sigma, rtol=1e-6, atol=1e-8)


def test_far_away_the_score_still_points_home() -> None:
    score = mixture("two-gaussians").score(np.array([[1e9, 1e9], [-1e9, -1e9]], np.float32))
    assert score.dtype == np.float64
    assert np.isfinite(score).all()
    assert (np.sign(score) == [[-1, -1], [1, 1]]).all()


def test_without_spread_there_is_no_density() -> None:
    for method in (mixture("two-gaussians").score, mixture("dino").log_density):
        with pytest.raises(ValueError, match="no density"):
            method(np.zeros((1, 2)), 0.0, 0.0)


@pytest.mark.parametrize("name", MIXTURES)
def test_shares_and_spreads_of_its_own_points(name: str) -> None:
    known = mixture(name)
    points = known.draw(40_000, np.random.default_rng(4))
    if name != "dino":  # its dots overlap
        np.testing.assert_allclose(known.shares(points), known.weights, atol=1e-4)
        np.testing.assert_allclose(known.spreads(points), np.sqrt(known.variance), rtol=0.04)
        np.testing.assert_array_equal(known.nearest(known.means), np.arange(len(known.means)))
    assert known.shares(points).sum() == pytest.approx(1)


def test_shares_and_spreads_of_few_and_of_lost_points() -> None:
    two = mixture("two-gaussians")
    lost = np.array([[1.0, 1.2], [1.0, 0.8], [np.nan, 0.0], [np.inf, 1.0]])
    assert two.nearest(lost).tolist() == [1, 1, -1, -1]
    assert two.shares(lost).tolist() == [0, 0.5]
    np.testing.assert_allclose(two.spreads(lost), [np.nan, np.sqrt(0.02)])
    assert two.shares(np.zeros((0, 2))).tolist() == [0, 0]


def test_a_heavier_component_reaches_further() -> None:
    uneven = mixture("uneven-gaussians")
    middle = uneven.means.mean(axis=0, keepdims=True)
    assert uneven.nearest(middle).tolist() == [0]
    assert mixture("two-gaussians").nearest(np.array([[0.001, 0.0]])).tolist() == [1]


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
