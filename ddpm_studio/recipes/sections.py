"""The sections of a recipe: what can be set, within which limits, and what a person is told about it.

Form, command line, tooltips and validation are made from these classes; a new setting is a new field here.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field as Rule
from pydantic import field_validator, model_validator

from ddpm_studio.recipes.settings import Section, Setting

# -- data ------------------------------------------------------------------------------------------------


class Data(Section):
    source: Annotated[
        str,
        Setting(
            "Data",
            "What to learn: a built-in set, a folder of pictures, or MNIST-style IDX files.",
            level="watch",
        ),
    ] = "fashion-mnist"
    height: Annotated[
        int | None,
        Rule(ge=8, le=256),
        Setting("Height", "Pictures of a folder are cut and resized to this.", unit="px"),
    ] = None
    width: Annotated[
        int | None,
        Rule(ge=8, le=256),
        Setting("Width", "Pictures of a folder are cut and resized to this.", unit="px"),
    ] = None
    value_range: Annotated[
        Literal["-1..1", "0..1"],
        Setting(
            "Value range",
            "How grey levels 0 … 255 are given to the network. The noise has standard deviation 1, so -1 … 1 suits it.",
            choices={"-1..1": "−1 … 1", "0..1": "0 … 1"},
        ),
    ] = "-1..1"
    count: Annotated[
        int | None,
        Rule(ge=100, le=2_000_000),
        Setting("Points", "How many points are drawn from a built-in point set; empty: 20,000.", step=1000),
    ] = None
    flip: Annotated[
        bool,
        Setting("Mirror", "Shows each picture left-right mirrored half of the time. Wrong for letters and digits."),
    ] = False
    epoch_end: Annotated[
        Literal["run-on", "short", "drop"],
        Setting(
            "End of an epoch",
            "The last items of an epoch may not fill a batch: it runs on into the next epoch, stays short, or is left "
            "out.",
            choices={"run-on": "run on", "short": "short batch", "drop": "leave out"},
        ),
    ] = "run-on"
    grey_levels: Annotated[
        Literal["round", "truncate"],
        Setting(
            "Grey levels",
            "How the values of a generated picture become 0 … 255: the nearest one, or the one below.",
            choices={"round": "nearest", "truncate": "cut off"},
        ),
    ] = "round"
    inverted: Annotated[
        bool,
        Setting("Show inverted", "Generated pictures are shown as negatives: dark strokes on white."),
    ] = False


# -- noise schedule ------------------------------------------------------------------------------------------


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

# -- network -------------------------------------------------------------------------------------------------


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


class Prediction(Section):
    """What the network's output means and how it is told the noise level."""

    predicts: Annotated[
        Literal["epsilon", "x0", "v", "score", "velocity"],
        Setting(
            "Predicts",
            "What the network's output means. At one level all five say the same; they weigh the levels differently.",
            level="tweak",
            equation="x_t = α_t x_0 + σ_t ε",
            choices={
                "epsilon": "noise ε",
                "x0": "picture x_0",
                "v": "v = α ε − σ x_0",
                "score": "score ∇ log p",
                "velocity": "velocity ε − x_0",
            },
        ),
    ] = "epsilon"
    time_label: Annotated[
        Literal["t", "t-1", "t/T", "sigma", "log-sigma"],
        Setting(
            "Time label",
            "The number that tells the network the noise level: the paper's t, the code's t − 1, a fraction, or σ.",
            choices={
                "t": "t",
                "t-1": "t − 1",
                "t/T": "t / T",
                "sigma": "σ / α",
                "log-sigma": "log(σ / α) / 4",
            },
        ),
    ] = "t"
    scale_input: Annotated[
        bool,
        Setting(
            "Scale the input",
            "Where the noise grows without limit, the network sees x_t divided by its growing spread.",
            equation="x_t / √(1 + σ_t²)",
        ),
    ] = True
    clip_x0: Annotated[
        bool, Setting("Clip x̂0", "Keeps the estimated picture inside the value range at every step.")
    ] = True


# -- learning ------------------------------------------------------------------------------------------------


