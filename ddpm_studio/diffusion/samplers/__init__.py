"""Samplers: short rules that take x from one level to the next. No torch is imported here.

A rule is a pure function of a ``Move``. It keeps no state: rules of higher order read the earlier
predictions that the reverse process hands them. All but Heun's are sums whose ``Weights`` follow from the levels
alone. Notation of the comments: level t has (a, s), the next level u has (a', s'); lam = log(a/s).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ddpm_studio.diffusion.samplers.langevin import Langevin, PlainLangevin
from ddpm_studio.diffusion.samplers.move import Move, Past, Place, Sampler, WeightedSum, Weights
from ddpm_studio.diffusion.samplers.multistep import IPNDM, DPMSolver2M, DPMSolver3M, UniPC
from ddpm_studio.diffusion.samplers.one_step import DDIM, DDPM, Euler, Heun

__all__ = [
    "DDIM",
    "DDPM",
    "IPNDM",
    "SAMPLERS",
    "DPMSolver2M",
    "DPMSolver3M",
    "Euler",
    "Heun",
    "Langevin",
    "Move",
    "Past",
    "Place",
    "PlainLangevin",
    "Sampler",
    "UniPC",
    "WeightedSum",
    "Weights",
    "sampler_of",
]

SAMPLERS: dict[str, type[Any]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "dpmpp-2m": DPMSolver2M,
    "dpmpp-3m": DPMSolver3M,
    "unipc": UniPC,
    "ipndm": IPNDM,
    "langevin": Langevin,
    "langevin-plain": PlainLangevin,
}


def sampler_of(settings: Mapping[str, Any]) -> Sampler:
    """The rule for a recipe's sampler section by name, e.g. {"kind": "ddim", "eta": 0.5, "steps": 25}.

    Raises:
        ValueError: for a kind that is not known here, or a value that its rule does not allow.
    """
    kind = settings["kind"]
    if kind not in SAMPLERS:
        raise ValueError(f"no sampler is called {kind!r}")
    cls = SAMPLERS[kind]
    sampler: Sampler = cls(**{knob.name: settings[knob.name] for knob in fields(cls) if knob.name in settings})
    return sampler
