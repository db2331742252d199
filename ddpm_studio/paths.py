"""Where things lie: what ships with the program, and what belongs to the user."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parent


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
