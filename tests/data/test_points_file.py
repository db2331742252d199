"""Points of the user's own, from text and from arrays, good and bad."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ddpm_studio.data import DataError, mixture_of, open_dataset, points_file
from ddpm_studio.data.points_file import is_points_file, read_points, read_points_file
from ddpm_studio.recipes import for_data

POINTS = np.random.default_rng(3).normal((5.0, -2.0), (3.0, 1.0), (400, 2))


def text(folder: Path, lines: list[str], name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "between", "top"),
    [("a.csv", ",", ["x,y"]), ("a.csv", "; ", []), ("a.tsv", "\t", ["# made by hand", "x\ty"]), ("a.txt", "   ", [""])],
)
def test_text_is_read_as_it_stands(tmp_path: Path, name: str, between: str, top: list[str]) -> None:
    path = text(tmp_path, [*top, *(f"{x!r}{between}{y!r}" for x, y in POINTS.tolist()), ""], name)
    assert is_points_file(path)
    np.testing.assert_array_equal(read_points(path), POINTS)


@pytest.mark.parametrize("name", ["a.npy", "one.npz", "many.npz"])
def test_arrays_are_read_as_they_stand(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, POINTS)
    elif name == "one.npz":
        np.savez(path, whatever=POINTS)
    else:
        np.savez_compressed(path, about=np.array("by me"), points=POINTS)
    np.testing.assert_array_equal(read_points(path), POINTS)


def test_the_dataset_is_standardised_and_keeps_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "dino.npy"
    np.save(path, POINTS)
    dataset = open_dataset(str(path))
    every = np.concatenate([dataset.train, dataset.held_out])
    assert (dataset.kind, len(dataset.train), len(dataset.held_out)) == ("points", 360, 40)
    np.testing.assert_allclose(every.mean(axis=0), 0, atol=1e-5)
    assert every.var(axis=0).mean() == pytest.approx(1, rel=1e-5)
    ratio = POINTS.std(axis=0)
    assert every[:, 0].std() / every[:, 1].std() == pytest.approx(ratio[0] / ratio[1], rel=1e-4)
    assert mixture_of(dataset.name) is None  # the built-in dino has a known density, this file has not
    np.testing.assert_array_equal(read_points_file(path).train, dataset.train)


GOOD = [f"{x},{y}" for x, y in POINTS[:30].tolist()]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([*GOOD, "1,2,3"], "line 31: 3 columns"),
        (["x,y", *GOOD, "", "one,2"], "line 33: these are not two numbers: 'one,2'"),
        (["x,y", "a,b", *GOOD], "line 2: these are not two numbers"),
        (["# mine", *GOOD, "nan,1"], r"line 32: \[nan, 1.0\] is no point"),
        ([*GOOD, "1e300,1"], "line 31"),
        (GOOD[:5], "holds 5 points: from 20"),
        ([], "holds 0 points"),
        (["1,2"] * 40, "lie in one place"),
    ],
)
def test_bad_text_gets_a_sentence_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_points_file(text(tmp_path, lines))


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((50, 3)), "shape"),
        (np.zeros(50), "shape"),
        (np.zeros((50, 2), complex), "complex"),
        (np.array([[None, {}]] * 50), "without pickles"),
        (np.where(np.arange(60).reshape(30, 2) == 8, np.inf, 1.0), "row 5"),
    ],
)
def test_a_bad_array_gets_a_sentence(tmp_path: Path, array: Any, said: str) -> None:
    path = tmp_path / "bad.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match=said):
        read_points_file(path)


def test_damaged_and_huge_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut.npz"
    np.savez(cut, points=POINTS)
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(DataError, match="numpy"):
        read_points(cut)
    for shape in ("(100000000000, 2)", f"({10**30}, 2)", "(50, 2", "()[0]"):
        broken = tmp_path / "broken.npy"
        header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        broken.write_bytes(b"\x93NUMPY\x01\x00v\x00" + header.encode() + b"0" * 800)
        with pytest.raises(DataError, match="numpy"):
            read_points(broken)
    two = tmp_path / "two.npz"
    np.savez(two, a=POINTS, b=POINTS)
    with pytest.raises(DataError, match="it holds a, b"):
        read_points(two)
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", b"\0" * 3_000_000)
    monkeypatch.setattr(points_file, "MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="unpacks to 2 MB"):
        read_points(bomb)
    (tmp_path / "latin.csv").write_bytes(b"\xe4,\xf6\n")
    with pytest.raises(DataError, match="UTF-8"):
        read_points(tmp_path / "latin.csv")


def test_a_recipe_for_points_learns_points(tmp_path: Path) -> None:
    recipe = for_data(text(tmp_path, GOOD, "my cloud.csv"), "points")
    assert recipe.network.kind == "point-mlp"
    assert recipe.title == "my cloud"
    assert Path(recipe.data.source) == (tmp_path / "my cloud.csv").resolve()
