"""timestep_grid: the explicit list of levels that a sampler visits, T first, the end level (0 = clean) last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.schedule import NoiseSchedule

SPACINGS = ("uniform", "quadratic", "karras", "log-snr")
NOISE_ALONE = 80.0  # σ/α from which a level shows nothing of data of size 1: EDM's greatest


def timestep_grid(
    schedule: NoiseSchedule, steps: int, spacing: str = "uniform", rho: float = 7.0, *, end: int = 0
) -> list[int]:
    """``steps`` moves from T down to ``end``, as a strictly falling list of steps + 1 levels.

    Spacings: "uniform" in t (the "trailing" one of arXiv 2305.08891: starts at T, ends clean), "quadratic"
    in t (DDIM, appendix D.3), "karras" (EDM eq. 5, exponent rho in σ/α), "log-snr" (uniform in log SNR, as
    DPM-Solver); the last two leave levels of σ/α > 80 in one move. Where wished levels fall on one entry of the
    table, the noisier ones take the next entries above it.

    Raises:
        ValueError: if steps does not lie in 1 … T - end or the spacing is unknown.
    """
    T = schedule.steps
    if not 1 <= steps <= T - end:
        raise ValueError(f"{steps} sampling steps do not fit the levels {T} … {end}: use 1 … {T - end}")
    u = np.linspace(0, 1, steps + 1)
    if spacing == "uniform":
        levels = end + (T - end) * (1 - u)
    elif spacing == "quadratic":
        levels = end + (T - end) * (1 - u) ** 2
    elif spacing in ("karras", "log-snr"):
        levels = np.append(_levels_by_noise(schedule, steps, spacing, rho), 0).clip(end)
    else:
        raise ValueError(f"no spacing is called {spacing!r}; there are {', '.join(SPACINGS)}")
    places = np.arange(steps + 1)  # from the last level up, each at least one above the one before
    rising = np.maximum.accumulate(levels[::-1].round().astype(int) - places)
    falling: list[int] = (np.minimum(rising, T - steps) + places)[::-1].tolist()
    return falling


def _levels_by_noise(schedule: NoiseSchedule, steps: int, spacing: str, rho: float) -> NDArray[np.float64]:
    """``steps`` levels from T to 1, evenly spaced in log(σ/α) or in (σ/α)^(1/rho)."""
    # σ/α is infinite at the top of a flow and 20,291 at that of a cosine schedule, where all levels are alike: spaced
    # over them, half of ten steps would change nothing. T stands for them all.
    with np.errstate(divide="ignore"):
        ratio = schedule.sigma[1:] / schedule.alpha[1:]
    finite = ratio[: max(int(np.searchsorted(ratio, NOISE_ALONE, "right")), 1)]
    u = np.linspace(0, 1, steps)
    if spacing == "karras":
        high, low = finite[-1] ** (1 / rho), finite[0] ** (1 / rho)
        wished = (high + u * (low - high)) ** rho
    else:
        wished = np.exp(np.log(finite[-1]) + u * (np.log(finite[0]) - np.log(finite[-1])))
    levels: NDArray[np.float64] = np.interp(np.log(wished), np.log(finite), np.arange(1, len(finite) + 1))
    levels[0] = schedule.steps
    return levels
