"""The probe loss: the same items, levels and noise every time, so that its curve can be trusted.

The batch loss jumps because every batch draws other levels; this one moves only when the weights do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm_studio.diffusion.noise import gaussian, mix
from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.diffusion.tape import Items as Shown
from ddpm_studio.training.build import Items, Session
from ddpm_studio.training.events import Floats, Probed, ProbeItems, ProbeSight
from ddpm_studio.training.floor import known_mixture, lowest_loss
from ddpm_studio.training.objective import loss_per_item
from ddpm_studio.training.sampling import NOISE_TONE, Tone, to_uint8

BINS = 10  # noise-level bins of equal width in t
PER_BIN = 8  # items in each; points get more, they cost nothing


class _Set(NamedTuple):
    x0: Tensor
    label: Tensor | None
    t: Tensor
    eps: Tensor


class Probe:
    """Fixed (x, t, eps) from the training items and from the held-out ones."""

    def __init__(self, session: Session) -> None:
        per_bin = PER_BIN if session.data.kind == "pictures" else 64
        self._sets = [
            _choose(items, session, per_bin, salt) for salt, items in enumerate((session.items, session.held_out))
        ]
        edges = np.linspace(session.recipe.objective.first_level - 1, session.schedule.steps, BINS + 1)
        self.levels = (edges[1:] + edges[:-1]) / 2
        self._shown = torch.arange(BINS) * per_bin + per_bin // 2  # of each bin one trained item
        self._items = self._show_items(session)
        self._mixture = known_mixture(session)
        self._floors: list[Floats] | None = None  # of the trained items, of the held-out ones
        self._floor_of: Any = None  # the objective, whose weight may change while it runs

    @torch.no_grad()
    def __call__(self, session: Session) -> Probed:
        """Measure the EMA weights, unaugmented, in the plan's precision."""
        denoiser = session.sampling_denoiser("ema", clip=False)
        by_level, outs = [], []
        for x0, label, t, eps in self._sets:
            alpha, sigma = session.schedule.at(t, x0)
            target = denoiser.parameterization.encode(x0, eps, alpha, sigma)
            out = denoiser.output(alpha * x0 + sigma * eps, t, label if session.classes else None)
            loss = loss_per_item(session.recipe, out, target, alpha, sigma)
            by_level.append(loss.double().view(BINS, -1).mean(1).cpu().numpy())
            outs.append(out)
        train, held_out = by_level
        floor, held_out_floor = self._lowest(session)
        return Probed(
            session.step,
            float(train.mean()),
            float(held_out.mean()),
            self.levels,
            train,
            held_out,
            floor,
            self._items,
            self._see(session, outs[0]),
            held_out_floor,
        )

    def _lowest(self, session: Session) -> Sequence[Floats | None]:
        """The floors of both sets by level; computed once, and again if the loss is measured otherwise."""
        if self._mixture is not None and self._floor_of != session.recipe.objective:
            lowest = [lowest_loss(session, self._mixture, x0, eps, t) for x0, _, t, eps in self._sets]
            self._floors = [loss.view(BINS, -1).mean(1).cpu().numpy() for loss in lowest]
            self._floor_of = session.recipe.objective
        return self._floors or (None, None)

    def _show_items(self, session: Session) -> ProbeItems:
        x0, _, t, eps = self._sets[0]
        alpha, sigma = session.schedule.at(t, x0)
        x = alpha * x0 + sigma * eps
        if session.data.kind == "pictures":  # as on a tape: a state whose spread has grown is scaled down
            x = x / (alpha**2 + sigma**2).sqrt().clamp_min(1)
        return ProbeItems(t[self._shown].cpu().numpy(), self._as_shown(session, x), self._as_shown(session, eps, True))

    def _see(self, session: Session, out: Tensor) -> ProbeSight:
        x0, _, t, eps = self._sets[0]
        alpha, sigma = session.schedule.at(t, x0)
        meaning = Parameterization(session.recipe.prediction.predicts)
        guessed_x0, guessed_eps = meaning.decode(alpha * x0 + sigma * eps, out.to(x0.dtype), alpha, sigma)
        return ProbeSight(session.step, self._as_shown(session, guessed_eps, True), self._as_shown(session, guessed_x0))

    def _as_shown(self, session: Session, values: Tensor, noise: bool = False) -> Shown:
        values = values[self._shown].float()
        if session.data.kind == "pictures":
            return to_uint8(values, NOISE_TONE if noise else Tone.of(session.recipe))
        return values.cpu().numpy().copy()


def _choose(items: Items, session: Session, per_bin: int, salt: int) -> _Set:
    count = BINS * per_bin
    device = items.values.device
    generator = torch.Generator().manual_seed(mix(session.recipe.seed, 2, salt))
    index = torch.randint(len(items), (count,), generator=generator).to(device)
    x0, label = items.batch(index, augment=False)
    # Evenly through each bin, so that bins compare: level k of all runs from the first to T.
    T, first = session.schedule.steps, session.recipe.objective.first_level
    t = (torch.linspace(0, 1, count, dtype=torch.float64) * (T - first)).round().long().to(device) + first
    seeds = [mix(session.recipe.seed, 3, salt, i) for i in range(count)]
    return _Set(x0, label, t, gaussian(seeds, 0, x0.shape[1:], device=device))
