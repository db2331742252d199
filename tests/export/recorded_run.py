"""A run on disk that was never trained: everything in it is known."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.recipes import built_in
from ddpm_studio.store import ProbeRow, Run

STEPS = (0, 5, 20, 80, 300)
LEVELS = (1000, 750, 500, 250, 120, 60, 0)
COUNT, SIDE = 9, 8


def tape(
    step: int,
    kind: Literal["pictures", "points"] = "pictures",
    channels: int = 1,
    count: int = COUNT,
    levels: tuple[int, ...] = LEVELS,
) -> Tape:
    draw = np.random.default_rng(step)
    frames = []
    for i, t in enumerate(levels):
        if kind == "points":
            x, x0, eps = (draw.normal(size=(count, 2)).astype(np.float32) for _ in range(3))
        else:
            shape = (count, SIDE, SIDE, channels)
            x, x0, eps = (draw.integers(0, 256, shape, dtype=np.uint8) for _ in range(3))
        frames.append(Frame(i, t, x, x0 if i else None, eps if i else None))
    return Tape(kind, 1000, len(frames), "A title", step, "ema", "ddim", 3, frames)


def make_run(
    path: Path,
    kind: Literal["pictures", "points"] = "pictures",
    channels: int = 1,
    steps: tuple[int, ...] = STEPS,
    title: str = "A title",
) -> Run:
    name = "moons" if kind == "points" else "scratch5-mnist-laptop"
    recipe = built_in()[name].with_settings({"title": title, "training.batch": 32})
    run = Run.create(recipe, path)
    with run.record(write=True) as record:
        for step in range(1, 301):
            loss = float("nan") if step == 7 else 1.0 / step
            record.add_metrics(step, 32 * step, loss, 1e-3 / 3, 0.5, 1234.5)
        for step in (0, 100, 300):
            levels = np.array([10.0, 500.0, 990.0])
            floor = levels / 9e6 if kind == "points" else None  # as of a known mixture
            held = levels / 8e6 if kind == "points" else None
            losses = levels / 7, levels / 5, floor, held
            record.add_probe(ProbeRow(step, 1 / (step + 1), 1.1 / (step + 1), levels, *losses))
        record.add_event(0, "started", {"plan": "CPU, fp32", "why": "because <of> that", "until": 300})
        record.add_event(150, "setting_changed", {"setting": "training.learning_rate", "old": 0.001, "new": 0.0005})
        record.add_event(300, "finished", {"seconds": 12.0})
        for step in steps:
            record.add_tape(tape(step, kind, channels), "preview")
    return run
