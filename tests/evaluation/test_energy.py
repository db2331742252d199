"""Energy distance against sums by hand and the closed form of normal distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.evaluation import energy
from ddpm_studio.evaluation.energy import energy_distance


def test_four_points_by_hand() -> None:
    a, b = np.array([[0.0], [1.0]]), np.array([[2.0], [4.0]])
    # E|X − Y| = (2 + 4 + 1 + 3) / 4; within a 1, within b 2
    assert energy_distance(a, b) == pytest.approx(2 * 2.5 - 1 - 2)


@pytest.mark.parametrize("apart", [0.0, 0.5, 2.0])
def test_two_normal_distributions(apart: float) -> None:
    """|N(m, 2)| has the mean 2/√π e^(−m²/4) + m erf(m/2)."""
    random = np.random.default_rng(1)
    a, b = random.standard_normal((6000, 1)), random.standard_normal((5000, 1)) + apart
    across = 2 / math.sqrt(math.pi) * math.exp(-(apart**2) / 4) + apart * math.erf(apart / 2)
    assert energy_distance(a, b) == pytest.approx(2 * across - 4 / math.sqrt(math.pi), abs=0.02)


@given(st.integers(0, 1000), st.floats(-100, 100), st.floats(0.1, 10))
def test_it_does_not_see_where_the_plane_begins_and_grows_with_its_unit(seed: int, shift: float, unit: float) -> None:
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((9, 2)), random.standard_normal((7, 2))
    known = energy_distance(a, b)
    assert energy_distance(b, a) == pytest.approx(known)
    assert energy_distance(unit * a + shift, unit * b + shift) == pytest.approx(unit * known, rel=1e-6, abs=1e-9)


def test_in_parts_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    a, b = random.standard_normal((23, 2)), random.standard_normal((11, 2))
    whole = energy_distance(a, b)
    monkeypatch.setattr(energy, "_ROWS", 4)
    assert energy_distance(a, b) == pytest.approx(whole)
