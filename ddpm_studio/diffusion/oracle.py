"""Closed-form optimal denoisers: what a perfect network would say. No training needed.

They prove the samplers in the tests, draw the true score field, and give the lowest loss that is possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddpm_studio.diffusion.denoiser import Prediction
from ddpm_studio.diffusion.schedule import NoiseSchedule


@dataclass(frozen=True)
class GaussianMixtureDenoiser:
    """E[x0 | x_t] for a mixture of isotropic Gaussians.

    Attributes:
        means: (K, D); variance: of each component, per dimension; weights: (K,), summing to 1.
    """

    schedule: NoiseSchedule
    means: Tensor
    variance: float
    weights: Tensor

    def __call__(self, x: Tensor, t: int, label: object = None) -> Prediction:
        """x: (N, D) at level t > 0."""
        alpha, sigma = float(self.schedule.alpha[t]), float(self.schedule.sigma[t])
        means = self.means.to(x)
        spread = alpha**2 * self.variance + sigma**2  # variance of each component at level t
        residual = x[:, None, :] - alpha * means  # (N, K, D)
        log_density = self.weights.to(x).log() - residual.square().sum(-1) / (2 * spread)
        share = torch.softmax(log_density, dim=1)[..., None]
        # E[x0 | x, k] = m + alpha c (x - alpha m)/spread
        x0 = (share * (means + alpha * self.variance / spread * residual)).sum(1)
        return Prediction(x0, (x - alpha * x0) / sigma)


@dataclass(frozen=True)
class DataSetDenoiser:
    """E[x0 | x_t] when the data are exactly these items (M, …): the optimum that memorises."""

    schedule: NoiseSchedule
    items: Tensor

    def __call__(self, x: Tensor, t: int, label: object = None) -> Prediction:
        """x: (N, …) at level t > 0."""
        alpha, sigma = float(self.schedule.alpha[t]), float(self.schedule.sigma[t])
        flat, items = x.flatten(1), self.items.to(x).flatten(1)
        distance = torch.cdist(flat, alpha * items).square()
        x0 = (torch.softmax(-distance / (2 * sigma**2), dim=1) @ items).view_as(x)
        return Prediction(x0, (x - alpha * x0) / sigma)
