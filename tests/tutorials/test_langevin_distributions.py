"""What Langevin dynamics finds with a perfect score, and with the best score that tutorial 004's network can be.

Here no network is trained: scores of mixtures of Gaussians are known in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from tutorial_tools import denoiser_of, our_run, our_start, recipe_of, schedule_of

from ddpm_studio.data.points import Mixture, mixture_of
from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
from ddpm_studio.recipes import Recipe
from ddpm_studio.training.objective import loss_per_item

COUNT = 2000
# tutorials.md: where σ_T is 1, 30 moves a level serve as well as the printed 201.
PRINTED_MOVES = recipe_of("score-two-gaussians").sampler.moves
ANNEALED = recipe_of("score-two-gaussians", sampler__moves=30)
PLAIN = recipe_of("score-two-gaussians", **{"sampler.kind": "langevin-plain", "sampler.steps": 500})


def leaning() -> Mixture:
    """80/20 on the places of the even mixture, so that the start favours neither."""
    mixture = mixture_of("two-gaussians")
    return Mixture(mixture.means, mixture.variance, np.array([0.2, 0.8]))


MIXTURES = {"50/50": mixture_of("two-gaussians"), "80/20": mixture_of("uneven-gaussians"), "20/80 in place": leaning()}
every_mixture = pytest.mark.parametrize("mixture", MIXTURES.values(), ids=MIXTURES)


def oracle(recipe: Recipe, mixture: Mixture) -> GaussianMixtureDenoiser:
    means, weights = torch.from_numpy(mixture.means), torch.from_numpy(mixture.weights)
    return GaussianMixtureDenoiser(schedule_of(recipe), means, mixture.variance, weights)


class Found(NamedTuple):
    """For each component: how many points are nearest to it, their standard deviation on an axis, and how far their
    mean is from the true one."""

    counts: np.ndarray
    deviation: np.ndarray
    off: np.ndarray


def walk(
    recipe: Recipe, denoiser: object, mixture: Mixture, count: int = COUNT, grid: list[int] | None = None
) -> Found:
    seeds = range(count)
    points = our_run(recipe, denoiser, our_start(recipe, seeds, (2,)), seeds, grid).double().numpy()
    assert np.isfinite(points).all()
    nearest = np.linalg.norm(points[:, None] - mixture.means, axis=2).argmin(1)
    parts = [points[nearest == k] for k in range(len(mixture.means))]
    return Found(
        np.array([len(part) for part in parts]),
        np.array([math.sqrt(part.var(0).mean()) for part in parts]),
        np.array([np.linalg.norm(part.mean(0) - m) for part, m in zip(parts, mixture.means, strict=True)]),
    )


def errors(counts: np.ndarray, shares: np.ndarray) -> float:
    """The largest distance of a share from its true value, in standard errors of a binomial count."""
    n = counts.sum()
    return float(np.abs((counts - n * shares) / np.sqrt(n * shares * (1 - shares))).max())


@every_mixture
def test_annealed_langevin_finds_both_modes_in_their_shares_and_widths(mixture: Mixture) -> None:
    found = walk(ANNEALED, oracle(ANNEALED, mixture), mixture)
    assert errors(found.counts, mixture.weights) < 3.5
    width = math.sqrt(mixture.variance)
    # the standard error of a deviation from 2n numbers is 1/√(4n) of it, that of a mean of n points 1/√n
    assert (np.abs(found.deviation / width - 1) < 4 / np.sqrt(4 * found.counts)).all()
    assert (found.off < 4 * width / np.sqrt(found.counts)).all()


@every_mixture
def test_plain_langevin_shares_by_where_the_points_began(mixture: Mixture) -> None:
    """At one low level no point crosses the gap: each mode keeps the start's mass on its side, whatever its weight."""
    found = walk(PLAIN, oracle(PLAIN, mixture), mixture)
    low, high = mixture.means
    axis = (high - low) / np.linalg.norm(high - low)
    side = float(torch.special.ndtr(torch.tensor((low + high) @ axis / 2)))
    began = np.array([side, 1 - side])
    assert errors(found.counts, began) < 3.5
    if not np.allclose(mixture.weights, began, atol=0.01):  # right for 50/50 only, and that by luck
        assert errors(found.counts, mixture.weights) > 4.5
    # Within a mode the walk is right but for its step: x ← (1 - r) x + √(2α) u, r = α/v.
    v = mixture.variance + float(schedule_of(PLAIN).sigma[1]) ** 2
    r = PLAIN.sampler.step_size / v
    width = math.sqrt(v / (1 - r / 2))
    assert (np.abs(found.deviation / width - 1) < 4 / np.sqrt(4 * found.counts)).all()


# -- the network that does not see the level -----------------------------------------------------------------


