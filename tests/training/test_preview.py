"""Previews: how many network calls they take, that the choice stays, and what they are said to cost."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe
from ddpm_studio.training import preview, recorded
from ddpm_studio.training.build import Session, build, snapshot
from ddpm_studio.training.compute import THREAD_CLOCK
from ddpm_studio.training.control import ChangeRequest, Control
from ddpm_studio.training.events import PreviewsPaid, SettingChanged, StepDone, TapeFinished
from ddpm_studio.training.preview import FEWEST, MOST, call_seconds, calls_that_fit, preview_sampler
from ddpm_studio.training.trainer import train

RecipeOf = Callable[..., Recipe]


def open_session(recipe_of: RecipeOf, kind: str = "points", **changes: object) -> Session:
    recipe = recipe_of(kind, **{"preview__steps": None, "preview__budget": 2.0, **changes})
    return build(recipe, dataset_of(recipe))


@given(share=st.floats(0, 0.1), seconds=st.floats(1e-9, 100))
def test_the_calls_fit_the_budget_of_ten_seconds(share: float, seconds: float) -> None:
    calls = calls_that_fit(share, seconds)
    assert FEWEST <= calls <= MOST
    assert calls == FEWEST or calls * seconds <= share * 10
    assert calls == MOST or (calls + 1) * seconds > share * 10
    assert calls <= calls_that_fit(2 * share, seconds)


@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_a_call_is_measured_and_the_choice_stays(
    kind: str, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_session(recipe_of, kind)
    assert 0 < call_seconds(session, "ema") < 5
    costs = iter((0.02, 1.0))
    monkeypatch.setattr(preview, "call_seconds", lambda *_: next(costs))
    chosen = preview_sampler(session, "ema")
    few = "ipndm" if kind == "points" else "dpmpp-2m"
    assert (chosen.kind, chosen.steps) == (few, 10)  # 2 % of 10 s are ten calls of 20 ms
    assert preview_sampler(session, "raw") == chosen
    again = open_session(recipe_of, kind)
    again.load_state(*snapshot(session))
    assert preview_sampler(again, "ema") == chosen, "a run that goes on keeps rows that compare"


@pytest.mark.skipif(THREAD_CLOCK is time.perf_counter, reason="a thread's own time is too coarse on this system")
def test_a_busy_computer_makes_no_coarser_rows(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    session = open_session(recipe_of, "points")
    real = session.sampling_denoiser

    def waiting(weights: str) -> Callable[..., object]:
        denoiser = real(weights)

        def call(*asked: object) -> object:
            time.sleep(0.05)  # as where other programs have the processor
            return denoiser(*asked)  # type: ignore[arg-type]

        return call

    monkeypatch.setattr(session, "sampling_denoiser", waiting)
    assert call_seconds(session, "ema") < 0.05


@pytest.mark.parametrize(("card", "calls"), [(False, 1), (True, 3)])
def test_a_card_may_take_long_to_get_ready(
    card: bool, calls: int, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor a long call is a long call, and is not tried again."""
    session, now = open_session(recipe_of, "points"), [0.0]
    monkeypatch.setattr(type(session.plan), "graphs", property(lambda plan: card))
    denoiser, costs = session.sampling_denoiser("ema"), [2.0, 1.0, 0.001]

    def call(*asked: object) -> object:
        now[0] += costs.pop(0)
        return denoiser(*asked)  # type: ignore[arg-type]

    monkeypatch.setattr(recorded, "record_in_turn", lambda works, warm_up: [work() or work for work in works])
    monkeypatch.setattr(session, "sampling_denoiser", lambda weights: call)
    monkeypatch.setattr(preview, "THREAD_CLOCK", lambda: now[0])
    assert call_seconds(session, "ema") == pytest.approx([2.0, 1.0, 0.001][calls - 1])


def test_what_a_person_fixes_is_not_measured(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "call_seconds", lambda *_: pytest.fail("nothing is left to choose"))
    fixed = open_session(recipe_of, preview__steps=7, preview__method="unipc")
    chosen = preview_sampler(fixed, "ema")
    assert (chosen.kind, chosen.steps) == ("unipc", 7)


def test_another_budget_chooses_anew(recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "call_seconds", lambda *_: 0.02)
    session, control = open_session(recipe_of, preview__budget=1.5), Control()
    found: list[tuple[int, int]] = []
    for event in train(session, control, until=12):
        if isinstance(event, StepDone) and event.step == 3:
            control.ask(ChangeRequest({"training.batch": 16}))
        if isinstance(event, StepDone) and event.step == 6:
            control.ask(ChangeRequest({"preview.budget": 3.0}))
        if isinstance(event, SettingChanged | TapeFinished):
            found.append((session.step, session.preview_calls))
    assert found[0] == (0, 7), "the first preview"
    assert (3, 7) in found, "the batch has nothing to do with it"
    assert (6, 0) in found
    assert found[-1] == (12, 15)


def test_the_measured_share_is_told(recipe_of: RecipeOf) -> None:
    session, control = open_session(recipe_of, preview__budget=10.0, training__steps=100_000), Control()
    began, drawn, told = time.perf_counter(), 0.0, 0
    for event in train(session, control, seconds=100):
        if isinstance(event, TapeFinished):
            drawn += event.seconds
        if isinstance(event, PreviewsPaid):
            told += 1
            assert drawn / (time.perf_counter() - began) <= event.share < 1
        if told == 3:
            control.stop()
    assert told >= 3
