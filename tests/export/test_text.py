"""Captions: Inter where it can, a font of the system where it must, and never a box."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from ddpm_studio.export import text
from ddpm_studio.paths import resource

INTER = str(resource("fonts", "Inter-Regular.ttf"))


@pytest.fixture
def only_inter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(text, "_files", lambda: (INTER,))
    text._file_for.cache_clear()
    yield
    text._file_for.cache_clear()


def drawn(words: str, **options: str) -> np.ndarray:
    image = Image.new("RGB", (200, 30), "black")
    text.draw_text(image, (10, 20), words, 15, "white", **options)  # type: ignore[arg-type]
    return np.asarray(image)[..., 0]


@pytest.mark.usefixtures("only_inter")
def test_what_no_font_has_is_left_out() -> None:
    np.testing.assert_array_equal(drawn("step 漢字 1"), drawn("step  1"))
    assert text.text_width("漢字", 15) == 0
    assert not drawn("漢字").any()


def test_papers_symbols_are_there() -> None:
    for character in "ε α σ x̂ → … · × ≤ ᾱ t".replace(" ", ""):
        assert drawn(character).any(), character
    assert text.text_width("1,234", 15) > 20


def test_a_font_of_the_system_helps() -> None:
    if len(text._files()) == 1:
        pytest.skip("there is no font but Inter")
    helped = next((c for c in "漢あ한" if text._file_for(c) not in (None, INTER)), None)
    if helped is None:
        pytest.skip("no font here has Chinese, Japanese or Korean")
    assert text.text_width(f"a{helped}b", 15) >= text.text_width("ab", 15) + 10
    assert drawn(helped).any()


def test_anchors() -> None:
    where = {a: np.flatnonzero(drawn("mmm", anchor=a).any(axis=0)) for a in ("left", "middle", "right")}
    assert where["left"].min() >= 10
    assert where["right"].max() <= 10
    assert abs(where["middle"].max() - (where["left"].max() - text.text_width("mmm", 15) / 2)) <= 1


def test_what_does_not_fit_ends_in_dots() -> None:
    assert text.fitting("short", 15, 100) == "short"
    cut = text.fitting("a long line of many words", 15, 80)
    assert cut.endswith("…")
    assert text.text_width(cut, 15) <= 80
