"""Training: state, step, loop, checkpoints and metrics."""

from sgm_jax.training.checkpoint import CheckpointMismatch, Checkpoints
from sgm_jax.training.loop import Outcome, Schedule, TrainingDiverged, train
from sgm_jax.training.metrics import MetricsLog, read_metrics
from sgm_jax.training.parallel import Program, jit_program, make_mesh, pmap_program
from sgm_jax.training.state import TrainState, init_state, make_train_step

__all__ = [
    "CheckpointMismatch",
    "Checkpoints",
    "MetricsLog",
    "Outcome",
    "Program",
    "Schedule",
    "TrainState",
    "TrainingDiverged",
    "init_state",
    "jit_program",
    "make_mesh",
    "make_train_step",
    "pmap_program",
    "read_metrics",
    "train",
]
