"""torchvision, imported in the one way that works everywhere, and MNIST through it.

Beside a CPU build of torch, torchvision's compiled operators do not load, and its import fails for want of
two operator schemas. Its Python parts (data sets, transforms) need none of them, so the schemas are
declared and the import is tried again. Import this module only when needed: it brings torch.
"""

from __future__ import annotations

import urllib.error
from pathlib import Path
from types import ModuleType

from ddpm_studio.data.dataset import DataError

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[object] = []  # a library's schemas live as long as it does


def torchvision() -> ModuleType:
    """The torchvision package."""
    try:
        import torchvision as package
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
        for schema in _SCHEMAS:
            library.define(schema)  # type: ignore[no-untyped-call]
        _libraries.append(library)
        import torchvision as package
    module: ModuleType = package
    return module


def download_mnist(folder: Path) -> Path:
    """MNIST's files by torchvision, checked by MD5; returns the folder with the IDX files.

    Raises:
        DataError: if there is no network, or the files cannot be stored.
    """
    torchvision()
    from torchvision.datasets import MNIST

    try:
        MNIST(str(folder), download=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise DataError(
            f"MNIST could not be downloaded: go online and start again, put its four IDX files into {folder}, "
            "or choose fashion-mnist, which is built in."
        ) from error
    return folder / "MNIST" / "raw"
