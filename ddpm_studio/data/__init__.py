"""Pictures and points as arrays in memory. Knows numpy and Pillow; knows neither torch nor Qt, so it opens at once."""

from ddpm_studio.data.catalog import BUILT_IN, Entry, open_dataset
from ddpm_studio.data.dataset import Cancelled, DataError, Dataset
from ddpm_studio.data.points import Mixture, mixture_of

__all__ = ["BUILT_IN", "Cancelled", "DataError", "Dataset", "Entry", "Mixture", "mixture_of", "open_dataset"]
