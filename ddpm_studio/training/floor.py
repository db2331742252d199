"""The lowest loss that is possible, where the data are a mixture of Gaussians whose density is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddpm_studio.data.points import Mixture, mixture_of
from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.training.build import Session
from ddpm_studio.training.objective import loss_per_item, min_snr_scale

_HALVINGS = 60  # of an interval of some tens: to the last digit of a double
_ROOT_2PI = math.sqrt(2 * math.pi)


def known_mixture(session: Session) -> Mixture | None:
    """The density that the data were drawn from, if a network of this recipe could come down to its floor.

    A network that is not told the noise level could not; for it there is none.
    """
    if session.data.kind != "points" or not getattr(session.recipe.network, "level_aware", True):
        return None
    return mixture_of(session.data.name)


def lowest_loss(session: Session, mixture: Mixture, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The loss of the best possible network on these items, float64 (N,), as the recipe measures it.

    x0, eps: (N, 2); t: int64 (N,), at least 1. The best output is the one whose expected loss given x_t is least: the
    mean of all targets that are possible there ("mse"), their median ("l1"), or between both ("huber"), for each
    coordinate. On few items another output may by chance do a little better than that.
    """
    x0, eps = x0.double(), eps.double()
    alpha, sigma = session.schedule.at(t, x0)
    meaning = Parameterization(session.recipe.prediction.predicts)
    A, B = (torch.as_tensor(c, dtype=x0.dtype, device=x0.device) for c in meaning.coefficients(alpha, sigma))
    x = alpha * x0 + sigma * eps
    share, mean, spread = _posterior(mixture, x, alpha, sigma)
    # With eps = (x - alpha x0)/sigma the target is linear in x0: a mixture too, with the same shares.
    slope = A - B * alpha / sigma
    mean = slope[:, None] * mean + (B / sigma * x)[:, None]
    # Where Huber turns from squares to lines depends on the unit in which errors are measured.
    huber = session.recipe.objective.loss == "huber" and session.recipe.objective.weight == "min-snr"
    unit = min_snr_scale(session.recipe, alpha, sigma).clamp_min(1e-6) if huber else torch.ones_like(sigma)
    scaled = _best(session.recipe.objective.loss, share, unit[:, None] * mean, unit * slope.abs() * spread)
    best = scaled / unit
    return loss_per_item(session.recipe, best, A * x0 + B * eps, alpha, sigma)


def _posterior(mixture: Mixture, x: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """p(x0 | x_t) as a mixture: shares (N, K, 1), means (N, K, 2), standard deviation (N, 1) of all of them."""
    means, weights = (torch.from_numpy(a).to(x) for a in (mixture.means, mixture.weights))
    noised = alpha**2 * mixture.variance + sigma**2
    residual = x[:, None] - alpha[:, None] * means
    share = (weights.log() - residual.square().sum(-1) / (2 * noised)).softmax(1)[..., None]
    mean = means + (alpha * mixture.variance / noised)[:, None] * residual
    return share, mean, sigma * (mixture.variance / noised).sqrt()


def _best(loss: str, share: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """The output of least expected loss, (N, 2): found where the expected slope of the loss is 0."""
    if loss == "mse":
        return (share * mean).sum(1)
    low, high = mean.amin(1) - 10 * spread - 2, mean.amax(1) + 10 * spread + 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        off, wide = mean - middle[:, None], spread[:, None].clamp_min(1e-12)
        pull = _share_above(off / wide) if loss == "l1" else _clipped_mean(off, wide)
        up = (share * pull).sum(1) > 0
        low, high = torch.where(up, middle, low), torch.where(up, high, middle)
    return (low + high) / 2


def _share_above(z: Tensor) -> Tensor:
    """P(Z > 0) - P(Z < 0) of N(z, 1): the expected sign."""
    sign: Tensor = torch.special.erf(z / math.sqrt(2))
    return sign


def _clipped_mean(mean: Tensor, spread: Tensor) -> Tensor:
    """The mean of N(mean, spread²) with its tails clipped to -1 and 1: the expected slope of torch's smooth_l1_loss."""
    a, b = (-1 - mean) / spread, (1 - mean) / spread
    below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
    density = (-a.square() / 2).exp() - (-b.square() / 2).exp()
    clipped: Tensor = above - below + mean * (1 - above - below) + spread * density / _ROOT_2PI
    return clipped
