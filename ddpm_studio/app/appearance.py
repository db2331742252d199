"""How the window looks, remembered from one start to the next: where its panels are, its theme, how it counts."""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QObject, Qt, QTimer, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu, QVBoxLayout, QWidget

from ddpm_studio.app.actions import set_icons
from ddpm_studio.app.levels import CODE, PAPER, levels
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.theme import theme

ROOMY = 1280  # px: a window that has room for docks as wide as they need
WIDE_ENOUGH = {"recipe": 276, "learning": 312, "data": 312}  # px: nothing in them is cut off


class Appearance(QObject):
    """The docks and the theme of one window."""

    def __init__(self, window: QMainWindow, settings: WindowSettings) -> None:
        super().__init__(window)
        self.docks: dict[str, QDockWidget] = {}
        self.actions: dict[str, QAction] = {}  # by id, set once they are made
        self._window = window
        self._settings = settings
        self._default_layout: QByteArray | None = None
        self._panel_menu: QMenu | None = None
        theme().changed.connect(self._on_theme)
        levels().set_count(settings.text("levels", PAPER))
        levels().changed.connect(self._on_levels)

    # -- panels

    def add_dock(self, name: str, title: str, content: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self._window)
        dock.setObjectName(f"dock.{name}")
        dock.setWidget(content)
        self._window.addDockWidget(area, dock)
        self.docks[name] = dock
        return dock

    def add_panel_menu(self, menu: QMenu) -> None:
        """A submenu that shows and hides panels."""
        self._panel_menu = menu.addMenu(self.tr("Panels"))
        self._panel_menu.aboutToShow.connect(self._on_panels_wanted)

    @property
    def shown(self) -> bool:
        """Whether the window has been on the screen."""
        return self._default_layout is not None

    def restore(self) -> None:
        """At the first show: the panels in their places, or where they were left."""
        docks, window = self.docks, self._window
        wide = [WIDE_ENOUGH["recipe"], WIDE_ENOUGH["learning"]]
        window.resizeDocks([docks["recipe"], docks["learning"]], wide, Qt.Orientation.Horizontal)
        window.resizeDocks([docks["learning"], docks["runs"]], [540, 160], Qt.Orientation.Vertical)
        self._default_layout = window.saveState()
        layout = self._settings.layout()
        if layout is not None:
            window.restoreGeometry(layout[0])
            window.restoreState(layout[1])
            QTimer.singleShot(0, self, self.widen)  # when the docks have their places

    @Slot()
    def widen(self) -> None:
        """What a small window had made narrow takes the width that it needs again."""
        narrow = {
            name: wide
            for name, wide in WIDE_ENOUGH.items()
            if (dock := self.docks[name]).isVisible() and not dock.isFloating() and dock.width() < wide
        }
        if narrow and self._window.width() >= ROOMY:
            docks = [self.docks[name] for name in narrow]
            self._window.resizeDocks(docks, [*narrow.values()], Qt.Orientation.Horizontal)

    def remember(self) -> None:
        if self.shown:
            self._settings.set_layout(self._window.saveGeometry(), self._window.saveState())

    @Slot()
    def on_reset_layout(self) -> None:
        self._settings.forget_layout()
        if self._default_layout is not None:
            self._window.restoreState(self._default_layout)
        for dock in self.docks.values():
            dock.show()
        self.docks["learning"].raise_()
        self.docks["runs"].raise_()

    @Slot()
    def _on_panels_wanted(self) -> None:
        assert self._panel_menu is not None
        self._panel_menu.clear()
        for dock in self.docks.values():
            self._panel_menu.addAction(dock.toggleViewAction())

    # -- theme

    def choose_theme(self, choice: str) -> None:
        """ "system", "light" or "dark"."""
        self._settings.set_text("theme", choice)
        theme().prefer(choice)
        for name in ("system", "light", "dark"):
            self.actions[f"view.theme_{name}"].setChecked(name == choice)
        self._show_count()

    @Slot()
    def on_theme_system(self) -> None:
        self.choose_theme("system")

    @Slot()
    def on_theme_light(self) -> None:
        self.choose_theme("light")

    @Slot()
    def on_theme_dark(self) -> None:
        self.choose_theme("dark")

    @Slot()
    def _on_theme(self) -> None:
        set_icons(self.actions)

    # -- the count of noise levels

    @Slot()
    def on_count_levels(self) -> None:
        levels().toggle()

    @Slot()
    def _on_levels(self) -> None:
        self._settings.set_text("levels", levels().count)
        self._show_count()

    def _show_count(self) -> None:
        self.actions["view.code_levels"].setChecked(levels().count == CODE)


def stacked(*parts: QWidget) -> QWidget:
    """A widget of several, one above the other; the last takes the room."""
    all_of_them = QWidget()
    column = QVBoxLayout(all_of_them)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(0)
    for part in parts:
        column.addWidget(part)
    column.setStretchFactor(parts[-1], 1)
    return all_of_them


def fill(holder: QWidget, panel: QWidget) -> None:
    """Put a panel that was built late into the place kept for it."""
    column = QVBoxLayout(holder)
    column.setContentsMargins(0, 0, 0, 0)
    column.addWidget(panel)
