"""The networks, one a file. All are called ``network(x, time, label=None)`` and return the shape of x."""

from ddpm_studio.networks.compact_unet import CompactUNet
from ddpm_studio.networks.point_mlp import PointMLP

__all__ = ["CompactUNet", "PointMLP"]
