"""CIFAR-10's networks on one accelerator, beside PyTorch: `python -m benchmarks.accelerator PART [options]`.

Each part prints one line of JSON. `train` times our training step with the config's network, optimizer, average and
dropout, and gives its memory as planned and as measured; `torch` PyTorch's, with `torch.compile`, channels last and
bfloat16, of the same architecture (`benchmarks/torch_unet.py`), optimizer, clipping and average; `sample` draws images
and times the bare network as often. Compiled programs are kept in `--cache`, so that a second run starts at once.
"""

import argparse
import functools
import importlib
import json
import math
import os
import pathlib
import time

STEPS, SETTLE = 30, 5
EXPERIMENTS = {"ddpmpp": "score_sde.vp.cifar10_ddpmpp_continuous", "ncsnpp": "score_sde.ve.cifar10_ncsnpp_continuous"}
PEAK = 989e12  # dense bfloat16 products of an H100 or H200


def experiment_of(network: str, batch: int, dtype: str):
    """Return the experiment of a config, data not needed."""
    from sgm_jax import components
    from sgm_jax.experiment import Experiment

    config = importlib.import_module(f"configs.{EXPERIMENTS[network]}").get_config()
    config.network.dtype = dtype
    config.train.batch_size = batch
    load = functools.partial(components.describe_data, num_classes=None)
    return Experiment.from_config(config, load=load)


def measure(step, steps: int = STEPS, settle: int = SETTLE) -> float:
    """Return the seconds of one of `steps` calls of a function, whose result can be waited for."""
    import jax

    out = None
    for _ in range(settle):
        out = step()
    jax.block_until_ready(out)
    start = time.perf_counter()
    for _ in range(steps):
        out = step()
    jax.block_until_ready(out)
    return (time.perf_counter() - start) / steps


def train(options) -> dict:
    """Time our training step."""
    import jax
    import numpy as np

    from sgm_jax import planning, training
    from sgm_jax.planning import cost, hlo
    from sgm_jax.planning.programs import training_step

    experiment = experiment_of(options.network, options.batch, options.dtype)
    topology = planning.find("gpu" if jax.default_backend() == "gpu" else "cpu")
    lowered = training_step(experiment, topology)
    start = time.perf_counter()
    compiled = lowered.program.compile()
    row = {"compile_s": time.perf_counter() - start}
    flops = row["flops"] = cost.flops(hlo.read(compiled.as_text()))
    stats = compiled.memory_analysis()
    for name in ("argument", "output", "alias", "temp", "generated_code"):
        row[f"{name}_gib"] = getattr(stats, f"{name}_size_in_bytes") / 2**30
    if options.text:
        pathlib.Path(options.text).write_text(compiled.as_text())
    if options.compile_only and options.dispatch == 1:
        return row
    updates = options.dispatch
    program = training.jit_program(experiment.train_step(), experiment.init, training.make_mesh(), steps=updates)
    state, random = [program.init()], np.random.default_rng(0)
    x = random.integers(0, 256, (options.batch, *experiment.dataset.shape), np.uint8)

    def step():
        batch = program.place([{"x": x}] * updates)
        state[0], metrics = (program.step if updates > 1 else compiled)(state[0], batch)
        return metrics["loss"]

    row["step_ms"] = 1e3 * measure(step) / updates
    row["updates_a_dispatch"] = updates
    start = time.perf_counter()
    out = step()
    row["host_ms"] = 1e3 * (time.perf_counter() - start) / updates
    jax.block_until_ready(out)
    row |= rates(options.batch, row["step_ms"], flops)
    peak = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    row["peak_gib"] = peak and peak / 2**30
    if options.trace:
        jax.profiler.start_trace(options.trace)
        for _ in range(3):
            out = step()
        jax.block_until_ready(out)
        jax.profiler.stop_trace()
    return row


def rates(batch: int, milliseconds: float, flops: float) -> dict:
    return {
        "images_per_s": 1e3 * batch / milliseconds,
        "flops_utilisation": flops / (milliseconds / 1e3) / PEAK,
    }


