"""Curves made short, and the panel that shows how learning goes."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QColor
from PySide6.QtTest import QTest

from ddpm_studio.app.channels import MetricLog
from ddpm_studio.app.curves import BLOCK, Summary, log_ticks, smooth
from ddpm_studio.app.learning_plots import LearningPlots
from ddpm_studio.app.level_map import round_down, round_up
from ddpm_studio.app.theme import color, theme
from ddpm_studio.diffusion.schedule import NoiseSchedule

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform

values_with_gaps = st.lists(
    st.one_of(st.floats(-1e6, 1e6), st.sampled_from([float("nan"), float("inf"), -float("inf")])), max_size=400
).map(np.array)


# -- curves


@given(values=values_with_gaps, cuts=st.lists(st.integers(0, 400), max_size=4), most=st.integers(1, 60), data=st.data())
def test_every_piece_keeps_its_minimum_and_maximum(values, cuts, most, data):
    values = values.astype(np.float64)
    summary = Summary(block=4)
    for cut in sorted(cuts):  # the curve grows
        summary.update(values[:cut])
    summary.update(values)
    first = data.draw(st.integers(0, len(values)))
    bars = summary.bars(values, first, len(values), most)
    assert len(bars.start) <= 2 * most + 2
    assert first == len(values) or bars.start[0] <= first
    for k, (a, b) in enumerate(itertools.pairwise([*bars.start, len(values)])):
        part = values[a:b]
        part = part[np.isfinite(part)]
        if len(part):
            assert (bars.low[k], bars.high[k]) == (part.min(), part.max())
            assert bars.mean[k] == pytest.approx(part.mean(), rel=1e-6, abs=1e-6)
        else:
            assert np.isnan([bars.low[k], bars.high[k], bars.mean[k]]).all()


def test_a_rolled_back_curve_is_read_anew():
    summary, values = Summary(), np.zeros(10 * BLOCK)
    summary.update(values)
    again = values.copy()
    again[4 * BLOCK :] = 7
    summary.update(again)
    assert summary.bars(again, 0, len(again), 4).high.max() == 7
    summary.update(again[: 2 * BLOCK])
    assert summary.bars(again[: 2 * BLOCK], 0, 2 * BLOCK, 1).high.max() == 0


@given(st.integers(3, 200), st.floats(0.5, 40))
def test_smoothing_keeps_constants_and_shifts_nothing(n, span):
    np.testing.assert_allclose(smooth(np.full(n, 3.0), span), 3)
    peak = np.zeros(2 * n + 1)
    peak[n] = 1
    smoothed = smooth(peak, span)
    np.testing.assert_allclose(smoothed, smoothed[::-1])
    assert smoothed.argmax() == n or span > n / 3


def test_smoothing_leaves_gaps_out():
    values = np.array([1.0, np.nan, 1.0, np.inf, 1.0])
    np.testing.assert_allclose(smooth(values, 1.0), 1)
    assert np.isnan(smooth(np.full(4, np.nan), 2.0)).all()


@given(st.floats(-8, 6), st.floats(0.01, 9))
def test_log_ticks_are_few_and_inside(start, decades):
    low, high = 10.0**start, 10.0 ** (start + decades)
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 12
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert ticks == sorted(ticks)


# -- the panel


def make_logs(steps: int) -> tuple[MetricLog, MetricLog]:
    batch = MetricLog("step", "loss", "lr", "grad_norm", "images_per_second", capacity=max(16, steps + 1000))
    rng = np.random.default_rng(0)
    step = np.arange(1, steps + 1)
    batch._buffer[0, :steps] = step
    batch._buffer[1, :steps] = (0.1 + np.exp(-step / (steps / 3))) * rng.lognormal(0, 0.1, steps)
    batch._buffer[2:, :steps] = 1e-3
    batch._n = steps
    probe = MetricLog("step", "train", "held_out")
    for at in np.linspace(1, steps, 20):
        loss = 0.1 + np.exp(-at / (steps / 3))
        probe.append(at, loss, 1.05 * loss)
    return batch, probe


@pytest.fixture
def panel(qtbot) -> LearningPlots:
    made = LearningPlots()
    qtbot.addWidget(made)
    made.resize(300, 780)
    with qtbot.waitExposed(made):
        made.show()
    return made


def accent_pixels(widget) -> int:
    image = widget.grab().toImage()
    wanted = color("accent").rgb()
    return sum(image.pixel(x, y) == wanted for x in range(0, image.width(), 2) for y in range(image.height()))


def test_empty_panels_say_what_will_appear(panel):
    panel.refresh()
    assert panel.loss._hint.isVisible()
    assert "once training" in panel.loss.accessibleDescription()
    panel.set_logs(*make_logs(100))
    assert not panel.loss._hint.isVisible()


def test_the_loss_is_drawn_and_told(panel):
    before = accent_pixels(panel.loss)
    panel.set_logs(*make_logs(5000))
    assert accent_pixels(panel.loss) > before + 50
    assert panel.loss.accessibleDescription() == "Probe loss 0.15 at step 5,000, falling"
    assert panel.legend.accessibleName() == "probe 0.15, held-out 0.157, batch"


def test_a_long_curve_becomes_few_points_and_grows(panel):
    batch, probe = make_logs(200_000)
    panel.set_logs(batch, probe)
    x, y = panel.loss._batch.getData()
    assert 100 < len(x) < 4 * panel.width()
    loss = batch.view("loss")
    assert (y.min(), y.max()) == (loss.min(), loss.max())
    batch.append(200_001, 5.0, 0, 0, 0)
    panel.refresh()
    assert panel.loss._batch.getData()[1].max() == 5
    panel.loss.reset.emit()  # the range is fitted, else only twice a second
    assert panel.loss.getViewBox().viewRange()[0] == [0, 200_001]
    drawn = panel.loss._batch.getData()[0]
    panel.refresh()  # nothing new, nothing done
    assert panel.loss._batch.getData()[0] is drawn


def own_seconds(what, times: int = 7) -> float:
    """The least of this thread's own time that ``what`` took."""
    took = []
    for _ in range(times):
        start = time.thread_time()
        what()
        took.append(time.thread_time() - start)
    return min(took)


