"""What samplers reach with a perfect network: distributions, quantiles, order of convergence, memory."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusion_reference import normal
from torch import Tensor

from ddpm_studio.diffusion import NoiseSchedule, reverse_process, timestep_grid
from ddpm_studio.diffusion.oracle import DataSetDenoiser, GaussianMixtureDenoiser
from ddpm_studio.diffusion.samplers import DDIM, DDPM, IPNDM, DPMSolver2M, DPMSolver3M, Euler, Heun, Sampler, UniPC

double = torch.float64


def toy(schedule: NoiseSchedule, at: float = 5.0, variance: float = 1.0, share: float = 0.8) -> GaussianMixtureDenoiser:
    """On the line: ``share`` of the mass around +at, the rest around -at."""
    return GaussianMixtureDenoiser(
        schedule, torch.tensor([[at], [-at]], dtype=double), variance, torch.tensor([share, 1 - share], dtype=double)
    )


def cdf(oracle: GaussianMixtureDenoiser, x: Tensor, t: int) -> Tensor:
    """P(x_t ≤ x) of a mixture on the line, x: (N, 1)."""
    alpha, sigma = oracle.schedule.alpha[t], oracle.schedule.sigma[t]
    z = (x - alpha * oracle.means.T) / np.sqrt(alpha**2 * oracle.variance + sigma**2)
    return (torch.special.ndtr(z) * oracle.weights).sum(1)


def final(
    denoiser: object, grid: list[int], sampler: Sampler, count: int, *shape: int, x: Tensor | None = None
) -> Tensor:
    *_, last = reverse_process(denoiser, grid, sampler, shape, seeds=range(count), x=x)  # type: ignore[arg-type]
    return last.x


def ends(schedule: NoiseSchedule, sampler: Sampler, steps: int, count: int, spacing: str = "uniform") -> Tensor:
    return final(toy(schedule), timestep_grid(schedule, steps, spacing), sampler, count, 1)[:, 0]


# -- the oracle itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [NoiseSchedule.cosine, NoiseSchedule.flow, NoiseSchedule.geometric])
def test_the_mixture_is_bayes(build: object) -> None:
    """E[x0 | x_t] by numerical integration over x0."""
    schedule: NoiseSchedule = build(20)  # type: ignore[operator]
    oracle = toy(schedule, at=1.0, variance=0.3, share=0.7)
    x0 = torch.linspace(-6, 6, 4001, dtype=double)[:, None]
    prior = sum(w * torch.exp(-((x0 - m) ** 2) / 0.6) for w, m in ((0.7, 1.0), (0.3, -1.0)))
    for t in (2, 7, 13, 20):
        x = normal(t, 30, 1) * float(np.hypot(schedule.alpha[t], schedule.sigma[t]))
        likelihood = torch.exp(-((x.T - schedule.alpha[t] * x0) ** 2) / (2 * schedule.sigma[t] ** 2))
        mean = (prior * likelihood * x0).sum(0) / (prior * likelihood).sum(0)
        x0_hat, eps_hat = oracle(x, t)
        torch.testing.assert_close(x0_hat[:, 0], mean, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(float(schedule.alpha[t]) * x0_hat + float(schedule.sigma[t]) * eps_hat, x)


def test_its_score_is_the_gradient_of_the_log_density() -> None:
    schedule = NoiseSchedule.cosine(50)
    oracle = toy(schedule, at=1.5, variance=0.2)
    for t in (5, 25, 45):
        x = normal(t, 40, 1).requires_grad_()
        (density,) = torch.autograd.grad(cdf(oracle, x, t).sum(), x, create_graph=True)
        (score,) = torch.autograd.grad(density.log().sum(), x)
        torch.testing.assert_close(-oracle(x, t).eps / float(schedule.sigma[t]), score, rtol=1e-7, atol=1e-7)


# -- the 80/20 toy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "sampler", "steps", "count", "positive"),
    [
        (NoiseSchedule.linear(), DDPM(), 1000, 8_000, 0.796),
        (NoiseSchedule.linear(), DDPM("beta"), 1000, 8_000, 0.804),
        (NoiseSchedule.linear(), DDIM(), 50, 20_000, 0.801),
        (NoiseSchedule.linear(), DDIM(), 10, 20_000, 0.819),
        (NoiseSchedule.flow(), Euler(), 50, 20_000, 0.805),
        (NoiseSchedule.linear(), Heun(), 18, 20_000, 0.789),
        (NoiseSchedule.linear(), DPMSolver2M(), 15, 20_000, 0.794),
        (NoiseSchedule.linear(300), DDPM(), 300, 20_000, 0.702),  # prior mismatch: the top is not pure noise
        (NoiseSchedule.scaled_linear(300), DDPM(), 300, 20_000, 0.804),
    ],
    ids=lambda value: f"{value.steps}" if isinstance(value, NoiseSchedule) else None,
)
def test_published_shares_of_the_toy(
    schedule: NoiseSchedule, sampler: Sampler, steps: int, count: int, positive: float
) -> None:
    """The numbers were computed with 20,000 points of other noise: both have a standard error of 0.003."""
    x = ends(schedule, sampler, steps, count)
    error = np.sqrt(0.16 / count + 0.16 / 20_000)
    assert float((x > 0).double().mean()) == pytest.approx(positive, abs=3.5 * error)
    if isinstance(sampler, DDIM) and steps == 10:
        assert float(x[x > 0].mean()) == pytest.approx(4.82, abs=0.03)


FINE: list[tuple[Sampler, int]] = [
    (DDPM(), 200),
    (DDPM("beta"), 500),
    (DDIM(), 200),
    (DDIM(0.5), 200),
    (Euler(), 200),
    (Heun(), 60),
    (DPMSolver2M(), 60),
    (DPMSolver3M(), 60),
    (UniPC(), 60),
    (IPNDM(), 60),
]


@pytest.mark.parametrize(("sampler", "steps"), FINE, ids=repr)
@pytest.mark.parametrize("name", ["linear", "cosine", "flow"])
def test_every_sampler_reaches_the_distribution(name: str, sampler: Sampler, steps: int) -> None:
    count = 8_000
    x = ends(getattr(NoiseSchedule, name)(1000), sampler, steps, count).double()
    right, left = x[x > 0], x[x < 0]
    assert len(right) / count == pytest.approx(0.8, abs=0.016)  # 3.5 standard errors
    for side, mean in ((right, 5), (left, -5)):
        assert float(side.mean()) == pytest.approx(mean, abs=3.5 / len(side) ** 0.5 + 0.03)
        assert float(side.std()) == pytest.approx(1, abs=2.5 / len(side) ** 0.5 + 0.03)


@pytest.mark.parametrize(("sampler", "steps"), FINE, ids=repr)
@pytest.mark.parametrize(
    "schedule", [NoiseSchedule.scaled_linear(2000), NoiseSchedule.geometric(500, 0.002, 20)], ids=["vp", "ve"]
)
def test_two_gaussians_in_the_plane(schedule: NoiseSchedule, sampler: Sampler, steps: int) -> None:
    """The score tutorial's standardised data: modes at ±(.998752, .998752), standard deviation .0499376."""
    means = torch.tensor([[0.998752, 0.998752], [-0.998752, -0.998752]])
    oracle = GaussianMixtureDenoiser(schedule, means, 0.0499376**2, torch.tensor([0.5, 0.5]))
    x = final(oracle, timestep_grid(schedule, steps, "log-snr"), sampler, 3000, 2).double()
    sign = x.sign()
    assert (sign[:, 0] == sign[:, 1]).all()
    assert float((sign[:, 0] > 0).double().mean()) == pytest.approx(0.5, abs=0.033)
    spread = x - 0.998752 * sign
    assert float(spread.mean().abs()) < 0.004
    assert float(spread.std()) == pytest.approx(0.0499376, rel=0.08)
    assert abs(float(torch.corrcoef(spread.T)[0, 1])) < 0.08


