"""Samplers and likelihood, run with the networks that score_sde and EDM recorded theirs with."""

import dataclasses

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import DATA, load, score_sde

import sgm_jax as sgm
from sgm_jax import sampling
from sgm_jax.convert import edm
from sgm_jax.scaling import Scaling

SCORE_SDE = pytest.mark.parametrize("name", ["ddpmpp_vp_continuous.npz", "ncsnpp_ve_continuous.npz"])


def score_sde_model(name, variable):
    """Return what was recorded, and SDE and score function of the network, the SDE ending where it did there."""
    recorded = dict(np.load(DATA / f"ode_{name}"))
    pretrained, _ = score_sde(name)
    sde = dataclasses.replace(pretrained.sde, t_min=float(recorded[variable]))
    return recorded, sde, dataclasses.replace(pretrained, sde=sde).score_fn


def channels_last(x):
    return jnp.asarray(x.transpose(0, 2, 3, 1))


@pytest.mark.slow
@pytest.mark.parametrize("chart", [sgm.OwnTime(), sgm.Angle()])
@SCORE_SDE
def test_probability_flow_reproduces_score_sde(name, chart):
    recorded, sde, score = score_sde_model(name, "sample_eps")
    start = channels_last(recorded["z"])
    samples = sgm.sample(
        jax.random.key(0),
        sgm.ProbabilityFlow(sde, score, chart),
        start.shape,
        x_init=start,
        solver=diffrax.Dopri5(),
        rtol=1e-5,
        atol=1e-5,
        final="none",
    )
    found = samples.x.transpose(0, 3, 1, 2)
    if isinstance(sde, sgm.VP):
        found = (found + 1) / 2
    # The reference itself moves by 0.2 % between its tolerance and a tenth of it.
    assert np.abs(found - recorded["sample"]).max() < 0.01 * recorded["sample"].std()


@pytest.mark.slow
@SCORE_SDE
def test_bits_per_dimension_reproduce_score_sde(name):
    recorded, sde, score = score_sde_model(name, "likelihood_eps")
    data, probe = channels_last(recorded["data"]), channels_last(recorded["probe"])

    def played_back(key, shape):
        return probe[jax.random.key_data(key)[1]].reshape(shape)

    keys = jax.vmap(jax.random.key)(jnp.arange(len(data)))
    result = sgm.log_likelihood(keys, sde, score, data, divergence=sgm.Hutchinson(distribution=played_back))
    images = Scaling(levels=256, low=-1.0 if isinstance(sde, sgm.VP) else 0.0, high=1.0)
    np.testing.assert_allclose(images.bits_per_dim(result.log_prob, data), recorded["bpd"], atol=0.02)


def edm_recording():
    """Return the recorded arrays, and the score function of EDM's DDPM++ with its classes, not augmented."""
    state, recorded, config = load("edm_ddpmpp.npz")
    return recorded, edm(state, config).conditional(jnp.asarray(recorded["class_labels"]))


@pytest.mark.slow
@pytest.mark.parametrize("way, steps", [("heun", 18), ("churn", 12)])
def test_sampler_reproduces_edm(way, steps):
    recorded, score = edm_recording()
    expected = recorded[f"{way}{steps}"].transpose(0, 2, 3, 1)
    noise = recorded["churn12_noise"].transpose(0, 1, 3, 4, 2)
    process, options = {
        "heun": (sgm.ProbabilityFlow, dict(solver=diffrax.Heun())),
        "churn": (
            sgm.ReverseSDE,
            dict(solver=sampling.Churn(12), noise=sampling.Recorded(jnp.asarray(noise))),
        ),
    }[way]
    samples = sgm.sample(
        jax.random.key(0),
        process(sgm.EDM(), score),
        expected.shape,
        x_init=80 * channels_last(recorded["latents"]),
        steps=steps - 1,
        **options,
    )
    # The last of the published steps, Euler's to zero noise, is the final denoising.
    assert samples.nfe == 2 * steps - 1
    assert np.abs(samples.x - expected).max() < 2e-5 * expected.std()
