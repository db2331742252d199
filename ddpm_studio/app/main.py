"""Starting the window: ``main``; and ``--smoke-test``, which uses it once as a person would."""

from __future__ import annotations

import argparse
import faulthandler
import locale
import logging
import os
import signal
import sys
from pathlib import Path
from typing import IO

from ddpm_studio.recipes import built_in, find

TWIN = "ddpm-studio train fashion-mnist"
QT_OPTIONS = (  # of QApplication and QGuiApplication
    *("display", "geometry", "platform", "platformpluginpath", "platformtheme", "plugin", "qmljsdebugger"),
    *("qwindowgeometry", "qwindowicon", "qwindowtitle", "reverse", "session", "style", "stylesheet", "widgetcount"),
)


def main(arguments: list[str] | None = None) -> int:
    """Open the window; returns the exit status.

    ``arguments``: optionally one run, recipe (a built-in name or a file) or folder of pictures, and
    ``--smoke-test``. Options that are not ours go to Qt.
    """
    parser = argparse.ArgumentParser(prog="ddpm-studio", add_help=False)
    parser.add_argument("what", nargs="?")
    parser.add_argument("--smoke-test", action="store_true")
    ours, for_qt = parser.parse_known_args(arguments)
    options = (option for option in for_qt if option.startswith("-"))
    wrong = next((option for option in options if option.lstrip("-").partition("=")[0] not in QT_OPTIONS), None)
    if wrong is not None:
        print(  # noqa: T201
            f"ddpm-studio: there is no option {wrong}; `ddpm-studio --help` lists what there is", file=sys.stderr
        )
        return 2
    if ours.what is not None and ours.what not in built_in() and not Path(ours.what).exists():
        print(  # noqa: T201
            f"ddpm-studio: there is no command, recipe, file or folder called {ours.what}; "
            "`ddpm-studio --help` lists the commands, `ddpm-studio recipes` the recipes",
            file=sys.stderr,
        )
        return 1
    if not _has_display():
        print(  # noqa: T201
            f"ddpm-studio: there is no display to open a window on; to train without one: {TWIN}", file=sys.stderr
        )
        return 1
    if ours.smoke_test:
        from ddpm_studio.app.smoke import smoke_test

        return smoke_test(for_qt)
    from ddpm_studio.app.controller import unended

    status = Application(for_qt, ours.what).exec()
    if unended:  # a module that is still being imported, say: Python cannot leave before that, and Qt would abort
        sys.stderr.flush()
        os._exit(status)
    return status


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin") or os.environ.get("QT_QPA_PLATFORM"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Application:
    """The Qt application with its window, theme, log and crash file."""

    def __init__(self, for_qt: list[str], what: str | None = None) -> None:
        from PySide6.QtWidgets import QApplication

        from ddpm_studio.app import theme
        from ddpm_studio.app.errors import install_excepthooks
        from ddpm_studio.app.garbage import Garbage
        from ddpm_studio.app.heartbeat import Watchdog
        from ddpm_studio.app.main_window import MainWindow
        from ddpm_studio.paths import user_folder

        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        user_folder().mkdir(parents=True, exist_ok=True)
        crashed, self._crash_file = _open_crash_file(user_folder() / "crash.log")
        existing = QApplication.instance()
        self.app = existing if isinstance(existing, QApplication) else QApplication([sys.argv[0], *for_qt])
        locale.setlocale(locale.LC_NUMERIC, "C")  # QApplication takes it from the environment; 0,5 is no TOML
        self.app.setApplicationName("DDPM Studio")
        self.app.setDesktopFileName("ddpm-studio")
        theme.install(self.app)
        from PySide6.QtGui import QIcon

        from ddpm_studio.paths import resource

        self.app.setWindowIcon(QIcon(str(resource("icons", "app.svg"))))
        self._garbage = Garbage(self.app)
        self.window = MainWindow()
        self.window.controller.loaded.connect(self._garbage.begin)
        self.window.controller.failed.connect(self._garbage.begin)  # they may never be there
        self._hooks = install_excepthooks(self.window.report_failure)
        self.watchdog = Watchdog(self.window.heartbeat, self._crash_file)
        self.watchdog.start()
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(signal.SIGTERM, self._on_interrupt)
        self.window.show()
        if what in built_in():
            self.window.session.choose(find(what))
        elif what is not None:
            self.window.open_path(Path(what))
        if crashed:
            self.window.report_crash(crashed)

    def _on_interrupt(self, which: int, frame: object) -> None:
        """Ctrl-C in the terminal: save and quit; the heartbeat gives Python the chance to run this."""
        signal.signal(which, signal.SIG_DFL)  # a second one ends at once
        self.window.quit_after_saving()

    def exec(self) -> int:
        try:
            return int(self.app.exec())
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing behind: the watchdog's thread and the crash file."""
        self.watchdog.stop()
        self._garbage.end()
        self._hooks.remove()
        if faulthandler.is_enabled():
            faulthandler.disable()
        self._crash_file.close()
        path = Path(self._crash_file.name)
        if path.exists() and path.stat().st_size:
            path.replace(path.with_name("stalls.log"))  # from the watchdog: the window was late, but it lived
        else:
            path.unlink(missing_ok=True)


def _open_crash_file(path: Path) -> tuple[str, IO[str]]:
    """What a crash wrote last time, and the file into which the next one writes."""
    crashed = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    file = path.open("w", encoding="utf-8")
    faulthandler.enable(file)
    return crashed, file
