"""What to learn, and how its items are given to the network and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field as Rule

from ddpm_studio.recipes.settings import Section, Setting


class Data(Section):
    source: Annotated[
        str,
        Setting(
            "Data",
            "What to learn: a built-in set, a folder of pictures, MNIST-style IDX files, or a file of points.",
            level="watch",
        ),
    ] = "fashion-mnist"
    height: Annotated[
        int | None,
        Rule(ge=8, le=256),
        Setting("Height", "Pictures of a folder are cut and resized to this.", unit="px"),
    ] = None
    width: Annotated[
        int | None,
        Rule(ge=8, le=256),
        Setting("Width", "Pictures of a folder are cut and resized to this.", unit="px"),
    ] = None
    value_range: Annotated[
        Literal["-1..1", "0..1"],
        Setting(
            "Value range",
            "How grey levels 0 … 255 are given to the network. The noise has standard deviation 1, so -1 … 1 suits it.",
            choices={"-1..1": "−1 … 1", "0..1": "0 … 1"},
        ),
    ] = "-1..1"
    count: Annotated[
        int | None,
        Rule(ge=100, le=2_000_000),
        Setting("Points", "How many points are drawn from a built-in point set; empty: 20,000.", step=1000),
    ] = None
    flip: Annotated[
        bool,
        Setting("Mirror", "Shows each picture left-right mirrored half of the time. Wrong for letters and digits."),
    ] = False
    epoch_end: Annotated[
        Literal["run-on", "short", "drop"],
        Setting(
            "End of an epoch",
            "The last items of an epoch may not fill a batch: it runs on into the next epoch, stays short, or is left "
            "out.",
            choices={"run-on": "run on", "short": "short batch", "drop": "leave out"},
        ),
    ] = "run-on"
    grey_levels: Annotated[
        Literal["round", "truncate"],
        Setting(
            "Grey levels",
            "How the values of a generated picture become 0 … 255: the nearest one, or the one below.",
            choices={"round": "nearest", "truncate": "cut off"},
        ),
    ] = "round"
    inverted: Annotated[
        bool,
        Setting("Show inverted", "Generated pictures are shown as negatives: dark strokes on white."),
    ] = False
