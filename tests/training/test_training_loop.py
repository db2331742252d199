"""The loop: it learns, answers while it runs, and neither bad numbers nor watching spoil it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
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
from ddpm_studio.training import step as step_module
from ddpm_studio.training.budget import DEAR, Budget
from ddpm_studio.training.build import DataOrder, Session, build, count_parameters, snapshot
from ddpm_studio.training.compute import ComputePlan, DeviceError, ThreadGovernor, choose_plan, pick_device
from ddpm_studio.training.control import ChangeRequest, Control, PreviewRequest, SampleRequest, SaveRequest
from ddpm_studio.training.ema import Averaging, ema_copy, warmed_up
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
    TapeStarted,
    ThreadsChanged,
)
from ddpm_studio.training.flat import Flat
from ddpm_studio.training.objective import draw_levels, loss_per_item
from ddpm_studio.training.probe import Probe
from ddpm_studio.training.rates import adam_beta1, learning_rate
from ddpm_studio.training.sampling import make_grid, make_sampler, sample
from ddpm_studio.training.trainer import DivergedError, train

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


def test_one_cycle_moves_rate_and_beta_of_the_optimizer(recipe_of: RecipeOf) -> None:
    """What torch's OneCycleLR would set, tests/tutorials says; here, that the optimizer gets it, before its step."""
    recipe = recipe_of(
        training__decay="one-cycle", training__learning_rate=0.01, training__warmup=0, training__steps=20
    )
    session, betas, rates = session_of(recipe), [], []
    for event in train(session, Control()):
        if isinstance(event, StepDone):
            group = session.optimizer.adam.param_groups[0]
            betas.append(group["betas"])
            rates.append(event.learning_rate)
    np.testing.assert_allclose(rates, [learning_rate(recipe, n) for n in range(20)], rtol=1e-6)
    np.testing.assert_allclose([b for b, _ in betas], [adam_beta1(recipe, n) for n in range(20)], rtol=1e-6)
    assert {b for _, b in betas} == {recipe.training.beta2}
    assert rates.index(max(rates)) == betas.index(min(betas)) == 5
    assert adam_beta1(recipe_of(training__beta1=0.7), 3) == 0.7


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
    one, zero = torch.ones(()), torch.zeros(())
    average = Averaging(ema, network, Flat(network).values)
    average(0.9 * one, skip=one)
    assert all(torch.equal(a, b) for a, b in zip(before, ema.parameters(), strict=True))
    assert not torch.equal(ema[1].running_mean, network[1].running_mean)
    average(0.9 * one, skip=zero)
    for old, new in zip(before, ema.parameters(), strict=True):
        torch.testing.assert_close(new, old + 0.9)
    assert torch.equal(ema[1].running_mean, network[1].running_mean)
    average(one, skip=zero)  # no average: the weights themselves, to the last bit
    assert all(torch.equal(a, b) for a, b in zip(ema.parameters(), network.parameters(), strict=True))


@pytest.mark.parametrize(("warmup", "kept"), [(True, 0.1), (False, 0.99)])
def test_the_first_ema_update_is_short_unless_asked_otherwise(warmup: bool, kept: float, recipe_of: RecipeOf) -> None:
    session = session_of(recipe_of(training__ema_decay=0.99, training__ema_warmup=warmup))
    before = [p.clone() for p in session.ema.parameters()]
    list(train(session, Control(), until=1))
    for old, mine, theirs in zip(before, session.ema.parameters(), session.network.parameters(), strict=True):
        torch.testing.assert_close(mine, kept * old + (1 - kept) * theirs, rtol=1e-5, atol=1e-7)


@given(st.integers(1, 40), st.integers(2, 1000), st.booleans(), st.integers(0, 99), st.data())
def test_levels_run_from_the_first_to_the_last(
    count: int, T: int, stratified: bool, seed: int, data: st.DataObject
) -> None:
    first = data.draw(st.integers(1, T))
    torch.manual_seed(seed)
    t = draw_levels(count, T, stratified, CPU, first)
    assert t.shape == (count,)
    assert t.dtype == torch.int64
    assert t.min() >= first
    assert t.max() <= T
    if stratified:  # item i lies in the i-th of equal parts
        n = T + 1 - first
        places = (t - first).tolist()
        assert all(math.floor(n * i / count) <= at < math.ceil(n * (i + 1) / count) for i, at in enumerate(places))
    torch.manual_seed(seed)
    again = draw_levels(count, T, stratified, CPU)
    torch.manual_seed(seed)
    assert torch.equal(again, draw_levels(count, T, stratified, CPU, 1))


