"""The command line: the same engine without a window.

Results go to stdout (one JSON object with ``--json``), progress and messages to stderr. Exit status: 0
done, 1 failed with a one-line reason, 2 wrong usage, 130 interrupted (after saving).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ddpm_studio import __version__
from ddpm_studio.cli_describe import fact_lines, recipe_facts, recipe_lines, recipe_values, run_facts
from ddpm_studio.cli_progress import Interruptible, console, show_comparison, show_sampling, show_training
from ddpm_studio.data.idx import is_idx_file
from ddpm_studio.data.points_file import is_points_file
from ddpm_studio.recipes import Recipe, RecipeError, axes, built_in, coerce, find, for_data, kinds_of, live_settings
from ddpm_studio.recipes.axes import Cell, parse_axis
from ddpm_studio.recipes.comparing import sampler_label
from ddpm_studio.store import CheckpointError, Parent, RecordError, Run, RunError
from ddpm_studio.training.control import ChangeRequest, Comparison, Control, SampleRequest

app = typer.Typer(
    help="DDPM Studio: train a small diffusion model and watch it learn. Without a command it opens the window.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
INTERRUPTED = 130

RecipeArgument = Annotated[str, typer.Argument(help="A built-in recipe, a TOML file, or a folder of pictures.")]
RunArgument = Annotated[Path, typer.Argument(help="The folder of a run.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu or cuda.")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    command = typer.main.get_command(app)
    try:
        result = command.main(args=arguments, prog_name="ddpm-studio", standalone_mode=False)
        return int(result or 0)
    except typer.Exit as leave:
        return int(leave.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # wrong usage, in typer's own words
            console.print(f"ddpm-studio: {error.format_message()}", style="red", markup=False)
            return 2
        if not _is_ours(error):
            raise
        console.print(f"ddpm-studio: {error}", style="red", markup=False, soft_wrap=True)
        return 2 if isinstance(error, RecipeError) and not error.problems.keys() - {""} else 1


def _is_ours(error: Exception) -> bool:
    """Errors whose text is one sentence for the user."""
    return isinstance(error, RecipeError | RunError | RecordError | CheckpointError) or (
        type(error).__module__.startswith("ddpm_studio")
    )


def _version(wanted: bool) -> None:
    if wanted:
        _print_lines([f"ddpm-studio {__version__}"])
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _print_json(value: Any) -> None:
    _print_lines([json.dumps(value, ensure_ascii=False)])


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)  # noqa: T201


# -- recipes -----------------------------------------------------------------------------------------------


@app.command("recipes")
def recipes_command(as_json: JsonOption = False) -> None:
    """List the built-in recipes."""
    if as_json:
        _print_json({name: recipe_values(recipe) for name, recipe in built_in().items()})
    else:
        _print_lines(recipe_lines())


# -- train -------------------------------------------------------------------------------------------------


@app.command()
def train(
    recipe: RecipeArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default a new one in the user's runs.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Stop at this training step.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0, help="Stop after this time.")] = None,
    device: DeviceOption = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of all chance.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    fork: Annotated[
        str | None,
        typer.Option(metavar="RUN[@STEP]", help="Begin with what RUN had learnt (at STEP), as far as it fits."),
    ] = None,
) -> None:
    """Train RECIPE. Ctrl-C saves and says how to go on."""
    if resume:
        if out is None:
            raise typer.BadParameter("--resume needs --out RUN: the run to go on with")
        if seed is not None:
            raise typer.BadParameter("a resumed run keeps its seed: leave out --seed")
        if fork is not None:
            raise typer.BadParameter("--fork makes a new run: leave out --resume")
        run = Run.open(out)
        named, is_of = _find(recipe).name, run.recipe().name
        if named != is_of:
            raise typer.BadParameter(f"{out} is a run of {is_of}, not of {named}")
        changes = _live_changes(run.current_recipe(), set_ or [])
    else:
        changes = {}
        wanted = _recipe(recipe, set_ or [], seed, device)
        if steps is not None:
            wanted = _changed(wanted, {"training.steps": steps})
        run = Run.create(wanted, out, _fork_point(fork) if fork is not None else None)
    from ddpm_studio.engine import run_training

    control = Control()
    if changes:
        control.ask(ChangeRequest(changes))  # before the first step
    with Interruptible(control) as interrupted:
        try:
            last = show_training(run_training(run, control, device=device, until=steps, seconds=seconds), run)
        except BaseException:
            if not resume:
                run.remove_if_empty()
            raise
    if interrupted:
        console.print(
            f"Stopped and saved at step {last}. To go on: ddpm-studio train {recipe} --out {run.path} --resume",
            markup=False,
            soft_wrap=True,
        )
        raise typer.Exit(INTERRUPTED)


def _fork_point(wanted: str) -> Parent:
    """RUN or RUN@STEP; a folder whose own name ends so is taken as it is."""
    folder, at, step = wanted.rpartition("@")
    if at and step.isdecimal() and not Path(wanted).exists():
        return Run.open(Path(folder)).fork_point(int(step))
    return Run.open(Path(wanted)).fork_point()


def _find(source: str) -> Recipe:
    """A built-in recipe, a TOML file, or one made for a folder of pictures, IDX files or points."""
    path = Path(source)
    if source not in built_in() and is_points_file(path):
        return for_data(path, "points")
    if source not in built_in() and (path.is_dir() or is_idx_file(path)):
        return for_data(path)
    return find(source)


def _settings(changes: list[str]) -> dict[str, Any]:
    """What ``--set`` asks for."""
    settings: dict[str, Any] = {}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set {change} has no '='; write --set training.batch=32")
        settings[key.strip()] = coerce(value.strip())
    return settings


def _live_changes(recipe: Recipe, changes: list[str]) -> dict[str, Any]:
    """What ``--set`` asks of a run that goes on; the rest of its recipe stays."""
    settings = _settings(changes)
    live = live_settings(recipe)
    for key in settings:
        if key not in live:
            raise typer.BadParameter(f"a resumed run keeps its {key}: leave it out of --set, or begin with --fork")
    _changed(recipe, settings)
    return settings


def _recipe(source: str, changes: list[str], seed: int | None, device: str | None) -> Recipe:
    recipe = _find(source)
    settings = _settings(changes)
    if seed is not None:
        settings["seed"] = seed
    if device is not None:
        settings["compute.device"] = device
    return _changed(recipe, settings)


def _changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """A recipe with what was asked for on the command line; a wrong wish is wrong usage."""
    try:
        return recipe.with_settings(settings)
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from None


# -- sample ------------------------------------------------------------------------------------------------


@app.command()
def sample(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(help="FILE.png (grid), .gif, .mp4, .webm (the process), .npy or .csv (points)")
    ] = Path("samples.png"),
    count: Annotated[int, typer.Option("-n", min=1, max=65536, help="How many.")] = 64,
    samplers: Annotated[
        list[str] | None,
        typer.Option("--sampler", help="ddpm, ddim, euler, heun, dpmpp-2m …; several times: side by side."),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    eta: Annotated[float | None, typer.Option(min=0, max=1, help="DDIM's η.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Item i depends on the seed and i alone.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help=".npy: every step, x_T first.")] = False,
    device: DeviceOption = None,
) -> None:
    """Sample from RUN's last checkpoint."""
    from ddpm_studio.export.samples import ENDINGS, SampleFile

    if out.suffix.lower() not in ENDINGS:
        raise typer.BadParameter(f"{out.name} must end in one of {', '.join(ENDINGS)}")
    if trace and out.suffix.lower() != ".npy":
        raise typer.BadParameter("--trace writes an array: choose a file that ends in .npy")
    opened = Run.open(run)
    recipe = opened.current_recipe()
    if out.suffix.lower() == ".csv" and recipe.learns != "points":
        raise typer.BadParameter(f"{out.name} would hold points, and this run makes pictures: choose another ending")
    kinds = list(dict.fromkeys(samplers or [recipe.sampler.kind]))
    if eta is not None and "ddim" not in kinds:
        raise typer.BadParameter("--eta belongs to DDIM: add --sampler ddim")
    if len(kinds) > 1 and out.suffix.lower() in (".npy", ".csv"):
        raise typer.BadParameter("an array holds one sampler: choose a file that ends in .png, .gif, .mp4 or .webm")
    begin = recipe.seed if seed is None else seed
    cells = []
    for kind in kinds:
        if kind not in kinds_of("sampler"):
            raise typer.BadParameter(f"{kind} is none of {', '.join(kinds_of('sampler'))}")
        changes: dict[str, Any] = {"sampler.kind": kind} if samplers else {}
        if steps is not None:
            changes["sampler.steps"] = steps
        if eta is not None and kind == "ddim":
            changes["sampler.eta"] = eta
        settings = _changed(recipe, changes | ({} if device is None else {"compute.device": device})).sampler
        name = sampler_label(kind)
        cells.append(Cell(settings, begin, label=name, column=name, column_key="sampler"))
    from ddpm_studio.engine import run_comparison, run_sampling

    control = Control()
    file = SampleFile(out, trace=trace)
    with Interruptible(control) as interrupted:
        if len(cells) == 1:
            request = SampleRequest(count, begin, "ema", cells[0].settings)
            events = run_sampling(opened, control, request, device=device, keep=False, every_state=file.every_state)
        else:
            comparison = Comparison(tuple(cells), count)
            events = run_comparison(opened, control, comparison, device=device, keep=False)
        tapes = show_sampling(events)
    if interrupted or len(tapes) < len(cells) or not all(tape.complete for tape in tapes):
        console.print("Stopped; nothing was written.")
        raise typer.Exit(INTERRUPTED)
    there = out.exists()
    file.write(*tapes)
    _say_written(out, there)


