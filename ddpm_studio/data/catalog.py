"""The built-in data sets, and opening anything that can be learnt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from ddpm_studio.data.dataset import DataError, Dataset, split
from ddpm_studio.data.idx import is_idx, open_idx
from ddpm_studio.data.picture_folder import Progress, open_picture_folder
from ddpm_studio.data.points import DRAWS, open_points
from ddpm_studio.paths import resource, user_folder


@dataclass(frozen=True)
class Entry:
    """A built-in data set as menus show it; ``licence`` of the data themselves."""

    title: str
    kind: Literal["pictures", "points"]
    about: str
    licence: str


_FASHION = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

BUILT_IN: dict[str, Entry] = {
    "fashion-mnist": Entry("Fashion-MNIST", "pictures", "10,000 grey pictures of clothes, 28 × 28", "MIT"),
    "pixel-faces": Entry("Pixel faces", "pictures", "6,000 drawn faces in colour, 32 × 32", "CC0 1.0"),
    "two-gaussians": Entry("Two Gaussians", "points", "Two narrow clusters", "generated"),
    "eight-gaussians": Entry("Eight Gaussians", "points", "Eight clusters on a circle", "generated"),
    "moons": Entry("Moons", "points", "Two half circles", "generated"),
    "swiss-roll": Entry("Swiss roll", "points", "A spiral", "generated"),
    "checkerboard": Entry("Checkerboard", "points", "Every second square", "generated"),
    "spiral": Entry("Spiral", "points", "Two arms", "generated"),
    "dino": Entry("Dino", "points", "The Datasaurus", "MIT"),
    "mnist": Entry("MNIST", "pictures", "60,000 handwritten digits, 28 × 28, from your own IDX files", "not included"),
}


def mnist_folder() -> Path:
    """Where MNIST's four files are looked for."""
    return user_folder() / "datasets" / "mnist"


def open_dataset(
    source: str, *, height: int | None = None, width: int | None = None, progress: Progress | None = None
) -> Dataset:
    """A built-in set by name, or IDX files or a folder of pictures by path.

    ``height`` and ``width`` (px) are for folders of pictures. ``progress(done, of)`` returns False to cancel.

    Raises:
        DataError: if there is nothing that can be learnt.
    """
    if source in BUILT_IN:
        return _built_in(source)
    path = Path(source).expanduser()
    if not path.exists():
        raise DataError(
            f"there is no built-in data set and no file or folder called {source!r}; "
            f"the built-in ones are {', '.join(BUILT_IN)}"
        )
    if is_idx(path):
        return open_idx(path)
    if path.is_dir():
        return open_picture_folder(path, height=height, width=width, progress=progress)
    raise DataError(f"{path} is one file and no IDX file; choose a folder of pictures or IDX files")


@lru_cache(maxsize=4)
def _built_in(name: str) -> Dataset:
    if name in DRAWS:
        return open_points(name)
    if name == "mnist":
        if not is_idx(mnist_folder()):
            raise DataError(
                f"MNIST is not on this computer: put its four IDX files into {mnist_folder()}, "
                "or choose Fashion-MNIST, which is built in"
            )
        return open_idx(mnist_folder())
    with np.load(resource("data", f"{name}.npz"), allow_pickle=False) as file:
        images = file["images"]
        labels = file["labels"] if "labels" in file.files else None
    images = images if images.ndim == 4 else images[..., None]
    return split(name, "pictures", images, labels, _FASHION if labels is not None else ())
