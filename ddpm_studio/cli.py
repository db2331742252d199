"""The command line: the same engine without a window.

Results go to stdout (one JSON object with ``--json``), progress and messages to stderr. Exit status: 0
done, 1 failed with a one-line reason, 2 wrong usage, 130 interrupted (after saving).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ddpm_studio import __version__
from ddpm_studio.cli_describe import fact_lines, print_report, recipe_facts, recipe_lines, recipe_values, run_facts
from ddpm_studio.cli_progress import (
    Interruptible,
    Measuring,
    console,
    progress_bar,
    show_comparison,
    show_sampling,
    show_training,
)
from ddpm_studio.cli_wishes import (
    data_behind,
    export_wish,
    find_recipe,
    fork_point,
    grid_cells,
    live_changes,
    one_of,
    opened_runs,
    sampler_cells,
    wanted_recipe,
)
from ddpm_studio.recipes import RecipeError, built_in, find
from ddpm_studio.store import CheckpointError, RecordError, Run, RunError
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
PlainOption = Annotated[bool, typer.Option("--no-data", help="Points alone, without the data behind them.")]


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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Within: a file is written; then it is said, and whether there was one."""
    there = path.exists()
    yield
    console.print(f"{'Replaced' if there else 'Wrote'} {path}", markup=False, soft_wrap=True)


def _stopped() -> NoReturn:
    console.print("Stopped; nothing was written.")
    raise typer.Exit(INTERRUPTED)


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
        named, is_of = find_recipe(recipe).name, run.recipe().name
        if named != is_of:
            raise typer.BadParameter(f"{out} is a run of {is_of}, not of {named}")
        changes = live_changes(run.current_recipe(), set_ or [])
    else:
        changes = {}
        options = {"seed": seed, "compute.device": device, "training.steps": steps}
        wanted = wanted_recipe(recipe, set_ or [], options)
        run = Run.create(wanted, out, fork_point(fork) if fork is not None else None)
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


# -- sample ------------------------------------------------------------------------------------------------


@app.command()
def sample(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(help="FILE.png (grid), .gif, .apng, .webp, .mp4, .webm (the process), .npy or .csv (points)")
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
    no_data: PlainOption = False,
) -> None:
    """Sample from RUN's last checkpoint."""
    from ddpm_studio.export.grid import Plane
    from ddpm_studio.export.samples import ENDINGS, SEVERAL, SampleFile, either

    if out.suffix.lower() not in ENDINGS:
        raise typer.BadParameter(f"{out.name} must end in {either(ENDINGS)}")
    if trace and out.suffix.lower() != ".npy":
        raise typer.BadParameter("--trace writes an array: choose a file that ends in .npy")
    opened = Run.open(run)
    recipe = opened.current_recipe()
    if out.suffix.lower() == ".csv" and recipe.learns != "points":
        raise typer.BadParameter(f"{out.name} would hold points, and this run makes pictures: choose another ending")
    cells = sampler_cells(recipe, samplers or [], steps=steps, eta=eta, seed=seed, device=device)
    if len(cells) > 1 and out.suffix.lower() not in SEVERAL:
        raise typer.BadParameter(f"{out.name} would hold one sampler: choose a file that ends in {either(SEVERAL)}")
    from ddpm_studio.engine import run_comparison, run_sampling

    control = Control()
    file = SampleFile(out, trace=trace)
    with Interruptible(control) as interrupted:
        if len(cells) == 1:
            request = SampleRequest(count, cells[0].seed, "ema", cells[0].settings)
            events = run_sampling(opened, control, request, device=device, keep=False, every_state=file.every_state)
        else:
            comparison = Comparison(tuple(cells), count)
            events = run_comparison(opened, control, comparison, device=device, keep=False)
        tapes = show_sampling(events)
    if interrupted or len(tapes) < len(cells) or not all(tape.complete for tape in tapes):
        _stopped()
    with _writing(out):
        file.write(*tapes, plane=Plane(None if no_data else data_behind([recipe])))


# -- grid --------------------------------------------------------------------------------------------------

