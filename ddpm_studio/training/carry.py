"""A fork begins with what its parent has learnt, as far as it fits: by the names and shapes of the tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpm_studio.data import DataFacts, Dataset
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.build import Session, make_network
from ddpm_studio.training.events import Carried

Shapes = Mapping[str, Sequence[int]]


def agreeing(mine: Shapes, theirs: Shapes) -> list[str]:
    """The names, in the order of ``mine``, that both have with the same shape."""
    return [name for name, shape in mine.items() if name in theirs and tuple(theirs[name]) == tuple(shape)]


def network_shapes(recipe: Recipe, dataset: Dataset | DataFacts) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights and statistics; no memory is taken for them.

    Raises:
        RecipeError: if network and data do not go together.
    """
    with torch.device("meta"):
        return shapes_of(make_network(recipe, dataset).state_dict())


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of tensors."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def carry_over(session: Session, parent: Recipe, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> Carried:
    """Put a parent's saved state into a session at step 0, as far as it fits; its own steps begin at 0.

    Weights, EMA and the optimizer's moments go by name and shape. The EMA's count of updates comes along only
    with a whole network: else its warm-up lets it follow the new layers. The order of the data goes on where it
    was if data and seed are the same. Halved rates of a roll-back stay with the parent.
    """
    mine = shapes_of(session.network.state_dict())
    prefix = "network."
    agreed = agreeing(mine, {n.removeprefix(prefix): t.shape for n, t in tensors.items() if n.startswith(prefix)})
    session.network.load_state_dict({name: tensors[f"network.{name}"] for name in agreed}, strict=False)
    averaged = [name for name in agreed if f"ema.{name}" in tensors]
    session.ema.load_state_dict({name: tensors[f"ema.{name}"] for name in averaged}, strict=False)
    slots = {
        key.removeprefix("optimizer."): tensor
        for key, tensor in tensors.items()
        if key.startswith("optimizer.") and key.removeprefix("optimizer.").rpartition(".")[0] in agreed
    }
    session.optimizer.load_slots(slots)
    if len(agreed) == len(mine):
        session.ema_updates = int(numbers["ema_updates"])
    same_order = parent.data == session.recipe.data and parent.seed == session.recipe.seed
    if same_order:
        session.images_seen = int(numbers["images_seen"])
    return Carried(
        weights=len(agreed),
        of=len(mine),
        moments=len({key.rpartition(".")[0] for key in slots}),
        averaged=len(averaged),
        data_order=same_order,
    )
