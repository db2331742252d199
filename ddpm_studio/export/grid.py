"""Pictures of a tape's frames: grids, and points drawn as a picture. numpy and Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm_studio.export.text import draw_text, fitting

Show = Literal["x", "x0", "eps"]
SHOWN: dict[Show, str] = {"x": "", "x0": "predicted x_0", "eps": "predicted ε"}  # as captions say it
GAP = 2  # pixels of a grid, before scaling
CAPTION = 28  # px below a picture
POINT_SIDE = 512  # px of a picture of points
POINT_RANGE = 2.625  # of the plane that is shown: standardised points lie within
PAPER, LINE, AXIS, DOT = "#ffffff", "#e4e7ec", "#bcc2cb", "#1668d4"  # below points, and of a point, as in the window
OPACITY = 0.75  # of a point alone
DATA, FAINT = "#5f6773", 0.3  # the colour of the data behind points, and the opacity of one of them alone


class Plane:
    """What lies below points: a grid of whole numbers and, if they are given, the ``data`` (M, 2), faint."""

    def __init__(self, data: NDArray[Any] | None = None) -> None:
        self.data = data
        self._drawn: dict[int, Image.Image] = {}

    def image(self, side: int) -> Image.Image:
        """RGB, ``side`` px square; drawn once."""
        if side not in self._drawn:
            picture = Image.new("RGB", (side, side), PAPER)
            draw = ImageDraw.Draw(picture)
            for k in sorted(range(-math.floor(POINT_RANGE), math.floor(POINT_RANGE) + 1), key=lambda k: k == 0):
                at = round((k / POINT_RANGE + 1) / 2 * (side - 1))
                draw.line([(at, 0), (at, side)], fill=AXIS if k == 0 else LINE)
                draw.line([(0, at), (side, at)], fill=AXIS if k == 0 else LINE)
            if self.data is not None:
                _draw_dots(picture, self.data, DATA, FAINT)
            self._drawn[side] = picture
        return self._drawn[side].copy()


def captioned(items: NDArray[Any], caption: str = "", plane: Plane | None = None) -> Image.Image:
    """uint8 (N, H, W, C) pictures or float32 (N, 2) points as RGB, about 512 px large; the caption stands below."""
    picture = points_image(items, plane=plane) if items.ndim == 2 else scaled(grid_image(items))
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


def points_image(points: NDArray[Any], side: int = POINT_SIDE, plane: Plane | None = None) -> Image.Image:
    """float32 (N, 2) → soft dots over a ``plane``, ``side`` px square, x to the right and y up.

    The plane is shown from -POINT_RANGE to POINT_RANGE always, so that pictures compare; what lies outside is not seen.
    """
    picture = (plane or Plane()).image(side)
    _draw_dots(picture, points, DOT, OPACITY)
    return picture


def _draw_dots(picture: Image.Image, points: NDArray[Any], colour: str, opacity: float) -> None:
    side = picture.width
    seen = points[(np.abs(points) < POINT_RANGE).all(axis=1)].astype(np.float64)  # NaN is nowhere
    place = (seen * (1, -1) / POINT_RANGE + 1) / 2 * (side - 1)
    radius = max(1.5, side / 200)
    near = math.ceil(radius)
    whole = np.zeros((side + 2 * near + 1, side + 2 * near + 1))
    corner = np.round(place).astype(int)
    for dx in range(-near, near + 1):
        for dy in range(-near, near + 1):
            away = np.hypot(corner[:, 0] + dx - place[:, 0], corner[:, 1] + dy - place[:, 1])
            np.add.at(whole, (corner[:, 1] + dy + near, corner[:, 0] + dx + near), np.clip(radius + 0.5 - away, 0, 1))
    cover = 1 - (1 - opacity) ** whole[near : near + side, near : near + side]
    mask = Image.fromarray(np.round(255 * cover).astype(np.uint8))
    picture.paste(Image.new("RGB", (side, side), colour), (0, 0), mask)
