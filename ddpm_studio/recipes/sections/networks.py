"""The networks that a recipe can name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Rule
from pydantic import field_validator, model_validator

from ddpm_studio.recipes.settings import Section, Setting


def _positive_widths(widths: tuple[int, ...]) -> tuple[int, ...]:
    for width in widths:
        if not 1 <= width <= 4096:
            raise ValueError(f"{width} is not between 1 and 4096")
    return widths


class CompactUNet(Section):
    """Our small U-Net for pictures of any size (pixel-unshuffle stem)."""

    kind: Literal["compact-unet"] = "compact-unet"
    channels: Annotated[
        tuple[int, ...],
        Rule(min_length=1, max_length=5),
        Setting("Channels", "Width of each level, from fine to coarse; multiples of 16.", level="tweak"),
    ] = (32, 64)
    blocks: Annotated[int, Rule(ge=1, le=4), Setting("Blocks per level", "Residual blocks at each level.")] = 1
    patch: Annotated[
        int,
        Rule(ge=1, le=4),
        Setting(
            "Stem patch",
            "The stem folds patch × patch pixels into channels: 2 makes it about four times faster.",
            unit="px",
        ),
    ] = 2
    attention: Annotated[
        bool,
        Setting("Attention", "Self-attention at the coarsest level: distant pixels see each other.", level="tweak"),
    ] = False
    class_label: Annotated[
        bool, Setting("Class label", "Tell the network which class each picture belongs to.", level="tweak")
    ] = False

    @field_validator("channels")
    @classmethod
    def _multiples_of_16(cls, channels: tuple[int, ...]) -> tuple[int, ...]:
        for width in channels:
            if width < 16 or width > 512 or width % 16:
                raise ValueError(f"{width} is not a multiple of 16 between 16 and 512")
        return channels


class PointMLP(Section):
    """A small multi-layer perceptron for points in the plane."""

    kind: Literal["point-mlp"] = "point-mlp"
    width: Annotated[int, Rule(ge=8, le=1024), Setting("Width", "Neurons per layer.", level="tweak", step=32)] = 128
    depth: Annotated[int, Rule(ge=1, le=8), Setting("Depth", "Residual layers.", level="tweak")] = 3


class Scratch5UNet(Section):
    """The U-Net of "Deep Learning from Scratch 5" (tutorial 000): the time signal is added to each block's input."""

    kind: Literal["scratch5-unet"] = "scratch5-unet"
    channels: Annotated[
        tuple[int, int, int],
        Setting("Channels", "Widths at 28, 14 and 7 pixels; the book has 64, 128, 256.", level="tweak"),
    ] = (64, 128, 256)
    time_width: Annotated[
        int, Rule(ge=4, le=1024), Setting("Time embedding", "Length D of the vector of sines and cosines.", step=10)
    ] = 100

    _positive = field_validator("channels")(_positive_widths)


class SimpleUnet(Section):
    """DeepFindr's SimpleUnet (tutorial 002): convolution, ReLU, then batch norm; sides in multiples of 16."""

    kind: Literal["simple-unet"] = "simple-unet"
    channels: Annotated[
        tuple[int, ...],
        Rule(min_length=2, max_length=6),
        Setting("Channels", "Widths from fine to coarse; the notebook has 64 … 1024.", level="tweak"),
    ] = (64, 128, 256, 512, 1024)
    time_width: Annotated[
        int, Rule(ge=4, le=1024), Setting("Time embedding", "Length of the vector of sines and cosines.", step=8)
    ] = 32
    shared_norm: Annotated[
        bool,
        Setting(
            "One batch norm a block",
            "The printed code has two (62,438,883 parameters); the text counts 62,433,123, which is one, used twice.",
        ),
    ] = False

    _positive = field_validator("channels")(_positive_widths)


class AttentionUNet(Section):
    """A U-Net with self-attention (tutorial 003). The document prints two lines of it; the rest is ours."""

    kind: Literal["attention-unet"] = "attention-unet"
    base: Annotated[
        int,
        Rule(ge=16, le=256),
        Setting("Base width", "Channels at full size.", level="tweak", step=16),
    ] = 128
    multipliers: Annotated[
        tuple[int, ...],
        Rule(min_length=2, max_length=4),
        Setting("Multipliers", "Widths of the levels, times the base width.", level="tweak"),
    ] = (1, 2, 4)
    heads: Annotated[int, Rule(ge=1, le=8), Setting("Heads", "Attention heads.")] = 4

    _positive = field_validator("multipliers")(_positive_widths)

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.base % 16 or self.base % self.heads:
            raise ValueError(
                f"{self.base} channels do not split evenly among {self.heads} heads; use a multiple of 16 for the base "
                "width, and 1, 2, 4 or 8 heads"
            )
        return self


class DDPMUNet(Section):
    """The U-Net of the DDPM paper (tutorial 001; arXiv 2006.11239, appendix B)."""

    kind: Literal["ddpm-unet"] = "ddpm-unet"
    base: Annotated[
        int,
        Rule(ge=32, le=256),
        Setting("Base width", "Channels at full size.", level="tweak", step=32),
    ] = 128
    multipliers: Annotated[
        tuple[int, ...],
        Rule(min_length=2, max_length=6),
        Setting("Multipliers", "Widths of the levels, times the base width.", level="tweak"),
    ] = (1, 2, 2, 2)
    blocks: Annotated[
        int, Rule(ge=1, le=4), Setting("Blocks per level", "Residual blocks going down; one more going up.")
    ] = 2
    dropout: Annotated[
        float, Rule(ge=0, lt=1), Setting("Dropout", "Share of the features that a training step leaves out.", step=0.05)
    ] = 0.1

    _positive = field_validator("multipliers")(_positive_widths)

    @field_validator("base")
    @classmethod
    def _multiple_of_32(cls, base: int) -> int:
        if base % 32:
            raise ValueError(f"{base} is not a multiple of 32")
        return base


class ScoreMLP(Section):
    """The perceptron of the score-based tutorial (004): its output is divided by σ."""

    kind: Literal["score-mlp"] = "score-mlp"
    widths: Annotated[
        tuple[int, ...],
        Rule(min_length=1, max_length=6),
        Setting("Widths", "Neurons of the hidden layers; the tutorial has 4, 32, 4.", level="tweak"),
    ] = (4, 32, 4)
    level_aware: Annotated[
        bool,
        Setting(
            "Sees the noise level",
            "The printed network does not see σ, so it cannot learn how wide the clouds are: its samples come out "
            "about a third as wide as the data.",
            level="tweak",
        ),
    ] = False

    _positive = field_validator("widths")(_positive_widths)


Network = Annotated[
    CompactUNet | PointMLP | Scratch5UNet | SimpleUnet | AttentionUNet | DDPMUNet | ScoreMLP,
    Rule(discriminator="kind"),
]
