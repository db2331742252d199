"""The badge above the form: whether a tutorial's recipe is as printed, and if not, in what it differs."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction, QPainter, QPaintEvent
from PySide6.QtWidgets import QMenu, QSizePolicy, QToolButton, QVBoxLayout, QWidget

from ddpm_studio.app.painting import draw_box, draw_focus
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN, color, icon, tabular, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption
from ddpm_studio.data import BUILT_IN
from ddpm_studio.recipes import Recipe, live_settings
from ddpm_studio.recipes.editions import (
    EDITIONS,
    badge,
    difference_texts,
    edition_of,
    own_differences,
    printed_differences,
    reset_changes,
)


class _Pill(QToolButton):
    """A line of text in a tinted box that opens a menu; elided where it does not fit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.role = "accent"
        self.setFixedHeight(DENSE_HEIGHT)
        self.setFont(tabular(self.font(), 0.92))
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(120, DENSE_HEIGHT)

    def minimumSizeHint(self) -> QSize:
        return QSize(60, DENSE_HEIGHT)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        lit = self.isEnabled() and (self.underMouse() or self.isDown())
        draw_box(painter, QRectF(self.rect()), color(self.role, 0.24 if lit else 0.14), color(self.role, 0.5))
        icon("chevron-down", "muted").paint(painter, self.width() - 22, (self.height() - 16) // 2, 16, 16)
        room = QRectF(self.rect()).adjusted(10, 0, -26, 0)
        painter.setPen(color("text"))
        text = self.fontMetrics().elidedText(self.text(), Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        draw_focus(painter, self)


class EditionBadge(QWidget):
    """Shown for a tutorial's recipe only."""

    changes_wanted = Signal(dict)  # {"training.batch": 128}: settings as the edition has them
    recipe_chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._recipe = Recipe()
        self._running = False
        self.pill = _Pill()
        self.pill.setObjectName("edition_badge")
        self.note = Caption()
        self.note.setObjectName("edition_note")
        self.note.setWordWrap(True)
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._on_menu_wanted)
        self._menu.triggered.connect(self._on_chosen)
        self.pill.setMenu(self._menu)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, 0)
        column.setSpacing(GRID // 2)
        column.addWidget(self.pill)
        column.addWidget(self.note)
        self.hide()

    def set_recipe(self, recipe: Recipe) -> None:
        self._recipe = recipe
        text = badge(recipe, say)
        text = text[:1].upper() + text[1:]
        self.setVisible(bool(text))
        if not text:
            return
        differs = bool(own_differences(recipe))
        self.pill.role = "changed" if differs else "accent"
        self.pill.setText(text)
        self.pill.setAccessibleName(text)
        self.pill.setToolTip(self._tooltip())
        self.pill.update()
        free = recipe.tutorial == "002" and recipe.data.source in BUILT_IN
        self.note.setText(
            self.tr("Its pictures of cars are not offered any more: any folder of pictures will do (Data).")
        )
        self.note.setVisible(free)

    def set_running(self, running: bool) -> None:
        """While a training goes on only what may change between two steps can be reset."""
        self._running = running

    def _tooltip(self) -> str:
        recipe = self._recipe
        texts = list(difference_texts(recipe, printed_differences(recipe), say).values())
        if not texts:
            return self.tr(
                "As the tutorial prints it; where it is silent, as in its author's code, or ours.\n"
                "Seed, computer, preview and autosave do not count."
            )
        return "\n".join([self.tr("Differs from the printed edition:"), *texts])

    @Slot()
    def _on_menu_wanted(self) -> None:
        recipe, menu = self._recipe, self._menu
        menu.clear()
        own = own_differences(recipe)
        live = live_settings(recipe)
        if own:
            menu.addSection(self.tr("Reset"))
            for path, text in difference_texts(recipe, own, say).items():
                changes = reset_changes(recipe, path)
                self._add(f"edition.reset.{path}", text, changes, not self._running or changes.keys() <= live)
            everything: dict[str, Any] = {}
            for path in own:
                everything |= reset_changes(recipe, path)
            text = self.tr("All of these")
            self._add("edition.reset", text, everything, not self._running or everything.keys() <= live)
        elif recipe.edition == "laptop":
            printed = edition_of(recipe, "printed")
            menu.addSection(self.tr("Make as printed"))
            for path, text in difference_texts(recipe, printed_differences(recipe), say).items():
                self._add(f"edition.printed.{path}", text, reset_changes(recipe, path, printed), not self._running)
        for edition, title in EDITIONS.items():
            other = edition_of(recipe, edition)
            if edition != recipe.edition and other is not None:
                menu.addSeparator()
                text = self.tr("Change to: {0}").format(say(title))
                self._add(f"edition.{edition}", text, other.name, not self._running)

    def _add(self, name: str, text: str, what: object, enabled: bool) -> None:
        action = self._menu.addAction(text)
        action.setObjectName(name)
        action.setData(what)
        action.setEnabled(enabled)

    @Slot(QAction)
    def _on_chosen(self, action: QAction) -> None:
        what = action.data()
        if isinstance(what, dict):
            self.changes_wanted.emit(what)
        elif what:
            self.recipe_chosen.emit(what)
