"""What the loss of a run measures, and so which runs' losses can be read off one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ddpm_studio.recipes.editions import label_of
from ddpm_studio.recipes.recipe import Recipe


def loss_quantity(recipe: Recipe) -> dict[str, Any]:
    """What the number is, by setting; if all are equal, two losses can be compared."""
    objective = recipe.objective
    quantity = {
        "data.source": recipe.data.source,
        "data.height": recipe.data.height,
        "data.width": recipe.data.width,
        "data.value_range": recipe.data.value_range,
        "schedule.kind": recipe.schedule,  # all of it
        "objective.first_level": objective.first_level,
        "objective.loss": objective.loss,
        "objective.weight": objective.weight,
        "objective.reduction": objective.reduction,
    }
    if objective.weight == "min-snr":  # its errors are in one unit, whatever the network predicts
        return quantity | {"objective.gamma": objective.gamma}
    return quantity | {"prediction.predicts": recipe.prediction.predicts}


def apart(recipes: Sequence[Recipe]) -> list[str]:
    """The labels of the settings for which the losses of some runs are not one quantity; none if they are."""
    quantities = [loss_quantity(recipe) for recipe in recipes]
    shared = [path for path in quantities[0] if all(path in q for q in quantities)] if recipes else []
    other = [path for path in shared if any(q[path] != quantities[0][path] for q in quantities)]
    return [label_of(recipes[0], path) for path in other]
