"""What the sampler costs beyond its arithmetic: `python -m benchmarks.sampling_overhead`.

Three tables from one run: `sgm_jax.sample` beside a hand-written `lax.fori_loop` of the same arithmetic, in turns, as
ratios of the medians; microseconds a step of a trivial model beside diffusers and azula, where they are installed; and
seconds from the first call to the end of compilation for a small network.
"""

import functools
import importlib.util
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from benchmarks import tables
from sgm_jax import sampling
from sgm_jax.networks import UNet
from sgm_jax.samplers import OPTIONS, SOLVERS, make_solver
from sgm_jax.sampling import per_example_noise
from sgm_jax.shapes import per_example_keys

SDE = sgm.EDM()
ROUNDS = 21


def by_hand_euler(noise, s, x):
    def step(i, x):
        return x + (s[i + 1] - s[i]) * noise(s[i], x)

    return jax.lax.fori_loop(0, len(s) - 1, step, x)


def by_hand_dpm_solver(noise, s, x):
    def step(i, carry):
        x, past, past_step = carry
        denoised = x - s[i] * noise(s[i], x)
        ratio = s[i + 1] / s[i]
        log_step = -jnp.log(ratio)
        slope = jnp.where(i > 0, 0.5 * log_step / past_step, 0.0)
        target = denoised + slope * (denoised - past)
        return target + ratio * (x - target), denoised, log_step

    return jax.lax.fori_loop(0, len(s) - 1, step, (x, jnp.zeros_like(x), jnp.ones(())))[0]


def by_hand_euler_maruyama(noise, s, x, keys):
    def step(i, x):
        gap = s[i] ** 2 - s[i + 1] ** 2
        return x - gap / s[i] * noise(s[i], x) + jnp.sqrt(gap) * per_example_noise(keys, i, x.shape)

    return jax.lax.fori_loop(0, len(s) - 1, step, x)


def ratio_of_medians(ours, theirs) -> tuple[float, float]:
    for function in (ours, theirs):
        jax.block_until_ready(function())
    times = {ours: [], theirs: []}
    for _ in range(ROUNDS):
        for function in (ours, theirs):
            start = time.perf_counter()
            jax.block_until_ready(function())
            times[function].append(time.perf_counter() - start)
    return float(np.median(times[ours])), float(np.median(times[theirs]))


def score_of(noise):
    return lambda t, x: -noise(t, x) / t


def compare(model, noise, shape, steps) -> None:
    """Print one row a sampler for a model given as its noise estimate."""
    schedule = jnp.asarray(sgm.karras(SDE, steps))
    x = SDE.prior_sample(jax.random.key(1), shape)
    keys = per_example_keys(jax.random.key(2), shape[0])
    flow = sgm.ProbabilityFlow(SDE, score_of(noise))
    reverse = sgm.ReverseSDE(SDE, score_of(noise))

    def draw(process, solver):
        key = jax.random.key(0)
        return sgm.sample(key, process, shape, solver=solver, schedule=schedule, x_init=x, final="none").x

    for name, process, solver, by_hand in (
        ("Euler (DDIM)", flow, diffrax.Euler(), by_hand_euler),
        ("DPM-Solver++(2M)", flow, sgm.DPMSolverPP(), by_hand_dpm_solver),
        ("Euler-Maruyama", reverse, diffrax.Euler(), functools.partial(by_hand_euler_maruyama, keys=keys)),
    ):
        ours = jax.jit(functools.partial(draw, process, solver))
        theirs = jax.jit(functools.partial(by_hand, sgm.as_noise(SDE, score_of(noise)), schedule, x))
        mine, hand = ratio_of_medians(ours, theirs)
        tables.row(model, name, steps, f"{mine * 1e3:.1f}", f"{hand * 1e3:.1f}", f"{mine / hand:.3f}")


def steps_beside_peers(shape=(64, 32, 32, 3), steps=100) -> None:
    """Print the time of a step with a model that costs nothing."""
    noise = lambda t, x: 0.5 * x / (1 + t)
    times = {}

    def draw(process, solver):
        return sgm.sample(jax.random.key(0), process, shape, solver=solver, steps=steps, final="none").x

    for name, process, solver in (
        ("ours, DDIM", sgm.ProbabilityFlow, diffrax.Euler()),
        ("ours, DPM-Solver++(2M)", sgm.ProbabilityFlow, sgm.DPMSolverPP()),
        ("ours, UniPC3", sgm.ProbabilityFlow, sampling.UniPC(3)),
        ("ours, ancestral", sgm.ReverseSDE, sampling.Ancestral()),
        ("ours, Euler-Maruyama + 1 Langevin step", sgm.ReverseSDE, sgm.PredictorCorrector()),
    ):
        flow = process(SDE, score_of(noise))
        times[name] = functools.partial(draw, flow, solver)
    if all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "azula")):
        from benchmarks import solver_peers

        times |= solver_peers.loops(shape, steps)
    tables.header("trivial model, batch 64x32x32x3", "us a step")
    for name, run in times.items():
        jax.block_until_ready(run())
        spent = []
        for _ in range(5):
            begun = time.perf_counter()
            jax.block_until_ready(run())
            spent.append(time.perf_counter() - begun)
        tables.row(name, f"{1e6 * min(spent) / steps:.0f}")


def compile_times() -> None:
    """Print how long the first call of each sampler takes with a small network, less the second."""
    unet = UNet(channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0)
    params = unet.init(jax.random.key(0), jnp.ones(1), jnp.ones((1, 16, 16, 1)))
    score = sgm.as_score(SDE, "edm", functools.partial(unet.apply, params))
    tables.header("small U-Net", "seconds to compile")
    section = {"steps": 20} | dict.fromkeys(OPTIONS)
    for name in SOLVERS:
        if name in ("score_sde_ancestral", "kvaerno5"):
            continue  # the one is of VP and VE alone, the other of adaptive steps
        solver = make_solver(section | {"solver": name}, SDE, sgm.karras(SDE, 20))
        noisy = isinstance(solver, diffrax.AbstractItoSolver | diffrax.AbstractSRK)
        process = sgm.ReverseSDE if noisy else sgm.ProbabilityFlow
        process = sgm.ReverseSDE if name in ("predictor_corrector", "gotta_go_fast") else process
        spent = []
        for seed in range(2):
            begun = time.perf_counter()
            out = sgm.sample(jax.random.key(seed), process(SDE, score), (4, 16, 16, 1), solver=solver, steps=20)
            jax.block_until_ready(out.x)
            spent.append(time.perf_counter() - begun)
        tables.row(name, f"{spent[0] - spent[1]:.2f}")


def main() -> None:
    trivial = lambda t, x: 0.5 * x / (1 + t)
    unet = UNet(channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0)
    params = unet.init(jax.random.key(0), jnp.ones(1), jnp.ones((1, 16, 16, 1)))
    small_network = lambda t, x: unet.apply(params, jnp.broadcast_to(t, x.shape[:1]), x)
    tables.header("model", "sampler", "steps", "sample, ms", "by hand, ms", "ratio")
    compare("trivial", trivial, (64, 32, 32, 3), 200)
    compare("small U-Net", small_network, (16, 16, 16, 1), 50)
    steps_beside_peers()
    compile_times()


if __name__ == "__main__":
    main()
