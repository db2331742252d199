"""What is learnt and how: the meaning of the output, the loss, the optimizer and the average."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field as Rule

from ddpm_studio.recipes.settings import Section, Setting


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
