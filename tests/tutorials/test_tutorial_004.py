"""Tutorial 004: its formulas in our words and its own counting, against the recipe score-two-gaussians."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from tutorial_tools import (
    Noises,
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
    recipe_of,
    schedule_of,
)

from ddpm_studio.data.points import mixture_of, points_dataset
from ddpm_studio.diffusion.noise import gaussian
from ddpm_studio.networks import ScoreMLP
from ddpm_studio.recipes import find
from ddpm_studio.training.build import DataOrder, Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.objective import draw_levels
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.trainer import train

PRINTED = find("score-two-gaussians")
T, K, ALPHA = 200, 200, 0.1
# float32 rounds 1/σ², a million at the lowest level, so that its losses agree to fewer digits
BOTH = [(torch.float64, 1e-6), (torch.float32, 2e-5)]

# -- the tutorial ------------------------------------------------------------------------------------------
# sigmas ascend, indices 0 … T-1. They are not printed; these are those of the author's notebook.


def sigmas(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.exp(torch.linspace(float(np.log(0.001)), float(np.log(1.0)), T, dtype=dtype))


class ScoreModel(nn.Module):
    def __init__(self, n: int = 2) -> None:
        super().__init__()
        widths = (n, 2 * n, 16 * n, 2 * n, n)
        layers: list[nn.Module] = []
        for into, out in pairwise(widths):
            layers += [nn.Linear(into, out), nn.ELU()]
        self.body = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        return self.body(x) / sigma


def dsm_loss(model: Any, x: Tensor, table: Tensor, draw: Any = torch.randn_like) -> Tensor:
    """Eq. (2.2.4), a random level for each point."""
    t = torch.randint(0, len(table), (len(x),))
    used = table[t].view(-1, 1)
    noise = draw(x) * used
    target = -noise / used**2
    squares = ((model(x + noise, used) - target) ** 2).sum(dim=-1)
    return (squares * used.squeeze(-1) ** 2).mean()


def move(model: Any, x: Tensor, table: Tensor, t: int, u: Tensor, last: bool) -> Tensor:
    """Eq. (2.2.7), and eq. (2.2.5) in the model."""
    alpha = ALPHA * table[t] ** 2 / table[-1] ** 2
    if last:
        u = torch.zeros_like(u)
    return x + alpha * model(x, table[t]) + torch.sqrt(2 * alpha) * u


def sample(model: Any, x: Tensor, table: Tensor, draw: Noises, moves: int) -> Tensor:
    for t in range(len(table) - 1, -1, -1):
        for k in range(moves + 1):
            x = move(model, x, table, t, draw(x), k == moves and t == 0)
    return x


def network(dtype: torch.dtype = torch.float64) -> tuple[ScoreModel, ScoreMLP]:
    """The tutorial's network and ours with the same weights."""
    torch.manual_seed(4)
    theirs, ours = ScoreModel().to(dtype), ScoreMLP(2).to(dtype)
    theirs.load_state_dict(ours.state_dict())
    return theirs, ours


def printed_run(**changes: Any) -> Session:
    return build(recipe_of("score-two-gaussians", **changes), points_dataset("two-gaussians", 4000, 100))


# -- tests -------------------------------------------------------------------------------------------------


def test_the_sigmas() -> None:
    ours = schedule_of(PRINTED)
    assert ours.steps == T
    np.testing.assert_allclose(ours.sigma[1:], sigmas(), rtol=1e-12)
    np.testing.assert_allclose(ours.sigma[1:], sigmas(torch.float32), rtol=2e-6)
    assert set(ours.alpha) == {1.0}
    np.testing.assert_allclose(ours.sigma[2:] / ours.sigma[1:-1], 1.03532, rtol=1e-5)


def test_the_data() -> None:
    """Two halves of covariance .01 I, standardised: scale 2.00250, modes at ±.998752, component std .0499376."""
    assert PRINTED.data.count == 1_000_000
    assert PRINTED.data.source == "two-gaussians"
    mixture = mixture_of(PRINTED.data.source)
    np.testing.assert_allclose(mixture.means, [[-0.998752] * 2, [0.998752] * 2], rtol=1e-6)
    assert mixture.variance**0.5 == pytest.approx(0.0499376, rel=1e-6)
    points = points_dataset(PRINTED.data.source, 200_000).train
    upper = points[:, 0] > 0
    assert upper.mean() == pytest.approx(0.5, abs=0.001)
    # the document divides by the data's own moments: the same to the error of drawing
    np.testing.assert_allclose(points.mean(0), 0, atol=0.002)
    np.testing.assert_allclose(points.std(0), 1, atol=0.001)
    np.testing.assert_allclose(points[upper].std(0), 0.0499376, rtol=0.01)


