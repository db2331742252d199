"""What a sampler is: a rule that makes the next state out of a ``Move``, most of them as a sum of ``Weights``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from ddpm_studio.diffusion.schedule import NoiseSchedule

if TYPE_CHECKING:  # whoever asks for weights alone needs no torch
    from torch import Tensor

    from ddpm_studio.diffusion.denoiser import DenoiserLike, Prediction


class Past(NamedTuple):
    """An earlier level of the same process and what was predicted there."""

    t: int
    prediction: Prediction


@dataclass(frozen=True)
class Place:
    """Where a move stands: it leads from level t to u.

    ``earlier``: the levels of the predictions before this one that the rule may look at, newest first. ``left``:
    moves from u to the clean level, infinite where the grid ends above it.
    """

    schedule: NoiseSchedule
    t: int
    u: int
    earlier: Sequence[int] = ()
    left: float = math.inf

    @property
    def levels(self) -> tuple[float, float, float, float]:
        """(a, s, a', s')."""
        sch = self.schedule
        return float(sch.alpha[self.t]), float(sch.sigma[self.t]), float(sch.alpha[self.u]), float(sch.sigma[self.u])


@dataclass(frozen=True)
class Move:
    """Everything a rule may look at: from x at level t, with its prediction, to level u.

    ``past`` holds the earlier predictions, newest last, at most ``sampler.memory`` of them. ``noise()``
    draws standard normal noise of the shape of x. ``left``: as in ``Place``.
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
    def place(self) -> Place:
        return Place(self.schedule, self.t, self.u, [past.t for past in reversed(self.past)], self.left)


class Weights(NamedTuple):
    """The next state as a sum: x · x_t + Σ_j (x0[j] · x̂_0 + eps[j] · ε̂) + std · z.

    j = 0 is the prediction at this level, j = 1 that of the move before, and so on; a weight of 0 is no term.
    """

    x: float = 0.0
    x0: tuple[float, ...] = ()
    eps: tuple[float, ...] = ()
    std: float = 0.0


class Sampler(Protocol):
    """One rule. ``memory``: how many earlier predictions it reads; ``calls``: network calls in a step at most."""

    memory: ClassVar[int]
    calls: ClassVar[int]

    def step(self, move: Move) -> Tensor: ...


class WeightedSum:
    """A rule whose every move is a sum with weights that the place alone decides."""

    memory: ClassVar[int] = 0
    calls: ClassVar[int] = 1

    def weights(self, place: Place) -> Weights:
        raise NotImplementedError

    def step(self, move: Move) -> Tensor:
        weights = self.weights(move.place)
        looks = [move.prediction, *(past.prediction for past in reversed(move.past))]
        terms = [(weights.x, move.x)]
        terms += [(weight, look.x0) for weight, look in zip(weights.x0, looks, strict=False)]
        terms += [(weight, look.eps) for weight, look in zip(weights.eps, looks, strict=False)]
        if weights.std > 0:
            terms.append((weights.std, move.noise()))
        first, *rest = [weight * term for weight, term in terms if weight]
        return sum(rest, first)
