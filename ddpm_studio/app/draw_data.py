"""Drawing one's own data: a square to paint points on, over the stage, and what becomes of them."""

from __future__ import annotations

import math
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import RADIUS, Particles
from ddpm_studio.app.fields import ChoiceEditor, FlatLineEdit
from ddpm_studio.app.frame_strip import LevelSlider
from ddpm_studio.app.painting import draw_box
from ddpm_studio.app.reverse_view import ReverseView
from ddpm_studio.app.session import Session
from ddpm_studio.app.theme import GRID, MARGIN, color, tabular, theme
from ddpm_studio.app.walking import Walking
from ddpm_studio.app.widgets import DENSE_HEIGHT, Caption, PushButton, Segmented, ToolButton, Value, icon_button
from ddpm_studio.data import BUILT_IN, DataError
from ddpm_studio.data.drawing import (
    LEAST,
    MOST,
    Drawing,
    drawn_files,
    drawn_folder,
    load_drawing,
    preset,
    save_drawing,
    usual_name,
)

WIDTHS = (2, 60)  # of the brush, in hundredths of the canvas
STEP, FINE_STEP = 0.05, 0.01  # of the arrow keys, on a canvas of -1 … 1
ARROWS = {Qt.Key.Key_Left: (-1, 0), Qt.Key.Key_Right: (1, 0), Qt.Key.Key_Up: (0, 1), Qt.Key.Key_Down: (0, -1)}