# -- grid --------------------------------------------------------------------------------------------------

AXIS = "KEY=V1,V2,…"


def _say_written(path: Path, there: bool) -> None:
    console.print(f"{'Replaced' if there else 'Wrote'} {path}", markup=False, soft_wrap=True)


@app.command()
def grid(
    run: RunArgument,
    rows: Annotated[
        str | None,
        typer.Option(metavar=AXIS, help="KEY: sampler, steps, eta, seed, weights (ema, raw), checkpoint or run."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(metavar=AXIS, help="Of checkpoint: training steps, or first, middle, last, all. Of run: folders."),
    ] = None,
    out: Annotated[Path, typer.Option(help="FILE.png")] = Path("grid.png"),
    count: Annotated[
        int | None, typer.Option("-n", min=1, max=65536, help="How many in each cell; by default 4, or 512 points.")
    ] = None,
    sampler: Annotated[str | None, typer.Option(help="For all cells; by default the run's own.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps, for all cells.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise of all cells.")] = None,
    device: DeviceOption = None,
) -> None:
    """Sample RUN in a labelled grid, all cells from the same noise: --rows sampler=ddpm,ddim --columns steps=5,50."""
    from ddpm_studio.export.film import at_share
    from ddpm_studio.export.writers import write_image

    if rows is None and columns is None:
        raise typer.BadParameter("what is to differ? Add --rows or --columns, e.g. --columns steps=5,10,50")
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{out.name} must end in .png")
    opened = Run.open(run)
    learnt = [c.step for c in opened.checkpoints()]
    if not learnt:
        raise RunError(f"{opened.path} has no checkpoint yet, so there is nothing to sample from: train it first")
    down, across = (None if axis is None else parse_axis(axis, learnt) for axis in (rows, columns))
    on = {axis.key: axis for axis in (down, across) if axis}
    for key, value in {"sampler": sampler, "steps": steps, "seed": seed}.items():
        if value is not None and key in on:
            raise typer.BadParameter(f"--{key} is for all cells, and {key} stands for rows or columns: leave one out")
    if sampler is not None and sampler not in kinds_of("sampler"):
        raise typer.BadParameter(f"{sampler} is none of {', '.join(kinds_of('sampler'))}")
    wishes = {"sampler.kind": sampler, "sampler.steps": steps, "compute.device": device}
    wishes = {key: value for key, value in wishes.items() if value is not None}
    recipe = _changed(opened.current_recipe(), wishes)
    runs = on["run"].values if "run" in on else ()
    table = axes.cells(
        recipe,
        down,
        across,
        seed=recipe.seed if seed is None else seed,
        checkpoint=None if runs else learnt[-1],
        recipes={path: _changed(Run.open(path).current_recipe(), wishes) for path in runs},
    )
    flat = tuple(cell for row in table for cell in row)
    if len(flat) > axes.MOST:
        raise typer.BadParameter(f"{len(flat)} cells are too many: a grid has at most {axes.MOST}")
    from ddpm_studio.engine import run_comparison

    control = Control()
    many = count or (512 if recipe.learns == "points" else 4)
    with Interruptible(control, "Stopping…"):
        tapes = show_comparison(run_comparison(opened, control, Comparison(flat, many), device=device, keep=False))
    if not all(tape.complete for tape in tapes):
        console.print("Stopped; nothing was written.")
        raise typer.Exit(INTERRUPTED)
    there = out.exists()
    write_image(at_share(tapes, 1.0), out)
    _say_written(out, there)


# -- info --------------------------------------------------------------------------------------------------


@app.command()
def info(
    what: Annotated[
        str, typer.Argument(metavar="RUN|RECIPE", help="A run's folder, a built-in recipe or a TOML file.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Describe a run or a recipe."""
    path = Path(what)
    facts = run_facts(Run.open(path)) if path.is_dir() else recipe_facts(find(what))
    if as_json:
        _print_json(facts)
    else:
        _print_lines(fact_lines(facts))


# -- export ------------------------------------------------------------------------------------------------


@app.command()
def export(
    run: RunArgument,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="gif, apng, webp, mp4, webm (films), strip (filmstrip), picture (the end), frames (folder of PNG), "
            "npy, points-csv, points-npy, loss-csv, loss-png, loss-svg or html (report); by default what the ending of "
            "--out says.",
        ),
    ] = None,
    of: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="process: x_T to x_0 at one training step; learning: one noise level, training step by training "
            "step; both: both clocks at once.",
        ),
    ] = "process",
    step: Annotated[
        int | None, typer.Option(min=0, help="Training step of the process: the nearest recorded one, or the last.")
    ] = None,
    t: Annotated[int | None, typer.Option("--t", min=0, help="Noise level of the learning; by default x_0.")] = None,
    show: Annotated[str, typer.Option(help="x (the state), x0 or eps (what the network predicts there).")] = "x",
    items: Annotated[
        list[int] | None, typer.Option("--item", min=0, help="Only this picture, counted from 0; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="FILE (or folder, for frames); by default named after the run, here.")
    ] = None,
) -> None:
    """Take something of RUN with you: a film, a filmstrip, arrays, its loss, or a report of it all."""
    from ddpm_studio.export.errors import Cancelled
    from ddpm_studio.export.take import FORMATS, OF, SHOWS, Wanted, default_name, export_run, fits, format_for

    kind = format_ or ("" if out is None else format_for(out))
    if not kind:
        raise typer.BadParameter(f"what is it to be? Add --format: {', '.join(FORMATS)}")
    for value, known, name in ((kind, FORMATS, "format"), (of, OF, "of"), (show, SHOWS, "show")):
        if value not in known:
            raise typer.BadParameter(f"--{name} {value} is none of {', '.join(known)}")
    if not FORMATS[kind].clocks and (of != "process" or step is not None or show != "x" or items):
        raise typer.BadParameter(f"{kind} is of the whole run: leave out --of, --step, --show and --item")
    if step is not None and of != "process":
        raise typer.BadParameter("--step chooses one process: leave out --of, or --step")
    if t is not None and of != "learning":
        raise typer.BadParameter("--t chooses a level of the learning: add --of learning")
    opened = Run.open(run)
    wanted = Wanted(kind, of, step, t, show, tuple(items or ()))  # type: ignore[arg-type]  # checked above
    path = out or Path(default_name(opened, wanted))
    if not fits(path, kind):
        ending = FORMATS[kind].ending or "no suffix"
        raise typer.BadParameter(f"{path.name} is no name for {kind}: let it end in {ending}")
    there = path.exists()
    control = Control()
    columns = (TextColumn("[bold]Writing"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Interruptible(control, "Stopping…"), Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def go_on(done: int, total: int) -> bool:
            bar.update(task, completed=done, total=total)
            return not control.stopping

        try:
            export_run(opened, wanted, path, go_on)
            bar.update(task, completed=1, total=1)  # what is done at once tells nothing
        except Cancelled:
            console.print("Stopped; nothing was written.")
            raise typer.Exit(INTERRUPTED) from None
    _say_written(path, there)


# -- bench -------------------------------------------------------------------------------------------------


@app.command()
def bench(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...",
            help="machine, micro, networks, loops, samplers, window or quality; by default all.",
        ),
    ] = None,
    as_json: JsonOption = False,
    out: Annotated[Path | None, typer.Option(help="FILE.json: keep the report there, too.")] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="For each contestant; by default 10.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny sizes, under two minutes: to see that it works.")
    ] = False,
    run: Annotated[Path | None, typer.Option(help="The run on which samplers race; by default one is trained.")] = None,
    train_seconds: Annotated[float, typer.Option(min=1, help="Longest training of samplers and of quality.")] = 120.0,
    book_seconds: Annotated[
        float, typer.Option(min=0, help="quality: train the book's own loop for this time, too.")
    ] = 0.0,
    device: DeviceOption = None,
) -> None:
    """Measure this machine, and what the program makes of it. Ctrl-C prints what there is."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ddpm_studio.bench.effort import Effort
    from ddpm_studio.bench.report import SECTIONS, measure
    from ddpm_studio.bench.tables import tables
    from ddpm_studio.training.compute import pick_device

    for name in sections or ():
        if name not in SECTIONS:
            raise typer.BadParameter(f"{name} is none of {', '.join(SECTIONS)}")
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}")
    if run is not None:
        Run.open(run)
    pick_device(device or "auto")
    wanted = list(sections or SECTIONS)
    control = Control()
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Interruptible(control, "Stopping…") as interrupted, Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0)
        title = ""

        def begin(name: str) -> None:
            nonlocal title
            title = name
            bar.reset(task, total=1.0, description=name)

        def tell(done: float, what: str) -> bool:
            bar.update(task, completed=done, description=f"{title}: {what}")
            return not control.stopping

        effort = Effort(
            seconds=seconds or (0.5 if quick else 10.0),
            quick=quick,
            device=device or "auto",
            run=run,
            train_seconds=train_seconds,
            book_seconds=book_seconds,
            tell=tell,
        )
        report = measure(wanted, effort, begin)
        bar.update(task, completed=1.0, description=f"{title}: {'stopped' if report.stopped else 'done'}")
    if out is not None:
        out.write_text(report.json() + "\n", encoding="utf-8")
    if as_json:
        _print_lines([report.json()])
    else:
        page = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
        for table in tables(report):
            shown = Table(title=table.title, title_justify="left", show_header=bool(table.columns))
            for column in table.columns or ("",) * len(table.rows[0]):
                shown.add_column(column)
            for row in table.rows:
                shown.add_row(*(Text(cell) for cell in row))
            page.print(shown)
            for note in table.notes:
                page.print(note, markup=False)
            page.print()
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(1)


@app.command("evaluate", hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _evaluate() -> None:
    raise RunError("measuring samples is not part of this version yet")
