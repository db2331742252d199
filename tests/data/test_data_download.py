"""Downloads: whole and checked, or nothing at all; every failure says what to do next. All from this very machine."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import gzip
import hashlib
import io
import socket
import struct
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ddpm_studio.data import Cancelled, DataError, Dataset, cifar, download, open_dataset, vision
from ddpm_studio.data.download import Download, Remote

if TYPE_CHECKING:
    from tests.data.conftest import WebServer

NAMES = ("mnist", "cifar-10")


def idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.tobytes(), mtime=0)


def md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


def records(number: int) -> bytes:
    return np.random.default_rng(number).integers(0, 10, (cifar.PICTURES, 3073), dtype=np.uint8).tobytes()


def archive(names: tuple[str, ...] = cifar.FILES) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("readme.html", "../escaped.bin", *names):
            body = records(names.index(name)) if name in names else b"not data"
            member = tarfile.TarInfo(f"{cifar.SUBFOLDER}/{name}")
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    return packed.getvalue()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: WebServer) -> Path:
    """The program's folder; the addresses of MNIST and CIFAR-10 are the local server's, both sets are small."""
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    monkeypatch.setattr(download, "_PIECE", 1 << 10)
    monkeypatch.setattr(cifar, "PICTURES", 12)
    pictures = np.random.default_rng(0).integers(0, 256, (30, 4, 4), dtype=np.uint8)
    web.files = {
        "train-images-idx3-ubyte.gz": idx(pictures),
        "train-labels-idx1-ubyte.gz": idx(np.arange(30, dtype=np.uint8) % 10),
        "t10k-images-idx3-ubyte.gz": idx(pictures[:20]),
        "t10k-labels-idx1-ubyte.gz": idx(np.arange(20, dtype=np.uint8) % 10),
        cifar.ARCHIVE.name: archive(),
    }
    mnist = [(name, md5(body)) for name, body in web.files.items() if name != cifar.ARCHIVE.name]
    known = vision.torchvision().datasets.MNIST
    monkeypatch.setattr(known, "mirrors", [web.address])
    monkeypatch.setattr(known, "resources", mnist)
    monkeypatch.setattr(vision, "MNIST_BYTES", sum(len(web.files[name]) for name, _ in mnist))
    packed = web.files[cifar.ARCHIVE.name]
    monkeypatch.setattr(cifar, "ARCHIVE", Remote(cifar.ARCHIVE.name, (web.address + cifar.ARCHIVE.name,), md5(packed)))
    monkeypatch.setattr(cifar, "ARCHIVE_BYTES", len(packed))
    return tmp_path


def last_file(name: str) -> str:
    """The file whose failure comes when all others of the set are there."""
    return "t10k-labels-idx1-ubyte.gz" if name == "mnist" else cifar.ARCHIVE.name


def left_in(home: Path) -> list[str]:
    return [path.name for path in (home / "datasets").rglob("*") if not path.is_dir() or path.name.startswith(".")]


def refused(name: str, home: Path) -> str:
    """What the user reads when the download fails; nothing of it is left, and it is not mistaken for data."""
    with pytest.raises(DataError) as error:
        open_dataset(name, download=True)
    assert left_in(home) == []
    with pytest.raises(DataError, match="does not come with the program"):
        open_dataset(name)
    text = str(error.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert str(home / "datasets" / name) in text
    return text


@pytest.mark.parametrize("name", NAMES)
def test_a_download_arrives_once_and_stays(name: str, home: Path, web: WebServer) -> None:
    with pytest.raises(DataError, match="does not come with the program"):
        open_dataset(name)
    assert web.asked == []
    dataset = open_dataset(name, download=True)
    asked = len(web.asked)
    assert asked == (4 if name == "mnist" else 1)
    again = open_dataset(name, download=True)
    assert len(web.asked) == asked
    np.testing.assert_array_equal(dataset.train, again.train)
    assert dataset.name == name
    assert dataset.classes[9] == ("9" if name == "mnist" else "truck")
    assert not [left for left in left_in(home) if left.startswith(".") or left.endswith((".tar.gz", ".html"))]
    assert not list(home.rglob("escaped.bin"))


def test_what_arrives_is_what_was_sent(home: Path) -> None:
    dataset = open_dataset("cifar-10", download=True)
    assert dataset.shape == (3, 32, 32)
    assert (len(dataset), len(dataset.held_out)) == (60, 12)
    check(dataset, number=2, picture=7, place=2 * 12 + 7)


def check(dataset: Dataset, number: int, picture: int, place: int) -> None:
    raw = np.frombuffer(records(number), np.uint8).reshape(-1, 3073)[picture]
    assert dataset.labels is not None
    assert dataset.labels[place] == raw[0]
    assert dataset.train[place, 3, 5].tolist() == [raw[1 + 1024 * plane + 32 * 3 + 5] for plane in range(3)]


@pytest.mark.parametrize("name", NAMES)
def test_progress_counts_bytes_up_to_all(name: str, home: Path) -> None:
    seen: list[tuple[int, int]] = []
    open_dataset(name, download=True, progress=lambda done, total: seen.append((done, total)) or True)
    total = seen[0][1]
    assert total == (vision.MNIST_BYTES if name == "mnist" else cifar.ARCHIVE_BYTES)
    fetched = [done for done, of in seen if of == total]
    assert fetched[0] == 0
    assert fetched == sorted(fetched)
    assert fetched[-1] == total
    assert len(set(fetched)) > 3


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("share", [0.0, 0.4, 0.99, 1.0])
def test_cancelling_leaves_nothing_behind(name: str, share: float, home: Path, web: WebServer) -> None:
    if name == "mnist" and share == 0.99:
        share = 0.9  # the last file is one piece
    with pytest.raises(Cancelled):
        open_dataset(name, download=True, progress=lambda done, total: done < share * total)
    assert bool(web.asked) == (share > 0)
    assert left_in(home) == []
    open_dataset(name, download=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_that_stops_in_the_middle(name: str, home: Path, web: WebServer) -> None:
    file = last_file(name)
    web.cut[file] = 25
    text = refused(name, home)
    assert f"stopped after 25 of {len(web.files[file]):,} bytes): start again, or" in text
    del web.cut[file]
    assert open_dataset(name, download=True).name == name


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_checksum(name: str, home: Path, web: WebServer) -> None:
    file = last_file(name)
    good = web.files[file]
    web.files[file] = bytes([good[0] ^ 1]) + good[1:]
    text = refused(name, home)
    assert f"{file} came damaged from 127.0.0.1" in text
    assert f"its MD5 is not {md5(good)}" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_server_without_the_file(name: str, home: Path, web: WebServer) -> None:
    del web.files[last_file(name)]
    assert "answers 404 Not Found): start again later, or" in refused(name, home)


@pytest.mark.parametrize("name", NAMES)
def test_no_network(name: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*arguments: object, **settings: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    text = refused(name, home)
    assert "Name or service not known): go online and start again, or" in text
    assert "which is built in" in text


def test_a_server_that_falls_silent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/{cifar.ARCHIVE.name}"
        monkeypatch.setattr(cifar, "ARCHIVE", dataclasses.replace(cifar.ARCHIVE, urls=(address,)))
        monkeypatch.setattr(download, "_TIMEOUT", 0.2)
        assert "timed out): go online and start again" in refused("cifar-10", home)


def test_the_second_address_helps_out(home: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    known = vision.torchvision().datasets.MNIST
    monkeypatch.setattr(known, "mirrors", ["http://127.0.0.1:9/", web.address])
    assert open_dataset("mnist", download=True).name == "mnist"


def test_a_full_disk(home: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert "cannot be stored" in refused("cifar-10", home)
    assert "No space left on device): make room" in refused("mnist", home)


def test_a_file_where_the_folder_should_be(home: Path) -> None:
    (home / "datasets").mkdir()
    (home / "datasets" / "cifar-10").touch()
    with pytest.raises(DataError, match="cannot be stored in"):
        open_dataset("cifar-10", download=True)


def test_what_torchvision_left_half_done_is_no_data(home: Path, web: WebServer) -> None:
    raw = home / "datasets" / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for count, (name, body) in enumerate(list(web.files.items())[:4], 1):
        with pytest.raises(DataError, match="does not come with the program"):
            open_dataset("mnist")
        (raw / name).write_bytes(body)
        assert len(list(raw.iterdir())) == count
    assert open_dataset("mnist").name == "mnist"


def test_lost_files_are_fetched_again(home: Path) -> None:
    open_dataset("cifar-10", download=True)
    lost = home / "datasets" / "cifar-10" / cifar.SUBFOLDER / "data_batch_4.bin"
    lost.unlink()
    with pytest.raises(DataError, match=r"lacks data_batch_4\.bin"):
        open_dataset("cifar-10")
    open_dataset("cifar-10", download=True)
    assert lost.is_file()


def test_the_folder_is_gone_when_the_caller_fails(tmp_path: Path, web: WebServer) -> None:
    web.files["a"] = b"abc"
    wanted = Download("A", (Remote("a", (web.address + "a",), md5(b"abc")),), 3, "go without")
    folder = tmp_path / "new"
    with contextlib.suppress(KeyError), wanted.fetched(folder) as scratch:
        assert (scratch / "a").read_bytes() == b"abc"
        assert list(folder.iterdir()) == [scratch]
        raise KeyError
    assert list(folder.iterdir()) == []
