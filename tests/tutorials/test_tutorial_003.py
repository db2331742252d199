"""Tutorial 003: its formulas in our words and its own counting, against the recipe attention-mnist.

The document prints no network but an embedding, a time MLP and the sum inside one block; those are compared one by
one. The network of the comparisons below is a copy of ours, called as the tutorial calls its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
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
from ddpm_studio.networks.attention_unet import ResidualBlock
from ddpm_studio.networks.embeddings import interleaved_pairs
from ddpm_studio.recipes import find
from ddpm_studio.training.build import DataOrder, Items, Session, build
from ddpm_studio.training.objective import draw_levels
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.sampling import Tone, to_uint8

PRINTED = find("attention-mnist")
T = 1000

# -- the tutorial ------------------------------------------------------------------------------------------
# The tables have T + 1 entries, 0 … T, and none of them is clean: ᾱ_0 is .9999. t = 1 … T, of shape (B, 1).


class Tables:
    def __init__(self, dtype: torch.dtype) -> None:
        self.betas = torch.linspace(1e-4, 0.02, T + 1, dtype=dtype)
        self.alphas = 1 - self.betas
        self.bars = torch.cumprod(self.alphas, 0)
        self.keep, self.noise = torch.sqrt(self.bars), torch.sqrt(1 - self.bars)

    def loss(self, model: Model, pictures: Tensor, t: Tensor) -> Tensor:
        noise = torch.randn_like(pictures)
        noisy = self.keep[t].view(-1, 1, 1, 1) * pictures + self.noise[t].view(-1, 1, 1, 1) * noise
        return nn.MSELoss()(model(noisy, t.unsqueeze(1)), noise)

    def mean(self, x: Tensor, eps: Tensor, t: int) -> Tensor:
        return 1 / torch.sqrt(self.alphas[t]) * (x - eps * (1 - self.alphas[t]) / self.noise[t])

    def move(self, model: Model, x: Tensor, t: int, draw: Callable[[Tensor], Tensor]) -> Tensor:
        eps = model(x, torch.tensor([t]).repeat(len(x), 1))
        z = draw(x) if t > 0 else 0  # t never is 0
        return self.mean(x, eps, t) + torch.sqrt(self.betas[t]) * z

    def sample(self, model: Model, x: Tensor, draw: Callable[[Tensor], Tensor]) -> Tensor:
        for t in range(T, 0, -1):
            x = self.move(model, x, t, draw)
        return x

    # equations (4) and (5), with the minus sign that the denominator of the second term lacks

    def x0(self, x: Tensor, eps: Tensor, t: int) -> Tensor:
        return (x - torch.sqrt(1 - self.bars[t]) * eps) / torch.sqrt(self.bars[t])

    def posterior(self, t: int) -> tuple[float, float, float]:
        """The weights of x_t and x_0 in the mean, and the variance."""
        bar, before = self.bars[t], self.bars[t - 1]
        of_x = torch.sqrt(self.alphas[t]) * (1 - before) / (1 - bar)
        of_x0 = torch.sqrt(before) * self.betas[t] / (1 - bar)
        return float(of_x), float(of_x0), float((1 - before) / (1 - bar) * self.betas[t])


class Positions(nn.Module):
    """Rows 0 … rows-1. As printed there are T, so that the first row read while sampling, T, is not there."""

    def __init__(self, rows: int, width: int, dtype: torch.dtype) -> None:
        super().__init__()
        place = torch.arange(rows, dtype=dtype).unsqueeze(1)
        rates = torch.exp(torch.arange(0, width, 2, dtype=dtype) * (-math.log(10000.0) / width))
        table = torch.zeros(rows, width, dtype=dtype)
        table[:, 0::2] = torch.sin(place * rates)
        table[:, 1::2] = torch.cos(place * rates)
        self.register_buffer("table", table)

    def forward(self, t: Tensor) -> Tensor:
        return self.table[t].reshape(len(t), -1)


# -- our side ----------------------------------------------------------------------------------------------


def tiny(**changes: Any) -> Session:
    return build(recipe_of("attention-mnist", network__base=16, training__batch=12, **changes), pictures(40, 8))


def as_theirs(network: nn.Module) -> Model:
    return lambda x, t: network(x, t.squeeze(1))


def one(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


# -- tests -------------------------------------------------------------------------------------------------


def test_the_tables() -> None:
    """Entry t of the document is our level t + 1; a clean level comes below them all."""
    ours, exact, rough = schedule_of(PRINTED), Tables(torch.float64), Tables(torch.float32)
    assert ours.steps == T + 1
    for t, beta, bar, variance in (
        (1, 1.199e-4, 0.99978011, 5.4527757e-5),
        (2, 1.398e-4, 0.99964034, 8.5471215e-5),
        (500, 0.01005, 0.077992323, 0.010041369),
        (1000, 0.02, 3.9952024e-5, 0.019999984),
    ):
        assert ours.betas[t] == pytest.approx(beta, rel=1e-7)
        assert ours.alpha_bar[t + 1] == pytest.approx(bar, rel=1e-7)
        assert exact.posterior(t)[2] == pytest.approx(variance, rel=1e-7)
    assert ours.alpha_bar[1] == pytest.approx(0.9999, rel=1e-12)
    assert ours.alpha[-1] == pytest.approx(0.00632076, rel=1e-5)
    np.testing.assert_allclose(ours.betas, exact.betas, rtol=1e-9)
    np.testing.assert_allclose(ours.alpha_bar[1:], exact.bars, rtol=1e-12)
    # in float32, 1 - ᾱ loses digits where ᾱ is near 1
    np.testing.assert_allclose(ours.sigma[1:] ** 2, rough.noise.double() ** 2, rtol=3e-4)


@pytest.mark.parametrize(
    ("t", "of_x", "of_x0", "deviation"),
    [
        (1, 0.45474969, 0.54525031, 0.010949886),
        (2, 0.61133934, 0.38866065, 0.011823705),
        (500, 0.99410788, 0.0030595026, 0.10024969),
        (1000, 0.98994869, 1.2770377e-4, 0.14142136),
    ],
)
def test_the_parts_of_a_move(t: int, of_x: float, of_x0: float, deviation: float) -> None:
    """Our move split into what it takes of x_t, of x̂_0 and of z; the first two are those of eq. (5)."""
    sch = schedule_of(PRINTED)
    a, s = sch.alpha[t + 1], sch.sigma[t + 1]

    def ours(x: float, x0: float, z: float) -> float:
        denoiser = denoiser_of(PRINTED, lambda *_: one((x - a * x0) / s))
        return float(our_move(PRINTED, denoiser, one(x), t + 1, t, one(z))[0])

    for got, known in ((ours(1, 0, 0), of_x), (ours(0, 1, 0), of_x0), (ours(0, 0, 1), deviation)):
        assert got == pytest.approx(known, rel=1e-7)
    assert Tables(torch.float64).posterior(t)[:2] == pytest.approx((of_x, of_x0), rel=1e-7)


def test_equation_4_put_into_5_is_the_printed_mean() -> None:
    tables = Tables(torch.float64)
    for t in range(1, T + 1):
        x, eps = normal(t, 2, 50)
        of_x, of_x0, _ = tables.posterior(t)
        assert gap(of_x * x + of_x0 * tables.x0(x, eps, t), tables.mean(x, eps, t)) < 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_equation_4(dtype: torch.dtype, tolerance: float) -> None:
    """The estimate that the player shows. At t = T an error of eps is an error 158 times as large of x̂_0."""
    tables = Tables(dtype)
    for t in range(1, T + 1):
        x = normal(t, 2, 1, 4, 4, dtype=dtype)
        eps = Recorded()
        ours = denoiser_of(PRINTED, eps)(x, t + 1)
        printed = tables.x0(x, ours.eps, t)
        assert gap(ours.x0, printed) < tolerance * max(1, float(printed.abs().max()))
        assert gap(eps.labels[0], torch.full((2,), t)) == 0


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_every_move(dtype: torch.dtype, tolerance: float) -> None:
    """Same label, same state, and noise at every move, the last one too."""
    tables, moves = Tables(dtype), moves_of(PRINTED)
    assert len(moves) == T
    assert moves[-1] == (2, 1), "it ends one level above the clean one"
    for t, (level, below) in zip(range(T, 0, -1), moves, strict=True):
        x, z = normal(t, 2, 3, 1, 4, 4, dtype=dtype)
        theirs, ours = Recorded(), Recorded()
        printed = tables.move(theirs, x, t, lambda x, z=z: z)
        move, asked = our_move(PRINTED, denoiser_of(PRINTED, ours), x, level, below, z)
        assert move.dtype == dtype
        assert gap(move, printed) < tolerance, t
        assert gap(ours.labels[0], theirs.labels[0].squeeze(1)) == 0
        assert asked


def test_the_whole_reverse_process() -> None:
    """1000 moves, 1000 noises. The stand-in pulls towards 0 and bends, so that errors would grow and be seen."""
    x, seeds = normal(0, 3, 1, 4, 4), range(3)
    draw = Noises(seeds)
    printed = Tables(torch.float64).sample(Recorded(), x, draw)
    assert draw.draws == T
    result = our_run(PRINTED, denoiser_of(PRINTED, Recorded()), x, seeds)
    assert float(printed.std()) > 0.1
    assert gap(result, printed) < 1e-6 * float(printed.abs().max().clamp_min(1))


def test_a_single_point_ends_with_a_deviation_of_0136() -> None:
    """Eq. (2): the loop ends at ᾱ = .9999 and adds noise at the last move. Exact, from the linear law of each move."""
    point = 0.5
    sch = schedule_of(PRINTED)
    mean, variance = 0.0, 1.0
    for t, u in moves_of(PRINTED):
        a, s = float(sch.alpha[t]), float(sch.sigma[t])

        def ours(x: float, z: float, t: int = t, u: int = u, a: float = a, s: float = s) -> float:
            denoiser = denoiser_of(PRINTED, lambda *_: one((x - a * point) / s))
            return float(our_move(PRINTED, denoiser, one(x), t, u, one(z))[0])

        start = ours(0, 0)
        slope, noise = ours(1, 0) - start, ours(0, 1) - start
        mean, variance = start + slope * mean, slope**2 * variance + noise**2
    assert math.sqrt(variance) == pytest.approx(0.0136, abs=5e-5)
    assert mean == pytest.approx(point, abs=1e-3)


def test_the_start_is_standard_normal() -> None:
    seeds = range(50)
    assert gap(our_start(PRINTED, seeds, (1, 28, 28)), gaussian(seeds, 0, (1, 28, 28))) < 1e-12


def test_training_labels_run_from_1_to_the_top() -> None:
    torch.manual_seed(0)
    ours = draw_levels(40_000, T + 1, PRINTED.training.stratified, torch.device("cpu"), PRINTED.objective.first_level)
    torch.manual_seed(0)
    assert torch.equal(ours - 1, torch.randint(1, T + 1, (40_000,)))
    assert set((ours - 1).tolist()) == set(range(1, T + 1))


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_loss(dtype: torch.dtype, tolerance: float) -> None:
    network, tables = tiny().network.to(dtype), Tables(dtype)
    for seed in range(4):
        x0 = normal(seed, 12, 1, 8, 8, dtype=dtype).sigmoid()
        torch.manual_seed(seed)
        printed = tables.loss(as_theirs(network), x0, torch.randint(1, T + 1, (12,)))
        assert gap(our_loss(PRINTED, network, x0, seed), printed) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_embedding(dtype: torch.dtype, tolerance: float) -> None:
    known = torch.tensor([[0.84147098, 0.54030231, 0.00999983, 0.99995]], dtype=torch.float64)
    assert gap(interleaved_pairs(torch.ones(1, dtype=torch.float64), 4), known) < 1e-8
    width = tiny().network.time_features
    assert width == 128
    rows = Positions(T + 1, width, dtype)
    time = torch.arange(1, T + 1)
    assert gap(interleaved_pairs(time.to(dtype), width), rows(time.unsqueeze(1))) < tolerance
    with pytest.raises(IndexError):
        Positions(T, width, dtype)(torch.tensor([[T]]))


def test_the_time_mlp_and_the_block() -> None:
    """Linear, ReLU, Linear; then conv_3(x) + conv_2(conv_1(x) + time_emb(t)), compared in float64."""
    network = tiny().network.double()
    first, second = (layer for layer in network.time if isinstance(layer, nn.Linear))
    v = normal(0, 5, first.in_features)
    assert gap(network.time(v), second(torch.relu(first(v)))) < 1e-12
    block = next(m for m in network.modules() if isinstance(m, ResidualBlock) and isinstance(m.shortcut, nn.Conv2d))
    x, t = normal(1, 5, block.shortcut.in_channels, 8, 8), normal(2, 5, second.out_features)
    h = block.conv1(x)
    printed = block.shortcut(x) + block.conv2(h + block.shift(t)[:, :, None, None])
    assert gap(block(x, t), printed) < 1e-12


def test_pictures_are_scaled_to_0_1() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x, _ = Items(every, None, PRINTED, torch.device("cpu")).batch(torch.tensor([0]))
    assert gap(x.flatten(), torch.arange(256) / 255) < 1e-6


def test_pictures_are_shown_inverted() -> None:
    x = torch.linspace(-0.2, 1.2, 4 * 30 * 30).view(4, 1, 30, 30)
    shown = ((1 - x) * 255).clamp(0, 255)
    ours = torch.from_numpy(to_uint8(x, Tone.of(PRINTED))).permute(0, 3, 1, 2)
    assert gap(ours, shown) < 0.5 + 1e-4


def test_epochs_and_the_rate() -> None:
    """20 epochs of 469 steps, the last short batch kept; the rate stays at 2e-4."""
    order, seen, sizes = DataOrder(60_000, 0, PRINTED.data.epoch_end), 0, []
    while seen < 60_000:
        sizes.append(len(order(seen, PRINTED.training.batch)))
        seen += sizes[-1]
    assert sizes == [128] * 468 + [96]
    assert PRINTED.training.steps == 20 * 469
    assert {learning_rate(PRINTED, n) for n in range(0, 9380, 5)} == {2e-4}
    assert {adam_beta1(PRINTED, n) for n in range(0, 9380, 5)} == {0.9}


def test_training_gives_the_same_losses() -> None:
    """Three whole batches and a short one an epoch, through five epochs.

    Both train in float32 and sum in other orders (channels-last convolutions, the fused optimizer): Adam's m/√v makes
    a rounding error of a gradient near 0 (that of a key's bias is nothing else) into one of the step. At the printed
    rate the losses agree to about 1e-6; at ten times that rate float32 and float64 drift apart by 2 % themselves.
    """
    session = tiny()
    x0 = torch.from_numpy(session.dataset.train.copy()).permute(0, 3, 1, 2) / 255
    network = deepcopy(session.network).to(memory_format=torch.contiguous_format).train()
    tables = Tables(torch.float32)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    printed = []
    for index in batches(session, 20):
        t = torch.randint(1, T + 1, (len(index),))
        optimizer.zero_grad()
        loss = tables.loss(as_theirs(network), x0[index], t)
        loss.backward()
        optimizer.step()
        printed.append(loss.item())
    done = our_training(session, 20)
    assert [e.images_seen for e in done[:5]] == [12, 24, 36, 40, 52]
    np.testing.assert_allclose([e.loss for e in done], printed, rtol=1e-4)
    assert len({round(loss, 3) for loss in printed}) > 10, "the losses move, so agreement means something"


def test_samples_come_from_the_network_itself() -> None:
    session = tiny()
    our_training(session, 4)
    x, t = normal(1, 3, 1, 8, 8, dtype=torch.float32), 400
    with torch.no_grad():
        printed = session.network(x, torch.full((3,), float(t)))
        for weights in ("ema", "raw"):
            assert gap(session.sampling_denoiser(weights)(x, t + 1).eps, printed) < 2e-5
