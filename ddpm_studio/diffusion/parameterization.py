"""What the network's output means.

Every target is A*x0 + B*eps. Together with x = alpha*x0 + sigma*eps that is a 2×2 system, and one solve
turns any output into (x0, eps).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


class Parameterization(Enum):
    """The five targets; alpha and sigma may be floats or tensors that broadcast against x."""

    EPSILON = "epsilon"  # the noise (DDPM)
    X0 = "x0"  # the picture
    V = "v"  # alpha*eps - sigma*x0 (progressive distillation, arXiv 2202.00512)
    SCORE = "score"  # ∇ log p(x_t) = -eps/sigma
    VELOCITY = "velocity"  # eps - x0 (rectified flow)

    def coefficients(self, alpha: Any, sigma: Any) -> tuple[Any, Any]:
        """(A, B) of the target A*x0 + B*eps."""
        match self:
            case Parameterization.EPSILON:
                return 0.0, 1.0
            case Parameterization.X0:
                return 1.0, 0.0
            case Parameterization.V:
                return -sigma, alpha
            case Parameterization.SCORE:
                return 0.0, -1 / sigma
            case Parameterization.VELOCITY:
                return -1.0, 1.0

    def encode(self, x0: Tensor, eps: Tensor, alpha: Any, sigma: Any) -> Tensor:
        """The target that the network learns, of the shape of x0."""
        A, B = self.coefficients(alpha, sigma)
        target: Tensor = A * x0 + B * eps
        return target

    def decode(self, x: Tensor, out: Tensor, alpha: Any, sigma: Any) -> tuple[Tensor, Tensor]:
        """(x0, eps) from the noisy x and the network's output; sigma > 0.

        EPSILON and SCORE say nothing about x0 where alpha is 0: a Recipe refuses that pair.
        """
        A, B = self.coefficients(alpha, sigma)
        det = alpha * B - sigma * A
        x0 = (B * x - sigma * out) / det
        eps = (alpha * out - A * x) / det
        return x0, eps

    def x0_gain(self, alpha: Any, sigma: Any) -> Any:
        """|∂x0/∂out| = sigma/|det|: an error e in the output is an error of gain·e in x0.

        A weight w for the squared error in x0 is therefore w·gain² for the squared error in the output.
        """
        A, B = self.coefficients(alpha, sigma)
        return abs(sigma / (alpha * B - sigma * A))
