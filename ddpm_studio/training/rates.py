"""The learning rate and Adam's β1 of each step, as a recipe says."""

from __future__ import annotations

import math

from ddpm_studio.recipes import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of the step after ``step`` steps: warm-up from 0, then constant, falling to 0, or one cycle."""
    settings = recipe.training
    if settings.decay == "one-cycle":
        high = settings.learning_rate
        return _one_cycle(step, settings.steps, high / 25, high, high / 25 / 1e4)
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / (settings.warmup + 1)
    if settings.decay == "none":
        return settings.learning_rate
    done = min((step - settings.warmup) / max(settings.steps - settings.warmup, 1), 1.0)
    left = 1 - done if settings.decay == "linear" else (1 + math.cos(math.pi * done)) / 2
    return settings.learning_rate * left


def adam_beta1(recipe: Recipe, step: int) -> float:
    """Adam's β1 of the step after ``step`` steps; one cycle moves it against the rate."""
    if recipe.training.decay == "one-cycle":
        return _one_cycle(step, recipe.training.steps, 0.95, 0.85, 0.95)
    return recipe.training.beta1


def _one_cycle(step: int, steps: int, start: float, middle: float, end: float) -> float:
    """Half cosines from start to middle in the first 30 % of the steps, and on to the end (arXiv 1708.07120).

    The values of torch's OneCycleLR at its defaults, which tutorial 004 uses.
    """
    turn = 0.3 * steps - 1
    if step <= turn:
        a, b, p = start, middle, step / turn if turn > 0 else 1.0
    else:
        a, b, p = middle, end, min((step - turn) / (steps - 1 - turn), 1.0)
    return b + (a - b) * (1 + math.cos(math.pi * p)) / 2
