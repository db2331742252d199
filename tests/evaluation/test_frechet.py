"""Distances against closed forms, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.evaluation.frechet import floor, frechet, kernel_distance


def exact(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Normal rows whose sample mean and covariance are exactly the wished ones."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(rows.T @ rows / (count - 1))).T
    return mean + rows @ np.linalg.cholesky(covariance).T


def some_covariance(size: int, seed: int) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T / size + 0.1 * np.eye(size)


def test_only_the_mean_differs():
    covariance = some_covariance(5, 0)
    shift = np.array([3.0, 0, 0, -4.0, 0])
    assert frechet(exact(np.zeros(5), covariance, 600, 1), exact(shift, covariance, 700, 2)) == pytest.approx(25)


def test_axis_parallel_normals():
    """Σ (σ_a - σ_b)² for diagonal covariances."""
    a, b = np.array([1.0, 4.0, 0.25]), np.array([9.0, 1.0, 0.25])
    got = frechet(exact(np.zeros(3), np.diag(a), 500, 1), exact(np.ones(3), np.diag(b), 500, 2))
    assert got == pytest.approx(3 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum())


def test_two_dimensions_that_do_not_commute():
    """In two dimensions tr (A B)^½ = √(tr A B + 2 √det A B)."""
    a, b = np.array([[2.0, 1.2], [1.2, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])
    root = np.sqrt(np.trace(a @ b) + 2 * np.sqrt(np.linalg.det(a @ b)))
    got = frechet(exact(np.zeros(2), a, 500, 1), exact(np.zeros(2), b, 500, 2))
    assert got == pytest.approx(np.trace(a + b) - 2 * root)


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_invariances(seed: int, scale: float):
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(500, 8)), 1 + random.normal(size=(600, 8)) @ random.normal(size=(8, 8))
    distance = frechet(a, b)
    turn = np.linalg.qr(random.normal(size=(8, 8)))[0]
    shift = 10 * random.normal(size=8)
    assert frechet(b, a) == pytest.approx(distance)
    assert frechet(random.permutation(a), b) == pytest.approx(distance)
    assert frechet(a @ turn + shift, b @ turn + shift) == pytest.approx(distance)
    assert frechet(scale * a, scale * b) == pytest.approx(scale**2 * distance)
    assert kernel_distance(random.permutation(a), b) == pytest.approx(kernel_distance(a, b))
    assert kernel_distance(b, a) == pytest.approx(kernel_distance(a, b))


def test_a_set_has_no_distance_to_itself_even_where_features_never_move():
    rows = np.random.default_rng(0).normal(size=(500, 128))
    rows[:, 40:] = rows[:, :1]  # most of the covariance has no root but 0
    assert frechet(rows, rows) < 1e-9 * (rows**2).sum(1).mean()


def test_stable_where_there_are_few_more_rows_than_features():
    """N = 500 and D = 128: the value is near what arithmetic in higher precision would give."""
    random = np.random.default_rng(3)
    a, b = random.normal(size=(500, 128)) * np.logspace(0, -6, 128), random.normal(size=(500, 128)) * 1e-3
    eigenvalues = np.linalg.eigvals(np.cov(a.T).astype(np.longdouble).astype(np.float64) @ np.cov(b.T))
    apart = a.mean(0) - b.mean(0)
    plain = apart @ apart + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T)) - 2 * np.sqrt(eigenvalues.real.clip(0)).sum()
    assert frechet(a, b) == pytest.approx(plain, rel=1e-6)


def test_the_bias_falls_as_one_over_n_and_the_kernel_distance_has_none():
    random = np.random.default_rng(0)
    truth = random.normal(size=(20_000, 32))
    sets = {n: [random.normal(size=(n, 32)) for _ in range(6)] for n in (500, 2000)}
    fd = {n: np.mean([frechet(truth, rows) for rows in found]) for n, found in sets.items()}
    kid = [kernel_distance(truth[:4000], rows) for rows in sets[500]]
    assert fd[500] / fd[2000] == pytest.approx(4, rel=0.25)
    assert min(kid) < 0 < max(kid)
    assert abs(np.mean(kid)) < 3 * np.std(kid, ddof=1)


def test_the_kernel_distance_is_the_mean_over_pairs():
    random = np.random.default_rng(1)
    a, b = random.normal(size=(1203, 3)), random.normal(size=(5, 3)) + 1  # more than a block

    def mean(x: np.ndarray, y: np.ndarray, same: bool) -> float:
        kernel = (x @ y.T / 3 + 1) ** 3
        return float(kernel[~np.eye(len(x), dtype=bool)].mean()) if same else float(kernel.mean())

    assert kernel_distance(a, b) == pytest.approx(mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False))


def test_the_floor_is_the_distance_at_no_more_than_the_held_out_count():
    random = np.random.default_rng(2)
    train, held_out = random.normal(size=(2000, 4)), random.normal(size=(500, 4))
    assert floor(train, held_out, 1000) == (frechet(train, held_out), 500)
    assert floor(train, held_out, 200) == (frechet(train, held_out[:200]), 200)


@pytest.mark.parametrize("wrong", [np.zeros((1, 4)), np.zeros((9, 3)), np.zeros(4), np.full((9, 4), np.nan)])
def test_what_has_no_distance_is_refused(wrong: np.ndarray):
    for distance in (frechet, kernel_distance):
        with pytest.raises(ValueError, match=r"rows|finite"):
            distance(np.random.default_rng(0).normal(size=(9, 4)), wrong)
