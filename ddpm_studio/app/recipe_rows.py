"""What the recipe form is made of: rows (label, editor, unit), and read-only facts."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QEvent, QObject, QPoint, QRectF, Qt, Signal, Slot
from PySide6.QtGui import (
    QAction,
    QContextMenuEvent,
    QGuiApplication,
    QKeyEvent,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPalette,
    QResizeEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QMenu, QStackedWidget, QVBoxLayout, QWidget

from ddpm_studio.app.fields import NUMBER_WIDTH, ChoiceEditor
from ddpm_studio.app.labels import show_tip_beside
from ddpm_studio.app.painting import draw_box, rich
from ddpm_studio.app.recipe_editors import (
    Editor,
    LineEditor,
    SourceEditor,
    SwitchEditor,
)
from ddpm_studio.app.texts import say
from ddpm_studio.app.theme import GRID, MARGIN, color
from ddpm_studio.app.widgets import (
    DENSE_HEIGHT,
    Caption,
    ElidedLabel,
    Heading,
    PushButton,
    ToolButton,
    Value,
)
from ddpm_studio.recipes import Field

UNIT_WIDTH = 32  # px
LABEL_WIDTH = 64  # px that a label gets at least, if it needs them
_DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def _choice_text(text: str) -> str:
    """Plain text for a combo box, which cannot paint subscripts: x_0 becomes x₀."""
    return re.sub(r"_(\d)", lambda match: match[1].translate(_DIGITS), say(text))


def make_editor(path: str, field: Field, tips: dict[str, str], sets: dict[str, str]) -> Editor:
    """The editor that suits a field; ``tips`` explain its choices, ``sets`` are the built-in data sets."""
    if path == "data.source":
        return SourceEditor(sets)
    if field.kind == "bool":
        return SwitchEditor()
    if field.kind == "choice":
        texts = field.setting.choices or {}
        editor = ChoiceEditor()
        editor.set_choices([(v, _choice_text(texts.get(v, v)), say(tips.get(v, ""))) for v in field.choices])
        return editor
    return LineEditor(field)


class FieldRow(QWidget):
    """One setting: label, editor, unit; a sentence below while the value cannot be."""

    offered = Signal(str, object)  # path, value: take it if it fits
    edited = Signal(str, object)  # path, value
    unreadable = Signal(str, str)  # path, sentence
    reverted = Signal(str)
    reset_asked = Signal(str)
    in_hand = Signal(str)  # the pointer or the keyboard came here

    def __init__(self, path: str, field: Field, editor: Editor, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.path = path
        self.field = field
        self.editor = editor
        self.changed_from = ""  # text of the baseline's value, where this one differs
        self._locked = ""  # why it cannot be edited now
        self._forks = False
        self._lit = False
        label = say(field.setting.label)
        unit = say(field.setting.unit)
        self.label = ElidedLabel(label)
        self.label.setMinimumWidth(min(self.label.sizeHint().width(), LABEL_WIDTH))
        self.label.setBuddy(editor)
        editor.setObjectName(path)
        editor.setAccessibleName(f"{label} ({unit})" if unit else label)
        editor.setAccessibleDescription(say(field.setting.tip))
        self._reset = ToolButton("undo-2", self.tr("Reset"), size=24)
        self._reset.setObjectName(f"{path}.reset")
        self._reset.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the keyboard has the context menu
        self._reset.clicked.connect(self._on_reset)
        self._slot = QStackedWidget()
        self._slot.setFixedSize(UNIT_WIDTH, DENSE_HEIGHT)
        self._slot.addWidget(Caption(unit))
        self._slot.addWidget(self._reset)
        self.note = Caption()
        self.note.setWordWrap(True)
        self.note.setForegroundRole(QPalette.ColorRole.BrightText)  # the palette's "bad"
        self.note.hide()

        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.label, 1)
        line.addWidget(editor)
        line.addWidget(self._slot)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 2)
        column.setSpacing(2)
        column.addLayout(line)
        column.addWidget(self.note)

        editor.edited.connect(self._on_edited)
        if isinstance(editor, LineEditor):
            editor.offered.connect(self._on_offered)
            editor.unreadable.connect(self._on_unreadable)
            editor.reverted.connect(self._on_reverted)
        editor.installEventFilter(self)
        self._explain()

    def show_state(self, problem: str, changed_from: str) -> None:
        """Mark the row as wrong (with a sentence), as changed from a value, or as neither."""
        self.changed_from = changed_from
        self.editor.set_mark("bad" if problem else "changed" if changed_from else "")
        self.note.setText(f"{problem[:1].upper()}{problem[1:]}." if problem else "")
        self.note.setVisible(bool(problem))
        self._reset.setToolTip(self.tr("Reset to {}").format(changed_from))
        self._show_reset()

    def set_lit(self, lit: bool) -> None:
        """Let it glow: a symbol that belongs to it is pointed at."""
        if lit != self._lit:
            self._lit = lit
            self.update()

    @property
    def lit(self) -> bool:
        return self._lit

    def lock(self, why: str) -> None:
        """Let nobody change this setting, and say why; "": anybody may."""
        if why != self._locked:
            self._locked = why
            self.editor.setEnabled(not why)
            self._explain()
            self._show_reset()

    def set_forks(self, forks: bool) -> None:
        """A change is a wish: it needs a fork of the running run."""
        if forks != self._forks:
            self._forks = forks
            self._explain()

    def _explain(self) -> None:
        setting = self.field.setting
        lines = [html.escape(say(setting.tip))]
        if setting.equation:
            lines.append(f"<i>{rich(setting.equation)}</i>")
        if self._locked:
            lines.append(f"<b>{html.escape(self._locked)}</b>")
        elif self._forks:
            lines.append(f"<b>{html.escape(self.tr('The run cannot change this; a fork of it can'))}</b>")
        lines.append(f"<small>{self.path}</small>")
        tip = "".join(f"<p>{line}</p>" for line in lines)
        self.setToolTip(tip)
        self.editor.setToolTip(tip)

    def _show_reset(self) -> None:
        wanted = bool(self.changed_from) and not self._locked
        wanted = wanted and (self.underMouse() or self.editor.hasFocus())
        self._slot.setCurrentIndex(int(wanted))

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._lit:
            draw_box(QPainter(self), QRectF(self.rect()), color("accent", 0.22), color("accent"))

    @Slot(object)
    def _on_offered(self, value: Any) -> None:
        self.offered.emit(self.path, value)

    @Slot(object)
    def _on_edited(self, value: Any) -> None:
        self.edited.emit(self.path, value)

    @Slot(str)
    def _on_unreadable(self, sentence: str) -> None:
        self.unreadable.emit(self.path, sentence)

    @Slot()
    def _on_reverted(self) -> None:
        self.reverted.emit(self.path)

    @Slot()
    def _on_reset(self) -> None:
        self.reset_asked.emit(self.path)

    @Slot()
    def _on_copy_name(self) -> None:
        QGuiApplication.clipboard().setText(self.path)

    def _open_menu(self, at: QPoint) -> None:
        editor: QWidget = self.editor
        menu = editor.createStandardContextMenu() if isinstance(editor, QLineEdit) else QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        first = menu.actions()[0] if menu.actions() else None
        reset = QAction(self._reset.toolTip() if self.changed_from else self.tr("Reset"), menu)
        reset.setEnabled(bool(self.changed_from) and not self._locked)
        reset.triggered.connect(self._on_reset)
        copy = QAction(self.tr("Copy the name {}").format(self.path), menu)
        copy.triggered.connect(self._on_copy_name)
        for action in (reset, copy):
            menu.insertAction(first, action)  # type: ignore[arg-type]  # None appends
        if first is not None:
            menu.insertSeparator(first)
        menu.popup(at)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self._open_menu(event.globalPos())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.FocusIn:
            self.in_hand.emit(self.path)
        if kind in (QEvent.Type.FocusIn, QEvent.Type.FocusOut):
            self._show_reset()
        if (
            kind == QEvent.Type.ShortcutOverride
            and isinstance(event, QKeyEvent)
            and isinstance(self.editor, LineEditor)
        ):
            undo = event.matches(QKeySequence.StandardKey.Undo) or event.matches(QKeySequence.StandardKey.Redo)
            if undo and not self.editor.at_work:  # it is the recipe's, not the text's
                event.ignore()
                return True
        if kind == QEvent.Type.ToolTip:
            self._show_tip()
            return True
        if kind == QEvent.Type.ContextMenu and isinstance(event, QContextMenuEvent):
            self._open_menu(event.globalPos())
            return True
        return super().eventFilter(watched, event)

    def _show_tip(self) -> None:
        """What the setting is for, after a value that is cut off; below the row it would cover the equation card."""
        cut = "" if isinstance(self.editor, SwitchEditor) else self.editor.cut_text()
        show_tip_beside(self, f"<p><b>{html.escape(cut)}</b></p>" if cut else "")

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Enter:
            self.in_hand.emit(self.path)
        if event.type() == QEvent.Type.ToolTip:
            self._show_tip()
            return True
        handled = super().event(event)
        if event.type() in (QEvent.Type.Enter, QEvent.Type.Leave):
            self._show_reset()
        return handled


class ForkLine(QWidget):
    """What is wished for needs a fork: a sentence, and the buttons Fork and Undo."""

    forked = Signal()
    undone = Signal()
    resized = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("recipe.fork_line")
        self.sentence = Caption()
        self.sentence.setObjectName("recipe.fork_sentence")
        self.sentence.setWordWrap(True)
        self.fork = PushButton(self.tr("Fork"), "git-fork", primary=True, height=DENSE_HEIGHT)
        self.fork.setObjectName("recipe.fork")
        self.fork.setToolTip(self.tr("Stop and save this run, and begin a new one from here"))
        self.fork.clicked.connect(self.forked)
        self.undo = PushButton(self.tr("Undo"), "undo-2", height=DENSE_HEIGHT)
        self.undo.setObjectName("recipe.fork_undo")
        self.undo.setToolTip(self.tr("Take back what needs a fork"))
        self.undo.clicked.connect(self.undone)
        buttons = QHBoxLayout()
        buttons.setSpacing(GRID)
        buttons.addWidget(self.fork)
        buttons.addWidget(self.undo)
        buttons.addStretch(1)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, GRID, MARGIN, GRID)
        column.setSpacing(GRID)
        column.addWidget(self.sentence)
        column.addLayout(buttons)
        self.hide()

    def tell(self, sentence: str) -> None:
        """Show a sentence; "" hides the line."""
        self.sentence.setText(sentence)
        self.setAccessibleName(sentence)
        self.setVisible(bool(sentence))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.resized.emit()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), color("changed", 0.12))
        painter.fillRect(QRectF(0, 0, 3, self.height()), color("changed"))


class FactRow(QWidget):
    """Something the recipe leads to, which nobody can type: the size of the data, the parameters."""

    def __init__(self, label: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.label = QLabel(label)
        self.value = Value()
        self.value.setContentsMargins(0, 0, 8, 0)
        self.value.setMinimumWidth(NUMBER_WIDTH)
        self.unit = Caption()
        self.unit.setFixedWidth(UNIT_WIDTH)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 2, 0, 2)
        line.setSpacing(6)
        line.addWidget(self.label, 1)
        line.addWidget(self.value)
        line.addWidget(self.unit)
        self.setFixedHeight(DENSE_HEIGHT + 4)

    def show_fact(self, value: str, unit: str) -> None:
        self.value.set_text(value)
        self.value.setAccessibleName(f"{self.label.text()} {value} {unit}".strip())
        if unit != self.unit.text():
            self.unit.setText(unit)


class SectionBox(QWidget):
    """One section of the recipe: a heading, its rows, and facts about it."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = title
        self.heading = Heading(say(title))
        self.rows: dict[str, FieldRow] = {}
        self._facts: dict[str, FactRow] = {}
        self._row_column = QVBoxLayout()
        self._fact_column = QVBoxLayout()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 16)
        column.setSpacing(0)
        column.addWidget(self.heading)
        column.addSpacing(4)
        column.addLayout(self._row_column)
        column.addLayout(self._fact_column)
        self._row_column.setSpacing(0)
        self._fact_column.setSpacing(0)

    def set_rows(self, rows: dict[str, FieldRow]) -> None:
        """Show these rows in this order; rows that are not among them go."""
        for path, row in self.rows.items():
            if rows.get(path) is not row:
                row.hide()
                row.deleteLater()
        self.rows = rows
        for i, row in enumerate(rows.values()):
            self._row_column.insertWidget(i, row)

    def set_facts(self, facts: Sequence[tuple[str, str, str]]) -> None:
        """Show (label, value, unit) rows; rows with the same label are kept."""
        wanted = {label for label, _, _ in facts}
        for label in [label for label in self._facts if label not in wanted]:
            gone = self._facts.pop(label)
            gone.hide()
            gone.deleteLater()
        for label, value, unit in facts:
            if label not in self._facts:
                self._facts[label] = FactRow(label)
                self._fact_column.addWidget(self._facts[label])
            self._facts[label].show_fact(value, unit)

    def show_up_to(self, visible: Callable[[FieldRow], bool]) -> None:
        """Show the rows that pass, and the section if anything is left of it."""
        for row in self.rows.values():
            row.setVisible(visible(row))
        self.setVisible(bool(self._facts) or any(visible(row) for row in self.rows.values()))
