"""The numbers of a run: as a table, or as curves."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from ddpm_studio.export.chart import loss_marks, picture, svg
from ddpm_studio.export.writers import write_file, write_image
from ddpm_studio.files import text
from ddpm_studio.store import METRICS, Run

UNITS = {
    "step": "training step",
    "images_seen": "items",
    "loss": "mean over values",
    "learning_rate": "per step",
    "grad_norm": "before clipping",
    "images_per_second": "items/s",
}


def write_loss(run: Run, kind: str, path: Path, title: str) -> None:
    """Write the curves of a run as "csv", "svg" or "png".

    Raises:
        ExportError: if the file cannot be written.
    """
    if kind == "csv":
        write_file(path, text(loss_table(run)))
        return
    with run.record() as record:
        marks = loss_marks(record, run.recipe(), title)
    if kind == "svg":
        write_file(path, text(svg(marks, f"Loss of {title}")))
    else:
        write_image(picture(marks), path)


def loss_table(run: Run) -> str:
    """CSV with a row for each training step and probe, units in the header; what was not measured is left empty.

    Probe losses of each noise level have columns of their own; so have, at the end, the lowest losses that are possible
    (``floor`` of the trained items, ``held_out_floor``), of runs where they are known. Numbers are exact: they read
    back as the same floats.
    """
    with run.record() as record:
        metrics, probes = record.metrics(), record.probes()
    levels = sorted({float(t) for row in probes for t in row.levels})
    floors = ("floor", "held_out_floor")
    known = (name for name in floors if any(getattr(row, f"{name}_by_level") is not None for row in probes))
    curves = ("train", "held_out", *known)
    header = [
        *(f"{name} ({UNITS[name]})" for name in METRICS),
        *(f"probe_{which} (mean over values)" for which in curves),
        *(f"probe_{which} at t = {t:g}" for which in curves for t in levels),
    ]
    measured = {int(row[0]): row for row in metrics}
    probed = {row.step: row for row in probes}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for step in sorted(measured.keys() | probed.keys()):
        row = measured.get(step)
        values = [""] * (len(METRICS) - 1) if row is None else [_number(value) for value in row[1:]]
        cells = [str(step), *values]
        probe = probed.get(step)
        if probe is None:
            cells += [""] * len(curves) * (1 + len(levels))
        else:
            cells += [_number(getattr(probe, which)) for which in curves]
            for which in curves:
                losses = getattr(probe, f"{which}_by_level")
                by_level = {} if losses is None else dict(zip(map(float, probe.levels), losses, strict=True))
                cells += [_number(by_level[t]) if t in by_level else "" for t in levels]
        writer.writerow(cells)
    return out.getvalue()


def _number(value: float) -> str:
    """Whole numbers without a point; nothing for what is not finite."""
    value = float(value)
    if not np.isfinite(value):
        return ""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
