"""Tapes survive the disk, and what is no tape is refused with one sentence."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddpm_studio.diffusion import Frame, Tape
from ddpm_studio.diffusion.tape import ScoreField, kept_indices


def recorded(kind: str = "pictures", frames: int = 5, *, start: bool = True) -> Tape:
    """A tape of ``frames`` frames whose first has no estimates if ``start``."""
    random = np.random.default_rng(frames)
    tape = Tape(
        kind=kind,  # type: ignore[arg-type]
        steps=1000,
        total=5,
        title='Fünf "Bilder"\nund λ',
        training_step=1200,
        weights="raw",
        sampler="ddim",
        seed=2**40,
    )

    def items() -> np.ndarray:
        if kind == "points":
            return random.standard_normal((7, 2)).astype(np.float32)
        return random.integers(0, 256, (7, 4, 6, 3), dtype=np.uint8)

    for i in range(frames):
        estimates = (None, None) if start and i == 0 else (items(), items())
        tape.frames.append(Frame(3 * i, 1000 - 10 * i, items(), *estimates))
    return tape


def same(a: Tape, b: Tape) -> bool:
    def arrays(tape: Tape) -> list[Any]:
        return [
            (f.index, f.t, *((None if v is None else (v.dtype, v.tolist())) for v in (f.x, f.x0, f.eps)))
            for f in tape.frames
        ]

    about = [{k: v for k, v in vars(t).items() if k != "frames"} for t in (a, b)]
    return about[0] == about[1] and arrays(a) == arrays(b)


@pytest.mark.parametrize("kind", ["pictures", "points"])
@pytest.mark.parametrize("frames", [0, 1, 3, 5])
@pytest.mark.parametrize("start", [True, False])
def test_round_trip(tmp_path: Path, kind: str, frames: int, start: bool) -> None:
    tape = recorded(kind, frames, start=start)
    tape.save(tmp_path / "a.npz")
    again = Tape.load(tmp_path / "a.npz")
    assert same(tape, again)
    assert again.complete == (frames == 5)
    assert again.count == (7 if frames else 0)
    assert again.nbytes == tape.nbytes
    again.frames.append(Frame(99, 0, np.zeros(1)))  # it can grow on


def test_a_tape_is_saved_where_it_was_told(tmp_path: Path) -> None:
    recorded().save(tmp_path / "last.tape")
    assert [p.name for p in tmp_path.iterdir()] == ["last.tape"]
    assert same(Tape.load(tmp_path / "last.tape"), recorded())


def test_the_file_is_an_npz_without_pickles(tmp_path: Path) -> None:
    recorded().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert set(file.files) == {"about", "index", "t", "x", "x0", "eps"}
        assert file["x"].shape == (5, 7, 4, 6, 3)
        assert file["x0"].shape == (4, 7, 4, 6, 3)
        assert json.loads(str(file["about"]))["training_step"] == 1200


class Malice:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was loaded",)


def spoil(path: Path, how: str) -> None:
    tape = recorded()
    about = np.array(json.dumps({"kind": "pictures", "steps": 10, "total": 3}))
    arrays = tape.arrays()
    match how:
        case "empty":
            path.write_bytes(b"")
        case "noise":
            path.write_bytes(b"hello, this is not a tape")
        case "cut":
            tape.save(path)
            path.write_bytes(path.read_bytes()[:-200])
        case "flipped":
            tape.save(path)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
        case "zip":
            with zipfile.ZipFile(path, "w") as file:
                file.writestr("readme.txt", "nothing here")
        case "array":
            with path.open("wb") as file:
                np.save(file, np.zeros(3))
        case "other":
            write(path, weights=np.zeros(3))
        case "pickle":
            path.write_bytes(pickle.dumps(Malice()))
        case "pickled array":
            with path.open("wb") as file:
                np.savez(file, about=about, **{**arrays, "x": np.array([Malice()], dtype=object)})
        case "no frames":
            write(path, about=about)
        case "no eps":
            write(path, about=about, **{k: v for k, v in arrays.items() if k != "eps"})
        case "not json":
            write(path, about=np.array("kind = pictures"), **arrays)
        case "a list":
            write(path, about=np.array("[1, 2]"), **arrays)
        case "unknown words":
            write(path, about=np.array('{"kind": "pictures", "steps": 1, "total": 1, "colour": 2}'), **arrays)
        case "missing words":
            write(path, about=np.array("{}"), **arrays)
        case "short index":
            write(path, about=about, **{**arrays, "index": arrays["index"][:2]})
        case "long x0":
            write(
                path,
                about=about,
                **{**arrays, "x0": np.repeat(arrays["x0"], 2, 0), "eps": np.repeat(arrays["eps"], 2, 0)},
            )
        case "other size":
            write(path, about=about, **{**arrays, "eps": arrays["eps"][:, :, :2]})
        case "scalars":
            write(path, about=about, index=np.array(1), t=np.array(1), x=np.array(1))
        case "folder":
            path.mkdir()
        case "missing":
            pass


def write(path: Path, **arrays: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "how",
    [
        *("empty", "noise", "cut", "flipped", "zip", "array", "other", "folder", "missing"),
        *("pickle", "pickled array", "no frames", "no eps", "not json", "a list", "unknown words"),
        *("missing words", "short index", "long x0", "other size", "scalars"),
    ],
)
def test_what_is_no_tape_is_refused_with_one_sentence(tmp_path: Path, how: str) -> None:
    path = tmp_path / "bad.npz"
    spoil(path, how)
    with pytest.raises(ValueError, match=r"is not a recorded tape: ..") as caught:
        Tape.load(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence


def test_a_view_falls_back_to_the_state() -> None:
    first, second, *_ = recorded().frames
    assert first.view("x0") is first.view("eps") is first.x
    assert second.view("x0") is second.x0
    assert second.view("eps") is second.eps
    assert second.view("x") is second.x
    assert first.nbytes == first.x.nbytes
    assert second.nbytes == 3 * first.nbytes


def with_fields(*positions: int) -> Tape:
    """A tape of points whose frames at ``positions`` carry a score field."""
    random = np.random.default_rng(0)
    tape = recorded("points")
    for i in positions:
        field = ScoreField(random.standard_normal((3, 3, 2)).astype(np.float32), 0.5 + i, 0.1 * i, 2.5)
        tape.frames[i] = replace(tape.frames[i], field=field)
    return tape


@pytest.mark.parametrize("positions", [(0, 1, 2, 3, 4), (0, 3), (4,)])
def test_score_fields_survive_the_disk(tmp_path: Path, positions: tuple[int, ...]) -> None:
    tape = with_fields(*positions)
    tape.save(tmp_path / "a.npz")
    again = Tape.load(tmp_path / "a.npz")
    assert same(tape, again)
    assert again.nbytes == tape.nbytes == recorded("points").nbytes + len(positions) * 3 * 3 * 2 * 4
    for i, (before, after) in enumerate(zip(tape.frames, again.frames, strict=True)):
        assert (after.field is not None) == (i in positions)
        if before.field is not None and after.field is not None:
            np.testing.assert_array_equal(after.field.score, before.field.score)
            assert after.field[1:] == before.field[1:]


@pytest.mark.parametrize("spoilt", ["field_of", "field_levels", "score", "missing"])
def test_score_fields_of_other_frames_are_refused(spoilt: str) -> None:
    tape = with_fields(1, 2)
    arrays = tape.arrays()
    match spoilt:
        case "field_of":
            arrays["field_of"] = np.array([1, 5])
        case "missing":
            del arrays["field_levels"]
        case _:
            arrays[spoilt] = arrays[spoilt][:, :1]
    with pytest.raises((ValueError, KeyError)):
        Tape.from_arrays(tape.about(), arrays)


def test_the_lattice_lies_in_the_centres_of_equal_squares() -> None:
    field = ScoreField(np.zeros((4, 4, 2), np.float32), 1.0, 1.0, 2.0)
    assert field.spots[:5].tolist() == [[-1.5, -1.5], [-0.5, -1.5], [0.5, -1.5], [1.5, -1.5], [-1.5, -0.5]]


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 5000), st.integers(2, 400))
def test_kept_indices_are_evenly_spread(total: int, most: int) -> None:
    kept = list(kept_indices(total, most))
    assert kept[0] == 0
    assert kept[-1] == total
    assert kept == sorted(set(kept))
    assert len(kept) == min(total + 1, most)
    gaps = np.diff(kept)
    assert not len(gaps) or gaps.max() - gaps.min() <= 2
