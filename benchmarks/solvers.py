"""Error per evaluation of the score, beside diffusers and azula: `python -m benchmarks.solvers`.

Every library is given the exact model of one Gaussian mixture: 8 components of equal weight, means `4 N(0, I)`,
standard deviation 0.3, in 2 and 64 dimensions, float64. The error is that of each of 1,024 samples to the exact
probability flow from the very state the sampler starts at, per coordinate: `rms` over all samples (ruled by the few
that change mode) and `median` over them. The last evaluation, which denoises, is counted. Peers run where they are
installed (`pip install -e '.[parity]'`); their best rows on record stand beside them. Stochastic samplers are judged
by the sliced Wasserstein-2 distance of 10,000 samples to as many from the mixture, root mean square over five repeats
(between two draws of the mixture it is ruled by chance in the components' shares).
"""

import argparse
import functools
import importlib.util
import time
from collections.abc import Callable, Iterator

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax import sampling
from sgm_jax.sampling import DenoisedForm, ExponentialAdams, NoiseForm, SoftLog, VelocityForm, then_zero

jax.config.update("jax_enable_x64", True)

EVALUATIONS = (5, 8, 10, 15, 20, 50, 100)
FITTED = (5, 8, 10)
STD, COUNT = 0.3, 1024
SDES = {"EDM": sgm.EDM(), "VP": sgm.VP(), "VE": sgm.VE()}
# The best of diffusers 0.42, k-diffusion 0.1.1 and azula 0.11 on the same setup, each over all its samplers and grids:
# (dimensions, evaluations) -> (rms, median); 8 and 15 evaluations were not recorded.
RECORDED = {
    (2, 5): (0.342, 0.125),
    (2, 10): (0.184, 0.0161),
    (2, 20): (0.0450, 0.0059),
    (2, 50): (0.00326, 0.00018),
    (2, 100): (0.00039, 0.000048),
    (64, 5): (0.703, 0.0788),
    (64, 10): (0.327, 0.0054),
    (64, 20): (0.0074, 0.0017),
    (64, 50): (0.00111, 0.00018),
    (64, 100): (0.00018, 0.000031),
}


def mixture_means(d: int) -> np.ndarray:
    return 4 * np.random.default_rng(0).standard_normal((8, d))


def mixture_score(sde, means: np.ndarray) -> Callable:
    """Return the exact score of the mixture under any SDE."""

    def score(t, x):
        alpha, sigma = (value if value.ndim == 0 else value[:, None] for value in (sde.alpha(t), sde.sigma(t)))
        variance = (alpha * STD) ** 2 + sigma**2
        squares = alpha**2 * jnp.sum(means**2, 1) - 2 * alpha * x @ means.T
        weights = jax.nn.softmax(-0.5 * squares / variance, axis=1)
        return (alpha * weights @ means - x) / variance

    return score


def exact_flow(means: np.ndarray) -> Callable:
    """Return `(x / alpha, s) -> samples`: the probability flow solved to 1e-11."""
    sde = sgm.EDM(t_min=1e-5, t_max=1e3)
    process = sgm.ProbabilityFlow(sde, mixture_score(sde, means), sgm.Angle())
    options = dict(solver=diffrax.Dopri8(), rtol=1e-11, atol=1e-11, max_steps=100_000)

    def solve(start, high):
        start = jnp.asarray(start, jnp.float64)
        ends = np.array([high, 1e-5])
        return np.asarray(sgm.sample(jax.random.key(0), process, start.shape, schedule=ends, x_init=start, **options).x)

    return solve


# ------------------------------------------------------------------------------------------------ our rows


def until(grid: Callable, s_min: float) -> Callable:
    """Cut a grid's levels to those of a process that ends at `s_min`, and end with a step to zero."""

    def cut(sde, steps):
        low, high = sampling.level_range(sde)
        return grid(sgm.EDM(t_min=s_min, t_max=high), steps)

    return then_zero(cut)


def like_vp(sde, steps: int) -> np.ndarray:
    """Space the levels as VP's uniform time does, between any ends."""
    vp, (low, high) = sgm.VP(), sampling.level_range(sde)
    with jax.ensure_compile_time_eval():
        return np.asarray(vp.s(jnp.linspace(vp.t(high), vp.t(low), steps + 1)))


