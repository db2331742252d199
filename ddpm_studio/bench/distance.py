"""How far drawn pictures are from those learnt, in the features of our own fixed classifier."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from ddpm_studio.bench.effort import Effort
from ddpm_studio.data import Dataset
from ddpm_studio.evaluation.features import features
from ddpm_studio.evaluation.frechet import floor, frechet
from ddpm_studio.evaluation.samples import draw
from ddpm_studio.training.build import Session


class Judge:
    """Knows the trained pictures' features.

    Attributes:
        count: pictures that are drawn for a distance, no more than are held out.
        floor: the Fréchet distance of as many held-out ones: what no generator should get below.
    """

    def __init__(self, data: Dataset, effort: Effort) -> None:
        self._true = features(data.train)
        self.floor, self.count = floor(self._true, features(data.held_out), effort.pictures)

    def distance(self, session: Session, settings: Any, seed: int, look: Callable[[], None]) -> tuple[float, float]:
        """Of ``count`` pictures drawn with a sampler section, and the seconds that drawing took.

        ``look`` is called now and then, and may raise.
        """

        def go_on(done: int, total: int) -> bool:
            look()
            return True

        start = time.perf_counter()
        pictures = draw(session, settings, self.count, seed=seed, progress=go_on)
        seconds = time.perf_counter() - start
        return frechet(self._true, features(pictures)), seconds
