"""Memory that is let go of stays in the process, in every thread; a person's own settings are left alone."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ddpm_studio.heap import keep_memory

FAULTS = """
import resource, sys, threading
from ddpm_studio.heap import keep_memory
if "keep" in sys.argv:
    print(keep_memory())
def blocks():
    for _ in range(60):
        held = [bytearray(24 << 20) for _ in range(4)]
        del held
def measure():
    blocks()
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    blocks()
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def lines(*arguments: str, **more: str) -> list[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", FAULTS, *arguments]
    return subprocess.run(command, env=own | more, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own")
def test_what_a_thread_frees_comes_back_without_page_faults():
    kept, faults = lines("keep")
    (faults_before,) = lines()
    assert kept == "True"
    assert int(faults) < 200 < int(faults_before)


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is set elsewhere")
def test_what_the_environment_says_is_left_alone():
    assert lines("keep", MALLOC_ARENA_MAX="2")[0] == "False"


@pytest.mark.skipif(sys.platform != "linux", reason="nothing is set elsewhere")
@pytest.mark.parametrize(
    ("most", "asked"),
    [
        (1 << 40, [(-3, 256 << 20), (-1, 1 << 30), (-8, 1)]),
        (32 << 20, [(-3, 256 << 20), (-3, 32 << 20), (-1, 1 << 30), (-8, 1)]),  # before 2.35
        (512 << 10, [(-3, 256 << 20), (-3, 32 << 20)]),  # of 32 bits: the rest alone would do harm
    ],
)
def test_the_rest_is_set_only_where_large_blocks_stay(
    monkeypatch: pytest.MonkeyPatch, most: int, asked: list[tuple[int, int]]
) -> None:
    """``most``: what an older glibc takes as the size from which on blocks come from the system."""
    said: list[tuple[int, int]] = []

    def mallopt(name: int, value: int) -> int:
        said.append((name, value))
        return int(name != -3 or value <= most)

    for name in [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=mallopt))
    assert keep_memory() == (most >= 32 << 20)
    assert said == asked
