"""A run on disk: complete or absent, readable while written, and every damage is one sentence."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.diffusion.tape import Frame, ScoreField, Tape
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import (
    METRICS,
    Checkpoint,
    CheckpointError,
    Parent,
    ProbeRow,
    Record,
    RecordError,
    Run,
    RunError,
    list_runs,
    save_checkpoint,
)
from ddpm_studio.store import checkpoint as checkpoint_module
from ddpm_studio.store.checkpoint import checkpoints_in, forget_checkpoints_after, to_thin_out
from ddpm_studio.store.record import PART

ODD_NAMES = ["plain", "with space", "ünï ☃ 模型", "per%cent #1?", "[a-b]"]


def a_tape(step: int, frames: int = 3) -> Tape:
    draw = np.random.default_rng(step)
    x, x0, eps = draw.integers(0, 256, (3, frames, 2, 4, 5, 1), dtype=np.uint8)
    kept = [Frame(i, frames - 1 - i, x[i], x0[i] if i else None, eps[i] if i else None) for i in range(frames)]
    return Tape("pictures", frames - 1, frames, "a title", step, "raw", "ddim", 7, kept)


def a_probe(step: int) -> ProbeRow:
    return ProbeRow(step, 0.5, 0.25, *np.random.default_rng(step).normal(size=(3, 10)))


def row(step: int) -> tuple[float, ...]:
    return (step, 64 * step, 1 / step, 1e-3, 0.1, 1000.0)


def state(step: int, value: float = 1.0) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = {"network.w": torch.full((3, 2), value), "optimizer.w.step": torch.tensor(float(step))}
    numbers = {"images_seen": 64 * step, "rate_scale": 1.0, "ema_updates": step, "precision": "float32"}
    return tensors, {"step": step} | numbers


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# -- the record


def test_a_long_record_is_read_in_parts(tmp_path: Path) -> None:
    rows = [row(step) for step in range(1, 2 * PART + 3)]
    with Record(tmp_path / "record.sqlite", write=True) as record:
        for one in rows:
            record.add_metrics(*one)
        record.flush()
        assert np.array_equal(record.metrics(), np.array(rows))


@pytest.mark.parametrize("name", ODD_NAMES)
def test_all_comes_back_and_can_be_read_while_it_is_written(tmp_path: Path, name: str) -> None:
    run = Run.create(find("moons"), tmp_path / name)
    with run.record(write=True) as record:
        for step in range(1, 6):
            record.add_metrics(*row(step))
        record.add_probe(a_probe(3))
        record.add_event(3, "said", {"text": "ünï", "list": [1, None]})
        record.add_tape(a_tape(3), "preview")
        record.add_tape(a_tape(5, 1), "sample")
        with run.record() as reader:
            assert len(reader.metrics()) == 5
            record.add_metrics(*row(6))
            record.flush()
            assert reader.last_metrics()["step"] == 6
            with pytest.raises(RecordError, match="cannot be written"):
                reader.add_event(1, "no", {})
    assert sorted(p.name for p in run.path.iterdir()) == ["recipe.toml", "record.sqlite"], "no journal is left"
    with run.record() as reader:
        np.testing.assert_array_equal(reader.metrics(), [row(n) for n in range(1, 7)])
        assert reader.last_metrics() == dict(zip(METRICS, row(6), strict=True))
        (probe,) = reader.probes()
        assert reader.last_probe() is not None
        for mine, theirs in zip(probe, a_probe(3), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        (event,) = reader.events()
        assert (event.step, event.kind, event.about) == (3, "said", {"text": "ünï", "list": [1, None]})
        assert [s for _, s in reader.tape_steps()] == [3]
        ((preview, _),), ((sample, _),) = reader.tape_steps(), reader.tape_steps("sample")
        for number, original in ((preview, a_tape(3)), (sample, a_tape(5, 1))):
            tape = reader.tape(number)
            assert tape.arrays().keys() == original.arrays().keys()
            for key, array in original.arrays().items():
                np.testing.assert_array_equal(tape.arrays()[key], array)
            assert {**vars(tape), "frames": 0} == {**vars(original), "frames": 0}
        assert reader.last_tape() is not None
        assert reader.frame_bytes() == a_tape(3).nbytes + a_tape(5, 1).nbytes
        with pytest.raises(RecordError, match="no tape number 99"):
            reader.tape(99)


def test_a_record_keeps_score_fields(tmp_path: Path) -> None:
    field = ScoreField(np.random.default_rng(0).standard_normal((4, 4, 2)).astype(np.float32), 0.75, 0.25, 2.5)
    x = np.zeros((3, 2), np.float32)
    tape = Tape("points", 10, 2, frames=[Frame(0, 10, x), Frame(1, 0, x, x, x, field)])
    with Record(tmp_path / "record.sqlite", write=True) as record:
        record.add_tape(tape, "sample")
        again = record.last_tape()
        assert record.frame_bytes() == 4 * x.nbytes + field.score.nbytes
    assert again is not None
    assert again.frames[0].field is None
    assert again.frames[1].field is not None
    np.testing.assert_array_equal(again.frames[1].field.score, field.score)
    assert again.frames[1].field[1:] == (0.75, 0.25, 2.5)


def test_an_empty_record_is_empty(tmp_path: Path) -> None:
    with Run.create(find("moons"), tmp_path / "r").record() as record:
        assert record.metrics().shape == (0, len(METRICS))
        assert (record.last_metrics(), record.probes(), record.last_probe(), record.last_tape()) == ({}, [], None, None)
        assert record.frame_bytes() == 0


def test_what_was_not_flushed_waits_in_memory_until_closed(tmp_path: Path) -> None:
    run = Run.create(find("moons"), tmp_path / "r")
    with run.record(write=True) as record:
        record.FLUSH_SECONDS = 1e9
        record.add_metrics(*row(1))
        with run.record() as reader:
            assert len(reader.metrics()) == 0
    with run.record() as reader:
        assert len(reader.metrics()) == 1


def test_previews_are_thinned_but_never_the_first_or_the_last(tmp_path: Path) -> None:
    size = a_tape(0).nbytes
    with Record(tmp_path / "r.sqlite", write=True, frames_cap=10 * size) as record:
        record.add_tape(a_tape(4), "sample")
        for step in range(1, 60):
            record.add_tape(a_tape(step), "preview")
            steps = [s for _, s in record.tape_steps()]
            assert (steps[0], steps[-1]) == (1, step)
            assert record.frame_bytes() <= 11 * size, "ten previews, and the sample, which does not count"
        assert len(steps) >= 5
        assert [s for _, s in record.tape_steps("sample")] == [4], "a sample was asked for: it stays"
        for number, _ in record.tape_steps():
            assert len(record.tape(number).frames) == 3
        orphans = record._all("select count(*) from arrays where tape not in (select id from tapes)")
        assert orphans == [(0,)]


def test_a_step_has_one_preview_of_a_kind_and_kinds_are_thinned_apart(tmp_path: Path) -> None:
    def raw_or_not(step: int, weights: str) -> Tape:
        tape = a_tape(step)
        tape.weights = weights  # type: ignore[assignment]
        return tape

    size = a_tape(0).nbytes
    with Record(tmp_path / "r.sqlite", write=True, frames_cap=10 * size) as record:
        for step in (5, 5):  # a resumed run shows again where it stands
            record.add_tape(raw_or_not(step, "ema"), "preview")
        record.add_tape(raw_or_not(5, "raw"), "preview")
        assert [s for _, s in record.tape_steps()] == [5, 5]
        for step in range(6, 40):
            record.add_tape(raw_or_not(step, "ema"), "preview")
        kinds = [(tape.weights, tape.training_step) for tape in record.rows()]
        assert kinds[0] == ("ema", 39), "the newest comes first"
        assert {("raw", 5), ("ema", 5), ("ema", 39)} <= set(kinds)
        assert sum(tape.nbytes for tape in record.rows()) <= 10 * size


def test_a_wide_preview_loses_inner_columns_never_its_ends(tmp_path: Path) -> None:
    tape = a_tape(1, 40)
    with Record(tmp_path / "r.sqlite", write=True, frames_cap=tape.nbytes) as record:
        record.add_tape(tape, "preview")
        record.add_tape(tape, "sample")
        (row,) = record.rows()
        assert (row.frames[0].t, row.frames[-1].t) == (39, 0)
        assert row.complete
        assert row.nbytes <= tape.nbytes / 8
        assert len(record.tape(record.tape_steps("sample")[0][0]).frames) == 40


def test_forget_after(tmp_path: Path) -> None:
    with Record(tmp_path / "r.sqlite", write=True) as record:
        for step in range(1, 11):
            record.add_metrics(*row(step))
            record.add_probe(a_probe(step))
            record.add_tape(a_tape(step), "preview")
            record.add_event(step, "said", {})
        record.forget_after(4)
        assert record.metrics()[:, 0].tolist() == [1, 2, 3, 4]
        assert [p.step for p in record.probes()] == [1, 2, 3, 4]
        assert [s for _, s in record.tape_steps()] == [1, 2, 3, 4]
        assert len(record.events()) == 10, "what happened stays told"
        for step, name in ((2, "here"), (900, "another run")):
            tape = a_tape(step)
            tape.comparison, tape.column = "a comparison", name
            record.add_tape(tape, "compare")
        record.forget_after(1)
        assert [tape.column for tape in record.last_comparison()] == ["here", "another run"]
        assert record._all("select count(*) from arrays where tape not in (select id from tapes)") == [(0,)]
        record.add_metrics(*row(5))
        assert record.path.stat().st_size


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("content", [b"this is no database at all" * 99, b"SQLite format 3\0" + b"\xff" * 2000])
def test_a_damaged_record_is_one_sentence(tmp_path: Path, content: bytes, write: bool) -> None:
    path = tmp_path / "record.sqlite"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught, Record(path, write=write) as record:
        record.metrics()
    assert str(path) in one_sentence(caught.value)


def test_other_damages_of_a_record(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    with pytest.raises(RecordError, match="is missing"):
        Record(path)
    path.touch()
    with Record(path) as record, pytest.raises(RecordError, match="cannot be read"):
        record.metrics()
    with Record(path, write=True) as record:
        record.add_tape(a_tape(1), "preview")
        record._db.execute("update tapes set about = '{\"odd\": 1}'")
        with pytest.raises(RecordError, match="tape number 1 is damaged"):
            record.tape(1)
        record._db.execute("delete from arrays")
        with pytest.raises(RecordError, match="tape number 1 is damaged"):
            record.tape(1)


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("update arrays set data = x'00' where name = 'x'", Record.last_tape),
        ("update arrays set dtype = 'odd'", Record.last_comparison),
        ("update tapes set about = '{'", Record.last_comparison),
        ("update tapes set about = '[]'", Record.last_comparison),
        ("update events set about = '{'", Record.events),
        ("update events set about = '7'", Record.first_event),
        ("update probes set levels = x'00'", Record.probes),
        ("update probes set levels = 'text'", Record.last_probe),
        ("update probes set train = 'text'", Record.probe_curve),
        ("update metrics set loss = 'text'", Record.metrics),
    ],
)
def test_what_a_damaged_row_says_is_one_sentence(tmp_path: Path, change: str, read: Callable[[Record], object]) -> None:
    path = tmp_path / "record.sqlite"
    with Record(path, write=True) as record:
        record.add_probe(a_probe(1))
        record.add_metrics(*row(1))
        record.add_event(1, "said", {})
        for purpose in ("preview", "compare"):
            record.add_tape(a_tape(1), purpose)
        read(record)
        record._db.execute(change)
        with pytest.raises(RecordError, match="damaged") as caught:
            read(record)
        assert str(path) in one_sentence(caught.value)
        assert len(list(record.rows())) == ("tapes" not in change and "arrays" not in change)


@pytest.mark.parametrize("about", ["{", "[]", "{}", '{"run": 1, "step": 0, "before": 0, "born": 0}'])
def test_a_run_whose_beginning_is_damaged_is_listed(tmp_path: Path, about: str) -> None:
    run = Run.create(find("moons"), tmp_path / "fork", Parent(tmp_path / "mother", 4, 4, 0.0))
    with run.record(write=True) as record:
        record.add_metrics(*row(7))
        record._db.execute("update events set about = ?", (about,))
    assert [s.title for s in list_runs(tmp_path)] == ["fork"]
    with pytest.raises(RecordError):
        run.parent()


def test_a_record_left_by_a_crash_opens(tmp_path: Path) -> None:
    """Killed while it wrote: the journal lies beside the file."""
    run = Run.create(find("moons"), tmp_path / "run")
    record = run.record(write=True)
    record.add_metrics(*row(1))
    record.flush()
    shutil.copytree(run.path, tmp_path / "crashed")
    record.close()
    with Run.open(tmp_path / "crashed").record() as reader:
        assert len(reader.metrics()) == 1


# -- checkpoints


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_checkpoint_comes_back(tmp_path: Path, name: str) -> None:
    recipe = find("moons").with_settings({"training.clip_norm": "none", "training.learning_rate": 1e-4})
    saved = save_checkpoint(tmp_path / name, *state(800), recipe)
    assert saved.tensors_file.name == "step-000800.safetensors"
    assert checkpoints_in(tmp_path / name) == [saved]
    assert saved.about() == (state(800)[1], recipe)
    loaded = saved.tensors()
    assert loaded.keys() == state(800)[0].keys()
    assert all(torch.equal(loaded[k], v) for k, v in state(800)[0].items())
    assert sorted(p.suffix for p in (tmp_path / name).iterdir()) == [".safetensors", ".toml"]


@pytest.mark.parametrize("killed_at", ["fsync", "first replace", "second replace"])
def test_complete_or_absent(tmp_path: Path, killed_at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before both files are in place: the earlier checkpoint is still the last one."""
    import os

    recipe = find("moons")
    first = save_checkpoint(tmp_path, *state(1), recipe)
    replace, calls = os.replace, []

    def dying(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == (1 if killed_at == "first replace" else 2):
            raise KeyboardInterrupt
        replace(source, target)

    def dead(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dead) if killed_at == "fsync" else patch.setattr(os, "replace", dying)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, *state(2), recipe)
        assert checkpoints_in(tmp_path) == [first]
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(tmp_path, *state(1, 5.0), recipe)
        # Nothing is lost before both are on the disk; then new weights under an old description would be worse.
        assert checkpoints_in(tmp_path) == ([first] if killed_at == "fsync" else [])
    again = save_checkpoint(tmp_path, *state(2, 3.0), recipe)
    assert checkpoints_in(tmp_path)[-1] == again
    assert again.tensors()["network.w"][0, 0] == 3


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.torch
    from safetensors import SafetensorError

    recipe = find("moons")
    first = save_checkpoint(tmp_path, *state(1), recipe)
    for error in (OSError(28, "No space left on device"), SafetensorError("No space left on device")):

        def full(*_: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(safetensors.torch, "save_file", full)
            with pytest.raises(CheckpointError, match="No space left on device; free some") as caught:
                save_checkpoint(tmp_path, *state(2), recipe)
        one_sentence(caught.value)
        assert checkpoints_in(tmp_path) == [first]
        assert len(list(tmp_path.iterdir())) == 2, "no half file is left"


@pytest.mark.parametrize("left", [0, 4, 60, -4])
def test_truncated_weights_are_one_sentence(tmp_path: Path, left: int) -> None:
    saved = save_checkpoint(tmp_path, *state(1), find("moons"))
    saved.tensors_file.write_bytes(saved.tensors_file.read_bytes()[:left])
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        saved.tensors()
    assert str(saved.tensors_file) in one_sentence(caught.value)


@pytest.mark.parametrize("content", [b"", b"not = [toml", b"\xff\xfe", b"[state]\nstep = 1\n[recipe]\nseed = -1\n"])
def test_a_damaged_description_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    saved = save_checkpoint(tmp_path, *state(1), find("moons"))
    saved.about_file.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged") as caught:
        saved.about()
    one_sentence(caught.value)


@pytest.mark.parametrize("name", ["step", "images_seen", "rate_scale", "ema_updates", "precision"])
@pytest.mark.parametrize("instead", ["", "{name} = []"])
def test_a_description_without_its_numbers_is_one_sentence(tmp_path: Path, name: str, instead: str) -> None:
    saved = save_checkpoint(tmp_path, *state(1), find("moons"))
    text = saved.about_file.read_text(encoding="utf-8")
    text = re.sub(rf"^{name} = .*$", instead.format(name=name), text, count=1, flags=re.MULTILINE)
    saved.about_file.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"is damaged .*{name}") as caught:
        saved.about()
    one_sentence(caught.value)


