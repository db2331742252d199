"""The list of runs: a dot in the run's colour, its name, the step it has reached; forks below their parents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from PySide6.QtCore import (
    QAbstractListModel,
    QDateTime,
    QItemSelectionModel,
    QLocale,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRectF,
    QSize,
    Qt,
    QTimer,
    Signal,
    Slot,
)
from PySide6.QtGui import QAction, QColor, QFont, QFontMetrics, QKeySequence, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QMessageBox,
    QStackedLayout,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.theme import GRID, color, colors, tabular, theme
from ddpm_studio.app.widgets import DENSE_HEIGHT, EmptyHint, PushButton, ThinScrollBar
from ddpm_studio.recipes import Recipe
from ddpm_studio.store.together import MOST_RUNS

RUN_ROLE = Qt.ItemDataRole.UserRole
MISSING_ROLE = Qt.ItemDataRole.UserRole + 1
SIBLING_ROLE = Qt.ItemDataRole.UserRole + 2
COLOR_ROLE = Qt.ItemDataRole.UserRole + 3
SHOWN_ROLE = Qt.ItemDataRole.UserRole + 4
Index = QModelIndex | QPersistentModelIndex
INDENT, DEEPEST = 14, 4  # px for each fork; deeper ones stand no further to the right


@dataclass(frozen=True)
class RunRow:
    """One run as the list shows it."""

    path: Path
    name: str
    step: int
    when: datetime
    loss: float | None = None
    active: bool = False  # being trained now
    note: str = ""
    parent: Path | None = None  # of a fork, if it is still there
    forked_at: int | None = None  # the parent's step
    before: int = 0  # steps learnt before this run's own first one
    depth: int = 0  # forks between it and the first run of its family
    recipe: Recipe | None = None  # None if it cannot be read
    previews: int = 0  # recorded when the list was made
    born: float = 0.0  # seconds since 1970; 0: not yet known


def arranged(rows: Sequence[RunRow]) -> list[RunRow]:
    """Forks below their parents, one level deeper; all others, and forks of runs that are gone, in the order given."""
    there = {row.path for row in rows}
    children: dict[Path | None, list[RunRow]] = {}
    for row in rows:
        children.setdefault(row.parent if row.parent in there else None, []).append(row)

    def family(parent: Path | None, depth: int) -> list[RunRow]:
        whole = []
        for row in children.get(parent, []):
            whole += [replace(row, depth=depth), *family(row.path, depth + 1)]
        return whole

    return family(None, 0)


def run_color(number: int) -> QColor:
    """One of the colours of runs, in the list and in plots."""
    series = colors().series()
    return QColor(series[number % len(series)])


class RunColors:
    """Each run keeps the colour that its name suggests, or the next where one of the runs born just before has it.

    Of runs whose curves are chosen no two have one colour: then the lower one is lent another.
    """

    def __init__(self) -> None:
        self._given: dict[Path, int] = {}
        self._born: dict[float, int] = {}  # by birth, as folders may be renamed
        self._lent: dict[Path, int] = {}

    def give(self, rows: Sequence[RunRow]) -> None:
        """To runs that have none yet."""
        recent: list[int] = []
        for row in sorted(rows, key=lambda row: row.born or math.inf):
            given = self._given.get(row.path, self._born.get(row.born))
            if given is None:
                given = self._free(crc32(row.path.name.encode()), recent[1 - MOST_RUNS :])
            self._given[row.path] = given
            if row.born:
                self._born[row.born] = given
            recent.append(given)

    def keep_apart(self, chosen: Sequence[RunRow]) -> None:
        """At most ``MOST_RUNS`` runs."""
        taken: list[int] = []
        self._lent = {}
        for row in chosen:
            shown = self._free(self._given[row.path], taken)
            self._lent[row.path] = shown
            taken.append(shown)

    def of(self, path: Path) -> int:
        """A number for ``run_color``."""
        return self._lent.get(path, self._given[path])

    @staticmethod
    def _free(wanted: int, taken: Sequence[int]) -> int:
        count = len(colors().series())
        return next(number for k in range(count) if (number := (wanted + k) % count) not in taken)


class RunsModel(QAbstractListModel):
    """The runs; editing a name asks for a new one rather than changing it."""

    rename_requested = Signal(object, str)  # Path, new name

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[RunRow] = []
        self._missing: list[bool] = []
        self._colors = RunColors()
        self.shown: Path | None = None  # the run on the stage

    def set_shown(self, path: Path | None) -> None:
        self.shown = path
        if self._rows:
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1), [SHOWN_ROLE])

    def set_rows(self, rows: Sequence[RunRow]) -> None:
        same_runs = [row.path for row in rows] == [row.path for row in self._rows]
        missing = [not row.path.is_dir() for row in rows]
        self._colors.give(rows)
        if same_runs:
            changed = [
                i for i, new in enumerate(zip(rows, missing, strict=True)) if new != (self._rows[i], self._missing[i])
            ]
            self._rows, self._missing = list(rows), missing
            for i in changed:
                self.dataChanged.emit(self.index(i), self.index(i))
        else:
            self.beginResetModel()
            self._rows, self._missing = list(rows), missing
            self.endResetModel()

    def rows(self) -> list[RunRow]:
        return self._rows

    def color_of(self, row: RunRow) -> int:
        """For ``run_color``."""
        return self._colors.of(row.path)

    def keep_apart(self, chosen: Sequence[RunRow]) -> None:
        """Show these runs, at most ``MOST_RUNS``, in colours that differ."""
        before = [self.color_of(row) for row in self._rows]
        self._colors.keep_apart(chosen)
        if before != [self.color_of(row) for row in self._rows]:
            self.dataChanged.emit(self.index(0), self.index(len(self._rows) - 1), [COLOR_ROLE])

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row = self._rows[index.row()]
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return row.name
        if role == RUN_ROLE:
            return row
        if role == SIBLING_ROLE:  # whether another fork of the same parent stands below
            below = next((r for r in self._rows[index.row() + 1 :] if r.depth <= row.depth), None)
            return below is not None and below.depth == row.depth > 0
        if role == MISSING_ROLE:
            return self._missing[index.row()]
        if role == SHOWN_ROLE:
            return row.path == self.shown
        if role == COLOR_ROLE:
            return run_color(self.color_of(row))
        if role == Qt.ItemDataRole.ToolTipRole:
            hint = self.tr("Ctrl-click several runs to see their curves side by side")
            return f"{self._describe(row, self._missing[index.row()])}\n{hint}"
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return self._describe(row, self._missing[index.row()]).replace("\n", ", ")
        return None

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        name = str(value).strip()
        row = self._rows[index.row()]
        if role == Qt.ItemDataRole.EditRole and name and name != row.name:
            self.rename_requested.emit(row.path, name)
        return False  # the new name comes back with set_rows once the folder has it

    def flags(self, index: Index) -> Qt.ItemFlag:
        # A run in training keeps its name: its folder is being written to.
        if not index.isValid() or self._missing[index.row()] or self._rows[index.row()].active:
            return super().flags(index)
        return super().flags(index) | Qt.ItemFlag.ItemIsEditable

    def _describe(self, row: RunRow, missing: bool) -> str:
        lines = [row.name, self.tr("step {}").format(f"{row.step:,}")]
        if row.loss is not None:
            lines[-1] += self.tr(", loss {}").format(f"{row.loss:.4g}")
        lines.append(
            QLocale().toString(QDateTime.fromSecsSinceEpoch(int(row.when.timestamp())), QLocale.FormatType.ShortFormat)
        )
        if row.path == self.shown:
            lines.append(self.tr("on the stage"))
        if row.active:
            lines.append(self.tr("training now"))
        if row.forked_at is not None:
            lines.append(self.tr("forked at step {}").format(f"{row.forked_at:,}"))
        if row.note:
            lines.append(row.note)
        lines.append(str(row.path))
        if missing:
            lines.append(self.tr("The folder is not there any more"))
        return "\n".join(lines)


def shortened(name: str, metrics: QFontMetrics, room: float) -> str:
    """A run's name as it fits into ``room``: what stands behind its last comma, often the time, stays."""
    title, comma, end = name.rpartition(", ")
    tail = comma + end
    left = int(room) - metrics.horizontalAdvance(tail)
    if title and metrics.horizontalAdvance(name) > room and left > metrics.horizontalAdvance(title[:3] + "…"):
        return metrics.elidedText(title, Qt.TextElideMode.ElideRight, left) + tail
    return metrics.elidedText(name, Qt.TextElideMode.ElideRight, int(room))


