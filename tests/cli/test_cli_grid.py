"""Labelled grids as a person types them: the same noise in every cell, a sentence for what cannot be, no half files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from ddpm_studio import engine
from ddpm_studio.cli import INTERRUPTED, main
from ddpm_studio.engine import run_comparison, run_sampling, run_training
from ddpm_studio.export import table
from ddpm_studio.export.grid import PAPER
from ddpm_studio.recipes import find
from ddpm_studio.recipes.axes import Cell, cells, parse_axis
from ddpm_studio.store import Run
from ddpm_studio.training.control import Comparison, Control, SampleRequest
from ddpm_studio.training.events import Event, TapeFinished, TapeGrew

TINY = {
    "network.width": 16,
    "network.depth": 2,
    "training.batch": 16,
    "training.steps": 6,
    "sampler.steps": 3,
    "preview.count": 2,
    "preview.budget": 0.0,
    "compute.device": "cpu",
    "compute.threads": 1,
    "compute.precision": "float32",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Points, with checkpoints at steps 2, 4 and 6."""
    made = Run.create(find("moons").with_settings(TINY), tmp_path_factory.mktemp("grid") / "rün")
    for until in (2, 4, 6):
        list(run_training(made, Control(), until=until))
    assert [c.step for c in made.checkpoints()] == [2, 4, 6]
    return made


def ends(events: Iterator[Event]) -> dict[str, Any]:
    return {event.tape.label: event.tape for event in events if isinstance(event, TapeFinished)}


def compared(run: Run, grid: list[list[Cell]], count: int) -> Iterator[Event]:
    return run_comparison(run, Control(), Comparison(tuple(cell for row in grid for cell in row), count), keep=False)


def test_cells_are_what_sampling_alone_gives(run: Run) -> None:
    rows, columns = parse_axis("checkpoint=last,first", [2, 4, 6]), parse_axis("steps=2,5", [2, 4, 6])
    grid = cells(run.recipe(), rows, columns, seed=7, checkpoint=6)
    flat = [cell for row in grid for cell in row]
    assert [(cell.checkpoint, cell.settings.steps) for cell in flat] == [(6, 2), (6, 5), (2, 2), (2, 5)]
    tapes = ends(run_comparison(run, Control(), Comparison(tuple(flat), 5), keep=False))
    for cell in flat:
        tape = tapes[cell.label]
        alone = SampleRequest(5, 7, "ema", cell.settings)
        (same,) = ends(run_sampling(run, Control(), alone, step=cell.checkpoint, keep=False)).values()
        np.testing.assert_array_equal(tape.frames[-1].x, same.frames[-1].x)
        np.testing.assert_array_equal(tape.frames[0].x, tapes[flat[0].label].frames[0].x)  # one noise for all
    assert len({tape.frames[-1].x.tobytes() for tape in tapes.values()}) == 4


def test_seeds_and_weights_differ(run: Run) -> None:
    grid = cells(run.recipe(), parse_axis("weights=ema,raw", []), parse_axis("seed=1,2", []), seed=0, checkpoint=6)
    tapes = list(ends(compared(run, grid, 512)).values())
    assert [(tape.weights, tape.seed) for tape in tapes] == [("ema", 1), ("ema", 2), ("raw", 1), ("raw", 2)]
    assert {tape.count for tape in tapes} == {512}
    starts, last = ([tape.frames[i].x.tobytes() for tape in tapes] for i in (0, -1))
    assert starts[0] == starts[2] != starts[1] == starts[3]
    assert len(set(last)) == 4


