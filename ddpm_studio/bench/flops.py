"""How much there is to compute, counted by torch on tensors that have a shape and no memory."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from ddpm_studio.data import DataFacts, known_facts
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.training.build import make_network

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def data_of(recipe: Recipe) -> DataFacts:
    """What is known of a recipe's built-in data, whether they are on this machine or not.

    Raises:
        RecipeError: if they are the user's own.
    """
    data = recipe.data
    facts = known_facts(data.source, height=data.height, width=data.width)
    if facts is None:
        raise RecipeError({"data.source": f"{data.source} is not built in, so nothing is known of it"})
    return facts


def flops_of(recipe: Recipe, facts: DataFacts) -> tuple[float, float]:
    """FLOPs for one item of a network call, and of a training step: forward, and backward to all parameters.

    Products and convolutions alone, a product and a sum as two; what goes over each element once is not counted.
    """
    batch = 2
    with torch.device("meta"):
        network = make_network(recipe, facts).train()
        x, time = torch.zeros(batch, *facts.shape), torch.ones(batch)
        label = torch.zeros(batch, dtype=torch.int64) if getattr(recipe.network, "class_label", False) else None
        with FlopCounterMode(display=False) as call:
            out = network(x, time, label)
        with FlopCounterMode(display=False) as back:
            out.sum().backward()
    forward = call.get_total_flops() / batch
    return forward, forward + back.get_total_flops() / batch
