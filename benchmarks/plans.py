"""Plans of the paper-size configs on three TPU slices: the table of docs/scale.md.

    python -m benchmarks.plans [--only=WORD ...] [--results=plans.jsonl]

Each plan is that of the training step alone, made by the launcher in a process of its own, whose seconds and largest
memory stand in the last column.
Plans that are in the file of results already are not made again. Needs libtpu; 2 to 12 minutes a plan on two cores, and
up to 13 GiB.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[1]
TOPOLOGIES = {"v5e:16x16": 256, "v4:8x8x8": 512, "v6e:16x16": 256}
# Config, examples a chip, and overrides.
CONFIGS = {
    "CIFAR-10 NCSN++ deep VE": ("score_sde/ve/cifar10_ncsnpp_deep_continuous.py", 4, ()),
    "FFHQ 256 NCSN++ VE": ("score_sde/ve/ffhq_256_ncsnpp_continuous.py", 1, ()),
    "FFHQ 1024 NCSN++ VE": ("score_sde/ve/ffhq_ncsnpp_continuous.py", 1, ()),
    "ImageNet 256 DiT-XL/2": ("dit/imagenet_256.py", 4, ()),
}
HEADER = (
    "| experiment | slice | batch | GiB a chip, of | fits | TFLOP a chip | bound by | step, ms | images/s "
    "| 1000 chip-hours | planned in |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def make(name: str, topology: str) -> dict:
    """Plan one experiment on one slice; returns the plan with the seconds and GiB that it took."""
    config, examples, overrides = CONFIGS[name]
    batch = f"--config.train.batch_size={examples * TOPOLOGIES[topology]}"
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "launch.py", f"--config=configs/{config}", "--mode=plan", f"--topology={topology}"]
        options = [batch, "--sampler=false", *overrides, f"--workdir={workdir}"]
        process = subprocess.Popen([*command, *options], cwd=ROOT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        result = json.loads((pathlib.Path(workdir) / "plan.json").read_text())
    seconds, peak = time.perf_counter() - start, used.ru_maxrss / 2**20  # GiB from KiB
    return {"experiment": name, "seconds": seconds, "peak_gib": peak, "plan": result}


def row(result: dict) -> str:
    """Return a plan as a row of the table."""
    plan, step = result["plan"], result["plan"]["training"]
    memory, work = step["memory"], step["work"]
    cells = [result["experiment"], plan["topology"].replace(":", " "), f"{step['batch_size']}"]
    cells += [f"{memory['total'] / 2**30:.2f}, {memory['limit'] / 2**30:.0f}", "yes" if memory["fits"] else "no"]
    if work is None:
        cells += ["", "", "", "", ""]
    else:
        best = work["roofline"]
        cells += [f"{work['flops'] / 1e12:.3g}", best["bound"], f"{best['seconds'] * 1e3:.3g}"]
        cells += [f"{float(format(step['images_per_second'], '.3g')):,.0f}", f"{plan['chip_hours'] / 1e3:,.3g}"]
    return "| " + " | ".join([*cells, f"{result['seconds']:.0f} s, {result['peak_gib']:.1f} GiB"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="words that the experiment or the slice must have")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("plans.jsonl"))
    arguments = parser.parse_args()
    done = (
        [json.loads(line) for line in arguments.results.read_text().splitlines()] if arguments.results.exists() else []
    )
    for name in CONFIGS:
        for topology in TOPOLOGIES:
            made = any(r["experiment"] == name and r["plan"]["topology"] == topology for r in done)
            if made or not all(word in f"{name} {topology}" for word in arguments.only):
                continue
            done.append(make(name, topology))
            with arguments.results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
    print(HEADER)
    print("\n".join(row(result) for result in done))


if __name__ == "__main__":
    main()
