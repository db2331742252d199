"""Writing a file so that it is complete or absent, never half."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from ddpm_studio.paths import PART, remove


@contextmanager
def written(path: Path, write: Callable[[Path], None]) -> Iterator[None]:
    """Let ``write`` fill a temporary file beside ``path`` and bring it to the disk; at the end it takes its place.

    Until then ``path`` is untouched, and if anything fails within, it stays so. What a writer of ``path`` that was
    killed has left is removed.
    """
    part = part_of(path)
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        yield
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file that then takes the place of ``path``."""
    with written(path, write):
        pass


def part_of(path: Path) -> Path:
    """A name beside ``path`` for what is to become it; those that dead processes used are free again."""
    name = re.compile(PART.format(name=re.escape(path.name)))
    with suppress(OSError):
        for old in path.parent.iterdir():
            by = name.fullmatch(old.name)
            if by and not _writes(int(by[1]), old):
                remove(old)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _writes(process: int, part: Path) -> bool:
    """Whether a process may still be at it: it lives, and has not begun only after the last change."""
    try:
        return bool(psutil.Process(process).create_time() < part.lstat().st_mtime + 2)  # s, of two clocks
    except psutil.NoSuchProcess:
        return False
    except (psutil.Error, OSError):
        return True


def text(content: str) -> Callable[[Path], None]:
    """A writer of UTF-8 text for ``written``."""

    def write(part: Path) -> None:
        part.write_text(content, encoding="utf-8", newline="\n")

    return write


def write_text(path: Path, content: str) -> None:
    """Write a UTF-8 text file."""
    write_whole(path, text(content))
