"""From a recipe to the objects that train: data on the device, network, EMA, optimizer, compute plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ddpm_studio.data import DataError, DataFacts, Dataset
from ddpm_studio.diffusion.denoiser import Denoiser
from ddpm_studio.diffusion.noise import mix
from ddpm_studio.diffusion.parameterization import Parameterization
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.networks import (
    AttentionUNet,
    CompactUNet,
    DDPMUNet,
    PointMLP,
    ScoreMLP,
    Scratch5UNet,
    SimpleUnet,
)
from ddpm_studio.recipes import Recipe, RecipeError
from ddpm_studio.training.compute import ComputePlan, choose_plan
from ddpm_studio.training.ema import Averaging, ema_copy
from ddpm_studio.training.events import Quicker
from ddpm_studio.training.flat import FlatAdamW, Learner
from ddpm_studio.training.recorded import Recordings
from ddpm_studio.training.walks import Again

VALUE_RANGES = {"-1..1": (-1.0, 1.0), "0..1": (0.0, 1.0)}


def make_network(recipe: Recipe, dataset: Dataset | DataFacts) -> nn.Module:
    """The recipe's network for these data, with weights drawn from the recipe's seed.

    Raises:
        RecipeError: if network and data do not go together.
    """
    settings: Any = recipe.network
    torch.manual_seed(mix(recipe.seed, -1))
    if settings.kind in ("point-mlp", "score-mlp"):
        _require(
            dataset.kind == "points",
            "network.kind",
            f"the {settings.kind} learns points, but the data are pictures; choose compact-unet",
        )
    else:
        _require(
            dataset.kind == "pictures",
            "network.kind",
            f"the {settings.kind} learns pictures, but the data are points; choose point-mlp",
        )
    network = _make_network(recipe, dataset)
    sides = dataset.shape[1:]
    multiple = getattr(network, "multiple", 1) if settings.kind != "compact-unet" else 1  # ours pads inside
    if any(side % multiple for side in sides):
        nearest = tuple(max(round(side / multiple), 1) * multiple for side in sides)
        raise RecipeError(
            {
                "data.height": f"the {settings.kind} halves the sides until they must be multiples of {multiple}, but "
                f"the pictures are {sides[1]} × {sides[0]}; set height to {nearest[0]} and width to {nearest[1]}"
            }
        )
    return network


def _make_network(recipe: Recipe, dataset: Dataset | DataFacts) -> nn.Module:
    net: Any = recipe.network
    items = dataset.shape[0]  # channels of a picture, dimensions of a point
    match net.kind:
        case "point-mlp":
            return PointMLP(items, net.width, net.depth, _time_scale(recipe))
        case "score-mlp":
            return ScoreMLP(items, net.widths, net.level_aware)
        case "scratch5-unet":
            return Scratch5UNet(items, net.channels, net.time_width)
        case "simple-unet":
            return SimpleUnet(items, net.channels, net.time_width, net.shared_norm)
        case "attention-unet":
            return AttentionUNet(items, net.base, net.multipliers, heads=net.heads)
        case "ddpm-unet":
            return DDPMUNet(items, net.base, net.multipliers, net.blocks, dropout=net.dropout)
        case "compact-unet":
            classes = len(dataset.classes) if net.class_label else 0
            _require(
                not net.class_label or classes > 1,
                "network.class_label",
                f"{dataset.name} has no class labels; turn class label off",
            )
            return CompactUNet(items, net.channels, net.blocks, net.patch, net.attention, classes, _time_scale(recipe))
        case kind:
            raise ValueError(f"no network is called {kind!r}")


def count_parameters(recipe: Recipe, dataset: Dataset | DataFacts) -> int:
    """How many parameters the recipe's network has on these data; no memory is taken for them."""
    with torch.device("meta"):
        return sum(p.numel() for p in make_network(recipe, dataset).parameters())


def make_denoiser(recipe: Recipe, schedule: NoiseSchedule, network: Any, *, kind: str, clip: bool) -> Denoiser:
    """A denoiser as the recipe describes it; ``clip`` False leaves the recipe's clipping out."""
    low_high = VALUE_RANGES[recipe.data.value_range]
    return Denoiser(
        network,
        schedule,
        Parameterization(recipe.prediction.predicts),
        recipe.prediction.time_label,
        low_high if clip and recipe.prediction.clip_x0 and kind == "pictures" else None,
        scale_input=recipe.prediction.scale_input and recipe.schedule.kind == "geometric",
    )


def _time_scale(recipe: Recipe) -> float:
    """Makes the range of the time label about 1000, for which the embedding's frequencies are made."""
    T = recipe.schedule.steps
    return {"t": 1000 / T, "t-1": 1000 / T, "t/T": 1000.0, "sigma": 1000 / T, "log-sigma": 250.0}[
        recipe.prediction.time_label
    ]


