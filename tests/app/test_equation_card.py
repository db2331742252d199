"""The equation card: live numbers, symbols that point to what they belong to, and two ways to count levels."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QMainWindow

from ddpm_studio.app.appearance import Appearance
from ddpm_studio.app.equation_card import NAMES, EquationCard, filled
from ddpm_studio.app.equation_text import Note, split_symbols
from ddpm_studio.app.levels import CODE, PAPER, level_text, levels
from ddpm_studio.app.painting import math_width
from ddpm_studio.app.playback import Player
from ddpm_studio.app.recipe_form import RecipeForm
from ddpm_studio.app.schedule_plot import SchedulePlot
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.texts import in_equation
from ddpm_studio.app.timeline import Timeline
from ddpm_studio.diffusion import Frame, NoiseSchedule, Tape
from ddpm_studio.diffusion.numbers import numbers_at
from ddpm_studio.recipes import Field, Recipe, built_in, fields_of, section_class
from ddpm_studio.recipes.tutorials import core, symbols_for, tutorials

pytestmark = pytest.mark.usefixtures("no_leaks")
DOCUMENTS = [*tutorials().values(), core()]
WIDTH = 236  # px: the card at 1024 × 768


@pytest.fixture(autouse=True)
def count(qapp: Any) -> Iterator[None]:
    levels().set_count(PAPER)
    yield
    levels().set_count(PAPER)


def field_of(recipe: Recipe, path: str) -> Field:
    section, _, name = path.partition(".")
    return next(field for field in fields_of(section_class(recipe, section)) if field.name == name)


@pytest.fixture
def card(qtbot: Any) -> EquationCard:
    card = EquationCard()
    qtbot.addWidget(card)
    card.setFixedWidth(WIDTH)
    card.set_level(412)
    return card


def show(card: EquationCard, name: str, path: str) -> None:
    recipe = built_in()[name]
    card.set_recipe(recipe)
    card.show_field(path, field_of(recipe, path))


# -- numbers


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda t: t.document)
def test_every_name_in_a_live_line_is_a_number(document: Any) -> None:
    for equation in document.equations:
        assert equation.live_names() <= NAMES
        text = filled(equation.live, numbers_at(NoiseSchedule.linear(100), 41), 41)
        assert not re.search(r"<\w+>", text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7841, "0.784"),
        (0.01049, "0.0105"),
        (0.00832, "0.00832"),
        (1.2e-4, "1.20·10^{−4}"),
        (-0.5, "−0.500"),
        (0.0, "0"),
        (-0.0, "0"),
        (25_000.0, "25,000"),
        (3e7, "3.00·10^{7}"),
        (np.inf, "∞"),
        (-np.inf, "−∞"),
        (np.nan, "–"),
    ],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert in_equation(value) == text


def test_the_issues_example(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "schedule.beta_end")
    assert card.source.text().startswith("000, eq. 1")
    assert card.equation.text() == "x_t = √ᾱ_t x_0 + √(1−ᾱ_t) ε"
    schedule = NoiseSchedule.linear(1000)
    signal, noise = schedule.alpha[412], schedule.sigma[412]
    assert card.numbers.text() == f"x_t = {signal:.3f} x_0 + {noise:.3f} ε"
    assert card.where.text() == "t = 412"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda t: t.document)
def test_numbers_change_with_the_level(document: Any, card: EquationCard) -> None:
    recipes = [r for r in built_in().values() if r.tutorial == document.document] or [built_in()["fashion-mnist"]]
    seen = 0
    for recipe in recipes:
        for field in fields_of(type(recipe.sampler)):
            card.set_recipe(recipe)
            card.show_field(f"sampler.{field.name}", field)
            if card.shown is None or not card.shown.live:
                continue
            texts = set()
            for t in (recipe.schedule.steps, recipe.schedule.steps // 2, recipe.schedule.steps // 3):
                card.set_level(t)
                texts.add(card.numbers.text())
            assert len(texts) == 3
            seen += 1
    assert seen


def test_a_step_goes_where_the_recipes_sampler_goes(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "sampler.steps")
    assert card.shown is not None
    assert card.shown.number == "5"
    n = numbers_at(NoiseSchedule.linear(1000), 412)
    assert card.numbers.text().startswith(
        f"x_{{411}} = {in_equation(n.mean_x)} x_{{412}} − {in_equation(n.mean_eps)} ε_θ"
    )
    show(card, "scratch5-mnist-laptop", "sampler.steps")  # 250 of 1000 levels
    n = numbers_at(NoiseSchedule.linear(1000), 412, 408)
    assert card.numbers.text().startswith(
        f"x_{{408}} = {in_equation(n.mean_x)} x_{{412}} − {in_equation(n.mean_eps)} ε_θ"
    )


def test_the_langevin_step(card: EquationCard) -> None:
    show(card, "score-two-gaussians", "sampler.step_size")
    card.set_level(200)
    assert card.source.text().startswith("004, eq. 2.2.7")
    assert card.numbers.text() == f"α_t = 0.100, √(2α_t) = {0.2**0.5:.3f}"


def test_an_embedding_shows_its_values(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "network.time_width")
    card.set_level(1)
    assert card.numbers.text().startswith("v = [0.841, ")


def test_without_a_level_of_this_schedule_the_middle_one_is_shown(card: EquationCard) -> None:
    show(card, "simple-unet-cars", "schedule.beta_end")
    assert card.where.text() == "t = 150"  # the player stands at 412, in a tape of another run
    card.set_level(300)
    assert card.where.text() == "t = 300"
    assert card.numbers.text() == "x_t = 0.219 x_0 + 0.976 ε"
    card.set_level(0)
    assert card.numbers.text() == "x_t = 1.000 x_0 + 0 ε"


@pytest.mark.parametrize("name", list(built_in()))
def test_the_end_of_a_process_shows_its_last_step(card: EquationCard, name: str) -> None:
    card.set_recipe(built_in()[name])
    card.set_level(0)
    for _ in card._found:
        assert not set(card.numbers.text()) & {"–", "∞"}, card.shown
        card.pager.forward.click()


def test_the_last_step_is_called_so(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "sampler.steps")
    card.set_level(1)
    last = card.numbers.text()
    assert last.startswith("x_{0} = ")
    card.set_level(0)
    assert card.numbers.text() == last
    assert card.where.text() == "t = 1 → 0"
    show(card, "scratch5-mnist-laptop", "sampler.steps")
    assert card.where.text() == "t = 4 → 0", "250 of 1000 levels"


def test_the_steps_are_those_on_the_stage_or_it_is_said_that_they_are_not(card: EquationCard) -> None:
    recipe = built_in()["moons"].with_settings({"sampler.kind": "ddim", "sampler.steps": 50})
    field = next(field for field in fields_of(type(recipe.sampler)) if field.name == "steps")
    card.set_recipe(recipe)
    card.show_field("sampler.steps", field)
    card.set_stage("ddim", (1000, 412, 200, 0))
    card.set_level(412)
    assert card.numbers.text().startswith("x_{200} = "), "as the stage goes on, not as the recipe would"
    card.set_stage("ipndm", (1000, 412, 200, 0))
    assert card.numbers.text() == "", "the recipe's sampler does not come by here"
    assert card.tip.text() == "A step of the recipe's DDIM, not of the stage: there it is iPNDM."
    card.set_level(1000)
    assert card.numbers.text().startswith("x_{980} = ")
    field = next(field for field in fields_of(type(recipe.schedule)) if field.name == "steps")
    card.show_field("schedule.steps", field)
    assert card.numbers.text().startswith("x_t = "), "how much noise there is does not hang on who samples"
    assert "stage" not in card.tip.text()


def test_an_edit_changes_the_numbers(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "schedule.beta_end")
    before = card.numbers.text()
    card.set_recipe(built_in()["scratch5-mnist"].with_settings({"schedule.beta_end": 0.04}))
    assert card.numbers.text() != before


# -- notes


def test_a_misprint_is_told_on_the_card_and_in_the_notes(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "sampler.steps")
    assert "1/α_t for 1/√α_t" in card.tip.text()
    assert card.origin.text() == "printed"
    card.show()
    QTest.mouseClick(card.notes, Qt.MouseButton.LeftButton)
    popup = card.popup
    assert popup is not None
    assert popup.isVisible()
    text = " ".join(label.text() for label in popup.labels)
    assert text.count("<li>") == len(tutorials()["000"].traps)
    assert "Deep Learning from Scratch 5" in text
    popup.close()


def test_without_a_tutorial_there_are_no_notes(card: EquationCard) -> None:
    show(card, "fashion-mnist", "training.learning_rate")
    assert card.equation.text() == "Learning rate"
    assert card.numbers.text() == ""
    assert card.origin.text() == ""
    assert not card.notes.isEnabled()


def test_a_long_note_ends_in_an_ellipsis_and_its_tooltip_has_it_all(qtbot: Any) -> None:
    note = Note(2)
    qtbot.addWidget(note)
    note.setFixedWidth(WIDTH)
    note.set_text("short")
    assert note.shown() == "short"
    long = "The denominator of x_0 is not what it seems. " * 8
    note.set_text(long.strip())
    assert note.shown().endswith(" …")
    assert 20 < len(note.shown()) < len(long) / 2
    assert note.toolTip().count("denominator") == 8
    assert "x<sub>0</sub>" in note.toolTip()


# -- several equations, one height


def test_one_pages_through_the_equations_of_a_field(card: EquationCard) -> None:
    show(card, "scratch5-mnist", "sampler.variance")
    assert card.pager.place.text() == "1 of 2"
    assert card.shown is not None
    assert card.shown.number == "4"
    card.pager.forward.click()
    assert card.shown.number == "5"
    assert not card.pager.forward.isEnabled()
    card.pager.back.click()
    assert card.shown.number == "4"
    show(card, "fashion-mnist", "sampler.steps")
    assert card.pager.isHidden()


def test_at_rest_one_pages_through_all_equations_of_the_tutorial(card: EquationCard) -> None:
    card.set_recipe(built_in()["simple-unet-cars"])
    assert card.pager.place.text() == "1 of 6"
    seen = []
    for _ in range(6):
        seen.append(card.title.text())
        assert card.title.toolTip() == "", "it fits"
        card.pager.forward.click()
    assert seen == [equation.title for equation in tutorials()["002"].equations]
    card.set_recipe(built_in()["scratch5-mnist"])
    assert card.pager.place.text() == "1 of 6", "another tutorial begins at its first"


def test_no_field_of_any_recipe_changes_the_height_or_is_cut_off(card: EquationCard) -> None:
    height = card.height()
    card.show()
    for recipe in built_in().values():
        card.set_recipe(recipe)
        card.set_level(recipe.schedule.steps // 2)
        for section in ("schedule", "network", "prediction", "objective", "training", "sampler"):
            for field in fields_of(section_class(recipe, section)):
                card.show_field(f"{section}.{field.name}", field)
                for _ in range(len(card._found) or 1):
                    assert card.sizeHint().height() <= card.height() == height
                    for lines in (card.equation, card.numbers):
                        font = lines._fitted()
                        for line in lines.text().split("\n"):
                            assert math_width(line, font) <= lines.width() + 8, line
                    card._on_turned(1)
    card.hide()


# -- symbols


def test_the_longest_symbol_wins_and_indices_are_none() -> None:
    symbols = symbols_for(tutorials()["000"])
    pieces = [t for t, s in split_symbols("x_{t−1} = √ᾱ_t (1−ᾱ_t) x_t t/10000^{i/D} sin ε_θ(x_t, t)", symbols) if s]
    assert pieces == ["x_{t−1}", "√ᾱ_t", "(1−ᾱ_t)", "x_t", "t", "ε_θ", "x_t", "t"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda t: t.document)
def test_every_symbol_of_a_document_is_in_one_of_its_equations(document: Any) -> None:
    used = {
        piece
        for tutorial in ([document] if document.document != "core" else DOCUMENTS)
        for equation in tutorial.equations
        for line in equation.text.split("\n")
        for piece, symbol in split_symbols(line, symbols_for(tutorial))
        if symbol is not None
    }
    assert {symbol.text for symbol in document.symbols} <= used
    for equation in document.equations:
        assert any(s for line in equation.text.split("\n") for _, s in split_symbols(line, symbols_for(document)))


@pytest.fixture
def form(qtbot: Any) -> RecipeForm:
    form = RecipeForm()
    qtbot.addWidget(form)
    form.resize(276, 700)
    recipe = built_in()["scratch5-mnist"]
    form.set_recipe(recipe, recipe)
    form.set_level_of_detail("everything")
    form.show()
    return form


def in_hand(form: RecipeForm, path: str) -> None:
    form.card.show_field(path, form._rows()[path].field)


def hover(form: RecipeForm, symbol: str) -> None:
    equation = form.card.equation
    QTest.mouseMove(equation, equation.place_of(symbol).toPoint())


def lit(form: RecipeForm) -> set[str]:
    return {path for path, row in form._rows().items() if row.lit}


def test_hovering_a_symbol_lets_its_rows_glow_and_names_it(form: RecipeForm) -> None:
    in_hand(form, "sampler.variance")
    before = form.card.tip.text()
    told: list[tuple[str, ...]] = []
    form.symbol_pointed.connect(told.append)
    hover(form, "(1−α_t)")
    assert lit(form) == {"schedule.beta_start", "schedule.beta_end"}
    assert form.card.tip.text().startswith("(1−α_t): β_t")
    row = form._rows()["schedule.beta_start"]
    top = row.mapTo(form._scroll.viewport(), QPoint(0, 0)).y()
    assert 0 <= top <= form._scroll.viewport().height() - row.height()
    hover(form, "(1−ᾱ_t)")
    assert lit(form) == set()
    QTest.mouseMove(form.card.tip, QPoint(2, 2))
    form.card.equation.leaveEvent(QEvent(QEvent.Type.Leave))
    assert form.card.tip.text() == before
    assert told == [("curve.beta", "schedule.beta_start", "schedule.beta_end"), ("curve.noise",), ()]


def test_a_glowing_row_looks_different(form: RecipeForm) -> None:
    row = form._rows()["schedule.beta_end"]
    before = row.grab().toImage()
    row.set_lit(True)
    assert row.grab().toImage() != before
    row.set_lit(False)
    assert row.grab().toImage() == before


def test_the_keyboard_reaches_symbols_and_equations(form: RecipeForm) -> None:
    in_hand(form, "sampler.variance")
    card = form.card
    assert card.equation.focusPolicy() == Qt.FocusPolicy.TabFocus
    card.equation.setFocus(Qt.FocusReason.TabFocusReason)
    assert card.tip.text().startswith("σ_q(t)")
    assert lit(form) == {"sampler.variance"}
    QTest.keyClick(card.equation, Qt.Key.Key_Right)
    assert card.tip.text().startswith("(1−α_t)")
    assert "β_t" in card.equation.accessibleDescription()
    for _ in range(9):
        QTest.keyClick(card.equation, Qt.Key.Key_Right)
    assert card.tip.text().startswith("(1−ᾱ_t)")
    QTest.keyClick(card.equation, Qt.Key.Key_Down)
    assert card.shown is not None
    assert card.shown.number == "5"
    override = QKeyEvent(QEvent.Type.ShortcutOverride, Qt.Key.Key_Left, Qt.KeyboardModifier.NoModifier)
    override.ignore()
    card.equation.event(override)
    assert override.isAccepted()  # the player does not get it
    card.where.setFocus()
    assert lit(form) == set()


def test_a_curve_stands_out_while_its_symbol_is_pointed_at(qtbot: Any) -> None:
    plot = SchedulePlot()
    qtbot.addWidget(plot)
    plot.set_schedule(NoiseSchedule.linear(1000))
    thin = plot._first.opts["pen"].widthF()
    plot.highlight(("signal",))
    assert plot._first.opts["pen"].widthF() > thin
    assert plot._second.opts["pen"].widthF() == thin
    plot.highlight(("noise",))
    assert plot._first.opts["pen"].widthF() == thin
    assert plot._second.opts["pen"].widthF() > thin
    plot.highlight(("beta",))  # not the curve that is chosen: it is shown meanwhile
    assert plot._first.yData[-1] == pytest.approx(0.02)
    assert plot._first.opts["pen"].widthF() > thin
    plot.highlight(())
    assert plot._first.yData[0] == 1
    assert plot._first.opts["pen"].widthF() == thin
    assert plot.choice.value() == "signal"
    plot.set_schedule(NoiseSchedule.geometric(100))  # the picture stays whole: one curve, of the noise
    plot.highlight(("noise",))
    assert plot._first.opts["pen"].widthF() > thin
    plot.highlight(())


# -- how levels are counted


def test_levels_are_counted_as_papers_or_as_code_do() -> None:
    assert [level_text(t) for t in (0, 1, 1412, None)] == ["t = 0", "t = 1", "t = 1,412", "t = –"]
    levels().set_count(CODE)
    assert [level_text(t) for t in (0, 1, 1412, None)] == ["t = clean", "t = 0 (code)", "t = 1,411 (code)", "t = –"]
    levels().set_count("of another version")
    assert level_text(3) == "t = 3"


def test_the_card_counts_as_the_window_does(card: EquationCard) -> None:
    show(card, "attention-mnist", "sampler.steps")
    card.show()
    assert card.numbers.text().startswith("x_{411} = ")
    QTest.mouseClick(card.where, Qt.MouseButton.LeftButton)
    assert levels().count == CODE
    assert card.where.text() == "t = 411 (code)"  # the document's own t, whose table begins at 0
    assert card.numbers.text().startswith("x_{410} = ")
    assert "003" in card.where.toolTip()
    card.set_level(1)
    assert card.where.text() == "t = 0 (code)"
    card.hide()


def test_the_timeline_counts_as_the_window_does(qtbot: Any) -> None:
    player = Player()
    timeline = Timeline(player)
    qtbot.addWidget(timeline)
    tape = Tape(kind="points", steps=1000, seed=0, total=1)
    x = np.zeros((4, 2), np.float32)
    tape.frames.append(Frame(0, 412, x))
    player.set_tape(tape)
    timeline.resize(800, 200)
    timeline.show()
    assert timeline.level.text() == "t = 412"
    narrow = timeline.minimumSizeHint().width()
    levels().set_count(CODE)
    assert timeline.level.text() == "t = 411 (code)"
    assert timeline.minimumSizeHint().width() == narrow  # the panels beside it keep their room
    timeline.resize(424, 200)  # as at 1024 × 768
    qtbot.wait(1)
    assert timeline.level.text() == timeline.slider.accessibleDescription() == "t = 411 (code)"
    assert timeline.level.width() >= timeline.level.fontMetrics().horizontalAdvance("t = 411 (code)")
    timeline.set_lit(True)
    bright = timeline.level.foregroundRole()
    timeline.set_lit(False)
    assert timeline.level.foregroundRole() != bright
    timeline.hide()


def test_the_window_remembers_how_levels_are_counted(qtbot: Any) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    appearance = Appearance(window, WindowSettings())
    action = QAction(window)
    action.setCheckable(True)
    appearance.actions = {"view.code_levels": action}
    appearance.on_count_levels()
    assert action.isChecked()
    assert WindowSettings().text("levels", PAPER) == CODE
    levels().changed.disconnect(appearance._on_levels)
    levels().set_count(PAPER)
    Appearance(window, WindowSettings())  # the next start
    assert levels().count == CODE


def test_a_place_of_a_symbol_is_on_the_equation(form: RecipeForm) -> None:
    in_hand(form, "schedule.beta_end")
    at: QPointF = form.card.equation.place_of("√(1−ᾱ_t)")
    assert form.card.equation.rect().contains(at.toPoint())


def test_a_setting_that_another_network_has_not_leaves_the_card(form: RecipeForm) -> None:
    recipe = built_in()["fashion-mnist"]
    form.set_recipe(recipe, recipe)
    in_hand(form, "network.attention")
    assert form.card.path == "network.attention"
    moons = built_in()["moons"]
    form.set_recipe(moons, moons)
    assert form.card.path == ""
    in_hand(form, "network.depth")
    form.set_recipe(moons, moons)
    assert form.card.path == "network.depth"
