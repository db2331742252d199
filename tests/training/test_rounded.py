"""Learning with bfloat16 weights beside float32 masters, as a card may do: here it is compared with float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ddpm_studio.bench.flops import data_of
from ddpm_studio.engine import dataset_of, open_session
from ddpm_studio.networks.layers import EXACT, products
from ddpm_studio.recipes import Recipe, find
from ddpm_studio.store import Run, save_checkpoint
from ddpm_studio.training import build as build_module
from ddpm_studio.training import compute
from ddpm_studio.training.build import Session, build, make_network
from ddpm_studio.training.compute import Choice, ComputePlan, fill_zeros
from ddpm_studio.training.control import Control
from ddpm_studio.training.crew import Crew
from ddpm_studio.training.events import StepDone
from ddpm_studio.training.flat import Flat, Learner
from ddpm_studio.training.recorded import WARM_UP
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
    """Its state is the same: elsewhere, or where a recipe asks for it, it goes on without bfloat16."""
    recipe = recipe_of("pictures")
    rounded, exact = session_of(recipe, masters=True), session_of(recipe)
    TrainingStep(rounded).advance()
    exact.load_state(*rounded.state())
    for session in (rounded, exact):
        TrainingStep(session).advance()
    for name, tensor in exact.state()[0].items():
        if name.startswith("network."):
            torch.testing.assert_close(tensor, rounded.state()[0][name], rtol=0.05, atol=5e-3)


def test_a_checkpoint_says_with_which_weights_it_was_learnt(
    recipe_of: RecipeOf, new_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where none is said, it is an older one: it opens, and what is quicker is chosen anew."""
    run = new_run(recipe_of("pictures"))
    session = session_of(run.recipe(), masters=True, precision="bfloat16")
    TrainingStep(session).advance()
    saved = save_checkpoint(run.checkpoint_folder, *session.state(), session.recipe, session.data)
    kept: list[tuple[Any, ...]] = []

    def chosen(recipe: Recipe, network: nn.Module, shape: Sequence[int], *fixed: Any) -> ComputePlan:
        kept.append(fixed)
        return real(recipe, network, shape, *fixed)

    real = compute.choose_plan
    monkeypatch.setattr(build_module, "choose_plan", chosen)
    again = open_session(run)
    assert (again.plan.precision, again.plan.masters, again.step) == ("bfloat16", True, 1)
    assert again.plan.reason == "as this run began; not compared"
    about = saved.about_file.read_text(encoding="utf-8")
    assert "masters = true" in about
    saved.about_file.write_text(about.replace("masters = true\n", ""), encoding="utf-8")
    assert open_session(run).step == 1
    assert kept == [("bfloat16", True), ("bfloat16", None)]


# -- the choice, on a card that is not here


CARD = ComputePlan(torch.device("cuda"), "float32", False, 1)
SLOPE = torch.tensor([1.0, 0.0])


def chosen_on_a_card(
    monkeypatch: pytest.MonkeyPatch,
    precisions: Sequence[str] = ("float32", "bfloat16"),
    keep: bool | None = None,
    *,
    cosine: float = 1.0,
    **seconds: float | None,
) -> Choice:
    """What is chosen where a step takes so long beside one of float32; ``cosine``: of its gradient, with masters."""

    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        each = {"float32": 1.0, **seconds}["masters" if plan.masters else plan.precision]
        if each is None:
            raise RuntimeError("no such kernel\nand more")
        slope = torch.tensor([cosine, (1 - cosine**2) ** 0.5]) if plan.masters else SLOPE
        return each * 1e-4 * count, slope

    monkeypatch.setattr(compute._Benchmark, "step", step)
    bench = compute._Benchmark(nn.Linear(1, 1), (1,))
    return bench.choose(CARD, 64, precisions, ("channels_last",), keep)


