"""The small controls that every panel shares; cards and labels can be had from here too.

Where Fusion looks dated a control paints itself; what it *is* (focus, keyboard, accessibility) stays Qt's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from PySide6.QtCore import QEvent, QObject, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction, QColor, QIcon, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QScrollBar,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from ddpm_studio.app.labels import Caption, Card, ElidedLabel, EmptyHint, Heading, MathLabel, Value
from ddpm_studio.app.painting import RADIUS, draw_box, draw_focus, draw_math, math_width
from ddpm_studio.app.theme import CONTROL_HEIGHT, MARGIN, color, icon, theme

__all__ = [
    "DENSE_HEIGHT",
    "Caption",
    "Card",
    "ElidedLabel",
    "EmptyHint",
    "Heading",
    "MathLabel",
    "NoWheel",
    "PanelScroll",
    "PushButton",
    "Segmented",
    "ThinProgress",
    "ThinScrollBar",
    "ToolButton",
    "Value",
    "icon_button",
]

DENSE_HEIGHT = 28  # px, controls in forms


class _Button(QToolButton):
    """A QToolButton (so it can follow a QAction) that paints itself.

    The icon is named, not held, so that it is always in the colours in force: by ``icon_name`` or by the
    dynamic property "icon_name" of the default action.
    """

    def __init__(self, icon_name: str, tooltip: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.icon_name = icon_name
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setToolTip(tooltip)
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        theme().changed.connect(self.update)

    def set_icon_name(self, name: str) -> None:
        if name != self.icon_name:
            self.icon_name = name
            self.updateGeometry()
            self.update()

    def _current_icon(self, role: str) -> QIcon:
        action = self.defaultAction()
        name = self.icon_name or (action.property("icon_name") if action else None)
        return icon(name, role) if name else self.icon()

    def _draw_icon(self, painter: QPainter, rect: QRectF, role: str) -> None:
        mode = QIcon.Mode.Normal if self.isEnabled() else QIcon.Mode.Disabled
        self._current_icon(role).paint(painter, rect.toRect(), Qt.AlignmentFlag.AlignCenter, mode)


class PushButton(_Button):
    """A button with text and perhaps an icon; with a menu it shows a chevron and opens it on press."""

    def __init__(
        self,
        text: str = "",
        icon_name: str = "",
        *,
        primary: bool = False,
        tooltip: str = "",
        action: QAction | None = None,
        height: int = CONTROL_HEIGHT,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(icon_name, tooltip, parent)
        self._primary = primary
        self._reserved: tuple[str, ...] = ()
        self.setText(text)
        self.setFixedHeight(height)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        if action is not None:
            self.setDefaultAction(action)

    def reserve(self, texts: Iterable[str]) -> None:
        """Be wide enough for each of these texts, so that the row does not jump when the text changes."""
        self._reserved = tuple(texts)
        self.updateGeometry()

    def set_primary(self, primary: bool) -> None:
        self._primary = primary
        self.update()

    def sizeHint(self) -> QSize:
        metrics = self.fontMetrics()
        width = max(metrics.horizontalAdvance(text) for text in (self._label(), *self._reserved))
        width += 24 * (not self._current_icon("text").isNull()) + 24 * (self.menu() is not None)
        return QSize(width + 24, self.maximumHeight())

    def minimumSizeHint(self) -> QSize:
        # A long recipe name may be elided; everything else keeps its width.
        return QSize(min(self.sizeHint().width(), 120), self.maximumHeight()) if self.menu() else self.sizeHint()

    def _label(self) -> str:
        return self.text().replace("&", "").rstrip("…") if self.menu() else self.text().replace("&", "")

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        lit = self.isEnabled() and (self.underMouse() or self.isDown())
        if self._primary and self.isEnabled():
            fill, border, role = color("accent", 0.88 if lit else 1.0), color("accent"), "on_accent"
        else:
            fill, role = color("hairline" if lit else "raised"), "text" if self.isEnabled() else "faint"
            border = color("hairline")
        draw_box(painter, QRectF(self.rect()), fill, border)
        inner = QRectF(self.rect()).adjusted(12, 0, -12, 0)
        if not self._current_icon(role).isNull():
            self._draw_icon(painter, QRectF(inner.left(), inner.center().y() - 8, 16, 16), role)
            inner.adjust(24, 0, 0, 0)
        if self.menu() is not None:
            box = QRectF(inner.right() - 16, inner.center().y() - 8, 16, 16)
            icon("chevron-down", "muted" if self.isEnabled() else "faint").paint(painter, box.toRect())
            inner.adjust(0, 0, -24, 0)
        painter.setPen(color(role))
        text = self.fontMetrics().elidedText(self._label(), Qt.TextElideMode.ElideRight, int(inner.width()) + 1)
        painter.drawText(inner, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, text)
        draw_focus(painter, self)


class ToolButton(_Button):
    """A flat 32 x 32 button with an icon only; it lights up under the pointer, and accent when checked."""

    def __init__(
        self, icon_name: str, tooltip: str, parent: QWidget | None = None, *, size: int = CONTROL_HEIGHT
    ) -> None:
        super().__init__(icon_name, tooltip, parent)
        self.setAccessibleName(tooltip)
        self.setFixedSize(size, size)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self.isEnabled() and (self.underMouse() or self.isDown()):
            draw_box(painter, QRectF(self.rect()), color("raised"), color("hairline"))
        side = 20 if self.width() >= CONTROL_HEIGHT else 16
        box = QRectF((self.width() - side) / 2, (self.height() - side) / 2, side, side)
        self._draw_icon(painter, box, "accent" if self.isChecked() else "text")
        draw_focus(painter, self)


def icon_button(what: QAction | str, tooltip: str = "", parent: QWidget | None = None) -> ToolButton:
    """A flat button for an action (named by its property "icon_name") or for a Lucide icon."""
    if isinstance(what, str):
        return ToolButton(what, tooltip, parent)
    button = ToolButton("", tooltip or what.toolTip(), parent)
    button.setDefaultAction(what)
    return button


class _Segment(QAbstractButton):
    """One of the joined buttons of a Segmented. It keeps no reference to it: Python's collector would trip."""

    moved = Signal(int)  # arrow key to the left (-1) or right (+1)

    def __init__(self, text: str, height: int, parent: QWidget) -> None:
        super().__init__(parent)
        self.setFixedHeight(height)
        self.setText(text)
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the row is one stop of the Tab key: its chosen button
        self.setAttribute(Qt.WidgetAttribute.WA_Hover)
        self.setSizePolicy(QSizePolicy.Policy.Minimum, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        return QSize(round(math_width(self.text(), self.font())) + 24, self.maximumHeight())

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        else:
            self.moved.emit(step)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        role = "text" if self.underMouse() else "muted"
        if self.isChecked():
            role = "on_accent"
            siblings = self.group().buttons()
            left = 0.0 if siblings[0] is self else RADIUS
            right = 0.0 if siblings[-1] is self else RADIUS
            fill = color("accent") if self.isEnabled() else color("faint")
            draw_box(painter, QRectF(self.rect()).adjusted(-left, 0, right, 0), fill, fill)
        painter.setPen(color(role if self.isEnabled() or self.isChecked() else "faint"))
        draw_math(painter, QRectF(self.rect()), self.text())
        if self.hasFocus():
            role = "on_accent" if self.isChecked() else "accent"
            ring = QRectF(self.rect()).adjusted(2, 2, -2, -2)
            draw_box(painter, ring, QColor(Qt.GlobalColor.transparent), color(role))


class Segmented(QWidget):
    """A row of joined buttons of which exactly one is chosen. ``chosen`` follows the person."""

    chosen = Signal(str)

    def __init__(
        self,
        items: Sequence[tuple[str, str]],
        accessible_name: str,
        parent: QWidget | None = None,
        *,
        height: int = CONTROL_HEIGHT,
    ) -> None:
        super().__init__(parent)
        self.setAccessibleName(accessible_name)
        self.setFixedHeight(height)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, _Segment] = {}
        for key, text in items:
            button = _Segment(text, height, self)
            button.setObjectName(key)
            button.setAccessibleName(text)
            button.moved.connect(self._on_moved)
            self._group.addButton(button)
            self._buttons[key] = button
            row.addWidget(button)
        self._group.buttonToggled.connect(self._on_toggled)
        self._group.buttons()[0].setChecked(True)
        self._group.buttonClicked.connect(self._on_clicked)
        theme().changed.connect(self.update)

    def value(self) -> str:
        return next(key for key, button in self._buttons.items() if button.isChecked())

    def set_value(self, key: str) -> None:
        self._buttons[key].setChecked(True)

    def set_texts(self, texts: Mapping[str, str]) -> None:
        for key, text in texts.items():
            self._buttons[key].setText(text)
            self._buttons[key].setAccessibleName(text)
            self._buttons[key].updateGeometry()

    def set_tooltips(self, tips: Mapping[str, str]) -> None:
        for key, tip in tips.items():
            self._buttons[key].setToolTip(tip)

    def set_item_enabled(self, key: str, enabled: bool) -> None:
        self._buttons[key].setEnabled(enabled)

    @Slot(int)
    def _on_moved(self, step: int) -> None:
        """Choose the next enabled item to the left (-1) or right (+1), if there is one."""
        buttons = list(self._buttons.values())
        at = buttons.index(self._buttons[self.value()]) + step
        while 0 <= at < len(buttons) and not buttons[at].isEnabled():
            at += step
        if 0 <= at < len(buttons):
            buttons[at].click()

    @Slot(QAbstractButton, bool)
    def _on_toggled(self, button: QAbstractButton, on: bool) -> None:
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus if on else Qt.FocusPolicy.NoFocus)
        if on and any(other.hasFocus() for other in self._buttons.values()):
            button.setFocus()

    @Slot(QAbstractButton)
    def _on_clicked(self, button: QAbstractButton) -> None:
        self.chosen.emit(button.objectName())

    def paintEvent(self, event: QPaintEvent) -> None:
        draw_box(QPainter(self), QRectF(self.rect()), color("raised"), color("hairline"))


