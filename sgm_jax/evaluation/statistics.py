"""Reference statistics: what the features of a data set are like, with the name of the network that saw them."""

import dataclasses
import functools
import pathlib
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from sgm_jax.evaluation.moments import Moments

# Keys of published files.
RAW = ("pool_3", "activations")
OURS = "sgm_jax_features"


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Mean and covariance of features.

    Args:
        mean: [d].
        covariance: [d, d].
        count: examples they were estimated from, None where a published file does not say.
        name: of the features, as `Extractor.name`, None where a published file does not say.
    """

    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"]
    count: int | None = None
    name: str | None = None

    @classmethod
    def of(cls, moments: Moments, name: str | None = None) -> "Statistics":
        """Return the statistics of gathered features."""
        return cls(moments.mean, moments.covariance, moments.count, name)

    @functools.cached_property
    def root(self) -> Float[np.ndarray, "d d"]:
        """The symmetric root of the covariance."""
        return symmetric_root(self.covariance)


def symmetric_root(matrix: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
    """Return the symmetric root of a matrix that has no negative eigenvalues but by rounding."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


@dataclasses.dataclass(frozen=True)
class Reference:
    """What samples are compared with.

    Args:
        pool: statistics of the features that the Fréchet distance is measured in.
        spatial: of those of sFID, where the file has them.
        features: some features themselves [n, d], for the metrics that need them, where the file has them.
    """

    pool: Statistics
    spatial: Statistics | None = None
    features: Float[np.ndarray, "n d"] | None = None


def check_comparable(reference: Statistics, name: str, dimension: int) -> None:
    """Check that statistics are those of a feature network.

    Raises:
        ValueError: if its name or the number of features is another.
    """
    if reference.name is not None and reference.name != name:
        raise ValueError(f"statistics must be of the features {name!r}, got those of {reference.name!r}")
    if len(reference.mean) != dimension:
        raise ValueError(f"statistics must be of the {dimension} features of {name!r}, got {len(reference.mean)}")


def warn_if_few(count: int, dimension: int, what: str) -> None:
    """Warn if a covariance is estimated from fewer examples than it has rows."""
    if count <= dimension:
        warnings.warn(
            f"{count} {what} are too few for the covariance of {dimension} features: the Fréchet distance is far too "
            "large, look at the one extrapolated to infinitely many",
            stacklevel=2,
        )


def save(path: pathlib.Path, reference: Reference) -> None:
    """Write reference statistics; keys `mu` and `sigma` are those that other projects read."""
    arrays: dict[str, Any] = {"mu": reference.pool.mean, "sigma": reference.pool.covariance}
    arrays |= {OURS: reference.pool.name or "", "count": reference.pool.count or 0}
    if reference.spatial is not None:
        arrays |= {"mu_s": reference.spatial.mean, "sigma_s": reference.spatial.covariance}
    if reference.features is not None:
        arrays["features"] = reference.features
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **arrays)
    partial.rename(path)


def load(
    path: str | pathlib.Path, measure: Callable[[np.ndarray], Reference] | None = None, block: int = 1000
) -> Reference:
    """Read reference statistics of any known format, told by the names in the file.

    | written by | holds |
    |---|---|
    | this library | `mu`, `sigma`, the name of the features, the count |
    | TTUR, pytorch-fid, EDM | `mu`, `sigma` |
    | score_sde | `pool_3`, the raw features of the whole training set, of which blocks are read |
    | ADM | `mu`, `sigma`, `mu_s`, `sigma_s` |
    | ADM, batches of samples | `arr_0`, images, which are measured |

    Args:
        path: an `.npz` file.
        measure: what images are measured by, for files that hold nothing else.
        block: rows of raw features at a time.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or of no known format, or holds images where nothing measures them.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no statistics at {str(path)!r}; --mode=stats computes those of the config's data")
    try:
        # Opened here, as numpy leaves what it cannot read open.
        with path.open("rb") as opened, np.load(opened) as file:
            return _read(path, file, measure, block)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error


def _read(path, file, measure, block) -> Reference:
    names = set(file.files)
    if {"mu", "sigma"} <= names:
        count, name = (int(file["count"]), str(file[OURS])) if OURS in names else (None, None)
        mu, sigma = _double(file["mu"]), _double(file["sigma"])
        if mu.ndim != 1 or sigma.shape != 2 * mu.shape:
            raise ValueError(f"{path} must hold mu [d] and sigma [d, d], got {mu.shape} and {sigma.shape}")
        statistics = Statistics(mu, sigma, count or None, name or None)
        spatial = None
        if {"mu_s", "sigma_s"} <= names:
            spatial = Statistics(_double(file["mu_s"]), _double(file["sigma_s"]), count or None, name or None)
        return Reference(statistics, spatial, file["features"] if "features" in names else None)
    for key in RAW:
        if key in names:
            features = file[key]
            features = features.reshape(len(features), -1)
            blocks = (features[start : start + block] for start in range(0, len(features), block))
            return Reference(Statistics.of(Moments.gather(blocks)), features=features)
    if "arr_0" in names and file["arr_0"].ndim == 4:
        if measure is None:
            raise ValueError(f"{path} holds images, which need a feature network to be measured")
        return measure(file["arr_0"])
    raise ValueError(
        f"{path} must hold mu and sigma (TTUR, EDM, ADM), {' or '.join(RAW)} (score_sde) or arr_0 (ADM), got "
        f"{', '.join(sorted(names)) or 'nothing'}"
    )


def _double(array: np.ndarray) -> Float[np.ndarray, "..."]:
    return np.asarray(array, np.float64)
