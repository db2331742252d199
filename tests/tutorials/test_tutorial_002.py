"""Tutorial 002, "SimpleUnet": its formulas in our words and its own counting, against the recipe simple-unet-cars."""

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

from ddpm_studio.diffusion.noise import gaussian
from ddpm_studio.networks.embeddings import sinusoidal
from ddpm_studio.recipes import find
from ddpm_studio.training.build import DataOrder, Items, Session, build
from ddpm_studio.training.objective import draw_levels
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.sampling import Tone, to_uint8

PRINTED = find("simple-unet-cars")
T = 300

# -- the tutorial ------------------------------------------------------------------------------------------
# Its t is an index, 0 … T-1; the table of the products before is shifted by one and starts with 1.


def entry(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    return values.gather(-1, t).reshape(len(t), *[1] * (like.ndim - 1))


class Tables:
    def __init__(self, dtype: torch.dtype) -> None:
        self.betas = torch.linspace(0.0001, 0.02, T, dtype=dtype)
        alphas = 1.0 - self.betas
        self.products = torch.cumprod(alphas, dim=0)
        before = F.pad(self.products[:-1], (1, 0), value=1.0)
        self.sqrt_recip = torch.sqrt(1.0 / alphas)
        self.keep = torch.sqrt(self.products)
        self.noise = torch.sqrt(1.0 - self.products)
        self.posterior = self.betas * (1.0 - before) / (1.0 - self.products)

    def forward_sample(self, x0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        noise = torch.randn_like(x0)
        return entry(self.keep, t, x0) * x0 + entry(self.noise, t, x0) * noise, noise

    def loss(self, model: Model, x0: Tensor, t: Tensor) -> Tensor:
        noisy, noise = self.forward_sample(x0, t)
        return F.l1_loss(noise, model(noisy, t))

    def step(self, model: Model, x: Tensor, t: Tensor, draw: Any) -> Tensor:
        """t has one element, so that it can be compared with 0."""
        mean = entry(self.sqrt_recip, t, x) * (x - entry(self.betas, t, x) * model(x, t) / entry(self.noise, t, x))
        if t == 0:
            return mean
        return mean + torch.sqrt(entry(self.posterior, t, x)) * draw(x)


def encode(time: Tensor, width: int) -> Tensor:
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=time.dtype) * -(math.log(10000) / (half - 1)))
    angles = time[:, None] * rates[None, :]
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


class Block(nn.Module):
    def __init__(self, into: int, out: int, width: int, up: bool) -> None:
        super().__init__()
        self.time = nn.Linear(width, out)
        self.conv1 = nn.Conv2d(2 * into if up else into, out, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(out)
        self.transform = (nn.ConvTranspose2d if up else nn.Conv2d)(out, out, 4, 2, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        h = self.norm1(torch.relu(self.conv1(x)))
        h = h + torch.relu(self.time(t))[..., None, None]
        return self.transform(self.norm2(torch.relu(self.conv2(h))))


class Unet(nn.Module):
    """With widths to choose; the tutorial's are 64, 128, 256, 512, 1024."""

    def __init__(self, widths: list[int], width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.mlp = nn.Linear(width, width)
        self.conv0 = nn.Conv2d(3, widths[0], 3, padding=1)
        steps = range(len(widths) - 1)
        self.downs = nn.ModuleList([Block(widths[i], widths[i + 1], width, False) for i in steps])
        rising = widths[::-1]
        self.ups = nn.ModuleList([Block(rising[i], rising[i + 1], width, True) for i in steps])
        self.output = nn.Conv2d(rising[-1], 3, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = torch.relu(self.mlp(encode(t.to(x.dtype), self.width)))
        x = self.conv0(x)
        kept = []
        for down in self.downs:
            x = down(x, t)
            kept.append(x)
        for up in self.ups:
            x = up(torch.cat((x, kept.pop()), dim=1), t)
        return self.output(x)


# -- our side ----------------------------------------------------------------------------------------------


def tiny(**changes: Any) -> Session:
    small = {"network__channels": [4, 8, 12], "data__height": 8, "data__width": 8, "training__batch": 16}
    return build(recipe_of("simple-unet-cars", **small, **changes), pictures(70, 8, 3))


def twin(session: Session) -> Unet:
    """The tutorial's network with the weights of ours: both list them in the same order."""
    theirs = Unet(list(session.recipe.network.channels))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), session.network.state_dict().values(), strict=True)))
    return theirs


# -- tests -------------------------------------------------------------------------------------------------


