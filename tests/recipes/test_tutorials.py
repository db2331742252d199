"""What the tutorials' files say fits the recipes, the numbers and the documents' known misprints."""

from __future__ import annotations

import pytest

from ddpm_studio.recipes import SECTION_TITLES, Recipe, built_in, fields_of, kinds_of, section_class
from ddpm_studio.recipes.tutorials import (
    Tutorial,
    core,
    equations_for,
    origin_of,
    symbols_for,
    tutorial_of,
    tutorials,
)

DOCUMENTS = ("000", "001", "002", "003", "004")
CURVES = {"curve.signal", "curve.noise", "curve.beta", "curve.log_snr", "player.t"}


def editions(document: str) -> list[Recipe]:
    return [recipe for recipe in built_in().values() if recipe.tutorial == document]


def printed(document: str) -> Recipe:
    return next(recipe for recipe in editions(document) if recipe.edition == "printed")


def settings_of(recipe: Recipe) -> set[str]:
    names = {f"{s}.{f.name}" for s in SECTION_TITLES for f in fields_of(section_class(recipe, s))}
    return names | {f"{s}.kind" for s in ("schedule", "network", "sampler")} | {"seed"}


def every_setting() -> set[str]:
    names = {"seed"}
    for section in SECTION_TITLES:
        classes = [*kinds_of(section).values()] or [section_class(Recipe(), section)]
        names |= {f"{section}.{field.name}" for cls in classes for field in fields_of(cls)}
    return names | {f"{s}.kind" for s in ("schedule", "network", "sampler")}


