"""A tape: what one reverse process showed, kept as plain arrays so that it plays without torch.

Pictures are uint8 (N, H, W, C) as they are shown; points are float32 (N, 2). A tape grows while it is
recorded: ``frames`` is only ever appended to, so another thread may read ``tape.frames[:n]``.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

Items = NDArray[Any]
FRAMES = 120  # of a tape at most, unless somebody wants every state


class ScoreField(NamedTuple):
    """The score that a network sees in the plane, at the level of (alpha, sigma).

    score: float32 (S, S, 2), on a lattice over -reach … reach whose rows go along y and columns along x, both upwards;
    its points lie in the centres of S x S equal squares.
    """

    score: Items
    alpha: float
    sigma: float
    reach: float

    @property
    def spots(self) -> NDArray[np.float64]:
        """The points of the lattice, float64 (S * S, 2), in the order of ``score``."""
        return lattice(len(self.score), self.reach)


def lattice(side: int, reach: float) -> NDArray[np.float64]:
    """The centres of ``side`` x ``side`` equal squares over -reach … reach, row by row upwards; float64 (side², 2)."""
    along = reach * ((2 * np.arange(side) + 1) / side - 1)
    x, y = np.meshgrid(along, along)
    return np.stack([x.ravel(), y.ravel()], axis=1)


@dataclass(frozen=True)
class Frame:
    """One state: x at level t, and the estimates x0 and eps that led there (None for the start x_T).

    ``field``: the score in the plane, at the level where the estimates were made; None for pictures. ``eps_rms``:
    float32 (N,), the root mean square of each estimate eps, whose pictures are clipped; None for points.
    """

    index: int
    t: int
    x: Items
    x0: Items | None = None
    eps: Items | None = None
    field: ScoreField | None = None
    eps_rms: Items | None = None

    def view(self, show: str) -> Items:
        """``show``: "x", "x0" or "eps"; the start has no estimates and shows x for each."""
        shown: Items | None = {"x": self.x, "x0": self.x0, "eps": self.eps}[show]
        return self.x if shown is None else shown

    @property
    def nbytes(self) -> int:
        score = self.field.score if self.field else None
        return sum(a.nbytes for a in (self.x, self.x0, self.eps, score, self.eps_rms) if a is not None)


@dataclass
class Tape:
    """The frames of one reverse process, and where it comes from.

    Attributes:
        kind: "pictures" or "points".
        steps: T of the schedule.
        total: frames that a complete tape holds, so that a timeline can show how far it is.
        training_step: of the weights; None if unknown.
        weights: "ema" or "raw".
        averaged: whether an EMA was kept when it was drawn; without one "ema" are the raw weights. None: unknown.
        calls: of the network so far. seconds: of computing so far.
        schedule, settings: the noise schedule's and the sampler's, by name. grid: the level of every state of the
            process. All empty on a tape that was recorded before they were kept.
        label: what a cell of a comparison is called; ``comparison`` is the same for all of its cells.
        row, column: the labels of its place in the grid, row_key, column_key: what they are values of (a key of
            ``recipes.axes.NAMES``); "" without that axis.
    """

    kind: Literal["pictures", "points"]
    steps: int
    total: int
    title: str = ""
    training_step: int | None = None
    weights: Literal["ema", "raw"] = "ema"
    sampler: str = ""
    seed: int = 0
    frames: list[Frame] = field(default_factory=list)
    label: str = ""
    comparison: str = ""
    row: str = ""
    column: str = ""
    row_key: str = ""
    column_key: str = ""
    schedule: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    grid: list[int] = field(default_factory=list)
    calls: int = 0
    seconds: float = 0.0
    averaged: bool | None = None

    @property
    def complete(self) -> bool:
        return len(self.frames) >= max(self.total, 1)

    @property
    def count(self) -> int:
        """Pictures or points in each frame; 0 before the first."""
        return len(self.frames[0].x) if self.frames else 0

    @property
    def nbytes(self) -> int:
        return sum(frame.nbytes for frame in self.frames)

    def about(self) -> dict[str, Any]:
        """Everything but the frames, by name, as JSON can hold it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "frames"}

    # -- files: an .npz without pickles

    def save(self, path: Path) -> None:
        """Write a compressed .npz; the start's missing estimates are left out."""
        with path.open("wb") as file:  # given a name, numpy would append .npz to it
            arrays: dict[str, Any] = {"about": np.array(json.dumps(self.about())), **self.arrays()}
            np.savez_compressed(file, **arrays)

    def arrays(self) -> dict[str, Items]:
        """The frames as stacked arrays: index, t, x, and x0, eps and eps_rms of all frames that have them.

        Score fields, if there are any, as score, field_levels (n, 3: alpha, sigma, reach) and field_of, the positions
        of their frames.
        """
        later = [f for f in self.frames if f.x0 is not None and f.eps is not None]
        arrays = {
            "index": np.array([f.index for f in self.frames]),
            "t": np.array([f.t for f in self.frames]),
            "x": np.array([f.x for f in self.frames]),
        }
        if later:
            arrays["x0"] = np.stack([f.view("x0") for f in later])
            arrays["eps"] = np.stack([f.view("eps") for f in later])
            rms = [f.eps_rms for f in later if f.eps_rms is not None]
            if len(rms) == len(later):
                arrays["eps_rms"] = np.stack(rms)
        fields = {i: f.field for i, f in enumerate(self.frames) if f.field is not None}
        if fields:
            arrays["score"] = np.stack([each.score for each in fields.values()])
            arrays["field_levels"] = np.array([each[1:] for each in fields.values()])
            arrays["field_of"] = np.array(list(fields))
        return arrays

    @classmethod
    def from_arrays(cls, about: dict[str, Any], arrays: dict[str, Items]) -> Tape:
        """The inverse of ``arrays``."""
        index, levels, x = arrays["index"], arrays["t"], arrays["x"]
        x0, eps = arrays.get("x0", x[:0]), arrays.get("eps", x[:0])
        lead = len(x) - len(x0)  # frames without estimates come first
        alike = x.shape[1:] == x0.shape[1:] == eps.shape[1:]
        if not (len(index) == len(levels) == len(x) and len(x0) == len(eps) <= len(x) and alike):
            raise ValueError("its arrays do not belong together")
        rms = arrays.get("eps_rms")
        if rms is not None and rms.shape != x0.shape[:2]:
            raise ValueError("its eps_rms do not belong to its frames")
        fields = _fields(arrays, len(x))
        frames = [
            Frame(
                int(index[i]),
                int(levels[i]),
                x[i],
                x0[i - lead] if i >= lead else None,
                eps[i - lead] if i >= lead else None,
                fields.get(i),
                rms[i - lead] if rms is not None and i >= lead else None,
            )
            for i in range(len(x))
        ]
        return cls(**about, frames=frames)

    @classmethod
    def load(cls, path: Path) -> Tape:
        """Read a tape written by ``save``.

        Raises:
            ValueError: with one sentence, if the file is not a tape.
        """
        try:
            # numpy leaves a file open that it cannot read, if it opened it
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return cls.from_arrays(json.loads(str(arrays.pop("about"))), arrays)
        except (OSError, EOFError, BadZipFile, zlib.error, LookupError, ValueError, TypeError) as error:
            why = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} is not a recorded tape: {why}") from error


def _fields(arrays: dict[str, Items], frames: int) -> dict[int, ScoreField]:
    """The score fields by the position of their frame; none in a tape recorded before there were any."""
    if "score" not in arrays:
        return {}
    score, levels, of = arrays["score"], arrays["field_levels"], arrays["field_of"]
    square = score.ndim == 4 and score.shape[1] == score.shape[2] and score.shape[3] == 2
    if not (square and levels.shape == (len(score), 3) and of.shape == (len(score),) and (of < frames).all()):
        raise ValueError("its score fields do not belong to its frames")
    return {int(i): ScoreField(s, *map(float, level)) for i, s, level in zip(of, score, levels, strict=True)}


def kept_indices(total: int, most: int = FRAMES) -> Sequence[int]:
    """Which of the states 0 … total a tape keeps: evenly spread, the first and the last always."""
    if total + 1 <= most:
        return range(total + 1)
    return sorted({round(i * total / (most - 1)) for i in range(most)})
