"""A report as tables to read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ddpm_studio.bench.ladder import Ladder
from ddpm_studio.bench.loops import Loops
from ddpm_studio.bench.machine import Machine
from ddpm_studio.bench.micro import Convolution, Micro
from ddpm_studio.bench.networks import Networks
from ddpm_studio.bench.quality import Quality
from ddpm_studio.bench.report import Report
from ddpm_studio.bench.samplers import Samplers
from ddpm_studio.bench.window import Window


class Table(NamedTuple):
    """A heading, a row of column names (empty: none), rows of cells, and what to know about them."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: tuple[str, ...] = ()


def tables(report: Report) -> Iterator[Table]:
    """One or two for each section that there is; what was left out or failed comes last."""
    if report.machine:
        yield _machine(report.machine)
    if report.micro:
        yield from _micro(report.micro)
    if report.networks:
        yield _networks(report.networks)
    if report.loops:
        yield _loops(report.loops)
    if report.ladder:
        yield _ladder(report.ladder)
    if report.samplers:
        yield _samplers(report.samplers)
    if report.window:
        yield _window(report.window)
    if report.quality:
        yield _quality(report.quality)
    for title, sections in {"Left out": report.left_out, "Failed": report.failed}.items():
        if sections:
            yield Table(title, ("section", "why"), list(sections.items()))