@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("stratified", [True, False])
def test_every_level_is_drawn(stratified: bool, first: int) -> None:
    torch.manual_seed(0)
    seen = torch.cat([draw_levels(50, 10, stratified, CPU, first) for _ in range(20)])
    assert set(seen.tolist()) == set(range(first, 11))


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_the_sum_over_an_item_and_the_weight_sigma2(loss: str, recipe_of: RecipeOf) -> None:
    torch.manual_seed(0)
    out, target = torch.randn(2, 6, 3, 4, 4, dtype=torch.float64)
    alpha, sigma = torch.ones(6, 1, 1, 1), torch.rand(6, 1, 1, 1, dtype=torch.float64) + 0.1
    mean = loss_per_item(recipe_of(objective__loss=loss), out, target, alpha, sigma)
    summed = loss_per_item(recipe_of(objective__loss=loss, objective__reduction="sum"), out, target, alpha, sigma)
    weighted = recipe_of(objective__loss=loss, objective__weight="sigma2")
    torch.testing.assert_close(summed, 48 * mean)
    torch.testing.assert_close(
        loss_per_item(weighted, out, target, alpha, sigma),
        torch.stack([m * s**2 for m, s in zip(mean, sigma.flatten(), strict=True)]),
    )
    assert mean.shape == (6,)


@pytest.mark.parametrize("predicts", ["epsilon", "x0", "v", "score", "velocity"])
@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_min_snr_measures_the_error_in_x0(loss: str, predicts: str, recipe_of: RecipeOf) -> None:
    """It is the distance of √min(SNR, γ) · (x̂0 - x0) from 0, whatever the network predicts."""
    recipe = recipe_of(
        objective__weight="min-snr", objective__gamma=5.0, objective__loss=loss, prediction__predicts=predicts
    )
    p, schedule = Parameterization(predicts), NoiseSchedule.cosine(1000)
    torch.manual_seed(0)
    x0, eps, error = torch.randn(3, 50, 2, dtype=torch.float64)
    alpha, sigma = schedule.at(torch.linspace(5, 995, 50).long(), x0)
    target = p.encode(x0, eps, alpha, sigma)
    guess, _ = p.decode(alpha * x0 + sigma * eps, target + error, alpha, sigma)
    off = ((alpha / sigma) ** 2).clamp_max(5).sqrt() * (guess - x0).abs()
    expected = {"mse": off**2, "l1": off, "huber": torch.where(off < 1, off**2 / 2, off - 0.5)}[loss].mean(1)
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


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 9))
def test_an_epoch_may_end_short_or_drop_its_rest(count: int, batch: int, seed: int) -> None:
    """As a DataLoader with drop_last off and on; where not one batch fits, what there is is the batch."""
    for epoch_end in ("short", "drop"):
        order, seen = DataOrder(count, seed, epoch_end), 0
        batches = count // batch if epoch_end == "drop" else math.ceil(count / batch)
        for epoch in range(3):
            parts = []
            for _ in range(max(batches, 1)):
                parts.append(order(seen, batch))
                assert torch.equal(parts[-1], DataOrder(count, seed, epoch_end)(seen, batch)), "no state"
                seen += len(parts[-1])
            items = torch.cat(parts).tolist()
            assert [len(part) for part in parts[:-1]] == [batch] * (len(parts) - 1)
            if epoch_end == "short" or count < batch:
                assert sorted(items) == list(range(count))
            else:
                assert len(parts[-1]) == batch
                assert len(set(items)) == len(items) == count // batch * batch
            # the items are the first of the same permutation that a batch running on would see
            assert items == DataOrder(count, seed)(epoch * count, count).tolist()[: len(items)]


@given(st.integers(1, 60), st.lists(st.integers(1, 70), max_size=8), st.integers(1, 70))
def test_a_batch_is_whole_where_the_rest_is_dropped_whatever_came_before(
    count: int, before: list[int], batch: int
) -> None:
    """The size of a batch may change while training; a batch of two, say, would spoil batch norm's statistics."""
    order, seen = DataOrder(count, 0, "drop"), 0
    for size in (*before, batch):
        items = order(seen, size).tolist()
        assert len(items) == len(set(items)) == min(size, count)
        seen += len(items)


