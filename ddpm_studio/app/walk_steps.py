"""The six steps of the guided walk: a short text, an equation, and one live thing on one picture each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QFont, QPalette
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from ddpm_studio.app.labels import Caption, ElidedLabel, Heading
from ddpm_studio.app.levels import level_number, level_text
from ddpm_studio.app.painting import rich
from ddpm_studio.app.texts import in_sentence, say
from ddpm_studio.app.theme import GRID, tabular
from ddpm_studio.app.walk_math import (
    Chain,
    Float32,
    Float64,
    as_pixels,
    likeness,
    move_at,
    noise,
    time_code,
    unet_levels,
)
from ddpm_studio.app.walk_views import Curves, Line, NetworkShape, PictureRows, Tile, TimeCode
from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Tape
from ddpm_studio.recipes import Recipe, find, kind_title
from ddpm_studio.recipes.sections import DDPM, DDPMUNet, SimpleUnet

PAPER, NOTEBOOK = "ddpm-cifar10", "simple-unet-cars"  # the two recipes that the page points to
CODE_WIDTH = 128  # of the paper's time code
COLUMNS = 9  # of the schedules' picture strips
SCRIPT_SIZE = 11.5  # pt: Qt's own, two thirds of the font, would be too small to read
BINS = np.linspace(-3, 3, 49)
Label = TypeVar("Label", bound=QLabel)


@dataclass
class Scene:
    """What all steps look at: one picture, its noise, and the place ``t`` in the process."""

    recipe: Recipe  # one of the tutorial's
    schedule: NoiseSchedule
    x0: Float32  # (H, W, C), -1 … 1
    seed: int = 0
    t: int = 0
    tape: Tape | None = None  # of a run
    ran: Recipe | None = None  # what that run trains
    fits: bool = False  # whether that is the recipe shown
    recording: Tape | None = None  # ships with the program, of another recipe
    size: tuple[int, int] = (32, 32)  # (H, W) of the picture before it was made small, as the network gets it
    eps: Float32 = field(init=False)
    chain: Chain = field(init=False)

    def __post_init__(self) -> None:
        self.set_picture(self.x0, self.seed)

    def set_picture(self, x0: Float32, seed: int) -> None:
        self.x0, self.seed = x0, seed
        self.eps = noise(seed, 0, x0.shape)  # the chain's noises begin at 1
        self.chain = Chain(x0, self.schedule, seed)

    def set_schedule(self, schedule: NoiseSchedule) -> None:
        self.schedule, self.t = schedule, min(self.t, schedule.steps)
        self.chain = Chain(self.x0, schedule, self.seed)

    def judge_tape(self) -> None:
        """Compare recipes once, not at every t."""
        self.fits = self.ran is not None and _same(self.recipe, self.ran) and self.recipe.data == self.ran.data

    @property
    def alpha(self) -> float:
        """√ᾱ_t."""
        return float(self.schedule.alpha[self.t])

    @property
    def sigma(self) -> float:
        """√(1-ᾱ_t)."""
        return abs(float(self.schedule.sigma[self.t]))  # sigma[0] may be -0.0

    @property
    def beta(self) -> float:
        """β_t; 0 at t = 0."""
        return float(self.schedule.betas[self.t - 1]) if self.t else 0.0

    def noisy(self) -> Float32:
        """x_t at once, from x_0 and ε."""
        return self.schedule.add_noise(self.x0, self.t, self.eps)


class Step(QWidget):
    """One step. Text and notes may hold subscripts as ``x_t`` or ``x_{t-1}``."""

    backward = False  # whether Play runs towards t = 0
    walks_chain = False  # whether it shows x_t by single steps
    begins = 0.2  # share of T where it is first shown, unless the person has moved t

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.text = "", ""
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(GRID)

    def equation(self, scene: Scene) -> str:
        raise NotImplementedError

    def numbers(self, scene: Scene) -> str:
        """The same equation with the numbers of this t."""
        raise NotImplementedError

    def note(self, scene: Scene) -> str:
        """What is misprinted or easily misread on the tutorial's page."""
        raise NotImplementedError

    def prepare(self, scene: Scene) -> None:
        """Another recipe or picture; called before the step is next shown."""

    def refresh(self, scene: Scene) -> None:
        """Another t, or more frames of the tape."""
        raise NotImplementedError


