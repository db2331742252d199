"""How a setting describes itself: label, tooltip, unit, level of detail.

The form, the command line, the tooltips and the validation all read these descriptions, so a setting
is written down once. No torch and no Qt here: this is the ground floor.
"""

from __future__ import annotations

import math
import types
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

Level = Literal["watch", "tweak", "everything"]
NONE = "none"
LEVELS: tuple[Level, ...] = ("watch", "tweak", "everything")


@dataclass(frozen=True)
class Setting:
    """What a person is told about one setting.

    ``level`` is the first of the three levels of detail that shows it. ``live`` settings may change
    between two training steps; all others belong to a new run. ``equation`` is written in the papers'
    symbols, as plain text.
    """

    label: str
    tip: str
    level: Level = "everything"
    unit: str = ""
    equation: str = ""
    live: bool = False
    step: float | None = None  # of a spin box; None lets the form choose
    choices: dict[str, str] | None = None  # value -> what the form shows


class Section(BaseModel):
    """A frozen group of settings; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _none_is_empty(cls, values: Any) -> Any:
        """TOML has no null: an empty optional setting is written "none"."""
        if not isinstance(values, dict):
            return values
        optional = {name for name, info in cls.model_fields.items() if _without_none(info.annotation)[1]}
        return {key: None if value == NONE and key in optional else value for key, value in values.items()}


@dataclass(frozen=True)
class Field:
    """One setting of one section, as the form and the command line see it."""

    name: str
    setting: Setting
    kind: Literal["bool", "int", "float", "choice", "text", "ints"]
    optional: bool
    choices: tuple[str, ...]
    minimum: float | None  # inclusive
    maximum: float | None  # inclusive
    default: Any
    above: float | None = None  # an exclusive lower bound


@cache  # the form asks for all of them at every edit
def fields_of(section: type[BaseModel]) -> tuple[Field, ...]:
    """The settings of a section in the order in which they are written; fields without a Setting are skipped."""
    described = (
        (name, next((m for m in info.metadata if isinstance(m, Setting)), None), info)
        for name, info in section.model_fields.items()
    )
    return tuple(_field(name, setting, info) for name, setting, info in described if setting is not None)


def _field(name: str, setting: Setting, info: FieldInfo) -> Field:
    annotation, optional = _without_none(info.annotation)
    low, high, above = _bounds(info)
    choices: tuple[str, ...] = ()
    if get_origin(annotation) is Literal:
        kind: Any = "choice"
        choices = tuple(str(value) for value in get_args(annotation))
    elif get_origin(annotation) is tuple:
        kind = "ints"
    else:
        kind = {bool: "bool", int: "int", float: "float", str: "text"}[annotation]
    return Field(name, setting, kind, optional, choices, low, high, info.default, above)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        return rest[0], len(rest) < len(get_args(annotation))
    return annotation, False


def _bounds(info: FieldInfo) -> tuple[float | None, float | None, float | None]:
    low: Any = None
    high: Any = None
    above: Any = None
    for rule in info.metadata:
        if isinstance(rule, Ge | Interval):
            low = rule.ge if rule.ge is not None else low
        if isinstance(rule, Le | Interval):
            high = rule.le if rule.le is not None else high
        if isinstance(rule, Gt):
            above = rule.gt
        if isinstance(rule, Lt):
            limit: Any = rule.lt
            high = limit - 1 if info.annotation is int else math.nextafter(limit, -math.inf)
    return low, high, above
