"""Points in the plane: the score field, the histograms, and what is said of the modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QImage

from ddpm_studio.app.canvas import PointCanvas
from ddpm_studio.app.histogram_view import BINS, HistogramView, heat, histogram, reach_for
from ddpm_studio.app.mode_facts import ModeFacts
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.score_field import LONGEST, TRUE, TYPICAL, Arrows, outlines
from ddpm_studio.app.session import Session
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.stage import Stage
from ddpm_studio.app.theme import color, theme
from ddpm_studio.data import Dataset, open_dataset
from ddpm_studio.data.points import Mixture, mixture_of
from ddpm_studio.diffusion.tape import Frame, ScoreField, Tape, lattice
from ddpm_studio.recipes import built_in
from ddpm_studio.training.control import SampleRequest

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform

SIDE = 20


def mixture(name: str = "two-gaussians") -> Mixture:
    found = mixture_of(name)
    assert found is not None
    return found


def cloud(
    spread: float, shares: tuple[float, float] = (0.5, 0.5), count: int = 2000, name: str = "two-gaussians"
) -> Any:
    """float32 points around the modes of a mixture with this spread and these shares."""
    which = np.repeat([0, 1], [round(share * count) for share in shares])
    return (mixture(name).means[which] + spread * np.random.default_rng(0).standard_normal((count, 2))).astype("f4")


def true_field(factor: float = 1.0, sigma: float = 0.3) -> ScoreField:
    score = factor * mixture().score(lattice(SIDE, 2.5), 1.0, sigma)
    return ScoreField(score.reshape(SIDE, SIDE, 2).astype(np.float32), 1.0, sigma, 2.5)


def tape_of(*states: Any, sampler: str = "langevin", field: ScoreField | None = None) -> Tape:
    tape = Tape(kind="points", steps=200, total=len(states), sampler=sampler)
    for i, x in enumerate(states):
        estimates = (None, None) if i == 0 else (x, -x)
        tape.frames.append(Frame(i, 200 - i, x, *estimates, field))
    return tape


def shown(qtbot: Any, widget: Any, width: int = 700, height: int = 600) -> Any:
    qtbot.addWidget(widget)
    widget.resize(width, height)
    with qtbot.waitExposed(widget):
        widget.show()
    return widget


def near(image: QImage, spot: QPointF, wanted: QColor) -> bool:
    """Whether a pixel close to ``spot`` has about this colour."""
    pixels = (QColor(image.pixel(int(spot.x()) + i, int(spot.y()) + j)) for i in (-1, 0, 1) for j in (-1, 0, 1))
    return any(
        max(abs(p.red() - wanted.red()), abs(p.green() - wanted.green()), abs(p.blue() - wanted.blue())) < 40
        for p in pixels
    )


# -- arrows


def test_a_true_field_has_the_same_arrows_twice() -> None:
    arrows = Arrows.of(true_field(), mixture())
    assert arrows.true is not None
    np.testing.assert_allclose(arrows.learnt, arrows.true, atol=1e-5)
    square = 5.0 / SIDE
    lengths = np.linalg.norm(arrows.true, axis=1) / square
    assert np.quantile(lengths, 0.95) == pytest.approx(TYPICAL)
    # the scale is told right: an arrow of one square stands for a score of one_square
    score = np.linalg.norm(mixture().score(arrows.spots, 1.0, 0.3), axis=1)
    free = lengths < LONGEST - 1e-9
    np.testing.assert_allclose(lengths[free] * arrows.one_square, score[free], rtol=1e-9)


def test_arrows_compare_and_never_cover_their_neighbours() -> None:
    arrows = Arrows.of(true_field(0.5), mixture())
    assert arrows.true is not None
    free = np.linalg.norm(arrows.true, axis=1) < 0.99 * LONGEST * 5 / SIDE
    np.testing.assert_allclose(arrows.learnt[free], arrows.true[free] / 2, atol=1e-5)
    wild = Arrows.of(true_field(50.0), mixture())
    assert np.linalg.norm(wild.learnt, axis=1).max() <= LONGEST * 5 / SIDE * (1 + 1e-9)


def test_without_a_closed_form_there_are_only_the_learnt_ones() -> None:
    field = true_field()
    field.score[3, 4] = np.nan  # an early network may say anything
    arrows = Arrows.of(field, None)
    assert arrows.true is None
    assert np.isfinite(arrows.learnt).all()
    assert not Arrows.of(ScoreField(np.zeros((4, 4, 2), np.float32), 1.0, 1.0, 2.5), None).learnt.any()


def test_an_arrow_points_up_where_y_grows() -> None:
    place = (200.0, 100.0, 40.0)
    (up,) = outlines(np.array([[1.0, 0.0]]), np.array([[0.0, 0.5]]), place, 2, 6)
    box = up.boundingRect()
    assert (box.top(), box.bottom()) == (30, 50)
    assert (box.left(), box.right()) == (137, 143), "as wide as its head"
    assert up.at(3) == QPointF(140, 30), "the tip"
    assert outlines(np.zeros((1, 2)), np.full((1, 2), 0.01), place, 2, 6) == []


def test_on_a_small_canvas_there_are_fewer_and_longer_arrows_of_the_same_scale() -> None:
    arrows = Arrows.of(true_field(), mixture())
    assert arrows.for_squares(30) is arrows
    few = arrows.for_squares(15)
    assert len(few.spots) == len(arrows.spots) // 4
    assert few.one_square == arrows.one_square
    i = np.flatnonzero((arrows.spots == few.spots[7]).all(axis=1))[0]
    np.testing.assert_allclose(few.learnt[7], 2 * arrows.learnt[i])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_canvas_draws_learnt_over_true(qtbot: Any, scheme: str) -> None:
    theme().prefer(scheme)
    canvas = shown(qtbot, PointCanvas(), 600, 600)
    canvas.set_mixture(mixture())
    turned = true_field()
    turned.score[:] = turned.score @ np.array([[0, 1], [-1, 0]], np.float32)  # a quarter turn: both can be seen
    frame = Frame(1, 10, np.full((1, 2), 9, np.float32), field=turned)
    canvas.set_frame(frame)
    arrows = Arrows.of(turned, mixture())
    assert arrows.true is not None
    unit = 300 / canvas.view_range
    k = int(np.argmin(np.abs(arrows.spots - (-1.875, 0.125)).sum(axis=1)))  # far from the legend

    def middle(vector: Any) -> QPointF:
        x, y = arrows.spots[k] + vector / 2
        return QPointF(300 + x * unit, 300 - y * unit)

    plain = canvas.grab().toImage()
    canvas.set_with_score(True)
    drawn = canvas.grab().toImage()
    strong, stage, share = color("changed"), color("stage"), TRUE[1]
    pale = QColor.fromRgbF(
        *(share * a + (1 - share) * b for a, b in zip(strong.getRgbF()[:3], stage.getRgbF()[:3], strict=True))
    )
    for vector, ink in ((arrows.learnt[k], color("accent")), (arrows.true[k], pale)):
        assert near(drawn, middle(vector), ink)
        assert not near(plain, middle(vector), ink)
    canvas.set_frame(Frame(2, 9, frame.x))  # the same points, but no field
    assert not near(canvas.grab().toImage(), middle(arrows.learnt[k]), color("accent"))
    theme().prefer("light")


# -- histograms


@given(st.integers(0, 500), st.sampled_from([2.0, 2.5]))
def test_a_histogram_is_that_of_numpy(count: int, reach: float) -> None:
    points = 1.5 * np.random.default_rng(count).standard_normal((count, 2))
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=BINS, range=[[-reach, reach]] * 2)
    np.testing.assert_allclose(histogram(points, reach) * max(count, 1), counts.T[::-1], atol=1e-9)


def test_edges_count_and_what_is_no_number_does_not() -> None:
    points = np.array([[2, 2], [-2, -2], [2.01, 0], [np.nan, 0], [np.inf, 0]])
    share = histogram(points)
    assert share[0, -1] == share[-1, 0] == 0.2
    assert share.sum() == pytest.approx(0.4)


def test_a_histogram_reaches_as_far_as_the_data() -> None:
    assert reach_for(cloud(0.05)) == 2.0
    assert reach_for(cloud(0.06, name="uneven-gaussians")) == 2.5
    assert reach_for(np.zeros((0, 2))) == 2.0


def test_more_points_are_never_paler(qtbot: Any) -> None:
    pixels = heat(np.array([[0.0, 0.1, 0.5, 1.0]]), 1.0)[0]
    assert QColor(int(pixels[0])) == color("panel")
    assert QColor(int(pixels[-1])) == color("text")
    grey = [QColor(int(p)).lightnessF() for p in pixels]
    assert grey == sorted(grey, reverse=True)  # in the light scheme
    assert heat(np.zeros((1, 1)), 0.0)[0, 0] == pixels[0]


def test_the_histogram_shows_data_left_and_samples_right(qtbot: Any) -> None:
    theme().prefer("light")
    view = shown(qtbot, HistogramView())
    view.set_data(cloud(0.05), mixture())
    view.set_frame(Frame(0, 5, np.full((50, 2), (1.0, -1.0), np.float32)))  # where no data are
    image = view.grab(view.canvas.geometry()).toImage()
    left, right = view.canvas.squares()

    def at(square: Any, x: float, y: float) -> QPointF:
        return QPointF(square.center().x() + x / 4 * square.width(), square.center().y() - y / 4 * square.height())

    assert near(image, at(right, 1.02, -0.98), color("text"))
    assert near(image, at(left, 1.02, -0.98), color("panel"))
    assert near(image, at(right, 1, 1), color("panel"))
    assert not near(image, at(left, 1, 1), color("panel"))


# -- shares and spreads


def test_shares_and_spreads_are_told_beside_those_of_the_data(qtbot: Any) -> None:
    view = shown(qtbot, HistogramView())
    view.set_data(cloud(0.05), mixture())
    points = cloud(0.02, (0.25, 0.75))
    view.set_frame(Frame(1, 5, points, points, points))
    first, second = view.facts.text().split("\n")
    assert first == f"left 25.0 % (data 50 %), spread {ModeFacts.of(points, mixture()).spreads[0]:.3f} (data 0.050)"
    assert second.startswith("right 75.0 % (data 50 %), spread 0.02")
    view.set_frame(Frame(1, 5, points, points, points), "eps")
    assert not view.facts.isVisible()  # noise has no modes
    only_left = cloud(0.02, (1.0, 0.0))
    view.set_frame(Frame(2, 4, only_left))
    assert view.facts.text().endswith("right 0.0 % (data 50 %), spread – (data 0.050)")


def test_many_modes_are_told_together(qtbot: Any) -> None:
    view = shown(qtbot, HistogramView())
    eight = mixture("eight-gaussians")
    points = eight.means.repeat(100, axis=0)
    view.set_data(points, eight)
    view.set_frame(Frame(0, 5, points))
    spread = np.sqrt(eight.variance)
    said = "8 modes: 12.5 to 12.5 % of the points in each (data 12.5 %), spread 0.000"
    assert view.facts.text() == f"{said} (data {spread:.3f})"
    view.set_data(np.zeros((3, 2)), None)
    view.set_frame(Frame(0, 5, points))
    assert not view.facts.isVisible()  # no closed form, no modes


def test_the_spread_of_all_modes_weighs_them_by_their_points() -> None:
    facts = ModeFacts(np.array([0.9, 0.1, 0.0]), np.array([0.1, 0.2, np.nan]), np.full(3, 1 / 3), 0.1)
    assert facts.spread == pytest.approx(np.sqrt(0.9 * 0.01 + 0.1 * 0.04))
    assert not facts.narrow
    nothing = ModeFacts.of(np.zeros((0, 2)), mixture())
    assert np.isnan(nothing.spread)
    assert not nothing.narrow


def test_a_few_points_thrown_away_change_no_spread(qtbot: Any) -> None:
    points = cloud(0.05, count=20_000)
    assert ModeFacts.of(points, mixture()).spreads == pytest.approx([0.05, 0.05], rel=0.02)
    np.testing.assert_allclose(ModeFacts.of(points, mixture()).spreads, mixture().spreads(points), rtol=0.02)
    points[:40] = -1000
    assert ModeFacts.of(points, mixture()).spreads == pytest.approx([0.05, 0.05], rel=0.02)
    view = shown(qtbot, HistogramView())
    view.set_data(cloud(0.05), mixture())
    view.set_frame(Frame(0, 5, points))
    assert view.facts.text().endswith("; 0.2 % outside")


def test_chance_is_no_wrong_share() -> None:
    weights = np.array([0.8, 0.2])
    spreads = np.array([0.1, 0.1])
    assert ModeFacts(np.array([0.7, 0.3]), spreads, weights, 0.1).wrong_mode(10_000) == 0
    assert ModeFacts(np.array([0.7, 0.3]), spreads, weights, 0.1).wrong_mode(50) is None
    assert ModeFacts(np.array([0.79, 0.21]), spreads, weights, 0.1).wrong_mode(10**9) is None


def test_a_blind_network_is_the_reason_for_a_narrow_spread(qtbot: Any) -> None:
    view = shown(qtbot, HistogramView())
    view.set_data(cloud(0.05), mixture())
    tight = tape_of(cloud(1.0), cloud(0.017))
    view.set_tape(tight)
    assert not view.note.isVisible()  # narrow, but not for this reason
    view.set_blind(True)
    view.set_tape(tight)
    assert view.note.isVisible()
    assert "spread of 0.017 is only 34 % of the data's 0.050" in view.note.text()
    unfinished = tape_of(cloud(1.0))
    unfinished.total = 2
    view.set_tape(unfinished)
    assert view.note.isVisible()  # of the last complete one; nothing jumps while the next is made
    view.set_tape(tape_of(cloud(1.0), cloud(0.05)))
    assert not view.note.isVisible()


def test_plain_langevin_keeps_the_shares_of_its_start(qtbot: Any) -> None:
    view = shown(qtbot, HistogramView())
    uneven = mixture("uneven-gaussians")
    data = cloud(0.06, (0.8, 0.2), name="uneven-gaussians")
    view.set_data(data, uneven)
    start, end = (cloud(s, (0.5, 0.5), name="uneven-gaussians") for s in (0.5, 0.06))
    view.set_tape(tape_of(start, end, sampler="langevin-plain"))
    said = view.note.text()
    assert "50 % of the points ended nearest to the left mode, where 50 % began and 80 % of the data are" in said
    assert "shares follow the start" in said
    view.set_tape(tape_of(data, end, sampler="langevin-plain"))
    assert "shares follow the start" not in view.note.text()  # they do not
    assert view.note.isVisible()
    view.set_tape(tape_of(start, data, sampler="langevin-plain"))
    assert not view.note.isVisible()  # right by measurement
    view.set_tape(tape_of(start, end, sampler="langevin"))
    assert not view.note.isVisible()  # wrong, but not for this reason
    view.set_tape(tape_of(start, np.concatenate([data, 50 + data]), sampler="langevin-plain"))
    assert view.note.text().startswith("50 % of the points ran far away from all data")


# -- in the middle of the window


def test_points_have_three_views_and_pictures_one(qtbot: Any) -> None:
    view = shown(qtbot, ReverseView(), 900, 700)
    view.set_data_points(cloud(0.05), mixture(), blind=True)
    pictures = Tape(kind="pictures", steps=10, total=1, frames=[Frame(0, 10, np.zeros((1, 8, 8, 1), np.uint8))])
    view.set_tape(pictures)
    assert not view.view_choice.isVisible()
    tape = tape_of(cloud(1.0), cloud(0.3), cloud(0.017), field=true_field())
    view.set_tape(tape)
    assert view.view_choice.isVisible()
    assert view.stage.currentWidget() is view.points
    for name, widget in (("histogram", view.histogram), ("score", view.points), ("particles", view.points)):
        qtbot.mouseClick(view.view_choice.findChild(object, name), Qt.MouseButton.LeftButton)
        assert view.stage.currentWidget() is widget
    qtbot.mouseClick(view.view_choice.findChild(object, "histogram"), Qt.MouseButton.LeftButton)
    assert "34 % of the data's" in view.histogram.note.text()
    before = view.histogram.facts.text()
    view.player.to_noise()  # scrubbed: the numbers follow, the sentence about the end stays
    assert view.histogram.facts.text() != before
    assert view.histogram.note.isVisible()
    view.set_tape(pictures)
    assert view.stage.currentWidget() is view.pictures
    assert not view.view_choice.isVisible()


def test_a_growing_tape_is_seen_live(qtbot: Any) -> None:
    view = shown(qtbot, ReverseView(), 900, 700)
    view.set_data_points(cloud(0.05), mixture())
    qtbot.mouseClick(view.view_choice.findChild(object, "histogram"), Qt.MouseButton.LeftButton)
    tape = tape_of(cloud(1.0))
    tape.total = 3
    view.set_tape(tape)
    told = []
    for spread in (0.5, 0.1):
        tape.frames.append(Frame(1, 100, cloud(spread)))
        view.poll()
        told.append(view.histogram.facts.text())
    assert told[0] != told[1]
    assert f"spread {ModeFacts.of(cloud(0.1), mixture()).spreads[0]:.3f}" in told[1]


@pytest.mark.parametrize(
    ("name", "count"), [("score-two-gaussians", 2000), ("score-two-gaussians-laptop", 2000), ("fashion-mnist", 64)]
)
def test_a_cloud_is_sampled_with_many_points(qtbot: Any, name: str, count: int) -> None:
    asked = []

    class Controller:
        def sample(self, run: object, request: SampleRequest) -> None:
            asked.append(request.count)

    session = Session(Controller(), WindowSettings())  # type: ignore[arg-type]
    session.recipe = built_in()[name]
    session.run = object()  # type: ignore[assignment]
    session.sample("raw")
    assert asked == [count]


def test_data_of_another_recipe_are_forgotten(qtbot: Any) -> None:
    session = Session(None, WindowSettings())  # type: ignore[arg-type]
    session.dataset = known = open_dataset("pixel-faces")
    session.recipe = built_in()["pixel-faces"]
    session.choose(session.recipe.with_settings({"training.batch": 8}))
    assert session.dataset is known
    session.choose(built_in()["moons"])
    assert session.dataset is None
    session.data_clock.stop()


@pytest.mark.parametrize(("name", "blind"), [("score-two-gaussians", True), ("score-two-gaussians-laptop", False)])
def test_the_stage_knows_which_network_is_blind(qtbot: Any, name: str, blind: bool) -> None:
    session = Session(None, WindowSettings())  # type: ignore[arg-type]
    view, form = shown(qtbot, ReverseView(), 900, 700), RecipeForm({})
    qtbot.addWidget(form)
    stage = Stage(view, form, None, session)  # type: ignore[arg-type]
    stage.stop_clocks()
    session.recipe = built_in()[name]
    data = cloud(0.05)
    session.dataset = Dataset("two-gaussians", "points", data, data)
    stage.show_last(tape_of(cloud(1.0), cloud(0.017)))
    assert bool(view.histogram.note.text()) is blind
