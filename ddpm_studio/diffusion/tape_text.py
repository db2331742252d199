"""What a tape shows, in words: the same in the window and below exported pictures. No torch."""

from __future__ import annotations

from collections.abc import Callable

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import kind_title

Say = Callable[[str], str]
FRAMES = 100  # a tape that skips moves keeps more frames than that: so many levels are all on it


def moves_text(tape: Tape, say: Say = str) -> str:
    """How far it came: "50 steps"; of Langevin dynamics "100 levels × 10 moves" or "1,000 moves at σ = 0.14".

    ``say`` puts a text into the reader's language.
    """
    moves = tape.frames[-1].index if tape.frames else 0
    if not tape.sampler.startswith("langevin"):
        return say("{0:,} step" if moves == 1 else "{0:,} steps").format(moves)
    if tape.sampler == "langevin":
        levels = len({frame.t for frame in tape.frames[:-1]})  # the last one is where it leads
        if tape.complete and 1 < levels <= FRAMES and moves % levels == 0:
            return say("{0:,} levels × {1:,} moves").format(levels, moves // levels)
    text = say("{0:,} moves").format(moves)
    field = tape.frames[-1].field if tape.frames else None
    if tape.sampler == "langevin-plain" and field is not None:
        return say("{0} at σ = {1}").format(text, f"{field.sigma:.2g}")
    return text


def sampler_text(tape: Tape, say: Say = str) -> str:
    """E.g. "DDIM, 50 steps"; of a tape that names no kind of sampler what it says itself."""
    title = kind_title(tape.sampler)
    if title == tape.sampler or not tape.frames:
        return say(title)
    return f"{say(title)}, {moves_text(tape, say)}"


def facts(tape: Tape, say: Say = str) -> list[str]:
    """What it was made with: training step, sampler, seed, and the weights if they are not averaged."""
    parts = [
        "" if tape.training_step is None else say("step {step}").format(step=f"{tape.training_step:,}"),
        sampler_text(tape, say) if tape.sampler else "",
        say("seed {0}").format(tape.seed),
        say("raw weights") if tape.weights == "raw" else "",
    ]
    return [part for part in parts if part]


def axis_names(tape: Tape) -> tuple[str, str]:
    """What a cell's row and its column stand for, e.g. "Seed" and "Sampling steps"; "" where its label does not say."""
    column = tape.column or ("" if tape.row else tape.label)  # tapes of before there were axes stand in one row
    # A label holds names and values of both axes, the row's first: "Seed 3, Sampling steps 50".
    before = tape.label.removesuffix(column)
    if tape.row and column:
        down, _, across = before.rpartition(", ")
    else:
        down, across = (before, "") if tape.row else ("", before)
    return down.removesuffix(tape.row).strip(), across.strip()


def level_text(t: int) -> str:
    """ "t = 1,000", counted as papers do."""
    return f"t = {t:,}"
