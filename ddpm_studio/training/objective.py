"""The loss of one batch: which distance, and how noise levels are weighted."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.recipes import Recipe

_DISTANCES = {"mse": F.mse_loss, "l1": F.l1_loss, "huber": F.smooth_l1_loss}


def loss_per_item(recipe: Recipe, out: Tensor, target: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The weighted loss of each item, float32 (N,).

    out, target: (N, …); alpha, sigma: (N, 1, …, 1). "uniform" weighs the network's output by 1; "min-snr"
    weighs the error in x0 by min(SNR, γ) (arXiv 2303.09556), which on the output is times gain².
    """
    distance: Any = _DISTANCES[recipe.objective.loss]
    loss: Tensor = distance(out.float(), target.float(), reduction="none").flatten(1).mean(1)
    if recipe.objective.weight == "min-snr":
        gain = Parameterization(recipe.prediction.predicts).x0_gain(alpha, sigma)
        snr = (alpha / sigma) ** 2
        loss = loss * (snr.clamp_max(recipe.objective.gamma) * gain**2).flatten()
    return loss


def draw_levels(count: int, steps: int, stratified: bool, device: torch.device) -> Tensor:
    """Noise levels for a batch, int64 (count,), uniform on 1 … T, from torch's seeded default generator.

    Stratified: item i draws from the i-th of ``count`` equal parts, so every batch covers all levels.
    """
    if not stratified:
        return torch.randint(1, steps + 1, (count,), device=device)
    place = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    return (place * steps).long().clamp_max(steps - 1) + 1
