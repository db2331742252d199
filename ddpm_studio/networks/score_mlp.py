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

    ``level_aware=True`` is ours. s' also sees the sine and the cosine of log sigma (distinct for sigma from .001 to
    1000; half a turn from .001 to 1), and its x comes divided by sqrt(sigma² + 1): of about the same size at each level
    if the data are standardised. Were they a single standard Gaussian, the score would be -x/(sigma² + 1); s' learns
    what is to be added to that, again at the same size at each level:
    score = s'/(sigma·sqrt(sigma² + 1)) - x/(sigma² + 1), after the preconditioning of arXiv 2206.00364. It has tanh in
    place of ELU: between two modes the score turns like a tanh, and the shares of the modes come out nearer the data's.

    Args:
        dimensions: D.
        widths: of the hidden layers.
        level_aware: see above.
    """

    def __init__(self, dimensions: int = 2, widths: Sequence[int] = (4, 32, 4), level_aware: bool = False) -> None:
        super().__init__()
        self.level_aware = level_aware
        layers: list[nn.Module] = []
        for wide_in, wide in pairwise((dimensions + (2 if level_aware else 0), *widths)):
            layers += [nn.Linear(wide_in, wide), nn.Tanh() if level_aware else nn.ELU()]
        self.body = nn.Sequential(*layers, nn.Linear(widths[-1], dimensions))

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        sigma = time.to(x.dtype)[:, None]
        if self.level_aware:
            angle = _TURN * sigma.log()
            shrink = (sigma.square() + 1).rsqrt()
            h = shrink * x
            out: Tensor = shrink * (self.body(torch.cat((h, angle.sin(), angle.cos()), dim=1)) / sigma - h)
        else:
            out = self.body(x) / sigma
        return out
