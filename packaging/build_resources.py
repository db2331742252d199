"""Rebuild everything in resources/data, resources/fonts and resources/icons from public packages.

    python packaging/build_resources.py              # all three
    python packaging/build_resources.py fonts icons  # some

Needs apt-get and dpkg-deb (Debian), node and npm, pip, and in this Python: numpy, PySide6, fonttools, brotli.
The same packages give the same items in the same order.
``resources/icons/app.svg`` is drawn by hand and is an input here.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

ROOT = Path(__file__).resolve().parent.parent
RESOURCES = ROOT / "resources"

FASHION_COUNT = 10_000
FASHION_SHA256 = {
    "train-images-idx3-ubyte.gz": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte.gz": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
FACES_COUNT = 6_000
FACE_SIDE = 32
NPM = {
    "data": ("@dicebear/core@9.4.3", "@dicebear/pixel-art@9.4.3"),
    "fonts": ("inter-ui@4.1.1",),
    "icons": ("lucide-static@1.62.0",),
}
DINO_PACKAGE = "data-morph-ai==0.4.1"
FONT_WEIGHTS = ("Regular", "Medium", "SemiBold")
# fmt: off
ICONS = (
    "activity", "camera", "chart-line", "check", "chevron-down", "chevron-left", "chevron-right",
    "chevron-up", "circle-alert", "circle-help", "copy", "cpu", "database", "dice-5", "download",
    "file-text", "flag", "folder-open", "gauge", "git-fork", "image", "images", "info", "layers",
    "list", "lock", "lock-open", "maximize", "minus", "moon", "pause", "pen", "play", "plus", "redo-2",
    "repeat", "rotate-ccw", "save", "search", "settings-2", "shuffle", "skip-back", "skip-forward",
    "sliders-horizontal", "sparkles", "square", "step-back", "step-forward", "sun", "trash-2",
    "triangle-alert", "undo-2", "x",
)
# fmt: on


class BuildError(Exception):
    """One sentence: what is missing or wrong, and what to do."""


def run(*command: str, cwd: Path) -> str:
    """Run a tool and return what it printed; a missing or failing tool becomes one sentence."""
    if shutil.which(command[0]) is None:
        raise BuildError(f"'{command[0]}' was not found: install it and run this script again.")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise BuildError(f"'{' '.join(command[:4])}' failed with status {done.returncode}: {reason}")
    return done.stdout


def say(path: Path, what: str) -> None:
    print(f"{path.relative_to(ROOT)}: {what}, {path.stat().st_size:,} bytes")


def npm_install(room: str, work: Path) -> Path:
    """The node_modules folder with this room's packages, at the versions above."""
    (work / "package.json").write_text('{"private": true}', encoding="utf-8")
    run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *NPM[room], cwd=work)
    return work / "node_modules"


# --- data -----------------------------------------------------------------------------------------------------------


def build_data(work: Path) -> None:
    folder = RESOURCES / "data"
    build_fashion_mnist(folder, work)
    build_pixel_faces(folder, work)
    build_dino(folder, work)


def build_fashion_mnist(folder: Path, work: Path) -> None:
    """The first pictures of the training file; the test file stays out, for whoever wants to be judged by it."""
    # apt drops its rights to the user _apt while it downloads, and warns when that user cannot write here.
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", "dataset-fashion-mnist", cwd=work)
    package = next(work.glob("dataset-fashion-mnist_*.deb"))
    run("dpkg-deb", "-x", package.name, "fashion", cwd=work)
    source = work / "fashion/usr/share/datasets/fashion-mnist"
    raw = {}
    for name, expected in FASHION_SHA256.items():
        raw[name] = gzip.decompress((source / name).read_bytes())
        if hashlib.sha256(raw[name]).hexdigest() != expected:
            raise BuildError(f"{name} in {package.name} is not the file this script knows: check the new version.")
    images = np.frombuffer(raw["train-images-idx3-ubyte.gz"], np.uint8, offset=16).reshape(-1, 28, 28)
    labels = np.frombuffer(raw["train-labels-idx1-ubyte.gz"], np.uint8, offset=8)
    target = folder / "fashion-mnist.npz"
    np.savez_compressed(target, images=images[:FASHION_COUNT], labels=labels[:FASHION_COUNT])
    notice = (work / "fashion/usr/share/doc/dataset-fashion-mnist/copyright").read_text(encoding="utf-8")
    (folder / "LICENSE-fashion-mnist.txt").write_text(notice, encoding="utf-8")
    say(target, f"{FASHION_COUNT:,} pictures of {package.name}")


