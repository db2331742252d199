"""A fork begins with what its parent had learnt, as far as names and shapes agree, and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ddpm_studio.cli import main
from ddpm_studio.engine import dataset_of, fork, open_session, run_training
from ddpm_studio.recipes import Recipe
from ddpm_studio.store import CheckpointError, Run, RunError, list_runs
from ddpm_studio.training.carry import shapes_of
from ddpm_studio.training.control import ChangeRequest, Control, ForkQuestion
from ddpm_studio.training.events import Carried, Event, ForkForeseen, SettingChanged, Started, StepDone
from ddpm_studio.training.trainer import train

RecipeOf, NewRun = Callable[..., Recipe], Callable[..., Run]


@pytest.fixture
def parent(recipe_of: RecipeOf, new_run: NewRun) -> Run:
    """Thirty steps on points."""
    run = new_run(recipe_of("points", training__steps=30), "parent")
    list(run_training(run, Control()))
    return run


def carried(events: list[Event]) -> Carried:
    return next(e for e in events if isinstance(e, Carried))


def test_a_fork_that_differs_in_the_loss_alone_takes_everything(parent: Run, tmp_path: Path) -> None:
    child = fork(parent, None, parent.recipe().with_settings({"objective.loss": "huber"}), tmp_path / "child")
    said = carried(list(run_training(child, Control(), until=1)))
    theirs, mine = parent.checkpoints()[-1], child.checkpoints()[0]
    assert mine.step == 0
    for name, tensor in theirs.tensors().items():
        assert torch.equal(tensor, mine.tensors()[name]), name
    assert said.weights == said.of == said.averaged > 0
    assert said.moments == said.of  # every tensor of this network is a parameter
    assert said.data_order
    numbers, recipe = mine.about()
    assert numbers["images_seen"] == 30 * 32
    assert numbers["ema_updates"] == 30
    assert recipe.objective.loss == "huber"
    with child.record() as record:
        assert [e.kind for e in record.events()][:3] == ["forked", "carried", "started"]
        assert record.metrics()[0, 0] == 1  # its own count


def test_another_network_takes_what_agrees(parent: Run, tmp_path: Path) -> None:
    wanted = parent.recipe().with_settings({"network.depth": 3, "seed": 5})
    child = fork(parent, 30, wanted, tmp_path / "child")
    said = carried(list(run_training(child, Control(), until=2)))
    assert 0 < said.weights < said.of
    assert not said.data_order
    numbers, _ = child.checkpoints()[0].about()
    assert numbers["ema_updates"] == numbers["images_seen"] == 0
    theirs, mine = parent.checkpoints()[-1].tensors(), child.checkpoints()[0].tensors()
    alike = [n for n, t in mine.items() if n.startswith("network.") and n in theirs and theirs[n].shape == t.shape]
    assert len(alike) == said.weights
    assert all(torch.equal(mine[n], theirs[n]) for n in alike)
    assert "moments" in said.sentence()
    assert f"{said.weights} of {said.of}" in said.sentence()


def test_a_fork_goes_on_after_its_parent_has_gone(parent: Run, tmp_path: Path) -> None:
    child = fork(parent, None, parent.recipe().with_settings({"training.steps": 6}), tmp_path / "child")
    list(run_training(child, Control(), until=3))
    for file in parent.checkpoint_folder.iterdir():
        file.unlink()
    events = list(run_training(child, Control()))
    assert not [e for e in events if isinstance(e, Carried)]
    assert next(e for e in events if isinstance(e, Started)).resumed_at == 3
    assert child.checkpoints()[-1].step == 6
    orphan = Run.create(parent.recipe(), tmp_path / "orphan", child.parent())
    with pytest.raises(RunError, match="no checkpoint at step 30 any more"):
        list(run_training(orphan, Control()))


def test_forks_of_forks_count_what_was_learnt_before(parent: Run, tmp_path: Path) -> None:
    child = fork(parent, None, parent.recipe(), tmp_path / "child")
    list(run_training(child, Control(), until=4))
    grandchild = fork(child, None, parent.recipe(), tmp_path / "grandchild")
    (tmp_path / "child").rename(tmp_path / "renamed")
    told = {s.run.name: s for s in list_runs(tmp_path)}
    assert told["parent"].parent is None
    first, second = told["renamed"].parent, told["grandchild"].parent
    assert first is not None
    assert second is not None
    assert (first.step, first.before, first.born) == (30, 30, told["parent"].born)
    assert (second.step, second.before, second.born) == (4, 34, told["renamed"].born)
    assert grandchild.parent() == second


def test_there_must_be_something_to_fork_from(parent: Run, recipe_of: RecipeOf, new_run: NewRun) -> None:
    with pytest.raises(RunError, match="no checkpoint at step 7 to fork from; there are: 30"):
        fork(parent, 7, parent.recipe())
    with pytest.raises(RunError, match="there are: none"):
        fork(new_run(recipe_of("points"), "empty"), None, parent.recipe())


def test_what_would_be_carried_over_is_told_during_training(parent: Run) -> None:
    session, control = open_session(parent, dataset=dataset_of(parent.recipe())), Control()
    wanted = session.recipe.with_settings({"network.depth": 3})
    elsewhere = session.recipe.with_settings({"data.source": "two-gaussians", "network.depth": 3})
    control.ask(ForkQuestion(wanted))
    control.ask(ForkQuestion(elsewhere))  # whose data are not in memory
    told = [e for e in train(session, control, until=31) if isinstance(e, ForkForeseen)]
    assert [e.recipe for e in told] == [wanted]
    assert 0 < told[0].weights < told[0].of
    checkpoint = parent.checkpoints()[-1]
    assert checkpoint.shapes() == shapes_of(checkpoint.tensors())  # from its head alone
    checkpoint.tensors_file.write_bytes(b"\xff" * 40)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.shapes()


def test_live_settings_reach_optimizer_ema_and_loss(recipe_of: RecipeOf, new_run: NewRun) -> None:
    """Each takes effect between two steps; undoing one is another change, after which all is as before."""
    run = new_run(recipe_of("points", training__decay="none", training__ema_warmup=False))
    session, control = open_session(run), Control()
    before = session.recipe
    seen: list[Event] = []
    changes = {
        "training.ema_decay": 0.0,
        "training.clip_norm": 1e-9,
        "objective.weight": "min-snr",
        "training.learning_rate": 1e-4,
        "preview.budget": 5.0,
    }
    ema_is_network: list[bool] = []
    for event in train(session, control, until=20):
        seen.append(event)
        if isinstance(event, StepDone):
            pairs = zip(session.ema.parameters(), session.network.parameters(), strict=True)
            ema_is_network.append(all(torch.equal(a, b) for a, b in pairs))
            if event.step == 10:
                control.ask(ChangeRequest(changes))
            if event.step == 15:
                assert float(session.optimizer.rate) == pytest.approx(1e-4)
                control.ask(ChangeRequest({name: _value(before, name) for name in changes}))
    assert ema_is_network == [False] * 10 + [True] * 5 + [False] * 5
    told = [e for e in seen if isinstance(e, SettingChanged)]
    assert [e.step for e in told] == [10] * 5 + [15] * 5
    assert {e.setting: (e.old, e.new) for e in told[:5]} == {e.setting: (e.new, e.old) for e in told[5:]}
    assert session.recipe == before


def test_clipping_and_weight_change_the_very_next_step(recipe_of: RecipeOf, new_run: NewRun) -> None:
    def after(changes: dict[str, object]) -> tuple[float, torch.Tensor]:
        session, control = open_session(new_run(recipe_of("points"), f"run {len(str(changes))}")), Control()
        for event in train(session, control, until=6):
            if isinstance(event, StepDone) and event.step == 5 and changes:
                control.ask(ChangeRequest(dict(changes)))
        name, weights = next(session.network.named_parameters())
        moment = session.optimizer.slots()[f"{name}.exp_avg"]
        return float(moment.abs().sum()), weights.detach().clone()

    plain, weights = after({})
    clipped, _ = after({"training.clip_norm": 1e-9})
    _, weighted = after({"objective.weight": "min-snr"})
    assert clipped < plain
    assert not torch.equal(weights, weighted)


def _value(recipe: Recipe, path: str) -> object:
    section, _, name = path.partition(".")
    return getattr(getattr(recipe, section), name)


def test_the_command_line_forks(parent: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child, fixed = tmp_path / "child", ["--set", "network.depth=3", "--set", "compute.threads=1", "--device", "cpu"]
    recipe = str(parent.recipe_file)
    call = ["train", recipe, "--steps", "3", "--out", str(child), "--fork", f"{parent.path}@30", *fixed]
    assert main(call) == 0
    assert "Forked:" in capsys.readouterr().err
    made = Run.open(child)
    assert made.parent() == parent.fork_point(30)
    assert made.checkpoints()[-1].step == 3
    call[call.index(str(child))] = str(tmp_path / "other")
    call[call.index(f"{parent.path}@30")] = f"{parent.path}@29"
    assert main(call) == 1
    assert "no checkpoint at step 29" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
