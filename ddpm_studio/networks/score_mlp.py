"""ScoreMLP: the network of tutorial 004, and ours that also sees the noise level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

_TURN = math.pi / math.log(1000.0)  # half a turn from sigma 1 down to sigma .001


class ScoreMLP(nn.Module):
    """x (N, D) → the score (N, D). time is sigma (N,), above zero; label is not looked at.

    Equation (2.2.5): score = s'(x)/sigma, with s' a chain of linear layers and ELU. 314 parameters as it stands.

    As printed (``level_aware=False``), sigma enters in that division only: s', which is minus a guess of the noise, is
    the same at every level. But how much of a distance from a mode is noise depends on the level: all of it where sigma
    is far above the width w of the mode, hardly any where it is far below. The right answer at distance d is
    d·sigma/(sigma² + w²); one function of d alone can only average that over the levels, it pulls far too hard at
    small sigma, and so the sampled modes come out a third as wide as the data.

    ``level_aware=True`` is ours: s' also sees two waves of log sigma (distinct for sigma from .001 to 1000) and its x
    comes divided by sqrt(sigma² + 1), of about the same size at each level for standardised data; SiLU in place of ELU.

    Args:
        dimensions: D.
        widths: of the hidden layers.
        level_aware: see above.
    """

    def __init__(self, dimensions: int = 2, widths: Sequence[int] = (4, 32, 4), level_aware: bool = False) -> None:
        super().__init__()
        self.level_aware = level_aware
        layers: list[nn.Module] = []
        for wide_in, wide in pairwise((dimensions + (4 if level_aware else 0), *widths)):
            layers += [nn.Linear(wide_in, wide), nn.SiLU() if level_aware else nn.ELU()]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], dimensions))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        sigma = time.to(x.dtype)[:, None]
        if self.level_aware:
            angle = _TURN * sigma.log()
            twice = 2 * angle
            scaled = x * (sigma.square() + 1).rsqrt()
            x = torch.cat((scaled, angle.sin(), angle.cos(), twice.sin(), twice.cos()), dim=1)
        out: Tensor = self.body(x) / sigma
        return out
