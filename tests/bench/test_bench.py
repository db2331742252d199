"""The arithmetic of the benchmark's sections, each at a tiny size."""

from __future__ import annotations

import importlib
import json
import math
import sys
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ddpm_studio.bench import children, ladder, report, window
from ddpm_studio.bench.effort import Contestant, Effort, rates, ratio
from ddpm_studio.bench.flops import data_of, flops_of
from ddpm_studio.bench.ladder import CARD, PROCESSOR, Course, Way
from ddpm_studio.bench.loops import loops
from ddpm_studio.bench.machine import machine
from ddpm_studio.bench.micro import convolution_flops, micro, shapes_of_convolutions
from ddpm_studio.bench.networks import affordable, different, networks, stand_in
from ddpm_studio.bench.printed import PrintedLoop, UNet, encode_all
from ddpm_studio.bench.quality import Curve, Look, quality, sooner, take_weights, with_look
from ddpm_studio.bench.report import SECTIONS, Report, measure
from ddpm_studio.bench.samplers import Drawn, Samplers, conclude, pooled, samplers
from ddpm_studio.bench.tables import number, tables
from ddpm_studio.data import DataFacts, Dataset
from ddpm_studio.data.dataset import Cancelled
from ddpm_studio.networks.embeddings import interleaved_own
from ddpm_studio.recipes import Recipe, RecipeError, built_in, find
from ddpm_studio.training import compiled
from ddpm_studio.training.build import Session, build
from ddpm_studio.training.step import TrainingStep

TINY = Effort(seconds=0.1, quick=True, device="cpu", train_seconds=0.1)


# -- effort --------------------------------------------------------------------------------------------------


class Clock:
    """Seconds that go by only when something works."""

    def __init__(self) -> None:
        self.now, self.log = 0.0, ""

    def __call__(self) -> float:
        return self.now

    def contestant(self, name: str, items: int, seconds: float) -> Contestant:
        def once() -> int:
            self.now += seconds
            self.log += name
            return items

        return Contestant(once)


def test_contestants_work_in_turn_and_are_warmed_up() -> None:
    clock = Clock()
    two = {"a": clock.contestant("a", 10, 1.0), "b": clock.contestant("b", 10, 4.0)}
    found = rates(two, 9.0, rounds=3, clock=clock)
    assert clock.log == "ab" + "aaab" * 3
    assert found == {"a": [10.0] * 3, "b": [2.5] * 3}
    assert ratio(found["a"], found["b"]) == 4


def test_a_ratio_is_of_rounds_and_a_slow_minute_does_not_count() -> None:
    assert ratio([10, 1, 12, 10, 10], [5, 0.5, 6, 1, 5]) == 2


def test_a_wish_to_stop_is_heard_between_two_pieces() -> None:
    clock, heard = Clock(), Effort(tell=lambda done, what: len(clock.log) < 4)
    with pytest.raises(Cancelled):
        rates({"a": clock.contestant("a", 1, 1.0)}, 9.0, lambda done: heard.at(done, ""), clock=clock)
    assert clock.log == "aaaa"


# -- FLOPs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (1, 1, 0), (4, 2, 1), (3, 2, 1)])
def test_flops_of_a_convolution_in_closed_form(kernel: int, stride: int, padding: int) -> None:
    layer = nn.Conv2d(5, 7, kernel, stride, padding)
    with FlopCounterMode(display=False) as counted:
        out = layer(torch.zeros(3, 5, 9, 12))
    places = out.shape[2] * out.shape[3]
    assert convolution_flops(layer, 3, 9, 12) == 3 * places * 7 * 5 * kernel**2 * 2 == counted.get_total_flops()


