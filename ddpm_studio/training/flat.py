"""All parameters of a network in one vector: what goes over all of them is one operation, not one for each."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import accumulate, groupby
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_studio.networks.layers import products, read_as_weights


class Flat:
    """A network whose parameters are views of ``values``, in the network's order and each in its own layout.

    Attributes:
        values: float32 (P,), all parameters.
        names, starts: of the parameters, and where each begins in the vector.
    """

    def __init__(self, network: nn.Module) -> None:
        """Move the parameters of ``network`` into one vector; they keep their values and memory layouts."""
        named = dict(network.named_parameters())
        self.names = list(named)
        self._likes = [parameter.detach() for parameter in named.values()]
        ends = list(accumulate(p.numel() for p in self._likes))
        self.starts = [0, *ends[:-1]]
        self.values = self._likes[0].new_zeros(ends[-1])
        for parameter, view in zip(named.values(), self.views(self.values), strict=True):
            view.copy_(parameter.detach())
            parameter.data = view

    def views(self, vector: Tensor) -> Iterator[Tensor]:
        """The part of ``vector`` (P,) that belongs to each parameter, in its shape and layout."""
        for like, start in zip(self._likes, self.starts, strict=True):
            part = vector[start : start + like.numel()]
            if like.ndim == 4 and not like.is_contiguous():  # channels_last: laid out as (O, H, W, I)
                o, i, h, w = like.shape
                yield part.view(o, h, w, i).permute(0, 3, 1, 2)
            else:
                yield part.view(like.shape)

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """``views`` by the parameters' names."""
        return dict(zip(self.names, self.views(vector), strict=True))

    def gradient(self, network: nn.Module) -> Tensor:
        """A new vector of zeros (P,), whose parts are from now on the ``grad`` of the network's parameters."""
        vector = torch.zeros_like(self.values)
        for parameter, view in zip(network.parameters(), self.views(vector), strict=True):
            parameter.grad = view
        return vector

    def segments(self, keys: Sequence[object]) -> list[slice]:
        """The longest parts of a vector in which all parameters have the same key."""
        begins = [next(run) for _, run in groupby(range(len(keys)), key=keys.__getitem__)]
        starts = [self.starts[i] for i in begins]
        return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(self.values)], strict=True)]


class Learner:
    """A network as a step uses it: between ``begin`` and ``end`` a backward pass adds to ``gradient``.

    ``rounded``: its products have bfloat16 weights, a copy of the float32 ones, and so have their gradients. Nothing
    else is copied: norms, time MLP and last layer are those of the network that learns.

    Attributes:
        network: what is called.
        gradient: float32 (P,).
    """

    def __init__(self, network: nn.Module, flat: Flat, gradient: Tensor, *, rounded: bool = False) -> None:
        """``flat``: of ``network``, whose parameters' ``grad`` are views of ``gradient``."""
        self.network, self.gradient, self._exact = network, gradient, flat.values
        self._rounded: tuple[Tensor, Tensor] | None = None
        if rounded:
            values, slopes = (torch.zeros_like(flat.values, dtype=torch.bfloat16) for _ in range(2))
            self._rounded = values, slopes
            inside = {id(parameter) for layer in products(network) for parameter in layer.parameters()}
            # What the second module has in common with the first, or in place of it.
            common: dict[int, Any] = {id(own): own for own in (*network.parameters(), *network.buffers())}
            for own, value, slope in zip(network.parameters(), flat.views(values), flat.views(slopes), strict=True):
                if id(own) in inside:
                    common[id(own)] = twin = nn.Parameter(value)
                    twin.grad = slope
            self.network = read_as_weights(deepcopy(network, common))

    def begin(self) -> None:
        """Forget the last gradient, and round the weights of now."""
        self.gradient.zero_()
        if self._rounded is not None:
            values, slopes = self._rounded
            values.copy_(self._exact)
            slopes.zero_()

    def end(self) -> None:
        """``gradient`` is whole from here on."""
        if self._rounded is not None:
            self.gradient.add_(self._rounded[1])


