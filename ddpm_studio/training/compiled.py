"""torch.compile beside the training: built in a thread of its own, compared with what runs, then taken over.

Building takes from seconds to minutes and needs a compiler on this computer. Until the code is there, and wherever it
does not fit (another batch size, another number of threads), the network computes as it always does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ddpm_studio.paths import user_folder
from ddpm_studio.training.build import Session
from ddpm_studio.training.compute import THREAD_CLOCK, ComputePlan, fill_zeros, keep_in, machine
from ddpm_studio.training.control import Control
from ddpm_studio.training.crew import prepare_thread
from ddpm_studio.training.flat import Flat, Learner

TRY_SECONDS = 120  # for the smallest function; a compiler that takes longer is as good as none
PAYS = 1.05  # times as fast as without; less is not worth other rounding
_TRIAL = "import torch; f = torch.compile(lambda x: (x * 2 + 1).relu()); f(torch.ones(64, device='{0}'))"


class Compiled:
    """Built code for a network in training, for parts of a batch of one size.

    Parameters are its arguments, so each member of a crew calls it with those of its own replica.
    """

    def __init__(self, function: Callable[..., Tensor], size: int, threads: int) -> None:
        self._function, self._size, self._threads = function, size, threads

    def of(self, network: nn.Module) -> Callable[..., Tensor]:
        """``network`` as a function; itself where the code was not built for what is asked."""
        if not network.training:  # the average, which previews of all sizes ask
            return network
        tensors = dict(network.named_parameters()) | dict(network.named_buffers())

        def run(x: Tensor, time_label: Tensor, label: Tensor | None) -> Tensor:
            # Anything else would be built anew on the spot, which holds training up.
            fits = len(x) == self._size and torch.get_num_threads() == self._threads and torch.is_grad_enabled()
            out: Tensor = self._function(tensors, x, time_label, label) if fits else network(x, time_label, label)
            return out

        return run


class News(NamedTuple):
    """How building went: one sentence without a stop, and whether its code is in use now."""

    reason: str
    good: bool


class Compiling:
    """Builds code for a session's network if its recipe wishes so; the session takes it when ``news`` is asked for.

    Attributes:
        begun: whether anything is built, as far as that is known at once.
    """

    def __init__(self, session: Session, control: Control) -> None:
        self._session, self._control, self._wanted = session, control, True
        self._ready: SimpleQueue[tuple[News, Compiled | None]] = SimpleQueue()
        self.begun = False
        if session.recipe.compute.compile != "off":
            copy = _Copy(session)  # here: the thread must not read weights that move
            self.begun = copy.even and not compiler_verdict(session.plan.device)
            # No daemon: Python may not end under a compiler's threads. Nothing can interrupt one, so it is waited for.
            Thread(target=self._build, args=(copy,), name="compile").start()

    def news(self) -> News | None:
        """What has come of it, once. To be called between two steps."""
        if self._ready.empty():
            return None
        news, compiled = self._ready.get()
        if compiled is not None:
            self._session.plan = replace(self._session.plan, compiled=compiled)
        return news

    def give_up(self) -> None:
        """Nobody waits for it any more: it ends when the compiler does."""
        self._wanted = False

    def _build(self, copy: _Copy) -> None:
        try:
            self._ready.put(copy.build(lambda: self._wanted and not self._control.stopping))
        except Exception as error:  # of a compiler, of all kinds; training goes on as before
            told = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._ready.put((News(f"torch.compile failed, learning goes on without it: {told}", False), None))


class _Copy:
    """A network with the weights of this moment, laid out as the session's, and one part of a batch to try it with."""

    def __init__(self, session: Session) -> None:
        self._plan, self._wish = session.plan, session.recipe.compute.compile
        crew, batch = session.plan.crew, session.recipe.training.batch
        self._size = batch // crew.size if crew else batch
        self.even = crew is None or batch % crew.size == 0
        self._threads = 1 if crew else session.plan.threads
        network = deepcopy(session.network).train()
        fill_zeros(network)
        flat = Flat(network)  # laid out as the session's, or the code would be built again
        self._learner = Learner(network, flat, flat.gradient(network), rounded=session.plan.masters)
        g = torch.Generator().manual_seed(0)
        self._x, self._goal = (torch.randn(self._size, *session.shape, generator=g) for _ in range(2))
        self._t = (1000 * torch.rand(self._size, generator=g)).to(session.plan.device)
        labels = torch.arange(self._size) % session.classes if session.classes else None
        self._label = None if labels is None else labels.to(session.plan.device)

    def build(self, wanted: Callable[[], bool]) -> tuple[News, Compiled | None]:
        """Compile, compare, and say what came of it."""
        if not self.even:
            return News("torch.compile needs a batch that the threads can share evenly", False), None
        if why := compiler_missing(self._plan.device):
            return News(f"torch.compile cannot be used here: {why}", False), None
        if not wanted():
            return News("nobody waits for torch.compile any more", False), None
        prepare_thread(self._threads)
        begun = time.perf_counter()
        # A copy, so that its own parameters are never among the arguments, as it will be later.
        holder = deepcopy(self._learner.network)

        def call(tensors: dict[str, Tensor], x: Tensor, time_label: Tensor, label: Tensor | None) -> Tensor:
            out: Tensor = functional_call(holder, tensors, (x, time_label, label))
            return out

        # Each network has its own: what was built for another one is no help.
        function = torch.compile(call, dynamic=False, options={"fallback_random": True})
        compiled = Compiled(function, self._size, self._threads)
        fast = replace(self._plan, compiled=compiled)
        self._step(fast)
        took = time.perf_counter() - begun
        (slow, gradient), (quick, theirs) = self._best(self._plan), self._best(fast)
        agreement = float(torch.cosine_similarity(gradient, theirs, dim=0))
        gain = slow / quick
        if not agreement > 0.99:
            why = f"gives another gradient here (cosine {agreement:.3f})"
        elif self._wish == "auto" and gain < PAYS:
            why = f"gains too little here ({gain:.2f}×)"
        else:
            return News(f"compiled in {took:.0f} s: {gain:.2f}× as fast (cosine {agreement:.4f})", True), compiled
        return News(f"torch.compile {why} and is not used", False), None

    def _best(self, plan: ComputePlan) -> tuple[float, Tensor]:
        tried = [self._step(plan) for _ in range(3)]
        return min(seconds for seconds, _ in tried), tried[-1][1]

    def _step(self, plan: ComputePlan) -> tuple[float, Tensor]:
        """Seconds for forward and backward, and the gradient as one vector."""
        card = plan.device.type == "cuda"
        x, goal = self._x.to(plan.device), self._goal.to(plan.device)
        clock = time.perf_counter if card else THREAD_CLOCK
        start = clock()
        self._learner.begin()
        out = plan.call(self._learner.network)(x, self._t, self._label)
        (out - goal).square().mean().backward()  # type: ignore[no-untyped-call]
        self._learner.end()
        if card:
            torch.cuda.synchronize()
        return clock() - start, self._learner.gradient.clone()