def test_few_heun_steps_hold_on_a_cosine_schedule() -> None:
    """The default spacing makes one step of σ/α = 20,000 at the top; time σ/α there left the data for ±80."""
    x = ends(NoiseSchedule.cosine(), Heun(), 18, 4000)
    assert float(x.abs().max()) < 12
    assert float((x > 0).double().mean()) == pytest.approx(0.8, abs=0.03)


# -- against closed forms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sampler", "steps", "error"),
    [(Euler(), 400, 0.01), (DDIM(), 400, 0.01), (Heun(), 100, 2e-3), (DPMSolver2M(), 100, 4e-3)],
)
@pytest.mark.parametrize("name", ["scaled_linear", "cosine", "flow", "geometric"])
def test_the_ode_keeps_every_quantile(name: str, sampler: Sampler, steps: int, error: float) -> None:
    """On the line the probability flow cannot cross itself, so F_0(x_0) = F_T(x_T): an exact answer for each point."""
    schedule: NoiseSchedule = getattr(NoiseSchedule, name)(2000)
    oracle = toy(schedule, at=1.0, variance=0.1)
    x = torch.linspace(-2.5, 2.5, 201, dtype=double)[:, None] * float(schedule.sigma[-1])
    grid = timestep_grid(schedule, steps, "uniform")
    end = final(oracle, grid, sampler, len(x), 1, x=x)
    assert float((cdf(oracle, end, 0) - cdf(oracle, x, schedule.steps)).abs().max()) < error


