"""Films: captioned pictures one after another, drawn one by one when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from ddpm_studio.diffusion.reel import frame_at
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.diffusion.tape_text import facts, level_text
from ddpm_studio.export.clocks import Clocks, frame_near, thinned
from ddpm_studio.export.compared import compared_image, is_comparison
from ddpm_studio.export.grid import SHOWN, Plane, Show, captioned, evened, side_by_side

SECONDS = 4.0  # of a film
HOLD = 1.0  # seconds for which the last picture stays
SHORTEST = 0.02  # seconds of a picture; browsers slow anything faster down
MOST = 600  # pictures of a film

Moments = Sequence[Sequence[Tape]]  # the tapes of several runs at each training step; without frames: not yet begun


@dataclass(frozen=True)
class Film:
    """``count`` pictures, RGB with even sides; ``draw`` makes the one with a number. The last stays ``HOLD`` longer."""

    count: int
    draw: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return self.count

    @property
    def each(self) -> float:
        """Seconds of each picture but the last."""
        return max(SHORTEST, SECONDS / self.count)

    def images(self) -> Iterator[Image.Image]:
        """All of the size of the last: the others stand in its middle."""
        last = self.draw(self.count - 1)
        for i in range(self.count - 1):
            yield _fitted(self.draw(i), last.size)
        yield last


def process(tapes: Sequence[Tape], show: Show = "x", plane: Plane | None = None) -> Film:
    """The reverse process, x_T first; several tapes side by side, all at the same share of their process."""
    count = min(MOST, max(len(tape.frames) for tape in tapes))
    return Film(count, lambda i: at_share(tapes, i / max(count - 1, 1), show, plane))


def at_share(tapes: Sequence[Tape], share: float, show: Show = "x", plane: Plane | None = None) -> Image.Image:
    """Tapes at ``share`` 0 … 1 of their process; those of a comparison as a labelled grid, empty without a frame."""
    if is_comparison(tapes):
        shown = [frame_at(tape, share) if tape.frames else None for tape in tapes]
        return evened(compared_image(tapes, shown, show, plane))
    return side_by_side([_picture(tape, frame_at(tape, share), show, plane) for tape in tapes])


def runs_learning(moments: Moments, show: Show = "x", share: float = 1.0, plane: Plane | None = None) -> Film:
    """Several runs side by side, training step by step, at ``share`` 0 … 1 of their process."""
    rows = thinned(moments, MOST)
    return Film(len(rows), lambda i: at_share(rows[i], share, show, plane))


def runs_diagonal(moments: Moments, show: Show = "x", plane: Plane | None = None) -> Film:
    """Several runs side by side, both clocks at once: as ``diagonal``."""
    count = min(MOST, max(len(moments), *(len(tape.frames) for tape in moments[-1])))

    def draw(i: int) -> Image.Image:
        share = i / max(count - 1, 1)
        return at_share(moments[round(share * (len(moments) - 1))], share, show, plane)

    return Film(count, draw)


def learning(clocks: Clocks, show: Show = "x", t: int | None = None, plane: Plane | None = None) -> Film:
    """What came of the same noise, training step by step: the pictures, or the states at the level nearest to t."""
    rows = thinned(range(len(clocks)), MOST)

    def draw(i: int) -> Image.Image:
        tape = clocks.tape(rows[i])
        return _picture(tape, frame_near(tape, t), show, plane)

    return Film(len(rows), draw)


def diagonal(clocks: Clocks, show: Show = "x", plane: Plane | None = None) -> Film:
    """Both clocks at once: from the first training step's x_T straight to the last one's x_0."""
    count = min(MOST, max(len(clocks), len(clocks.tape(-1).frames)))

    def draw(i: int) -> Image.Image:
        share = i / max(count - 1, 1)
        tape = clocks.tape(round(share * (len(clocks) - 1)))
        return _picture(tape, frame_at(tape, share), show, plane)

    return Film(count, draw)


def caption(tape: Tape, t: int, show: Show = "x") -> str:
    """What a picture says about itself: "step 1,234 · t = 340 · DDIM, 50 steps · seed 0"."""
    made = facts(tape)
    at = 0 if tape.training_step is None else 1
    return " · ".join(filter(None, [SHOWN[show], *made[:at], level_text(t), *made[at:]]))


def _picture(tape: Tape, frame: Frame, show: Show, plane: Plane | None) -> Image.Image:
    return captioned(frame.view(show), caption(tape, frame.t, show), plane)


def _fitted(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    whole = Image.new("RGB", size, "black")
    whole.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return whole
