"""What can go wrong while something is exported."""

from __future__ import annotations

from ddpm_studio.data.dataset import Cancelled, Progress

__all__ = ["Cancelled", "ExportError", "Progress", "advance"]


class ExportError(RuntimeError):
    """A file cannot be written; one sentence."""


def advance(progress: Progress | None, done: int, total: int) -> None:
    """Tell how far it is.

    Raises:
        Cancelled: if ``progress`` answers False.
    """
    if progress is not None and not progress(done, total):
        raise Cancelled
