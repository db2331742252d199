"""A report of a run: one HTML file that needs nothing else, with the two clocks in it. Reads the run; no torch."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ddpm_studio import __version__
from ddpm_studio.export.chart import Axes, duration, event_text, loss_marks, svg
from ddpm_studio.export.clocks import Clocks, Columns, thinned
from ddpm_studio.export.errors import ExportError, Progress, advance
from ddpm_studio.export.grid import (
    AXIS,
    DATA,
    DOT,
    FAINT,
    LINE,
    OPACITY,
    PAPER,
    POINT_RANGE,
    Plane,
    Show,
    grid_image,
    points_image,
    reduced,
)
from ddpm_studio.export.writers import write_file
from ddpm_studio.files import text
from ddpm_studio.recipes import SECTION_TITLES, Recipe, Section, dumps, fields_of
from ddpm_studio.recipes.editions import EDITIONS, badge, difference_texts, label_of, printed_differences, text_of
from ddpm_studio.recipes.tutorials import tutorial_of
from ddpm_studio.store import EventRow, Record, Run, computed_with

PAGE = Path(__file__).resolve().parent / "page"
ROWS, COLUMNS = 16, 21  # cells at most; the first and the last stay when there are more
CELL_BYTES = 16_000  # of a cell's pixels: fewer pictures where they are large
CELL_SIDE = 128  # px of a single picture at most
CLOUD_SIDE = 64  # px of a cloud of points on the map: the page draws it large from numbers
POINTS_BYTES = 1_500_000  # of the places of all points: fewer of each cell where that is not enough
DATA_POINTS = 2_000  # behind points at most
NOWHERE = 65_535  # the place of a point that is not seen
EVENTS = 200  # lines at most


@dataclass(frozen=True)
class Cells:
    """Pictures of training step x noise level in one sprite for each of ``sprites``: rows downwards, t to the right."""

    steps: list[int]
    levels: list[int]
    size: tuple[int, int]  # px of a cell
    what: str
    sprites: dict[Show, Image.Image]
    pixels: bool  # small pictures, to be enlarged without smoothing
    points: dict[Show, list[NDArray[Any]]]  # of each cell (N, 2), row by row, for the page to draw; none of pictures


def write_report(run: Run, path: Path, progress: Progress | None = None, plane: Plane | None = None) -> None:
    """Write the report of a run, points over a ``plane``.

    Raises:
        ExportError: if it cannot be written. Cancelled: if ``progress`` answers False. RunError, RecordError: if the
            run is damaged.
    """
    write_file(path, text(report(run, progress, plane)))


def report(run: Run, progress: Progress | None = None, plane: Plane | None = None) -> str:
    """The page."""
    recipe = run.current_recipe()
    with run.record() as record:
        try:
            cells = cells_of(Clocks(record), progress, plane)
        except ExportError:  # nothing recorded yet: a report without pictures
            cells = None
        axes = Axes.of(record)
        lead = f"\n<p>{escape(recipe.about)}</p>" if recipe.about else ""
        body = [
            f"<header>\n<h1>{escape(recipe.title)}</h1>{lead}\n</header>",
            _clocks(cells),
            _facts(run, record, recipe),
            _loss(run, record, recipe, cells),
            _recipe(recipe),
            _events(record.events(), recipe),
            _notes(recipe),
            f'<p class="muted">Written by DDPM Studio {__version__}, {datetime.now():%Y-%m-%d %H:%M}.</p>',
        ]
    script = ""
    if cells is not None:
        about: dict[str, Any] = {
            "steps": cells.steps,
            "levels": cells.levels,
            "cell": cells.size,
            "what": cells.what,
            "axis": [axes.left, axes.right, axes.last],
        }
        if cells.points:
            about["plane"] = _plane(cells, plane)
        data = json.dumps(about).replace("<", "\\u003c")
        script = (
            f'<script type="application/json" id="about">{data}</script>\n'
            f"<script>\n{(PAGE / 'report.js').read_text(encoding='utf-8')}</script>\n"
        )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(recipe.title)}, a report</title>\n"
        f"<style>\n{(PAGE / 'report.css').read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + f"\n{script}</body>\n</html>\n"
    )


# -- the cells -------------------------------------------------------------------------------------------------


def cells_of(clocks: Clocks, progress: Progress | None = None, plane: Plane | None = None) -> Cells:
    """The cells of a run, thinned to ROWS x COLUMNS, each of some pictures (a square of them) or of all points.

    Raises:
        Cancelled: if ``progress`` answers False.
    """
    last = clocks.tape(-1)
    rows = thinned(range(len(clocks)), ROWS)
    columns = Columns(clocks, COLUMNS)
    levels = columns.levels
    drawn = _cell(last.frames[-1].x, plane)
    width, height = drawn.size
    shows: tuple[Show, ...] = ("x", "x0")
    sprites = {show: Image.new("RGB", (width * len(levels), height * len(rows))) for show in shows}
    points = last.kind == "points"
    places: dict[Show, list[NDArray[Any]]] = {show: [] for show in shows} if points else {}
    most = POINTS_BYTES // (len(shows) * len(rows) * len(levels) * 4)
    for i, row in enumerate(rows):
        advance(progress, i, len(rows))
        tape = clocks.tape(row)
        for j, frame in enumerate(columns.frames(tape)):
            for show, sprite in sprites.items():
                cell = _cell(frame.view(show), plane)
                sprite.paste(cell if cell.size == drawn.size else cell.resize(drawn.size), (j * width, i * height))
                if points:
                    places[show].append(frame.view(show)[:most])
    advance(progress, len(rows), len(rows))
    count = min(last.count, most) if points else _kept(last.frames[-1].x)
    what = f"{count:,} points" if points else "A picture" if count == 1 else f"{count} pictures"
    what += "" if columns.alike else " (those of other samplers or steps at their nearest level)"
    steps = [clocks.steps[row] for row in rows]
    pixels = not points and max(drawn.size) <= CELL_SIDE
    return Cells(steps, levels, drawn.size, what, sprites, pixels, places)


def _plane(cells: Cells, plane: Plane | None) -> dict[str, Any]:
    """What the page draws points with, sharp at any size: the numbers of ``grid.points_image``."""
    data = None if plane is None else plane.data
    return {
        "range": POINT_RANGE,
        "paper": PAPER,
        "line": LINE,
        "axis": AXIS,
        "dot": [DOT, OPACITY],
        "data": [DATA, FAINT],
        "behind": "" if data is None else _places([data[:DATA_POINTS]]),
        **{show: _places(points) for show, points in cells.points.items()},
    }


def _places(cells: Sequence[NDArray[Any]]) -> str:
    """Points as base64 of uint16 pairs, x and y: 0 … 65534 across the plane, NOWHERE outside of it (and of NaN)."""
    points = np.concatenate(cells)
    seen = (np.abs(points) < POINT_RANGE).all(axis=1, keepdims=True)
    places = np.where(seen, np.round((points / POINT_RANGE + 1) / 2 * (NOWHERE - 1)), NOWHERE)
    return base64.b64encode(places.astype("<u2").tobytes()).decode("ascii")


def _cell(items: NDArray[Any], plane: Plane | None) -> Image.Image:
    if items.ndim == 2:
        return reduced(points_image(items, 4 * CLOUD_SIDE, plane), CLOUD_SIDE)
    grid = grid_image(items[: _kept(items)])
    if _kept(items) == 1:
        grid = grid.crop((2, 2, grid.width - 2, grid.height - 2))
        return grid if max(grid.size) <= CELL_SIDE else reduced(grid, CELL_SIDE)
    return grid


def _kept(items: NDArray[Any]) -> int:
    """How many pictures a cell holds: a square number that its bytes allow, at least one."""
    side = math.isqrt(len(items))
    return max(1, min(side, math.isqrt(CELL_BYTES // max(items[0].nbytes, 1))) ** 2)


def _uri(image: Image.Image) -> str:
    """A picture as part of the page; without loss, grey if it is."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", lossless=True, quality=60, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


