"""What a tape's sampler did, in words."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from ddpm_studio.app.recipe_editors import say
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import kind_title

FRAMES = 100  # a tape that skips moves keeps more frames than that: so many levels are all on it


def _tr(text: str) -> str:
    return QCoreApplication.translate("TapeText", text)


def moves_text(tape: Tape) -> str:
    """How far it came: "50 steps"; of Langevin dynamics "100 levels × 10 moves" or "1,000 moves at σ = 0.14"."""
    moves = tape.frames[-1].index if tape.frames else 0
    if not tape.sampler.startswith("langevin"):
        return (_tr("{0:,} step") if moves == 1 else _tr("{0:,} steps")).format(moves)
    if tape.sampler == "langevin":
        levels = len({frame.t for frame in tape.frames[:-1]})  # the last one is where it leads
        if tape.complete and 1 < levels <= FRAMES and moves % levels == 0:
            return _tr("{0:,} levels × {1:,} moves").format(levels, moves // levels)
    text = _tr("{0:,} moves").format(moves)
    field = tape.frames[-1].field if tape.frames else None
    if tape.sampler == "langevin-plain" and field is not None:
        return _tr("{0} at σ = {1}").format(text, f"{field.sigma:.2g}")
    return text


def sampler_text(tape: Tape) -> str:
    """E.g. "DDIM, 50 steps"; of a tape that names no kind of sampler what it says itself."""
    title = kind_title(tape.sampler)
    if title == tape.sampler or not tape.frames:
        return say(title)
    return f"{say(title)}, {moves_text(tape)}"
