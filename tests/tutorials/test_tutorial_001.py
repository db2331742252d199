"""Tutorial 001, DDPM in pictures: its formulas and those of the paper it explains, against the recipe ddpm-cifar10.

The document prints no code and no numbers; the recipe is that of the paper (arXiv 2006.11239). The network of the
training below is a copy of ours.
"""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
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
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import StepDone
from ddpm_studio.training.objective import draw_levels
from ddpm_studio.training.rates import learning_rate
from ddpm_studio.training.trainer import train

PRINTED = find("ddpm-cifar10")
T = 1000

# -- the paper ---------------------------------------------------------------------------------------------
# Indices 0 … T-1 name the levels 1 … T.


class Tables:
    def __init__(self, dtype: torch.dtype) -> None:
        self.betas = torch.linspace(1e-4, 0.02, T, dtype=dtype)
        alphas = 1 - self.betas
        self.bars = torch.cumprod(alphas, 0)
        before = torch.cat([torch.ones(1, dtype=dtype), self.bars[:-1]])
        # eq. (7)
        self.of_x0 = torch.sqrt(before) * self.betas / (1 - self.bars)
        self.of_x = torch.sqrt(alphas) * (1 - before) / (1 - self.bars)

    def loss(self, model: Model, x0: Tensor, i: Tensor) -> Tensor:
        """Eq. (14), the mean over all values."""
        bar = self.bars[i].view(-1, 1, 1, 1)
        eps = torch.randn_like(x0)
        return (eps - model(torch.sqrt(bar) * x0 + torch.sqrt(1 - bar) * eps, i)).square().mean()

    def move(self, model: Model, x: Tensor, i: int, z: Tensor) -> Tensor:
        """x̂_0 clipped, the posterior's mean, σ² = β, and no noise at the last move (1 < t ≤ T in the document)."""
        eps = model(x, torch.full((len(x),), i))
        x0 = ((x - torch.sqrt(1 - self.bars[i]) * eps) / torch.sqrt(self.bars[i])).clamp(-1, 1)
        mean = self.of_x0[i] * x0 + self.of_x[i] * x
        return mean + torch.sqrt(self.betas[i]) * z if i > 0 else mean


def encode(time: Tensor, width: int) -> Tensor:
    half = width // 2
    rates = torch.exp(torch.arange(half, dtype=time.dtype) * (-math.log(10000) / (half - 1)))
    angles = time[:, None] * rates
    return torch.cat([torch.sin(angles), torch.cos(angles)], 1)


# -- our side ----------------------------------------------------------------------------------------------


def tiny(**changes: Any) -> Session:
    small = {"network__base": 32, "network__multipliers": [1, 2], "network__blocks": 1, "training__batch": 8}
    return build(recipe_of("ddpm-cifar10", **small, **changes), pictures(20, 8, 3))


# -- tests -------------------------------------------------------------------------------------------------


