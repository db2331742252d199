"""Every data set by name, and one way to open any of them or the user's own."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ddpm_studio.data import cifar
from ddpm_studio.data.dataset import Array, Cancelled, DataError, DataFacts, Dataset, Progress, split_pictures
from ddpm_studio.data.idx import find_idx, is_idx_file, read_idx_file, read_idx_folder
from ddpm_studio.data.picture_folder import SUFFIXES, fit, read_picture_folder
from ddpm_studio.data.points import HELD_OUT_COUNT, TRAIN_COUNT, points_dataset
from ddpm_studio.data.points_file import is_points_file, read_points_file
from ddpm_studio.paths import resource, sweep, user_folder

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class Entry:
    """What the window says about a data set before it is opened.

    ``shape`` is that of one item, (C, H, W) or (2,); ``count`` is of all items, held out or not.
    """

    title: str
    kind: Literal["pictures", "points"]
    shape: tuple[int, ...]
    count: int
    about: str
    licence: str
    classes: tuple[str, ...] = ()

    @property
    def size(self) -> str:
        """In words, e.g. ``10,000 pictures, 28 × 28, grey``."""
        if self.kind == "points":
            return f"{self.count:,} points"
        channels, height, width = self.shape
        return f"{self.count:,} pictures, {width} × {height}, {'grey' if channels == 1 else 'colour'}"


def _points(title: str, about: str, licence: str = "made by formula") -> Entry:
    return Entry(title, "points", (2,), TRAIN_COUNT + HELD_OUT_COUNT, about, licence)


BUILT_IN: dict[str, Entry] = {
    "fashion-mnist": Entry(
        "Fashion-MNIST",
        "pictures",
        (1, 28, 28),
        10_000,
        "Clothes, shoes and bags in ten classes.",
        "MIT",
        FASHION_CLASSES,
    ),
    "pixel-faces": Entry(
        "Pixel faces", "pictures", (3, 32, 32), 6_000, "Generated faces in pixel art, in colour.", "CC0 1.0"
    ),
    "two-gaussians": _points("Two Gaussians", "Two tight clouds: the score-based tutorial's data."),
    "uneven-gaussians": _points("Uneven Gaussians", "The two clouds, four fifths of the points in one."),
    "eight-gaussians": _points("Eight Gaussians", "Eight clouds on a circle."),
    "moons": _points("Two moons", "Two half circles that reach into each other."),
    "swiss-roll": _points("Swiss roll", "One band, rolled up."),
    "checkerboard": _points("Checkerboard", "Eight squares with hard edges."),
    "spiral": _points("Spiral", "Two arms that wind around each other."),
    "dino": _points("Dinosaur", "A drawing of 142 dots, slightly blurred.", "MIT"),
    "mnist": Entry(
        "MNIST",
        "pictures",
        (1, 28, 28),
        61_000,
        "Handwritten digits; downloaded when a training starts.",
        "usually CC BY-SA 3.0",
        tuple(map(str, range(10))),
    ),
    "cifar-10": Entry(
        "CIFAR-10",
        "pictures",
        (3, 32, 32),
        51_000,
        "Small photographs in ten classes; downloaded when a training starts.",
        "none stated; cite Krizhevsky 2009",
        cifar.CLASSES,
    ),
}


def known_facts(source: str, *, height: int | None = None, width: int | None = None) -> DataFacts | None:
    """What a built-in set is at this size, without opening it; None for the user's own, which has to be read."""
    if source not in BUILT_IN:
        return None
    entry = BUILT_IN[source]
    shape = entry.shape
    if entry.kind == "pictures":
        shape = (shape[0], height or width or shape[1], width or height or shape[2])
    return DataFacts(source, entry.kind, shape, entry.classes)


