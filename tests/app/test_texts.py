"""Numbers and times as the window writes them."""

from __future__ import annotations

import math

import pytest

from ddpm_studio.app.texts import (
    about,
    four_decimals,
    in_sentence,
    measured,
    on_axis,
    settings_text,
    time_left,
    time_left_at,
)
from ddpm_studio.recipes import find


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (3, "a few s left"),
        (42, "40 s left"),
        (100, "2 min left"),
        (5399, "90 min left"),
        (9000, "2.5 h left"),
    ],
)
def test_time_left_is_rounded(seconds: float, text: str) -> None:
    assert time_left(seconds) == text


def test_it_is_too_early_for_a_time() -> None:
    assert time_left_at(0.5, 30) == "30 s left"
    assert time_left_at(0.5, 0.9) == time_left_at(0.01, 30) == time_left_at(0.0, 30) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "a few s"), (42, "about 40 s"), (150, "about 2 min"), (7200, "about 2.0 h")]
)
def test_what_something_will_take(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_settings_are_called_as_in_the_form() -> None:
    moons = find("moons")
    assert settings_text(moons, ["training.batch", "training.learning_rate"]) == "Batch, Learning rate"
    other = moons.with_settings({"sampler.kind": "ddpm", "training.batch": 8})
    assert settings_text(moons, moons.differences(other)) == "Batch, Sampler"


def test_each_kind_of_number() -> None:
    assert [on_axis(v) for v in (0.05, 300, 12_000, 3e-5, 2_500_000, 0, -12_000)] == [
        "0.05",
        "300",
        "12k",
        "3e-05",
        "2.5M",
        "0",
        "-12k",
    ]
    assert [in_sentence(v) for v in (4.04e-5, 0.25, 1.0)] == ["0.00004", "0.25", "1"]
    assert in_sentence(0.123456, 4) == "0.1235"
    assert [four_decimals(v) for v in (0.5, -0.25, 1.2e-4, 0.0)] == ["0.5000", "−0.2500", "1.20e−04", "0.0000"]
    assert [measured(v) for v in (0.1234, 12.34, math.inf, math.nan)] == ["0.123", "12.3", "–", "–"]