def test_flops_of_a_step_in_closed_form() -> None:
    """A step of tutorial 000: convolutions and small layers, forward once and backward twice, but for the gradient of
    what no parameter lies before."""
    widths = [(1, 64, 28), (64, 128, 14), (128, 256, 7), (256 + 128, 128, 14), (128 + 64, 64, 28)]
    convs = [2 * 9 * side**2 * (into * out + out * out) for into, out, side in widths]
    last = 2 * 64 * 28**2
    mlps = [2 * (100 * into + into * into) for into, _, _ in widths]
    forward, step = flops_of(find("scratch5-mnist"), data_of(find("scratch5-mnist")))
    assert forward == sum(convs) + last + sum(mlps)
    # Backward: nothing is asked of the embedding. The picture's own gradient passes the level's shift: it is asked.
    unasked = sum(2 * 100 * into for into, _, _ in widths)
    assert step == 3 * forward - unasked
    assert step * 128 == pytest.approx(266.9e9, rel=1e-3)


def test_attention_is_counted() -> None:
    """Two products of 16² x 16² x width more, forward."""
    facts = DataFacts("x", "pictures", (1, 16, 16))
    recipe = find("fashion-mnist")
    without, _ = flops_of(recipe, facts)
    within, _ = flops_of(recipe.with_settings({"network.attention": True}), facts)
    tokens, width = 16, recipe.network.channels[-1]
    assert within - without >= 2 * 2 * tokens**2 * width + 2 * 4 * tokens * width**2


def test_a_users_own_data_have_no_known_shape() -> None:
    with pytest.raises(RecipeError, match="not built in"):
        data_of(find("fashion-mnist").with_settings({"data.source": "/somewhere"}))


def test_the_convolutions_of_a_network_are_all_found() -> None:
    recipe = find("fashion-mnist")
    forward, _ = flops_of(recipe, data_of(recipe))
    found = list(shapes_of_convolutions("fashion-mnist"))
    total = sum(count * convolution_flops(layer, 1, h, w) for (layer, h, w), count in found)
    assert 0.95 * forward < total < forward
    assert len({(la.in_channels, la.out_channels, la.kernel_size, h) for (la, h, _), _ in found}) == len(found)


# -- sections ------------------------------------------------------------------------------------------------


def test_machine() -> None:
    (found,) = machine(TINY)
    assert found.torch == torch.__version__
    assert found.cores >= 1
    assert found.memory_gb > 0.1
    assert (found.card is None) == (not torch.cuda.is_available())


def test_micro_measures_both_precisions_and_puts_the_threads_back() -> None:
    before = torch.get_num_threads()
    *_, found = micro(TINY)
    assert torch.get_num_threads() == before
    assert {c.precision for c in found.ceilings} == {"float32", "bfloat16"}
    assert len(found.convolutions) == 2 * len(list(shapes_of_convolutions("fashion-mnist")))
    assert all(c.flops_per_s > 1e6 for c in found.ceilings)
    assert found.copy_bytes_per_s is not None
    assert found.copy_bytes_per_s > 1e6


def test_shares_are_items_times_flops_over_the_ceiling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm_studio.bench.networks.known_ceiling", lambda *_: 1e12)
    monkeypatch.setattr("ddpm_studio.bench.networks.speeds", lambda *_: (100.0, 600.0))
    *_, found = networks(TINY)
    clothes = next(n for n in found.networks if n.recipe == "fashion-mnist")
    recipe = find("fashion-mnist")
    call, step = flops_of(recipe, data_of(recipe))
    assert clothes.train_share == pytest.approx(100 * step / 1e12)
    assert clothes.sample_share == pytest.approx(600 * call / 1e12)
    assert clothes.sample_items_per_s == 600 / recipe.sampler.steps
    assert clothes.step_gflop == pytest.approx(clothes.batch * step / 1e9)
    assert clothes.step_seconds is None  # of another batch than the recipe's
    assert replace(clothes, recipe_batch=8).step_seconds == 8 / 100


def test_networks_train_and_sample() -> None:
    *_, found = networks(TINY)
    assert [n.recipe for n in found.networks] == ["fashion-mnist", "two-gaussians", "score-two-gaussians-laptop"]
    assert all(min(n.train_items_per_s, n.train_share, n.call_items_per_s, n.sample_share) > 0 for n in found.networks)


