"""Several hosts, each with a process of its own, working on one run."""

import contextlib
import importlib.util
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.experimental import multihost_utils

# What tells the number of processes: SLURM's of a job step, Open MPI's.
COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE")
# The workers of a Cloud TPU slice, separated by commas.
WORKERS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")
READ = ("checkpoints", "averages", "model.safetensors")  # what of a run is only read, and may be large
TPU_DEVICES = ("/dev/accel0", "/dev/vfio/0")
# SLURM's for a job step: processes a node, such as "8(x4)", and GPUs on this node.
TASKS, GPUS = "SLURM_STEP_TASKS_PER_NODE", "SLURM_GPUS_ON_NODE"


def connect(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    heartbeat_timeout: int = 100,
) -> int:
    """Join the other hosts where there are any; must come before anything is computed.

    Without arguments, processes started by SLURM, by Open MPI or on a Cloud TPU slice find each other, and one that is
    alone goes on alone. On GPUs SLURM and Open MPI start one process for each: a process takes the one of its local
    number.

    Args:
        coordinator: address `host:port` of the first process.
        num_processes: number of processes.
        process_id: this one's number.
        heartbeat_timeout: seconds after which a process that gives no sign of life is lost, and all others end; one
            that ends by an error waits for them as long, and then ends them.

    Returns:
        The number of processes.

    Raises:
        ValueError: if the arguments are incomplete or out of range, GPUs would be left idle, or the others are not
            found.
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
    else:
        check_gpus(os.environ)
    limits: dict[str, Any] = {
        "heartbeat_timeout_seconds": heartbeat_timeout,
        "shutdown_timeout_seconds": heartbeat_timeout,
    }
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id, **limits)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"the other hosts cannot be joined: {' '.join(str(error).split())}") from error
    return jax.process_count()


def check_gpus(environment: Mapping[str, str]) -> None:
    """Check from SLURM's environment variables that there is a process for each GPU.

    Raises:
        ValueError: if GPUs would be left idle.
    """
    tasks, gpus = environment.get(TASKS, "").partition("(")[0], environment.get(GPUS, "")
    if "JAX_LOCAL_DEVICE_IDS" in environment or not (tasks.isdecimal() and gpus.isdecimal()):
        return
    if int(tasks) < int(gpus):
        raise ValueError(
            f"SLURM must start a process for each GPU, such as by --ntasks-per-node={gpus}, got {tasks} for the {gpus} "
            "of this node, and each takes one"
        )


@contextlib.contextmanager
def one_writes(workdir: pathlib.Path, kept: str) -> Iterator[pathlib.Path]:
    """Let all hosts do the same work, and the first one alone write to the run's folder, and print.

    Args:
        workdir: the run's folder, which all hosts see.
        kept: name of the folder in it with what earlier work has to be gone on from.

    Yields:
        The folder that this host works in: `workdir`, or on others than the first a copy that is dropped, with links to
        what is large and only read.
    """
    if jax.process_count() == 1:
        yield workdir
        return
    # What others do in the folder before this is done with, ...
    multihost_utils.sync_global_devices("before the copies")
    with contextlib.ExitStack() as stack:
        folder = workdir
        if jax.process_index():
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(os.devnull, "w"))))
            for entry in workdir.iterdir():
                if entry.name in READ:
                    (folder / entry.name).symlink_to(entry.absolute())
                elif entry.name == kept:
                    shutil.copytree(entry, folder / entry.name)
                elif entry.is_file():
                    shutil.copy(entry, folder)
        # ... and nothing is written before all have seen the same.
        multihost_utils.sync_global_devices("after the copies")
        yield folder
        # The first may have more to write than the time that ending processes wait for each other.
        multihost_utils.sync_global_devices("all is written")


def is_cluster(environment: Mapping[str, str]) -> bool:
    """Tell from environment variables, and the devices of a TPU, whether this process may be one of several."""
    if any(int(environment.get(name, 1)) > 1 for name in COUNTS):
        return True
    if any("," in environment.get(name, "") for name in WORKERS):
        return True
    # A virtual machine of a slice knows the others from its metadata alone.
    on_tpu = any(pathlib.Path(device).exists() for device in TPU_DEVICES) and importlib.util.find_spec("libtpu")
    return bool(on_tpu) and "TPU_SKIP_MDS_QUERY" not in environment
