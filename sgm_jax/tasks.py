"""Inverse problems by name: what a config's `inverse` section stands for."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from sgm_jax import inverse
from sgm_jax.naming import choose, unknown
from sgm_jax.sampling import Hold, Langevin, PredictorCorrector, langevin_levels
from sgm_jax.shapes import PRNGKey

Shape = tuple[int, ...]

# What is not an option of a task or a method.
COMMON = ("task", "method", "noise_std", "count", "draws", "steps", "input", "sampler", "snr", "corrector_steps")

# Tasks: (key, shape, noise_std, **options) -> operator for images [h, w, c].


def inpaint(key: PRNGKey, shape: Shape, noise_std: float, mask: str = "lower_half") -> inverse.Mask:
    """Return the measurement of the pixels that a mask leaves."""
    return inverse.Mask(mask=choose("inverse.mask", mask, inverse.MASKS)(key, shape), shape=shape, noise_std=noise_std)


def colorize(key: PRNGKey, shape: Shape, noise_std: float) -> inverse.Grey:
    """Return the mean of the channels."""
    if shape[-1] < 2:
        raise ValueError(f"inverse.task 'colorize' needs images with colours, got data of shape {shape}")
    return inverse.Grey(shape, None, noise_std)


def super_resolution(
    key: PRNGKey, shape: Shape, noise_std: float, factor: int = 4, filter: str = "average"
) -> inverse.Separable:
    """Return down-sampling by a factor."""
    table = {"average": inverse.average, "bicubic": inverse.bicubic}
    return choose("inverse.filter", filter, table)(shape, factor, noise_std)


def deblur(
    key: PRNGKey, shape: Shape, noise_std: float, kernel: str = "gaussian", width: int = 9
) -> inverse.CircularBlur:
    """Return blurring by a kernel of some width in pixels; a Gaussian's deviation is a sixth of it."""
    kernels = {
        "gaussian": lambda width: inverse.gaussian_kernel(width, width / 6),
        "motion": lambda width: inverse.motion_kernel(width, 30.0),
        "uniform": inverse.uniform_kernel,
    }
    return inverse.CircularBlur(choose("inverse.kernel", kernel, kernels)(width), shape, noise_std)


def compressed_sensing(
    key: PRNGKey, shape: Shape, noise_std: float, share: float = 0.25
) -> inverse.Hadamard | inverse.Dense:
    """Return random combinations of the pixels, as many as a share of them."""
    pixels = shape[0] * shape[1]
    count = round(share * pixels)
    if not 1 <= count <= pixels:
        raise ValueError(f"inverse.share must lie between 1 / {pixels} and 1, got {share}")
    if pixels & (pixels - 1):
        return inverse.gaussian_sensing(key, shape, count * shape[2], noise_std)
    return inverse.Hadamard(key, shape, count, noise_std)


def ct(key: PRNGKey, shape: Shape, noise_std: float, angles: int = 23) -> inverse.Radon:
    """Return sums along parallel beams from a few angles."""
    return inverse.Radon(shape, angles, noise_std=noise_std)


def mri(
    key: PRNGKey, shape: Shape, noise_std: float, acceleration: float = 8.0, lines: str = "random"
) -> inverse.FourierMask | inverse.RealFourierMask:
    """Return a part of the frequencies: of real images with one channel, of complex ones with two.

    `acceleration` counts the image's columns for each column or spoke that is sampled.
    """
    sample = choose("inverse.lines", lines, inverse.FREQUENCY_MASKS)
    if shape[-1] not in (1, 2):
        raise ValueError(f"inverse.task 'mri' needs images of 1 or 2 channels, got data of shape {shape}")
    if lines == "radial" and not 1 <= acceleration <= shape[1]:
        raise ValueError(f"inverse.acceleration must lie between 1 and {shape[1]}, got {acceleration}")
    # A spoke has about as many frequencies as a column.
    mask = sample(key, shape, round(shape[1] / acceleration) if lines == "radial" else acceleration)
    kind = inverse.RealFourierMask if shape[-1] == 1 else inverse.FourierMask
    return kind(mask=mask, shape=shape, noise_std=noise_std)


def phase_retrieval(key: PRNGKey, shape: Shape, noise_std: float, oversampling: float = 2.0):
    """Return magnitudes of the Fourier transform."""
    return inverse.PhaseRetrieval(shape=shape, oversampling=oversampling, noise_std=noise_std)


def high_dynamic_range(key: PRNGKey, shape: Shape, noise_std: float, gain: float = 2.0):
    """Return an overexposed image."""
    return inverse.HighDynamicRange(shape=shape, gain=gain, noise_std=noise_std)


def jpeg(key: PRNGKey, shape: Shape, noise_std: float, quality: int = 10):
    """Return what compression leaves."""
    return inverse.JPEG(shape=shape, quality=quality, noise_std=noise_std)


