"""Which settings learn fastest: the Fréchet distance after so many steps, one line for each way to train.

    python tests/benchmarks/learning.py train [-r RECIPE] [-s STEPS ...] [--seeds 0 1] [--only NAME ...]
    python tests/benchmarks/learning.py time  [-r RECIPE] [--only NAME ...]        (on a quiet machine)
    python tests/benchmarks/learning.py table

"train" trains each variant of a recipe for a whole schedule of STEPS steps (decay included) on one thread, draws
1,000 pictures or 4,000 points from the EMA, and keeps the distances in learning.jsonl; what lies there already is
skipped, so it can be stopped and started at will. Quality after so many steps does not depend on how busy the
machine is; "time" measures milliseconds a step apart from it, variants in turn, and "table" puts both together in
learning.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ddpm_studio.bench.flops import data_of
from ddpm_studio.engine import dataset_of
from ddpm_studio.evaluation.energy import energy_distance
from ddpm_studio.evaluation.features import features
from ddpm_studio.evaluation.frechet import floor, frechet, kernel_distance
from ddpm_studio.evaluation.samples import draw
from ddpm_studio.recipes import Recipe, built_in
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.compute import available_cores
from ddpm_studio.training.control import Control
from ddpm_studio.training.events import Probed
from ddpm_studio.training.step import TrainingStep
from ddpm_studio.training.trainer import train

RESULTS = Path(__file__).with_suffix(".jsonl")
TABLE = Path(__file__).with_suffix(".md")
COUNT = 1000

POINTS = 4000
CHANCE = 5.0  # of the energy distance of so many points, in 10⁻⁴

# What every variant starts from, written out: a later change of the recipe does not change what was measured.
BASE: dict[str, Any] = {
    "schedule.kind": "cosine",
    "network.channels": (32, 64),
    "prediction.predicts": "v",
    "training.batch": 64,
    "training.learning_rate": 3e-3,
    "training.warmup": 50,
    "training.decay": "cosine",
    "training.ema_decay": 0.995,
    "sampler.kind": "dpmpp-2m",  # its own error is small, so that what training changes is seen
    "sampler.steps": 20,
    "sampler.spacing": "log-snr",
    "preview.budget": 0.0,
}
JUDGED = f"{BASE['sampler.kind']} {BASE['sampler.steps']} {BASE['sampler.spacing']}"
# "of": the share of STEPS that a variant trains, where another batch shows as many pictures.
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "predicts eps": {"prediction.predicts": "epsilon"},
    "predicts x0": {"prediction.predicts": "x0"},
    "rate 1e-3": {"training.learning_rate": 1e-3},
    "rate 2e-3": {"training.learning_rate": 2e-3},
    "rate 5e-3": {"training.learning_rate": 5e-3},
    "rate 8e-3": {"training.learning_rate": 8e-3},
    "min-SNR 5": {"objective.weight": "min-snr"},
    "eps, min-SNR 5": {"objective.weight": "min-snr", "prediction.predicts": "epsilon"},
    "batch 32, as many pictures": {"training.batch": 32, "of": 2.0},
    "batch 32, rate 2e-3, as many pictures": {"training.batch": 32, "training.learning_rate": 2e-3, "of": 2.0},
    "batch 128, as many pictures": {"training.batch": 128, "of": 0.5},
    "batch 128, rate 5e-3, as many pictures": {"training.batch": 128, "training.learning_rate": 5e-3, "of": 0.5},
    "EMA 0.98": {"training.ema_decay": 0.98},
    "EMA 0.99": {"training.ema_decay": 0.99},
    "EMA 0.998": {"training.ema_decay": 0.998},
    "EMA 0.999": {"training.ema_decay": 0.999},
    "no EMA": {"training.ema_decay": 0.0},
    "no EMA warm-up": {"training.ema_warmup": False},
    "no decay": {"training.decay": "none"},
    "linear decay": {"training.decay": "linear"},
    "one-cycle": {"training.decay": "one-cycle"},
    "linear schedule": {"schedule.kind": "linear"},
    "sigmoid schedule": {"schedule.kind": "sigmoid"},
    "flow, velocity": {"schedule.kind": "flow", "prediction.predicts": "velocity"},
    "batch 16, rate 2e-3, as many pictures": {"training.batch": 16, "training.learning_rate": 2e-3, "of": 4.0},
    "x0, batch 32, as many pictures": {"prediction.predicts": "x0", "training.batch": 32, "of": 2.0},
    "flow, velocity, batch 32, rate 2e-3, as many pictures": {
        "schedule.kind": "flow",
        "prediction.predicts": "velocity",
        "training.batch": 32,
        "training.learning_rate": 2e-3,
        "of": 2.0,
    },
    "width 48, 96, batch 32, rate 2e-3, as many pictures": {
        "network.channels": (48, 96),
        "training.batch": 32,
        "training.learning_rate": 2e-3,
        "of": 2.0,
    },
    "flow, velocity, batch 32, as many pictures": {
        "schedule.kind": "flow",
        "prediction.predicts": "velocity",
        "training.batch": 32,
        "of": 2.0,
    },
    "width 16, 32": {"network.channels": (16, 32)},
    "width 32, 96": {"network.channels": (32, 96)},
    "width 48, 96": {"network.channels": (48, 96)},
    "width 64, 128": {"network.channels": (64, 128)},
    "width 64, 64": {"network.channels": (64, 64)},
    "width 32, 64, 128": {"network.channels": (32, 64, 128)},
    "attention": {"network.attention": True},
    "2 blocks": {"network.blocks": 2},
    "levels not spread": {"training.stratified": False},
    "no warm-up": {"training.warmup": 0},
    "beta2 0.99": {"training.beta2": 0.99},
    "weight decay 0.01": {"training.weight_decay": 0.01},
    "no clipping": {"training.clip_norm": None},
    "Huber": {"objective.loss": "huber"},
}
# The same for points, whose networks are small and whose steps cost more for being called than for what they compute.
POINT_BASE: dict[str, Any] = {
    "schedule.kind": "cosine",
    "network.width": 128,
    "network.depth": 3,
    "prediction.predicts": "v",
    "training.batch": 256,
    "training.learning_rate": 3e-3,
    "training.warmup": 20,
    "training.decay": "cosine",
    "training.ema_decay": 0.99,
    "sampler.kind": "dpmpp-2m",
    "sampler.steps": 20,
    "sampler.spacing": "log-snr",
    "preview.budget": 0.0,
}
POINT_VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "batch 64, as many points": {"training.batch": 64, "of": 4.0},
    "batch 128, as many points": {"training.batch": 128, "of": 2.0},
    "batch 512, as many points": {"training.batch": 512, "of": 0.5},
    "batch 128, rate 2e-3, as many points": {"training.batch": 128, "training.learning_rate": 2e-3, "of": 2.0},
    "width 64": {"network.width": 64},
    "width 96": {"network.width": 96},
    "width 192": {"network.width": 192},
    "width 256": {"network.width": 256},
    "depth 2": {"network.depth": 2},
    "depth 4": {"network.depth": 4},
    "rate 1e-3": {"training.learning_rate": 1e-3},
    "rate 5e-3": {"training.learning_rate": 5e-3},
    "rate 8e-3": {"training.learning_rate": 8e-3},
    "EMA 0.98": {"training.ema_decay": 0.98},
    "EMA 0.995": {"training.ema_decay": 0.995},
    "no EMA": {"training.ema_decay": 0.0},
    "no decay": {"training.decay": "none"},
    "one-cycle": {"training.decay": "one-cycle"},
    "predicts eps": {"prediction.predicts": "epsilon"},
    "predicts x0": {"prediction.predicts": "x0"},
    "flow, velocity": {"schedule.kind": "flow", "prediction.predicts": "velocity"},
    "linear schedule": {"schedule.kind": "linear"},
    "min-SNR 5": {"objective.weight": "min-snr"},
    "levels not spread": {"training.stratified": False},
    "no clipping": {"training.clip_norm": None},
    "beta2 0.99": {"training.beta2": 0.99},
    "weight decay 0.01": {"training.weight_decay": 0.01},
}
POINT_SETS = [name for name, r in built_in().items() if data_of(r).kind == "points"]
# How the base is sampled besides, from the same weights: (kind, steps, spacing).
SAMPLERS = [
    *(("ipndm", steps, "log-snr") for steps in (6, 8, 10, 12, 15)),
    *(("ipndm", steps, "karras") for steps in (6, 8, 10, 15)),
    *(("dpmpp-2m", steps, "log-snr") for steps in (8, 10, 12, 15, 25)),
    *(("dpmpp-2m", steps, "uniform") for steps in (10, 25)),
    *(("dpmpp-2m", steps, "karras") for steps in (6, 8, 10, 12, 15, 20, 25)),
    *(("dpmpp-3m", steps, "log-snr") for steps in (10, 15)),
    *(("unipc", steps, "log-snr") for steps in (8, 10, 15)),
    *(("ddim", steps, "uniform") for steps in (10, 25, 50, 100)),
    ("ddim", 25, "log-snr"),
    *(("heun", steps, "uniform") for steps in (5, 8, 12)),
    ("ddpm", 100, "uniform"),
    ("ddpm", 1000, "uniform"),  # with one seed alone: it takes longer than the training
]


def ways_of(recipe: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What its variants start from, and the variants."""
    return (POINT_BASE, POINT_VARIANTS) if of_points(recipe) else (BASE, VARIANTS)


