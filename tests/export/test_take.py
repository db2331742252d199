"""All that can be taken along is read back by others, and holds what the run holds."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from recorded_run import COUNT, LEVELS, SIDE, STEPS, make_run, tape

from ddpm_studio.data.points_file import read_points
from ddpm_studio.export.chart import PALETTE, SIZE, WIDTH, Text, event_text, loss_marks, round_steps
from ddpm_studio.export.chart import Path as Line
from ddpm_studio.export.clocks import Clocks, Columns, thinned
from ddpm_studio.export.errors import Cancelled, ExportError
from ddpm_studio.export.film import HOLD, SECONDS, caption
from ddpm_studio.export.grid import captioned
from ddpm_studio.export.take import FORMATS, Wanted, default_name, export_run, export_tapes, fits, format_for
from ddpm_studio.export.text import text_width
from ddpm_studio.recipes import built_in
from ddpm_studio.store import METRICS, EventRow, Parent, Run

OF_PICTURES = [name for name, each in FORMATS.items() if not each.points]
FILMS = {"process": len(LEVELS), "learning": len(STEPS), "both": max(len(LEVELS), len(STEPS))}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "grey")


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "colour", channels=3)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "points", "points")


def frames_of(path: Path) -> Iterator[tuple[Image.Image, float]]:
    """RGB and ms of each frame of a GIF, APNG or WebP."""
    with Image.open(path) as film:
        for n in range(film.n_frames):
            film.seek(n)
            film.load()
            yield film.convert("RGB"), film.info["duration"]


@pytest.mark.parametrize("of", FILMS)
@pytest.mark.parametrize("kind", ["gif", "apng", "webp"])
@pytest.mark.parametrize("which", ["run", "points", "colour"])
def test_animations(which: str, kind: str, of: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(which)
    path = tmp_path / f"film{FORMATS[kind].ending}"
    export_run(run, Wanted(kind, of), path)  # type: ignore[arg-type]
    shown = list(frames_of(path))
    assert len(shown) == FILMS[of]
    each = 1000 * SECONDS / FILMS[of]
    assert [ms for _, ms in shown[:-1]] == pytest.approx([each] * (FILMS[of] - 1), abs=10)
    assert shown[-1][1] == pytest.approx(each + 1000 * HOLD, abs=10)
    last = tape(STEPS[-1], "points" if which == "points" else "pictures", 3 if which == "colour" else 1)
    expected = np.asarray(captioned(last.frames[-1].x))
    assert shown[-1][0].size == captioned(last.frames[-1].x, "x").size
    got = np.asarray(shown[-1][0])[: len(expected)]
    if kind == "gif" and which != "run":  # 256 colours
        assert np.abs(got.astype(float) - expected).mean() < 12
    else:
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_videos(run: Run, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"film.{kind}"
    export_run(run, Wanted(kind, "learning"), path)
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
        codec, rate = stream.codec_context.name, float(stream.average_rate or 0)
    assert {"mp4": "mpeg4", "webm": "vp9"}[kind] in codec
    assert len(frames) == len(STEPS) + round(rate * HOLD)
    last = tape(STEPS[-1])
    expected = np.asarray(captioned(last.frames[-1].x)).astype(float)
    assert np.abs(frames[-1][: len(expected)] - expected).mean() < 12
    other = np.asarray(captioned(tape(0).frames[-1].x)).astype(float)
    assert np.abs(frames[-1][: len(expected)] - other).mean() > 40


def test_frames(run: Run, tmp_path: Path) -> None:
    export_run(run, Wanted("frames", "both"), tmp_path / "frames")
    files = sorted((tmp_path / "frames").iterdir())
    assert [file.name for file in files] == [f"{n:04d}.png" for n in range(FILMS["both"])]
    with Image.open(files[0]) as first:
        expected = np.asarray(captioned(tape(STEPS[0]).frames[0].x))
        np.testing.assert_array_equal(np.asarray(first)[: len(expected)], expected)
    with pytest.raises(ExportError, match="already there and not empty"):
        export_run(run, Wanted("frames"), tmp_path / "frames")
    assert len(list((tmp_path / "frames").iterdir())) == FILMS["both"]


def test_arrays(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.npy"

    def array(**wanted: object) -> np.ndarray:
        export_run(run, Wanted("npy", **wanted), path)  # type: ignore[arg-type]
        return np.load(path, allow_pickle=False)

    np.testing.assert_array_equal(array(), [frame.x for frame in tape(300).frames])
    np.testing.assert_array_equal(array(step=19), [frame.x for frame in tape(20).frames])
    np.testing.assert_array_equal(array(show="x0")[1:], [frame.x0 for frame in tape(300).frames[1:]])
    np.testing.assert_array_equal(array(items=(4, 1)), [frame.x[[4, 1]] for frame in tape(300).frames])
    np.testing.assert_array_equal(array(of="learning"), [tape(step).frames[-1].x for step in STEPS])
    np.testing.assert_array_equal(array(of="learning", t=500), [tape(step).frames[2].x for step in STEPS])
    whole = array(of="both")
    assert whole.shape == (len(STEPS), len(LEVELS), COUNT, SIDE, SIDE, 1)
    assert whole.dtype == np.uint8
    np.testing.assert_array_equal(whole[1, 3], tape(5).frames[3].x)


def test_rows_of_another_sampler_stand_at_their_levels_beside_the_others(tmp_path: Path) -> None:
    """A sampler was changed while the run learnt: all rows are still of one noise."""
    run = make_run(tmp_path / "run", steps=(1,))
    other = replace(tape(9, levels=(1000, 400, 0)), sampler="ipndm", grid=[1000, 400, 0])
    with run.record(write=True) as record:
        record.add_tape(other, "preview")
        clocks = Clocks(record)
        assert clocks.steps == [1, 9]
        columns = Columns(clocks, 7)
        assert columns.levels == [1000, 400, 0]
        assert [frame.t for frame in columns.frames(clocks.tape(1))] == [1000, 400, 0]
        assert columns.alike
        assert [frame.t for frame in columns.frames(clocks.tape(0))] == [1000, 500, 0]
        assert not columns.alike
    export_run(run, Wanted("npy", "both"), tmp_path / "a.npy")
    array = np.load(tmp_path / "a.npy")
    np.testing.assert_array_equal(array[0], [tape(1).frames[i].x for i in (0, 2, 6)])
    np.testing.assert_array_equal(array[1], [frame.x for frame in other.frames])
    export_run(run, Wanted("html"), tmp_path / "a.html")
    assert "at their nearest level" in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_rows_that_stay_at_a_level_are_looked_up_by_their_share(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", steps=(1,))
    with run.record(write=True) as record:
        record.add_tape(replace(tape(9, levels=(300,) * 4), sampler="langevin-plain", grid=[300] * 4), "preview")
        columns, clocks = Columns(Clocks(record), 4), Clocks(record)
        assert [frame.index for frame in columns.frames(clocks.tape(0))] == [0, 2, 4, 6]
        assert [frame.index for frame in columns.frames(clocks.tape(1))] == [0, 1, 2, 3]


def test_a_strip_tells_when_its_rows_were_drawn_in_several_ways(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from ddpm_studio.export import strip

    run, titles, real = make_run(tmp_path / "run", steps=(1, 5)), list[str](), strip.labelled

    def labelled(columns: Any, rows: Any, cells: Any, title: str) -> Image.Image:
        titles.append(title)
        return real(columns, rows, cells, title)

    monkeypatch.setattr(strip, "labelled", labelled)
    for of in ("learning", "both"):
        export_run(run, Wanted("strip", of), tmp_path / f"{of}.png")
    with run.record(write=True) as record:
        record.add_tape(replace(tape(9, levels=(1000, 400, 0)), sampler="ipndm", grid=[1000, 400, 0]), "preview")
    for of in ("learning", "both"):
        export_run(run, Wanted("strip", of), tmp_path / f"{of}.png")
    assert titles == [
        "A title · DDIM, 6 steps · seed 3",
        "A title · DDIM, 6 steps · seed 3",
        "A title · several samplers or steps · seed 3",
        "A title · several samplers or steps · seed 3 · each at its nearest level",
    ]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_points_can_be_learnt(points: Run, tmp_path: Path, share: float) -> None:
    frame = tape(80, "points").frames[-1 if share == 1 else 3]
    for kind in ("points-csv", "points-npy"):
        path = tmp_path / f"a{FORMATS[kind].ending}"
        export_run(points, Wanted(kind, step=80, share=share, items=(0, 2, 1) * 7), path)
        np.testing.assert_array_equal(read_points(path).astype(np.float32), frame.x[[0, 2, 1] * 7])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8").startswith("x,y\n")


def test_points_are_of_one_process_of_points(run: Run, points: Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="would hold points, and these are pictures"):
        export_run(run, Wanted("points-csv"), tmp_path / "a.csv")
    with pytest.raises(ExportError, match="of one process"):
        export_run(points, Wanted("points-npy", "learning"), tmp_path / "a.npy")
    assert not list(tmp_path.iterdir())


def test_a_picture_of_a_moment(run: Run, tmp_path: Path) -> None:
    for share, place in ((0.0, 0), (0.5, 3), (1.0, 6)):
        export_run(run, Wanted("picture", share=share, items=(4,)), tmp_path / "a.png")
        frame = tape(300).frames[place]
        expected = captioned(frame.x[[4]], caption(tape(300), frame.t))
        with Image.open(tmp_path / "a.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


@pytest.mark.parametrize(("of", "rows", "columns"), [("process", 4, 7), ("learning", 4, 5), ("both", 5, 7)])
def test_filmstrip(run: Run, tmp_path: Path, of: str, rows: int, columns: int) -> None:
    export_run(run, Wanted("strip", of), tmp_path / "a.png")  # type: ignore[arg-type]
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    # The last cell is the last picture, 96 px wide, 16 px from the right.
    scale, width = 96 // SIDE, pixels.shape[1]
    right = pixels[:, width - 16 - 96 : width - 16]
    last = tape(STEPS[-1])
    item = rows - 1 if of != "both" else 0
    top = 36 + (rows - 1) * 100
    cell = right[top : top + 96 : scale, ::scale, 0]
    np.testing.assert_array_equal(cell, last.frames[-1].x[item, ..., 0])
    assert width >= 16 + columns * 100 - 4 + 16
    assert pixels.shape[0] == 36 + rows * 100 + 36
    assert (pixels[:30] < 100).any(), "there are labels above"


@pytest.mark.parametrize("levels", [LEVELS, (400,) * 7])
def test_a_strip_of_both_clocks_has_every_training_step_at_every_moment(
    tmp_path: Path, levels: tuple[int, ...]
) -> None:
    run = make_run(tmp_path / "run", steps=())
    with run.record(write=True) as record:
        for step in STEPS:
            record.add_tape(tape(step, levels=levels), "preview")
    export_run(run, Wanted("strip", "both"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("L"))
    left = pixels.shape[1] - 16 - 7 * 100 + 4
    for i, step in enumerate(STEPS):
        for j, frame in enumerate(tape(step, levels=levels).frames):
            cell = pixels[36 + 100 * i :, left + 100 * j :][: 12 * SIDE : 12, : 12 * SIDE : 12]
            np.testing.assert_array_equal(cell, frame.x[0, ..., 0])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.csv", "loss-csv"), ("a.PNG", "strip"), ("a.npy", "npy"), ("a.gif", "gif"), ("a.svg", "loss-svg"), ("a", "")],
)
def test_what_an_ending_says(name: str, kind: str) -> None:
    assert format_for(Path(name)) == kind


@pytest.mark.parametrize(
    ("name", "kind", "fit"),
    [
        ("a.gif", "gif", True),
        ("a.GIF", "gif", True),
        ("a", "gif", True),
        ("a.txt", "gif", False),
        ("a.png", "apng", False),
        ("a.v2", "frames", True),
        ("a.png", "frames", False),
    ],
)
def test_what_a_file_may_be_called(name: str, kind: str, fit: bool) -> None:
    assert fits(Path(name), kind) is fit


@pytest.mark.parametrize("of", ["process", "learning", "both"])
def test_no_two_formats_have_one_default_name(of: str) -> None:
    names = [default_name("run", Wanted(kind, of)) for kind in FORMATS]  # type: ignore[arg-type]
    assert len(set(names)) == len(names)
    assert default_name("run", Wanted("gif", "both")) == "run-both.gif"


@pytest.mark.parametrize(("last", "ticks"), [(1, [0, 1]), (3, [0, 1, 2, 3]), (16, [0, 5, 10, 15]), (300, None)])
def test_ticks_of_training_steps_are_whole(last: float, ticks: list[float] | None) -> None:
    found = round_steps(0.0, last, least=1)
    assert all(value == round(value) for value in found)
    assert found == (ticks or [0, 50, 100, 150, 200, 250, 300])


def test_loss_table_is_exact(run: Run, tmp_path: Path) -> None:
    export_run(run, Wanted("loss-csv"), tmp_path / "loss.csv")
    rows = list(csv.reader(io.StringIO((tmp_path / "loss.csv").read_text(encoding="utf-8"))))
    header, table = rows[0], rows[1:]
    assert header[: len(METRICS)] == [
        "step (training step)",
        "images_seen (items)",
        "loss (mean over values)",
        "learning_rate (per step)",
        "grad_norm (before clipping)",
        "images_per_second (items/s)",
    ]
    assert header[-1] == "probe_held_out at t = 990"
    assert [int(row[0]) for row in table] == list(range(301))
    assert {len(row) for row in table} == {len(header)}
    assert table[0][1:6] == [""] * 5, "only the probe is known at step 0"
    assert table[7][2] == "", "a step that was not finite"
    assert float(table[3][2]) == 1 / 3
    assert float(table[3][3]) == 1e-3 / 3
    assert [float(table[100][header.index(f"probe_train at t = {t}")]) for t in (10, 500, 990)] == [
        t / 7 for t in (10.0, 500.0, 990.0)
    ]


def test_films_of_runs_side_by_side_follow_either_clock_or_both(run: Run, tmp_path: Path) -> None:
    with run.record() as record:
        rows = [record.tape(i) for i, _ in record.tape_steps()]
    step = rows[1].training_step
    moments = [[replace(row, label="parent"), replace(row, label="fork", training_step=step)] for row in rows]
    moments[0][1] = replace(moments[0][1], frames=[])

    def pictures(of: str, **where: Any) -> list[NDArray[Any]]:
        folder = tmp_path / f"{of}{where}"
        export_tapes(moments[-1], Wanted("frames", of, **where), folder, moments=moments)  # type: ignore[arg-type]
        return [np.asarray(Image.open(path).convert("L")) for path in sorted(folder.iterdir())]

    learning, start, both = pictures("learning"), pictures("learning", share=0.0), pictures("both")
    assert len(learning) == len(start) == len(rows)
    assert len(both) == max(len(rows), *(len(row.frames) for row in rows))
    assert (both[-1] == learning[-1]).all(), "the last step's x_0"
    assert (both[0] == start[0]).all(), "the first step's x_T"
    assert (learning[0] != start[0]).any()
    high, wide = learning[0].shape
    fork = learning[0][60 : high // 2, wide // 2 + 20 :]
    assert (fork == 255).all(), "it has not begun"
    assert (learning[1][60 : high // 2, wide // 2 + 20 :] < 255).any()
    with pytest.raises(ExportError):
        export_tapes(moments[-1], Wanted("strip", "both"), tmp_path / "a.png", moments=moments)


def test_data_lie_faint_behind_points(points: Run, tmp_path: Path) -> None:
    data = np.full((30, 2), [1.5, -1.5], np.float32)  # where no point is

    def drawn(wanted: Wanted, name: str, **given: Any) -> NDArray[Any]:
        path = tmp_path / name
        export_run(points, wanted, path, **given)
        with Image.open(path) as image:
            return np.asarray(image.convert("L")).astype(int)

    for of, name in ((of, name) for of in ("process", "learning", "both") for name in ("strip", "picture")):
        wanted = Wanted(name, of)  # type: ignore[arg-type]
        bare, full = drawn(wanted, "bare.png"), drawn(wanted, "full.png", data=data)
        assert (full <= bare).all()
        assert (full < bare).any(), (of, name)
        for without in (replace(wanted, behind=False), replace(wanted, show="eps")):
            expected = drawn(without, "bare.png")
            assert (drawn(without, "full.png", data=data) == expected).all(), "not asked for, or no place for data"
    with points.record() as record:
        shown = [replace(record.tape(i), label=f"cell {i}", column=f"{i}") for i, _ in record.tape_steps()[:2]]
    for name in ("picture", "strip"):
        pictures = []
        for given in (None, data):
            export_tapes(shown, Wanted(name), tmp_path / "cells.png", data=given)
            with Image.open(tmp_path / "cells.png") as image:
                pictures.append(np.asarray(image.convert("L")).astype(int))
        assert (pictures[1] < pictures[0]).any(), name


def test_the_lowest_possible_loss_is_in_the_table(points: Run, tmp_path: Path) -> None:
    export_run(points, Wanted("loss-csv"), tmp_path / "loss.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "loss.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 301
    for row, (name, part) in product(rows, (("floor", 9e6), ("held_out_floor", 8e6))):
        levels = [row[f"probe_{name} at t = {t}"] for t in (10, 500, 990)]
        if int(row["step (training step)"]) in (0, 100, 300):
            assert [float(value) for value in levels] == [t / part for t in (10.0, 500.0, 990.0)]
            assert float(row[f"probe_{name} (mean over values)"]) == pytest.approx(500 / part)
        else:
            assert [*levels, row[f"probe_{name} (mean over values)"]] == [""] * 4


def test_the_lowest_possible_loss_is_drawn_dashed(run: Run, points: Run, tmp_path: Path) -> None:
    space = "{http://www.w3.org/2000/svg}"

    def floors(which: Run, colour: str = "ink") -> tuple[list[ET.Element], list[str]]:
        export_run(which, Wanted("loss-svg"), tmp_path / "loss.svg")
        root = ET.parse(tmp_path / "loss.svg").getroot()
        dashed = [line for line in root.iter(f"{space}polyline") if line.get("stroke-dasharray")]
        texts = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
        return [line for line in dashed if line.get("stroke") == PALETTE[colour]], texts

    assert floors(run)[0] == floors(run, "held")[0] == []
    assert len(floors(points, "held")[0]) == 2, "beside the curve of what is held out, and in the legend"
    assert "lowest expected" not in floors(run)[1]
    lines, texts = floors(points)
    assert "lowest expected" in texts
    assert len(lines) == 2, "the curve, and its mark in the legend"
    (left, high), *_, (right, low) = [tuple(map(float, p.split(","))) for p in lines[0].get("points", "").split()]
    assert high == low > 200, "level, and below the other curves"
    assert (left, right) == (72, 944)
    export_run(points, Wanted("loss-png"), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as picture:
        along = np.asarray(picture.convert("L"))[round(2 * high), 2 * 80 : 2 * 900] < 100
    assert 0.3 < along.mean() < 0.7, "dashed"


def test_loss_svg(run: Run, tmp_path: Path) -> None:
    export_run(run, Wanted("loss-svg"), tmp_path / "loss.svg")
    root = ET.parse(tmp_path / "loss.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = ["".join(text.itertext()) for text in root.iter(f"{space}text")]
    assert "training step" in texts
    assert "probe, held out" in texts
    assert any("Learning rate: 0.001 → 0.0005" in text for text in texts), "a change is a flag"
    lines = [line for line in root.iter(f"{space}polyline") if line.get("stroke") == PALETTE["train"]]
    curve = [tuple(map(float, pair.split(","))) for pair in lines[0].get("points", "").split()]
    assert len(curve) == 3
    (x0, y0), (x1, y1), (x2, y2) = curve
    assert (x1 - x0) / (x2 - x0) == pytest.approx(100 / 300, abs=0.01)
    # A logarithmic axis: the way down is as the logarithms say.
    assert (y1 - y0) / (y2 - y0) == pytest.approx(np.log(101) / np.log(301), abs=0.01)


def test_loss_png_has_the_curves(run: Run, tmp_path: Path) -> None:
    export_run(run, Wanted("loss-png"), tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as picture:
        pixels = np.asarray(picture).reshape(-1, 3)
    for name in ("train", "held", "batch", "flag"):
        colour = [int(PALETTE[name][i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels.astype(int) - colour).max(axis=1) < 3).sum() > 50, name


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_without_pictures(tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path / "run", steps=())
    out = tmp_path / "out" / f"a{FORMATS[kind].ending}"
    if FORMATS[kind].clocks:
        with pytest.raises(ExportError, match="no pictures yet"):
            export_run(run, Wanted(kind), out)
        assert not out.exists()
    else:
        export_run(run, Wanted(kind), out)
        assert out.stat().st_size > 500


@pytest.mark.parametrize("kind", ["gif", "apng", "webp", "mp4", "webm", "frames", "npy", "html"])
@pytest.mark.parametrize("after", [0, 2, 5])
def test_a_cancelled_export_leaves_nothing(run: Run, tmp_path: Path, kind: str, after: int) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        told.append((done, total))
        return len(told) <= after

    path = tmp_path / f"a{FORMATS[kind].ending}"
    if kind != "frames":
        path.write_bytes(b"before")
    with pytest.raises(Cancelled):
        export_run(run, Wanted(kind), path, progress)
    left = list(tmp_path.iterdir())
    assert left == ([] if kind == "frames" else [path])
    assert kind == "frames" or path.read_bytes() == b"before"
    assert all(0 <= done <= total for done, total in told)


@pytest.mark.parametrize("kind", OF_PICTURES)
def test_progress_comes_to_its_end(run: Run, tmp_path: Path, kind: str) -> None:
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        told.append((done, total))
        return True

    export_run(run, Wanted(kind), tmp_path / f"a{FORMATS[kind].ending}", progress)
    if FORMATS[kind].clocks and kind not in ("strip", "picture"):
        assert told[-1][0] == told[-1][1] > 0
        assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("kind", OF_PICTURES)
def test_where_nothing_can_be_written(run: Run, tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    for below in ("a", "deep/er/a"):
        with pytest.raises(ExportError, match="file is a file, not a folder"):
            export_run(run, Wanted(kind), tmp_path / "file" / f"{below}{FORMATS[kind].ending}")
    with pytest.raises(ExportError, match="cannot be written") as caught:
        export_run(run, Wanted(kind), tmp_path / "file" / "a")
    assert "\n" not in str(caught.value)


def test_only_previews_that_can_be_compared(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    with run.record(write=True) as record:
        for other in (replace(tape(20), weights="raw"), replace(tape(30), seed=4)):
            record.add_tape(other, "preview")
    export_run(run, Wanted("npy", "learning"), tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [tape(step).frames[-1].x for step in STEPS])


def test_every_event_can_be_told(run: Run) -> None:
    told = {
        "rolled_back": {"to": 4, "rate_scale": 0.5, "reason": "bad"},
        "step_skipped": {"reason": "nan", "total": 1},
        "threads_changed": {"threads": 1},
        "carried": {"weights": 3, "of": 4, "moments": 2, "averaged": 3, "data_order": True},
        "something_new": {"x": 1},
        "computing": {"what": "compiled in 9 s: 1.20× as fast", "used": True, "plan": "CPU, compiled"},
    }
    words = [event_text(EventRow(1, 0.0, kind, about), run.recipe()) for kind, about in told.items()]
    assert words[0] == "back to step 4, learning rate × 0.5: bad"
    assert "the data go on where they were" in words[3]
    assert words[4:] == ["something new", "compiled in 9 s: 1.20× as fast"]


def test_a_fork_tells_where_it_comes_from(tmp_path: Path) -> None:
    fork = Run.create(built_in()["moons"], tmp_path / "fork", Parent(Path("/a/b"), 1200, 1200, 0.0))
    with fork.record() as record:
        told = event_text(record.events()[0], fork.recipe())
    assert told == f"forked from {Path('/a/b')} at its step 1,200"


def test_items_that_are_not_there(run: Run, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no item 9: the record holds 9"):
        export_run(run, Wanted("gif", items=(9,)), tmp_path / "a.gif")


def test_tapes_in_memory(tmp_path: Path) -> None:
    tapes = [tape(1), tape(2)]
    export_tapes(tapes, Wanted("gif"), tmp_path / "a.gif")
    assert len(list(frames_of(tmp_path / "a.gif"))) == len(LEVELS)
    for kind in ("npy", "points-csv", "points-npy"):
        with pytest.raises(ExportError, match="one process"):
            export_tapes(tapes, Wanted(kind), tmp_path / "a")
    with pytest.raises(ExportError, match="only a run"):
        export_tapes(tapes, Wanted("html"), tmp_path / "a.html")


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 100])
def test_thinning_keeps_the_ends(count: int) -> None:
    kept = thinned(range(count), 16)
    assert kept[0] == 0
    assert kept[-1] == count - 1
    assert kept == sorted(set(kept))
    assert len(kept) == min(count, 16)


def test_no_torch_and_no_qt(run: Run, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ddpm_studio.store import Run\n"
        "from ddpm_studio.export.take import FORMATS, Wanted, export_run\n"
        f"run = Run.open(Path({str(run.path)!r}))\n"
        f"for kind in {OF_PICTURES}:\n"
        f"    export_run(run, Wanted(kind), Path({str(tmp_path)!r}) / f'{{kind}}{{FORMATS[kind].ending}}')\n"
        "print(sorted({'torch', 'PySide6'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert len(list(tmp_path.iterdir())) == len(OF_PICTURES)


def test_a_drawing_of_the_loss_has_words_that_nothing_crosses(points: Run, tmp_path: Path) -> None:
    with points.record(write=True) as record:
        for step, old in ((152, 0.0005), (155, 0.0004), (160, 0.0003)):
            about = {"setting": "training.learning_rate", "old": old, "new": old - 0.0001}
            record.add_event(step, "setting_changed", about)
        marks = loss_marks(record, points.recipe(), "")
    words = [mark for mark in marks if isinstance(mark, Text) and mark.colour == "flag" and mark.text != "•"]
    lines = [mark.points for mark in marks if isinstance(mark, Line) and mark.colour == "flag"]
    assert len(words) >= 3
    for text, line in product(words, lines):
        (x, top), (_, bottom) = line
        beside = x < text.x or x > text.x + text_width(text.text, SIZE)
        assert beside or bottom <= text.y - 9 or top >= text.y + 3, text.text
    legend = [mark for mark in marks if isinstance(mark, Text) and mark.y == 48]
    assert {"lowest expected", "lowest, held out"} <= {mark.text for mark in legend}
    assert all(mark.x + text_width(mark.text, SIZE) <= WIDTH for mark in legend)
