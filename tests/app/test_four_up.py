"""One move of one item in detail, on the player's clock."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import Qt

from ddpm_studio.app.four_up import NOISE_RANGE
from ddpm_studio.app.painting import math_width
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.diffusion import NoiseSchedule
from ddpm_studio.diffusion.counted_noise import gaussian_of, mix
from ddpm_studio.diffusion.move_numbers import move_numbers
from ddpm_studio.diffusion.tape import Frame, Tape

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform
GRID = [1000, 999, 500, 250, 0]


def a_tape(kind: str = "pictures", sampler: str = "ddpm", *, old: bool = False) -> Tape:
    draw = np.random.default_rng(0)

    def items():
        if kind == "points":
            return draw.normal(size=(6, 2)).astype(np.float32)
        return draw.integers(0, 256, (6, 7, 5, 1), dtype=np.uint8)

    about = {
        "schedule": {"kind": "linear", "steps": 1000, "beta_start": 1e-4, "beta_end": 0.02},
        "settings": {"kind": sampler, "variance": "posterior", "eta": 0.0},
        "grid": GRID,
    }
    tape = Tape(kind=kind, steps=1000, total=len(GRID), sampler=sampler, seed=3, **({} if old else about))
    for i, t in enumerate(GRID):
        later = (items(), items()) if i else (None, None)
        rms = np.linspace(0.9, 1.1, 6, dtype=np.float32) if i and kind == "pictures" and not old else None
        tape.frames.append(Frame(i, t, items(), *later, eps_rms=rms))
    return tape


@pytest.fixture
def view(qtbot):
    made = ReverseView()
    qtbot.addWidget(made)
    made.resize(760, 700)
    with qtbot.waitExposed(made):
        made.show()
    return made


def told(view: ReverseView) -> str:
    return "\n".join(label.text() for label in view.four_up.lines)


def test_a_double_click_opens_the_move_at_the_clock(qtbot, view):
    tape = a_tape()
    view.set_tape(tape)
    view.player.set_position(1)
    tile = view.pictures.tiles()[4]
    ratio = view.pictures.devicePixelRatioF()
    qtbot.mouseDClick(view.pictures, Qt.MouseButton.LeftButton, pos=tile.center() / ratio)
    four = view.four_up
    assert view.stage.currentWidget() is four
    assert four.item == view.pictures.chosen == 4
    before, after = tape.frames[1:3]
    shown = [tile.item for tile in four.tiles]
    for one, other in zip(shown, (before.x[4], after.eps[4], after.x0[4], after.x[4]), strict=False):
        np.testing.assert_array_equal(one, other)
    z = gaussian_of(mix(3, 4), 2, (1, 7, 5)).transpose(1, 2, 0)
    grey = np.clip((z + NOISE_RANGE) / (2 * NOISE_RANGE) * 255, 0, 255)
    assert np.abs(shown[4].astype(float) - grey).max() <= 0.5 + 1e-3
    assert [tile.symbol for tile in four.tiles] == ["x_t", "ε̂", "x̂_0", "x_s", "z"]
    assert f"|ε̂| = {after.eps_rms[4]:.4f}" in told(view)
    assert "t = 999 → t = 500" in told(view)
    assert " z\n" in told(view)


def test_it_follows_both_clocks_and_the_last_move_adds_no_noise(qtbot, view):
    view.set_tape(a_tape())
    view.player.set_position(0)
    view.four_up.set_on(True)
    assert view.four_up.tiles[3].symbol == "x_{t−1}"
    first, image = told(view), view.four_up.grab().toImage()
    view.player.step_forward()
    assert told(view) != first
    assert view.four_up.grab().toImage() != image
    view.player.to_image()
    assert "t = 250 → t = 0" in told(view)
    assert "no noise is added" in told(view)
    assert len(view.four_up.tiles) == 4
    other = a_tape("points", "ddim")
    view.set_tape(other)
    view.player.set_position(1)
    np.testing.assert_array_equal(view.four_up.tiles[2].item, other.frames[2].x0[0])
    assert len(view.four_up.tiles) == 4
    assert np.isfinite(view.four_up.grab().toImage().width())


def test_the_numbers_are_those_of_ddpm(view):
    """DDPM, eq. 11: the mean is (x_t − β_t/√(1−ᾱ_t) ε̂)/√α_t."""
    view.set_tape(a_tape())
    view.player.set_position(0)
    view.four_up.set_on(True)
    beta = np.linspace(1e-4, 0.02, 1000)
    bar = np.cumprod(1 - beta)
    on_x, on_eps = 1 / np.sqrt(1 - beta[-1]), beta[-1] / np.sqrt(1 - bar[-1]) / np.sqrt(1 - beta[-1])
    std = np.sqrt(beta[-1] * (1 - bar[-2]) / (1 - bar[-1]))
    assert told(view).startswith(f"x_{{t−1}} = {on_x:.4f} x_t − {on_eps:.4f} ε̂ + {std:.4f} z")


def test_keys_open_turn_and_close(qtbot, view):
    view.set_tape(a_tape())
    view.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_Return)
    assert view.four_button.isChecked()
    assert view.four_up.caption.text() == "picture 1 of 6"
    qtbot.mouseClick(view.four_up._back, Qt.MouseButton.LeftButton)
    assert view.four_up.caption.text() == "picture 6 of 6"
    qtbot.mouseClick(view.four_up._forward, Qt.MouseButton.LeftButton)
    assert view.four_up.item == view.pictures.chosen == 0
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.stage.currentWidget() is view.pictures
    assert not view.four_button.isChecked()


def test_brackets_mark_the_item_before_and_after(qtbot, view):
    view.set_tape(a_tape())
    for key, item in (("]", 0), ("]", 1), ("[", 0), ("[", 5)):
        qtbot.keyClick(view, key)
        assert view.pictures.chosen == item
    qtbot.keyClick(view, Qt.Key.Key_Return)
    qtbot.keyClick(view, "]")
    assert view.four_up.caption.text() == "picture 1 of 6"
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert (view.four_up.on, view.pictures.chosen) == (False, 0)
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert view.pictures.chosen == -1
    view.compare([a_tape("points"), a_tape("points")])
    qtbot.keyClick(view, "]")
    qtbot.keyClick(view, "]")
    assert [cell.canvas.chosen for cell in view.comparison.cells] == [1, 1]
    qtbot.keyClick(view, Qt.Key.Key_Escape)
    assert [cell.canvas.chosen for cell in view.comparison.cells] == [-1, -1]


def test_a_tape_that_has_the_place_in_memory_of_another_is_another(view):
    for shade in range(40):
        tape = a_tape()
        for frame in tape.frames[1:]:
            frame.eps[:] = shade
        view.set_tape(tape)
        view.player.set_position(2)
        view.four_up.set_on(True)
        view.four_up.set_frame(None)
        assert int(view.four_up.tiles[1].item.flat[0]) == shade
        view.four_up.set_on(False)
        view.set_tape(None)
        del tape


def test_an_older_tape_shows_its_pictures_without_numbers(view):
    view.set_tape(a_tape(old=True))
    view.four_up.set_on(True)
    view.player.set_position(1)
    assert len(view.four_up.tiles) == 4
    assert "does not say how" in told(view)
    assert "=" not in told(view)


def test_a_state_that_was_left_out_is_not_made_up(view):
    tape = a_tape()
    del tape.frames[2]
    view.set_tape(tape)
    view.four_up.set_on(True)
    view.player.set_position(1)
    assert view.four_up.tiles[0].item is None
    assert "left this state out" in view.four_up.tiles[0].note
    assert "t = 500 → t = 250" in told(view)
    view.four_up.grab()


def test_a_rule_of_two_calls_says_so(view):
    view.set_tape(a_tape(sampler="heun"))
    view.four_up.set_on(True)
    view.player.set_position(1)
    assert "asked twice" in told(view)
    assert "x̂_0" not in told(view)


@pytest.mark.parametrize(("sampler", "estimate"), [("ipndm", "ε̂"), ("dpmpp-2m", "x̂_0"), ("unipc", "x̂_0")])
def test_a_rule_that_looks_back_tells_the_weight_of_each_estimate(view, sampler, estimate):
    tape = a_tape(sampler=sampler)
    view.set_tape(tape)
    view.four_up.set_on(True)
    view.player.set_position(1)
    form = move_numbers(NoiseSchedule.named(**tape.schedule), tape.settings, tape.grid, 2).forms[0]
    assert len(form.weights) == 2
    first, before, _ = (label.text() for label in view.four_up.lines)
    signs = ["−" if weight < 0 else "+" for weight in form.weights]
    now, earlier = (f"{sign} {abs(weight):.4f} {estimate}" for sign, weight in zip(signs, form.weights, strict=True))
    assert first == f"x_s = {form.x:.4f} x_t {now}"
    assert before == f"{earlier}({tape.grid[0]:,})"
    assert "made before" in view.four_up.lines[1].toolTip()
    assert all(label.sizeHint().width() <= label.width() for label in view.four_up.lines)
    view.player.set_position(0)
    assert view.four_up.lines[1].toolTip() == ""


def test_at_the_top_of_the_schedule_the_sum_with_x0_comes_first(view):
    view.set_tape(a_tape(sampler="ddim"))
    view.four_up.set_on(True)
    view.player.set_position(1)
    first, second, _ = (label.text() for label in view.four_up.lines)
    assert "x̂_0" in first
    assert "ε̂" in second


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp-2m", "ipndm"])
def test_its_lines_fit_where_there_is_little_room(view, sampler):
    view.set_tape(a_tape(sampler=sampler))
    view.player.set_position(3)
    view.four_up.set_on(True)
    assert "(root mean square)" in told(view)
    view.resize(400, 560)
    view.grab()
    assert "root" not in told(view)
    assert "(root mean square)" in view.four_up.lines[2].toolTip()
    for label in view.four_up.lines:
        assert math_width(label.text(), label.fitted()) <= label.width()
    view.resize(760, 700)
    view.grab()
    assert "(root mean square)" in told(view)
