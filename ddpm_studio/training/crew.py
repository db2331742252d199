"""Threads that share the items of a batch, instead of the work of every operation."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from typing import TypeVar

import torch

T = TypeVar("T")


def prepare_thread(threads: int) -> None:
    """Settle torch in the calling thread: how many threads share its operations, no denormals.

    Both belong to the thread that computes, so this runs there and before its first operation.
    """
    torch.set_flush_denormal(True)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)


class Crew:
    """The calling thread and helpers, each with a part of the items and all operations of its part to itself.

    Threads that share an operation wait for each other at its end, several hundred times in a training step; a crew
    waits once. So it loses less when other programs want the processor, too.

    Attributes:
        size: how many it has. active: how many take part at present, 1 … ``size``.
    """

    def __init__(self, size: int) -> None:
        self.size = self.active = size
        self._helpers = ThreadPoolExecutor(size - 1, "crew", prepare_thread, (1,))

    def share(self, work: Callable[[int, slice], T], count: int) -> list[T]:
        """``work(member, items)`` for even parts of ``count`` items, all at the same time; results in their order.

        Member 0 is the calling thread. An error of any of them is raised when all have ended.
        """
        members = min(self.active, count)
        ends = [round(count * i / members) for i in range(members + 1)]
        parts = [slice(a, b) for a, b in pairwise(ends)]
        others = [self._helpers.submit(work, member, parts[member]) for member in range(1, members)]
        try:
            first = work(0, parts[0])
        finally:
            wait(others)
        return [first, *(other.result() for other in others)]
