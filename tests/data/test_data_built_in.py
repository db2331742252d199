"""What ships with the program: all there, as described, with its licences; and it opens without torch."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.data import BUILT_IN, DataError, DataFacts, Dataset, known_facts, open_dataset
from ddpm_studio.data.dataset import split
from ddpm_studio.paths import resource


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ("mnist", "cifar-10")])
def test_every_built_in_set_is_as_described(name: str) -> None:
    dataset, entry = open_dataset(name), BUILT_IN[name]
    assert dataset.name == name
    assert dataset.kind == entry.kind
    assert dataset.shape == entry.shape
    assert len(dataset) + len(dataset.held_out) == entry.count
    assert f"{entry.count:,}" in entry.size
    assert entry.title
    assert entry.about.endswith(".")
    assert entry.licence
    assert open_dataset(name) is dataset
    known = known_facts(name)
    assert known is not None
    assert known == dataclasses.replace(dataset.facts, count=None, low=None, high=None)
    assert (dataset.facts.count, dataset.facts.low) == (len(dataset), dataset.train.min())


@pytest.mark.parametrize(("height", "width"), [(None, None), (16, None), (None, 20), (12, 40)])
def test_a_size_is_known_without_opening_anything(height: int | None, width: int | None) -> None:
    known = known_facts("pixel-faces", height=height, width=width)
    assert known is not None
    assert known.shape == open_dataset("pixel-faces", height=height, width=width).shape
    assert known_facts("./pixel-faces") is None  # a folder, which has to be read
    mnist = known_facts("mnist")  # is not here
    assert mnist is not None
    assert (mnist.shape, len(mnist.classes)) == ((1, 28, 28), 10)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    st.one_of(
        st.tuples(st.just("points"), st.just((2,))),
        st.tuples(st.just("pictures"), st.tuples(*[st.integers(1, 300)] * 3)),
    ),
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"])), max_size=4),
    st.none() | st.integers(1, 10**7),
    st.none() | st.floats(-1e6, 1e6),
)
def test_facts_survive_as_text(
    name: str, what: tuple[Any, tuple[int, ...]], classes: list[str], count: int | None, low: float | None
) -> None:
    facts = DataFacts(name, *what, tuple(classes), count, low, low)
    assert DataFacts.parse(tomllib.loads(tomlkit.dumps(facts.plain()))) == facts


def test_fashion_mnist() -> None:
    dataset = open_dataset("fashion-mnist")
    assert (len(dataset), len(dataset.held_out)) == (9_500, 500)
    assert dataset.labels is not None
    assert dataset.held_out_labels is not None
    counts = np.bincount(dataset.labels) + np.bincount(dataset.held_out_labels)
    assert counts.tolist() == [942, 1027, 1016, 1019, 974, 989, 1021, 1022, 990, 1000]
    assert dataset.classes[9] == "Ankle boot"


def test_pixel_faces_are_all_different_and_in_colour() -> None:
    dataset = open_dataset("pixel-faces")
    assert (len(dataset), len(dataset.held_out)) == (5_700, 300)
    everything = np.concatenate([dataset.train, dataset.held_out])
    assert len({face.tobytes() for face in everything}) == 6_000
    corners = everything[:, 0, 0]
    assert len(np.unique(corners, axis=0)) >= 8
    # The design is 16 x 16, drawn on whole pixels: nothing is blurred.
    np.testing.assert_array_equal(everything, everything[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2))


def test_a_built_in_set_at_another_size() -> None:
    dataset = open_dataset("fashion-mnist", height=14)
    assert dataset.shape == (1, 14, 14)
    assert len(dataset) == 9_500
    with pytest.raises(DataError, match="from 1 to 1024"):
        open_dataset("fashion-mnist", width=0)


@pytest.mark.parametrize("folder", ["data", "fonts", "icons"])
def test_the_readme_names_every_file_and_its_licence(folder: str) -> None:
    readme = resource(folder, "README.md").read_text(encoding="utf-8")
    assert f"python packaging/build_resources.py {folder}" in readme
    for path in resource(folder).iterdir():
        if path.name != "README.md" and not (folder == "icons" and path.suffix == ".svg"):
            assert path.name in readme, path.name
    assert sum(path.stat().st_size for path in resource(folder).iterdir()) < 12e6


def test_icons_take_the_colour_they_are_given() -> None:
    icons = [path for path in resource("icons").glob("*.svg") if path.name != "app.svg"]
    assert len(icons) > 50
    for path in icons:
        assert 'stroke="currentColor"' in path.read_text(encoding="utf-8"), path.name


def test_neither_torch_nor_qt_nor_the_network_is_imported() -> None:
    code = (
        "import sys, ddpm_studio.data as data; data.open_dataset('moons'); data.open_dataset('fashion-mnist');"
        "heavy = ('torch', 'torchvision', 'PySide6', 'pydantic', 'http.client', 'ssl');"
        "print([name for name in heavy if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


@given(count=st.integers(2, 30_000))
def test_the_split_loses_and_shares_nothing(count: int) -> None:
    train, held_out = split(count)
    assert 1 <= len(held_out) <= 500
    assert len(held_out) <= max(1, count * 0.05)
    np.testing.assert_array_equal(np.sort(np.concatenate([train, held_out])), np.arange(count))
    np.testing.assert_array_equal(split(count)[0], train)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_split(count: int) -> None:
    with pytest.raises(DataError, match="at least 2"):
        split(count)


def picture(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.uint8)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"train": picture(2, 4, 4)}, "must be uint8"),
        ({"train": picture(2, 4, 4, 2)}, "must be uint8"),
        ({"train": picture(2, 4, 4, 1).astype(np.float32)}, "must be uint8"),
        ({"train": picture(0, 4, 4, 1)}, "at least one item"),
        ({"held_out": picture(1, 5, 4, 1)}, "both must be the same"),
        ({"kind": "points"}, "must be float32"),
        ({"labels": np.array([0])}, "need int64"),
        ({"labels": np.array([0, 1], np.int32)}, "need int64"),
        ({"labels": np.array([0, 2]), "classes": ("a", "b")}, "from 0 to 1"),
        ({"labels": np.array([0, -1])}, "run from -1"),
        ({"held_out_labels": np.array([0])}, "held-out items only"),
    ],
)
def test_a_dataset_checks_itself(change: dict[str, object], says: str) -> None:
    good: dict[str, object] = {
        "name": "x",
        "kind": "pictures",
        "train": picture(2, 4, 4, 1),
        "held_out": picture(1, 4, 4, 1),
    }
    with pytest.raises(DataError, match=says) as error:
        Dataset(**{**good, **change})  # type: ignore[arg-type]
    assert str(error.value).endswith(".")


def test_points_must_be_finite() -> None:
    bad = np.array([[0, np.nan]], np.float32)
    with pytest.raises(DataError, match="not finite"):
        Dataset("x", "points", bad, bad)


def test_a_dataset_is_read_only_and_leaves_the_callers_array_alone() -> None:
    mine = picture(2, 4, 4, 1)
    dataset = Dataset("x", "pictures", mine, mine)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train[0] = 1
    mine[0] = 1
