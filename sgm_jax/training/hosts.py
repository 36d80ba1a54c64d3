"""Several hosts, each with a process of its own, working on one run."""

import importlib.util
import os
import pathlib
from collections.abc import Mapping

import jax

# What tells the number of processes: SLURM's of a job step, Open MPI's.
COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
# The workers of a Cloud TPU slice, separated by commas.
WORKERS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout: int = 100,
) -> int:
    """Join the other hosts where there are any; must come before anything is computed.

    Without arguments, processes started by SLURM, by Open MPI or on a Cloud TPU slice find each other, and one that is
    alone goes on alone.

    Args:
        coordinator: address `host:port` of the first process.
        num_processes: number of processes.
        process_id: this one's number.
        heartbeat_timeout: seconds after which a process that gives no sign of life is lost, and all others end.

    Returns:
        The number of processes.

    Raises:
        ValueError: if the arguments are incomplete or out of range, or the others are not found.
    """
    if heartbeat_timeout < 1:
        raise ValueError(f"--heartbeat_timeout must be at least 1 second, got {heartbeat_timeout}")
    given = {"coordinator": coordinator, "num_processes": num_processes, "process_id": process_id}
    missing = [f"--{name}" for name, value in given.items() if value is None]
    if coordinator is not None and num_processes is not None and process_id is not None:
        if num_processes < 1 or not 0 <= process_id < num_processes:
            raise ValueError(
                f"--process_id must lie between 0 and --num_processes - 1, got {process_id} of {num_processes}"
            )
    elif len(missing) < len(given):
        raise ValueError(f"--coordinator, --num_processes and --process_id go together, got none of {missing}")
    elif not is_cluster(os.environ):
        return 1
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, heartbeat_timeout_seconds=heartbeat_timeout)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the other hosts cannot be joined: {' '.join(str(error).split())}") from error
    return jax.process_count()


def is_cluster(environment: Mapping[str, str]) -> bool:
    """Tell from environment variables, and the devices of a TPU, whether this process may be one of several."""
    if any(int(environment.get(name, 1)) > 1 for name in COUNTS):
        return True
    if any("," in environment.get(name, "") for name in WORKERS):
        return True
    # A virtual machine of a slice knows the others from its metadata alone.
    on_tpu = any(pathlib.Path(device).exists() for device in TPU_DEVICES) and importlib.util.find_spec("libtpu")
    return bool(on_tpu) and "TPU_SKIP_MDS_QUERY" not in environment
