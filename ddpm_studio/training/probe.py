"""The probe loss: the same items, levels and noise every time, so that its curve can be trusted.

The batch loss jumps because every batch draws other levels; this one moves only when the weights do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddpm_studio.diffusion.noise import gaussian, mix
from ddpm_studio.training.build import Items, Session
from ddpm_studio.training.events import Probed
from ddpm_studio.training.objective import loss_per_item

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
        per_bin = PER_BIN if session.dataset.kind == "pictures" else 64
        self._sets = [
            _choose(items, session, per_bin, salt) for salt, items in enumerate((session.items, session.held_out))
        ]
        edges = np.linspace(session.recipe.objective.first_level - 1, session.schedule.steps, BINS + 1)
        self.levels = (edges[1:] + edges[:-1]) / 2

    @torch.no_grad()
    def __call__(self, session: Session) -> Probed:
        """Measure the EMA weights, unaugmented, in the plan's precision."""
        denoiser = session.sampling_denoiser("ema", clip=False)
        by_level = []
        for x0, label, t, eps in self._sets:
            alpha, sigma = session.schedule.at(t, x0)
            target = denoiser.parameterization.encode(x0, eps, alpha, sigma)
            out = denoiser.output(alpha * x0 + sigma * eps, t, label if session.classes else None)
            loss = loss_per_item(session.recipe, out, target, alpha, sigma)
            by_level.append(loss.double().view(BINS, -1).mean(1).cpu().numpy())
        train, held_out = by_level
        return Probed(session.step, float(train.mean()), float(held_out.mean()), self.levels, train, held_out)


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
