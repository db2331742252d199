"""What a row or a column of a comparison stands for, as a person says it: ticks, samplers with knobs, or a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication, QEvent, QObject, Qt, Signal, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.recipe_editors import LineEditor, SwitchEditor
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, PanelScroll, Value
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.recipes.axes import Axis
from ddpm_studio.recipes.comparing import SamplerChoice, calls_at_most, sampler_choices, set_knob
from ddpm_studio.recipes.settings import Field, Setting

LEAST, MOST = 2, 6  # values of an axis that are seen side by side
SEEN, SAMPLERS_SEEN = 5, 7  # rows of ticks; more are scrolled to, so that two such pages fit into a small screen

TIPS = {
    "langevin-plain": QT_TRANSLATE_NOOP(
        "ComparePanel", "Small noisy moves along the score of one noise level: it finds the clouds, not their shares"
    ),
    "langevin": QT_TRANSLATE_NOOP("ComparePanel", "Many noisy moves at each noise level, from the noisiest down"),
    "ddpm": QT_TRANSLATE_NOOP("ComparePanel", "Ancestral sampling: each step adds noise again"),
    "ddim": QT_TRANSLATE_NOOP("ComparePanel", "The same process without new noise (η = 0)"),
    "euler": QT_TRANSLATE_NOOP("ComparePanel", "The deterministic flow with the same densities, first order"),
    "heun": QT_TRANSLATE_NOOP(
        "ComparePanel", "The deterministic flow with the same densities, second order: two calls a step"
    ),
    "dpmpp-2m": QT_TRANSLATE_NOOP("ComparePanel", "Second order with one call a step"),
    "dpmpp-3m": QT_TRANSLATE_NOOP("ComparePanel", "Third order with one call a step; 10 to 20 steps do"),
    "unipc": QT_TRANSLATE_NOOP("ComparePanel", "DPM-Solver++(3M), each step corrected by the next one's call"),
    "ipndm": QT_TRANSLATE_NOOP("ComparePanel", "Looks back at four estimates of the noise; best in 6 to 10 steps"),
}


class AxisPage(QWidget):
    """Asks for the values of one key of ``axes.NAMES``; ``changed`` when they are others."""

    changed = Signal()

    def __init__(self, key: str, few: str) -> None:
        """``few``: what is said where there are not two to six values."""
        super().__init__()
        self.key = key
        self._few = few
        self._scroll: PanelScroll | None = None

    def axis(self) -> Axis:
        """What is chosen, in order."""
        raise NotImplementedError

    def problem(self) -> str:
        """Why the values cannot be used, as they stand; "" if they can."""
        return "" if LEAST <= len(self.axis().values) <= MOST else self._few

    def commit(self) -> None:
        """Take what is being typed, too."""

    def _hold(self, content: QWidget, rows: int, seen: int) -> None:
        """Show ``content``, which has so many ``rows``; what lies below those that are ``seen`` is scrolled to."""
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        if rows <= seen:
            whole.addWidget(content)
            return
        self._scroll = PanelScroll(content)
        self._scroll.setFixedHeight(seen * (DENSE_HEIGHT + GRID // 2) + DENSE_HEIGHT // 2)  # half a row: more
        for widget in content.findChildren(QWidget):
            widget.installEventFilter(self)
        whole.addWidget(self._scroll)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusIn and isinstance(watched, QWidget) and self._scroll is not None:
            self._scroll.ensureWidgetVisible(watched)
        return super().eventFilter(watched, event)


class Tick(NamedTuple):
    """One value that can be ticked; ``note`` stands muted beside it."""

    value: Any
    text: str
    note: str = ""
    on: bool = False
    tip: str = ""


class TickPage(AxisPage):
    """Values of which some are ticked."""

    def __init__(self, key: str, few: str, ticks: Sequence[Tick], columns: int = 1) -> None:
        super().__init__(key, few)
        self._ticks = ticks
        self.switches: list[SwitchEditor] = []
        content = QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(0, 0, MARGIN, 0)
        grid.setHorizontalSpacing(GRID)
        grid.setVerticalSpacing(GRID // 2)
        for i, tick in enumerate(ticks):
            switch = SwitchEditor()
            switch.setObjectName(f"compare.{key}.{tick.text}")
            switch.setAccessibleName(tick.text)
            switch.set_value(tick.on)
            switch.edited.connect(self._on_ticked)
            label, note = QLabel(tick.text), Caption(tick.note)
            label.setForegroundRole(QPalette.ColorRole.WindowText)
            switch.setToolTip(tick.tip)
            label.setToolTip(tick.tip)
            row, column = divmod(i, columns)
            for at, widget in enumerate((switch, label, note)):
                grid.addWidget(widget, row, 3 * column + at)
            self.switches.append(switch)
        grid.setColumnStretch(3 * columns, 1)
        self._hold(content, -(-len(ticks) // columns), SEEN)

    def axis(self) -> Axis:
        on = [tick for tick, switch in zip(self._ticks, self.switches, strict=True) if switch.isChecked()]
        return Axis(self.key, tuple(tick.value for tick in on), tuple(tick.text for tick in on))

    @Slot(object)
    def _on_ticked(self, on: bool) -> None:
        self.changed.emit()


class LinePage(AxisPage):
    """Whole numbers in a line, such as "5, 10, 50"; ``check`` raises RecipeError for one that cannot be."""

    def __init__(self, key: str, few: str, name: str, values: Sequence[int], check: Callable[[int], object]) -> None:
        super().__init__(key, few)
        self._values, self._check, self._wrong = tuple(values), check, ""
        self.editor = LineEditor(Field(key, Setting(name, ""), "ints", False, (), None, None, ()))
        self.editor.setObjectName(f"compare.{key}")
        self.editor.setAccessibleName(name)
        self.editor.setAlignment(Qt.AlignmentFlag.AlignLeft)
        self.editor.setFixedWidth(240)
        self.editor.set_value(self._values)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(MARGIN)
        row.addWidget(self.editor)
        row.addWidget(Caption(self.tr("two to six, with commas")), 1)
        self.editor.offered.connect(self._on_value)
        self.editor.edited.connect(self._on_value)
        self.editor.unreadable.connect(self._on_unreadable)
        self.editor.reverted.connect(self._on_reverted)

    def axis(self) -> Axis:
        return Axis(self.key, self._values)

    def problem(self) -> str:
        return self._wrong or super().problem()

    def commit(self) -> None:
        self.editor.commit()

    @Slot(object)
    def _on_value(self, values: Any) -> None:
        values = tuple(dict.fromkeys(values))
        try:
            for value in values:
                self._check(value)
        except RecipeError as error:
            self._on_unreadable(f"{value}: {next(iter(error.problems.values()))}")
            return
        self._values, self._wrong = values, ""
        self.editor.set_mark("")
        self.editor.set_value(values)
        self.changed.emit()

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self._wrong = sentence
        self.editor.set_mark("bad")
        self.changed.emit()

    @Slot()
    def _on_reverted(self) -> None:
        self._on_value(self._values)


class SamplerRow(QObject):
    """Tick, name, main knob and cost of one sampler; ``settings`` is None while the knob cannot be as it stands."""

    changed = Signal()

    def __init__(self, recipe: Recipe, choice: SamplerChoice, parent: QObject) -> None:
        super().__init__(parent)
        self.recipe, self.choice = recipe, choice
        self.settings: Any = choice.settings
        self.problem = ""
        name = say(choice.label)
        self.tick = SwitchEditor()
        self.tick.setObjectName(f"compare.{choice.settings.kind}")
        self.tick.setAccessibleName(name)
        self.tick.set_value(choice.usual)
        self.label = QLabel(name)
        self.label.setForegroundRole(QPalette.ColorRole.WindowText)
        self.knob = LineEditor(choice.knob)
        self.knob.setObjectName(f"compare.{choice.settings.kind}.{choice.knob.name}")
        self.knob.setAccessibleName(f"{name}: {say(choice.knob.setting.label)}")
        self.knob.set_value(getattr(choice.settings, choice.knob.name))
        self.what = Caption(say(choice.knob.setting.label).lower())
        self.calls = Value(reserve="888,888 calls", muted=True)
        for widget in (self.tick, self.label, self.knob):
            widget.setToolTip(QCoreApplication.translate("ComparePanel", str(TIPS.get(choice.settings.kind, ""))))
        self.tick.edited.connect(self._on_ticked)
        self.knob.offered.connect(self._on_value)
        self.knob.edited.connect(self._on_value)
        self.knob.unreadable.connect(self._on_unreadable)
        self.knob.reverted.connect(self._on_reverted)
        self._show()

    def set_steps_elsewhere(self, on: bool) -> None:
        """Whether another axis says how many steps there are, whatever the knob says."""
        free = not (on and self.choice.knob.name == "steps")
        self.knob.setEnabled(free)
        self.calls.setVisible(not on)

    def _show(self) -> None:
        on = self.tick.isChecked()
        self.label.setEnabled(on)
        calls = calls_at_most(self.settings) if on and self.settings is not None else 0
        text = QCoreApplication.translate("ComparePanel", "{0:,} calls")
        self.calls.set_text(text.format(calls) if calls else "")

    @Slot(object)
    def _on_ticked(self, on: bool) -> None:
        self._show()
        self.changed.emit()

    @Slot(object)
    def _on_value(self, value: Any) -> None:
        try:
            self.settings = set_knob(self.recipe, self.choice, value)
        except RecipeError as error:
            self._on_unreadable(next(iter(error.problems.values())))
            return
        self.problem = ""
        self.knob.set_mark("")
        self.knob.set_value(value)
        self.tick.set_value(True)
        self._show()
        self.changed.emit()

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.settings, self.problem = None, sentence
        self.knob.set_mark("bad")
        self._show()
        self.changed.emit()

    @Slot()
    def _on_reverted(self) -> None:
        self._on_value(getattr(self.choice.settings, self.choice.knob.name))


class SamplerPage(AxisPage):
    """Samplers, each with its main knob."""

    def __init__(self, few: str, recipe: Recipe, kind: str) -> None:
        super().__init__("sampler", few)
        self.rows = [SamplerRow(recipe, choice, self) for choice in sampler_choices(recipe, kind)]
        content = QWidget()
        grid = QGridLayout(content)
        grid.setContentsMargins(0, 0, MARGIN if len(self.rows) > SAMPLERS_SEEN else 0, 0)
        grid.setHorizontalSpacing(MARGIN)
        grid.setVerticalSpacing(GRID // 2)
        grid.setColumnStretch(1, 1)
        for i, row in enumerate(self.rows):
            for column, widget in enumerate((row.tick, row.label, row.knob, row.what, row.calls)):
                grid.addWidget(widget, i, column)
            row.changed.connect(self.changed)
        self._hold(content, len(self.rows), SAMPLERS_SEEN)

    def set_steps_elsewhere(self, on: bool) -> None:
        """As ``SamplerRow.set_steps_elsewhere``."""
        for row in self.rows:
            row.set_steps_elsewhere(on)

    def axis(self) -> Axis:
        return Axis(self.key, tuple(row.settings for row in self._ticked() if row.settings is not None))

    def problem(self) -> str:
        wrong = (f"{row.label.text()}: {row.problem}" for row in self._ticked() if row.problem)
        return next(wrong, "") or super().problem()

    def commit(self) -> None:
        for row in self.rows:
            row.knob.commit()

    def _ticked(self) -> list[SamplerRow]:
        return [row for row in self.rows if row.tick.isChecked()]
