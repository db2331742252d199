"""The axes of a labelled grid: what its rows and columns stand for, and what each cell is sampled with. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ddpm_studio.recipes.comparing import TITLES
from ddpm_studio.recipes.recipe import Recipe, RecipeError

MOST = 24  # values of an axis
# As the form calls them.
NAMES = {
    "sampler": "Sampler",
    "steps": "Sampling steps",
    "eta": "η",
    "seed": "Seed",
    "checkpoint": "Training step",
    "weights": "Weights",
}
WEIGHTS = {"ema": "EMA", "raw": "Raw"}


@dataclass(frozen=True)
class Axis:
    """Different values of one key of ``NAMES``."""

    key: str
    values: tuple[Any, ...]

    @property
    def labels(self) -> list[str]:
        """Each value as it stands on the picture; no two are the same."""
        return [_text(self.key, value) for value in self.values]


@dataclass(frozen=True)
class Cell:
    """One cell: a sampler section, the seed of its noise, "ema" or "raw" weights, and the training step of these.

    ``label``: what its row and its column say, unlike any other cell's.
    """

    settings: Any
    seed: int
    weights: str
    checkpoint: int
    label: str


def parse_axis(text: str, checkpoints: Sequence[int]) -> Axis:
    """``KEY=V1,V2,…`` as a person types it; values that stand there twice count once.

    ``checkpoints``: the training steps there are, oldest first. Of these "first", "middle", "last" and "all" can be
    asked for, too.

    Raises:
        RecipeError: if the key or a value is none that can be used.
    """
    key, equals, listed = text.partition("=")
    key = key.strip()
    if not equals:
        raise _wrong(f"{text} has no '='; write steps=5,10,50")
    if key not in NAMES:
        raise _wrong(f"{key} is none of {', '.join(NAMES)}")
    words = [word.strip() for word in listed.split(",") if word.strip()]
    if not words:
        raise _wrong(f"{key}= lists no values; write {key}=V1,V2,…")
    if key == "checkpoint":
        words = [str(step) for word in words for step in _steps(word, checkpoints)]
    values = tuple(dict.fromkeys(_value(key, word) for word in words))
    if len(values) > MOST:
        raise _wrong(f"{key} has {len(values)} values: a row or column holds at most {MOST}")
    return Axis(key, values)


def _wrong(text: str) -> RecipeError:
    return RecipeError({"": text})


def _steps(word: str, checkpoints: Sequence[int]) -> list[int]:
    there = list(checkpoints)
    named = {"first": there[:1], "middle": there[len(there) // 2 :][:1], "last": there[-1:], "all": there}
    named |= {str(step): [step] for step in there}
    if word not in named:
        raise _wrong(f"there is no checkpoint {word}; there are: {', '.join(map(str, there))} (or first, middle, all)")
    return named[word]


def _value(key: str, word: str) -> Any:
    known = {"sampler": TITLES, "weights": WEIGHTS}.get(key)
    if known is not None:
        if word not in known:
            raise _wrong(f"{key}={word} is none of {', '.join(known)}")
        return word
    try:
        value = float(word) if key == "eta" else int(word)
    except ValueError:
        raise _wrong(f"{key}={word} is not a {'number' if key == 'eta' else 'whole number'}") from None
    if key == "seed" and not 0 <= value < 2**31:
        raise _wrong(f"seed={word} is not from 0 to {2**31 - 1}")
    return value


def _text(key: str, value: Any) -> str:
    match key:
        case "sampler":
            return TITLES[value]
        case "weights":
            return WEIGHTS[value]
        case "checkpoint":
            return f"{value:,}"
        case "eta":
            return repr(value).removesuffix(".0")
        case _:
            return str(value)


def cells(recipe: Recipe, rows: Axis | None, columns: Axis | None, *, seed: int, checkpoint: int) -> list[list[Cell]]:
    """The cells, row by row; without an axis there is one row or one column.

    What no axis says is the recipe's sampler, the EMA weights, and ``seed`` and ``checkpoint``.

    Raises:
        RecipeError: if the axes are of one key, or values do not fit each other or the recipe.
    """
    if rows and columns and rows.key == columns.key:
        raise _wrong(f"{rows.key} stands for the rows and for the columns: choose another for one of them")
    return [
        [
            _cell(recipe, [*down, *across], seed, checkpoint)
            for across in ([(columns.key, value)] for value in columns.values)
        ]
        if columns
        else [_cell(recipe, down, seed, checkpoint)]
        for down in ([[(rows.key, value)] for value in rows.values] if rows else [[]])
    ]


def _cell(recipe: Recipe, chosen: list[tuple[str, Any]], seed: int, checkpoint: int) -> Cell:
    values = dict(chosen)
    asked = ", ".join(f"{key}={value}" for key, value in chosen)
    names = {"sampler": "sampler.kind", "steps": "sampler.steps", "eta": "sampler.eta"}
    kind = values.get("sampler", recipe.sampler.kind)
    if "eta" in values and kind != "ddim":
        raise _wrong(f"eta belongs to DDIM, and {TITLES[kind]} has none: choose the sampler ddim")
    try:
        settings = recipe.with_settings({names[key]: value for key, value in chosen if key in names}).sampler
    except RecipeError as error:
        raise _wrong(f"{asked} does not fit: {error}") from None
    label = ", ".join(f"{NAMES[key]} {_text(key, value)}" for key, value in chosen)
    return Cell(
        settings, values.get("seed", seed), values.get("weights", "ema"), values.get("checkpoint", checkpoint), label
    )


def shared(cell: Cell, axes: Sequence[Axis | None]) -> list[str]:
    """What all cells have in common, for a line below the grid: what is on no axis."""
    on = {axis.key for axis in axes if axis}
    texts = {
        "checkpoint": f"step {cell.checkpoint:,}",
        "sampler": TITLES[cell.settings.kind],
        "steps": f"{cell.settings.steps} steps",
        "eta": f"η = {_text('eta', cell.settings.eta)}" if cell.settings.kind == "ddim" else "",
        "seed": f"seed {cell.seed}",
        "weights": f"{WEIGHTS[cell.weights]} weights",
    }
    # A sampler on an axis has settings of its own.
    hidden = on | ({"eta"} if "sampler" in on else set())
    return [text for key, text in texts.items() if text and key not in hidden]
