"""The menu of all actions, with the runs opened lately and the panels."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, Signal, Slot
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from ddpm_studio.app.actions import ACTIONS, MENUS
from ddpm_studio.app.appearance import Appearance
from ddpm_studio.app.settings import WindowSettings


class MainMenu(QMenu):
    """One submenu for each of MENUS."""

    run_chosen = Signal(object)  # Path

    def __init__(
        self, actions: dict[str, QAction], appearance: Appearance, settings: WindowSettings, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._settings = settings
        for title in MENUS:
            sub = self.addMenu(QCoreApplication.translate("Actions", title))
            for spec in ACTIONS:
                if spec.menu == title:
                    sub.addAction(actions[spec.id])
            if title == "Run":
                self._recents = sub.addMenu(self.tr("Open recent"))
                self._recents.aboutToShow.connect(self._on_recents_wanted)
                self._recents.triggered.connect(self._on_recent)
            if title == "View":
                appearance.add_panel_menu(sub)

    @Slot()
    def _on_recents_wanted(self) -> None:
        self._recents.clear()
        for path in self._settings.recents():
            self._recents.addAction(path.name).setData(path)

    @Slot(QAction)
    def _on_recent(self, action: QAction) -> None:
        self.run_chosen.emit(action.data())
