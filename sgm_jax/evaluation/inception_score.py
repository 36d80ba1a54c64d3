"""The Inception score: how sure and how varied a classifier finds images."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp, xlogy


class InceptionScore(NamedTuple):
    """The Inception score.

    Attributes:
        mean: over splits.
        std: over splits, as it is published.
        standard_error: of the mean.
    """

    mean: float
    std: float
    standard_error: float


@dataclasses.dataclass(frozen=True)
class ScoreSums:
    """What the score of consecutive splits of equal size needs: examples come in order, logits are not kept.

    Args:
        total: how many examples there will be.
        done: how many there were.
        classes: sum of the probabilities of each split [splits, k].
        negentropy: sum of `p log p` of each split [splits].
    """

    total: int
    done: int
    classes: Float[np.ndarray, "s k"]
    negentropy: Float[np.ndarray, " s"]

    @classmethod
    def empty(cls, total: int, classes: int, splits: int = 10) -> "ScoreSums":
        """Return the sums before any example.

        Raises:
            ValueError: if there are fewer examples than splits.
        """
        if total < splits:
            raise ValueError(f"splits must be at most the number of examples {total}, got {splits}")
        return cls(total, 0, np.zeros((splits, classes)), np.zeros(splits))

    def add(self, logits: Float[np.ndarray, "b k"]) -> "ScoreSums":
        """Return the sums with the next examples in."""
        logits = np.asarray(logits, np.float64)
        log_p = logits - logsumexp(logits, 1, keepdims=True)
        p = np.exp(log_p)
        splits = len(self.negentropy)
        # Split i holds the examples from i n // splits to (i + 1) n // splits.
        edges = np.arange(1, splits) * self.total // splits
        split = np.searchsorted(edges, np.arange(self.done, self.done + len(p)), side="right")
        classes, negentropy = self.classes.copy(), self.negentropy.copy()
        np.add.at(classes, split, p)
        np.add.at(negentropy, split, np.sum(p * log_p, 1))
        return ScoreSums(self.total, self.done + len(p), classes, negentropy)

    def score(self) -> InceptionScore:
        """Return the score, `exp(mean of KL(p(y|x) | p(y)))` of each split.

        Raises:
            ValueError: if examples are missing.
        """
        if self.done != self.total:
            raise ValueError(f"the score needs all {self.total} examples, got {self.done}")
        splits = len(self.negentropy)
        counts = np.diff(np.arange(splits + 1) * self.total // splits)
        marginal = self.classes / counts[:, None]
        scores = np.exp(self.negentropy / counts - xlogy(marginal, marginal).sum(1))
        return InceptionScore(float(scores.mean()), float(scores.std()), float(scores.std() / np.sqrt(splits)))


def inception_score(logits: Float[np.ndarray, "n k"], splits: int = 10) -> InceptionScore:
    """Return the Inception score of images in order.

    Args:
        logits: of the classes [n, k].
        splits: consecutive parts, each scored alone.

    Raises:
        ValueError: if there are fewer images than splits.

    References:
        Salimans et al., "Improved Techniques for Training GANs", 2016; Barratt and Sharma, "A Note on the Inception
        Score", 2018.
    """
    return ScoreSums.empty(len(logits), logits.shape[1], splits).add(logits).score()
