"""How long a step of each tutorial's recipes takes here, and what the score recipe learns in its seconds.

    python tests/benchmarks/tutorials.py [SECONDS A RECIPE]

Recipes whose data are not on this machine are timed on Fashion-MNIST or the pixel faces, which have the same shape.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from ddpm_studio.data import DataError, mixture_of
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe, built_in
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.sampling import sample
from ddpm_studio.training.step import TrainingStep
from ddpm_studio.training.trainer import train

STAND_INS = {"mnist": "fashion-mnist", "cifar-10": "pixel-faces"}
POINTS = 10_000


def session_of(recipe: Recipe) -> Session:
    try:
        return build(recipe, dataset_of(recipe))
    except DataError:
        recipe = recipe.with_settings({"data.source": STAND_INS[recipe.data.source]})
        return build(recipe, dataset_of(recipe))


def step_times(session: Session, seconds: float) -> list[float]:
    """Seconds of each training step, after one that is not counted."""
    step = TrainingStep(session)
    step.advance()
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        step.advance()
        times.append(time.perf_counter() - start)
    return times


def call_time(session: Session) -> float:
    """Seconds of one denoiser call on the recipe's preview items."""
    denoiser = session.sampling_denoiser("ema")
    x = torch.randn(session.recipe.preview.count, *session.shape, device=session.plan.device)
    times = []
    with torch.no_grad():
        for _ in range(4):
            start = time.perf_counter()
            denoiser(x, session.schedule.steps // 2)
            times.append(time.perf_counter() - start)
    return min(times)


def score_quality(recipe: Recipe) -> str:
    """Train the score recipe's laptop edition whole and measure the modes of its samples."""
    session = session_of(recipe.with_settings({"preview.budget": 0.0}))
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
    true = mixture.variance**0.5
    return (
        f"trained in {trained:.1f} s, shares {shares.round(3)} (data {mixture.weights}), "
        f"spreads {spreads.round(4)} (data {true:.4f})"
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    tutorials = {name: recipe for name, recipe in built_in().items() if recipe.tutorial}
    print(f"{'recipe':28}{'parameters':>12}{'batch':>7}{'ms/step':>10}{'items/s':>10}{'ms/call':>10}  plan")
    for name, recipe in tutorials.items():
        session = session_of(recipe)
        times = step_times(session, seconds)
        middle = statistics.median(times)
        print(
            f"{name:28}{session.parameters:12,}{recipe.training.batch:7}{1000 * middle:10.1f}"
            f"{recipe.training.batch / middle:10.0f}{1000 * call_time(session):10.1f}  {session.plan.describe()}",
            flush=True,
        )
    print("score-two-gaussians-laptop:", score_quality(tutorials["score-two-gaussians-laptop"]))


if __name__ == "__main__":
    main()