class _RunDelegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(120, DENSE_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        row: RunRow = index.data(RUN_ROLE)
        rect = QRectF(option.rect)
        state: QStyle.StateFlag = option.state
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if state & (QStyle.StateFlag.State_Selected | QStyle.StateFlag.State_MouseOver):
            focused = state & QStyle.StateFlag.State_Selected and state & QStyle.StateFlag.State_HasFocus
            draw_box(painter, rect, color("raised"), color("accent" if focused else "raised"))
        if index.data(SHOWN_ROLE):
            painter.fillRect(QRectF(rect.left() + 1, rect.top() + 4, 3, rect.height() - 8), color("accent"))
        missing = index.data(MISSING_ROLE)
        indent = INDENT * min(row.depth, DEEPEST)
        if row.depth:  # an elbow from the parent above
            x, y = rect.left() + 12.5 + indent - INDENT, rect.center().y()
            painter.setPen(color("faint"))
            painter.drawPolyline([QPointF(x, rect.top()), QPointF(x, y), QPointF(x + INDENT - 8, y)])
            if index.data(SIBLING_ROLE):
                painter.drawLine(QPointF(x, y), QPointF(x, rect.bottom() + 1))
        rect.adjust(indent, 0, 0, 0)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color("faint") if missing else index.data(COLOR_ROLE))
        painter.drawEllipse(QRectF(rect.left() + 8, rect.center().y() - 4.5, 9, 9))

        font: QFont = tabular(option.font)
        step = f"{row.step:,}"
        small = tabular(font, 0.92)
        step_width = QFontMetrics(small).horizontalAdvance(step)
        centred = Qt.AlignmentFlag.AlignVCenter
        painter.setFont(small)
        painter.setPen(color("faint" if missing else "muted"))
        painter.drawText(rect.adjusted(0, 0, -8, 0), centred | Qt.AlignmentFlag.AlignRight, step)
        if row.active:
            font.setWeight(QFont.Weight.DemiBold)
        room = rect.adjusted(30, 0, -20 - step_width, 0)
        forked = "" if row.forked_at is None else self.tr("at {}").format(f"{row.forked_at:,}")
        edition = forked or row.note.partition(":")[0].partition(",")[0]  # the tooltip has all of it
        edition_width = QFontMetrics(small).horizontalAdvance(edition)
        if edition and QFontMetrics(font).horizontalAdvance(row.name) + GRID + edition_width <= room.width():
            painter.drawText(room, centred | Qt.AlignmentFlag.AlignRight, edition)
            room.adjust(0, 0, -edition_width - GRID, 0)
        painter.setFont(font)
        painter.setPen(color("faint" if missing else "text"))
        painter.drawText(
            room, centred | Qt.AlignmentFlag.AlignLeft, shortened(row.name, QFontMetrics(font), room.width())
        )
        painter.restore()