class OneStep(Step):
    walks_chain = True
    begins = 0.0

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("Forward, one step")
        self.text = self.tr(
            "Diffusion breaks a picture in order to learn how to rebuild it. One step makes the picture a "
            "little fainter "
            "and adds a little noise, so little that you can hardly see it. Take a thousand, and only noise is left."
        )
        self.row = PictureRows(self.tr("One step of the chain"))
        self.trail = PictureRows(self.tr("The chain so far"), 60)
        self.column.addWidget(self.row, 3)
        self.column.addWidget(self.trail, 1)

    def equation(self, scene: Scene) -> str:
        return "q(x_t | x_{t-1}) = N( √(1−β_t) x_{t-1} ,  β_t I )"

    def numbers(self, scene: Scene) -> str:
        if not scene.t:
            return self.tr("x_0 is the picture itself. Press Play or →.")
        return f"x_t = {np.sqrt(1 - scene.beta):.5f} x_{{t-1}} + {np.sqrt(scene.beta):.4f} z"

    def note(self, scene: Scene) -> str:
        return self.tr(
            "Misprints on the page: q(x_{i:T} | x_o) is q(x_{1:T} | x_0), the product of all steps; and in "
            "both Gaussians "
            "the mean and the variance stand in one pair of braces instead of two."
        )

    def refresh(self, scene: Scene) -> None:
        chain = scene.chain
        fainter = added = None
        if chain.t:
            fainter = as_pixels(np.sqrt(1 - scene.schedule.betas[chain.t - 1]) * chain.before)
            added = as_pixels(np.sqrt(scene.schedule.betas[chain.t - 1]) * chain.added)
        reached = f"x_t , t = {level_number(chain.t)}" if chain.t else "x_t = x_0"
        self.row.set_rows(
            [
                Tile("x_0", as_pixels(scene.x0)),
                Tile("√(1−β_t) x_{t-1}", fainter, "…"),
                Tile("√β_t z", added, "+"),
                Tile(reached, as_pixels(chain.x), "=", marked=True),
            ]
        )
        trail = chain.trail(COLUMNS)
        self.trail.set_rows([Tile(level_number(t), None if x is None else as_pixels(x)) for t, x in trail])


class AtOnce(Step):
    walks_chain = True

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("Forward, at once")
        self.text = self.tr(
            "Many small Gaussian steps make one big one. So training can jump to any t: it mixes the picture with "
            "fresh noise in the right amounts. The two noisy pictures differ in every pixel, yet follow the same law."
        )
        self.row = PictureRows(self.tr("The picture, noise, their mixture, and the same t by single steps"))
        self.curves = Curves(self.tr("How often each pixel value occurs"), self.tr("pixel value"), 84)
        self.told = wrapped(Caption())
        self.column.addWidget(self.row, 3)
        self.column.addWidget(self.curves, 2)
        self.column.addWidget(self.told)

    def equation(self, scene: Scene) -> str:
        return "q(x_t | x_0) = N( √ᾱ_t x_0 ,  (1−ᾱ_t) I )"

    def numbers(self, scene: Scene) -> str:
        return f"x_t = {scene.alpha:.3f} x_0 + {scene.sigma:.3f} ε"

    def note(self, scene: Scene) -> str:
        return self.tr("Misprint on the page: √ᾱ in the mean lacks its t.")

    def refresh(self, scene: Scene) -> None:
        jumped, chained = scene.noisy(), scene.chain.x
        by_chain = self.tr("step by step")
        at_once = self.tr("at once")
        self.row.set_rows(
            [
                Tile(f"{scene.alpha:.2f} x_0", as_pixels(scene.alpha * scene.x0)),
                Tile(f"{scene.sigma:.2f} ε", as_pixels(scene.sigma * scene.eps), "+"),
                Tile("x_t " + at_once, as_pixels(jumped), "=", marked=True),
                Tile(by_chain, as_pixels(chained), "~"),
            ]
        )
        middles = (BINS[1:] + BINS[:-1]) / 2
        lines = [
            Line("accent", at_once, middles, _density(jumped), filled=True),
            Line("changed", by_chain, middles, _density(chained)),
            Line("muted", "N(0, 1)", middles, np.exp(-(middles**2) / 2) / np.sqrt(2 * np.pi), dashed=True),
        ]
        self.curves.set_lines(lines, (-3, 3), (0, 0.6))
        rest = [x - np.float32(scene.alpha) * scene.x0 for x in (jumped, chained)]
        said = self.tr("Noise in x_t, mean and std: at once {0}; by steps {1}; the formula says 0.00, {2}.")
        told = said.format(*(f"{_plain(float(x.mean()))}, {x.std():.2f}" for x in rest), f"{scene.sigma:.2f}")
        self.told.setText(rich(told, SCRIPT_SIZE) if scene.chain.t == scene.t else self.tr("Walking there…"))


