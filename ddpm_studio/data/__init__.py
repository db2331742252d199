"""Pictures and points as arrays in memory. numpy only."""

from ddpm_studio.data.catalog import BUILT_IN, Entry, open_dataset
from ddpm_studio.data.dataset import DataError, Dataset
from ddpm_studio.data.points import Mixture, mixture_of

__all__ = ["BUILT_IN", "DataError", "Dataset", "Entry", "Mixture", "mixture_of", "open_dataset"]