@pytest.mark.parametrize(("sampler", "order"), [(Euler(), 1), (DDIM(), 1), (Heun(), 2), (DPMSolver2M(), 2)], ids=repr)
@pytest.mark.parametrize("name", ["scaled_linear", "cosine", "flow"])
def test_order_of_convergence(name: str, sampler: Sampler, order: int) -> None:
    """The error against the closed form falls by 2^order when the steps double, for a Gaussian and for a mixture."""
    schedule: NoiseSchedule = getattr(NoiseSchedule, name)(4096)
    top, bottom = 3584, 512
    for share in (1.0 - 1e-12, 0.7):
        oracle = toy(schedule, at=0.8, variance=0.3, share=share)
        spread = float(np.sqrt(schedule.alpha[top] ** 2 * 0.3 + schedule.sigma[top] ** 2))
        x = float(schedule.alpha[top]) * 0.8 + spread * torch.linspace(-2, 2, 81, dtype=double)[:, None]
        goal = cdf(oracle, x, top)
        errors = []
        for steps in (16, 32, 64, 128):
            end = final(oracle, list(range(top, bottom - 1, (bottom - top) // steps)), sampler, len(x), 1, x=x)
            errors.append(float((cdf(oracle, end, bottom) - goal).abs().mean()))
        found = [np.log2(a / b) for a, b in pairwise(errors)]
        assert found[-1] == pytest.approx(order, abs=0.35), (share, errors)


# -- a finite set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sampler", "steps"), [(s, min(n, 100)) for s, n in FINE], ids=repr)
@pytest.mark.parametrize("name", ["linear", "cosine", "flow"])
def test_the_optimum_for_a_finite_set_memorises_it(name: str, sampler: Sampler, steps: int) -> None:
    schedule: NoiseSchedule = getattr(NoiseSchedule, name)(1000)
    items = normal(0, 6, 1, 4, 4, dtype=torch.float32).clamp(-1, 1)
    ends = final(DataSetDenoiser(schedule, items), timestep_grid(schedule, steps), sampler, 120, 1, 4, 4)
    nearest, which = (ends[:, None] - items).abs().amax((2, 3, 4)).min(1)
    assert float(nearest.max()) < 1e-5
    assert set(which.tolist()) == set(range(6))


def test_the_finite_set_weighs_items_by_their_likelihood() -> None:
    schedule = NoiseSchedule.cosine(100)
    items = normal(1, 4, 3)
    for t in (10, 50, 100):
        x = normal(t, 20, 3)
        a, s = float(schedule.alpha[t]), float(schedule.sigma[t])
        likelihood = torch.stack([torch.exp(-((x - a * item) ** 2).sum(1) / (2 * s**2)) for item in items], 1)
        expected = likelihood @ items / likelihood.sum(1, keepdim=True)
        torch.testing.assert_close(DataSetDenoiser(schedule, items)(x, t).x0, expected, rtol=1e-9, atol=1e-9)
