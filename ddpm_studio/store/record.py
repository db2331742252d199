"""record.sqlite: metrics, events, probe losses and preview frames of a run.

One file, transactional, readable by others while it is written. Rows wait in memory and are written
together about twice a second, so that a step never waits for the disk. No torch.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.reel import CAP, coarse_to_fine, kind_of_row, narrowed, to_drop
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.training.events import Probed, ProbeItems, ProbeSight

VERSION = 1
SIGHTS_CAP = 16 << 20  # bytes of what the probed networks saw
PIECE = 1 << 20  # bytes copied at once
PART = 4096  # rows turned into numbers at once: other threads wait that long
METRICS = ("step", "images_seen", "loss", "learning_rate", "grad_norm", "images_per_second")

_TABLES = f"""
create table if not exists metrics ({", ".join(f"{name} real" for name in METRICS)}, primary key (step));
create table if not exists probes (step integer primary key, train real, held_out real,
    levels blob, train_by_level blob, held_out_by_level blob);
create table if not exists events (id integer primary key, step integer, time real, kind text, about text);
create table if not exists tapes (id integer primary key, step integer, purpose text, bytes integer, about text);
create table if not exists arrays (tape integer references tapes(id), name text, dtype text, shape text, data blob,
    primary key (tape, name));
create table if not exists probe_arrays (step integer, name text, dtype text, shape text, data blob,
    primary key (step, name));
