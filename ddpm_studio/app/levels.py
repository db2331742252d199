"""How noise levels are counted in the window: 1 … T as papers do, or 0 … T−1 as the tables of code do."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication, QObject, Signal, Slot
from PySide6.QtWidgets import QApplication

PAPER, CODE = "paper", "code"


class Levels(QObject):
    """The count in force. ``changed`` when it is another one."""

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.count = PAPER

    def set_count(self, count: str) -> None:
        """PAPER or CODE; anything else, as from the settings of another version, is PAPER."""
        count = CODE if count == CODE else PAPER
        if count != self.count:
            self.count = count
            self.changed.emit()

    @Slot()
    def toggle(self) -> None:
        self.set_count(PAPER if self.count == CODE else CODE)


_levels: list[Levels] = []


def levels() -> Levels:
    """The count of the running application."""
    app = QApplication.instance()
    assert app is not None
    if not _levels or _levels[0].parent() is not app:
        _levels[:] = [Levels(app)]
    return _levels[0]


def level_number(t: int) -> str:
    """The number of a level in the count in force. The clean level 0 has none in code: there it is "clean"."""
    if levels().count == PAPER:
        return f"{t:,}"
    return f"{t - 1:,}" if t else QCoreApplication.translate("Levels", "clean")


def level_text(t: int | None) -> str:
    """E.g. "t = 412", or "t = 411 (code)"; None is no level."""
    if t is None:
        return "t = –"
    if levels().count == PAPER or t == 0:
        return f"t = {level_number(t)}"
    return QCoreApplication.translate("Levels", "t = {0} (code)").format(level_number(t))