def number(value: float | None, digits: int = 3) -> str:
    """With so many digits that count, and a comma at the thousands."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    whole = f"{value:.{digits}g}"
    return f"{float(whole):,.0f}" if abs(float(whole)) >= 10 ** (digits - 1) else f"{float(whole):g}"


def _machine(found: Machine) -> Table:
    rows = [
        ("processor", found.cpu),
        ("cores", f"{found.cores}; torch uses {found.threads} threads"),
        ("instructions", ", ".join([found.capability, *found.flags])),
        ("memory", f"{found.memory_gb:.1f} GB"),
        ("system", f"{found.system}; Python {found.python}; torch {found.torch}"),
    ]
    if found.load is not None:
        rows.append(("load", f"{found.load:.2f}"))
    if found.card:
        memory = f"{found.card_memory_gb or 0:.0f} GB"
        rows.append(("card", f"{found.card}, {memory}, driver {found.driver or '?'}, CUDA {found.cuda}"))
    busy = found.load is not None and found.load > 0.5 * found.cores
    return Table("Machine", (), rows, ("Other programs are busy here: do not trust these numbers.",) if busy else ())


def _micro(found: Micro) -> Iterator[Table]:
    rows = [
        (c.precision, str(c.threads), number(c.products_per_s / 1e9), number(c.convolutions_per_s / 1e9))
        for c in found.ceilings
    ]
    notes = () if found.copy_bytes_per_s is None else (f"Memory: {number(found.copy_bytes_per_s / 1e9)} GB/s copied.",)
    columns = ("precision", "threads", "matrix products GFLOP/s", "wide convolution GFLOP/s")
    yield Table("The limit", columns, rows, notes)
    if found.convolutions:
        batch = found.convolutions[0].batch
        yield Table(
            "Convolutions of the default network",
            ("convolution", "layers", "precision", "forward GFLOP/s", "backward GFLOP/s"),
            [_convolution(c) for c in found.convolutions],
            (f"Batch {batch}, channels_last, all threads.",),
        )


def _convolution(c: Convolution) -> tuple[str, ...]:
    shape = f"{c.channels_in} → {c.channels}, {c.kernel} × {c.kernel}, at {c.width} × {c.height}"
    if c.stride > 1:
        shape += f", every {c.stride}"
    speeds = (c.forward_flops_per_s, c.backward_flops_per_s)
    return (shape, str(c.count), c.precision, *(number(speed / 1e9) for speed in speeds))


def _networks(found: Networks) -> Table:
    work = ("recipe", "parameters", "batch", "GFLOP/step", "s/step")
    speeds = ("trained/s", "of the limit", "asked/s", "of the limit", "drawn/s", "plan")
    rows = [
        (
            n.recipe,
            f"{n.parameters:,}",
            f"{n.batch}" if n.batch == n.recipe_batch else f"{n.batch} (of {n.recipe_batch})",
            number(n.step_gflop),
            number(n.step_seconds),
            number(n.train_items_per_s),
            f"{n.train_share:.1%}",
            number(n.call_items_per_s),
            f"{n.sample_share:.1%}",
            f"{number(n.sample_items_per_s)} ({n.calls} calls)",
            n.plan,
        )
        for n in found.networks
    ]
    notes = (
        "Items a second: trained, shown to the network, drawn with the recipe's own sampler. "
        "The limit: matrix products or a wide convolution, whichever is quicker, in the same precision.",
    )
    return Table("Networks", work + speeds, rows, notes)


def _loops(found: Loops) -> Table:
    rows = [(each.name, number(each.items_per_s), f"{each.times:.2f}×", each.plan) for each in found.loops]
    note = f"{found.recipe}: the same network, batch of {found.batch} and pictures, in turn."
    return Table("The tutorial's own loop", ("loop", "pictures/s", "times", "plan"), rows, (note,))


def _ladder(found: Ladder) -> Table:
    columns = ("rung", "batch", "ms/step", "pictures/s", "MFU", "peak MB", "loss", "plan")
    rows = [
        (
            rung.name,
            str(rung.batch),
            number(rung.step_ms),
            number(rung.items_per_s),
            f"{rung.mfu:.1%}",
            number(rung.peak_mb or None),
            number(rung.loss, 4),
            f"{rung.plan}; {rung.why}" if rung.plan and rung.why else rung.plan or rung.why,
        )
        for rung in found.rungs
    ]
    note = (
        f"{found.recipe}: each rung has what those above it have. MFU: of the limit in bfloat16; "
        f"loss: after {found.steps} steps."
    )
    return Table("The ladder", columns, rows, (note,))


def _samplers(found: Samplers) -> Table:
    drawn = [found.reference] if found.reference else []
    drawn += sorted(found.few, key=lambda each: (each.calls, each.distance))
    rows = [
        (each.sampler, each.spacing, str(each.calls), number(each.distance), number(each.seconds)) for each in drawn
    ]
    notes = [
        f"{found.network} after {found.trained_steps:,} steps; Fréchet distance of {found.pictures} pictures by our "
        f"own classifier, its floor {number(found.floor)}."
    ]
    if found.noise is not None:
        notes.append(f"By chance it differs by {number(found.noise, 2)}.")
    if found.winner:
        w = found.winner
        notes.append(
            f"As good as {found.reference.calls if found.reference else 0:,} calls: {w.sampler} ({w.spacing}) "
            f"with {w.calls}: {number(w.fewer_calls)}× fewer calls, {number(w.fewer_seconds)}× less time."
        )
    elif found.few:
        notes.append("None of these is as good yet.")
    return Table("Samplers", ("sampler", "spacing", "calls", "distance", "seconds"), rows, tuple(notes))


def _window(found: Window) -> Table:
    columns = ("recipe", "steps/s", "with/without", "late p99 ms", "worst ms", "first step s", "stop s")
    rows = [
        (
            w.recipe,
            number(w.steps_per_s),
            f"{w.speed:.3f}",
            number(w.late_p99_ms),
            number(w.late_worst_ms),
            number(w.first_step_s, 2),
            number(w.stop_s, 2),
        )
        for w in found.recipes
    ]
    return Table(
        "The window while it trains", columns, rows, (f"Trained without and with it in turn, rounds: {found.rounds}.",)
    )


def _quality(found: Quality) -> Table:
    rows = [
        (curve.name, number(look.seconds), f"{look.step:,}", number(look.distance))
        for curve in found.curves
        for look in curve.looks
    ]
    notes = [f"Fréchet distance of {found.pictures} pictures by our own classifier, its floor {number(found.floor)}."]
    for curve in found.curves:
        reached = [
            f"below {goal} after {number(seconds)} s" if seconds is not None else f"not below {goal}"
            for goal, seconds in curve.goals.items()
        ]
        notes.append(f"{curve.name}, from cold start ({number(curve.start_seconds)} s): {', '.join(reached)}.")
    if found.sooner is not None:
        notes.append(f"What the book's loop came to, ours had reached {number(found.sooner)} times sooner.")
    return Table("Time to quality", ("loop", "seconds trained", "step", "distance"), rows, tuple(notes))