def test_images_seen_are_those_of_the_batches(recipe_of: RecipeOf) -> None:
    """38 pictures to learn from, batches of 6: an epoch ends with 2, or those wait for another."""
    sizes = {}
    for epoch_end in ("run-on", "short", "drop"):
        session = session_of(recipe_of("pictures", data__epoch_end=epoch_end))
        assert len(session.items) == 38
        seen = [0] + [e.images_seen for e in of(StepDone, list(train(session, Control(), until=9)))]
        sizes[epoch_end] = [b - a for a, b in pairwise(seen)]
    assert sizes == {"run-on": [6] * 9, "short": [6] * 6 + [2, 6, 6], "drop": [6] * 9}


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
            before = budget.spent + budget.cost
            budget.pay(cost, trained)
            surprise = max(budget.spent - before, 0.0)
            dearest, jobs = max(dearest, surprise), jobs + 1
            assert budget.spent <= burst + share * trained + dearest + 1e-9
            assert not budget.due(trained)
            assert not budget.due(trained + 0.39)
        trained += 0.1
    assert jobs >= 1
    assert budget.spent <= burst + share * trained + dearest + 1e-9


def costs_of_jobs(budget: Budget, seconds: float, cost: Callable[[float], float]) -> list[tuple[float, float]]:
    """(when, what it took) of each job in so many seconds of training, a step every 20 ms."""
    jobs = []
    for step in range(round(seconds / 0.02)):
        trained = 0.02 * step
        if budget.due(trained):
            jobs.append((trained, cost(trained)))
            budget.pay(jobs[-1][1], trained)
    return jobs


@given(st.floats(0.005, 0.3), st.floats(0, 2), st.floats(0.001, 2), st.floats(0.2, 5))
def test_the_share_holds_in_the_long_run(share: float, burst: float, cost: float, later: float) -> None:
    """Also when jobs become dearer or cheaper for good: that is charged in full, but for a few jobs."""
    budget = Budget(share, burst, gap=0.0)
    jobs = costs_of_jobs(budget, 200.0, lambda trained: cost if trained < 100 else later * cost)
    surprises = (4 + 11) * max(cost, later * cost)  # in 200 s the time doubles eleven times, from 0.1 s on
    assert sum(took for _, took in jobs) <= burst + share * 200 + surprises


@given(st.floats(0.01, 0.2), st.floats(0.005, 0.05), st.integers(1, 4), st.integers(0, 3))
def test_a_stall_does_not_silence_what_comes_after_it(share: float, cost: float, nth: int, again: int) -> None:
    """A job that takes 100 times the usual silences no longer than a few jobs should; counting all it took would."""
    budget, count = Budget(share, burst=0.0, gap=0.0), 0

    def took(trained: float) -> float:
        nonlocal count
        count += 1
        return 100 * cost if count == nth + 1 or (again and count == nth + 4 + again) else cost

    usual = cost / share + 0.02  # between two jobs
    begins = [when for when, _ in costs_of_jobs(budget, 40 * usual, took)]
    assert count > nth + 4 + again
    assert max(b - a - 0.1 * a for a, b in pairwise(begins)) <= 5 * usual


@given(st.floats(0.001, 0.05), st.floats(0.1, 8))
def test_dear_jobs_come_when_the_time_trained_has_doubled(share: float, cost: float) -> None:
    """A slow machine: else the beginning, where everything changes, would pass unseen."""
    begins = [when for when, _ in costs_of_jobs(Budget(share, 0.0), 200.0, lambda trained: cost)]
    assert begins[0] == 0
    assert begins[1] <= max(5 * cost, 0.4) + 0.05
    assert all(b <= max(2 * a, a + cost / share) + 0.45 for a, b in pairwise(begins[1:]))
    assert begins[-1] >= 90


@given(st.floats(0.001, 10), st.integers(1, 40), st.booleans())
def test_every_job_is_charged_for_good(cost: float, jobs: int, stalled: bool) -> None:
    """Not only the recent ones, which say what is usual; of one that the machine stalled a part."""
    budget = Budget(0.1, burst=1e9)
    for job in range(jobs):
        budget.pay(100 * cost if stalled and job == 8 else cost, 0.2)
    extra = DEAR - 1 if stalled and jobs > 8 else 0.0
    assert budget.spent == pytest.approx((jobs + extra) * cost)


@given(st.floats(0, 1e6), st.floats(0, 10))
def test_no_share_no_job(trained: float, burst: float) -> None:
    assert not Budget(0.0, burst).due(trained)


# -- bad numbers


