"""Writing a file so that it is complete or absent, never half."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path, write: Callable[[Path], None]) -> Iterator[None]:
    """Let ``write`` fill a temporary file beside ``path`` and bring it to the disk; at the end it takes its place.

    Until then ``path`` is untouched, and if anything fails within, it stays so.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        yield
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def text(content: str) -> Callable[[Path], None]:
    """A writer of UTF-8 text for ``written``."""

    def write(part: Path) -> None:
        part.write_text(content, encoding="utf-8", newline="\n")

    return write


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file."""
    with written(path, text(content)):
        pass
