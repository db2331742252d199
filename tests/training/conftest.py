"""Tiny runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import Run


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty colour pictures of 12 × 8 in two classes."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for i in range(40):
        parent = folder / f"class {i % 2}"
        parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(parent / f"{i:02d}.png")
    return folder


@pytest.fixture
def recipe_of(picture_folder: Path) -> Callable[..., Recipe]:
    """``recipe_of("points")`` or ``recipe_of("pictures")``, with changes."""
    shared = {
        "training.steps": 200,
        "training.warmup": 5,
        "compute.device": "cpu",
        "compute.threads": 1,
        "compute.precision": "float32",
        "sampler.steps": 4,
        "preview.count": 4,
        "preview.steps": 2,
        "preview.budget": 0.0,
    }
    points = {"training.batch": 32, "network.width": 16, "network.depth": 2}
    pictures = {
        "data.source": str(picture_folder),
        "data.height": 8,
        "data.width": 12,
        "data.flip": True,
        "training.batch": 6,
        "network.channels": [16, 32],
        "network.attention": True,
        "network.class_label": True,
    }

    def make(kind: str = "points", **changes: Any) -> Recipe:
        base, own = ("moons", points) if kind == "points" else ("fashion-mnist", pictures)
        dotted = {name.replace("__", "."): value for name, value in changes.items()}
        return find(base).with_settings(shared | own | dotted)

    return make


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[Recipe, str], Run]:
    return lambda recipe, name="run": Run.create(recipe, tmp_path / name)
