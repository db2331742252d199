"""The axes of a labelled grid: what its rows and columns stand for, and what each cell is sampled with. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddpm_studio.recipes.comparing import sampler_label
from ddpm_studio.recipes.recipe import Recipe, RecipeError, kinds_of

MOST_CELLS = 24  # of a grid; and values of an axis
# As the form calls them.
NAMES = {
    "sampler": "Sampler",
    "steps": "Sampling steps",
    "eta": "η",
    "seed": "Seed",
    "checkpoint": "Training step",
    "weights": "Weights",
    "run": "Run",
}
WEIGHTS = {"ema": "EMA", "raw": "Raw"}


@dataclass(frozen=True)
class Axis:
    """Different values of one key of ``NAMES``.

    A sampler is a kind, or a sampler section with its knobs; a run is its folder; a checkpoint as ``Cell`` has it.
    ``names``: what the values are called, if they have names of their own.
    """

    key: str
    values: tuple[Any, ...]
    names: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """Each value as it stands on the picture; no two are the same."""
        short = list(self.names) or [_text(self.key, value) for value in self.values]
        often = Counter(short)
        return [
            text if often[text] == 1 else _longer(self.key, value, text)
            for text, value in zip(short, self.values, strict=True)
        ]


@dataclass(frozen=True)
class Cell:
    """One cell: a sampler section, the seed of its noise, and the weights that it is sampled with.

    ``weights``: "ema" or "raw". ``checkpoint``: the training step of them; None: the last there is, or those of this
    moment while the run is trained. ``label``: what its row and its column say, unlike any other cell's. ``row``,
    ``column``: the labels of its place, ``row_key``, ``column_key``: what they are values of; "" without that axis.
    ``run``: the folder of the run; None: the one in hand.
    """

    settings: Any
    seed: int
    weights: str = "ema"
    checkpoint: int | None = None
    label: str = ""
    row: str = ""
    column: str = ""
    run: Path | None = None
    row_key: str = ""
    column_key: str = ""


def name_of(key: str) -> str:
    """What stands before a value of ``key`` in a label; "" before what is a name itself."""
    return "" if key in ("sampler", "run") else NAMES.get(key, "")


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
    if len(values) > MOST_CELLS:
        raise _wrong(f"{key} has {len(values)} values: a row or column holds at most {MOST_CELLS}")
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
    if key == "run":
        return Path(word)
    known = {"sampler": list(kinds_of("sampler")), "weights": list(WEIGHTS)}.get(key)
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
            return sampler_label(_kind(value))
        case "weights":
            return WEIGHTS[value]
        case "checkpoint":
            return "now" if value is None else f"{value:,}"
        case "eta":
            return repr(value).removesuffix(".0")
        case "run":
            return str(value.name or value)
        case _:
            return str(value)


def _longer(key: str, value: Any, text: str) -> str:
    """The label of a value that shares its short one with another."""
    if key == "run":
        return str(value)
    if key == "sampler" and not isinstance(value, str):
        knobs = {name: knob for name, knob in value.model_dump().items() if name != "kind"}
        return f"{text} ({', '.join(f'{name} {knob}' for name, knob in knobs.items())})"
    return text


def _kind(sampler: Any) -> str:
    return sampler if isinstance(sampler, str) else str(sampler.kind)


def cells(
    recipe: Recipe,
    rows: Axis | None,
    columns: Axis | None,
    *,
    seed: int,
    weights: str = "ema",
    checkpoint: int | None = None,
    recipes: Mapping[Path, Recipe] | None = None,
) -> list[list[Cell]]:
    """The cells, row by row; without an axis there is one row or one column.

    What no axis says is ``seed``, ``weights``, ``checkpoint``, and the sampler of ``recipe``; on an axis of runs,
    that of each run's own recipe, which is in ``recipes`` by its folder.

    Raises:
        RecipeError: if the axes are of one key, or values do not fit each other or the recipe.
    """
    if rows and columns and rows.key == columns.key:
        raise _wrong(f"{rows.key} stands for the rows and for the columns: choose another for one of them")
    default = Cell(recipe.sampler, seed, weights, checkpoint)
    return [
        [_cell(recipe, recipes or {}, default, down, across) for across in _places(columns)] for down in _places(rows)
    ]


_Place = tuple[str, Any, str]  # the key of an axis, a value there, and its label


def _places(axis: Axis | None) -> list[_Place | None]:
    return [(axis.key, *each) for each in zip(axis.values, axis.labels, strict=True)] if axis else [None]


def _cell(
    recipe: Recipe, recipes: Mapping[Path, Recipe], default: Cell, down: _Place | None, across: _Place | None
) -> Cell:
    chosen = [place for place in (down, across) if place]
    values = {key: value for key, value, _ in chosen}
    own = recipes[values["run"]] if "run" in values else recipe
    return Cell(
        _sampler(own, values),
        values.get("seed", default.seed),
        values.get("weights", default.weights),
        values.get("checkpoint", default.checkpoint),
        ", ".join(f"{name_of(key)} {text}".strip() for key, _, text in chosen),
        down[2] if down else "",
        across[2] if across else "",
        values.get("run"),
        down[0] if down else "",
        across[0] if across else "",
    )


def _sampler(recipe: Recipe, values: Mapping[str, Any]) -> Any:
    """The sampler section of a cell, from what its axes say of it and what the recipe does."""
    wanted = values.get("sampler", recipe.sampler.kind)
    if "eta" in values and _kind(wanted) != "ddim":
        raise _wrong(f"eta belongs to DDIM, and {sampler_label(_kind(wanted))} has none: choose the sampler ddim")
    changes: dict[str, Any] = {"sampler.kind": wanted}
    if not isinstance(wanted, str):
        changes = {f"sampler.{name}": value for name, value in wanted.model_dump(mode="json").items()}
    changes |= {f"sampler.{key}": values[key] for key in ("steps", "eta") if key in values}
    try:
        return recipe.with_settings(changes).sampler
    except RecipeError as error:
        asked = ", ".join(f"{key}={_asked(values[key])}" for key in values if key in ("sampler", "steps", "eta", "run"))
        raise _wrong(f"{asked} does not fit: {error}") from None


def _asked(value: Any) -> str:
    return str(getattr(value, "kind", value))