def test_each_network_is_measured_once() -> None:
    names = [recipe.name for recipe in different(built_in())]
    assert "two-gaussians" in names
    assert "moons" not in names  # the same network, and points like its
    assert len({(r.network, r.training.batch, data_of(r).shape) for r in map(find, names)}) == len(names)


def test_a_batch_that_can_be_afforded() -> None:
    assert affordable(128, 1e9, 1e12, 10.0) == 128
    assert affordable(96, 3e11, 1e12, 60.0) == 32  # 64 would take 64 s at 0.3 of the ceiling
    assert affordable(128, 1e15, 1e12, 1.0) == 2


@pytest.mark.parametrize("recipe", ["fashion-mnist", "two-gaussians"])
def test_stand_ins_have_the_shape_and_the_classes(recipe: str) -> None:
    facts = data_of(find(recipe))
    data = stand_in(facts, 12)
    assert data.facts.shape == facts.shape
    assert data.facts.classes == facts.classes
    assert len(data) == 12


# -- the printed loop ----------------------------------------------------------------------------------------


def printed_recipe() -> Recipe:
    tiny = {"network.channels": [4, 8, 12], "training.batch": 16, "compute.device": "cpu", "compute.threads": 1}
    return find("scratch5-mnist").with_settings({"data.source": "fashion-mnist", **tiny})


def test_the_printed_network_is_ours_with_the_same_weights() -> None:
    recipe = printed_recipe()
    session = build(recipe, stand_in(data_of(recipe), 20))
    theirs = UNet((4, 8, 12))
    take_weights(session, theirs.state_dict().values())
    x, t = torch.randn(3, 1, 28, 28), torch.tensor([1, 500, 1000])
    with torch.no_grad():
        for ours in (session.network, session.ema):
            assert torch.allclose(ours.eval()(x, t.float()), theirs.eval()(x, t), atol=1e-5)
    assert torch.allclose(encode_all(t, 100), interleaved_own(t.double(), 100).float(), atol=1e-4)


def test_the_printed_loop_learns_and_ends_an_epoch_with_what_is_left() -> None:
    facts = data_of(printed_recipe())
    torch.manual_seed(0)
    loop = PrintedLoop(stand_in(facts, 20).train, torch.device("cpu"), batch=16, widths=(4, 8, 12))
    before = loop.model.out.weight.detach().clone()
    assert [loop.step() for _ in range(4)] == [16, 4, 16, 4]
    assert not torch.equal(before, loop.model.out.weight)
    assert all(p.isfinite().all() for p in loop.model.parameters())


def test_loops_are_compared_with_the_tutorials() -> None:
    *_, found = loops(TINY)
    assert [each.name for each in found.loops] == ["tutorial", "ours, its precision", "ours"]
    assert found.loops[0].times == 1
    assert all(each.items_per_s > 0 and each.times > 0 for each in found.loops)


# -- the ladder ----------------------------------------------------------------------------------------------


