"""What the command line says of recipes, runs and measurements: plain values for ``--json``, and lines to read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ddpm_studio.data import DataError, DataFacts, known_facts
from ddpm_studio.recipes import Recipe, built_in
from ddpm_studio.recipes.editions import badge, difference_texts, label_of, printed_differences
from ddpm_studio.recipes.settings import NONE
from ddpm_studio.store import Run

if TYPE_CHECKING:
    from ddpm_studio.bench.report import Report  # which brings torch


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """All settings, and under "differs" those that a tutorial prints otherwise: {"training.batch": [64, 128]}."""
    return recipe.model_dump(mode="json") | {"differs": printed_differences(recipe)}


def recipe_lines() -> Iterator[str]:
    """The built-in recipes, a line each."""
    width = max(map(len, built_in()))
    for name, recipe in built_in().items():
        origin = f"Tutorial {recipe.tutorial}, {badge(recipe)}. " if recipe.tutorial else ""
        yield f"{name:<{width}}  {origin}{recipe.about}"


def recipe_facts(recipe: Recipe, data: DataFacts | None = None) -> dict[str, Any]:
    """A recipe, and how many parameters its network has; None where nobody knows the shape of its ``data``."""
    facts = {"recipe": recipe_values(recipe), "parameters": _parameters(recipe, data)}
    return facts | {"computes": _plan(recipe, data)}


def run_facts(run: Run) -> dict[str, Any]:
    """The recipe of a run as it is now, and how far it is."""
    recipe = run.current_recipe()
    with run.record() as record:
        last, probe = record.last_metrics(), record.last_probe()
    data, disk = run.data(), run.disk()
    return recipe_facts(recipe, data) | {
        "data": None if data is None else data.plain(),
        "step": int(last.get("step", 0)),
        "images_seen": int(last.get("images_seen", 0)),
        "checkpoints": [c.step for c in run.checkpoints()],
        "loss": last.get("loss"),
        "probe_loss": probe.train if probe else None,
        "held_out_loss": probe.held_out if probe else None,
        "disk": disk._asdict(),
    }


def fact_lines(facts: dict[str, Any]) -> Iterator[str]:
    """``recipe_facts`` or ``run_facts``, to read."""
    values = {name: value for name, value in facts["recipe"].items() if name != "differs"}
    recipe = Recipe.parse(values)
    yield recipe.title
    if recipe.tutorial:
        yield f"  tutorial {recipe.tutorial}: {badge(recipe)}"
        if recipe.edition == "laptop":
            texts = difference_texts(recipe, printed_differences(recipe))
            yield "  differs from the printed edition: " + ", ".join(texts.values())
    for name, value in facts.items():
        if name != "recipe":
            yield f"  {name.replace('_', ' ')}: {_shown(name, value)}"
    yield from _setting_lines(recipe)


def _shown(name: str, value: Any) -> str:
    if name == "data" and value is not None:
        return DataFacts.parse(value).text
    if name == "disk":
        mega = {part: f"{of / 1e6:.1f} MB" for part, of in value.items()}
        frames = f"{mega['frames']} of frames, previews at most {mega['frames_cap']}"
        return f"{mega['total']}: record {mega['record']} ({frames}), checkpoints {mega['checkpoints']}"
    if name == "parameters" and value is None:
        return "not known without the data"
    if name == "computes" and value is None:
        return "not known yet: where there is a choice, the first start measures which way is faster here"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _setting_lines(recipe: Recipe) -> Iterator[str]:
    """Each setting as ``train --set`` takes it, and what it is; a tutorial's own value where it is another."""
    differs = printed_differences(recipe)
    for section, values in recipe.model_dump(mode="json").items():
        settings = values if isinstance(values, dict) else {"": values} if section == "seed" else {}
        for name, value in settings.items():
            path = f"{section}.{name}".rstrip(".")
            printed = f"; printed: {_as_set(differs[path][1])}" if path in differs else ""
            yield f"  {path:<26}{_as_set(value):<24}{label_of(recipe, path)}{printed}"


def _as_set(value: Any) -> str:
    """A value as it is typed after ``--set KEY=``."""
    if value is None:
        return NONE
    return value if isinstance(value, str) else json.dumps(value)


def _plan(recipe: Recipe, data: DataFacts | None) -> str | None:
    """What a training was found to compute best in on this computer, and why; None before its first start."""
    from ddpm_studio.training.compute import DeviceError, remembered_plan

    own = recipe.data
    known = data or known_facts(own.source, height=own.height, width=own.width)
    try:
        plan = None if known is None else remembered_plan(recipe, known.shape)
    except DeviceError as error:
        return str(error)
    return None if plan is None else f"{plan.describe()}; why: {plan.reason}"


def _parameters(recipe: Recipe, data: DataFacts | None) -> int | None:
    """None where the data, which say how many channels there are, are not here."""
    from ddpm_studio.engine import dataset_of
    from ddpm_studio.training.build import count_parameters

    try:
        own = recipe.data
        known = data or known_facts(own.source, height=own.height, width=own.width)
        return count_parameters(recipe, known or dataset_of(recipe))
    except DataError:
        return None


def print_report(report: Report) -> None:
    """The tables of a benchmark, with their notes, on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ddpm_studio.bench.tables import tables

    page = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    for table in tables(report):
        shown = Table(title=table.title, title_justify="left", show_header=bool(table.columns))
        for column in table.columns or ("",) * len(table.rows[0]):
            shown.add_column(column)
        for row in table.rows:
            shown.add_row(*(Text(cell) for cell in row))
        page.print(shown)
        for note in table.notes:
            page.print(note, markup=False)
        page.print()
