"""Samplers: short rules that take x from one level to the next.

A rule is a pure function of a ``Move``. It keeps no state: rules of higher order read the earlier
predictions that the reverse process hands them. Notation of the comments: level t has (a, s), the next
level u has (a', s'); lam = log(a/s).
"""

from __future__ import annotations

from typing import Any

from ddpm_studio.diffusion.samplers.langevin import Langevin, PlainLangevin
from ddpm_studio.diffusion.samplers.move import Move, Past, Sampler
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
    "PlainLangevin",
    "Sampler",
    "UniPC",
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
