"""Text on exported pictures: Inter, and the system's own fonts for what Inter lacks (Chinese, say). Pillow only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from PIL import Image, ImageDraw, ImageFont

from ddpm_studio.paths import resource

Font = ImageFont.FreeTypeFont
Fill = str | tuple[int, int, int]

# By file name, as Pillow looks for them in the system's font folders; the first that is there is enough for most.
_SYSTEM = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "msyh.ttc",
    "YuGothR.ttc",
    "malgun.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "Arial Unicode.ttf",
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
)


@lru_cache(maxsize=1)
def _files() -> tuple[str, ...]:
    """Inter, and where the system's fonts lie."""
    found = [str(resource("fonts", "Inter-Regular.ttf"))]
    for name in _SYSTEM:
        try:
            found.append(str(ImageFont.truetype(name).path))
        except OSError:
            continue
    return tuple(found)


@lru_cache(maxsize=64)
def _font(file: str, size: int) -> Font:
    return ImageFont.truetype(file, size)


@lru_cache(maxsize=4096)
def _file_for(character: str) -> str | None:
    """The first font that has a glyph for a character; None if no font has."""
    if character.isspace():
        return _files()[0]
    for file in _files():
        font = _font(file, 16)
        drawn, missing = font.getmask(character), font.getmask("\U0010fffe")
        if drawn.size != missing.size or bytes(drawn) != bytes(missing):
            return file
    return None


def _runs(text: str, size: int) -> Iterator[tuple[str, Font]]:
    """Pieces of a text, each with a font that can draw it; what none can draw is left out rather than boxed."""
    for file, characters in groupby(text, _file_for):
        if file is not None:
            yield "".join(characters), _font(file, size)


def text_width(text: str, size: int) -> int:
    """px."""
    return round(sum(font.getlength(piece) for piece, font in _runs(text, size)))


def draw_text(
    image: Image.Image, xy: tuple[float, float], text: str, size: int, fill: Fill, *, anchor: str = "left"
) -> None:
    """One line whose baseline begins at ``xy`` ("left"), is centred there ("middle") or ends there ("right")."""
    x = xy[0] - text_width(text, size) * {"left": 0.0, "middle": 0.5, "right": 1.0}[anchor]
    draw = ImageDraw.Draw(image)
    for piece, font in _runs(text, size):
        draw.text((x, xy[1]), piece, fill=fill, font=font, anchor="ls")
        x += font.getlength(piece)


def fitting(text: str, size: int, room: float) -> str:
    """The text, cut off with … where it is wider than ``room`` px."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + "…", size) > room:
        text = text[:-1]
    return text.rstrip() + "…"