def _require(condition: bool, setting: str, sentence: str) -> None:
    if not condition:
        raise RecipeError({setting: sentence})


class Items:
    """The training items on the compute device: pictures as uint8 (N, C, H, W), points as float32 (N, D)."""

    def __init__(
        self,
        values: np.ndarray[Any, Any],
        labels: np.ndarray[Any, Any] | None,
        recipe: Recipe,
        device: torch.device,
    ) -> None:
        tensor = torch.tensor(values)  # a copy: the data set's own arrays are read-only
        self.pictures = tensor.ndim == 4
        self.values = (tensor.permute(0, 3, 1, 2).contiguous() if self.pictures else tensor).to(device)
        self.labels = None if labels is None else torch.tensor(labels).to(device)
        self.low, self.high = VALUE_RANGES[recipe.data.value_range]
        self.flip = recipe.data.flip and self.pictures

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, index: Tensor, augment: bool = True) -> tuple[Tensor, Tensor | None]:
        """Items as the network sees them, float32 (n, …), and their labels; draws from the default generator."""
        x = self.values[index]
        if self.pictures:
            x = x.float() * ((self.high - self.low) / 255) + self.low
            if augment and self.flip:
                mirrored = torch.rand(len(x), device=x.device) < 0.5
                x = torch.where(mirrored.view(-1, 1, 1, 1), x.flip(-1), x)
        return x, None if self.labels is None else self.labels[index]


