"""Figures by name: what each needs to be kept of the features, and how it follows from that."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sgm_jax.evaluation.frechet import extrapolate, gaussian_distance, standard_error
from sgm_jax.evaluation.kernels import cmmd, kid
from sgm_jax.evaluation.manifold import density_coverage, precision_recall
from sgm_jax.evaluation.statistics import Reference, Statistics, warn_if_few
from sgm_jax.evaluation.streaming import Gathered, Plan
from sgm_jax.naming import choose

SUBSET = 1000  # of KID
FEWEST = 3  # samples of the FID, which is told at two counts of two or more for its extrapolation


class Metric(NamedTuple):
    """A metric.

    Attributes:
        compute: maps what was gathered, and the reference, to figures by name.
        keeps: whether it needs features themselves, of samples and data.
        spatial: whether it needs those of sFID.
        logits: whether it needs classes.
    """

    compute: Callable[[Gathered, Reference], dict[str, float]]
    keeps: bool = False
    spatial: bool = False
    logits: bool = False


def _fid(gathered: Gathered, reference: Reference) -> dict[str, float]:
    assert gathered.pool is not None  # as there are samples
    statistics = Statistics.of(gathered.pool)
    warn_if_few(gathered.done, len(statistics.mean), "samples")
    counts, distances = gathered.distances.T
    value, slope = extrapolate(counts, distances)
    return {
        "fid": float(distances[-1]),
        "fid_standard_error": standard_error(statistics, reference.pool),
        "fid_infinity": value,
        "fid_slope": slope,
    }


def _sfid(gathered: Gathered, reference: Reference) -> dict[str, float]:
    if reference.spatial is None:
        raise ValueError("metric 'sfid' needs statistics with mu_s and sigma_s, got none")
    assert gathered.spatial is not None  # as the metric asks for it
    return {"sfid": gaussian_distance(Statistics.of(gathered.spatial), reference.spatial)}


def _inception_score(gathered: Gathered, reference: Reference) -> dict[str, float]:
    assert gathered.scores is not None  # as the metric asks for them
    score = gathered.scores.score()
    return {f"inception_score{end}": v for end, v in zip(("", "_std", "_standard_error"), score, strict=True)}


def _kid(gathered: Gathered, reference: Reference) -> dict[str, float]:
    assert gathered.features is not None and reference.features is not None  # as the metric keeps them
    size = min(SUBSET, len(gathered.features), len(reference.features))
    distance = kid(gathered.features, reference.features, size=size)
    return {"kid": distance.mean, "kid_standard_error": distance.standard_error}


METRICS = {
    "fid": Metric(_fid),
    "sfid": Metric(_sfid, spatial=True),
    "inception_score": Metric(_inception_score, logits=True),
    "kid": Metric(_kid, keeps=True),
    "precision_recall": Metric(lambda g, r: precision_recall(g.features, r.features)._asdict(), keeps=True),
    "density_coverage": Metric(lambda g, r: density_coverage(g.features, r.features)._asdict(), keeps=True),
    "cmmd": Metric(lambda g, r: {"cmmd": cmmd(g.features, r.features)}, keeps=True),
}
"""Those that `config.evaluation.metrics` may name."""


def plan(
    names: Sequence[str], count: int, *, keep: int = 10_000, splits: int = 10, reference: Reference | None = None
) -> Plan:
    """Return what must be kept for the metrics of these names.

    Args:
        names: keys of `METRICS`.
        count: samples.
        keep: features kept themselves at most, where a metric needs them.
        splits: of the Inception score.
        reference: what distances are extrapolated to, where "fid" is asked for.

    Raises:
        ValueError: if a name is unknown, samples are too few, or a metric needs features that the reference lacks.
    """
    chosen = {name: choose("evaluation.metrics", name, METRICS) for name in names}
    if "fid" in chosen and count < FEWEST:
        raise ValueError(f"metric 'fid' needs at least {FEWEST} samples, got {count}")
    for name, metric in chosen.items():
        if metric.keeps and reference is not None and reference.features is None:
            raise ValueError(
                f"metric {name!r} needs features themselves, which these statistics do not hold; those that "
                "--mode=stats computes do"
            )
    return Plan(
        count,
        min(keep, count) if any(metric.keeps for metric in chosen.values()) else 0,
        min(splits, count) if any(metric.logits for metric in chosen.values()) else 0,
        ("spatial",) if any(metric.spatial for metric in chosen.values()) else (),
        reference.pool if reference is not None and "fid" in chosen else None,
    )


def figures(names: Sequence[str], gathered: Gathered, reference: Reference) -> dict[str, Any]:
    """Return the figures of all metrics by name, and how many samples and data they are from."""
    result: dict[str, Any] = {"samples": gathered.done, "data": reference.pool.count}
    for name in names:
        result |= METRICS[name].compute(gathered, reference)
    return result
