"""Files from the network: whole and checked, or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ddpm_studio.data.dataset import Cancelled, DataError, Progress

_PIECE = 1 << 16  # bytes between two looks at the progress callback
_TIMEOUT = 10.0  # seconds without a single byte


@dataclass(frozen=True)
class Remote:
    """A file to fetch: the name it gets, its addresses, tried in turn, and its MD5 in hex (against damage)."""

    name: str
    urls: tuple[str, ...]
    md5: str


class _Failed(Exception):  # noqa: N818  (never leaves this module)
    """Why an address did not give the file, as a clause; ``step`` is what the user can do."""

    def __init__(self, reason: object, step: str) -> None:
        super().__init__(" ".join(str(reason).split()))
        self.step = step


@dataclass(frozen=True)
class Download:
    """The files of one data set.

    ``size`` is of all files together, in bytes. ``otherwise`` ends the sentence for the user where they cannot be had:
    "..., or " what else to do.
    """

    title: str
    files: tuple[Remote, ...]
    size: int
    otherwise: str

    @contextlib.contextmanager
    def fetched(self, folder: Path, progress: Progress | None = None) -> Iterator[Path]:
        """A new folder inside ``folder`` with all files, whole and checked: move out of it what is to stay.

        It is deleted at the end, whatever happens, so nothing half fetched is ever found beside it.
        ``progress`` is called with (bytes done, bytes of all).
        Raises DataError where there is no network, or a file comes cut short or damaged or cannot be stored; Cancelled
        when ``progress`` returned False.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
                done = 0
                for file in self.files:
                    done += self._fetch(file, Path(scratch, file.name), done, progress)
                yield Path(scratch)
        except OSError as error:  # those of the network are _Failed by now
            raise DataError(
                f"{self.title} cannot be stored in {folder} ({error.strerror or error}): make room or let the program "
                "write there, and start again."
            ) from error

    def _fetch(self, file: Remote, target: Path, before: int, progress: Progress | None) -> int:
        """One file from the first address that has it: its size."""
        failures = []
        for url in file.urls:
            try:
                return self._fetch_from(url, file, target, before, progress)
            except _Failed as error:
                failures.append(error)
        raise DataError(
            f"{self.title} could not be downloaded ({failures[0]}): {failures[0].step}, or {self.otherwise}."
        ) from failures[0]

    def _fetch_from(self, url: str, file: Remote, target: Path, before: int, progress: Progress | None) -> int:
        digest = hashlib.md5(usedforsecurity=False)
        done = 0
        self._look(before, progress)
        with target.open("wb") as out, contextlib.closing(_pieces(url)) as pieces:
            for piece in pieces:
                out.write(piece)
                digest.update(piece)
                done += len(piece)
                self._look(before + done, progress)
        if digest.hexdigest() != file.md5:
            host = urlsplit(url).netloc
            raise _Failed(f"{file.name} came damaged from {host}: its MD5 is not {file.md5}", "start again later")
        return done

    def _look(self, done: int, progress: Progress | None) -> None:
        if progress is not None and not progress(done, self.size):
            raise Cancelled


def _pieces(url: str) -> Generator[bytes, None, None]:
    # Here, not above: the window opens 30 ms sooner without them.
    import http.client
    import urllib.error
    import urllib.request

    host = urlsplit(url).netloc
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
            length, done = response.length, 0
            while piece := response.read(_PIECE):
                done += len(piece)
                yield piece
    except urllib.error.HTTPError as error:
        error.close()
        raise _Failed(f"{host} answers {error.code} {error.reason}", "start again later") from error
    except (OSError, http.client.HTTPException) as error:  # a URLError is an OSError
        reason = getattr(error, "reason", None) or error
        raise _Failed(f"{host}: {getattr(reason, 'strerror', None) or reason}", "go online and start again") from error
    if length is not None and done < length:
        raise _Failed(f"{host} stopped after {done:,} of {length:,} bytes", "start again")
