"""Langevin dynamics: many small noisy moves at a level."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ddpm_studio.diffusion.samplers.move import Place, WeightedSum, Weights


@dataclass(frozen=True)
class Langevin(WeightedSum):
    """One Langevin move, at the level where x is (NCSN, algorithm 1, line 6; tutorial 004, 2.2.7).

    x + α_t s(x) + √(2 α_t) u with the score s = -eps/sigma_t. The grid says how often a level is visited and
    when the next one begins; going down leaves x as it is. No noise is added where the next level is clean.

    ``step_size``: α. Annealed, α_t = α sigma_t²/sigma_T²; else α_t = α at every level.
    """

    step_size: float = 0.1
    annealed: bool = True

    def __post_init__(self) -> None:
        if not self.step_size > 0:
            raise ValueError(f"step_size is {self.step_size:g}; it must be above 0")

    def weights(self, place: Place) -> Weights:
        s = float(place.schedule.sigma[place.t])
        alpha_t = self.step_size
        if self.annealed:
            alpha_t *= (s / float(place.schedule.sigma[-1])) ** 2
        return Weights(1.0, eps=(-alpha_t / s,), std=math.sqrt(2 * alpha_t) if place.u > 0 else 0.0)


@dataclass(frozen=True)
class PlainLangevin(Langevin):
    """Langevin moves of one length at one level (tutorial 004, 2.2.6)."""

    step_size: float = 5e-4
    annealed: bool = False