def test_the_rungs_that_run_here_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each computes as its name says, learns alike, and one that fails does not end the others."""
    monkeypatch.setattr("ddpm_studio.bench.ladder.known_ceiling", lambda *_: 1e12)
    broken = Way("broken", "bfloat16", masters=True)
    real, built = ladder.build, list[tuple[int, str]]()

    def build(recipe: Recipe, data: Dataset, **fixed: Any) -> Session:
        if fixed["masters"] and recipe.compute.layout == "contiguous":
            raise RuntimeError("no such kernel\nand more")
        built.append((recipe.training.batch, recipe.compute.layout))
        return real(recipe, data, **fixed)

    monkeypatch.setattr(ladder, "build", build)
    *_, found = ladder.climb(replace(CARD, ways=(CARD.ways[0], broken, *CARD.ways[3:5])), TINY)
    assert [(r.name, r.batch) for r in found.rungs] == [
        ("float32", 8), ("broken", 8), ("+ channels_last", 8), ("+ masters", 8), ("+ masters", 16)
    ]  # fmt: skip
    assert built == [(8, "contiguous"), (8, "channels_last"), (8, "channels_last"), (16, "channels_last")]
    assert [r.why for r in found.rungs] == ["", "no such kernel", "", "", ""]
    plans = [r.plan for r in found.rungs]
    assert plans[0].startswith("CPU, fp32, 1") or plans[0].startswith("CPU, fp32, 2")
    assert "bf16, channels_last" in plans[2]
    assert "bf16 weights, channels_last" in plans[3]
    _, flops = flops_of(find("fashion-mnist"), data_of(find("fashion-mnist")))
    good = [r for r in found.rungs if not r.why]
    assert all(r.items_per_s == pytest.approx(1000 * r.batch / r.step_ms) for r in good)
    assert all(r.mfu == pytest.approx(r.items_per_s * flops / 1e12) for r in good)
    assert [r.loss for r in good[:3]] == pytest.approx([good[0].loss] * 3, rel=0.02)
    (table,) = (t for t in tables(replace(whole_report(), ladder=found)) if t.title == "The ladder")
    assert {len(row) for row in table.rows} == {len(table.columns)}
    assert table.rows[1][-1] == "no such kernel"


def test_a_rung_waits_for_what_is_built_and_says_why_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger batches are measured without: each would be built anew."""
    monkeypatch.setattr("ddpm_studio.bench.ladder.known_ceiling", lambda *_: 1e12)
    monkeypatch.setattr(compiled, "compiler_missing", lambda device: "no compiler")
    ways = Way("plain", "float32"), Way("+ torch.compile", "float32", compiled=True)
    *_, found = ladder.climb(Course(ways, (64,), 6), replace(TINY, seconds=0.01))
    assert [(r.name, r.batch) for r in found.rungs] == [("plain", 8), ("+ torch.compile", 8), ("plain", 16)]
    assert ["cannot be used here: no compiler" in r.why for r in found.rungs] == [False, True, False]
    assert all(r.step_ms > 0 for r in found.rungs)


def test_without_a_card_the_processors_own_is_climbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("ddpm_studio.bench.ladder.known_ceiling", lambda *_: 1e12)
    monkeypatch.setattr("ddpm_studio.training.compute.available_cores", lambda: 2)
    monkeypatch.setattr(compiled, "compiler_missing", lambda device: "no compiler")
    real, crews = ladder.TrainingStep, list[bool]()

    def steps(session: Session) -> TrainingStep:
        crews.append(session.plan.crew is not None)
        return real(session)

    monkeypatch.setattr(ladder, "TrainingStep", steps)
    *_, found = ladder.ladder(replace(TINY, seconds=0.01, device="auto"))
    assert [r.name for r in found.rungs] == [*(way.name for way in PROCESSOR.ways), "+ autocast"]
    assert crews == [False, False, True, True, True, True]
    assert [r.batch for r in found.rungs] == [8] * 5 + [16]
    assert [r.loss for r in found.rungs[:5]] == pytest.approx([found.rungs[0].loss] * 5, rel=0.02)
    monkeypatch.setattr(ladder, "has_bfloat16", lambda device: False)
    *_, found = ladder.ladder(replace(TINY, seconds=0.01))
    assert [(r.name, r.batch) for r in found.rungs] == [
        ("float32", 8), ("+ channels_last", 8), ("+ crew", 8), ("+ crew", 16)
    ]  # fmt: skip
    asked = measure(["ladder"], replace(TINY, device="cuda"))
    assert asked.left_out["ladder"].startswith("no NVIDIA card can be used here")
    assert asked.ladder is None


@pytest.mark.parametrize("course", [CARD, PROCESSOR])
def test_the_ladder_begins_with_nothing_and_ends_with_all(course: Course) -> None:
    """Each rung has all of those above it."""
    first, *_, last = course.ways
    assert first == Way("float32", "float32")
    assert (last.precision, last.layout) == ("bfloat16", "channels_last")
    assert last.compiled
    for before, after in pairwise(course.ways):
        for name in ("masters", "recorded", "crew", "compiled"):
            assert getattr(after, name) >= getattr(before, name)
        assert before != after
    assert find(ladder.RECIPE).training.batch in course.batches
    assert list(course.batches) == sorted(course.batches)


