"""The equation card: the equation of the setting in hand, as its tutorial has it, with the numbers of this moment."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QEvent, QPoint, Qt, Signal, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.equation_text import EquationText, MathLines, Note
from ddpm_studio.app.levels import CODE, level_number, level_text, levels
from ddpm_studio.app.painting import rich
from ddpm_studio.app.text_button import TextButton
from ddpm_studio.app.texts import in_equation, say
from ddpm_studio.app.theme import GRID, MARGIN, tabular, theme
from ddpm_studio.app.widgets import Caption, Card, ElidedLabel, PanelScroll, ToolButton
from ddpm_studio.diffusion.numbers import Numbers, numbers_at, time_vector
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.timesteps import timestep_grid
from ddpm_studio.recipes import Field, Recipe, kind_title
from ddpm_studio.recipes.tutorials import (
    Equation,
    Symbol,
    Tutorial,
    core,
    equations_for,
    origin_of,
    symbols_for,
    tutorial_of,
)

SMALL = 24  # px: the card's own buttons
EQUATION_HEIGHT = 46  # px
TITLE = 16  # px
LABEL = "label"  # the one live name that is not of the Numbers: what the network is told
NAMES = frozenset({LABEL, *(field.name for field in dataclasses.fields(Numbers))})


def filled(live: str, numbers: Numbers, label: float) -> str:
    """A live line with its numbers; levels are counted as the window does."""

    def number(match: re.Match[str]) -> str:
        name = match[1]
        if name in ("t", "s"):
            text = level_number(getattr(numbers, name))
            return f"{{{text}}}" if live[: match.start()].endswith("_") else text
        value = label if name == LABEL else getattr(numbers, name)
        whole = name == LABEL and float(value).is_integer()
        return f"{int(value):,}" if whole else in_equation(value)

    return re.sub(r"<(\w+)>", number, live)


class EquationCard(Card):
    """The equation of the field in hand, with live numbers, and what the field is for. Its height never changes."""

    pointed = Signal(object)  # tuple of what the symbol belongs to; () when it is left

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, role="raised", accent_bar=True)
        self._recipe = Recipe()
        self._schedule: NoiseSchedule | None = None
        self._grid: dict[int, int] = {}  # from a level of the sampler to its next one
        self._level: int | None = None
        self._stage: tuple[str, tuple[int, ...]] = "", ()  # sampler and levels of what is on the stage
        self._path = ""
        self._field: Field | None = None
        self._found: list[tuple[Tutorial, Equation]] = []
        self._page = 0
        self._symbol: Symbol | None = None
        self.popup: NotesPopup | None = None

        self.source, self.title = ElidedLabel(), ElidedLabel()
        for label in (self.source, self.title):
            label.setFont(Caption().font())
            label.setContentsMargins(3, 0, 0, 0)
        self.source.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        self.source.setFixedHeight(SMALL)
        self.title.setFixedHeight(TITLE)
        self.pager = Pager()
        self.equation = EquationText(lines=2, parent=self)
        self.numbers = MathLines(lines=2, role="accent")
        self.numbers.setFont(tabular(self.font(), 0.92))
        self.tip = Note(lines=3)
        self._tip_height = self.tip.height()
        self.where = TextButton("", self.tr("Count noise levels 1 … T, as papers do, or 0 … T−1, as code does"))
        self.where.setObjectName("count_levels")
        self.where.setFixedHeight(SMALL)
        self.where.setCheckable(True)
        self.origin = Caption()
        self.notes = ToolButton("info", self.tr("Misprints, traps and sources of this tutorial"), size=SMALL)
        self.notes.setObjectName("equation_notes")
        self._lay_out()
        self.pager.turned.connect(self._on_turned)
        self.equation.turned.connect(self._on_turned)
        self.equation.pointed.connect(self._on_pointed)
        self.where.clicked.connect(levels().toggle)
        levels().changed.connect(self._on_count)
        self.notes.clicked.connect(self._on_notes)
        theme().changed.connect(self._show)
        self.set_recipe(self._recipe)

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(0)
        head.addWidget(self.source, 1)
        head.addWidget(self.pager)
        foot = QHBoxLayout()
        foot.setSpacing(GRID // 2)
        foot.addSpacing(3 - GRID)  # so that the text, not its button, lines up
        foot.addWidget(self.where)
        foot.addStretch(1)
        foot.addWidget(self.origin)
        foot.addWidget(self.notes)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN + 2, 4, 8, 4)
        column.setSpacing(2)
        column.addLayout(head)
        column.addWidget(self.title)
        column.addWidget(self.equation)
        self.numbers.setFixedHeight(34)
        column.addWidget(self.numbers)
        column.addWidget(self.tip)
        column.addStretch(1)
        column.addLayout(foot)
        self.setFixedHeight(SMALL + TITLE + EQUATION_HEIGHT + 34 + self.tip.height() + SMALL + 5 * 2 + 8)

    # -- what it is given

    def set_recipe(self, recipe: Recipe) -> None:
        """The recipe whose equations and numbers these are."""
        if recipe.tutorial != self._recipe.tutorial:
            self._page = 0
        self._recipe = recipe
        try:
            self._schedule = NoiseSchedule.named(**recipe.schedule.model_dump())
        except ValueError:  # allowed by each setting, but too much together
            self._schedule = None
        self._find_steps()
        self._find()

    def _find_steps(self) -> None:
        """Those of the process on the stage, if the recipe's sampler makes it; else those that it would make."""
        kind, grid = self._stage
        if grid and kind == self._recipe.sampler.kind:
            self._grid = dict(pairwise(grid))
        else:
            self._grid = {} if self._schedule is None else _steps(self._recipe, self._schedule)

    def set_stage(self, sampler: str, grid: Sequence[int]) -> None:
        """The kind of sampler, and the levels, of what the player shows; "" without anything."""
        if (sampler, tuple(grid)) != self._stage:
            self._stage = sampler, tuple(grid)
            self._find_steps()
            self._show_tip()
            self._show_numbers()

    def show_core(self) -> None:
        """At rest: all equations of the tutorial, or of what this recipe runs."""
        self._path, self._field, self._page = "", None, 0
        self._find()

    @property
    def path(self) -> str:
        """Of the setting whose card it is; "" at rest."""
        return self._path

    def show_field(self, path: str, field: Field) -> None:
        """The equations of a setting."""
        if (path, field) != (self._path, self._field):
            self._path, self._field, self._page = path, field, 0
            self._find()

    def set_level(self, t: int | None) -> None:
        """The noise level that the numbers are for; None: nothing is shown elsewhere, so the middle one."""
        if t != self._level:
            self._level = t
            self._show_numbers()

    @property
    def _t(self) -> int | None:
        """The level that the player stands at; the middle one where there is none, or none of this schedule."""
        if self._schedule is None:
            return None
        steps = self._schedule.steps
        return self._level if self._level is not None and self._level <= steps else steps // 2

    @property
    def shown(self) -> Equation | None:
        """The equation on the card, if it is one."""
        return self._found[self._page][1] if self._found else None

    @property
    def _other_sampler(self) -> str:
        """What makes the steps on the stage, if the equation is the recipe's own sampler's, and that is another one."""
        equation, kind = self.shown, self._stage[0]
        steps = equation is not None and any(field.partition(".")[0] == "sampler" for field in equation.fields)
        return say(kind_title(kind)) if steps and kind and kind != self._recipe.sampler.kind else ""

    # -- showing

    def _find(self) -> None:
        if self._field is None:
            source = self._tutorial or core()
            self._found = [(source, equation) for equation in source.equations if equation.holds_for(self._recipe)]
        else:
            self._found = equations_for(self._recipe, self._path)
        self._page = min(self._page, max(len(self._found) - 1, 0))
        self._show()

    @Slot()
    def _show(self) -> None:
        setting = self._field.setting if self._field is not None else None
        self.pager.show_place(self._page, len(self._found))
        if self._found:
            source, equation = self._found[self._page]
            self.source.set_text(_source_text(source, equation))
            self.title.set_text(say(equation.title))
            self.equation.set_equation(equation.text, symbols_for(source), self._curve_colors())
        elif setting is not None and setting.equation:
            self.source.set_text("")
            self.title.set_text(say(setting.label))
            self.equation.set_equation(setting.equation, ())
        elif setting is not None:
            self.source.set_text("")
            self.equation.set_headline(say(setting.label))
        mathematics = bool(self._found) or bool(setting is not None and setting.equation)
        self.equation.setFixedHeight(EQUATION_HEIGHT if mathematics else SMALL)
        self.tip.setFixedHeight(self._tip_height + (0 if mathematics else TITLE + EQUATION_HEIGHT))
        self.source.setVisible(mathematics)
        self.title.setVisible(mathematics)
        self.numbers.setVisible(bool(self.shown and self.shown.live))
        wrong = bool(self.shown and self.shown.printed)
        self.title.setForegroundRole(QPalette.ColorRole.Text if wrong else QPalette.ColorRole.PlaceholderText)
        origin = origin_of(self._recipe, self._path) if setting is not None else None
        said = {"printed": self.tr("printed"), "authors": self.tr("from the code"), "ours": self.tr("our choice")}
        self.origin.setText(said[origin] if origin else "")
        tips = {
            "printed": self.tr("This value is printed in the tutorial"),
            "authors": self.tr("Not printed: this value is from the code or paper that the tutorial names"),
            "ours": self.tr("The tutorial does not say: this value is our choice"),
        }
        self.origin.setToolTip(tips[origin] if origin else "")
        self.notes.setEnabled(self._tutorial is not None)
        self._show_tip()
        self._show_numbers()

    def _curve_colors(self) -> dict[str, str]:
        """The colours in which the schedule's plot draws what symbols belong to."""
        if self._schedule is not None and self._schedule.exploding:
            return {"curve.noise": "accent"}  # the picture stays whole: there is one curve
        return {"curve.signal": "accent", "curve.noise": "changed"}

    def _show_tip(self) -> None:
        equation, symbol = self.shown, self._symbol
        if symbol is not None:
            self.tip.set_text(f"{symbol.text}: {say(symbol.meaning)}.", "text")
        elif equation is not None and equation.printed:
            self.tip.set_text(say(equation.printed), "changed")
        elif other := self._other_sampler:
            text = self.tr("A step of the recipe's {0}, not of the stage: there it is {1}.")
            self.tip.set_text(text.format(say(kind_title(self._recipe.sampler.kind)), other), "text")
        elif equation is not None and equation.remark:
            self.tip.set_text(say(equation.remark))
        elif self._field is not None:
            self.tip.set_text(say(self._field.setting.tip))
        elif self._tutorial is not None:
            self.tip.set_text(say(self._tutorial.teaches))
        else:
            self.tip.set_text(self.tr("A noisy picture is part picture, part noise. t says how much."))

    def _show_numbers(self) -> None:
        t, schedule, equation = self._t, self._schedule, self.shown
        live = equation.live if equation is not None else ""
        text = ""
        self.where.setText(level_text(t))
        none_from_here = bool(t and self._other_sampler) and t not in self._grid
        if schedule is not None and t is not None and live and not none_from_here:
            text = self._filled(schedule, t, live)
            if t == 0 and any(nothing in text for nothing in (in_equation(math.nan), in_equation(math.inf))):
                # At the end of a process no step is left: the last one stands there.
                last = min((level for level, next_one in self._grid.items() if next_one == 0), default=1)
                text = self._filled(schedule, last, live)
                self.where.setText(self.tr("{0} → {1}").format(level_text(last), level_number(0)))
        self.numbers.set_text(text)
        self.where.setChecked(levels().count == CODE)
        tutorial = self._tutorial
        counts = f"<p>{rich(f'{tutorial.document}: {say(tutorial.counts)}')}</p>" if tutorial is not None else ""
        self.where.setToolTip(f"<p>{rich(self.where.accessibleName())}</p>{counts}")

    def _filled(self, schedule: NoiseSchedule, t: int, live: str) -> str:
        return filled(live, self._numbers(schedule, t), self._label(schedule, t))

    def _numbers(self, schedule: NoiseSchedule, t: int) -> Numbers:
        recipe, tutorial = self._recipe, self._tutorial
        vector = None
        if tutorial is not None and tutorial.embedding and t > 0:
            vector = time_vector(tutorial.embedding, self._label(schedule, t), tutorial.width_for(recipe))
        return numbers_at(
            schedule,
            t,
            self._grid.get(t),
            step_size=getattr(recipe.sampler, "step_size", math.nan),
            eta=getattr(recipe.sampler, "eta", math.nan),
            vector=vector,
        )

    def _label(self, schedule: NoiseSchedule, t: int) -> float:
        """What the network is told of level t."""
        alpha, sigma = float(schedule.alpha[t]), float(schedule.sigma[t])
        ratio = sigma / alpha if alpha else math.inf
        return {
            "t": float(t),
            "t-1": float(t - 1),
            "t/T": t / schedule.steps,
            "sigma": ratio,
            "log-sigma": math.log(ratio) / 4 if ratio > 0 else -math.inf,
        }[self._recipe.prediction.time_label]

    # -- what a person does

    @Slot(int)
    def _on_turned(self, by: int) -> None:
        page = min(max(self._page + by, 0), max(len(self._found) - 1, 0))
        if page != self._page:
            self._page = page
            self._show()

    @Slot(object)
    def _on_pointed(self, symbol: Symbol | None) -> None:
        self._symbol = symbol
        self._show_tip()
        self.equation.setAccessibleDescription("" if symbol is None else f"{symbol.text}: {say(symbol.meaning)}")
        self.pointed.emit(() if symbol is None else symbol.belongs)

    @Slot()
    def _on_count(self) -> None:
        self._show_numbers()

    @property
    def _tutorial(self) -> Tutorial | None:
        return tutorial_of(self._recipe)

    @Slot()
    def _on_notes(self) -> None:
        if self._tutorial is not None:
            self.popup = NotesPopup(self._tutorial, self)
            self.popup.show_above(self)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.LanguageChange:
            self._show()
        super().changeEvent(event)


