"""The seed that the next samples start from, and its lock: one noise across samplers, steps, checkpoints and runs."""

from __future__ import annotations

import random
from typing import Any

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QWidget

from ddpm_studio.app.recipe_editors import LineEditor
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, ToolButton
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.recipes.settings import fields_of

NEW_SEEDS = 10_000  # short enough to be read and typed again


class SeedLock(QObject):
    """Kept in the window's settings. ``changed``: ``seed`` or ``locked`` is another one."""

    changed = Signal()

    def __init__(self, settings: WindowSettings, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._settings = settings
        self.seed, self.locked = settings.seed()

    def set_seed(self, seed: int) -> None:
        """A person wishes for this one, 0 … 2³¹ - 1: it is locked, so that the next samples have it."""
        self._set(seed, True)

    def set_locked(self, on: bool) -> None:
        self._set(self.seed, on)

    def take(self) -> int:
        """The seed to sample with now: the locked one, or a new one, which is shown from now on."""
        if not self.locked:
            self._set(random.randrange(NEW_SEEDS), False)
        return self.seed

    def _set(self, seed: int, locked: bool) -> None:
        if (seed, locked) != (self.seed, self.locked):
            self.seed, self.locked = seed, locked
            self._settings.set_seed(seed, locked)
            self.changed.emit()


class SeedControl(QWidget):
    """The seed as a number to be typed, beside its lock. Several may show the same one.

    ``problem`` says why what is typed is no seed; ``changed`` when that, or the seed, is another.
    """

    changed = Signal()

    def __init__(self, lock: SeedLock, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("seed_control")
        self._lock = lock
        self.problem = ""
        field = next(field for field in fields_of(Recipe) if field.name == "seed")
        self.label = Caption(say(field.setting.label))
        self.editor = LineEditor(field)
        self.editor.setObjectName("seed")
        self.editor.setAccessibleName(self.tr("Seed of the next samples"))
        self.editor.setFixedWidth(64)
        self.button = ToolButton("lock", "", size=DENSE_HEIGHT)
        self.button.setObjectName("seed.lock")
        self.button.setCheckable(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID // 2)
        for widget in (self.label, self.editor, self.button):
            row.addWidget(widget)
        self.editor.offered.connect(self._on_value)
        self.editor.edited.connect(self._on_value)
        self.editor.unreadable.connect(self._on_unreadable)
        self.editor.reverted.connect(self._show)
        self.button.clicked.connect(self._on_clicked)
        lock.changed.connect(self._show)
        self._show()

    @Slot()
    def _show(self) -> None:
        self.problem = ""
        self.editor.set_mark("")
        self.editor.set_value(self._lock.seed)
        self.editor.setToolTip(self.tr("Seed of the next samples: the same seed is the same noise"))
        locked = self._lock.locked
        self.button.set_icon_name("lock" if locked else "lock-open")
        self.button.setChecked(locked)
        self.button.setAccessibleName(self.tr("Lock the seed"))
        self.button.setToolTip(
            self.tr("Locked: whatever is sampled next starts from this seed")
            if locked
            else self.tr("Open: each time something is sampled it gets a new seed")
        )
        self.changed.emit()

    @Slot(object)
    def _on_value(self, value: Any) -> None:
        try:
            seed = Recipe().with_settings({"seed": value}).seed
        except RecipeError as error:
            self._on_unreadable(next(iter(error.problems.values())))
            return
        self._lock.set_seed(seed)
        self._show()  # also where the same was typed in another way

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.problem = sentence
        self.editor.set_mark("bad")
        self.editor.setToolTip(sentence)
        self.changed.emit()

    @Slot(bool)
    def _on_clicked(self, on: bool) -> None:
        self._lock.set_locked(on)
