"""Which samplers a recipe can be sampled with side by side, and how each is set up for it. No torch and no Qt."""

from __future__ import annotations

from typing import Any, NamedTuple

from ddpm_studio.recipes.recipe import Recipe, kinds_of
from ddpm_studio.recipes.sections import Langevin
from ddpm_studio.recipes.settings import Field, fields_of

MOST = 6  # samplers side by side

TITLES = {
    "langevin-plain": "Plain Langevin",
    "langevin": "Annealed Langevin",
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Probability flow, Euler",
    "heun": "Probability flow, Heun",
    "dpmpp-2m": "DPM-Solver++",
}
_USUAL = {
    "points": ("langevin-plain", "langevin", "ddpm", "ddim", "heun"),
    "pictures": ("ddpm", "ddim", "heun", "dpmpp-2m"),
}


class SamplerChoice(NamedTuple):
    """One sampler that can be ticked: its section, what it is called, whether it is ticked at first, its main knob."""

    settings: Any
    label: str
    usual: bool
    knob: Field


def sampler_choices(recipe: Recipe, kind: str) -> list[SamplerChoice]:
    """Every sampler, set up for ``recipe`` on data of ``kind`` "points" or "pictures".

    The recipe's own sampler is as it is there; the others that go from noise to data take as many steps. A Langevin
    walk needs many more, small ones.
    """
    choices = []
    for name, title in TITLES.items():
        cls: Any = kinds_of("sampler")[name]
        settings = recipe.sampler if recipe.sampler.kind == name else cls(**_knobs(recipe, name))
        wanted = "moves" if name == "langevin" else "steps"
        knob = next(field for field in fields_of(cls) if field.name == wanted)
        choices.append(SamplerChoice(settings, title, name in _USUAL[kind], knob))
    return choices


def _knobs(recipe: Recipe, name: str) -> dict[str, Any]:
    T = recipe.schedule.steps
    if name == "langevin-plain":
        return {}
    if name == "langevin":
        return {"steps": min(20, T), "moves": 25, "spacing": "log-snr"}  # down to the weakest noise
    own = 50 if recipe.sampler.kind in ("langevin", "langevin-plain") else recipe.sampler.steps
    return {"steps": min(own, T)}


def set_knob(recipe: Recipe, choice: SamplerChoice, value: int) -> Any:
    """The sampler section of ``choice`` with its main knob at ``value``.

    Raises:
        RecipeError: if it does not fit the recipe's schedule.
    """
    values = recipe.model_dump(mode="json")
    values["sampler"] = choice.settings.model_dump(mode="json") | {choice.knob.name: value}
    return Recipe.parse(values).sampler


def network_calls(settings: Any) -> int:
    """How often a sampler section asks the network, at most."""
    each = settings.moves if isinstance(settings, Langevin) else 2 if settings.kind == "heun" else 1
    return int(settings.steps * each)