def compiler_missing(device: torch.device) -> str:
    """Why torch.compile cannot work on this computer, or "". Tried once in a process of its own, and remembered."""
    known = compiler_verdict(device)
    if known is not None:
        return known
    verdict = _try_compiler(device)
    keep_in(_verdicts(), _verdict_key(device), verdict)
    return verdict


def compiler_verdict(device: torch.device) -> str | None:
    """As ``compiler_missing``, but at once: None where only a trial could tell, and none was made yet."""
    if getattr(sys, "frozen", False):
        return "this program comes without the Python that a compiler needs"
    if not any(_compilers()):
        return "this computer has no C++ compiler"
    try:
        return str(json.loads(_verdicts().read_text(encoding="utf-8"))[_verdict_key(device)])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _verdicts() -> Path:
    return user_folder() / "compilers.json"


def _compilers() -> list[str | None]:
    return [shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++", "cl")]


def _verdict_key(device: torch.device) -> str:
    """Another compiler that is installed later is tried again."""
    facts: Any = (*machine(device), sys.executable, device.type, [*_compilers(), shutil.which("nvcc")])
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _try_compiler(device: torch.device) -> str:
    flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL.format(device.type)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TRY_SECONDS,
            creationflags=flags,
        )
    except subprocess.TimeoutExpired:
        return f"its compiler took more than {TRY_SECONDS} s for the smallest function"
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if "Error" in line] or ["the trial failed"]
    return lines[-1].strip()
