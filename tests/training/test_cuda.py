"""The same on an NVIDIA card; left out where there is none."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ddpm_studio.engine import open_session, run_sampling, run_training
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control, SampleRequest
from ddpm_studio.training.events import Probed, StepDone, TapeFinished

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA card can be used here"),
]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_train_resume_and_sample_on_the_card(
    kind: str, precision: str, recipe_of: Callable[..., Recipe], new_run: Callable[..., Run]
) -> None:
    run = new_run(recipe_of(kind, compute__device="cuda", compute__precision=precision, preview__budget=3.0))
    events = [*run_training(run, Control(), until=6), *run_training(run, Control(), until=12)]
    assert [e.step for e in events if isinstance(e, StepDone)] == list(range(1, 13))
    assert all(np.isfinite([e.train, e.held_out]).all() for e in events if isinstance(e, Probed))
    session = open_session(run)
    assert session.step == 12
    assert all(p.is_cuda for p in session.network.parameters())
    for device in ("cuda", "cpu"):  # what a card has learnt, a processor can draw
        made = list(run_sampling(run, Control(), SampleRequest(5, 0), device=device))
        (tape,) = [e.tape for e in made if isinstance(e, TapeFinished)]
        assert tape.complete
        shape, dtype = ((5, 2), np.float32) if kind == "points" else ((5, 8, 12, 3), np.uint8)
        assert all(f.x.shape == shape and f.x.dtype == dtype for f in tape.frames)


def test_auto_takes_the_card(recipe_of: Callable[..., Recipe], new_run: Callable[..., Run]) -> None:
    session = open_session(new_run(recipe_of("pictures", compute__device="auto", compute__precision="auto")))
    assert session.plan.device.type == "cuda"
    assert torch.cuda.get_device_name() in session.plan.describe()
    assert session.plan.reason
