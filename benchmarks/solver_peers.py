"""The samplers of diffusers and azula on an exact model, for `benchmarks/solvers.py`.

Each row is a function `evaluations -> (start, sigma, result)`: the state `x / alpha` it starts at and its noise level,
and where it ends. They run in float64 where the library can, with the grids the libraries offer.
"""

import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator

# torchvision cannot be imported beside a CPU build of PyTorch unless this module is there; nothing uses it.
sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))

import diffusers
import numpy as np
import torch
from azula import denoise, noise, sample

Row = Callable[[int], tuple[np.ndarray, float, np.ndarray]]
SIGMAS = 0.002, 80.0


def mixture_denoiser(means: np.ndarray, std: float) -> Callable:
    """Return `D(x / alpha, sigma)` of a mixture with equal weights."""
    centres = torch.as_tensor(means)

    def denoiser(x, sigma):
        kind, x = x.dtype, x.double()
        sigma = torch.as_tensor(sigma, dtype=torch.float64)
        variance = std**2 + sigma**2
        weights = torch.softmax(-0.5 * torch.cdist(x, centres) ** 2 / variance, dim=1)
        return ((sigma**2 * (weights @ centres) + std**2 * x) / variance).to(kind)

    return denoiser


def karras(steps: int) -> torch.Tensor:
    low, high = (value ** (1 / 7) for value in SIGMAS)
    return torch.linspace(high, low, steps, dtype=torch.float64) ** 7


def run_diffusers(scheduler, denoiser, normal: np.ndarray, dtype, evaluations: int):
    """Run a scheduler of diffusers whose state is `alpha x / alpha` (VP) or `x / alpha` (the others)."""
    edm = type(scheduler).__name__.startswith("EDM")
    exploding = edm or isinstance(scheduler, diffusers.LMSDiscreteScheduler)
    scheduler.set_timesteps(evaluations)
    sigmas = scheduler.sigmas.double()
    alpha = lambda sigma: 1.0 if exploding else float((1 + sigma**2) ** -0.5)
    start = float(sigmas[0]) * torch.as_tensor(normal, dtype=dtype)
    x = start * alpha(sigmas[0])
    for index, t in enumerate(scheduler.timesteps):
        sigma = float(sigmas[index])
        scheduler.scale_model_input(x, t)
        position = x / alpha(sigmas[index])
        estimate = denoiser(position, sigma)
        output = (position - estimate) / sigma
        if edm:
            data = scheduler.config.sigma_data
            radius = (sigma**2 + data**2) ** 0.5
            output = (estimate - data**2 / radius**2 * position) * radius / (sigma * data)
        x = scheduler.step(output, t, x).prev_sample
    return start.numpy(), float(sigmas[0]), x.numpy()


class Exploding(noise.Schedule):
    """The schedule `alpha = 1`, `sigma = t`."""

    def __call__(self, t):
        return torch.ones_like(t), t


class Exact(denoise.Denoiser):
    """Azula's face of the exact denoiser."""

    def __init__(self, denoiser, schedule):
        super().__init__()
        self.denoiser, self.schedule = denoiser, schedule

    def forward(self, x_t, t, **kwargs):
        alpha, sigma = self.schedule(t)
        return denoise.DiracPosterior(self.denoiser(x_t / alpha, sigma / alpha))


def linspace(steps: int) -> torch.Tensor:
    """Return DDPM's noise levels at evenly spaced time steps."""
    alpha = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    return ((1 - alpha) / alpha).sqrt()[torch.linspace(999, 0, steps).round().long()]


def run_azula(kind, order: int, grid, denoiser, normal: np.ndarray, evaluations: int):
    """Run a sampler of azula on a grid of levels, ended by one evaluation of the denoiser as EDM does."""
    levels = grid(evaluations)

    class Sampler(kind):
        timesteps = property(lambda self: levels)

    start = levels[0] * torch.as_tensor(normal)
    sampler = Sampler(Exact(denoiser, Exploding()), order=order, silent=True)
    x = sampler(start) if evaluations > 1 else start
    return start.numpy(), float(levels[0]), denoiser(x, levels[-1]).numpy()