def test_a_million_steps_cost_no_more_than_a_thousand(panel):
    """What is drawn, and the time to draw it: all of them, a part of them, and after more have come."""
    n = 1_000_000
    step = np.arange(1.0, n + 1)
    loss = np.random.default_rng(0).lognormal(0, 0.1, n)
    loss[617_283], loss[271_828] = 9.0, 1e-3  # to be seen at any zoom
    batch = MetricLog("step", "loss", "lr", "grad_norm", "images_per_second")
    batch.extend(np.stack([step, loss, *3 * [np.full(n, 1e-3)]], axis=1))
    assert batch._buffer.nbytes <= 2 * n * 5 * 8
    panel.set_logs(batch, make_logs(n // 1000)[1])

    def grown() -> None:
        batch.append(len(batch) + 1, 0.5, 1e-3, 1e-3, 1e-3)
        panel.loss._ranged.invalidate()  # the dearest kind of refresh: the range is fitted too
        panel.refresh()

    assert own_seconds(grown) < 0.005
    x, y = panel.loss._batch.getData()
    assert len(x) < 4 * panel.width()
    assert (y.max(), y.min()) == (9.0, 1e-3)

    def zoom(left: float, right: float) -> None:
        panel.loss.setRange(xRange=(left, right), padding=0)
        panel.loss.moved.emit()

    for width in (500_000, 130_000, 20_000, 1_000):
        left = 617_283 - width / 3
        assert own_seconds(lambda left=left, width=width: zoom(left, left + width)) < 0.005, width
        x, y = panel.loss._batch.getData()
        assert len(x) < 5 * panel.width()
        assert y.max() == 9.0
    zoom(617_250, 617_330)
    x, y = panel.loss._batch.getData()
    assert np.array_equal(y[::2], loss[np.int64(x[::2]) - 1]), "near enough, it is the curve itself"
    assert len(y[::2]) >= 80


def test_long_runs_side_by_side_are_drawn_fast(panel):
    """A noisy thick line drawn in one piece would take a quarter of a second."""
    rng = np.random.default_rng(0)
    points = [np.stack([np.arange(100_000.0), rng.random(100_000) + k], axis=1) for k in range(4)]
    panel.set_compared([(f"run {k}", QColor("red"), p) for k, p in enumerate(points)])
    for _, item, *_ in panel.loss._compared:
        assert len(item.getData()[0]) < 2 * panel.width()
    assert own_seconds(panel.loss.grab, 3) < 0.05
    assert panel.loss._readout(50_000.0).startswith("step 50,000 · run 0 ")


def test_values_that_are_no_numbers_are_left_out(panel):
    batch, probe = make_logs(50)
    for step, loss in ((51, np.nan), (52, np.inf), (53, -1.0), (54, 0.2)):
        batch.append(step, loss, 0, 0, 0)
    probe.append(54, np.nan, np.nan)
    panel.set_logs(batch, probe)
    assert panel.loss.accessibleDescription() == "Probe loss nan at step 54, not a number"
    panel.log_button.click()
    for curve in (panel.loss._batch, panel.loss._probe):
        assert np.isfinite(curve.getData()[1]).all()


def test_log_scale(qtbot, panel):
    panel.set_logs(*make_logs(1000))
    linear = panel.loss._probe.getData()[1]
    qtbot.mouseClick(panel.log_button, Qt.MouseButton.LeftButton)
    np.testing.assert_allclose(panel.loss._probe.getData()[1], np.log10(linear))
    low, high = panel.loss.getViewBox().viewRange()[1]
    assert -2 < low < -0.7 < 0 < high < 0.5
    axis = panel.loss.getAxis("left")
    assert axis.tickStrings([-1.0, 0.0], 1, None) == ["0.1", "1"]


def test_smoothing_adds_a_line(panel):
    panel.set_logs(*make_logs(1000))
    assert len(panel.loss._smoothed.getData()[0]) == 0
    strong = panel.findChild(QAction, "strong")
    strong.trigger()
    assert len(panel.loss._smoothed.getData()[0]) > 50
    assert panel.smoothing_button.isChecked()
    panel.findChild(QAction, "off").trigger()
    assert len(panel.loss._smoothed.getData()[0]) == 0


def test_hover_reads_the_curves(qtbot, panel):
    panel.set_logs(*make_logs(1000))
    panel.add_flag(900, "rate ×3 at 900")
    assert panel.readout.text() == "rate ×3 at 900"
    view = panel.loss.getViewBox()
    qtbot.mouseMove(panel.loss.viewport(), view.sceneBoundingRect().center().toPoint())
    assert panel.readout.text().startswith("step 5")
    assert "probe" in panel.readout.text()
    assert "batch" in panel.readout.text()
    qtbot.mouseMove(panel.loss.viewport(), QPoint(2, 2))
    assert panel.readout.text() == "rate ×3 at 900"


def test_floors_are_named_and_every_number_has_room(qtbot, panel):
    batch, _ = make_logs(1000)
    probe = MetricLog("step", "train", "held_out", "floor", "held_out_floor")
    for step in range(0, 1001, 50):
        probe.append(step, 0.4371, 0.5321, 0.4356, 0.5287)
    panel.set_logs(batch, probe)
    legend = panel.legend
    assert legend.accessibleName() == ("probe 0.437, held-out 0.532, batch, lowest expected 0.436, of held-out 0.529")
    wide = [
        left + 14 + legend.fontMetrics().horizontalAdvance(entry[1])
        for (left, _), entry in zip(legend._places(), legend._entries, strict=True)
    ]
    assert max(wide) <= legend.width()
    lines = legend._places()[-1][1] + 1
    qtbot.waitUntil(lambda: legend.height() >= lines * legend.fontMetrics().height())
    assert "overfitting" in legend.toolTip()
    np.testing.assert_allclose(panel.loss._held_out_floor.getData()[1], 0.5287)
    panel.loss.hovered.emit(500.0)
    assert "…" not in "".join(panel.readout.lines())
    assert " · ".join(panel.readout.lines()) == panel.readout.text()
    panel.add_probe(24_005, np.array([100.0, 900.0]), np.array([0.02234, 0.5]), np.array([0.01871, 0.4]))
    panel.levels.choose((0, 0))
    assert panel.levels_caption.lines()[-1] == "lowest expected 0.0187"


def test_a_zoomed_plot_stays_until_double_clicked(qtbot, panel):
    batch, probe = make_logs(1000)
    panel.set_logs(batch, probe)
    view = panel.loss.getViewBox()
    view.setRange(xRange=(100, 200), yRange=(0, 1), padding=0)
    view.sigRangeChangedManually.emit([True, True])
    for step in range(1001, 1200):
        batch.append(step, 0.1, 0, 0, 0)
    panel.refresh()
    assert view.viewRange()[0] == [100, 200]
    qtbot.mouseDClick(panel.loss.viewport(), Qt.MouseButton.LeftButton)
    assert view.viewRange()[0] == [0, 1199]


def test_a_flag_under_the_pointer_says_what_was_changed_while_the_curve_grows(panel):
    batch, probe = MetricLog("step", "loss"), MetricLog("step", "train", "held_out", "floor")
    panel.set_logs(batch, probe)
    for step in range(0, 1000, 10):
        batch.append(step, 1.0)
        probe.append(step, 1.0, 1.0, float("nan"))
    panel.loss.reset.emit()  # all of it in sight
    for text in ("learning rate: 0.1 → 0.2", "batch: 8 → 16"):
        panel.add_flag(500, text)
    panel.loss.hovered.emit(502.0)
    said = "step 500: learning rate: 0.1 → 0.2; batch: 8 → 16"
    assert panel.readout.text() == said
    probe.append(1000, 0.5, 0.5, float("nan"))
    panel.refresh()
    assert panel.readout.text() == said
    panel.loss.hovered.emit(800.0)
    assert panel.readout.text().startswith("step 800 · probe")
    panel.loss.hovered.emit(float("nan"))
    assert panel.readout.text() == "batch: 8 → 16"


def test_nothing_is_cut_off_however_narrow_the_panel(panel):
    panel.resize(1, panel.height())
    QTest.qWait(20)
    content = panel._scroll.widget()
    assert content.width() <= panel._scroll.viewport().width()


def test_what_is_opened_can_be_seen(panel, qtbot):
    panel.resize(300, 300)
    panel.more_button.click()
    seen = panel._scroll.viewport()
    qtbot.waitUntil(lambda: panel.metric_readout.visibleRegion().boundingRect().height() > 0)
    top = panel.metric_choice.mapTo(seen, panel.metric_choice.rect().topLeft()).y()
    assert 0 <= top < seen.height()


def test_a_run_that_was_probed_once_is_a_dot(panel):
    panel.set_compared([("a", QColor("red"), np.array([[250.0, 0.3]])), ("b", QColor("blue"), np.ones((2, 2)))])
    panel.loss.refresh()
    assert [list(axis) for axis in panel.loss._dots.getData()] == [[250.0], [0.3]]
    panel.set_compared([])
    assert not len(panel.loss._dots.getData()[0])


def test_flags_follow_the_logs(panel):
    panel.set_logs(*make_logs(100))
    panel.add_flag(10, "a")
    panel.add_flag(20, "b")
    assert list(panel.loss._pennants.getData()[0]) == [10, 20]
    panel.set_logs(*make_logs(100))
    assert len(panel.loss._pennants.getData()[0]) == 0
    assert panel.readout.text() == ""


def test_loss_by_noise_level(qtbot, panel):
    levels = np.array([100.0, 500.0, 900.0])
    assert panel.levels.bounds() is None
    panel.add_probe(100, levels, np.array([1.0, 0.1, 0.01]))
    panel.add_probe(200, levels, np.array([0.5, 0.1, 0.01]))
    image = panel.levels.grab().toImage()
    room = panel.levels._room().toRect()
    top, bottom = (image.pixelColor(room.center().x(), y) for y in (room.top() + 5, room.bottom() - 5))
    assert top.red() > 200  # yellow: the loss is high
    assert bottom.red() < 100
    qtbot.mouseMove(panel.levels, QPoint(room.right() - 3, room.bottom() - 3))
    assert panel.levels_caption.text() == "step 200 · t ≈ 900 · loss 0.01"
    panel.add_probe(150, levels, np.array([0.7, 0.1, 0.01]))  # after a roll-back
    assert panel.levels._steps == [100, 150]


def shade(panel, x: float, row: float = 0.5) -> QColor:
    """The colour of the map at a part of its width and height."""
    room = panel.levels._room()
    return panel.levels.grab().toImage().pixelColor(round(room.left() + x * room.width()), round(row * room.height()))


def test_a_column_of_the_map_reaches_half_way_to_its_neighbours(panel):
    levels, empty = np.array([100.0, 900.0]), shade(panel, 0.5)
    panel.add_probe(276, levels, np.array([1.0, 1.0]))
    panel.levels.set_last_step(276)
    nothing = shade(panel, 0.5)
    assert nothing != shade(panel, 0.99), "what was before the first probe is not known"
    panel.add_probe(400, levels, np.array([0.01, 0.01]))
    assert shade(panel, 0.2) == nothing
    assert shade(panel, 300 / 400) != shade(panel, 360 / 400)
    assert panel.levels._cell(QPoint(round(panel.levels._room().right()) - 2, 5))[0] == 1
    assert empty.isValid()


def test_the_ends_of_the_colours_are_round_and_say_what_they_leave_out(panel):
    levels = np.array([100.0, 900.0])
    panel.add_probe(10, levels, np.array([0.97, 0.043]))
    assert panel.levels.bounds() == (0.02, 1.0)
    panel.add_probe(20, levels, np.array([0.91, 0.037]))
    assert panel.levels.bounds() == (0.02, 1.0), "it seldom moves"
    assert panel._scale._ends == ("0.02", "1")
    panel.add_probe(30, levels, np.array([3.1e25, 0.036]))
    assert panel.levels.bounds() == (0.02, 1.0)
    assert panel._scale._ends == ("0.02", "≥ 1")
    assert "Higher" in panel._scale.toolTip()
    text = sum(panel._scale.fontMetrics().horizontalAdvance(end) for end in panel._scale._ends)
    assert panel._scale.width() > text + 20


@pytest.mark.parametrize(("value", "down", "up"), [(1.0, 1, 1), (0.019, 0.01, 0.02), (5.3, 5, 10), (2e25, 2e25, 2e25)])
def test_round_ends(value, down, up):
    assert (round_down(value), round_up(value)) == (down, up)


def test_one_run_that_blew_up_leaves_the_others_to_be_seen(panel):
    step = np.arange(0.0, 1000.0, 10)
    good = np.stack([step, 0.4 + 0.6 * np.exp(-step / 50)], axis=1)
    bad = np.stack([step, np.geomspace(1.0, 3e25, len(step))], axis=1)
    panel.set_compared([("good", QColor("green"), good), ("bad", QColor("red"), bad)])
    panel.loss.reset.emit()
    assert 0.9 < panel.loss.getViewBox().viewRange()[1][1] < 11
    assert panel.loss.beyond_text() == "↑ off scale, to 3e+25"
    panel.log_button.click()
    panel.loss.reset.emit()
    assert panel.loss.getViewBox().viewRange()[1][1] < 5
    panel.set_compared([("good", QColor("green"), good)])
    panel.loss.reset.emit()
    assert panel.loss.beyond_text() == ""


def test_the_map_of_a_fork_stands_below_its_loss(panel):
    levels = np.array([100.0, 900.0])
    batch, probe = make_logs(1000)
    panel.set_logs(batch, probe)
    for step in (250, 500, 750, 1000):
        panel.add_probe(step, levels, np.array([0.5, 0.4]))
    assert panel.levels_heading.text() == "Loss by noise level"
    parent, fork = (np.stack([np.arange(a, a + 1001.0, 100), np.ones(11)], axis=1) for a in (0, 1000))
    pair = [("parent", QColor("green"), parent), ("fork", QColor("red"), fork)]
    panel.set_compared(pair, before=1000.0)
    free = shade(panel, 0.3)
    assert free != shade(panel, 0.8)
    assert panel.levels._cell(QPoint(round(panel.levels._room().right()) - 2, 5))[0] == 3
    panel.add_probe(1100, levels, np.array([0.5, 0.4]))  # newer than the curves that were read
    panel.refresh()
    assert shade(panel, 0.3) == free
    panel.set_compared(pair)  # another run is on screen
    assert shade(panel, 0.3) == shade(panel, 0.8) != free
    assert "run on screen" in panel.levels_heading.text()
    panel.set_compared([])
    assert panel.levels_heading.text() == "Loss by noise level"


def test_the_schedule_moves_with_its_settings(panel):
    panel.set_schedule(NoiseSchedule.linear())
    plot = panel.schedule
    x, y = plot._first.getData()
    assert (len(x), y[0]) == (1001, 1)
    assert plot.legend.accessibleName() == "√ᾱ signal, √(1−ᾱ) noise"
    assert not plot.warning.isVisible()
    panel.set_schedule(NoiseSchedule.linear(300))
    assert len(plot._first.getData()[0]) == 301
    assert plot.warning.isVisible()
    assert plot.warning.text() == "22 % of x<sub>0</sub> left at T"
    assert "At t = T 22 % of the picture is left" in plot.warning.toolTip()
    panel.set_level(170)
    assert plot._level.value() == 170
    panel.set_schedule(NoiseSchedule.geometric(50))
    assert plot.legend.accessibleName() == "σ noise"  # α is 1 throughout


def test_a_ladder_of_noise_levels_is_straight_on_a_log_axis(panel):
    plot = panel.schedule
    panel.set_schedule(NoiseSchedule.geometric(200, 0.001, 1.0))
    t, y = plot._first.getData()
    assert "noise of σ = 1:" in plot.warning.toolTip()
    assert plot.warning.isVisible()
    assert t.tolist() == list(range(1, 201))  # level 0 has no noise, and no logarithm
    np.testing.assert_allclose(y, np.linspace(-3, 0, 200), atol=1e-9)
    assert plot.plot.getAxis("left").tickStrings([-3, 0], 1, None) == ["0.001", "1"]
    plot._on_hovered(1.0)
    assert plot.legend.accessibleName() == "noise 0.001, t = 1"
    panel.set_schedule(NoiseSchedule.geometric(200, 0.001, 50.0))
    assert not plot.warning.isVisible()
    panel.set_schedule(NoiseSchedule.linear())
    assert plot.plot.getAxis("left").tickStrings([-3, 0], 1, None) == ["-3", "0"]


@pytest.mark.parametrize("choice", ["log_snr", "beta", "signal"])
@pytest.mark.parametrize("name", ["linear", "cosine", "flow", "geometric"])
def test_every_schedule_has_every_curve(qtbot, panel, name, choice):
    panel.set_schedule(getattr(NoiseSchedule, name)(40))
    qtbot.mouseClick(panel.schedule.choice.findChild(object, choice), Qt.MouseButton.LeftButton)
    x, y = panel.schedule._first.getData()
    assert len(x) >= 38
    assert np.isfinite(y).all()


def test_more_curves_unfold(qtbot, panel):
    panel.set_logs(*make_logs(100))
    assert not panel.chosen_metric.isVisible()
    qtbot.mouseClick(panel.more_button, Qt.MouseButton.LeftButton)
    assert panel.chosen_metric.isVisible()
    assert panel.chosen_metric._line.getData()[1][0] == 1e-3
    qtbot.mouseClick(panel.metric_choice.findChild(object, "grad_norm"), Qt.MouseButton.LeftButton)
    assert panel.metric_readout.text() == "Norm of the gradient"
    qtbot.mouseClick(panel.more_button, Qt.MouseButton.LeftButton)
    assert not panel.chosen_metric.isVisible()


def test_a_wheel_belongs_to_the_panel_that_scrolls(qtbot, panel):
    panel.set_logs(*make_logs(100))
    before = panel.loss.getViewBox().viewRange()
    panel.loss.wheelEvent(wheel := FakeWheel())
    assert wheel.ignored
    assert panel.loss.getViewBox().viewRange() == before


class FakeWheel:
    """A wheel event without Ctrl."""

    ignored = False

    def modifiers(self) -> Qt.KeyboardModifier:
        return Qt.KeyboardModifier.NoModifier

    def ignore(self) -> None:
        self.ignored = True


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_theme(panel, scheme):
    panel.set_logs(*make_logs(100))
    theme().prefer(scheme)
    image = panel.loss.grab().toImage()
    assert image.pixelColor(image.width() - 2, 1) == color("panel")
    assert panel.loss._probe.opts["pen"].color() == color("accent")
    theme().prefer("system")


def test_a_hidden_panel_does_nothing(panel):
    panel.hide()
    panel.set_logs(*make_logs(100))
    assert len(panel.loss._probe.getData()[0]) == 0