# -- samplers ------------------------------------------------------------------------------------------------


def raced(*few: Drawn) -> Samplers:
    many = Drawn("ddpm", "uniform", 1000, 1000, [10.0, 10.4], 100.0)
    return conclude(Samplers("x", 1, 500, 0.1, many, list(few)))


def drawn(sampler: str, calls: int, *distances: float, seconds: float = 1.0) -> Drawn:
    return Drawn(sampler, "uniform", calls, calls, list(distances), seconds)


def test_the_fewest_calls_within_five_percent_and_the_noise_win() -> None:
    few = [drawn("ddim", 5, 11.9, 12.1), drawn("ipndm", 8, 10.7, 10.9, seconds=0.5), drawn("unipc", 20, 10, 10)]
    found = raced(drawn("ddim", 3, 90, 130), *few)  # of the first, which is far off, the noise does not tell
    spread = math.sqrt((0.08 + 0.02 + 0.02 + 0) / 4 / 2)
    assert found.noise == pytest.approx(spread)
    assert 10.2 * 1.05 < few[1].distance < 10.2 * 1.05 + spread  # the 5 % alone would not do
    assert found.winner is not None
    assert (found.winner.sampler, found.winner.fewer_calls, found.winner.fewer_seconds) == ("ipndm", 125, 200)


def test_none_wins_where_none_is_as_good() -> None:
    assert raced(drawn("ddim", 5, 12.0, 12.0)).winner is None


def test_of_one_distance_nothing_is_known_of_the_noise() -> None:
    assert pooled([drawn("ddim", 5, 12.0)]) == 0


def test_samplers_race_on_a_network_trained_here() -> None:
    found = list(samplers(TINY))
    last = found[-1]
    assert found[0].reference is None
    assert last.reference is not None
    assert last.reference.calls == 20
    assert last.pictures == 32
    assert last.floor > 0
    assert last.trained_steps > 0
    assert all(each.calls == each.steps and len(each.distances) == 2 for each in last.few)


# -- quality -------------------------------------------------------------------------------------------------


def test_how_much_sooner_ours_is_as_good_as_the_book_at_its_best() -> None:
    book = Curve("book", 2.0, [Look(10, 1, 90.0), Look(98, 2, 40.0), Look(150, 3, 60.0)])
    ours = Curve("ours", 2.0, [Look(1, 1, 80.0), Look(3, 2, 39.0), Look(9, 3, 20.0)])
    assert sooner(ours, book) == (2 + 98) / (2 + 3)
    assert sooner(book, ours) is None, "never as good"


def test_a_goal_counts_from_the_cold_start_and_once() -> None:
    curve = Curve("x", 2.0)
    for seconds, distance in ((3, 30.0), (6, 19.0), (9, 21.0), (12, 13.0)):
        curve = with_look(curve, Look(seconds, seconds, distance))
    assert curve.goals == {"20": 8.0, "14": 14.0}
    assert with_look(Curve("x", 2.0), Look(3, 1, 30.0)).goals == {"20": None, "14": None}


def test_quality_looks_at_both_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddpm_studio.bench.quality.first_step_seconds", lambda *_: 2.0)
    *_, found = quality(replace(TINY, book_seconds=0.1))
    assert [curve.name for curve in found.curves] == ["fashion-mnist", "the book's loop"]
    for curve in found.curves:
        assert curve.looks[-1].seconds >= 0.1
        assert all(look.distance > found.floor for look in curve.looks)


# -- processes of their own ----------------------------------------------------------------------------------


def test_a_cold_start_is_measured_in_a_process_of_its_own() -> None:
    assert 0.3 < children.first_step_seconds("two-gaussians", TINY) < 300


