"""Training: state, step, loop, checkpoints and metrics."""

from sgm_jax.training.checkpoint import CheckpointFailed, CheckpointMismatch, Checkpoints
from sgm_jax.training.loop import Batches, Outcome, Safeguards, Schedule, TrainingDiverged, exit_code, train
from sgm_jax.training.metrics import MetricsLog, read_metrics
from sgm_jax.training.parallel import Program, jit_program, make_mesh, pmap_program
from sgm_jax.training.posthoc import PowerProfile
from sgm_jax.training.snapshots import Snapshots
from sgm_jax.training.state import TrainState, init_state, make_train_step
from sgm_jax.training.watching import Watch

__all__ = [
    "Batches",
    "CheckpointFailed",
    "CheckpointMismatch",
    "Checkpoints",
    "MetricsLog",
    "Outcome",
    "PowerProfile",
    "Program",
    "Safeguards",
    "Schedule",
    "Snapshots",
    "TrainState",
    "TrainingDiverged",
    "Watch",
    "exit_code",
    "init_state",
    "jit_program",
    "make_mesh",
    "make_train_step",
    "pmap_program",
    "read_metrics",
    "train",
]
