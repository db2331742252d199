"""Colours, font and icons: one palette for light and one for dark, used by widgets and plots alike.

Chrome takes its colours from QPalette roles; plots and the painted widgets take the named colours below.
No colour is written anywhere else in the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt, Signal, Slot
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontDatabase,
    QIcon,
    QPainter,
    QPalette,
    QPixmap,
    QPixmapCache,
)
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QApplication

from ddpm_studio.paths import resource

GRID = 8  # px: every distance is a multiple of half of it
MARGIN = 12  # px
CONTROL_HEIGHT = 32  # px


@dataclass(frozen=True)
class Colors:
    """The named colours of one scheme. ``accent`` means "now" and "yours", ``changed`` means changed."""

    dark: bool
    window: str  # behind everything
    panel: str  # side panels, cards
    raised: str  # controls
    hairline: str
    text: str
    muted: str  # secondary text
    faint: str  # grid, disabled
    accent: str
    on_accent: str  # text on accent
    changed: str
    good: str
    bad: str
    stage: str  # behind the pictures
    batch: str  # thin batch loss

    def series(self) -> tuple[str, ...]:
        """Colour-blind-safe line colours, in order."""
        return (self.accent, self.changed, self.good, self.bad, self.muted)


DARK = Colors(
    dark=True,
    window="#14171e",
    panel="#1b1e26",
    raised="#242831",
    hairline="#343944",
    text="#eceef2",
    muted="#9aa1ad",
    faint="#5f6672",
    accent="#4c9eff",
    on_accent="#08111d",
    changed="#ffa94d",
    good="#41c48b",
    bad="#ff7b72",
    stage="#101217",
    batch="#8d95a3",
)
LIGHT = Colors(
    dark=False,
    window="#eef0f4",
    panel="#ffffff",
    raised="#f3f4f6",
    hairline="#d5d9e0",
    text="#171a20",
    muted="#5b6470",
    faint="#a4abb6",
    accent="#1668d4",
    on_accent="#ffffff",
    changed="#b75c00",
    good="#13804f",
    bad="#c02a22",
    stage="#e2e5ea",
    batch="#79818d",
)


class Theme(QObject):
    """The scheme in force. ``changed`` comes first; widgets have their new palettes one turn of the loop later."""

    changed = Signal()

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self.colors = LIGHT
        app.setStyle("Fusion")  # native styles break once a palette is set
        _load_fonts(app)
        app.styleHints().colorSchemeChanged.connect(self._on_scheme)
        self._apply()

    def prefer(self, scheme: str) -> None:
        """ "system", "light" or "dark"."""
        wanted = {
            "light": Qt.ColorScheme.Light,
            "dark": Qt.ColorScheme.Dark,
            "system": Qt.ColorScheme.Unknown,
        }[scheme]
        self._app.styleHints().setColorScheme(wanted)
        self._apply(dark=None if scheme == "system" else scheme == "dark")

    @Slot()
    def _on_scheme(self) -> None:
        self._apply()

    def _apply(self, dark: bool | None = None) -> None:
        if dark is None:
            dark = self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        self.colors = DARK if dark else LIGHT
        QPixmapCache.clear()
        icon.cache_clear()
        self._app.setPalette(_palette(self.colors))
        self.changed.emit()


_theme: list[Theme] = []


def install(app: QApplication) -> Theme:
    """Make the application's theme; once per process."""
    if not _theme or _theme[0].parent() is not app:
        _theme[:] = [Theme(app)]
    return _theme[0]


def theme() -> Theme:
    """The theme of the running application."""
    if not _theme:
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        install(app)
    return _theme[0]


def colors() -> Colors:
    """The colours in force now; ask again after ``theme().changed``."""
    return theme().colors


def color(name: str, opacity: float = 1.0) -> QColor:
    """One named colour as a QColor."""
    value = QColor(getattr(colors(), name))
    value.setAlphaF(opacity)
    return value


@lru_cache(maxsize=256)
def icon(name: str, role: str = "text") -> QIcon:
    """A Lucide icon drawn in one of the named colours, with a faint variant for disabled controls."""
    svg = resource("icons", f"{name}.svg").read_text(encoding="utf-8")
    made = QIcon()
    for mode, drawn_in in ((QIcon.Mode.Normal, role), (QIcon.Mode.Disabled, "faint")):
        renderer = QSvgRenderer(QByteArray(svg.replace("currentColor", getattr(colors(), drawn_in)).encode()))
        for size in (16, 20, 24, 32, 48):
            made.addPixmap(_draw(renderer, size), mode)
    return made


def _draw(renderer: QSvgRenderer, size: int) -> QPixmap:
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    renderer.render(painter, QRectF(0, 0, size, size))
    painter.end()
    return pixmap


def tabular(widget_font: QFont, scale: float = 1.0, weight: QFont.Weight | None = None) -> QFont:
    """The font with digits of one width, so that nothing jumps when a number changes."""
    font = QFont(widget_font)
    font.setFeature(QFont.Tag("tnum"), 1)
    if scale != 1.0:
        font.setPointSizeF(font.pointSizeF() * scale)
    if weight is not None:
        font.setWeight(weight)
    return font


def _load_fonts(app: QApplication) -> None:
    for file in sorted(resource("fonts").glob("*.[to]tf")):
        QFontDatabase.addApplicationFont(str(file))
    if "Inter" in QFontDatabase.families():
        font = QFont("Inter")
        font.setPointSizeF(10.0)
        app.setFont(font)


def _palette(c: Colors) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for which, value in {
        role.Window: c.panel,
        role.WindowText: c.text,
        role.Base: c.raised,
        role.AlternateBase: c.panel,
        role.Text: c.text,
        role.Button: c.raised,
        role.ButtonText: c.text,
        role.BrightText: c.bad,
        role.PlaceholderText: c.muted,
        role.Highlight: c.accent,
        role.HighlightedText: c.on_accent,
        role.ToolTipBase: c.raised,
        role.ToolTipText: c.text,
        role.Link: c.accent,
        role.Accent: c.accent,
        role.Light: c.hairline,
        role.Midlight: c.hairline,
        role.Mid: c.hairline,
        role.Dark: c.hairline,
        role.Shadow: c.window,
    }.items():
        palette.setColor(which, QColor(value))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(c.faint))
    return palette
