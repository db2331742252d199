"""The report of a run needs nothing else, holds the cells that it shows, and its script does what it says."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from recorded_run import LEVELS, SIDE, STEPS, make_run, tape

from ddpm_studio.export.clocks import Clocks
from ddpm_studio.export.grid import POINT_RANGE, Plane, grid_image
from ddpm_studio.export.report import CELL_BYTES, COLUMNS, NOWHERE, ROWS, cells_of, report
from ddpm_studio.recipes import Recipe, built_in, dumps
from ddpm_studio.store import Run

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EMPTY = {"meta", "img", "input", "br", "link", "line", "polyline", "polygon", "circle", "rect"}


class Page(HTMLParser):
    """Elements and texts of a page; fails at a tag that is not closed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(source)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)

    def by_id(self, name: str) -> dict[str, str | None]:
        return next(attrs for _, attrs in self.elements if attrs.get("id") == name)

    def image(self, name: str) -> Image.Image:
        kind, _, data = (self.by_id(name)["src"] or "").partition(",")
        assert kind == "data:image/webp;base64"
        return Image.open(io.BytesIO(base64.b64decode(data)))

    @property
    def about(self) -> dict[str, list[int]]:
        return json.loads(next(text for text in self.texts["script"] if text.startswith("{")))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs") / "grey", title="漢字 <Kana> & 'quotes'")


@pytest.fixture(scope="module")
def source(run: Run) -> str:
    return report(run)


