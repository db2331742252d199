"""NoiseSchedule: the table of x_t = alpha_t * x_0 + sigma_t * eps.

Two float64 arrays with index 0 = clean. Having the clean level in the table removes the special cases of
the first and the last step (no ``alpha_bar[t - 1]`` that wraps around). No torch at import, so that the
window can draw schedules at once; ``add_noise`` takes numpy arrays and torch tensors alike.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Array = TypeVar("Array", NDArray[Any], "torch.Tensor")
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A noise schedule of T levels.

    Attributes:
        alpha: float64 (T+1,), what is left of the picture at each level; alpha[0] = 1.
        sigma: float64 (T+1,), standard deviation of the noise at each level; sigma[0] = 0.

    Raises:
        ValueError: if the table is not a schedule; the sentence names the entry.
    """

    alpha: Float64
    sigma: Float64
    _tables: dict[Any, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        alpha = np.array(self.alpha, dtype=np.float64)
        sigma = np.array(self.sigma, dtype=np.float64)
        if alpha.ndim != 1 or alpha.shape != sigma.shape or len(alpha) < 2:
            raise ValueError(f"a schedule needs two tables of one length ≥ 2; got {alpha.shape} and {sigma.shape}")
        if alpha[0] != 1 or sigma[0] != 0:
            raise ValueError(
                f"level 0 must be clean: alpha[0] is {alpha[0]:g} (not 1), sigma[0] is {sigma[0]:g} (not 0)"
            )
        legal = (alpha >= 0) & (alpha <= 1) & np.isfinite(sigma) & (sigma > 0)
        # sigma/alpha must grow: compare as products, since alpha[T] may be 0
        grows = sigma[1:] * alpha[:-1] > sigma[:-1] * alpha[1:]
        if not (legal[1:] & grows).all():
            t = 1 + int(np.argmin(legal[1:] & grows))
            if not legal[t]:
                raise ValueError(f"level {t}: alpha {alpha[t]:g} must lie in 0 … 1 and sigma {sigma[t]:g} be above 0")
            raise ValueError(f"level {t} is not noisier than level {t - 1}: sigma/alpha must grow")
        alpha.setflags(write=False)
        sigma.setflags(write=False)
        object.__setattr__(self, "alpha", alpha)
        object.__setattr__(self, "sigma", sigma)

    # -- what it is

    @property
    def steps(self) -> int:
        """T, the noisiest level."""
        return len(self.alpha) - 1

    @property
    def preserving(self) -> bool:
        """Variance preserving: alpha² + sigma² = 1 at every level, so that all of it can be said with ᾱ_t and β_t."""
        return bool(np.allclose(self.alpha**2 + self.sigma**2, 1, atol=1e-6))

    @property
    def exploding(self) -> bool:
        """Variance exploding: alpha = 1 at every level; the picture stays whole and only the noise grows."""
        return bool((self.alpha == 1).all())

    @property
    def snr(self) -> Float64:
        """(alpha/sigma)², float64 (T+1,); infinite at level 0."""
        with np.errstate(divide="ignore"):
            return (self.alpha / self.sigma) ** 2

    @property
    def log_snr(self) -> Float64:
        """log of ``snr``: +inf at level 0, -inf where alpha is 0."""
        with np.errstate(divide="ignore"):
            return 2 * (np.log(self.alpha) - np.log(self.sigma))

    @property
    def alpha_bar(self) -> Float64:
        """ᾱ_t = alpha_t², float64 (T+1,)."""
        return self.alpha**2

    @property
    def betas(self) -> Float64:
        """Variance added by the single step t-1 → t, float64 (T,); entry t-1 belongs to level t.

        sigma_t² - (alpha_t/alpha_{t-1})² sigma_{t-1}²: on a variance-preserving schedule this is β_t.
        """
        return self.sigma[1:] ** 2 - (self.alpha[1:] / self.alpha[:-1]) ** 2 * self.sigma[:-1] ** 2

    def prior_mismatch(self, mean_square: float = 1.0, size: int = 1) -> float:
        """How far level T is from pure noise: alpha_T times the data's root mean square, in standard errors.

        ``size`` is the number of values in one item: the mean over them has standard error sigma_T/√size.
        Below about 0.2 nobody can tell. Unscaled linear with T = 300 leaves alpha_T = 0.219 of the picture.
        """
        return float(self.alpha[-1] * np.sqrt(mean_square * size) / self.sigma[-1])

    # -- what it does

    def at(self, t: int | torch.Tensor | NDArray[Any], like: Array) -> tuple[Any, Any]:
        """(alpha_t, sigma_t) ready to multiply ``like``: floats for one level, else columns (N, 1, …, 1).

        ``t`` is an int, or an integer array or tensor (N,) with one level for each item of ``like``.
        """
        if isinstance(t, int | np.integer):
            return float(self.alpha[t]), float(self.sigma[t])
        column = (-1,) + (1,) * (like.ndim - 1)
        if isinstance(like, np.ndarray):
            index = np.asarray(t)
            return (
                self.alpha[index].reshape(column).astype(like.dtype),
                self.sigma[index].reshape(column).astype(like.dtype),
            )
        key = (like.device, like.dtype)
        if key not in self._tables:
            self._tables[key] = (like.new_tensor(self.alpha), like.new_tensor(self.sigma))
        alpha, sigma = self._tables[key]
        return alpha[t].view(column), sigma[t].view(column)

    def add_noise(self, x0: Array, t: int | torch.Tensor | NDArray[Any], eps: Array) -> Array:
        """q(x_t | x_0): alpha_t * x0 + sigma_t * eps. Any shape (N, …); see ``at`` for t."""
        alpha, sigma = self.at(t, x0)
        noisy: Array = alpha * x0 + sigma * eps
        return noisy

    # -- how it is built

    @classmethod
    def named(cls, kind: str, **settings: Any) -> NoiseSchedule:
        """The schedule that a recipe's section describes: ``named("cosine", steps=1000)``."""
        build: NoiseSchedule = getattr(cls, kind)(**settings)
        return build

    @classmethod
    def from_betas(cls, betas: Float64) -> NoiseSchedule:
        """Variance preserving: ᾱ_t = ∏ (1 - β_s), alpha = √ᾱ, sigma = √(1 - ᾱ) (DDPM eq. 4)."""
        betas = np.asarray(betas, dtype=np.float64)
        for t, beta in enumerate(betas, start=1):
            if not 0 < beta < 1:
                raise ValueError(f"β at level {t} is {beta:g}; it must lie between 0 and 1")
        # 1 - prod(1 - β) loses digits at the first levels; expm1 of the sum of logs does not.
        log_alpha_bar = np.concatenate([[0.0], np.cumsum(np.log1p(-betas))])
        return cls(np.exp(log_alpha_bar / 2), np.sqrt(np.abs(np.expm1(log_alpha_bar))))

    @classmethod
    def from_sigmas(cls, sigmas: Float64) -> NoiseSchedule:
        """Variance exploding: alpha = 1, sigma ascending (score-based models)."""
        sigmas = np.concatenate([[0.0], np.asarray(sigmas, dtype=np.float64)])
        return cls(np.ones_like(sigmas), sigmas)

    @classmethod
    def linear(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """β linear from beta_start to beta_end whatever T is (DDPM, section 4)."""
        return cls.from_betas(np.linspace(beta_start, beta_end, steps))

    @classmethod
    def scaled_linear(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """Linear with end points times 1000/T, so that short schedules reach noise too."""
        scale = 1000 / steps
        return cls.linear(steps, beta_start * scale, beta_end * scale)

    @classmethod
    def quadratic(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """√β linear."""
        return cls.from_betas(np.linspace(beta_start**0.5, beta_end**0.5, steps) ** 2)

    @classmethod
    def sigmoid(cls, steps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
        """β along the logistic curve over [-6, 6]."""
        curve = 1 / (1 + np.exp(-np.linspace(-6, 6, steps)))
        return cls.from_betas(beta_start + (beta_end - beta_start) * curve)

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, beta_max: float = 0.999) -> NoiseSchedule:
        """β_t = min(1 - f(t)/f(t-1), 0.999), f(t) = cos²((t/T + 0.008)/1.008 · π/2) (iDDPM eq. 17)."""
        t = np.arange(steps + 1) / steps
        f = np.cos((t + offset) / (1 + offset) * np.pi / 2) ** 2
        return cls.from_betas(np.minimum(1 - f[1:] / f[:-1], beta_max))

    @classmethod
    def geometric(cls, steps: int = 1000, sigma_min: float = 0.01, sigma_max: float = 50.0) -> NoiseSchedule:
        """σ in geometric progression from sigma_min to sigma_max (NCSN, section 3)."""
        return cls.from_sigmas(np.geomspace(sigma_min, sigma_max, steps))

    @classmethod
    def flow(cls, steps: int = 1000) -> NoiseSchedule:
        """Rectified flow: alpha = 1 - t/T, sigma = t/T (arXiv 2209.03003)."""
        t = np.arange(steps + 1) / steps
        return cls(1 - t, t)