def test_a_copy_beside_checkpoints_is_left_alone(tmp_path: Path) -> None:
    saved = save_checkpoint(tmp_path, *state(1), find("moons"))
    for file in (saved.tensors_file, saved.about_file):
        shutil.copy(file, file.with_stem("step-000001-best"))
    assert checkpoints_in(tmp_path) == [saved]


def test_forget_checkpoints_after(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, *state(step), find("moons"))
    forget_checkpoints_after(tmp_path, 2)
    assert [c.step for c in checkpoints_in(tmp_path)] == [1, 2]
    assert len(list(tmp_path.iterdir())) == 4
    forget_checkpoints_after(tmp_path / "none", 2)


def test_old_checkpoints_are_thinned_out(tmp_path: Path) -> None:
    for step in range(10, 210, 10):
        save_checkpoint(tmp_path, *state(step), find("moons"))
    steps = [c.step for c in checkpoints_in(tmp_path)]
    assert len(steps) == checkpoint_module.KEEP
    assert (steps[0], *steps[-2:]) == (10, 190, 200)
    assert len(list(tmp_path.iterdir())) == 2 * len(steps)


@given(st.sets(st.integers(0, 99_999), max_size=30).map(sorted), st.integers(1, 12))
def test_thinning_keeps_the_ends_and_the_number(steps: list[int], keep: int) -> None:
    there = [Checkpoint(Path(f"step-{step:06d}.safetensors")) for step in steps]
    gone = to_thin_out(there, keep)
    left = [c for c in there if c not in gone]
    assert len(left) == min(len(there), max(keep, 3))
    assert len(set(gone)) == len(gone) == len(there) - len(left)
    assert set(there[:1] + there[-2:]) <= set(left)
    assert to_thin_out(left, keep) == []


