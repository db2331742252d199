"""Threads that share the items: the same result, whoever computes it; and the plan that is remembered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.engine import dataset_of, open_session, run_training
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import Run
from ddpm_studio.training import compute
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.compute import choose_plan, remembered_plan
from ddpm_studio.training.control import Control
from ddpm_studio.training.crew import Crew
from ddpm_studio.training.step import TrainingStep

RecipeOf = Callable[..., Recipe]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(1, 40))
def test_parts_are_even_and_cover_all_items(size: int, count: int) -> None:
    crew = Crew(size) if size > 1 else Crew(2)
    crew.active = size
    parts = crew.share(lambda member, items: (member, items), count)
    assert [member for member, _ in parts] == list(range(min(crew.active, count)))
    assert [i for _, part in parts for i in range(count)[part]] == list(range(count))
    lengths = [len(range(count)[part]) for _, part in parts]
    assert max(lengths) - min(lengths) <= 1


def test_members_compute_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)
    assert Crew(2).share(lambda member, items: both.wait() >= 0, 2) == [True, True]


def test_an_error_waits_for_the_others() -> None:
    ended = []

    def work(member: int, items: slice) -> None:
        if member == 0:
            raise ValueError("the first")
        time.sleep(0.05)
        ended.append(member)

    with pytest.raises(ValueError, match="the first"):
        Crew(3).share(work, 3)
    assert sorted(ended) == [1, 2]


def session_of(recipe: Recipe) -> Session:
    return build(recipe, dataset_of(recipe))


def test_a_crew_takes_the_steps_of_one_thread(recipe_of: RecipeOf) -> None:
    """Also when its number changes on the way; an odd batch is shared unevenly."""
    recipe = recipe_of("pictures", training__batch=7, training__clip_norm=1.0)
    alone, shared = session_of(recipe), session_of(recipe.with_settings({"compute.threads": 3}))
    assert alone.plan.crew is None
    assert shared.plan.crew is not None
    steps = TrainingStep(alone), TrainingStep(shared)
    for active in (3, 3, 2, 1, 3, 3):
        shared.plan.set_threads(active)
        (one,), (other,) = (step.advance() for step in steps)
        assert other.loss == pytest.approx(one.loss, rel=1e-5)
        assert other.grad_norm == pytest.approx(one.grad_norm, rel=1e-4)
    for mine, theirs in zip(alone.network.parameters(), shared.network.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5)
    again = session_of(shared.recipe)
    step = TrainingStep(again)
    for active in (3, 3, 2, 1, 3, 3):
        again.plan.set_threads(active)
        step.advance()
    ours, theirs_too = shared.state()[0], again.state()[0]
    assert all(torch.equal(tensor, theirs_too[name]) for name, tensor in ours.items()), "chance of the threads"


def test_a_crew_samples_what_one_thread_samples(recipe_of: RecipeOf) -> None:
    alone = session_of(recipe_of("pictures"))
    shared = session_of(recipe_of("pictures", compute__threads=2))
    x, label = torch.randn(5, *alone.shape), torch.arange(5) % 2
    with torch.no_grad():
        ours, theirs = (session.sampling_denoiser("ema")(x, 500, label) for session in (alone, shared))
    torch.testing.assert_close(ours.x0, theirs.x0, rtol=1e-4, atol=1e-5)
    assert not theirs.x0.requires_grad


def test_networks_that_look_at_the_whole_batch_have_no_crew(recipe_of: RecipeOf) -> None:
    for settings_ in (
        {"network": {"kind": "scratch5-unet"}},
        {"network": {"kind": "ddpm-unet", "base": 32, "multipliers": [1, 2], "dropout": 0.1}},
    ):
        values = recipe_of("pictures", compute__threads=2, data__flip=False).model_dump(mode="json") | settings_
        values["data"] |= {"height": 8, "width": 8}
        assert session_of(Recipe.parse(values)).plan.crew is None


# -- remembered


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often a network was measured."""
    times: list[str] = []
    real = compute._Benchmark.choose

    def choose(self: compute._Benchmark, *args: object) -> compute.Choice:
        times.append("once more")
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(compute._Benchmark, "choose", choose)
    return times


def test_a_network_is_measured_once_on_a_machine(recipe_of: RecipeOf, measured: list[str], home: Path) -> None:
    recipe = recipe_of("pictures", compute__precision="auto")
    first, second = session_of(recipe).plan, session_of(recipe).plan
    assert len(measured) == 1
    assert (first.precision, first.channels_last, first.reason) == (
        second.precision,
        second.channels_last,
        second.reason,
    )
    session_of(recipe.with_settings({"network.channels": [16, 16]}))
    session_of(recipe.with_settings({"compute.precision": "float32"}))
    assert len(measured) == 3
    file = home / "compute-plans.json"
    for damage in ("{", "[]", '{"x": 1}', file.read_text().replace('"precision"', '"speed"')):
        file.write_text(damage)
        assert session_of(recipe).plan.precision == first.precision
    assert len(measured) == 7
    session_of(recipe)
    assert len(measured) == 7, "and is remembered again"


@pytest.mark.parametrize("wish", ["auto", "float32"])
def test_a_run_that_goes_on_is_not_measured_again(
    wish: str, recipe_of: RecipeOf, measured: list[str], new_run: Callable[..., Run]
) -> None:
    """A busy moment could choose another memory layout, and with it other last digits."""
    run = new_run(recipe_of("pictures", compute__precision=wish))
    list(run_training(run, Control(), until=2))
    assert len(measured) == 1
    first, again = session_of(run.recipe()).plan, open_session(run).plan
    assert len(measured) == 1
    assert (again.precision, again.channels_last, again.masters) == (first.precision, first.channels_last, False)
    assert again.reason.removeprefix("as this run began; ") == first.reason.removeprefix("as asked; ")
    other = {"auto": "float32", "float32": "bfloat16"}[wish]
    if first.precision != other:  # begun elsewhere: not what is chosen here
        found = build(run.recipe(), dataset_of(run.recipe()), precision=other)
        assert len(measured) == 2
        assert found.plan.precision == other


def test_points_are_not_measured(recipe_of: RecipeOf, measured: list[str]) -> None:
    recipe = recipe_of()
    plan = choose_plan(recipe, torch.nn.Linear(2, 2), (2,))
    assert "would round" in plan.reason
    assert remembered_plan(recipe, (2,)) == plan
    assert measured == []
