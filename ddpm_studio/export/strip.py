"""Filmstrips: labelled rows of pictures, from noise to picture or from the first training step to the last."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.diffusion.tape_text import facts, level_text, sampler_text
from ddpm_studio.export.clocks import Clocks, Columns, frame_near, thinned
from ddpm_studio.export.errors import Progress, advance
from ddpm_studio.export.grid import Plane, Show, grid_image, points_image, reduced
from ddpm_studio.export.text import draw_text, fitting, text_width

CELL = 96  # px, about
COLUMNS, ROWS = 11, 8  # at most
GAP, MARGIN, LINE, SIZE = 4, 16, 20, 13  # px; SIZE of the letters
PAPER, INK, MUTED = "#ffffff", "#1b1e23", "#5f6773"


def process_strip(tape: Tape, show: Show = "x", *, chosen: bool = False, plane: Plane | None = None) -> Image.Image:
    """A row for each picture (the first few, or all if they were ``chosen``), x_T to x_0; points share one row."""
    frames = thinned(tape.frames, COLUMNS)
    rows = _items(tape, None if chosen else 4)
    cells = [[cell(frame.view(show)[part], plane) for frame in frames] for part, _ in rows]
    return labelled([level_text(frame.t) for frame in frames], [name for _, name in rows], cells, _about(tape))


def learning_strip(
    clocks: Clocks,
    show: Show = "x",
    t: int | None = None,
    *,
    chosen: bool = False,
    progress: Progress | None = None,
    plane: Plane | None = None,
) -> Image.Image:
    """A row for each picture, a column for each training step: what came of the same noise."""
    columns = thinned(range(len(clocks)), COLUMNS)
    rows = _items(clocks.tape(-1), None if chosen else 4)
    taken: list[list[Image.Image]] = [[] for _ in rows]
    samplers = set[str]()
    for done, column in enumerate(columns):
        advance(progress, done, len(columns))
        tape = clocks.tape(column)
        samplers.add(sampler_text(tape))
        items = frame_near(tape, t).view(show)
        for row, (part, _) in zip(taken, rows, strict=True):
            row.append(cell(items[part], plane))
    advance(progress, len(columns), len(columns))
    names = [f"step {clocks.steps[column]:,}" for column in columns]
    level = "" if t is None else f" · {level_text(frame_near(clocks.tape(-1), t).t)}"
    return labelled(names, [name for _, name in rows], taken, f"{_about_all(clocks.tape(-1), samplers)}{level}")


def both_strip(
    clocks: Clocks, show: Show = "x", progress: Progress | None = None, plane: Plane | None = None
) -> Image.Image:
    """A row for each training step, x_T to x_0, of the first picture (or the chosen ones, as a small grid)."""
    rows = thinned(range(len(clocks)), ROWS)
    columns = Columns(clocks, COLUMNS)
    one = slice(None) if clocks.tape(-1).kind == "points" or clocks.chosen else slice(1)
    cells, samplers = [], set[str]()
    for done, row in enumerate(rows):
        advance(progress, done, len(rows))
        tape = clocks.tape(row)
        samplers.add(sampler_text(tape))
        cells.append([cell(frame.view(show)[one], plane) for frame in columns.frames(tape)])
    advance(progress, len(rows), len(rows))
    names = [f"step {clocks.steps[row]:,}" for row in rows]
    about = _about_all(clocks.tape(-1), samplers) + ("" if columns.alike else " · each at its nearest level")
    return labelled([level_text(t) for t in columns.levels], names, cells, about)


def cell(items: NDArray[Any], plane: Plane | None = None) -> Image.Image:
    """Pictures or points as a small picture."""
    if items.ndim == 2:
        return reduced(points_image(items, 2 * CELL, plane), CELL)
    grid = grid_image(items)
    if len(items) == 1:  # without the grid's frame
        grid = grid.crop((2, 2, grid.width - 2, grid.height - 2))
    return reduced(grid, CELL)


def labelled(
    columns: Sequence[str], rows: Sequence[str], cells: Sequence[Sequence[Image.Image]], title: str
) -> Image.Image:
    """``cells`` row by row on white, a label above each column and before each row, the title below.

    Labels that would touch are left out, never the first or the last one.
    """
    width, height = (max(sizes) for sizes in zip(*(image.size for row in cells for image in row), strict=True))
    left = MARGIN + max((text_width(name, SIZE) + MARGIN for name in rows if name), default=0)
    top = MARGIN + LINE
    across, down = width + GAP, height + GAP
    size = (left + len(columns) * across + MARGIN - GAP, top + len(rows) * down + LINE + MARGIN)
    whole = Image.new("RGB", size, PAPER)
    for i, row in enumerate(cells):
        draw_text(whole, (left - MARGIN, top + i * down + height / 2 + 5), rows[i], SIZE, INK, anchor="right")
        for j, image in enumerate(row):
            whole.paste(image, (left + j * across, top + i * down))
    for j in _apart([text_width(name, SIZE) for name in columns], across):
        draw_text(whole, (left + j * across + width / 2, top - 8), columns[j], SIZE, INK, anchor="middle")
    text = fitting(title, SIZE, size[0] - 2 * MARGIN)
    draw_text(whole, (left if text_width(text, SIZE) < size[0] - left else MARGIN, size[1] - 14), text, SIZE, MUTED)
    return whole


def _apart(widths: Sequence[int], across: int) -> list[int]:
    """Which labels have room beside each other."""
    every = -(-(max(widths) + 6) // across)
    last = len(widths) - 1
    return [j for j in range(0, last + 1, every) if last - j >= every or j == last] + ([last] if last % every else [])


def _items(tape: Tape, most: int | None) -> list[tuple[slice, str]]:
    """What stands in a row of its own, and its name."""
    if tape.kind == "points":
        return [(slice(None), "")]
    return [(slice(i, i + 1), "") for i in range(tape.count)[:most]]


def _about(tape: Tape) -> str:
    return said_of(tape, facts(tape))


def _about_all(last: Tape, samplers: Collection[str]) -> str:
    """Of rows of several training steps, drawn with these samplers."""
    made = sampler_text(last) if len(samplers) == 1 else "several samplers or steps"
    return said_of(last, [made, *facts(last, on=("checkpoint", "sampler", "steps"))])


def said_of(tape: Tape, made: Sequence[str]) -> str:
    """What stands below a strip: the title, and how it was made."""
    return " · ".join(filter(None, [tape.title, *made]))
