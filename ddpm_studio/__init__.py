"""DDPM Studio: train a small diffusion model and watch it learn, on two clocks."""

__version__ = "0.1.0"
