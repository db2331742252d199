"""Recipes: every value survives TOML, every wrong one is named in a sentence, every setting explains itself."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddpm_studio.recipes import (
    LEVELS,
    SECTION_TITLES,
    Field,
    Recipe,
    RecipeError,
    Section,
    built_in,
    coerce,
    dumps,
    fields_of,
    find,
    kinds_of,
    read,
    section_class,
)
from ddpm_studio.recipes import library as library_module
from ddpm_studio.recipes.sections import DDIM, IPNDM, DPMSolver2M, UniPC

lean = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
CLASSES: list[type[Section]] = [Recipe] + [
    cls
    for section, info in Recipe.model_fields.items()
    if section in SECTION_TITLES
    for cls in (list(kinds_of(section).values()) or [info.annotation])  # type: ignore[list-item]
]
FIELDS = [pytest.param(cls, field, id=f"{cls.__name__}.{field.name}") for cls in CLASSES for field in fields_of(cls)]
BUILT_IN = sorted((Path(library_module.__file__).parent / "builtin").glob("*.toml"))


# -- any recipe --------------------------------------------------------------------------------------------


def a_value(field: Field) -> st.SearchStrategy[Any]:
    low, high = field.minimum, field.maximum
    match field.kind:
        case "bool":
            value: st.SearchStrategy[Any] = st.booleans()
        case "choice":
            value = st.sampled_from(field.choices)
        case "text":
            value = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        case "ints":
            value = st.lists(st.integers(1, 32).map(lambda n: 16 * n), min_size=3, max_size=3)
        case "int":
            value = st.integers(int(low or 0), int(high) if high is not None else 10**9)
        case "float":
            least = field.above if field.above is not None else low
            value = st.floats(least, high if high is not None else 1e6, exclude_min=field.above is not None)
    return st.none() | value if field.optional else value


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any recipe at all: every kind, every value."""
    text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    values: dict[str, Any] = {key: draw(text) for key in ("name", "title", "about")}
    values["seed"] = draw(st.integers(0, 2**31 - 1))
    for section in SECTION_TITLES:
        kinds = kinds_of(section)
        kind = draw(st.sampled_from(sorted(kinds))) if kinds else None
        cls = kinds[kind] if kind else Recipe.model_fields[section].annotation
        values[section] = {field.name: draw(a_value(field)) for field in fields_of(cls)} | (
            {"kind": kind} if kind else {}
        )
    schedule, sampler = values["schedule"], values["sampler"]
    if "beta_start" in schedule:
        schedule["beta_start"], schedule["beta_end"] = sorted((schedule["beta_start"], schedule["beta_end"]))
    if "sigma_min" in schedule:
        schedule["sigma_max"] = schedule["sigma_min"] * 2 + schedule["sigma_max"]
    if schedule["kind"] == "scaled_linear":
        schedule["steps"] = max(schedule["steps"], int(schedule["beta_end"] * 1000) + 1)
    if schedule["kind"] == "flow" and values["prediction"]["predicts"] in ("epsilon", "score"):
        values["prediction"]["predicts"] = "velocity"
    network, end = values["network"], sampler.get("end_level", 0)
    if network["kind"] == "score-mlp":
        values["prediction"]["time_label"] = "sigma"
    if "base" in network:
        network |= {"base": network["base"] // 32 * 32 or 32, "heads": 4} if "heads" in network else {"base": 32}
    if "end_level" in sampler:
        sampler["end_level"] = end = min(end, schedule["steps"] - 1)
    if sampler["kind"] != "langevin-plain":
        sampler["steps"] = min(sampler["steps"], schedule["steps"] - end)
    else:
        sampler["level"] = min(sampler["level"], schedule["steps"])
    values["objective"]["first_level"] = min(values["objective"]["first_level"], schedule["steps"])
    return Recipe.parse(values)


@lean
@given(recipes())
def test_every_recipe_survives_toml(recipe: Recipe) -> None:
    text = dumps(recipe)
    again = Recipe.parse(tomllib.loads(text))
    assert again == recipe
    assert dumps(again) == text
    assert recipe.differences(again) == {}
    assert {type(getattr(again, s)) for s in SECTION_TITLES} == {type(getattr(recipe, s)) for s in SECTION_TITLES}


@lean
@given(recipes(), recipes())
def test_differences_lead_from_one_recipe_to_the_other(mine: Recipe, theirs: Recipe) -> None:
    changes = {path: there for path, (_, there) in mine.differences(theirs).items()}
    kinds = {path: value for path, value in changes.items() if path.endswith(".kind")}
    if kinds:  # a value of the old kind need not fit the new one: take both whole
        changes = {s: theirs.model_dump(mode="json")[s] for s in SECTION_TITLES} | {"seed": theirs.seed}
    assert mine.with_settings(changes).differences(theirs) == {}


def test_every_setting_is_written_out_kind_first() -> None:
    recipe = Recipe()
    values = tomllib.loads(dumps(recipe))
    assert list(values)[:6] == ["name", "title", "about", "tutorial", "edition", "seed"]
    assert list(values)[6:] == list(SECTION_TITLES)
    for section in SECTION_TITLES:
        assert set(values[section]) == set(section_class(recipe, section).model_fields)
        if "kind" in values[section]:
            assert next(iter(values[section])) == "kind"
    assert values["training"]["clip_norm"] == 1.0
    assert values["data"]["height"] == "none"


@pytest.mark.parametrize("path", ["data.height", "data.width", "training.clip_norm", "compute.threads"])
def test_none_empties_an_optional_setting_and_no_other(path: str) -> None:
    section, name = path.split(".")
    for nothing in ("none", None):
        recipe = Recipe().with_settings({path: nothing})
        assert getattr(getattr(recipe, section), name) is None
    assert 'clip_norm = "none"' in dumps(Recipe().with_settings({"training.clip_norm": "none"}))
    with pytest.raises(RecipeError, match=r"training\.batch"):
        Recipe().with_settings({"training.batch": "none"})
    assert Recipe().with_settings({"data.source": "none", "training.decay": "none"}).data.source == "none"


def test_recipes_are_frozen() -> None:
    recipe = Recipe()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 1
    with pytest.raises(ValueError, match="frozen"):
        recipe.training.batch = 1
    assert recipe.with_settings({"training.batch": 8}).training.batch == 8
    assert recipe.training.batch == Recipe().training.batch


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "where", "sentence"),
    [
        ({"traning": {}}, "traning", "there is no such setting"),
        ({"training": {"bach": 3}}, "training.bach", "there is no such setting"),
        ({"schedule": {"kind": "cosine", "beta_end": 0.1}}, "schedule.beta_end", "there is no such setting"),
        ({"training": {"batch": 0}}, "training.batch", "at least 1, but it is 0"),
        ({"training": {"batch": "many"}}, "training.batch", "a whole number, but it is 'many'"),
        ({"training": {"batch": 1.5}}, "training.batch", "valid integer.* but it is 1.5"),
        ({"training": {"learning_rate": math.nan}}, "training.learning_rate", "finite number, but it is nan"),
        ({"training": {"learning_rate": math.inf}}, "training.learning_rate", "finite number, but it is inf"),
        ({"training": {"ema_decay": 1}}, "training.ema_decay", "less than 1(.0)?, but it is 1"),
        ({"training": 3}, "training", "but it is 3"),
        ({"seed": -1}, "seed", "at least 0, but it is -1"),
        ({"seed": 2**31}, "seed", "less than 2147483648"),
        ({"data": {"flip": "perhaps"}}, "data.flip", "valid boolean.* but it is 'perhaps'"),
        ({"data": {"source": 5}}, "data.source", "valid string, but it is 5"),
        ({"prediction": {"predicts": "noise"}}, "prediction.predicts", "'epsilon'.*but it is 'noise'"),
        ({"sampler": {"kind": "ddimm"}}, "sampler.kind", "'ddimm' is none of ddpm, ddim, euler, heun, dpmpp-2m"),
        ({"sampler": {"steps": 5}}, "sampler.kind", "say which of ddpm, ddim"),
        ({"sampler": {"kind": "ddim", "eta": 2}}, "sampler.eta", "at most 1(.0)?, but it is 2"),
        (
            {"schedule": {"kind": "linear", "beta_start": 0.1, "beta_end": 0.01}},
            "schedule",
            "β last is 0.01, below β first",
        ),
        (
            {"schedule": {"kind": "geometric", "sigma_min": 2, "sigma_max": 2}},
            "schedule",
            "σ last is 2, not above σ first",
        ),
        ({"schedule": {"kind": "geometric", "sigma_max": math.inf}}, "schedule.sigma_max", "finite number"),
        (
            {"schedule": {"kind": "scaled_linear", "steps": 20}, "sampler": {"kind": "ddim", "steps": 5}},
            "schedule",
            "use T ≥ 21",
        ),
        ({"network": {"kind": "compact-unet", "channels": [24]}}, "network.channels", "24 is not a multiple of 16"),
        ({"network": {"kind": "compact-unet", "channels": [0]}}, "network.channels", "0 is not a multiple of 16"),
        ({"network": {"kind": "compact-unet", "channels": [528]}}, "network.channels", "between 16 and 512"),
        ({"network": {"kind": "compact-unet", "channels": []}}, "network.channels", "at least 1 item"),
        ({"network": {"kind": "compact-unet", "channels": [16] * 6}}, "network.channels", "at most 5 items"),
        ({"network": {"kind": "compact-unet", "channels": 32}}, "network.channels", "valid tuple, but it is 32"),
        (
            {"schedule": {"kind": "flow"}, "prediction": {"predicts": "epsilon"}},
            "prediction.predicts",
            "a flow keeps nothing",
        ),
        (
            {"schedule": {"kind": "flow"}, "prediction": {"predicts": "score"}},
            "prediction.predicts",
            "predict velocity, v or x0",
        ),
        *(
            (
                {"network": {"kind": "score-mlp"}, "prediction": {"time_label": label}},
                "prediction.time_label",
                "divides by this number, which must stay above 0; choose σ / α",
            )
            for label in ("t-1", "log-sigma")
        ),
        (
            {"schedule": {"kind": "cosine", "steps": 10}},
            "sampler.steps",
            "do not fit into T = 10 levels; use at most 10",
        ),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(values: dict[str, Any], where: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(values)
    assert list(caught.value.problems) == [where]
    text = caught.value.problems[where]
    assert re.search(sentence, text), text
    assert "\n" not in text
    assert not text.endswith(".")
    assert "pydantic" not in str(caught.value)
    assert str(caught.value) == f"{where}: {text}"


def test_as_many_sampling_steps_as_levels_and_no_more() -> None:
    for T in (2, 10, 77):
        Recipe.parse({"schedule": {"kind": "cosine", "steps": T}, "sampler": {"kind": "ddim", "steps": T}})
        with pytest.raises(RecipeError, match=f"sampler.steps: {T + 1} sampling steps do not fit"):
            Recipe.parse({"schedule": {"kind": "cosine", "steps": T}, "sampler": {"kind": "ddim", "steps": T + 1}})


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe.parse({"training": {"batch": 0, "steps": "x"}, "nope": 1, "sampler": {"kind": "y"}})
    assert set(caught.value.problems) == {"training.batch", "training.steps", "nope", "sampler.kind"}


def test_the_number_of_levels_that_a_sentence_advises_works() -> None:
    for beta in (0.02, 0.029, 0.1, 0.5, 0.57, 0.9):
        values = {"kind": "scaled_linear", "beta_end": beta, "steps": 2}
        with pytest.raises(RecipeError) as caught:
            Recipe.parse({"schedule": values, "sampler": {"kind": "ddim", "steps": 1}})
        least = int(caught.value.problems["schedule"].rpartition("T ≥ ")[2])
        Recipe.parse({"schedule": values | {"steps": least}, "sampler": {"kind": "ddim", "steps": 1}})


# -- changing ----------------------------------------------------------------------------------------------


def test_a_new_kind_keeps_what_it_knows() -> None:
    linear = Recipe().with_settings({"schedule.kind": "linear", "schedule.steps": 400, "schedule.beta_end": 0.03})
    scaled = linear.with_settings({"schedule.kind": "scaled_linear"})
    assert (scaled.schedule.kind, scaled.schedule.steps, scaled.schedule.beta_end) == ("scaled_linear", 400, 0.03)
    cosine = scaled.with_settings({"schedule.kind": "cosine"})
    assert cosine.schedule.model_dump() == {"kind": "cosine", "steps": 400}
    ddim = Recipe().with_settings({"sampler.eta": 0.5, "sampler.steps": 33, "sampler.spacing": "karras"})
    heun = ddim.with_settings({"sampler.kind": "heun"})
    assert heun.sampler.model_dump() == {"kind": "heun", "steps": 33, "spacing": "karras"}
    mlp = Recipe().with_settings({"network.kind": "point-mlp", "network.width": 64})
    assert mlp.network.model_dump() == {"kind": "point-mlp", "width": 64, "depth": 3}


def test_one_name_for_two_things_is_not_carried_over() -> None:
    """The α of the annealed walk at one low level would throw the points to infinity; moves are no sampling steps."""
    annealed = find("score-two-gaussians").with_settings({"sampler.step_size": 0.2})
    plain = annealed.with_settings({"sampler.kind": "langevin-plain"})
    assert plain.sampler.model_dump() == {"kind": "langevin-plain", "steps": 1000, "level": 1, "step_size": 5e-4}
    assert plain.with_settings({"sampler.kind": "ddim"}).sampler.steps == 50  # 1000 moves would not fit into T = 200
    ddim = annealed.with_settings({"sampler.kind": "ddim"})
    assert ddim.sampler.steps == annealed.sampler.steps == 200
    # what is wished for in one breath with the kind is meant for it, in whatever order
    wished = annealed.with_settings({"sampler.steps": 7, "sampler.kind": "langevin-plain", "sampler.step_size": 0.01})
    assert wished.sampler.model_dump() == {"kind": "langevin-plain", "steps": 7, "level": 1, "step_size": 0.01}


@pytest.mark.parametrize("section", [s for s in SECTION_TITLES if kinds_of(s)])
def test_every_kind_can_follow_every_kind(section: str) -> None:
    for first in kinds_of(section):
        for second, cls in kinds_of(section).items():
            recipe = Recipe().with_settings({"prediction.predicts": "v", f"{section}.kind": first})
            recipe = recipe.with_settings({f"{section}.kind": second})
            assert type(getattr(recipe, section)) is cls


@pytest.mark.parametrize(
    ("changes", "where", "sentence"),
    [
        (
            {"trainning.batch": 1},
            "trainning.batch",
            "there is no section called 'trainning'; the sections are data, schedule",
        ),
        ({"training.bach": 1}, "training.bach", "there is no such setting"),
        ({"batch": 1}, "batch", "there is no such setting"),
        ({"name.batch": 1}, "name.batch", "there is no section called 'name'"),
        ({"training.kind": "adam"}, "training.kind", "there is no such setting"),
        ({"sampler.kind": "ddimm"}, "sampler.kind", "'ddimm' is none of ddpm, ddim"),
        ({"sampler.kind": ["ddim"]}, "sampler.kind", "is none of ddpm, ddim"),
        ({"sampler.kind": "heun", "sampler.eta": 0.3}, "sampler.eta", "there is no such setting"),
    ],
)
def test_an_unknown_name_is_refused(changes: dict[str, Any], where: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Recipe().with_settings(changes)
    assert list(caught.value.problems) == [where]
    assert sentence in caught.value.problems[where]


def test_differences_are_told_by_setting() -> None:
    other = Recipe(name="other", title="x", seed=4).with_settings({"training.batch": 8, "sampler.kind": "euler"})
    assert Recipe().differences(other) == {
        "seed": (0, 4),
        "training.batch": (Recipe().training.batch, 8),
        "sampler.kind": ("ddim", "euler"),
        "sampler.eta": (0.0, None),
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("32", 32),
        ("1e-3", 1e-3),
        ("true", True),
        ("[32, 64]", [32, 64]),
        ('"quoted"', "quoted"),
        ("ddim", "ddim"),
        ("none", "none"),
        ("~/my pictures", "~/my pictures"),
        ("", ""),
        ("C:\\new", "C:\\new"),
    ],
)
def test_what_a_person_types_becomes_a_value(text: str, value: Any) -> None:
    assert coerce(text) == value
    assert type(coerce(text)) is type(value)


# -- files -------------------------------------------------------------------------------------------------


def test_find_and_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    recipe = Recipe(name="mine", title="Größe λ").with_settings({"training.batch": 5})
    path.write_text(dumps(recipe), encoding="utf-8")
    assert read(path) == find(path) == find(str(path)) == recipe
    path.write_text(dumps(recipe), encoding="utf-8-sig")  # as Notepad may save it
    assert read(path) == recipe


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    def problem(path: Path | str) -> str:
        with pytest.raises(RecipeError) as caught:
            find(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no built-in recipe and no file called 'nothing.toml'" in problem("nothing.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[training\n")
    assert "bad.toml is not valid TOML" in problem(bad)
    bad.write_bytes(b"\xff\xfe\x00a")
    assert "is not a text file in UTF-8" in problem(bad)
    bad.write_text("[training]\nbatch = 0\n")
    assert problem(bad).startswith("bad.toml: training.batch: must be at least 1")
    with pytest.raises(RecipeError, match="cannot be read"):
        read(tmp_path)
    with pytest.raises(RecipeError, match="cannot be read: No such file"):
        read(tmp_path / "gone.toml")


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda path: path.stem)
def test_built_in_recipes(path: Path) -> None:
    recipe = read(path)
    assert recipe.name == re.sub(r"^\d+-", "", path.stem)
    assert recipe.title.strip()
    assert recipe.title != Recipe().title
    assert recipe.about.endswith(".")
    assert Recipe.parse(tomllib.loads(dumps(recipe))) == recipe


def test_built_in_names_and_titles_are_unique() -> None:
    assert len(built_in()) == len(BUILT_IN)
    assert len({recipe.title for recipe in built_in().values()}) == len(BUILT_IN)
    for name, recipe in built_in().items():
        assert find(name) is recipe
        assert recipe.name == name


# -- what a setting says about itself ----------------------------------------------------------------------


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_no_setting_is_left_undescribed(cls: type[Section]) -> None:
    described = [field.name for field in fields_of(cls)]
    silent = {"kind", "name", "title", "about", "tutorial", "edition", *SECTION_TITLES}
    assert described == [name for name in cls.model_fields if name not in silent]
    assert cls.__doc__ or "kind" not in cls.model_fields  # the form shows what a kind is


@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_a_setting_speaks_to_a_person(cls: type[Section], field: Field) -> None:
    setting = field.setting
    first, *rest = setting.label.split()
    assert first[0].isupper() or not first[0].isascii() or first == "min-SNR", setting.label
    assert not [word for word in rest if re.match("[A-Z][a-z]", word)], setting.label  # sentence case
    assert not setting.label.endswith((".", ":"))
    assert setting.tip.endswith(".")
    assert setting.tip == " ".join(setting.tip.split())
    assert len(setting.tip) < 160
    assert setting.level in LEVELS
    assert setting.step is None or setting.step > 0
    if setting.choices is not None:
        assert tuple(setting.choices) == field.choices
        assert all(setting.choices.values())
    assert (field.kind == "choice") == bool(field.choices)


def one(cls: type[Section], name: str, value: Any) -> Any:
    return getattr(cls.model_validate({name: value}), name)


@pytest.mark.parametrize(("cls", "field"), [p for p in FIELDS if p.values[1].kind in ("int", "float")])
def test_bounds_are_those_of_the_validation(cls: type[Section], field: Field) -> None:
    """The form keeps a person inside the bounds, so the last value inside must be valid and the next not."""

    def valid(value: float) -> bool:
        try:
            return bool(one(cls, field.name, value) == value)
        except ValueError as error:
            return " than " not in str(error)  # else refused beside another setting, not for its own bound

    def beyond(value: float, towards: float) -> float:
        return value + math.copysign(1, towards) if field.kind == "int" else math.nextafter(value, towards)

    if field.minimum is not None:
        assert valid(field.minimum)
        assert not valid(beyond(field.minimum, -math.inf))
    if field.above is not None:
        assert not valid(field.above)
    if field.maximum is not None:
        assert valid(field.maximum)
        assert not valid(beyond(field.maximum, math.inf))
    assert field.minimum is not None or field.above is not None
    assert field.default is None or valid(field.default)


def test_kinds_and_sections() -> None:
    assert set(SECTION_TITLES) == {n for n, i in Recipe.model_fields.items() if isinstance(i.default, Section)}
    assert set(kinds_of("sampler")) == {
        "ddpm",
        "ddim",
        "euler",
        "heun",
        "dpmpp-2m",
        "dpmpp-3m",
        "unipc",
        "ipndm",
        "langevin",
        "langevin-plain",
    }
    assert set(kinds_of("schedule")) == {
        "linear",
        "scaled_linear",
        "quadratic",
        "sigmoid",
        "cosine",
        "geometric",
        "flow",
    }
    assert kinds_of("training") == {}
    assert section_class(Recipe(), "schedule") is kinds_of("schedule")["cosine"]


def test_every_kind_has_its_part_of_the_core() -> None:
    """A recipe may only name what can be built."""
    from ddpm_studio.diffusion import NoiseSchedule, Parameterization
    from ddpm_studio.diffusion.samplers import SAMPLERS
    from ddpm_studio.diffusion.timesteps import SPACINGS

    assert set(kinds_of("sampler")) == set(SAMPLERS)
    for kind, cls in kinds_of("schedule").items():
        schedule = getattr(NoiseSchedule, kind)(**cls().model_dump(exclude={"kind"}))
        assert schedule.steps == 1000
    choices = {f.name: f.choices for cls in CLASSES for f in fields_of(cls) if f.kind == "choice"}
    assert set(choices["predicts"]) == {p.value for p in Parameterization}
    assert choices["spacing"] == SPACINGS


# -- the ground floor --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "import ddpm_studio.recipes as r; r.built_in(); r.dumps(r.Recipe())",
        "import ddpm_studio.diffusion as d; d.timestep_grid(d.NoiseSchedule.cosine(), 9); d.Tape; d.Parameterization",
        "import ddpm_studio.diffusion.tape",
    ],
)
def test_neither_torch_nor_qt_is_imported(code: str) -> None:
    check = f"import sys\n{code}\nprint(sorted({{'torch', 'PySide6', 'pyqtgraph'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_a_preview_is_short_by_itself() -> None:
    usual = built_in()["fashion-mnist"]
    assert usual.preview.budget == 2
    assert usual.preview_sampler(8) == DPMSolver2M(steps=8, spacing="karras")
    assert usual.preview_sampler(20) == DPMSolver2M(steps=20, spacing="log-snr")
    assert built_in()["moons"].preview_sampler(8) == IPNDM(steps=8), "points"
    by_noise = usual.with_settings({"schedule.kind": "linear", "prediction.predicts": "epsilon"})
    assert by_noise.preview_sampler(8) == DDIM(steps=8), "its x̂_0 is clipped, and a rule that looks back is not"
    assert by_noise.with_settings({"prediction.clip_x0": False}).preview_sampler(8) == DPMSolver2M(
        steps=8, spacing="karras"
    )
    assert built_in()["moons"].with_settings({"preview.method": "dpmpp-2m"}).preview_sampler(8) == DPMSolver2M(steps=8)
    assert by_noise.with_settings({"preview.method": "unipc"}).preview_sampler(8) == UniPC(steps=8)


def test_a_sampler_comes_with_the_spacing_that_is_best_for_it() -> None:
    assert Recipe().with_settings({"sampler.kind": "unipc"}).sampler == UniPC(steps=Recipe().sampler.steps)
    back = Recipe().with_settings({"sampler.kind": "ipndm"}).with_settings({"sampler.kind": "ddim"})
    assert back.sampler == Recipe().sampler
    chosen = Recipe().with_settings({"sampler.spacing": "quadratic"}).with_settings({"sampler.kind": "ipndm"})
    assert chosen.sampler.spacing == "quadratic"


def test_a_preview_follows_its_own_rule() -> None:
    quick = built_in()["fashion-mnist"].with_settings({"preview.steps": 7, "preview.method": "ddim"})
    assert quick.preview_sampler() == DDIM(steps=7)
    short = quick.with_settings({"schedule.steps": 5, "sampler.steps": 5})
    assert short.preview_sampler() == DDIM(steps=5), "no more steps than there are levels"
    own = quick.with_settings({"preview.method": "recipe", "preview.steps": None, "sampler.kind": "heun"})
    assert own.preview_sampler(9) == own.sampler.model_copy(update={"steps": 4}), "Heun asks twice a step"
    walk = built_in()["score-two-gaussians"].with_settings({"preview.steps": 9})
    assert walk.preview_sampler() == walk.sampler.model_copy(update={"steps": 9, "moves": 10})
