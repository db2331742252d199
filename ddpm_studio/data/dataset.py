"""What every source of data becomes: one value that holds the items to learn from and those held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Progress = Callable[[int, int], bool]
"""Called with (done, total) while a source is fetched (bytes) or read; returning False ends it with ``Cancelled``."""

HELD_OUT_SHARE = 0.05
HELD_OUT_MOST = 500


class DataError(ValueError):
    """One sentence for the user: what is wrong, where, what to do."""


class Cancelled(DataError):  # noqa: N818  (the user's wish, not a fault)
    """The progress callback asked to stop. A DataError, so that whoever only handles those is safe."""

    def __init__(self) -> None:
        super().__init__("Reading the data was cancelled.")


@dataclass(frozen=True)
class DataFacts:
    """What is known of a data set without its items: enough to make the network, to sample and to describe.

    ``shape`` is that of one item as a network sees it, (C, H, W) or (2,); ``count`` is of the items to learn from,
    ``low`` and ``high`` are the least and the greatest of their values (grey levels, or coordinates). What nobody
    has looked at is None.
    """

    name: str
    kind: Literal["pictures", "points"]
    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    count: int | None = None
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """In words, e.g. ``pixel-faces, 5,700 pictures to learn from, 32 × 32, colour``."""
        many = "" if self.count is None else f"{self.count:,} "
        words = [self.name, f"{many}{self.kind} to learn from"]
        if self.kind == "pictures":
            channels, height, width = self.shape
            words += [f"{width} × {height}", "grey" if channels == 1 else "colour"]
        return ", ".join(words + [f"{len(self.classes)} classes"] * bool(self.classes))

    @classmethod
    def parse(cls, values: dict[str, Any]) -> DataFacts:
        """From plain values, as ``plain`` gave them.

        Raises:
            ValueError, TypeError or LookupError: if they are not facts of any data.
        """
        facts = cls(**values | {"shape": tuple(values["shape"]), "classes": tuple(values.get("classes", ()))})
        if {"pictures": 3, "points": 1}[facts.kind] != len(facts.shape) or not all(
            isinstance(side, int) and side > 0 for side in facts.shape
        ):
            raise ValueError(f"{facts.kind} cannot have the shape {facts.shape}")
        return facts

    def plain(self) -> dict[str, Any]:
        """As numbers, texts and lists; what is not known is left out."""
        values = {"name": self.name, "kind": self.kind, "shape": list(self.shape), "classes": list(self.classes)}
        known = {"count": self.count, "low": self.low, "high": self.high}
        return values | {key: value for key, value in known.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items in memory, read-only. Nothing in ``held_out`` is ever trained on.

    Pictures are uint8 (N, H, W, C) with C 1 (grey) or 3 (RGB), values 0..255. Points are float32 (N, 2), standardised:
    the whole set has mean 0, and one scale for both axes makes the mean of their variances 1.
    Labels are int64 (N,), indices into ``classes`` where that is not empty.
    ``notes`` are sentences for the user about what the reader did, e.g. which files it left out.

    Raises DataError where an array has the wrong shape or type, or a part is empty.
    """

    name: str
    kind: Literal["pictures", "points"]
    train: Array
    held_out: Array
    labels: Array | None = None
    held_out_labels: Array | None = None
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in ("train", "held_out"):
            self._check_items(part, getattr(self, part))
        if self.train.shape[1:] != self.held_out.shape[1:]:
            raise DataError(
                f"The training items of {self.name} have shape {self.train.shape[1:]}, the held-out items "
                f"{self.held_out.shape[1:]}: both must be the same."
            )
        if self.held_out_labels is not None and self.labels is None:
            raise DataError(f"{self.name} has labels for the held-out items only: give both or neither.")
        self._check_labels(self.labels, self.train)
        self._check_labels(self.held_out_labels, self.held_out)
        for field in ("train", "held_out", "labels", "held_out_labels"):
            array = getattr(self, field)
            if array is not None:
                # A view, so that only this Dataset's hold on the memory is read-only, not the caller's.
                view = array.view()
                view.setflags(write=False)
                object.__setattr__(self, field, view)

    def _check_items(self, part: str, items: Array) -> None:
        if self.kind == "pictures":
            right = items.dtype == np.uint8 and items.ndim == 4 and items.shape[3] in (1, 3) and items.size > 0
            wanted = "uint8 (N, H, W, 1 or 3)"
        else:
            right = items.dtype == np.float32 and items.ndim == 2 and items.shape[1] == 2 and items.size > 0
            wanted = "float32 (N, 2)"
        if not right:
            raise DataError(
                f"The {part} part of {self.name} is {items.dtype} {items.shape}, but {self.kind} must be {wanted} "
                "with at least one item."
            )
        if self.kind == "points" and not np.isfinite(items).all():
            raise DataError(f"The {part} part of {self.name} holds values that are not finite numbers.")

    def _check_labels(self, labels: Array | None, items: Array) -> None:
        if labels is None:
            return
        if labels.dtype != np.int64 or labels.shape != (len(items),):
            raise DataError(
                f"The labels of {self.name} are {labels.dtype} {labels.shape}, but its {len(items)} items need "
                f"int64 ({len(items)},)."
            )
        if labels.min() < 0 or (self.classes and labels.max() >= len(self.classes)):
            raise DataError(
                f"The labels of {self.name} run from {labels.min()} to {labels.max()}, but must lie from 0 to "
                f"{len(self.classes) - 1 if self.classes else 'the number of classes less 1'}."
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item as a network sees it: (C, H, W) or (2,)."""
        if self.kind == "points":
            return (2,)
        _, height, width, channels = self.train.shape
        return (channels, height, width)

    @cached_property
    def facts(self) -> DataFacts:
        """What stays known of it when it has gone."""
        low, high = float(self.train.min()), float(self.train.max())
        return DataFacts(self.name, self.kind, self.shape, self.classes, len(self), low, high)

    def __len__(self) -> int:
        """How many items there are to learn from."""
        return len(self.train)


def split(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices (train, held out) of ``count`` items: always the same for the same count, each part in order.

    Holds out 5 %, at most 500, at least 1. Raises DataError below 2 items.
    """
    if count < 2:
        raise DataError(f"There is only {count} item: at least 2 are needed, one to learn from and one to hold out.")
    held = max(1, min(HELD_OUT_MOST, int(count * HELD_OUT_SHARE)))
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def split_pictures(
    name: str,
    images: Array,
    labels: Array | None = None,
    classes: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Dataset:
    """A Dataset of uint8 (N, H, W, C) pictures, N at least 2, some of them held out by ``split``."""
    train, held_out = split(len(images))
    return Dataset(
        name=name,
        kind="pictures",
        train=images[train],
        held_out=images[held_out],
        labels=None if labels is None else labels[train],
        held_out_labels=None if labels is None else labels[held_out],
        classes=classes,
        notes=notes,
    )
