"""What it runs on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import torch

from ddpm_studio.bench.effort import Effort
from ddpm_studio.training.compute import available_cores

# What networks gain from, as Linux names it.
FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "bf16", "sve")


@dataclass(frozen=True)
class Machine:
    """The machine: memory in GB (10⁹ bytes), ``load`` the mean number of waiting programs in the last minute."""

    system: str
    python: str
    cpu: str
    cores: int  # that this process may use
    memory_gb: float
    load: float | None
    torch: str
    threads: int  # torch's own choice
    capability: str  # of the CPU, as torch sees it
    flags: list[str] = field(default_factory=list)
    card: str | None = None
    card_memory_gb: float | None = None
    driver: str | None = None
    cuda: str | None = None


def machine(effort: Effort) -> Iterator[Machine]:
    """Look at the machine."""
    model, flags = _processor()
    card = torch.cuda.get_device_properties(0) if torch.cuda.is_available() else None
    yield Machine(
        system=platform.platform(),
        python=platform.python_version(),
        cpu=model,
        cores=available_cores(),
        memory_gb=psutil.virtual_memory().total / 1e9,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        capability=torch.backends.cpu.get_cpu_capability(),
        flags=[flag for flag in FLAGS if flag in flags],
        card=card.name if card else None,
        card_memory_gb=card.total_memory / 1e9 if card else None,
        driver=_driver() if card else None,
        cuda=torch.version.cuda if card else None,
    )


def _processor() -> tuple[str, set[str]]:
    """Its name and flags; without Linux's list, what Python knows."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        facts = {key.strip(): value.strip() for key, colon, value in (line.partition(":") for line in lines) if colon}
        flags = set((facts.get("flags") or facts.get("Features") or "").split())
        return facts.get("model name") or platform.machine(), flags
    return platform.processor() or platform.machine(), set()


def _driver() -> str | None:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    with suppress(OSError, subprocess.SubprocessError):
        asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.split("\n")[0].strip() or None
    return None
