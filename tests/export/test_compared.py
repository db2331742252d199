"""A comparison is written as the labelled grid that it is, and as a strip with a row for each cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from recorded_run import LEVELS, SIDE, tape

from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.export import compared
from ddpm_studio.export.compared import headings, in_common, own_facts
from ddpm_studio.export.film import at_share, process
from ddpm_studio.export.grid import grid_image
from ddpm_studio.export.take import Wanted, export_tapes
from ddpm_studio.recipes import built_in
from ddpm_studio.recipes.axes import Axis, cells


def comparison(rows: Axis | None, columns: Axis | None) -> list[Tape]:
    table = cells(built_in()["scratch5-mnist-laptop"], rows, columns, seed=3, checkpoint=300)
    asked = [cell for row in table for cell in row]
    return [
        replace(
            tape(i),
            training_step=300,
            seed=cell.seed,
            sampler=cell.settings.kind,
            label=cell.label,
            row=cell.row,
            column=cell.column,
            row_key=cell.row_key,
            column_key=cell.column_key,
        )
        for i, cell in enumerate(asked)
    ]


SAMPLERS, STEPS, SEEDS = Axis("sampler", ("ddpm", "ddim")), Axis("steps", (5, 10, 50)), Axis("seed", (1, 2, 3))


@pytest.mark.parametrize(
    ("rows", "columns", "left", "top"),
    [
        (SAMPLERS, STEPS, ("", ["DDPM", "DDIM"]), ("Sampling steps", ["5", "10", "50"])),
        (SEEDS, SAMPLERS, ("Seed", ["1", "2", "3"]), ("", ["DDPM", "DDIM"])),
        (SEEDS, STEPS, ("Seed", ["1", "2", "3"]), ("Sampling steps", ["5", "10", "50"])),
        (None, SEEDS, ("", [""]), ("Seed", ["1", "2", "3"])),
        (STEPS, None, ("Sampling steps", ["5", "10", "50"]), ("", [""])),
        (None, SAMPLERS, ("", [""]), ("", ["DDPM", "DDIM"])),
    ],
)
def test_headings_say_what_the_axes_say(
    rows: Axis | None,
    columns: Axis | None,
    left: tuple[str, list[str]],
    top: tuple[str, list[str]],
) -> None:
    assert headings(comparison(rows, columns)) == (left, top)


def test_a_comparison_of_before_there_were_axes_is_one_row() -> None:
    old = [replace(tape(i), label=label) for i, label in enumerate(("DDPM", "DDIM"))]
    assert headings(old) == (("", [""]), ("", ["DDPM", "DDIM"]))


def test_what_is_the_same_is_said_once_and_the_rest_below_each() -> None:
    assert in_common(comparison(None, SEEDS)) == ["step 300", "DDPM, 6 steps"]
    assert in_common(comparison(None, SAMPLERS)) == ["step 300", "6 steps", "seed 3"]
    assert own_facts(comparison(None, SAMPLERS)) == [[], []]
    for rows, told in ((None, [["6 steps"], ["5 steps"]]), (STEPS, [[]] * 6)):  # else an axis says it
        tapes = comparison(rows, SAMPLERS)
        del tapes[1].frames[-1]
        assert own_facts(tapes) == told
    folders = Axis("run", (Path("a"), Path("b")))
    own = {path: built_in()["scratch5-mnist-laptop"] for path in folders.values}
    (row,) = cells(own[Path("a")], None, folders, seed=3, recipes=own)
    tapes = [replace(tape(7 * i), row_key=cell.row_key, column_key=cell.column_key) for i, cell in enumerate(row)]
    tapes[1].sampler = "ddpm"
    assert in_common(tapes) == ["seed 3"]
    assert own_facts(tapes) == [["step 0", "DDIM, 6 steps"], ["step 7", "DDPM, 6 steps"]]
    runs = [replace(tape(step), label=name) for name, step in (("one", 20), ("another", 30))]
    assert in_common(runs) == ["DDIM, 6 steps", "seed 3"]
    assert own_facts(runs) == [["step 20"], ["step 30"]]


def place_of(cell: np.ndarray, image: np.ndarray) -> tuple[int, int]:
    """Where a picture, drawn with pixels of a whole size, stands in a larger one."""
    height, width = cell.shape[:2]
    corners = np.argwhere((image[: len(image) - height + 1, : image.shape[1] - width + 1] == cell[0, 0]).all(axis=2))
    found = [(y, x) for y, x in corners if (image[y : y + height, x : x + width] == cell).all()]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_every_cell_stands_in_its_place(tmp_path: Path, share: float) -> None:
    tapes = comparison(SAMPLERS, STEPS)
    export_tapes(tapes, Wanted("picture", share=share, items=(0, 5)), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width % 2 == picture.height % 2 == 0
        image = np.asarray(picture)
    places = []
    for each in tapes:
        items = grid_image(each.frames[round(share * (len(LEVELS) - 1))].x[[0, 5]])
        scale = round(compared.LARGE / max(items.size))
        big = items.resize((items.width * scale, items.height * scale), Image.Resampling.NEAREST)
        places.append(place_of(np.asarray(big), image))
    ys, xs = (np.array(axis).reshape(2, 3) for axis in zip(*places, strict=True))
    assert (ys == ys[:, :1]).all()
    assert (xs == xs[:1]).all()
    assert (np.diff(ys[:, 0]) > 0).all()
    assert (np.diff(xs[0]) > 0).all()
    above, left = image[: ys.min()], image[ys.min() :, : xs.min()]
    assert (above.min(axis=(1, 2)) < 100).any(), "labels of the columns"
    assert (left.min(axis=(1, 2)) < 100).any(), "labels of the rows"


def test_a_cell_that_is_missing_leaves_its_place_empty() -> None:
    tapes = comparison(SAMPLERS, STEPS)
    assert at_share(tapes[:-1], 1.0).size == at_share(tapes, 1.0).size


def test_the_film_does_not_jump() -> None:
    film = process(comparison(SAMPLERS, SEEDS))
    assert len(film) == len(LEVELS)
    pictures = list(film.images())
    assert {picture.size for picture in pictures} == {film.draw(0).size}
    assert film.draw(0).width % 2 == film.draw(0).height % 2 == 0
    np.testing.assert_array_equal(np.asarray(pictures[2]), np.asarray(film.draw(2)))


def test_the_strip_has_a_row_for_each_cell(tmp_path: Path) -> None:
    tapes = comparison(None, SEEDS)
    export_tapes(tapes, Wanted("strip"), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    scale, right = 96 // SIDE, pixels.shape[1] - 16
    for i, each in enumerate(tapes):
        last = pixels[36 + i * 100 :][:96, right - 96 : right][::scale, ::scale, 0]
        np.testing.assert_array_equal(last, each.frames[-1].x[0, ..., 0])
    assert pixels.shape[0] == 36 + 3 * 100 + 36
