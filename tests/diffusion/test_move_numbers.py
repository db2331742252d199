"""What the window says of a recorded move is what the sampler did, noise included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.diffusion import NoiseSchedule, Tape
from ddpm_studio.diffusion import counted_noise as numpy_noise
from ddpm_studio.diffusion.move_numbers import move_numbers, noise_added, recorded_move
from ddpm_studio.diffusion.noise import gaussian, mix
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import find
from ddpm_studio.training.build import build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import TapeFinished
from ddpm_studio.training.sampling import sample

CASES = [
    {"kind": "ddpm", "steps": 8, "variance": "posterior"},
    {"kind": "ddpm", "steps": 8, "variance": "beta"},
    {"kind": "ddim", "steps": 8, "eta": 0.0},
    {"kind": "ddim", "steps": 8, "eta": 0.6},
    {"kind": "euler", "steps": 8},
    {"kind": "heun", "steps": 8},
    {"kind": "dpmpp-2m", "steps": 8},
    {"kind": "dpmpp-3m", "steps": 8},
    {"kind": "unipc", "steps": 8},
    {"kind": "ipndm", "steps": 8},
    {"kind": "langevin", "steps": 4, "moves": 3},
    {"kind": "langevin-plain", "steps": 6},
]
LOOK_BACK = ("dpmpp-2m", "dpmpp-3m", "unipc", "ipndm")


@given(seed=st.integers(-(2**63), 2**63 - 1), move=st.integers(0, 2000), size=st.integers(1, 9))
def test_the_noise_is_that_of_torch(seed, move, size):
    ours = numpy_noise.gaussian_of(seed, move, (size, 2))
    theirs = gaussian([seed], move, (size, 2))[0].numpy()
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)
    assert numpy_noise.mix(seed, move) == mix(seed, move)


def recorded(settings: dict[str, object], schedule: str = "cosine", weights: str = "raw") -> Tape:
    changes = {"network.width": 16, "network.depth": 2, "compute.device": "cpu", "compute.threads": 1}
    recipe = find("two-gaussians").with_settings(changes | {"schedule.kind": schedule, "compute.precision": "float32"})
    recipe = recipe.with_settings({f"sampler.{name}": value for name, value in settings.items()})
    session = build(recipe, dataset_of(recipe))
    events = list(sample(session, Control(), recipe.sampler, 5, 3, weights, "sample"))
    return next(event.tape for event in events if isinstance(event, TapeFinished))


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("settings", CASES, ids=lambda c: "-".join(str(v) for v in c.values()))
def test_a_recorded_move_adds_up(settings, schedule):
    tape = Tape.from_arrays(*through_disk(recorded(settings, schedule)))
    added = 0
    for position in range(len(tape.frames) - 1):
        move = recorded_move(tape, position)
        assert move.number == position + 1
        assert move.x is tape.frames[position]
        if settings["kind"] == "heun" and position < len(tape.frames) - 2:
            assert move.numbers.forms == ()  # its second call is on no tape
        else:
            assert move.numbers.forms
        for form in move.numbers.forms:
            seen = [getattr(frame, form.of) for frame in tape.frames[position + 1 : 0 : -1]]
            assert 1 <= len(form.weights) <= len(seen)
            assert move.numbers.earlier[: len(form.weights) - 1] == tuple(
                tape.frames[position - back].t for back in range(1, len(form.weights))
            )
            for item in range(tape.count):
                mean = form.x * move.x.x[item]
                for weight, estimate in zip(form.weights, seen, strict=False):
                    mean = mean + weight * estimate[item]
                z = noise_added(tape, move, item)
                made = mean if z is None else mean + move.numbers.std * z
                scale = 1 + abs(form.x) + sum(map(abs, form.weights))
                np.testing.assert_allclose(made, move.after.x[item], atol=3e-5 * scale)
        looked_back = max([len(form.weights) for form in move.numbers.forms], default=1)
        if settings["kind"] in LOOK_BACK and 1 < position < len(tape.frames) - 2:
            assert looked_back > 1
        else:
            assert looked_back <= 1 + (settings["kind"] in LOOK_BACK)
        added += sum(noise_added(tape, move, item) is not None for item in range(tape.count))
    noisy = settings["kind"] in ("ddpm", "langevin", "langevin-plain") or settings.get("eta", 0) > 0
    moves = len(tape.frames) - 1 - (settings["kind"] != "langevin-plain")  # none in the move to the clean level
    assert added == (moves * tape.count if noisy else 0)


def through_disk(tape: Tape):
    return tape.about(), tape.arrays()


def test_at_the_end_the_last_move_is_told_and_before_the_first_none():
    tape = recorded(CASES[0])
    last = len(tape.frames) - 1
    assert recorded_move(tape, last).number == recorded_move(tape, last - 1).number == last
    assert recorded_move(Tape("points", 10, 5), 0) is None


def test_a_tape_that_left_states_out_knows_the_level_but_not_the_state():
    tape = recorded(CASES[0])
    del tape.frames[3]
    move = recorded_move(tape, 2)
    assert (move.x, move.number, move.t) == (None, 4, tape.grid[3])
    assert noise_added(tape, move, 0) is not None


def test_an_older_tape_has_no_numbers():
    about, arrays = through_disk(recorded(CASES[0]))
    for name in ("schedule", "settings", "grid"):
        del about[name]
    arrays.pop("eps_rms", None)
    tape = Tape.from_arrays(about, arrays)
    move = recorded_move(tape, 2)
    assert move.numbers is None
    assert noise_added(tape, move, 0) is None
    assert move.t == tape.frames[2].t


@pytest.mark.parametrize(
    ("grid", "index", "told"),
    [
        ([0, 0], 1, "does not lie"),
        ([5, 9], 1, "does not lie"),
        ([2000, 3], 1, "does not lie"),
        ([9, 5], 2, "no move 2"),
    ],
)
def test_a_move_that_cannot_be_is_refused(grid, index, told):
    with pytest.raises(ValueError, match=told):
        move_numbers(NoiseSchedule.cosine(), {"kind": "ddim"}, grid, index)


def test_at_the_top_the_sum_with_x0_is_read_first_and_further_down_that_with_eps():
    schedule, grid = NoiseSchedule.cosine(), [1000, 900, 500, 0]
    forms = [[form.of for form in move_numbers(schedule, {"kind": "ddim"}, grid, i).forms] for i in (1, 2, 3)]
    assert forms == [["x0", "eps"], ["eps", "x0"], ["eps", "x0"]]