class DrawCanvas(QWidget):
    """The square. Mouse or pen paint; with the keyboard arrows move the brush and the space bar puts it down."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("draw_canvas")
        self.setAccessibleName(self.tr("Canvas for your own data"))
        self.setToolTip(
            self.tr("Paint points. With the keyboard: arrows move the brush, Space puts it down and lifts it.")
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setMinimumSize(160, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.drawing = Drawing()
        self.brush_width = 0.12  # of the canvas, which is 2 wide
        self.erase = False
        self.mirror = "none"
        self._brush = (0.0, 0.0)
        self._brush_seen = False
        self._cloud: Particles | None = None  # all dots
        self._cloud_key: tuple[float, ...] = ()
        theme().changed.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(480, 480)

    def set_drawing(self, drawing: Drawing) -> None:
        self.drawing = drawing
        self.touch()

    @Slot()
    def touch(self) -> None:
        """The drawing is another."""
        self._cloud = None
        self.update()
        self.changed.emit()

    def square(self) -> QRectF:
        side = min(self.width(), self.height())
        return QRectF((self.width() - side) / 2, (self.height() - side) / 2, side, side)

    def _place(self, at: QPointF) -> tuple[float, float]:
        square = self.square()
        half = max(square.width() / 2, 1.0)
        return (at.x() - square.center().x()) / half, (square.center().y() - at.y()) / half

    def _begin(self, x: float, y: float) -> None:
        self.drawing.begin(x, y, self.brush_width, erase=self.erase, mirror=self.mirror)
        self.touch()

    # -- mouse and pen (Qt makes mouse events of a pen's)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._brush, self._brush_seen = self._place(event.position()), True
            self._begin(*self._brush)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._brush, self._brush_seen = self._place(event.position()), True
        if self.drawing.drawing:
            self.drawing.extend(*self._brush)
            self.touch()
        else:
            self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.drawing.end()
            self.touch()

    def leaveEvent(self, event: object) -> None:
        self._brush_seen = self.drawing.drawing
        self.update()

    # -- keyboard

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, modifiers = Qt.Key(event.key()), event.modifiers()
        if key in ARROWS:
            step = FINE_STEP if modifiers & Qt.KeyboardModifier.ShiftModifier else STEP
            dx, dy = (step * part for part in ARROWS[key])
            if modifiers & Qt.KeyboardModifier.ControlModifier:
                self.drawing.move(dx, dy)
                self.touch()
                return
            x, y = self._brush
            self._brush = min(max(x + dx, -1.0), 1.0), min(max(y + dy, -1.0), 1.0)
            self._brush_seen = True
            self.drawing.extend(*self._brush)
            self.touch()
        elif key == Qt.Key.Key_Space:
            if self.drawing.drawing:
                self.drawing.end()
                self.touch()
            else:
                self._brush_seen = True
                self._begin(*self._brush)
        else:
            super().keyPressEvent(event)

    def focusOutEvent(self, event: object) -> None:
        if self.drawing.drawing:
            self.drawing.end()
            self.touch()

    # -- what is seen

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        square = self.square()
        draw_box(painter, square, color("stage"), color("hairline"))
        painter.setPen(color("faint", 0.4))
        centre, half = square.center(), square.width() / 2
        painter.drawLine(QPointF(centre.x(), square.top() + 1), QPointF(centre.x(), square.bottom() - 1))
        painter.drawLine(QPointF(square.left() + 1, centre.y()), QPointF(square.right() - 1, centre.y()))
        ratio = self.devicePixelRatioF()
        side = math.floor(square.width() * ratio)
        if len(self.drawing.dots):
            tint = color("accent", 0.75)
            key = (side, ratio, tint.rgb())
            if self._cloud is None or key != self._cloud_key:
                self._cloud = Particles(self.drawing.dots[:, :2], side, side, side / 2, RADIUS * ratio, tint)
                self._cloud.image.setDevicePixelRatio(ratio)
                self._cloud_key = key
            painter.drawImage(square.topLeft(), self._cloud.image)
        else:
            painter.setPen(color("muted"))
            painter.drawText(square.adjusted(8, 8, -8, -half), Qt.AlignmentFlag.AlignCenter, self.tr("Paint here"))
        if self._brush_seen:
            radius = self.brush_width / 2 * half
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(color("bad" if self.erase else "text"), 2 if self.drawing.drawing else 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            x, y = self._brush
            painter.drawEllipse(QPointF(centre.x() + x * half, centre.y() - y * half), radius, radius)
        if self.hasFocus():
            draw_box(painter, square, QColor(Qt.GlobalColor.transparent), color("accent"), 2.0)


class DrawPanel(QWidget):
    """The canvas with its tools. ``used`` gives the name under which the drawing is to be kept."""

    used = Signal(str)
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("draw_panel")
        self.setBackgroundRole(QPalette.ColorRole.Shadow)
        self.setAutoFillBackground(True)
        self.canvas = DrawCanvas()
        self.saved = False  # what is on the canvas lies in a file
        self._lay_out()
        self.canvas.changed.connect(self._on_changed)
        self._on_changed()

    def _lay_out(self) -> None:
        title = QLabel(self.tr("Draw your own data"))
        title.setForegroundRole(QPalette.ColorRole.WindowText)
        title.setFont(tabular(title.font(), 1.1, QFont.Weight.DemiBold))
        self.tool = Segmented(
            [("brush", self.tr("Brush")), ("eraser", self.tr("Eraser"))], self.tr("Tool"), height=DENSE_HEIGHT
        )
        self.tool.chosen.connect(self._on_tool)
        close = icon_button("x", self.tr("Back to the stage; the drawing stays (Esc)"))
        close.setObjectName("draw.close")
        close.clicked.connect(self.closed)
        head = _row(title, None, self.tool, close)

        self.width_slider = LevelSlider()
        self.width_slider.setObjectName("draw.width")
        self.width_slider.setAccessibleName(self.tr("Width of the brush"))
        self.width_slider.setToolTip(self.tr("Width of the brush"))
        self.width_slider.setRange(*WIDTHS)
        self.width_slider.set_arrived(WIDTHS[1])
        self.width_slider.setMaximumWidth(160)
        self.width_slider.valueChanged.connect(self._on_width)
        self.width_slider.setValue(round(self.canvas.brush_width * 50))
        self.mirror = Segmented(
            [("none", self.tr("None")), ("left-right", "↔"), ("up-down", "↕")], self.tr("Mirror"), height=DENSE_HEIGHT
        )
        self.mirror.set_tooltips(
            {
                "none": self.tr("One brush"),
                "left-right": self.tr("A second brush, mirrored left and right"),
                "up-down": self.tr("A second brush, mirrored up and down"),
            }
        )
        self.mirror.chosen.connect(self._on_mirror)
        tools = _row(Caption(self.tr("Width")), self.width_slider, None, Caption(self.tr("Mirror")), self.mirror)

        self.undo = self._button("undo", "undo-2", self.tr("Undo (Ctrl+Z)"))
        self.redo = self._button("redo", "redo-2", self.tr("Redo (Ctrl+Shift+Z)"))
        self.smaller = self._button("smaller", "minus", self.tr("Make it smaller"))
        self.larger = self._button("larger", "plus", self.tr("Make it larger"))
        self.fit = self._button("fit", "maximize", self.tr("Move it to the middle and fit it in (Ctrl+arrows move it)"))
        self.clear = self._button("clear", "trash-2", self.tr("Clear the canvas"))
        self.count = Value(reserve=self.tr("{0:,} points").format(MOST))
        self.count.setObjectName("draw.count")
        self.count.setAccessibleName(self.tr("Points"))
        self.count.setForegroundRole(QPalette.ColorRole.WindowText)
        edit = _row(self.undo, self.redo, self.smaller, self.larger, self.fit, self.clear, None, self.count)

        self.start_from = ChoiceEditor()
        self.start_from.setObjectName("draw.start_from")
        self.start_from.setAccessibleName(self.tr("Add points of"))
        self.start_from.edited.connect(self._on_start_from)
        self.list_sets()
        self.name = FlatLineEdit()
        self.name.setObjectName("draw.name")
        self.name.setAccessibleName(self.tr("Name"))
        self.name.setToolTip(self.tr("The name under which the drawing is kept"))
        self.name.setText(usual_name())
        self.name.setCursorPosition(0)  # of a long one the beginning is seen
        self.use = PushButton(
            self.tr("Use"), "check", primary=True, tooltip=self.tr("Keep the drawing and choose it as the data")
        )
        self.use.setObjectName("draw.use")
        self.use.clicked.connect(self._on_use)
        keep = _row(self.start_from, self.name, self.use)
        self.note = Caption()
        self.note.setObjectName("draw.note")
        self.note.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        column.setSpacing(GRID)
        for row in (head, tools):
            column.addLayout(row)
        column.addWidget(self.canvas, 1)
        for row in (edit, keep):
            column.addLayout(row)
        column.addWidget(self.note)

    def _button(self, name: str, picture: str, tip: str) -> ToolButton:
        button = icon_button(picture, tip)
        button.setObjectName(f"draw.{name}")
        button.clicked.connect(getattr(self, f"_on_{name}"))
        return button

    def list_sets(self) -> None:
        """What a drawing can start from: the built-in sets and the drawings there are."""
        sets = [(name, entry.title, entry.about) for name, entry in BUILT_IN.items() if entry.kind == "points"]
        drawn = [(str(path), path.stem, str(path)) for path in drawn_files()]
        self.start_from.set_choices([("", self.tr("Start from…"), ""), *sets, *drawn])
        self.start_from.set_value("")

    def say(self, text: str, *, bad: bool = False) -> None:
        self.note.setText(text or " ")
        self.note.setForegroundRole(QPalette.ColorRole.BrightText if bad else QPalette.ColorRole.PlaceholderText)

    def load(self, path: Path) -> None:
        """Go on with a drawing of the user's folder, as a step that can be undone."""
        try:
            self.canvas.drawing.replace(load_drawing(path).dots)
        except DataError as error:
            self.say(str(error), bad=True)
            return
        self.canvas.touch()
        self.name.setText(path.stem)
        self.name.setCursorPosition(0)
        self.saved = True

    # -- what happens

    @Slot()
    def _on_changed(self) -> None:
        drawing = self.canvas.drawing
        self.saved = False
        self.count.set_text(self.tr("{0:,} points").format(len(drawing.dots)))
        self.undo.setEnabled(drawing.can_undo)
        self.redo.setEnabled(drawing.can_redo)
        some = len(drawing.dots) > 0
        for button in (self.smaller, self.larger, self.fit, self.clear):
            button.setEnabled(some)
        self.use.setEnabled(len(drawing.dots) >= LEAST)
        if drawing.full:
            self.say(self.tr("The canvas is full: it holds {0:,} points.").format(MOST))
        elif not self.use.isEnabled():
            self.say(self.tr("Paint at least {0} points; Use keeps them and makes a recipe.").format(LEAST))
        else:
            self.say(self.tr("Use keeps the drawing and makes a recipe that learns it in seconds."))

    @Slot(str)
    def _on_tool(self, tool: str) -> None:
        self.canvas.erase = tool == "eraser"
        self.canvas.update()

    @Slot(str)
    def _on_mirror(self, mirror: str) -> None:
        self.canvas.mirror = mirror

    @Slot(int)
    def _on_width(self, hundredths: int) -> None:
        self.canvas.brush_width = hundredths / 50
        self.canvas.update()

    @Slot()
    def _on_undo(self) -> None:
        self.canvas.drawing.undo()
        self.canvas.touch()

    @Slot()
    def _on_redo(self) -> None:
        self.canvas.drawing.redo()
        self.canvas.touch()

    @Slot()
    def _on_smaller(self) -> None:
        self.canvas.drawing.scale(1 / 1.1)
        self.canvas.touch()

    @Slot()
    def _on_larger(self) -> None:
        self.canvas.drawing.scale(1.1)
        self.canvas.touch()

    @Slot()
    def _on_fit(self) -> None:
        self.canvas.drawing.fit()
        self.canvas.touch()

    @Slot()
    def _on_clear(self) -> None:
        self.canvas.drawing.clear()
        self.canvas.touch()

    @Slot(object)
    def _on_start_from(self, source: str) -> None:
        self.start_from.set_value("")
        if source in BUILT_IN:
            self.canvas.drawing.add(preset(source))
            self.canvas.touch()
        elif source:
            self.load(Path(source))
        self.canvas.setFocus()

    @Slot()
    def _on_use(self) -> None:
        self.used.emit(self.name.text())

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent) and self._way(event):
            event.accept()  # it is the drawing's, not the recipe's
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        way = self._way(event)
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        elif way:
            (self._on_undo if way < 0 else self._on_redo)()
        else:
            super().keyPressEvent(event)

    @staticmethod
    def _way(event: QKeyEvent) -> int:
        """-1 for an undo, 1 for a redo, else 0."""
        key, modifiers = event.key(), event.modifiers()
        if not modifiers & Qt.KeyboardModifier.ControlModifier or key not in (Qt.Key.Key_Z, Qt.Key.Key_Y):
            return 0
        return -1 if key == Qt.Key.Key_Z and not modifiers & Qt.KeyboardModifier.ShiftModifier else 1