class Scheduler(Step):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("The noise scheduler")
        self.text = self.tr(
            "The first ingredient says how much noise each step adds. Every step must be small, or it cannot "
            "be undone; "
            "all together must leave nothing of the picture, because sampling starts from pure noise."
        )
        self.left = Curves(self.tr("What is left of the picture, ᾱ_t"), "t", 84)
        self.right = Curves(self.tr("Noise added by each step, β_t"), "t", 84)
        self.rows = PictureRows(self.tr("The same picture under each schedule"), 110)
        plots = QHBoxLayout()
        plots.setSpacing(GRID)
        plots.addWidget(self.left)
        plots.addWidget(self.right)
        self.column.addLayout(plots, 2)
        self.column.addWidget(self.rows, 3)
        self._schedules: list[tuple[str, NoiseSchedule]] = []

    def equation(self, scene: Scene) -> str:
        return "ᾱ_t = (1−β_1) (1−β_2) ⋯ (1−β_t)"

    def numbers(self, scene: Scene) -> str:
        left = in_sentence(scene.schedule.alpha_bar[scene.t], 4)
        return f"{level_text(scene.t)}:  β_t = {in_sentence(scene.beta, 4)} ,  ᾱ_t = {left}"

    def note(self, scene: Scene) -> str:
        left, most = float(scene.schedule.alpha_bar[-1]), float(scene.schedule.betas.max())
        said = self.tr(
            "The page says that β near 1 gives pure noise: true of one step. For the chain it is ᾱ_T that must "
            "be near 0. "
        )
        if left > 0.01:
            return said + self.tr("Here it is {0}: some of the picture is left.").format(in_sentence(left))
        if most < 0.5:
            said += self.tr("Here it is {0}, though no single β_t is above {1}.")
        else:
            said += self.tr("Here it is {0}.")
        return said.format(in_sentence(left) if left > 1e-6 else self.tr("as good as 0"), in_sentence(most))

    def prepare(self, scene: Scene) -> None:
        steps = scene.schedule.steps
        known = {"linear": NoiseSchedule.linear(steps), "cosine": NoiseSchedule.cosine(steps)}
        own = {name: np.allclose(schedule.alpha, scene.schedule.alpha, atol=1e-9) for name, schedule in known.items()}
        paper = scene.recipe.schedule == find(PAPER).schedule
        mine = self.tr("{0} (the paper)") if paper else self.tr("{0} (this recipe)")
        self._schedules = [] if any(own.values()) else [(self.tr("this recipe"), scene.schedule)]
        self._schedules += [(mine.format(name) if own[name] else name, known[name]) for name in known]
        t = np.arange(steps + 1, dtype=np.float64)
        roles = ("accent", "changed", "good")
        named = [(role, *entry) for role, entry in zip(roles, self._schedules, strict=False)]
        lines = [Line(role, f"ᾱ_t {name}", t, schedule.alpha_bar) for role, name, schedule in named]
        self.left.set_lines(lines, (0, steps), (0, 1))
        lines = [Line(role, f"β_t {name}", t[1:], schedule.betas) for role, name, schedule in named]
        # The cosine's last β is nearly 1; the rest would lie flat below it.
        top = max(0.02, float(np.quantile(scene.schedule.betas, 0.98)) * 1.2)
        self.right.set_lines(lines, (0, steps), (0, float(f"{top * 1.5:.1g}")))

    def refresh(self, scene: Scene) -> None:
        self.left.set_at(scene.t)
        self.right.set_at(scene.t)
        steps = scene.schedule.steps
        shown = [round(k * steps / (COLUMNS - 1)) for k in range(COLUMNS)]
        nearest = min(range(COLUMNS), key=lambda k: abs(shown[k] - scene.t))
        shown[nearest] = scene.t
        rows = []
        for name, schedule in self._schedules:
            pictures = [as_pixels(schedule.add_noise(scene.x0, t, scene.eps)) for t in shown]
            captions = [level_number(t) for t in shown]
            captions[0], captions[nearest] = name.split()[0], level_number(scene.t)
            rows.append([Tile(captions[k], pictures[k], marked=k == nearest) for k in range(COLUMNS)])
        self.rows.set_rows(*rows)


