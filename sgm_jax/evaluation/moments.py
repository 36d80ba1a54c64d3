"""Mean and covariance of features, gathered a block at a time in float64."""

import dataclasses
import functools
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean and scatter of some features; sets are put together by `+`, in any order and grouping.

    Blocks are centred on their own mean before products are summed, so that nothing cancels whatever the mean is.
    Memory is twice `d x d` float64 numbers, however many features there are.

    Args:
        count: how many.
        mean: their mean [d].
        scatter: sum of the outer products of what differs from the mean [d, d].

    References:
        Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    count: int
    mean: Float[np.ndarray, " d"]
    scatter: Float[np.ndarray, "d d"]

    @classmethod
    def of(cls, features: Float[np.ndarray, "n d"]) -> "Moments":
        """Return the moments of one block."""
        features = np.asarray(features, np.float64)
        mean = features.mean(0)
        centred = features - mean
        return cls(len(features), mean, centred.T @ centred)

    @classmethod
    def gather(cls, blocks: Iterable[Float[np.ndarray, "n d"]]) -> "Moments":
        """Return the moments of all blocks together."""
        return functools.reduce(Moments.__add__, map(cls.of, blocks))

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of both sets together, as if they had been gathered as one."""
        count = self.count + other.count
        shift = other.mean - self.mean
        scatter = self.scatter + other.scatter
        scatter += np.outer(shift, shift * (self.count * other.count / count))
        return Moments(count, self.mean + shift * (other.count / count), scatter)

    @property
    def covariance(self) -> Float[np.ndarray, "d d"]:
        """The unbiased covariance [d, d].

        Raises:
            ValueError: if there are fewer than two examples.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 examples, got {self.count}")
        return self.scatter / (self.count - 1)
