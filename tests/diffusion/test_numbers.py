"""The numbers of one moment against the tutorials' printed tables and against the sampler itself."""

from __future__ import annotations

import math
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch

from ddpm_studio.diffusion.numbers import Numbers, numbers_at, time_vector
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.networks import embeddings
from ddpm_studio.recipes.tutorials import core, tutorials


def close(value: float, expected: float) -> bool:
    return value == pytest.approx(expected, rel=1e-7, abs=1e-15)


# (T of our schedule, our level, beta, abar, posterior variance)
TABLE = [
    (1000, 1, 1e-4, 0.9999, 0.0),
    (1000, 2, 1.1991992e-4, 0.99978009, 5.4531877e-5),
    (1000, 500, 0.010040040, 0.078587243, 0.010031355),
    (1000, 1000, 0.02, 4.0358298e-5, 0.019999984),
    (300, 2, 1.6655518e-4, 0.99973346, 6.2488221e-5),
    (300, 151, 0.010083278, 0.46234524, 0.0099949558),
    (300, 300, 0.02, 0.048058429, 0.019979394),
    (1001, 2, 1.199e-4, 0.99978011, 5.4527757e-5),
    (1001, 3, 1.398e-4, 0.99964034, 8.5471215e-5),
    (1001, 501, 0.01005, 0.077992323, 0.010041369),
    (1001, 1001, 0.02, 3.9952024e-5, 0.019999984),
]


@pytest.mark.parametrize(("T", "t", "beta", "alpha_bar", "posterior"), TABLE)
def test_the_tutorials_tables(T: int, t: int, beta: float, alpha_bar: float, posterior: float) -> None:
    numbers = numbers_at(NoiseSchedule.linear(T), t)
    # The fixtures have eight digits.
    assert numbers.beta == pytest.approx(beta, rel=6e-8)
    assert numbers.alpha**2 == pytest.approx(alpha_bar, rel=6e-8)
    assert numbers.posterior == pytest.approx(posterior, rel=6e-8, abs=1e-15)
    assert close(numbers.posterior_std**2, numbers.posterior)
    assert close(numbers.step_root**2, 1 - numbers.beta)
    assert close(numbers.sigma2, 1 - numbers.alpha**2)


# 003: its level, and its mean in x_t and x_0, and the standard deviation it uses
MEANS = [
    (1, 0.45474969, 0.54525031, 0.010949886),
    (2, 0.61133934, 0.38866065, 0.011823705),
    (500, 0.99410788, 0.0030595026, 0.10024969),
    (1000, 0.98994869, 1.2770377e-4, 0.14142136),
]


@pytest.mark.parametrize(("theirs", "x", "x0", "std"), MEANS)
def test_the_mean_of_003(theirs: int, x: float, x0: float, std: float) -> None:
    numbers = numbers_at(NoiseSchedule.linear(1001), theirs + 1)
    assert numbers.posterior_x == pytest.approx(x, rel=1e-7)
    assert numbers.posterior_x0 == pytest.approx(x0, rel=1e-7)
    assert numbers.beta_noise == pytest.approx(std, rel=1e-7)


def test_what_000_prints_in_place_of_the_factor_of_epsilon() -> None:
    numbers = numbers_at(NoiseSchedule.linear(1000), 500)
    assert math.sqrt(numbers.beta / numbers.sigma2) == pytest.approx(0.104386, rel=1e-5)
    assert numbers.beta / numbers.sigma == pytest.approx(0.0104594, rel=1e-5)
    assert close(numbers.mean_eps * numbers.step_root, numbers.beta / numbers.sigma)


@pytest.mark.parametrize("kind", ["linear", "cosine", "geometric", "flow"])
@pytest.mark.parametrize(("t", "s"), [(700, None), (700, 420), (3, 1), (1, 0)])
def test_both_forms_of_the_mean_agree_on_any_schedule_and_stride(kind: str, t: int, s: int | None) -> None:
    schedule = NoiseSchedule.named(kind, steps=1000)
    n = numbers_at(schedule, t, s)
    x0, eps = 0.37, -1.21
    x = n.alpha * x0 + n.sigma * eps
    one = n.mean_x * x - n.mean_eps * eps
    assert one == pytest.approx(n.posterior_x * x + n.posterior_x0 * x0, rel=1e-9, abs=1e-12)
    assert one == pytest.approx(n.alpha_s * x0 + n.ddim_eps * eps, rel=1e-9, abs=1e-12)


