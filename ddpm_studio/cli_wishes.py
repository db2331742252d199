"""What the arguments of a command ask for, as recipes and cells; a wrong wish is wrong usage. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from typer import BadParameter

from ddpm_studio.data import DataError, open_dataset
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.data.points_file import is_points_file
from ddpm_studio.recipes import Recipe, RecipeError, axes, built_in, coerce, find, for_data, kinds_of, live_settings
from ddpm_studio.recipes.axes import Cell, parse_axis
from ddpm_studio.recipes.comparing import sampler_label
from ddpm_studio.store import Parent, Run, RunError
from ddpm_studio.store.together import MOST_RUNS

if TYPE_CHECKING:
    from ddpm_studio.export.take import Wanted


def one_of(value: str, known: Collection[str], option: str = "") -> None:
    """Say so if ``value`` is none of what is known; ``option``: where it stands, if its meaning leaves that open."""
    if value not in known:
        raise BadParameter(f"{f'{option} {value}' if option else value} is none of {', '.join(known)}")


# -- a recipe ----------------------------------------------------------------------------------------------


def fork_point(wanted: str) -> Parent:
    """RUN or RUN@STEP; a folder whose own name ends so is taken as it is."""
    folder, at, step = wanted.rpartition("@")
    if at and step.isdecimal() and not Path(wanted).exists():
        return Run.open(Path(folder)).fork_point(int(step))
    return Run.open(Path(wanted)).fork_point()


def find_recipe(source: str) -> Recipe:
    """A built-in recipe, a TOML file, or one made for a folder of pictures, IDX files or points."""
    path = Path(source)
    if source not in built_in() and is_points_file(path):
        return for_data(path, "points")
    if source not in built_in() and (path.is_dir() or is_idx_file(path)):
        return for_data(path)
    return find(source)


def wanted_recipe(source: str, changes: list[str], options: dict[str, Any]) -> Recipe:
    """The recipe with what ``--set`` and the options of their own ask for, by setting."""
    return _changed(find_recipe(source), _settings(changes) | _given(options))


def live_changes(recipe: Recipe, changes: list[str]) -> dict[str, Any]:
    """What ``--set`` asks of a run that goes on; the rest of its recipe stays."""
    settings = _settings(changes)
    live = live_settings(recipe)
    for key in settings:
        if key not in live:
            raise BadParameter(f"a resumed run keeps its {key}: leave it out of --set, or begin with --fork")
    _changed(recipe, settings)
    return settings


def _settings(changes: list[str]) -> dict[str, Any]:
    """What ``--set`` asks for."""
    settings: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise BadParameter(f"--set {change} has no '='; write --set training.batch=32")
        settings[key.strip()] = coerce(value.strip())
    return settings


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Without those that nobody gave."""
    return {key: value for key, value in options.items() if value is not None}


def _changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    try:
        return recipe.with_settings(settings)
    except RecipeError as error:
        raise BadParameter(str(error)) from None


# -- what samples are made with ----------------------------------------------------------------------------


def sampler_cells(
    recipe: Recipe, kinds: list[str], *, steps: int | None, eta: float | None, seed: int | None, device: str | None
) -> list[Cell]:
    """A cell for each kind of sampler, once; without any there is one, of the recipe's own."""
    wanted = list(dict.fromkeys(kinds or [recipe.sampler.kind]))
    if eta is not None and "ddim" not in wanted:
        raise BadParameter("--eta belongs to DDIM: add --sampler ddim")
    cells = []
    for kind in wanted:
        one_of(kind, kinds_of("sampler"))
        options = {
            "sampler.kind": kind if kinds else None,
            "sampler.steps": steps,
            "sampler.eta": eta if kind == "ddim" else None,
            "compute.device": device,
        }
        settings = _changed(recipe, _given(options)).sampler
        name = sampler_label(kind)
        begin = recipe.seed if seed is None else seed
        cells.append(Cell(settings, begin, label=name, column=name, column_key="sampler"))
    return cells