def _steps(recipe: Recipe, schedule: NoiseSchedule) -> dict[int, int]:
    """From each level that the recipe's sampler visits to the next one."""
    sampler = recipe.sampler
    if sampler.kind == "langevin-plain":
        return {}
    grid = timestep_grid(schedule, sampler.steps, sampler.spacing, end=getattr(sampler, "end_level", 0))
    return dict(pairwise(grid))


def _source_text(source: Tutorial, equation: Equation) -> str:
    """Where it stands, e.g. "004, eq. 2.2.7"; "" for what is nobody's in particular."""
    number = equation.number
    if source is core():
        return number
    if re.fullmatch(r"[\d.]+", number):
        number = f"eq. {number}"
    return f"{source.document}, {number}" if number else source.document


class Pager(QWidget):
    """A small "1 of 3" with an arrow on each side; hidden where there is one page."""

    turned = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.back = ToolButton("chevron-left", self.tr("Equation before (↑)"), size=SMALL)
        self.forward = ToolButton("chevron-right", self.tr("Next equation (↓)"), size=SMALL)
        self.place = Caption()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        for widget in (self.back, self.place, self.forward):
            row.addWidget(widget)
        kept = self.sizePolicy()
        kept.setRetainSizeWhenHidden(False)
        self.setSizePolicy(kept)
        self.setFixedHeight(SMALL)
        self.back.clicked.connect(self._on_back)
        self.forward.clicked.connect(self._on_forward)

    def show_place(self, page: int, pages: int) -> None:
        """``page`` counts from 0."""
        self.setVisible(pages > 1)
        self.place.setText(self.tr("{0} of {1}").format(page + 1, pages))
        self.back.setEnabled(page > 0)
        self.forward.setEnabled(page < pages - 1)

    @Slot()
    def _on_back(self) -> None:
        self.turned.emit(-1)

    @Slot()
    def _on_forward(self) -> None:
        self.turned.emit(1)