class RunsPanel(QWidget):
    """The runs of this computer, in the order given; a bar marks the one on the stage."""

    run_opened = Signal(object)  # Path
    folder_shown = Signal(object)  # Path
    rename_requested = Signal(object, str)  # Path, new name
    trash_requested = Signal(object)  # Path, after the person has confirmed
    curves_wanted = Signal(list)  # (RunRow, QColor) of the runs to compare; empty: none
    side_by_side_wanted = Signal(list)  # (RunRow, number of its colour) of the runs to watch

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = RunsModel(self)
        self.model.rename_requested.connect(self.rename_requested)
        self.view = QListView()
        self.view.setObjectName("runs.list")
        self.view.setAccessibleName(self.tr("Runs"))
        self.view.setFrameShape(QListView.Shape.NoFrame)
        self.view.viewport().setAutoFillBackground(False)
        self.view.setModel(self.model)
        self.view.setItemDelegate(_RunDelegate(self.view))
        self.view.setUniformItemSizes(True)
        self.view.setMinimumHeight(4 * DENSE_HEIGHT)
        self.view.setMouseTracking(True)  # rows light up under the pointer
        self.view.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical, self.view))
        self.view.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.view.doubleClicked.connect(self._on_open)
        self.view.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.view.selectionModel().currentChanged.connect(self._on_current_changed)
        self.view.selectionModel().selectionChanged.connect(self._on_selection)
        self._compared = False
        self._to_choose = False  # the run on the stage, as soon as it is listed
        self.confirmation: QMessageBox | None = None

        enter = [QKeySequence(Qt.Key.Key_Return), QKeySequence(Qt.Key.Key_Enter)]
        self._open = self._action("runs.open", self.tr("Open"), enter)
        self._open.triggered.connect(self._on_open)
        self._show_folder = self._action("runs.show_folder", self.tr("Show in folder"), [])
        self._show_folder.triggered.connect(self._on_show_folder)
        self._rename = self._action("runs.rename", self.tr("Rename…"), [QKeySequence(Qt.Key.Key_F2)])
        self._rename.triggered.connect(self._on_rename)
        self._trash = self._action(
            "runs.trash", self.tr("Move to trash…"), [QKeySequence(QKeySequence.StandardKey.Delete)]
        )
        self._trash.triggered.connect(self._on_trash)

        text, tip = self.tr("Watch side by side"), self.tr("Watch two to four chosen runs on both clocks")
        self._side_by_side = self._action("runs.side_by_side", text, [])
        self._side_by_side.setToolTip(tip)
        self._side_by_side.triggered.connect(self._on_side_by_side)
        self.watch = PushButton(text, "images", tooltip=tip, height=DENSE_HEIGHT)
        self.watch.setObjectName("runs.watch")
        self.watch.clicked.connect(self._side_by_side.trigger)

        self._hint = EmptyHint(self.tr("Your runs appear here once you press Start."))
        self._pages = QStackedLayout()
        self._pages.addWidget(self._hint)
        self._pages.addWidget(self.view)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID // 2)
        column.addLayout(self._pages, 1)
        column.addWidget(self.watch, 0, Qt.AlignmentFlag.AlignLeft)
        theme().changed.connect(self.view.viewport().update)
        theme().changed.connect(self._tell_curves)
        self._offer_actions()

    def set_rows(self, rows: Sequence[RunRow]) -> None:
        """Show these runs; the current one stays current, and the chosen ones chosen, if still among them."""
        current, chosen = self.current(), [row.path for row in self.chosen()]
        were_active = {row.path for row in self.model.rows() if row.active}
        self.model.set_rows(arranged(rows))
        self._pages.setCurrentIndex(1 if rows else 0)
        if current is not None and self.current() is None:
            self.set_current(current.path)
        if len(chosen) > 1:
            for i, row in enumerate(self.model.rows()):
                if row.path in chosen:
                    self.view.selectionModel().select(self.model.index(i), QItemSelectionModel.SelectionFlag.Select)
        begun = next((row.path for row in rows if row.active and row.path not in were_active), None)
        if len(chosen) > 1 and begun is not None and begun not in chosen:  # its curves are what is to be seen now
            self.set_current(begun)
        self._choose_shown()
        self._offer_actions()
        self._tell_curves()

    def set_shown(self, path: Path | None) -> None:
        """Mark the run on the stage. It becomes the current one, unless several are chosen to be compared."""
        if path != self.model.shown:
            self.model.set_shown(path)
            self._to_choose = path is not None
            self._choose_shown()

    def _choose_shown(self) -> None:
        path = self.model.shown
        if self._to_choose and path is not None and any(row.path == path for row in self.model.rows()):
            self._to_choose = False
            if len(self.chosen()) < 2:
                self.set_current(path)

    def chosen(self) -> list[RunRow]:
        """The selected runs, from the top."""
        return [index.data(RUN_ROLE) for index in sorted(self.view.selectionModel().selectedIndexes())]

    @Slot()
    def _on_selection(self) -> None:
        self._tell_curves()
        self._offer_actions()

    @Slot()
    def _tell_curves(self) -> None:
        """Two or more runs are chosen: their curves are wanted, as they are now."""
        rows = self.chosen()
        wanted = rows[:MOST_RUNS] if len(rows) > 1 else []
        if wanted or self._compared:
            self._compared = bool(wanted)
            self.model.keep_apart(wanted)
            self.curves_wanted.emit([(row, run_color(self.model.color_of(row))) for row in wanted])

    def set_active_step(self, step: int) -> None:
        """The run in training has come this far."""
        rows = [replace(row, step=step) if row.active else row for row in self.model.rows()]
        self.model.set_rows(rows)
        if any(row.active for row in self.chosen()):
            self._tell_curves()

    def current(self) -> RunRow | None:
        row: RunRow | None = self.view.currentIndex().data(RUN_ROLE)
        return row

    def set_current(self, path: Path) -> None:
        """Make a run the current one, if it is in the list."""
        for i in range(self.model.rowCount()):
            if self.model.index(i).data(RUN_ROLE).path == path:
                self.view.setCurrentIndex(self.model.index(i))

    def _action(self, name: str, text: str, keys: list[QKeySequence]) -> QAction:
        action = QAction(text, self.view)
        action.setObjectName(name)
        action.setShortcuts(keys)
        action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        self.view.addAction(action)
        return action

    def _offer_actions(self) -> None:
        row = self.current()
        there = row is not None and not self.view.currentIndex().data(MISSING_ROLE)
        for action in (self._open, self._show_folder):
            action.setEnabled(there)
        for action in (self._rename, self._trash):
            action.setEnabled(there and row is not None and not row.active)
        count = len(self.chosen())
        self._side_by_side.setEnabled(2 <= count <= MOST_RUNS)
        if self.watch.isHidden() == (count > 1):
            self.watch.setVisible(count > 1)
            QTimer.singleShot(0, self.view, self._show_current)  # the list has another height by then
        self.watch.setEnabled(self._side_by_side.isEnabled())

    @Slot()
    def _show_current(self) -> None:
        self.view.scrollTo(self.view.currentIndex())

    @Slot(QModelIndex, QModelIndex)
    def _on_current_changed(self, current: QModelIndex, previous: QModelIndex) -> None:
        self._offer_actions()

    @Slot()
    def _on_open(self) -> None:
        if (row := self.current()) and self._open.isEnabled():
            self.run_opened.emit(row.path)

    @Slot()
    def _on_side_by_side(self) -> None:
        self.side_by_side_wanted.emit([(row, self.model.color_of(row)) for row in self.chosen()])

    @Slot()
    def _on_show_folder(self) -> None:
        if row := self.current():
            self.folder_shown.emit(row.path)

    @Slot()
    def _on_rename(self) -> None:
        self.view.edit(self.view.currentIndex())

    @Slot()
    def _on_trash(self) -> None:
        row = self.current()
        if row is None:
            return
        box = QMessageBox(self.window())
        box.setObjectName("runs.confirm_trash")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowModality(Qt.WindowModality.WindowModal)
        box.setIcon(QMessageBox.Icon.Question)
        box.setText(self.tr("Move the run “{}” to the trash?").format(row.name))
        box.setInformativeText(str(row.path))
        go = box.addButton(self.tr("Move to trash"), QMessageBox.ButtonRole.AcceptRole)
        go.setObjectName("runs.confirm_trash.yes")
        box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
        box.setProperty("path", str(row.path))
        box.accepted.connect(self._on_trash_confirmed)
        self.confirmation = box
        box.open()

    @Slot()
    def _on_trash_confirmed(self) -> None:
        if self.confirmation is not None:
            self.trash_requested.emit(Path(self.confirmation.property("path")))
            self.confirmation = None
