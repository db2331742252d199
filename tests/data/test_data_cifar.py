"""CIFAR-10's binary files: planes become pixels, and damage is said in one sentence that names the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddpm_studio.data import BUILT_IN, Cancelled, DataError, cifar, open_dataset


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six files of 8 pictures each; picture p of file f has label f, red f, green p, blue its own column."""
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(cifar, "PICTURES", 8)
    folder = tmp_path / "données 写真" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, name in enumerate(cifar.FILES):
        records = np.zeros((8, 3073), np.uint8)
        records[:, 0] = number
        planes = records[:, 1:].reshape(8, 3, 32, 32)
        planes[:, 0] = number
        planes[:, 1] = np.arange(8)[:, None, None]
        planes[:, 2] = np.arange(32)
        records[:, 1:] = planes.reshape(8, -1)
        (folder / name).write_bytes(records.tobytes())
    return folder


def refused(folder: Path, path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_dataset(str(folder))
    text = str(error.value)
    assert text.startswith(str(path))
    assert text.endswith(".")
    assert "\n" not in text
    return text


@pytest.mark.parametrize("above", [False, True])
def test_a_folder_of_the_users(folder: Path, above: bool) -> None:
    chosen = folder.parent if above else folder
    dataset = open_dataset(str(chosen))
    assert dataset.name == chosen.name
    assert dataset.shape == (3, 32, 32)
    assert (len(dataset), len(dataset.held_out)) == (40, 8)
    assert dataset.classes[:2] == ("airplane", "automobile")
    assert dataset.labels is not None
    assert dataset.held_out_labels is not None
    np.testing.assert_array_equal(dataset.labels, np.repeat(np.arange(5), 8))
    np.testing.assert_array_equal(dataset.held_out_labels, np.full(8, 5))
    assert dataset.train[2 * 8 + 3, 30, 17].tolist() == [2, 3, 17]
    assert dataset.held_out[6, 0, 31].tolist() == [5, 6, 31]


def test_another_size(folder: Path) -> None:
    assert open_dataset(str(folder), height=16).shape == (3, 16, 16)


def test_from_the_programs_folder(folder: Path) -> None:
    with pytest.raises(DataError, match="starting a training downloads it"):
        open_dataset("cifar-10")
    home = folder.parents[1] / "home" / "datasets"
    home.mkdir(parents=True)
    folder.parent.rename(home / "cifar-10")
    assert open_dataset("cifar-10").name == "cifar-10"


def test_a_few_files_do_not_hide_the_whole_set_below_them(folder: Path) -> None:
    """Where some lay there before a download, it must not be fetched again at every start."""
    for name in cifar.FILES[:2]:
        (folder.parent / name).write_bytes((folder / name).read_bytes())
    assert len(open_dataset(str(folder.parent))) == 40


def test_the_first_thousand_of_the_test_file_are_held_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "TEST_MOST", 3)
    dataset = open_dataset(str(folder))
    assert dataset.held_out[:, 0, 0, 1].tolist() == [0, 1, 2]
    assert dataset.held_out_labels is not None
    assert len(dataset.held_out_labels) == 3


@pytest.mark.parametrize("name", cifar.FILES)
@pytest.mark.parametrize("change", [-1, 1, -3073, None])
def test_a_wrong_length(folder: Path, name: str, change: int | None) -> None:
    path = folder / name
    raw = path.read_bytes()
    wrong = b"" if change is None else raw[:change] if change < 0 else raw + b"\0"
    path.write_bytes(wrong)
    assert f"holds {len(wrong):,} bytes, not the {len(raw):,} of 8 pictures" in refused(folder, path)


@pytest.mark.parametrize("label", [10, 255])
def test_a_label_out_of_range(folder: Path, label: int) -> None:
    path = folder / "data_batch_3.bin"
    raw = bytearray(path.read_bytes())
    raw[3073 * 5] = label
    path.write_bytes(raw)
    assert f"gives picture 5 the label {label}, but labels run from 0 to 9" in refused(folder, path)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "data_batch_2.bin").unlink()
    (folder / "test_batch.bin").unlink()
    assert "lacks data_batch_2.bin, test_batch.bin:" in refused(folder, folder)


def test_one_file_alone_is_refused(folder: Path) -> None:
    path = folder / "data_batch_1.bin"
    assert "choose the folder" in refused(path, path)


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-py"])
def test_pickles_are_never_opened(tmp_path: Path, inner: str) -> None:
    place = tmp_path / inner
    place.mkdir(exist_ok=True)
    witness = tmp_path / "ran"
    (place / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch " + str(witness).encode() + b"'\ntR.")
    assert "pickles can run code" in refused(tmp_path, place)
    assert not witness.exists()


def test_progress_counts_pictures_and_cancels(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_dataset(str(folder), progress=lambda done, total: seen.append((done, total)) or True)
    assert seen == [(8 * number, 48) for number in range(5)]
    with pytest.raises(Cancelled):
        open_dataset(str(folder), progress=lambda done, total: done < 16)


def test_the_real_length(tmp_path: Path) -> None:
    for name in cifar.FILES:
        with (tmp_path / name).open("wb") as file:
            file.truncate(30_730_000)
    dataset = open_dataset(str(tmp_path))
    assert (len(dataset), len(dataset.held_out)) == (50_000, 1_000)
    assert len(dataset) + len(dataset.held_out) == BUILT_IN["cifar-10"].count
    assert dataset.shape == BUILT_IN["cifar-10"].shape
