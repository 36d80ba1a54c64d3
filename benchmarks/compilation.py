"""How long a training step of paper size takes to compile: `python -m benchmarks.compilation [--config=NAME]`.

The step of score_sde's deep NCSN++ for CIFAR-10 unless another config is named, for the attached device: seconds to
trace it, to compile it with nothing cached, and to load it from the compilation cache in a process of its own; then
what it takes of memory.
"""

import argparse
import functools
import importlib
import json
import subprocess
import sys
import tempfile
import time

from benchmarks import tables

CONFIG = "score_sde.ve.cifar10_ncsnpp_deep_continuous"


def compile_once(config: str, batch: int, cache: str) -> dict[str, float]:
    """Compile the step in this process, with compiled programs kept in `cache`."""
    import jax

    from sgm_jax import components, planning
    from sgm_jax.experiment import Experiment
    from sgm_jax.planning.programs import training_step

    jax.config.update("jax_compilation_cache_dir", cache)
    chosen = importlib.import_module(f"configs.{config}").get_config()
    chosen.train.batch_size = batch
    load = functools.partial(components.describe_data, num_classes=chosen.network.get("num_classes"))
    experiment = Experiment.from_config(chosen, load=load)
    start = time.perf_counter()
    lowered = training_step(experiment, planning.find(jax.default_backend()))
    traced = time.perf_counter()
    stats = lowered.program.compile().memory_analysis()
    compiled = time.perf_counter()
    mib = {name: count / 2**20 for name, count in lowered.arguments.items()}
    mib |= {"given": stats.argument_size_in_bytes / 2**20, "donated": stats.alias_size_in_bytes / 2**20}
    mib |= {"returned": stats.output_size_in_bytes / 2**20, "temporaries": stats.temp_size_in_bytes / 2**20}
    return {"trace": traced - start, "compile": compiled - traced, "mib": mib}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default=CONFIG)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--cache", help="compile once, with this folder, and print JSON")
    options = parser.parse_args()
    if options.cache:
        print(json.dumps(compile_once(options.config, options.batch, options.cache)))
        return
    tables.header("training step", "trace, s", "compile, s")
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "benchmarks.compilation", f"--config={options.config}"]
        command += [f"--batch={options.batch}", f"--cache={cache}"]
        for name in ("nothing cached", "from the cache"):
            run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(run.stdout.splitlines()[-1])
            tables.row(f"{options.config}, {name}", f"{found['trace']:.1f}", f"{found['compile']:.1f}")
    tables.header("memory", "MiB")
    for name, size in found["mib"].items():
        tables.row(name, f"{size:,.1f}")


if __name__ == "__main__":
    main()
