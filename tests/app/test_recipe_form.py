"""The recipe form: made from the schema, validated while it is edited, driven here by mouse and keyboard."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QHelpEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QComboBox, QFileDialog, QLineEdit, QMenu, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from ddpm_studio.app import theme as themes
from ddpm_studio.app.recipe_editors import POINTS, LineEditor, SourceEditor, SwitchEditor, read, stepped, write
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.recipe_rows import FieldRow
from ddpm_studio.recipes import SECTION_TITLES, Field, Recipe, fields_of, kinds_of, section_class

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")  # gaps of "offscreen"

SETS = {"fashion-mnist": "Fashion-MNIST", "moons": "Two moons"}
BASE = Recipe.parse(
    {"schedule": {"kind": "linear"}, "sampler": {"kind": "ddim", "steps": 50}, "training": {"batch": 64}}
)


@pytest.fixture
def form(qtbot: QtBot) -> RecipeForm:
    themes.theme()
    made = RecipeForm(SETS)
    qtbot.addWidget(made)
    made.resize(264, 700)
    made.set_recipe(BASE)
    made.set_level_of_detail("everything")
    made.show()
    qtbot.waitExposed(made)
    return made


@pytest.fixture
def changes(form: RecipeForm) -> list[Recipe]:
    """The recipes that the form has emitted."""
    seen: list[Recipe] = []
    form.recipe_changed.connect(seen.append)
    return seen


def row(form: RecipeForm, path: str) -> FieldRow:
    found = next((r for r in form.findChildren(FieldRow) if r.path == path and not r.isHidden()), None)
    assert found is not None, f"no visible row for {path}"
    return found


def shown(form: RecipeForm) -> set[str]:
    return {r.path for r in form.findChildren(FieldRow) if r.isVisible()}


def type_into(form: RecipeForm, path: str, text: str, *, enter: bool = True) -> QLineEdit:
    editor = row(form, path).editor
    assert isinstance(editor, QLineEdit)
    editor.setFocus()
    editor.selectAll()
    QTest.keyClicks(editor, text)
    if not text:
        QTest.keyClick(editor, Qt.Key.Key_Backspace)
    if enter:
        QTest.keyClick(editor, Qt.Key.Key_Return)
    return editor


def choose(form: RecipeForm, path: str, value: str) -> QComboBox:
    editor = row(form, path).editor
    assert isinstance(editor, QComboBox)
    editor.setFocus()
    index = editor.findData(value)
    assert index >= 0
    while editor.currentIndex() != index:
        QTest.keyClick(editor, Qt.Key.Key_Down if index > editor.currentIndex() else Qt.Key.Key_Up)
    return editor


def field(path: str) -> Field:
    section, _, name = path.rpartition(".")
    return next(f for f in fields_of(section_class(BASE, section)) if f.name == name)


def border(widget: QWidget) -> QColor:
    picture = widget.grab().toImage()
    return picture.pixelColor(picture.width() // 2, 0)


def near(one: QColor, other: QColor) -> bool:
    return all(abs(a - b) < 40 for a, b in zip(one.getRgb()[:3], other.getRgb()[:3], strict=True))


# -- made from the schema ----------------------------------------------------------------------------------


def test_every_setting_of_the_recipe_has_a_row_that_shows_it(form: RecipeForm) -> None:
    expected = {field.name for field in fields_of(Recipe)}
    for section in SECTION_TITLES:
        expected |= {f"{section}.{f.name}" for f in fields_of(section_class(BASE, section))}
        expected |= {f"{section}.kind"} if len(kinds_of(section)) > 1 else set()
    assert {r.path for r in form.findChildren(FieldRow) if not r.isHidden()} == expected
    assert row(form, "training.learning_rate").editor.text() == "0.001"  # type: ignore[union-attr]
    assert row(form, "schedule.steps").editor.text() == "1,000"  # type: ignore[union-attr]


def test_every_editor_says_what_it_is(form: RecipeForm) -> None:
    for r in form.findChildren(FieldRow):
        assert r.editor.objectName() == r.path
        assert r.editor.accessibleName()
        assert r.path in r.editor.toolTip()


@pytest.mark.parametrize("level", ["watch", "tweak", "everything"])
def test_a_level_of_detail_shows_what_belongs_to_it(form: RecipeForm, level: str) -> None:
    order = ["watch", "tweak", "everything"]
    form.set_level_of_detail(level)
    for r in form.findChildren(FieldRow):
        assert r.isHidden() == (order.index(r.field.setting.level) > order.index(level))


def test_the_level_is_chosen_with_the_mouse(form: RecipeForm, qtbot: QtBot) -> None:
    watch = form.findChild(QWidget, "watch")
    assert watch is not None
    with qtbot.waitSignal(form.level_changed) as told:
        QTest.mouseClick(watch, Qt.MouseButton.LeftButton)
    assert told.args == ["watch"]
    assert form.level() == "watch"
    assert "training.learning_rate" in shown(form)
    assert "training.batch" not in shown(form)
    headings = {box.title for box in form._boxes.values() if box.isVisible()}
    assert headings == {"Data", "Learning", "Sampling"}


def test_an_unknown_level_of_detail_falls_back(form: RecipeForm) -> None:
    form.set_level_of_detail("of another version")
    assert form.level() == "watch"


def test_nothing_needs_more_width_than_the_panel_has(form: RecipeForm) -> None:
    form.set_recipe(BASE.with_settings({"sampler.kind": "dpmpp-2m", "network.channels": (64, 128, 256, 512)}))
    for r in form.findChildren(FieldRow):
        assert r.minimumSizeHint().width() <= 264 - 24, r.path
        right = r.editor.mapTo(form, QPoint(r.editor.width(), 0)).x()
        assert right <= 264 - 12, r.path


# -- editing -----------------------------------------------------------------------------------------------


def test_a_number_is_taken_while_it_is_typed(form: RecipeForm, changes: list[Recipe], qtbot: QtBot) -> None:
    editor = type_into(form, "training.learning_rate", "3e-3", enter=False)
    qtbot.waitUntil(lambda: bool(changes))
    assert changes[-1].training.learning_rate == 0.003
    assert editor.text() == "3e-3"  # not rewritten under the person's hands
    row(form, "training.batch").editor.setFocus()
    assert editor.text() == "0.003"


def test_half_typed_numbers_are_not_called_wrong_at_once(form: RecipeForm, qtbot: QtBot) -> None:
    told: list[dict[str, str]] = []
    form.problems_changed.connect(told.append)
    type_into(form, "training.learning_rate", "0.", enter=False)
    QTest.qWait(250)
    assert told == []
    qtbot.waitUntil(lambda: bool(told))
    assert "training.learning_rate" in told[-1]


def test_a_wrong_value_keeps_the_last_valid_recipe_and_says_why(form: RecipeForm, changes: list[Recipe]) -> None:
    type_into(form, "training.batch", "0")
    r = row(form, "training.batch")
    assert form.recipe() == BASE
    assert not changes
    assert set(form.problems()) == {"training.batch"}
    assert not r.note.isHidden()
    assert r.note.text().endswith("but it is 0.")
    assert near(border(r.editor), themes.color("bad"))
    type_into(form, "training.batch", "32")
    assert form.problems() == {}
    assert form.recipe().training.batch == 32
    assert r.note.isHidden()


def test_text_that_is_no_number_stays_until_it_is_one_or_escape(form: RecipeForm) -> None:
    editor = type_into(form, "training.batch", "many")
    row(form, "training.learning_rate").editor.setFocus()
    assert editor.text() == "many"
    assert set(form.problems()) == {"training.batch"}
    editor.setFocus()
    QTest.keyClick(editor, Qt.Key.Key_Escape)
    assert editor.text() == "64"
    assert form.problems() == {}


def test_one_wrong_field_does_not_hold_up_another(form: RecipeForm) -> None:
    type_into(form, "training.batch", "0")
    type_into(form, "training.warmup", "10")
    assert form.recipe().training.warmup == 10
    assert set(form.problems()) == {"training.batch"}


def test_two_fields_that_only_fit_together_are_taken_together(form: RecipeForm) -> None:
    type_into(form, "schedule.steps", "20")  # below the 50 sampling steps
    assert set(form.problems()) == {"sampler.steps"}
    assert form.recipe() == BASE
    type_into(form, "sampler.steps", "10")
    assert form.problems() == {}
    assert (form.recipe().schedule.steps, form.recipe().sampler.steps) == (20, 10)


def test_a_problem_of_a_whole_section_stands_at_the_field_that_caused_it(form: RecipeForm) -> None:
    type_into(form, "schedule.beta_start", "0.5")
    assert set(form.problems()) == {"schedule.beta_start"}


def test_a_problem_shows_its_row_at_every_level_of_detail(form: RecipeForm) -> None:
    type_into(form, "training.beta1", "2")
    form.set_level_of_detail("watch")
    assert "training.beta1" in shown(form)


def test_asking_for_the_recipe_takes_what_is_being_typed(form: RecipeForm) -> None:
    type_into(form, "training.batch", "128", enter=False)
    assert form.recipe().training.batch == 128
    type_into(form, "training.batch", "-1", enter=False)
    assert "training.batch" in form.problems()


def test_arrow_keys_step_and_stop_where_the_recipe_ends(form: RecipeForm) -> None:
    editor = row(form, "training.learning_rate").editor
    editor.setFocus()
    QTest.keyClick(editor, Qt.Key.Key_Up)
    assert form.recipe().training.learning_rate == 0.002
    editor = type_into(form, "training.beta1", "0.99")
    QTest.keyClick(editor, Qt.Key.Key_Up)  # 1 is excluded
    assert form.recipe().training.beta1 == 0.99
    assert form.problems() == {}


def test_a_switch_and_a_choice(form: RecipeForm) -> None:
    switch = row(form, "network.attention").editor
    assert isinstance(switch, SwitchEditor)
    QTest.mouseClick(switch, Qt.MouseButton.LeftButton)
    assert form.recipe().network.attention is True  # type: ignore[union-attr]
    choose(form, "objective.loss", "huber")
    assert form.recipe().objective.loss == "huber"


def test_an_empty_optional_field_is_none(form: RecipeForm) -> None:
    assert row(form, "data.height").editor.placeholderText() == "auto"  # type: ignore[union-attr]
    type_into(form, "data.height", "32")
    assert form.recipe().data.height == 32
    type_into(form, "data.height", "")
    assert form.recipe().data.height is None
    assert form.problems() == {}


def test_another_kind_brings_its_own_fields_and_keeps_what_fits(form: RecipeForm) -> None:
    type_into(form, "schedule.steps", "500")
    choose(form, "schedule.kind", "geometric")
    assert form.recipe().schedule.kind == "geometric"
    assert form.recipe().schedule.steps == 500
    assert "schedule.sigma_max" in {r.path for r in form.findChildren(FieldRow) if not r.isHidden()}
    assert not [r for r in form.findChildren(FieldRow) if r.path == "schedule.beta_end" and not r.isHidden()]


def test_a_kind_that_does_not_fit_yet_waits_for_the_rest(form: RecipeForm) -> None:
    choose(form, "schedule.kind", "flow")
    assert set(form.problems()) == {"prediction.predicts"}
    assert form.recipe().schedule.kind != "flow"
    choose(form, "prediction.predicts", "velocity")
    assert form.problems() == {}
    assert form.recipe().schedule.kind == "flow"


def test_tab_goes_through_the_rows_in_order_even_after_a_change_of_kind(form: RecipeForm) -> None:
    choose(form, "schedule.kind", "geometric")
    row(form, "schedule.kind").editor.setFocus()
    visited = []
    for _ in range(4):
        focus = QApplication.focusWidget()
        visited.append(focus.objectName())
        QTest.keyClick(focus, Qt.Key.Key_Tab)
    assert visited == ["schedule.kind", "schedule.steps", "schedule.sigma_min", "schedule.sigma_max"]


def test_the_wheel_changes_nothing_under_the_pointer(form: RecipeForm) -> None:
    combo = row(form, "objective.loss").editor
    assert isinstance(combo, QComboBox)
    row(form, "training.batch").editor.setFocus()
    middle = QPointF(combo.rect().center())
    wheel = QWheelEvent(
        middle,
        QPointF(combo.mapToGlobal(combo.rect().center())),
        QPoint(0, -120),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(combo, wheel)
    assert combo.currentData() == "mse"
    assert form.recipe() == BASE


# -- changed, reset, locked ----------------------------------------------------------------------------------


def test_what_differs_from_the_baseline_is_marked_and_can_be_reset(form: RecipeForm) -> None:
    form.set_recipe(BASE.with_settings({"training.learning_rate": 0.003}), BASE)
    r = row(form, "training.learning_rate")
    assert r.changed_from == "0.001"
    assert near(border(r.editor), themes.color("changed"))
    assert not row(form, "training.batch").changed_from
    r.editor.setFocus()
    reset = form.findChild(QWidget, "training.learning_rate.reset")
    assert reset is not None
    assert reset.isVisible()
    QTest.mouseClick(reset, Qt.MouseButton.LeftButton)
    assert form.recipe() == BASE
    assert r.changed_from == ""


def test_the_context_menu_resets_too(form: RecipeForm, qtbot: QtBot) -> None:
    form.set_recipe(BASE.with_settings({"training.stratified": False}), BASE)
    r = row(form, "training.stratified")
    r._open_menu(QPoint(0, 0))
    menu = r.findChild(QMenu)
    assert menu is not None
    reset = menu.actions()[0]
    assert reset.text() == "Reset to on"
    reset.trigger()
    menu.close()
    assert form.recipe() == BASE


def test_setting_a_recipe_is_not_an_edit(form: RecipeForm, changes: list[Recipe]) -> None:
    type_into(form, "training.batch", "0")
    form.set_recipe(BASE.with_settings({"training.batch": 16}))
    assert not changes
    assert form.problems() == {}
    assert row(form, "training.batch").editor.text() == "16"  # type: ignore[union-attr]


def test_while_running_other_settings_say_that_they_need_a_fork(form: RecipeForm) -> None:
    form.set_running(True)
    for r in form.findChildren(FieldRow):
        assert r.editor.isEnabled() == (r.path != "training.steps"), r.path
        assert ("a fork of it can" in r.toolTip()) == (not r.field.setting.live and r.editor.isEnabled()), r.path
    assert "Stop the run" in row(form, "training.steps").toolTip()
    type_into(form, "training.learning_rate", "0.01")
    assert form.recipe().training.learning_rate == 0.01
    form.set_running(False)
    assert all(r.editor.isEnabled() for r in form.findChildren(FieldRow))


# -- data, facts, equations ----------------------------------------------------------------------------------


def test_where_no_compiler_is_its_setting_is_grey_and_says_why(form: RecipeForm) -> None:
    editor = row(form, "compute.compile").editor
    form.set_compiler("this computer has no C++ compiler")
    assert not editor.isEnabled()
    assert "Cannot be used here: this computer has no C++ compiler" in editor.toolTip()
    form.set_recipe(BASE.with_settings({"compute.compile": "on"}))
    assert editor.isEnabled(), "what another computer wished for can be taken back"
    form.set_recipe(BASE)
    form.set_compiler("")
    assert editor.isEnabled()
    assert "Cannot be used" not in editor.toolTip()


def test_a_folder_of_pictures_can_be_chosen(form: RecipeForm, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("cats")
    editor = row(form, "data.source").editor
    assert isinstance(editor, SourceEditor)
    editor.activated.emit(editor.findData(""))  # "Choose a folder…"
    assert editor.currentText() == "Fashion-MNIST"  # until one is chosen
    assert editor.dialog is not None
    editor.dialog.fileSelected.emit(str(folder))
    editor.dialog.close()
    assert form.recipe().data.source == str(folder)
    assert editor.currentText() == folder.name
    choose(form, "data.source", "moons")
    assert form.recipe().data.source == "moons"


def test_a_file_of_points_can_be_chosen(form: RecipeForm, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("x,y\n" + "0.5,1\n-1,0\n" * 20, encoding="utf-8")
    (tmp_path / "not.doc").touch()
    editor = row(form, "data.source").editor
    assert isinstance(editor, SourceEditor)
    editor.activated.emit(editor.findData(POINTS))  # "Choose points…"
    assert editor.currentText() == "Fashion-MNIST"  # until one is chosen
    assert editor.dialog is not None
    assert editor.dialog.fileMode() == QFileDialog.FileMode.ExistingFile
    (kinds,) = editor.dialog.nameFilters()
    assert "*.csv" in kinds
    assert "*.npy" in kinds
    editor.dialog.fileSelected.emit(str(file))
    editor.dialog.close()
    assert form.recipe().data.source == str(file)
    assert editor.currentText() == "mine.csv"


def test_facts_are_rows_that_nobody_can_edit(form: RecipeForm) -> None:
    form.set_level_of_detail("watch")
    form.set_facts({"network": [("Parameters", "0.56", "M")]})
    network = form._boxes["network"]
    assert network.isVisible()
    assert network._facts["Parameters"].value.text() == "0.56"
    kept = network._facts["Parameters"]
    form.set_facts({"network": [("Parameters", "1.20", "M")]})
    assert network._facts["Parameters"] is kept
    assert kept.value.text() == "1.20"
    form.set_facts({})
    assert not network.isVisible()


def test_the_card_shows_the_equation_of_the_field_in_hand(form: RecipeForm) -> None:
    form.set_level(170)
    row(form, "objective.loss").editor.setFocus()
    assert form.card.equation.text().startswith("L = E")
    assert form.card.numbers.text() == ""
    height = form.card.height()
    row(form, "schedule.beta_end").editor.setFocus()
    assert form.card.equation.text() == "x_t = α_t x_0 + σ_t ε"
    assert form.card.where.text() == "t = 170"
    assert form.card.numbers.text() == "x_t = 0.859 x_0 + 0.512 ε"
    form.set_level(3)
    assert form.card.numbers.text() == "x_t = 1.000 x_0 + 0.0190 ε"
    assert form.card.height() == height
    assert "last step" in form.card.tip.text()


def test_both_schemes_reach_the_painted_controls(form: RecipeForm) -> None:
    editor = row(form, "training.batch").editor
    try:
        for scheme in ("light", "dark"):
            themes.theme().prefer(scheme)
            picture = editor.grab().toImage()
            assert near(picture.pixelColor(12, picture.height() // 2), themes.color("raised"))
    finally:
        themes.theme().prefer("system")


def test_a_dropped_form_is_collected(qtbot: QtBot) -> None:
    # A child that holds its parent through Python crashes in the collector (seen with PySide 6.11).
    host = QWidget()
    QVBoxLayout(host).addWidget(RecipeForm(SETS))
    gone = weakref.ref(host)
    del host
    gc.collect()
    assert gone() is None


# -- values as text ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(1000, "1,000"), (0.0001, "0.0001"), (1e-5, "1e-5"), (50.0, "50"), ((32, 64), "32, 64"), (None, "")],
)
def test_values_are_written_short(value: object, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("training.learning_rate", "1e-3", 0.001),
        ("training.learning_rate", "0,003", 0.003),
        ("training.steps", "10,000", 10_000),
        ("training.steps", "10 000", 10_000),
        ("training.steps", "2e3", 2000),
        ("training.clip_norm", "", None),
        ("network.channels", "32 64", (32, 64)),
    ],
)
def test_values_are_read_as_people_write_them(path: str, text: str, value: object) -> None:
    assert read(field(path), text) == value


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("training.steps", "1.5"),
        ("training.steps", ""),
        ("training.learning_rate", "nan"),
        ("training.learning_rate", "fast"),
        ("network.channels", "32, x"),
    ],
)
def test_what_is_no_value_gets_a_sentence(path: str, text: str) -> None:
    with pytest.raises(ValueError, match="Write"):
        read(field(path), text)


@pytest.mark.parametrize("path", ["training.learning_rate", "training.steps", "network.channels"])
def test_what_is_written_can_be_read(path: str) -> None:
    value = field(path).default
    assert read(field(path), write(value)) == value


@pytest.mark.parametrize(
    ("path", "value", "up", "down"),
    [
        ("training.learning_rate", 0.001, 0.002, 0.0005),
        ("training.learning_rate", 0.003, 0.005, 0.002),
        ("training.steps", 2000, 2500, 1500),
        ("training.steps", 1, 501, 1),
        ("training.weight_decay", 0.0, 0.01, 0.0),
        ("network.blocks", 4, 4, 3),
    ],
)
def test_steps(path: str, value: float, up: float, down: float) -> None:
    assert stepped(field(path), value, 1) == up
    assert stepped(field(path), value, -1) == down


def test_an_offer_that_nobody_takes_is_left_alone(qtbot: QtBot) -> None:
    editor = LineEditor(field("training.batch"))
    qtbot.addWidget(editor)
    editor.set_value(64)
    seen: list[object] = []
    record: Callable[[object], None] = seen.append
    editor.edited.connect(record)
    editor.show()
    editor.setFocus()
    QTest.keyClick(editor, Qt.Key.Key_Up)
    assert editor.text() == "64"
    assert seen == []


def test_a_long_choice_leaves_its_label_whole_and_can_be_read(qtbot, form, monkeypatch, tmp_path):
    """Beside a long folder name in a narrow panel "Data" was "D…", and the name could not be read at all."""
    folder = str(tmp_path / "Photographs of the old harbour & its ships")
    form.set_recipe(BASE.with_settings({"data.source": folder}), BASE)
    form.resize(217, 700)
    qtbot.wait(1)
    data = row(form, "data.source")
    assert isinstance(data.editor, SourceEditor)
    assert data.label.width() >= data.label.fontMetrics().horizontalAdvance("Data")
    assert data.editor.shown().endswith("…")
    assert data.editor.geometry().right() <= data.width()
    tips: list[str] = []
    monkeypatch.setattr("ddpm_studio.app.labels.QToolTip.showText", lambda at, text, widget: tips.append(text))
    for editor in (data.editor, row(form, "schedule.kind").editor):
        middle = editor.rect().center()
        QApplication.sendEvent(editor, QHelpEvent(QEvent.Type.ToolTip, middle, editor.mapToGlobal(middle)))
    assert "<b>Photographs of the old harbour &amp; its ships</b>" in tips[0]
    assert "data.source" in tips[0], "what the field is for is told, too"
    assert "<b>" not in tips[1], "what is whole is not said again"


def test_room_that_a_choice_does_not_need_is_for_its_label(qtbot, form):
    form.set_recipe(BASE, BASE)
    form.resize(254, 700)
    qtbot.wait(1)
    method = row(form, "preview.method")
    assert method.label.width() >= method.label.fontMetrics().horizontalAdvance("Preview sampler")
    narrow = method.editor.sizeHint().width()
    method.editor.set_value("dpmpp-2m")
    assert method.editor.sizeHint().width() > narrow
