"""Replacement step for step as score_sde's controllable generation, with its recorded noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import DATA

import sgm_jax as sgm
from sgm_jax import inverse
from sgm_jax.inverse.measurement import Measurement
from sgm_jax.sampling import Recorded, ScoreSDEReverseDiffusion, batch_mean_step, score_sde_schedule
from sgm_jax.sampling.solve import streams
from sgm_jax.shapes import expand, per_example_keys

STEPS = 10
SDE = sgm.VE(0.01, 50.0)
KEY = jax.random.key(0)
SHAPE = (2, 8, 8, 3)


def score(t, x):
    return -(x - 0.4) / (0.09 + expand(SDE.sigma(t), x) ** 2)


def published_order(measurement, noise):
    """Replace at the level that the reference does: a step's own, before and after the predictor, and 0 at the end.

    Corrector and predictor each are followed by a replacement, so the index of a call, which its keys tell, gives both
    the level and the noise.
    """
    constraint_keys = streams(per_example_keys(KEY, 2))[3]
    calls = jnp.arange(2 * STEPS)
    tags = jax.vmap(lambda i: jax.random.key_data(jax.random.fold_in(constraint_keys[0], i)))(calls)
    levels = jnp.repeat(jnp.asarray(score_sde_schedule(SDE, STEPS)[:-1]), 2).at[-1].set(0.0)

    def constrain(keys, t, x):
        index = jnp.argmax(jnp.all(tags == jax.random.key_data(keys[0]), axis=1))
        drawn = inverse.replacement(lambda keys, step, shape: noise[index]).constraint(SDE, measurement)
        return drawn(keys, SDE.t(levels[index]), x)

    return constrain


@pytest.mark.parametrize("task", [pytest.param("inpaint", marks=pytest.mark.slow), "color"])
def test_results_equal_the_recorded_ones(task):
    record = {
        name: jnp.moveaxis(jnp.asarray(array), -3, -1)
        for name, array in np.load(DATA / "controllable_steps.npz").items()
    }
    noise = record[f"{task}_noise"]
    prior, corrector, predictor = 50.0 * noise[0], noise[1::4], noise[3::4]
    replacing = jnp.stack([noise[2::4], noise[4::4]], 1).reshape(-1, *SHAPE)
    # The reference's last step adds noise to what is unknown.
    schedule = score_sde_schedule(SDE, STEPS)
    schedule[-1] = 1e-12
    if task == "inpaint":
        data, mask = record["inpaint_data"], record["inpaint_mask"]
        operator = inverse.stack([inverse.Mask(one, SHAPE[1:]) for one in mask])
        start = jnp.where(mask > 0, data, prior)
        measurement = Measurement(operator, data * mask)
    else:
        data = record["color_gray"]
        measurement = Measurement(inverse.Grey(SHAPE[1:]), data.mean(-1, keepdims=True))
        # The reference draws the grey channel's noise after the transform, and blanks one channel of the prior before.
        replacing = replacing[..., :1] * jnp.full(3, 3**-0.5)
        start = data + prior.at[..., 0].set(0)
    drawn = sgm.sample(
        KEY,
        sgm.ReverseSDE(SDE, score),
        SHAPE,
        solver=sgm.PredictorCorrector(
            ScoreSDEReverseDiffusion(STEPS), sgm.Langevin(0.16, 1, batch_mean_step, Recorded(corrector))
        ),
        schedule=schedule,
        x_init=start,
        noise=Recorded(predictor),
        constraint=published_order(measurement, replacing),
        final="none",
    )
    expected = record[f"{task}_result"]
    assert jnp.linalg.norm(drawn.x - expected) < 1e-4 * jnp.linalg.norm(expected)
