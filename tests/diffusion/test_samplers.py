"""Every move, against diffusers' schedulers, the tutorials' printed loops and the papers' own formulas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from diffusion_reference import diffusers_scheduler, normal, predicted, take
from torch import Tensor

from ddpm_studio.diffusion import Denoiser, NoiseSchedule, Prediction, timestep_grid
from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
from ddpm_studio.diffusion.samplers import (
    DDIM,
    DDPM,
    IPNDM,
    SAMPLERS,
    DPMSolver2M,
    DPMSolver3M,
    Euler,
    Heun,
    Langevin,
    Past,
    PlainLangevin,
    Sampler,
    UniPC,
)

# diffusers hands torch tensors to numpy in a way that numpy 2 dislikes
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

LINEAR = NoiseSchedule.linear()
LOOKING_BACK: list[Sampler] = [DPMSolver2M(), DPMSolver3M(), UniPC(), IPNDM()]
WALKING: list[Sampler] = [DDPM(), DDPM("beta"), DDIM(), DDIM(0.5), DDIM(1.0), Euler(), Heun(), *LOOKING_BACK]
TABLES = {
    "linear": LINEAR,
    "cosine": NoiseSchedule.cosine(200),
    "geometric": NoiseSchedule.geometric(50),
    "flow": NoiseSchedule.flow(50),
}
every_table = pytest.mark.parametrize("schedule", TABLES.values(), ids=TABLES)
exact = {"rtol": 1e-12, "atol": 1e-12}


def mixture(schedule: NoiseSchedule) -> GaussianMixtureDenoiser:
    means = torch.tensor([[1.0, 0.5], [-1.0, 0.0]], dtype=torch.float64)
    return GaussianMixtureDenoiser(schedule, means, 0.04, torch.tensor([0.8, 0.2], dtype=torch.float64))


# -- the tutorials' printed loops, in our words ------------------------------------------------------------
# Each gets x, the network's eps, z and its own level, in the number type of its own tables.


def scratch5(betas: Tensor, x: Tensor, eps: Tensor, z: Tensor, t: int) -> Tensor:
    """t = T … 1; table entry t - 1; the noise is the posterior's, and zero at t = 1."""
    alphas = 1 - betas
    bars = alphas.cumprod(0)
    alpha, bar = alphas[t - 1], bars[t - 1]
    before = bars[t - 2] if t > 1 else torch.ones_like(bar)
    mean = (x - (1 - alpha) / torch.sqrt(1 - bar) * eps) / torch.sqrt(alpha)
    return mean if t == 1 else mean + torch.sqrt((1 - alpha) * (1 - before) / (1 - bar)) * z


def simple_unet(betas: Tensor, x: Tensor, eps: Tensor, z: Tensor, i: int) -> Tensor:
    """i = T-1 … 0; the table of the levels before is shifted and starts with 1."""
    alphas = 1.0 - betas
    bars = torch.cumprod(alphas, 0)
    shifted = torch.cat([torch.ones(1, dtype=bars.dtype), bars[:-1]])
    posterior = betas * (1.0 - shifted) / (1.0 - bars)
    mean = torch.sqrt(1.0 / alphas[i]) * (x - betas[i] * eps / torch.sqrt(1.0 - bars)[i])
    return mean if i == 0 else mean + torch.sqrt(posterior[i]) * z


def attention_mnist(betas: Tensor, x: Tensor, eps: Tensor, z: Tensor, t: int) -> Tensor:
    """t = T … 1 over T + 1 entries; noise of variance β at every move, the last one too."""
    alphas = 1 - betas
    bars = alphas.cumprod(0)
    mean = (x - eps * (1 - alphas[t]) / (1 - bars[t]) ** 0.5) / alphas[t] ** 0.5
    return mean + betas[t] ** 0.5 * z


