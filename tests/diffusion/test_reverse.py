"""reverse_process: noise that belongs to the item, states that stay as they were, and a consumer left alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusion_reference import normal, schedules
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.diffusion import Denoiser, NoiseSchedule, ReverseStep, reverse_process, timestep_grid
from ddpm_studio.diffusion.noise import gaussian, mix, seed_tensor
from ddpm_studio.diffusion.reverse import start_noise
from ddpm_studio.diffusion.samplers import (
    DDIM,
    DDPM,
    IPNDM,
    DPMSolver2M,
    DPMSolver3M,
    Euler,
    Heun,
    Langevin,
    PlainLangevin,
    Sampler,
    UniPC,
)
from ddpm_studio.diffusion.timesteps import SPACINGS

lean = settings(deadline=None, max_examples=80)
SCHEDULE = NoiseSchedule.cosine(40)
LOOKING_BACK: list[Sampler] = [DPMSolver2M(), DPMSolver3M(), UniPC(), IPNDM()]
ALL: list[Sampler] = [DDPM(), DDPM("beta"), DDIM(), DDIM(0.5), DDIM(1.0), Euler(), Heun(), *LOOKING_BACK]
every_sampler = pytest.mark.parametrize("sampler", ALL, ids=repr)
every_rule = pytest.mark.parametrize("sampler", [*ALL, Langevin(), PlainLangevin(0.1)], ids=repr)
shapes = pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 4), (2,), (1,)], ids=str)


def network(x: torch.Tensor, time: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
    """Each element by itself, but different at every level and for every label."""
    out = 0.8 * x - 0.01 * time.view(-1, *(1,) * (x.ndim - 1)) * x * x.clamp(-1, 1)
    return out if label is None else out + 0.1 * label.view(-1, *(1,) * (x.ndim - 1))


DENOISER = Denoiser(network, SCHEDULE, clip=(-1, 1))


def steps(
    sampler: Sampler, seeds: Any, shape: tuple[int, ...] = (1, 5, 7), moves: int = 8, **more: Any
) -> list[ReverseStep]:
    return list(reverse_process(DENOISER, timestep_grid(SCHEDULE, moves), sampler, shape, seeds=seeds, **more))


# -- the item and the batch --------------------------------------------------------------------------------


@every_rule
@shapes
def test_an_item_is_the_same_in_any_batch(sampler: Sampler, shape: tuple[int, ...]) -> None:
    seeds = [11, 5, 2**40, 0, 7]
    together = steps(sampler, seeds, shape)
    for batch in ([2], [4, 0], [0, 1, 2], [3, 2, 1, 0]):
        for one, all_ in zip(steps(sampler, [seeds[i] for i in batch], shape), together, strict=True):
            assert torch.equal(one.x, all_.x[batch])
            assert one.x0 is None or (torch.equal(one.x0, all_.x0[batch]) and torch.equal(one.eps, all_.eps[batch]))


@every_rule
def test_a_repeated_run_is_bit_equal_and_leaves_the_global_generator_alone(sampler: Sampler) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = steps(sampler, range(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    for a, b in zip(first, steps(sampler, range(3)), strict=True):
        assert torch.equal(a.x, b.x)


@every_rule
def test_seeds_matter_to_every_state(sampler: Sampler) -> None:
    for step in steps(sampler, [1, 2])[:-1]:
        assert not torch.equal(step.x[0], step.x[1])


def test_stochastic_samplers_draw_new_noise_at_every_move_and_others_none() -> None:
    start = normal(0, 2, 1, 5, 7, dtype=torch.float32)
    for sampler in ALL:
        a, b = (steps(sampler, seeds, x=start) for seeds in ([1, 2], [3, 4]))
        differs = [not torch.equal(one.x, other.x) for one, other in zip(a, b, strict=True)]
        stochastic = isinstance(sampler, DDPM) or (isinstance(sampler, DDIM) and sampler.eta > 0)
        # given the same start, only the noise of the moves tells the two runs apart
        assert differs[0] is False
        assert differs[1:-1] == [stochastic] * 7
    zero = Denoiser(lambda x, *_: torch.zeros_like(x), SCHEDULE)
    noise = [
        step.x - float(SCHEDULE.alpha[step.t]) * step.x0
        for step in reverse_process(zero, timestep_grid(SCHEDULE, 8), DDPM(), (4000,), seeds=[1])
        if 0 < step.index < 8
    ]
    assert torch.corrcoef(torch.cat(noise)).fill_diagonal_(0).abs().max() < 0.08


def test_labels_reach_the_network_in_both_calls_of_heun() -> None:
    plain, labelled = (steps(Heun(), [1, 2], label=label)[-1].x for label in (None, torch.tensor([0, 3])))
    assert torch.equal(plain[0], labelled[0])
    assert not torch.equal(plain[1], labelled[1])


# -- what is yielded ---------------------------------------------------------------------------------------


@every_sampler
def test_what_is_yielded_is_told_truly_and_never_written_again(sampler: Sampler) -> None:
    grid = timestep_grid(SCHEDULE, 8)
    seen, copies = [], []
    for step in reverse_process(DENOISER, grid, sampler, (2,), seeds=range(4)):
        seen.append(step)
        copies.append([None if v is None else v.clone() for v in (step.x, step.x0, step.eps)])
    assert [s.t for s in seen] == grid
    assert [s.t_from for s in seen] == [grid[0], *grid[:-1]]
    assert [s.index for s in seen] == list(range(9))
    assert {s.total for s in seen} == {8}
    assert seen[0].x0 is None
    assert seen[0].eps is None
    assert torch.equal(seen[0].x, gaussian(range(4), 0, (2,)))
    for step, (x, x0, eps) in zip(seen, copies, strict=True):
        assert torch.equal(step.x, x)
        assert step.x.dtype == torch.float32
        assert step.x.shape == (4, 2)
        if step.index:
            assert torch.equal(step.x0, x0)
            assert torch.equal(step.eps, eps)
    # the estimates belong to the state before
    for before, step in itertools.pairwise(seen):
        told = DENOISER(before.x, before.t)
        assert torch.equal(step.x0, told.x0)
        assert torch.equal(step.eps, told.eps)
    assert torch.equal(seen[-1].x, seen[-1].x0)


@every_sampler
def test_network_calls_are_counted(sampler: Sampler) -> None:
    calls = 0

    def counting(x: torch.Tensor, t: int, label: object) -> Any:
        nonlocal calls
        calls += 1
        return DENOISER(x, t)

    for step in reverse_process(counting, timestep_grid(SCHEDULE, 8), sampler, (2,), seeds=[1], schedule=SCHEDULE):
        assert step.nfe == calls
    assert calls == (15 if isinstance(sampler, Heun) else 8)


def test_a_start_can_be_given_in_the_middle() -> None:
    start = normal(1, 3, 2)
    first, *_, last = reverse_process(DENOISER, [20, 10, 5, 1], DDIM(), (2,), seeds=range(3), x=start)
    assert first.x is start
    assert first.t == 20
    assert last.t == 1
    assert last.x.dtype == torch.float64
    own = next(reverse_process(DENOISER, [20, 10], DDIM(), (2,), seeds=range(3)))
    assert torch.equal(own.x, gaussian(range(3), 0, (2,)))


@pytest.mark.parametrize(
    ("schedule", "t", "spread"),
    [
        (NoiseSchedule.linear(300), 300, 1.0),  # σ is .976: the start of algorithm 2 of DDPM is standard normal
        (NoiseSchedule.cosine(40), 20, 1.0),
        (NoiseSchedule.geometric(10, 0.1, 30.0), 10, 30.0),
        (NoiseSchedule.geometric(10, 0.1, 30.0), 1, 0.1),
        (NoiseSchedule.geometric(10, 0.001, 0.5), 10, 0.5),
        (NoiseSchedule.flow(10), 10, 1.0),
        (NoiseSchedule.flow(10), 5, 0.5),
    ],
)
def test_the_spread_of_the_start(schedule: NoiseSchedule, t: int, spread: float) -> None:
    z = gaussian(range(5), 0, (3, 4))
    torch.testing.assert_close(start_noise(schedule, t, range(5), (3, 4)), spread * z)


# -- the consumer ------------------------------------------------------------------------------------------


def test_gradients_are_the_consumers_own_between_yields() -> None:
    weight = torch.ones(1, requires_grad=True)
    inside = []

    def learning(x: torch.Tensor, *_: object) -> torch.Tensor:
        inside.append(torch.is_grad_enabled())
        return weight * x

    process = reverse_process(Denoiser(learning, SCHEDULE), timestep_grid(SCHEDULE, 4), Heun(), (2,), seeds=[0])
    for index, step in enumerate(process):
        assert torch.is_grad_enabled()
        assert not step.x.requires_grad
        if index == 2:
            break
    process.close()
    assert torch.is_grad_enabled()
    assert inside
    assert not any(inside)
    assert (weight * 2).requires_grad
    with torch.no_grad():
        next(reverse_process(DENOISER, [3, 0], DDIM(), (2,), seeds=[0]))
        assert not torch.is_grad_enabled()


def test_closing_or_failing_midway_leaves_nothing_behind() -> None:
    def failing(x: torch.Tensor, t: int, label: object) -> Any:
        raise ZeroDivisionError

    process = reverse_process(failing, [3, 0], DDIM(), (2,), seeds=[0], schedule=SCHEDULE)
    next(process)
    with pytest.raises(ZeroDivisionError):
        next(process)
    assert torch.is_grad_enabled()
    process = reverse_process(DENOISER, timestep_grid(SCHEDULE, 8), DPMSolver2M(), (2,), seeds=[0])
    half = [next(process).x for _ in range(3)]
    process.close()
    for kept, again in zip(half, steps(DPMSolver2M(), [0], (2,)), strict=False):
        assert torch.equal(kept, again.x)


@pytest.mark.parametrize("grid", [[], [40], [10, 20], [5, 3, 4], [40, 40, 41]])
def test_a_grid_must_not_rise(grid: list[int]) -> None:
    with pytest.raises(ValueError, match="the levels of a grid must not rise"):
        next(reverse_process(DENOISER, grid, DDIM(), (2,), seeds=[0]))


def test_a_level_that_stands_there_again_is_one_more_move() -> None:
    seen = list(reverse_process(DENOISER, [40, 40, 40, 7, 7], Langevin(), (2,), seeds=[0]))
    assert [(s.t_from, s.t) for s in seen[1:]] == [(40, 40), (40, 40), (40, 7), (7, 7)]
    assert [s.nfe for s in seen] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("grid", [[41, 0], [10, -1]])
def test_a_grid_must_stay_inside_the_schedule(grid: list[int]) -> None:
    with pytest.raises(ValueError, match=r"outside the schedule's 0 … 40"):
        next(reverse_process(DENOISER, grid, DDIM(), (2,), seeds=[0]))


# -- timestep_grid -----------------------------------------------------------------------------------------


@lean
@given(schedules(least=2), st.sampled_from(SPACINGS), st.data())
def test_every_grid_falls_to_the_clean_level(schedule: NoiseSchedule, spacing: str, data: st.DataObject) -> None:
    moves = data.draw(st.integers(1, schedule.steps))
    grid = timestep_grid(schedule, moves, spacing)
    assert grid[0] == schedule.steps
    assert grid[-1] == 0
    assert all(type(t) is int for t in grid)
    assert all(t > u for t, u in itertools.pairwise(grid))
    assert len(grid) == moves + 1, "as many moves as were asked for"
    if spacing == "uniform":
        gaps = -np.diff(grid)
        assert gaps.max() - gaps.min() <= 2  # rounding to the table moves each level by half
    if moves >= 2 and spacing in ("karras", "log-snr"):
        assert grid[-2] == 1  # the last move starts at the weakest noise


@lean
@given(schedules(least=3), st.sampled_from(SPACINGS), st.data())
def test_a_grid_may_end_above_the_clean_level(schedule: NoiseSchedule, spacing: str, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, schedule.steps - 1))
    moves = data.draw(st.integers(1, schedule.steps - end))
    grid = timestep_grid(schedule, moves, spacing, end=end)
    assert grid[0] == schedule.steps
    assert grid[-1] == end
    assert all(t > u for t, u in itertools.pairwise(grid))
    assert len(grid) == moves + 1
    if end == 0:
        assert grid == timestep_grid(schedule, moves, spacing)


def test_spacings_are_the_papers() -> None:
    schedule = NoiseSchedule.linear()
    ratio = schedule.sigma[1:] / schedule.alpha[1:]
    karras = [t for t in timestep_grid(schedule, 18, "karras") if t]
    i = np.arange(18) / 17
    high = ratio[ratio <= 80][-1]
    wished = (high ** (1 / 7) + i * (ratio[0] ** (1 / 7) - high ** (1 / 7))) ** 7  # EDM, eq. 5
    assert karras[0] == 1000, "T stands for all levels of σ/α above 80"
    assert karras[1:] == sorted({int(np.abs(np.log(ratio / w)).argmin()) + 1 for w in wished[1:]}, reverse=True)
    quadratic = timestep_grid(schedule, 10, "quadratic")
    assert quadratic == [round(1000 * ((10 - i) / 10) ** 2) for i in range(11)]
    lam = schedule.log_snr[[t for t in timestep_grid(schedule, 10, "log-snr") if 0 < t < 1000]]
    np.testing.assert_allclose(np.diff(lam), np.ptp(lam) / 8, rtol=0.12)


@pytest.mark.parametrize("spacing", ["karras", "log-snr"])
@pytest.mark.parametrize("build", [NoiseSchedule.cosine, NoiseSchedule.flow])
def test_no_step_is_spent_where_all_levels_are_noise(build: Callable[[], NoiseSchedule], spacing: str) -> None:
    """σ/α grows to 20,291 and to infinity; even in its logarithm, half of ten steps would change nothing."""
    schedule = build()
    grid = timestep_grid(schedule, 10, spacing)
    assert len(grid) == 11
    assert (schedule.sigma[grid[1:]] < 80 * schedule.alpha[grid[1:]]).all()


def test_wrong_grids_are_refused() -> None:
    for moves in (0, -1, 41):
        with pytest.raises(ValueError, match=f"{moves} sampling steps do not fit the levels 40 … 0: use 1 … 40"):
            timestep_grid(SCHEDULE, moves)
    with pytest.raises(ValueError, match="39 sampling steps do not fit the levels 40 … 2: use 1 … 38"):
        timestep_grid(SCHEDULE, 39, end=2)
    with pytest.raises(ValueError, match="no spacing is called 'leading'; there are uniform, quadratic"):
        timestep_grid(SCHEDULE, 5, "leading")


# -- the noise ---------------------------------------------------------------------------------------------


def test_noise_is_standard_normal() -> None:
    z = gaussian(range(50), 3, (8001,)).double().flatten()
    n = len(z)
    assert z.isfinite().all()
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert float((z**power).mean()) == pytest.approx(moment, abs=4 * (spread / n) ** 0.5)
    for edge, share in ((1, 0.317311), (2, 0.0455003), (3, 0.0026998), (4, 6.334e-5)):
        assert float((z.abs() > edge).double().mean()) == pytest.approx(share, abs=4 * (share / n) ** 0.5)
    # Kolmogorov-Smirnov against the law, and against numpy's normals
    law = torch.special.ndtr(z.sort().values)
    assert float((law - (torch.arange(n) + 0.5) / n).abs().max()) < 1.63 / n**0.5
    numpys = np.sort(np.random.default_rng(0).standard_normal(n))
    gap = np.searchsorted(numpys, z.sort().values.numpy()) / n - (np.arange(n) + 0.5) / n
    assert np.abs(gap).max() < 1.63 * (2 / n) ** 0.5


def test_noise_is_independent_in_seeds_moves_and_places() -> None:
    n = 40_000
    seeds = [0, 1, 2, 3, 2**31, 2**31 + 1, mix(5), mix(6)]
    rows = torch.cat([gaussian(seeds, move, (n,)).double() for move in range(6)])
    for table in (rows, rows**2, rows.abs()):  # Box-Muller shares the radius of a pair: its squares must not show it
        off = torch.corrcoef(table).fill_diagonal_(0).abs()
        assert float(off.max()) < 5.2 / n**0.5
        centred = table - table.mean(1, keepdim=True)
        for lag in (1, 2, 3, 4, 28, 784):
            lagged = (centred[:, :-lag] * centred[:, lag:]).mean(1) / centred.square().mean(1)
            assert float(lagged.abs().max()) < 5 / n**0.5
    assert len(rows.flatten().unique()) > 0.98 * rows.numel()  # float32 alone repeats some


def test_noise_of_an_item_depends_on_its_seed_and_move_alone() -> None:
    whole = gaussian([3, 9, -4, 2**63 + 5], 7, (2, 3, 3))
    assert whole.shape == (4, 2, 3, 3)
    assert whole.dtype == torch.float32
    assert torch.equal(gaussian([2**63 + 5, 9], 7, (2, 3, 3)), whole[[3, 1]])
    assert torch.equal(gaussian([9], 7, (18,)), whole[1].view(1, 18))
    assert torch.equal(gaussian([9], 7, (17,)), whole[1].view(1, 18)[:, :17])
    assert not torch.equal(gaussian([9], 8, (2, 3, 3))[0], whole[1])


def test_seeds_may_be_a_tensor() -> None:
    """Made once for a long process; words of 64 bits wrap, as they do in a list."""
    seeds = [0, 1, mix(3), 2**63 + 5, -4]
    keys = seed_tensor(seeds)
    assert keys.dtype == torch.int64
    for move in (0, 1, 40_200):
        assert torch.equal(gaussian(keys, move, (3, 2)), gaussian(seeds, move, (3, 2)))
    assert torch.equal(keys, seed_tensor(seeds)), "drawing does not change the keys"


def test_mix_is_fixed_for_ever() -> None:
    """Stored seeds must give the same pictures in the next release."""
    assert [mix(0), mix(1, 2), mix(2, 1), mix(-1)] == [
        5643066927113148277,
        453949556407549951,
        2394814576881480941,
        1358885310357076624,
    ]
    torch.testing.assert_close(
        gaussian([1], 2, (4,))[0], torch.tensor([0.0819793, 0.5231361, -0.0537334, -0.8515988]), rtol=0, atol=1e-6
    )
    assert all(0 <= mix(i, j) < 2**63 for i in range(-3, 3) for j in (0, 2**70))
    assert len({mix(i, j) for i in range(100) for j in range(100)}) == 10_000


def murmur(x: int) -> int:
    """fmix64 in plain integers."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = ((x ^ (x >> 33)) * factor) & (2**64 - 1)
    return x ^ (x >> 33)


def test_noise_is_murmur_and_box_muller() -> None:
    """Written again with Python's integers and numpy."""
    for seed, move in ((0, 0), (12345, 17), (2**62, 3), (mix(7), 40_200), (-4, 1)):
        key = mix(seed, move)
        words = np.array([murmur((key + i * 0x9E3779B97F4A7C15) & (2**64 - 1)) for i in range(50)], dtype=np.uint64)
        first, second = (
            (half.astype(float) + 0.5) / 2**32 for half in (words >> np.uint64(32), words & np.uint64(2**32 - 1))
        )
        radius, angle = np.sqrt(-2 * np.log(first)), 2 * np.pi * second
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()
        np.testing.assert_allclose(gaussian([seed], move, (100,))[0], z, atol=3e-6)
