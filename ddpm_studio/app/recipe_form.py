"""The recipe as a form, made entirely from the schema: a new setting there is a new row here.

The form holds the last valid recipe and the edits that do not fit it yet. An edit that makes the recipe
valid is taken at once; one that does not marks its row and waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from PySide6.QtCore import QEvent, Qt, Signal, Slot
from PySide6.QtWidgets import QVBoxLayout, QWidget

from ddpm_studio.app.equation_card import EquationCard
from ddpm_studio.app.recipe_editors import LineEditor, write
from ddpm_studio.app.recipe_rows import FieldRow, ForkLine, SectionBox, make_editor
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import DENSE_HEIGHT, PanelScroll, Segmented
from ddpm_studio.recipes import (
    LEVELS,
    SECTION_TITLES,
    Field,
    Recipe,
    RecipeError,
    Section,
    Setting,
    fields_of,
    kind_title,
    kinds_of,
    section_class,
)

_AFTER_STOP = ("training.steps",)  # no reason for a fork: Resume goes on to another last step
_COMPILE = "compute.compile"
_CHANCE = ""  # the section of the settings that stand at the top level of a recipe
_KIND_SETTINGS = {  # label and tip
    "schedule": ("Shape", "How the noise grows on the way from the picture (t = 0) to pure noise (t = T)."),
    "network": ("Kind", "The network that is trained. U-Nets are for pictures, perceptrons for points."),
    "sampler": ("Sampler", "The rule by which one denoising step goes from one noise level to the next."),
}


def _kind_field(section: str, kinds: dict[str, type[Section]]) -> Field:
    """The choice of a section's kind as a field. It may change while running if all its settings may."""
    live = all(field.setting.live for cls in kinds.values() for field in fields_of(cls))
    label, tip = _KIND_SETTINGS[section]
    setting = Setting(
        label=label,
        tip=tip,
        level="tweak",
        live=live,
        choices={kind: kind_title(kind) for kind in kinds},
    )
    return Field("kind", setting, "choice", False, tuple(kinds), None, None, next(iter(kinds)))


