"""What an experiment is: the schema of a recipe and the built-in recipes. No torch and no Qt."""

from ddpm_studio.recipes.library import built_in, coerce, dumps, find, for_data, read
from ddpm_studio.recipes.recipe import (
    KIND_TITLES,
    SECTION_TITLES,
    Recipe,
    RecipeError,
    kind_title,
    kinds_of,
    live_settings,
    section_class,
)
from ddpm_studio.recipes.settings import LEVELS, Field, Level, Section, Setting, fields_of

__all__ = [
    "KIND_TITLES",
    "LEVELS",
    "SECTION_TITLES",
    "Field",
    "Level",
    "Recipe",
    "RecipeError",
    "Section",
    "Setting",
    "built_in",
    "coerce",
    "dumps",
    "fields_of",
    "find",
    "for_data",
    "kind_title",
    "kinds_of",
    "live_settings",
    "read",
    "section_class",
]
