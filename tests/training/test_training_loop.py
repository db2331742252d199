"""The loop: it learns, answers while it runs, and neither bad numbers nor watching spoil it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.diffusion import NoiseSchedule, Parameterization
from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe
from ddpm_studio.training import compute, trainer
from ddpm_studio.training.budget import Budget
from ddpm_studio.training.build import DataOrder, Session, build, count_parameters, snapshot
from ddpm_studio.training.compute import ComputePlan, DeviceError, ThreadGovernor, choose_plan, pick_device
from ddpm_studio.training.control import ChangeRequest, Control, PreviewRequest, SampleRequest, SaveRequest
from ddpm_studio.training.ema import ema_copy, update_ema, warmed_up
from ddpm_studio.training.events import (
    CheckpointDue,
    Event,
    Finished,
    Paused,
    Probed,
    Resumed,
    RolledBack,
    SettingChanged,
    Started,
    StepDone,
    StepSkipped,
    TapeFinished,
    ThreadsChanged,
)
from ddpm_studio.training.objective import draw_levels, loss_per_item
from ddpm_studio.training.probe import Probe
from ddpm_studio.training.trainer import DivergedError, learning_rate, train

RecipeOf = Callable[..., Recipe]
CPU = torch.device("cpu")


def session_of(recipe: Recipe) -> Session:
    return build(recipe, dataset_of(recipe))


def of(kind: type, events: list[Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


# -- learning


def test_the_loss_falls_on_moons(recipe_of: RecipeOf) -> None:
    session = session_of(recipe_of(training__steps=400, training__batch=256, network__width=48))
    events = list(train(session, Control()))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished)
    probes = of(Probed, events)
    assert probes[-1].train < 0.92 * probes[0].train
    assert probes[-1].held_out < 0.92 * probes[0].held_out
    losses = [e.loss for e in of(StepDone, events)]
    assert np.mean(losses[-50:]) < 0.95 * np.mean(losses[:10])


def test_seconds_end_a_training_that_can_go_on(recipe_of: RecipeOf) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    session = session_of(recipe_of())
    events = list(train(session, Control(), seconds=20, clock=clock))
    assert 3 <= session.step <= 10
    assert of(Finished, events)[0].stopped
    assert of(CheckpointDue, events)[0].reason == "stopped"


# -- the pure functions


def test_learning_rate_warms_up_and_falls(recipe_of: RecipeOf) -> None:
    base = {"training__learning_rate": 0.1, "training__warmup": 4, "training__steps": 104}
    rates = {d: [learning_rate(recipe_of(training__decay=d, **base), n) for n in range(105)] for d in DECAYS}
    for values in rates.values():
        np.testing.assert_allclose(values[:5], [0.02, 0.04, 0.06, 0.08, 0.1])
    assert set(rates["none"][4:]) == {0.1}
    np.testing.assert_allclose([rates["linear"][n] for n in (29, 54, 79, 104)], [0.075, 0.05, 0.025, 0], atol=1e-12)
    np.testing.assert_allclose([rates["cosine"][n] for n in (54, 104)], [0.05, 0], atol=1e-12)
    assert all(a > b for values in (rates["linear"], rates["cosine"]) for a, b in pairwise(values[4:]))
    assert learning_rate(recipe_of(training__decay="linear", **base), 10_000) == 0


DECAYS = ("none", "linear", "cosine")


def test_ema_warms_up() -> None:
    assert [warmed_up(0.9, n) for n in (0, 1, 71, 1000)] == [0.1, 2 / 11, 72 / 81, 0.9]
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    ema = ema_copy(network)
    assert not ema.training
    assert not any(p.requires_grad for p in ema.parameters())
    before = [p.clone() for p in ema.parameters()]
    with torch.no_grad():
        for p in network.parameters():
            p.add_(1)
    network(torch.randn(8, 2))
    update_ema(ema, network, 0.9, 0)
    for old, new in zip(before, ema.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.9)
    assert torch.equal(ema[1].running_mean, network[1].running_mean)


@given(st.integers(1, 40), st.integers(2, 1000), st.booleans(), st.integers(0, 99))
def test_levels_run_from_1_to_the_last(count: int, T: int, stratified: bool, seed: int) -> None:
    torch.manual_seed(seed)
    t = draw_levels(count, T, stratified, CPU)
    assert t.shape == (count,)
    assert t.dtype == torch.int64
    assert t.min() >= 1
    assert t.max() <= T
    if stratified:  # item i lies in the i-th of equal parts
        assert all(math.floor(T * i / count) < n <= math.ceil(T * (i + 1) / count) for i, n in enumerate(t.tolist()))


@pytest.mark.parametrize("stratified", [True, False])
def test_every_level_is_drawn(stratified: bool) -> None:
    torch.manual_seed(0)
    seen = torch.cat([draw_levels(50, 10, stratified, CPU) for _ in range(20)])
    assert set(seen.tolist()) == set(range(1, 11))


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v", "score", "velocity"])
def test_min_snr_weighs_the_error_in_x0(predicts: str, recipe_of: RecipeOf) -> None:
    """The weighted loss is min(SNR, γ) · |x̂0 - x0|², whatever the network predicts."""
    recipe = recipe_of(objective__weight="min-snr", objective__gamma=5.0, prediction__predicts=predicts)
    p, schedule = Parameterization(predicts), NoiseSchedule.cosine(1000)
    torch.manual_seed(0)
    x0, eps, error = torch.randn(3, 50, 2, dtype=torch.float64)
    alpha, sigma = schedule.at(torch.linspace(5, 995, 50).long(), x0)
    target = p.encode(x0, eps, alpha, sigma)
    guess, _ = p.decode(alpha * x0 + sigma * eps, target + error, alpha, sigma)
    snr = ((alpha / sigma) ** 2).flatten()
    expected = snr.clamp_max(5) * (guess - x0).square().mean(1)
    torch.testing.assert_close(
        loss_per_item(recipe, target + error, target, alpha, sigma).double(), expected, rtol=2e-2, atol=1e-5
    )
    plain = loss_per_item(recipe_of(prediction__predicts=predicts), target + error, target, alpha, sigma)
    torch.testing.assert_close(plain.double(), error.square().mean(1), rtol=2e-2, atol=1e-5)


@given(st.integers(1, 30), st.lists(st.integers(1, 70), min_size=1, max_size=12), st.integers(0, 9))
def test_every_item_comes_once_an_epoch(count: int, batches: list[int], seed: int) -> None:
    order, seen = DataOrder(count, seed), []
    for batch in batches:  # batches cross the ends of epochs and may be longer than one
        part = order(len(seen), batch)
        assert torch.equal(part, DataOrder(count, seed)(len(seen), batch)), "a pure function of seed and images seen"
        seen += part.tolist()
    assert len(seen) == sum(batches)
    for start in range(0, len(seen) - count + 1, count):
        assert sorted(seen[start : start + count]) == list(range(count))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    order = DataOrder(100, 0)
    assert not torch.equal(order(0, 100), order(100, 100))
    assert not torch.equal(order(0, 100), DataOrder(100, 1)(0, 100))


@given(st.floats(0.005, 0.1), st.floats(0, 2), st.lists(st.floats(0.001, 3), min_size=1, max_size=8), st.booleans())
def test_watching_stays_within_its_budget(share: float, burst: float, costs: list[float], steady: bool) -> None:
    budget, trained, dearest, jobs = Budget(share, burst), 0.0, 0.0, 0
    for n in range(2000):
        if budget.due(trained):
            cost = costs[0] if steady else costs[n % len(costs)]
            surprise = max(cost - budget._cost, 0.0)
            budget.pay(cost, trained)
            dearest, jobs = max(dearest, surprise), jobs + 1
            assert budget.spent <= burst + share * trained + dearest + 1e-9
            assert not budget.due(trained)
            assert not budget.due(trained + 0.39)
        trained += 0.1
    assert jobs >= 1
    assert budget.spent <= burst + share * trained + dearest + 1e-9


def test_no_share_no_job() -> None:
    assert not Budget(0.0, burst=9.0).due(100.0)


# -- bad numbers


def broken_after(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool], value: float = math.nan) -> None:
    real, calls = trainer.loss_per_item, 0

    def loss(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*args) * (value if bad(calls) else 1.0)

    monkeypatch.setattr(trainer, "loss_per_item", loss)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_bad_step_is_skipped_and_counted(value: float, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(recipe_of())
    broken_after(monkeypatch, lambda n: n in (4, 5, 8), value)
    before: dict[str, Any] = {}
    skipped = []
    for event in train(session, Control(), until=10):
        now, _ = snapshot(session)
        if isinstance(event, StepSkipped):
            skipped.append(event)
            assert all(torch.equal(now[k], before[k]) for k in now), "weights, EMA and optimizer are untouched"
        before = now
    assert [(e.step, e.in_a_row, e.total) for e in skipped] == [(4, 1, 1), (5, 2, 2), (8, 1, 3)]
    assert skipped[0].reason == "the loss was not finite"
    assert (session.step, session.images_seen, session.ema_updates) == (10, 320, 7)


def test_three_bad_steps_roll_back_with_half_the_rate(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(recipe_of(training__warmup=0, training__decay="none", training__learning_rate=0.01))
    broken_after(monkeypatch, lambda n: 4 <= n <= 6)
    events = list(train(session, Control(), until=8))
    (back,) = of(RolledBack, events)
    assert (back.step, back.from_step, back.rate_scale) == (0, 6, 0.5)
    assert [e.step for e in of(StepDone, events)] == [1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8]
    assert [e.learning_rate for e in of(StepDone, events)] == [0.01] * 3 + [0.005] * 8


def test_training_that_never_recovers_gives_up(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of(recipe_of())
    broken_after(monkeypatch, lambda n: n > 2)
    events: list[Event] = []
    with pytest.raises(DivergedError, match="lower the learning rate") as caught:
        events.extend(train(session, Control()))
    assert "\n" not in str(caught.value)
    assert all(t.isfinite().all() for t in session.state()[0].values())


# -- requests


def test_live_changes_take_effect_at_once(recipe_of: RecipeOf) -> None:
    session, control, events = session_of(recipe_of(training__decay="none")), Control(), []
    for event in train(session, control, until=30):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 10:
            control.ask(ChangeRequest({"training.learning_rate": 1e-5}))
            control.ask(ChangeRequest({"training.batch": 8}))
    done = of(StepDone, events)
    assert done[9].learning_rate == 3e-3
    assert done[10].learning_rate == 1e-5
    assert done[10].images_seen - done[9].images_seen == 8
    assert of(SettingChanged, events)[1] == SettingChanged(10, "training.batch", 32, 8)
    assert session.images_seen == 10 * 32 + 20 * 8


def test_requests_are_answered_during_a_pause(recipe_of: RecipeOf) -> None:
    session, control, events = session_of(recipe_of()), Control(), []
    for event in train(session, control, until=6):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 2 and not of(Paused, events):
            control.pause()
            control.ask(SaveRequest())
            control.ask(SampleRequest(5, 0))
        if isinstance(event, TapeFinished) and event.purpose == "sample":
            assert control.paused
            assert session.step == 2
            control.pause(on=False)
    names = [type(e).__name__ for e in events if not isinstance(e, Probed)]
    first, last = names.index("Paused"), names.index("Resumed")
    grew = ["TapeGrew"] * 5
    assert names[first : last + 1] == ["Paused", "CheckpointDue", "TapeStarted", *grew, "TapeFinished", "Resumed"]
    (tape,) = (e.tape for e in of(TapeFinished, events))
    assert tape.complete
    assert tape.training_step == 2
    assert tape.count == 5


def test_stop_ends_a_pause(recipe_of: RecipeOf) -> None:
    session, control = session_of(recipe_of()), Control()
    control.pause()
    events = []
    for event in train(session, control):
        events.append(event)
        if isinstance(event, Paused):
            control.stop()
    assert not of(StepDone, events)
    assert not of(Resumed, events)
    assert of(Finished, events)[0].stopped


def test_samples_and_previews_on_request(recipe_of: RecipeOf) -> None:
    session, control = session_of(recipe_of()), Control()
    control.ask(SampleRequest(3, 7, "raw"))
    control.ask(PreviewRequest("raw"))
    tapes = {e.purpose: e.tape for e in of(TapeFinished, list(train(session, control, until=1)))}
    assert (tapes["sample"].count, tapes["sample"].seed, tapes["sample"].weights) == (3, 7, "raw")
    assert (tapes["preview"].count, tapes["preview"].weights) == (4, "raw")


def test_a_stopped_sample_is_not_complete(recipe_of: RecipeOf) -> None:
    session, control = session_of(recipe_of()), Control()
    control.ask(SampleRequest(3, 7))
    for event in train(session, control, until=1):
        if isinstance(event, TapeFinished):
            assert not event.tape.complete
        elif type(event).__name__ == "TapeGrew":
            control.stop()


# -- the probe


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_the_probe_moves_only_with_the_weights(kind: str, recipe_of: RecipeOf) -> None:
    session = session_of(recipe_of(kind))
    probe = Probe(session)
    first = probe(session)
    torch.manual_seed(12345)
    for again in (probe(session), Probe(session)(session), Probe(session_of(recipe_of(kind)))(session)):
        np.testing.assert_array_equal(first.train_by_level, again.train_by_level)
        np.testing.assert_array_equal(first.held_out_by_level, again.held_out_by_level)
    assert first.levels.shape == first.train_by_level.shape == first.held_out_by_level.shape == (10,)
    assert first.levels.tolist() == list(range(50, 1000, 100))
    assert first.train == pytest.approx(first.train_by_level.mean())
    list(train(session, Control(), until=3))
    assert probe(session).train != first.train


# -- the compute plan


def plan_with(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, fast_seconds: float, gradient: list[float]
) -> ComputePlan:
    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, torch.Tensor]:
        exact = plan.precision == "float32"
        return (1.0, torch.tensor([1.0, 0.0])) if exact else (fast_seconds, torch.tensor(gradient))

    monkeypatch.setattr(compute._Benchmark, "step", step)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    dataset = dataset_of(recipe)
    from ddpm_studio.training.build import make_network

    return choose_plan(recipe, make_network(recipe, dataset), dataset.shape)


@pytest.mark.parametrize(
    ("seconds", "gradient", "precision", "why"),
    [
        (0.5, [1.0, 0.0], "bfloat16", "2.0× faster"),
        (9.0, [1.0, 0.0], "float32", "slower"),
        (0.97, [1.0, 0.0], "float32", "gains too little"),
        (0.5, [0.0, 1.0], "float32", "another gradient"),
        (0.5, [math.nan, 1.0], "float32", "another gradient"),
    ],
)
def test_bfloat16_only_where_it_pays_and_agrees(
    seconds: float,
    gradient: list[float],
    precision: str,
    why: str,
    recipe_of: RecipeOf,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = plan_with(recipe_of("pictures", compute__precision="auto"), monkeypatch, seconds, gradient)
    assert plan.precision == precision
    assert why in plan.reason
    assert plan.describe() == f"CPU, {'bf16' if precision == 'bfloat16' else 'fp32'}, 1 thread"


def test_points_stay_in_float32(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan_with(recipe_of(compute__precision="auto"), monkeypatch, 0.1, [1.0, 0.0]).precision == "float32"


def test_no_card_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == CPU
    with pytest.raises(DeviceError, match=r"^no NVIDIA card .*; choose auto or cpu$"):
        pick_device("cuda")


def test_bfloat16_training_learns_too(recipe_of: RecipeOf) -> None:
    session = session_of(recipe_of("pictures", compute__precision="bfloat16"))
    events = list(train(session, Control(), until=3))
    assert all(p.dtype == torch.float32 for p in session.network.parameters())
    assert len(of(StepDone, events)) == 3


def test_counting_parameters_takes_no_memory(recipe_of: RecipeOf) -> None:
    for kind in ("points", "pictures"):
        session = session_of(recipe_of(kind))
        assert count_parameters(session.recipe, session.dataset) == session.parameters


def test_the_governor_leaves_a_busy_processor_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    plan = ComputePlan(CPU, "float32", True, 4, single_item_seconds=0.1)
    governor = ThreadGovernor(plan)
    assert [governor.observe(0.05, 1) for _ in range(200)] == [None] * 200
    assert governor.observe(5.0, 1) is None, "one slow step is no judgement"
    assert 1 in iter(lambda: governor.observe(0.4, 1), 4)
    alone = [governor.observe(0.1, 1) for _ in range(220)]
    assert alone.index(4) * 0.1 == pytest.approx(20, abs=2)
    assert asked == [1, 4]
    fixed = ThreadGovernor(replace(plan, single_item_seconds=math.inf))
    assert [fixed.observe(9.0, 1) for _ in range(50)] == [None] * 50


def test_a_change_of_threads_is_told(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadGovernor, "observe", lambda self, seconds, items: 1)
    events = list(train(session_of(recipe_of()), Control(), until=2))
    assert of(ThreadsChanged, events) == [ThreadsChanged(1, 1), ThreadsChanged(2, 1)]
