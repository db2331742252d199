"""torch.compile beside the training; a stand-in builds here, for a real compiler takes a minute."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from ddpm_studio.engine import dataset_of
from ddpm_studio.recipes import Recipe
from ddpm_studio.training import compiled
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import CompileBegun, Quicker, StepDone
from ddpm_studio.training.trainer import _plan_now, train

RecipeOf = Callable[..., Recipe]
CPU = torch.device("cpu")


class Builder:
    """What torch.compile makes: the same function, which counts its calls; and what it does wrong."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, wrong: float = 0.0, fails: str = "") -> None:
        self.calls, self.wrong, self.fails = list[tuple[int, str]](), wrong, fails
        self.go = threading.Event()
        monkeypatch.setattr(torch, "compile", self.compile)
        monkeypatch.setattr(compiled, "compiler_missing", lambda device: "")

    def compile(self, function: Callable[..., Tensor], **how: Any) -> Callable[..., Tensor]:
        assert self.go.wait(30)
        if self.fails:
            raise RuntimeError(self.fails)

        one_at_a_time = threading.Lock()

        def built(tensors: dict[str, Tensor], x: Tensor, *rest: Any) -> Tensor:
            self.calls.append((len(x), threading.current_thread().name))
            with one_at_a_time:  # only as Python does it put the parameters into a module for the time of the call
                out = function(tensors, x, *rest)
            return out * (1 - self.wrong) + self.wrong * out.flip(0).detach()

        return built


def steps_of(session: Session, builder: Builder, before: int = 3, after: int = 4) -> tuple[int, list[Quicker]]:
    """Train until some steps after the news; how many steps there were, and what was told."""
    control, done, told, left = Control(), 0, list[Quicker](), -1
    for event in train(session, control):
        if isinstance(event, Quicker):
            told.append(event)
            left = after
        if isinstance(event, StepDone):
            done += 1
            if done == before:
                builder.go.set()
            left -= left > 0
            if left == 0 or done > 50_000:
                control.stop()
    return done, told


@pytest.mark.parametrize("threads", [1, 2])
def test_built_code_takes_over_and_learns_the_same(
    threads: int, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder(monkeypatch)
    made: dict[str, Any] = {"training__steps": 100_000, "compute__threads": threads}
    recipe = recipe_of("pictures", compute__compile="on", **made)
    session = build(recipe, dataset_of(recipe))
    done, (told,) = steps_of(session, builder)
    assert told.good
    assert told.plan == session.plan.describe()
    assert told.plan.endswith(", compiled")
    assert told.reason.startswith("compiled in ")
    members = {name for size, name in builder.calls if name != "compile"}
    assert len(members) == threads, "each member of a crew calls it"
    assert {size for size, _ in builder.calls} == {6 // threads}
    plain = build(recipe_of("pictures", **made), dataset_of(recipe))
    list(train(plain, Control(), until=done))
    ours, theirs = session.state(), plain.state()
    assert ours[1]["step"] == theirs[1]["step"] == done
    assert all(torch.equal(tensor, theirs[0][name]) for name, tensor in ours[0].items())


@pytest.mark.parametrize(
    ("wish", "flaws", "why"),
    [
        ("on", {"fails": "no such header\nand more"}, "learning goes on without it: no such header"),
        ("on", {"wrong": 0.9}, "another gradient"),
        ("auto", {}, "gains too little"),
    ],
)
def test_what_does_not_work_agree_or_pay_is_left_out_and_told_once(
    wish: str, flaws: dict[str, Any], why: str, recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "PAYS", 100.0)
    builder = Builder(monkeypatch, **flaws)
    recipe = recipe_of("pictures", compute__compile=wish, training__steps=100_000)
    session = build(recipe, dataset_of(recipe))
    _, (told,) = steps_of(session, builder)
    assert why in told.reason
    assert "\n" not in told.reason
    assert not told.good
    assert told.plan == ""
    assert session.plan.compiled is None
    assert {name for _, name in builder.calls} <= {"compile"}


def test_that_it_builds_is_told_unless_it_is_known_that_nothing_can_be_built(
    recipe_of: RecipeOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder = Builder(monkeypatch)
    builder.go.set()
    begun: dict[str, bool] = {}
    for verdict in ("", "no compiler"):
        monkeypatch.setattr(compiled, "compiler_verdict", lambda device, verdict=verdict: verdict)
        recipe = recipe_of("pictures", compute__compile="on")
        events = list(train(build(recipe, dataset_of(recipe)), Control(), until=1))
        begun[verdict] = CompileBegun(0) in events
    assert begun == {"": True, "no compiler": False}


def test_with_fewer_threads_nothing_is_told_to_be_compiled(recipe_of: RecipeOf) -> None:
    recipe = recipe_of("pictures", compute__threads=2)
    session = build(recipe, dataset_of(recipe))
    session.plan = replace(session.plan, compiled=compiled.Compiled(lambda *_: torch.zeros(()), 3, 1))
    assert _plan_now(session, 2).endswith("2 threads, compiled")
    assert _plan_now(session, 1).endswith("1 thread")


def test_other_sizes_and_the_average_run_as_they_are() -> None:
    net = torch.nn.Linear(2, 2)
    built = compiled.Compiled(lambda tensors, x, t, label: x * 0, 4, torch.get_num_threads())
    plain = torch.nn.Module()
    plain.forward = lambda x, t, label: net(x)  # type: ignore[method-assign, assignment]
    run, x = built.of(plain.train()), torch.ones(4, 2)
    assert not run(x, x, None).any()
    assert torch.equal(run(x[:3], x, None), net(x[:3]))
    with torch.no_grad():
        assert torch.equal(run(x, x, None), net(x))
    assert built.of(plain.eval()) is plain


def test_the_verdict_on_a_compiler_is_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    tried: list[str] = []

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        tried.append(command[-1])
        return subprocess.CompletedProcess(
            command, 1, "", "Traceback:\nInvalidCxxCompilerError: No working C++ compiler\n"
        )

    monkeypatch.setenv("DDPM_STUDIO_HOME", str(tmp_path))
    monkeypatch.setattr(compiled.subprocess, "run", run)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: f"/bin/{name}")
    assert compiled.compiler_verdict(CPU) is None, "nobody has tried yet"
    for _ in range(2):
        assert compiled.compiler_missing(CPU) == "InvalidCxxCompilerError: No working C++ compiler"
    assert len(tried) == 1
    assert compiled.compiler_verdict(CPU) == "InvalidCxxCompilerError: No working C++ compiler"

    def late(command: list[str], **how: Any) -> Any:
        raise subprocess.TimeoutExpired(command, 120)

    monkeypatch.setattr(compiled.subprocess, "run", late)
    monkeypatch.setenv("CXX", str(tmp_path / "another"))
    assert compiled.compiler_missing(CPU) != "", "what is remembered holds for the same compilers"
    assert "more than 120 s" in compiled._try_compiler(CPU)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert compiled.compiler_verdict(CPU) == "this computer has no C++ compiler"
    monkeypatch.setattr(compiled.sys, "frozen", True, raising=False)
    assert "comes without" in compiled.compiler_missing(CPU)