"""
_ALL_STEPS = -1  # for what is the same in every probe
_PREVIEWS = """select id, about, (select shape from arrays where tape = tapes.id and name = 'x') from tapes
    where purpose = 'preview'"""
_SIGHT_STEPS = "select step from probe_arrays where name = 'seen_x0' order by step"


class RecordError(RuntimeError):
    """The record cannot be read or written; one sentence."""


class ProbeRow(NamedTuple):
    step: int
    train: float
    held_out: float
    levels: NDArray[np.float64]
    train_by_level: NDArray[np.float64]
    held_out_by_level: NDArray[np.float64]
    floor_by_level: NDArray[np.float64] | None = None  # as ``Probed`` has it, where it is known
    held_out_floor_by_level: NDArray[np.float64] | None = None

    @property
    def floor(self) -> float:
        """The mean of ``floor_by_level``, as ``train`` is that of its levels; NaN where it is not known."""
        return _mean(self.floor_by_level)

    @property
    def held_out_floor(self) -> float:
        """The same for the held-out items; NaN in an older record."""
        return _mean(self.held_out_floor_by_level)

    @classmethod
    def of(cls, probed: Probed) -> ProbeRow:
        return cls(*(getattr(probed, name) for name in cls._fields))


def _mean(levels: NDArray[np.float64] | None) -> float:
    return float("nan") if levels is None else float(levels.mean())


class EventRow(NamedTuple):
    step: int
    time: float  # seconds since 1970
    kind: str
    about: dict[str, Any]


def _put(db: sqlite3.Connection, step: int, name: str, array: NDArray[Any]) -> None:
    db.execute(
        "insert or replace into probe_arrays values (?, ?, ?, ?, ?)",
        (step, name, array.dtype.str, json.dumps(array.shape), np.ascontiguousarray(array).tobytes()),
    )


class Record:
    """A run's record; open it for writing in one thread, and for reading anywhere.

    Raises:
        RecordError: if the file is damaged or cannot be opened.
    """

    FLUSH_SECONDS = 0.5

    def __init__(self, path: Path, *, write: bool = False, frames_cap: int = CAP) -> None:
        self.path, self.writable, self.frames_cap = path, write, frames_cap
        self._pending: list[tuple[float, ...]] = []
        self._shown: ProbeItems | None = None
        self._flushed = time.monotonic()
        try:
            if write:
                self._db = sqlite3.connect(path, isolation_level=None)
                self._db.execute("pragma journal_mode = wal")
                self._db.execute("pragma synchronous = normal")
                self._db.executescript(_TABLES)
                self._db.execute(f"pragma user_version = {VERSION}")
            else:
                if not path.is_file():
                    raise RecordError(f"{path} is missing, so this run has no curves")
                self._db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
                self._db.execute("select count(*) from sqlite_master").fetchone()
        except sqlite3.Error as error:
            if hasattr(self, "_db"):
                self._db.close()
            raise RecordError(f"{path} cannot be opened as a record: {error}") from None

    def close(self) -> None:
        """Write what waits and fold the journal into the one file."""
        try:
            if self.writable:
                self.flush()
                with suppress(sqlite3.OperationalError):  # somebody reads now: the journal stays, and is valid
                    self._db.execute("pragma wal_checkpoint(truncate)")
                    self._db.execute("pragma journal_mode = delete")
        finally:
            self._db.close()

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- writing

    def add_metrics(self, *row: float) -> None:
        """One row in the order of ``METRICS``."""
        self._pending.append(row)
        if time.monotonic() - self._flushed > self.FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write the waiting metrics now."""
        self._flushed = time.monotonic()
        if self._pending:
            with self._transaction() as db:
                marks = ", ".join("?" * len(METRICS))
                db.executemany(f"insert or replace into metrics values ({marks})", self._pending)
            self._pending.clear()

    def add_probe(self, row: ProbeRow, items: ProbeItems | None = None, sight: ProbeSight | None = None) -> None:
        """Keep a probe, and what its network saw; above a cap every second sight goes, never the first or the last."""
        blobs = [np.asarray(a, dtype="<f8").tobytes() for a in row[3:6]]
        with self._transaction() as db:
            db.execute(
                "insert or replace into probes values (?, ?, ?, ?, ?, ?)",
                (row.step, row.train, row.held_out, *blobs),
            )
            for name, floor in (("floor", row.floor_by_level), ("held_out_floor", row.held_out_floor_by_level)):
                if floor is not None:
                    _put(db, row.step, name, np.asarray(floor, dtype="<f8"))
            if items is not None and sight is not None:
                if items is not self._shown:  # the same all along a run
                    for name, array in items._asdict().items():
                        _put(db, _ALL_STEPS, name, array)
                _put(db, sight.step, "seen_eps", sight.eps)
                _put(db, sight.step, "seen_x0", sight.x0)
                steps = [row[0] for row in db.execute(_SIGHT_STEPS)]
                if len(steps) * sight.nbytes > SIGHTS_CAP:
                    gone = [(step,) for step in steps[1:-1:2]]
                    db.executemany("delete from probe_arrays where step = ? and name like 'seen%'", gone)
        if sight is not None:
            self._shown = items

    def add_event(self, step: int, kind: str, about: dict[str, Any]) -> None:
        self.flush()
        with self._transaction() as db:
            db.execute(
                "insert into events (step, time, kind, about) values (?, ?, ?, ?)",
                (step, time.time(), kind, json.dumps(about)),
            )

    def add_tape(self, tape: Tape, purpose: str) -> None:
        """Keep a tape. Previews are the rows of a reel: one replaces that of its step, and its rules hold them short.

        See ``diffusion.reel``: above ``frames_cap`` bytes rows go, never the first or the last of a kind. Of samples
        and comparisons, which nothing shows again but the last ones, the oldest go above half of that.
        """
        if purpose == "preview":
            tape = narrowed(tape, self.frames_cap)
        about = tape.about()
        with self._transaction() as db:
            if purpose == "preview":
                found = db.execute(f"{_PREVIEWS} and step = ?", (tape.training_step or 0,)).fetchall()
                _delete(db, [i for i, *own in found if _kind(*own) == kind_of_row(about, tape.count)])
            cursor = db.execute(
                "insert into tapes (step, purpose, bytes, about) values (?, ?, ?, ?)",
                (tape.training_step or 0, purpose, tape.nbytes, json.dumps(about)),
            )
            for name, array in tape.arrays().items():
                db.execute(
                    "insert into arrays values (?, ?, ?, ?, ?)",
                    (cursor.lastrowid, name, array.dtype.str, json.dumps(array.shape), array.tobytes()),
                )
            held = "select coalesce(sum(bytes), 0) from tapes where purpose = 'preview'"
            while db.execute(held).fetchone()[0] > self.frames_cap:
                rows = db.execute(f"{_PREVIEWS} order by step, id").fetchall()
                drop = to_drop([_kind(*own) for _, *own in rows])
                if not drop:
                    break
                _delete(db, [rows[place][0] for place in drop])
            if purpose != "preview":
                _delete(db, _outlived(db, self.frames_cap / 2))

    def forget_after(self, step: int) -> None:
        """Drop what lies behind ``step``: the run goes on from there (a resumed or rolled-back state)."""
        self._pending = [row for row in self._pending if row[0] <= step]
        self.flush()
        with self._transaction() as db:
            db.execute("delete from metrics where step > ?", (step,))
            db.execute("delete from probes where step > ?", (step,))
            db.execute("delete from probe_arrays where step > ?", (step,))
            # A comparison stays: it tells what was, and its tapes have the steps of other runs, too.
            gone = db.execute("select id from tapes where step > ? and purpose != 'compare'", (step,)).fetchall()
            _delete(db, [i for (i,) in gone])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")
        except sqlite3.Error as error:
            raise RecordError(
                f"{self.path} cannot be written: {error}; free some disk space or choose another folder"
            ) from None

    # -- reading

    def metrics(self) -> NDArray[np.float64]:
        """float64 (rows, len(METRICS)), by step."""
        parts = [np.empty((0, len(METRICS)))]
        with self._reading():
            rows = self._db.execute(f"select {', '.join(METRICS)} from metrics order by step")
            while part := rows.fetchmany(PART):
                parts.append(np.array(part, np.float64))
        return np.concatenate(parts)

    def last_metrics(self) -> dict[str, float]:
        """The newest row by name; empty before the first step."""
        rows = self._all(f"select {', '.join(METRICS)} from metrics order by step desc limit 1")
        return dict(zip(METRICS, rows[0], strict=True)) if rows else {}

    def probes(self) -> list[ProbeRow]:
        floors, held_out = self._probe_arrays("floor"), self._probe_arrays("held_out_floor")
        return [
            row._replace(floor_by_level=floors.get(int(row.step)), held_out_floor_by_level=held_out.get(int(row.step)))
            for row in self._all("select * from probes order by step", of=_probe)
        ]

    def sights(self) -> tuple[ProbeItems | None, list[ProbeSight]]:
        """What the probed networks were shown, and what they made of it, by step; none in an older record."""
        fixed = [array for name in ProbeItems._fields for array in self._probe_arrays(name).values()]
        eps, x0 = self._probe_arrays("seen_eps"), self._probe_arrays("seen_x0")
        if len(fixed) != len(ProbeItems._fields) or eps.keys() != x0.keys():
            return None, []
        return ProbeItems(*fixed), [ProbeSight(step, eps[step], x0[step]) for step in eps]

    def _probe_arrays(self, name: str) -> dict[int, NDArray[Any]]:
        """By step, in their order; damaged ones are left out."""
        if not self._all("select 1 from sqlite_master where name = 'probe_arrays'"):
            return {}
        rows = self._all("select step, dtype, shape, data from probe_arrays where name = ? order by step", name)
        arrays = {}
        for step, dtype, shape, data in rows:
            with suppress(ValueError, TypeError):
                arrays[int(step)] = _array(dtype, shape, data)
        return arrays

    def last_probe(self) -> ProbeRow | None:
        rows = self._all("select * from probes order by step desc limit 1", of=_probe)
        return rows[0] if rows else None

    def events(self) -> list[EventRow]:
        return self._all("select step, time, kind, about from events order by id", of=_event)

    def first_event(self) -> EventRow | None:
        """What a run began with; its time tells the run from all others, however its folder is called."""
        rows = self._all("select step, time, kind, about from events order by id limit 1", of=_event)
        return rows[0] if rows else None

    def last_event(self) -> EventRow | None:
        """What happened last; all events are of training, so its time is when the run was last trained."""
        rows = self._all("select step, time, kind, about from events order by id desc limit 1", of=_event)
        return rows[0] if rows else None

    def probe_curve(self) -> NDArray[np.float64]:
        """Step and probe loss, float64 (probes, 2)."""
        rows = self._all("select step, train from probes order by step", of=lambda *row: tuple(map(float, row)))
        return np.array(rows, np.float64).reshape(-1, 2)

    def tape_steps(self, purpose: str = "preview") -> list[tuple[int, int]]:
        """(id, training step) of the tapes, in the order of training."""
        return [
            (int(i), int(s))
            for i, s in self._all("select id, step from tapes where purpose = ? order by step, id", purpose)
        ]

    def tape_kinds(self) -> dict[int, tuple[Any, ...]]:
        """What previews are compared by (``kind_of_row``), by id; their frames are not read."""
        return {int(i): _kind(*own) for i, *own in self._all(_PREVIEWS)}

    def rows(self) -> Iterator[Tape]:
        """The previews, read one by one: the last and the first, then those between, coarse to fine.

        So that somebody who waits for them can soon look at all of a training. One that is dropped or damaged
        meanwhile is left out.
        """
        for place in coarse_to_fine(len(steps := self.tape_steps())):
            with suppress(RecordError):
                yield self.tape(steps[place][0])

    def tape(self, tape_id: int) -> Tape:
        """One tape, whole.

        Raises:
            RecordError: if there is none with that id, or it is damaged.
        """
        rows = self._all("select about from tapes where id = ?", tape_id)
        if not rows:
            raise RecordError(f"{self.path} holds no tape number {tape_id}")
        found = self._all("select name, dtype, shape, data from arrays where tape = ?", tape_id)
        try:
            arrays = {name: _array(dtype, shape, data) for name, dtype, shape, data in found}
            return Tape.from_arrays(json.loads(rows[0][0]), arrays)
        except (LookupError, ValueError, TypeError) as error:
            raise RecordError(f"{self.path}: tape number {tape_id} is damaged ({error})") from None

    def last_tape(self) -> Tape | None:
        """The newest preview or sample."""
        rows = self._all("select id from tapes where purpose != 'compare' order by step desc, id desc limit 1")
        return self.tape(rows[0][0]) if rows else None

    def last_comparison(self) -> list[Tape]:
        """The complete tapes of the newest comparison, row by row."""
        rows = self._all("select id, about from tapes where purpose = 'compare' order by id desc")
        named = [(i, _comparison(about)) for i, about in rows]
        tapes = [self.tape(i) for i, name in reversed(named) if name == named[0][1]]
        # Sampled checkpoint by checkpoint, so maybe column by column; along both axes what comes first was first.
        down, across = ([getattr(tape, side) for tape in tapes] for side in ("row", "column"))
        return sorted(tapes, key=lambda tape: (down.index(tape.row), across.index(tape.column)))

    def copy(self, path: Path, further: Callable[[int], None]) -> None:
        """Write all of it, as it is now, into a new file, while others may go on writing; ``further(bytes)`` each MB.

        What ``further`` raises ends it.
        """
        page, left = int(self._all("pragma page_size")[0][0]), 0

        def told(status: int, remaining: int, total: int) -> None:
            nonlocal left
            further(page * ((left or total) - remaining))
            left = remaining

        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as target:
                self._db.execute("begin")
                self._all("select count(*) from sqlite_master")  # from here on it reads one state
                try:
                    self._db.backup(target, pages=max(PIECE // page, 1), progress=told)
                finally:
                    self._db.execute("rollback")
                target.execute("pragma journal_mode = delete")
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be copied: {error}") from None

    def frame_bytes(self) -> int:
        """Bytes of frames on disk."""
        return int(self._all("select coalesce(sum(bytes), 0) from tapes")[0][0])

    def _all(self, query: str, *values: Any, of: Callable[..., Any] = lambda *row: row) -> list[Any]:
        """What ``of`` makes of each row that is found."""
        with self._reading():
            return [of(*row) for row in self._db.execute(query, values)]

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Within: whatever a damaged file leads to is told as RecordError."""
        try:
            yield
        except sqlite3.Error as error:
            raise RecordError(f"{self.path} cannot be read: {error}") from None
        except (LookupError, TypeError, ValueError) as error:
            raise RecordError(f"{self.path} is damaged: {error}") from None


def computed_with(events: Iterable[EventRow]) -> tuple[str, str]:
    """The plan of the last start, or what has become of it since, and why; both "" where nothing was computed."""
    plan = why = ""
    for event in events:
        if event.kind == "started":
            plan, why = str(event.about.get("plan", "")), str(event.about.get("why", ""))
        elif event.kind == "computing" and event.about.get("plan"):
            plan, why = str(event.about["plan"]), "; ".join(filter(None, [why, str(event.about.get("what", ""))]))
    return plan, why


def _event(step: int, when: float, kind: str, about: str) -> EventRow:
    return EventRow(step, when, kind, dict(json.loads(about)))


def _probe(step: int, train: float, held_out: float, *blobs: bytes) -> ProbeRow:
    levels, by_level, held_out_by_level = (np.frombuffer(blob, "<f8") for blob in blobs)
    return ProbeRow(step, train, held_out, levels, by_level, held_out_by_level)


def _array(dtype: str, shape: str, data: bytes) -> NDArray[Any]:
    """What ``arrays`` and ``probe_arrays`` keep of one; ValueError or TypeError if it is damaged."""
    return np.frombuffer(data, dtype).reshape(json.loads(shape))


def _outlived(db: sqlite3.Connection, cap: float) -> list[int]:
    """The samples and comparisons that may go, by id: the oldest, so that the others fit under ``cap`` bytes.

    The last sample and the last comparison, with all its tapes, stay whatever their size.
    """
    rows = db.execute("select id, step, purpose, bytes, about from tapes where purpose != 'preview' order by id desc")
    sets: dict[tuple[str, Hashable], list[tuple[int, int, int]]] = {}  # a comparison's tapes come and go together
    for i, step, purpose, nbytes, about in rows.fetchall():
        name = _comparison(about) if purpose == "compare" else i
        sets.setdefault((purpose, name), []).append((step, i, nbytes))
    samples, comparisons = ([key for key in sets if key[0] == purpose] for purpose in ("sample", "compare"))
    stay = comparisons[:1] + sorted(samples, key=lambda key: sets[key][0])[-1:]  # of the samples the longest trained
    held, gone = 0, []
    for key in [*stay, *(key for key in sets if key not in stay)]:
        held += sum(nbytes for _, _, nbytes in sets[key])
        if held > cap and key not in stay:
            gone += [i for _, i, _ in sets[key]]
    return gone


def _comparison(about: str) -> Hashable:
    """The name of the comparison that a tape belongs to; None for a damaged one."""
    try:
        name: Hashable = json.loads(about).get("comparison")
    except (ValueError, AttributeError):
        return None
    return name


def _kind(about: str, shape: str) -> tuple[Any, ...]:
    """What the row of a tape is compared by; a damaged one is of a kind of its own."""
    try:
        return kind_of_row(json.loads(about), json.loads(shape)[1])
    except (LookupError, ValueError, TypeError, AttributeError):
        return about, shape


def _delete(db: sqlite3.Connection, tapes: list[int]) -> None:
    """Drop these tapes, by id, with their arrays."""
    db.executemany("delete from arrays where tape = ?", [(i,) for i in tapes])
    db.executemany("delete from tapes where id = ?", [(i,) for i in tapes])
