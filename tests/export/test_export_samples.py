"""What is written can be read by others, and says what it shows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from ddpm_studio.data.points_file import read_points
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export.grid import GAP, captioned
from ddpm_studio.export.samples import ENDINGS, ExportError, SampleFile, caption


def a_tape(kind: str, count: int = 6, channels: int = 1, frames: int = 5, moves: int | None = None) -> Tape:
    draw = np.random.default_rng(0)
    kept = []
    for i in range(frames):
        if kind == "points":
            x, other = (draw.normal(size=(count, 2)).astype(np.float32) for _ in range(2))
        else:
            x, other = (draw.integers(0, 256, (count, 12, 9, channels), dtype=np.uint8) for _ in range(2))
        index = i if moves is None else round(i * moves / (frames - 1))
        kept.append(Frame(index, 1000 - 200 * i, x, other if i else None, other if i else None))
    return Tape("points" if kind == "points" else "pictures", 1000, frames, "T", 1234, "ema", "ddim", 3, kept)


CASES = {"points": a_tape("points", 50), "grey": a_tape("grey"), "colour": a_tape("colour", 7, 3)}


@pytest.fixture(params=CASES)
def tape(request: pytest.FixtureRequest) -> Tape:
    return CASES[request.param]


@pytest.mark.parametrize("name", ["a.png", "B.PNG", "ünï ☃/deep er/c.png"])
def test_png(tape: Tape, tmp_path: Path, name: str) -> None:
    SampleFile(tmp_path / name).write(tape)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode == "RGB"
        assert picture.size == captioned(tape.frames[-1].x, "x").size
        np.testing.assert_array_equal(
            np.asarray(picture)[: picture.height - 28],
            np.asarray(captioned(tape.frames[-1].x))[: picture.height - 28],
        )


@pytest.mark.parametrize("name", ["a.npy", "B.NPY"])
def test_npy(tape: Tape, tmp_path: Path, name: str) -> None:
    for trace in (False, True):
        file = SampleFile(tmp_path / name, trace=trace)
        assert file.every_state == trace
        file.write(tape)
        array = np.load(tmp_path / name, allow_pickle=False)
        assert array.dtype == (np.float32 if tape.kind == "points" else np.uint8)
        expected = np.stack([f.x for f in tape.frames]) if trace else tape.frames[-1].x
        np.testing.assert_array_equal(array, expected)
    assert [p.name for p in tmp_path.iterdir()] == [name], "numpy appends nothing"


def test_csv(tmp_path: Path) -> None:
    SampleFile(tmp_path / "a.CSV").write(CASES["points"])
    points = read_points(tmp_path / "a.CSV")
    np.testing.assert_array_equal(points.astype(np.float32), CASES["points"].frames[-1].x)
    with pytest.raises(ExportError, match="these are pictures"):
        SampleFile(tmp_path / "b.csv").write(CASES["grey"])
    with pytest.raises(ExportError, match="one process") as caught:
        SampleFile(tmp_path / "b.csv").write(CASES["points"], CASES["points"])
    assert str(caught.value).endswith("as .png, .gif, .apng, .webp, .mp4 or .webm")
    assert len(list(tmp_path.iterdir())) == 1


def test_gif(tape: Tape, tmp_path: Path) -> None:
    SampleFile(tmp_path / "a.gif").write(tape)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == len(tape.frames)
        durations = []
        for n in range(picture.n_frames):
            picture.seek(n)
            durations.append(picture.info["duration"])
        assert durations == [800] * 4 + [1800]
        assert picture.info["loop"] == 0


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_video(tape: Tape, tmp_path: Path, ending: str) -> None:
    SampleFile(tmp_path / f"a{ending}").write(tape)
    with av.open(str(tmp_path / f"a{ending}")) as video:
        stream = video.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    width, height = captioned(tape.frames[0].x, "x").size
    assert width % 2 == height % 2 == 0
    assert {frame.shape for frame in frames} == {(height, width, 3)}
    assert len(frames) == len(tape.frames) + 1
    first = np.asarray(captioned(tape.frames[0].x), dtype=float)
    close = np.abs(frames[0][: height - 28] - first[: height - 28]).mean()
    far = np.abs(frames[-1][: height - 28] - first[: height - 28]).mean()
    assert close < far or tape.kind == "points"


@pytest.mark.parametrize("ending", ENDINGS)
def test_where_nothing_can_be_written_is_one_sentence(tmp_path: Path, ending: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / f"folder{ending}").mkdir()
    for path in (tmp_path / "file" / f"a{ending}", tmp_path / f"folder{ending}"):
        with pytest.raises(ExportError, match="cannot be written") as caught:
            SampleFile(path).write(CASES["points"])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
def test_a_grid_holds_every_picture(count: int) -> None:
    tape = a_tape("colour", count, 3)
    picture = np.asarray(captioned(tape.frames[-1].x))
    columns = min(count, math.ceil(math.sqrt(count * 12 / 9)))
    rows = -(-count // columns)
    scale = max(1, round(512 / max(columns * (9 + GAP) + GAP, rows * (12 + GAP) + GAP)))
    for i, item in enumerate(tape.frames[-1].x):
        top, left = (GAP + i // columns * (12 + GAP)) * scale, (GAP + i % columns * (9 + GAP)) * scale
        np.testing.assert_array_equal(picture[top : top + 12 * scale : scale, left : left + 9 * scale : scale], item)


def test_points_lie_where_they_are() -> None:
    tape = a_tape("points", 1)
    tape = Tape("points", 1, 1, frames=[Frame(0, 0, np.array([[1.0, 2.0]], np.float32))])
    row, column = np.argwhere(np.asarray(captioned(tape.frames[0].x))[..., 0] < 120).mean(axis=0)
    assert column / 511 == pytest.approx((1 / 2.625 + 1) / 2, abs=0.01)
    assert row / 511 == pytest.approx((1 - 2 / 2.625) / 2, abs=0.01)


def test_points_are_drawn_to_one_scale_so_that_what_has_run_away_is_not_like_the_data() -> None:
    points = np.random.default_rng(0).normal(size=(512, 2)).astype(np.float32)
    blue = [(np.asarray(captioned(each))[..., 0] < 120).sum() for each in (points, 3 * points, 30 * points)]
    assert blue[0] > 5000
    assert blue[1] < 0.7 * blue[0]
    assert blue[2] < 0.1 * blue[0]
    empty = np.full((4, 2), np.nan, np.float32)
    np.testing.assert_array_equal(np.asarray(captioned(empty)), np.asarray(captioned(empty[:0])))


def test_the_caption_counts_moves_not_frames() -> None:
    assert caption(a_tape("grey", frames=5, moves=999), 0) == "step 1,234 · t = 0 · DDIM, 999 steps · seed 3"
    assert "DDIM, 4 steps" in caption(a_tape("grey"), 0)
    assert caption(a_tape("grey"), 1000, "x0").startswith("predicted x_0 · step 1,234 · t = 1,000 · ")
    assert caption(Tape("points", 10, 5, sampler="ddpm"), 10) == "t = 10 · DDPM · seed 0"
    assert caption(replace(a_tape("grey"), weights="raw"), 0).endswith("seed 3 · raw weights")


def test_the_caption_of_langevin_dynamics_counts_levels_and_moves() -> None:
    tape = replace(a_tape("grey", frames=5), sampler="langevin", grid=[900, 900, 500, 500, 0])
    tape.frames[:] = [replace(f, t=t) for f, t in zip(tape.frames, (900, 900, 500, 500, 500), strict=True)]
    assert "annealed Langevin, 2 levels × 2 moves" in caption(tape, 500)


@pytest.mark.parametrize(("count", "columns", "rows"), [(2, 2, 1), (3, 3, 1), (4, 2, 2), (5, 3, 2)])
def test_several_tapes_stand_side_by_side(tmp_path: Path, count: int, columns: int, rows: int) -> None:
    tapes = [a_tape("grey", 9 + i) for i in range(count)]
    one = captioned(tapes[0].frames[-1].x, "x")
    SampleFile(tmp_path / "a.png").write(*tapes)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (columns * one.width, rows * one.height)
        second = picture.crop((one.width, 0, 2 * one.width, one.height - 28))
        expected = captioned(tapes[1].frames[-1].x)
        np.testing.assert_array_equal(np.asarray(second), np.asarray(expected)[: one.height - 28])
    SampleFile(tmp_path / "a.gif").write(*tapes)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == max(len(tape.frames) for tape in tapes)
    with pytest.raises(ExportError, match="one process"):
        SampleFile(tmp_path / "a.npy").write(*tapes)
