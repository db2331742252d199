"""Recipes as TOML: the built-in ones, and reading and writing a user's own."""

from __future__ import annotations

import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from ddpm_studio.recipes.recipe import Recipe, RecipeError
from ddpm_studio.recipes.settings import NONE

_FOLDER = Path(__file__).resolve().parent / "builtin"


@lru_cache(maxsize=1)
def built_in() -> dict[str, Recipe]:
    """The recipes that ship with the program, by name, in the order of the menu."""
    recipes = [read(path) for path in sorted(_FOLDER.glob("*.toml"))]
    return {recipe.name: recipe for recipe in recipes}


def find(source: str | Path) -> Recipe:
    """A recipe by built-in name or from a TOML file.

    Raises:
        RecipeError: if it is neither, or if the file holds no valid recipe.
    """
    if isinstance(source, str) and source in built_in():
        return built_in()[source]
    path = Path(source)
    if path.is_file():
        return read(path)
    raise RecipeError(
        {
            "": f"there is no built-in recipe and no file called {str(source)!r}; "
            f"the built-in ones are {', '.join(built_in())}"
        }
    )


def for_data(path: Path, kind: Literal["pictures", "points"] = "pictures") -> Recipe:
    """A recipe for the user's own data: small pictures of any kind (a folder, or IDX files), or a file of points."""
    named = {"name": path.stem, "title": path.stem, "about": str(path), "data.source": str(path.resolve())}
    if kind == "points":
        return built_in()["moons"].with_settings(named)
    return built_in()["pixel-faces"].with_settings({**named, "data.flip": False})


def read(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        RecipeError: if the file cannot be read, is not TOML, or is not a recipe.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Notepad may write a byte order mark
    except OSError as error:
        raise RecipeError({"": f"{path} cannot be read: {error.strerror}"}) from None
    except UnicodeDecodeError:
        raise RecipeError({"": f"{path} is not a text file in UTF-8, so it is no recipe"}) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError({"": f"{path.name} is not valid TOML: {error}"}) from None
    try:
        return Recipe.parse(values)
    except RecipeError as error:
        raise RecipeError(
            {f"{path.name}: {where}".rstrip(": "): text for where, text in error.problems.items()}
        ) from None


def dumps(recipe: Recipe) -> str:
    """A recipe as TOML, every setting written out, so that a later change of a default does not change it."""
    import tomlkit  # only needed to write

    document = tomlkit.document()
    tables = {}
    for name, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            kind_first = sorted(value, key=lambda key: key != "kind")
            tables[name] = {key: NONE if value[key] is None else value[key] for key in kind_first}
        else:
            document[name] = value
    document.update(tables)
    return tomlkit.dumps(document)


def coerce(text: str) -> Any:
    """What a person typed after ``--set key=`` as a value: TOML if it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