def test_the_chain_of_small_steps_is_the_closed_form() -> None:
    """q(x_t | x_{t-1}), one step after the other, gives √ᾱ of the picture and 1 - ᾱ of noise variance."""
    ours = schedule_of(PRINTED)
    assert ours.steps == T
    keep, variance = 1.0, 0.0
    for t, beta in enumerate(np.linspace(1e-4, 0.02, T), start=1):
        keep, variance = math.sqrt(1 - beta) * keep, (1 - beta) * variance + beta
        assert ours.alpha[t] == pytest.approx(keep, rel=1e-9)
        assert ours.sigma[t] ** 2 == pytest.approx(variance, rel=1e-9)
    assert keep == pytest.approx(0.00635282, rel=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_every_move(dtype: torch.dtype, tolerance: float) -> None:
    """The published code makes its tables in float64; in float32, 1 - ᾱ would cost them 3e-4 at the lowest levels."""
    tables, moves, clipped = Tables(torch.float64), moves_of(PRINTED), 0
    assert len(moves) == T
    for i, (t, u) in zip(range(T - 1, -1, -1), moves, strict=True):
        x, z = normal(i, 2, 3, 3, 4, 4, dtype=dtype)
        theirs, ours = Recorded(), Recorded()
        printed = tables.move(theirs, x.double(), i, z.double())
        denoiser = denoiser_of(PRINTED, ours)
        move, asked = our_move(PRINTED, denoiser, x, t, u, z)
        clipped += int(denoiser(x, t).x0.abs().max() == 1)
        assert move.dtype == dtype
        assert gap(move, printed) < tolerance, i
        assert gap(ours.labels[0], theirs.labels[0]) == 0
        assert asked == (i > 0)
    assert clipped > T / 2, "clipping was put to the test"


def test_the_whole_reverse_process() -> None:
    x, draw, tables = normal(0, 2, 3, 4, 4), Noises(range(2)), Tables(torch.float64)
    result = our_run(PRINTED, denoiser_of(PRINTED, Recorded()), x, range(2))
    for i in range(T - 1, -1, -1):
        x = tables.move(Recorded(), x, i, draw(x))
    assert gap(result, x) < 1e-6
    assert float(result.abs().max()) <= 1 + 1e-12


def test_the_start_is_standard_normal() -> None:
    seeds = range(9)
    assert gap(our_start(PRINTED, seeds, (3, 32, 32)), gaussian(seeds, 0, (3, 32, 32))) < 1e-12


def test_all_levels_are_trained() -> None:
    torch.manual_seed(0)
    ours = draw_levels(40_000, T, PRINTED.training.stratified, torch.device("cpu"), PRINTED.objective.first_level)
    torch.manual_seed(0)
    assert torch.equal(ours - 1, torch.randint(0, T, (40_000,)))


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_loss(dtype: torch.dtype, tolerance: float) -> None:
    network, tables = tiny().network.eval().to(dtype), Tables(dtype)
    for seed in range(3):
        x0 = normal(seed, 8, 3, 8, 8, dtype=dtype).tanh()
        torch.manual_seed(seed)
        printed = tables.loss(network, x0, torch.randint(0, T, (8,)))
        assert gap(our_loss(PRINTED, network, x0, seed), printed) < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_embedding(dtype: torch.dtype, tolerance: float) -> None:
    known = torch.tensor([[0.84147098, 0.0001, 0.54030231, 1.0]], dtype=torch.float64)
    assert gap(sinusoidal(torch.ones(1, dtype=torch.float64), 4), known) < 1e-8
    assert PRINTED.network.base == 128
    # Our networks have learnt with rates that differ from these in the last place, which float32 multiplies by t.
    last_place = torch.finfo(dtype).eps
    time = torch.arange(T).to(dtype)
    apart = (sinusoidal(time, 128) - encode(time, 128)).abs().amax(1)
    assert (apart <= last_place * (time + 2)).all()
    assert float(apart[: 100 if dtype == torch.float32 else T].max()) < tolerance


def test_the_rate_warms_up_in_5000_steps() -> None:
    ours = [learning_rate(PRINTED, n) for n in range(6000)]
    published = [2e-4 * min(n / 5000, 1) for n in range(6000)]  # its first step has rate 0 and does nothing
    np.testing.assert_allclose(ours, published, rtol=0, atol=2e-4 / 5000)
    assert all(rate == 2e-4 for rate in ours[5000:])


def test_training_gives_the_same_losses() -> None:
    """Adam on a gradient of norm 1 at most, warm-up, dropout from the same seeds.

    Both train in float32; the convolutions sum in other orders, and Adam makes much of gradients near 0.
    """
    session = tiny(training__warmup=5)
    x0 = torch.from_numpy(session.dataset.train.copy()).permute(0, 3, 1, 2) / 127.5 - 1
    network = deepcopy(session.network).to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4)
    tables, printed, norms = Tables(torch.float32), [], []
    for n, index in enumerate(batches(session, 12)):
        coins = torch.rand(len(index))
        x = torch.stack([one.flip(-1) if coin < 0.5 else one for one, coin in zip(x0[index], coins, strict=True)])
        i = torch.randint(0, T, (len(x),))
        optimizer.zero_grad()
        loss = tables.loss(network, x, i)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)))
        optimizer.param_groups[0]["lr"] = 2e-4 * min((n + 1) / 6, 1)
        optimizer.step()
        printed.append(loss.item())
    done = our_training(session, 12)
    np.testing.assert_allclose([e.loss for e in done], printed, rtol=1e-4)
    np.testing.assert_allclose([e.grad_norm for e in done], norms, rtol=5e-3)
    assert min(norms) > 1, "clipping was put to the test"


def test_samples_come_from_an_average_that_does_not_warm_up() -> None:
    """EMA .9999 from the first step on; and no dropout while sampling."""
    session = tiny(training__learning_rate=0.01, training__warmup=0)
    average = {name: value.detach().double() for name, value in session.network.named_parameters()}
    for _ in (e for e in train(session, Control(), until=6) if isinstance(e, StepDone)):
        for name, value in session.network.named_parameters():
            average[name] = 0.9999 * average[name] + 0.0001 * value.detach().double()
    assert max(gap(v, average[name]) for name, v in session.network.named_parameters()) > 0.01
    assert max(gap(v, average[name]) for name, v in session.ema.named_parameters()) < 1e-6
    network = deepcopy(session.network).eval()
    network.load_state_dict({name: value.float() for name, value in average.items()})
    x = normal(1, 2, 3, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        printed = network(x, torch.full((2,), 399.0))
        assert gap(session.sampling_denoiser("ema").output(x, torch.full((2,), 400)), printed) < 2e-5
        assert gap(session.sampling_denoiser("raw").output(x, torch.full((2,), 400)), printed) > 1e-3
