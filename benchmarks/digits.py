"""Samplers of few evaluations on the trained digits model: `python launch.py && python -m benchmarks.digits`.

For each sampler and budget: the error of 100 samples to the network's own fine solution from the same noise (adaptive
to 1e-5; root mean square and median over samples, per pixel, in the model's range [-1, 1]), and the Fréchet distance of
500 samples in the features that `launch.py` judges by. Fitted samplers are fitted to other noise.
"""

import argparse
import functools
import pathlib
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from configs.mnist import get_config
from sgm_jax import evaluation, modes, sampling, stored
from sgm_jax.data import gather
from sgm_jax.experiment import Experiment
from sgm_jax.sampling import ExponentialAdams, NoiseForm, SoftLog, VelocityForm, then_zero
from sgm_jax.shapes import per_example_keys

BUDGETS = (5, 8, 10)
ERRORS, JUDGED, CALIBRATION, ITERATIONS, ROUNDS = 100, 500, 32, 12, 1


def samplers(sde):
    """Return name -> function `evaluations -> options of sample`."""
    levels = functools.partial(sgm.karras, s_min=0.01, s_max=20.0)

    def denoised_last(solver, schedule=levels, per_step=1):
        return lambda n: dict(solver=solver, schedule=schedule(sde, (n - 1) // per_step))

    def zero_last(solver, s_min):
        schedule = then_zero(functools.partial(sgm.karras, s_min=s_min, s_max=20.0))
        return lambda n: dict(solver=solver, schedule=schedule(sde, n), final="none")

    soft = ExponentialAdams(2, VelocityForm(0.6), variable=SoftLog(0.1), correction=1.0)
    return {
        "DDIM": denoised_last(diffrax.Euler()),
        "Heun": denoised_last(diffrax.Heun(), per_step=2),
        "DPM-Solver++(2M)": denoised_last(sampling.DPMSolverPP(2)),
        "DPM-Solver++(3M)": denoised_last(sampling.DPMSolverPP(3)),
        "UniPC2": denoised_last(sampling.UniPC(2)),
        "DEIS2": denoised_last(ExponentialAdams(2, NoiseForm())),
        "DPM-Solver++(2M), karras to 0.1, 0": zero_last(sampling.DPMSolverPP(2), 0.1),
        "DEIS2, karras to 0.1, 0": zero_last(ExponentialAdams(2, NoiseForm()), 0.1),
        "AB2+c velocity, soft, karras to 0.1, 0": zero_last(soft, 0.1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/mnist"))
    parts = ("published", "levels", "coefficients")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--budgets", type=int, nargs="+", default=BUDGETS)
    arguments = parser.parse_args()
    experiment = Experiment.from_config(get_config())
    params = stored.parameters(experiment, arguments.workdir)
    sde, shape = experiment.sde, experiment.dataset.shape
    flow = sgm.ProbabilityFlow(sde, experiment.score_fn(params))
    keys = per_example_keys(jax.random.key(11), JUDGED)

    def draw(count, **options):
        parts = []
        for start in range(0, count, ERRORS):
            index = np.arange(start, start + ERRORS)
            out = sgm.sample(
                keys[index], flow, (ERRORS, *shape), x_init=noise[index] * options["schedule"][0], **options
            )
            parts.append(np.asarray(out.x))
        return np.concatenate(parts), int(out.nfe)

    noise = jax.random.normal(jax.random.key(12), (JUDGED, *shape))

    @functools.cache
    def fine(high):
        ends = np.array([high, 0.002])
        options = dict(schedule=ends, x_init=noise[:ERRORS] * high, rtol=1e-5, atol=1e-5)
        return np.asarray(sgm.sample(keys[:ERRORS], flow, (ERRORS, *shape), **options).x)

    training = gather(experiment.dataset.train, range(len(experiment.dataset.train)))
    classifier = evaluation.train_classifier(
        modes.stream(experiment, modes.CLASSIFIER), training["x"], training["label"], classes=10
    )
    real = classifier(training["x"])[0]
    held_out = classifier(gather(experiment.dataset.test, range(JUDGED))["x"])[0]
    print(f"Fréchet distance of {JUDGED} held-out digits: {evaluation.frechet_distance(held_out, real):.2f}\n")
    print("| sampler | evaluations | rms | median | Fréchet distance |\n|---|---|---|---|---|")

    def row(name, options):
        x, nfe = draw(JUDGED, **options)
        each = np.sqrt(np.mean((x[:ERRORS] - fine(float(options["schedule"][0]))) ** 2, axis=(1, 2, 3)))
        rms, median = np.sqrt(np.mean(each**2)), np.median(each)
        distance = evaluation.frechet_distance(
            classifier(np.asarray(experiment.scaling.to_raw(jnp.asarray(x))))[0], real
        )
        print(f"| {name} | {nfe} | {rms:.3f} | {median:.3f} | {distance:.1f} |", flush=True)

    if "published" in arguments.parts:
        for name, options in samplers(sde).items():
            for n in arguments.budgets:
                row(name, options(n))
        row(
            "DPM-Solver++(2M), fine",
            dict(solver=sampling.DPMSolverPP(2), schedule=sgm.karras(sde, 49, s_min=0.01, s_max=20.0)),
        )
    if "levels" in arguments.parts:
        for n in arguments.budgets:
            start = sgm.karras(sde, n - 1, s_min=0.01, s_max=20.0)
            fit = functools.partial(sampling.fit_schedule, solver=sampling.DPMSolverPP(2), iterations=ITERATIONS)
            fitted_row(row, "DPM-Solver++(2M), levels fitted", fit, flow, shape, start)
    if "coefficients" in arguments.parts:
        for n in arguments.budgets:
            start = then_zero(functools.partial(sgm.karras, s_min=1.6 / n, s_max=20.0, rho=12.0))(sde, n)
            for rounds, name in ((0, "coefficients fitted"), (ROUNDS, "levels and coefficients fitted")):
                fit = functools.partial(sampling.fit_coefficients, rounds=rounds)
                fitted_row(row, f"multistep, {name}", fit, flow, shape, start)


def fitted_row(row, name, fit, flow, shape, start) -> None:
    begun = time.perf_counter()
    fitted = fit(jax.random.key(13), flow, (CALIBRATION, *shape), len(start) - 1, start=start)
    seconds = time.perf_counter() - begun
    row(f"{name} in {seconds:.0f} s", dict(solver=fitted.solver, schedule=fitted.schedule, final=fitted.final))


if __name__ == "__main__":
    main()