def broken_after(monkeypatch: pytest.MonkeyPatch, bad: Callable[[int], bool], value: float = math.nan) -> None:
    real, calls = step_module.loss_per_item, 0

    def loss(*args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return real(*args) * (value if bad(calls) else 1.0)

    monkeypatch.setattr(step_module, "loss_per_item", loss)


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


def stopped_after(recipe: Recipe, steps: int) -> list[Any]:
    """The events of a training that a person stops after so many steps, once a preview has been seen."""
    control, events = Control(), []
    for event in train(session_of(recipe), control):
        events.append(event)
        if isinstance(event, StepDone) and event.step == steps:
            control.stop()
    return events


@pytest.mark.parametrize(("parting", "last"), [(60.0, 5), (0.0, 0)])
def test_what_stop_left_is_seen_if_that_is_quick(
    recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch, parting: float, last: int
) -> None:
    monkeypatch.setattr(trainer, "PARTING", parting)
    monkeypatch.setattr(Budget, "due", lambda budget, trained: trained == 0)  # one preview, before the first step
    rows = [e.tape for e in of(TapeFinished, stopped_after(recipe_of(**{"preview.budget": 5.0}), 5))]
    assert rows[-1].training_step == last
    assert all(row.complete for row in rows)
    assert len({(row.seed, row.count, row.total, *(f.t for f in row.frames)) for row in rows}) == 1, "rows compare"
    np.testing.assert_array_equal(rows[0].frames[0].x, rows[-1].frames[0].x)


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


def test_the_probe_begins_at_the_first_level_trained(recipe_of: RecipeOf) -> None:
    seen: set[int] = set()
    session = session_of(recipe_of(objective__first_level=301))
    probe = Probe(session)
    for part in probe._sets:
        seen |= set(part.t.tolist())
    assert (min(seen), max(seen)) == (301, 1000)
    assert probe.levels.tolist() == list(range(335, 1000, 70))


# -- the way down


@pytest.mark.parametrize("steps", [1, 3, 20, 40])
def test_grids_of_samplers(steps: int, recipe_of: RecipeOf) -> None:
    schedule = NoiseSchedule.cosine(40)

    def grid(kind: str, **settings: Any) -> list[int]:
        dotted = {f"sampler__{k}": v for k, v in settings.items()}
        return make_grid(recipe_of(sampler__kind=kind, sampler__steps=steps, **dotted).sampler, schedule)

    usual = grid("ddpm")
    assert (len(usual), usual[0], usual[-1]) == (steps + 1, 40, 0)
    above = grid("ddpm", end_level=2)
    assert (len(above), above[0], above[-1]) == (min(steps, 38) + 1, 40, 2)
    annealed = grid("langevin", moves=3)
    assert annealed[-1] == 0
    assert annealed[:-1] == [t for t in usual[:-1] for _ in range(3)]
    assert grid("langevin-plain", level=7) == [7] * (steps + 1)


@pytest.mark.parametrize("kind", ["ddpm", "ddim", "euler", "heun", "dpmpp-2m", "langevin", "langevin-plain"])
def test_it_is_known_how_often_the_network_will_be_asked(kind: str, recipe_of: RecipeOf) -> None:
    """So that a bar of progress counts calls: of a long walk far fewer states are kept."""
    recipe = recipe_of(sampler__kind=kind, sampler__steps=140)
    events = list(sample(session_of(recipe), Control(), recipe.sampler, 2, 0, "ema", "sample"))
    (started,), (finished,) = of(TapeStarted, events), of(TapeFinished, events)
    assert started.calls == finished.tape.calls > len(finished.tape.frames)


def test_langevins_own_settings_reach_the_rule(recipe_of: RecipeOf) -> None:
    for kind, annealed in (("langevin", True), ("langevin-plain", False)):
        rule = make_sampler(recipe_of(sampler__kind=kind, sampler__step_size=0.03).sampler)
        assert (rule.step_size, rule.annealed) == (0.03, annealed)


# -- the compute plan


@pytest.mark.parametrize(
    ("seconds_per_item", "most", "tried"),
    [(1e-4, 32, 32), (0.01, 32, 20), (0.05, 32, 4), (0.09, 32, 2), (7.0, 32, 2), (7.0, 1, 1), (1e-4, 1, 1)],
)
def test_a_large_network_is_timed_with_fewer_items(
    seconds_per_item: float, most: int, tried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """About .2 s, but two items at least, as long as the batch has two."""

    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, torch.Tensor]:
        return count * seconds_per_item, torch.ones(1)

    monkeypatch.setattr(compute._Benchmark, "step", step)
    bench = compute._Benchmark(torch.nn.Linear(1, 1), (1,))
    assert bench._affordable(ComputePlan(CPU, "float32", False, 1), most) == tried


def plan_with(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, fast_seconds: float, gradient: list[float]
) -> ComputePlan:
    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, torch.Tensor]:
        exact = plan.precision == "float32"
        return (0.01, torch.tensor([1.0, 0.0])) if exact else (fast_seconds / 100, torch.tensor(gradient))

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
    assert plan.describe() == f"CPU, {'bf16' if precision == 'bfloat16' else 'fp32'}, channels_last, 1 thread"


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
    for waits in (40, 80, 160, 320, 320):  # all threads do not help: they are tried less and less often
        assert 1 in iter(lambda: governor.observe(0.4, 1), 4)
        alone = len(list(iter(lambda: governor.observe(0.1, 1), 4)))
        assert alone * 0.1 == pytest.approx(waits, abs=2)
    assert [governor.observe(0.05, 1) for _ in range(500)] == [None] * 500
    assert 1 in iter(lambda: governor.observe(0.4, 1), 4)
    assert [governor.observe(0.1, 1) for _ in range(220)].index(4) * 0.1 == pytest.approx(20, abs=2), "it had helped"
    slow = ThreadGovernor(replace(plan, single_item_seconds=1.0))  # five steps take longer than the first wait
    for waits in (20, 40, 80):
        assert 1 in iter(lambda: slow.observe(6.0, 1), 4)
        assert len(list(iter(lambda: slow.observe(1.0, 1), 4))) == pytest.approx(waits, abs=1)
    fixed = ThreadGovernor(replace(plan, single_item_seconds=math.inf))
    assert [fixed.observe(9.0, 1) for _ in range(50)] == [None] * 50


