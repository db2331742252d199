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

    out, target: (N, …); alpha, sigma: (N, 1, …, 1). Over an item's values the mean or the sum is taken.
    "uniform" weighs the network's output by 1; "sigma2" by σ_t² (004, eq. 2.2.4: denoising score matching);
    "min-snr" measures errors in the unit that ``min_snr_scale`` gives.
    """
    distance: Any = _DISTANCES[recipe.objective.loss]
    if recipe.objective.weight == "min-snr":
        scale = min_snr_scale(recipe, alpha, sigma)
        out, target = scale * out, scale * target
    loss: Tensor = distance(out, target, reduction="none").flatten(1)
    loss = loss.sum(1) if recipe.objective.reduction == "sum" else loss.mean(1)
    return loss * sigma.flatten() ** 2 if recipe.objective.weight == "sigma2" else loss


def min_snr_scale(recipe: Recipe, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What an error of the output is multiplied by before its distance is taken, of the shape of alpha.

    The paper (arXiv 2303.09556) weighs the squared error in x0 by min(SNR, γ): it squares √min(SNR, γ)·gain times
    the error of the output. L1 and Huber take that same multiple as it is, so for each of them too the loss is the
    same whatever the network predicts. A weight outside them would be right for squares alone.
    """
    gain = Parameterization(recipe.prediction.predicts).x0_gain(alpha, sigma)
    scale: Tensor = ((alpha / sigma) ** 2).clamp_max(recipe.objective.gamma).sqrt() * gain
    return scale


def draw_levels(count: int, steps: int, stratified: bool, device: torch.device, first: int = 1) -> Tensor:
    """Noise levels for a batch, int64 (count,), uniform on first … T, from torch's seeded default generator.

    Stratified: item i draws from the i-th of ``count`` equal parts, so every batch covers all levels.
    """
    if not stratified:
        return torch.randint(first, steps + 1, (count,), device=device)
    place = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    levels = steps + 1 - first
    return (place * levels).long().clamp_max(levels - 1) + first
