"""A labelled grid as a picture: what came of the same noise, row by row and column by column. Pillow only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.export.grid import Plane, grid_image, points_image, reduced
from ddpm_studio.export.strip import INK, LINE, MARGIN, MUTED, PAPER, SIZE
from ddpm_studio.export.text import draw_text, fitting, text_width

CELL = 160  # px, about
GAP = 8  # px


class Heading(NamedTuple):
    """What an axis is called, and a label for each of its rows or columns; ``[""]`` where there is only one."""

    name: str = ""
    labels: Sequence[str] = ("",)


def table_image(
    rows: Heading,
    columns: Heading,
    items: Sequence[Sequence[NDArray[Any] | None]],
    about: Sequence[str],
    *,
    captions: Sequence[Sequence[str]] = (),
    side: int = CELL,
    plane: Plane | None = None,
) -> Image.Image:
    """RGB, on white; names and labels above and to the left, ``about`` below, in as many lines as it needs.

    ``items``, row by row: uint8 (N, H, W, C) pictures or float32 (N, 2) points, drawn about ``side`` px large; None
    leaves a cell empty. ``captions``: a line below each of them. Every label is there in full: columns are as wide as
    the widest one.
    """
    blank = Image.new("RGB", (1, 1), PAPER)
    cells = [[blank if each is None else _cell(each, side, plane) for each in row] for row in items]
    width, height = (max(sizes) for sizes in zip(*(cell.size for row in cells for cell in row), strict=True))
    width = max(width, *(text_width(label, SIZE) for label in columns.labels))
    aside = max(text_width(text, SIZE) for text in (rows.name, *rows.labels))
    left = 2 * MARGIN + aside if aside else MARGIN
    width = max(width, -(-text_width(columns.name, SIZE) // len(columns.labels)))
    lines_above = 2 if columns.name else 1 if rows.name or any(columns.labels) else 0
    top = MARGIN + lines_above * LINE
    across, down = width + GAP, height + (LINE if captions else 0) + GAP
    right, bottom = left + len(columns.labels) * across - GAP, top + len(rows.labels) * down - GAP
    lines = list(_lines(about, right - MARGIN))
    whole = Image.new("RGB", (right + MARGIN, bottom + len(lines) * LINE + MARGIN), PAPER)

    draw_text(whole, ((left + right) / 2, MARGIN + LINE - 8), columns.name, SIZE, MUTED, anchor="middle")
    draw_text(whole, (left - MARGIN, top - 8), rows.name, SIZE, MUTED, anchor="right")
    for j, label in enumerate(columns.labels):
        draw_text(whole, (left + j * across + width / 2, top - 8), label, SIZE, INK, anchor="middle")
    for i, label in enumerate(rows.labels):
        draw_text(whole, (left - MARGIN, top + i * down + height / 2 + 5), label, SIZE, INK, anchor="right")
        for j, cell in enumerate(cells[i]):
            x, y = left + j * across, top + i * down
            whole.paste(cell, (x + (width - cell.width) // 2, y))
            if captions:
                text = fitting(captions[i][j], SIZE, width)
                draw_text(whole, (x + width / 2, y + cell.height + LINE - 5), text, SIZE, MUTED, anchor="middle")
    for i, line in enumerate(lines):
        draw_text(whole, (MARGIN, bottom + (i + 1) * LINE), line, SIZE, MUTED)
    return whole


def _cell(items: NDArray[Any], side: int, plane: Plane | None) -> Image.Image:
    return reduced(points_image(items, 2 * side, plane) if items.ndim == 2 else grid_image(items), side)


def _lines(parts: Sequence[str], room: int) -> Iterator[str]:
    """The parts, with dots between them, broken between two parts; one that is too long by itself is cut off."""
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if line and text_width(longer, SIZE) > room:
            yield fitting(line, SIZE, room)
            longer = part
        line = longer
    if line:
        yield fitting(line, SIZE, room)
