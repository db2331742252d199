"""What the network sees: a few training items, and the same items with noise, x_t = alpha_t x_0 + sigma_t eps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from ddpm_studio.app.canvas import PictureCanvas, PointCanvas
from ddpm_studio.app.frame_strip import LevelSlider
from ddpm_studio.app.levels import level_text, levels
from ddpm_studio.app.theme import GRID, MARGIN
from ddpm_studio.app.widgets import Caption, Heading, MathLabel, PanelScroll, Value, icon_button
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame

if TYPE_CHECKING:
    from ddpm_studio.data import Dataset

PICTURES = 16
POINTS = 1000
BEHIND = 2000  # data points drawn faintly


def as_seen(pictures: NDArray[np.uint8], value_range: str) -> NDArray[np.float32]:
    """The numbers the network gets for uint8 pictures: -1 … 1 or 0 … 1."""
    unit: NDArray[np.float32] = pictures.astype(np.float32) / np.float32(255)
    return unit if value_range == "0..1" else 2 * unit - 1


def as_shown(x: NDArray[Any], value_range: str) -> NDArray[np.uint8]:
    """The uint8 pictures for such numbers, clamped."""
    unit = x if value_range == "0..1" else (x + 1) / 2
    return np.round(np.clip(unit, 0, 1) * 255).astype(np.uint8)


class DataPanel(QWidget):
    """Training items as the network gets them, their facts, and a slider through the forward process."""

    level_changed = Signal(int)  # the person moved t

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("data_panel")
        self._dataset: Dataset | None = None
        self._schedule: NoiseSchedule | None = None
        self._value_range = "-1..1"
        self._seed = 0
        self._x0: NDArray[np.float32] | None = None
        self._eps: NDArray[np.float32] | None = None
        self.pictures = PictureCanvas()
        self.points = PointCanvas()
        for canvas in (self.pictures, self.points):
            canvas.set_hint(self.tr("Choose data: what the network will see appears here."))
        self.stage = QStackedWidget()
        self.stage.addWidget(self.pictures)
        self.stage.addWidget(self.points)
        self.stage.setMinimumHeight(200)
        self.stage.setMaximumHeight(304)  # about square
        self.slider = LevelSlider()
        self.slider.setToolTip(self.tr("Diffusion time t: add noise to the items above"))
        self.shuffle = icon_button("shuffle", self.tr("Other items, other noise"))
        self.shuffle.setObjectName("shuffle")
        self._lay_out()
        self.shuffle.clicked.connect(self._on_shuffle)
        self.slider.valueChanged.connect(self._on_slider)
        levels().changed.connect(self._show)
        self._choose()

    def _lay_out(self) -> None:
        title = QHBoxLayout()
        title.addWidget(Heading(self.tr("What the network sees")), 1)
        title.addWidget(self.shuffle)
        names = {
            "count": self.tr("Items"),
            "size": self.tr("Size"),
            "channels": self.tr("Channels"),
            "range": self.tr("Values"),
            "classes": self.tr("Classes"),
        }
        facts = QGridLayout()
        facts.setHorizontalSpacing(MARGIN)
        facts.setVerticalSpacing(GRID // 2)
        self._facts: dict[str, Value] = {}
        for row, (key, name) in enumerate(names.items()):
            self._facts[key] = value = Value("–")
            value.setObjectName(f"fact_{key}")
            value.setAccessibleName(name)
            facts.addWidget(Caption(name), row, 0)
            facts.addWidget(value, row, 1)
        self._level = Value(level_text(0), reserve="t = 8,888 (code)")
        self._level.setObjectName("forward_level")
        noise = QHBoxLayout()
        noise.addWidget(Heading(self.tr("Add noise")), 1)
        noise.addWidget(self._level)
        self.equation = MathLabel()
        self.equation.setObjectName("forward_equation")
        self.equation.setForegroundRole(QPalette.ColorRole.Link)
        self.equation.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.equation.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.snr = Caption()
        self.snr.setObjectName("forward_snr")
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(MARGIN, GRID, 0, MARGIN)
        column.setSpacing(GRID // 2)
        column.addLayout(title)
        column.addWidget(self.stage, 1)
        column.addSpacing(GRID // 2)
        column.addLayout(noise)
        column.addWidget(self.slider)
        column.addWidget(self.equation)
        column.addWidget(self.snr)
        column.addSpacing(GRID)
        column.addWidget(Heading(self.tr("Data")))
        column.addLayout(facts)
        column.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(PanelScroll(content))

    # -- what it is given

    def set_dataset(self, dataset: Dataset | None) -> None:
        self._dataset = dataset
        if dataset is not None and dataset.kind == "points":
            self.points.set_data(dataset.train[:BEHIND])
        self.stage.setCurrentWidget(self._canvas())
        self._tell_facts()
        self._choose()

    def set_schedule(self, schedule: NoiseSchedule) -> None:
        self._schedule = schedule
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, schedule.steps)
        self.slider.set_arrived(schedule.steps)
        self._show()

    def set_value_range(self, value_range: str) -> None:
        """ "-1..1" or "0..1": what the pictures are scaled to."""
        self._value_range = value_range
        self._tell_facts()
        self._choose()

    def set_level(self, t: int) -> None:
        """Move the slider, silently."""
        with QSignalBlocker(self.slider):
            self.slider.setValue(t)
        self._show()

    # -- what follows from it

    def _canvas(self) -> PictureCanvas | PointCanvas:
        points = self._dataset is not None and self._dataset.kind == "points"
        return self.points if points else self.pictures

    def _choose(self) -> None:
        """Draw items and their noise, the same for one seed."""
        self._x0 = self._eps = None
        dataset = self._dataset
        if dataset is not None and len(dataset.train):
            rng = np.random.default_rng(self._seed)
            most = POINTS if dataset.kind == "points" else PICTURES
            chosen = rng.choice(len(dataset.train), min(most, len(dataset.train)), replace=False)
            items = dataset.train[np.sort(chosen)]
            self._x0 = items.astype(np.float32) if dataset.kind == "points" else as_seen(items, self._value_range)
            self._eps = rng.standard_normal(self._x0.shape, dtype=np.float32)
        self._show()

    @Slot()
    def _show(self) -> None:
        t = self.slider.value()
        self.slider.setEnabled(self._x0 is not None and self._schedule is not None)
        self.shuffle.setEnabled(self._x0 is not None)
        frame = None
        if self._x0 is not None and self._eps is not None:
            x = self._x0
            if self._schedule is not None:
                x = self._schedule.add_noise(self._x0, t, self._eps)
            pictures = self._canvas() is self.pictures
            frame = Frame(0, t, as_shown(x, self._value_range) if pictures else x)
        self._canvas().set_frame(frame)
        self._tell_numbers(t)

    def _tell_numbers(self, t: int) -> None:
        level = level_text(t)
        self._level.set_text(level)
        self.slider.setAccessibleDescription(level)
        if self._schedule is None:
            self.equation.setText("x_t = α_t x_0 + σ_t ε")
            self.snr.setText(" ")
            return
        alpha, sigma, snr = self._schedule.alpha[t], self._schedule.sigma[t], self._schedule.snr[t]
        self.equation.setText(f"x_t = {alpha:.3f} x_0 + {abs(sigma):.3f} ε")  # sigma[0] may be -0.0
        self.equation.setAccessibleName(self.equation.text())
        said = self.tr("Signal to noise (SNR) {snr}").format(snr=f"{snr:.3g}" if np.isfinite(snr) else "∞")
        self.snr.setText(said)

    def _tell_facts(self) -> None:
        dataset = self._dataset
        said = dict.fromkeys(self._facts, "–")
        if dataset is not None:
            said["count"] = f"{len(dataset.train):,}"
            said["classes"] = f"{len(dataset.classes):,}" if dataset.classes else self.tr("none")
            if dataset.kind == "pictures":
                _, high, wide, channels = dataset.train.shape
                said["size"] = self.tr("{w} × {h} px").format(w=wide, h=high)
                said["channels"] = self.tr("1, grey") if channels == 1 else self.tr("3, colour")
                said["range"] = "0 … 1" if self._value_range == "0..1" else "-1 … 1"
            elif len(dataset.train):
                said["size"] = self.tr("2 coordinates")
                said["range"] = f"{dataset.train.min():.2g} … {dataset.train.max():.2g}"
        for key, text in said.items():
            self._facts[key].set_text(text)

    # -- what the person does

    @Slot()
    def _on_shuffle(self) -> None:
        self._seed += 1
        self._choose()

    @Slot(int)
    def _on_slider(self, t: int) -> None:
        self._show()
        self.level_changed.emit(t)
