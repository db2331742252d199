"""Rules that look back: against diffusers' schedulers update by update, and their orders on closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from diffusion_reference import diffusers_scheduler, normal, predicted, schedules, take
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddpm_studio.diffusion import NoiseSchedule, Prediction, reverse_process, timestep_grid
from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
from ddpm_studio.diffusion.samplers import DDIM, IPNDM, DPMSolver2M, DPMSolver3M, Past, Sampler, UniPC
from ddpm_studio.diffusion.timesteps import SPACINGS

# diffusers hands torch tensors to numpy in a way that numpy 2 dislikes
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LINEAR = NoiseSchedule.linear()
LOOKING_BACK: list[Sampler] = [DPMSolver2M(), DPMSolver3M(), UniPC(), IPNDM()]
double = torch.float64


def on_the_line(schedule: NoiseSchedule, share: float = 0.7) -> GaussianMixtureDenoiser:
    """``share`` of the mass around 0.8, the rest around -0.8."""
    weights = torch.tensor([share, 1 - share], dtype=double)
    return GaussianMixtureDenoiser(schedule, torch.tensor([[0.8], [-0.8]], dtype=double), 0.3, weights)


def cdf(oracle: GaussianMixtureDenoiser, x: Tensor, t: int) -> Tensor:
    """P(x_t ≤ x), x: (N, 1)."""
    alpha, sigma = oracle.schedule.alpha[t], oracle.schedule.sigma[t]
    z = (x - alpha * oracle.means.T) / np.sqrt(alpha**2 * oracle.variance + sigma**2)
    return (torch.special.ndtr(z) * oracle.weights).sum(1)


def quantile(oracle: GaussianMixtureDenoiser, wanted: Tensor, t: int) -> Tensor:
    """The x_t of a path that stays at one quantile, as those of the probability flow on a line do. (N, 1)."""
    reach = 10 * float(oracle.schedule.alpha[t] + oracle.schedule.sigma[t])
    low, high = torch.full_like(wanted, -reach)[:, None], torch.full_like(wanted, reach)[:, None]
    for _ in range(70):
        middle = (low + high) / 2
        below = (cdf(oracle, middle, t) < wanted)[:, None]
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


# -- diffusers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 3, 6, 20])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_unipc_of_diffusers(spacing: str, steps: int) -> None:
    """A whole path in float64: warm-up, corrector and the lower orders at its end."""
    grid = timestep_grid(LINEAR, steps, spacing)
    scheduler = diffusers_scheduler("UniPCMultistepScheduler", LINEAR, solver_order=3, solver_type="bh2")
    scheduler.set_timesteps(len(grid) - 1)
    scheduler.timesteps = torch.tensor(grid[:-1])
    scheduler.sigmas = torch.from_numpy((LINEAR.sigma / LINEAR.alpha)[grid].copy())
    oracle = on_the_line(LINEAR)
    x = normal(0, 40, 1)
    *ours, _ = reverse_process(oracle, grid, UniPC(), (1,), seeds=range(40), x=x)
    theirs = x
    for mine, t in zip(ours, grid[:-1], strict=True):
        torch.testing.assert_close(mine.x, theirs, rtol=1e-8, atol=1e-8)
        theirs = scheduler.step(oracle(theirs, t).eps, torch.tensor(t), theirs).prev_sample


@pytest.mark.parametrize("steps", [5, 12])
def test_dpm_solver_3m_is_that_of_diffusers_with_its_whole_second_derivative(steps: int) -> None:
    """Theirs multiplies half of it by the coefficient; see ``test_half_a_second_derivative_loses_an_order``."""
    scheduler = diffusers_scheduler("DPMSolverMultistepScheduler", LINEAR, solver_order=3)
    grid = timestep_grid(LINEAR, steps, "log-snr")
    scheduler.sigmas = torch.from_numpy((LINEAR.sigma / LINEAR.alpha)[grid].copy())
    lam = LINEAR.log_snr / 2
    past: list[Past] = []
    for index, (t, u) in enumerate(pairwise(grid)):
        x, eps = normal(t, 2, 8, 2)
        prediction = predicted(LINEAR, x, t, eps)
        ours = take(LINEAR, DPMSolver3M(), x, t, u, prediction, past=past[-2:])
        x0s = [*(each.prediction.x0 for each in past[-2:]), prediction.x0]
        scheduler._step_index = index
        if u == 0 or len(x0s) == 1:
            theirs = scheduler.dpm_solver_first_order_update(prediction.x0, sample=x)
        elif len(x0s) == 2:
            theirs = scheduler.multistep_dpm_solver_second_order_update(x0s, sample=x)
        else:
            theirs = scheduler.multistep_dpm_solver_third_order_update(x0s, sample=x)
            h, h0, h1 = lam[u] - lam[t], lam[t] - lam[past[-1].t], lam[past[-1].t] - lam[past[-2].t]
            half = h**2 / (h0 + h1) * ((x0s[2] - x0s[1]) / h0 - (x0s[1] - x0s[0]) / h1)
            theirs = theirs - LINEAR.alpha[u] * ((math.expm1(-h) + h) / h**2 - 0.5) * half
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10 * float(prediction.x0.abs().max()))
        past.append(Past(t, prediction))


@pytest.mark.parametrize("steps", [2, 8])
def test_ipndm_of_diffusers(steps: int) -> None:
    """Theirs has levels of its own (σ = sin² of an even angle) and a network of another kind; the update is ours.

    But in the last move, where ours takes x̂_0: ε̄ extrapolates to the clean level, where a network knows nothing.
    """
    scheduler = diffusers_scheduler("IPNDMScheduler")
    scheduler.set_timesteps(steps)
    grid = timestep_grid(LINEAR, steps, "karras")
    scheduler.alphas = torch.from_numpy(LINEAR.alpha[grid].copy())
    scheduler.betas = torch.from_numpy(LINEAR.sigma[grid].copy())
    past: list[Past] = []
    for label, (t, u) in zip(scheduler.timesteps, pairwise(grid), strict=True):
        x, eps = normal(t, 2, 8, 2)
        prediction = predicted(LINEAR, x, t, eps)
        ours = take(LINEAR, IPNDM(), x, t, u, prediction, past=past[-3:])
        theirs = scheduler.step((eps - LINEAR.sigma[t] * x) / LINEAR.alpha[t], label, x).prev_sample
        torch.testing.assert_close(ours, theirs if u > 0 else prediction.x0, rtol=1e-9, atol=1e-9)
        past.append(Past(t, prediction))


# -- the order ---------------------------------------------------------------------------------------------


def even_in_ratio(steps: int) -> NoiseSchedule:
    """Variance preserving, σ/α even from 0 to 4."""
    angle = np.arctan(np.linspace(0, 4, steps + 1))
    return NoiseSchedule(np.cos(angle), np.sin(angle))


TABLES: dict[str, Callable[[int], NoiseSchedule]] = {
    "scaled_linear": NoiseSchedule.scaled_linear,
    "cosine": NoiseSchedule.cosine,
    "flow": NoiseSchedule.flow,
    "exploding": lambda steps: NoiseSchedule.geometric(steps, 0.05, 20.0),
    "even": even_in_ratio,
}
TOP, BOTTOM = 3584, 512


def orders(
    schedule: NoiseSchedule,
    rule: Callable[[Tensor, int, int, Prediction, tuple[Past, ...]], Tensor],
    memory: int,
    share: float,
) -> list[float]:
    """log2 of how much the error falls when the steps double; the first steps look back to the exact path."""
    oracle = on_the_line(schedule, share)
    wanted = torch.linspace(0.02, 0.98, 49, dtype=double)
    goal = quantile(oracle, wanted, BOTTOM)
    errors = []
    for steps in (24, 48, 96, 192):
        stride = (TOP - BOTTOM) // steps
        past = [Past(t, oracle(quantile(oracle, wanted, t), t)) for t in range(TOP + memory * stride, TOP, -stride)]
        x = quantile(oracle, wanted, TOP)
        for t in range(TOP, BOTTOM, -stride):
            prediction = oracle(x, t)
            x = rule(x, t, t - stride, prediction, tuple(past))
            past = [*past[1:], Past(t, prediction)]
        errors.append(float((x - goal).abs().mean()))
    return [math.log2(a / b) for a, b in pairwise(errors)]


@pytest.mark.parametrize("share", [1.0 - 1e-12, 0.7], ids=["Gaussian", "mixture"])
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("sampler", "order"), [(DPMSolver2M(), 2), (DPMSolver3M(), 3), (UniPC(), 4), (IPNDM(), 2)])
def test_order_of_convergence(sampler: Sampler, order: int, name: str, share: float) -> None:
    """UniPC's corrector adds one to the three of its predictor; iPNDM's weights are made for even steps alone."""
    schedule = TABLES[name](4096)
    if isinstance(sampler, IPNDM) and name == "even":
        order = 4

    def rule(x: Tensor, t: int, u: int, prediction: Prediction, past: tuple[Past, ...]) -> Tensor:
        return take(schedule, sampler, x, t, u, prediction, past=past)

    found = orders(schedule, rule, sampler.memory, share)
    assert order - 0.35 < found[-1] < order + 0.5, found


def test_half_a_second_derivative_loses_an_order() -> None:
    """The third-order update of diffusers (and of the authors' code) is of second order."""
    schedule = NoiseSchedule.cosine(4096)
    scheduler = diffusers_scheduler("DPMSolverMultistepScheduler", schedule, solver_order=3)
    ratio = torch.from_numpy(schedule.sigma / schedule.alpha)

    def rule(x: Tensor, t: int, u: int, prediction: Prediction, past: tuple[Past, ...]) -> Tensor:
        scheduler.sigmas = ratio[[past[0].t, past[1].t, t, u]]
        scheduler._step_index = 2
        x0s = [past[0].prediction.x0, past[1].prediction.x0, prediction.x0]
        moved: Tensor = scheduler.multistep_dpm_solver_third_order_update(x0s, sample=x)
        return moved

    assert orders(schedule, rule, 2, 0.7)[-1] == pytest.approx(2, abs=0.35)


# -- from the first step to the last -----------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(schedules(least=2), st.sampled_from(LOOKING_BACK), st.sampled_from(SPACINGS), st.data())
def test_a_single_point_is_reached_along_a_straight_line(
    schedule: NoiseSchedule, sampler: Sampler, spacing: str, data: st.DataObject
) -> None:
    """Of data that are one point every prediction is right, so no step of any order on any grid may miss."""
    grid = timestep_grid(schedule, data.draw(st.integers(1, min(schedule.steps, 30))), spacing)
    x0, eps = torch.tensor([[0.3]], dtype=double), torch.tensor([[-1.2]], dtype=double)

    def knows(x: Tensor, t: int, label: object) -> Prediction:
        return Prediction(x0, eps)

    start = schedule.add_noise(x0, grid[0], eps)
    for step in reverse_process(knows, grid, sampler, (1,), seeds=[0], schedule=schedule, x=start):
        assert step.nfe == step.index, "one network call a step"
        torch.testing.assert_close(step.x, schedule.add_noise(x0, step.t, eps), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "cosine", "flow", "geometric"])
@pytest.mark.parametrize(
    ("sampler", "spacing"), [(DPMSolver3M(), "log-snr"), (UniPC(), "log-snr"), (IPNDM(), "karras")], ids=repr
)
def test_ten_steps_come_nearer_than_those_of_ddim(name: str, sampler: Sampler, spacing: str) -> None:
    schedule: NoiseSchedule = getattr(NoiseSchedule, name)()
    oracle = on_the_line(schedule)
    wanted = torch.linspace(0.02, 0.98, 97, dtype=double)
    x, goal = quantile(oracle, wanted, schedule.steps), quantile(oracle, wanted, 0)

    def error(sampler: Sampler, spacing: str) -> float:
        *_, last = reverse_process(
            oracle, timestep_grid(schedule, 10, spacing), sampler, (1,), seeds=range(len(x)), x=x
        )
        return float((last.x - goal).square().mean().sqrt())

    assert error(sampler, spacing) < 0.5 * min(error(DDIM(), "uniform"), error(DDIM(), spacing))
