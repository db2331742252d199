"""What a tape shows, in words: the same in the window and below exported pictures. No torch."""

from __future__ import annotations

from collections.abc import Callable, Collection

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import kind_title
from ddpm_studio.recipes.axes import name_of

Say = Callable[[str], str]


def moves_text(tape: Tape, say: Say = str) -> str:
    """How far it came: "50 steps"; of Langevin dynamics "100 levels × 10 moves" or "1,000 moves at σ = 0.14".

    One that still grows, or was stopped, came "311 of 1,000 steps" far. ``say`` puts a text into the reader's language.
    """
    moves = tape.frames[-1].index if tape.frames else 0
    all_moves = len(tape.grid) - 1
    if not tape.sampler.startswith("langevin"):
        if moves < all_moves:
            return say("{0:,} of {1:,} steps").format(moves, all_moves)
        return say("{0:,} step" if moves == 1 else "{0:,} steps").format(moves)
    if tape.sampler == "langevin":
        levels = len(set(tape.grid[:-1]))  # the last one is where it leads
        if levels > 1 and moves == all_moves:
            return say("{0:,} levels × {1:,} moves").format(levels, moves // levels)
    text = say("{0:,} of {1:,} moves" if moves < all_moves else "{0:,} moves").format(moves, all_moves)
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


def facts(tape: Tape, say: Say = str, on: Collection[str] = ()) -> list[str]:
    """What it was made with: training step, sampler, seed, and the weights if they are not averaged.

    ``on``: keys of axes, which say the rest.
    """
    sampler = sampler_text(tape, say) if tape.sampler else ""
    if "sampler" in on:
        sampler = "" if "steps" in on else moves_text(tape, say)
    elif "steps" in on:
        sampler = say(kind_title(tape.sampler))
    parts = {
        "checkpoint": "" if tape.training_step is None else say("step {step}").format(step=f"{tape.training_step:,}"),
        "": sampler,
        "seed": say("seed {0}").format(tape.seed),
        "weights": say("raw weights") if tape.weights == "raw" else "",
    }
    return [part for key, part in parts.items() if part and (not key or key not in on)]


def axis_names(tape: Tape) -> tuple[str, str]:
    """What a cell's row and its column stand for, e.g. "Seed" and "Sampling steps"; "" of what says it by itself."""
    return name_of(tape.row_key), name_of(tape.column_key)


def level_text(t: int) -> str:
    """ "t = 1,000", counted as papers do."""
    return f"t = {t:,}"
