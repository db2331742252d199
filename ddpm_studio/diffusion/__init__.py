"""The mathematics: x_t = alpha_t * x_0 + sigma_t * eps, and the way back.

The names that need torch are imported on first use, so that the window can show schedules and recorded
tapes before torch is there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.diffusion.timesteps import timestep_grid

if TYPE_CHECKING:
    from ddpm_studio.diffusion.denoiser import Denoiser, Prediction
    from ddpm_studio.diffusion.reverse import ReverseStep, reverse_process

_NEED_TORCH = {
    "Denoiser": "denoiser",
    "Prediction": "denoiser",
    "ReverseStep": "reverse",
    "reverse_process": "reverse",
}

__all__ = [
    "Denoiser",
    "Frame",
    "NoiseSchedule",
    "Parameterization",
    "Prediction",
    "ReverseStep",
    "Tape",
    "reverse_process",
    "timestep_grid",
]


def __getattr__(name: str) -> Any:
    if name in _NEED_TORCH:
        return getattr(import_module(f"ddpm_studio.diffusion.{_NEED_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
