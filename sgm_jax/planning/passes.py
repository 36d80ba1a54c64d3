"""Programs for TPUs measured as the compiler's passes leave them, without waiting for their machine code.

What a plan says is decided once libtpu has fused, scheduled and placed all operations. The machine code of each kernel,
made after that, takes most of its time and memory. XLA cannot be told to stop in between, but to write what it has
decided into a folder (`xla_dump_to`). So a process of its own compiles, and ends as soon as that is there.
"""

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import cloudpickle
import jax

from sgm_jax import data
from sgm_jax.experiment import Experiment
from sgm_jax.planning.analysis import Measured, Memory, count, measure
from sgm_jax.planning.hlo import Number
from sgm_jax.planning.programs import Lowered
from sgm_jax.planning.topology import ATTACHED, Topology, find

CHILD = "from sgm_jax.planning import passes; passes.compile_in_child()"
# What of JAX's settings the program depends on.
SETTINGS = ("jax_platforms", "jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl")
OUTCOME, DUMP = "outcome", "dump"
# Dumps in the order they are written: when the last is there, the others are whole.
REPORT, BUFFERS = "after_optimizations-memory-usage-report.txt", "after_optimizations-buffer-assignment.txt"
TEXT, LAST = "after_optimizations.txt", "after_optimizations_after_buffer_assignment.txt"
POLL_SECONDS = 0.2

_TOTAL = re.compile(r"\(color=0\)\nTotal bytes: (\d+)")
_TEMPORARY = re.compile(r"^allocation \d+: size (\d+),(?: page \d+,)? preallocated-temp", re.MULTILINE)


def measured(
    make: Callable[[Experiment, Topology], Lowered], experiment: Experiment, topology: Topology, code: bool = False
) -> Measured:
    """Compile a program of an experiment and measure it.

    Args:
        make: lowers the program, such as `programs.training_step`.
        experiment: the experiment.
        topology: the devices.
        code: whether a TPU slice's machine code is made too, so that its bytes count: what the passes decide is the
            same, and takes a fifth to a tenth of the time. For attached devices it always is.

    Raises:
        ValueError: as `make`.
        RuntimeError: if the compiler's process ended by itself.
    """
    if code or topology.name in ATTACHED:
        return measure(make(experiment, topology), topology)
    described = dataclasses.replace(experiment, dataset=_without_examples(experiment.dataset))
    settings = {name: getattr(jax.config, name) for name in SETTINGS}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        process = subprocess.run(
            [sys.executable, "-c", CHILD, name],
            input=cloudpickle.dumps((settings, make, described, topology.name)),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.PIPE,
        )
        if not (folder / OUTCOME).exists():
            last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
            raise RuntimeError(f"the compiler's process ended with {process.returncode}: {' '.join(last)}")
        outcome = cloudpickle.loads((folder / OUTCOME).read_bytes())
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, Measured):
            return outcome
        batch_size, arguments = outcome
        return _read(folder / DUMP, batch_size, arguments, topology)


def compile_in_child() -> NoReturn:
    """Compile what comes on the standard input, until its passes are done or it is; for the process of `measured`."""
    folder = pathlib.Path(sys.argv[1])

    def end(outcome: Any) -> NoReturn:
        whole = folder / f"{OUTCOME}.{threading.get_ident()}"
        whole.write_bytes(cloudpickle.dumps(outcome))
        whole.replace(folder / OUTCOME)
        os._exit(0)

    def dumped() -> bool:
        return any((folder / DUMP).glob(f"*.{LAST}"))

    def watch(lowered: Lowered, parent: int) -> None:
        while not dumped():
            time.sleep(POLL_SECONDS)
            if os.getppid() != parent:
                os._exit(1)
        end((lowered.batch_size, lowered.arguments))

    try:
        parent = os.getppid()
        settings, make, experiment, name = cloudpickle.load(sys.stdin.buffer)
        for setting, value in settings.items():
            jax.config.update(setting, value)
        topology = find(name)
        lowered = make(experiment, topology)
        threading.Thread(target=watch, args=(lowered, parent), daemon=True).start()
        whole = measure(lowered, topology, {"xla_dump_to": str(folder / DUMP), "xla_dump_hlo_as_text": True})
        # Small programs may be done sooner than they are seen to be dumped.
        end((lowered.batch_size, lowered.arguments) if dumped() and whole.work is not None else whole)
    except Exception as error:
        end(error)


def _read(dump: pathlib.Path, batch_size: int, arguments: dict[str, Number], topology: Topology) -> Measured:
    report, buffers, text = (next(dump.glob(f"*.{name}")).read_text() for name in (REPORT, BUFFERS, TEXT))
    total = _TOTAL.search(report)
    assert total is not None and text.rstrip().endswith("}")  # whole, as the order of writing has it
    temporaries = sum(int(size) for size in _TEMPORARY.findall(buffers))
    memory = Memory(arguments, temporaries, None, int(total[1]), topology.memory)
    return Measured(batch_size, memory, count(text, topology.chip))


def _without_examples(dataset: data.Dataset) -> data.Dataset:
    nothing = data.absent(dataset.shape, dataset.levels)
    return dataclasses.replace(dataset, train=nothing.train, test=nothing.test)
