"""InceptionV3 as of 2015-12-05, the network of the FID.

It is not the paper's network, nor that of today's libraries: padding is left out of the averages of the pooling
branches, the last block pools by maximum, there are 1008 classes, and images arrive by a resize of its own.

The state of each convolution's batch normalisation is folded to a scale and a shift a channel, when the weights are
converted (`sgm_jax.convert.inception`). Names of the parameters are those of pytorch-fid and torch-fidelity.

References:
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016; Heusel et al., "GANs Trained by
    a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

POOL = 2048
CLASSES = 1008
SPATIAL_CHANNELS = 7  # of the convolution that sFID looks at, 17 x 17 pixels of them


class Convolution(nn.Module):
    """A convolution, a scale and a shift a channel, and a rectifier; also records what the convolution gave."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 features"]:
        strides = (self.stride, self.stride)
        x = nn.Conv(
            self.features,
            self.kernel,
            strides,
            self.padding,
            use_bias=False,
            precision=jax.lax.Precision.HIGHEST,
            name="conv",
        )(x)
        self.sow("intermediates", "linear", x)
        scale = self.param("scale", nn.initializers.ones, (self.features,))
        return nn.relu(x * scale + self.param("bias", nn.initializers.zeros, (self.features,)))


_average = functools.partial(nn.avg_pool, window_shape=(3, 3), strides=(1, 1), padding="SAME", count_include_pad=False)
_maximum = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(1, 1), padding="SAME")
_halve = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2))


def _chain(x: Array, name: str, *steps: Convolution) -> Array:
    """Apply convolutions one after another, named `<name>_1`, `<name>_2` and so on."""
    for number, step in enumerate(steps, 1):
        x = step.copy(name=f"{name}_{number}")(x)
    return x


class InceptionA(nn.Module):
    """Branches of 1 x 1, 5 x 5, twice 3 x 3, and pooling."""

    pool: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        unit = functools.partial(Convolution, parent=None)
        branches = [
            Convolution(64, name="branch1x1")(x),
            _chain(x, "branch5x5", unit(48), unit(64, (5, 5))),
            _chain(x, "branch3x3dbl", unit(64), unit(96, (3, 3)), unit(96, (3, 3))),
            Convolution(self.pool, name="branch_pool")(_average(x)),
        ]
        return jnp.concatenate(branches, -1)


class InceptionB(nn.Module):
    """From 35 x 35 to 17 x 17 pixels."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        unit = functools.partial(Convolution, parent=None)
        branches = [
            Convolution(384, (3, 3), 2, "VALID", name="branch3x3")(x),
            _chain(x, "branch3x3dbl", unit(64), unit(96, (3, 3)), unit(96, (3, 3), 2, "VALID")),
            _halve(x),
        ]
        return jnp.concatenate(branches, -1)


class InceptionC(nn.Module):
    """Branches of 1 x 1, 7 x 7 and twice 7 x 7 as rows and columns, and pooling."""

    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        unit, row, column, width = functools.partial(Convolution, parent=None), (1, 7), (7, 1), self.width
        twice = [unit(width), unit(width, column), unit(width, row), unit(width, column), unit(192, row)]
        branches = [
            Convolution(192, name="branch1x1")(x),
            _chain(x, "branch7x7", unit(width), unit(width, row), unit(192, column)),
            _chain(x, "branch7x7dbl", *twice),
            Convolution(192, name="branch_pool")(_average(x)),
        ]
        return jnp.concatenate(branches, -1)


class InceptionD(nn.Module):
    """From 17 x 17 to 8 x 8 pixels."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        unit, last = functools.partial(Convolution, parent=None), ((3, 3), 2, "VALID")
        seven = [unit(192), unit(192, (1, 7)), unit(192, (7, 1)), unit(192, *last)]
        branches = [
            _chain(x, "branch3x3", unit(192), unit(320, *last)),
            _chain(x, "branch7x7x3", *seven),
            _halve(x),
        ]
        return jnp.concatenate(branches, -1)


class InceptionE(nn.Module):
    """Branches that fork into a row and a column; the first block pools by average, the last by maximum."""

    pooling: Callable[[Array], Array]

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w 2048"]:
        unit = functools.partial(Convolution, parent=None)
        fork = lambda x, name: [  # noqa: E731
            Convolution(384, kernel, name=f"{name}{letter}")(x) for letter, kernel in (("a", (1, 3)), ("b", (3, 1)))
        ]
        branches = [
            Convolution(320, name="branch1x1")(x),
            *fork(_chain(x, "branch3x3", unit(384)), "branch3x3_2"),
            *fork(_chain(x, "branch3x3dbl", unit(448), unit(384, (3, 3))), "branch3x3dbl_3"),
            Convolution(192, name="branch_pool")(self.pooling(x)),
        ]
        return jnp.concatenate(branches, -1)


class InceptionV3(nn.Module):
    """Map images [b, 299, 299, 3], scaled to about [-1, 1], to `pool` [b, 2048], the mean over the last pixels."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w 3"]) -> Float[Array, "b 2048"]:
        x = Convolution(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = Convolution(32, (3, 3), 1, "VALID", name="Conv2d_2a_3x3")(x)
        x = _halve(Convolution(64, (3, 3), name="Conv2d_2b_3x3")(x))
        x = Convolution(80, name="Conv2d_3b_1x1")(x)
        x = _halve(Convolution(192, (3, 3), 1, "VALID", name="Conv2d_4a_3x3")(x))
        for letter, pool in zip("bcd", (32, 64, 64), strict=True):
            x = InceptionA(pool, name=f"Mixed_5{letter}")(x)
        x = InceptionB(name="Mixed_6a")(x)
        for letter, width in zip("bcde", (128, 160, 160, 192), strict=True):
            x = InceptionC(width, name=f"Mixed_6{letter}")(x)
        x = InceptionD(name="Mixed_7a")(x)
        x = InceptionE(_average, name="Mixed_7b")(x)
        return InceptionE(_maximum, name="Mixed_7c")(x).mean((1, 2))
