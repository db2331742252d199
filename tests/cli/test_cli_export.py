"""``ddpm-studio export`` writes what is asked for, says where, and refuses the rest in one line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.cli import INTERRUPTED, main
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export import take
from ddpm_studio.export.errors import Progress
from ddpm_studio.recipes import built_in
from ddpm_studio.store import Parent, Run
from ddpm_studio.training.control import Control


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(built_in()["fashion-mnist"], tmp_path_factory.mktemp("runs") / "ünï run")
    draw = np.random.default_rng(0)
    with run.record(write=True) as record:
        for step in (0, 10, 40):
            record.add_metrics(step, step, 0.5, 1e-3, 1.0, 100.0)
            x = draw.integers(0, 256, (3, 4, 8, 8, 1), dtype=np.uint8)
            frames = [Frame(i, 20 - 10 * i, x[i], x[i] if i else None, x[i] if i else None) for i in range(3)]
            record.add_tape(Tape("pictures", 20, 3, "T", step, "ema", "ddim", 0, frames), "preview")
    return run


def a_run(path: Path, kind: Literal["pictures", "points"], steps: Sequence[int], parent: Parent | None = None) -> Run:
    """Its previews have three frames; pictures of step s at frame i are of the grey 40 i + s."""
    made = Run.create(built_in()["moons" if kind == "points" else "fashion-mnist"], path, parent)
    with made.record(write=True) as record:
        for step in steps:
            x = [np.full((1, 8, 8, 1), 40 * i + step, np.uint8) for i in range(3)]
            if kind == "points":
                x = [np.full((1, 2), 0.1 * i, np.float32) for i in range(3)]
            frames = [Frame(i, 20 - 10 * i, x[i], x[i] if i else None, x[i] if i else None) for i in range(3)]
            record.add_tape(Tape(kind, 20, 3, "T", step, "ema", "ddim", 0, frames), "preview")
    return made


def shades(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def test_each_format_has_a_name_of_its_own(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    formats = [kind for kind, each in take.FORMATS.items() if not each.points]
    for kind in formats:
        assert main(["export", str(run.path), "--format", kind]) == 0
        out, err = capsys.readouterr()
        assert out == ""
        (written,) = [path for path in tmp_path.iterdir() if path.name in err]
        assert written.name.startswith("ünï run-")
        assert written.suffix == take.FORMATS[kind].ending
        if kind.startswith("loss-") or kind == "html":
            assert written.stem.endswith(("-loss", "-report"))
        written.rename(tmp_path / f"{kind}.done")
    assert len(list(tmp_path.iterdir())) == len(formats)


def test_the_ending_says_the_format(run: Run, tmp_path: Path) -> None:
    assert main(["export", str(run.path), "--of", "learning", "--t", "10", "--out", str(tmp_path / "a.WEBP")]) == 0
    with Image.open(tmp_path / "a.WEBP") as film:
        assert (film.format, film.n_frames) == ("WEBP", 3)
    assert main(["export", str(run.path), "--step", "12", "--item", "2", "--out", str(tmp_path / "a.npy")]) == 0
    with run.record() as record:
        middle = record.tape(record.tape_steps()[1][0])
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), [frame.x[[2]] for frame in middle.frames])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--format", "onnx"],
        ["--format", "gif", "--of", "everything"],
        ["--format", "gif", "--show", "y"],
        ["--format", "html", "--of", "both"],
        ["--format", "loss-csv", "--step", "3"],
        ["--format", "gif", "--of", "both", "--step", "3"],
        ["--format", "gif", "--t", "3"],
        ["--format", "gif", "--of", "both", "--t", "3"],
        ["--format", "picture", "--t", "3", "--share", "0.5"],
        ["--format", "gif", "--share", "0.5"],
        ["--format", "picture", "--of", "learning", "--share", "0.5"],
        ["--out", "a.xyz"],
    ],
)
def test_wrong_usage(
    run: Run, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run.path), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ddpm-studio: ")
    assert not list(tmp_path.iterdir())


def test_interrupted(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = take.export_run
    controls: list[Control] = []
    monkeypatch.setattr("ddpm_studio.cli.Control", lambda: controls.append(Control()) or controls[-1])

    def export(run: Run, wanted: take.Wanted, path: Path, progress: Progress, **rest: object) -> None:
        def go_on(done: int, total: int) -> bool:
            if done == 1:
                controls[-1].stop()  # as Ctrl-C does
            return progress(done, total)

        real(run, wanted, path, go_on, **rest)

    monkeypatch.setattr(take, "export_run", export)
    assert main(["export", str(run.path), "--out", str(tmp_path / "a.gif")]) == INTERRUPTED
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["picture", "strip", "gif", "html"])
def test_the_data_lie_behind_points_if_they_can_be_had(kind: str, tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "points", [0, 10])

    def written(*more: str) -> bytes:
        out = tmp_path / f"a{take.FORMATS[kind].ending}"
        assert main(["export", str(run.path), "--format", kind, "--out", str(out), *more]) == 0
        return out.read_bytes().split(b"Written by")[0]  # of a report, then the time

    full, bare = written(), written("--no-data")
    assert full != bare
    text = run.recipe_file.read_text(encoding="utf-8")
    gone = text.replace('source = "moons"', f'source = "{(tmp_path / "gone.csv").as_posix()}"')
    assert gone != text
    run.recipe_file.write_text(gone, encoding="utf-8")
    if kind != "html":  # which tells the recipe, too
        assert written() == bare


def test_a_moment_of_the_process(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", "pictures", [0, 10])
    for share, shade in (("0", 10), ("0.5", 50), ("1", 90)):
        out = tmp_path / "a.png"
        assert main(["export", str(run.path), "--format", "picture", "--share", share, "--out", str(out)]) == 0
        assert shades(out)[200, 200] == shade


def test_a_cell_is_chosen_by_training_step_and_level(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path / "run", "pictures", [0, 10, 40])
    out = tmp_path / "a.png"
    for step, t, shade in ((0, 20, 0), (10, 10, 50), (40, 0, 120), (12, 12, 50)):
        arguments = ["--format", "picture", "--step", str(step), "--t", str(t), "--out", str(out)]
        assert main(["export", str(run.path), *arguments]) == 0
        assert shades(out)[200, 200] == shade
        said = " ".join(capsys.readouterr().err.split())
        assert ("step 12 is not recorded: step 10 is the nearest." in said) == (step == 12)
        assert ("t = 12 is not recorded: t = 10 is the nearest." in said) == (t == 12)


def test_the_level_of_the_learning_is_said_where_it_is_the_nearest(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "a.gif")
    assert main(["export", str(run.path), "--of", "learning", "--t", "9", "--out", out]) == 0
    assert "t = 9 is not recorded: t = 10 is the nearest." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--format", "gif", "--step", "99999"], "there is no training step 99,999: the last one is 40"),
        (["--of", "learning", "--t", "5000", "--format", "gif"], "no noise level t = 5,000: they go from 0 to 20"),
        (["--of", "learning", "--t", "21", "--format", "strip"], "no noise level t = 21: they go from 0 to 20"),
        (["--format", "picture", "--t", "21"], "no noise level t = 21: they go from 0 to 20"),
    ],
)
def test_what_was_never_there(
    run: Run, arguments: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a"
    assert main(["export", str(run.path), *arguments, "--out", str(out)]) == 1
    assert why in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


# -- several runs


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of the steps 0, 10 and 40, and a fork of it at 10 that has learnt 20 more."""
    folder = tmp_path_factory.mktemp("several")
    parent = a_run(folder / "parent", "pictures", [0, 10, 40])
    fork = a_run(folder / "fork", "pictures", [0, 20], Parent(parent.path, 10, 10, 0.0))
    return [str(parent.path), str(fork.path)]


