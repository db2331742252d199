"""Many faint marks whose opacity adds up: a density over the pixels of an image, in one tint."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor, QImage

_STEPS = 32  # of density for each full mark, in the colour table


def paint_density(flat: NDArray[Any], weight: NDArray[Any], size: int, tint: QColor) -> NDArray[np.uint32]:
    """Premultiplied ARGB, uint32 (size,): the sum of the weights at each pixel ``flat`` as the opacity of ``tint``.

    flat: int (N,), 0 … size - 1; weight: float (N,), 1 for a full mark, which has the tint's alpha.
    """
    density = np.bincount(flat, weight, minlength=1)
    pixels = np.zeros(size, np.uint32)
    # Only touched pixels are looked at: most of a large screen is empty.
    pixels[flat] = _table(tint)[np.minimum(density[flat] * _STEPS, 255).astype(np.uint8)]
    return pixels


def density_image(pixels: NDArray[np.uint32]) -> QImage:
    """An image of the pixels (H, W), which must outlive it."""
    height, width = pixels.shape
    return QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_ARGB32_Premultiplied)


def _table(tint: QColor) -> NDArray[np.uint32]:
    """Premultiplied ARGB for each density; the tint's alpha is that of one full mark."""
    alpha = 1 - (1 - tint.alphaF()) ** (np.arange(256) / _STEPS)
    channels = [alpha * 255] + [alpha * c for c in (tint.red(), tint.green(), tint.blue())]
    a, r, g, b = (np.round(c).astype(np.uint32) for c in channels)
    return (a << 24 | r << 16 | g << 8 | b).astype(np.uint32)
