"""The Recipe: one experiment as one frozen, validated value.

Data, noise schedule, network, loss, optimiser, EMA, sampler and seed. Everything that a run needs to be
repeated stands here; nothing else does.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field as Rule
from pydantic import ValidationError, model_validator

from ddpm_studio.recipes.sections import (
    DDIM,
    IPNDM,
    CompactUNet,
    Compute,
    Cosine,
    Data,
    DPMSolver2M,
    Langevin,
    Network,
    Objective,
    PointMLP,
    Prediction,
    Preview,
    Sampler,
    Schedule,
    ScoreMLP,
    Training,
    UniPC,
)
from ddpm_studio.recipes.settings import Section, Setting, fields_of


class RecipeError(ValueError):
    """A recipe that cannot work. ``problems`` maps a setting ("schedule.steps") to one sentence."""

    def __init__(self, problems: dict[str, str]) -> None:
        self.problems = problems
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems.items()))


# -- the whole ---------------------------------------------------------------------------------------------------


_TEXTS = ("name", "title", "about", "tutorial", "edition")
SECTION_TITLES = {
    "data": "Data",
    "schedule": "Noise schedule",
    "network": "Network",
    "prediction": "Prediction",
    "objective": "Loss",
    "training": "Learning",
    "sampler": "Sampling",
    "preview": "Preview",
    "compute": "Computer",
}


class Recipe(Section):
    """One experiment. Sections are in the order in which data flows through them."""

    name: str = "untitled"
    title: str = "Untitled"
    about: str = ""
    tutorial: str = ""  # the number of the tutorial document that this recipe comes from, if any
    edition: Literal["", "printed", "laptop"] = ""  # of the tutorial
    seed: Annotated[
        int,
        Rule(ge=0, lt=2**31),
        Setting("Seed", "Fixes all chance: first weights, order of the data, noise.", level="tweak"),
    ] = 0
    data: Data = Data()
    schedule: Schedule = Cosine()
    network: Network = CompactUNet()
    prediction: Prediction = Prediction()
    objective: Objective = Objective()
    training: Training = Training()
    sampler: Sampler = DDIM()
    preview: Preview = Preview()
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.schedule.kind == "flow" and self.prediction.predicts in ("epsilon", "score"):
            raise ValueError(
                f"prediction.predicts: at t = T a flow keeps nothing of the picture, so {self.prediction.predicts} "
                "cannot be turned into a picture; predict velocity, v or x0"
            )
        if self.network.kind == "score-mlp" and self.prediction.time_label in ("t-1", "log-sigma"):
            raise ValueError(
                "prediction.time_label: the score-mlp divides by this number, which must stay above 0; choose σ / α"
            )
        T = self.schedule.steps
        end = getattr(self.sampler, "end_level", 0)
        if self.sampler.kind != "langevin-plain" and self.sampler.steps > T - end:
            until = f" above level {end}" if end else ""
            raise ValueError(
                f"sampler.steps: {self.sampler.steps} sampling steps do not fit into T = {T} levels{until}; "
                f"use at most {T - end}"
            )
        if self.sampler.kind == "langevin-plain" and self.sampler.level > T:
            raise ValueError(f"sampler.level: there are only {T} noise levels")
        if self.objective.first_level > T:
            raise ValueError(f"objective.first_level: there are only {T} noise levels, so none would be trained")
        return self

    # -- making and changing

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Recipe:
        """Validate plain values (as read from TOML).

        Raises:
            RecipeError: with one sentence for every setting that is wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise RecipeError(_sentences(error)) from None

    def with_settings(self, changes: dict[str, Any]) -> Recipe:
        """A copy with some settings changed, e.g. ``{"training.batch": 32, "schedule.kind": "linear"}``.

        Where a section changes its kind, settings that were chosen and that the new kind knows are carried over.

        Raises:
            RecipeError: for an unknown name or a value that does not fit.
        """
        values = self.model_dump(mode="json")
        # kinds first: whatever else is wished for a section is a wish about its new kind
        for path, value in sorted(changes.items(), key=lambda change: not change[0].endswith(".kind")):
            _assign(values, path, value)
        return type(self).parse(values)

    @property
    def learns(self) -> Literal["points", "pictures"]:
        """What its network is for."""
        return "points" if isinstance(self.network, PointMLP | ScoreMLP) else "pictures"

    @property
    def blind(self) -> bool:
        """Whether its network does not see the noise level."""
        return isinstance(self.network, ScoreMLP) and not self.network.level_aware

    def preview_sampler(self, calls: int = 10) -> Sampler:
        """The sampler section of a preview: one for few steps, or the recipe's own with fewer steps and moves.

        ``calls``: how often it may ask the network, where the recipe does not fix the steps.
        """
        fixed = self.preview.steps
        method = self.preview.method
        if method == "recipe":
            own = self.sampler
            wished = fixed or max(calls // 2 if own.kind == "heun" else calls, 1)
            fewer = {"steps": min(wished, own.steps)}
            if isinstance(own, Langevin):
                fewer["moves"] = min(own.moves, 10)  # 201 a level would cost more than they show
            return own.model_copy(update=fewer)
        if method == "auto":
            # ε̂ gives x̂_0 with an error divided by α: an early network needs the clipping, which a rule that looks
            # back cannot bear. With 8 to 12 calls points come out best by iPNDM, pictures by DPM-Solver++.
            by_noise = self.prediction.predicts in ("epsilon", "score") and self.schedule.kind != "geometric"
            if by_noise and self.prediction.clip_x0:
                method = "ddim"
            else:
                method = "ipndm" if self.learns == "points" else "dpmpp-2m"
        kinds: dict[str, type[DDIM | DPMSolver2M | IPNDM | UniPC]]
        kinds = {"ddim": DDIM, "dpmpp-2m": DPMSolver2M, "ipndm": IPNDM, "unipc": UniPC}
        steps = min(fixed or calls, self.schedule.steps)
        if method == "dpmpp-2m" and self.learns == "pictures" and steps <= FEW_STEPS:
            return DPMSolver2M(steps=steps, spacing="karras")
        return kinds[method](steps=steps)

    def differences(self, other: Recipe) -> dict[str, tuple[Any, Any]]:
        """Settings in which two recipes differ, as ``{"training.batch": (mine, theirs)}``; texts do not count."""
        mine, theirs = _flat(self), _flat(other)
        return {
            path: (mine.get(path), theirs.get(path))
            for path in mine | theirs
            if mine.get(path) != theirs.get(path) and path not in _TEXTS
        }


def kinds_of(section: str) -> dict[str, type[Section]]:
    """The classes that a section with a ``kind`` can have, by kind: ``kinds_of("sampler")["ddim"]``."""
    info = Recipe.model_fields[section]
    members: tuple[Any, ...] = get_args(info.annotation) or (info.annotation,)
    return {cls.model_fields["kind"].default: cls for cls in members if "kind" in cls.model_fields}


FEW_STEPS = 12  # with so few DPM-Solver++ draws pictures by far best on Karras' levels; with more both are as good,
# and levels even in log SNR show more of the way (tests/benchmarks/learning.md)
KIND_TITLES = {  # where a kind is not simply called as it is written in TOML
    "flow": "rectified flow",
    "geometric": "exploding σ",
    "compact-unet": "compact U-Net",
    "point-mlp": "point MLP",
    "scratch5-unet": "Scratch 5 U-Net",
    "simple-unet": "simple U-Net",
    "attention-unet": "attention U-Net",
    "ddpm-unet": "DDPM U-Net",
    "score-mlp": "score MLP",
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "euler": "Euler",
    "heun": "Heun",
    "dpmpp-2m": "DPM-Solver++",
    "dpmpp-3m": "DPM-Solver++(3M)",
    "unipc": "UniPC",
    "ipndm": "iPNDM",
    "langevin": "annealed Langevin",
    "langevin-plain": "plain Langevin",
}


def kind_title(kind: str) -> str:
    """What a kind of schedule, network or sampler is called: ``kind_title("ddpm-unet")`` is "DDPM U-Net"."""
    return KIND_TITLES.get(kind, kind.replace("_", " ").replace("-", " "))


def section_class(recipe: Recipe, section: str) -> type[Section]:
    """The class of a recipe's section."""
    return type(getattr(recipe, section))


def means_alike(one: type[Section], other: type[Section], name: str) -> bool:
    """Whether a setting is the same in two kinds of a section: one name may stand for two things, as the step size of
    the two Langevin walks does.
    """
    meanings = [
        next(((f.setting.label, f.setting.equation) for f in fields_of(section) if f.name == name), None)
        for section in (one, other)
    ]
    return meanings[0] == meanings[1]


def live_settings(recipe: Recipe) -> set[str]:
    """The settings that may change between two training steps; a sampler may change its kind as well."""
    live = {
        f"{section}.{field.name}"
        for section in SECTION_TITLES
        for field in fields_of(section_class(recipe, section))
        if field.setting.live
    }
    return live | {"sampler.kind"}


def _flat(recipe: Recipe) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{key}": v for key, v in value.items()})
        else:
            flat[name] = value
    return flat


def _assign(values: dict[str, Any], path: str, value: Any) -> None:
    section, _, name = path.rpartition(".")
    if section and not isinstance(values.get(section), dict):
        raise RecipeError(
            {path: f"there is no section called {section!r}; the sections are {', '.join(SECTION_TITLES)}"}
        )
    target = values[section] if section else values
    if name == "kind" and section and (kinds := kinds_of(section)):
        if value not in list(kinds):
            raise RecipeError({path: f"{value!r} is none of {', '.join(kinds)}"})
        old, new = kinds[target["kind"]], kinds[value]
        # what nobody has chosen is the new kind's own: each sampler has the spacing that is best for it
        chosen = {k: v for k, v in target.items() if v != old.model_fields[k].default}
        kept = {k: v for k, v in chosen.items() if means_alike(old, new, k) and _fits(new, k, v)}
        values[section] = kept | {"kind": value}
        return
    target[name] = value


def _fits(section: type[Section], name: str, value: Any) -> bool:
    """Whether a setting of a former kind means something to this one."""
    if name not in section.model_fields:
        return False
    try:
        section.model_validate({name: value})
    except ValidationError:
        return False
    return True


def _limit(item: Any) -> str:
    """A range or type that was missed, in the form's words."""
    limits = item.get("ctx", {})
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    for key, word in words.items():
        if key in limits:
            return f"must be {word} {limits[key]}"
    return {"int_parsing": "must be a whole number", "float_parsing": "must be a number"}.get(item["type"], "")


def _sentences(error: ValidationError) -> dict[str, str]:
    problems: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # A discriminated union adds its tag to the path; the user's words are section.setting.
        parts = [str(p) for p in item["loc"]]
        if len(parts) > 1 and parts[0] in ("schedule", "network", "sampler"):
            parts = [parts[0], *parts[2:]]
        path = ".".join(parts[:2])
        text = item["msg"].removeprefix("Value error, ").rstrip(".")
        if not path and ": " in text:
            path, text = text.split(": ", 1)
        if item["type"] == "extra_forbidden":
            text = "there is no such setting"
        elif item["type"] in ("union_tag_invalid", "union_tag_not_found"):
            given = f"{item['ctx']['tag']!r} is none" if "tag" in item["ctx"] else "say which"
            path, text = f"{parts[0]}.kind", f"{given} of {', '.join(kinds_of(parts[0]))}"
        elif item["type"] != "value_error":
            given = item.get("input")
            text = _limit(item) or text
            text = f"{text[0].lower()}{text[1:]}, but it is {given!r}"
        problems.setdefault(path, text)
    return problems