class Objective(Section):
    loss: Annotated[
        Literal["mse", "l1", "huber"],
        Setting(
            "Loss",
            "How far the prediction is from the truth: squared, absolute, or in between.",
            level="tweak",
            equation="L = E ‖ε − ε̂(x_t, t)‖²",
            choices={"mse": "MSE", "l1": "L1", "huber": "Huber"},
        ),
    ] = "mse"
    weight: Annotated[
        Literal["uniform", "min-snr", "sigma2"],
        Setting(
            "Loss weight",
            "Uniform treats all noise levels alike; min-SNR keeps easy levels from dominating (arXiv 2303.09556); "
            "σ² does so for a score, which grows as 1/σ.",
            level="tweak",
            equation="w(t)",
            live=True,
            choices={"uniform": "uniform", "min-snr": "min-SNR", "sigma2": "σ_t²"},
        ),
    ] = "uniform"
    gamma: Annotated[
        float,
        Rule(gt=0, le=100),
        Setting("min-SNR γ", "The cap of the min-SNR weight; 5 in the paper.", equation="γ", live=True),
    ] = 5.0

    reduction: Annotated[
        Literal["mean", "sum"],
        Setting(
            "Over an item",
            "The loss of an item is the mean over its values, or their sum (‖·‖², as papers write it).",
            choices={"mean": "mean", "sum": "sum"},
        ),
    ] = "mean"
    first_level: Annotated[
        int,
        Rule(ge=1, le=10_000),
        Setting("Lowest level trained", "Noise levels below this one are never shown to the network."),
    ] = 1


class Training(Section):
    steps: Annotated[
        int,
        Rule(ge=1, le=10_000_000),
        Setting("Training steps", "When training is finished.", level="watch", step=500),
    ] = 2000
    batch: Annotated[
        int,
        Rule(ge=1, le=8192),
        Setting("Batch", "Items per training step.", level="tweak", live=True, step=16),
    ] = 64
    learning_rate: Annotated[
        float,
        Rule(gt=0, le=1),
        Setting("Learning rate", "Size of each learning step, after warm-up.", level="watch", live=True, step=1e-4),
    ] = 1e-3
    warmup: Annotated[
        int,
        Rule(ge=0, le=100_000),
        Setting(
            "Warm-up", "Steps in which the learning rate grows from 0. One-cycle has a rise of its own.", unit="steps"
        ),
    ] = 0
    decay: Annotated[
        Literal["none", "linear", "cosine", "one-cycle"],
        Setting(
            "Decay",
            "How the learning rate changes until the last step. One-cycle rises for 30 % of the steps, then falls, and "
            "moves Adam's β1 the other way (0.95 → 0.85 → 0.95).",
            choices={"none": "none", "linear": "linear", "cosine": "cosine", "one-cycle": "one-cycle"},
        ),
    ] = "none"
    weight_decay: Annotated[
        float,
        Rule(ge=0, le=1),
        Setting("Weight decay", "AdamW's pull of the weights to 0; none is plain Adam.", step=0.01),
    ] = 0.0
    beta1: Annotated[
        float, Rule(ge=0, lt=1), Setting("Adam β1", "Memory of the mean gradient. One-cycle moves it.", step=0.01)
    ] = 0.9
    beta2: Annotated[float, Rule(ge=0, lt=1), Setting("Adam β2", "Memory of the squared gradient.", step=0.001)] = 0.999
    clip_norm: Annotated[
        float | None,
        Rule(gt=0),
        Setting("Clip gradient", "Longer gradients are shortened to this norm; empty: never.", live=True, step=0.1),
    ] = 1.0
    ema_decay: Annotated[
        float,
        Rule(ge=0, lt=1),
        Setting(
            "EMA decay",
            "Samples come from a moving average of the weights; 0 takes the weights as they are.",
            level="tweak",
            equation="θ' ← d θ' + (1 − d) θ",
            live=True,
            step=0.001,
        ),
    ] = 0.995
    ema_warmup: Annotated[
        bool,
        Setting(
            "EMA warm-up",
            "Starts with a short average, so that the first weights do not linger in it.",
            equation="min(d, (1 + n)/(10 + n))",
        ),
    ] = True
    stratified: Annotated[
        bool,
        Setting("Spread levels", "Spreads the noise levels of a batch evenly, which makes the loss smoother."),
    ] = True
    autosave: Annotated[
        float,
        Rule(ge=0.05, le=1440),
        Setting("Autosave", "Time between two saves of the whole state.", unit="min", step=1),
    ] = 1.0


# -- sampling ------------------------------------------------------------------------------------------------


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
    spacing: Annotated[
        Literal["uniform", "quadratic", "karras", "log-snr"],
        Setting("Spacing", "Where the sampling steps lie between T and 0.", live=True),
    ] = "uniform"


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
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order with one network call a step."""

    kind: Literal["dpmpp-2m"] = "dpmpp-2m"


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


Sampler = Annotated[DDPM | DDIM | Euler | Heun | DPMSolver2M | Langevin | PlainLangevin, Rule(discriminator="kind")]


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
            "DDIM shows most in few steps; or the recipe's own sampler in so many steps, Langevin with 10 moves in each.",
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