class NotesPopup(QFrame):
    """What a tutorial teaches, where it errs, and what the program does about it. Escape or a click closes it."""

    WIDTH = 440  # px
    HEIGHT = 460  # px at most

    def __init__(self, tutorial: Tutorial, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setFrameStyle(QFrame.Shape.Box | QFrame.Shadow.Raised)
        self.setObjectName("equation_notes_popup")
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(MARGIN, MARGIN, 0, MARGIN)
        column.setSpacing(GRID)
        self.labels: list[QLabel] = []
        for text in self._paragraphs(tutorial):
            label = QLabel(text)
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setWordWrap(True)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            column.addWidget(label)
            self.labels.append(label)
        column.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(1, 1, 1, 1)
        whole.addWidget(PanelScroll(content))
        self.resize(self.WIDTH, min(self.HEIGHT, content.heightForWidth(self.WIDTH - 2 * MARGIN) + 2 * MARGIN))

    def _paragraphs(self, tutorial: Tutorial) -> list[str]:
        def told(heading: str, text: str) -> str:
            return f"<b>{rich(heading)}</b><br>{rich(text)}"

        traps = "".join(f"<li>{rich(say(trap.text))} <i>{rich(say(trap.here))}</i></li>" for trap in tutorial.traps)
        title = f"{tutorial.document} · {say(tutorial.title)}"
        return [
            told(title, f"{say(tutorial.teaches)} ({say(tutorial.language)})"),
            told(self.tr("Sources"), "; ".join(tutorial.sources)),
            told(self.tr("How it counts"), say(tutorial.counts)),
            f"<b>{self.tr('Misprints and traps, and what happens here')}</b><ol>{traps}</ol>",
        ]

    def show_above(self, card: QWidget) -> None:
        """Beside the card, on its screen."""
        room = card.screen().availableGeometry()
        corner = card.mapToGlobal(QPoint(0, -self.height() - GRID))
        x = min(max(corner.x(), room.left()), room.right() - self.width())
        y = min(max(corner.y(), room.top()), room.bottom() - self.height())
        self.move(x, y)
        self.show()
