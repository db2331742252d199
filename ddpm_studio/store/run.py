"""A run: one folder that holds a recipe, a record and checkpoints. A run never overwrites another.

recipe.toml            what was asked
record.sqlite          what happened
checkpoints/           what was learnt
training.sqlite        empty; a program that trains the run holds a lock on it
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ddpm_studio.data import Cancelled, DataFacts
from ddpm_studio.diffusion.reel import CAP
from ddpm_studio.files import part_of, write_text
from ddpm_studio.paths import runs_folder, sweep
from ddpm_studio.recipes import Recipe, RecipeError, dumps, read
from ddpm_studio.recipes.editions import Say, badge
from ddpm_studio.store.checkpoint import Checkpoint, CheckpointError, checkpoints_in
from ddpm_studio.store.record import PIECE, EventRow, Record, RecordError

GoOn = Callable[[int, int], bool]


class RunError(RuntimeError):
    """A folder is no run, or a run cannot be made there; one sentence."""


@dataclass(frozen=True)
class Parent:
    """Where a fork comes from. Its folder may be renamed; the time of its first event stays."""

    path: Path
    step: int  # in the parent's own count
    before: int  # steps learnt before the fork's first one, by the parent and its own parents
    born: float  # seconds since 1970


class Disk(NamedTuple):
    """Bytes of a run's files; ``frames`` are a part of its ``record``, and its previews stay below ``frames_cap``."""

    record: int
    checkpoints: int
    frames: int
    frames_cap: int
    total: int


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.resolve())  # two ways to a folder are one run

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.toml"

    @property
    def record_file(self) -> Path:
        return self.path / "record.sqlite"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    # -- making and opening

    @classmethod
    def create(cls, recipe: Recipe, path: Path | None = None, parent: Parent | None = None) -> Run:
        """Make a new run folder for a recipe; without a path, a new name in the user's runs folder.

        With a ``parent`` it is a fork: training it begins with what that run had learnt by then.

        Raises:
            RunError: if the folder exists and is not empty, or cannot be made.
        """
        path = path or _free_path(runs_folder() / f"{_slug(recipe.name)}-{datetime.now():%Y%m%d-%H%M%S}")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunError(
                f"{path} is already there and a run never overwrites another: choose a new name, or resume it"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            write_text(path / "recipe.toml", dumps(recipe))
        except OSError as error:
            raise RunError(f"{path} cannot be made: {error.strerror or error}; choose another folder") from None
        run = cls(path)
        with run.record(write=True) as record:
            if parent is not None:
                about = {"run": str(parent.path), "step": parent.step, "before": parent.before, "born": parent.born}
                record.add_event(0, "forked", about)
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """The run in a folder (or the run that a file inside it belongs to).

        Raises:
            RunError: if the folder holds no run.
        """
        if not path.exists():
            raise RunError(f"there is no folder {path}; it may have been moved")
        whole = path.resolve()
        for folder in (whole, whole.parent, whole.parent.parent):
            if (folder / "recipe.toml").is_file() and (folder / "record.sqlite").is_file():
                run = cls(folder)
                for own in (run.path, run.checkpoint_folder):
                    sweep(own)
                return run
        raise RunError(f"{path} is not a run: it holds no recipe.toml beside a record.sqlite")

    # -- parts

    def recipe(self) -> Recipe:
        """What was asked when the run began.

        Raises:
            RunError: if the file is damaged.
        """
        try:
            return read(self.recipe_file)
        except RecipeError as error:
            raise RunError(str(error)) from None

    def parent(self) -> Parent | None:
        """The run that this one was forked from, if it was.

        Raises:
            RecordError: if its first event is damaged.
        """
        with self.record() as record:
            return _parent(record.first_event())

    def fork_point(self, step: int | None = None) -> Parent:
        """This run as the parent of a fork from its last checkpoint, or from the one at ``step``.

        Raises:
            RunError: if there is no such checkpoint.
        """
        steps = [checkpoint.step for checkpoint in self.checkpoints()]
        if not steps or step not in (None, *steps):
            there = ", ".join(map(str, steps)) or "none"
            which = "" if step is None else f" at step {step}"
            raise RunError(f"{self.path} has no checkpoint{which} to fork from; there are: {there}")
        step = steps[-1] if step is None else step
        with self.record() as record:
            first = record.first_event()
        grandparent = _parent(first)
        before = grandparent.before if grandparent else 0
        return Parent(self.path, step, before + step, first.time if first else 0.0)

    def current_recipe(self) -> Recipe:
        """The recipe in force at the last checkpoint: changes made while the run went on are in it."""
        checkpoints = self.checkpoints()
        return checkpoints[-1].about()[1] if checkpoints else self.recipe()

    def data(self) -> DataFacts | None:
        """What the last checkpoint says of the data; None without one, or with an older one.

        Raises:
            CheckpointError: if it is damaged.
        """
        checkpoints = self.checkpoints()
        return checkpoints[-1].data() if checkpoints else None

    def disk(self) -> Disk:
        """What it takes on the disk now."""
        with self.record() as record:
            frames = record.frame_bytes()
            caps = [event.about.get("frames_cap", CAP) for event in record.events() if event.kind == "started"]
        sizes: dict[Path, int] = {}
        for path in self.path.rglob("*"):
            with suppress(FileNotFoundError):  # a training renames a file that it has written
                sizes[path] = 0 if path.is_dir() else path.stat().st_size
        return Disk(
            record=sum(size for path, size in sizes.items() if path.name.startswith(self.record_file.name)),
            checkpoints=sum(size for path, size in sizes.items() if path.parent == self.checkpoint_folder),
            frames=frames,
            frames_cap=caps[-1] if caps else CAP,
            total=sum(sizes.values()),
        )

    def remove_if_empty(self) -> None:
        """Take the folder away again if nothing was learnt: a training that could not begin leaves no trace."""
        if not self.record_file.is_file():
            return  # it has been taken away already
        with self.record() as record:
            learnt = bool(record.last_metrics()) or bool(self.checkpoints())
        if not learnt:
            shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within: nobody else may train this run. The system unlocks it, however this process ends.

        Raises:
            RunError: if somebody trains it now.
        """
        file = self.path / "training.sqlite"
        with ExitStack() as held:
            try:  # the thread that lets go of a generator may be another one
                lock = sqlite3.connect(file, timeout=0, isolation_level=None, check_same_thread=False)
                held.enter_context(closing(lock)).execute("begin exclusive")
            except sqlite3.Error as error:
                busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
                why = (
                    "is being trained by another program; stop that one first"
                    if busy
                    else f"cannot be trained: {error}"
                )
                raise RunError(f"{self.path} {why}") from None
            yield

    def record(self, *, write: bool = False, frames_cap: int = CAP) -> Record:
        return Record(self.record_file, write=write, frames_cap=frames_cap)

    def checkpoints(self) -> list[Checkpoint]:
        """Complete checkpoints, oldest first."""
        return checkpoints_in(self.checkpoint_folder)

    def copy(self, path: Path, go_on: GoOn) -> None:
        """Copy the run, also one that is being trained, to a new folder: whole, or nothing is left.

        ``go_on(done, of)`` in bytes, about every MB; it ends with ``Cancelled`` when that says False.

        Raises:
            RunError: if the folder is there already, or cannot be written.
        """
        if path.exists():
            raise RunError(f"{path} is already there and a run never overwrites another: choose a new name")
        part = part_of(path)
        try:
            part.mkdir(parents=True)
            files = {p: p.stat().st_size for p in (self.recipe_file, *self.checkpoint_folder.glob("step-*"))}
            done, of = 0, sum(files.values()) + self.record_file.stat().st_size

            def further(size: int) -> None:
                nonlocal done
                done += size
                if not go_on(min(done, of), of):
                    raise Cancelled

            with self.record() as record:
                record.copy(part / self.record_file.name, further)
            for file in files:
                target = part / file.relative_to(self.path)
                target.parent.mkdir(exist_ok=True)
                with suppress(FileNotFoundError), file.open("rb") as source, target.open("wb") as copied:
                    while piece := source.read(PIECE):  # FileNotFoundError: a training has thinned them out
                        copied.write(piece)
                        further(len(piece))
            part.rename(path)
        except (OSError, RecordError) as error:
            told = getattr(error, "strerror", None) or error
            raise RunError(f"{path} cannot be written: {told}; choose another place") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class RunSummary:
    """A line in the list of runs."""

    run: Run
    title: str
    step: int
    loss: float | None
    trained: datetime  # last; of one that was never trained, when its record was made
    edition: str = ""  # of the tutorial that it follows, and what was changed in it
    parent: Parent | None = None  # of a fork
    born: float = 0.0  # time of the first event
    recipe: Recipe | None = None  # in force at the last checkpoint; None if it is damaged
    saved: int | None = None  # step of the last checkpoint
    previews: int = 0  # recorded


def list_runs(folder: Path | None = None, say: Say = str) -> list[RunSummary]:
    """The runs in a folder (default: the user's), those trained last first; damaged ones with what can be read.

    Samples and comparisons move none. Only those that have changed since they were last listed are read again.
    """
    folder = (folder or runs_folder()).resolve()
    found = []
    if folder.is_dir():
        for path in folder.iterdir():
            run = Run(path)
            with suppress(OSError):  # it is none, or has gone meanwhile
                found.append(_summary(run, say, _stamp(run)))
    return sorted(_told_apart(found), key=lambda s: s.trained, reverse=True)


def _stamp(run: Run) -> tuple[int, ...]:
    """Another one after each change of what a summary tells."""
    files = [run.recipe_file.stat(), run.record_file.stat()]
    for path in (run.record_file.with_name(run.record_file.name + "-wal"), run.checkpoint_folder):
        with suppress(FileNotFoundError):
            files.append(path.stat())
    return tuple(number for file in files for number in (file.st_mtime_ns, file.st_size))


def _told_apart(found: Iterable[RunSummary]) -> list[RunSummary]:
    """No two have one title: of those begun within a minute the second ends in (2), and so on."""
    taken: set[str] = set()
    named = []
    for summary in sorted(found, key=lambda s: s.run.name):  # which has the time of its start
        title, number = summary.title, 2
        while title in taken:
            title, number = f"{summary.title} ({number})", number + 1
        taken.add(title)
        named.append(replace(summary, title=title))
    return named


@lru_cache(maxsize=1024)
def _summary(run: Run, say: Say, stamp: tuple[int, ...]) -> RunSummary:
    """What the list of runs shows of one; ``say`` translates the words about its edition."""
    step, loss, first, latest, previews = 0, None, None, None, 0
    parent: Parent | None = None
    try:
        with run.record() as record:
            first, latest = record.first_event(), record.last_event()
            last = record.last_metrics()
            probe = record.last_probe()
            previews = len(record.tape_steps())
        step = int(last.get("step", 0))
        loss = probe.train if probe else last.get("loss")
        parent = _parent(first)
    except RecordError:
        pass
    title, edition, recipe, saved = run.name, "", None, None
    with suppress(RunError, CheckpointError):
        recipe = run.recipe()
        title, edition = _display_name(run.name, recipe.title), badge(recipe, say)
        if checkpoints := run.checkpoints():
            recipe = checkpoints[-1].about()[1]
            saved = checkpoints[-1].step
    trained = datetime.fromtimestamp(latest.time if latest else run.record_file.stat().st_mtime)
    born = first.time if first else 0.0
    return RunSummary(run, title, step, loss, trained, edition, parent, born, recipe, saved, previews)


def _parent(first: EventRow | None) -> Parent | None:
    """What the first event of a run says of where it comes from."""
    if first is None or first.kind != "forked":
        return None
    about = first.about
    try:
        return Parent(Path(about["run"]), int(about["step"]), int(about["before"]), float(about["born"]))
    except (LookupError, TypeError, ValueError) as error:
        raise RecordError(f"it cannot be read what the run was forked from: {error}") from None


def _display_name(folder: str, title: str) -> str:
    """The recipe's title with the time of the start, unless the user gave the folder a name."""
    made = re.search(r"-\d{8}-(\d\d)(\d\d)\d\d(-\d+)?$", folder)
    return f"{title}, {made[1]}:{made[2]}" if made else folder


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "run"


def _free_path(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate
