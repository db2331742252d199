"""What a run takes on the disk is bounded and told; what kills a training in the middle of a write spoils nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ddpm_studio.cli import main
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.recipes import find
from ddpm_studio.store import EventRow, ProbeRow, Record, Run, computed_with
from ddpm_studio.store.record import SIGHTS_CAP
from ddpm_studio.training.events import ProbeItems, ProbeSight

TINY = {
    "training.steps": 6,
    "network.width": 8,
    "network.depth": 1,
    "sampler.steps": 3,
    "preview.steps": 2,
    "compute.device": "cpu",
}


def a_tape(step: int, count: int = 2, side: int = 4, frames: int = 3) -> Tape:
    pictures = np.random.default_rng(step).integers(0, 256, (3, frames, count, side, side, 1), dtype=np.uint8)
    kept = [Frame(i, frames - 1 - i, *(part[i] for part in pictures)) for i in range(frames)]
    return Tape("pictures", frames - 1, frames, "a title", step, "ema", "ddim", 7, kept)


def test_previews_of_other_weights_or_another_count_are_of_another_kind_those_of_another_sampler_are_not(
    tmp_path: Path,
) -> None:
    with Record(tmp_path / "record.sqlite", write=True) as record:
        for tape in (a_tape(1, count=2), a_tape(1, count=4), replace(a_tape(1, count=2), weights="raw")):
            record.add_tape(tape, "preview")
        record.add_tape(replace(a_tape(1, count=2), sampler="heun", settings={"eta": 1.0}), "preview")
        for step in (2, 3):
            record.add_tape(a_tape(step, count=2), "preview")
        kinds = record.tape_kinds()
        assert (len(kinds), len(set(kinds.values()))) == (5, 3)


def files_of(run: Run) -> dict[str, int]:
    return {str(path.relative_to(run.path)): path.stat().st_size for path in run.path.rglob("*") if path.is_file()}


def test_a_run_tells_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ddpm_studio.engine import run_training
    from ddpm_studio.training.control import Control

    run = Run.create(find("moons").with_settings(TINY), tmp_path / "run")
    assert run.data() is None
    assert run.disk().checkpoints == run.disk().frames == 0
    for until in (2, 4):
        list(run_training(run, Control(), until=until, frames_cap=300_000))
    sizes, disk = files_of(run), run.disk()
    assert disk.record == sizes["record.sqlite"] > disk.frames > 0
    assert disk.checkpoints == sum(size for name, size in sizes.items() if name.startswith("checkpoints")) > 0
    assert disk.total == sum(sizes.values())
    assert disk.frames_cap == 300_000
    with run.record() as record:
        assert disk.frames == record.frame_bytes()
    assert main(["info", str(run.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["disk"] == disk._asdict()
    assert told["data"]["count"] == 20_000
    assert main(["info", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  data: moons, 20,000 points to learn from" in lines
    (line,) = (line for line in lines if line.startswith("  disk: "))
    assert line.startswith(f"  disk: {disk.total / 1e6:.1f} MB: record {disk.record / 1e6:.1f} MB (")
    assert "previews at most 0.3 MB), checkpoints" in line


def test_a_long_training_stays_below_its_caps(tmp_path: Path) -> None:
    """As ten minutes leave it: thousands of steps, hundreds of probes, more previews and samples than there is room."""
    cap, per_step = 3 << 20, 120
    run = Run.create(find("fashion-mnist"), tmp_path / "run")
    seen = np.zeros((10, 28, 28, 3), np.uint8)
    steps = 20_000
    with run.record(write=True, frames_cap=cap) as record:
        for step in range(1, steps + 1):
            record.add_metrics(step, 64 * step, 1 / step, 1e-3, 0.1, 1000.0)
            if step % 100 == 0:
                record.add_probe(
                    ProbeRow(step, 0.5, 0.25, *np.zeros((3, 10))),
                    ProbeItems(np.arange(10), seen, seen),
                    ProbeSight(step, seen, seen),
                )
                record.add_tape(a_tape(step, 16, 14, 8), "preview")
                record.add_tape(a_tape(step, 16, 14, 8), "sample")
        assert record.frame_bytes() <= 1.5 * cap
    disk = run.disk()
    assert disk.frames > cap, "there was more than room for"
    assert disk.record <= 1.6 * cap + SIGHTS_CAP + per_step * steps


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 5), min_size=1, max_size=4)), max_size=12))
@example([(3, [5, 5]), (3, [1]), (3, [2])])
def test_old_samples_go_and_the_last_stay(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, list[int]]]
) -> None:
    """Within half of the cap; a comparison goes as a whole. Previews are not touched by it.

    ``asked``: the training step, and how many items a sample, or each process of a comparison, has.
    """
    size = a_tape(0, 1).nbytes
    with Record(tmp_path_factory.mktemp("record") / "r.sqlite", write=True, frames_cap=20 * size) as record:
        record.add_tape(a_tape(1), "preview")
        last_sample = last_compared = 0
        for number, (step, counts) in enumerate(asked):
            for count in counts:
                tape = a_tape(step, count)
                tape.seed = number
                tape.comparison = f"comparison {number}" if len(counts) > 1 else ""
                record.add_tape(tape, "compare" if tape.comparison else "sample")
            if len(counts) > 1:
                assert [tape.count for tape in record.last_comparison()] == counts
                last_compared = sum(counts) * size
            else:
                newest = record.tape(record.tape_steps("sample")[-1][0])
                longest, which = max((at, n) for n, (at, one) in enumerate(asked[: number + 1]) if len(one) == 1)
                assert (newest.training_step, newest.seed) == (longest, which)  # of one step the last
                last_tape = record.last_tape()
                assert last_tape is not None
                assert last_tape.seed == which or longest <= 1  # where the preview may be the last
                last_sample = newest.nbytes
            others = [record.tape(i) for purpose in ("sample", "compare") for i, _ in record.tape_steps(purpose)]
            held = sum(tape.nbytes for tape in others)
            assert held <= max(10 * size, last_sample + last_compared)
            assert held == record.frame_bytes() - a_tape(1).nbytes
            for name in {tape.comparison for tape in others} - {""}:
                whole = asked[int(name.split()[1])][1]
                assert [tape.count for tape in others if tape.comparison == name] == whole


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import torch
from test_store_disk import a_tape
from ddpm_studio.store import Run, save_checkpoint

run, start = Run.open(Path(sys.argv[1])), int(sys.argv[2])
recipe = run.recipe()
with run.record(write=True) as record:
    record.forget_after(start)
    for step in range(start + 1, 100_000):
        record.add_metrics(step, 64 * step, 1.0, 1.0, 1.0, 1.0)
        record.flush()
        record.add_tape(a_tape(step, 16, 28), "preview")
        tensors = {f"network.{i}": torch.full((64, 1024), float(step)) for i in range(4)}
        numbers = {"step": step, "images_seen": step, "rate_scale": 1.0, "ema_updates": step, "precision": "float32"}
        save_checkpoint(run.checkpoint_folder, tensors, numbers, recipe)
        print(step, flush=True)
"""


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """Whatever was in hand: the last good state is there, whole, and the next process goes on from it."""
    run = Run.create(find("moons"), tmp_path / "run")
    draw, start = np.random.default_rng(), 0
    for _ in range(4):
        command = [sys.executable, "-c", KILLED, str(run.path), str(start), str(Path(__file__).parent)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [int(child.stdout.readline()) for _ in range(3)][-1]
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(draw.uniform(0.01, 0.15))
            child.send_signal(signal.SIGKILL)
            child.stdout.close()
        checkpoints = run.checkpoints()
        start = checkpoints[-1].step
        assert start >= told
        for checkpoint in checkpoints:
            assert checkpoint.about()[0]["step"] == checkpoint.step
            for tensor in checkpoint.tensors().values():
                assert (tensor == checkpoint.step).all()
        with run.record() as record:
            assert record._all("pragma quick_check") == [("ok",)]
            steps = record.metrics()[:, 0].tolist()
            assert steps == list(range(1, len(steps) + 1))
            assert len(steps) >= start
            for number, step in record.tape_steps():
                np.testing.assert_array_equal(record.tape(number).frames[-1].x, a_tape(step, 16, 28).frames[-1].x)


def test_how_a_run_computes_is_what_its_last_start_came_to() -> None:
    def event(kind: str, **about: str) -> EventRow:
        return EventRow(0, 0.0, kind, about)

    first = event("started", plan="CPU, fp32", why="as asked"), event("computing", plan="", what="it cannot be built")
    again = event("started", plan="CPU, bf16", why="1.4×"), event("computing", plan="CPU, bf16, compiled", what="1.2×")
    assert computed_with([]) == ("", "")
    assert computed_with(first) == ("CPU, fp32", "as asked")
    assert computed_with([*first, *again]) == ("CPU, bf16, compiled", "1.4×; 1.2×")