class Soft(sampling.SoftLog):
    """`log(s**2 + scale**2) / 2`, finite at zero like `SoftLog`, which it resembles above the scale."""

    def __call__(self, s):
        return 0.5 * jnp.log(jnp.square(s) + self.scale**2)


def our_solvers() -> dict[str, tuple]:
    """Return name -> (solver, schedule, final)."""
    spaced = lambda scale: SoftLog(scale).schedule
    fourth = lambda scale, variable: ExponentialAdams(4, VelocityForm(scale), variable=variable, correction=1.0)
    second = lambda scale: ExponentialAdams(2, DenoisedForm(), variable=SoftLog(scale), correction=1.0)
    third = ExponentialAdams(3, VelocityForm(8.0), variable=functools.partial(_angle, 4.0))
    return {
        "DDIM karras": (diffrax.Euler(), sgm.karras, "tweedie"),
        "Heun karras": (diffrax.Heun(), sgm.karras, "tweedie"),
        "DPM-Solver++(2M) karras": (sampling.DPMSolverPP(2), sgm.karras, "tweedie"),
        "DPM-Solver++(3M) log-SNR": (sampling.DPMSolverPP(3), sgm.uniform_log_snr, "tweedie"),
        "UniPC2 log-SNR": (sampling.UniPC(2), sgm.uniform_log_snr, "tweedie"),
        "UniPC3 log-SNR": (sampling.UniPC(3), sgm.uniform_log_snr, "tweedie"),
        "DEIS3 karras": (ExponentialAdams(3, NoiseForm()), sgm.karras, "tweedie"),
        "AB3 velocity(8), angle, VP times to 0.4, 0": (third, until(like_vp, 0.4), "none"),
        "AB2+c denoised, soft(0.1), soft steps to 0": (second(0.1), spaced(0.3), "none"),
        "AB2+c denoised, soft(0.3), karras to 0.4, 0": (second(0.3), until(sgm.karras, 0.4), "none"),
        "AB4+c velocity(4), soft, VP times to 0.1, 0": (fourth(4.0, Soft(0.3)), until(like_vp, 0.1), "none"),
        "AB4+c velocity(4), soft(0.3), VP times to 0.03, 0": (
            fourth(4.0, SoftLog(0.3)),
            until(like_vp, 0.03),
            "none",
        ),
        "AB4+c velocity(1), soft(0.3), soft steps to 0.03, 0": (
            fourth(1.0, SoftLog(0.3)),
            until(_soft_steps, 0.03),
            "none",
        ),
        "AB4+c velocity(4), soft(0.3), soft steps to 0": (fourth(4.0, SoftLog(0.3)), spaced(0.3), "none"),
    }


def _angle(scale: float, s):
    return jnp.arctan(s / scale)


def _soft_steps(sde, steps: int, scale: float = 0.3) -> np.ndarray:
    low, high = sampling.level_range(sde)
    return scale * np.sinh(np.linspace(np.arcsinh(high / scale), np.arcsinh(low / scale), steps + 1))


def run_ours(sde, means, normal, solver, schedule, final, evaluations: int):
    """Run one of our samplers so that it makes `evaluations` evaluations."""
    per_step = solver.tableau.num_stages if isinstance(solver, diffrax.Heun) else 1
    steps = (evaluations - (final == "tweedie")) // per_step
    levels = np.asarray(schedule(sde, steps))
    start = levels[0] * normal
    process = sgm.ProbabilityFlow(sde, mixture_score(sde, means))
    out = sgm.sample(
        jax.random.key(0),
        process,
        normal.shape,
        solver=solver,
        schedule=levels,
        final=final,
        x_init=jnp.asarray(start) * sde.alpha(sde.t(levels[0])),
    )
    assert int(out.nfe) <= evaluations, (int(out.nfe), evaluations)
    return start, levels[0], out.x


def our_rows(means: np.ndarray, normal: np.ndarray, sdes: dict) -> Iterator[tuple[str, Callable]]:
    for label, sde in sdes.items():
        for name, choice in our_solvers().items():
            yield f"{label}: {name}", functools.partial(run_ours, sde, means, normal, *choice)


