"""Tutorial 000, "Scratch 5": its formulas in our words and its own counting, against the recipe scratch5-mnist."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tutorial_tools import (
    BOTH,
    Model,
    Noises,
    Recorded,
    batches,
    denoiser_of,
    gap,
    moves_of,
    normal,
    our_loss,
    our_move,
    our_run,
    our_start,
    our_training,
    pictures,
    recipe_of,
    schedule_of,
)

from ddpm_studio.data import Dataset
from ddpm_studio.diffusion.noise import gaussian
from ddpm_studio.networks.embeddings import interleaved_own
from ddpm_studio.recipes import find
from ddpm_studio.training.build import Items, Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.objective import draw_levels
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.sampling import Tone, sample, to_uint8

PRINTED = find("scratch5-mnist")
T = 1000

# -- the tutorial ------------------------------------------------------------------------------------------
# t = 1 … T; the tables have T entries, and entry t - 1 belongs to t.


class Tables:
    def __init__(self, dtype: torch.dtype) -> None:
        self.betas = torch.linspace(0.0001, 0.02, T, dtype=dtype)
        self.alphas = 1 - self.betas
        self.alpha_bars = torch.cumprod(self.alphas, dim=0)

    def add_noise(self, x0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        bar = self.alpha_bars[t - 1].view(-1, 1, 1, 1)
        noise = torch.randn_like(x0)
        return torch.sqrt(bar) * x0 + torch.sqrt(1 - bar) * noise, noise

    def denoise(self, model: Model, x: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        entry = t - 1
        alpha, bar = (table[entry].view(-1, 1, 1, 1) for table in (self.alphas, self.alpha_bars))
        bar_before = self.alpha_bars[entry - 1].view(-1, 1, 1, 1)  # at t = 1 this wraps around to the last entry
        eps = model(x, t)
        noise = torch.where((t == 1).view(-1, 1, 1, 1), 0, noise)
        mean = (x - (1 - alpha) / torch.sqrt(1 - bar) * eps) / torch.sqrt(alpha)
        return mean + noise * torch.sqrt((1 - alpha) * (1 - bar_before) / (1 - bar))

    def sample(self, model: Model, x: Tensor, draw: Noises) -> Tensor:
        for i in range(T, 0, -1):
            x = self.denoise(model, x, torch.full((len(x),), i), draw(x))
        return x


def to_grey(x: Tensor) -> Tensor:
    return (x * 255).clamp(0, 255).to(torch.uint8)


def encode(t: Tensor, D: int, dtype: torch.dtype) -> Tensor:
    v = torch.zeros(D, dtype=dtype)
    divide = torch.exp(torch.arange(D, dtype=dtype) / D * math.log(10000))
    v[0::2] = torch.sin(t / divide[0::2])
    v[1::2] = torch.cos(t / divide[1::2])
    return v


class Convs(nn.Module):
    def __init__(self, into: int, out: int, D: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(D, into), nn.ReLU(), nn.Linear(into, into))
        once = (nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())
        twice = (nn.Conv2d(out, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())
        self.convs = nn.Sequential(*once, *twice)

    def forward(self, x: Tensor, v: Tensor) -> Tensor:
        return self.convs(x + self.mlp(v).view(*x.shape[:2], 1, 1))


class UNet(nn.Module):
    """With widths to choose; the tutorial's are 64, 128, 256."""

    def __init__(self, a: int, b: int, c: int, D: int = 100) -> None:
        super().__init__()
        self.D = D
        self.blocks = nn.ModuleList(
            [Convs(1, a, D), Convs(a, b, D), Convs(b, c, D), Convs(b + c, b, D), Convs(a + b, a, D)]
        )
        self.out = nn.Conv2d(a, 1, 1)
        self.pool, self.grow = nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear")

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        v = torch.stack([encode(one, self.D, x.dtype) for one in t])
        down1, down2, bottom, up2, up1 = self.blocks
        x1 = down1(x, v)
        x2 = down2(self.pool(x1), v)
        x = bottom(self.pool(x2), v)
        x = up2(torch.cat([self.grow(x), x2], 1), v)
        return self.out(up1(torch.cat([self.grow(x), x1], 1), v))


# -- our side ----------------------------------------------------------------------------------------------


def tiny(**changes: Any) -> Session:
    recipe = recipe_of("scratch5-mnist", network__channels=[4, 8, 12], training__batch=16, **changes)
    return build(recipe, pictures(70, 8))


def twin(session: Session) -> UNet:
    """The tutorial's network with the weights of ours: both list them in the same order."""
    theirs = UNet(*session.recipe.network.channels)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), session.network.state_dict().values(), strict=True)))
    return theirs


# -- tests -------------------------------------------------------------------------------------------------


