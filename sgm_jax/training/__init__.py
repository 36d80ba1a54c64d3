"""Training: state, step, loop, checkpoints and metrics."""

from sgm_jax.training.checkpoint import CheckpointMismatch, Checkpoints
from sgm_jax.training.loop import Outcome, Schedule, TrainingDiverged, train
from sgm_jax.training.metrics import MetricsLog, read_metrics
from sgm_jax.training.state import TrainState, init_state, make_train_step

__all__ = [
    "CheckpointMismatch",
    "Checkpoints",
    "MetricsLog",
    "Outcome",
    "Schedule",
    "TrainState",
    "TrainingDiverged",
    "init_state",
    "make_train_step",
    "read_metrics",
    "train",
]
