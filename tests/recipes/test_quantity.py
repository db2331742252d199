"""Which losses can be read off one axis."""

from __future__ import annotations

from typing import Any

import pytest

from ddpm_studio.recipes import find
from ddpm_studio.recipes.quantity import apart

BASE = find("moons")


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, []),
        ({"seed": 5, "training.batch": 32, "training.learning_rate": 1e-4, "network.width": 32}, []),
        ({"objective.gamma": 2.0}, []),  # nothing, without min-SNR
        ({"objective.weight": "min-snr"}, ["Loss weight"]),
        ({"objective.loss": "l1"}, ["Loss"]),
        ({"prediction.predicts": "x0"}, ["Predicts"]),
        ({"objective.reduction": "sum", "schedule.steps": 50}, ["Noise schedule", "Over an item"]),
        ({"data.source": "two-gaussians"}, ["Data"]),
        ({"data.height": 16, "data.width": 32}, ["Height", "Width"]),
        ({"data.value_range": "0..1"}, ["Value range"]),
    ],
)
def test_what_makes_losses_another_quantity(changes: dict[str, Any], labels: list[str]) -> None:
    assert apart([BASE, BASE, BASE.with_settings(changes)]) == labels


def test_min_snr_measures_all_predictions_alike() -> None:
    """Its errors are taken in one unit, so they do not depend on what the network says (arXiv 2303.09556)."""
    runs = [BASE.with_settings({"objective.weight": "min-snr", "prediction.predicts": p}) for p in ("epsilon", "x0")]
    assert apart(runs) == []
    assert apart([runs[0], runs[1].with_settings({"objective.gamma": 2.0})]) == ["min-SNR γ"]
    assert apart([runs[0], BASE.with_settings({"prediction.predicts": "v"})]) == ["Loss weight"]


def test_nothing_to_compare() -> None:
    assert apart([]) == []
    assert apart([BASE]) == []
