"""The numbers of one moment: what every symbol of the papers' equations is at a noise level. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ddpm_studio.diffusion.schedule import Float64, NoiseSchedule

_NONE = math.nan


@dataclass(frozen=True)
class Numbers:
    """What the equations' live lines ask for at level t, and in the step from t down to s. Python floats and ints.

    Written for any schedule; on a variance-preserving one (DDPM) with s = t - 1 they are the paper's. At the
    clean level there is no step: its numbers are nan.
    """

    t: int
    s: int
    alpha: float  # √ᾱ_t: what is left of the picture
    sigma: float  # √(1 − ᾱ_t): standard deviation of the noise
    sigma2: float  # 1 − ᾱ_t
    alpha_s: float  # √ᾱ_s
    sigma_s: float
    snr: float
    angle: float  # atan(σ/α), 0 … π/2: the time variable of our Heun
    angle_s: float
    beta: float  # β_t: variance of the noise that the step up adds
    beta_noise: float  # √β_t as samplers add it: 0 in the move to the clean level
    step_root: float  # √α_t = √(1 − β_t), as DDPM's papers and code call it
    posterior: float  # variance of q(x_s | x_t, x_0) (DDPM, eq. 7)
    posterior_std: float
    mean_x: float  # the step's mean is mean_x x_t − mean_eps ε (DDPM, eq. 11)
    mean_eps: float
    posterior_x: float  # the same mean is posterior_x x_t + posterior_x0 x_0 (DDPM, eq. 7)
    posterior_x0: float
    ddim_eps: float  # √(σ_s² − posterior): DDPM's step as DDIM's eq. 12 writes it
    eta_eps: float  # the same for DDIM's η
    eta_std: float  # η times posterior_std
    solver_x: float  # DPM-Solver++(2M) steps to solver_x x_t + solver_d D
    solver_d: float
    langevin: float  # α_t of annealed Langevin dynamics
    langevin_std: float  # √(2 α_t)
    v_0: float  # the first entries of the time embedding
    v_1: float
    v_2: float
    v_3: float


def numbers_at(
    schedule: NoiseSchedule,
    t: int,
    s: int | None = None,
    *,
    step_size: float = _NONE,
    eta: float = _NONE,
    vector: Float64 | None = None,
) -> Numbers:
    """All numbers of level ``t`` and of the step from there to ``s`` (one level lower, if not given).

    ``step_size``: α of Langevin dynamics. ``eta``: η of DDIM. ``vector``: (width,), the time embedding of the level.

    Raises:
        ValueError: if t or s is no level of the schedule, or s is not below t.
    """
    if not 0 <= t <= schedule.steps:
        raise ValueError(f"t is {t}; the levels of this schedule are 0 … {schedule.steps}")
    s = max(t - 1, 0) if s is None else s
    if not 0 <= s <= max(t - 1, 0):
        raise ValueError(f"s is {s}; it must be a level below t = {t}")
    a, b = abs(float(schedule.alpha[t])), abs(float(schedule.sigma[t]))
    a_s, b_s = float(schedule.alpha[s]), abs(float(schedule.sigma[s]))
    r = v = post = _NONE
    if t > s:
        r = a / a_s
        v = max(b**2 - (r * b_s) ** 2, 0.0)  # the variance of q(x_t | x_s)
        post = v * (b_s / b) ** 2
    move = step_size * (b / float(schedule.sigma[-1])) ** 2
    entries = [*([] if vector is None else vector[:4].tolist()), *[_NONE] * 4][:4]
    return Numbers(
        t=t,
        s=s,
        alpha=a,
        sigma=b,
        sigma2=b * b,
        alpha_s=a_s,
        sigma_s=b_s,
        snr=_over(a * a, b * b),
        angle=math.atan2(b, a),
        angle_s=math.atan2(b_s, a_s),
        beta=v,
        beta_noise=0.0 if t > s == 0 else math.sqrt(v),
        step_root=r,
        posterior=post,
        posterior_std=math.sqrt(post),
        mean_x=_over(1.0, r),
        mean_eps=_over(v, r * b),
        posterior_x=r * _over(b_s * b_s, b * b),
        posterior_x0=a_s * _over(v, b * b),
        ddim_eps=math.sqrt(max(b_s * b_s - post, 0.0)) if t > s else _NONE,
        eta_eps=math.sqrt(max(b_s * b_s - eta**2 * post, 0.0)) if t > s else _NONE,
        eta_std=eta * math.sqrt(post),
        solver_x=_over(b_s, b) if t > s else _NONE,
        solver_d=a_s - b_s * _over(a, b) if t > s else _NONE,  # −α_s (e^{−h} − 1), e^{−h} = (σ_s/α_s)(α/σ)
        langevin=move,
        langevin_std=math.sqrt(2 * move),
        v_0=entries[0],
        v_1=entries[1],
        v_2=entries[2],
        v_3=entries[3],
    )


def _over(one: float, other: float) -> float:
    """The quotient; of a number above 0 and 0 it is infinite."""
    return math.inf if other == 0 else one / other


def time_vector(kind: str, time: float, width: int) -> Float64:
    """The vector, float64 (width,), by which a tutorial's network is told the time.

    ``kind``: "interleaved-own" (000), "sinusoidal" (001, 002) or "interleaved-pairs" (003, eq. 3). They are
    those of ``networks/embeddings.py``, where they are described.

    Raises:
        ValueError: for another kind.
    """
    place = np.arange(width)
    if kind == "sinusoidal":
        half = width // 2
        angle = time * 10_000.0 ** (-np.arange(half) / (half - 1))
        return np.concatenate([np.sin(angle), np.cos(angle)])
    if kind == "interleaved-own":
        angle = time * 10_000.0 ** (-place / width)
    elif kind == "interleaved-pairs":
        angle = time * 10_000.0 ** (-(place - place % 2) / width)
    else:
        raise ValueError(f"{kind!r} is none of sinusoidal, interleaved-own, interleaved-pairs")
    return np.where(place % 2 == 0, np.sin(angle), np.cos(angle))
