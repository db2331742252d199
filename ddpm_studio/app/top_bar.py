"""The bar at the top: recipe, Start, Pause, Stop, Sample now and its seed; and how the run goes."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QAction, QFont, QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QMenu, QSizePolicy, QWidget

from ddpm_studio.app.controller import State
from ddpm_studio.app.labels import Value
from ddpm_studio.app.recipe_menu import RecipeMenu
from ddpm_studio.app.seed_lock import SeedControl, SeedLock
from ddpm_studio.app.theme import GRID, MARGIN, tabular
from ddpm_studio.app.widgets import PushButton, ThinProgress, ToolButton, icon_button
from ddpm_studio.recipes import Recipe

FILES = ("recipe.open", "recipe.save_as", "data.open_folder", "data.draw")  # at the end of the menu of recipes


class TopBar(QWidget):
    """Recipe menu and run buttons at the left, the run's numbers at the right."""

    recipe_chosen = Signal(str)

    def __init__(
        self, actions: dict[str, QAction], menu: QMenu, seed_lock: SeedLock, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName("top_bar")
        self.setBackgroundRole(QPalette.ColorRole.Window)
        self.setAutoFillBackground(True)
        self._actions = actions
        self.recipe_button = PushButton()
        self.recipe_button.setObjectName("recipe_menu")
        recipes = RecipeMenu([actions[name] for name in FILES], self)
        recipes.recipe_chosen.connect(self.recipe_chosen)
        self.recipe_button.setMenu(recipes)
        self.start = self._button("run.start", primary=True)
        self.resume = self._button("run.resume")
        self.pause = self._button("run.pause")
        self.pause.reserve([self.tr("Pause"), self.tr("Resume")])
        self.stop = self._button("run.stop")
        self.sample = self._button("run.sample_now")
        self.compare = icon_button(actions["run.compare"])
        self.compare.setObjectName("button.run.compare")
        self.seed = SeedControl(seed_lock)
        self.plan = Value(muted=True)
        self.rate = Value(reserve="88,888 img/s", muted=True)
        self.step = Value(reserve="Step 88,888 of 88,888")
        self.left = Value(reserve="88 min left", muted=True)
        self.step.setFont(tabular(self.font(), weight=QFont.Weight.DemiBold))
        self.progress = ThinProgress()
        more = ToolButton("list", self.tr("Menu: all actions"))
        more.setObjectName("main_menu")
        more.setMenu(menu)
        more.setPopupMode(ToolButton.ToolButtonPopupMode.InstantPopup)

        row = QHBoxLayout(self)
        row.setContentsMargins(MARGIN, GRID, MARGIN, GRID)
        row.setSpacing(GRID)
        for widget in (self.recipe_button, self.start, self.resume, self.pause, self.stop, self.sample, self.compare):
            row.addWidget(widget)
        row.addWidget(self.seed)
        row.addStretch(1)
        for value in (self.plan, self.rate, self.step, self.progress, self.left):
            row.addWidget(value)
            row.addSpacing(GRID // 2)
        row.addWidget(more)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.set_state(State.IDLE, can_resume=False, can_sample=False)

    def _button(self, action: str, primary: bool = False) -> PushButton:
        button = PushButton(primary=primary, action=self._actions[action])
        button.setObjectName(f"button.{action}")
        return button

    # -- what it shows

    def set_recipe(self, recipe: Recipe) -> None:
        self.recipe_button.setText(recipe.title)
        self.recipe_button.setToolTip("\n".join([recipe.title, self.tr("Choose what to learn")]))

    def set_state(self, state: State, *, can_resume: bool, can_sample: bool, can_start: bool = True) -> None:
        """Show and enable the buttons that make sense."""
        training = state in (State.STARTING, State.TRAINING, State.PAUSED)
        free = state in (State.IDLE, State.LOADING)
        enabled = {
            "run.start": free and can_start,
            "run.resume": free and can_resume,
            "run.pause": state in (State.TRAINING, State.PAUSED),
            "run.stop": training or state is State.SAMPLING,
            "run.sample_now": state in (State.TRAINING, State.PAUSED) or (free and can_sample),
            "run.compare": state in (State.TRAINING, State.PAUSED) or (free and can_sample),
            "run.save": state in (State.TRAINING, State.PAUSED),
            "run.open": free,
            "run.save_as": free and can_sample,
            "recipe.open": free,
            "data.open_folder": free,
            "data.draw": free,
        }
        for name, on in enabled.items():
            self._actions[name].setEnabled(on)
        self.recipe_button.setEnabled(free)
        self.start.setVisible(free)
        self.resume.setVisible(free and can_resume)
        self.resume.set_primary(can_resume)  # the likelier wish; Start makes a new run
        self.start.set_primary(not can_resume)
        self.pause.setVisible(not free)
        self.stop.setVisible(not free)
        self._actions["run.pause"].setText(self.tr("Resume") if state is State.PAUSED else self.tr("Pause"))

    def set_numbers(
        self, *, plan: str = "", rate: str = "", step: str = "", share: float = 0.0, left: str = ""
    ) -> None:
        """The run's numbers, already as text."""
        self.plan.set_text(plan)
        self.rate.set_text(rate)
        self.step.set_text(step)
        self.left.set_text(left)
        self.progress.set_share(share)
        self._show_progress()
        given_way = (value.text() for value in (self.plan, self.rate) if value.isHidden())
        self.step.setToolTip("\n".join(filter(None, given_way)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        # On a small screen the plan gives way, then the rate, and the bar, which says what the step says.
        self.plan.setVisible(self.width() >= 1240)
        self.rate.setVisible(self.width() >= 1080)
        self._show_progress()

    def _show_progress(self) -> None:
        self.progress.setVisible(self.width() >= 1080 and bool(self.step.text()))
