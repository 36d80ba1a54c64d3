"""Where the time of a training step goes on the attached devices."""

import dataclasses
import pathlib
import shutil
import time

import jax

from sgm_jax import data as datasets
from sgm_jax import planning
from sgm_jax.experiment import Experiment
from sgm_jax.modes.shared import Unsuitable, write_json
from sgm_jax.modes.training import training_mesh
from sgm_jax.planning import hlo, profiling, programs
from sgm_jax.planning.analysis import analyse
from sgm_jax.training import parallel

SETTLE, TIMED, TRACED = 3, 10, 3  # steps


def profile(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Time and trace training steps, print where the time goes and write it to `profile.json`; returns the exit code.

    The trace is in `<workdir>/profile`, for TensorBoard and Perfetto. No checkpoint is read or written.

    Raises:
        Unsuitable: if the config's `parallel` section does not fit the devices or the batch, or JAX traced nothing, as
            when libtpu is installed without a TPU.
    """
    config, topology = experiment.config, planning.find(jax.default_backend())
    mesh = training_mesh(config)
    lowered = programs.training_step(experiment, topology)
    start = time.perf_counter()
    compiled = lowered.program.compile()
    compilation = time.perf_counter() - start
    memory, work = analyse(compiled, lowered.arguments, topology)

    program = parallel.jit_program(experiment.train_step(), experiment.init, mesh)
    batch = datasets.gather(experiment.dataset.train, range(config.train.batch_size))
    state = program.init()

    def steps(count: int):
        nonlocal state
        for _ in range(count):
            state, metrics = compiled(state, program.place([batch]))
        jax.block_until_ready(metrics)

    steps(SETTLE)
    start = time.perf_counter()
    steps(TIMED)
    seconds = (time.perf_counter() - start) / TIMED
    folder = workdir / "profile"
    shutil.rmtree(folder, ignore_errors=True)
    with jax.profiler.trace(str(folder)):
        steps(TRACED)

    text = compiled.as_text()
    assert text is not None  # as `analyse` read it
    shares = profiling.shares(folder, hlo.read(text))
    if not shares:
        hint = "where libtpu is installed and no TPU attached, JAX_PLATFORMS=cpu (or cuda) must be set"
        raise Unsuitable(f"the trace in {folder} has no operations: {hint}")
    rate = work.flops / seconds
    chip = topology.chip
    result = {
        "device": jax.devices()[0].device_kind,
        "devices": len(topology.devices),
        "batch_size": config.train.batch_size,
        "compile_seconds": compilation,
        "step_seconds": seconds,
        "examples_per_second": config.train.batch_size / seconds,
        "flops": work.flops,
        "flops_per_second": rate,
        "flops_utilisation": None if chip is None else rate * chip.devices / chip.flops,
        "roofline_seconds": None if work.roofline is None else work.roofline.seconds,
        "memory": planning.as_dict(memory),
        "shares": [dataclasses.asdict(share) | {"seconds": share.seconds / TRACED} for share in shares],
    }
    write_json(workdir / "profile.json", result)
    print(describe(result))
    return 0


def describe(result: dict) -> str:
    """Return a profile as lines to read."""
    used, memory = result["flops_utilisation"], result["memory"]
    parts = memory["arguments"] | {name: memory[name] for name in ("temporaries", "total")}
    lines = [
        f"{result['devices']} x {result['device']}, batch {result['batch_size']}",
        f"compiled in {result['compile_seconds']:.1f} s",
        f"step {1e3 * result['step_seconds']:.4g} ms, {result['examples_per_second']:,.4g} examples/s",
        f"{result['flops'] / 1e9:.4g} GFLOP a device and step, {result['flops_per_second'] / 1e12:.4g} TFLOP/s"
        + ("" if used is None else f", {used:.1%} of the peak"),
        "memory a device: " + ", ".join(f"{name} {count / 2**20:.4g} MiB" for name, count in parts.items()),
        f"{'kind of operation':<20}{'ms a step':>12}{'share':>9}{'calls':>9}",
    ]
    whole = sum(share["seconds"] for share in result["shares"]) or 1.0
    for share in result["shares"]:
        milliseconds, part, calls = 1e3 * share["seconds"], share["seconds"] / whole, share["calls"] // TRACED
        lines.append(f"{share['kind']:<20}{milliseconds:>12.4g}{part:>9.1%}{calls:>9}")
    return "\n".join(lines)
