"""Writing a file so that it is complete or absent, never half."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, bring it to the disk, then rename it into place."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """``write_atomically`` for UTF-8 text."""

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write)