class TimeEncoding(Step):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("The time encoding")
        self.text = self.tr(
            "One network serves all noise levels, so it must be told which one it is looking at. The number t "
            "becomes a "
            "row of sines and cosines, from fast to slow. Neighbouring times get nearly the same row; distant "
            "ones do not."
        )
        self.code = TimeCode(self.tr("The vector of every time, and of this one"))
        self.curves = Curves(self.tr("How alike the vectors of two times are"), self.tr("other t"), 76)
        self.column.addWidget(self.code, 3)
        self.column.addWidget(self.curves, 1)
        self._times: Float64 = np.zeros(1)

    def equation(self, scene: Scene) -> str:
        last = CODE_WIDTH // 2 - 1
        return f"sin and cos of  t · 10000^{{−j/{last}}} ,   j = 0 … {last}"

    def numbers(self, scene: Scene) -> str:
        return self.tr("{0}: the network is told {1}").format(level_text(scene.t), f"{_told(scene):,}")

    def note(self, scene: Scene) -> str:
        match scene.recipe.network:
            case DDPMUNet(base=own) | SimpleUnet(time_width=own) if own != CODE_WIDTH:
                said = self.tr("Shown with the paper's {0} numbers; this recipe makes {1} of them in the same way.")
                return said.format(CODE_WIDTH, own)
        return self.tr("The page gives no formula. This is the paper's own: {0} numbers.").format(CODE_WIDTH)

    def prepare(self, scene: Scene) -> None:
        self._times = np.arange(scene.schedule.steps + 1, dtype=np.float64)
        self.code.set_table(time_code(self._times, CODE_WIDTH))

    def refresh(self, scene: Scene) -> None:
        told = _told(scene)
        self.code.set_row(told, f"{told:,}")
        alike = likeness(told, self._times, CODE_WIDTH)
        line = Line("accent", self.tr("likeness to t = {0}").format(f"{told:,}"), self._times, alike)
        self.curves.set_lines([line], (0, scene.schedule.steps), (0, 1))
        self.curves.set_at(told)


class TheNetwork(Step):
    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("The network")
        self.text = self.tr(
            "In goes a noisy picture with its time; out comes a picture of the same shape, the noise it "
            "believes to be in "
            "there. A U-Net looks at several sizes, and its skips (dashed) carry fine detail across. To learn is to "
            "guess the noise and be told the true one."
        )
        self.shape = NetworkShape(self.tr("The network's sizes and widths"))
        self.told = wrapped(Caption())
        self.told.setTextFormat(Qt.TextFormat.PlainText)  # it holds a title
        self.column.addWidget(self.shape, 1)
        self.column.addWidget(self.told)

    def equation(self, scene: Scene) -> str:
        return "L = ‖ ε − ε_{θ}( √ᾱ_t x_0 + √(1−ᾱ_t) ε , t ) ‖²"

    def numbers(self, scene: Scene) -> str:
        high, wide, channels = *scene.size, scene.x0.shape[2]
        return f"{channels} × {high} × {wide}  →  {channels} × {high} × {wide}"

    def note(self, scene: Scene) -> str:
        return self.tr("On the page the loss is a picture; this is the paper's simple one.")

    def prepare(self, scene: Scene) -> None:
        self.shape.set_levels(unet_levels(scene.recipe.network, scene.size[0]))

    def refresh(self, scene: Scene) -> None:
        time = self.tr("{0}, as sines and cosines, into every block")
        move = move_at(scene.tape, scene.t / scene.schedule.steps) if scene.fits else None
        if move is None or scene.tape is None:
            t = scene.t
            into, out = [Tile("x_t", as_pixels(scene.noisy()))], [Tile(self.tr("true ε"), as_pixels(scene.eps))]
            said = self.tr("This is the true ε: no run of “{0}” is on the stage, whose network could guess it.")
            self.told.setText(said.format(say(scene.recipe.title)))
        else:
            before, after = move
            item, t = scene.seed % len(before.x), before.t
            into = [Tile("x_t", before.x[item])]
            out = [Tile("ε_{θ}", after.view("eps")[item]), Tile("x̂_0", after.view("x0")[item])]
            self.told.setText(self.tr("From this run: {0}").format(_about(scene.tape)))
        self.shape.set_pictures(into, out, time.format(level_text(t)))