# ------------------------------------------------------------------------------------------------ tables


def errors(row: Callable, evaluations: int, reference: Callable) -> tuple[float, float]:
    """Return the root mean square and the median error of a row."""
    start, high, result = row(evaluations)
    each = np.sqrt(np.mean((np.asarray(result, np.float64) - reference(start, float(high))) ** 2, 1))
    return float(np.sqrt(np.mean(each**2))), float(np.median(each))


def table(d: int, sdes: dict, peers: bool) -> None:
    """Print every row's errors in `d` dimensions, then the best of each side and what was on record."""
    means, normal = mixture_means(d), np.random.default_rng(1).standard_normal((COUNT, d))
    reference = exact_flow(means)
    rows = [("ours", *row) for row in our_rows(means, normal, sdes)]
    if peers:
        from benchmarks import solver_peers

        rows += [("peers", *row) for row in solver_peers.rows(solver_peers.mixture_denoiser(means, STD), normal)]
    print(f"\n## d = {d}: rms / median\n\n| sampler | " + " | ".join(map(str, EVALUATIONS)) + " |")
    print("|---|" + "---|" * len(EVALUATIONS))
    best: dict = {}
    for side, name, row in rows:
        cells = []
        for evaluations in EVALUATIONS:
            rms, median = errors(row, evaluations, reference)
            cells.append(f"{rms:.2g} / {median:.2g}")
            for figure, value in (("rms", rms), ("median", median)):
                if np.isfinite(value):
                    key = side, figure, evaluations
                    best[key] = min(best.get(key, (np.inf, "")), (value, name))
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    for side in ("ours", *(["peers"] if peers else [])):
        for figure in ("rms", "median"):
            cells = " | ".join(f"{best[side, figure, n][0]:.2g}" for n in EVALUATIONS)
            print(f"| **best {figure}, {side}** | {cells} |")
    for index, figure in enumerate(("rms", "median")):
        cells = (f"{RECORDED[d, n][index]:.2g}" if (d, n) in RECORDED else "" for n in EVALUATIONS)
        print(f"| **best {figure}, peers on record** | " + " | ".join(cells) + " |")
    for n in EVALUATIONS:
        print(f"- {n}: {best['ours', 'rms', n][1]} (rms), {best['ours', 'median', n][1]} (median)")


def fitted(d: int) -> None:
    """Print the errors of fitted samplers on noise disjoint from the calibration's."""
    means, sde = mixture_means(d), SDES["EDM"]
    reference = exact_flow(means)
    process = sgm.ProbabilityFlow(sde, mixture_score(sde, means))
    normal = np.random.default_rng(1).standard_normal((COUNT, d))
    print(f"\n## d = {d}, fitted to 1,024 other noises\n\n| evaluations | rms | median | seconds |\n|---|---|---|---|")
    for evaluations in FITTED:
        begun = time.perf_counter()
        fit = sampling.fit_schedule(jax.random.key(7), process, (1024, d), evaluations)
        seconds = time.perf_counter() - begun
        row = functools.partial(run_ours, sde, means, normal, fit.solver, lambda sde, n, s=fit.schedule: s, fit.final)
        rms, median = errors(row, evaluations, reference)
        print(f"| {evaluations} | {rms:.3g} | {median:.3g} | {seconds:.0f} |", flush=True)


