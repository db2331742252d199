"""The probe loss has a floor where the data's density is known, and shows what the network saw."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ddpm_studio.data.points import mixture_of
from ddpm_studio.diffusion.oracle import GaussianMixtureDenoiser
from ddpm_studio.engine import dataset_of, run_training
from ddpm_studio.recipes import find
from ddpm_studio.training.build import build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import Probed
from ddpm_studio.training.floor import lowest_loss
from ddpm_studio.training.objective import loss_per_item, min_snr_scale
from ddpm_studio.training.probe import BINS, Probe

SMALL = {
    "data.source": "two-gaussians",
    "network.width": 16,
    "network.depth": 2,
    "compute.device": "cpu",
    "compute.threads": 1,
    "compute.precision": "float32",
}


def session_of(**changes):
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    recipe = find("moons").with_settings(SMALL | dotted)
    return build(recipe, dataset_of(recipe))


def items_of(session, count: int = 400, seed: int = 0):
    draw = torch.Generator().manual_seed(seed)
    x0 = torch.tensor(session.dataset.train[:count])
    t = torch.randint(1, session.schedule.steps + 1, (count,), generator=draw)
    return x0, torch.randn(x0.shape, generator=draw), t


@pytest.mark.parametrize("source", ["two-gaussians", "uneven-gaussians", "eight-gaussians", "dino"])
@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v"])
@pytest.mark.parametrize("weight", ["uniform", "min-snr"])
def test_the_loss_of_the_closed_form_denoiser_is_the_floor(source, predicts, weight):
    session = session_of(data__source=source, prediction__predicts=predicts, objective__weight=weight)
    mixture = mixture_of(source)
    x0, eps, t = items_of(session, 60)
    oracle = GaussianMixtureDenoiser(
        session.schedule, torch.from_numpy(mixture.means), mixture.variance, torch.from_numpy(mixture.weights)
    )
    alpha, sigma = session.schedule.at(t, x0.double())
    encode = session.training_denoiser().parameterization.encode
    x = alpha * x0.double() + sigma * eps.double()
    told = [oracle(x[i : i + 1], int(t[i])) for i in range(len(x))]
    guess = encode(torch.cat([p.x0 for p in told]), torch.cat([p.eps for p in told]), alpha, sigma)
    expected = loss_per_item(session.recipe, guess, encode(x0.double(), eps.double(), alpha, sigma), alpha, sigma)
    torch.testing.assert_close(lowest_loss(session, mixture, x0, eps, t), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight", ["uniform", "min-snr"])
@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_no_output_of_the_state_alone_does_better(loss, weight):
    """Over all that may lie behind one x_t; the mean of the targets is best for squares only."""
    session = session_of(
        objective__loss=loss,
        objective__weight=weight,
        objective__gamma=0.2,
        prediction__predicts="epsilon",
        data__source="uneven-gaussians",
    )
    mixture = mixture_of("uneven-gaussians")
    level, count = round(0.55 * session.schedule.steps), 20_000
    t = torch.full((count,), level)
    alpha, sigma = session.schedule.at(t[:1], torch.zeros(1, 2).double())
    at = torch.tensor([[0.5, 0.4]]).double()
    # Items that all lead to the same x_t, drawn from the posterior by weighing draws of the data.
    data = torch.from_numpy(mixture.draw(400_000, np.random.default_rng(1)))
    likely = (-(at - alpha * data).square().sum(1) / (2 * sigma.flatten() ** 2)).softmax(0)
    x0 = data[torch.multinomial(likely, count, replacement=True, generator=torch.Generator().manual_seed(2))]
    eps = (at - alpha * x0) / sigma
    floor = lowest_loss(session, mixture, x0, eps, t).mean()
    target = eps

    def loss_of(output: torch.Tensor) -> float:
        return float(loss_per_item(session.recipe, output.expand_as(target), target, alpha, sigma).mean())

    # As the loss sees errors: min-SNR makes them smaller where it matters, so Huber's squares reach farther.
    unit = float(min_snr_scale(session.recipe, alpha, sigma)) if weight == "min-snr" else 1.0
    best = _best_by_search(loss, unit * target) / unit
    assert loss_of(target.mean(0, keepdim=True)) >= float(floor) - 2e-3
    for shift in ((0.05, 0), (-0.05, 0), (0, 0.05), (0, -0.05)):
        assert loss_of(best + torch.tensor([shift])) > float(floor)
    assert float(floor) == pytest.approx(loss_of(best), rel=0.01)


def _best_by_search(loss: str, target: torch.Tensor) -> torch.Tensor:
    """By gradient descent on the drawn targets."""
    if loss == "l1":
        return target.median(0, keepdim=True).values
    best = target.mean(0, keepdim=True).clone()
    for _ in range(300 if loss == "huber" else 0):
        best += (target - best).clamp(-1, 1).mean(0, keepdim=True)
    return best


def test_a_trained_network_comes_close_to_the_floor_from_above(new_run):
    recipe = find("moons").with_settings(
        SMALL
        | {
            "network.width": 64,
            "network.depth": 3,
            "training.batch": 256,
            "training.steps": 1200,
            "preview.budget": 0.0,
        }
    )
    run = new_run(recipe)
    probes = [event for event in run_training(run, Control()) if isinstance(event, Probed)]
    first, last = probes[0], probes[-1]
    floor = float(last.floor_by_level.mean())
    assert 0.97 * floor < last.train < 1.25 * floor < first.train
    held_out = float(last.held_out_floor_by_level.mean())
    assert 0.97 * held_out < last.held_out < 1.25 * held_out < first.held_out
    assert held_out != floor, "of other items"
    with run.record() as record:
        rows = record.probes()
        np.testing.assert_array_equal(rows[-1].floor_by_level, last.floor_by_level)
        assert rows[-1].held_out_floor == pytest.approx(held_out)
        items, sights = record.sights()
    assert items is not None
    assert [sight.step for sight in sights] == [row.step for row in rows]
    np.testing.assert_array_equal(sights[-1].eps, last.sight.eps)
    # Each estimate belongs to the state that was shown: x_t = α x̂_0 + σ ε̂.
    schedule = build(recipe, dataset_of(recipe)).schedule
    for k, t in enumerate(items.t):
        made = schedule.alpha[t] * sights[-1].x0[k] + schedule.sigma[t] * sights[-1].eps[k]
        np.testing.assert_allclose(made, items.x[k], atol=1e-4)
    truth = np.abs(sights[-1].eps - items.eps).mean()
    assert truth < np.abs(sights[0].eps - items.eps).mean()


@pytest.mark.parametrize("aware", [True, False])
def test_a_network_that_does_not_see_the_level_has_no_floor(aware):
    recipe = find("score-two-gaussians").with_settings({"network.level_aware": aware, "compute.device": "cpu"})
    session = build(recipe, dataset_of(recipe))
    assert (Probe(session)(session).floor_by_level is not None) == aware


def test_there_is_no_floor_where_the_density_is_not_known():
    session = session_of(data__source="moons")
    assert Probe(session)(session).floor_by_level is None


def test_another_weight_has_another_floor():
    session = session_of()
    probe = Probe(session)
    before = probe(session).floor_by_level
    session.recipe = session.recipe.with_settings({"objective.weight": "min-snr"})
    after = probe(session).floor_by_level
    assert before is not None
    assert after is not None
    assert not np.allclose(before, after)


def test_pictures_are_seen_as_they_are_shown(recipe_of):
    recipe = recipe_of("pictures")
    session = build(recipe, dataset_of(recipe))
    probed = Probe(session)(session)
    items, sight = probed.items, probed.sight
    assert items is not None
    assert sight is not None
    assert probed.floor_by_level is None
    for array in (items.x, items.eps, sight.eps, sight.x0):
        assert array.dtype == np.uint8
        assert array.shape == (BINS, 8, 12, 3)
    bin_width = session.schedule.steps / BINS
    assert (np.abs(items.t - probed.levels) <= bin_width / 2 + 1).all()
