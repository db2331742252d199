"""Work that a card is told once and then repeats, as CUDA graphs; and the sampling that is worth it.

A card takes longer to be told a small network than to compute it. What is recorded reads and writes the same memory
each time, and computes what the same lines compute unrecorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_studio.training.memory import is_out_of_memory

WARM_UP = 3  # runs before a recording: libraries choose their algorithms and memory
KEPT = 6  # recordings of a session's sampling; each holds the memory of its work
KNOWN = 100  # forms of work of which it is remembered how often they were asked for

Call = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Work = Callable[[], object]


def record(work: Work) -> Callable[[], Any]:
    """``work`` as a function that repeats it on the present card; it has run some times by then."""
    return record_in_turn([work], work)[0]


def record_in_turn(works: Sequence[Work], warm_up: Work) -> list[Callable[[], Any]]:
    """``works`` as functions that repeat them, to be called in this order: what one has done with, the next may use.

    ``warm_up`` is run some times before: operations of all kinds that the works have.
    """
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            warm_up()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    graphs: list[torch.cuda.CUDAGraph] = []
    # In place of torch.cuda.graph, which in older versions collects Python's garbage: that is the window's thread's.
    with torch.cuda.stream(aside):
        for work in works:
            graph = torch.cuda.CUDAGraph()
            shared: dict[str, Any] = {"pool": graphs[0].pool()} if graphs else {}
            # Other threads (one that compiles, say) may use the card meanwhile.
            graph.capture_begin(capture_error_mode="thread_local", **shared)
            try:
                work()
            except BaseException:
                with suppress(RuntimeError):  # it would hide what went wrong
                    graph.capture_end()
                raise
            graph.capture_end()
            graphs.append(graph)
    return [graph.replay for graph in graphs]


def told(error: BaseException) -> str:
    """The first line of an error of whatever library."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@dataclass
class _Met:
    """A form of work: how often it was asked for since there was last a recording, and when it is to be recorded."""

    asked: int = 0
    due: int = 2


class Recordings:
    """What is recorded of one session's sampling: what comes again in the same form, the latest ``KEPT``.

    True as long as there is any.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        """``tell`` is given one sentence without a stop where work of some kind can't be recorded at all."""
        self._tell = tell
        self._made: dict[Any, Any] = {}  # by form, the oldest first
        self._met: dict[Any, _Met] = {}
        self._given_up: set[str] = set()  # kinds of work

    def __len__(self) -> int:
        return len(self._made)

    def find(self, kind: str, form: Any, make: Callable[[], Any]) -> Any:
        """The recording of ``kind`` ("network calls") and ``form``; None: it is to be computed without.

        It is made when it is asked for the second time, and later each time that it was lost for lack of memory.
        """
        if kind in self._given_up:
            return None
        if form in self._made:
            self._made[form] = self._made.pop(form)  # the youngest now
            return self._made[form]
        met = self._met.setdefault(form, _Met())
        if len(self._met) > KNOWN:
            del self._met[next(known for known in self._met if known not in self._made)]
        met.asked += 1
        if met.asked < met.due:
            return None
        while len(self._made) >= KEPT:
            self._drop(next(iter(self._made)))
        try:
            self._made[form] = make()
            return self._made[form]
        except Exception as error:  # of whatever library; what is not recorded does the same
            self._failed(kind, error)
        self._lost(form)  # here, where the error has let go of what it held
        self.forget()
        return None

    def failed(self, kind: str, error: Exception) -> None:
        """A recording of ``kind`` does not work any more."""
        self._failed(kind, error)
        self.forget()

    def forget(self) -> None:
        """Give all their memory back. What is still asked for is recorded again, each time after twice as long."""
        for form in list(self._made):
            self._lost(form)
        torch.cuda.empty_cache()

    def _failed(self, kind: str, error: Exception) -> None:
        if not is_out_of_memory(error):  # which is another time's chance
            self._given_up.add(kind)
            self._tell(f"{kind} are not recorded on this card: {told(error)}")

    def _lost(self, form: Any) -> None:
        self._drop(form)
        self._met[form].due *= 2

    def _drop(self, form: Any) -> None:
        self._made.pop(form, None)
        self._met[form].asked = 0


def form_of(network: nn.Module) -> tuple[int, int]:
    """Which network, and where its weights are: a recording does not read those moved to other memory."""
    return id(network), next(network.parameters()).data_ptr()


class RecordedCalls:
    """``call`` for sampling: one recording for each shape serves every sampler, grid and move.

    Noise level, picture and label are told by copies into the recorded memory.
    """

    def __init__(self, call: Call, network: nn.Module, recordings: Recordings) -> None:
        self._call, self._network, self._recordings = call, network, recordings

    def __call__(self, x: Tensor, time_label: Tensor, label: Tensor | None = None) -> Tensor:
        """x: float (N, …); time_label: float32 (N,); label: int64 (N,) or None. Returns a new tensor like x."""
        if torch.is_grad_enabled():
            return self._call(x, time_label, label)
        kind, form = "network calls", (form_of(self._network), x.shape, x.dtype, label is None)
        recorded = self._recordings.find(kind, form, lambda: _Recorded(self._call, x, time_label, label))
        if recorded is not None:
            try:
                out: Tensor = recorded(x, time_label, label)
                return out
            except Exception as error:  # of whatever library
                failure = error.with_traceback(None)
            del recorded
            self._recordings.failed(kind, failure)
        return self._call(x, time_label, label)


class _Recorded:
    """A call for one shape."""

    def __init__(self, call: Call, *given: Tensor | None) -> None:
        self._call, self._given = call, copies(given)
        self._repeat = record(self._work)

    def _work(self) -> None:
        x, time_label, label = self._given
        assert x is not None
        assert time_label is not None
        self._out = self._call(x, time_label, label)

    def __call__(self, *given: Tensor | None) -> Tensor:
        fill(self._given, given)
        self._repeat()
        return self._out.clone()


def copies(given: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Memory of a recording's own for what it is given."""
    return [None if each is None else each.clone() for each in given]


def fill(mine: Sequence[Tensor | None], given: Sequence[Tensor | None]) -> None:
    """Tell a recording what it is given this time."""
    for own, each in zip(mine, given, strict=True):
        if own is not None and each is not None:
            own.copy_(each)
