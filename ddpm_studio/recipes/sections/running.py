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
    ] = 2.0
    count: Annotated[
        int,
        Rule(ge=1, le=4096),
        Setting("Preview items", "Pictures (or particles) in a preview, always from the same noise."),
    ] = 36
    method: Annotated[
        Literal["auto", "ddim", "dpmpp-2m", "ipndm", "unipc", "recipe"],
        Setting(
            "Preview sampler",
            "auto: a sampler for few steps, or DDIM for a network that predicts noise and is clipped. "
            "As sampling: Langevin makes at most 10 moves a level.",
            choices={
                "auto": "auto",
                "ddim": "DDIM",
                "dpmpp-2m": "DPM-Solver++(2M)",
                "ipndm": "iPNDM",
                "unipc": "UniPC",
                "recipe": "as sampling",
            },
            live=True,
        ),
    ] = "auto"
    steps: Annotated[
        int | None,
        Rule(ge=1, le=1000),
        Setting(
            "Preview steps",
            "Denoising steps of a preview; empty: 6 to 20, as many as the budget has room for.",
            live=True,
        ),
    ] = None


class Compute(Section):
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        Setting("Device", "Where to compute; auto takes an NVIDIA card if there is one."),
    ] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Setting("Precision", "auto measures at the start whether bfloat16 pays and agrees."),
    ] = "auto"
    layout: Annotated[
        Literal["auto", "channels_last", "contiguous"],
        Setting(
            "Memory layout",
            "How pictures lie in memory: colours together, or plane by plane. auto measures at the start.",
            choices={"auto": "auto", "channels_last": "channels last", "contiguous": "contiguous"},
        ),
    ] = "auto"
    compile: Annotated[
        Literal["off", "auto", "on"],
        Setting(
            "Compile",
            "torch.compile, built while training goes on. auto uses it if it is faster: on the CPU we measured it "
            "took 41 s and was not (1.0×).",
        ),
    ] = "off"
    threads: Annotated[
        int | None,
        Rule(ge=1, le=256),
        Setting("Threads", "CPU threads for training; empty: all cores, or one while other programs need them."),
    ] = None
