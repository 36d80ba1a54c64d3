"""Samplers that are compiled once: the library's samples, whatever the batch, and where there is JAX alone."""

import re
import subprocess
import sys

import chex
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sgm_jax as sgm
from sgm_jax.convert import Pretrained
from sgm_jax.guidance import classifier_free
from sgm_jax.networks import MLP
from sgm_jax.scaling import Scaling
from sgm_jax.shapes import per_example_keys

EULER = dict(solver=diffrax.Euler(), schedule=np.array([1.0, 0.6, 0.3, 0.1]), final="none")
SCRIPT = """
import sys, jax, jax.export, numpy as np
sampler = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
label = np.full(4, 2, np.int32)
np.save(sys.argv[2], np.concatenate([sampler.call(jax.random.key(7), first, label) for first in (0, 4)]))
print([name for name in ("sgm_jax", "flax", "diffrax", "equinox") if name in sys.modules], *sampler.platforms)
"""


def network(num_classes=0, scaling=Scaling(256)):  # noqa: B008 (an immutable value)
    network = MLP(width=8, layers=1, init_scale=1.0, num_classes=num_classes)
    params = network.init(jax.random.key(0), jnp.ones(1), jnp.zeros((1, 2)))["params"]
    # The vectors of the classes start equal.
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(jax.random.key(1), leaf.shape), params)
    return Pretrained(network, params, sgm.VP(), sgm.score.Noise(), {}, (2,), scaling)


def test_samples_are_those_of_key_and_place_whatever_the_batch():
    pretrained, key = network(), jax.random.key(5)
    draw = sgm.Sampler(pretrained, batch_size=3, output="model", **EULER)
    process = sgm.ProbabilityFlow(pretrained.sde, pretrained.score_fn)
    expected = sgm.sample(key, process, (7, 2), **EULER).x
    np.testing.assert_allclose(draw(key, 7), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(draw(key, 7)[:2], draw(key, 2))
    np.testing.assert_array_equal(draw(per_example_keys(key, 7)[5:], 2), draw(key, 7)[5:])


@pytest.mark.slow
def test_one_program_serves_every_call_of_a_guided_sampler():
    pretrained, key, label = network(3), jax.random.key(5), jnp.array([2, 0, 1, 2, 1])
    process = chex.assert_max_traces(n=1)(lambda sde, score_fn: sgm.ProbabilityFlow(sde, score_fn))
    draw = sgm.Sampler(pretrained, process=process, guidance=1.7, batch_size=4, **EULER)
    guided = classifier_free(pretrained.conditional(label), pretrained.score_fn, 1.7)
    expected = sgm.sample(key, sgm.ProbabilityFlow(pretrained.sde, guided), (5, 2), **EULER).x
    drawn = draw(key, 5, label)
    assert drawn.dtype == jnp.uint8
    # Within rounding at the edges of the bins.
    np.testing.assert_allclose(drawn.astype(int), pretrained.scaling.to_raw(expected).astype(int), atol=1)
    np.testing.assert_array_equal(draw(key, 9, 2)[:1], draw(key, 1, 2))
    assert (draw(key, 5) != drawn).any()


@pytest.mark.slow
def test_networks_compute_in_the_type_asked_for():
    pretrained = network()
    full, half = (sgm.Sampler(pretrained, dtype=dtype, output="model", **EULER) for dtype in (None, jnp.bfloat16))
    difference = float(jnp.abs(full(jax.random.key(0), 8) - half(jax.random.key(0), 8)).max())
    assert 1e-4 < difference < 0.1


@pytest.mark.parametrize(
    ("options", "call", "message"),
    [
        (dict(batch_size=0), {}, "batch_size must be at least 1, got 0"),
        (dict(output="raws"), {}, "did you mean 'raw'"),
        (dict(guidance=2.0), {}, "guidance must be 1 for a network without classes, got 2.0"),
        ({}, dict(count=0), "count must be at least 1, got 0"),
        ({}, dict(count=1, label=1), "label must be None for a network without classes, got 1"),
    ],
)
def test_what_cannot_be_served_is_refused(options, call, message):
    with pytest.raises(ValueError, match=message):
        sgm.Sampler(network(), steps=2, **options)(jax.random.key(0), **call)


@pytest.mark.slow
def test_labels_may_be_traced():
    draw, key, label = sgm.Sampler(network(3), batch_size=4, output="model", **EULER), jax.random.key(3), jnp.arange(3)
    traced = jax.jit(lambda label: draw(key, 3, label))(label)
    np.testing.assert_allclose(traced, draw(key, 3, label), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("label", [4, -1, np.array([1, 2, 0]), np.array([0, 4])], ids=str)
def test_what_is_no_class_is_refused(label):
    with pytest.raises(ValueError, match=r"a class in \[0, 3\), or one for each of 2, got " + re.escape(repr(label))):
        sgm.Sampler(network(3), steps=2)(jax.random.key(0), 2, label)


def test_adaptive_steps_are_not_exported():
    with pytest.raises(ValueError, match="must give steps or a schedule.*'rtol': 0.1"):
        sgm.Sampler(network(), rtol=0.1, atol=0.1).export()


@pytest.mark.slow
def test_exported_sampler_needs_jax_alone(tmp_path):
    draw = sgm.Sampler(network(3), guidance=1.7, batch_size=4, steps=4)
    (tmp_path / "sampler").write_bytes(draw.export())
    arguments = [sys.executable, "-c", SCRIPT, tmp_path / "sampler", tmp_path / "samples.npy"]
    result = subprocess.run(arguments, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["[]", "cpu", "cuda", "tpu"]
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), draw(jax.random.key(7), 8, 2))