@dataclass
class Blind:
    """The best network whose body sees x alone: s'(x) = -E[z | x], the levels weighted by their densities at x.

    Kept as a picture of (2R/h)² values, read by linear interpolation. The densities are products over the axes, so
    that a sum over levels and components is one product of matrices.
    """

    mixture: Mixture
    sigma: Tensor  # of the levels, float64 (T,)
    reach: float = 6.0
    size: int = 2401

    def __post_init__(self) -> None:
        axis = torch.linspace(-self.reach, self.reach, self.size, dtype=torch.float64)
        v = self.mixture.variance + self.sigma**2
        means, weights = torch.from_numpy(self.mixture.means), torch.from_numpy(self.mixture.weights)
        away = axis - means.T[:, :, None, None]  # (2, K, 1, size)
        bell = torch.exp(-(away**2) / (2 * v[:, None]))  # (2, K, T, size)
        scale = (weights[:, None] / v)[..., None]
        pull = self.sigma[:, None] / v[:, None]  # E[z | x, level, component] = pull · (x - mean)

        def total(first: Tensor, second: Tensor) -> Tensor:
            """Over components and levels, (size, size): row by the second axis, column by the first."""
            return second.flatten(0, 1).T @ first.flatten(0, 1)

        density = total(scale * bell[0], bell[1])
        noise = (
            total(scale * pull * away[0] * bell[0], bell[1]),
            total(scale * bell[0], pull * away[1] * bell[1]),
        )
        self.table = torch.stack([-(one / density) for one in noise])[None]

    def body(self, x: Tensor) -> Tensor:
        at = (x / self.reach)[None, :, None, :].to(self.table)
        found = F.grid_sample(self.table, at, mode="bilinear", align_corners=True)
        return found[0, :, :, 0].T.to(x)

    def __call__(self, x: Tensor, sigma: Tensor, label: object = None) -> Tensor:
        return self.body(x) / sigma[:, None]


def blind(recipe: Recipe) -> Blind:
    return Blind(mixture_of("two-gaussians"), torch.from_numpy(schedule_of(recipe).sigma[1:].copy()))


def test_the_blind_table_is_the_average_over_the_levels() -> None:
    """At single points, by the closed-form denoiser of each level."""
    mixture, sch = mixture_of("two-gaussians"), schedule_of(ANNEALED)
    exact = oracle(ANNEALED, mixture)
    x = torch.tensor([[-1.0, -0.9], [0.1, 0.2], [1.02, 0.97], [2.5, 0.3], [-0.4, 1.6]], dtype=torch.float64)
    density, noise = torch.zeros(5, 1, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.float64)
    for t in range(1, sch.steps + 1):
        v = mixture.variance + sch.sigma[t] ** 2
        squares = (x[:, None] - torch.from_numpy(mixture.means)).square().sum(-1)
        p = (torch.exp(-squares / (2 * v)) / v).mean(1, keepdim=True)
        density, noise = density + p, noise + p * exact(x, t).eps
    assert float((blind(ANNEALED).body(x) + noise / density).abs().max()) < 2e-3


def test_the_losses_that_are_possible() -> None:
    """A network that says nothing loses 2.00, the best blind one 1.300, one that sees the level 1.163."""
    sch, mixture = schedule_of(ANNEALED), mixture_of("two-gaussians")
    n = 300_000
    rng = np.random.default_rng(1)
    x0, z = torch.from_numpy(mixture.draw(n, rng)), torch.from_numpy(rng.standard_normal((n, 2)))
    t = torch.from_numpy(rng.permutation(np.arange(n) % sch.steps + 1))
    alpha, sigma = sch.at(t, x0)
    x = x0 + sigma * z
    # the exact score at a level of its own for each point
    v = mixture.variance + sigma**2
    away = x[:, None] - torch.from_numpy(mixture.means)
    share = torch.softmax(-away.square().sum(-1) / (2 * v), 1)[..., None]
    scores = {0.0 * x: 2.00, blind(ANNEALED)(x, sigma.flatten()): 1.300, -(share * away).sum(1) / v: 1.163}
    for score, known in scores.items():
        losses = loss_per_item(ANNEALED, score, -z / sigma, alpha, sigma)
        assert float(losses.mean()) == pytest.approx(known, abs=0.0005 + 3.5 * float(losses.std()) / n**0.5)
        assert float(losses.std()) / n**0.5 < 0.005


def test_the_best_blind_network_makes_the_modes_a_third_as_wide() -> None:
    """Half of the points in each, as it should be; but a deviation of .017, where the data have .0499.

    What the author takes for success, points that gather near the means, is this defect. The lower half of the levels
    makes the width, with 201 moves at each as printed; the upper half makes the shares, for which 30 will do.
    """
    mixture, count = mixture_of("two-gaussians"), 400
    grid = [t for t in range(200, 0, -1) for _ in range(30 if t > 100 else PRINTED_MOVES)] + [0]
    found = walk(ANNEALED, denoiser_of(ANNEALED, blind(ANNEALED), "points"), mixture, count, grid)
    assert errors(found.counts, mixture.weights) < 3.5
    assert found.deviation == pytest.approx(0.017, abs=0.0005 + 3.5 * 0.017 / math.sqrt(2 * count))
    assert (found.off < 0.005).all()