def of_points(recipe: str) -> bool:
    return recipe in POINT_SETS


class Job(NamedTuple):
    """One training: a variant of a recipe with a number of steps and a seed."""

    recipe: str
    variant: str
    steps: int
    seed: int

    @property
    def asked(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What all start from, and what this variant changes."""
        base, variants = ways_of(self.recipe)
        return base, variants[self.variant]

    def settings(self) -> Recipe:
        base, own_changes = self.asked
        changes = {**base, **own_changes}
        own = round(self.steps * changes.pop("of", 1.0))
        return built_in()[self.recipe].with_settings({**changes, "training.steps": own, "seed": self.seed})


class Truth(NamedTuple):
    train: np.ndarray[Any, Any]
    held_out: np.ndarray[Any, Any]


@lru_cache(maxsize=1)
def truth(recipe: str) -> Truth:
    dataset = dataset_of(built_in()[recipe])
    return Truth(features(dataset.train), features(dataset.held_out))


def digest(job: Job) -> str:
    """Names what was asked for, so that a variant whose settings were edited here is measured anew."""
    asked = [*job, *job.asked]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def results() -> list[dict[str, Any]]:
    if not RESULTS.is_file():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def keep(row: dict[str, Any]) -> None:
    """One line at the end of the file: several processes may add theirs."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(json.dumps(row, ensure_ascii=False), flush=True)


def on(recipe: Recipe, threads: int, precision: str) -> Session:
    changes = {"compute.device": "cpu", "compute.threads": threads, "compute.precision": precision}
    return build(recipe.with_settings(changes), dataset_of(recipe))


def judge(session: Session, job: Job, settings: Any) -> dict[str, Any]:
    """Distances of 1,000 pictures; the same noise for all. ``fd500`` is what the floor can be held against.

    Of points the energy distance, in 10⁻⁴ of the unit of their plane.
    """
    start = time.process_time()
    if of_points(job.recipe):
        points = draw(session, settings, POINTS)
        drawn = time.process_time() - start
        true = dataset_of(built_in()[job.recipe]).train[: 2 * POINTS]
        return {"energy": round(1e4 * energy_distance(true, points), 3), "drawn_s": round(drawn, 1)}
    seen = features(draw(session, settings, COUNT))
    drawn = time.process_time() - start
    true = truth(job.recipe)
    half = COUNT // 2
    return {
        "fd": round(frechet(true.train, seen), 4),
        "fd500": round(statistics.mean(frechet(true.train, part) for part in (seen[:half], seen[half:])), 4),
        "kid": round(kernel_distance(true.train, seen), 5),
        "drawn_s": round(drawn, 1),
    }


def run(job: Job, precision: str, done: set[tuple[str, str]]) -> None:
    """Train and judge whatever of this job is not in the table yet."""
    recipe = job.settings()
    name = digest(job)
    ways = [("recipe", recipe.sampler)]
    if job.variant == "base" and job.steps == 1200 and not of_points(job.recipe):
        ways += [
            (
                f"{kind} {steps}{'' if spacing == 'uniform' else ' ' + spacing}",
                recipe.with_settings(
                    {"sampler.kind": kind, "sampler.steps": steps, "sampler.spacing": spacing}
                ).sampler,
            )
            for kind, steps, spacing in SAMPLERS
            if steps < 1000 or job.seed == 0
        ]
    ways = [way for way in ways if (name, way[0]) not in done]
    if not ways:
        return
    session = on(recipe, 1, precision)
    start, probed = time.process_time(), None
    for event in train(session, Control()):
        if isinstance(event, Probed):
            probed = event
    assert probed is not None
    trained = time.process_time() - start
    for label, settings in ways:
        keep(
            {
                "kind": "quality",
                **job._asdict(),
                "digest": name,
                "sampler": label,
                "drawn": JUDGED,
                "own_steps": session.step,
                "pictures": session.images_seen,
                "parameters": session.parameters,
                **judge(session, job, settings),
                "probe": round(probed.train, 5),
                "probe_held_out": round(probed.held_out, 5),
                "trained_s": round(trained, 1),
                "count": POINTS if of_points(job.recipe) else COUNT,
                "precision": precision,
            }
        )
        done.add((name, label))


def measure_times(recipe: str, names: list[str], precision: str, rounds: int) -> None:
    """Milliseconds a step on all cores, the variants in turn, so that a slow minute hits all of them."""
    sessions = {name: on(Job(recipe, name, 1200, 0).settings(), available_cores(), precision) for name in names}
    steps = {name: TrainingStep(session) for name, session in sessions.items()}
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, step in steps.items():
            for warm in (True, *[False] * 10):
                start = time.perf_counter()
                step.advance()
                if not warm:
                    times[name].append(1000 * (time.perf_counter() - start))
    for name, values in times.items():
        low, middle, high = np.percentile(values, (25, 50, 75)).round(2).tolist()
        keep(
            {
                "kind": "time",
                "recipe": recipe,
                "variant": name,
                "ms": middle,
                "quartiles": [low, high],
                "threads": available_cores(),
                "precision": precision,
                "load": round(os.getloadavg()[0], 2),
            }
        )


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The results as markdown."""
    yield "# Which settings learn fastest"
    yield ""
    yield (
        f"Made by `python tests/benchmarks/learning.py table` from learning.jsonl. FD: Fréchet distance of {COUNT:,} "
        "drawn pictures to all trained ones in the features of our own classifier (not Inception's scale), mean over "
        "seeds ± standard deviation. Each row trained its whole schedule of so many steps; "
        "`x base` is FD over that of the base with the same seeds; seeds differ, so one seed alone decides nothing "
        "below a tenth. Seconds: steps times the milliseconds a step that "
        "`time` measured on 2 cores."
    )
    quality = [row for row in rows if row["kind"] == "quality"]
    ms = {(row["recipe"], row["variant"]): row["ms"] for row in rows if row["kind"] == "time"}
    if points := [row for row in quality if "energy" in row]:
        yield from point_table(points, ms)
    for recipe in dict.fromkeys(row["recipe"] for row in quality if "fd" in row):
        true = truth(recipe)
        least = floor(true.train, true.held_out, COUNT)
        yield ""
        yield f"## {recipe}"
        yield ""
        yield f"Floor (trained against {least.items} held-out pictures): FD {least.distance:.3f}."
        mine = [row for row in quality if row["recipe"] == recipe]
        for steps, judge in sorted({(row["steps"], row["drawn"]) for row in mine}):
            at = [row for row in mine if (row["steps"], row["drawn"]) == (steps, judge) and row["sampler"] == "recipe"]
            by_variant: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
            for row in at:
                by_variant[row["variant"]][row["seed"]] = row
            base = by_variant.get("base", {})
            yield ""
            yield f"### {steps:,} steps of 64 pictures, drawn by {judge}"
            yield ""
            yield "| variant | FD | seeds | x base | KID | ms/step | seconds |"
            yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
            order = sorted(by_variant, key=lambda v: statistics.mean(r["fd"] for r in by_variant[v].values()))
            for variant in order:
                found = by_variant[variant]
                fd = [row["fd"] for row in found.values()]
                spread = f" ± {statistics.stdev(fd):.2f}" if len(fd) > 1 else ""
                same = [row["fd"] / base[seed]["fd"] for seed, row in found.items() if seed in base]
                ratio = f"{statistics.mean(same):.2f}" if same else ""
                kid = statistics.mean(row["kid"] for row in found.values())
                step_ms = ms.get((recipe, variant))
                cost = "| |" if step_ms is None else f"{step_ms:.1f} | {step_ms * at_steps(found) / 1000:.0f} |"
                yield f"| {variant} | {statistics.mean(fd):.2f}{spread} | {len(fd)} | {ratio} | {kid:.2f} | {cost}"
        drawn: dict[str, dict[int, dict[str, Any]]] = defaultdict(dict)
        for row in mine:
            if row["variant"] == "base" and row["steps"] == 1200:
                drawn[row["drawn"] if row["sampler"] == "recipe" else row["sampler"]][row["seed"]] = row
        if len(drawn) > 1:
            yield ""
            yield "### Samplers, the same networks (base, 1,200 steps)"
            yield ""
            yield f"| sampler and steps | FD | seeds | x {JUDGED} | KID |"
            yield "| --- | ---: | ---: | ---: | ---: |"
            ratios = {
                label: statistics.mean(row["fd"] / drawn[JUDGED][seed]["fd"] for seed, row in found.items())
                for label, found in drawn.items()
            }
            for label in sorted(drawn, key=ratios.__getitem__):
                fds = [row["fd"] for row in drawn[label].values()]
                spread = f" ± {statistics.stdev(fds):.2f}" if len(fds) > 1 else ""
                kid = statistics.mean(row["kid"] for row in drawn[label].values())
                yield f"| {label} | {statistics.mean(fds):.2f}{spread} | {len(fds)} | {ratios[label]:.2f} | {kid:.2f} |"


def point_table(rows: list[dict[str, Any]], ms: dict[tuple[str, str], float]) -> Iterator[str]:
    """One line for each variant, all data sets side by side."""
    yield ""
    yield "## Points"
    recipes = list(dict.fromkeys(row["recipe"] for row in rows))
    for steps in sorted({row["steps"] for row in rows}):
        found: dict[str, dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            if row["steps"] == steps:
                found[row["variant"]][row["recipe"]][row["seed"]] = row
        yield ""
        yield f"### {steps:,} steps of {POINT_BASE['training.batch']} points, drawn by {rows[0]['drawn']}"
        yield ""
        yield (
            f"Energy distance of {POINTS:,} drawn points to {2 * POINTS:,} trained ones, in 10⁻⁴ of the unit of the "
            "plane (where the data spread by about 1), mean over seeds ± standard error. Chance alone makes about "
            f"±{CHANCE:g}, so `x base`, the geometric mean over the data, counts those where the base is above "
            f"{2 * CHANCE:g}."
        )
        yield ""
        yield f"| variant | x base | {' | '.join(recipes)} | seeds | ms/step | seconds |"
        yield f"| --- | ---: |{' ---: |' * len(recipes)} ---: | ---: | ---: |"
        means = {
            variant: {r: statistics.mean(row["energy"] for row in of[r].values()) for r in recipes if of[r]}
            for variant, of in found.items()
        }
        base = means.get("base", {})
        times = {variant: _over(mean, base) for variant, mean in means.items()}
        for variant in sorted(found, key=times.__getitem__):
            cells, seeds = [], 0
            for recipe in recipes:
                values = [row["energy"] for row in found[variant][recipe].values()]
                seeds = max(seeds, len(values))
                error = f" ± {statistics.stdev(values) / len(values) ** 0.5:.1f}" if len(values) > 1 else ""
                cells.append(f"{statistics.mean(values):.1f}{error}" if values else "")
            step_ms = next((ms[r, variant] for r in POINT_SETS if (r, variant) in ms), None)  # ours have one network
            own = at_steps(next(of for of in found[variant].values() if of))
            cost = " | " if step_ms is None else f"{step_ms:.2f} | {step_ms * own / 1000:.1f}"
            yield f"| {variant} | {times[variant]:.2f} | {' | '.join(cells)} | {seeds} | {cost} |"


def _over(mean: dict[str, float], base: dict[str, float]) -> float:
    ratios = [max(mean[r], 1.0) / base[r] for r in mean if base.get(r, 0.0) > 2 * CHANCE]
    return statistics.geometric_mean(ratios) if ratios else math.nan


def at_steps(found: dict[int, dict[str, Any]]) -> int:
    return int(next(iter(found.values()))["own_steps"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Which settings learn fastest.")
    parser.add_argument("action", choices=("train", "time", "table"))
    parser.add_argument("-r", "--recipe", default="fashion-mnist")
    parser.add_argument("-s", "--steps", type=int, nargs="+", default=[400, 1200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of VARIANTS or POINT_VARIANTS")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    variants = ways_of(asked.recipe)[1]
    names = asked.only or list(variants)
    if unknown := [name for name in names if name not in variants]:
        parser.error(f"no variant is called {unknown[0]!r}")
    if asked.action == "train":
        torch.set_num_threads(1)
        done = {(row["digest"], row["sampler"]) for row in results() if row["kind"] == "quality"}
        for steps in asked.steps:
            for seed in asked.seeds:
                for name in names:
                    run(Job(asked.recipe, name, steps, seed), asked.precision, done)
    elif asked.action == "time":
        measure_times(asked.recipe, names, asked.precision, asked.rounds)
    TABLE.write_text("\n".join(table(results())) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
