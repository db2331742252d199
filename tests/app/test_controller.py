"""RunController with fake jobs, the channels, the heartbeat, and that buttons follow from the state alone."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QMenu
from shiboken6 import isValid

from ddpm_studio.app.actions import ACTIONS, make_actions
from ddpm_studio.app.channels import LatestValue, MetricLog
from ddpm_studio.app.controller import RunController, State, unended
from ddpm_studio.app.heartbeat import Heartbeat, Watchdog
from ddpm_studio.app.jobs import Channels, OpenDataJob, OpenRunJob, RunOpened
from ddpm_studio.app.seed_lock import SeedLock
from ddpm_studio.app.settings import WindowSettings
from ddpm_studio.app.top_bar import TopBar
from ddpm_studio.recipes import built_in
from ddpm_studio.store import Run
from ddpm_studio.training.control import Control, PreviewRequest
from ddpm_studio.training.events import (
    CheckpointDue,
    Finished,
    Paused,
    Probed,
    Resumed,
    RolledBack,
    Started,
    StepDone,
    Waiting,
)

pytestmark = [
    pytest.mark.usefixtures("no_leaks"),
    pytest.mark.qt_log_ignore("propagateSizeHints", extend=True),
]
MOONS = built_in()["moons"]


@dataclass
class FakeTraining:
    """Yields what a training yields, one step every millisecond, until it is stopped."""

    control: Control = field(default_factory=Control)
    channels: Channels = field(default_factory=Channels)
    run: Any = None
    fail_at: int | None = None
    error: BaseException = field(default_factory=lambda: ValueError("broken"))
    steps: int = 100_000
    requests: list[Any] = field(default_factory=list)
    thread: str = ""

    def events(self) -> Iterator[Any]:
        self.thread = threading.current_thread().name
        yield Waiting("Building")
        yield Started(self.steps, 0, 0, "fake", 10)
        step = 0
        while step < self.steps and not self.control.stopping:
            if step == self.fail_at:
                raise self.error
            if self.control.paused:
                yield Paused(step)
                while self.control.paused:
                    self.control.hold()
                yield Resumed(step)
            while (request := self.control.take()) is not None:
                self.requests.append(request)
            step += 1
            yield StepDone(step, step, 1 / step, 1e-3, 1.0, 10.0)
            time.sleep(0.001)
        if self.control.keep:
            yield CheckpointDue(step, "stopped")
        yield Finished(step, step, self.control.stopping, 0.1)


@dataclass(frozen=True)
class FakeLoad(OpenDataJob):
    """A data load that lasts until it is let go."""

    gate: threading.Event = field(default_factory=threading.Event)

    def events(self) -> Iterator[Any]:
        yield Waiting("Loading")
        self.gate.wait(60)


@pytest.fixture
def controller(qtbot) -> Iterator[RunController]:
    made = RunController()
    yield made
    assert made.shutdown(5000)


def begin(controller: RunController, job: Any, state: State = State.STARTING) -> Any:
    controller._begin(job, state)
    return job


def until(qtbot, controller: RunController, state: State) -> None:
    qtbot.waitUntil(lambda: controller.state is state)


# -- the state machine


def test_a_training_passes_through_its_states(qtbot, controller):
    seen: list[State] = []
    controller.state_changed.connect(seen.append)
    job = begin(controller, FakeTraining())
    assert controller.training
    until(qtbot, controller, State.TRAINING)
    controller.pause(True)
    until(qtbot, controller, State.PAUSED)
    n = len(job.channels.batch)
    controller.preview("raw")
    qtbot.wait(30)
    assert len(job.channels.batch) == n > 0
    controller.pause(False)
    qtbot.waitUntil(lambda: len(job.channels.batch) > n and bool(job.requests))
    assert job.requests == [PreviewRequest("raw")]
    with qtbot.waitSignal(controller.idle):
        controller.stop()
        assert controller.state is State.STOPPING
    wanted = [State.STARTING, State.TRAINING, State.PAUSED, State.TRAINING, State.STOPPING, State.IDLE]
    assert seen == wanted
    assert controller.run is None
    assert not controller.busy


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("broken"), "Something unexpected happened: ValueError: broken"),
        (MemoryError(), "There is not enough memory for this: choose a smaller batch or a smaller network"),
        (RuntimeError("CUDA out of memory. Tried"), "There is not enough memory"),
        (SystemExit(3), "Something unexpected happened: SystemExit"),
    ],
)
def test_a_failed_job_is_one_sentence_and_the_next_one_works(qtbot, controller, error, sentence):
    told: list[tuple[str, str]] = []
    controller.failed.connect(lambda *args: told.append(args))
    with qtbot.waitSignal(controller.idle):
        begin(controller, FakeTraining(fail_at=2, error=error))
    assert len(told) == 1
    assert told[0][0].startswith(sentence)
    assert "Traceback" in told[0][1]
    with qtbot.waitSignal(controller.idle):
        job = begin(controller, FakeTraining(steps=3))
    assert len(job.channels.batch) == 3


def test_start_pause_stop_fail_two_hundred_times(qtbot):
    """One controller for 100 jobs, and 100 controllers with a job each: every end reaches idle, no thread is left."""
    threads = psutil.Process().num_threads()
    shared = RunController()
    for i in range(100):
        with qtbot.waitSignal(shared.idle):
            begin(shared, FakeTraining(fail_at=1 if i % 5 == 0 else None, steps=2 if i % 5 == 1 else 10**6))
            if i % 5 == 2:
                until(qtbot, shared, State.TRAINING)
            shared.pause(i % 5 > 2)
            if i % 5 == 3:
                until(qtbot, shared, State.PAUSED)
            if i % 5 > 1:
                shared.stop(keep=i % 2 == 0)
        assert shared.state is State.IDLE
    assert shared.shutdown()
    for i in range(100):
        one = RunController()
        job = begin(one, FakeTraining())
        one.pause(i % 3 == 0)
        if i % 2:
            until(qtbot, one, State.PAUSED if i % 3 == 0 else State.TRAINING)
        assert one.shutdown(5000), f"the thread of round {i} did not end"
        assert job.control.stopping
    qtbot.waitUntil(lambda: psutil.Process().num_threads() <= threads)


def test_a_data_load_gives_way_to_a_training(qtbot, controller):
    load = begin(controller, FakeLoad(MOONS, Control(), controller.channels), State.LOADING)
    job = begin(controller, FakeTraining())
    assert controller.state is State.STARTING
    assert controller.training
    assert controller.channels is job.channels, "the plots follow the training that was asked for at once"
    assert load.control.stopping
    controller.open_data(MOONS)  # must not push the training out of the queue
    with pytest.raises(RuntimeError, match="nothing else can begin"):
        begin(controller, FakeTraining())
    controller.pause(True)
    load.gate.set()
    until(qtbot, controller, State.PAUSED)
    assert job.thread != threading.current_thread().name
    with qtbot.waitSignal(controller.idle):
        controller.stop()


def test_stop_before_the_load_has_given_way(qtbot, controller):
    load = begin(controller, FakeLoad(MOONS, Control(), controller.channels), State.LOADING)
    job = begin(controller, FakeTraining())
    controller.stop()
    assert controller.state is State.STOPPING
    with qtbot.waitSignal(controller.idle):
        load.gate.set()
    assert job.thread == "", "it never began"


def test_the_newest_data_wins_and_an_opened_run_keeps_its_own(qtbot, controller, tmp_path):
    seen: list[Any] = []
    controller.reported.connect(seen.append)
    load = begin(controller, FakeLoad(MOONS, Control(), controller.channels), State.LOADING)
    for name in ("swiss-roll", "spiral", "dino"):
        controller.open_data(built_in()[name])
    load.gate.set()
    with qtbot.waitSignal(controller.idle):
        pass
    assert {e.source for e in seen if hasattr(e, "dataset")} == {"dino"}
    seen.clear()
    with qtbot.waitSignal(controller.idle):
        controller.open_run(Run.create(MOONS, tmp_path / "run"))
        assert isinstance(controller._job, OpenRunJob)
        controller.open_data(built_in()["spiral"])
    assert [type(e) for e in seen] == [RunOpened]


def test_a_thread_that_does_not_end_in_time_is_kept(qtbot):
    """As when the window is closed in the middle of an import; Qt aborts where a running thread is destroyed."""
    one = RunController()
    with qtbot.waitSignal(one.reported):
        load = begin(one, FakeLoad(MOONS, Control(), one.channels), State.LOADING)
    thread = one._thread
    assert not one.shutdown(10)
    del one
    gc.collect()
    assert isValid(thread)
    assert thread.isRunning()
    assert unended[-1][0] is thread
    load.gate.set()
    assert thread.wait(60_000)
    unended.pop()


def test_commands_without_a_job_do_nothing(controller):
    controller.pause(True)
    controller.stop()
    controller.save()
    controller.change({"training.learning_rate": 1.0})
    assert controller.state is State.IDLE


# -- what can be pressed follows from the state


class Window(QObject):
    """Has every slot that the actions want."""


for _method in {spec.method for spec in ACTIONS if spec.method}:
    setattr(Window, _method, lambda self: None)


@pytest.fixture
def bar(qtbot) -> TopBar:
    window = Window()
    actions = make_actions(window, window)
    menu = QMenu()
    made = TopBar(actions, menu, SeedLock(WindowSettings(), window))
    made._keep = (window, menu)
    qtbot.addWidget(made)
    qtbot.addWidget(menu)
    return made


Shown = tuple[State, bool, bool, bool]
STATES = st.tuples(st.sampled_from(State), st.booleans(), st.booleans(), st.booleans())


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.lists(STATES, max_size=4), last=STATES)
def test_actions_follow_from_the_state_alone(bar: TopBar, before: list[Shown], last: Shown):
    def enabled() -> dict[str, bool]:
        return {name: action.isEnabled() for name, action in bar._actions.items()}

    def show(what: Shown) -> None:
        bar.set_state(what[0], can_resume=what[1], can_sample=what[2], can_start=what[3])

    show(last)
    alone = enabled()
    for what in (*before, last):
        show(what)
    assert enabled() == alone
    state, can_resume, can_sample, can_start = last
    free, running = state in (State.IDLE, State.LOADING), state in (State.TRAINING, State.PAUSED)
    assert alone["run.start"] == (free and can_start)
    assert alone["run.resume"] == (free and can_resume)
    assert alone["run.pause"] == alone["run.save"] == running
    assert alone["run.stop"] == (running or state in (State.STARTING, State.SAMPLING))
    assert alone["run.sample_now"] == (running or (free and can_sample))
    assert alone["app.quit"], "one can always leave"
    if state is State.STOPPING:
        assert not alone["run.stop"]


# -- channels


def test_latest_value_with_two_threads():
    slot: LatestValue[int] = LatestValue()
    taken: list[int] = []
    done = threading.Event()

    def put() -> None:
        for i in range(20_000):
            slot.put(i)
        done.set()

    writer = threading.Thread(target=put)
    writer.start()
    while not done.is_set():
        if (item := slot.take()) is not None:
            taken.append(item)
    writer.join()
    if (item := slot.take()) is not None:
        taken.append(item)
    assert taken == sorted(set(taken))
    assert taken[-1] == 19_999
    assert slot.dropped == 20_000 - len(taken)
    assert slot.take() is None


def test_metric_log_reader_never_sees_unwritten_rows():
    log = MetricLog("step", "loss", capacity=4)
    done, wrong = threading.Event(), []

    def write() -> None:
        for i in range(30_000):
            log.append(i, -i)
        done.set()

    writer = threading.Thread(target=write)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        writer.start()
        while not done.is_set():
            steps, losses = log.view("step"), log.view("loss")
            n = min(len(steps), len(losses))
            rows = {0, n // 2, n - 1} if n else ()
            wrong.extend((k, steps[k], losses[k]) for k in rows if steps[k] != k or losses[k] != -k)
        writer.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong
    assert len(log) == 30_000
    assert np.array_equal(log.view("step"), np.arange(30_000))
    log.truncate_after(99)
    assert len(log) == 100
    log.append(7, 8)
    assert log.last("loss") == 8


def test_events_go_to_their_channel():
    channels = Channels()
    for step in (1, 2, 3):
        assert channels.deliver(StepDone(step, step, 0.5, 1e-3, 1.0, 9.0))
    levels = np.array([1.0, 2.0])
    assert channels.deliver(Probed(3, 0.4, 0.6, levels, levels, levels))
    assert not channels.deliver(Paused(3))
    assert not channels.deliver(RolledBack(2, 3, 0.5, "loss was not finite"))
    assert len(channels.batch) == 2
    assert len(channels.probe) == 0


# -- lateness


class Emitter(QObject):
    said = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0
        self.said.connect(self.on_said)

    @Slot(bool)
    def on_said(self, value: bool) -> None:
        self.heard += 1


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="True and None are immortal since Python 3.12")
def test_pyside_loses_no_reference_to_true_and_none(qapp):
    emitter = Emitter()
    before = sys.getrefcount(True), sys.getrefcount(None)
    for _ in range(1000):
        emitter.said.emit(True)
        emitter.setObjectName("x")
    after = sys.getrefcount(True), sys.getrefcount(None)
    assert emitter.heard == 1000
    assert all(abs(a - b) < 100 for a, b in zip(before, after, strict=True)), (before, after)


def test_a_stall_shows_in_the_heartbeat(qtbot):
    parent = QObject()
    began = time.monotonic()
    heart = Heartbeat(parent)
    qtbot.waitUntil(lambda: heart.count > 5)
    heart.reset()
    assert heart.percentile(100) == 0
    qtbot.waitUntil(lambda: heart.count > 2)
    time.sleep(0.1)
    qtbot.waitUntil(lambda: heart.percentile(100) > 60)
    assert heart.percentile(100) <= 1000 * (time.monotonic() - began)
    assert heart.percentile(50) < heart.percentile(100)
    heart.stop()
    n = heart.count
    qtbot.wait(60)
    assert heart.count == n


def test_the_watchdog_writes_the_stacks_of_a_silent_window(qtbot, tmp_path, caplog):
    parent = QObject()
    heart = Heartbeat(parent)
    heart.stop()
    heart.last_beat = time.monotonic() - 5
    with (tmp_path / "stacks.txt").open("w+") as file:
        dog = Watchdog(heart, file)
        dog.start()
        qtbot.waitUntil(lambda: "has not answered" in caplog.text)
        dog.stop()
        file.seek(0)
        assert "most recent call first" in file.read()
    assert "has not answered" in caplog.text
    assert not dog.is_alive()
