"""Words and numbers as the window writes them: a text of the schema, a time that is left, and numbers in their kinds.

What one widget alone says stays with it; here is what several say, so that they say it alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from PySide6.QtCore import QT_TRANSLATE_NOOP, QCoreApplication

from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.editions import label_of


def say(text: str) -> str:
    """A text of the schema, or of another lower layer, in the user's language."""
    return QCoreApplication.translate("Recipe", text) if text else ""


def settings_text(recipe: Recipe, paths: Iterable[str]) -> str:
    """What the form calls these settings; a section of another kind stands for all that this brings."""
    paths = list(paths)
    changed = {path.partition(".")[0] for path in paths if path.endswith(".kind")}
    told = [path for path in paths if path.endswith(".kind") or path.partition(".")[0] not in changed]
    return ", ".join(dict.fromkeys(say(label_of(recipe, path)) for path in told))


# -- times


def time_left_at(share: float, spent: float) -> str:
    """How long something takes still that has come to ``share`` 0 … 1 in ``spent`` seconds; "" if it is too early."""
    return time_left(spent / share - spent) if spent > 1 and share > 0.02 else ""


LEFT = (
    QT_TRANSLATE_NOOP("StatusBar", "a few s left"),
    QT_TRANSLATE_NOOP("StatusBar", "{0:.0f} s left"),
    QT_TRANSLATE_NOOP("StatusBar", "{0:.0f} min left"),
    QT_TRANSLATE_NOOP("StatusBar", "{0:.1f} h left"),
)
ABOUT = (
    QT_TRANSLATE_NOOP("StatusBar", "a few s"),
    QT_TRANSLATE_NOOP("StatusBar", "about {0:.0f} s"),
    QT_TRANSLATE_NOOP("StatusBar", "about {0:.0f} min"),
    QT_TRANSLATE_NOOP("StatusBar", "about {0:.1f} h"),
)


def time_left(seconds: float) -> str:
    """How long something takes still, in words that do not flicker."""
    return _in_words(seconds, LEFT)


def about(seconds: float) -> str:
    """How long something will take, in words that promise no more than is known."""
    return _in_words(seconds, ABOUT)


def _in_words(seconds: float, words: Sequence[object]) -> str:
    number, unit = seconds, 0
    if seconds >= 10:
        number, unit = round(seconds / 5) * 5, 1
    if seconds >= 100:
        number, unit = seconds / 60, 2
    if seconds >= 5400:
        number, unit = seconds / 3600, 3
    return QCoreApplication.translate("StatusBar", str(words[unit])).format(number)


# -- numbers


def in_equation(value: float) -> str:
    """A number as an equation shows it: 0.784, 0.0105, 0.00832, 1.20·10^{−4}, ∞; – where there is none."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 1e5 or size < 0.000995:
        mantissa, exponent = f"{size:.2e}".split("e")
        text = f"{mantissa}·10^{{{str(int(exponent)).replace('-', '−')}}}"
    elif size >= 1000:
        text = f"{size:,.0f}"
    else:
        text = f"{size:.{3 if size >= 0.0995 else 4 if size >= 0.00995 else 5}f}"
    return f"−{text}" if value < 0 else text


def in_sentence(value: float, digits: int = 2) -> str:
    """So many digits, never as 4e-05."""
    return np.format_float_positional(value, precision=digits, fractional=False, trim="-")


def on_axis(value: float) -> str:
    """As short as can be: 0.05, 300, 12k, 3e-05."""
    if abs(value) >= 10_000:
        return f"{value / 1e6:.3g}M" if abs(value) >= 1e6 else f"{value / 1e3:.4g}k"
    return f"{value:.4g}" if abs(value) < 1e-12 or abs(value) >= 1e-3 else f"{value:.2g}"


def four_decimals(value: float) -> str:
    """So that numbers of one step line up and can be added; 1.20e−04 where four decimals say nothing."""
    text = f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.2e}"
    return text.replace("-", "−")


def measured(value: float) -> str:
    """Of data or samples: three decimals, or three digits from 10 on; – where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if value < 10 else f"{value:.3g}"
