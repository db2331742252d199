"""The numbers behind the guided walk through tutorial 001, in numpy alone. No Qt and no torch here."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ddpm_studio.diffusion.schedule import NoiseSchedule
from ddpm_studio.diffusion.tape import Frame, Tape
from ddpm_studio.paths import resource
from ddpm_studio.recipes import Recipe
from ddpm_studio.recipes.sections import AttentionUNet, CompactUNet, DDPMUNet, Network, Scratch5UNet, SimpleUnet

TUTORIAL = "001"  # that the walk is about
Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
MOST_SIDE = 32  # px: the chain draws T times as many numbers as the picture has
KEPT = 40  # states of the chain, evenly spread, so that going back costs little


def some_faces(count: int) -> NDArray[np.uint8]:
    """The first pixel faces, uint8 (count, 32, 32, 3), without reading the rest of the file."""
    with zipfile.ZipFile(resource("data", "pixel-faces.npz")) as file, file.open("images.npy") as array:
        np.lib.format.read_magic(array)
        shape, _, dtype = np.lib.format.read_array_header_1_0(array)
        item = int(np.prod(shape[1:])) * dtype.itemsize
        faces: NDArray[np.uint8] = np.frombuffer(array.read(count * item), dtype).reshape(-1, *shape[1:])
        return faces


def small(picture: NDArray[np.uint8]) -> Float32:
    """A picture (H, W, C) in -1 … 1 as float32, thinned out to 32 pixels a side at most."""
    every = -(-max(picture.shape[:2]) // MOST_SIDE)
    unit: Float32 = picture[every // 2 :: every, every // 2 :: every].astype(np.float32) / np.float32(127.5) - 1
    return unit


def as_pixels(x: NDArray[np.floating]) -> NDArray[np.uint8]:
    """-1 … 1 as uint8, clamped."""
    pixels: NDArray[np.uint8] = np.round(np.clip((x + 1) * 127.5, 0, 255)).astype(np.uint8)
    return pixels


def noise(seed: int, t: int, shape: tuple[int, ...]) -> Float32:
    """Standard normal numbers that depend on (seed, t) alone, so that every visit to t finds the same ones."""
    made: Float32 = np.random.Generator(np.random.Philox(key=seed, counter=t << 64)).standard_normal(shape, np.float32)
    return made


class Chain:
    """x_t by single steps, q(x_t | x_{t-1}) = N(√(1-β_t) x_{t-1}, β_t I) (DDPM, eq. 2).

    ``t``, ``x``, ``before`` (x_{t-1}) and ``added`` (the noise of the last step, before its √β_t) say where it is.
    """

    def __init__(self, x0: Float32, schedule: NoiseSchedule, seed: int) -> None:
        self._x0, self._betas, self._seed = x0, schedule.betas, seed
        self._every = max(1, schedule.steps // KEPT)
        self._kept: dict[int, Float32] = {0: x0}
        self.t, self.x, self.before, self.added = 0, x0, x0, np.zeros_like(x0)

    def go(self, t: int, most: int) -> bool:
        """Walk to ``t`` in at most ``most`` steps from the nearest state known; whether it has arrived."""
        nearest = max(kept for kept in self._kept if kept <= max(0, t - 1))
        if t == 0 or self.t > t or nearest > self.t:
            self.t = 0 if t == 0 else nearest
            self.x = self.before = self._kept[self.t]
            self.added = np.zeros_like(self._x0)
        for _ in range(min(most, t - self.t)):
            self._step()
        return self.t == t

    def _step(self) -> None:
        beta = np.float32(self._betas[self.t])
        self.t += 1
        self.before, self.added = self.x, noise(self._seed, self.t, self._x0.shape)
        self.x = np.sqrt(1 - beta) * self.before + np.sqrt(beta) * self.added
        if self.t % self._every == 0:
            self._kept[self.t] = self.x

    def trail(self, count: int) -> list[tuple[int, Float32 | None]]:
        """States on the way from 0 to T, ``count`` of them: (t, x_t), or None where it has not come yet."""
        steps = len(self._betas)
        levels = [round(k * steps / (count - 1) / self._every) * self._every for k in range(count)]
        return [(t, self._kept.get(t) if t <= self.t else None) for t in levels]


def time_code(number: float | Float64, width: int) -> Float64:
    """DDPM's vector for a time, (…, width): with h = width/2, sin(t·10000^(-j/(h-1))), j < h, then all cosines."""
    half = width // 2
    angle = np.asarray(number, np.float64)[..., None] * 10_000 ** (-np.arange(half) / (half - 1))
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)


def likeness(number: float, others: Float64, width: int) -> Float64:
    """Cosine of the angle between the code of one time and those of others, (len(others),), -1 … 1."""
    # Every sine comes with its cosine, so all codes have length √(width/2).
    alike: Float64 = time_code(others, width) @ time_code(number, width) / (width / 2)
    return alike


@dataclass(frozen=True)
class Level:
    """One size inside a U-Net: its side in pixels and its channels."""

    side: int
    width: int


def unet_levels(network: Network, side: int) -> list[Level]:
    """From fine to coarse; empty for a network that is no U-Net."""
    match network:
        case DDPMUNet() | AttentionUNet():
            widths, first = [network.base * m for m in network.multipliers], side
        case SimpleUnet() | Scratch5UNet():
            widths, first = list(network.channels), side
        case CompactUNet():
            widths, first = list(network.channels), -(-side // network.patch)
        case _:
            return []
    return [Level(max(1, -(-first // 2**i)), width) for i, width in enumerate(widths)]


def walkable(recipe: Recipe) -> bool:
    """Whether it is one of the tutorial's, and still what its page is about: a U-Net, and a β_t for each step."""
    if recipe.tutorial != TUTORIAL or not unet_levels(recipe.network, MOST_SIDE):
        return False
    try:
        return NoiseSchedule.named(**recipe.schedule.model_dump()).preserving
    except ValueError:  # the window tells of it
        return False


def move_at(tape: Tape | None, share: float) -> tuple[Frame, Frame] | None:
    """The recorded move that begins nearest to ``share`` of T: (x_t, and the frame that the move led to)."""
    frames = tape.frames[: len(tape.frames)] if tape is not None and tape.kind == "pictures" else []
    moves = [pair for pair in pairwise(frames) if pair[1].eps is not None]
    if not moves or tape is None:
        return None
    return min(moves, key=lambda pair: abs(pair[0].t / tape.steps - share))
