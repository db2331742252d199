"""Five ways to say one thing: decode inverts encode, and one rule gives every published loss weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusion_reference import diffusers_scheduler, normal, schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.diffusion import Denoiser, NoiseSchedule, Parameterization

lean = settings(deadline=None, max_examples=80)
every = pytest.mark.parametrize("kind", list(Parameterization))


def levels(schedule: NoiseSchedule, kind: Parameterization) -> list[int]:
    """Levels at which ``kind`` can be decoded: all but 0, and not alpha = 0 for those that divide by it."""
    needs_alpha = kind in (Parameterization.EPSILON, Parameterization.SCORE)
    return [t for t in range(1, schedule.steps + 1) if schedule.alpha[t] > 0 or not needs_alpha]


@every
@lean
@given(schedule=schedules(), seed=st.integers(0, 2**31))
def test_decode_inverts_encode(kind: Parameterization, schedule: NoiseSchedule, seed: int) -> None:
    x0, eps = normal(seed, 2, len(levels(schedule, kind)), 4)
    t = torch.tensor(levels(schedule, kind))
    alpha, sigma = schedule.at(t, x0)
    x = schedule.add_noise(x0, t, eps)
    x0_again, eps_again = kind.decode(x, kind.encode(x0, eps, alpha, sigma), alpha, sigma)
    # An error of 1e-16 in x is one of gain·1e-16 in x0, and of 1e-16·|x|/σ in eps.
    gain = torch.as_tensor(kind.x0_gain(alpha, sigma)).abs()
    noise_gain = (alpha + sigma) / sigma
    assert ((x0_again - x0).abs() <= 1e-13 + 1e-14 * (1 + gain) * (1 + sigma)).all()
    assert ((eps_again - eps).abs() <= 1e-13 + 1e-14 * noise_gain * (1 + gain * alpha / sigma)).all()
    # whatever the output, the pair is consistent
    other = normal(seed + 1, *x.shape)
    x0_other, eps_other = kind.decode(x, other, alpha, sigma)
    scale = 1 + (alpha * x0_other).abs() + (sigma * eps_other).abs()
    assert ((alpha * x0_other + sigma * eps_other - x).abs() <= 1e-13 * scale).all()


def test_targets_are_the_published_ones() -> None:
    a, s = 0.8, 0.6
    x0, eps = normal(0, 2, 3, 2)
    target = {kind: kind.encode(x0, eps, a, s) for kind in Parameterization}
    torch.testing.assert_close(target[Parameterization.EPSILON], eps)
    torch.testing.assert_close(target[Parameterization.X0], x0)
    torch.testing.assert_close(target[Parameterization.VELOCITY], eps - x0)
    torch.testing.assert_close(target[Parameterization.V], a * eps - s * x0)
    # score: the gradient of log N(x; a x0, s²) at x
    x = (a * x0 + s * eps).requires_grad_()
    log_density = -((x - a * x0) ** 2).sum() / (2 * s**2)
    torch.testing.assert_close(target[Parameterization.SCORE], torch.autograd.grad(log_density, x)[0])


def test_v_of_diffusers() -> None:
    schedule = NoiseSchedule.linear(100)
    scheduler = diffusers_scheduler("DDPMScheduler", schedule)
    x0, eps = normal(1, 2, 100, 3)
    t = torch.arange(1, 101)
    ours = Parameterization.V.encode(x0, eps, *schedule.at(t, x0))
    torch.testing.assert_close(ours, scheduler.get_velocity(x0, eps, t - 1), rtol=1e-12, atol=1e-12)


@every
@pytest.mark.parametrize(
    "build", [NoiseSchedule.linear, NoiseSchedule.cosine, NoiseSchedule.geometric, NoiseSchedule.flow]
)
def test_gain_is_the_derivative_of_x0(kind: Parameterization, build: object) -> None:
    schedule: NoiseSchedule = build(20)  # type: ignore[operator]
    t = torch.tensor(levels(schedule, kind))
    out = normal(2, len(t)).requires_grad_()
    alpha, sigma = schedule.at(t, out)
    x0, _ = kind.decode(normal(3, len(t)), out, alpha, sigma)
    (derivative,) = torch.autograd.grad(x0.sum(), out)
    gain = torch.as_tensor(kind.x0_gain(alpha, sigma), dtype=torch.float64)
    torch.testing.assert_close(gain.expand(len(t)), derivative.abs(), rtol=1e-12, atol=0)
    # the same for plain numbers
    for i, level in enumerate(t.tolist()):
        one = kind.x0_gain(float(schedule.alpha[level]), float(schedule.sigma[level]))
        assert one == pytest.approx(float(derivative[i].abs()), rel=1e-12)


@lean
@given(schedules(), st.floats(0.1, 50))
def test_one_rule_gives_the_published_weights(schedule: NoiseSchedule, gamma: float) -> None:
    """min-SNR (arXiv 2303.09556): weight min(SNR, γ) on x0, so w·gain² on what the network puts out."""
    known = schedule.snr > 0  # alpha = 0 is refused for epsilon
    known[0] = False
    alpha, sigma, snr = (table[known] for table in (schedule.alpha, schedule.sigma, schedule.snr))
    low = np.minimum(snr, gamma)

    def weight(kind: Parameterization) -> np.ndarray:
        return low * np.asarray(kind.x0_gain(alpha, sigma)) ** 2

    np.testing.assert_allclose(weight(Parameterization.EPSILON), low / snr, rtol=1e-9)
    np.testing.assert_allclose(weight(Parameterization.X0), low, rtol=1e-9)
    if np.allclose(alpha**2 + sigma**2, 1, rtol=1e-12):
        np.testing.assert_allclose(weight(Parameterization.V), low / (1 + snr), rtol=1e-9)
    # plain epsilon-MSE weighs the error in x0 with SNR itself
    np.testing.assert_allclose(snr * Parameterization.EPSILON.x0_gain(alpha, sigma) ** 2, 1, rtol=1e-9)


# -- the denoiser around it --------------------------------------------------------------------------------


@every
def test_a_perfect_network_is_read_as_what_it_saw(kind: Parameterization) -> None:
    schedule = NoiseSchedule.cosine(40)
    x0, eps = normal(4, 2, 6, 3)
    for t in levels(schedule, kind)[:39]:
        alpha, sigma = schedule.at(t, x0)
        denoiser = Denoiser(lambda *_, a=alpha, s=sigma: kind.encode(x0, eps, a, s), schedule, kind)
        prediction = denoiser(schedule.add_noise(x0, t, eps), t)
        torch.testing.assert_close(prediction.x0, x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(prediction.eps, eps, rtol=1e-9, atol=1e-9)


def test_clipping_keeps_the_pair_consistent() -> None:
    schedule = NoiseSchedule.linear(100)
    x = 3 * normal(5, 50, 2)
    free, kept = (Denoiser(lambda x, *_: 0.3 * x, schedule, clip=clip)(x, 60) for clip in (None, (-1.0, 1.0)))
    alpha, sigma = schedule.at(60, x)
    assert free.x0.abs().max() > 1.5
    torch.testing.assert_close(kept.x0, free.x0.clamp(-1, 1))
    torch.testing.assert_close(alpha * kept.x0 + sigma * kept.eps, x)
    inside = free.x0.abs() < 1
    torch.testing.assert_close(kept.eps[inside], free.eps[inside])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("t", [1, 5, 10]),
        ("t-1", [0, 4, 9]),
        ("t/T", [0.1, 0.5, 1.0]),
        ("sigma", [1 / 9, 1.0, 1e5]),
        ("log-sigma", [np.log(1 / 9) / 4, 0, np.log(1e5) / 4]),
    ],
)
def test_the_network_is_told_the_level_by_its_rule(rule: str, expected: list[float]) -> None:
    heard: list[torch.Tensor] = []

    def network(x: torch.Tensor, time: torch.Tensor, label: object) -> torch.Tensor:
        heard.append(time)
        return x

    denoiser = Denoiser(network, NoiseSchedule.flow(10), Parameterization.VELOCITY, rule)
    denoiser.output(torch.zeros(3, 2), torch.tensor([1, 5, 10]))
    assert heard[0].dtype == torch.float32
    assert heard[0].shape == (3,)
    np.testing.assert_allclose(heard[0], expected, rtol=1e-5, atol=1e-6)


def test_the_denoiser_refuses_what_it_cannot_answer() -> None:
    denoiser = Denoiser(lambda x, *_: x, NoiseSchedule.linear(10))
    for t in (0, -1, 11):
        with pytest.raises(ValueError, match=f"level {t} is not one of 1 … 10"):
            denoiser(torch.zeros(1, 2), t)
    with pytest.raises(ValueError, match="no time label rule is called 'steps'"):
        Denoiser(lambda x, *_: x, NoiseSchedule.linear(10), label_rule="steps")(torch.zeros(1, 2), 1)


def test_scaled_input_has_unit_variance_on_an_exploding_schedule() -> None:
    schedule = NoiseSchedule.geometric(10, 0.01, 50)
    seen: list[torch.Tensor] = []
    denoiser = Denoiser(lambda x, *_: (seen.append(x), x)[1], schedule, scale_input=True)
    x0, eps = normal(6, 2, 4000)
    for t in (1, 6, 10):
        denoiser(schedule.add_noise(x0, t, eps), t)
        assert float(seen[-1].var()) == pytest.approx(1, abs=0.06)
