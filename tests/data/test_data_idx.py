"""IDX files: what is written comes back, and what is damaged is said in one sentence."""

from __future__ import annotations

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ddpm_studio.data import DataError, open_dataset
from ddpm_studio.data.idx import is_idx_file, read_idx

MNIST = Path(__file__).resolve().parents[3] / "shared/data/mnist"


def pack(array: np.ndarray, type_code: int = 8) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, type_code, array.ndim, *array.shape) + array.tobytes()


def write(path: Path, array: np.ndarray) -> Path:
    raw = pack(array)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def pictures(count: int, side: int = 4) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, side, side), dtype=np.uint8)


def one_sentence(error: pytest.ExceptionInfo[DataError]) -> str:
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


@given(
    array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)),
    packed=st.booleans(),
)
def test_what_is_written_comes_back(array: np.ndarray, packed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder, "a.gz" if packed else "a"), array)
        assert is_idx_file(path)
        np.testing.assert_array_equal(read_idx(path), array)


@given(cut=st.integers(0, 15 + 4 * 16), packed=st.booleans())
def test_a_file_cut_anywhere_is_refused(cut: int, packed: bool) -> None:
    raw = pack(pictures(4))[:cut]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(gzip.compress(raw) if packed else raw)
        with pytest.raises(DataError) as error:
            read_idx(path)
        assert str(path) in one_sentence(error)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "not an IDX file"),
        (pack(pictures(3), type_code=13), "0x0d"),
        (pack(pictures(3)) + b"\0", "holds more"),
        (pack(np.zeros((0, 4, 4), np.uint8)), "empty"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 28), "header is damaged"),
        (gzip.compress(pack(pictures(9)))[:-20], "damaged gzip"),
        (b"\x1f\x8b" + b"\xff" * 30, "damaged gzip"),
    ],
)
def test_damage_is_named(tmp_path: Path, raw: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(raw)
    with pytest.raises(DataError) as error:
        read_idx(path)
    assert says in one_sentence(error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "nothing")


@pytest.mark.parametrize("pattern", ["{}-{}-idx{}-ubyte", "{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte"])
def test_a_folder_with_a_test_file(tmp_path: Path, pattern: str) -> None:
    folder = tmp_path / "Ziffern für Ωmega 数字"
    folder.mkdir()
    train, test = pictures(30), pictures(1100)
    write(folder / pattern.format("train", "images", 3), train)
    write(folder / pattern.format("train", "labels", 1), np.arange(30, dtype=np.uint8) % 3)
    write(folder / pattern.format("t10k", "images", 3), test)
    write(folder / pattern.format("t10k", "labels", 1), np.arange(1100, dtype=np.uint8) % 3)
    dataset = open_dataset(str(folder))
    assert dataset.name == folder.name
    assert dataset.shape == (1, 4, 4)
    np.testing.assert_array_equal(dataset.train[..., 0], train)
    np.testing.assert_array_equal(dataset.held_out[..., 0], test[:1000])
    assert dataset.classes == ("0", "1", "2")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 2] * 10
    assert dataset.held_out_labels is not None
    assert len(dataset.held_out_labels) == 1000


def test_a_folder_without_a_test_file_is_split(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", pictures(40))
    dataset = open_dataset(str(tmp_path))
    assert (len(dataset), len(dataset.held_out)) == (38, 2)
    assert dataset.labels is None
    assert dataset.classes == ()


def test_one_file_of_pictures_at_another_size(tmp_path: Path) -> None:
    dataset = open_dataset(str(write(tmp_path / "digits.bin", pictures(10))), height=8, width=6)
    assert dataset.shape == (1, 8, 6)
    assert dataset.name == "digits.bin"


def test_labels_beside_one_file_are_found(tmp_path: Path) -> None:
    path = write(tmp_path / "train-images-idx3-ubyte", pictures(10))
    write(tmp_path / "train-labels-idx1-ubyte", np.arange(10, dtype=np.uint8) % 2)
    assert open_dataset(str(path)).classes == ("0", "1")


def test_labels_are_not_pictures(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds labels"):
        open_dataset(str(write(tmp_path / "labels", np.zeros(5, np.uint8))))


def test_labels_must_be_as_many_as_pictures(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", pictures(5))
    write(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    with pytest.raises(DataError, match="4 labels for 5 pictures"):
        open_dataset(str(tmp_path))


def test_the_test_file_must_be_of_the_same_size(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", pictures(5))
    write(tmp_path / "t10k-images-idx3-ubyte", pictures(5, side=6))
    with pytest.raises(DataError, match="6 x 6, but those to learn from are 4 x 4"):
        open_dataset(str(tmp_path))


def test_mnist_opens_from_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    with pytest.raises(DataError) as error:
        open_dataset("mnist")
    text = one_sentence(error)
    assert str(tmp_path / "datasets" / "mnist") in text
    assert "fashion-mnist" in text
    folder = tmp_path / "datasets" / "mnist"
    folder.mkdir(parents=True)
    write(folder / "train-images-idx3-ubyte", pictures(20))
    assert open_dataset("mnist").name == "mnist"


@pytest.mark.mnist
@pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST files in ../shared/data/mnist")
def test_the_real_mnist() -> None:
    dataset = open_dataset(str(MNIST))
    assert dataset.shape == (1, 28, 28)
    assert (len(dataset), len(dataset.held_out)) == (60_000, 1_000)
    assert dataset.classes == tuple("0123456789")
    assert dataset.labels is not None
    assert dataset.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert abs(dataset.train.mean() / 255 - 0.1307) < 1e-4