def sliced_wasserstein(a: np.ndarray, b: np.ndarray, projections: int = 128) -> float:
    """Return the sliced Wasserstein-2 distance between two sets of points of one size."""
    directions = np.random.default_rng(2).standard_normal((projections, a.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sorted_a, sorted_b = np.sort(a @ directions.T, 0), np.sort(b @ directions.T, 0)
    return float(np.sqrt(np.mean((sorted_a - sorted_b) ** 2)))


def our_stochastic_rows(d: int) -> Iterator[tuple[str, Callable[[int, int, int], np.ndarray]]]:
    """Yield our stochastic samplers, as functions `(evaluations, count, seed) -> samples`."""
    sde = SDES["EDM"]
    score = mixture_score(sde, mixture_means(d))
    once = lambda n: n - 1
    coarse, coarse_vp = functools.partial(sgm.karras, s_min=0.4), until(like_vp, 0.3)
    for name, eta, solver, steps, schedule, final in (
        ("Euler-Maruyama", 1.0, lambda n: diffrax.Euler(), once, sgm.karras, "tweedie"),
        ("Ancestral", 1.0, lambda n: sampling.Ancestral(), once, sgm.karras, "tweedie"),
        ("SDE-DPM-Solver++(2M)", 1.0, lambda n: sampling.SDEDPMSolverPP(), once, sgm.karras, "tweedie"),
        ("SDE-DPM-Solver++(2M), eta 0.3", 0.3, lambda n: sampling.SDEDPMSolverPP(), once, sgm.karras, "tweedie"),
        ("SDE-DPM-Solver++(2M), eta 0.7, to 0.4", 0.7, lambda n: sampling.SDEDPMSolverPP(), once, coarse, "tweedie"),
        ("SA-Solver", 1.0, lambda n: sampling.SASolver(), once, sgm.karras, "tweedie"),
        ("SA-Solver, eta 0.3", 0.3, lambda n: sampling.SASolver(), once, sgm.karras, "tweedie"),
        ("SA-Solver, eta 0.7, VP times to 0.3, 0", 0.7, lambda n: sampling.SASolver(), lambda n: n, coarse_vp, "none"),
        (
            "EDM churn 10",
            1.0,
            lambda n: sampling.Churn(n // 2, s_churn=10.0),
            lambda n: (n - 1) // 2,
            sgm.karras,
            "tweedie",
        ),
    ):
        process = sgm.ReverseSDE(sde, score, eta)

        def draw(n, count, seed, process=process, solver=solver, steps=steps, schedule=schedule, final=final):
            options = dict(solver=solver(n), schedule=np.asarray(schedule(sde, steps(n))), final=final)
            out = sgm.sample(jax.random.key(seed), process, (count, d), **options)
            assert int(out.nfe) <= n
            return np.asarray(out.x)

        yield name, draw


def stochastic(d: int, peers: bool, count: int = 10_000, repeats: int = 5) -> None:
    """Print the distances of stochastic samplers, root mean square over independent repeats of data and samples."""
    means, budgets = mixture_means(d), (10, 20, 50)
    mean_square = lambda distances: np.sqrt(np.mean(np.square(list(distances))))

    def mixture(seed):
        generator = np.random.default_rng(seed)
        return means[generator.integers(0, 8, count)] + STD * generator.standard_normal((count, d))

    data = [mixture(100 + i) for i in range(repeats)]
    floor = mean_square(sliced_wasserstein(x, mixture(200 + i)) for i, x in enumerate(data))
    print(f"\n## d = {d}, stochastic: sliced Wasserstein-2 (between two draws of the data: {floor:.3g})")
    print("\n| sampler | " + " | ".join(map(str, budgets)) + " |\n|---|" + "---|" * len(budgets))
    rows = list(our_stochastic_rows(d))
    if peers:
        from benchmarks import solver_peers

        rows += solver_peers.stochastic_rows(solver_peers.mixture_denoiser(means, STD), d)
    for name, draw in rows:
        cells = []
        for n in budgets:
            distances = (sliced_wasserstein(draw(n, count, 5 + i), x) for i, x in enumerate(data))
            cells.append(f"{mean_square(distances):.3g}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 64])
    parser.add_argument("--sdes", nargs="+", choices=SDES, default=list(SDES))
    parser.add_argument(
        "--parts", nargs="+", choices=("table", "fitted", "stochastic"), default=["table", "fitted", "stochastic"]
    )
    arguments = parser.parse_args()
    peers = all(importlib.util.find_spec(name) for name in ("torch", "diffusers", "azula"))
    for d in arguments.dimensions:
        if "table" in arguments.parts:
            table(d, {name: SDES[name] for name in arguments.sdes}, peers)
        if "fitted" in arguments.parts:
            fitted(d)
        if "stochastic" in arguments.parts:
            stochastic(d, peers)
        # Compiled programs take memory maps, of which Linux allows a process 65,530.
        jax.clear_caches()


if __name__ == "__main__":
    main()
