"""Axes and cells of a labelled grid: every cell has its place and its label, and what no axis says is the recipe's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddpm_studio.recipes import Recipe, RecipeError, find, kinds_of
from ddpm_studio.recipes.axes import MOST_CELLS, NAMES, Axis, Cell, cells, parse_axis
from ddpm_studio.recipes.comparing import calls_at_most, sampler_choices, sampler_label
from ddpm_studio.recipes.sections import DDIM, DDPM, Heun

MOONS = find("moons")
FOLDERS = [Path("one/run"), Path("two/run"), Path("two/other")]
RECIPES = {
    folder: MOONS.with_settings({"sampler.kind": kind, "sampler.steps": 10 + i})
    for i, (folder, kind) in enumerate(zip(FOLDERS, ("ddpm", "heun", "euler"), strict=True))
}
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "sampler": st.sampled_from(["ddim", "ddpm", "euler", "heun", "dpmpp-2m", DDIM(steps=9), DDIM(steps=9, eta=1)]),
    "steps": st.integers(1, MOONS.schedule.steps),
    "eta": st.floats(0, 1),
    "seed": st.integers(0, 2**31 - 1),
    "checkpoint": st.integers(1, 10**9),
    "weights": st.sampled_from(["ema", "raw"]),
    "run": st.sampled_from(FOLDERS),
}


def axis_of(key: str) -> st.SearchStrategy[Axis]:
    values = st.lists(VALUES[key], min_size=1, max_size=4, unique_by=repr)
    return values.map(lambda them: Axis(key, tuple(them)))


# η is left out here: not every sampler has one
PAIRS = st.lists(st.sampled_from([key for key in NAMES if key != "eta"]), min_size=2, max_size=2, unique=True).flatmap(
    lambda keys: st.tuples(*map(axis_of, keys))
)


@given(PAIRS, st.integers(0, 2**31 - 1), st.sampled_from(["ema", "raw"]))
def test_every_cell_is_what_its_row_and_its_column_say(axes: tuple[Axis, Axis], seed: int, weights: str) -> None:
    rows, columns = axes
    table = cells(MOONS, rows, columns, seed=seed, weights=weights, checkpoint=7, recipes=RECIPES)
    flat = [cell for row in table for cell in row]
    assert [(cell.row, cell.column) for cell in flat] == [(r, c) for r in rows.labels for c in columns.labels]
    assert {(cell.row_key, cell.column_key) for cell in flat} == {(rows.key, columns.key)}
    assert len({cell.label for cell in flat}) == len(flat) == len(rows.values) * len(columns.values)
    for i, row in enumerate(table):
        for j, cell in enumerate(row):
            wanted = {rows.key: rows.values[i], columns.key: columns.values[j]}
            own = RECIPES[wanted["run"]] if "run" in wanted else MOONS
            sampler = wanted.get("sampler", own.sampler)
            assert cell.settings.kind == getattr(sampler, "kind", sampler)
            steps = sampler.steps if not isinstance(sampler, str) else own.sampler.steps
            assert cell.settings.steps == wanted.get("steps", steps)
            assert cell.seed == wanted.get("seed", seed)
            assert cell.weights == wanted.get("weights", weights)
            assert cell.checkpoint == wanted.get("checkpoint", 7)
            assert cell.run == wanted.get("run")


@given(st.sampled_from(sorted(NAMES)).flatmap(axis_of), st.booleans())
def test_one_axis_is_one_row_or_one_column(axis: Axis, down: bool) -> None:
    recipe = MOONS.with_settings({"sampler.kind": "ddim"})
    table = cells(recipe, axis if down else None, None if down else axis, seed=3, recipes=RECIPES)
    flat = [cell for row in table for cell in row]
    assert (len(table), len(table[0])) == ((len(flat), 1) if down else (1, len(flat)))
    assert [cell.row if down else cell.column for cell in flat] == axis.labels
    assert {cell.column if down else cell.row for cell in flat} == {""}
    assert len(set(axis.labels)) == len(axis.values)
    on = {axis.key} | ({"seed"} if axis.key == "seed" else set())
    assert {cell.seed for cell in flat} == ({3} if "seed" not in on else set(axis.values))


@given(axis_of("steps"), axis_of("seed"))
def test_what_is_typed_is_the_axis(steps: Axis, seeds: Axis) -> None:
    for axis in (steps, seeds):
        text = f"{axis.key}= " + " , ".join(map(str, [*axis.values, axis.values[0]])) + ","
        assert parse_axis(text, []) == axis


def test_a_sampler_with_its_knobs_is_taken_as_it_is() -> None:
    axis = Axis("sampler", (DDIM(steps=5, eta=0.5), DDPM(steps=8, variance="beta"), DDIM(steps=7), Heun(steps=3)))
    (row,) = cells(MOONS, None, axis, seed=0)
    assert tuple(cell.settings for cell in row) == axis.values
    assert len(set(axis.labels)) == 4
    assert axis.labels[1::2] == ["DDPM", "Heun"]
    table = cells(MOONS, Axis("steps", (2, 4)), axis, seed=0)
    assert [cell.settings.steps for row in table for cell in row] == [2] * 4 + [4] * 4
    assert table[0][1].settings.variance == "beta"


def test_each_run_has_its_own_sampler_unless_there_is_an_axis_of_them() -> None:
    runs = Axis("run", tuple(FOLDERS))
    assert runs.labels == [str(FOLDERS[0]), str(FOLDERS[1]), "other"]  # two are called alike
    (row,) = cells(MOONS, None, runs, seed=0, recipes=RECIPES)
    assert [cell.settings for cell in row] == [RECIPES[folder].sampler for folder in FOLDERS]
    assert [cell.checkpoint for cell in row] == [None] * 3
    table = cells(MOONS, Axis("sampler", ("ddim",)), runs, seed=0, recipes=RECIPES)
    assert [cell.settings.kind for cell in table[0]] == ["ddim"] * 3
    assert [cell.settings.steps for cell in table[0]] == [10, 11, 12]


def test_names_that_a_person_knows_stand_for_the_values() -> None:
    runs = Axis("run", tuple(FOLDERS), ("Moons", "Moons", "Rings"))
    assert runs.labels == [str(FOLDERS[0]), str(FOLDERS[1]), "Rings"]  # two are called alike


def test_only_a_score_network_without_the_level_is_blind() -> None:
    score = find("score-two-gaussians")
    found = [MOONS, *(score.with_settings({"network.level_aware": aware}) for aware in (False, True))]
    assert [recipe.blind for recipe in found] == [False, True, False]


def test_a_run_whose_schedule_is_too_short_is_named() -> None:
    short = MOONS.with_settings({"sampler.steps": 3, "preview.steps": 3, "schedule.steps": 4})
    with pytest.raises(RecipeError, match=r"steps=5, run=here does not fit: .*T = 4"):
        cells(MOONS, Axis("steps", (2, 5)), Axis("run", (Path("here"),)), seed=0, recipes={Path("here"): short})


def test_a_cell_without_any_axis_is_the_recipe() -> None:
    assert cells(MOONS, None, None, seed=4, checkpoint=9) == [[Cell(MOONS.sampler, 4, "ema", 9)]]


def test_more_values_than_fit_are_refused() -> None:
    with pytest.raises(RecipeError, match=f"at most {MOST_CELLS}"):
        parse_axis("seed=" + ",".join(map(str, range(MOST_CELLS + 1))), [])


def test_every_sampler_is_called_alike_everywhere() -> None:
    choices = sampler_choices(MOONS, "points")
    assert {choice.settings.kind: choice.label for choice in choices} == {
        kind: sampler_label(kind) for kind in kinds_of("sampler")
    }
    assert Axis("sampler", ("langevin", "dpmpp-2m")).labels == ["Annealed Langevin", "DPM-Solver++"]


def test_what_a_recipe_learns() -> None:
    assert [find(name).learns for name in ("moons", "score-two-gaussians", "fashion-mnist")] == [
        "points",
        "points",
        "pictures",
    ]
    assert calls_at_most(Heun(steps=5)) == 10
    assert isinstance(MOONS, Recipe)