def test_the_network() -> None:
    theirs, ours = network()
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in ours.parameters()) == 314
    x, sigma = 2 * normal(0, 500, 2), sigmas()[torch.arange(500) % T]
    torch.testing.assert_close(ours(x, sigma), theirs(x, sigma[:, None]), rtol=1e-12, atol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_every_move(dtype: torch.dtype, tolerance: float) -> None:
    """201 moves at each of 200 levels; checked where they differ: at each level, and the very last."""
    theirs, ours = network(dtype)
    table, moves = sigmas(dtype), moves_of(PRINTED)
    counted = [(t, k) for t in range(T - 1, -1, -1) for k in range(K + 1)]
    assert len(moves) == len(counted) == 40_200
    seen: list[Tensor] = []

    def watched(x: Tensor, sigma: Tensor, label: object) -> Tensor:
        seen.append(sigma)
        return ours(x, sigma)

    denoiser = denoiser_of(PRINTED, watched, "points")
    for n, ((t, k), (level, below)) in enumerate(zip(counted, moves, strict=True)):
        assert level == t + 1
        if k not in (0, K):
            assert below == level
            continue
        x, z = normal(n, 2, 50, 2, dtype=dtype)
        last = t == 0 and k == K
        with torch.no_grad():
            printed = move(theirs, x, table, t, z, last)
            mine, asked = our_move(PRINTED, denoiser, x, level, below, z)
        assert mine.dtype == dtype
        assert gap(mine, printed) < tolerance
        assert asked != last
        torch.testing.assert_close(seen[-1], sigmas(torch.float32)[t].expand(50), rtol=2e-6, atol=0)


def test_the_length_of_a_move() -> None:
    """α_1 = 1e-7, α_T = .1; and only a tenth of a full denoise at the end."""
    denoiser = denoiser_of(PRINTED, lambda x, s, _: torch.ones_like(x), "points")
    zero = torch.zeros(1, 2, dtype=torch.float64)
    for level, alpha in ((1, 1e-7), (T, 0.1)):
        ours, _ = our_move(PRINTED, denoiser, zero, level, level, zero)
        assert float(ours[0, 0]) == pytest.approx(alpha, rel=1e-6)
    end, _ = our_move(PRINTED, denoiser, zero, 1, 0, zero)
    full = denoiser(zero, 1).x0
    assert float(end[0, 0] / full[0, 0]) == pytest.approx(0.1, rel=1e-6)


def test_the_whole_reverse_process() -> None:
    """With 5 + 1 moves a level: the count as printed, range(K + 1), is that of the test above."""
    theirs, ours = network()
    recipe = PRINTED.with_settings({"sampler.moves": 6})
    x, draw = normal(0, 40, 2), Noises(range(40))
    with torch.no_grad():
        printed = sample(theirs, x, sigmas(), draw, 5)
    result = our_run(recipe, denoiser_of(recipe, ours, "points"), x, range(40))
    assert draw.draws == 1200
    assert gap(result, x) > 0.1
    assert gap(result, printed) < 1e-6


def test_the_start_is_sigma_T_times_z() -> None:  # noqa: N802
    seeds = range(100)
    assert gap(our_start(PRINTED, seeds, (2,)), sigmas()[-1] * gaussian(seeds, 0, (2,))) < 1e-6
    wide = PRINTED.with_settings({"schedule.sigma_max": 20.0})
    assert gap(our_start(wide, seeds, (2,)), 20 * gaussian(seeds, 0, (2,))) < 1e-5


def test_all_levels_are_trained() -> None:
    torch.manual_seed(0)
    ours = draw_levels(20_000, T, PRINTED.training.stratified, torch.device("cpu"), PRINTED.objective.first_level)
    torch.manual_seed(0)
    assert torch.equal(ours - 1, torch.randint(0, T, (20_000,)))
    assert set((ours - 1).tolist()) == set(range(T))


@pytest.mark.parametrize(("dtype", "tolerance"), BOTH)
def test_the_loss(dtype: torch.dtype, tolerance: float) -> None:
    """Sum over dimensions, times σ², mean over the batch; and equal to |s' + z|², as the division cancels."""
    theirs, ours = network(dtype)
    for seed in range(5):
        x0 = normal(seed, 512, 2, dtype=dtype)
        torch.manual_seed(seed)
        printed = dsm_loss(theirs, x0, sigmas(dtype))
        mine = our_loss(PRINTED, ours, x0, seed)
        assert gap(mine, printed) < tolerance
        torch.manual_seed(seed)
        used = sigmas(dtype)[torch.randint(0, T, (512,))].view(-1, 1)
        z = torch.randn_like(x0)
        assert gap(mine, (theirs.body(x0 + used * z) + z).square().sum(-1).mean()) < tolerance


@pytest.mark.parametrize("steps", [100_000, 500, 10, 4])
def test_one_cycle_is_torchs(steps: int) -> None:
    """The rate and Adam's β1 at every step of the training."""
    recipe = PRINTED.with_settings({"training.steps": steps})
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.001, total_steps=steps)
    optimizer.step()
    group = optimizer.param_groups[0]
    rates, betas = [], []
    for n in range(steps):
        rates.append((group["lr"], learning_rate(recipe, n)))
        betas.append((group["betas"][0], adam_beta1(recipe, n)))
        if n < steps - 1:
            schedule.step()
    for theirs, ours in (np.transpose(rates), np.transpose(betas)):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    if steps == 100_000:
        ours = [learning_rate(recipe, n) for n in (0, 29_999, 99_999)]
        np.testing.assert_allclose(ours, [4e-5, 1e-3, 4e-9], rtol=1e-9)
        np.testing.assert_allclose([adam_beta1(recipe, n) for n in (0, 29_999, 99_999)], [0.95, 0.85, 0.95], rtol=1e-12)


