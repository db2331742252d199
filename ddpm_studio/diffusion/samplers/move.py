"""What a sampler is: a rule that makes the next state out of a ``Move``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor

from ddpm_studio.diffusion.denoiser import DenoiserLike, Prediction
from ddpm_studio.diffusion.schedule import NoiseSchedule


class Past(NamedTuple):
    """An earlier level of the same process and what was predicted there."""

    t: int
    prediction: Prediction


@dataclass(frozen=True)
class Move:
    """Everything a rule may look at: from x at level t, with its prediction, to level u.

    ``past`` holds the earlier predictions, newest last, at most ``sampler.memory`` of them. ``noise()``
    draws standard normal noise of the shape of x. ``left``: moves from u to the clean level, infinite where the
    grid ends above it.
    """

    schedule: NoiseSchedule
    x: Tensor
    t: int
    u: int
    prediction: Prediction
    past: Sequence[Past]
    noise: Callable[[], Tensor]
    denoiser: DenoiserLike
    label: Any = None
    left: float = math.inf

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """(a, s, a', s')."""
        sch = self.schedule
        return float(sch.alpha[self.t]), float(sch.sigma[self.t]), float(sch.alpha[self.u]), float(sch.sigma[self.u])


class Sampler(Protocol):
    """One rule. ``memory``: how many earlier predictions it reads; ``calls``: network calls in a step at most."""

    memory: ClassVar[int]
    calls: ClassVar[int]

    def step(self, move: Move) -> Tensor: ...
