"""Checkpoints: the whole training state as safetensors beside a small TOML file. Nothing is ever unpickled."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddpm_studio.data import DataFacts
from ddpm_studio.files import text, written
from ddpm_studio.recipes import Recipe, dumps

if TYPE_CHECKING:
    from torch import Tensor

KEEP = 8  # checkpoints of one run
_NUMBERS = {"step": int, "images_seen": int, "rate_scale": float, "ema_updates": int, "precision": str}


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read; one sentence."""


@dataclass(frozen=True)
class Checkpoint:
    """A saved state on disk. It exists only if both of its files do."""

    tensors_file: Path

    @property
    def about_file(self) -> Path:
        return self.tensors_file.with_suffix(".toml")

    @property
    def step(self) -> int:
        return int(self.tensors_file.stem.rpartition("-")[2])

    def about(self) -> tuple[dict[str, Any], Recipe]:
        """The plain numbers of the state, and the recipe in force when it was saved.

        Raises:
            CheckpointError: if the file is damaged.
        """
        with self._described() as values:
            numbers = values["state"]
            for name, kind in _NUMBERS.items():
                if not isinstance(numbers[name], kind):
                    raise TypeError(f"{name} is {numbers[name]!r}")
            return numbers, Recipe.parse(values["recipe"])

    def data(self) -> DataFacts | None:
        """What was learnt from, as far as sampling and describing need it; None in an older checkpoint.

        Raises:
            CheckpointError: if the file is damaged.
        """
        with self._described() as values:
            return DataFacts.parse(values["data"]) if "data" in values else None

    @contextmanager
    def _described(self) -> Iterator[dict[str, Any]]:
        try:
            yield tomllib.loads(self.about_file.read_text(encoding="utf-8"))
        except (OSError, LookupError, TypeError, ValueError) as error:  # what is wrong with text, TOML and recipes too
            raise CheckpointError(
                f"{self.about_file} is damaged ({error}); delete it to go on from an earlier one"
            ) from None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all tensors, without torch: the file begins with 8 bytes of length and JSON.

        Raises:
            CheckpointError: if the file is damaged.
        """
        try:
            with self.tensors_file.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            return {name: tuple(about["shape"]) for name, about in header.items() if name != "__metadata__"}
        except (OSError, ValueError, KeyError, OverflowError, MemoryError) as error:
            raise CheckpointError(
                f"{self.tensors_file} is damaged ({error}); delete it to go on from an earlier one"
            ) from None

    def tensors(self) -> dict[str, Tensor]:
        """All tensors, on the CPU.

        Raises:
            CheckpointError: if the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(self.tensors_file)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.tensors_file} is damaged ({error}); delete it to go on from an earlier one"
            ) from None


def checkpoints_in(folder: Path) -> list[Checkpoint]:
    """The complete checkpoints of a run, oldest first."""
    found = [Checkpoint(path) for path in folder.glob("step-*.safetensors") if path.stem[5:].isdecimal()]
    return sorted((c for c in found if c.about_file.is_file()), key=lambda c: c.step)


def forget_checkpoints_after(folder: Path, step: int) -> None:
    """Remove those behind ``step``: the run has gone back there and comes by again, otherwise."""
    _remove(checkpoint for checkpoint in checkpoints_in(folder) if checkpoint.step > step)


def _remove(checkpoints: Iterable[Checkpoint]) -> None:
    for checkpoint in checkpoints:
        checkpoint.about_file.unlink(missing_ok=True)
        checkpoint.tensors_file.unlink(missing_ok=True)


def save_checkpoint(
    folder: Path,
    tensors: dict[str, Tensor],
    numbers: dict[str, Any],
    recipe: Recipe,
    data: DataFacts | None = None,
) -> Checkpoint:
    """Write a checkpoint; it comes into being with the rename of its second file. Then thin out old ones.

    With the facts of its ``data`` it can be sampled from when these have gone.

    Raises:
        CheckpointError: if the disk is full or the folder cannot be written; earlier checkpoints stay.
    """
    import tomlkit
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    step = int(numbers["step"])
    checkpoint = Checkpoint(folder / f"step-{step:06d}.safetensors")
    about = tomlkit.document()
    about["state"] = numbers
    if data is not None:
        about["data"] = data.plain()
    about["recipe"] = tomllib.loads(dumps(recipe))
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Both files are on the disk before either takes its place. In between, the pair lacks its description
        # and does not count, so new weights never stand beside an old one.
        with (
            written(checkpoint.about_file, text(tomlkit.dumps(about))),
            written(checkpoint.tensors_file, lambda part: save_file(whole, part)),
        ):
            checkpoint.about_file.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:  # safetensors wraps a full disk in an error of its own
        why = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{checkpoint.tensors_file} cannot be written: {why}; free some disk space") from None
    _remove(to_thin_out(checkpoints_in(folder), KEEP))
    return checkpoint


def to_thin_out(checkpoints: list[Checkpoint], keep: int) -> list[Checkpoint]:
    """Which of the checkpoints (oldest first) may go, so that ``keep`` remain: never the first or the last two.

    The one whose absence leaves the smallest gap, relative to its step, goes first: early ones stay dense.
    """
    kept, gone = list(checkpoints), []
    while len(kept) > max(keep, 3):
        inner = range(1, len(kept) - 2)
        least = min(inner, key=lambda i: (kept[i + 1].step - kept[i - 1].step) / max(kept[i].step, 1))
        gone.append(kept.pop(least))
    return gone
