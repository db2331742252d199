"""PointMLP: a small residual network for points in the plane."""

from __future__ import annotations

from torch import Tensor, nn

from ddpm_studio.networks.embeddings import Condition


class PointMLP(nn.Module):
    """x (N, D) → (N, D). Each layer is scaled and shifted by the noise level (FiLM, arXiv 1709.07871)."""

    def __init__(self, dimensions: int = 2, width: int = 128, depth: int = 3, time_scale: float = 1.0) -> None:
        super().__init__()
        self.condition = Condition(width, time_scale)
        self.enter = nn.Linear(dimensions, width)
        self.films = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.act = nn.SiLU()
        self.leave = nn.Linear(width, dimensions)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        condition = self.condition(time, label)
        h = self.enter(x)
        for film, layer in zip(self.films, self.layers, strict=True):
            scale, shift = film(condition).chunk(2, dim=1)
            h = h + layer(self.act(h * (1 + scale) + shift))
        out: Tensor = self.leave(self.act(h))
        return out
