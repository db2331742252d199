"""What the five tutorials print: their equations, symbols, misprints and traps, and where each setting comes from.

One TOML file for each document, and ``core.toml`` for what holds without any. The words are ours; equations
stand in plain text as ``painting.draw_math`` writes them, ``<name>`` in a live line is one of the ``Numbers``.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ddpm_studio.recipes.editions import edition_of
from ddpm_studio.recipes.recipe import Recipe

_FOLDER = Path(__file__).resolve().parent / "tutorials"
_CORE = "core"
_NAME = re.compile(r"<(\w+)>")
Origin = Literal["printed", "authors", "ours"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Symbol(_Part):
    """A symbol of an equation: what it means, and the settings, curves or controls that it belongs to.

    ``belongs`` holds settings ("schedule.beta_end") and "curve.signal", "curve.noise", "curve.beta",
    "curve.log_snr" and "player.t".
    """

    text: str
    meaning: str
    belongs: tuple[str, ...] = ()


class Equation(_Part):
    """One equation, corrected where the document errs.

    ``fields``: the settings whose card shows it; a section's name stands for all of its settings.
    ``when``: settings that must have these values for it to be what runs. ``printed``: what the document
    prints instead, if that is a misprint. ``remark``: what else a reader should know. ``live``: the equation
    with ``<names>`` of numbers.
    """

    title: str
    text: str
    fields: tuple[str, ...]
    number: str = ""
    when: dict[str, str | bool] = {}
    printed: str = ""
    remark: str = ""
    live: str = ""

    def live_names(self) -> set[str]:
        """The names of numbers that its live line needs."""
        return set(_NAME.findall(self.live))

    def belongs_to(self, path: str) -> bool:
        """Whether the card of a setting ("sampler.variance") shows it."""
        return any(path == field or path.startswith(f"{field}.") for field in self.fields)

    def holds_for(self, recipe: Recipe) -> bool:
        """Whether it is what this recipe runs."""
        return all(_value(recipe, path) == value for path, value in self.when.items())


class Trap(_Part):
    """Something in the document that misleads, and what the program does about it."""

    text: str
    here: str


class Tutorial(_Part):
    """One document. ``document`` is its number, "000" … "004", or "core" for none."""

    document: str
    title: str
    language: str = ""
    teaches: str = ""
    sources: tuple[str, ...] = ()
    counts: str = ""  # how it counts noise levels
    embedding: Literal["", "interleaved-own", "sinusoidal", "interleaved-pairs"] = ""
    embedding_width: int = 0  # where the recipe does not set it
    printed: tuple[str, ...] = ()  # settings that the document prints
    authors: tuple[str, ...] = ()  # settings from the author's code or paper
    symbols: tuple[Symbol, ...] = ()
    equations: tuple[Equation, ...]
    traps: tuple[Trap, ...] = ()

    def width_for(self, recipe: Recipe) -> int:
        """The length of the time embedding in a recipe's network."""
        network = recipe.network
        width: int = getattr(network, "time_width", 0) or self.embedding_width
        return network.base if network.kind == "ddpm-unet" else width


@lru_cache(maxsize=1)
def tutorials() -> dict[str, Tutorial]:
    """The five documents, by number."""
    return {path.stem: _read(path) for path in sorted(_FOLDER.glob("0*.toml"))}


@lru_cache(maxsize=1)
def core() -> Tutorial:
    """The equations and symbols that hold without any document."""
    return _read(_FOLDER / f"{_CORE}.toml")


def _read(path: Path) -> Tutorial:
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    return Tutorial.model_validate({"document": path.stem, **values})


def tutorial_of(recipe: Recipe) -> Tutorial | None:
    """The document that a recipe comes from, if any."""
    return tutorials().get(recipe.tutorial)


def equations_for(recipe: Recipe, path: str) -> list[tuple[Tutorial, Equation]]:
    """The equations of a setting, with where they stand: the tutorial's, or, if it has none, the core's."""
    for source in (tutorial_of(recipe), core()):
        if source is None:
            continue
        found = [(source, e) for e in source.equations if e.belongs_to(path) and e.holds_for(recipe)]
        if found:
            return found
    return []


def symbols_for(source: Tutorial) -> tuple[Symbol, ...]:
    """The symbols of a document; those of the core that it does not use otherwise come after its own."""
    own = {symbol.text for symbol in source.symbols}
    if source.document == _CORE:
        return source.symbols
    return (*source.symbols, *(symbol for symbol in core().symbols if symbol.text not in own))


def origin_of(recipe: Recipe, path: str) -> Origin | None:
    """Where the value of a setting comes from; None for a recipe of no tutorial.

    A value that is not that of the printed edition is ours.
    """
    tutorial, printed = tutorial_of(recipe), edition_of(recipe, "printed")
    if tutorial is None or printed is None:
        return None
    if _value(recipe, path) != _value(printed, path):
        return "ours"
    if path in tutorial.printed:
        return "printed"
    return "authors" if path in tutorial.authors else "ours"


def _value(recipe: Recipe, path: str) -> object:
    section, _, name = path.rpartition(".")
    return getattr(getattr(recipe, section) if section else recipe, name, None)
