"""Curves of a run drawn without Qt: one drawing, as SVG text or as a picture. numpy and Pillow only.

The drawing is a list of marks in a box of WIDTH x HEIGHT; colours are names of ``PALETTE``, so that a page can have
its own for light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ddpm_studio.export.text import draw_text, text_width
from ddpm_studio.recipes.editions import label_of
from ddpm_studio.recipes.recipe import Recipe
from ddpm_studio.store import METRICS, EventRow, Record
from ddpm_studio.training.events import Carried

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 960, 480
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 64, 56  # px around the axes
SIZE = 13  # px of letters
LANE = 17  # px of a line of what flags say
PIECES = 600  # that a long curve is drawn from
DASH = 3.0  # px
PALETTE = {
    "ink": "#1b1e23",
    "muted": "#5f6773",
    "line": "#dfe3e8",
    "batch": "#b8c4d6",
    "mean": "#6f86ad",
    "train": "#d1480b",
    "held": "#0b7a75",
    "flag": "#7a4fbf",
}


@dataclass(frozen=True)
class Path:
    """A line through points, float64 (n, 2) in px; ``filled``: the area within; ``dashed``: DASH px of each 2 DASH."""

    points: Floats
    colour: str
    width: float = 1.0
    filled: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Text:
    """One line of text; ``anchor`` as in ``draw_text``. ``tip``: what a pointer at it is told."""

    x: float
    y: float
    text: str
    colour: str = "ink"
    anchor: str = "left"
    tip: str = ""
    turned: bool = False


Mark = Path | Text


# -- what is drawn ---------------------------------------------------------------------------------------------


def loss_marks(record: Record, recipe: Recipe, title: str) -> list[Mark]:
    """The loss of the batches, as its range and mean over pieces, both probes, and the lowest losses that are expected.

    That of held-out items is dashed in the colour of their curve. Changes of settings are flags.
    """
    metrics, probes = record.metrics(), record.probes()
    step, loss = metrics[:, METRICS.index("step")], metrics[:, METRICS.index("loss")]
    probe_steps = np.array([row.step for row in probes], dtype=np.float64)
    train, held = (np.array([getattr(row, name) for row in probes]) for name in ("train", "held_out"))
    floor, held_floor = (np.array([getattr(row, name) for row in probes]) for name in ("floor", "held_out_floor"))
    axes = Axes.of(record)
    marks: list[Mark] = [Text(LEFT, 24, title, "ink"), *axes.marks()]
    legend: list[tuple[str, str, float, bool]] = []
    if np.isfinite(loss).any():
        start, low, high, mean = _pieces(loss)
        x = step[start]
        area = np.concatenate([axes.place(x, high), axes.place(x, low)[::-1]])
        marks += [Path(area, "batch", filled=True), Path(axes.place(x, mean), "mean", 1.2)]
        legend.append(("loss of the batches, range and mean", "mean", 1.2, False))
    for values, name, colour, width, dashed in (
        (floor, "lowest expected", "ink", 1.6, True),
        (train, "probe, trained items", "train", 2.4, False),
        (held_floor, "lowest, held out", "held", 1.6, True),
        (held, "probe, held out", "held", 2.4, False),
    ):
        seen = np.isfinite(values)
        if seen.any():
            marks.append(Path(axes.place(probe_steps[seen], values[seen]), colour, width, dashed=dashed))
            legend.append((name, colour, width, dashed))
    if not legend:
        marks.append(Text((LEFT + WIDTH - RIGHT) / 2, HEIGHT / 2, "Nothing has been learnt yet", "muted", "middle"))
    begin = float(LEFT)
    for name, colour, width, dashed in legend:
        marks += [
            Path(np.array([[begin, 44.0], [begin + 21, 44.0]]), colour, width, dashed=dashed),
            Text(begin + 26, 48, name, "muted"),
        ]
        begin += 26 + text_width(name, SIZE) + 24
    return marks + list(_flags(record.events(), recipe, axes))


def _flags(events: Sequence[EventRow], recipe: Recipe, axes: Axes) -> Iterator[Mark]:
    """A line at each change; what it was, is told by a tip and in words where there is room."""
    told = [
        (event.step, event_text(event, recipe)) for event in events if event.kind in ("setting_changed", "rolled_back")
    ]
    places = [float(axes.place(np.array([float(at)]), np.array([axes.high]))[0, 0]) for at, _ in told]
    lanes = [-math.inf] * 3
    words: list[tuple[int, float, float]] = []  # lane, from, to: no line goes through them
    for x, (at, text) in zip(places, told, strict=True):
        wide = text_width(text, SIZE)
        right = x + 5 + wide > WIDTH - RIGHT  # no room to the right of it
        begin = x - 5 - wide if right else x + 5
        lane = next((i for i, end in enumerate(lanes) if begin > end), None)
        if lane is None or begin < LEFT:
            yield Text(x + 3, TOP + 14 + LANE * len(lanes), "•", "flag", tip=text)
            continue
        lanes[lane] = begin + wide + 10
        words.append((lane, begin, begin + wide))
        yield Text(begin, TOP + 14 + LANE * lane, text, "flag", tip=f"step {at:,}: {text}")
    for x in places:
        top = float(TOP)
        for lane in sorted({lane for lane, left, right in words if left - 2 < x < right + 2}):
            yield from _upright(x, top, TOP + LANE * lane)
            top = float(TOP + LANE * (lane + 1))
        yield from _upright(x, top, HEIGHT - BOTTOM)


def _upright(x: float, top: float, bottom: float) -> Iterator[Mark]:
    """A piece of a flag's line; none without a length."""
    if top < bottom:
        yield Path(np.array([[x, top], [x, bottom]]), "flag", 1.0, dashed=True)