class Backward(Step):
    backward = True
    begins = 1.0

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = self.tr("Backward")
        self.text = self.tr(
            "Begin with pure noise and go back: every move is a Gaussian again, whose mean comes from the "
            "guessed noise. "
            "Fresh noise is added after each move but the last, which must leave a clean picture."
        )
        self.row = PictureRows(self.tr("One move of a recorded reverse process"), 100)
        self.told = wrapped(Caption())
        self.told.setTextFormat(Qt.TextFormat.PlainText)  # it holds a title
        self.table = QGridLayout()
        self.table.setHorizontalSpacing(2 * GRID)
        self.table.setVerticalSpacing(2)
        self.column.addWidget(self.row, 1)
        self.column.addWidget(self.told)
        self.column.addWidget(Heading(self.tr("The page points to two different recipes")))
        self.column.addLayout(self.table)

    def equation(self, scene: Scene) -> str:
        return "p_{θ}(x_{t-1} | x_t) = N( μ_{θ}(x_t, t) ,  σ_t² I ) ,   1 < t ≤ T"

    def numbers(self, scene: Scene) -> str:
        t = max(1, scene.t)
        schedule = scene.schedule
        beta, sigma = float(schedule.betas[t - 1]), float(schedule.sigma[t])
        spread = np.sqrt(beta)
        posterior = isinstance(scene.recipe.sampler, DDPM) and scene.recipe.sampler.variance != "beta"
        if posterior:
            spread *= abs(float(schedule.sigma[t - 1])) / sigma
        paper = scene.recipe.schedule == find(PAPER).schedule and not posterior
        whose = self.tr("The paper, t = {0}:") if paper else self.tr("This recipe, t = {0}:")
        keep = np.sqrt(1 - beta)
        added = f" + {spread:.4f} z" if t > 1 else ""
        step = f"{1 / keep:.4f} x_t − {beta / sigma / keep:.4f} ε_{{θ}}{added}"
        return f"{whose.format(level_number(t))}  x_{{t-1}} = {step}"

    def note(self, scene: Scene) -> str:
        return self.tr(
            "x_{t-1} ≈ x_t − e on the page is a mnemonic, not the step: the guessed noise is scaled before it is "
            "taken away, and what remains is scaled too."
        )

    def prepare(self, scene: Scene) -> None:
        paper, notebook = find(PAPER), find(NOTEBOOK)
        columns = [(self.tr("The paper"), paper), (self.tr("Notebook 002"), notebook)]
        if not any(_same(scene.recipe, known) for _, known in columns):
            columns.insert(0, (self.tr("This recipe"), scene.recipe))
        for label in self.findChildren(ElidedLabel, "fact"):
            self.table.removeWidget(label)
            label.deleteLater()
        for row, name in enumerate(("", "T", self.tr("Loss"), self.tr("Network"), "σ_t²", "EMA")):
            self._put(row, 0, name.replace("_t", "ₜ"), heading=True)
        for c, (name, recipe) in enumerate(columns, start=1):
            yours = _same(recipe, scene.recipe)
            title = name if not yours or name == self.tr("This recipe") else self.tr("{0}, shown here").format(name)
            for row, text in enumerate((title, *self._facts(recipe))):
                self._put(row, c, text, heading=row == 0, yours=yours)
        for c in range(1, 4):
            self.table.setColumnStretch(c, int(c <= len(columns)))

    def _put(self, row: int, column: int, text: str, *, heading: bool = False, yours: bool = False) -> None:
        label = ElidedLabel()
        label.setObjectName("fact")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.set_text(text)
        weight = QFont.Weight.DemiBold if heading else QFont.Weight.Medium if yours else None
        label.setFont(tabular(label.font(), 0.92, weight))
        label.setForegroundRole(QPalette.ColorRole.WindowText if yours else QPalette.ColorRole.PlaceholderText)
        wide = QSizePolicy.Policy.Ignored if column else QSizePolicy.Policy.Minimum
        label.setSizePolicy(wide, QSizePolicy.Policy.Fixed)
        self.table.addWidget(label, row, column)

    def _facts(self, recipe: Recipe) -> list[str]:
        ema, variance = recipe.training.ema_decay, getattr(recipe.sampler, "variance", "–")
        network = say(kind_title(recipe.network.kind))
        levels = unet_levels(recipe.network, 32)
        if levels:
            network += f" {levels[0].width} … {levels[-1].width}"
        return [
            f"{recipe.schedule.steps:,}",
            {"mse": "L2", "l1": "L1", "huber": "Huber"}[recipe.objective.loss],
            network,
            {"beta": "βₜ", "posterior": self.tr("posterior")}.get(variance, variance),
            f"{ema:g}" if ema else self.tr("none"),
        ]

    def refresh(self, scene: Scene) -> None:
        tape = scene.tape or scene.recording
        move = move_at(tape, scene.t / scene.schedule.steps)
        if move is None or tape is None:
            self.row.set_rows([])
            self.told.setText(self.tr("A run of “{0}” is played here.").format(say(scene.recipe.title)))
            return
        before, after = move
        item = scene.seed % len(before.x)
        self.row.set_rows(
            [
                Tile(f"x_t , t = {level_number(before.t)}", before.x[item]),
                Tile("ε_{θ}(x_t, t)", after.view("eps")[item], "→"),
                Tile("x̂_0", after.view("x0")[item], "→"),
                Tile(f"x_{{{level_number(after.t)}}}", after.x[item], "→", marked=True),
            ]
        )
        whose = self.tr("From this run: {0}")
        if tape is scene.recording or not scene.fits:
            whose = self.tr("The pictures are of another recipe, with its own schedule: {0}")
        moves = len(tape.frames) - 1
        said = whose.format(_about(tape)) + " "
        if moves < tape.steps:
            said += self.tr("They go from T to 0 in {0} moves, so each spans several t. ").format(moves)
        self.told.setText(said + (self.tr("The last move: no noise is added.") if after.t == 0 else ""))


