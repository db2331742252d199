"""Learning with bfloat16 weights beside float32 masters, as a card may do: here it is compared with float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddpm_studio.bench.flops import data_of
from ddpm_studio.engine import dataset_of
from ddpm_studio.networks.layers import EXACT, products
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.training import compute
from ddpm_studio.training.build import Session, build, make_network
from ddpm_studio.training.compute import ComputePlan, fill_zeros
from ddpm_studio.training.control import Control
from ddpm_studio.training.crew import Crew
from ddpm_studio.training.events import StepDone
from ddpm_studio.training.flat import Flat, Learner
from ddpm_studio.training.step import TrainingStep
from ddpm_studio.training.trainer import train

RecipeOf = Callable[..., Recipe]
SMALL = (
    "fashion-mnist",
    "scratch5-mnist-laptop",
    "ddpm-cifar10-laptop",
    "simple-unet-cars-laptop",
    "attention-mnist-laptop",
)
every_network = pytest.mark.parametrize("name", SMALL)


def made(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    facts = data_of(find(name))
    network = make_network(find(name), facts).train()
    fill_zeros(network)
    return network.to(memory_format=torch.channels_last), facts.shape  # type: ignore[call-overload]


def learner_of(network: nn.Module, rounded: bool) -> Learner:
    flat = Flat(network)
    return Learner(network, flat, flat.gradient(network), rounded=rounded)


def descend(learner: Learner, shape: Sequence[int], seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    x, goal = (torch.randn(3, *shape, generator=draw) for _ in range(2))
    learner.begin()
    torch.manual_seed(seed)  # dropout
    out: Tensor = learner.network(x, 1 + 300 * torch.rand(3, generator=draw))
    (out - goal).square().mean().backward()  # type: ignore[no-untyped-call]
    learner.end()
    return out.detach()


def near(a: Tensor, b: Tensor) -> float:
    return float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))


@every_network
def test_output_and_gradient_are_near_those_in_float32(name: str) -> None:
    (network, shape), (twin, _) = made(name), made(name)
    exact, rounded = learner_of(network, False), learner_of(twin, True)
    for seed in range(2):  # the first gradient is forgotten
        wanted, found = descend(exact, shape, seed), descend(rounded, shape, seed)
    assert found.dtype == rounded.gradient.dtype == torch.float32
    assert near(found, wanted) > 0.999
    assert near(rounded.gradient, exact.gradient) > 0.97
    assert not torch.equal(rounded.gradient, exact.gradient)
    for mine, theirs in zip(twin.buffers(), network.buffers(), strict=True):  # statistics of batches
        torch.testing.assert_close(mine, theirs, rtol=0.02, atol=0.02)


@every_network
def test_time_last_layer_and_norms_are_not_rounded(name: str) -> None:
    network, shape = made(name)
    learner = learner_of(network, True)
    own = dict(network.named_parameters())
    for part, parameter in learner.network.named_parameters():
        exact = part.split(".")[0] in EXACT
        assert exact <= (parameter is own[part]), part
        assert parameter.dtype == (torch.float32 if parameter is own[part] else torch.bfloat16)
    share = sum(p.numel() for p in learner.network.parameters() if p.dtype == torch.bfloat16) / len(learner.gradient)
    assert share > 0.6
    assert {name.split(".")[0] for name in own} & set(EXACT) >= {"leave"}
    assert len(products(network)) > 5
    seen: set[torch.dtype] = set()
    learner.network.get_submodule("leave").register_forward_hook(lambda layer, given, out: seen.add(out.dtype))
    descend(learner, shape)
    assert seen == {torch.float32}


def test_a_step_reads_the_weights_of_now() -> None:
    network, shape = made("fashion-mnist")
    learner = learner_of(network, True)
    before = descend(learner, shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    assert near(descend(learner, shape), before) < 0.999
    for rounded, own in zip(learner.network.parameters(), network.parameters(), strict=True):
        assert torch.equal(rounded, own.to(rounded.dtype))


def session_of(recipe: Recipe, **plan: Any) -> Session:
    session = build(recipe, dataset_of(recipe))
    session.plan = replace(session.plan, **plan)
    return session


@pytest.mark.parametrize("crew", [None, 2])
def test_it_learns_as_in_float32(crew: int | None, recipe_of: RecipeOf) -> None:
    recipe = recipe_of("pictures", training__learning_rate=3e-3, training__batch=16)
    losses = []
    for masters in (False, True):
        session = session_of(recipe, masters=masters, crew=Crew(crew) if crew else None)
        events = list(train(session, Control(), until=40))
        losses.append(torch.tensor([e.loss for e in events if isinstance(e, StepDone)]))
        assert {tensor.dtype for tensor in session.state()[0].values()} == {torch.float32}
    exact, rounded = losses
    assert exact[-10:].mean() < 0.97 * exact[:5].mean()
    assert torch.allclose(rounded, exact, rtol=0.05)
    assert not torch.equal(rounded, exact)


def test_what_it_learns_goes_on_in_float32(recipe_of: RecipeOf) -> None:
    """A checkpoint does not say with which weights it was learnt."""
    recipe = recipe_of("pictures")
    rounded, exact = session_of(recipe, masters=True), session_of(recipe)
    TrainingStep(rounded).advance()
    exact.load_state(*rounded.state())
    for session in (rounded, exact):
        TrainingStep(session).advance()
    for name, tensor in exact.state()[0].items():
        if name.startswith("network."):
            torch.testing.assert_close(tensor, rounded.state()[0][name], rtol=0.05, atol=5e-3)


# -- the choice, on a card that is not here


@pytest.mark.parametrize(
    ("autocast", "masters", "cosine", "chosen"),
    [
        (0.5, 0.3, 1.0, ("bfloat16", True)),
        (0.5, 0.6, 1.0, ("bfloat16", False)),
        (2.0, 0.5, 1.0, ("bfloat16", True)),
        (0.5, 0.3, 0.5, ("bfloat16", False)),
        (2.0, 2.0, 1.0, ("float32", False)),
        (0.5, None, 1.0, ("bfloat16", False)),
    ],
)
@pytest.mark.parametrize("fixed", [False, True], ids=["open", "as it began"])
def test_masters_only_where_they_pay_and_agree(
    fixed: bool,
    autocast: float,
    masters: float | None,
    cosine: float,
    chosen: tuple[str, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        if plan.masters and masters is None:
            raise RuntimeError("no such kernel\nand more")
        each = 1.0 if plan.precision == "float32" else masters if plan.masters else autocast
        assert each is not None
        slope = [cosine, (1 - cosine**2) ** 0.5] if plan.masters else [1.0, 0.0]
        return each * 1e-4 * count, torch.tensor(slope)

    monkeypatch.setattr(compute._Benchmark, "step", step)
    card = ComputePlan(torch.device("cuda"), "float32", False, 1)
    wishes = ("bfloat16",) if fixed else ("float32", "bfloat16")
    choice = compute._Benchmark(nn.Linear(1, 1), (1,)).choose(card, 64, wishes, ("channels_last",))
    if fixed and chosen[0] == "float32":  # there is nothing but bfloat16, and nothing gained by masters
        chosen = ("bfloat16", False)
    assert (choice.precision, choice.masters) == chosen
    assert "masters" in choice.reason
    if masters is None:
        assert "cannot be had here: no such kernel;" in choice.reason


def test_a_processor_does_not_try_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        tried.append(plan.masters)
        return 1e-4 * count, torch.ones(2)

    monkeypatch.setattr(compute._Benchmark, "step", step)
    plan = ComputePlan(torch.device("cpu"), "float32", False, 1)
    compute._Benchmark(nn.Linear(1, 1), (1,)).choose(plan, 8, ("float32", "bfloat16"), ("channels_last",))
    assert not any(tried)