def _row(*parts: QWidget | None) -> QHBoxLayout:
    """Side by side; None takes the room."""
    row = QHBoxLayout()
    row.setSpacing(GRID)
    for part in parts:
        if part is None:
            row.addStretch(1)
        else:
            row.addWidget(part)
    return row


class DrawData(QObject):
    """Opens the panel over the stage and takes what was drawn to the session. The drawing outlives the panel's rest."""

    def __init__(self, view: ReverseView, session: Session, walking: Walking) -> None:
        super().__init__(session)
        self.panel: DrawPanel | None = None
        self._view, self._session, self._walking = view, session, walking
        session.run_begun.connect(self.leave)
        session.recipe_chosen.connect(self.leave)

    @property
    def open(self) -> bool:
        return self.panel is not None and not self.panel.isHidden()

    @Slot()
    def on_draw(self) -> None:
        """Open it: with the drawing in hand, else with the one that the recipe learns."""
        self._walking.leave()
        if self.panel is None:
            self.panel = DrawPanel(self._view.parentWidget())
            centre = self._view.parentWidget()
            layout = centre.layout() if centre is not None else None
            assert isinstance(layout, QBoxLayout)  # the banner and the view, one above the other
            layout.addWidget(self.panel, 1)
            self.panel.used.connect(self._on_used)
            self.panel.closed.connect(self.leave)
        path = Path(self._session.recipe.data.source)
        untouched = self.panel.saved or not len(self.panel.canvas.drawing.dots)
        if (
            untouched
            and path.parent == drawn_folder().resolve()
            and path.is_file()
            and path.stem != self.panel.name.text()
        ):
            self.panel.load(path)
        self.panel.list_sets()
        self._view.player.pause()
        self._view.hide()
        self.panel.show()
        self.panel.canvas.setFocus()

    @Slot()
    def leave(self) -> None:
        """Back to the stage; what was drawn stays."""
        if self.panel is not None and self.open:
            self.panel.hide()
            self._view.show()
            self._view.setFocus()

    @Slot(str)
    def _on_used(self, name: str) -> None:
        assert self.panel is not None
        try:
            path = save_drawing(self.panel.canvas.drawing, name)
        except DataError as error:
            self.panel.say(str(error), bad=True)
            return
        self.panel.name.setText(path.stem)
        self.panel.saved = True
        self._session.open_path(path)
