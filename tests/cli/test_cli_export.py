"""``ddpm-studio export`` writes what is asked for, says where, and refuses the rest in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddpm_studio.cli import INTERRUPTED, main
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export import take
from ddpm_studio.export.errors import Progress
from ddpm_studio.recipes import built_in
from ddpm_studio.store import Run
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

    def export(run: Run, wanted: take.Wanted, path: Path, progress: Progress) -> None:
        def go_on(done: int, total: int) -> bool:
            if done == 1:
                controls[-1].stop()  # as Ctrl-C does
            return progress(done, total)

        real(run, wanted, path, go_on)

    monkeypatch.setattr(take, "export_run", export)
    assert main(["export", str(run.path), "--out", str(tmp_path / "a.gif")]) == INTERRUPTED
    assert "nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