AXIS = "KEY=V1,V2,…"


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
    no_data: PlainOption = False,
) -> None:
    """Sample RUN in a labelled grid, all cells from the same noise: --rows sampler=ddpm,ddim --columns steps=5,50."""
    from ddpm_studio.export.film import at_share
    from ddpm_studio.export.grid import Plane
    from ddpm_studio.export.writers import write_image

    if rows is None and columns is None:
        raise typer.BadParameter("what is to differ? Add --rows or --columns, e.g. --columns steps=5,10,50")
    if out.suffix.lower() != ".png":
        raise typer.BadParameter(f"{out.name} must end in .png")
    opened = Run.open(run)
    cells = grid_cells(opened, rows, columns, sampler=sampler, steps=steps, seed=seed, device=device)
    from ddpm_studio.engine import run_comparison

    control = Control()
    comparison = Comparison(tuple(cells), count or (512 if opened.recipe().learns == "points" else 4))
    with Interruptible(control, "Stopping…"):
        tapes = show_comparison(run_comparison(opened, control, comparison, device=device, keep=False))
    if not all(tape.complete for tape in tapes):
        _stopped()
    recipes = [(opened if cell.run is None else Run(cell.run)).recipe() for cell in cells]
    with _writing(out):
        write_image(at_share(tapes, 1.0, plane=Plane(None if no_data else data_behind(recipes))), out)


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
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="The folder of a run; of two to four: side by side.")
    ],
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
    t: Annotated[
        int | None,
        typer.Option(
            "--t",
            min=0,
            help="Noise level, the nearest recorded one: of a picture, of points, of the learning; by default x_0.",
        ),
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="How far the process is, from 0 (x_T) to 1 (x_0): of a picture, of points, of the learning of several "
            "runs; by default 1.",
        ),
    ] = None,
    show: Annotated[str, typer.Option(help="x (the state), x0 or eps (what the network predicts there).")] = "x",
    items: Annotated[
        list[int] | None, typer.Option("--item", min=0, help="Only this picture, counted from 0; repeatable.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="FILE (or folder, for frames); by default named after the run, here.")
    ] = None,
    no_data: PlainOption = False,
) -> None:
    """Take something of RUN with you: a film, a filmstrip, arrays, its loss, or a report of it all."""
    from ddpm_studio.export.errors import Cancelled
    from ddpm_studio.export.runs import export_runs
    from ddpm_studio.export.take import default_name, export_run

    several = len(runs) > 1
    wanted = export_wish(
        out,
        format_,
        of=of,
        step=step,
        t=t,
        share=share,
        show=show,
        items=items or [],
        behind=not no_data,
        several=several,
    )
    opened = opened_runs(runs)
    data = data_behind([run.recipe() for run in opened]) if wanted.behind else None
    path = out or Path(default_name("runs" if several else opened[0].name, wanted))
    control = Control()
    with _writing(path), Interruptible(control, "Stopping…"), progress_bar() as bar:
        task = bar.add_task("Writing", total=None)

        def go_on(done: int, total: int) -> bool:
            bar.update(task, completed=done, total=total)
            return not control.stopping

        def say(sentence: str) -> None:
            bar.console.print(f"{sentence}.", markup=False, soft_wrap=True)

        try:
            if several:
                export_runs(opened, wanted, path, go_on, data=data, say=say)
            else:
                export_run(opened[0], wanted, path, go_on, data=data, say=say)
        except Cancelled:
            _stopped()
        bar.update(task, completed=1, total=1)  # what is done at once tells nothing


# -- bench -------------------------------------------------------------------------------------------------


@app.command()
def bench(
    sections: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SECTION]...",
            help="machine, micro, networks, loops, ladder, samplers, window or quality; by default all.",
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
    from ddpm_studio.bench.effort import Effort
    from ddpm_studio.bench.report import SECTIONS, measure
    from ddpm_studio.training.compute import pick_device

    for name in sections or ():
        one_of(name, SECTIONS)
    if out is not None and not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}")
    if run is not None:
        Run.open(run)
    pick_device(device or "auto")
    wanted = list(sections or SECTIONS)
    control = Control()
    with Interruptible(control, "Stopping…") as interrupted, progress_bar() as bar:
        measuring = Measuring(bar, control)
        effort = Effort(
            seconds=seconds or (0.5 if quick else 10.0),
            quick=quick,
            device=device or "auto",
            run=run,
            train_seconds=train_seconds,
            book_seconds=book_seconds,
            tell=measuring.tell,
        )
        report = measure(wanted, effort, measuring.begin)
        measuring.end(report.stopped)
    if out is not None:
        out.write_text(report.json() + "\n", encoding="utf-8")
    if as_json:
        _print_lines([report.json()])
    else:
        print_report(report)
    if interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(1)


@app.command("evaluate", hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def _evaluate() -> None:
    raise RunError("measuring samples is not part of this version yet")