# -- parts of the page -----------------------------------------------------------------------------------------


def _facts(run: Run, record: Record, recipe: Recipe) -> str:
    events, last, probe = record.events(), record.last_metrics(), next(reversed(record.probes()), None)
    begun = [event for event in events if event.kind == "started"]
    spent = sum(float(e.about.get("seconds", 0.0)) for e in events if e.kind in ("finished", "stopped"))
    facts: list[tuple[str, str]] = [("Run", run.name)]
    tutorial = tutorial_of(recipe)
    if tutorial is not None:
        edition = EDITIONS[recipe.edition] if recipe.edition else ""
        facts.append(("Tutorial", f"{tutorial.document}, {tutorial.title}. {edition}: {badge(recipe)}"))
    differs = difference_texts(recipe, printed_differences(recipe)) if recipe.edition else {}
    if differs:
        facts.append(("Differs from print", ", ".join(differs.values())))
    if begun:
        facts.append(("Begun", f"{datetime.fromtimestamp(begun[0].time):%Y-%m-%d %H:%M}"))
        facts.append(("Computer", "; ".join(filter(None, computed_with(events)))))
    steps = f"{int(last.get('step', 0)):,} of {recipe.training.steps:,}"
    facts.append(("Training steps", steps + (f", in {duration(spent)}" if spent else "")))
    if last:
        facts.append(("Items seen", f"{int(last['images_seen']):,}"))
    parameters = _parameters(run)
    if parameters is not None:
        facts.append(("Parameters", f"{parameters:,}"))
    if probe is not None:
        losses = f"{probe.train:.4f} on trained items, {probe.held_out:.4f} on held-out ones"
        best = f"; the lowest expected is {probe.floor:.4f}" if math.isfinite(probe.floor) else ""
        facts.append(("Probe loss", losses + best))
    rows = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    return f'<h2>The run</h2>\n<dl class="facts">\n{rows}\n</dl>'


