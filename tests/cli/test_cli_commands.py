"""The command line as a person types it: results on stdout, one line for an error, the right exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from ddpm_studio import __version__
from ddpm_studio.cli import INTERRUPTED, main
from ddpm_studio.export.samples import ENDINGS
from ddpm_studio.recipes import dumps, find
from ddpm_studio.store import Run

FIXED = ["--set", "compute.threads=1", "--set", "compute.precision=float32", "--device", "cpu"]
POINTS = [*FIXED, "--set", "network.width=16", "--set", "preview.count=4", "--set", "training.batch=32"]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path / "home"))
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
    torch.set_flush_denormal(False)  # training sets it; other tests in this process count on denormals


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "two ünï"
    assert main(["train", "two-gaussians", "--steps", "20", "--out", str(path), *POINTS]) == 0
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "pictures"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(draw.integers(0, 256, (10, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    path, tiny = folder.parent / "run", {"data.source": f"'{folder}'", "data.height": 10, "data.width": 8}
    tiny |= {"network.channels": [16, 16], "training.batch": 4, "preview.count": 2, "sampler.steps": 5}
    changes = [word for key, value in tiny.items() for word in ("--set", f"{key}={value}")]
    assert main(["train", "fashion-mnist", "--steps", "3", "--out", str(path), *FIXED, *changes]) == 0
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err.strip()


# -- recipes and info


def test_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    recipes = json.loads(capsys.readouterr().out)
    assert {"fashion-mnist", "two-gaussians", "moons", "mnist"} <= recipes.keys()
    assert recipes["moons"]["network"]["kind"] == "point-mlp"
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(recipes)
    (said,) = [line for line in lines if line.startswith("score-two-gaussians ")]
    assert "Tutorial 004, as printed." in said
    assert recipes["score-two-gaussians"]["differs"] == recipes["moons"]["differs"] == {}
    assert recipes["score-two-gaussians-laptop"]["differs"]["training.steps"][1] == 100_000
    assert (recipes["scratch5-mnist"]["tutorial"], recipes["scratch5-mnist"]["edition"]) == ("000", "printed")


def test_info(points: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["info", str(points), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"recipe", "parameters", "step", "images_seen", "checkpoints", "loss", "probe_loss"} <= facts.keys()
    assert (facts["step"], facts["images_seen"], facts["checkpoints"]) == (20, 640, [20])
    assert facts["recipe"]["network"]["width"] == 16
    assert facts["loss"] > 0
    assert facts["probe_loss"] > 0
    assert main(["info", "moons", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] > 1000
    for what in (str(points), "moons", str(points / "recipe.toml")):
        assert main(["info", what]) == 0
        said = capsys.readouterr().out
        assert "parameters: " in said
        assert re.search(r"^  training.batch +\d+ +Batch$", said, re.MULTILINE)
        assert "tutorial" not in said


def test_info_of_a_tutorial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "score-two-gaussians-laptop"]) == 0
    said = capsys.readouterr().out
    assert "  tutorial 004: laptop edition\n" in said
    assert re.search(r"^  network.widths +\[[\d, ]+\] +Widths; printed: \[4, 32, 4\]$", said, re.MULTILINE)
    run = str(tmp_path / "run")
    assert main(["train", "score-two-gaussians", "--steps", "2", "--out", run, "--set", "training.batch=64"]) == 0
    capsys.readouterr()
    assert main(["info", run]) == 0
    assert "tutorial 004: differs: training steps 2 (printed 100,000), batch 64 (printed 512)\n" in (
        capsys.readouterr().out
    )
    assert main(["info", run, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"]["differs"]["training.batch"] == [64, 512]


def test_info_without_the_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    assert main(["info", "ddpm-cifar10", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == 35_746_307  # as the paper's code counts them: the shape of CIFAR-10 is known
    assert facts["recipe"]["data"]["source"] == "cifar-10"
    recipe = find("fashion-mnist").with_settings({"data.source": str(tmp_path / "my pictures")})
    (tmp_path / "mine.toml").write_text(dumps(recipe), encoding="utf-8")
    assert main(["info", str(tmp_path / "mine.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parameters"] is None  # nobody knows how many colours they have
    assert main(["info", str(tmp_path / "mine.toml")]) == 0
    assert "parameters: not known without the data" in capsys.readouterr().out


def test_a_run_is_described_and_sampled_without_its_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ddpm_studio.data import open_dataset
    from ddpm_studio.data.points import points_dataset

    source, run = tmp_path / "mine.npy", tmp_path / "run"
    np.save(source, points_dataset("moons", 300).train)
    count = len(open_dataset(str(source)))
    small = ["--steps", "2", "--set", "training.batch=8", "--set", "network.width=8", "--set", "sampler.steps=2"]
    assert main(["train", "moons", "--set", f"data.source={source}", *small, "--out", str(run)]) == 0
    source.unlink()
    capsys.readouterr()
    assert main(["info", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] > 100
    assert (facts["data"]["name"], facts["data"]["count"], facts["data"]["shape"]) == ("mine.npy", count, [2])
    assert facts["disk"]["total"] >= facts["disk"]["record"] + facts["disk"]["checkpoints"]
    assert main(["sample", str(run), "-n", "5", "--out", str(tmp_path / "x.npy")]) == 0
    assert np.load(tmp_path / "x.npy").shape == (5, 2)
    assert main(["train", "moons", "--out", str(run), "--resume", "--steps", "4"]) == 1
    assert "mine.npy is not there: if it was moved, put it back" in capsys.readouterr().err.replace("\n", " ")


# -- train


def test_train_resumes_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert main(["train", "moons", "--steps", "10", "--seed", "7", "--out", out, *POINTS]) == 0
    assert main(["train", "moons", "--steps", "25", "--out", out, "--resume"]) == 0
    run = Run.open(Path(out))
    assert [c.step for c in run.checkpoints()] == [10, 25]
    assert (run.recipe().seed, run.recipe().training.steps) == (7, 10)
    err = said(capsys)
    assert "parameters; CPU, fp32, 1 thread" in err
    with run.record() as record:
        assert len(record.metrics()) == 25


def test_a_recipe_file_and_a_run_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mein Rezept"\n[data]\nsource = "spiral"\n[network]\nkind = "point-mlp"\nwidth = 8\n')
    assert main(["train", str(file), "--seconds", "0", *FIXED]) == 0
    (folder,) = (tmp_path / "home" / "runs").iterdir()
    assert folder.name.startswith("mein-Rezept-")
    assert Run.open(folder).checkpoints()[-1].step >= 1


@pytest.mark.parametrize(
    "arguments",
    [
        "train",
        "train nonsense",
        "train moons --steps 0",
        "train moons --set training.batch",
        "train moons --set training.batch=0",
        "train moons --set training.nothing=1",
        "train moons --device tpu",
        "train moons --resume",
        "train moons --out x --resume --seed 1",
        "train moons --nonsense",
        "nonsense",
        "info nonsense",
        "sample RUN --out a.bmp",
        "sample RUN --out a.png --trace",
        "sample RUN --sampler nonsense",
        "sample RUN --sampler ddpm --eta 0.5",
        "sample RUN --steps 1001",
        "sample RUN --device tpu",
        "sample RUN -n 0",
    ],
)
def test_wrong_usage(arguments: str, points: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([str(points) if word == "RUN" else word for word in arguments.split()]) == 2
    assert said(capsys).startswith("ddpm-studio: ")


def test_failures_are_one_line(points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    bare = Run.create(Run.open(points).recipe(), tmp_path / "bare")
    (tmp_path / "file").touch()
    for arguments in (
        ["train", "moons", "--out", str(points)],
        ["train", "moons", "--out", str(tmp_path / "gone"), "--resume"],
        ["sample", str(tmp_path)],
        ["info", str(tmp_path)],
        ["sample", str(points), "--out", str(tmp_path / "file" / "a.png"), "-n", "2", "--steps", "1"],
        ["sample", str(bare.path), "--out", str(tmp_path / "a.png")],
        ["evaluate", str(points)],
        ["export", str(points), "--format", "gif", "--item", "70000"],
        ["export", str(tmp_path), "--format", "gif"],
        ["export", str(points), "--format", "html", "--out", str(tmp_path / "file" / "a.html")],
    ):
        assert main(arguments) == 1
        last = said(capsys).splitlines()[-1]
        assert last.startswith("ddpm-studio: ")


def test_damaged_checkpoints_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["train", "moons", "--steps", "2", "--out", str(out), *POINTS]) == 0
    (checkpoint,) = Run.open(out).checkpoints()
    about = checkpoint.about_file.read_text(encoding="utf-8")
    checkpoint.about_file.write_text(about.replace("width = 16", "width = 24"), encoding="utf-8")
    capsys.readouterr()
    assert main(["sample", str(out), "--out", str(tmp_path / "a.png")]) == 1
    assert "belong to another network" in said(capsys)
    checkpoint.about_file.write_text(about, encoding="utf-8")
    checkpoint.tensors_file.write_bytes(checkpoint.tensors_file.read_bytes()[:-9])
    assert main(["train", "moons", "--out", str(out), "--resume"]) == 1
    assert "is damaged" in said(capsys).splitlines()[-1]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_no_card_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "moons", "--out", str(tmp_path / "r"), "--device", "cuda"]) == 1
    assert "no NVIDIA card" in said(capsys)


# -- sample


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "euler", "heun", "dpmpp-2m"])
def test_every_sampler(sampler: str, points: Path, pictures: Path, tmp_path: Path) -> None:
    for run, shape, dtype in ((points, (3, 2), np.float32), (pictures, (3, 10, 8, 3), np.uint8)):
        out = tmp_path / "a.npy"
        steps = ["--sampler", sampler, "--steps", "6", "-n", "3"]
        assert main(["sample", str(run), "--out", str(out), *steps]) == 0
        array = np.load(out)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert np.isfinite(array).all()
        assert main(["sample", str(run), "--out", str(out), "--trace", *steps]) == 0
        trace = np.load(out)
        assert trace.shape == (7, *shape)
        np.testing.assert_array_equal(trace[-1], array)
        if run == points:
            assert trace[0].std() > 0.2


@pytest.mark.parametrize("kind", ["png", "gif"])
@pytest.mark.parametrize("which", [["--sampler", "ddim"], ["--sampler", "ddim", "--sampler", "heun"]])
def test_data_lie_behind_samples_that_are_points(kind: str, which: list[str], points: Path, tmp_path: Path) -> None:
    def drawn(*more: str) -> np.ndarray:
        out = tmp_path / f"a.{kind}"
        assert main(["sample", str(points), "--out", str(out), "--steps", "3", "-n", "1", *which, *more]) == 0
        with Image.open(out) as image:
            return np.asarray(image.convert("L")).astype(int)

    full, bare = drawn(), drawn("--no-data")
    assert (full < bare - 20).mean() > 0.005


def test_several_samplers_side_by_side(points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    three = [word for kind in ("ddpm", "ddim", "heun") for word in ("--sampler", kind)]
    panels = {}
    for name, which in (("one", three[:2]), ("all", three)):
        out = tmp_path / f"{name}.png"
        assert main(["sample", str(points), "--out", str(out), "--steps", "5", "-n", "6", *which]) == 0
        with Image.open(out) as picture:
            grey = np.asarray(picture.convert("L"), float)
        axis = (np.median(grey, axis=0) == np.median(grey, axis=0).min()).astype(int)  # of each panel
        panels[name] = int((np.diff(axis, prepend=0) == 1).sum())
    assert panels == {"one": 1, "all": 3}
    assert main(["sample", str(points), "--out", str(tmp_path / "a.npy"), *three]) == 2
    why = " ".join(said(capsys).split())
    assert "one sampler" in why
    assert why.endswith("ends in .png, .gif, .apng, .webp, .mp4 or .webm")


def test_a_long_trace_leaves_nothing_out(points: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npy"
    assert main(["sample", str(points), "--out", str(out), "--trace", "--steps", "300", "-n", "2"]) == 0
    assert np.load(out).shape == (301, 2, 2)


def test_the_same_seed_is_the_same_picture_for_any_number(points: Path, pictures: Path, tmp_path: Path) -> None:
    for run, tolerance in ((points, 1e-5), (pictures, 1)):
        made = []
        for count, seed in ((1, 5), (4, 5), (4, 6)):
            out = tmp_path / f"{count}-{seed}.npy"
            assert main(["sample", str(run), "--out", str(out), "-n", str(count), "--seed", str(seed)]) == 0
            made.append(np.load(out).astype(float))
        np.testing.assert_allclose(made[0][0], made[1][0], atol=tolerance)
        assert not np.allclose(made[1], made[2], atol=tolerance)


def test_sampling_leaves_the_run_as_it_was(points: Path, tmp_path: Path) -> None:
    before = {p: p.read_bytes() for p in points.rglob("*") if p.is_file()}
    assert main(["sample", str(points), "--out", str(tmp_path / "a.png"), "--eta", "0.5", "--sampler", "ddim"]) == 0
    assert {p: p.read_bytes() for p in points.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("ending", ["png", "gif", "mp4", "webm"])
def test_films_and_grids(ending: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / f"ünï film.{ending}"
    assert main(["sample", str(pictures), "--out", str(out), "-n", "4"]) == 0
    if ending in ("png", "gif"):
        with Image.open(out) as picture:
            assert getattr(picture, "n_frames", 1) == (1 if ending == "png" else 6)
    else:
        with av.open(str(out)) as video:
            assert len(list(video.decode(video=0))) >= 6


# -- as a program of its own


def environment(**more: str) -> dict[str, str]:
    lost = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return {**{k: v for k, v in os.environ.items() if k not in lost}, "PYTHONIOENCODING": "utf-8", **more}


def test_version_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "ddpm_studio", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"ddpm-studio {__version__}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems always have a display")
def test_no_display_names_the_twin(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ddpm_studio"], capture_output=True, text=True, env=environment(), timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "ddpm-studio train" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to the whole console")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "ddpm_studio", "train", "moons", "--out", str(out)]
    setup = ["--set", "training.steps=1000000", *POINTS]
    with subprocess.Popen([*command, *setup], stderr=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "parameters" in line:
                break
        process.send_signal(signal.SIGINT)
        err = process.stderr.read()
        assert process.wait(30) == INTERRUPTED
    assert "--resume" in err
    assert "Traceback" not in err
    step = Run.open(out).checkpoints()[-1].step
    assert f"saved at step {step}" in err
    assert main(["train", "moons", "--out", str(out), "--resume", "--steps", str(step + 5)]) == 0
    assert Run.open(out).checkpoints()[-1].step == step + 5


def test_info_says_plainly_that_nothing_was_measured_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "fashion-mnist"]) == 0
    assert "computes: not known yet: where there is a choice, the first start measures" in capsys.readouterr().out
    assert main(["info", "moons"]) == 0
    assert "; why: bfloat16 would round" in capsys.readouterr().out, "there is no choice"


def test_the_help_of_sample_names_every_ending(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--help"]) == 0
    said = capsys.readouterr().out
    assert [ending for ending in ENDINGS if ending not in said] == []
