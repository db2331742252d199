"""What the window remembers: layout, theme, level of detail, seed, recent runs. One INI file in the user's folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from ddpm_studio.paths import user_folder

LAYOUT_VERSION = 1  # raised when docks change, so that an old layout is not forced on a new window
RECENTS = 10


class WindowSettings:
    """Typed access to the INI file."""

    def __init__(self) -> None:
        self._file = QSettings(str(user_folder() / "window.ini"), QSettings.Format.IniFormat)

    def text(self, key: str, default: str) -> str:
        return str(self._file.value(key, default))

    def set_text(self, key: str, value: str) -> None:
        self._file.setValue(key, value)

    def seed(self) -> tuple[int, bool]:
        """The seed of the next samples, and whether it is locked."""
        text = self.text("seed", "0")
        seed = int(text) if text.isascii() and text.isdecimal() else 0
        return seed if seed < 2**31 else 0, self.text("seed_lock", "on") == "on"

    def set_seed(self, seed: int, locked: bool) -> None:
        self.set_text("seed", str(seed))
        self.set_text("seed_lock", "on" if locked else "off")

    def layout(self) -> tuple[QByteArray, QByteArray] | None:
        """(geometry, state) of the last window, or None."""
        if self.text("layout/version", "") != str(LAYOUT_VERSION):
            return None
        geometry, state = self._file.value("layout/geometry"), self._file.value("layout/state")
        both = isinstance(geometry, QByteArray) and isinstance(state, QByteArray)
        return (geometry, state) if both else None

    def set_layout(self, geometry: QByteArray, state: QByteArray) -> None:
        self._file.setValue("layout/version", str(LAYOUT_VERSION))
        self._file.setValue("layout/geometry", geometry)
        self._file.setValue("layout/state", state)

    def forget_layout(self) -> None:
        self._file.remove("layout")

    def recents(self) -> list[Path]:
        """Runs opened lately that are still there, newest first."""
        paths = [Path(line) for line in self.text("recents", "").split("\n") if line]
        return [path for path in paths if path.is_dir()]

    def add_recent(self, path: Path) -> None:
        others = [p for p in self.recents() if p != path]
        self.set_text("recents", "\n".join(str(p) for p in [path, *others][:RECENTS]))

    def sync(self) -> None:
        self._file.sync()