def _parameters(run: Run) -> int | None:
    """Of the network, from the last checkpoint: the tensors that the optimizer moves; None without one."""
    from safetensors import SafetensorError, safe_open

    if not run.checkpoints():
        return None
    try:
        with safe_open(run.checkpoints()[-1].tensors_file, framework="np") as file:
            names = list(file.keys())
            moved = {name[10:].rpartition(".")[0] for name in names if name.startswith("optimizer.")}
            shapes = [file.get_slice(f"network.{name}").get_shape() for name in moved]
    except (OSError, SafetensorError):
        return None
    return sum(math.prod(shape) for shape in shapes) or None


def _clocks(cells: Cells | None) -> str:
    if cells is None:
        return "<h2>Two clocks</h2>\n<p>Nothing was recorded: this run has no pictures yet.</p>"
    smooth = ' class="pixels"' if cells.pixels else ""
    images = "\n".join(
        f'<img id="cells-{show}"{smooth}{"" if show == "x" else " hidden"} draggable="false" src="{_uri(sprite)}" '
        f'alt="{escape(_alt(cells, show))}" width="{sprite.width}" height="{sprite.height}">'
        for show, sprite in cells.sprites.items()
    )
    width, height = cells.size
    across, down = width * len(cells.levels), height * len(cells.steps)
    first, last = cells.steps[0], cells.steps[-1]
    # The style sheet bounds both heights, and keeps the shapes: picture, clocks and map are seen together.
    return f"""<h2>Two clocks</h2>
<p class="muted">The same noise, seen through a model that has learnt more and more. The map shows all cells: training
goes downwards, denoising to the right.<span class="screen"> Drag on it, or use sliders or arrow keys.</span></p>
<div class="clocks" style="--picture: {width / height:.4f}; --map: {across / down:.4f}">
<figure class="seen">
<canvas id="view" width="{width}" height="{height}" role="img"{smooth}></canvas>
<figcaption id="said"></figcaption>
<div class="controls">
<label class="clock" for="clock-t">Denoising
<input id="clock-t" type="range" min="0" max="{len(cells.levels) - 1}" value="{len(cells.levels) - 1}">
<output id="said-t" for="clock-t"></output></label>
<label class="clock" for="clock-step">Training
<input id="clock-step" type="range" min="0" max="{len(cells.steps) - 1}" value="{len(cells.steps) - 1}">
<output id="said-step" for="clock-step"></output></label>
</div>
<noscript><p>Without scripts there is only the picture of all cells.</p></noscript>
</figure>
<figure class="all">
<div class="axis levels"><span>t = {cells.levels[0]}</span><span>t = {cells.levels[-1]}</span></div>
<div class="map" id="map" tabindex="0" role="group" aria-label="All cells: arrow keys move both clocks">
{images}
<div id="mark"></div>
</div>
<div class="axis"><span>training step {first:,} (top) to {last:,} (bottom)</span></div>
</figure>
<div class="controls plays">
<div class="row">
<button id="play-t" type="button" aria-pressed="false">Play denoising</button>
<button id="play-step" type="button" aria-pressed="false">Play training</button>
<button id="play-both" type="button" aria-pressed="false">Play both</button>
</div>
<div class="row">
<label>Speed <select id="speed"><option value="4">slow</option><option value="10" selected>normal</option>
<option value="25">fast</option></select></label>
<label><input id="loop" type="checkbox"> Loop</label>
<fieldset><legend>Show</legend>
<label><input type="radio" name="show" value="x" checked> x<sub>t</sub></label>
<label><input type="radio" name="show" value="x0"> x̂<sub>0</sub>, predicted</label></fieldset>
</div>
</div>
</div>"""