def open_dataset(
    source: str,
    *,
    height: int | None = None,
    width: int | None = None,
    count: int | None = None,
    progress: Progress | None = None,
    download: bool = False,
) -> Dataset:
    """A built-in set by name, or the user's own by path: IDX files, CIFAR-10's, a folder of pictures, or points.

    ``height`` and ``width`` are the wanted size of pictures: one given makes a square, none keeps the set's own size
    (32 x 32 for a folder); points have no size, but ``count`` of them are drawn to learn from. A name
    wins over a path: "./moons" is the folder.
    ``download`` lets "mnist" and "cifar-10" be fetched if they are not there yet; ``progress`` then counts bytes first.
    Raises DataError with a sentence for the user, Cancelled when ``progress`` returned False.
    """
    for side in (height, width):
        if side is not None and not 1 <= side <= 1024:
            raise DataError(f"Pictures cannot be {side} pixels high or wide: choose from 1 to 1024.")
    if source == "mnist":
        # Not cached: the user may put the files there while the program runs.
        return _resize(_open_mnist(download, progress), height, width, progress)
    if source == "cifar-10":
        return _resize(_open_cifar(download, progress), height, width, progress)
    if source in BUILT_IN:
        return _open_built_in(source, height, width, count)
    path = Path(source).expanduser()
    if path.is_dir():
        # The resolved folder has a name even where the path is "."
        folder = path.resolve()
        try:
            idx = "train images" in find_idx(folder)
            cifar_place = cifar.find_cifar(folder)
        except OSError as error:
            raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
        if idx:
            return _resize(read_idx_folder(folder), height, width, progress)
        if cifar_place:
            return _resize(cifar.read_cifar(cifar_place, folder.name, progress), height, width, progress)
        cifar.refuse_pickles(folder)
        return read_picture_folder(folder, height, width, progress)
    if path.is_file():
        if is_idx_file(path):
            return _resize(read_idx_file(path), height, width, progress)
        if is_points_file(path):
            return read_points_file(path)
        if path.suffix.lower() in SUFFIXES:
            raise DataError(f"{path} is a single picture: choose the folder that holds your pictures.")
        if path.name in cifar.FILES:
            raise DataError(f"{path} is one of CIFAR-10's six files: choose the folder that holds them.")
        raise DataError(f"{path} is neither an IDX file nor a folder of pictures, nor points (.csv, .npy, .npz).")
    if len(path.parts) > 1:
        raise DataError(f"{path} is not there: if it was moved, put it back, or choose other data.")
    raise DataError(
        f"There is no data set or folder called {source!r}: choose one of {', '.join(BUILT_IN)}, or a path."
    )


@functools.lru_cache(maxsize=8)
def _open_built_in(name: str, height: int | None, width: int | None, count: int | None) -> Dataset:
    if BUILT_IN[name].kind == "points":
        return points_dataset(name, count or TRAIN_COUNT)
    if name == "fashion-mnist":
        arrays = _load(name)
        labels = arrays["labels"].astype(np.int64)
        dataset = split_pictures(name, arrays["images"][..., np.newaxis], labels, FASHION_CLASSES)
    else:
        dataset = split_pictures(name, _load(name)["images"])
    return _resize(dataset, height, width, None)


def _load(name: str) -> dict[str, Array]:
    path = resource("data", f"{name}.npz")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}, which comes with the program, cannot be read: install DDPM Studio again.") from error


def mnist_folder() -> Path:
    """Where MNIST's files are looked for."""
    return user_folder() / "datasets" / "mnist"


def _open_mnist(download: bool, progress: Progress | None) -> Dataset:
    folder = mnist_folder()
    sweep(folder)
    if folder.is_dir() and "train images" in find_idx(folder):
        return read_idx_folder(folder, "mnist")
    raw = folder / "MNIST" / "raw"  # where torchvision stores it; fewer than all four files is a download that stopped
    if raw.is_dir() and len(find_idx(raw)) == 4:
        return read_idx_folder(raw, "mnist")
    if download:
        from ddpm_studio.data.vision import download_mnist  # brings torch

        download_mnist(folder, progress)
        return read_idx_folder(folder, "mnist")
    raise DataError(
        "MNIST does not come with the program: starting a training downloads it; or put its files "
        f"(train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz and the two t10k files) into {folder}, "
        "or choose fashion-mnist."
    )


def _open_cifar(download: bool, progress: Progress | None) -> Dataset:
    folder = user_folder() / "datasets" / "cifar-10"
    sweep(folder)
    place = cifar.find_cifar(folder)
    if place is None or (download and cifar.missing(place)):
        if not download:
            raise DataError(
                "CIFAR-10 does not come with the program: starting a training downloads it (170 MB); or unpack "
                f"{cifar.ARCHIVE.name} into {folder}, or choose pixel-faces."
            )
        place = cifar.download_cifar(folder, progress)
    return cifar.read_cifar(place, "cifar-10", progress)


def _resize(dataset: Dataset, height: int | None, width: int | None, progress: Progress | None) -> Dataset:
    """The same pictures at another size; the very same dataset where nothing changes."""
    _, own_height, own_width = dataset.shape
    height, width = height or width or own_height, width or height or own_width
    if (height, width) == (own_height, own_width):
        return dataset
    total = len(dataset.train) + len(dataset.held_out)
    parts = []
    done = 0
    for images in (dataset.train, dataset.held_out):
        resized = np.empty((len(images), height, width, images.shape[3]), np.uint8)
        for target, image in zip(resized, images, strict=True):
            if progress is not None and done % 100 == 0 and not progress(done, total):
                raise Cancelled
            picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
            target[...] = fit(picture, height, width).reshape(target.shape)
            done += 1
        parts.append(resized)
    return dataclasses.replace(dataset, train=parts[0], held_out=parts[1])