@pytest.mark.parametrize("name", [children.HEADLESS, children.WATCHED])
def test_what_is_measured_keeps_its_memory_as_the_program_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(name)

    class BegunError(Exception):
        pass

    def keep_memory() -> None:
        raise BegunError

    monkeypatch.setattr(module, "keep_memory", keep_memory)
    monkeypatch.setattr(sys, "argv", [name, "two-gaussians", "0"])
    with pytest.raises(BegunError):
        module.main()


def test_a_process_that_fails_is_one_sentence() -> None:
    with pytest.raises(children.ChildError, match="no built-in recipe"):
        children.first_step_seconds("nothing", TINY)


def test_a_process_is_ended_when_it_is_to_stop() -> None:
    with pytest.raises(Cancelled):
        children.first_step_seconds("two-gaussians", replace(TINY, tell=lambda *_: False))


def test_the_window_is_left_out_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children.importlib.util, "find_spec", lambda name: None)
    found = measure(["window"], TINY)
    assert found.window is None
    assert "PySide6 is not installed" in found.left_out["window"]
    assert found.machine is not None


def test_the_window_is_watched_while_it_trains() -> None:
    (found,) = window.window(TINY)
    (watched,) = found.recipes
    assert watched.recipe == window.extremes()[0]
    assert watched.steps_per_s > 0
    assert 0 < watched.speed < 5
    assert 0 <= watched.late_p99_ms <= watched.late_worst_ms


def test_rounds_are_paired() -> None:
    def row(speed: float, worst: float) -> dict[str, float]:
        return {"steps_per_s": speed, "late_p99_ms": 1, "late_p100_ms": worst, "first_step_s": 1, "stop_s": 0.1}

    found = window.summary("x", [row(10, 0), row(20, 0), row(10, 0)], [row(9, 3), row(10, 7), row(8, 5)])
    assert (found.speed, found.late_worst_ms, found.steps_per_s) == (0.8, 7, 9)


def test_the_smallest_and_the_largest_recipe() -> None:
    assert window.extremes()[1] == "pixel-faces"
    assert find(window.extremes()[0]).learns == "points"


# -- the report ----------------------------------------------------------------------------------------------


def whole_report() -> Report:
    found = Report("0", "today", 1.0, True, machine=next(machine(TINY)), left_out={"micro": "no time"})
    curve = with_look(Curve("x", 2.0), Look(3, 1, 15.0))
    few = [drawn("unipc", 20, 10, 10)]
    return replace(
        found,
        samplers=raced(*few),
        quality=report.Quality(500, 0.1, [curve]),
        window=window.Window(1, [window.Watched("x", 1, 0.9, 2, 3, 4, 5)]),
    )


def test_json_comes_back_the_same() -> None:
    found = whole_report()
    assert Report.parse(found.json()) == found
    assert json.loads(found.json()) == json.loads(json.dumps(asdict(found)))
    with pytest.raises(ValueError):
        Report.parse("{}")


def test_every_section_that_there_is_has_a_table() -> None:
    shown = list(tables(whole_report()))
    assert [table.title for table in shown] == [
        "Machine", "Samplers", "The window while it trains", "Time to quality", "Left out",
    ]  # fmt: skip
    for table in shown:
        assert {len(row) for row in table.rows} == {len(table.columns) or 2}
    text = " ".join(note for table in shown for note in table.notes)
    assert "below 20 after 5 s, not below 14" in text
    assert "unipc (uniform) with 20: 50× fewer calls, 100× less time" in text


def test_what_there_is_stays_when_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(effort: Effort) -> object:
        yield report.Loops("x", 1)
        effort.at(0.5, "more")

    monkeypatch.setitem(SECTIONS, "loops", half)
    found = measure(["loops", "quality"], replace(TINY, tell=lambda *_: False))
    assert found.stopped
    assert found.loops == report.Loops("x", 1)
    assert found.quality is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (1234.6, "1,230"), (99.96, "100"), (0.012345, "0.0123"), (1e-6, "1e-06"), (7, "7")],
)
def test_numbers_to_read(value: float | None, text: str) -> None:
    assert number(value) == text
