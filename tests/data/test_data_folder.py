"""Picture folders: any sizes, names, modes and damage."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddpm_studio.data import Cancelled, DataError, open_dataset
from ddpm_studio.data.picture_folder import find_pictures, read_picture


def save(path: Path, colour: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (10, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=6),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    grey=st.booleans(),
)
def test_any_sizes_become_one(sizes: list[tuple[int, int]], height: int, width: int, grey: bool) -> None:
    colour = (90, 90, 90) if grey else (10, 90, 200)
    with tempfile.TemporaryDirectory() as folder:
        for index, size in enumerate(sizes):
            save(Path(folder, f"{index}.png"), colour, size)
        dataset = open_dataset(folder, height=height, width=width)
    assert dataset.shape == (1 if grey else 3, height, width)
    assert len(dataset) + len(dataset.held_out) == len(sizes)
    assert (dataset.train == np.array(colour[: dataset.shape[0]])).all()


def test_names_with_spaces_and_other_scripts_are_classes(tmp_path: Path) -> None:
    root = tmp_path / "mes données 写真"
    for index in range(3):
        save(root / "Grüne Äpfel" / f"bild {index}.png", (0, 200, 0))
        save(root / "りんご" / "deeper" / f"{index}.jpeg", (200, 0, 0))
    dataset = open_dataset(str(root))
    assert dataset.name == root.name
    assert dataset.classes == ("Grüne Äpfel", "りんご")
    assert dataset.labels is not None
    for picture, label in zip(dataset.train, dataset.labels, strict=True):
        assert (picture[..., 0] > 100).all() == bool(label)
    assert dataset.shape == (3, 32, 32)


@pytest.mark.parametrize("names", [["a/1.png", "b/2.png", "3.png"], ["a/1.png", "a/2.png"], ["1.png", "2.png"]])
def test_no_classes_unless_every_picture_has_one(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        save(tmp_path / name)
    dataset = open_dataset(str(tmp_path))
    assert dataset.labels is None
    assert dataset.classes == ()


def test_broken_files_are_left_out_and_counted(tmp_path: Path) -> None:
    for index in range(4):
        save(tmp_path / f"{index}.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._0.png").write_bytes(b"left by macOS")
    dataset = open_dataset(str(tmp_path))
    assert len(dataset) + len(dataset.held_out) == 4
    assert dataset.notes == ("2 of 6 files could not be read and were left out: broken.png and others.",)


@pytest.mark.parametrize("good", [0, 1])
def test_fewer_than_two_pictures(tmp_path: Path, good: int) -> None:
    for index in range(good):
        save(tmp_path / f"{index}.png")
    (tmp_path / "broken.webp").write_bytes(b"RIFF")
    with pytest.raises(DataError) as error:
        open_dataset(str(tmp_path))
    text = str(error.value)
    assert f"{good or 'no'} usable picture" in text
    assert "1 that cannot be read" in text
    assert text.endswith(".")
    assert "\n" not in text


def test_photographs_stand_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "black")
    picture.paste("white", (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter: the left side belongs on top
    picture.save(tmp_path / "phone.jpg", exif=exif)
    upright = read_picture(tmp_path / "phone.jpg", 20, 10)
    assert upright.shape == (20, 10, 3)
    assert upright[:8].min() > 200
    assert upright[12:].max() < 60


def test_the_middle_is_kept(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 10), "red")
    picture.paste("lime", (10, 0, 20, 10))
    picture.save(tmp_path / "wide.png")
    assert (read_picture(tmp_path / "wide.png", 10, 10) == (0, 255, 0)).all()


def test_every_mode_is_understood(tmp_path: Path) -> None:
    expected = {}
    modes = {"1": 1, "L": 128, "LA": (128, 255), "RGBA": (9, 9, 9, 0), "CMYK": (0, 0, 0, 127)}
    for mode, value in modes.items():
        Image.new(mode, (4, 4), value).save(tmp_path / f"{mode}.tif")
    expected.update({"1": 255, "L": 128, "LA": 128, "RGBA": 255, "CMYK": 128})
    Image.fromarray(np.full((4, 4), 32896, np.uint16)).save(tmp_path / "sixteen.png")
    expected["sixteen"] = 128
    frames = [Image.new("L", (4, 4), shade) for shade in (40, 240)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    expected["moving"] = 40
    Image.new("P", (4, 4), 0).save(tmp_path / "palette.png", transparency=0)
    expected["palette"] = 255
    for path in find_pictures(tmp_path):
        assert np.ptp(read_picture(path, 4, 4)) <= 1, path.name
        assert read_picture(path, 4, 4)[0, 0, 0] == pytest.approx(expected[path.stem], abs=1), path.name


def test_progress_counts_and_cancels(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / f"{index}.png")
    seen: list[tuple[int, int]] = []
    open_dataset(str(tmp_path), progress=lambda done, total: seen.append((done, total)) or True)
    assert seen == [(done, 5) for done in range(6)]
    with pytest.raises(Cancelled):
        open_dataset(str(tmp_path), progress=lambda done, total: done < 3)


def test_more_than_memory_holds_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm_studio.data.picture_folder._MOST_PIXELS", 2 * 32 * 32)
    for index in range(3):
        (tmp_path / f"{index}.png").touch()
    with pytest.raises(DataError, match="3 pictures, too many for memory at 32 x 32"):
        open_dataset(str(tmp_path))


@pytest.mark.parametrize("name", ["one.png", "table.csv", "nowhere"])
def test_other_paths_are_refused(tmp_path: Path, name: str) -> None:
    save(tmp_path / "one.png")
    (tmp_path / "table.csv").write_text("a,b")
    with pytest.raises(DataError) as error:
        open_dataset(str(tmp_path / name))
    assert name in str(error.value)
    assert str(error.value).endswith(".")
