"""What a killed program left half-written goes: at the next writing of the same, or after a day."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ddpm_studio.data import DataError, open_dataset
from ddpm_studio.data.catalog import mnist_folder
from ddpm_studio.export.writers import write_file, write_folder
from ddpm_studio.files import part_of, write_text
from ddpm_studio.paths import sweep
from ddpm_studio.recipes import find
from ddpm_studio.store import Run

ODD = "ünï [a-b] 100%.gif"
DAY = 86_400


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


@pytest.fixture
def killed(tmp_path: Path) -> int:
    """The number of a process that was killed while it wrote ``ODD``."""
    code = (
        "import sys, time; from pathlib import Path; from ddpm_studio.export.writers import write_file\n"
        "def write(part):\n"
        "    part.write_bytes(b'half'); print('at it', flush=True); time.sleep(60)\n"
        f"write_file(Path({str(tmp_path / ODD)!r}), write)"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        assert [path.name for path in tmp_path.iterdir()] == [f".{ODD}.{writer.pid}.part"]
        part_of(tmp_path / ODD)
        assert len(list(tmp_path.iterdir())) == 1, "it lives: what it writes is left alone"
        writer.send_signal(signal.SIGTERM)
    return writer.pid


def test_a_killed_export_is_replaced_by_the_next(tmp_path: Path, killed: int) -> None:
    other = tmp_path / f".another.gif.{killed}.part"
    other.touch()
    write_file(tmp_path / ODD, lambda part: part.write_bytes(b"whole") and None)
    assert {path.name for path in tmp_path.iterdir()} == {ODD, other.name}
    assert (tmp_path / ODD).read_bytes() == b"whole"


def test_so_is_a_folder_of_frames(tmp_path: Path, killed: int) -> None:
    mine = tmp_path / f".frames.{os.getpid()}.part"  # of a process that had this number long ago
    dead = tmp_path / f".frames.{killed}.part"
    for left in (mine, dead):
        left.mkdir()
        (left / "0000.png").touch()
        age(left, 10 * DAY)
    write_folder(tmp_path / "frames", lambda part: (part / "0001.png").touch())
    assert [path.name for path in (tmp_path / "frames").iterdir()] == ["0001.png"]
    assert not mine.exists()
    assert not dead.exists()


def test_only_what_is_ours_and_old_is_swept(tmp_path: Path) -> None:
    ours = [".a b.toml.123.part", ".download-ab_12xyz", ".copy-01234567", ".frames.9.part"]
    others = ["a.part", ".a.part", ".a.x.part", ".download-mine", "download-ab_12xyz", ".copy-01234567.txt"]
    for name in ours + others:
        path = tmp_path / name
        if name.startswith((".download-ab", ".frames")):
            path.mkdir()
            (path / "half").touch()
        else:
            path.touch()
        age(path, DAY + 60)
    young = tmp_path / ".young.toml.124.part"
    young.touch()
    age(young, DAY - 600)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    link = tmp_path / ".link.5.part"
    link.symlink_to(tmp_path / "kept")
    os.utime(link, (0, 0), follow_symlinks=False)
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, young.name, "kept"}
    assert (tmp_path / "kept" / "file").exists(), "what a link leads to is not ours"
    sweep(tmp_path / "nowhere")


def test_opening_a_run_sweeps_it(tmp_path: Path) -> None:
    run = Run.create(find("moons"), tmp_path / "run")
    run.checkpoint_folder.mkdir()
    left = [run.path / ".recipe.toml.12.part", run.checkpoint_folder / ".step-000100.safetensors.12.part"]
    for path in left:
        path.touch()
        age(path, 2 * DAY)
    write_text(run.path / "notes.part", "mine")
    age(run.path / "notes.part", 2 * DAY)
    assert Run.open(run.path) == run
    assert not any(path.exists() for path in left)
    assert (run.path / "notes.part").exists()
    assert run.recipe_file.exists()


def test_opening_data_sweeps_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    left = mnist_folder() / ".download-abcdefgh"
    left.mkdir(parents=True)
    age(left, 2 * DAY)
    with pytest.raises(DataError):
        open_dataset("mnist")
    assert list(mnist_folder().iterdir()) == []
