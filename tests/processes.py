"""Several launcher processes on one machine, as on several hosts: gloo collectives over localhost."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
HURRIED = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # compilers, in XLA_FLAGS


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        return sock.getsockname()[1]


def command(program, arguments, index, count, port):
    hosts = [f"--coordinator=localhost:{port}", f"--num_processes={count}", f"--process_id={index}"] * (count > 1)
    return [sys.executable, *program, *arguments, *hosts]


@contextlib.contextmanager
def launched(count, *arguments, devices=1, program=("launch.py",)):
    """Start `count` launcher processes with `devices` forced devices each; they are killed at the end if still there.

    Yields:
        Their `subprocess.Popen`s, in order; output and errors go together to `stdout`, as text.
    """
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices} {HURRIED}",
    }
    port = free_port()
    processes = [
        subprocess.Popen(
            command(program, arguments, index, count, port),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(count)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def finish(processes, timeout=240):
    """Wait for all; returns their exit codes and what each wrote."""
    written = [process.communicate(timeout=timeout)[0] for process in processes]
    return [process.returncode for process in processes], written
