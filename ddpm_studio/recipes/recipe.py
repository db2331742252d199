"""The Recipe: one experiment as one frozen, validated value.

Data, noise schedule, network, loss, optimiser, EMA, sampler and seed. Everything that a run needs to be
repeated stands here; nothing else does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field as Rule
from pydantic import ValidationError, field_validator, model_validator

from ddpm_studio.recipes.settings import Section, Setting, fields_of


class RecipeError(ValueError):
    """A recipe that cannot work. ``problems`` maps a setting ("schedule.steps") to one sentence."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems.items()))


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
    flip: Annotated[
        bool,
        Setting("Mirror", "Shows each picture left-right mirrored half of the time. Wrong for letters and digits."),
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


Network = Annotated[CompactUNet | PointMLP, Rule(discriminator="kind")]


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
        Literal["uniform", "min-snr"],
        Setting(
            "Loss weight",
            "Uniform treats all noise levels alike; min-SNR keeps easy levels from dominating (arXiv 2303.09556).",
            level="tweak",
            equation="w = min(SNR, γ)",
            live=True,
            choices={"uniform": "uniform", "min-snr": "min-SNR"},
        ),
    ] = "uniform"
    gamma: Annotated[
        float,
        Rule(gt=0, le=100),
        Setting("min-SNR γ", "The cap of the min-SNR weight; 5 in the paper.", equation="γ", live=True),
    ] = 5.0


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
        Setting("Warm-up", "Steps in which the learning rate grows from 0.", unit="steps"),
    ] = 0
    decay: Annotated[
        Literal["none", "linear", "cosine"],
        Setting("Decay", "How the learning rate falls to 0 until the last step."),
    ] = "none"
    weight_decay: Annotated[
        float, Rule(ge=0, le=1), Setting("Weight decay", "AdamW's pull of the weights to 0.", step=0.01)
    ] = 0.0
    beta1: Annotated[float, Rule(ge=0, lt=1), Setting("Adam β1", "Memory of the mean gradient.", step=0.01)] = 0.9
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
            "Samples come from a moving average of the weights, which warms up so that early ones are not ignored.",
            level="tweak",
            equation="min(decay, (1 + n)/(10 + n))",
            live=True,
            step=0.001,
        ),
    ] = 0.995
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


class _Sampler(Section):
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


class DDPM(_Sampler):
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


class DDIM(_Sampler):
    """Generalised DDIM (arXiv 2010.02502, eq. 12); η = 0 adds no noise."""

    kind: Literal["ddim"] = "ddim"
    eta: Annotated[
        float,
        Rule(ge=0, le=1),
        Setting("η", "0 adds no noise, 1 adds as much as DDPM.", level="tweak", equation="η", live=True, step=0.1),
    ] = 0.0


class Euler(_Sampler):
    """Euler's method for the probability-flow ODE in σ/α (arXiv 2206.00364)."""

    kind: Literal["euler"] = "euler"


class Heun(_Sampler):
    """Heun's second-order method (arXiv 2206.00364, algorithm 1); two network calls a step."""

    kind: Literal["heun"] = "heun"


class DPMSolver2M(_Sampler):
    """DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2): second order with one network call a step."""

    kind: Literal["dpmpp-2m"] = "dpmpp-2m"


Sampler = Annotated[DDPM | DDIM | Euler | Heun | DPMSolver2M, Rule(discriminator="kind")]


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


# -- the whole ---------------------------------------------------------------------------------------------------


SECTION_TITLES = {
    "data": "Data",
    "schedule": "Noise schedule",
    "network": "Network",
    "prediction": "Prediction",
    "objective": "Loss",
    "training": "Learning",
    "sampler": "Sampling",
    "preview": "Preview",
    "compute": "Computer",
}


