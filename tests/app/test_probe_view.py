"""A cell of the loss by noise level opens what the network saw there."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from ddpm_studio.app.channels import Sights
from ddpm_studio.app.learning_plots import LearningPlots
from ddpm_studio.app.plots import AXIS_WIDTH
from ddpm_studio.store import record as record_module
from ddpm_studio.store.record import ProbeRow, Record
from ddpm_studio.training.events import ProbeItems, ProbeSight

pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")  # a gap of the offscreen platform
LEVELS = np.array([50.0, 500.0, 950.0])


def items(kind: str = "pictures") -> ProbeItems:
    draw = np.random.default_rng(0)
    if kind == "points":
        return ProbeItems(LEVELS.astype(int), *draw.normal(size=(2, 3, 2)).astype(np.float32))
    return ProbeItems(LEVELS.astype(int), *draw.integers(0, 256, (2, 3, 8, 8, 1), dtype=np.uint8))


def sight(step: int, like: ProbeItems) -> ProbeSight:
    return ProbeSight(step, like.eps + like.eps.dtype.type(step % 7), like.x + like.x.dtype.type(step % 5))


@pytest.fixture(params=["pictures", "points"])
def panel(qtbot, request):
    made = LearningPlots()
    qtbot.addWidget(made)
    made.resize(340, 900)
    with qtbot.waitExposed(made):
        made.show()
    sights = Sights()
    for step in (100, 200, 300):
        sights.add(items(request.param), sight(step, items(request.param)))
        made.add_probe(step, LEVELS, np.array([0.5, 0.4, 0.3]) / step, np.array([0.2, 0.2, 0.1]) / 300)
    made.set_sights(sights)
    return made


def place(panel: LearningPlots, column: int, row: int) -> QPoint:
    levels = panel.levels
    wide = levels.width() - AXIS_WIDTH
    return QPoint(round(AXIS_WIDTH + wide * (column + 0.9) / 3), round(levels.height() * (row + 0.5) / 3))


def shown(panel: LearningPlots) -> list[np.ndarray]:
    return [tile.item for tile in panel.sight.tiles]


def test_a_click_shows_what_that_model_saw_and_the_next_click_another(qtbot, panel):
    assert not panel.sight.isVisible()
    for column, row in ((1, 2), (0, 0)):
        qtbot.mouseClick(panel.levels, Qt.MouseButton.LeftButton, pos=place(panel, column, row))
        assert panel.sight.isVisible()
        all_items = panel._sights.items
        expected = sight(100 * (column + 1), all_items)
        wanted = (all_items.x[row], all_items.eps[row], expected.eps[row], expected.x0[row])
        for one, other in zip(shown(panel), wanted, strict=True):
            np.testing.assert_array_equal(one, other)
        assert f"{100 * (column + 1)}" in panel.sight.caption.text()
        assert f"t = {LEVELS[row]:.0f}" in panel.sight.caption.text()
    assert "lowest expected 0.000667" in panel.levels_caption.text()
    before = panel.sight.grab().toImage()
    qtbot.mouseClick(panel.levels, Qt.MouseButton.LeftButton, pos=place(panel, 2, 1))
    assert panel.sight.grab().toImage() != before
    qtbot.mouseClick(panel.sight.close_button, Qt.MouseButton.LeftButton)
    assert not panel.sight.isVisible()
    assert panel.levels.chosen is None


def test_the_keys_do_the_same(qtbot, panel):
    keys = Qt.Key
    qtbot.keyClick(panel.levels, keys.Key_Return)
    assert panel.levels.chosen == (300, 1)
    for key, cell in ((keys.Key_Left, (200, 1)), (keys.Key_Down, (200, 2)), (keys.Key_Down, (200, 2))):
        qtbot.keyClick(panel.levels, key)
        assert panel.levels.chosen == cell
    assert panel.sight.isVisible()
    qtbot.keyClick(panel.levels, keys.Key_Escape)
    assert panel.levels.chosen is None
    assert not panel.sight.isVisible()


def test_a_run_without_such_items_says_so_and_another_run_closes_it(qtbot, panel):
    panel.set_sights(Sights())
    qtbot.mouseClick(panel.levels, Qt.MouseButton.LeftButton, pos=place(panel, 1, 1))
    assert shown(panel) == []
    assert "did not record" in panel.sight.caption.text()
    panel.set_logs(None, None)
    assert not panel.sight.isVisible()


def test_sights_stay_under_a_cap_with_first_and_last():
    fixed = items()
    size = sight(0, fixed).nbytes
    sights = Sights(cap=10 * size)
    for step in range(100):
        sights.add(fixed, sight(step, fixed))
        assert len(sights) <= 10
    assert sights.nearest(-5).step == 0
    assert sights.nearest(1000).step == 99
    sights.forget_after(50)
    assert sights.nearest(1000).step <= 50


def test_the_record_keeps_them_under_a_cap_and_an_older_record_opens(tmp_path, monkeypatch):
    fixed = items()
    monkeypatch.setattr(record_module, "SIGHTS_CAP", 10 * sight(0, fixed).nbytes)
    floor = np.array([0.3, 0.2, 0.1])
    with Record(tmp_path / "record.sqlite", write=True) as record:
        for step in range(40):
            record.add_probe(ProbeRow(step, 1.0, 1.0, LEVELS, floor, floor, floor), fixed, sight(step, fixed))
    with Record(tmp_path / "record.sqlite") as record:
        back, sights = record.sights()
        assert back is not None
        assert (sights[0].step, sights[-1].step) == (0, 39)
        assert len(sights) <= 10
        for one in sights:
            np.testing.assert_array_equal(one.x0, sight(one.step, fixed).x0)
            np.testing.assert_array_equal(one.eps, sight(one.step, fixed).eps)
        np.testing.assert_array_equal(back.x, fixed.x)
        assert len(record.probes()) == 40
        np.testing.assert_array_equal(record.probes()[7].floor_by_level, floor)
    with Record(tmp_path / "record.sqlite", write=True) as record:
        record.forget_after(20)
        assert all(one.step <= 20 for one in record.sights()[1])
        record._db.execute("drop table probe_arrays")  # as before there was such a table
    with Record(tmp_path / "record.sqlite") as record:
        assert record.sights() == (None, [])
        assert record.probes()[3].floor_by_level is None