class RecipeForm(QWidget):
    """Edits a recipe. ``recipe_changed`` follows the person, never ``set_recipe``."""

    recipe_changed = Signal(object)  # Recipe, valid
    problems_changed = Signal(dict)  # {"section.field": sentence}
    level_changed = Signal(str)  # "watch", "tweak" or "everything"
    symbol_pointed = Signal(object)  # tuple of what a symbol of the equation belongs to; () when it is left

    def __init__(self, data_sets: dict[str, str] | None = None, parent: QWidget | None = None) -> None:
        """``data_sets`` are the built-in ones, as {name: title}."""
        super().__init__(parent)
        self._data_sets = data_sets or {}
        self._recipe = self._baseline = Recipe()
        self._wanted: dict[str, Any] = {}  # edits that would make the recipe invalid
        self._unread: dict[str, str] = {}  # texts that are no values: their sentences
        self._problems: dict[str, str] = {}
        self._running = False
        self._no_compiler = ""
        self._detail = Segmented([(level, "") for level in LEVELS], self.tr("Level of detail"), height=DENSE_HEIGHT)
        self._detail.setObjectName("recipe.detail")
        self._detail.chosen.connect(self._on_detail_chosen)
        self._boxes = {name: SectionBox(title) for name, title in SECTION_TITLES.items()}
        self._boxes[_CHANCE] = SectionBox("Randomness")
        self.card = EquationCard()
        self.card.setObjectName("recipe.equation")
        self.card.pointed.connect(self._on_pointed)

        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(MARGIN, 0, 0, 0)  # the scroll bar is the right margin
        column.setSpacing(0)
        for box in self._boxes.values():
            column.addWidget(box)
        column.addStretch(1)
        head = QVBoxLayout()
        head.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN + 4)
        head.addWidget(self._detail)
        self.fork_line = ForkLine()
        self.fork_line.resized.connect(self._keep_in_sight, Qt.ConnectionType.QueuedConnection)  # all have their size
        foot = QVBoxLayout()
        foot.setContentsMargins(MARGIN, GRID, MARGIN, MARGIN)
        foot.addWidget(self.card)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addLayout(head)
        self._scroll = PanelScroll(content)
        whole.addWidget(self._scroll, 1)
        whole.addWidget(self.fork_line)
        whole.addLayout(foot)
        self._retranslate()
        self._show()

    # -- the recipe

    def recipe(self) -> Recipe:
        """The last valid recipe, with what is being typed if it fits."""
        self._commit()
        return self._recipe

    def problems(self) -> dict[str, str]:
        """One sentence for each setting that cannot be as it stands; empty if the form shows ``recipe()``."""
        self._commit()
        return dict(self._problems)

    def set_recipe(self, recipe: Recipe, baseline: Recipe | None = None) -> None:
        """Show a recipe; settings that differ from ``baseline`` (else from itself) count as changed."""
        self._recipe = recipe
        self._baseline = baseline or recipe
        self._wanted.clear()
        self._unread.clear()
        self._show()
        self._tell_problems({})

    def set_running(self, running: bool) -> None:
        """While a run is active, settings that cannot change between two steps say that they need a fork."""
        if running != self._running:
            self._running = running
            for path, row in self._rows().items():
                self._show_running(path, row)

    def set_compiler(self, missing: str) -> None:
        """Why torch.compile cannot be used on this computer; "" if nothing is known against it."""
        if missing != self._no_compiler:
            self._no_compiler = missing
            self._show(self._problems)

    def tell_fork(self, sentence: str) -> None:
        """Say what needs a fork, or "" if nothing does; what is being edited stays in sight."""
        self.fork_line.tell(sentence)

    @Slot()
    def _keep_in_sight(self) -> None:
        editor = self.focusWidget()
        if isinstance(editor, QWidget) and self._scroll.isAncestorOf(editor):
            self._scroll.ensureWidgetVisible(editor, 0, MARGIN)

    # -- what stands around it

    def level(self) -> str:
        """The level of detail: "watch", "tweak" or "everything"."""
        return self._detail.value()

    def set_level_of_detail(self, level: str) -> None:
        """An unknown level, as from the settings of another version, is "watch"."""
        self._detail.set_value(level if level in LEVELS else LEVELS[0])
        self._filter()

    def set_level(self, t: int | None) -> None:
        """The noise level whose numbers the equation card shows."""
        self.card.set_level(t)

    def set_stage(self, sampler: str, grid: Sequence[int]) -> None:
        """What made the process that is shown, for the equation card."""
        self.card.set_stage(sampler, grid)

    def set_facts(self, facts: dict[str, list[tuple[str, str, str]]]) -> None:
        """Read-only rows (label, value, unit) by section; sections that are not named lose theirs."""
        for section, box in self._boxes.items():
            box.set_facts(facts.get(section, []))
        self._filter()

    # -- edits

    @Slot(str, object)
    def _on_offered(self, path: str, value: Any) -> None:
        if self._with({path: value}) or self._with(self._wanted | {path: value}):
            self._on_edited(path, value)

    @Slot(str, object)
    def _on_edited(self, path: str, value: Any) -> None:
        self._unread.pop(path, None)
        section, _, name = path.rpartition(".")
        if name == "kind":  # what was wanted of the former kind has no place any more
            self._drop(section)
        self._wanted.pop(path, None)
        self._wanted[path] = value  # last, after its section's kind
        self._settle(path)

    @Slot(str, str)
    def _on_unreadable(self, path: str, sentence: str) -> None:
        self._unread[path] = sentence
        self._settle(path)

    @Slot(str)
    def _on_reverted(self, path: str) -> None:
        self._unread.pop(path, None)
        self._wanted.pop(path, None)
        self._settle(path)

    @Slot(str)
    def _on_reset_asked(self, path: str) -> None:
        self._on_edited(path, self._value_of(self._baseline, path))

    def _drop(self, section: str) -> None:
        for edits in (self._wanted, self._unread):
            for path in [path for path in edits if path.startswith(f"{section}.")]:
                del edits[path]

    def _settle(self, path: str) -> None:
        """Take all waiting edits if they fit together, else at least the newest one if it fits alone."""
        before = self._recipe
        for changes in (dict(self._wanted), {path: self._wanted.get(path)}):
            if changes.keys() <= self._wanted.keys() and (made := self._with(changes)):
                self._recipe = made
                for done in changes:
                    del self._wanted[done]
        problems = self._placed() | self._unread
        self._show(problems)
        if self._recipe != before:
            self.recipe_changed.emit(self._recipe)
        self._tell_problems(problems)

    def _with(self, changes: dict[str, Any]) -> Recipe | None:
        try:
            return self._recipe.with_settings(changes)
        except RecipeError:
            return None

    def _placed(self) -> dict[str, str]:
        """What is wrong with the waiting edits, each sentence at a row that can be seen."""
        try:
            self._recipe.with_settings(self._wanted)
        except RecipeError as error:
            rows = self._rows()
            placed = {}
            for path, sentence in error.problems.items():
                section = path.partition(".")[0]
                near = [waiting for waiting in self._wanted if waiting.startswith(f"{section}.")]
                placed[path if path in rows else [*self._wanted, *near][-1]] = sentence
            return placed
        return {}

    def _tell_problems(self, problems: dict[str, str]) -> None:
        if problems != self._problems:
            self._problems = problems
            self.problems_changed.emit(dict(problems))

    def _commit(self) -> None:
        editor = self.focusWidget()
        if isinstance(editor, LineEditor):
            editor.commit()

    # -- rows

    def _rows(self) -> dict[str, FieldRow]:
        return {path: row for box in self._boxes.values() for path, row in box.rows.items()}

    def _fields(self, section: str) -> dict[str, Field]:
        """The settings of a section as it is wanted, by path."""
        if section == _CHANCE:
            return {field.name: field for field in fields_of(Recipe)}
        kinds = kinds_of(section)
        cls = section_class(self._recipe, section)
        fields = []
        if kinds:
            cls = kinds[self._wanted.get(f"{section}.kind", getattr(self._recipe, section).kind)]
            fields = [_kind_field(section, kinds)] if len(kinds) > 1 else []
        return {f"{section}.{field.name}": field for field in (*fields, *fields_of(cls))}

    def _value_of(self, recipe: Recipe, path: str) -> Any:
        section, _, name = path.rpartition(".")
        return getattr(getattr(recipe, section) if section else recipe, name, None)

    def _show(self, problems: dict[str, str] | None = None) -> None:
        """Bring rows, values, marks and visibility in line with the recipe and the waiting edits."""
        for section, box in self._boxes.items():
            fields = self._fields(section)
            if {path: row.field for path, row in box.rows.items()} != fields:
                old = box.rows
                kept = {path: old[path] for path, field in fields.items() if path in old and old[path].field == field}
                box.set_rows({path: kept.get(path) or self._make_row(path, field) for path, field in fields.items()})
                self._chain_tabs()
        problems = problems or {}
        changed = self._recipe.differences(self._baseline)
        for path, row in self._rows().items():
            value = self._value_of(self._recipe, path)
            if value is None and not row.field.optional:
                value = row.field.default  # of a kind that is wanted but does not fit yet
            if path not in self._unread:
                row.editor.set_value(self._wanted.get(path, value))
            theirs = self._value_of(self._baseline, path)
            comparable = path in changed and (theirs is not None or row.field.optional)
            row.show_state(problems.get(path, ""), self._text_of(row.field, theirs) if comparable else "")
            self._show_running(path, row)
        self._filter(problems)
        if self.card.path not in ("", *self._rows()):  # of a kind that is gone
            self.card.show_core()
        self.card.set_recipe(self._recipe)

    def _show_running(self, path: str, row: FieldRow) -> None:
        row.lock(self._why_locked(path))
        row.set_forks(self._running and not row.field.setting.live)

    def _why_locked(self, path: str) -> str:
        if self._running and path in _AFTER_STOP:
            return self.tr("Stop the run to change this")
        if path == _COMPILE and self._no_compiler and self._recipe.compute.compile == "off":  # else it can be undone
            return self.tr("Cannot be used here: {0}").format(self._no_compiler)
        return ""

    def _make_row(self, path: str, field: Field) -> FieldRow:
        tips = {}
        if field.name == "kind":
            section = path.partition(".")[0]
            tips = {kind: (cls.__doc__ or "").strip() for kind, cls in kinds_of(section).items()}
        row = FieldRow(path, field, make_editor(path, field, tips, self._data_sets))
        row.offered.connect(self._on_offered)
        row.edited.connect(self._on_edited)
        row.unreadable.connect(self._on_unreadable)
        row.reverted.connect(self._on_reverted)
        row.reset_asked.connect(self._on_reset_asked)
        row.in_hand.connect(self._on_in_hand)
        return row

    def _text_of(self, field: Field, value: Any) -> str:
        if field.kind == "choice":
            return say((field.setting.choices or {}).get(value, value))
        if field.kind == "bool":
            return self.tr("on") if value else self.tr("off")
        return value if isinstance(value, str) else write(value) or self.tr("empty")

    def _chain_tabs(self) -> None:
        editors = [row.editor for row in self._rows().values()]
        for one, other in pairwise(editors):
            QWidget.setTabOrder(one, other)

    def _filter(self, problems: dict[str, str] | None = None) -> None:
        shown = LEVELS[: LEVELS.index(self._detail.value()) + 1]
        wrong = self._problems if problems is None else problems
        for box in self._boxes.values():
            box.show_up_to(lambda row: row.field.setting.level in shown or row.path in wrong)

    @Slot(str)
    def _on_in_hand(self, path: str) -> None:
        self.card.show_field(path, self._rows()[path].field)

    @Slot(object)
    def _on_pointed(self, belongs: tuple[str, ...]) -> None:
        """Let the rows glow that a symbol belongs to, the first of them in sight."""
        for row in self._rows().values():
            row.set_lit(row.path in belongs)
        lit = [row for row in self._rows().values() if row.lit and row.isVisible()]
        if lit:
            self._scroll.ensureWidgetVisible(lit[0], 0, MARGIN)
        self.symbol_pointed.emit(belongs)

    @Slot(str)
    def _on_detail_chosen(self, level: str) -> None:
        self._filter()
        self.level_changed.emit(level)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.LanguageChange:
            self._retranslate()
        super().changeEvent(event)

    def _retranslate(self) -> None:
        self._detail.set_texts(
            {"watch": self.tr("Watch"), "tweak": self.tr("Tweak"), "everything": self.tr("Everything")}
        )
        self._detail.set_tooltips(
            {
                "watch": self.tr("The few settings that matter most"),
                "tweak": self.tr("What one would try next"),
                "everything": self.tr("Every setting of the recipe"),
            }
        )
        for box in self._boxes.values():
            box.heading.setText(say(box.title))
            box.set_rows({})
        self._show(self._problems)
