"""How the noise grows: one class for each kind of schedule."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Rule
from pydantic import model_validator

from ddpm_studio.recipes.settings import Section, Setting


class _Schedule(Section):
    steps: Annotated[
        int,
        Rule(ge=2, le=10_000),
        Setting(
            "Steps T",
            "Number of noise levels between picture (t = 0) and pure noise (t = T).",
            level="tweak",
            equation="t = 0 … T",
            step=100,
        ),
    ] = 1000


class _Betas(_Schedule):
    beta_start: Annotated[
        float,
        Rule(gt=0, lt=1),
        Setting(
            "β first",
            "Variance of the noise added in the first step.",
            level="tweak",
            equation="β_1",
            step=1e-4,
        ),
    ] = 1e-4
    beta_end: Annotated[
        float,
        Rule(gt=0, lt=1),
        Setting(
            "β last",
            "Variance of the noise added in the last step.",
            level="tweak",
            equation="β_T",
            step=1e-3,
        ),
    ] = 0.02

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.beta_end < self.beta_start:
            raise ValueError(f"β last is {self.beta_end:g}, below β first ({self.beta_start:g}); make it larger")
        return self


class Linear(_Betas):
    """β grows linearly from first to last, whatever T (DDPM, arXiv 2006.11239)."""

    kind: Literal["linear"] = "linear"


class ScaledLinear(_Betas):
    """Linear end points times 1000/T, so that every T ends in noise."""

    kind: Literal["scaled_linear"] = "scaled_linear"

    @model_validator(mode="after")
    def _below_one(self) -> Self:
        top = self.beta_end * 1000 / self.steps
        if top >= 1:
            least = int(self.beta_end * 1000) + 1
            raise ValueError(
                f"with T = {self.steps} the last β would be {top:.3g}, which is not below 1; use T ≥ {least}"
            )
        return self


class Quadratic(_Betas):
    """√β grows linearly (as in latent diffusion)."""

    kind: Literal["quadratic"] = "quadratic"


class Sigmoid(_Betas):
    """β follows a logistic curve over [-6, 6] (GeoDiff's "sigmoid" of betas)."""

    kind: Literal["sigmoid"] = "sigmoid"


class Cosine(_Schedule):
    """ᾱ_t follows cos² (iDDPM, arXiv 2102.09672, eq. 17), β kept below 0.999."""

    kind: Literal["cosine"] = "cosine"


class Geometric(_Schedule):
    """Variance exploding: x_t = x_0 + σ_t ε with σ in geometric progression (NCSN, arXiv 1907.05600)."""

    kind: Literal["geometric"] = "geometric"
    sigma_min: Annotated[
        float,
        Rule(gt=0),
        Setting("σ first", "Standard deviation of the weakest noise.", level="tweak", equation="σ_1", step=0.001),
    ] = 0.01
    sigma_max: Annotated[
        float,
        Rule(gt=0),
        Setting("σ last", "Standard deviation of the strongest noise.", level="tweak", equation="σ_T", step=1.0),
    ] = 50.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.sigma_max <= self.sigma_min:
            raise ValueError(f"σ last is {self.sigma_max:g}, not above σ first ({self.sigma_min:g}); make it larger")
        return self


class Flow(_Schedule):
    """Rectified flow: x_t = (1 - t/T) x_0 + (t/T) ε (arXiv 2209.03003)."""

    kind: Literal["flow"] = "flow"


Schedule = Annotated[
    Linear | ScaledLinear | Quadratic | Sigmoid | Cosine | Geometric | Flow, Rule(discriminator="kind")
]