def test_a_change_of_threads_is_told(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadGovernor, "observe", lambda self, seconds, items: 1)
    events = list(train(session_of(recipe_of()), Control(), until=2))
    changed = of(ThreadsChanged, events)
    assert changed == [ThreadsChanged(1, 1), ThreadsChanged(2, 1)]
    assert changed[0].plan.endswith(", 1 thread"), "the top bar says what the status bar says"


def test_a_layout_that_is_asked_for_is_taken(recipe_of: RecipeOf) -> None:
    for layout in ("channels_last", "contiguous"):
        plan = session_of(recipe_of("pictures", compute__layout=layout)).plan
        assert plan.channels_last == (layout == "channels_last")
        assert f"{layout} as asked" in plan.reason
        assert ("channels_last" in plan.describe()) == plan.channels_last


def test_what_was_measured_is_known_afterwards(
    recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    recipe = recipe_of("pictures", compute__precision="auto", compute__threads=2)
    assert compute.remembered_plan(recipe, (3, 8, 12)) is None
    plan = session_of(recipe).plan
    known = compute.remembered_plan(recipe, (3, 8, 12))
    assert known is not None
    assert (known.describe(), known.reason) == (plan.describe(), plan.reason)
    points = compute.remembered_plan(recipe_of(), (2,))
    assert points is not None, "there is nothing to measure"
    assert points.describe() == session_of(recipe_of()).plan.describe()


def test_a_stall_does_not_choose_another_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock stands for other programs: it says that everything takes for ever."""
    monkeypatch.setattr(compute.time, "perf_counter", iter(range(10**6)).__next__)
    bench = compute._Benchmark(torch.nn.Conv2d(3, 4, 3), (3, 8, 8))
    monkeypatch.setattr(ComputePlan, "call", lambda self, network: lambda x, t, label=None: network(x).mean() + 0 * x)
    assert bench.step(ComputePlan(CPU, "float32", False, 1), 2)[0] < 1


def test_measuring_a_large_network_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a step costs: about the budget in all, or two items in each precision."""
    for item in (1e-4, 0.003, 0.02, 0.1, 0.5):
        spent: list[float] = []

        def step(self: Any, plan: ComputePlan, count: int, item: float = item, spent: Any = spent) -> Any:
            spent.append(count * item / (3 if plan.precision == "bfloat16" else 1))
            return spent[-1], torch.ones(2)

        monkeypatch.setattr(compute._Benchmark, "step", step)
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
        bench = compute._Benchmark(torch.nn.Linear(1, 1), (1,))
        plan = ComputePlan(CPU, "float32", False, 1)
        choice = bench.choose(plan, 64, ("float32", "bfloat16"), ("channels_last", "contiguous"))
        assert choice.precision == "bfloat16"
        assert sum(spent) < max(1.7, 4 * item)


def test_a_network_for_which_there_is_no_room_is_timed_with_two_items(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(self: Any, plan: ComputePlan, count: int) -> tuple[float, torch.Tensor]:
        if count > 2:
            raise MemoryError
        return 1e-3 * count, torch.ones(2)

    monkeypatch.setattr(compute._Benchmark, "step", step)
    bench = compute._Benchmark(torch.nn.Linear(1, 1), (1,))
    choice = bench.choose(ComputePlan(CPU, "float32", False, 1), 64, ("float32",), ("channels_last", "contiguous"))
    assert choice.single_item_seconds == pytest.approx(1e-3)
