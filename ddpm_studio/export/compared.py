"""A comparison as a picture: its cells in their places at one moment, or each as a row of a filmstrip."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.diffusion.tape_text import axis_names, facts, level_text
from ddpm_studio.export.clocks import thinned
from ddpm_studio.export.grid import SHOWN, Plane, Show
from ddpm_studio.export.strip import COLUMNS, cell, labelled, said_of
from ddpm_studio.export.table import CELL, Heading, table_image

LARGE, WIDE = 384, 1440  # px, about: the largest cell (CELL is the smallest), and all columns together


def is_comparison(tapes: Sequence[Tape]) -> bool:
    """Whether these are the cells of a comparison, each with a label of its own."""
    return len(tapes) > 1 and all(tape.label for tape in tapes)


def compared_image(
    tapes: Sequence[Tape], frames: Sequence[Frame | None], show: Show, plane: Plane | None = None
) -> Image.Image:
    """The cells of a comparison at one moment, a frame of each, in their places; empty where there is none yet.

    Below each stands its level, and what of it no label says; at the foot what all have in common.
    """
    rows, columns = headings(tapes)
    places = {(tape.row, _column(tape)): i for i, tape in enumerate(tapes)}
    at = [[places.get((row, column)) for column in columns.labels] for row in rows.labels]
    own = own_facts(tapes)
    items: list[list[NDArray[Any] | None]] = [[None] * len(columns.labels) for _ in at]
    captions = [[""] * len(columns.labels) for _ in at]
    for i, j in product(range(len(at)), range(len(columns.labels))):
        place = at[i][j]
        frame = None if place is None else frames[place]
        if place is not None and frame is not None:
            items[i][j] = frame.view(show)
            captions[i][j] = " · ".join([*own[place], level_text(frame.t)])
        elif place is not None:
            captions[i][j] = f"begins at step {tapes[place].training_step:,}"
    title = tapes[0].title if len({tape.title for tape in tapes}) == 1 else ""
    about = [text for text in [title, SHOWN[show], *in_common(tapes)] if text]
    side = max(CELL, min(LARGE, WIDE // len(columns.labels)))
    return table_image(rows, columns, items, about, captions=captions, side=side, plane=plane)


def compared_strip(
    tapes: Sequence[Tape], show: Show = "x", *, chosen: bool = False, plane: Plane | None = None
) -> Image.Image:
    """A row for each of several processes, at the same shares of it, of the first picture (or the chosen ones)."""
    shares = thinned([i / 100 for i in range(101)], COLUMNS)
    one = slice(None) if tapes[0].kind == "points" or chosen else slice(1)
    frames = [[frame_at(tape, share) for share in shares] for tape in tapes]
    alike = all([frame.t for frame in row] == [frame.t for frame in frames[0]] for row in frames)
    columns = [level_text(frame.t) for frame in frames[0]] if alike else [f"{share:.0%}" for share in shares]
    made = in_common(tapes) if alike else [*in_common(tapes), "columns: how far each process is"]
    cells = [[cell(frame.view(show)[one], plane) for frame in row] for row in frames]
    return labelled(columns, [tape.label for tape in tapes], cells, said_of(tapes[0], made))


def headings(tapes: Sequence[Tape]) -> tuple[Heading, Heading]:
    """What goes down and across, in the order in which the cells were asked for."""
    down, across = axis_names(tapes[0])
    return (
        Heading(down, list(dict.fromkeys(tape.row for tape in tapes))),
        Heading(across, list(dict.fromkeys(map(_column, tapes)))),
    )


def _column(tape: Tape) -> str:
    """Tapes of before there were axes stand in one row."""
    return tape.column or ("" if tape.row else tape.label)


def in_common(tapes: Sequence[Tape]) -> list[str]:
    """What is to be said of all of them alike."""
    said = [_facts(tape) for tape in tapes]
    return [fact for fact in said[0] if all(fact in own for own in said)]


def own_facts(tapes: Sequence[Tape]) -> list[list[str]]:
    """What is to be said of each alone: what neither its labels say nor ``in_common``."""
    same = in_common(tapes)
    return [[fact for fact in _facts(tape) if fact not in same] for tape in tapes]


def _facts(tape: Tape) -> list[str]:
    return facts(tape, on=(tape.row_key, tape.column_key))
