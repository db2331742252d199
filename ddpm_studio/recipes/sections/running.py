"""What does not change the result: previews, and the computer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field as Rule

from ddpm_studio.recipes.settings import Section, Setting


class Preview(Section):
    budget: Annotated[
        float,
        Rule(ge=0, le=10),
        Setting(
            "Preview budget",
            "Share of the training time that previews may take; 0 turns them off.",
            unit="%",
            live=True,
            step=1,
        ),
    ] = 3.0
    count: Annotated[
        int,
        Rule(ge=1, le=4096),
        Setting("Preview items", "Pictures (or particles) in a preview, always from the same noise."),
    ] = 36
    method: Annotated[
        Literal["ddim", "recipe"],
        Setting(
            "Preview sampler",
            "DDIM shows most in few steps; or the recipe's own sampler, Langevin with at most 10 moves a level.",
            choices={"ddim": "DDIM", "recipe": "as sampling"},
            live=True,
        ),
    ] = "ddim"
    steps: Annotated[int, Rule(ge=1, le=1000), Setting("Preview steps", "Denoising steps of a preview.", live=True)] = (
        12
    )


class Compute(Section):
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Setting("Device", "Where to compute; auto takes an NVIDIA card if there is one."),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Setting("Precision", "auto measures at the start whether bfloat16 pays and agrees."),
    ] = "auto"
    threads: Annotated[
        int | None, Rule(ge=1, le=256), Setting("Threads", "CPU threads for training; empty: all cores.")
    ] = None