def torch_train(options) -> dict:
    """Time PyTorch's training step of the same network."""
    import torch

    from benchmarks.torch_unet import TorchUNet

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = TorchUNet(fir=options.network == "ncsnpp").to(device).to(memory_format=torch.channels_last)
    average = [p.detach().clone() for p in model.parameters()]
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-4, eps=1e-8, fused=device == "cuda")
    network = torch.compile(model) if options.mode == "default" else torch.compile(model, mode=options.mode)
    x = torch.randn(options.batch, 3, 32, 32, device=device).to(memory_format=torch.channels_last)

    def step():
        t = torch.rand(options.batch, device=device) * (1 - 1e-5) + 1e-5
        log_alpha = -0.25 * t**2 * 19.9 - 0.05 * t
        alpha, sigma = torch.exp(log_alpha), torch.sqrt(-torch.expm1(2 * log_alpha))
        noise = torch.randn_like(x)
        xt = alpha[:, None, None, None] * x + sigma[:, None, None, None] * noise
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16):
            output = network(999 * t + 1e-3, xt)
        loss = torch.mean((output.float() - noise) ** 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(average, list(model.parameters()), 1e-4)
        return loss

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    start = time.perf_counter()
    for _ in range(SETTLE):
        step()
    wait()
    row = {"first_s": time.perf_counter() - start}
    if options.compile_only:
        return row
    start = time.perf_counter()
    for _ in range(STEPS):
        step()
    wait()
    row["step_ms"] = 1e3 * (time.perf_counter() - start) / STEPS
    row["images_per_s"] = 1e3 * options.batch / row["step_ms"]
    if device == "cuda":
        row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def sample(options) -> dict:
    """Time a sampler, and the bare network as often in a loop of its own."""
    import diffrax
    import jax
    import jax.numpy as jnp

    import sgm_jax as sgm
    from sgm_jax.shapes import per_example_keys

    experiment = experiment_of(options.network, options.batch, options.dtype)
    shape = (options.batch, *experiment.dataset.shape)
    params = jax.jit(experiment.init_params)()
    sde = experiment.sde
    levels = sgm.karras(experiment.sde, options.steps, s_min=0.01, s_max=50.0)

    def draw(params, keys):
        score = experiment.score_fn(params)
        if options.sampler == "heun":
            process, solver = sgm.ProbabilityFlow(sde, score), diffrax.Heun()
        else:
            process, solver = sgm.ReverseSDE(sde, score), sgm.PredictorCorrector(corrector=sgm.Langevin(0.16))
        return sgm.sample(keys, process, shape, solver=solver, schedule=levels, final="none").x

    keys = per_example_keys(jax.random.key(0), options.batch)
    evaluations = 2 * options.steps
    counted = min(evaluations, 100)  # of the bare network, whose time is then multiplied
    times = jax.vmap(sde.t)(jnp.asarray(levels, jnp.float32)[: counted // 2])

    def bare(params, x):
        # Of inputs like the sampler's, for products of zeros take less power, and so less time.
        score = experiment.score_fn(params)
        return jax.lax.fori_loop(0, counted, lambda i, x: x + 1e-6 * score(times[i // 2], x), x)

    x = sde.prior_sample(jax.random.key(1), shape)
    start = time.perf_counter()
    sampler, network = jax.jit(draw).lower(params, keys).compile(), jax.jit(bare).lower(params, x).compile()
    row = {"evaluations": evaluations, "compile_s": time.perf_counter() - start}
    if options.compile_only:
        return row
    row["network_s"] = measure(lambda: network(params, x), 2, 1) * evaluations / counted
    row["sampler_s"] = measure(lambda: sampler(params, keys), options.runs, settle=int(options.runs > 1))
    row["overhead"] = row["sampler_s"] / row["network_s"] - 1
    row["images_per_s"] = options.batch / row["sampler_s"]
    return row


def kernels(folder: str, most: int = 12) -> list[list]:
    """Return the kernels of a trace that take longest: name, XLA's operation, calls, milliseconds in all."""
    import collections

    import jax

    totals, counts = collections.Counter(), collections.Counter()
    for path in pathlib.Path(folder).rglob("*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines if "/device:" in plane.name else ():
                if not line.name.startswith("Stream"):
                    continue
                for event in line.events:
                    key = event.name[:90], dict(event.stats).get("hlo_op", "")
                    totals[key] += event.duration_ns / 1e6
                    counts[key] += 1
    rows = [[*key, counts[key], round(value, 3)] for key, value in totals.most_common(most)]
    return [["all", "", counts.total(), round(totals.total(), 3)], *rows]


PARTS = {"train": train, "torch": torch_train, "sample": sample}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--network", choices=EXPERIMENTS, default="ddpmpp")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--dispatch", type=int, default=1, help="updates in one call of our step")
    parser.add_argument("--mode", default="default", help="of torch.compile")
    parser.add_argument("--sampler", choices=("heun", "pc"), default="heun")
    parser.add_argument("--steps", type=int, default=18)
    parser.add_argument("--runs", type=int, default=2, help="of the sampler; one is not warmed up")
    parser.add_argument("--cache", default="/tmp/sgm_jax_cache")
    parser.add_argument("--compile_only", action="store_true")
    parser.add_argument("--text", help="file for the compiled program")
    parser.add_argument("--trace", help="folder for a trace of three steps")
    options = parser.parse_args()
    if options.part == "torch":
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{options.cache}/torch")
    else:
        import jax

        jax.config.update("jax_compilation_cache_dir", f"{options.cache}/jax")
    row = PARTS[options.part](options)
    shown = {name: getattr(options, name) for name in ("part", "network", "batch", "dtype")}
    shown |= {"sampler": options.sampler, "steps": options.steps} if options.part == "sample" else {}
    rounded = {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}
    print(
        json.dumps(
            shown | {k: v for k, v in rounded.items() if v is None or not isinstance(v, float) or math.isfinite(v)}
        )
    )
    if options.trace:
        for row in kernels(options.trace):
            print(row)


if __name__ == "__main__":
    main()