class DataOrder:
    """Which items a step sees: a permutation for each epoch from (seed, epoch), indexed by images seen.

    ``epoch_end``: a batch "run-on"s into the next epoch, is "short", or the rest of the epoch is "drop"ped.
    """

    def __init__(self, count: int, seed: int, epoch_end: str = "run-on") -> None:
        self.count, self.seed, self.epoch_end = count, seed, epoch_end
        self._epochs: dict[int, Tensor] = {}

    def __call__(self, images_seen: int, batch: int) -> Tensor:
        """Indices of the next ``batch`` items, int64 (batch,), or fewer where a short batch ends the epoch."""
        if self.epoch_end == "drop":  # whole batches only, also after one of another size
            batch = min(batch, self.count)
            epoch, number = divmod(images_seen // batch, self.count // batch)
            return self._permutation(epoch)[number * batch : (number + 1) * batch]
        parts: list[Tensor] = []
        while batch > 0:
            epoch, start = divmod(images_seen, self.count)
            part = self._permutation(epoch)[start : start + batch]
            parts.append(part)
            if self.epoch_end == "short":
                break
            images_seen, batch = images_seen + len(part), batch - len(part)
        return torch.cat(parts)

    def whole(self, batch: int) -> int:
        """How many items a batch has that no end of an epoch cuts short."""
        return batch if self.epoch_end == "run-on" else min(batch, self.count)

    def _permutation(self, epoch: int) -> Tensor:
        if epoch not in self._epochs:
            generator = torch.Generator().manual_seed(mix(self.seed, 1, epoch))
            self._epochs = {epoch: torch.randperm(self.count, generator=generator)}
        return self._epochs[epoch]


@dataclass
class Session:
    """A training in memory: the recipe's objects and where it stands. Whole between any two events.

    ``dataset`` None: it was opened to sample from, which needs no more than the ``data`` facts.
    """

    recipe: Recipe
    data: DataFacts
    dataset: Dataset | None
    schedule: NoiseSchedule
    plan: ComputePlan
    network: nn.Module
    ema: nn.Module
    optimizer: FlatAdamW
    step: int = 0
    images_seen: int = 0
    rate_scale: float = 1.0  # halved by a roll-back
    ema_updates: int = 0
    preview_calls: int = 0  # network calls of a preview, once they are chosen
    notes: list[str] = field(default_factory=list)  # what is slower here than it might be, and why; see ``news``
    _raw: nn.Module | None = field(default=None, repr=False)
    _calls: dict[nn.Module, Any] = field(default_factory=dict, repr=False)  # of the networks that are sampled with

    @cached_property
    def items(self) -> Items:
        """What is learnt from."""
        data = self._in_memory()
        return Items(data.train, data.labels, self.recipe, self.plan.device)

    @cached_property
    def held_out(self) -> Items:
        data = self._in_memory()
        return Items(data.held_out, data.held_out_labels, self.recipe, self.plan.device)

    @cached_property
    def order(self) -> DataOrder:
        return DataOrder(len(self._in_memory()), self.recipe.seed, self.recipe.data.epoch_end)

    def _in_memory(self) -> Dataset:
        if self.dataset is None:
            raise DataError(f"{self.data.name} was not opened, so nothing can be learnt from it here: only sampled.")
        return self.dataset

    @cached_property
    def members(self) -> list[Learner]:
        """The network and its gradient, for each thread that takes a part of a batch."""
        crew, adam = self.plan.crew, self.optimizer
        pairs = [(self.network, adam.gradient)]
        pairs += [adam.replica(self.network) for _ in range(crew.size - 1 if crew else 0)]
        return [Learner(network, adam.flat, gradient, rounded=self.plan.masters) for network, gradient in pairs]

    @cached_property
    def average(self) -> Averaging:
        """Moves the EMA towards the network."""
        return Averaging(self.ema, self.network, self.optimizer.flat.values)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())

    @property
    def classes(self) -> int:
        return len(self.data.classes) if getattr(self.recipe.network, "class_label", False) else 0

    def training_denoiser(self, network: nn.Module | None = None) -> Denoiser:
        """A denoiser of the network, or of another one of the ``members``."""
        call = self.plan.call(network or self.network)
        return make_denoiser(self.recipe, self.schedule, call, kind=self.data.kind, clip=False)

    @cached_property
    def recordings(self) -> Recordings:
        """What is recorded of its sampling, on a card."""
        return Recordings(self.notes.append)

    def sampling_denoiser(self, weights: str, *, clip: bool = True) -> Denoiser:
        """A denoiser of the EMA or of a frozen copy of the raw weights of this moment."""
        network = self._sampled(weights)
        if network not in self._calls:
            self._calls[network] = self.plan.call_shared(network, self.recordings)
        return self._denoiser(self._calls[network], clip)

    def again(self, weights: str, *, clip: bool = True) -> Again | None:
        """With what ``walk`` records those that come again: of the weights that ``sampling_denoiser`` last took."""
        if not self.plan.graphs:
            return None
        network = self.ema if weights == "ema" or self._raw is None else self._raw
        return Again(self.recordings, network, self._denoiser(self.plan.call(network), clip))

    def _sampled(self, weights: str) -> nn.Module:
        if weights == "ema":
            return self.ema
        if self._raw is None:
            self._raw = ema_copy(self.network)
        self._raw.load_state_dict(self.network.state_dict())
        return self._raw

    def _denoiser(self, call: Callable[..., Tensor], clip: bool) -> Denoiser:
        return make_denoiser(self.recipe, self.schedule, call, kind=self.data.kind, clip=clip)

    def news(self) -> Iterator[Quicker]:
        """The notes that have not been told yet."""
        while self.notes:
            yield Quicker(self.step, self.notes.pop(0), False)

    # -- the state as tensors (for checkpoints and roll-back)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything that a later session needs, as named tensors and plain numbers. Tensors are not copied."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in self.optimizer.slots().items()}
        numbers = {
            "step": self.step,
            "images_seen": self.images_seen,
            "rate_scale": self.rate_scale,
            "ema_updates": self.ema_updates,
            "preview_calls": self.preview_calls,
            "precision": self.plan.precision,
            "masters": self.plan.masters,
            "device": self.plan.device.type,
        }
        return tensors, numbers

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            ValueError: if the state belongs to another network.
        """
        try:
            self.network.load_state_dict(_under(tensors, "network."))
            self.ema.load_state_dict(_under(tensors, "ema."))
        except RuntimeError as error:
            raise ValueError("the saved weights belong to another network than the recipe describes") from error
        self.optimizer.load_slots(_under(tensors, "optimizer."))
        self.step, self.images_seen = int(numbers["step"]), int(numbers["images_seen"])
        self.rate_scale, self.ema_updates = float(numbers["rate_scale"]), int(numbers["ema_updates"])
        self.preview_calls = int(numbers.get("preview_calls", 0))


def build(
    recipe: Recipe, dataset: Dataset | DataFacts, *, precision: str | None = None, masters: bool | None = None
) -> Session:
    """Make everything for training ``recipe`` on ``dataset``, at step 0; or for sampling, from its facts alone.

    ``precision`` and ``masters`` fix how it computes (a resumed run keeps its own).

    Raises:
        RecipeError: if the parts do not fit the data. DeviceError: if the device is not there.
    """
    network = make_network(recipe, dataset)
    plan = choose_plan(recipe, network, dataset.shape, precision, masters)
    network = plan.place(network)
    settings = recipe.training
    optimizer = FlatAdamW(network, betas=(settings.beta1, settings.beta2), weight_decay=settings.weight_decay)
    return Session(
        recipe=recipe,
        data=dataset.facts if isinstance(dataset, Dataset) else dataset,
        dataset=dataset if isinstance(dataset, Dataset) else None,
        schedule=NoiseSchedule.named(**recipe.schedule.model_dump()),
        plan=plan,
        network=network.train(),
        ema=ema_copy(network),
        optimizer=optimizer,
    )


def snapshot(session: Session) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A copy of the state that later training cannot change."""
    tensors, numbers = session.state()
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}, deepcopy(numbers)


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