def test_the_steps_of_ddim_and_dpm_solver_are_the_samplers() -> None:
    from ddpm_studio.diffusion.denoiser import Prediction
    from ddpm_studio.diffusion.samplers import DDIM, DPMSolver2M, Move

    schedule = NoiseSchedule.cosine(1000)
    x0, eps = torch.tensor([0.4], dtype=torch.float64), torch.tensor([-0.9], dtype=torch.float64)
    for t, s in ((700, 650), (40, 1), (5, 0)):
        n = numbers_at(schedule, t, s, eta=0.6)
        x = n.alpha * x0 + n.sigma * eps
        noise = torch.tensor([1.3], dtype=torch.float64)
        move = Move(schedule, x, t, s, Prediction(x0, eps), (), lambda noise=noise: noise, None)  # type: ignore[arg-type,misc]
        torch.testing.assert_close(n.alpha_s * x0 + n.eta_eps * eps + n.eta_std * noise, DDIM(0.6).step(move))
        torch.testing.assert_close(n.solver_x * x + n.solver_d * x0, DPMSolver2M().step(move))
    assert numbers_at(schedule, 1).beta_noise == 0
    assert close(numbers_at(schedule, 2).beta_noise, math.sqrt(schedule.betas[1]))


def test_the_ends_have_numbers_or_none() -> None:
    clean = numbers_at(NoiseSchedule.cosine(10), 0)
    assert (clean.alpha, clean.sigma, clean.snr) == (1, 0, math.inf)
    assert math.isnan(clean.beta)
    assert math.isnan(clean.mean_x)
    top = numbers_at(NoiseSchedule.flow(10), 10)
    assert (top.alpha, top.sigma, top.snr) == (0, 1, 0)
    assert top.mean_x == math.inf
    assert close(top.angle, math.pi / 2)
    for numbers in (clean, top):
        assert not any(isinstance(value, np.generic) for value in asdict(numbers).values())


def test_the_langevin_step_of_004() -> None:
    schedule = NoiseSchedule.geometric(200, sigma_min=0.001, sigma_max=1.0)
    assert numbers_at(schedule, 1, step_size=0.1).langevin == pytest.approx(1e-7)
    top = numbers_at(schedule, 200, step_size=0.1)
    assert close(top.langevin, 0.1)
    assert close(top.langevin_std, math.sqrt(0.2))
    assert math.isnan(numbers_at(schedule, 1).langevin)


def test_each_number_stands_in_some_equation() -> None:
    sources = (*tutorials().values(), core())
    asked = set().union(*(equation.live_names() for source in sources for equation in source.equations))
    # "label", what the network is told, is the recipe's and not the schedule's
    assert asked - {"label"} == {field.name for field in fields(Numbers)}


def test_a_level_that_is_none_is_refused() -> None:
    schedule = NoiseSchedule.linear(10)
    for t, s in ((11, None), (-1, None), (5, 5), (5, -1)):
        with pytest.raises(ValueError, match=r"level"):
            numbers_at(schedule, t, s)


@pytest.mark.parametrize(
    ("kind", "expected", "torch_twin"),
    [
        ("interleaved-own", [0.84147098, 0.99500417, 0.00999983, 0.9999995], embeddings.interleaved_own),
        ("sinusoidal", [0.84147098, 0.0001, 0.54030231, 1.0], embeddings.sinusoidal),
        ("interleaved-pairs", [0.84147098, 0.54030231, 0.00999983, 0.99995], embeddings.interleaved_pairs),
    ],
)
def test_the_embeddings_are_those_of_the_networks(kind: str, expected: list[float], torch_twin: object) -> None:
    np.testing.assert_allclose(time_vector(kind, 1, 4), expected, atol=5e-9)
    twin = torch_twin(torch.tensor([412.0], dtype=torch.float64), 32)[0].numpy()  # type: ignore[operator]
    np.testing.assert_allclose(time_vector(kind, 412, 32), twin, atol=1e-10)
    numbers = numbers_at(NoiseSchedule.linear(1000), 412, vector=time_vector(kind, 412, 32))
    np.testing.assert_allclose([numbers.v_0, numbers.v_1, numbers.v_2, numbers.v_3], twin[:4], atol=1e-10)


def test_an_unknown_embedding_is_refused() -> None:
    with pytest.raises(ValueError, match="none of"):
        time_vector("learnt", 1, 4)
