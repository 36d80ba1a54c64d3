"""Networks of any library on JAX, as docs/interop.md has them, are one and the same to the core."""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

PAGE = (pathlib.Path(__file__).parents[1] / "docs/interop.md").read_text()
BLOCKS = dict(re.findall(r"## ([\w. ]+)\n[^#]*?```python\n(.*?)```", PAGE, re.DOTALL))
PLAIN, *OTHERS, TRAINING, USE = BLOCKS


def run(name, use, params=None):
    """Run the page's code with the network of one library, and parameters of one's own where they are given."""
    names = {}
    for block in dict.fromkeys((PLAIN, name)):
        exec(BLOCKS[block], names)
    names |= {} if params is None else {"params": params}
    for block in use:
        exec(BLOCKS[block], names)
    return names


def by_layer(tree):
    """The two matrices of a network, each [in, out], told apart by their shapes."""
    leaves = {leaf.shape: jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)}
    return {
        name: leaves[shape] if shape in leaves else leaves[shape[::-1]].T
        for name, shape in (("hidden", (3, 16)), ("out", (16, 2)))
    }


@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_libraries_train_as_plain_functions_do(name):
    found = run(name, [TRAINING])
    plain = run(PLAIN, [TRAINING], by_layer(found["params"]))
    t = jnp.linspace(0.1, 0.9, 8)
    scores = [each["score"](each["params"])(t, each["x0"]) for each in (found, plain)]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["value"], plain["value"], rtol=1e-4)
    assert jax.tree.structure(found["gradient"]) == jax.tree.structure(found["params"])
    for layer, gradient in by_layer(found["gradient"]).items():
        np.testing.assert_allclose(gradient, plain["gradient"][layer], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_networks_of_other_libraries_are_sampled_as_plain_functions_are(name):
    found = run(name, [TRAINING, USE])
    plain = run(PLAIN, [TRAINING, USE], by_layer(found["params"]))
    for result in ("samples", "log_prob"):
        np.testing.assert_allclose(found[result], plain[result], rtol=1e-3, atol=1e-4)


def test_gradients_of_plain_functions_are_what_differences_tell():
    found = run(PLAIN, [TRAINING])
    along, step = jax.tree.map(jnp.sign, found["params"]), 1e-2
    there, here = (
        found["loss"](jax.tree.map(lambda p, d, to=to: p + to * d, found["params"], along), jax.random.key(2))
        for to in (step, -step)
    )
    slope = sum(jnp.vdot(*pair) for pair in zip(*map(jax.tree.leaves, (found["gradient"], along)), strict=True))
    np.testing.assert_allclose(slope, (there - here) / (2 * step), rtol=1e-2)


@pytest.mark.slow
def test_scores_that_are_known_give_densities_that_are_known():
    found = run(PLAIN, [TRAINING])
    exec(re.findall(r"```python\n(gaussian.*?)```", PAGE, re.DOTALL)[0], found)
    density = -0.5 * jnp.sum(found["x0"] ** 2, axis=1) - jnp.log(2 * jnp.pi)
    np.testing.assert_allclose(found["exact"], density, atol=1e-3)
