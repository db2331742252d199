"""Work that a card is told once and then repeats: a CUDA graph; and the calls of a network that samplers make, as such.

A card takes longer to be told a small network than to compute it. What is recorded reads and writes the same memory
each time, and computes what the same lines compute unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

WARM_UP = 3  # runs before a recording: libraries choose their algorithms and memory
KEPT = 3  # recorded shapes of a network's calls; each holds the memory of a call

Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def record(work: Callable[[], object]) -> Callable[[], Any]:
    """``work`` as a function that repeats it on the present card; it has run some times by then."""
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads (one that compiles, say) may use the card meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        work()
    return graph.replay


def told(error: BaseException) -> str:
    """The first line of an error of whatever library."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


class RecordedCalls:
    """``call`` for sampling: what is asked for a second time in one shape is recorded then, and repeated from there on.

    Noise level, picture and label are told by copies into the recorded memory, so one recording serves every sampler,
    grid and move. Where recording fails, ``call`` itself goes on.
    """

    def __init__(self, call: Call, network: nn.Module, tell: Callable[[str], object]) -> None:
        """``tell`` is given one sentence without a stop if nothing can be recorded."""
        self._call, self._network, self._tell = call, network, tell
        self._recorded: dict[Any, _Recorded | None] = {}  # by shape, the oldest first; None: met once
        self._works = True

    def __call__(self, x: Tensor, time_label: Tensor, label: Tensor | None = None) -> Tensor:
        """x: float (N, …); time_label: float32 (N,); label: int64 (N,) or None. Returns a new tensor like x."""
        if torch.is_grad_enabled() or not self._works:
            return self._call(x, time_label, label)
        # Weights that were moved to other memory are not those that a recording reads.
        key = x.shape, x.dtype, label is None, next(self._network.parameters()).data_ptr()
        if key not in self._recorded:
            while len(self._recorded) >= KEPT:
                del self._recorded[next(iter(self._recorded))]
            self._recorded[key] = None
            return self._call(x, time_label, label)
        try:
            recorded = self._recorded.pop(key) or _Recorded(self._call, x, time_label, label)
            self._recorded[key] = recorded
            return recorded(x, time_label, label)
        except Exception as error:  # of whatever library; a call that is not recorded does the same
            self._works = isinstance(
                error, torch.OutOfMemoryError
            )  # then it is as if this had been met for the first time
            if not self._works:
                self._tell(f"network calls are not recorded on this card: {told(error)}")
        self._recorded.clear()
        torch.cuda.empty_cache()
        return self._call(x, time_label, label)


class _Recorded:
    """A call for one shape."""

    def __init__(self, call: Call, x: Tensor, time_label: Tensor, label: Tensor | None) -> None:
        self._call, self._given = call, [None if each is None else each.clone() for each in (x, time_label, label)]
        self._repeat = record(self._work)

    def _work(self) -> None:
        x, time_label, label = self._given
        assert x is not None
        assert time_label is not None
        self._out = self._call(x, time_label, label)

    def __call__(self, *given: Tensor | None) -> Tensor:
        for mine, theirs in zip(self._given, given, strict=True):
            if mine is not None and theirs is not None:
                mine.copy_(theirs)
        self._repeat()
        return self._out.clone()
