"""Memory that is let go of stays in the process, in every thread; a person's own settings are left alone."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

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
