"""Where things lie: what ships with the program, and what belongs to the user."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parent
# What half-written files and folders of the program are called, until they are whole.
PART = r"\.{name}\.(\d+)\.part"  # with the process that writes it
_SCRATCH = re.compile(PART.format(name=".+") + r"|\.(download|copy)-[a-z0-9_]{8}")
_DAY = 86_400.0  # seconds


def resource(*parts: str) -> Path:
    """A shipped file or folder, e.g. ``resource("data", "fashion-mnist.npz")``.

    In an installed wheel the resources lie inside the package, in a source tree beside it.
    """
    inside = _PACKAGE / "resources"
    return (inside if inside.is_dir() else _PACKAGE.parent / "resources").joinpath(*parts)


def user_folder() -> Path:
    """The user's own folder for runs and settings; ``DDPM_STUDIO_HOME`` moves it (portable use, tests)."""
    override = os.environ.get("DDPM_STUDIO_HOME")
    return Path(override) if override else Path(platformdirs.user_data_dir("ddpm-studio", appauthor=False))


def runs_folder() -> Path:
    """Where new runs go unless told otherwise."""
    return user_folder() / "runs"


def sweep(folder: Path) -> None:
    """Remove what a program that was killed left half-written in a folder of its own, if it is a day old.

    What cannot be removed, or is not there, is left alone.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if _SCRATCH.fullmatch(path.name) and time.time() - path.lstat().st_mtime > _DAY:
                remove(path)


def remove(path: Path) -> None:
    """Remove a file or a whole folder, as far as that can be done."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
