"""How a picture is drawn: one class for each rule."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field as Rule

from ddpm_studio.recipes.settings import Section, Setting

Spacing = Literal["uniform", "quadratic", "karras", "log-snr"]
_SPACING = Setting("Spacing", "Where the sampling steps lie between T and 0.", live=True)


class _Walk(Section):
    """From level T down, in a number of steps."""

    steps: Annotated[
        int,
        Rule(ge=1, le=10_000),
        Setting(
            "Sampling steps",
            "Denoising steps from x_T to x_0; fewer are faster.",
            level="watch",
            live=True,
            step=5,
        ),
    ] = 50
    spacing: Annotated[Spacing, _SPACING] = "uniform"


class DDPM(_Walk):
    """Ancestral sampling (arXiv 2006.11239, algorithm 2)."""

    kind: Literal["ddpm"] = "ddpm"
    variance: Annotated[
        Literal["posterior", "beta"],
        Setting(
            "Noise variance",
            "σ² of the noise added back: the posterior's, or β.",
            level="tweak",
            equation="σ_t²",
            live=True,
        ),
    ] = "posterior"
    end_level: Annotated[
        int,
        Rule(ge=0, le=100),
        Setting(
            "Ends at level",
            "0 is the clean picture, and the last step adds no noise. A loop that stops one level early keeps that "
            "level's noise.",
            live=True,
        ),
    ] = 0


class DDIM(_Walk):
    """Generalised DDIM (arXiv 2010.02502, eq. 12); η = 0 adds no noise."""

    kind: Literal["ddim"] = "ddim"
    eta: Annotated[
        float,
        Rule(ge=0, le=1),
        Setting("η", "0 adds no noise, 1 adds as much as DDPM.", level="tweak", equation="η", live=True, step=0.1),
    ] = 0.0


class Euler(_Walk):
    """Euler's method for the probability-flow ODE in σ/α (arXiv 2206.00364)."""

    kind: Literal["euler"] = "euler"


class Heun(_Walk):
    """Heun's second-order method (arXiv 2206.00364, algorithm 1); two network calls a step."""

    kind: Literal["heun"] = "heun"


class DPMSolver2M(_Walk):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order with one network call a step; 15 steps do."""

    kind: Literal["dpmpp-2m"] = "dpmpp-2m"
    spacing: Annotated[Spacing, _SPACING] = "log-snr"


class DPMSolver3M(_Walk):
    """DPM-Solver++(3M) (arXiv 2211.01095): third order with one network call a step; 10 to 20 steps do."""

    kind: Literal["dpmpp-3m"] = "dpmpp-3m"
    spacing: Annotated[Spacing, _SPACING] = "log-snr"


class UniPC(_Walk):
    """UniPC-3 (arXiv 2302.04867): each step is corrected by the next one's network call; 8 to 20 steps do."""

    kind: Literal["unipc"] = "unipc"
    spacing: Annotated[Spacing, _SPACING] = "log-snr"


class IPNDM(_Walk):
    """iPNDM with four predictions (arXiv 2204.13902): fourth order where steps are even in σ/α; 8 to 20 steps do."""

    kind: Literal["ipndm"] = "ipndm"
    # Karras' levels: a little better for pictures in 8 to 10 steps, far worse for points in tight clouds.
    spacing: Annotated[Spacing, _SPACING] = "log-snr"


class Langevin(_Walk):
    """Annealed Langevin dynamics (NCSN, arXiv 1907.05600, algorithm 1): many small noisy moves at every level."""

    kind: Literal["langevin"] = "langevin"
    moves: Annotated[
        int,
        Rule(ge=1, le=10_000),
        Setting(
            "Moves per level", "Langevin moves before the noise level goes down.", level="tweak", live=True, step=10
        ),
    ] = 201
    step_size: Annotated[
        float,
        Rule(gt=0, le=1),
        Setting(
            "Step size α",
            "Length of a move at the noisiest level; it shrinks with the noise.",
            level="tweak",
            equation="α_t = α σ_t² / σ_T²",
            live=True,
        ),
    ] = 0.1


class PlainLangevin(Section):
    """Langevin dynamics at one noise level: it finds the clouds, but not how many points belong to each."""

    kind: Literal["langevin-plain"] = "langevin-plain"
    steps: Annotated[
        int,
        Rule(ge=1, le=100_000),
        Setting("Moves", "Langevin moves, all at the same noise level.", level="watch", live=True, step=100),
    ] = 1000
    level: Annotated[
        int,
        Rule(ge=1, le=10_000),
        Setting("Noise level", "The level whose score is followed; 1 is the weakest noise.", level="tweak", live=True),
    ] = 1
    step_size: Annotated[
        float,
        Rule(gt=0, le=1),
        Setting(
            "Step size α",
            "Length of a move; the tightest cloud must be wider than √α.",
            level="tweak",
            equation="x ← x + α s(x) + √(2α) u",
            live=True,
        ),
    ] = 5e-4


Sampler = Annotated[
    DDPM | DDIM | Euler | Heun | DPMSolver2M | DPMSolver3M | UniPC | IPNDM | Langevin | PlainLangevin,
    Rule(discriminator="kind"),
]