def test_the_tables() -> None:
    ours, exact, rough = schedule_of(PRINTED), Tables(torch.float64), Tables(torch.float32)
    assert ours.steps == T
    for i, beta, product, variance in (
        (0, 1e-4, 0.9999, 0),
        (1, 1.6655518e-4, 0.99973346, 6.2488221e-5),
        (150, 0.010083278, 0.46234524, 0.0099949558),
        (299, 0.02, 0.048058429, 0.019979394),
    ):
        assert ours.betas[i] == pytest.approx(beta, rel=1e-7)
        assert ours.alpha_bar[i + 1] == pytest.approx(product, rel=1e-7)
        assert float(exact.posterior[i]) == pytest.approx(variance, rel=1e-7)
    np.testing.assert_allclose(ours.betas, exact.betas, rtol=1e-9)
    np.testing.assert_allclose(ours.alpha_bar[1:], exact.products, rtol=1e-12)
    np.testing.assert_allclose(ours.alpha[1:], rough.keep, rtol=1e-6)
    # in float32, 1 - ᾱ loses digits where ᾱ is near 1
    np.testing.assert_allclose(ours.sigma[1:] ** 2, rough.noise.double() ** 2, rtol=3e-4)
    assert ours.alpha[-1] == pytest.approx(0.219222, rel=1e-5)


