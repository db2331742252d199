"""A run can be sampled from and described when what it was trained on has gone; to train on, it needs it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tomlkit

from ddpm_studio import engine
from ddpm_studio.app.jobs import Channels, OpenRunJob, SampleJob
from ddpm_studio.data import DataError
from ddpm_studio.engine import dataset_of, open_session, run_sampling, run_training
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.axes import Cell
from ddpm_studio.store import Checkpoint, CheckpointError, Run
from ddpm_studio.training.control import Comparison, Control, SampleRequest
from ddpm_studio.training.events import Finished, TapeFinished

RecipeOf, NewRun = Callable[..., Recipe], Callable[..., Run]


@pytest.fixture
def trained(recipe_of: RecipeOf, new_run: NewRun, picture_folder: Path, tmp_path: Path) -> Run:
    """Two steps on a folder of pictures in two classes, which somebody may move away."""
    (tmp_path / "pictures").symlink_to(picture_folder, target_is_directory=True)
    run = new_run(recipe_of("pictures", data__source=str(tmp_path / "pictures"), training__steps=4))
    list(run_training(run, Control(), until=2))
    return run


def sampled(run: Run) -> np.ndarray:
    events = list(run_sampling(run, Control(), SampleRequest(3, 7, "ema"), keep=False))
    tape = next(e.tape for e in events if isinstance(e, TapeFinished))
    assert tape.complete
    return tape.frames[-1].x


def rewritten(checkpoint: Checkpoint, data: object) -> None:
    """With other facts of the data, or without any, as older versions wrote it."""
    values = tomllib.loads(checkpoint.about_file.read_text(encoding="utf-8"))
    del values["data"]
    checkpoint.about_file.write_text(tomlkit.dumps(values if data is None else values | {"data": data}), "utf-8")


def test_samples_are_the_same_without_the_data(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pictures").rename(tmp_path / "moved")
    monkeypatch.setattr(engine, "open_dataset", None)  # nobody even looks for them
    without = sampled(trained)
    monkeypatch.undo()
    (tmp_path / "moved").rename(tmp_path / "pictures")
    rewritten(trained.checkpoints()[-1], None)
    np.testing.assert_array_equal(sampled(trained), without)
    assert without.shape == (3, 8, 12, 3)


def test_the_checkpoint_knows_what_the_data_were(trained: Run) -> None:
    facts = trained.checkpoints()[-1].data()
    assert facts is not None
    assert facts == dataset_of(trained.recipe()).facts
    assert (facts.kind, facts.shape, facts.count, facts.classes) == ("pictures", (3, 8, 12), 38, ("class 0", "class 1"))


def test_training_needs_the_data_and_says_so(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "pictures").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="pictures is not there: if it was moved, put it back, or choose other data"):
        list(run_training(trained, Control()))
    with pytest.raises(DataError, match="was not opened, so nothing can be learnt"):
        next(iter(open_session(trained).items.values))
    assert [c.step for c in trained.checkpoints()] == [2]
    (tmp_path / "moved").rename(tmp_path / "pictures")
    assert isinstance(list(run_training(trained, Control()))[-1], Finished)
    assert trained.checkpoints()[-1].step == 4


def test_an_older_checkpoint_asks_the_data(trained: Run, tmp_path: Path) -> None:
    rewritten(trained.checkpoints()[-1], None)
    assert trained.checkpoints()[-1].data() is None
    assert open_session(trained).shape == (3, 8, 12)
    (tmp_path / "pictures").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="pictures is not there"):
        sampled(trained)


@pytest.mark.parametrize(
    "data",
    [
        7,
        {},
        {"name": "n", "kind": "songs", "shape": [1]},
        {"name": "n", "kind": "pictures", "shape": [3, 8]},
        {"name": "n", "kind": "pictures", "shape": [3, 8, 0]},
        {"name": "n", "kind": "points", "shape": 2},
        {"name": "n", "kind": "points", "shape": [2], "colour": "red"},
    ],
)
def test_damaged_facts_are_one_sentence(trained: Run, data: object) -> None:
    rewritten(trained.checkpoints()[-1], data)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        sampled(trained)
    assert "\n" not in str(caught.value)


def test_the_window_opens_it_and_samples_now(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "pictures").rename(tmp_path / "moved")
    (opened,) = OpenRunJob(trained, Control(), Channels()).events()
    assert opened.dataset is None
    events = list(SampleJob(trained, Control(), Channels(), SampleRequest(3, 7, "ema")).events())
    assert [event.tape.count for event in events if isinstance(event, TapeFinished)] == [3]
    ema, raw = (Cell(trained.recipe().sampler, 7, weights, None, weights) for weights in ("ema", "raw"))
    compared = list(SampleJob(trained, Control(), Channels(), Comparison((ema, raw), 2)).events())
    assert [event.tape.complete for event in compared if isinstance(event, TapeFinished)] == [True, True]