def _about(tape: Tape) -> str:
    parts = [tape.title]
    if tape.training_step is not None:
        parts.append(QCoreApplication.translate("Walk", "step {0:,}").format(tape.training_step))
    return ", ".join(part for part in (*parts, say(kind_title(tape.sampler))) if part) + "."


def _told(scene: Scene) -> int:
    """The number that the paper's code gives to the network for level t."""
    return max(0, scene.t - 1) if scene.recipe.prediction.time_label == "t-1" else scene.t


def _same(one: Recipe, other: Recipe) -> bool:
    """The same experiment: its schedule, network, loss and sampler's noise."""
    return not {"schedule", "network", "objective"} & {key.partition(".")[0] for key in one.differences(other)}


def _plain(number: float) -> str:
    """0.00 without a sign."""
    return f"{number:.2f}".replace("-0.00", "0.00")


def _density(x: Float32) -> Float64:
    """Share of the pixel values by unit of value, in ``BINS``."""
    counts = np.histogram(x, BINS)[0]
    density: Float64 = counts / (x.size * (BINS[1] - BINS[0]))
    return density


def wrapped(label: Label) -> Label:
    """As high as its text is at the width it gets; Qt would ask for more, as if it were narrow."""
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    label.setMinimumHeight(1)
    return label


def all_steps() -> list[Step]:
    return [OneStep(), AtOnce(), Scheduler(), TimeEncoding(), TheNetwork(), Backward()]