class FlatAdamW:
    """AdamW over a flat network: one fused call, and moments by name for whoever saves or carries them over.

    The parameters' ``grad`` are views of ``gradient``, so a backward pass adds into it. Parameters that joined with a
    fork have taken fewer steps than the others, by which their moments are corrected: each run of parameters with
    the same count is a tensor of its own for the optimizer.

    Attributes:
        flat: the network's parameters, moved into one vector.
        gradient: float32 (P,).
        adam: torch's optimizer, another one after ``load_slots``.
        rate: the learning rate, a tensor () on the device: a step that a card replays reads it there.
    """

    def __init__(self, network: nn.Module, *, betas: tuple[float, float], weight_decay: float) -> None:
        self.flat = flat = Flat(network)
        self.gradient = flat.gradient(network)
        self.rate = torch.zeros((), device=flat.values.device)
        self._moments = {slot: torch.zeros_like(flat.values) for slot in ("exp_avg", "exp_avg_sq")}
        self._settings: dict[str, Any] = {"betas": betas, "weight_decay": weight_decay}
        self._begin([0.0] * len(flat.names))

    def _begin(self, counts: Sequence[float]) -> None:
        """Make the optimizer for parameters that have taken ``counts`` steps."""
        parts = self.flat.segments(counts)
        values = [nn.Parameter(self.flat.values[part]) for part in parts]
        card = self.rate.is_cuda
        self.adam = torch.optim.AdamW(values, lr=self.rate, fused=True, capturable=card, **self._settings)
        for own, part, (count, _) in zip(values, parts, groupby(counts), strict=True):
            own.grad = self.gradient[part]
            moments = {slot: vector[part] for slot, vector in self._moments.items()}
            self.adam.state[own] = {"step": torch.tensor(count, device=self.rate.device), **moments}

    def step(self, beta1: float, skip: Tensor) -> None:
        """One update with ``gradient`` and ``rate``; none at all if ``skip`` () is 1."""
        (group,) = self.adam.param_groups
        group["betas"] = (beta1, group["betas"][1])
        self.adam.found_inf = skip  # type: ignore[attr-defined]  # what torch's GradScaler tells a fused optimizer
        self.adam.step()

    def replica(self, network: nn.Module) -> tuple[nn.Module, Tensor]:
        """A second module with the very same parameters and a gradient (P,) of its own, for another thread."""
        other = deepcopy(network)
        for twin, own in zip(other.parameters(), network.parameters(), strict=True):
            twin.data = own.data
        return other, self.flat.gradient(other)

    def slots(self) -> dict[str, Tensor]:
        """The moments and counts of all parameters, "name.slot" as torch's AdamW calls the slots; not copied."""
        named = {
            f"{name}.{slot}": view for slot, v in self._moments.items() for name, view in self.flat.named(v).items()
        }
        parts = self.adam.param_groups[0]["params"]
        ends = list(accumulate(part.numel() for part in parts))
        for name, start in zip(self.flat.names, self.flat.starts, strict=True):
            named[f"{name}.step"] = self.adam.state[parts[bisect_right(ends, start)]]["step"].clone()
        return named

    def load_slots(self, slots: Mapping[str, Tensor]) -> None:
        """Take moments and counts by name; a parameter without any, or of another shape, begins without."""
        counts = []
        mine = {slot: self.flat.named(vector) for slot, vector in self._moments.items()}
        for name in self.flat.names:
            there = [slots.get(f"{name}.{slot}") for slot in self._moments]
            whole = all(v is not None and v.shape == mine["exp_avg"][name].shape for v in there)
            for views, value in zip(mine.values(), there, strict=True):
                views[name].copy_(value) if whole and value is not None else views[name].zero_()
            counts.append(float(slots[f"{name}.step"]) if whole else 0.0)
        self._begin(counts)