def test_thinning_leaves_early_ones_dense() -> None:
    kept: list[Checkpoint] = []
    for step in range(100, 20_100, 100):
        kept.append(Checkpoint(Path(f"step-{step:06d}.safetensors")))
        gone = to_thin_out(kept, 8)
        kept = [c for c in kept if c not in gone]
    gaps = [b.step - a.step for a, b in pairwise(kept)]
    assert gaps[0] < max(gaps[:-1])
    assert kept[1].step <= 4000


# -- the run


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_run_opens_from_anything_inside_it(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = find("moons").with_settings({"seed": 5})
    run = Run.create(recipe, tmp_path / name)
    saved = save_checkpoint(run.checkpoint_folder, *state(1), recipe)
    inside = [run.path, run.recipe_file, run.record_file, run.checkpoint_folder, saved.tensors_file, saved.about_file]
    assert all(Run.open(path) == run for path in inside)
    assert run.recipe() == run.current_recipe() == recipe
    monkeypatch.chdir(run.checkpoint_folder)
    assert Run.open(Path()) == Run.open(Path(saved.about_file.name)) == run


def test_what_is_no_run_is_one_sentence(tmp_path: Path) -> None:
    run = Run.create(find("moons"), tmp_path / "run")
    for path, words in [
        (tmp_path, "is not a run"),
        (tmp_path / "gone", "there is no folder"),
        (run.path / "gone", "there is no folder"),
    ]:
        with pytest.raises(RunError, match=words) as caught:
            Run.open(path)
        assert str(path) in one_sentence(caught.value)


def test_a_run_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path / "home"))
    run = Run.create(find("moons"), tmp_path / "run")
    before = {p: p.read_bytes() for p in run.path.iterdir()}
    (tmp_path / "a file").write_text("mine")
    for path in (run.path, tmp_path / "a file"):
        with pytest.raises(RunError, match="never overwrites"):
            Run.create(find("spiral"), path)
    assert {p: p.read_bytes() for p in run.path.iterdir()} == before
    (tmp_path / "empty").mkdir()
    Run.create(find("moons"), tmp_path / "empty")
    odd = find("moons").model_copy(update={"name": "../a / ü:b"})
    names = {Run.create(odd).path for _ in range(4)}
    assert len(names) == 4
    assert {p.parent for p in names} == {tmp_path / "home" / "runs"}


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be made") as caught:
        Run.create(find("moons"), tmp_path / "file" / "run")
    one_sentence(caught.value)


