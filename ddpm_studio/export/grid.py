"""Pictures of a tape's frames: grids, and points drawn as a picture. numpy and Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export.text import draw_text, fitting

Show = Literal["x", "x0", "eps"]
SHOWN: dict[Show, str] = {"x": "", "x0": "predicted x_0", "eps": "predicted ε"}  # as captions say it
GAP = 2  # pixels of a grid, before scaling
CAPTION = 28  # px below a picture
POINT_SIDE = 512  # px of a picture of points
POINT_RANGE = 2.5  # standardised points lie within


def frame_image(tape: Tape, frame: Frame, show: str = "x", caption: str = "") -> Image.Image:
    """One frame as an RGB picture, scaled by a whole number to about 512 px, with an optional caption below."""
    return captioned(frame.view(show), caption)


def captioned(items: NDArray[Any], caption: str = "") -> Image.Image:
    """uint8 (N, H, W, C) pictures or float32 (N, 2) points as ``frame_image`` draws them."""
    picture = points_image(items) if items.ndim == 2 else scaled(grid_image(items))
    if not caption:
        return picture
    # Even sides: video codecs need them.
    height = picture.height + CAPTION
    framed = Image.new("RGB", (picture.width, height + height % 2), "black")
    framed.paste(picture, (0, 0))
    draw_text(framed, (8, picture.height + 19), fitting(caption, 15, picture.width - 16), 15, "white")
    return framed


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size in at most three columns, on black; a single one as it is."""
    if len(images) == 1:
        return images[0]
    columns = 2 if len(images) == 4 else min(3, len(images))
    rows = -(-len(images) // columns)
    width, height = images[0].size
    whole = Image.new("RGB", (columns * width, rows * height), "black")
    for i, image in enumerate(images):
        whole.paste(image, (i % columns * width, i // columns * height))
    return whole


def grid_image(items: NDArray[Any]) -> Image.Image:
    """uint8 (N, H, W, C) → a grid, about square, with black gaps; a pixel for a pixel."""
    count, height, width, channels = items.shape
    columns = min(count, math.ceil(math.sqrt(count * height / width)))  # a tall picture alone is one column
    rows = -(-count // columns)
    grid = np.zeros((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), np.uint8)
    for i, item in enumerate(items):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        grid[top : top + height, left : left + width] = item
    return Image.fromarray(grid[..., 0] if channels == 1 else grid).convert("RGB")


def scaled(picture: Image.Image, side: int = 512) -> Image.Image:
    """Scaled by a whole number to about ``side`` px, and cut to even sides."""
    scale = max(1, round(side / max(picture.size)))
    return evened(picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST))


def evened(picture: Image.Image) -> Image.Image:
    """With even sides, which video codecs need: cut by a pixel where they are not."""
    return picture.crop((0, 0, picture.width - picture.width % 2, picture.height - picture.height % 2))


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """About ``side`` px: enlarged by a whole number, or made smaller if it is larger."""
    if max(picture.size) > side:
        share = side / max(picture.size)
        return picture.resize(
            (max(1, round(picture.width * share)), max(1, round(picture.height * share))), Image.Resampling.LANCZOS
        )
    scale = max(1, round(side / max(picture.size)))
    return picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)


def points_image(points: NDArray[Any], side: int = POINT_SIDE) -> Image.Image:
    """float32 (N, 2) → soft white points on black, ``side`` px square, x to the right and y up."""
    spread = 1.05 * max(POINT_RANGE, float(np.quantile(np.abs(points), 0.99)))  # x_T of a wide schedule
    place = ((points * [1, -1] / spread + 1) / 2 * (side - 1)).round().astype(int)
    inside = ((place >= 2) & (place < side - 2)).all(axis=1)
    density = np.zeros((side, side))
    for dx in range(-2, 3):
        for dy in range(-2, 3):
            weight = 2 * max(0.0, 1 - math.hypot(dx, dy) / 2.5)
            np.add.at(density, (place[inside, 1] + dy, place[inside, 0] + dx), weight)
    grey = (255 * (1 - np.exp(-density))).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