TASKS = {
    "colorize": colorize,
    "compressed_sensing": compressed_sensing,
    "ct": ct,
    "deblur": deblur,
    "high_dynamic_range": high_dynamic_range,
    "inpaint": inpaint,
    "jpeg": jpeg,
    "mri": mri,
    "phase_retrieval": phase_retrieval,
    "super_resolution": super_resolution,
}
METHODS = {
    "annealed_langevin": inverse.AnnealedLangevin,
    "consistency": inverse.ConsistencyEditing,
    "ddnm": inverse.DDNM,
    "ddnm_plus": inverse.DDNMPlus,
    "ddrm": inverse.DDRM,
    "diffpir": inverse.DiffPIR,
    "dps": inverse.DPS,
    "mcg": inverse.MCG,
    "moment_matching": inverse.MomentMatching,
    "pigdm": inverse.PiGDM,
    "projection": inverse.Projection,
    "repaint": inverse.RePaint,
    "replacement": inverse.replacement,
    "twisted": lambda prior_std=1.0: inverse.TwistedDiffusion(inverse.PiGDM(prior_std)),
}

# Options of `inverse.solve` for methods that leave open how the noise is lowered, given the Langevin steps at a level.
SAMPLERS = {
    "langevin": lambda corrector: dict(solver=PredictorCorrector(Hold(), corrector), schedule=langevin_levels),
    "predictor_corrector": lambda corrector: dict(solver=PredictorCorrector(corrector=corrector)),
}


def make_problem(key: PRNGKey, section: ConfigDict, shape: Shape) -> tuple[inverse.AbstractOperator, dict[str, Any]]:
    """Return the operator that the section names, and the options of `inverse.solve`.

    Args:
        key: of what is random in the measurement, such as its mask.
        section: the config's `inverse` section.
        shape: shape of one example, [h, w, c].

    Raises:
        ValueError: if a name is unknown, an option is set that belongs to neither the task nor the method, or they do
            not suit each other or the data.
    """
    task = choose("inverse.task", section.task, TASKS)
    method = choose("inverse.method", section.method, METHODS)
    given = {name: value for name, value in section.items() if name not in COMMON and value is not None}
    allowed = (*_options(task), *_options(method))
    for name in given:
        if name not in allowed:
            raise unknown(f"options of inverse.task {section.task!r} and method {section.method!r}", name, allowed)
    of_task, of_method = ({n: v for n, v in given.items() if n in _options(f)} for f in (task, method))
    operator, chosen = task(key, shape, section.noise_std, **of_task), method(**of_method)
    if not issubclass(_kind(operator), chosen.needs):
        needed = chosen.needs.__name__.removeprefix("Abstract").lower()
        raise ValueError(f"inverse.method {section.method!r} needs a {needed} task, got {section.task!r}")
    options = dict(method=chosen, samples=section.draws, steps=section.steps)
    sampler = section.sampler
    if sampler is not None and not isinstance(chosen, inverse.AnnealedLangevin | inverse.Projection):
        raise ValueError(f"inverse.sampler needs method 'annealed_langevin' or 'projection', got {section.method!r}")
    if sampler is None and isinstance(chosen, inverse.Projection):
        sampler = "predictor_corrector"
    if sampler is not None:
        corrector = Langevin(section.snr, section.corrector_steps)
        options |= choose("inverse.sampler", sampler, SAMPLERS)(corrector)
    return operator, options


def _kind(operator: inverse.AbstractOperator) -> type:
    """Return what an operator can be made: a linear one spectral."""
    return inverse.AbstractSpectral if isinstance(operator, inverse.AbstractLinear) else type(operator)


def with_singular_vectors(operator: inverse.AbstractOperator) -> inverse.AbstractOperator:
    """Return a linear operator as a spectral one, any other as it is. May take seconds."""
    if isinstance(operator, inverse.AbstractLinear) and not isinstance(operator, inverse.AbstractSpectral):
        return inverse.decompose(operator)
    return operator


def _options(function: Callable) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("key", "shape", "noise_std")]


def shown(operator: inverse.AbstractOperator, y: Array, low: float) -> Array:
    """Return one measurement as an image: reconstructed as usual if linear, as it is if an image, or else nothing.

    Args:
        operator: what measured it.
        y: one measurement.
        low: the darkest value.
    """
    if isinstance(operator, inverse.Radon):
        # Beams beyond the image pass through nothing, which is what is darkest.
        nothing = jnp.full(operator.shape, low)
        return low + inverse.filtered_back_projection(operator, y - operator.forward(nothing))
    if isinstance(operator, inverse.AbstractLinear):
        return operator.pseudo_inverse(y)
    return jnp.broadcast_to(y, operator.shape) if y.shape == operator.shape else jnp.zeros(operator.shape)


def measure(key: PRNGKey, operator: inverse.AbstractOperator, x: Array) -> Array:
    """Measure a batch [b, *shape], each example with noise of its own."""
    return jax.vmap(operator.measure)(jax.random.split(key, len(x)), x)