def test_runs_are_listed_newest_first_and_damaged_ones_too(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == []
    runs = [Run.create(Recipe(title=f"Nr {n}"), tmp_path / f"run {n}") for n in range(4)]
    (tmp_path / "no run").mkdir()
    with runs[1].record(write=True) as record:
        record.add_metrics(*row(7))
    with runs[2].record(write=True) as record:
        record.add_metrics(*row(8))
        record.add_probe(a_probe(8))
    runs[3].record_file.write_bytes(b"nothing of use" * 100)
    runs[0].recipe_file.write_text("broken = ", encoding="utf-8")
    for n, run in enumerate(runs):
        os.utime(run.record_file, (1000 + n, 1000 + n))
    found = list_runs(tmp_path)
    assert [s.run for s in found] == runs[::-1]
    assert [(s.title, s.step, s.loss) for s in found] == [
        ("run 3", 0, None),
        ("run 2", 8, 0.5),
        ("run 1", 7, 1 / 7),
        ("run 0", 0, None),
    ]
    with pytest.raises(RunError):
        runs[0].recipe()


def test_only_training_moves_a_run_up_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("ddpm_studio.store.record.time.time", lambda: now[0])
    runs = [Run.create(Recipe(title=f"Nr {n}"), tmp_path / f"run {n}") for n in range(2)]
    for run in runs:
        now[0] += 10
        with run.record(write=True) as record:
            record.add_event(0, "started", {})
    with runs[0].record(write=True) as record:
        record.add_tape(a_tape(7), "compare")
    os.utime(runs[1].record_file, (1, 1))
    assert [s.run for s in list_runs(tmp_path)] == runs[::-1]
    now[0] += 10
    with runs[0].record(write=True) as record:
        record.add_event(7, "started", {})
    found = list_runs(tmp_path)
    assert [s.run for s in found] == runs
    assert found[0].trained.timestamp() == now[0]


def test_runs_begun_within_a_minute_have_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("a-20260102-100301", "a-20260102-100301-2", "a-20260102-100359", "a-20260102-100401", "named (2)"):
        Run.create(Recipe(title="Moons"), tmp_path / folder)
    (tmp_path / "named").mkdir()
    Run.create(Recipe(title="Moons"), tmp_path / "named")
    titles = {s.run.name: s.title for s in list_runs(tmp_path)}
    assert titles == {
        "a-20260102-100301": "Moons, 10:03",
        "a-20260102-100301-2": "Moons, 10:03 (2)",
        "a-20260102-100359": "Moons, 10:03 (3)",
        "a-20260102-100401": "Moons, 10:04",
        "named (2)": "named (2)",
        "named": "named",
    }


LOCKED = """
import sys
from pathlib import Path
from ddpm_studio.store import Run

with Run(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_program_trains_a_run(tmp_path: Path) -> None:
    run = Run.create(find("moons"), tmp_path / "run")
    command = [sys.executable, "-c", LOCKED, str(run.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="trained by another program") as caught, run.locked():
            pytest.fail("two at a time")
        assert str(run.path) in one_sentence(caught.value)
        other.kill()
    with run.locked(), pytest.raises(RunError, match="another program"), Run(run.path).locked():
        pytest.fail("nor in one process")
    with pytest.raises(RunError, match="cannot be trained"), Run(tmp_path / "gone").locked():
        pytest.fail("there is no folder")
    with pytest.raises(ZeroDivisionError), run.locked():
        1 / 0  # noqa: B018
    with run.locked():
        pass


def test_a_run_is_one_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(find("moons"), tmp_path / "real" / "run")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert list_runs(tmp_path / "link")[0].run == Run.open(tmp_path / "link" / "run") == run
    monkeypatch.chdir(tmp_path)
    assert Run(Path("real/run")) == run


def test_a_record_is_one_sqlite_file(tmp_path: Path) -> None:
    run = Run.create(find("moons"), tmp_path / "run")
    db = sqlite3.connect(run.record_file)
    assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    assert db.execute("pragma user_version").fetchone() == (1,)
    db.close()