def grid_cells(
    run: Run,
    rows: str | None,
    columns: str | None,
    *,
    sampler: str | None,
    steps: int | None,
    seed: int | None,
    device: str | None,
) -> list[Cell]:
    """The cells of a grid, row by row: what differs is KEY=V1,V2,…, the rest is for all of them."""
    learnt = [checkpoint.step for checkpoint in run.checkpoints()]
    if not learnt:
        raise RunError(f"{run.path} has no checkpoint yet, so there is nothing to sample from: train it first")
    down, across = (None if axis is None else parse_axis(axis, learnt) for axis in (rows, columns))
    on = {axis.key: axis for axis in (down, across) if axis}
    for key, value in {"sampler": sampler, "steps": steps, "seed": seed}.items():
        if value is not None and key in on:
            raise BadParameter(f"--{key} is for all cells, and {key} stands for rows or columns: leave one out")
    if sampler is not None:
        one_of(sampler, kinds_of("sampler"))
    for_all = _given({"sampler.kind": sampler, "sampler.steps": steps, "compute.device": device})
    recipe = _changed(run.current_recipe(), for_all)
    runs = on["run"].values if "run" in on else ()
    table = axes.cells(
        recipe,
        down,
        across,
        seed=recipe.seed if seed is None else seed,
        checkpoint=None if runs else learnt[-1],
        recipes={path: _changed(Run.open(path).current_recipe(), for_all) for path in runs},
    )
    cells = [cell for row in table for cell in row]
    if len(cells) > axes.MOST_CELLS:
        raise BadParameter(f"{len(cells)} cells are too many: a grid has at most {axes.MOST_CELLS}")
    return cells


# -- what is written of runs -------------------------------------------------------------------------------


def data_behind(recipes: Sequence[Recipe]) -> NDArray[Any] | None:
    """The points (M, 2) to be drawn behind those of networks: of the data that all of them learn, the held-out ones.

    None of pictures, of different data (each set has axes of its own), and where nobody has the data.
    """
    data = recipes[0].data
    if recipes[0].learns != "points" or any(recipe.data != data for recipe in recipes):
        return None
    try:
        return open_dataset(data.source, count=data.count).held_out
    except DataError:
        return None


def opened_runs(paths: Sequence[Path]) -> list[Run]:
    """One run, or those to stand side by side."""
    if len(paths) > MOST_RUNS:
        raise BadParameter(f"{len(paths)} runs are too many: at most {MOST_RUNS} stand side by side")
    if len({path.resolve() for path in paths}) < len(paths):
        raise BadParameter("a run is named twice: name each one once")
    return [Run.open(path) for path in paths]


def export_wish(
    out: Path | None,
    kind: str | None,
    *,
    of: str,
    step: int | None,
    t: int | None,
    share: float | None,
    show: str,
    items: list[int],
    behind: bool,
    several: bool,
) -> Wanted:
    """What ``export`` is to write of a run, or of several; without a ``kind`` the ending of ``out`` says it."""
    from ddpm_studio.export.take import FORMATS, OF, SHOWS, Wanted, fits, format_for

    kind = kind or ("" if out is None else format_for(out))
    if not kind:
        raise BadParameter(f"what is it to be? Add --format: {', '.join(FORMATS)}")
    one_of(kind, FORMATS, "--format")
    one_of(of, OF, "--of")
    one_of(show, SHOWS, "--show")
    if not FORMATS[kind].clocks and (of != "process" or step is not None or show != "x" or items):
        raise BadParameter(f"{kind} is of the whole run: leave out --of, --step, --show and --item")
    if several and (not FORMATS[kind].clocks or FORMATS[kind].one):
        raise BadParameter(f"{kind} is of one run: name one, or choose a film, a picture or frames")
    if several and kind == "strip" and of != "process":
        raise BadParameter("a filmstrip of several runs is of their process: leave out --of")
    still = of == "process" and (kind == "picture" or FORMATS[kind].points)
    if share is not None and not still and not (several and of == "learning"):
        raise BadParameter("--share is the moment of a picture or of points, or of the learning of several runs")
    if step is not None and of != "process":
        raise BadParameter("--step chooses one process: leave out --of, or --step")
    if t is not None and (several or not (still or of == "learning")):
        raise BadParameter("--t is the level of a picture, of points or of the learning, of one run: take --share else")
    if t is not None and share is not None:
        raise BadParameter("--t and --share both say the moment: leave one out")
    if out is not None and not fits(out, kind):
        ending = FORMATS[kind].ending or "no suffix"
        raise BadParameter(f"{out.name} is no name for {kind}: let it end in {ending}")
    moment = 1.0 if share is None else share
    return Wanted(kind, of, step, t, show, tuple(items), moment, behind)  # type: ignore[arg-type]  # checked above
