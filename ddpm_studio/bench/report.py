"""All sections of a run of the benchmark, as one value that goes to JSON and comes back the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from ddpm_studio import __version__
from ddpm_studio.bench.children import LeftOutError
from ddpm_studio.bench.effort import Effort
from ddpm_studio.bench.ladder import Ladder, ladder
from ddpm_studio.bench.loops import Loops, loops
from ddpm_studio.bench.machine import Machine, machine
from ddpm_studio.bench.micro import Micro, micro
from ddpm_studio.bench.networks import Networks, networks
from ddpm_studio.bench.quality import Quality, quality
from ddpm_studio.bench.samplers import Samplers, samplers
from ddpm_studio.bench.window import Window, window
from ddpm_studio.data import DataError
from ddpm_studio.data.dataset import Cancelled

SECTIONS: dict[str, Callable[[Effort], Iterator[Any]]] = {
    "machine": machine,
    "micro": micro,
    "networks": networks,
    "loops": loops,
    "ladder": ladder,
    "samplers": samplers,
    "window": window,
    "quality": quality,
}


@dataclass(frozen=True)
class Report:
    """What was measured; a section that was not asked for, or not reached, is None.

    ``left_out``: section → why it cannot be measured here. ``failed``: section → the error with which it ended.
    """

    version: str
    began: str
    seconds: float
    quick: bool
    stopped: bool = False
    took_seconds: float = 0.0
    machine: Machine | None = None
    micro: Micro | None = None
    networks: Networks | None = None
    loops: Loops | None = None
    ladder: Ladder | None = None
    samplers: Samplers | None = None
    window: Window | None = None
    quality: Quality | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def json(self) -> str:
        """As one JSON object."""
        return _ADAPTER.dump_json(self, indent=1).decode()

    @classmethod
    def parse(cls, text: str) -> Report:
        """The report that ``json`` wrote.

        Raises:
            ValueError: if it is none.
        """
        return _ADAPTER.validate_json(text)


_ADAPTER = TypeAdapter(Report)


def measure(sections: Sequence[str], effort: Effort, begin: Callable[[str], None] = lambda name: None) -> Report:
    """Measure these sections, in the order of ``SECTIONS``, the machine always; ``begin`` is told each.

    When ``effort`` says stop, the report has what there is; a section that fails does not end the others.
    """
    report = Report(__version__, time.strftime("%Y-%m-%dT%H:%M:%S%z"), effort.seconds, effort.quick)
    begun = time.perf_counter()
    for name in (name for name in SECTIONS if name == "machine" or name in sections):
        begin(name)
        try:
            for result in SECTIONS[name](effort):
                report = replace(report, **{name: result})
        except Cancelled:
            report = replace(report, stopped=True)
            break
        except (LeftOutError, ImportError) as error:
            report = replace(report, left_out=report.left_out | {name: str(error)})
        except (RuntimeError, ValueError, OSError, DataError) as error:  # a card's memory may not do: the others go on
            report = replace(report, failed=report.failed | {name: f"{error}".partition("\n")[0] or repr(error)})
    return replace(report, took_seconds=time.perf_counter() - begun)