def event_text(event: EventRow, recipe: Recipe) -> str:
    """What happened, in a few words."""
    about = event.about
    match event.kind:
        case "setting_changed":
            setting = str(about.get("setting", ""))
            return f"{label_of(recipe, setting)}: {about.get('old')} → {about.get('new')}"
        case "rolled_back":
            scale = float(about.get("rate_scale", 1.0))
            return f"back to step {about.get('to', 0):,}, learning rate × {scale:g}: {about.get('reason', '')}"
        case "computing":
            return str(about.get("what", ""))
        case "step_skipped":
            return f"step skipped: {about.get('reason', '')}"
        case "threads_changed":
            return (
                f"{about.get('threads')} threads" if about.get("threads") != 1 else "one thread: the processor is busy"
            )
        case "started":
            return f"learning begins, until step {about.get('until', 0):,}: {about.get('plan', '')}"
        case "stopped" | "finished":
            return f"{event.kind} after {duration(float(about.get('seconds', 0.0)))}"
        case "forked":
            return f"forked from {about.get('run', 'another run')} at its step {int(about.get('step', 0)):,}"
        case "carried":
            return Carried(**about).sentence()
        case kind:
            return kind.replace("_", " ")


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Axes:
    """Training steps to the right, loss upwards; the loss is logarithmic if it is always positive."""

    def __init__(self, steps: Floats, values: Floats) -> None:
        self.last = max(float(steps.max()), 1.0)
        self.log = bool(len(values)) and bool((values > 0).all())
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        if self.log:
            low, high = math.log10(low), math.log10(high)
        room = 0.05 * (high - low) or 0.1
        self.low, self.high = low - room, high + room

    left, right = float(LEFT), float(WIDTH - RIGHT)  # px

    @classmethod
    def of(cls, record: Record) -> Axes:
        """The axes in which a run's curves lie."""
        metrics, probes = record.metrics(), record.probes()
        names = ("train", "held_out", "floor", "held_out_floor")
        losses = [metrics[:, METRICS.index("loss")], *([getattr(row, name) for row in probes] for name in names)]
        values = np.concatenate([np.asarray(part, dtype=np.float64) for part in losses])
        steps = [0.0, *metrics[-1:, METRICS.index("step")], *(float(row.step) for row in probes)]
        return cls(np.array(steps), values[np.isfinite(values)])

    def line(self) -> str:
        """A line upwards at the left edge, as a part of an SVG that a page then moves."""
        return f'<line x1="0" y1="{TOP}" x2="0" y2="{HEIGHT - BOTTOM}" stroke="var(--accent)" stroke-width="1.5"/>'

    def place(self, steps: Floats, values: Floats) -> Floats:
        """px, float64 (n, 2)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            heights = np.log10(values) if self.log else values
        y = HEIGHT - BOTTOM - (heights - self.low) / (self.high - self.low) * (HEIGHT - TOP - BOTTOM)
        x = LEFT + steps / self.last * (WIDTH - LEFT - RIGHT)
        return np.stack([x, np.clip(np.nan_to_num(y, nan=HEIGHT - BOTTOM), TOP, HEIGHT - BOTTOM)], axis=1)

    def marks(self) -> Iterator[Mark]:
        bottom, right = float(HEIGHT - BOTTOM), float(WIDTH - RIGHT)
        for value in self._ticks():
            y = float(self.place(np.zeros(1), np.array([value]))[0, 1])
            yield Path(np.array([[LEFT, y], [right, y]]), "line")
            yield Text(LEFT - 8, y + 4, f"{value:.4g}", "muted", "right")
        for value in round_steps(0.0, self.last, least=1):
            x = float(self.place(np.array([value]), np.ones(1))[0, 0])
            yield Path(np.array([[x, bottom], [x, bottom + 5]]), "muted")
            yield Text(x, bottom + 20, f"{value:,.0f}", "muted", "middle")
        yield Path(np.array([[LEFT, TOP], [LEFT, bottom], [right, bottom]]), "muted")
        yield Text((LEFT + right) / 2, HEIGHT - 14, "training step", "muted", "middle")
        name = "loss (mean over values, log scale)" if self.log else "loss (mean over values)"
        yield Text(18, (TOP + bottom) / 2, name, "muted", "middle", turned=True)

    def _ticks(self) -> list[float]:
        if not self.log:
            return round_steps(self.low, self.high)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            ticks = [d * 10.0**k for k in decades for d in digits if self.low <= math.log10(d * 10.0**k) <= self.high]
            if len(ticks) >= 3:
                return ticks[:: -(-len(ticks) // 8)]
        return round_steps(10**self.low, 10**self.high)


def round_steps(low: float, high: float, most: int = 7, least: float = 0.0) -> list[float]:
    """At most about ``most`` round values in low … high, whole ones if ``least`` is 1: they lie that far apart."""
    rough = max((high - low) / most, least, 1e-12)
    unit = 10.0 ** math.floor(math.log10(rough))
    each = next(d * unit for d in (1, 2, 2.5, 5, 10) if d * unit >= rough and (not least or d * unit % least == 0))
    return [k * each for k in range(math.ceil(low / each), math.floor(high / each + 1e-9) + 1)]


def _pieces(values: Floats) -> tuple[NDArray[np.int64], Floats, Floats, Floats]:
    """A curve in at most PIECES pieces: where each begins, its least, greatest and mean finite value."""
    size = max(1, -(-len(values) // PIECES))
    start = np.arange(0, len(values), size)
    known = np.isfinite(values)
    count = np.add.reduceat(known.astype(np.float64), start)
    low = np.minimum.reduceat(np.where(known, values, np.inf), start)
    high = np.maximum.reduceat(np.where(known, values, -np.inf), start)
    mean = np.add.reduceat(np.where(known, values, 0.0), start) / np.maximum(count, 1)
    seen = count > 0
    return start[seen], low[seen], high[seen], mean[seen]


# -- how it is drawn -------------------------------------------------------------------------------------------


def svg(marks: Sequence[Mark], about: str, *, alone: bool = True) -> str:
    """SVG text. ``alone``: a file of its own with its colours in it; else the page around it has them as --NAME."""
    colours = {name: value if alone else f"var(--{name})" for name, value in PALETTE.items()}
    space = ' xmlns="http://www.w3.org/2000/svg"' if alone else ""
    top = 0 if alone else 30  # a page has its own title
    space += f' width="{WIDTH}" height="{HEIGHT}"' if alone else ""
    lines = [
        f'<svg{space} viewBox="0 {top} {WIDTH} {HEIGHT - top}" role="img" aria-label="{escape(about)}"'
        f' font-family="Inter, system-ui, sans-serif" font-size="{SIZE}">'
    ]
    if alone:
        lines += [f"<title>{escape(about)}</title>", f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    lines += [_svg_path(m, colours) if isinstance(m, Path) else _svg_text(m, colours) for m in marks]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _svg_path(mark: Path, colours: dict[str, str]) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in mark.points)
    if len(mark.points) == 1:
        x, y = mark.points[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{mark.width:g}" fill="{colours[mark.colour]}"/>'
    if mark.filled:
        return f'<polygon points="{points}" fill="{colours[mark.colour]}"/>'
    dashes = f' stroke-dasharray="{DASH:g} {DASH:g}"' if mark.dashed else ""
    return (
        f'<polyline points="{points}" fill="none" stroke="{colours[mark.colour]}" stroke-width="{mark.width:g}" '
        f'stroke-linejoin="round"{dashes}/>'
    )


def _svg_text(mark: Text, colours: dict[str, str]) -> str:
    anchor = {"left": "start", "middle": "middle", "right": "end"}[mark.anchor]
    turn = f' transform="rotate(-90 {mark.x:.1f} {mark.y:.1f})"' if mark.turned else ""
    tip = f"<title>{escape(mark.tip)}</title>" if mark.tip else ""
    return (
        f'<text x="{mark.x:.1f}" y="{mark.y:.1f}" fill="{colours[mark.colour]}" text-anchor="{anchor}"{turn}>'
        f"{tip}{escape(mark.text)}</text>"
    )


def picture(marks: Sequence[Mark], scale: int = 2) -> Image.Image:
    """The same as an RGB picture of ``scale`` times the size."""
    fine = 2  # lines are drawn so much larger and made smaller: Pillow's own are jagged
    big = Image.new("RGB", (WIDTH * scale * fine, HEIGHT * scale * fine), "#ffffff")
    draw = ImageDraw.Draw(big)
    for mark in marks:
        if isinstance(mark, Path):
            _draw_path(draw, mark, scale * fine)
    whole = big.resize((WIDTH * scale, HEIGHT * scale), Image.Resampling.BOX)
    for mark in marks:
        if isinstance(mark, Text):
            _draw_text(whole, mark, scale)
    return whole


def _draw_path(draw: ImageDraw.ImageDraw, mark: Path, scale: int) -> None:
    points = [(float(x) * scale, float(y) * scale) for x, y in mark.points]
    width, colour = max(1, round(mark.width * scale)), PALETTE[mark.colour]
    if mark.filled and len(points) > 2:
        draw.polygon(points, fill=colour)
    elif mark.dashed and len(points) > 1:
        for dash in _dashes(mark.points * scale, DASH * scale):
            draw.line(dash, fill=colour, width=width, joint="curve")
    elif len(points) == 1:
        (x, y), r = points[0], width
        draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)
    else:
        draw.line(points, fill=colour, width=width, joint="curve")


def _dashes(points: Floats, length: float) -> Iterator[list[tuple[float, float]]]:
    """Every second piece of ``length`` px of a line."""
    at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    for begin in np.arange(0.0, at[-1], 2 * length):
        end = min(begin + length, at[-1])
        along = np.array([begin, *at[(at > begin) & (at < end)], end])
        x, y = (np.interp(along, at, points[:, axis]) for axis in (0, 1))
        yield list(zip(x.tolist(), y.tolist(), strict=True))


def _draw_text(image: Image.Image, mark: Text, scale: int) -> None:
    size, place = SIZE * scale, (mark.x * scale, mark.y * scale)
    if not mark.turned:
        draw_text(image, place, mark.text, size, PALETTE[mark.colour], anchor=mark.anchor)
        return
    flat = Image.new("RGB", (text_width(mark.text, size) + 4, round(1.5 * size)), "#ffffff")
    draw_text(flat, (flat.width / 2, size), mark.text, size, PALETTE[mark.colour], anchor="middle")
    upright = flat.transpose(Image.Transpose.ROTATE_90)
    image.paste(upright, (round(place[0]) - size, round(place[1]) - upright.height // 2))