def test_an_epoch_has_1954_batches() -> None:
    order, seen, sizes = DataOrder(PRINTED.data.count, 0, PRINTED.data.epoch_end), 0, []
    while seen < PRINTED.data.count:
        sizes.append(len(order(seen, PRINTED.training.batch)))
        seen += sizes[-1]
    assert sizes == [512] * 1953 + [64]
    assert PRINTED.training.steps == 100_000


@pytest.mark.parametrize("steps", [100_000, 24], ids=["the first steps of 100,000", "a whole cycle"])
def test_training_gives_the_same_losses(steps: int) -> None:
    """Seven batches of 512 and one of 416 an epoch; through three epochs, with rate and β1 of OneCycleLR.

    Both train in float32; the noise is divided by σ and multiplied again in another order, and the fused optimizer
    rounds otherwise, so that they agree to about 1e-6 and not to the last bit.
    """
    session = printed_run(training__steps=steps)
    x0 = torch.from_numpy(session.dataset.train.copy())
    model = ScoreModel()
    model.load_state_dict(session.network.state_dict())
    optimizer = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.001, total_steps=steps)
    printed, rates = [], []
    for n, index in enumerate(batches(session, 24)):
        optimizer.zero_grad()
        loss = dsm_loss(model, x0[index], sigmas(torch.float32))
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if n < steps - 1:
            schedule.step()
        printed.append(loss.item())
    done = our_training(session, 24)
    assert [e.images_seen for e in done[6:9]] == [3584, 4000, 4512]
    np.testing.assert_allclose([e.learning_rate for e in done], rates, rtol=1e-6)
    np.testing.assert_allclose([e.loss for e in done], printed, rtol=1e-4)
    for ours, theirs in zip(session.network.parameters(), model.parameters(), strict=True):
        assert gap(ours, theirs) < 1e-5
    assert len({round(loss, 3) for loss in printed}) > 10, "the losses move, so agreement means something"


def test_samples_come_from_the_network_itself() -> None:
    session = printed_run(training__steps=10)
    our_training(session, 10)
    model = ScoreModel()
    model.load_state_dict(session.network.state_dict())
    x = normal(0, 20, 2, dtype=torch.float32)
    with torch.no_grad():
        printed = -model.body(x)  # eps = -σ · score
        for weights in ("ema", "raw"):
            assert gap(session.sampling_denoiser(weights)(x, 70).eps, printed) < 1e-6


def test_the_preview_walks_the_recipes_own_way() -> None:
    """Fewer levels and moves, for what it costs; the same kind of step: Langevin dynamics has no other."""
    quick = printed_run(training__steps=1, preview__budget=5.0, preview__count=3)
    tapes = [e.tape for e in train(quick, Control()) if isinstance(e, TapeFinished)]
    assert PRINTED.preview.method == "recipe"
    assert {tape.sampler for tape in tapes} == {"langevin"}
    assert {tape.frames[-1].index for tape in tapes} == {PRINTED.preview.steps * 10}
    assert [tapes[0].frames[0].t, tapes[0].frames[-1].t] == [T, 0]
