"""Tensors by name: layouts, and errors that name everything wrong at once."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax.convert.names import StateDict


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), name="conv")(x)
        x = nn.GroupNorm(2, name="norm")(x)
        return nn.Dense(2, name="head")(x)


def tensors():
    draw = np.random.default_rng(0).standard_normal
    shapes = {"a.weight": (4, 3, 3, 3), "a.bias": (4,), "b.weight": (4,), "b.bias": (4,), "c.weight": (2, 4)}
    return {name: draw(shape) for name, shape in (shapes | {"c.bias": (2,), "buffer": (7,)}).items()}


def convert(given):
    state = StateDict(given, ignore=lambda name: name == "buffer")
    params = {"conv": state.conv("a"), "norm": state.norm("b"), "head": state.dense("c")}
    return state.finish(params, Small(), jnp.zeros((1, 5, 5, 3)))


def test_layouts_are_those_of_a_convolution_written_out():
    given = tensors()
    params = convert(given)
    x = np.random.default_rng(1).standard_normal((1, 3, 3, 3))
    output = nn.Conv(4, (3, 3), padding="VALID").apply({"params": params["conv"]}, x)[0, 0, 0]
    expected = np.einsum("oihw,hwi->o", given["a.weight"], x[0]) + given["a.bias"]
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(params["head"]["kernel"], given["c.weight"].T, rtol=1e-6)
    np.testing.assert_allclose(params["norm"]["scale"], given["b.weight"], rtol=1e-6)


def test_everything_wrong_is_named_at_once():
    given = tensors() | {"a.weight": np.zeros((4, 2, 3, 3)), "surplus": np.zeros(1)}
    del given["b.weight"], given["c.bias"]
    with pytest.raises(ValueError) as error:
        convert(given)
    message = str(error.value)
    for part in ("missing: b.weight", "head/bias", "unexpected: surplus", "a.weight", "[3, 3, 2, 4]", "[3, 3, 3, 4]"):
        assert part in message
    assert "buffer" not in message


def test_a_tensor_is_taken_once():
    state = StateDict(tensors())
    state.take("buffer")
    with pytest.raises(ValueError, match="buffer"):
        state.take("buffer")