@pytest.mark.parametrize(
    ("printed", "T", "offset", "variance", "last"),
    [
        (scratch5, 1000, 0, "posterior", 1),  # its t is our level
        (simple_unet, 300, -1, "posterior", 1),  # its index i is our level i + 1
        (attention_mnist, 1001, -1, "beta", 2),  # its t is our level t + 1, and it ends one level above clean
    ],
    ids=["scratch5", "simple-unet", "attention-mnist"],
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
def test_printed_loops(
    printed: Any, T: int, offset: int, variance: str, last: int, dtype: torch.dtype, tolerance: float
) -> None:
    schedule = NoiseSchedule.linear(T)
    betas = torch.linspace(1e-4, 0.02, T, dtype=dtype)
    worst = 0.0
    for level in range(T, last - 1, -1):
        x, eps, z = normal(level, 3, 64, dtype=dtype)
        denoiser = Denoiser(lambda *_, eps=eps: eps, schedule)
        ours = take(schedule, DDPM(variance), x, level, level - 1, denoiser(x, level), z=z)
        assert ours.dtype == dtype
        worst = max(worst, float((ours - printed(betas, x, eps, z, level + offset)).abs().max()))
    assert worst < tolerance


# -- diffusers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 10, 20, 50, 300, 1000])
def test_uniform_grid_is_the_trailing_spacing_of_diffusers(steps: int) -> None:
    scheduler = diffusers_scheduler("DDIMScheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert [t + 1 for t in scheduler.timesteps.tolist()] == timestep_grid(LINEAR, steps)[:-1]


@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize(("variance", "theirs"), [("posterior", "fixed_small"), ("beta", "fixed_large")])
def test_ddpm_of_diffusers(variance: str, theirs: str, steps: int) -> None:
    scheduler = diffusers_scheduler(
        "DDPMScheduler", LINEAR, variance_type=theirs, clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    for t, u in pairwise(timestep_grid(LINEAR, steps)):
        x, eps = normal(t, 2, 8, 2)
        ours = take(LINEAR, DDPM(variance), x, t, u, predicted(LINEAR, x, t, eps), z=normal(-t, 8, 2))
        generator = torch.Generator().manual_seed(-t)
        step = scheduler.step(eps, t - 1, x, generator=generator)
        if u > 0:
            torch.testing.assert_close(ours, step.prev_sample, **exact)
        else:
            torch.testing.assert_close(ours, step.pred_original_sample, **exact)


def test_the_last_move_adds_no_noise_where_diffusers_does() -> None:
    """diffusers decides by t > 0: with 10 strided steps and the large variance its result is noisy (std 0.32)."""
    scheduler = diffusers_scheduler(
        "DDPMScheduler", LINEAR, variance_type="fixed_large", clip_sample=False, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    x, eps = normal(0, 2, 4000, 2)
    ours = take(LINEAR, DDPM("beta"), x, 100, 0, predicted(LINEAR, x, 100, eps))  # noise would fail here
    theirs = scheduler.step(eps, 99, x, generator=torch.Generator().manual_seed(1)).prev_sample
    assert float((theirs - ours).std()) == pytest.approx(0.32, abs=0.01)


@pytest.mark.parametrize("steps", [10, 50, 1000])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_of_diffusers(eta: float, steps: int) -> None:
    scheduler = diffusers_scheduler(
        "DDIMScheduler", LINEAR, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    for t, u in pairwise(timestep_grid(LINEAR, steps)):
        x, eps, z = normal(t, 3, 8, 2)
        ours = take(LINEAR, DDIM(eta), x, t, u, predicted(LINEAR, x, t, eps), z=z)
        step = scheduler.step(eps, t - 1, x, eta=eta, variance_noise=z if eta else None)
        torch.testing.assert_close(ours, step.prev_sample, **exact)


def test_clipped_ddpm_of_diffusers() -> None:
    """With x0 clipped and eps re-derived, the step is the posterior mean of the clipped x0."""
    scheduler = diffusers_scheduler("DDPMScheduler", LINEAR, clip_sample=True, timestep_spacing="trailing")
    scheduler.set_timesteps(50)
    for t, u in pairwise(timestep_grid(LINEAR, 50)):
        x, eps = normal(t, 2, 32, 2)
        prediction = Denoiser(lambda *_, eps=eps: eps, LINEAR, clip=(-1, 1))(x, t)
        ours = take(LINEAR, DDPM(), x, t, u, prediction, z=normal(-t, 32, 2))
        theirs = scheduler.step(eps, t - 1, x, generator=torch.Generator().manual_seed(-t)).prev_sample
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_euler_of_diffusers() -> None:
    """diffusers walks y = x/α, in float32."""
    scheduler = diffusers_scheduler("EulerDiscreteScheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(25)
    for label, (t, u) in zip(scheduler.timesteps, pairwise(timestep_grid(LINEAR, 25)), strict=True):
        x, eps = normal(t, 2, 8, 2)
        y = x / LINEAR.alpha[t]
        ours = take(LINEAR, Euler(), x, t, u, predicted(LINEAR, x, t, eps)) / LINEAR.alpha[u]
        scheduler.scale_model_input(y, label)
        theirs = scheduler.step(eps, label, y).prev_sample
        # their float32 table is good to 1e-5 of the largest term, y
        torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=1e-5 * float(y.abs().max()))


@pytest.mark.parametrize("steps", [10, 50])
@pytest.mark.parametrize("sampler", [Euler(), DDIM()])
def test_flow_of_diffusers(sampler: Sampler, steps: int) -> None:
    schedule = NoiseSchedule.flow(50)
    grid = timestep_grid(schedule, steps)
    scheduler = diffusers_scheduler("FlowMatchEulerDiscreteScheduler", num_train_timesteps=50)
    scheduler.set_timesteps(sigmas=[t / 50 for t in grid[:-1]])
    for label, (t, u) in zip(scheduler.timesteps, pairwise(grid), strict=True):
        x, velocity = normal(t, 2, 8, 2)
        s = t / 50
        ours = take(schedule, sampler, x, t, u, Prediction(x - s * velocity, x + (1 - s) * velocity))
        theirs = scheduler.step(velocity, label, x).prev_sample
        torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=2e-6)
        torch.testing.assert_close(ours, x + (u - t) / 50 * velocity, **exact)


@pytest.mark.parametrize("steps", [5, 12, 25])
def test_dpm_solver_of_diffusers_update_by_update(steps: int) -> None:
    """Both orders, in float64: its public step would round to float32."""
    scheduler = diffusers_scheduler(
        "DPMSolverMultistepScheduler", LINEAR, solver_order=2, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    scheduler.set_timesteps(steps)
    grid = timestep_grid(LINEAR, steps)
    assert [t + 1 for t in scheduler.timesteps.tolist()] == grid[:-1]
    scheduler.sigmas = torch.from_numpy((LINEAR.sigma / LINEAR.alpha)[grid].copy())
    past: tuple[Past, ...] = ()
    for index, (t, u) in enumerate(pairwise(grid)):
        x, eps = normal(t, 2, 8, 2)
        prediction = predicted(LINEAR, x, t, eps)
        scheduler._step_index = index
        if past and u > 0:
            x0s = [past[-1].prediction.x0, prediction.x0]
            theirs = scheduler.multistep_dpm_solver_second_order_update(x0s, sample=x)
        else:
            theirs = scheduler.dpm_solver_first_order_update(prediction.x0, sample=x)
        ours = take(LINEAR, DPMSolver2M(), x, t, u, prediction, past=past)
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11 * float(prediction.x0.abs().max()))
        past = (Past(t, prediction),)


@pytest.mark.parametrize("steps", [8, 20])
def test_dpm_solver_of_diffusers_as_a_whole(steps: int) -> None:
    """Its own choice of order along a trajectory of a mixture, in its float32."""
    scheduler = diffusers_scheduler("DPMSolverMultistepScheduler", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    denoiser = mixture(LINEAR)
    ours = theirs = normal(3, 200, 2)
    past: tuple[Past, ...] = ()
    for label, (t, u) in zip(scheduler.timesteps, pairwise(timestep_grid(LINEAR, steps)), strict=True):
        theirs = scheduler.step(denoiser(theirs, t).eps, label, theirs).prev_sample
        prediction = denoiser(ours, t)
        ours = take(LINEAR, DPMSolver2M(), ours, t, u, prediction, past=past)
        past = (Past(t, prediction),)
    torch.testing.assert_close(ours, theirs.double(), rtol=0, atol=2e-3)
    assert float((ours - theirs).abs().median()) < 1e-5


def test_heun_and_diffusers_differ_by_the_third_order_only() -> None:
    """Theirs is the trapezium in time σ/α, ours in the angle: two rules of second order for one ODE.

    Halving the step divides the difference of one move by eight.
    """
    schedule = NoiseSchedule.scaled_linear(4000)
    denoiser = mixture(schedule)
    x = normal(5, 50, 2)
    gaps = []
    for stride in (400, 200, 100, 50):
        scheduler = diffusers_scheduler("HeunDiscreteScheduler", schedule)
        t, u = 1600, 1600 - stride
        scheduler.set_timesteps(timesteps=[t - 1, u - 1])
        ratio = schedule.sigma / schedule.alpha
        scheduler.sigmas = torch.from_numpy(ratio[[t, u, u, 0]])
        y = x / schedule.alpha[t]
        predictor = scheduler.step(denoiser(x, t).eps, scheduler.timesteps[0], y).prev_sample
        slope = denoiser(schedule.alpha[u] * predictor, u).eps
        theirs = schedule.alpha[u] * scheduler.step(slope, scheduler.timesteps[1], predictor).prev_sample
        ours = take(schedule, Heun(), x, t, u, denoiser(x, t), denoiser=denoiser)
        gaps.append(float((ours - theirs).abs().mean()))
    ratios = [a / b for a, b in pairwise(gaps)]
    assert gaps[0] < 0.05
    assert ratios[-1] == pytest.approx(8, rel=0.15), (gaps, ratios)


# -- the papers' own formulas ------------------------------------------------------------------------------


@every_table
def test_heun_is_algorithm_1_of_edm(schedule: NoiseSchedule) -> None:
    """dx/dt = (σ'/σ + s'/s) x - σ' s/σ · D(x/s; σ) with σ = tan t, s = cos t (arXiv 2206.00364, eq. 4 and 81)."""
    denoiser = mixture(schedule)
    top = schedule.steps - 1 if schedule.alpha[-1] == 0 else schedule.steps
    scale = np.hypot(schedule.alpha, schedule.sigma)  # ours is x = scale · z
    time = np.arctan2(schedule.sigma, schedule.alpha)

    def slope(z: Tensor, level: int) -> Tensor:
        t = float(time[level])
        sigma, s, d_sigma, d_s = math.tan(t), math.cos(t), 1 / math.cos(t) ** 2, -math.sin(t)
        D = denoiser(float(scale[level]) * z, level).x0
        return (d_sigma / sigma + d_s / s) * z - d_sigma * s / sigma * D

    for t, u in ((top, top - 1), (top, top // 2), (top // 2, top // 3), (4, 1)):
        x = scale[t] * normal(t, 8, 2)
        z, h = x / scale[t], time[u] - time[t]
        d = slope(z, t)
        # line 5, with Euler's predictor along the exact straight line to u
        prediction = denoiser(x, t)
        predictor = (schedule.alpha[u] * prediction.x0 + schedule.sigma[u] * prediction.eps) / scale[u]
        algorithm = z + h * (d + slope(predictor, u)) / 2
        ours = take(schedule, Heun(), x, t, u, prediction, denoiser=denoiser) / scale[u]
        torch.testing.assert_close(ours, algorithm, rtol=1e-9, atol=1e-9 / min(math.cos(time[t]), 1e-2))


@every_table
def test_euler_is_the_straight_line_in_sigma_over_alpha(schedule: NoiseSchedule) -> None:
    top = schedule.steps - 1 if schedule.alpha[-1] == 0 else schedule.steps
    ratio = schedule.sigma / np.maximum(schedule.alpha, 1e-300)
    for t, u in ((top, top // 2), (top // 2, 1), (top, 0), (1, 0)):
        x, eps = normal(t, 2, 8, 2)
        prediction = predicted(schedule, x, t, eps)
        y = x / schedule.alpha[t] + (ratio[u] - ratio[t]) * eps
        ours = take(schedule, Euler(), x, t, u, prediction)
        torch.testing.assert_close(ours, schedule.alpha[u] * y, rtol=1e-9, atol=1e-12 * float(1 + ratio[t]))
        torch.testing.assert_close(ours, take(schedule, DDIM(), x, t, u, prediction), **exact)


def test_euler_keeps_float32_at_the_top_of_a_cosine_schedule() -> None:
    """σ/α is 20,291 there: written with 1/α the move would lose four of seven digits."""
    schedule = NoiseSchedule.cosine()
    x0, eps = normal(7, 2, 500)
    x = schedule.add_noise(x0, 1000, eps)
    for u in (980, 500, 0):
        sharp = take(schedule, Euler(), x, 1000, u, Prediction(x0, eps))
        rough = take(schedule, Euler(), x.float(), 1000, u, Prediction(x0.float(), eps.float()))
        torch.testing.assert_close(rough.double(), sharp, rtol=0, atol=1e-6)


@every_table
def test_ddim_with_eta_1_is_ddpm(schedule: NoiseSchedule) -> None:
    T = schedule.steps
    for t, u in ((T, T - 1), (T, T // 2), (T // 2, 1), (1, 0)):
        x0, eps, z = normal(t, 3, 8, 2)
        x, prediction = schedule.add_noise(x0, t, eps), Prediction(x0, eps)
        ours = (take(schedule, sampler, x, t, u, prediction, z=z) for sampler in (DDIM(1.0), DDPM()))
        torch.testing.assert_close(*ours, **exact)


def test_exploding_schedules_are_those_of_score_sde() -> None:
    """Reverse diffusion (variance beta) and ancestral sampling (posterior), arXiv 2011.13456, eq. 46 and 47."""
    schedule = TABLES["geometric"]
    for t in range(50, 1, -1):
        x, eps, z = normal(t, 3, 8, 2)
        s, s_u = schedule.sigma[t], schedule.sigma[t - 1]
        v, score = s**2 - s_u**2, -eps / s
        prediction = predicted(schedule, x, t, eps)
        mean = x + v * score
        beta = take(schedule, DDPM("beta"), x, t, t - 1, prediction, z=z)
        ancestral = take(schedule, DDPM(), x, t, t - 1, prediction, z=z)
        torch.testing.assert_close(beta, mean + math.sqrt(v) * z, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(ancestral, mean + s_u * math.sqrt(v) / s * z, rtol=1e-11, atol=1e-11)


def test_posterior_over_beta_of_the_deviation() -> None:
    """The choice of the variance shows at the last levels only: ratios .674, .782, .9996."""
    for level, ratio in ((2, 0.674), (3, 0.782), (501, 0.9996)):
        zero, one = torch.zeros(1, 1), torch.ones(1, 1)
        deviation = [
            float(take(LINEAR, DDPM(v), zero, level, level - 1, Prediction(zero, zero), z=one))
            for v in ("posterior", "beta")
        ]
        assert deviation[0] / deviation[1] == pytest.approx(ratio, abs=6e-4)


@every_table
@pytest.mark.parametrize("sampler", WALKING, ids=repr)
def test_the_move_to_the_clean_level_is_x0_and_draws_nothing(sampler: Sampler, schedule: NoiseSchedule) -> None:
    x0, eps = normal(9, 2, 8, 2)
    past = (Past(schedule.steps, Prediction(2 * x0, eps)),)
    for t in (schedule.steps, schedule.steps // 2, 1):
        x = schedule.add_noise(x0, t, eps)
        torch.testing.assert_close(take(schedule, sampler, x, t, 0, Prediction(x0, eps), past=past), x0, **exact)


@pytest.mark.parametrize("sampler", WALKING, ids=repr)
def test_the_top_of_a_flow_is_finite(sampler: Sampler) -> None:
    """alpha = 0 there: nothing may divide by it, also not through the past of the move after it."""
    schedule = NoiseSchedule.flow(10)
    denoiser = mixture(schedule)
    x, z = normal(10, 2, 8, 2)
    first = denoiser(x, 10)
    y = take(schedule, sampler, x, 10, 8, first, z=z, denoiser=denoiser)
    last = take(schedule, sampler, y, 8, 6, denoiser(y, 8), z=z, past=(Past(10, first),), denoiser=denoiser)
    assert y.isfinite().all()
    assert last.isfinite().all()
    assert float(last.abs().max()) < 6


@pytest.mark.parametrize("schedule", [TABLES["geometric"], LINEAR], ids=["geometric", "linear"])
def test_langevin_is_a_move_along_the_score(schedule: NoiseSchedule) -> None:
    """x + α_t s + √(2α_t) u with s = ∇ log p_t, by autograd of the density itself; then down, x as it is."""
    T, alpha = schedule.steps, 0.02
    means, weights = mixture(schedule).means, mixture(schedule).weights

    def log_density(x: Tensor, t: int) -> Tensor:
        a, s = float(schedule.alpha[t]), float(schedule.sigma[t])
        squares = (x[:, None] - a * means).square().sum(-1)
        return torch.logsumexp(weights.log() - squares / (2 * (a**2 * 0.04 + s**2)), dim=1).sum()

    for t in (T, T // 2, 2, 1):
        x, z = normal(t, 2, 30, 2)
        x.requires_grad_()
        (score,) = torch.autograd.grad(log_density(x, t), x)
        x = x.detach()
        fallen = alpha * (schedule.sigma[t] / schedule.sigma[T]) ** 2
        for sampler, length in ((Langevin(alpha), fallen), (PlainLangevin(alpha), alpha)):
            here, down = (take(schedule, sampler, x, t, u, mixture(schedule)(x, t), z=z) for u in (t, max(t - 1, 1)))
            torch.testing.assert_close(here, x + length * score + math.sqrt(2 * length) * z, rtol=1e-9, atol=1e-9)
            assert torch.equal(here, down)
            last = take(schedule, sampler, x, t, 0, mixture(schedule)(x, t))  # noise would fail here
            torch.testing.assert_close(last, x + length * score, rtol=1e-9, atol=1e-9)


def test_langevin_keeps_a_gaussian_as_wide_as_its_step_allows() -> None:
    """x ← (1 - r) x + √(2α) u, r = α/v, settles at the variance v/(1 - r/2); from too wide and from too narrow."""
    schedule = TABLES["geometric"]
    point = GaussianMixtureDenoiser(
        schedule, torch.zeros(1, 2, dtype=torch.float64), 0.04, torch.ones(1, dtype=torch.float64)
    )
    v = 0.04 + float(schedule.sigma[10]) ** 2
    for start in (0.0, 3.0):
        x = start * normal(0, 5000, 2)
        for n in range(60):
            x = take(schedule, PlainLangevin(0.2 * v), x, 10, 10, point(x, 10), z=normal(n + 1, 5000, 2))
        assert float(x.square().mean()) == pytest.approx(v / 0.9, rel=4 * (2 / 10_000) ** 0.5)


def test_samplers_refuse_what_they_do_not_know() -> None:
    for sampler in (Langevin, PlainLangevin):
        for step_size in (0.0, -0.1, math.nan):
            with pytest.raises(ValueError, match="it must be above 0"):
                sampler(step_size)
    with pytest.raises(ValueError, match="variance is 'small'; it must be posterior or beta"):
        DDPM("small")
    for eta in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="it must lie in 0 … 1"):
            DDIM(eta)
    usual = {"ddpm", "ddim", "euler", "heun", "langevin", "langevin-plain"}
    assert set(SAMPLERS) == usual | {"dpmpp-2m", "dpmpp-3m", "unipc", "ipndm"}
