"""MNIST's files are known by their content, packed or not, and copied to where the program looks for them."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from ddpm_studio.data import Cancelled, DataError, mnist, open_dataset
from ddpm_studio.data.catalog import mnist_folder
from ddpm_studio.data.mnist import keep_mnist


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small MNIST, two of its files packed."""
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path / "home"))
    folder = tmp_path / "chosen"
    folder.mkdir()
    rng = np.random.default_rng(0)
    known = {}
    for part, (name, _) in mnist.CONTENT.items():
        count = 40 if "train" in part else 10
        items = rng.integers(0, 10, (count, 28, 28) if "images" in part else count, np.uint8)
        known[part] = (name, hashlib.md5(idx(items)).hexdigest())
        if "labels" in part:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(items)))
        else:
            (folder / name).write_bytes(idx(items))
    monkeypatch.setattr(mnist, "CONTENT", known)
    return folder


@pytest.mark.parametrize("one_file", [False, True])
def test_it_is_copied_and_opens_as_mnist(chosen: Path, one_file: bool) -> None:
    assert keep_mnist(chosen / "train-images-idx3-ubyte" if one_file else chosen, mnist_folder())
    assert sorted(path.name for path in mnist_folder().iterdir()) == [
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte.gz",
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte.gz",
    ]
    dataset = open_dataset("mnist")
    assert (dataset.name, len(dataset.train)) == ("mnist", 40)


def test_other_files_are_left_alone(chosen: Path) -> None:
    changed = bytearray((chosen / "t10k-images-idx3-ubyte").read_bytes())
    changed[-1] ^= 1
    (chosen / "t10k-images-idx3-ubyte").write_bytes(changed)
    assert not keep_mnist(chosen, mnist_folder())
    (chosen / "t10k-images-idx3-ubyte").unlink()
    assert not keep_mnist(chosen, mnist_folder())
    assert not keep_mnist(chosen / "nowhere" / "at all", mnist_folder())
    assert not mnist_folder().exists()


def test_a_damaged_packed_file_is_none_of_them(chosen: Path) -> None:
    (chosen / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b damaged")
    assert not keep_mnist(chosen, mnist_folder())


def test_it_can_be_stopped_and_says_where_it_cannot_be_stored(chosen: Path) -> None:
    with pytest.raises(Cancelled):
        keep_mnist(chosen, mnist_folder(), lambda done, of: False)
    mnist_folder().parent.mkdir(parents=True)
    mnist_folder().write_text("in the way")
    with pytest.raises(DataError, match="cannot be stored"):
        keep_mnist(chosen, mnist_folder())
