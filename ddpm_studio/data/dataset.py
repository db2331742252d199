"""A data set in memory: pictures as uint8, points as float32. numpy only, so it can be shown before torch is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class DataError(ValueError):
    """Data that cannot be used: one sentence that says what is wrong, where, and what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Items to learn, and a few that are never trained on.

    Attributes:
        train: pictures uint8 (N, H, W, C) with C = 1 or 3; or points float32 (N, 2), zero mean, unit spread.
        held_out: the same, for the probe loss.
        labels, held_out_labels: int64 (N,), or None.
        classes: names of the labels.

    Raises:
        DataError: if arrays and labels do not fit together.
    """

    name: str
    kind: Literal["pictures", "points"]
    train: Array
    held_out: Array
    labels: Array | None = None
    held_out_labels: Array | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for which, values, labels in (
            ("train", self.train, self.labels),
            ("held-out", self.held_out, self.held_out_labels),
        ):
            if self.kind == "pictures":
                fits = values.dtype == np.uint8 and values.ndim == 4 and values.shape[3] in (1, 3)
                wanted = "uint8 (N, H, W, 1 or 3)"
            else:
                fits = values.dtype == np.float32 and values.ndim == 2
                wanted = "float32 (N, D)"
            if not fits:
                raise DataError(f"{self.name}: the {which} {self.kind} are {values.dtype} {values.shape}, not {wanted}")
            if len(values) < 1:
                raise DataError(f"{self.name} has no {which} items; at least one is needed")
            if labels is not None and labels.shape != (len(values),):
                raise DataError(f"{self.name} has {len(labels)} labels for {len(values)} {which} items")
            values.setflags(write=False)
        if self.train.shape[1:] != self.held_out.shape[1:]:
            raise DataError(f"{self.name}: train items are {self.train.shape[1:]}, held-out {self.held_out.shape[1:]}")

    def __len__(self) -> int:
        return len(self.train)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item as a network sees it: (C, H, W) or (D,)."""
        if self.kind == "points":
            return tuple(self.train.shape[1:])
        height, width, channels = self.train.shape[1:]
        return (channels, height, width)


def split(
    name: str,
    kind: Literal["pictures", "points"],
    items: Array,
    labels: Array | None = None,
    classes: tuple[str, ...] = (),
) -> Dataset:
    """Set min(500, 5 %) of the items aside, at least one, always the same ones.

    Raises:
        DataError: with fewer than two items.
    """
    if len(items) < 2:
        raise DataError(f"{name} has {len(items)} items; at least 2 are needed, one to learn and one to measure with")
    order = np.random.default_rng(0).permutation(len(items))
    aside = max(1, min(500, len(items) // 20))
    held_out, train = np.sort(order[:aside]), np.sort(order[aside:])
    if labels is None:
        return Dataset(name, kind, items[train], items[held_out])
    labels = labels.astype(np.int64)
    return Dataset(name, kind, items[train], items[held_out], labels[train], labels[held_out], classes)
