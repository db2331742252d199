"""torchvision, imported in the one way that works everywhere, and MNIST through it.

Beside a CPU build of torch, torchvision's compiled operators do not load, and its import fails for want of
two operator schemas. Its Python parts (data sets, transforms) need none of them, so the schemas are
declared and the import is tried again. Import this module only when needed: it brings torch.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from ddpm_studio.data.dataset import Progress
from ddpm_studio.data.download import Download, Remote

MNIST_BYTES = 11_594_722  # the four files together, packed

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


def download_mnist(folder: Path, progress: Progress | None = None) -> None:
    """MNIST's four files into ``folder``, from the addresses that torchvision knows and checked by its MD5s.

    Raises what ``Download.fetched`` raises.
    """
    torchvision()
    from torchvision.datasets import MNIST

    otherwise = f"put its four IDX files into {folder}, or choose fashion-mnist, which is built in"
    files = tuple(Remote(name, tuple(mirror + name for mirror in MNIST.mirrors), md5) for name, md5 in MNIST.resources)
    with Download("MNIST", files, MNIST_BYTES, otherwise).fetched(folder, progress) as scratch:
        # The training pictures come first in the list and go in last: without them a folder is not yet MNIST.
        for file in reversed(files):
            (scratch / file.name).replace(folder / file.name)