@pytest.mark.parametrize(("i", "variance"), [(1, 6.2488221e-5), (150, 0.0099949558), (299, 0.019979394)])
def test_the_noise_of_a_move(i: int, variance: float) -> None:
    zero, one = torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, 1, dtype=torch.float64)
    ours, asked = our_move(PRINTED, denoiser_of(PRINTED, lambda x, *_: 0 * x), zero, i + 1, i, one)
    assert asked
    assert float(ours) ** 2 == pytest.approx(variance, rel=1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_every_move(dtype: torch.dtype, tolerance: float) -> None:
    """Same label, same state, noise at every move but that of index 0."""
    tables, moves = Tables(dtype), moves_of(PRINTED)
    assert len(moves) == T
    for i, (t, u) in zip(range(T - 1, -1, -1), moves, strict=True):
        x, z = normal(i, 2, 1, 3, 4, 4, dtype=dtype)
        drawn: list[Tensor] = []

        def draw(x: Tensor, z: Tensor = z, drawn: list[Tensor] = drawn) -> Tensor:
            drawn.append(z)
            return z

        theirs, ours = Recorded(), Recorded()
        printed = tables.step(theirs, x, torch.tensor([i]), draw)
        move, asked = our_move(PRINTED, denoiser_of(PRINTED, ours), x, t, u, z)
        assert move.dtype == dtype
        assert gap(move, printed) < tolerance, i
        assert gap(ours.labels[0], theirs.labels[0]) == 0
        assert asked == bool(drawn) == (i > 0)


def test_the_whole_reverse_process() -> None:
    """300 moves of one picture with the network of both sides, BatchNorm with its running statistics."""
    session = tiny()
    our_training(session, 3)  # running statistics of their own
    theirs, ours = twin(session).double().eval(), session.network.double().eval()
    result = our_run(session.recipe, denoiser_of(session.recipe, ours), normal(0, 1, 3, 8, 8), range(1))
    tables, x, draw = Tables(torch.float64), normal(0, 1, 3, 8, 8), Noises(range(1))
    with torch.no_grad():
        for i in range(T - 1, -1, -1):
            x = tables.step(theirs, x, torch.tensor([i]), draw)
    assert draw.draws == T - 1
    assert float(x.std()) > 0.1
    assert gap(result, x) < 1e-6 * float(x.abs().max().clamp_min(1))


def test_the_start_is_standard_normal() -> None:
    """Not σ_T z: σ_T is .976 here, as a fifth of the picture is left at the top of this short schedule."""
    seeds = range(9)
    assert gap(our_start(PRINTED, seeds, (3, 64, 64)), gaussian(seeds, 0, (3, 64, 64))) < 1e-12


def test_indices_run_from_0_to_299() -> None:
    first = PRINTED.objective.first_level
    torch.manual_seed(0)
    ours = draw_levels(20_000, T, PRINTED.training.stratified, torch.device("cpu"), first)
    torch.manual_seed(0)
    assert torch.equal(ours - 1, torch.randint(0, T, (20_000,)))
    assert set((ours - 1).tolist()) == set(range(T))


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_loss(dtype: torch.dtype, tolerance: float) -> None:
    session = tiny()
    theirs, ours, tables = twin(session).to(dtype), session.network.to(dtype), Tables(dtype)
    for seed in range(5):
        x0 = normal(seed, 16, 3, 8, 8, dtype=dtype).tanh()
        torch.manual_seed(seed)
        printed = tables.loss(theirs, x0, torch.randint(0, T, (16,)))
        assert gap(our_loss(session.recipe, ours, x0, seed), printed) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_embedding(dtype: torch.dtype, tolerance: float) -> None:
    known = torch.tensor([[0.84147098, 0.0001, 0.54030231, 1.0]], dtype=torch.float64)
    assert gap(sinusoidal(torch.ones(1, dtype=torch.float64), 4), known) < 1e-8
    time = torch.arange(T).to(dtype)
    assert PRINTED.network.time_width == 32
    assert gap(sinusoidal(time, 32), encode(time, 32)) < tolerance


def test_pictures_are_scaled_to_1_and_may_be_mirrored() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(200, axis=0)
    torch.manual_seed(0)
    x, _ = Items(every, None, PRINTED, torch.device("cpu")).batch(torch.arange(200))
    straight = (torch.arange(256) / 255 * 2 - 1).view(1, 1, 16, 16)
    as_it_is, mirrored = ((x - one).abs().amax((1, 2, 3)) < 1e-6 for one in (straight, straight.flip(-1)))
    assert (as_it_is ^ mirrored).all()
    assert 60 < int(mirrored.sum()) < 140  # a fair coin: 5.7 standard deviations


def test_samples_are_shown_from_minus_1_to_1() -> None:
    x = torch.linspace(-1.2, 1.2, 3 * 30 * 30).view(1, 3, 30, 30)
    shown = ((x + 1) / 2 * 255).clamp(0, 255)
    ours = torch.from_numpy(to_uint8(x, Tone.of(PRINTED))).permute(0, 3, 1, 2)
    assert gap(ours, shown) < 0.5 + 1e-4


def test_the_last_short_batch_is_dropped() -> None:
    """As DataLoader(shuffle=True, drop_last=True): 63 batches of 8144 cars, and 80 of them sit an epoch out."""
    order, batch = DataOrder(8144, 0, PRINTED.data.epoch_end), PRINTED.training.batch
    epochs = []
    for epoch in range(2):
        parts = [order((63 * epoch + n) * batch, batch) for n in range(63)]
        assert [len(part) for part in parts] == [batch] * 63
        epochs.append(torch.cat(parts).tolist())
        assert len(set(epochs[-1])) == 63 * 128
    assert epochs[0] != epochs[1]


def test_the_rate_never_changes() -> None:
    steps = range(0, PRINTED.training.steps, 7)
    assert {learning_rate(PRINTED, n) for n in steps} == {1e-3}
    assert {adam_beta1(PRINTED, n) for n in steps} == {0.9}


def test_training_gives_the_same_losses() -> None:
    """Four whole batches an epoch of 70 pictures; through five epochs.

    Both train in float32 and sum in other orders (channels-last convolutions, the fused optimizer). The gradient of L1
    is a sign: where a prediction is right to a few digits, rounding turns it round. float32 and float64 versions of
    this transcription drift apart by 6e-5 themselves.
    """
    session = tiny()
    x0 = torch.from_numpy(session.dataset.train.copy()).permute(0, 3, 1, 2) / 255 * 2 - 1
    model, tables = twin(session).train(), Tables(torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    printed = []
    for index in batches(session, 20):
        x = torch.stack(
            [one.flip(-1) if coin < 0.5 else one for one, coin in zip(x0[index], torch.rand(16), strict=True)]
        )
        optimizer.zero_grad()
        loss = tables.loss(model, x, torch.randint(0, T, (16,)))
        loss.backward()
        optimizer.step()
        printed.append(loss.item())
    done = our_training(session, 20)
    assert [e.images_seen for e in done] == [16 * n for n in range(1, 21)]
    np.testing.assert_allclose([e.loss for e in done[:6]], printed[:6], rtol=1e-5)
    np.testing.assert_allclose([e.loss for e in done], printed, rtol=5e-4)
    assert len({round(loss, 3) for loss in printed}) > 10, "the losses move, so agreement means something"


def test_samples_come_from_the_network_itself_in_evaluation_mode() -> None:
    session = tiny()
    our_training(session, 5)
    alone = twin(session).eval()
    x, i = normal(1, 3, 3, 8, 8, dtype=torch.float32), 40
    with torch.no_grad():
        printed = alone(x, torch.full((3,), i))
        for weights in ("ema", "raw"):
            assert gap(session.sampling_denoiser(weights)(x, i + 1).eps, printed) < 2e-5
        assert gap(alone.train()(x, torch.full((3,), i)), printed) > 1e-2
    assert session.network.training
