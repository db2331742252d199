"""What a tape says of itself is true however few of its frames were kept."""

from __future__ import annotations

import numpy as np
import pytest

from ddpm_studio.diffusion.reel import narrowed
from ddpm_studio.diffusion.tape import Frame, Tape, kept_indices
from ddpm_studio.diffusion.tape_text import facts, moves_text


@pytest.mark.parametrize(("levels", "moves"), [(5, 8), (15, 8), (60, 10), (200, 1)])
def test_levels_and_moves_do_not_depend_on_the_frames_kept(levels: int, moves: int) -> None:
    grid = [t for t in range(levels, 0, -1) for _ in range(moves)] + [0]
    frames = [Frame(i, grid[i], np.zeros((1, 8, 8, 1), np.uint8)) for i in kept_indices(len(grid) - 1)]
    whole = Tape("pictures", 1000, len(frames), sampler="langevin", frames=frames, grid=grid)
    for share in (1, 2, 4, 100):
        tape = narrowed(whole, 8 * whole.nbytes // share)
        assert len(tape.frames) < len(frames) or share == 1
        said = "1 moves" if moves == 1 else f"{moves} moves"
        assert moves_text(tape) == f"{levels} levels × {said}"


@pytest.mark.parametrize(("came", "said"), [(0, "0 of 8 steps"), (3, "3 of 8 steps"), (8, "8 steps")])
def test_a_process_that_was_stopped_names_both_numbers(came: int, said: str) -> None:
    grid = [800, 700, 600, 500, 400, 300, 200, 100, 0]
    frames = [Frame(i, grid[i], np.zeros((1, 2), np.float32)) for i in range(came + 1)]
    tape = Tape("points", 1000, len(grid), sampler="ddim", frames=frames, grid=grid)
    assert moves_text(tape) == said
    assert f"DDIM, {said}" in facts(tape)
