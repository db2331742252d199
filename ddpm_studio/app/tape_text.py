"""What a tape's sampler did, in words of the user's language."""

from __future__ import annotations

from ddpm_studio.app.texts import say
from ddpm_studio.diffusion import tape_text
from ddpm_studio.diffusion.tape import Tape


def noise_text(tape: Tape, *, same: int = 0) -> str:
    """Where it starts from: "seed 77"; "same 36 noises, seed 0" of one that has so many in common with others."""
    return say("same {0:,} noises, seed {1}" if same else "seed {1}").format(same, tape.seed)


def moves_text(tape: Tape) -> str:
    """As ``diffusion.tape_text.moves_text``."""
    return tape_text.moves_text(tape, say)


def sampler_text(tape: Tape) -> str:
    """As ``diffusion.tape_text.sampler_text``."""
    return tape_text.sampler_text(tape, say)
