"""Films: captioned pictures one after another, drawn one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from PIL import Image

from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.export.clocks import Clocks, frame_near, thinned
from ddpm_studio.export.grid import captioned, side_by_side

SECONDS = 4.0  # of a film
HOLD = 1.0  # seconds for which the last picture stays
SHORTEST = 0.02  # seconds of a picture; browsers slow anything faster down
MOST = 600  # pictures of a film
Show = Literal["x", "x0", "eps"]
SHOWN = {"x": "", "x0": "predicted x_0   ", "eps": "predicted ε   "}


class Panel(NamedTuple):
    """Items (uint8 (N, H, W, C) or float32 (N, 2)) and what is said below them."""

    items: NDArray[Any]
    caption: str


@dataclass(frozen=True)
class Film:
    """Each picture is made of one panel or of several side by side; the last stays for ``HOLD`` seconds longer."""

    pictures: Sequence[tuple[Panel, ...]]

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def each(self) -> float:
        """Seconds of each picture but the last."""
        return max(SHORTEST, SECONDS / len(self))

    def images(self) -> Iterator[Image.Image]:
        """RGB, sides even, all of the size of the last: the others stand in its middle."""
        last = _drawn(self.pictures[-1])
        for panels in self.pictures[:-1]:
            yield _fitted(_drawn(panels), last.size)
        yield last


def process(tapes: Sequence[Tape], show: Show = "x") -> Film:
    """The reverse process, x_T first; several tapes side by side, all at the same share of their process."""
    count = min(MOST, max(len(tape.frames) for tape in tapes))
    return Film([at_share(tapes, i / max(count - 1, 1), show) for i in range(count)])


def at_share(tapes: Sequence[Tape], share: float, show: Show = "x") -> tuple[Panel, ...]:
    """The panels of several tapes at ``share`` 0 … 1 of their process."""
    return tuple(_panel(tape, frame_at(tape, share), show) for tape in tapes)


def learning(clocks: Clocks, show: Show = "x", t: int | None = None) -> Film:
    """What came of the same noise, training step by step: the pictures, or the states at the level nearest to t."""
    rows = thinned(range(len(clocks)), MOST)
    tapes = (clocks.tape(row) for row in rows)
    return Film([(_kept(_panel(tape, frame_near(tape, t), show)),) for tape in tapes])


def diagonal(clocks: Clocks, show: Show = "x") -> Film:
    """Both clocks at once: from the first training step's x_T straight to the last one's x_0."""
    count = min(MOST, max(len(clocks), len(clocks.tape(-1).frames)))
    pictures = []
    for i in range(count):
        share = i / max(count - 1, 1)
        tape = clocks.tape(round(share * (len(clocks) - 1)))
        pictures.append((_kept(_panel(tape, frame_at(tape, share), show)),))
    return Film(pictures)


def caption(tape: Tape, t: int) -> str:
    """What a picture says about itself: sampler, number of steps, seed, level."""
    step = "" if tape.training_step is None else f"step {tape.training_step:,}   "
    moves = tape.frames[-1].index if tape.frames else 0  # a long process keeps fewer frames than it has states
    return f"{step}{tape.label or tape.sampler}, {moves} steps   seed {tape.seed}   t = {t}"


def _panel(tape: Tape, frame: Frame, show: Show) -> Panel:
    return Panel(frame.view(show), SHOWN[show] + caption(tape, frame.t))


def _kept(panel: Panel) -> Panel:
    """Without the rest of its tape, which its array is a part of."""
    return panel._replace(items=panel.items.copy())


def _drawn(panels: Sequence[Panel]) -> Image.Image:
    return side_by_side([captioned(panel.items, panel.caption) for panel in panels])


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    whole = Image.new("RGB", size, "black")
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole
