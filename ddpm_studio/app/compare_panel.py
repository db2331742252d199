"""The small dialog in which a person says what is to be compared: what goes across, and maybe what goes down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication, QEvent, QObject, Qt, Signal, Slot
from PySide6.QtGui import QKeyEvent, QPalette
from PySide6.QtWidgets import QDialog, QGridLayout, QHBoxLayout, QLabel, QLayout, QVBoxLayout, QWidget

from ddpm_studio.app.compare_pages import AxisPage, LinePage, SamplerPage, Tick, TickPage
from ddpm_studio.app.fields import FlatLineEdit
from ddpm_studio.app.seed_lock import SeedControl, SeedLock
from ddpm_studio.app.texts import about
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, PushButton, Segmented
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.recipes.axes import MOST_CELLS, WEIGHTS, Cell, cells
from ddpm_studio.recipes.comparing import calls_at_most
from ddpm_studio.training.control import Comparison

NONE = "none"
NAMES = {
    "sampler": QT_TRANSLATE_NOOP("ComparePanel", "Samplers"),
    "steps": QT_TRANSLATE_NOOP("ComparePanel", "Number of steps"),
    "checkpoint": QT_TRANSLATE_NOOP("ComparePanel", "Training steps"),
    "seed": QT_TRANSLATE_NOOP("ComparePanel", "Seeds"),
    "weights": QT_TRANSLATE_NOOP("ComparePanel", "Weights"),
    "run": QT_TRANSLATE_NOOP("ComparePanel", "Runs"),
}
CLASH = {"checkpoint", "run"}  # one run's training steps are not another's


class RunChoice(NamedTuple):
    """A run that can be compared; ``name`` as the list of runs has it, ``note`` says how far it was trained."""

    path: Path
    name: str
    note: str
    recipe: Recipe


@dataclass(frozen=True)
class Subject:
    """The run in hand, as far as it matters for what can be compared.

    ``count``: items of each cell; ``weights``: "ema" or "raw", where the weights are not compared; ``checkpoints``:
    training steps on disk, oldest first; ``training``: there are weights of this moment, too; ``runs``: looks for runs
    of the same ``kind``, "points" or "pictures", the one in hand first; ``seconds``: of computing for each network call
    of one cell, 0 if nothing was measured yet.
    """

    recipe: Recipe
    kind: str
    count: int
    weights: str
    checkpoints: tuple[int, ...]
    training: bool
    runs: Callable[[], Sequence[RunChoice]]
    seconds: float = 0.0


class ComparePanel(QDialog):
    """``asked`` gives a Comparison; ``last_wanted``: show what was compared last."""

    asked = Signal(object)
    last_wanted = Signal()

    def __init__(self, subject: Subject, lock: SeedLock, *, has_last: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compare_panel")
        self.setWindowTitle(self.tr("Compare"))
        self._subject, self._lock = subject, lock
        self._runs: Sequence[RunChoice] = ()
        self._pages: dict[str, AxisPage] = {}
        names = [(key, QCoreApplication.translate("ComparePanel", str(name))) for key, name in NAMES.items()]
        self.across = Segmented(names, self.tr("What goes across"))
        self.down = Segmented([(NONE, self.tr("None")), *names], self.tr("What goes down"))
        self._slots = QVBoxLayout(), QVBoxLayout()
        axes = QGridLayout()
        axes.setHorizontalSpacing(MARGIN)
        axes.setVerticalSpacing(GRID)
        texts = self.tr("Across"), self.tr("Down")
        for i, (text, choice, slot) in enumerate(zip(texts, (self.across, self.down), self._slots, strict=True)):
            choice.setObjectName(("compare.across", "compare.down")[i])
            label = QLabel(text)
            label.setForegroundRole(QPalette.ColorRole.WindowText)
            slot.setContentsMargins(0, 0, 0, GRID)
            axes.addWidget(label, 2 * i, 0)
            axes.addWidget(choice, 2 * i, 1)
            axes.addLayout(slot, 2 * i + 1, 1)
            choice.chosen.connect(self._on_axes)
        axes.setColumnStretch(1, 1)

        self.noise = Caption()
        self.seed = SeedControl(lock)
        self.seed.changed.connect(self._on_changed)
        noise = QHBoxLayout()
        noise.setSpacing(GRID)
        noise.addWidget(self.noise, 1)
        noise.addWidget(self.seed)
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
        self.cancel = PushButton(self.tr("Cancel"), tooltip=self.tr("Close (Esc)"))
        self.cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(GRID)
        buttons.addWidget(self.last)
        buttons.addStretch(1)
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.start)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(2 * MARGIN, 2 * MARGIN, 2 * MARGIN, 2 * MARGIN)
        whole.setSpacing(MARGIN)
        whole.setSizeConstraint(QLayout.SizeConstraint.SetFixedSize)  # as large as what is asked, always
        whole.addLayout(axes)
        whole.addLayout(noise)
        whole.addWidget(self.note)
        whole.addLayout(buttons)
        self._on_axes()

    # -- what is asked

    def page(self, key: str) -> AxisPage:
        """Where the values of ``key`` are chosen; it keeps them whether it is in use or not."""
        if key not in self._pages:
            page = self._pages[key] = self._make(key)
            page.setParent(self)
            page.hide()
            page.changed.connect(self._on_changed)
            for editor in page.findChildren(FlatLineEdit):
                editor.installEventFilter(self)  # Enter starts from there, too
        return self._pages[key]

    def _make(self, key: str) -> AxisPage:
        subject = self._subject
        match key:
            case "sampler":
                return SamplerPage(self.tr("Tick two to six samplers"), subject.recipe, subject.kind)
            case "steps":
                own = subject.recipe.sampler.steps
                parts = (10, 5, 1) if own >= 50 else (4, 2, 1)
                usual = sorted({max(1, own // part) for part in parts})
                few = self.tr("Write two to six numbers of steps, such as 5, 10, 50")
                return LinePage(key, few, self.tr("Number of steps"), usual, self._check_steps)
            case "seed":
                usual = sorted((self._lock.seed + i) % 2**31 for i in range(3))
                few = self.tr("Write two to six seeds, such as 0, 1, 2")
                return LinePage(key, few, self.tr("Seeds"), usual, self._check_seed)
            case "checkpoint":
                there = subject.checkpoints
                usual = [*there[:1], *there[len(there) // 2 :][:1], *there[-1:]]
                ticks = [Tick(step, f"{step:,}", "", step in usual) for step in there]
                if subject.training:
                    tip = self.tr("The weights of the moment when it is sampled")
                    ticks.append(Tick(None, self.tr("now"), "", True, tip))
                return TickPage(key, self.tr("Tick two to six training steps"), ticks, columns=3)
            case "weights":
                ticks = [Tick(weights, text, "", True) for weights, text in WEIGHTS.items()]
                return TickPage(key, self.tr("Tick both"), ticks, columns=2)
            case _:
                self._runs = subject.runs()
                ticks = [Tick(run.path, run.name, run.note, i < 2, str(run.path)) for i, run in enumerate(self._runs)]
                few = self.tr("Tick two to six runs") if len(ticks) > 1 else self.tr("There is no other run like this")
                return TickPage("run", few, ticks)

    def _check_steps(self, steps: int) -> None:
        if steps < 1:
            raise RecipeError({"": self.tr("a process takes at least one step")})

    def _check_seed(self, seed: int) -> None:
        Recipe().with_settings({"seed": seed})

    def _used(self) -> list[AxisPage]:
        """The page of what goes across, and of what goes down if anything does."""
        return [self.page(key) for key in (self.across.value(), self.down.value()) if key != NONE]

    def _cells(self, seed: int) -> tuple[Cell, ...]:
        across, *down = (page.axis() for page in self._used())
        subject = self._subject
        found = cells(
            subject.recipe,
            down[0] if down else None,
            across,
            seed=seed,
            weights=subject.weights,
            recipes={run.path: run.recipe for run in self._runs},
        )
        return tuple(cell for row in found for cell in row)

    # -- what happens

    @Slot()
    def _on_axes(self) -> None:
        """Something else goes across or down."""
        across = self.across.value()
        tips = self._unavailable()
        for key in NAMES:
            self.across.set_item_enabled(key, key not in tips)
            clash = key == across or {key, across} == CLASH
            self.down.set_item_enabled(key, key not in tips and not clash)
            if clash and self.down.value() == key:
                self.down.set_value(NONE)
        for choice in (self.across, self.down):
            choice.set_tooltips(tips)
        used = self._used()
        for page in self._pages.values():
            if page not in used:
                page.hide()
        for slot, used_page in zip(self._slots, used, strict=False):
            slot.addWidget(used_page)
            used_page.show()
        keys = {page.key for page in used}
        sampler = self._pages.get("sampler")
        if isinstance(sampler, SamplerPage):
            sampler.set_steps_elsewhere("steps" in keys)
        self.seed.setEnabled("seed" not in keys)
        self._tell_noise()
        self._order_tabs(used)
        self._on_changed()

    def _tell_noise(self) -> None:
        one = self.seed.isEnabled()
        text = self.tr("All start from the same noise") if one else self.tr("One noise for each seed")
        items = self.tr("particles") if self._subject.kind == "points" else self.tr("pictures")
        self.noise.setText(self.tr("{0}: {1:,} {2}.").format(text, self._subject.count, items))

    def _unavailable(self) -> dict[str, str]:
        """What cannot be compared, and why."""
        tips = {}
        if len(self._subject.checkpoints) + self._subject.training < 2:
            tips["checkpoint"] = self.tr("This run was saved at one training step only")
        if self._subject.recipe.training.ema_decay == 0:
            tips["weights"] = self.tr("This run keeps no average of its weights")
        return tips

    def _order_tabs(self, used: list[AxisPage]) -> None:
        """From top to bottom, wherever a page stands."""
        parts: list[QWidget] = [self.across, used[0], self.down, *used[1:], self.seed]
        inside = [widget for part in parts for widget in part.findChildren(QWidget)]
        order = [*inside, self.last, self.cancel, self.start]
        stops = [widget for widget in order if widget.focusPolicy() & Qt.FocusPolicy.TabFocus]  # others break the chain
        for before, after in pairwise(stops):
            QWidget.setTabOrder(before, after)

    @Slot()
    def _on_changed(self) -> None:
        wrong, text = self._problem(), ""
        if not wrong:
            try:
                text = self._tell(self._cells(self._lock.seed))
            except RecipeError as error:
                wrong = str(error)
        self.note.setText(f"{wrong.removesuffix('.')}." if wrong else text)
        self.note.setForegroundRole(QPalette.ColorRole.BrightText if wrong else QPalette.ColorRole.PlaceholderText)
        self.start.setEnabled(not wrong)

    def _problem(self) -> str:
        """Why it cannot start, as far as each part knows."""
        used = self._used()
        found = next((page.problem() for page in used if page.problem()), "")
        if found:
            return found
        if self.seed.isEnabled() and self.seed.problem:
            return f"{self.seed.label.text()}: {self.seed.problem}"
        counts = [len(page.axis().values) for page in used]
        if len(counts) == 2 and counts[0] * counts[1] > MOST_CELLS:
            return self.tr("{0} × {1} are {2} cells: at most {3} fit side by side").format(
                *counts, counts[0] * counts[1], MOST_CELLS
            )
        return ""

    def _tell(self, found: tuple[Cell, ...]) -> str:
        """E.g. "3 × 4 cells · at most 600 network calls · about 40 s"."""
        counts = " × ".join(str(len(page.axis().values)) for page in self._used())
        calls = sum(calls_at_most(cell.settings) for cell in found)
        parts = [self.tr("{0} cells").format(counts), self.tr("at most {0:,} network calls").format(calls)]
        if self._subject.seconds > 0:
            parts.append(about(calls * self._subject.seconds))
        return " · ".join(parts)

    @Slot()
    def _on_start(self) -> None:
        for page in self._used():
            page.commit()  # what is being typed, too
        self.seed.editor.commit()
        if self.start.isEnabled():
            seed = self._lock.take() if self.seed.isEnabled() else self._lock.seed
            self.asked.emit(Comparison(self._cells(seed), self._subject.count))
            self.accept()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress and _is_enter(event):
            self._on_start()
            return True
        return super().eventFilter(watched, event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not _is_enter(event):
            super().keyPressEvent(event)
        elif self.cancel.hasFocus():
            self.cancel.click()
        elif self.last.hasFocus():
            self.last.click()
        else:
            self._on_start()

    @Slot()
    def _on_last(self) -> None:
        self.last_wanted.emit()
        self.accept()


def _is_enter(event: QKeyEvent) -> bool:
    return event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
