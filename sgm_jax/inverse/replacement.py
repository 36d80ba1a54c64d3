"""Replacement: after every step the known part is overwritten with noisy known data. Inpainting and colourisation."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array

from sgm_jax.inverse.measurement import Measurement, Stacked, explain
from sgm_jax.inverse.pixel import Mask
from sgm_jax.inverse.projection import Projection
from sgm_jax.sampling import PredictorCorrector, ReverseSDE, Samples, per_example_noise, sample
from sgm_jax.sampling.noise import NoiseSource
from sgm_jax.sde import AbstractSDE
from sgm_jax.shapes import Batch, PRNGKey, PRNGKeys, ScoreFn


def replacement(source: NoiseSource = per_example_noise) -> Projection:
    """Return the method that overwrites the measured part of the state at every step: `Projection` in full strength.

    With `Mask` it is inpainting, with `Grey` colourisation, the channels transformed so that the grey one is known.

    Args:
        source: noise source.

    References:
        Song et al., Score-Based Generative Modeling through Stochastic Differential Equations, 2021, appendix I.2.
    """
    return Projection(1.0, source)


def inpaint(
    key: PRNGKey | PRNGKeys,
    sde: AbstractSDE,
    score_fn: ScoreFn,
    known: Batch,
    mask: Array,
    *,
    solver: PredictorCorrector | None = None,
    **options,
) -> Samples:
    """Fill in the unknown part of data by replacement; `solve` does so by any method.

    Args:
        key: one PRNG key, or one an example [b].
        sde: the forward SDE.
        score_fn: `score_fn(t, x)` of a model that knows nothing of the mask.
        known: data [b, ...], in data units; ignored where `mask` is 0.
        mask: 1 where the data are known, 0 elsewhere; broadcasts against `known`.
        solver: as in `sample`; a `PredictorCorrector` on the reverse SDE unless given.
        **options: further options of `sample`, such as `steps`.

    Returns:
        `Samples`, equal to `known` wherever `mask` is 1.

    Raises:
        ValueError: if `mask` does not broadcast against `known`, holds anything but 0 and 1, or known data are not
            finite.
    """
    mask = jnp.asarray(mask)
    aligned = zip(mask.shape[::-1], known.shape[::-1], strict=False)
    if mask.ndim > known.ndim or any(m not in (1, k) for m, k in aligned):
        raise ValueError(f"mask must broadcast against known {known.shape}, got {mask.shape}")
    if not isinstance(mask, Tracer) and not bool(jnp.all((mask == 0) | (mask == 1))):
        raise ValueError(f"mask must hold only 0 and 1, got values from {mask.min()} to {mask.max()}")
    if not isinstance(known, Tracer) and not bool(jnp.all(jnp.isfinite(jnp.where(mask > 0, known, 0)))):
        raise ValueError("known must be finite wherever mask is 1, got NaN or infinity")
    one_mask = lambda mask: Mask(mask=mask, shape=known.shape[1:], noise_std=jnp.zeros(()))
    masks = jax.vmap(one_mask)(jnp.broadcast_to(mask, known.shape))
    measurement = Measurement(Stacked(masks), jnp.where(mask > 0, known, 0))
    drawn = sample(
        key,
        ReverseSDE(sde, score_fn),
        known.shape,
        solver=PredictorCorrector() if solver is None else solver,
        constraint=replacement().constraint(sde, measurement),
        **options,
    )
    return eqx.tree_at(lambda result: result.x, drawn, measurement.map(explain, drawn.x))
