"""What the tests of the tutorials share: our side of each comparison, built from nothing but the recipe.

The other side, a tutorial's own formulas in plain torch, stands in the test file of that tutorial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpm_studio.data import Dataset
from ddpm_studio.diffusion import Denoiser, NoiseSchedule
from ddpm_studio.diffusion.noise import gaussian, mix
from ddpm_studio.diffusion.reverse import reverse_process, start_noise
from ddpm_studio.diffusion.samplers import Move
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.training.build import Session, make_denoiser
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import StepDone
from ddpm_studio.training.objective import draw_levels, loss_per_item
from ddpm_studio.training.sampling import make_grid, make_sampler
from ddpm_studio.training.trainer import train

Model = Callable[[Tensor, Tensor], Tensor]
BOTH = [(torch.float64, 1e-6), (torch.float32, 2e-5)]

# On one thread, and nothing is drawn while it trains: what is compared is the training alone.
QUIET = {"compute.device": "cpu", "compute.threads": 1, "compute.precision": "float32", "preview.budget": 0.0}


def recipe_of(name: str, **changes: Any) -> Recipe:
    """A built-in recipe on the CPU; ``changes`` as ``training__batch=8``."""
    return find(name).with_settings(QUIET | {k.replace("__", "."): v for k, v in changes.items()})


def schedule_of(recipe: Recipe) -> NoiseSchedule:
    return NoiseSchedule.named(**recipe.schedule.model_dump())


def pictures(count: int, side: int, channels: int = 1, held_out: int = 2) -> Dataset:
    """Blurred random pictures, uint8, with a structure that a network can begin to learn."""
    rng = np.random.default_rng(count)
    coarse = rng.integers(0, 256, (count + held_out, side // 4, side // 4, channels), dtype=np.uint8)
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return Dataset(name="pictures", kind="pictures", train=fine[:count], held_out=fine[count:])


@dataclass
class Recorded:
    """A stand-in for a trained network that keeps the labels it is shown: eps is a smooth function of both."""

    labels: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor, time: Tensor, label: object = None) -> Tensor:
        self.labels.append(time.detach().clone())
        t = time.reshape(len(x), *[1] * (x.ndim - 1)).to(x)
        return torch.sin(3 * x + t / 50) + 0.5 * x


def denoiser_of(recipe: Recipe, network: Any, kind: str = "pictures") -> Denoiser:
    return make_denoiser(recipe, schedule_of(recipe), network, kind=kind, clip=True)


def moves_of(recipe: Recipe) -> list[tuple[int, int]]:
    return list(pairwise(make_grid(recipe.sampler, schedule_of(recipe))))


def our_move(recipe: Recipe, denoiser: Any, x: Tensor, t: int, u: int, z: Tensor) -> tuple[Tensor, bool]:
    """One move of the recipe's sampler with the noise ``z``, and whether it asked for that noise."""
    asked = []

    def noise() -> Tensor:
        asked.append(True)
        return z

    move = Move(schedule_of(recipe), x, t, u, denoiser(x, t), (), noise, denoiser)
    return make_sampler(recipe.sampler).step(move), bool(asked)


def our_run(recipe: Recipe, denoiser: Any, x: Tensor, seeds: range, grid: list[int] | None = None) -> Tensor:
    """The recipe's whole reverse process from x; its noises are those of ``Noises(seeds)``."""
    grid = grid or make_grid(recipe.sampler, schedule_of(recipe))
    sampler = make_sampler(recipe.sampler)
    *_, last = reverse_process(denoiser, grid, sampler, x.shape[1:], seeds=seeds, x=x)
    return last.x


def our_start(recipe: Recipe, seeds: range, shape: tuple[int, ...]) -> Tensor:
    """The state with which the recipe's reverse process begins."""
    schedule = schedule_of(recipe)
    return start_noise(schedule, schedule.steps, seeds, shape)


class Noises:
    """In the place of ``torch.randn_like`` in a transcription: the same normal numbers that the app draws."""

    def __init__(self, seeds: range) -> None:
        self.seeds, self.draws = seeds, 0

    def __call__(self, x: Tensor) -> Tensor:
        self.draws += 1
        return gaussian(self.seeds, self.draws, x.shape[1:]).to(x)


def our_loss(recipe: Recipe, network: Any, x0: Tensor, seed: int) -> Tensor:
    """The loss of one batch in the precision of x0, its chance drawn as the trainer draws it."""
    schedule = schedule_of(recipe)
    torch.manual_seed(seed)
    t = draw_levels(
        len(x0), schedule.steps, recipe.training.stratified, torch.device("cpu"), recipe.objective.first_level
    )
    eps = torch.randn_like(x0)
    alpha, sigma = schedule.at(t, x0)
    denoiser = make_denoiser(recipe, schedule, network, kind="pictures", clip=False)
    target = denoiser.parameterization.encode(x0, eps, alpha, sigma)
    out = denoiser.output(alpha * x0 + sigma * eps, t)
    return loss_per_item(recipe, out, target, alpha, sigma).mean()


def our_training(session: Session, steps: int) -> list[StepDone]:
    return [event for event in train(session, Control(), until=steps) if isinstance(event, StepDone)]


def batches(session: Session, steps: int) -> Iterator[Tensor]:
    """For a transcription's training: the indices of each batch, with all chance of that step seeded."""
    seen = 0
    for step in range(steps):
        index = session.order(seen, session.recipe.training.batch)
        seen += len(index)
        torch.manual_seed(mix(session.recipe.seed, 0, step))
        yield index


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gap(a: Tensor, b: Tensor) -> float:
    """The largest difference."""
    assert a.shape == b.shape
    return float((a.detach().double() - b.detach().double()).abs().max())
