"""The networks, one a file. All are called ``network(x, time, label=None)`` and return the shape of x.

CompactUNet and PointMLP are our own; the others are those of the tutorials, layer by layer.
"""

from ddpm_studio.networks.attention_unet import AttentionUNet
from ddpm_studio.networks.compact_unet import CompactUNet
from ddpm_studio.networks.ddpm_unet import DDPMUNet
from ddpm_studio.networks.point_mlp import PointMLP
from ddpm_studio.networks.score_mlp import ScoreMLP
from ddpm_studio.networks.scratch5_unet import Scratch5UNet
from ddpm_studio.networks.simple_unet import SimpleUnet

__all__ = ["AttentionUNet", "CompactUNet", "DDPMUNet", "PointMLP", "ScoreMLP", "Scratch5UNet", "SimpleUnet"]
