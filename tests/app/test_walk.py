"""The guided walk: its numbers against the formulas, its six steps, its keys, and its place in the window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QTextDocument
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from ddpm_studio.app.appearance import stacked
from ddpm_studio.app.banner import Banner
from ddpm_studio.app.controller import RunController
from ddpm_studio.app.levels import CODE, PAPER, levels
from ddpm_studio.app.painting import rich
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.session import Session
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.theme import install
from ddpm_studio.app.walk import Walk
from ddpm_studio.app.walk_math import (
    Chain,
    Level,
    as_pixels,
    likeness,
    move_at,
    noise,
    small,
    some_faces,
    time_code,
    unet_levels,
    walkable,
)
from ddpm_studio.app.walking import Walking
from ddpm_studio.app.widgets import PanelScroll
from ddpm_studio.data import open_dataset
from ddpm_studio.diffusion import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.recipes import built_in, find
from ddpm_studio.store import Run

Key = Qt.Key
pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints", extend=True)
LAPTOP = "ddpm-cifar10-laptop"


@pytest.fixture
def walk(qtbot, qapp) -> Walk:
    install(qapp)
    made = Walk(find(LAPTOP))
    qtbot.addWidget(made)
    made.resize(850, 760)
    with qtbot.waitExposed(made):
        made.show()
    made.begin()
    return made


def tape(levels=(1000, 500, 0), count: int = 3, steps: int = 1000) -> Tape:
    made = Tape("pictures", steps, len(levels), title="Shades", training_step=12)
    for i, t in enumerate(levels):
        x = np.full((count, 4, 4, 1), 10 * i, np.uint8)
        made.frames.append(Frame(i, t, x, x + 1 if i else None, x + 2 if i else None))
    return made


# -- numbers


def test_the_first_faces_are_those_of_the_data():
    dataset = open_dataset("pixel-faces")
    faces = some_faces(8)
    assert faces.shape == (8, 32, 32, 3)
    both = np.concatenate([dataset.train, dataset.held_out])
    assert all((both == face).all(axis=(1, 2, 3)).any() for face in faces)


def test_noise_depends_on_seed_and_level_alone():
    assert np.array_equal(noise(3, 7, (4, 5)), noise(3, 7, (4, 5)))
    drawn = [noise(s, t, (2000,)) for s in (0, 1) for t in (0, 1, 2)]
    correlations = np.abs(np.corrcoef(drawn) - np.eye(6))
    assert correlations.max() < 0.12
    assert abs(np.mean(drawn)) < 0.03
    assert np.std(drawn) == pytest.approx(1, abs=0.02)


def test_the_chain_is_the_sum_of_its_steps():
    schedule = NoiseSchedule.linear(40, 1e-3, 0.2)
    x0 = np.ones((3, 3, 1), np.float32)
    chain = Chain(x0, schedule, 5)
    assert chain.go(40, 100)
    expected = x0.astype(np.float64)
    for t, beta in enumerate(schedule.betas, start=1):
        expected = np.sqrt(1 - beta) * expected + np.sqrt(beta) * noise(5, t, x0.shape)
    assert np.allclose(chain.x, expected, atol=1e-5)


def test_the_chain_comes_back_to_the_same_states():
    schedule = NoiseSchedule.linear()
    chain = Chain(np.zeros((2, 2, 1), np.float32), schedule, 0)
    assert not chain.go(130, 100)
    assert chain.t == 100
    assert chain.go(130, 100)
    there = chain.x
    chain.go(131, 1)
    assert np.array_equal(chain.before, there)
    assert np.allclose(
        chain.x,
        np.sqrt(1 - schedule.betas[130]) * there + np.sqrt(schedule.betas[130]) * noise(0, 131, there.shape),
        atol=1e-6,
    )
    for back in (129, 0, 130, 125, 130):
        while not chain.go(back, 100):
            pass
        assert chain.t == back
    assert np.array_equal(chain.x, there)
    assert [t for t, x in chain.trail(9) if x is not None] == [0, 125]


def test_the_chain_and_the_closed_form_have_one_distribution():
    schedule = NoiseSchedule.linear()
    x0 = np.full((40, 40, 1), 0.5, np.float32)
    chain = Chain(x0, schedule, 1)
    for t in (10, 200, 600):
        while not chain.go(t, 1000):
            pass
        rest = chain.x - np.float32(schedule.alpha[t]) * x0
        assert rest.mean() == pytest.approx(0, abs=4 * schedule.sigma[t] / 40)
        assert rest.std() == pytest.approx(schedule.sigma[t], rel=0.08)


def test_the_time_code_is_the_papers():
    assert time_code(1, 4) == pytest.approx([0.84147098, 0.0001, 0.54030231, 1.0])  # tutorials.md, fixtures
    table = time_code(np.arange(5.0), 128)
    assert table.shape == (5, 128)
    assert table[3, 64 + 63] == pytest.approx(np.cos(3e-4))
    alike = likeness(100, np.array([100.0, 101.0, 900.0]), 128)
    assert alike[0] == pytest.approx(1)
    assert 1 > alike[1] > alike[2]


def test_the_time_code_is_that_of_the_networks():
    torch = pytest.importorskip("torch")
    from ddpm_studio.networks.embeddings import sinusoidal

    times = np.arange(0, 1000, 7.0)
    assert np.allclose(time_code(times, 128), sinusoidal(torch.from_numpy(times), 128).numpy(), atol=1e-9)


@pytest.mark.parametrize(
    ("recipe", "side", "levels"),
    [
        ("ddpm-cifar10", 32, [(32, 128), (16, 256), (8, 256), (4, 256)]),
        (LAPTOP, 32, [(32, 32), (16, 64), (8, 64)]),
        ("simple-unet-cars", 64, [(64, 64), (32, 128), (16, 256), (8, 512), (4, 1024)]),
        ("scratch5-mnist", 28, [(28, 64), (14, 128), (7, 256)]),
        ("moons", 32, []),
    ],
)
def test_levels_come_from_the_recipe(recipe, side, levels):
    assert unet_levels(find(recipe).network, side) == [Level(*level) for level in levels]


def test_large_pictures_are_thinned_out():
    picture = np.arange(100, dtype=np.uint8)[:, None, None] * np.ones((1, 80, 1), np.uint8)
    assert small(picture).shape[0] <= 32
    assert small(some_faces(1)[0]).shape == (32, 32, 3)
    assert small(np.array([[[0], [255]]], np.uint8)).ravel().tolist() == [-1, 1]


def test_the_recipes_of_the_tutorial_are_walked():
    assert [name for name in built_in() if walkable(find(name))] == ["ddpm-cifar10", LAPTOP]
    shorter = find(LAPTOP).with_settings({"schedule.steps": 300})
    assert walkable(shorter)
    assert not walkable(find(LAPTOP).model_copy(update={"schedule": find("score-two-gaussians").schedule}))  # no β_t
    assert not walkable(find(LAPTOP).model_copy(update={"network": find("moons").network}))  # no U-Net


def test_moves_are_found_by_their_start():
    recorded = tape()
    assert [frame.t for frame in move_at(recorded, 1.0)] == [1000, 500]
    assert [frame.t for frame in move_at(recorded, 0.3)] == [500, 0]
    assert move_at(None, 0.5) is None
    assert move_at(tape(levels=(1000,)), 0.5) is None
    assert move_at(Tape("points", 10, 2), 0.5) is None


def test_subscripts_become_rich_text(qapp):
    document = QTextDocument()
    document.setHtml(rich("x_{t-1} < ᾱ_T"))
    assert document.toPlainText() == "xt-1 < ᾱT"
    assert rich("β is 1") == "β is 1"


# -- the page


def settle(qtbot, walk: Walk) -> None:
    qtbot.waitUntil(lambda: walk.scene.chain.t == walk.scene.t)


def test_every_step_says_and_draws_something_of_its_own(qtbot, walk):
    walk.slider.setValue(300)
    seen, pictures = set(), set()
    for i in range(6):
        assert walk.step == i
        if walk.steps[i].walks_chain:
            settle(qtbot, walk)
        seen.add((walk.title.text(), walk.text.text(), walk.equation.text(), walk.numbers.text(), walk.note.text()))
        before = walk.stack.grab().toImage()
        pictures.add(bytes(before.constBits()))
        walk.slider.setValue(700)
        if walk.steps[i].walks_chain:
            settle(qtbot, walk)
        if i < 5:  # without any tape the last step has nothing to move
            assert walk.stack.grab().toImage() != before
        walk.slider.setValue(300)
        if i < 5:
            QTest.keyClick(walk.slider, Key.Key_Return)
    assert len(seen) == len(pictures) == 6
    assert all(all(texts) for texts in seen)


def test_numbers_are_those_of_the_schedule(walk):
    schedule = NoiseSchedule.linear()
    walk.slider.setValue(500)
    assert f"{np.sqrt(1 - schedule.betas[499]):.5f}" in walk.numbers.text()
    walk._show(1)
    assert walk.numbers.text() == f"x_t = {schedule.alpha[500]:.3f} x_0 + {schedule.sigma[500]:.3f} ε"
    walk._show(2)
    assert f"{schedule.alpha_bar[500]:.4g}" in walk.numbers.text()
    assert "0.00004" in walk.note.text()
    walk._show(3)
    assert "499" in walk.numbers.text()  # the paper's code counts from 0
    walk._show(5)
    assert walk.numbers.text().startswith("The paper, t = 1,000:")
    assert walk.numbers.text().endswith("z")
    walk.slider.setValue(1)
    assert not walk.numbers.text().endswith("z")  # no noise at the last move


def test_keys_move_play_go_on_and_leave(qtbot, walk):
    slider = walk.slider
    QTest.keyClick(slider, Key.Key_Right)
    assert walk.scene.t == 1
    QTest.keyClick(slider, Key.Key_End)
    assert walk.scene.t == 1000
    QTest.keyClick(slider, Key.Key_Left)
    assert walk.level.text() == "t = 999"
    QTest.keyClick(walk, Key.Key_Home)
    assert walk.scene.t == 0
    QTest.keyClick(slider, Key.Key_Space)
    qtbot.waitUntil(lambda: walk.scene.t > 10)
    QTest.keyClick(slider, Key.Key_Space)
    stopped = walk.scene.t
    qtbot.wait(100)
    assert walk.scene.t == stopped
    QTest.keyClick(slider, Key.Key_Enter)
    assert walk.step == 1
    walk.back.setFocus()
    QTest.keyClick(walk.back, Key.Key_Return)
    assert walk.step == 0
    with qtbot.waitSignal(walk.closed):
        QTest.keyClick(slider, Key.Key_Escape)
    assert walk.isHidden()
    assert not walk._play_timer.isActive()
    assert not walk._chain_timer.isActive()


def test_steps_begin_where_there_is_something_to_see(walk):
    assert walk.scene.t == 0
    walk.go_on.click()
    assert walk.scene.t == 200
    walk.slider.setValue(650)
    walk.go_on.click()
    assert walk.scene.t == 650  # the person's own place stays
    walk._show(5)
    assert walk.scene.t == 1000  # backward begins with noise
    walk.slider.setValue(10)
    walk.back.click()
    walk.go_on.click()
    assert walk.scene.t == 10


def test_a_hand_on_the_slider_stops_the_play(qtbot, walk):
    walk.play.click()
    qtbot.waitUntil(lambda: walk.scene.t > 10)
    walk.slider.setValue(900)
    assert not walk._play_timer.isActive()
    walk._show(5)
    walk.play.click()
    qtbot.waitUntil(lambda: walk.scene.t < 895)  # backward runs to the left
    walk.play.click()


def test_a_run_shows_the_guess_and_without_one_the_truth_is_shown(walk):
    walk._show(4)
    network = walk.steps[4]
    walk.slider.setValue(400)
    assert "true ε" in {tile.caption for tile in network.shape._out}
    walk.set_tape(tape(), find("fashion-mnist"))
    assert "true ε" in {tile.caption for tile in network.shape._out}  # another recipe's network guessed there
    walk.set_tape(tape(), find(LAPTOP))
    assert [tile.caption for tile in network.shape._out] == ["ε_{θ}", "x̂_0"]
    assert network.shape._into[0].picture.max() == 10  # x at 500, the move that begins nearest to 400
    assert network.shape._out[0].picture.max() == 22
    assert "Shades" in network.told.text()
    walk.set_tape(None)
    assert "true ε" in {tile.caption for tile in network.shape._out}


def test_the_recording_plays_until_there_is_a_run(qtbot, qapp):
    install(qapp)
    made = Walk(find(LAPTOP), tape())
    qtbot.addWidget(made)
    made._show(5)
    backward = made.steps[5]
    made.slider.setValue(1000)
    assert [int(tile.picture.max()) for tile in backward.row._rows[0]] == [0, 12, 11, 10]
    made.slider.setValue(0)
    assert "no noise" in backward.told.text()
    assert backward.told.text().startswith("The pictures are of another recipe")
    made.set_tape(tape((300, 0), steps=300), find("simple-unet-cars"))
    assert backward.told.text().startswith("The pictures are of another recipe")
    made.set_tape(tape(), find(LAPTOP))
    assert backward.told.text().startswith("From this run: Shades")
    made.set_recipe(find("simple-unet-cars"))  # what is walked is the paper's
    assert backward.told.text().startswith("The pictures are of another recipe")


@pytest.mark.parametrize(("name", "columns"), [("ddpm-cifar10", 2), ("score-two-gaussians", 2), (LAPTOP, 3)])
def test_the_two_recipes_of_the_page_are_told_apart(qtbot, qapp, name, columns):
    install(qapp)
    made = Walk(find(name))
    qtbot.addWidget(made)
    made._show(5)
    grid = made.steps[5].table
    rows = [[grid.itemAtPosition(r, c).widget().text() for c in range(1, columns + 1)] for r in range(6)]
    assert rows[1][-2:] == ["1,000", "300"]
    assert rows[2][-2:] == ["L2", "L1"]
    made.set_recipe(find(LAPTOP))
    assert grid.itemAtPosition(0, 1).widget().text() == "This recipe"


def test_another_recipe_keeps_the_place(walk):
    walk.slider.setValue(500)
    walk.set_recipe(find(LAPTOP).with_settings({"schedule.steps": 300}))
    assert (walk.scene.t, walk.slider.maximum()) == (150, 300)
    walk.set_recipe(find("score-two-gaussians"))
    assert (walk.scene.t, walk.slider.maximum()) == (500, 1000)


@pytest.mark.parametrize("name", ["score-two-gaussians", "simple-unet-cars", "fashion-mnist"])
def test_opened_from_another_recipe_it_is_about_the_papers(walk, name):
    walk.set_recipe(find(name))
    assert walk.scene.recipe == find("ddpm-cifar10")
    assert np.array_equal(walk.scene.schedule.alpha, NoiseSchedule.linear().alpha)
    walk.slider.setValue(770)
    for i, step in enumerate(walk.steps):
        walk._show(i)
        walk.slider.setValue(770)
        assert walk.title.text() == f"Tutorial 001 · {step.title}"
        assert walk.about.text() == f"{i + 1} of 6 · DDPM paper: CIFAR-10"
        said = [walk.numbers.text(), walk.note.text(), *(label.text() for label in step.findChildren(QLabel))]
        assert not any("this recipe" in text.lower() or find(name).title in text for text in said)
    walk._show(2)
    assert walk.steps[2].left.accessibleDescription() == "ᾱ_t linear (the paper), ᾱ_t cosine"
    walk._show(3)
    assert walk.numbers.text() == "t = 770: the network is told 769"
    walk.set_dataset(open_dataset("fashion-mnist"))
    assert walk.scene.x0.shape == (32, 32, 3)  # other data than those of the recipe shown
    assert walk.stand_in.isVisible()


def test_the_pictures_of_a_step_add_up(qtbot, walk):
    walk.slider.setValue(900)
    settle(qtbot, walk)
    captions = [tile.caption for tile in walk.steps[0].row._rows[0]]
    assert captions == ["x_0", "√(1−β_t) x_{t-1}", "√β_t z", "x_t , t = 900"]
    chain, beta = walk.scene.chain, walk.scene.beta
    assert np.array_equal(walk.steps[0].row._rows[0][1].picture, as_pixels(np.sqrt(1 - beta) * chain.before))
    assert np.allclose(np.sqrt(1 - beta) * chain.before + np.sqrt(beta) * chain.added, chain.x, atol=1e-5)


def test_pictures_come_from_the_data_and_another_can_be_picked(walk):
    dataset = open_dataset("fashion-mnist")
    walk.set_dataset(dataset)
    assert np.array_equal(walk.scene.x0, small(dataset.train[0]))
    walk.another.click()
    assert (np.array([small(item) for item in dataset.train]) == walk.scene.x0).all(axis=(1, 2, 3)).any()
    assert not np.array_equal(walk.scene.x0, small(dataset.train[0]))
    walk.set_dataset(open_dataset("moons"))  # points: the built-in faces
    assert walk.scene.x0.shape == (32, 32, 3)


def test_every_control_has_a_name(walk):
    for button in (walk.play, walk.another, walk.close_button, walk.back, walk.go_on):
        assert button.accessibleName() or button.text()
    assert walk.slider.accessibleName()
    assert walk.slider.accessibleDescription() == "t = 0"
    assert walk.choice.accessibleName()


def test_faces_that_stand_in_are_named(walk):
    walk.set_recipe(find(LAPTOP).with_settings({"data.source": "fashion-mnist"}))
    assert walk.stand_in.isVisible()
    walk.set_dataset(open_dataset("fashion-mnist"))
    assert not walk.stand_in.isVisible()
    walk.set_dataset(None)
    assert walk.stand_in.isVisible()
    walk.set_recipe(find(LAPTOP))
    assert not walk.stand_in.isVisible()  # they are its own


def test_a_low_window_scrolls_rather_than_overlaps(qtbot, walk):
    area = walk.findChild(PanelScroll)
    walk._show(5)
    walk.resize(420, 420)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
    content = area.widget()
    rows = [w.geometry() for w in (walk.text, walk.equation, walk.numbers, walk.stack, walk.note)]
    assert all(upper.bottom() < lower.top() for upper, lower in pairwise(rows))
    assert rows[-1].bottom() <= content.height()
    QTest.keyClick(area, Key.Key_Left)
    assert walk.scene.t == walk.scene.schedule.steps - 1  # the keys are the page's
    walk.resize(850, 900)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() == 0)


def test_a_page_asks_for_no_room_of_the_others(qtbot, walk):
    area = walk.findChild(PanelScroll)
    walk.resize(440, 540)
    walk._show(5)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() > 0)
    walk._show(0)
    qtbot.waitUntil(lambda: area.verticalScrollBar().maximum() == 0)


def test_levels_are_counted_as_in_the_window(qtbot, walk):
    walk._show(0)
    walk.slider.setValue(100)
    qtbot.waitUntil(lambda: walk.scene.chain.t == 100)
    assert walk.level.text() == "t = 100"
    try:
        levels().set_count(CODE)
        assert walk.level.text() == "t = 99 (code)"
        assert walk.steps[0].row.accessibleDescription().endswith("t = 99")
        walk._show(2)
        assert walk.numbers.text().startswith("t = 99 (code):")
    finally:
        levels().set_count(PAPER)


def test_the_network_has_the_sizes_of_the_recipe(walk):
    printed = find("ddpm-cifar10")
    walk.set_recipe(printed.with_settings({"data.height": 64, "data.width": 64}))  # the built-in faces stand in
    walk._show(4)
    assert [level.side for level in walk.steps[4].shape._levels] == [64, 32, 16, 8]
    assert walk.numbers.text() == "3 × 64 × 64  →  3 × 64 × 64"
    walk.set_recipe(find(LAPTOP))
    walk.set_dataset(open_dataset("fashion-mnist"))
    assert [level.side for level in walk.steps[4].shape._levels] == [28, 14, 7]
    assert walk.numbers.text().startswith("1 × 28 × 28")


# -- in the window


@pytest.fixture
def walking(qtbot, qapp):
    """The part of the window that the walk lives in: banner place, view, session; the engine is never loaded."""
    install(qapp)
    controller = RunController()
    session = Session(controller, WindowSettings())
    view = ReverseView()
    centre = stacked(Banner(), view)
    made = Walking(view, controller, session)
    centre.resize(850, 800)
    qtbot.addWidget(centre)
    with qtbot.waitExposed(centre):
        centre.show()
    yield made
    session.data_clock.stop()
    controller.shutdown()


def test_a_recipe_of_the_tutorial_offers_it_once(walking):
    assert walking.offer.isHidden()
    session = walking._session
    session.choose(find(LAPTOP))
    assert not walking.offer.isHidden()
    session.choose(find("moons"))
    assert walking.offer.isHidden()
    session.choose(find(LAPTOP))
    assert walking.offer.isHidden()


def test_it_takes_the_place_of_the_view_and_gives_it_back(walking):
    view, session = walking._view, walking._session
    view.set_tape(tape())
    view.player.to_noise()
    view.player.play()
    session.choose(find(LAPTOP))
    walking.offer.action.click()
    assert walking.open
    assert view.isHidden()
    assert not view.player.playing
    assert walking.walk.scene.recipe.name == LAPTOP
    assert walking.walk.scene.tape is None  # what plays without a run is a recording
    assert walking.walk.scene.recording.title == "Fashion-MNIST"
    session.choose(find("simple-unet-cars"))
    assert walking.walk.scene.recipe.name == "ddpm-cifar10"
    walking.walk._show(3)
    QTest.keyClick(walking.walk.slider, Key.Key_Escape)
    assert not walking.open
    assert not view.isHidden()
    assert view.player.playing
    walking.on_walk()
    assert walking.walk.step == 3  # where it was left
    session.run_begun.emit()  # the first pictures of a run are to be seen
    assert not view.isHidden()


def test_frames_of_a_run_reach_it_as_they_come(walking, tmp_path):
    view, session = walking._view, walking._session
    session.choose(find(LAPTOP))
    session.run = Run.create(find(LAPTOP), tmp_path / "run")
    walking.on_walk()
    walking.walk._show(4)
    walking.walk.slider.setValue(0)
    growing = tape()
    last = growing.frames.pop()
    view.set_tape(growing)
    assert walking.walk.scene.tape is growing
    assert walking.walk.scene.ran == find(LAPTOP)
    assert walking.walk.steps[4].shape._out[0].picture.max() == 12
    growing.frames.append(last)
    view.poll()
    assert walking.walk.steps[4].shape._out[0].picture.max() == 22