def test_the_tables() -> None:
    ours = schedule_of(PRINTED)
    assert ours.steps == T
    for t, beta, bar in (
        (1, 1e-4, 0.9999),
        (2, 1.1991992e-4, 0.99978009),
        (500, 0.010040040, 0.078587243),
        (1000, 0.02, 4.0358298e-5),
    ):
        assert ours.betas[t - 1] == pytest.approx(beta, rel=1e-7)
        assert ours.alpha_bar[t] == pytest.approx(bar, rel=1e-7)
    exact, rough = Tables(torch.float64), Tables(torch.float32)
    np.testing.assert_allclose(ours.betas, exact.betas, rtol=1e-9)
    np.testing.assert_allclose(ours.alpha_bar[1:], exact.alpha_bars, rtol=1e-12)
    # in float32, 1 - ᾱ loses digits where ᾱ is near 1
    np.testing.assert_allclose(ours.sigma[1:] ** 2, 1 - rough.alpha_bars, rtol=3e-4)


@pytest.mark.parametrize(("t", "variance"), [(2, 5.4531877e-5), (500, 0.010031355), (1000, 0.019999984)])
def test_the_noise_of_a_move(t: int, variance: float) -> None:
    """σ_q, eq. (4): what a standard normal z adds."""
    zero, one = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    denoiser = denoiser_of(PRINTED, lambda x, *_: 0 * x)
    ours, asked = our_move(PRINTED, denoiser, zero, t, t - 1, one)
    assert asked
    assert float(ours) ** 2 == pytest.approx(variance, rel=1e-7)


