"""The wheel holds all that the program reads beside its code, and finds it there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip would, without the network."""
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return Path(built)


def test_it_holds_every_file_of_the_package(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "--", "ddpm_studio", "resources"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if tracked.returncode:  # a source archive
        there = [path.relative_to(ROOT) for part in ("ddpm_studio", "resources") for path in (ROOT / part).rglob("*.*")]
        files = [path.as_posix() for path in there if path.suffix not in (".pyc", "")]
    else:
        files = [name for name in tracked.stdout.splitlines() if (ROOT / name).is_file()]
    inside = {name if name.startswith("ddpm_studio/") else f"ddpm_studio/{name}" for name in files}
    assert len(inside) > 200
    assert inside - names == set()
    for part in ("export/page/report.js", "export/page/report.css", "recipes/tutorials/001.toml", "py.typed"):
        assert f"ddpm_studio/{part}" in names
    for part in ("data/fashion-mnist.npz", "fonts/Inter-Regular.ttf", "icons/app.svg", "tapes/first.npz"):
        assert f"ddpm_studio/resources/{part}" in names
    assert not [name for name in names if name.startswith(("tests/", "packaging/")) or name.endswith(".pyc")]


def test_what_is_installed_from_it_finds_its_files(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    with ZipFile(wheel) as archive:
        archive.extractall(site)
    code = (
        "import ddpm_studio\n"
        "from ddpm_studio.data import open_dataset\n"
        "from ddpm_studio.export.report import PAGE\n"
        "from ddpm_studio.export.text import text_width\n"
        "from ddpm_studio.paths import resource\n"
        "from ddpm_studio.recipes import built_in\n"
        "from ddpm_studio.recipes.tutorials import tutorial_of\n"
        "assert all(tutorial_of(recipe) for recipe in built_in().values() if recipe.tutorial)\n"
        "assert (PAGE / 'report.js').is_file() and text_width('x', 13) > 0 and len(open_dataset('dino').train)\n"
        "print(ddpm_studio.__file__, len(built_in()), resource('tapes', 'first.npz'), sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package, recipes, tape = done.stdout.splitlines()
    assert Path(package).is_relative_to(site)
    assert Path(tape).is_relative_to(site)
    assert Path(tape).is_file()
    assert int(recipes) == len(list((ROOT / "ddpm_studio" / "recipes" / "builtin").glob("*.toml")))
