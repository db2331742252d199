"""Pictures and points as arrays in memory. Knows numpy and Pillow; knows neither torch nor Qt, so it opens at once."""

from ddpm_studio.data.catalog import BUILT_IN, Entry, known_facts, open_dataset
from ddpm_studio.data.dataset import Cancelled, DataError, DataFacts, Dataset
from ddpm_studio.data.points import Mixture, mixture_of

__all__ = [
    "BUILT_IN",
    "Cancelled",
    "DataError",
    "DataFacts",
    "Dataset",
    "Entry",
    "Mixture",
    "known_facts",
    "mixture_of",
    "open_dataset",
]