def _alt(cells: Cells, show: str) -> str:
    what = "x_t" if show == "x" else "the prediction of x_0"
    return (
        f"{cells.what}, {what}: {len(cells.steps)} training steps from {cells.steps[0]:,} to {cells.steps[-1]:,} "
        f"downwards, {len(cells.levels)} noise levels from {cells.levels[0]} to {cells.levels[-1]} to the right"
    )


def _loss(run: Run, record: Record, recipe: Recipe, cells: Cells | None) -> str:
    drawing = svg(loss_marks(record, run.recipe(), ""), f"Loss of {recipe.title}", alone=False)
    if cells is not None:  # where the training clock stands
        line = Axes.of(record).line()
        drawing = drawing.replace("</svg>", f'<g id="loss-line" class="screen">{line}</g>\n</svg>')
    return f"<h2>Loss</h2>\n<figure>{drawing}</figure>"


def _recipe(recipe: Recipe) -> str:
    parts = []
    for section, title in SECTION_TITLES.items():
        rows = "".join(
            f"<tr><th>{escape(label_of(recipe, path))}</th><td>{escape(words)}</td></tr>\n"
            for path, words in _settings(recipe, section)
        )
        parts.append(f"<section><h3>{escape(title)}</h3><table>{rows}</table></section>")
    return (
        f'<h2>Recipe</h2>\n<div class="sections">{"".join(parts)}</div>\n<p>Seed {recipe.seed}</p>\n'
        f"<details><summary>The same as TOML</summary><pre>{escape(dumps(recipe))}</pre></details>"
    )


def _settings(recipe: Recipe, section: str) -> Iterator[tuple[str, str]]:
    """The settings of a section and their values in words."""
    values: Section = getattr(recipe, section)
    if hasattr(values, "kind"):
        yield f"{section}.kind", text_of(recipe, f"{section}.kind", values.kind)
    for field in fields_of(type(values)):
        if field.name != "kind":
            value, path = getattr(values, field.name), f"{section}.{field.name}"
            unit = f" {field.setting.unit}" if field.setting.unit and value is not None else ""
            yield path, text_of(recipe, path, value) + unit


def _events(events: Sequence[EventRow], recipe: Recipe) -> str:
    if not events:
        return ""
    left_out = f"<p>The first and the last of {len(events):,} events.</p>" if len(events) > EVENTS else ""
    rows = "\n".join(
        f'<tr><td class="number">{event.step:,}</td><td class="number">'
        f"{datetime.fromtimestamp(event.time):%Y-%m-%d %H:%M:%S}</td><td>{escape(event_text(event, recipe))}</td></tr>"
        for event in _ends(events)
    )
    head = "<tr><th>Step</th><th>Time</th><th>What happened</th></tr>"
    return f"<h2>Events</h2>\n{left_out}<table>\n{head}\n{rows}\n</table>"


def _ends(events: Sequence[EventRow]) -> Iterable[EventRow]:
    return events if len(events) <= EVENTS else [*events[: EVENTS // 2], *events[-EVENTS // 2 :]]


def _notes(recipe: Recipe) -> str:
    tutorial = tutorial_of(recipe)
    if tutorial is None:
        return ""
    lines = [f"<p>{escape(tutorial.teaches)}</p>"] if tutorial.teaches else []
    if tutorial.traps:
        traps = "".join(f"<li>{escape(trap.text)} <em>Here:</em> {escape(trap.here)}</li>\n" for trap in tutorial.traps)
        lines.append(f"<p>Where the document misleads, and what the program does about it:</p>\n<ul>{traps}</ul>")
    return "<h2>Notes</h2>\n" + "\n".join(lines)