def test_it_needs_nothing_else(source: str) -> None:
    page = Page(source)
    for tag, attrs in page.elements:
        assert tag not in ("link", "iframe", "object", "base")
        for name in ("src", "href", "srcset", "xlink:href", "action", "data", "poster"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
    assert not re.search(r"https?:|url\(|@import|\bimport\b|fetch\(|XMLHttpRequest", source)


@pytest.mark.parametrize("show", ["x", "x0"])
def test_every_cell_is_there(source: str, show: str) -> None:
    page = Page(source)
    width, height = page.about["cell"]
    assert page.about["steps"] == list(STEPS)
    assert page.about["levels"] == list(LEVELS)
    sprite = page.image(f"cells-{show}")
    assert sprite.size == (width * len(LEVELS), height * len(STEPS))
    pixels = np.asarray(sprite.convert("RGB"))
    for i, step in enumerate(STEPS):
        for j, frame in enumerate(tape(step).frames):
            expected = np.asarray(grid_image(frame.view(show)))
            np.testing.assert_array_equal(
                pixels[i * height : (i + 1) * height, j * width : (j + 1) * width],
                expected,
                f"step {step}, t {frame.t}",
            )


def test_it_says_what_the_run_is(run: Run, source: str) -> None:
    page = Page(source)
    text = "".join(part for tag, parts in page.texts.items() if tag not in ("script", "style") for part in parts)
    for words in (
        "漢字 <Kana> & 'quotes'",
        "000, ",
        "laptop edition, changed: batch 32",
        "Differs from print",
        "CPU, fp32; because <of> that",
        "Learning rate: 0.001 → 0.0005",
        "finished after 12 s",
        "300 of",
        "0.0033 on trained items",
        "Where the document misleads",
    ):
        assert words in text
    toml = "".join(page.texts["pre"])
    assert toml.strip() == dumps(run.recipe()).strip()


def test_it_shows_how_low_the_loss_can_be(tmp_path: Path) -> None:
    page = report(make_run(tmp_path / "points", "points"))
    text = "".join(part for parts in Page(page).texts.values() for part in parts)
    assert "the lowest expected is 0.0001" in text
    assert "lowest expected" in "".join(Page(page).texts["text"])


def test_large_records_are_thinned_from_the_middle(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", channels=3, steps=tuple(range(0, 400, 10)))
    with run.record() as record:
        from ddpm_studio.export.clocks import Clocks

        cells = cells_of(Clocks(record))
    assert len(cells.steps) == ROWS
    assert len(cells.levels) <= COLUMNS
    assert (cells.steps[0], cells.steps[-1]) == (0, 390)
    assert cells.size[0] * cells.size[1] * 3 < 3 * CELL_BYTES


def test_columns_of_a_process_that_stays_at_a_level_are_its_moments(tmp_path: Path) -> None:
    run = Run.create(built_in()["scratch5-mnist-laptop"], tmp_path / "run")
    with run.record(write=True) as record:
        for step in (1, 2):
            record.add_tape(tape(step, levels=(400,) * 5), "preview")
        cells = cells_of(Clocks(record))
    assert cells.levels == [400] * 5
    width, height = cells.size
    for i, step in enumerate((1, 2)):
        for j, frame in enumerate(tape(step, levels=(400,) * 5).frames):
            drawn = cells.sprites["x"].crop((j * width, i * height, (j + 1) * width, (i + 1) * height))
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(grid_image(frame.x)))


def test_data_lie_behind_the_points_of_all_cells(tmp_path: Path) -> None:
    run = make_run(tmp_path / "points", "points")
    data = np.full((30, 2), [1.5, -1.5], np.float32)
    bare, full = Page(report(run)), Page(report(run, plane=Plane(data)))
    for name in ("cells-x", "cells-x0"):
        darker = np.asarray(full.image(name).convert("L")).astype(int) - np.asarray(bare.image(name).convert("L"))
        rows, columns = len(bare.about["steps"]), len(bare.about["levels"])
        each = darker.reshape(rows, 64, columns, 64).min(axis=(1, 3))
        assert (each < -20).all(), "in every cell"
        assert darker.max() <= 2, "but for what making them smaller does"


def test_points_and_runs_without_pictures(tmp_path: Path) -> None:
    page = Page(report(make_run(tmp_path / "points", "points")))
    assert page.about["cell"] == [64, 64]
    assert np.asarray(page.image("cells-x")).max() > 200
    frames = [frame for step in STEPS for frame in tape(step, "points").frames]
    for show in ("x", "x0"):
        points = np.concatenate([frame.view(show) for frame in frames])
        places = np.frombuffer(base64.b64decode(page.about["plane"][show]), "<u2").reshape(-1, 2)  # type: ignore[call-overload]
        seen = (np.abs(points) < POINT_RANGE).all(axis=1)
        assert (places[~seen] == NOWHERE).all()
        np.testing.assert_allclose(
            places[seen] / (NOWHERE - 1) * 2 * POINT_RANGE - POINT_RANGE, points[seen], atol=1e-4
        )
    page = Page(report(make_run(tmp_path / "none", steps=())))
    assert any("no pictures yet" in text for text in page.texts["p"])
    assert "script" not in page.texts


@pytest.mark.parametrize("name", built_in())
def test_every_recipe_can_be_told(name: str, tmp_path: Path) -> None:
    recipe: Recipe = built_in()[name]
    page = Page(report(Run.create(recipe, tmp_path / "run")))
    assert "".join(page.texts["h1"]) == recipe.title


# -- in a browser ----------------------------------------------------------------------------------------------

SCRIPT = """
<script>
const get = (id) => document.getElementById(id), seen = [];
const where = () => get("said-step").textContent + ", " + get("said-t").textContent;
const pixel = () => Array.from(get("view").getContext("2d").getImageData(2, 2, 1, 1).data).slice(0, 3).join(" ");
const note = (what) => seen.push([what, where(), pixel(), get("mark").style.left, get("mark").style.top]);
const slide = (id, value) => { get(id).value = value; get(id).dispatchEvent(new Event("input")); };
const press = (key, on) => on.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
addEventListener("load", () => {
  note("begin");
  slide("clock-t", 2); note("slide t");
  slide("clock-step", 1); note("slide step");
  press("ArrowRight", document.body); note("right");
  press("ArrowUp", get("map")); note("up");
  press("ArrowDown", get("clock-t")); note("down");
  press("Home", get("map")); note("home");
  document.querySelector("input[value=x0]").click(); slide("clock-t", 3); note("x0");
  const box = get("map").getBoundingClientRect();
  get("map").setPointerCapture = () => {};
  get("map").dispatchEvent(new PointerEvent("pointerdown",
    { clientX: box.right - 2, clientY: box.top + 2, bubbles: true, pointerId: 1 }));
  note("map");
  document.querySelector("input[value=x]").click();
  get("speed").value = "25"; get("speed").dispatchEvent(new Event("change"));
  get("play-step").click();
  setTimeout(() => {
    note("played step");
    get("play-both").click();
    setTimeout(() => {
      note("played both");
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const paper = getComputedStyle(document.body).backgroundColor;
      const out = document.createElement("output");
      out.id = "seen";
      out.textContent = JSON.stringify({ seen, dark, paper });
      document.body.append(out);
    }, 4000);
  }, 2000);
});
addEventListener("error", (event) => { document.title = "ERROR " + event.message; });
</script>
</body>"""


def browse(source: str, folder: Path, *options: str) -> str:
    """The page's document after its script has run."""
    file = folder / "page.html"
    file.write_text(source, encoding="utf-8")
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize("dark", [False, True])
def test_the_two_clocks_in_a_browser(source: str, tmp_path: Path, dark: bool) -> None:
    options = ["--blink-settings=preferredColorScheme=0"] if dark else []
    document = browse(source.replace("</body>", SCRIPT), tmp_path, *options)
    assert "<title>ERROR" not in document
    found = re.search(r'<output id="seen">(.*?)</output>', document)
    assert found is not None, "the script has not come to its end"
    result = json.loads(found[1])
    assert result["dark"] == dark
    assert result["paper"] == ("rgb(22, 24, 28)" if dark else "rgb(255, 255, 255)")

    def cell(row: int, column: int, show: str = "x") -> list[object]:
        """What is seen with the clocks at a cell."""
        frame = tape(STEPS[row]).frames[column]
        value = int(frame.view(show)[0, 0, 0, 0])
        where = f"step {STEPS[row]}, t = {frame.t}"
        return [where, f"{value} {value} {value}", column / len(LEVELS), row / len(STEPS)]

    expected = {
        "begin": cell(4, 6),
        "slide t": cell(4, 2),
        "slide step": cell(1, 2),
        "right": cell(1, 3),
        "up": cell(0, 3),
        "down": cell(1, 3),
        "home": cell(1, 0),
        "x0": cell(1, 3, "x0"),
        "map": cell(0, 6, "x0"),
        "played step": cell(4, 6),
        "played both": cell(4, 6),
    }
    assert SIDE < 16, "a cell shows its pictures pixel for pixel, the first behind a gap of two"
    for what, where, pixel, left, top in result["seen"]:
        assert [where, pixel] == expected[what][:2], what
        assert float(left.rstrip("%")) == pytest.approx(100 * expected[what][2], abs=0.01)  # type: ignore[operator]
        assert float(top.rstrip("%")) == pytest.approx(100 * expected[what][3], abs=0.01)  # type: ignore[operator]
    assert [what for what, *_ in result["seen"]] == list(expected)


MEASURE = """
<script>
addEventListener("load", () => {
  const get = (id) => document.getElementById(id), ids = ["view", "clock-t", "clock-step", "map"];
  const boxes = ids.map((id) => get(id).getBoundingClientRect());
  const spread = (some) => Math.max(...some.map((b) => b.bottom)) - Math.min(...some.map((b) => b.top));
  parent.postMessage({ room: innerHeight, wide: document.documentElement.scrollWidth - innerWidth,
    all: spread(boxes), first: Math.max(...boxes.slice(0, 3).map((b) => b.bottom)),
    shapes: [0, 3].map((i) => boxes[i].width / boxes[i].height),
    sharp: get("view").width / get("view").clientWidth,
    white: get("view").getContext("2d").getImageData(0, 0, 1, 1).data[0] }, "*");
});
</script>
</body>"""


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium here")
@pytest.mark.parametrize("size", [(1200, 900), (390, 844)])
@pytest.mark.parametrize("kind", ["pictures", "points"])
def test_picture_clocks_and_map_are_seen_together(
    kind: Literal["pictures", "points"], size: tuple[int, int], tmp_path: Path
) -> None:
    """However many rows there are; in a frame, because a window of Chromium has 500 px at least."""
    page = report(make_run(tmp_path / "run", kind, steps=tuple(range(0, 240, 10))))
    about = Page(page).about
    (tmp_path / "report.html").write_text(page.replace("</body>", MEASURE), encoding="utf-8")
    document = browse(
        f'<iframe src="report.html" width="{size[0]}" height="{size[1]}" style="border: 0"></iframe>\n'
        "<script>addEventListener('message', (event) => document.body.append(JSON.stringify(event.data)));</script>",
        tmp_path,
        "--window-size=1300,1000",
        "--force-device-scale-factor=2",
    )
    seen = json.loads(document[document.index('{"room"') : document.index("</body>")])
    assert seen["room"] == size[1]
    assert seen["wide"] <= 0, "nothing beside the page"
    assert seen["all"] <= seen["room"], "also while one drags on the map"
    assert seen["first"] <= seen["room"], "without scrolling"
    width, height = about["cell"]
    rows, columns = len(about["steps"]), len(about["levels"])
    assert seen["shapes"] == pytest.approx([width / height, columns * width / (rows * height)], rel=0.02)
    if kind == "points":
        assert seen["sharp"] == pytest.approx(2, rel=0.01), "a pixel for each of the screen's"
        assert seen["white"] == 255