class NoWheel(QObject):
    """Lets the wheel scroll the form instead of changing the combo or spin box under the pointer."""

    def guard(self, widget: QWidget) -> None:
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # not by wheel
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()  # so that the scroll area gets it
            return True
        return super().eventFilter(watched, event)


class ThinScrollBar(QScrollBar):
    """A thumb and nothing else, as wide as a panel's margin, so that it takes no room from the content."""

    def sizeHint(self) -> QSize:
        return QSize(MARGIN, 2 * MARGIN)

    def paintEvent(self, event: QPaintEvent) -> None:
        if self.maximum() == self.minimum():
            return
        share = self.height() / (self.maximum() - self.minimum() + self.pageStep())
        length = max(24.0, self.pageStep() * share)
        room = self.height() - length
        top = room * (self.value() - self.minimum()) / (self.maximum() - self.minimum())
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color("faint" if self.isSliderDown() or self.underMouse() else "hairline"))
        painter.drawRoundedRect(QRectF(4, top + 1, 5, length - 2), 2.5, 2.5)


class ThinProgress(QWidget):
    """A slim bar, 0 … 1; empty when unknown."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.share = 0.0
        self.setFixedSize(QSize(112, 6))
        self.setAccessibleName(self.tr("Training progress"))
        theme().changed.connect(self.update)

    def set_share(self, share: float) -> None:
        if share != self.share:
            self.share = share
            self.setAccessibleDescription(f"{share:.0%}")
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color("hairline"))
        painter.drawRoundedRect(self.rect(), 3, 3)
        painter.setBrush(color("accent"))
        painter.drawRoundedRect(0, 0, round(self.width() * min(self.share, 1.0)), self.height(), 3, 3)


class PanelScroll(QScrollArea):
    """Scrolls a panel's content up and down, never sideways."""

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setVerticalScrollBar(ThinScrollBar(Qt.Orientation.Vertical, self))
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setWidget(content)
