"""The small dialog in which a person ticks the samplers that are to run side by side."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QPalette
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ddpm_studio.app.recipe_editors import LineEditor, SwitchEditor, say
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, PushButton, Value
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.recipes.comparing import MOST, SamplerChoice, calls_at_most, sampler_choices, set_knob
from ddpm_studio.recipes.settings import fields_of

TIPS = {
    "langevin-plain": "Small noisy moves along the score of one noise level: it finds the clouds, not their shares",
    "langevin": "Many noisy moves at each noise level, from the noisiest down",
    "ddpm": "Ancestral sampling: each step adds noise again",
    "ddim": "The same process without new noise (η = 0)",
    "euler": "The deterministic flow with the same densities, first order",
    "heun": "The deterministic flow with the same densities, second order: two calls a step",
    "dpmpp-2m": "Second order with one call a step",
}


def _(text: str) -> str:
    return QCoreApplication.translate("ComparePanel", text)


class SamplerRow(QObject):
    """Tick, name, main knob and cost of one sampler; ``settings`` is None while the knob cannot be as it stands."""

    changed = Signal()

    def __init__(self, recipe: Recipe, choice: SamplerChoice, parent: QObject) -> None:
        super().__init__(parent)
        self.recipe, self.choice = recipe, choice
        self.settings: Any = choice.settings
        self.problem = ""
        name = _(choice.label)
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
            widget.setToolTip(_(TIPS[choice.settings.kind]))

        self.tick.edited.connect(self._on_ticked)
        self.knob.offered.connect(self._on_value)
        self.knob.edited.connect(self._on_value)
        self.knob.unreadable.connect(self._on_unreadable)
        self.knob.reverted.connect(self._on_reverted)

    @Slot(object)
    def _on_ticked(self, on: bool) -> None:
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
        self.changed.emit()

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.settings, self.problem = None, sentence
        self.knob.set_mark("bad")
        self.changed.emit()

    @Slot()
    def _on_reverted(self) -> None:
        self._on_value(getattr(self.choice.settings, self.choice.knob.name))


class SeedRow(QObject):
    """The seed of the noise that all start from, and its lock; ``problem`` says why what is typed is none."""

    changed = Signal()

    def __init__(self, recipe: Recipe, seed: int, locked: bool, parent: QObject) -> None:
        super().__init__(parent)
        self.recipe, self.seed, self.problem = recipe, seed, ""
        field = next(field for field in fields_of(Recipe) if field.name == "seed")
        self.label = Caption(say(field.setting.label))
        self.editor = LineEditor(field)
        self.editor.setObjectName("compare.seed")
        self.editor.setAccessibleName(say(field.setting.label))
        self.editor.setToolTip(_("The same seed is the same noise, for every sampler and every time"))
        self.editor.set_value(seed)
        self.lock = SwitchEditor()
        self.lock.setObjectName("compare.lock")
        self.lock.setAccessibleName(_("Lock the seed"))
        self.lock.setToolTip(_("Locked, the next comparison starts from the same noise; else it gets a new seed"))
        self.lock.set_value(locked)
        self.lock_label = Caption(_("lock"))
        self.editor.offered.connect(self._on_value)
        self.editor.edited.connect(self._on_value)
        self.editor.unreadable.connect(self._on_unreadable)
        self.editor.reverted.connect(self._on_reverted)

    @property
    def locked(self) -> bool:
        return self.lock.isChecked()

    @Slot(object)
    def _on_value(self, value: Any) -> None:
        try:
            self.seed = self.recipe.with_settings({"seed": value}).seed
        except RecipeError as error:
            self._on_unreadable(next(iter(error.problems.values())))
            return
        self.problem = ""
        self.editor.set_mark("")
        self.editor.set_value(self.seed)
        self.changed.emit()

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.problem = sentence
        self.editor.set_mark("bad")
        self.changed.emit()

    @Slot()
    def _on_reverted(self) -> None:
        self._on_value(self.seed)


class ComparePanel(QDialog):
    """``asked`` gives ((label, sampler section), …), the seed, and whether it is locked.

    ``last_wanted``: show what was compared last.
    """

    asked = Signal(object, int, bool)
    last_wanted = Signal()

    def __init__(
        self,
        recipe: Recipe,
        kind: str,
        count: int,
        *,
        seed: int,
        locked: bool,
        has_last: bool,
        parent: QWidget | None = None,
    ) -> None:
        """``kind``: "points" or "pictures"; ``count`` of them for each sampler, from the noise of ``seed``."""
        super().__init__(parent)
        self.setObjectName("compare_panel")
        self.setWindowTitle(self.tr("Compare samplers"))
        self.rows = [SamplerRow(recipe, choice, self) for choice in sampler_choices(recipe, kind)]
        grid = QGridLayout()
        grid.setHorizontalSpacing(MARGIN)
        grid.setVerticalSpacing(GRID // 2)
        grid.setColumnStretch(1, 1)
        for i, row in enumerate(self.rows):
            for column, widget in enumerate((row.tick, row.label, row.knob, row.what, row.calls)):
                grid.addWidget(widget, i, column)
            row.changed.connect(self._on_changed)
        items = self.tr("particles") if kind == "points" else self.tr("pictures")
        start = Caption(self.tr("All start from the same noise: {0:,} {1}.").format(count, items))
        self.seed_row = SeedRow(recipe, seed, locked, self)
        self.seed_row.changed.connect(self._on_changed)
        noise = QHBoxLayout()
        noise.setSpacing(GRID)
        noise.addWidget(start, 1)
        for widget in (self.seed_row.label, self.seed_row.editor, self.seed_row.lock, self.seed_row.lock_label):
            noise.addWidget(widget)
        self.note = Caption()
        self.note.setObjectName("compare.note")
        self.note.setWordWrap(True)
        self.start = PushButton(self.tr("Start"), "play", primary=True, tooltip=self.tr("Sample one after another"))
        self.start.setObjectName("compare.start")
        self.start.clicked.connect(self._on_start)
        self.last = PushButton(self.tr("Show last"), tooltip=self.tr("Show what this run compared last"))
        self.last.setObjectName("compare.last")
        self.last.setVisible(has_last)
        self.last.clicked.connect(self._on_last)
        cancel = PushButton(self.tr("Cancel"), tooltip=self.tr("Close (Esc)"))
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(GRID)
        buttons.addWidget(self.last)
        buttons.addStretch(1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.start)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(2 * MARGIN, 2 * MARGIN, 2 * MARGIN, 2 * MARGIN)
        whole.setSpacing(MARGIN)
        whole.addLayout(noise)
        whole.addLayout(grid)
        whole.addWidget(self.note)
        whole.addLayout(buttons)
        self.rows[0].tick.setFocus()  # the samplers are what is asked; the seed is there to be seen
        self._on_changed()

    def entries(self) -> tuple[tuple[str, Any], ...]:
        """What is ticked, in order."""
        return tuple((row.label.text(), row.settings) for row in self.rows if row.tick.isChecked())

    @Slot()
    def _on_changed(self) -> None:
        for row in self.rows:
            on = row.tick.isChecked()
            row.label.setEnabled(on)
            calls = calls_at_most(row.settings) if row.settings is not None else 0
            row.calls.set_text(self.tr("{0:,} calls").format(calls) if calls and on else "")
        ticked = [row for row in self.rows if row.tick.isChecked()]
        wrong = next((f"{row.label.text()}: {row.problem}" for row in ticked if row.problem), "")
        if not wrong and not 2 <= len(ticked) <= MOST:
            wrong = self.tr("Tick two to six samplers")
        if self.seed_row.problem:
            wrong = f"{self.seed_row.label.text()}: {self.seed_row.problem}"
        total = sum(calls_at_most(row.settings) for row in ticked if row.settings is not None)
        self.note.setText(f"{wrong}." if wrong else self.tr("{0:,} network calls at most.").format(total))
        self.note.setForegroundRole(QPalette.ColorRole.BrightText if wrong else QPalette.ColorRole.PlaceholderText)
        self.start.setEnabled(not wrong)

    @Slot()
    def _on_start(self) -> None:
        for row in self.rows:
            row.knob.commit()  # what is being typed, too
        self.seed_row.editor.commit()
        if self.start.isEnabled():
            self.asked.emit(self.entries(), self.seed_row.seed, self.seed_row.locked)
            self.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self._on_start()
        else:
            super().keyPressEvent(event)

    @Slot()
    def _on_last(self) -> None:
        self.last_wanted.emit()
        self.accept()
