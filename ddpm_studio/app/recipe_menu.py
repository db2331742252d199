"""The menu of recipes: our own first, then the tutorials, each in its editions, then files."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from ddpm_studio.app.texts import say
from ddpm_studio.recipes import Recipe, built_in
from ddpm_studio.recipes.editions import EDITIONS
from ddpm_studio.recipes.tutorials import tutorials


class RecipeMenu(QMenu):
    """One action for each built-in recipe, called ``recipe.<name>``; the tutorials' stand in submenus."""

    recipe_chosen = Signal(str)

    def __init__(self, files: Iterable[QAction], parent: QWidget | None = None) -> None:
        """``files`` are the actions at the end: open a recipe, save it, and so on."""
        super().__init__(parent)
        self.setToolTipsVisible(True)
        titles = tutorials()
        submenus: dict[str, QMenu] = {}
        for recipe in built_in().values():
            number = recipe.tutorial
            if not number:
                self._add(self, recipe, recipe.title)
                continue
            if number not in submenus:
                if not submenus:
                    self.addSection(self.tr("Tutorials"))
                title = titles[number].title if number in titles else recipe.title
                submenus[number] = self.addMenu(f"{number}  {title}")
                submenus[number].setToolTipsVisible(True)
            self._add(submenus[number], recipe, say(EDITIONS[recipe.edition]) if recipe.edition else recipe.title)
        self.addSeparator()
        for action in files:
            self.addAction(action)
        self.triggered.connect(self._on_triggered)

    def _add(self, menu: QMenu, recipe: Recipe, text: str) -> None:
        action = menu.addAction(text)
        action.setObjectName(f"recipe.{recipe.name}")
        action.setData(recipe.name)
        action.setToolTip(recipe.about)

    @Slot(QAction)
    def _on_triggered(self, action: QAction) -> None:
        if action.data():
            self.recipe_chosen.emit(action.data())