@pytest.mark.parametrize(("t", "deviation"), [(2, 0.0073845702), (500, 0.10015665), (1000, 0.14142130)])
def test_sigma_q(t: int, deviation: float) -> None:
    tables, zero = Tables(torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    printed = tables.denoise(lambda x, _: 0 * x, zero, torch.tensor([t]), torch.ones_like(zero))
    assert float(printed) == pytest.approx(deviation, rel=1e-7)


def test_the_misprints_of_equation_5() -> None:
    """The coefficient of ε at t = 500: printed .104386, right .0104594, which is ours."""
    tables = Tables(torch.float64)
    alpha, bar = float(tables.alphas[499]), float(tables.alpha_bars[499])
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    ours = -float(our_move(PRINTED, denoiser_of(PRINTED, lambda *_: one), 0 * one, 500, 499, 0 * one)[0])
    assert math.sqrt((1 - alpha) / (1 - bar)) == pytest.approx(0.104386, rel=1e-5)
    assert ours == pytest.approx(0.0104594 / math.sqrt(alpha), rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_every_move(dtype: torch.dtype, tolerance: float) -> None:
    """Same label, same state, noise at every move but the last."""
    tables, moves = Tables(dtype), moves_of(PRINTED)
    assert len(moves) == T
    for i, (t, u) in zip(range(T, 0, -1), moves, strict=True):
        x, z = normal(i, 2, 3, 1, 4, 4, dtype=dtype)
        theirs, ours = Recorded(), Recorded()
        printed = tables.denoise(theirs, x, torch.full((3,), i), z)
        move, asked = our_move(PRINTED, denoiser_of(PRINTED, ours), x, t, u, z)
        assert move.dtype == dtype
        assert gap(move, printed) < tolerance, i
        assert gap(ours.labels[0], theirs.labels[0]) == 0
        assert asked == (i > 1)


def test_the_whole_reverse_process() -> None:
    """1000 moves. The stand-in pulls towards 0 and bends, so that errors would grow and be seen."""
    x, seeds = normal(0, 3, 1, 4, 4), range(3)
    draw = Noises(seeds)
    printed = Tables(torch.float64).sample(Recorded(), x, draw)
    assert draw.draws == T
    result = our_run(PRINTED, denoiser_of(PRINTED, Recorded()), x, seeds)
    assert float(printed.std()) > 0.1
    assert gap(result, printed) < 1e-6 * float(printed.abs().max().clamp_min(1))


def test_the_last_moves_of_a_trained_network() -> None:
    """The networks of both sides, BatchNorm with its running statistics: t = 60 … 1."""
    session = tiny()
    our_training(session, 3)  # running statistics of their own
    theirs, ours = twin(session).double().eval(), session.network.double().eval()
    x, draw, tables = normal(0, 2, 1, 8, 8), Noises(range(2)), Tables(torch.float64)
    grid = list(range(60, -1, -1))
    result = our_run(session.recipe, denoiser_of(session.recipe, ours), x, range(2), grid)
    with torch.no_grad():
        for t in range(60, 0, -1):
            x = tables.denoise(theirs, x, torch.full((2,), t), draw(x))
    assert gap(result, x) < 1e-6


def test_levels_run_from_1_to_the_top() -> None:
    torch.manual_seed(0)
    ours = draw_levels(40_000, T, PRINTED.training.stratified, torch.device("cpu"), PRINTED.objective.first_level)
    torch.manual_seed(0)
    assert torch.equal(ours, torch.randint(1, T + 1, (40_000,)))
    assert set(ours.tolist()) == set(range(1, T + 1))


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_loss(dtype: torch.dtype, tolerance: float) -> None:
    session = tiny()
    theirs, ours = twin(session).to(dtype), session.network.to(dtype)
    tables = Tables(dtype)
    for seed in range(5):
        x0 = normal(seed, 16, 1, 8, 8, dtype=dtype).sigmoid()
        torch.manual_seed(seed)
        noisy, noise = tables.add_noise(x0, t := torch.randint(1, T + 1, (16,)))
        printed = F.mse_loss(noise, theirs(noisy, t))
        assert gap(our_loss(session.recipe, ours, x0, seed), printed) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_embedding(dtype: torch.dtype, tolerance: float) -> None:
    known = torch.tensor([[0.84147098, 0.99500417, 0.00999983, 0.9999995]], dtype=torch.float64)
    assert gap(interleaved_own(torch.ones(1, dtype=torch.float64), 4), known) < 1e-8
    width = PRINTED.network.time_width
    assert width == 100
    time = torch.arange(1, T + 1)
    printed = torch.stack([encode(t, width, dtype) for t in time])
    assert gap(interleaved_own(time.to(dtype), width), printed) < tolerance


def test_pictures_are_scaled_to_0_1() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x, _ = Items(every, None, PRINTED, torch.device("cpu")).batch(torch.tensor([0]))
    assert gap(x.flatten(), torch.arange(256) / 255) < 1e-6


def test_grey_levels_are_truncated() -> None:
    x = torch.linspace(-0.2, 1.2, 4 * 36 * 36).view(4, 1, 36, 36)
    ours = to_uint8(x, Tone.of(PRINTED))
    np.testing.assert_array_equal(ours, to_grey(x).permute(0, 2, 3, 1).numpy())
    assert ours[..., 0].flat[(x.flatten() - 0.999).abs().argmin()] == 254  # rounding would say 255


def test_an_epoch_has_469_steps_and_ends_with_96() -> None:
    recipe = recipe_of("scratch5-mnist", network__channels=[4, 4, 4])
    blank = np.zeros((60_002, 4, 4, 1), np.uint8)
    session = build(recipe, Dataset(name="blank", kind="pictures", train=blank[:60_000], held_out=blank[60_000:]))
    sizes, seen = [], 0
    while seen < 2 * 60_000:
        sizes.append(len(session.order(seen, recipe.training.batch)))
        seen += sizes[-1]
    assert sizes == ([128] * 468 + [96]) * 2
    assert recipe.training.steps == 10 * 469


def test_the_rate_never_changes() -> None:
    assert {learning_rate(PRINTED, n) for n in range(4690)} == {1e-3}
    assert {adam_beta1(PRINTED, n) for n in range(4690)} == {0.9}


def test_training_gives_the_same_losses() -> None:
    """Five batches an epoch, the last one short; through two epochs and into the third.

    Both train in float32. The orders of summation differ (channels-last convolutions, the fused optimizer, one pass
    over the embedding instead of a loop), and Adam's m/√v turns a rounding error of a gradient near 0 into one of
    the step, so that 20 steps agree to about 1e-5 and not to the last bit.
    """
    session = tiny()
    x0 = torch.from_numpy(session.dataset.train.copy()).permute(0, 3, 1, 2) / 255  # as ToTensor
    model, tables = twin(session).train(), Tables(torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    printed = []
    for index in batches(session, 22):
        optimizer.zero_grad()
        x = x0[index]
        t = torch.randint(1, T + 1, (len(x),))
        noisy, noise = tables.add_noise(x, t)
        loss = F.mse_loss(noise, model(noisy, t))
        loss.backward()
        optimizer.step()
        printed.append(loss.item())
    done = our_training(session, 22)
    assert [e.images_seen for e in done[:6]] == [16, 32, 48, 64, 70, 86]
    np.testing.assert_allclose([e.loss for e in done], printed, rtol=1e-4)
    assert len({round(loss, 3) for loss in printed}) > 10, "the losses move, so agreement means something"


def test_samples_come_from_the_network_itself_in_evaluation_mode() -> None:
    """No moving average; running statistics are used and left alone; training mode stays."""
    session = tiny(sampler__steps=20)
    our_training(session, 5)
    before = {name: value.clone() for name, value in session.network.state_dict().items()}
    assert all(torch.equal(value, before[name]) for name, value in session.ema.state_dict().items())
    alone = twin(session).eval()
    x, t = normal(1, 3, 1, 8, 8, dtype=torch.float32), torch.full((3,), 400)
    with torch.no_grad():
        for weights in ("ema", "raw"):
            ours = session.sampling_denoiser(weights).output(x, t)
            assert gap(ours, alone(x, t)) < 2e-5
            one = session.sampling_denoiser(weights).output(x[:1], t[:1])
            assert gap(ours[:1], one) < 2e-5, "a picture does not depend on its batch"
        assert gap(alone.train()(x, t), ours) > 1e-2, "in training mode it would"
    (tape,) = (
        e.tape
        for e in sample(session, Control(), session.recipe.sampler, 3, 0, "ema", "sample")
        if isinstance(e, TapeFinished)
    )
    assert tape.complete
    assert session.network.training
    assert all(torch.equal(value, before[name]) for name, value in session.network.state_dict().items())


def test_the_start_is_standard_normal() -> None:
    seeds = range(50)
    assert gap(our_start(PRINTED, seeds, (1, 28, 28)), gaussian(seeds, 0, (1, 28, 28))) < 1e-12