def test_each_checkpoint_is_loaded_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real, loaded = engine.open_session, []

    def spy(run: Run, *, step: int | None = None, **more: Any) -> Any:
        loaded.append(step)
        return real(run, step=step, **more)

    monkeypatch.setattr(engine, "open_session", spy)
    there = [2, 4, 6]
    grid = cells(run.recipe(), parse_axis("seed=1,2", there), parse_axis("checkpoint=all", there), seed=0, checkpoint=6)
    assert len(ends(compared(run, grid, 2))) == 6
    assert loaded == there


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("steps=5, 10,5,", (5, 10)),
        ("checkpoint=first,2,middle,last", (2, 4, 6)),
        ("checkpoint=all", (2, 4, 6)),
        ("eta=0,0.5,1", (0.0, 0.5, 1.0)),
        ("sampler=heun,ddpm", ("heun", "ddpm")),
    ],
)
def test_axes(text: str, values: tuple[Any, ...]) -> None:
    axis = parse_axis(text, [2, 4, 6])
    assert axis.values == values
    assert len(set(axis.labels)) == len(values)


def test_the_picture(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    written: list[str] = []
    real = table.draw_text
    monkeypatch.setattr(table, "draw_text", lambda *a, **k: (written.append(a[2]), real(*a, **k)))
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*") if path.suffix != ".sqlite"}
    out = tmp_path / "deep er" / "ünï.png"
    wanted = ["--rows", "sampler=ddpm,euler", "--columns", "steps=2,3,4", "-n", "40", "--seed", "3"]
    assert main(["grid", str(run.path), "--out", str(out), *wanted]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "Wrote " in told.err
    for text in ("DDPM", "Euler", "Sampling steps", "2", "3", "4"):
        assert text in written
    assert written[-1].endswith("step 6 · seed 3")
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    panel = (pixels == ImageColor.getrgb(PAPER)).all(axis=2)
    assert panel.sum() > 6 * 0.7 * table.CELL**2  # six panels of points
    blue = pixels[..., 2].astype(int) - pixels[..., 0]
    assert (blue > 100).sum() > 6 * 40, "dots"
    assert (tmp_path / "deep er").is_dir()
    assert main(["grid", str(run.path), "--out", str(out), *wanted]) == 0
    assert "Replaced " in capsys.readouterr().err
    again = tmp_path / "again.png"
    assert main(["grid", str(run.path), "--out", str(again), *wanted]) == 0
    assert again.read_bytes() == out.read_bytes()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_tables_of_pictures_hold_every_pixel() -> None:
    draw = np.random.default_rng(0)
    items = [[draw.integers(0, 255, (1, 8, 6, 3), dtype=np.uint8) for _ in range(2)] for _ in range(3)]
    rows = table.Heading("Seed", ["1", "2", "3"])
    columns = table.Heading("", ["a label that is much wider than the pictures below it are", "b"])
    image = np.asarray(table.table_image(rows, columns, items, ["a line that is longer than the grid is wide"] * 9))
    scale = round(table.CELL / 12)
    positions = []
    for i, row in enumerate(items):
        for each in row:
            big = each[0].repeat(scale, 0).repeat(scale, 1)
            windows = np.argwhere((image == big[0, 0]).all(axis=2))
            found = [
                (y, x)
                for y, x in windows
                if image[y : y + len(big), x : x + big.shape[1]].shape == big.shape
                and (image[y : y + len(big), x : x + big.shape[1]] == big).all()
            ]
            assert len(found) == 1
            positions.append((i, *found[0]))
    assert positions[0][1] == positions[1][1] < positions[2][1]
    assert positions[0][2] == positions[2][2] < positions[1][2]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("", "--rows or --columns"),
        ("--rows steps", "no '='"),
        ("--rows colour=1", "none of sampler, steps"),
        ("--rows steps=", "no values"),
        ("--rows steps=a", "whole number"),
        ("--rows steps=5,1001", "steps=1001 does not fit"),
        ("--rows steps=0", "steps=0 does not fit"),
        ("--rows eta=nan --sampler ddim", "does not fit"),
        ("--rows seed=-1", "seed=-1"),
        ("--rows weights=best", "ema, raw"),
        ("--rows sampler=magic", "sampler=magic is none of"),
        ("--rows checkpoint=3", "no checkpoint 3; there are: 2, 4, 6"),
        ("--rows steps=2 --columns steps=3", "for the rows and for the columns"),
        ("--rows sampler=ddim,heun --columns eta=0,1", "eta belongs to DDIM"),
        ("--rows steps=2 --steps 3", "leave one out"),
        ("--rows steps=2 --sampler magic", "magic is none of"),
        ("--rows steps=2 --out a.gif", "must end in .png"),
        (f"--rows seed={','.join(map(str, range(25)))}", "at most 24"),
        ("--rows seed=1,2,3,4,5 --columns steps=2,3,4,5,6", "25 cells are too many: a grid has at most 24"),
    ],
)
def test_wrong_usage(
    arguments: str,
    why: str,
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["grid", str(run.path), *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in " ".join(err.split())
    assert not list(tmp_path.iterdir())


def test_runs_side_by_side(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Run.create(find("moons").with_settings(TINY | {"sampler.kind": "heun"}), tmp_path / "other")
    list(run_training(other, Control(), until=2))
    written: list[str] = []
    real = table.draw_text
    monkeypatch.setattr(table, "draw_text", lambda *a, **k: (written.append(a[2]), real(*a, **k)))
    monkeypatch.chdir(tmp_path)
    here = f"run={run.path},other"
    assert main(["grid", str(run.path), "--rows", "steps=2,3", "--columns", here, "-n", "9", "--out", "a.png"]) == 0
    assert {"rün", "other", "Sampling steps", "2", "3"} <= set(written)
    own = {f"step {n} · {each} · t = 0" for n, each in ((6, "DPM-Solver++"), (2, "Heun"))}
    assert own <= set(written), "of each alone"
    assert written[-1].endswith("seed 0")
    capsys.readouterr()
    for columns, why in (
        ("run=other,gone", "there is no folder gone"),
        ("run=other,.", "is not a run"),
        ("run=other,../", "is not a run"),
    ):
        assert main(["grid", str(run.path), "--columns", columns, "--out", "b.png"]) == 1
        assert why in " ".join(capsys.readouterr().err.split())
    wanted = ["--rows", "checkpoint=2,4", "--columns", f"run={run.path},other", "--out", "b.png"]
    assert main(["grid", str(run.path), *wanted]) == 1
    assert "other has no checkpoint at step 4; there are: 2" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "b.png").exists()


def test_a_run_without_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = Run.create(find("moons").with_settings(TINY), tmp_path / "new")
    assert main(["grid", str(made.path), "--rows", "steps=2", "--out", str(tmp_path / "a.png")]) == 1
    assert "no checkpoint yet" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "a.png").exists()


def test_stopped_within_a_cell(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = engine.run_comparison
    finished = []

    def stopping(run: Run, control: Control, wanted: Comparison, **more: Any) -> Iterator[Event]:
        for event in real(run, control, wanted, **more):
            if finished and isinstance(event, TapeGrew):
                control.stop()  # as Ctrl-C does, in the second cell
            if isinstance(event, TapeFinished):
                finished.append(event.tape.complete)
            yield event

    monkeypatch.setattr(engine, "run_comparison", stopping)
    out = tmp_path / "a.png"
    assert main(["grid", str(run.path), "--columns", "steps=3,4,5", "--out", str(out)]) == INTERRUPTED
    assert finished == [True, False]
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_data_lie_behind_the_points_of_all_cells_if_these_are_of_one_set(run: Run, tmp_path: Path) -> None:
    other = Run.create(find("spiral").with_settings(TINY), tmp_path / "other")
    list(run_training(other, Control(), until=2))

    def drawn(*axis: str) -> NDArray[Any]:
        out = tmp_path / "a.png"
        assert main(["grid", str(run.path), "-n", "1", "--out", str(out), "--columns", *axis]) == 0
        with Image.open(out) as image:
            return np.asarray(image.convert("L")).astype(int)

    full, bare = drawn("steps=2,3"), drawn("steps=2,3", "--no-data")
    half = bare.shape[1] // 2
    for part in (slice(half), slice(half, None)):
        assert (full[:, part] < bare[:, part] - 20).mean() > 0.005
    runs = f"run={run.path},{other.path}"
    assert (drawn(runs) == drawn(runs, "--no-data")).all(), "axes differ"