class Recipe(Section):
    """One experiment. Sections are in the order in which data flows through them."""

    name: str = "untitled"
    title: str = "Untitled"
    about: str = ""
    seed: Annotated[
        int,
        Rule(ge=0, lt=2**31),
        Setting("Seed", "Fixes all chance: first weights, order of the data, noise.", level="tweak"),
    ] = 0
    data: Data = Data()
    schedule: Schedule = Cosine()
    network: Network = CompactUNet()
    prediction: Prediction = Prediction()
    objective: Objective = Objective()
    training: Training = Training()
    sampler: Sampler = DDIM()
    preview: Preview = Preview()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.schedule.kind == "flow" and self.prediction.predicts in ("epsilon", "score"):
            raise ValueError(
                f"prediction.predicts: at t = T a flow keeps nothing of the picture, so {self.prediction.predicts} "
                "cannot be turned into a picture; predict velocity, v or x0"
            )
        if self.sampler.steps > self.schedule.steps:
            raise ValueError(
                f"sampler.steps: {self.sampler.steps} sampling steps do not fit into T = {self.schedule.steps} levels; "
                f"use at most {self.schedule.steps}"
            )
        return self

    # -- making and changing

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Recipe:
        """Validate plain values (as read from TOML).

        Raises:
            RecipeError: with one sentence for every setting that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(_sentences(error)) from None

    def with_settings(self, changes: dict[str, Any]) -> Recipe:
        """A copy with some settings changed, e.g. ``{"training.batch": 32, "schedule.kind": "linear"}``.

        Where a section changes its kind, settings that the new kind knows are carried over.

        Raises:
            RecipeError: for an unknown name or a value that does not fit.
        """
        values = self.model_dump(mode="json")
        for path, value in changes.items():
            _assign(values, path, value)
        return type(self).parse(values)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Settings in which two recipes differ, as ``{"training.batch": (mine, theirs)}``; texts do not count."""
        mine, theirs = _flat(self), _flat(other)
        return {
            path: (mine.get(path), theirs.get(path))
            for path in mine | theirs
            if mine.get(path) != theirs.get(path) and path not in ("name", "title", "about")
        }


def kinds_of(section: str) -> dict[str, type[Section]]:
    """The classes that a section with a ``kind`` can have, by kind: ``kinds_of("sampler")["ddim"]``."""
    info = Recipe.model_fields[section]
    members: tuple[Any, ...] = get_args(info.annotation) or (info.annotation,)
    return {cls.model_fields["kind"].default: cls for cls in members if "kind" in cls.model_fields}


def section_class(recipe: Recipe, section: str) -> type[Section]:
    """The class of a recipe's section."""
    return type(getattr(recipe, section))


def live_settings(recipe: Recipe) -> set[str]:
    """The settings that may change between two training steps; a sampler may change its kind as well."""
    live = {
        f"{section}.{field.name}"
        for section in SECTION_TITLES
        for field in fields_of(section_class(recipe, section))
        if field.setting.live
    }
    return live | {"sampler.kind"}


def _flat(recipe: Recipe) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": v for key, v in value.items()})
        else:
            flat[name] = value
    return flat


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    section, _, name = path.rpartition(".")
    if section and not isinstance(values.get(section), dict):
        raise RecipeError(
            {path: f"there is no section called {section!r}; the sections are {', '.join(SECTION_TITLES)}"}
        )
    target = values[section] if section else values
    if name == "kind" and section and (kinds := kinds_of(section)):
        if value not in list(kinds):
            raise RecipeError({path: f"{value!r} is none of {', '.join(kinds)}"})
        kept = {k: v for k, v in target.items() if k in kinds[value].model_fields}
        values[section] = kept | {"kind": value}
        return
    target[name] = value


def _limit(item: Any) -> str:
    """A range or type that was missed, in the form's words."""
    limits = item.get("ctx", {})
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for key, word in words.items():
        if key in limits:
            return f"must be {word} {limits[key]}"
    return {"int_parsing": "must be a whole number", "float_parsing": "must be a number"}.get(item["type"], "")


def _sentences(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A discriminated union adds its tag to the path; the user's words are section.setting.
        parts = [str(p) for p in item["loc"]]
        if len(parts) > 1 and parts[0] in ("schedule", "network", "sampler"):
            parts = [parts[0], *parts[2:]]
        path = ".".join(parts[:2])
        text = item["msg"].removeprefix("Value error, ").rstrip(".")
        if not path and ": " in text:
            path, text = text.split(": ", 1)
        if item["type"] == "extra_forbidden":
            text = "there is no such setting"
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            given = f"{item['ctx']['tag']!r} is none" if "tag" in item["ctx"] else "say which"
            path, text = f"{parts[0]}.kind", f"{given} of {', '.join(kinds_of(parts[0]))}"
        elif item["type"] != "value_error":
            given = item.get("input")
            text = _limit(item) or text
            text = f"{text[0].lower()}{text[1:]}, but it is {given!r}"
        problems.setdefault(path, text)
    return problems