def cells(path: Path) -> list[int]:
    """The greys in the middle of both cells; 255: nothing has begun there."""
    picture = shades(path)
    high, wide = picture.shape
    return [int(picture[high // 2 + 10, round(place * wide)]) for place in (0.25, 0.75)]


def test_runs_side_by_side_on_both_clocks(two: list[str], tmp_path: Path) -> None:
    def films(*more: str) -> list[list[int]]:
        out = tmp_path / "-".join(["film", *more])
        assert main(["export", *two, "--format", "frames", "--out", str(out), *more]) == 0
        return [cells(path) for path in sorted(out.iterdir())]

    # Steps 0, 10, 30 and 40; the shade of an x_0 is 80 more than the own step, that of an x_T the step.
    assert films("--of", "learning") == [[80, 255], [90, 80], [120, 100], [120, 100]]
    assert films("--of", "learning", "--share", "0") == [[0, 255], [10, 0], [40, 20], [40, 20]]
    assert films("--of", "both") == [[0, 255], [50, 40], [80, 60], [120, 100]]
    assert films("--step", "12") == [[10, 0], [50, 40], [90, 80]]
    assert len(films("--step", "2")) == 3, "the fork has not begun: the parent alone"
    assert main(["export", *two, "--format", "picture", "--share", "0.5", "--out", str(tmp_path / "a.png")]) == 0
    assert cells(tmp_path / "a.png") == [80, 60]


def test_points_of_runs_have_data_behind_them_if_they_learn_the_same(tmp_path: Path) -> None:
    runs = [a_run(tmp_path / name, "points", [0]) for name in ("one", "two")]

    def written(*more: str) -> bytes:
        out = tmp_path / "a.png"
        assert main(["export", *(str(run.path) for run in runs), "--format", "picture", "--out", str(out), *more]) == 0
        return out.read_bytes()

    full, bare = written(), written("--no-data")
    assert full != bare
    text = runs[1].recipe_file.read_text(encoding="utf-8")
    runs[1].recipe_file.write_text(text.replace('source = "moons"', 'source = "spiral"'), encoding="utf-8")
    assert written() == bare, "axes differ"


def test_runs_have_a_name_of_their_own(two: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", *two, "--format", "webp", "--of", "both"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["runs-both.webp"]
    twin = a_run(tmp_path / "elsewhere" / "parent", "pictures", [0])
    assert main(["export", two[0], str(twin.path), "--format", "picture", "--out", "a.png"]) == 0
    assert cells(tmp_path / "a.png") == [120, 80], "told apart though their folders are named alike"


@pytest.mark.parametrize(
    ("more", "status", "why"),
    [
        (["--format", "loss-csv"], 2, "of one run"),
        (["--format", "npy"], 2, "of one run"),
        (["--format", "points-csv"], 2, "of one run"),
        (["--format", "strip", "--of", "both"], 2, "of their process"),
        (["--format", "gif", "--of", "learning", "--t", "10"], 2, "--share"),
        (["--format", "gif", "--of", "both", "--share", "0.5"], 2, "--share"),
        (["--format", "gif", "--step", "41"], 1, "no training step 41: the last one is 40"),
        (["TWICE", "--format", "gif"], 2, "named twice"),
        (["POINTS", "--format", "gif"], 1, "of one kind"),
        (["EMPTY", "--format", "gif"], 1, "no previews yet"),
        (["POINTS", "EMPTY", "TWICE", "--format", "gif"], 2, "at most 4"),
    ],
)
def test_what_runs_cannot_be_together(
    two: list[str], more: list[str], status: int, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {
        "TWICE": two[0],
        "POINTS": str(a_run(tmp_path / "points", "points", [0]).path),
        "EMPTY": str(a_run(tmp_path / "empty", "pictures", []).path),
    }
    out = tmp_path / "a"
    assert main(["export", *two, *(other.get(word, word) for word in more)]) == status
    assert why in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
