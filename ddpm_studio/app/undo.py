"""Edits of the recipe, to go back and forth in: one step per edit, be a run in hand or not. No Qt."""

from __future__ import annotations

import time
from collections.abc import Callable

from ddpm_studio.recipes import Recipe

SAME_EDIT = 1.0  # s: a wheel turned or a number typed on gives many recipes, and is one edit
MOST = 200


class RecipeHistory:
    """The recipes that were shown one after another, and which of them is shown."""

    def __init__(self, recipe: Recipe, clock: Callable[[], float] = time.monotonic) -> None:
        self._recipes, self._at = [recipe], 0
        self._clock = clock
        self._pushed: tuple[frozenset[str], float] = (frozenset(), 0.0)

    @property
    def recipe(self) -> Recipe:
        return self._recipes[self._at]

    def push(self, recipe: Recipe, *, alone: bool = False) -> None:
        """An edit; what was undone before it is forgotten. ``alone``: it does not go on with the one before."""
        if recipe == self.recipe:
            return
        changed, now = frozenset(self.recipe.differences(recipe)), self._clock()
        settings, when = self._pushed
        del self._recipes[self._at + 1 :]
        if self._at and not alone and changed == settings and now - when < SAME_EDIT:
            self._recipes[self._at] = recipe
        else:
            self._recipes = [*self._recipes[-MOST:], recipe]
            self._at = len(self._recipes) - 1
        self._pushed = (changed, now)

    def undo(self) -> Recipe:
        """Go one edit back, if there is one, and say which recipe is shown then."""
        return self._go(-1)

    def redo(self) -> Recipe:
        """Go one edit forth, if one was undone."""
        return self._go(1)

    def _go(self, way: int) -> Recipe:
        self._at = min(max(self._at + way, 0), len(self._recipes) - 1)
        self._pushed = (frozenset(), 0.0)
        return self.recipe

    def next(self, way: int) -> Recipe | None:
        """What an undo (-1) or a redo (1) would show; None if there is nothing to do."""
        to = self._at + way
        return self._recipes[to] if 0 <= to < len(self._recipes) else None