@pytest.mark.parametrize(
    ("autocast", "masters", "cosine", "chosen"),
    [
        (0.5, 0.3, 1.0, ("bfloat16", True)),
        (0.5, 0.6, 1.0, ("bfloat16", False)),
        (0.5, 0.47, 1.0, ("bfloat16", False)),
        (0.5, 0.44, 1.0, ("bfloat16", True)),
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
    """The same is asked of them, whether bfloat16 was chosen here or before."""
    wishes = ("bfloat16",) if fixed else ("float32", "bfloat16")
    choice = chosen_on_a_card(monkeypatch, wishes, cosine=cosine, bfloat16=autocast, masters=masters)
    if fixed and chosen[0] == "float32":  # there is nothing but bfloat16, and nothing gained by masters
        chosen = ("bfloat16", False)
    assert (choice.precision, choice.masters) == chosen
    assert "masters" in choice.reason
    assert "not compared" not in choice.reason
    if masters is None:
        assert choice.reason.endswith("bfloat16 with float32 masters cannot be had here: no such kernel")


@pytest.mark.parametrize(
    ("autocast", "masters", "reasons"),
    [
        (0.5, 0.59, ["bfloat16 is 2.0×", "channels_last", "bfloat16 with float32 masters gains too little over bf"]),
        (0.5, 0.25, ["bfloat16 with float32 masters is 2.0× faster than bfloat16", "bfloat16 is 2.0×", "channels"]),
        (0.95, 1.0, ["channels_last", "bfloat16 gains too little", "bfloat16 with float32 masters gains too little"]),
        (2.0, 0.5, ["bfloat16 with float32 masters is 2.0× faster here", "channels_last", "bfloat16 gains too"]),
    ],
)
def test_the_winners_reason_comes_first(
    autocast: float, masters: float, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = chosen_on_a_card(monkeypatch, bfloat16=autocast, masters=masters).reason.split("; ")
    assert all(mine.startswith(theirs) for mine, theirs in zip(told, reasons, strict=True)), told


def test_a_run_goes_on_with_the_weights_it_began_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is quicker now."""
    for masters in (False, True):
        choice = chosen_on_a_card(monkeypatch, ("bfloat16",), masters, bfloat16=0.5, masters=1.0 - 0.8 * masters)
        assert (choice.precision, choice.masters, choice.reason) == ("bfloat16", masters, "not compared")


@pytest.mark.parametrize(("seconds", "chosen"), [(0.5, "tf32"), (0.95, "float32"), (2.0, "float32")])
def test_float32_on_a_card_is_rounded_where_that_pays_and_agrees(
    seconds: float, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = chosen_on_a_card(monkeypatch, ("float32", "tf32"), tf32=seconds)
    assert choice.precision == chosen
    assert choice.reason.startswith("TF32 in float32's products is 2.0× faster here and agrees") == (chosen == "tf32")
    assert "TF32" in choice.reason
    better = chosen_on_a_card(monkeypatch, ("float32", "tf32", "bfloat16"), tf32=0.5, bfloat16=0.4, masters=0.5)
    assert (better.precision, better.masters) == ("bfloat16", False)
    assert better.reason.startswith("bfloat16 is 1.2× faster than TF32 in float32's products")
    same = chosen_on_a_card(monkeypatch, ("float32", "tf32", "bfloat16"), tf32=0.5, bfloat16=0.48, masters=0.48)
    assert same.precision == "tf32"


def test_a_wish_for_float32_lets_a_card_round_its_products(recipe_of: RecipeOf) -> None:
    """A run that began without goes on without; a processor has nothing like it."""
    recipe, cuda, cpu = recipe_of("pictures"), torch.device("cuda"), torch.device("cpu")
    assert compute.asked_precisions(recipe, cuda) == ("float32", "tf32")
    assert compute.asked_precisions(recipe, cpu) == ("float32",)
    assert compute.asked_precisions(recipe_of("pictures", compute__precision="auto"), cuda)[-1] == "tf32"
    assert compute.asked_precisions(recipe_of("pictures", compute__precision="bfloat16"), cuda) == ("bfloat16",)
    assert compute.asked_precisions(recipe, cuda, "float32") == ("float32",)


@pytest.mark.parametrize(("precision", "rounded"), [("float32", False), ("tf32", True), ("bfloat16", True)])
def test_the_libraries_are_told(precision: str, rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    for name in ("benchmark", "allow_tf32"):
        monkeypatch.setattr(torch.backends.cudnn, name, not rounded)
    try:
        replace(CARD, precision=precision).call(nn.Identity())  # nothing is told before it computes
        assert torch.get_float32_matmul_precision() == before
        replace(CARD, precision=precision).settle()
        assert torch.get_float32_matmul_precision() == ("high" if rounded else "highest")
        assert torch.backends.cudnn.allow_tf32 == rounded
        assert torch.backends.cudnn.benchmark
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("item", [1e-5, 1e-3, 0.02, 0.5])
def test_all_runs_of_a_network_on_a_card_are_counted(item: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being warmed up, recorded and repeated: seven of a step of 1,024 items must not take seven seconds."""
    now = [0.0]
    monkeypatch.setattr(compute.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    monkeypatch.setattr(ComputePlan, "graphs", property(lambda plan: True))
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)

    def record(work: Callable[[], None]) -> Callable[[], None]:
        for _ in range(WARM_UP + 1):
            work()
        return work

    def call(self: ComputePlan, network: nn.Module) -> Callable[..., Tensor]:
        def run(x: Tensor, t: Tensor) -> Tensor:
            now[0] += item * len(x) * {"float32": 1.0, "tf32": 0.8, "bfloat16": 0.5}[self.precision]
            return network(x)

        return run

    monkeypatch.setattr(compute, "record", record)
    monkeypatch.setattr(ComputePlan, "call", call)
    bench = compute._Benchmark(nn.Conv2d(1, 1, 1), (1, 1, 1))
    plan = ComputePlan(torch.device("cpu"), "float32", False, 1)
    choice = bench.choose(plan, 1024, ("float32", "tf32", "bfloat16"), ("channels_last", "contiguous"))
    assert choice.precision == "bfloat16"
    assert now[0] < max(1.5, 120 * item), "about a second, or two items in each way"


def test_a_processor_does_not_try_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, Tensor]:
        tried.append(plan.masters)
        return 1e-4 * count, torch.ones(2)

    monkeypatch.setattr(compute._Benchmark, "step", step)
    plan = ComputePlan(torch.device("cpu"), "float32", False, 1)
    compute._Benchmark(nn.Linear(1, 1), (1,)).choose(plan, 8, ("float32", "bfloat16"), ("channels_last",))
    assert not any(tried)
