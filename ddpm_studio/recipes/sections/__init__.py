"""The sections of a recipe: what can be set, within which limits, and what a person is told about it.

Form, command line, tooltips and validation are made from these classes; a new setting is a new field here.
"""

from ddpm_studio.recipes.sections.data import Data
from ddpm_studio.recipes.sections.learning import Objective, Prediction, Training
from ddpm_studio.recipes.sections.networks import (
    AttentionUNet,
    CompactUNet,
    DDPMUNet,
    Network,
    PointMLP,
    ScoreMLP,
    Scratch5UNet,
    SimpleUnet,
)
from ddpm_studio.recipes.sections.running import Compute, Preview
from ddpm_studio.recipes.sections.samplers import (
    DDIM,
    DDPM,
    IPNDM,
    DPMSolver2M,
    DPMSolver3M,
    Euler,
    Heun,
    Langevin,
    PlainLangevin,
    Sampler,
    UniPC,
)
from ddpm_studio.recipes.sections.schedules import (
    Cosine,
    Flow,
    Geometric,
    Linear,
    Quadratic,
    ScaledLinear,
    Schedule,
    Sigmoid,
)

__all__ = [
    "AttentionUNet",
    "CompactUNet",
    "Compute",
    "Cosine",
    "DDIM",
    "DDPM",
    "DDPMUNet",
    "DPMSolver2M",
    "DPMSolver3M",
    "Data",
    "Euler",
    "Flow",
    "Geometric",
    "Heun",
    "IPNDM",
    "Langevin",
    "Linear",
    "Network",
    "Objective",
    "PlainLangevin",
    "PointMLP",
    "Prediction",
    "Preview",
    "Quadratic",
    "Sampler",
    "ScaledLinear",
    "Schedule",
    "ScoreMLP",
    "Scratch5UNet",
    "Sigmoid",
    "SimpleUnet",
    "Training",
    "UniPC",
]
