"""What the score recipe learns in its seconds; how long each recipe's steps take is in ``ddpm-studio bench networks``.

python tests/benchmarks/tutorials.py
"""

from __future__ import annotations

import time

from ddpm_studio.data import mixture_of
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import find
from ddpm_studio.training.build import build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.trainer import train

RECIPE = "score-two-gaussians-laptop"
POINTS = 10_000


def main() -> None:
    """Train the score recipe's laptop edition whole and measure the modes of its samples."""
    recipe = find(RECIPE).with_settings({"preview.budget": 0.0})
    session = build(recipe, dataset_of(recipe))
    start = time.perf_counter()
    for _ in train(session, Control()):
        pass
    trained = time.perf_counter() - start
    points = None
    for event in sample(session, Control(), recipe.sampler, POINTS, 0, "ema", "sample"):
        if isinstance(event, TapeFinished):
            points = event.tape.frames[-1].x
    mixture = mixture_of(recipe.data.source)
    assert points is not None
    assert mixture is not None
    shares, spreads = mixture.shares(points), mixture.spreads(points)
    print(
        f"{RECIPE}: trained in {trained:.1f} s, shares {shares.round(3)} (data {mixture.weights}), "
        f"spreads {spreads.round(4)} (data {mixture.variance**0.5:.4f})"
    )


if __name__ == "__main__":
    main()
