"""The tables, against published numbers, the tutorials' fixtures and diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusion_reference import diffusers_scheduler, schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.diffusion import NoiseSchedule

lean = settings(deadline=None, max_examples=60)


def posterior_variance(schedule: NoiseSchedule) -> np.ndarray:
    """β_t σ_{t-1}²/σ_t² for t = 1 … T, at entry t - 1."""
    return schedule.betas * (schedule.sigma[:-1] / schedule.sigma[1:]) ** 2


# -- the tutorials' fixtures -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("T", "level", "beta", "alpha_bar", "posterior"),
    [
        (1000, 1, 1e-4, 0.9999, 0),
        (1000, 2, 1.1991992e-4, 0.99978009, 5.4531877e-5),
        (1000, 500, 0.010040040, 0.078587243, 0.010031355),
        (1000, 1000, 0.02, 4.0358298e-5, 0.019999984),
        # DeepFindr counts from 0: its index i is level i + 1
        (300, 1, 1e-4, 0.9999, 0),
        (300, 2, 1.6655518e-4, 0.99973346, 6.2488221e-5),
        (300, 151, 0.010083278, 0.46234524, 0.0099949558),
        (300, 300, 0.02, 0.048058429, 0.019979394),
        # a table of T + 1 entries: its level t is our level t + 1
        (1001, 2, 1.199e-4, 0.99978011, 5.4527757e-5),
        (1001, 3, 1.398e-4, 0.99964034, 8.5471215e-5),
        (1001, 501, 0.01005, 0.077992323, 0.010041369),
        (1001, 1001, 0.02, 3.9952024e-5, 0.019999984),
    ],
)
def test_tutorial_tables(T: int, level: int, beta: float, alpha_bar: float, posterior: float) -> None:
    schedule = NoiseSchedule.linear(T)
    ours = schedule.betas[level - 1], schedule.alpha_bar[level], posterior_variance(schedule)[level - 1]
    np.testing.assert_allclose(ours, (beta, alpha_bar, posterior), rtol=1e-7)


@pytest.mark.parametrize(
    ("T", "level", "sigma_q"), [(1000, 2, 0.0073845702), (1000, 500, 0.10015665), (1000, 1000, 0.14142130)]
)
def test_posterior_deviation_of_scratch5(T: int, level: int, sigma_q: float) -> None:
    assert np.sqrt(posterior_variance(NoiseSchedule.linear(T))[level - 1]) == pytest.approx(sigma_q, rel=1e-7)


@pytest.mark.parametrize(
    ("level", "of_x", "of_x0", "deviation"),
    [
        (2, 0.45474969, 0.54525031, 0.010949886),
        (3, 0.61133934, 0.38866065, 0.011823705),
        (501, 0.99410788, 0.0030595026, 0.10024969),
        (1001, 0.98994869, 1.2770377e-4, 0.14142136),
    ],
)
def test_posterior_mean_of_attention_mnist(level: int, of_x: float, of_x0: float, deviation: float) -> None:
    schedule = NoiseSchedule.linear(1001)
    beta, bar, before = schedule.betas[level - 1], schedule.alpha_bar[level], schedule.alpha_bar[level - 1]
    ours = np.sqrt(1 - beta) * (1 - before) / (1 - bar), np.sqrt(before) * beta / (1 - bar), np.sqrt(beta)
    np.testing.assert_allclose(ours, (of_x, of_x0, deviation), rtol=1e-7)


@pytest.mark.parametrize(("T", "left"), [(300, 0.219222), (1000, 0.00635282), (1001, 0.00632076)])
def test_what_is_left_at_the_top_of_the_tutorials(T: int, left: float) -> None:
    assert NoiseSchedule.linear(T).alpha[-1] == pytest.approx(left, rel=3e-6)


# -- published and computed numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("T", "unscaled", "scaled"),
    [
        (50, 0.776, 0.0028),
        (100, 0.603, 0.0045),
        (200, 0.364, 0.0055),
        (300, 0.219, 0.0059),
        (500, 0.080, 0.0061),
        (1000, 0.0064, 0.0064),
    ],
)
def test_what_is_left_of_the_picture(T: int, unscaled: float, scaled: float) -> None:
    assert NoiseSchedule.linear(T).alpha[-1] == pytest.approx(unscaled, abs=5.1e-4 if unscaled > 0.01 else 5.1e-5)
    assert NoiseSchedule.scaled_linear(T).alpha[-1] == pytest.approx(scaled, abs=5.1e-5)


def test_range_of_noise_to_signal() -> None:
    linear, cosine = NoiseSchedule.linear(), NoiseSchedule.cosine()
    assert linear.sigma[-1] / linear.alpha[-1] == pytest.approx(157.4, abs=0.05)
    assert cosine.sigma[-1] / cosine.alpha[-1] == pytest.approx(20_291, abs=0.5)
    assert linear.sigma[1] / linear.alpha[1] == pytest.approx(0.0100, abs=5e-5)
    assert cosine.sigma[1] / cosine.alpha[1] == pytest.approx(0.0064, abs=5e-5)


def test_scaled_equals_unscaled_at_1000_and_is_refused_below_21() -> None:
    np.testing.assert_array_equal(NoiseSchedule.scaled_linear(1000).alpha, NoiseSchedule.linear(1000).alpha)
    with pytest.raises(ValueError, match="β at level 20 is 1;"):
        NoiseSchedule.scaled_linear(20)


def test_flow_and_geometric_are_their_formulas() -> None:
    flow = NoiseSchedule.flow(8)
    np.testing.assert_allclose(flow.alpha, [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0])
    np.testing.assert_allclose(flow.sigma, 1 - flow.alpha)
    ncsn = NoiseSchedule.geometric(10, 0.01, 1.0)
    assert (ncsn.alpha == 1).all()
    np.testing.assert_allclose(ncsn.sigma[[1, 10]], [0.01, 1.0])
    np.testing.assert_allclose(ncsn.sigma[2:] / ncsn.sigma[1:-1], 100 ** (1 / 9))
    # the score tutorial's notebook: .001 to 1 in 200, ratio 1.03532
    score = NoiseSchedule.geometric(200, 0.001, 1.0)
    assert score.sigma[2] / score.sigma[1] == pytest.approx(1.03532, abs=5e-6)


def test_prior_mismatch_is_alpha_over_sigma_in_standard_errors() -> None:
    short = NoiseSchedule.linear(300)
    assert short.prior_mismatch() == pytest.approx(0.219222 / np.sqrt(1 - 0.048058429), rel=1e-5)
    assert short.prior_mismatch(0.25, 784) == pytest.approx(short.prior_mismatch() * 0.5 * 28)
    assert NoiseSchedule.flow(50).prior_mismatch() == 0


# -- diffusers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("T", [50, 300, 1000])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("linear", "linear"),
        ("quadratic", "scaled_linear"),  # what diffusers calls scaled_linear is linear in √β
        ("cosine", "squaredcos_cap_v2"),
        ("sigmoid", "sigmoid"),
    ],
)
def test_tables_of_diffusers(ours: str, theirs: str, T: int) -> None:
    schedule = getattr(NoiseSchedule, ours)(T)
    scheduler = diffusers_scheduler("DDPMScheduler", num_train_timesteps=T, beta_schedule=theirs)
    np.testing.assert_allclose(schedule.betas, scheduler.betas.double(), rtol=2e-6)
    # theirs is a float32 product of T factors; 1 - 0.999 costs cosine four more digits at its top
    np.testing.assert_allclose(schedule.alpha_bar[1:], scheduler.alphas_cumprod.double(), rtol=5e-5)


# -- properties of every table -----------------------------------------------------------------------------


@lean
@given(schedules(most=1500))
def test_every_table_is_clean_below_and_grows_noisier(schedule: NoiseSchedule) -> None:
    alpha, sigma = schedule.alpha, schedule.sigma
    assert alpha[0] == 1
    assert sigma[0] == 0
    assert len(alpha) == len(sigma) == schedule.steps + 1
    assert (alpha >= 0).all()
    assert (alpha <= 1).all()
    assert (sigma[1:] > 0).all()
    assert (np.diff(alpha) <= 0).all()
    assert (np.diff(sigma) >= 0).all()
    assert schedule.snr[0] == np.inf
    assert (np.diff(schedule.snr) < 0).all()
    assert schedule.log_snr[0] == np.inf
    assert (np.diff(schedule.log_snr) < 0).all()
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(schedule.log_snr, np.log(schedule.snr), atol=1e-9)
    assert not alpha.flags.writeable
    assert not sigma.flags.writeable


@lean
@given(st.lists(st.floats(1e-6, 0.9), min_size=1, max_size=60))
def test_betas_come_back(betas: list[float]) -> None:
    schedule = NoiseSchedule.from_betas(np.array(betas))
    np.testing.assert_allclose(schedule.alpha**2 + schedule.sigma**2, 1, rtol=1e-14)
    np.testing.assert_allclose(schedule.alpha_bar[1:], np.cumprod(1 - np.array(betas)), rtol=1e-12)
    # β_t is found as a difference of numbers below 1, so to 1e-15 absolute
    np.testing.assert_allclose(schedule.betas, betas, rtol=1e-12, atol=2e-15)


@lean
@given(st.integers(2, 400))
def test_single_steps_compose_to_the_closed_form(T: int) -> None:
    """x_t = r x_{t-1} + √v z, step after step, has the variance that ``sigma`` states: on a flow too."""
    for schedule in (NoiseSchedule.flow(T), NoiseSchedule.cosine(T), NoiseSchedule.geometric(T)):
        variance = 0.0
        for t in range(1, T + 1):
            r = schedule.alpha[t] / schedule.alpha[t - 1]
            variance = r**2 * variance + schedule.betas[t - 1]
            assert variance == pytest.approx(schedule.sigma[t] ** 2, rel=1e-9)


@pytest.mark.parametrize(
    ("alpha", "sigma", "sentence"),
    [
        ([1, 0.9], [0, 0.1, 0.2], r"two tables of one length"),
        ([1], [0], r"two tables of one length"),
        ([0.99, 0.9], [0, 0.1], r"alpha\[0\] is 0.99"),
        ([1, 0.9], [0.01, 0.1], r"sigma\[0\] is 0.01"),
        ([1, 0.9, 1.1], [0, 0.1, 0.2], r"level 2: alpha 1.1"),
        ([1, 0.9, -0.1], [0, 0.1, 0.2], r"level 2: alpha -0.1"),
        ([1, 0.9, 0.8], [0, 0.1, np.inf], r"level 2: .* sigma inf"),
        ([1, 0.9, np.nan], [0, 0.1, 0.2], r"level 2: alpha nan"),
        ([1, 0.9, 0.8], [0, 0.1, 0], r"level 2: .* sigma 0 "),
        ([1, 0.9, 0.9], [0, 0.1, 0.1], r"level 2 is not noisier than level 1"),
        ([1, 0.5, 0.0, 0.0], [0, 0.5, 1, 1], r"level 3 is not noisier than level 2"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(alpha: list[float], sigma: list[float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        NoiseSchedule(np.array(alpha, dtype=float), np.array(sigma, dtype=float))


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.0, 1.5, np.nan])
def test_a_bad_beta_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match="β at level 3 "):
        NoiseSchedule.from_betas(np.array([0.1, 0.1, bad, 0.1]))


def test_a_schedule_keeps_its_own_copy() -> None:
    alpha, sigma = np.array([1, 0.5]), np.array([0, 0.5])
    schedule = NoiseSchedule(alpha, sigma)
    alpha[1] = 0.7
    assert schedule.alpha[1] == 0.5


# -- add_noise ---------------------------------------------------------------------------------------------


@lean
@given(
    schedules(),
    st.sampled_from([(), (2,), (1, 4, 3)]),
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 2**31),
)
def test_add_noise(schedule: NoiseSchedule, shape: tuple[int, ...], dtype: type, seed: int) -> None:
    random = np.random.default_rng(seed)
    x0, eps = (random.standard_normal((5, *shape)).astype(dtype) for _ in range(2))
    t = random.integers(0, schedule.steps + 1, 5)
    for_numpy = schedule.add_noise(x0, t, eps)
    for_torch = schedule.add_noise(torch.from_numpy(x0), torch.from_numpy(t), torch.from_numpy(eps))
    assert for_numpy.dtype == dtype
    assert for_torch.dtype == torch.from_numpy(x0).dtype
    np.testing.assert_array_equal(for_numpy, for_torch.numpy())
    tolerance = 1e-6 if dtype is np.float32 else 1e-14
    for i, level in enumerate(t):
        by_hand = schedule.alpha[level] * x0[i].astype(float) + schedule.sigma[level] * eps[i].astype(float)
        np.testing.assert_allclose(for_numpy[i], by_hand, rtol=tolerance, atol=tolerance * (1 + schedule.sigma[level]))
        one = schedule.add_noise(x0[i : i + 1], int(level), eps[i : i + 1])
        assert one.dtype == dtype
        np.testing.assert_allclose(one[0], by_hand, rtol=tolerance, atol=tolerance * (1 + schedule.sigma[level]))


@pytest.mark.parametrize("steps", [300, 1000])
@pytest.mark.parametrize("kind", ["linear", "scaled_linear", "quadratic", "sigmoid", "cosine", "geometric", "flow"])
def test_what_kind_of_schedule_it_is(kind: str, steps: int) -> None:
    schedule = NoiseSchedule.named(kind, steps=steps)
    assert schedule.preserving == (kind not in ("geometric", "flow"))
    assert schedule.exploding == (kind == "geometric")
    # what it is stays true of numbers that were rounded to float32 on their way
    rounded = NoiseSchedule(schedule.alpha.astype(np.float32), schedule.sigma.astype(np.float32))
    assert (rounded.preserving, rounded.exploding) == (schedule.preserving, schedule.exploding)
