"""What the sampler costs beyond its arithmetic: `python benchmarks/sampling_overhead.py`.

Each row times `sgm_jax.sample` beside a hand-written `lax.fori_loop` of the same arithmetic, in turns within one run,
and prints the ratio of the medians.
"""

import functools
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax.networks import UNet
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
        print(f"{model:14} {name:16} {steps:5} {mine * 1e3:8.1f}ms {hand * 1e3:8.1f}ms {mine / hand:6.3f}")


def main() -> None:
    trivial = lambda t, x: 0.5 * x / (1 + t)
    unet = UNet(channels=16, multipliers=(1, 2), blocks=1, attention=(), dropout=0.0)
    params = unet.init(jax.random.key(0), jnp.ones(1), jnp.ones((1, 16, 16, 1)))
    small_network = lambda t, x: unet.apply(params, jnp.broadcast_to(t, x.shape[:1]), x)
    print(f"{'model':14} {'sampler':16} {'steps':>5} {'sample':>10} {'by hand':>10} {'ratio':>6}")
    compare("trivial", trivial, (64, 32, 32, 3), 200)
    compare("small U-Net", small_network, (16, 16, 16, 1), 50)


if __name__ == "__main__":
    main()