def rows(denoiser: Callable, normal: np.ndarray) -> Iterator[tuple[str, Row]]:
    """Yield the rows of both libraries."""
    vp = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    grids = {
        "linspace": dict(timestep_spacing="linspace"),
        "karras": dict(use_karras_sigmas=True),
        "exp": dict(use_exponential_sigmas=True),
    }
    multistep, deis, unipc = (
        diffusers.DPMSolverMultistepScheduler,
        diffusers.DEISMultistepScheduler,
        diffusers.UniPCMultistepScheduler,
    )
    for grid, options in grids.items():
        for name, kind, more, dtype in (
            ("DPM++2M", multistep, dict(solver_order=2, final_sigmas_type="zero"), torch.float64),
            ("DPM++3M", multistep, dict(solver_order=3, final_sigmas_type="zero"), torch.float64),
            ("DEIS3", deis, dict(solver_order=3), torch.float64),
            ("UniPC2", unipc, dict(solver_order=2, final_sigmas_type="zero"), torch.float32),
            ("UniPC3", unipc, dict(solver_order=3, final_sigmas_type="zero"), torch.float32),
            ("LMS", diffusers.LMSDiscreteScheduler, {}, torch.float64),
        ):
            scheduler = kind(**vp, **options, **more)
            yield f"diffusers {name} {grid}", functools.partial(run_diffusers, scheduler, denoiser, normal, dtype)
    for order in (2, 3):
        scheduler = diffusers.EDMDPMSolverMultistepScheduler(
            sigma_min=SIGMAS[0], sigma_max=SIGMAS[1], solver_order=order, final_sigmas_type="zero"
        )
        label = f"diffusers EDM-DPM++{order}M karras"
        yield label, functools.partial(run_diffusers, scheduler, denoiser, normal, torch.float64)
    for name, kind in (("zEAB", sample.zEABSampler), ("xEAB", sample.xEABSampler), ("vAB", sample.vABSampler)):
        for order, grid in itertools.product((2, 3), (karras, linspace)):
            run = functools.partial(run_azula, kind, order, grid, denoiser, normal)
            yield f"azula {name}{order} {grid.__name__}", run


def stochastic_rows(denoiser: Callable, d: int) -> Iterator[tuple[str, Callable[[int, int, int], np.ndarray]]]:
    """Yield the stochastic samplers of both libraries, as functions `(evaluations, count, seed) -> samples`."""

    def azula_ito(evaluations: int, count: int, seed: int) -> np.ndarray:
        torch.manual_seed(seed)
        schedule = noise.VPSchedule()
        sampler = sample.ItoSampler(Exact(denoiser, schedule), steps=evaluations, silent=True)
        return sampler(sampler.init((count, d), dtype=torch.float64)).numpy()

    yield "azula Ito, its VP", azula_ito
    vp = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    for grid, options in (("linspace", dict(timestep_spacing="linspace")), ("karras", dict(use_karras_sigmas=True))):

        def sde_dpm(evaluations: int, count: int, seed: int, options=options) -> np.ndarray:
            torch.manual_seed(seed)
            scheduler = diffusers.DPMSolverMultistepScheduler(
                **vp, **options, algorithm_type="sde-dpmsolver++", final_sigmas_type="zero"
            )
            normal = torch.randn((count, d), dtype=torch.float64).numpy()
            return run_diffusers(scheduler, denoiser, normal, torch.float64, evaluations)[2]

        yield f"diffusers SDE-DPM++2M {grid}", sde_dpm


def loops(shape: tuple[int, ...], steps: int) -> dict[str, Callable[[], None]]:
    """Return name -> a whole run of `steps` steps with a model that costs nothing."""
    x = torch.randn(shape)
    vp = dict(num_train_timesteps=1000, beta_start=1e-4, beta_end=0.02, beta_schedule="linear")

    def diffusers_loop(scheduler):
        scheduler.set_timesteps(steps)
        state = x
        for t in scheduler.timesteps:
            state = scheduler.step(0.5 * state, t, state).prev_sample

    def azula_loop(kind, options):
        kind(Exact(lambda x, t: 0.5 * x, Exploding()), steps=steps, start=1.0, stop=0.01, silent=True, **options)(x)

    runs = {}
    for name, scheduler in (
        ("diffusers, DDIM", diffusers.DDIMScheduler(**vp, clip_sample=False)),
        ("diffusers, DPM-Solver++(2M)", diffusers.DPMSolverMultistepScheduler(**vp)),
        ("diffusers, UniPC3", diffusers.UniPCMultistepScheduler(**vp, solver_order=3)),
        ("diffusers, DDPM", diffusers.DDPMScheduler(**vp, clip_sample=False)),
    ):
        runs[name] = functools.partial(diffusers_loop, scheduler)
    for name, kind, options in (
        ("azula, DDIM", sample.DDIMSampler, {}),
        ("azula, zEAB2", sample.zEABSampler, dict(order=2)),
        ("azula, DDPM", sample.DDPMSampler, {}),
    ):
        runs[name] = functools.partial(azula_loop, kind, options)
    return runs