def test_there_are_five_and_each_has_its_recipes() -> None:
    assert tuple(tutorials()) == DOCUMENTS
    for document, tutorial in tutorials().items():
        assert tutorial.document == document
        assert {recipe.edition for recipe in editions(document)} >= {"printed", "laptop"}
        assert all([tutorial.title, tutorial.language, tutorial.teaches, tutorial.counts, tutorial.sources])
    assert tutorial_of(built_in()["fashion-mnist"]) is None
    assert tutorial_of(printed("003")) is tutorials()["003"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_setting_that_it_names_exists_in_its_recipes(document: str) -> None:
    tutorial = tutorials()[document]
    sections = set(SECTION_TITLES)
    for recipe in editions(document):
        there = settings_of(recipe) | sections
        named = {field for e in tutorial.equations if e.holds_for(recipe) for field in e.fields}
        assert named <= there
        assert {*tutorial.printed, *tutorial.authors} <= there
    # What belongs to a sampler that may be chosen instead must exist there.
    assert {field for e in tutorial.equations for field in (*e.fields, *e.when)} <= every_setting() | sections
    assert not set(tutorial.printed) & set(tutorial.authors)


@pytest.mark.parametrize("tutorial", [*tutorials().values(), core()], ids=lambda t: t.document)
def test_every_symbol_belongs_to_something_that_exists(tutorial: Tutorial) -> None:
    assert len({symbol.text for symbol in tutorial.symbols}) == len(tutorial.symbols)
    for symbol in tutorial.symbols:
        assert symbol.belongs, symbol.text
        assert set(symbol.belongs) <= every_setting() | CURVES, symbol.text
    if tutorial.document == "core":
        return
    recipe = printed(tutorial.document)
    for symbol in tutorial.symbols:  # one of them at least can light up in its own recipe
        assert set(symbol.belongs) & (settings_of(recipe) | CURVES), symbol.text


@pytest.mark.parametrize("tutorial", [*tutorials().values(), core()], ids=lambda t: t.document)
def test_equations_are_two_lines_at_most_and_their_brackets_close(tutorial: Tutorial) -> None:
    for equation in tutorial.equations:
        for text in (equation.text, equation.live):
            assert text.count("\n") <= 1
            for one, other in ("()", "{}", "[]", "<>"):
                assert text.count(one) == text.count(other), text
        assert equation.text
        assert equation.fields


# The numbers that the documents give to their equations; all others have none.
NUMBERS = {
    "000": {"1", "2", "3", "4", "5"},
    "001": set(),
    "002": set(),
    "003": {"1", "2", "3", "4", "5"},
    "004": {"2.2.1", "2.2.2", "2.2.3", "2.2.4", "2.2.5", "2.2.6", "2.2.7"},
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_numbered_equation_is_there(document: str) -> None:
    numbers = {equation.number for equation in tutorials()[document].equations}
    assert {number for number in numbers if number[:1].isdigit()} == NUMBERS[document]


# Words by which each trap of the specification is known, in its order.
TRAPS = {
    "000": ["two misprints", "prints sin", "t = 0", "factor 2", "entry −1", "raw picture", "loop over the batch"],
    "001": ["x_{i:T}", "β near 1", "mnemonic", "two different recipes"],
    "002": [
        "62,438,883",
        "with itself",
        "multiples of 16",
        "0, 1, …, T",
        "mean and a variance",
        "t == 0",
        "clamp",
        "eval()",  # in the specification's text, not among its traps
        "L1 and not L2",
    ],
    "003": [
        "always true",
        "0.9999",
        "T + 1",
        "IndexError",
        "lacks the ε",
        "minus sign",
        "calls √β_t the variance",
        "cumulative product",
    ],
    "004": [
        "t = 1 … T",
        "K + 1",
        "last move of each level",
        "N(x, σ_t I)",
        "sums over t",
        "processor only",
        "σ_T near 1",
        "does not see the noise level",
    ],
}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_trap_is_told_with_what_happens_here(document: str) -> None:
    traps = tutorials()[document].traps
    assert len(traps) == len(TRAPS[document])
    for trap, words in zip(traps, TRAPS[document], strict=True):
        assert words in trap.text
        assert trap.here.endswith(".")


@pytest.mark.parametrize(
    ("document", "number", "title", "right", "misprint"),
    [
        ("000", "5", "", "1/√α_t (x_t", "1/α_t for 1/√α_t"),
        ("000", "3", "", "= 2 (", "factor 2"),
        ("000", "", "Time embedding", "cos", "sin in both"),
        ("001", "", "Forward chain", "x_{1:T}", "x_{i:T}"),
        ("001", "", "Closed form", "√ᾱ_t x_0", "lacks its t"),
        ("003", "2", "", "√(1−ᾱ_t) ε", "leaves out the ε"),
        ("003", "5", "Mean of a step back", "/(1−ᾱ_t) x_0", "1 ᾱ_t"),
        ("004", "2.2.4", "", "−ε/σ_t²", "N(x, σ_t I)"),
        ("004", "Algorithm 2.1", "", "t = T … 1", "t = 1 … T"),
    ],
)
def test_a_misprint_is_corrected_and_told(document: str, number: str, title: str, right: str, misprint: str) -> None:
    found = [
        e for e in tutorials()[document].equations if e.number == number and title in e.title and misprint in e.printed
    ]
    assert len(found) == 1
    assert right in found[0].text


def test_a_setting_shows_its_tutorials_equations_or_else_the_cores() -> None:
    recipe = printed("000")
    assert [e.number for _, e in equations_for(recipe, "sampler.variance")] == ["4", "5"]
    assert [e.number for _, e in equations_for(recipe, "objective.loss")] == ["2", "3"]
    assert {s.document for s, _ in equations_for(recipe, "schedule.beta_end")} == {"000"}
    other = recipe.with_settings({"sampler.kind": "ddim", "sampler.steps": 50})
    [(source, equation)] = equations_for(other, "sampler.kind")
    assert source is core()
    assert equation.title == "DDIM's step"
    assert equations_for(recipe, "training.autosave") == []


@pytest.mark.parametrize("kind", list(kinds_of("sampler")))
def test_every_sampler_has_its_rule(kind: str) -> None:
    recipe = built_in()["fashion-mnist"].with_settings({"sampler.kind": kind})
    assert len(equations_for(recipe, "sampler.kind")) == 1
    if kind == "heun":
        assert "atan(σ/α)" in equations_for(recipe, "sampler.kind")[0][1].remark


def test_the_network_on_the_card_is_the_one_that_runs() -> None:
    titles = {
        recipe.network.level_aware: [e.title for _, e in equations_for(recipe, "network.widths")]  # type: ignore[union-attr]
        for recipe in editions("004")
    }
    assert titles == {False: ["The score network"], True: ["A score network that sees σ"]}


def test_where_a_value_comes_from() -> None:
    recipe = printed("000")
    assert origin_of(recipe, "schedule.beta_end") == "printed"
    assert origin_of(recipe, "training.learning_rate") == "authors"
    assert origin_of(recipe, "compute.precision") == "ours"
    assert origin_of(recipe.with_settings({"schedule.beta_end": 0.03}), "schedule.beta_end") == "ours"
    laptop = next(r for r in editions("000") if r.edition == "laptop")
    assert origin_of(laptop, "network.channels") == "ours"
    assert origin_of(built_in()["fashion-mnist"], "schedule.beta_end") is None


@pytest.mark.parametrize(
    ("document", "path", "origin"),
    [
        ("000", "data.flip", "printed"),  # ToTensor and nothing else
        ("000", "training.weight_decay", "printed"),  # Adam(model.parameters(), lr=lr)
        ("001", "data.epoch_end", "authors"),  # repeated, then shuffled and cut into batches: they run on
        ("003", "network.kind", "ours"),  # two lines of it are printed
        ("004", "data.epoch_end", "printed"),  # a DataLoader that drops nothing
        ("004", "schedule.kind", "authors"),  # that the noise levels ascend is all that is printed
        ("003", "sampler.spacing", "printed"),  # the loop T … 1 leaves nothing out
        ("003", "training.beta2", "authors"),  # Adam as it comes
    ],
)
def test_what_is_printed_and_what_is_from_the_code(document: str, path: str, origin: str) -> None:
    assert origin_of(printed(document), path) == origin


def test_batches_of_the_paper_run_on_into_the_next_epoch() -> None:
    assert printed("001").data.epoch_end == "run-on"


def test_a_tutorials_own_symbols_come_before_the_cores() -> None:
    meanings = {symbol.text: symbol.meaning for symbol in symbols_for(tutorials()["004"])}
    assert meanings["α_t"].startswith("Length of a move")
    assert meanings["T"] == next(s.meaning for s in core().symbols if s.text == "T")


def test_the_width_of_an_embedding_is_that_of_the_network() -> None:
    assert [tutorials()[d].width_for(printed(d)) for d in ("000", "001", "002", "003")] == [100, 128, 32, 128]