def build_pixel_faces(folder: Path, work: Path) -> None:
    """Distinct generated faces, seeds in order, until there are enough."""
    modules = npm_install("data", work)
    shutil.copy(ROOT / "packaging/pixel_faces.mjs", work)
    # A few seeds give the same face: ask for some more than are kept.
    lines = run("node", "pixel_faces.mjs", str(FACES_COUNT + FACES_COUNT // 20), cwd=work).splitlines()
    faces: dict[bytes, None] = {}
    for picture in rasterise(lines):
        faces.setdefault(picture.tobytes())
        if len(faces) == FACES_COUNT:
            break
    else:
        raise BuildError(f"only {len(faces)} of {FACES_COUNT} faces differ: ask for more seeds.")
    images = np.frombuffer(b"".join(faces), np.uint8).reshape(-1, FACE_SIDE, FACE_SIDE, 3)
    target = folder / "pixel-faces.npz"
    np.savez_compressed(target, images=images)
    licence = (modules / "@dicebear/pixel-art/LICENSE").read_text(encoding="utf-8")
    (folder / "LICENSE-pixel-faces.txt").write_text(licence, encoding="utf-8")
    say(target, f"{len(images):,} pictures of {NPM['data'][1]}")


def rasterise(svgs: list[str]) -> Iterator[np.ndarray]:
    """SVG texts to uint8 (FACE_SIDE, FACE_SIDE, 3): the 16x16 drawing falls on whole pixels, so nothing is blurred."""
    QtGui, QtSvg = qt()
    for svg in svgs:
        renderer = QtSvg.QSvgRenderer(svg.encode())
        image = QtGui.QImage(FACE_SIDE, FACE_SIDE, QtGui.QImage.Format.Format_ARGB32_Premultiplied)
        image.fill(0)
        painter = QtGui.QPainter(image)
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing, False)
        renderer.render(painter)
        painter.end()
        rgb = image.convertToFormat(QtGui.QImage.Format.Format_RGB888)
        rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(FACE_SIDE, rgb.bytesPerLine())
        yield rows[:, : FACE_SIDE * 3].reshape(FACE_SIDE, FACE_SIDE, 3).copy()


def build_dino(folder: Path, work: Path) -> None:
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", DINO_PACKAGE, cwd=work)
    wheel = next(work.glob("data_morph_ai-*.whl"))
    target = folder / "dino.csv"
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read("data_morph/data/starter_shapes/dino.csv").decode()
        licence = next(name for name in archive.namelist() if name.endswith("licenses/LICENSE"))
        (folder / "LICENSE-dino.txt").write_bytes(archive.read(licence))
    lines = text.split()
    target.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    say(target, f"{len(lines) - 1} points of {DINO_PACKAGE}")


# --- fonts ----------------------------------------------------------------------------------------------------------


def build_fonts(work: Path) -> None:
    try:
        import brotli  # noqa: F401  (fontTools needs it to open WOFF2)
        from fontTools.ttLib import TTFont
    except ImportError as error:
        raise BuildError(f"Python has no '{error.name}': run 'pip install fonttools brotli'.") from error
    source = npm_install("fonts", work) / "inter-ui"
    folder = RESOURCES / "fonts"
    for weight in FONT_WEIGHTS:
        # recalcTimestamp would write today's date into the font: the bytes must not depend on the day.
        font = TTFont(io.BytesIO((source / f"web/Inter-{weight}.woff2").read_bytes()), recalcTimestamp=False)
        font.flavor = None
        place_marks_on_greek(font)
        target = folder / f"Inter-{weight}.ttf"
        font.save(target)
        say(target, f"{len(font.getGlyphOrder()):,} glyphs of {NPM['fonts'][0]}")
    shutil.copyfile(source / "LICENSE.txt", folder / "OFL.txt")


def place_marks_on_greek(font: TTFont) -> None:
    """Let hats and bars sit on Greek letters, as in ε̂ and σ̄.

    Inter has the anchors, but names its mark features for Latin only, so shapers put the hat beside the letter.
    """
    table = font["GPOS"].table
    records = table.FeatureList.FeatureRecord
    marks = [i for i, record in enumerate(records) if record.FeatureTag in ("mark", "mkmk")]
    for script in table.ScriptList.ScriptRecord:
        if script.ScriptTag in ("grek", "cyrl"):
            language = script.Script.DefaultLangSys
            language.FeatureIndex = sorted({*language.FeatureIndex, *marks})
            language.FeatureCount = len(language.FeatureIndex)


# --- icons ----------------------------------------------------------------------------------------------------------


def build_icons(work: Path) -> None:
    source = npm_install("icons", work) / "lucide-static"
    folder = RESOURCES / "icons"
    for old in folder.glob("*.svg"):
        if old.name != "app.svg":
            old.unlink()
    for name in ICONS:
        file = source / f"icons/{name}.svg"
        if not file.is_file():
            raise BuildError(f"{NPM['icons'][0]} has no icon '{name}': look up its new name.")
        shutil.copyfile(file, folder / file.name)
    shutil.copyfile(source / "LICENSE", folder / "LICENSE-lucide.txt")
    print(f"{folder.relative_to(ROOT)}: {len(ICONS)} icons of {NPM['icons'][0]}")

    QtGui, QtSvg = qt()
    image = QtGui.QImage(256, 256, QtGui.QImage.Format.Format_ARGB32)
    image.fill(0)
    painter = QtGui.QPainter(image)
    painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
    QtSvg.QSvgRenderer(str(folder / "app.svg")).render(painter)
    painter.end()
    target = folder / "app.png"
    image.save(str(target))
    say(target, "256x256, drawn from app.svg")


def qt() -> tuple[ModuleType, ModuleType]:
    """QtGui and QtSvg, imported late: fonts need no Qt."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    try:
        from PySide6 import QtGui, QtSvg
    except ImportError as error:
        raise BuildError(f"Python has no '{error.name}': run 'pip install PySide6-Essentials'.") from error
    return QtGui, QtSvg


ROOMS = {"data": build_data, "fonts": build_fonts, "icons": build_icons}


def main() -> int:
    parser = argparse.ArgumentParser(description="Rebuild resources/ from public packages.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"{', '.join(ROOMS)}; all when none is named")
    rooms = parser.parse_args().rooms or list(ROOMS)
    if unknown := [room for room in rooms if room not in ROOMS]:
        parser.error(f"no room is called {unknown[0]!r}: choose from {', '.join(ROOMS)}")
    try:
        for room in rooms:
            (RESOURCES / room).mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f"ddpm-studio-{room}-") as work:
                ROOMS[room](Path(work))
    except BuildError as error:
        print(f"build_resources: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
