"""A run on disk: recipe, record, checkpoints; and the list of runs. Imports torch only to read or write weights."""

from ddpm_studio.store.checkpoint import Checkpoint, CheckpointError, forget_checkpoints_after, save_checkpoint
from ddpm_studio.store.record import METRICS, EventRow, ProbeRow, Record, RecordError, computed_with
from ddpm_studio.store.run import Parent, Run, RunError, RunSummary, list_runs

__all__ = [
    "METRICS",
    "Checkpoint",
    "CheckpointError",
    "EventRow",
    "computed_with",
    "Parent",
    "ProbeRow",
    "Record",
    "RecordError",
    "Run",
    "RunError",
    "RunSummary",
    "forget_checkpoints_after",
    "list_runs",
    "save_checkpoint",
]
