"""Statistics gathered a block at a time, saved, read and gone on with."""

import jax.numpy as jnp
import numpy as np
import pytest

from sgm_jax import evaluation
from sgm_jax.evaluation import Extractor, Moments, Reference, Statistics, statistics, streaming

GENERATOR = np.random.default_rng(0)
FEATURES = GENERATOR.standard_normal((101, 6)) @ GENERATOR.standard_normal((6, 6)) + 1e4
IMAGES = GENERATOR.integers(0, 256, (60, 4, 4, 1), np.uint8)
MEASURED = {"features": "corners", "seed": 1}
EXTRACTOR = Extractor(
    "corners",
    lambda x: {
        "pool": x[:, :3, 0, 0] / 255.0,
        "logits": x[:, 1, :, 0] / 100.0,
        "spatial": jnp.sqrt(x[:, 2, :2, 0] / 1.0),
    },
    batch_size=16,
)
METRICS = ("fid", "sfid", "inception_score", "kid", "precision_recall", "density_coverage")


def batches(start):
    return (IMAGES[first : first + 7] for first in range(start, len(IMAGES), 7))


def reference():
    outputs = EXTRACTOR(IMAGES[::-2] // 2)
    pool, spatial = (Statistics.of(Moments.of(outputs[name]), "corners") for name in ("pool", "spatial"))
    return Reference(pool, spatial, outputs["pool"])


@pytest.mark.parametrize("size", [1, 7, 101])
def test_blocks_give_mean_and_covariance_of_the_whole(size):
    moments = Moments.gather(FEATURES[start : start + size] for start in range(0, 101, size))
    assert moments.count == 101
    np.testing.assert_allclose(moments.mean, FEATURES.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.covariance, np.cov(FEATURES, rowvar=False), rtol=1e-9)


def test_parts_of_hosts_are_put_together_in_any_order():
    one, two, three = (Moments.of(part) for part in np.split(FEATURES, [10, 50]))
    for moments in (one + two + three, three + (one + two)):
        np.testing.assert_allclose(moments.covariance, np.cov(FEATURES, rowvar=False), rtol=1e-9)


def test_streamed_figures_are_those_of_all_features_at_once():
    found = reference()
    plan = evaluation.plan(METRICS, 60, reference=found)
    figures = evaluation.figures(METRICS, evaluation.gather(EXTRACTOR, batches, plan), found)
    outputs = EXTRACTOR(IMAGES)
    data = found.features
    assert figures["samples"] == 60 and figures["data"] == 30
    assert figures["fid"] == pytest.approx(evaluation.frechet_distance(outputs["pool"], data), rel=1e-9)
    spatial = Statistics.of(Moments.of(outputs["spatial"]))
    assert figures["sfid"] == pytest.approx(evaluation.gaussian_distance(spatial, found.spatial), rel=1e-9)
    assert figures["inception_score"] == pytest.approx(evaluation.inception_score(outputs["logits"]).mean, rel=1e-12)
    assert figures["precision"] == evaluation.precision_recall(outputs["pool"], data).precision
    assert figures["coverage"] == evaluation.density_coverage(outputs["pool"], data).coverage
    counts = np.linspace(12, 60, 5).astype(int)
    distances = [evaluation.frechet_distance(outputs["pool"][:count], data) for count in counts]
    assert figures["fid_infinity"] == pytest.approx(evaluation.extrapolate(counts, distances).value, rel=1e-9)


class Killed(BaseException):
    pass


def test_killed_measurement_goes_on_to_the_same_figures(tmp_path):
    found, path, drawn = reference(), tmp_path / "state" / "samples.npz", []
    plan = evaluation.plan(METRICS, 60, keep=40, reference=found)
    whole = evaluation.figures(METRICS, evaluation.gather(EXTRACTOR, batches, plan), found)

    def interrupted(start):
        for number, images in enumerate(batches(start)):
            drawn.append(len(images))
            if number == 3:
                raise Killed
            yield images

    save = lambda kept: streaming.write(path, kept, MEASURED)  # noqa: E731
    for _ in range(3):
        with pytest.raises(Killed):
            evaluation.gather(EXTRACTOR, interrupted, plan, streaming.read(path, MEASURED), save, every=2)
    assert streaming.read(path, MEASURED).done == 42
    gathered = evaluation.gather(EXTRACTOR, batches, plan, streaming.read(path, MEASURED), save, every=2)
    assert len(gathered.features) == 40
    assert evaluation.figures(METRICS, gathered, found) == pytest.approx(whole, rel=1e-12)
    # A finished one draws nothing more, one of other settings starts anew.
    evaluation.gather(EXTRACTOR, interrupted, plan, streaming.read(path, MEASURED))
    assert len(drawn) == 12 and streaming.read(path, MEASURED | {"seed": 2}).done == 0


def test_half_written_state_is_not_read(tmp_path):
    path = tmp_path / "samples.npz"
    streaming.write(path, evaluation.gather(EXTRACTOR, batches, evaluation.Plan(20)), MEASURED)
    path.write_bytes(path.read_bytes()[:300])
    assert streaming.read(path, MEASURED).done == 0


def test_fewer_images_than_planned_are_named():
    with pytest.raises(ValueError, match="at most the 60 images there are, got 61"):
        evaluation.gather(EXTRACTOR, batches, evaluation.Plan(61))


def test_any_function_of_images_serves_as_features():
    extractor = Extractor("means", lambda x: {"pool": x.mean((1, 2))}, batch_size=8)
    gathered = evaluation.gather(extractor, batches, evaluation.Plan(60))
    np.testing.assert_allclose(gathered.pool.mean, IMAGES.mean((0, 1, 2)), rtol=1e-6)
    with pytest.raises(ValueError, match="must give 'logits', got pool"):
        evaluation.gather(extractor, batches, evaluation.plan(("inception_score",), 60))


@pytest.mark.parametrize("kind", ["ours", "ttur", "score_sde", "adm", "images"])
def test_published_formats_are_read(tmp_path, kind):
    path, found = tmp_path / "statistics.npz", reference()
    features = FEATURES.astype(np.float32) - 1e4
    mu, sigma = features.mean(0), np.cov(features, rowvar=False)
    if kind == "ours":
        statistics.save(path, found)
        read = statistics.load(path)
        np.testing.assert_array_equal(read.spatial.covariance, found.spatial.covariance)
        np.testing.assert_array_equal(read.features, found.features)
        assert (read.pool.name, read.pool.count) == ("corners", 30)
        return
    arrays = {
        "ttur": {"mu": mu, "sigma": sigma},
        "score_sde": {"pool_3": features},
        "adm": {"mu": mu, "sigma": sigma, "mu_s": mu[:2], "sigma_s": sigma[:2, :2]},
        "images": {"arr_0": IMAGES, "arr_1": np.zeros(60)},
    }[kind]
    np.savez(path, **arrays)
    if kind == "images":
        with pytest.raises(ValueError, match="holds images"):
            statistics.load(path)
        seen = statistics.load(path, lambda images: Reference(Statistics.of(Moments.of(EXTRACTOR(images)["pool"]))))
        np.testing.assert_allclose(seen.pool.mean, EXTRACTOR(IMAGES)["pool"].mean(0), rtol=1e-6)
        return
    read = statistics.load(path, block=13)
    np.testing.assert_allclose(read.pool.mean, mu, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(read.pool.covariance, sigma, rtol=1e-5)
    assert read.pool.count == (101 if kind == "score_sde" else None)
    assert (read.spatial is not None) == (kind == "adm")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mean": np.zeros(3)}, "must hold mu and sigma .*, got mean"),
        ({"mu": np.zeros(3), "sigma": np.zeros((2, 2))}, r"got \(3,\) and \(2, 2\)"),
        (None, "cannot be read"),
    ],
)
def test_other_files_are_refused(tmp_path, arrays, words):
    path = tmp_path / "statistics.npz"
    path.write_bytes(b"PK\x03\x04 broken") if arrays is None else np.savez(path, **arrays)
    with pytest.raises(ValueError, match=words):
        statistics.load(path)


def test_statistics_of_other_features_are_refused():
    found = reference().pool
    with pytest.raises(ValueError, match="features 'edges', got those of 'corners'"):
        evaluation.check_comparable(found, "edges", 3)
    with pytest.raises(ValueError, match="2048 features of 'inception', got 3"):
        evaluation.check_comparable(Statistics(found.mean, found.covariance), "inception", 2048)


def test_metrics_that_need_features_say_so():
    found = Reference(reference().pool)
    with pytest.raises(ValueError, match="'kid' needs features themselves"):
        evaluation.plan(("kid",), 60, reference=found)
    with pytest.raises(ValueError, match="did you mean 'precision_recall'"):
        evaluation.plan(("precision_recal",), 60)


def test_few_images_are_warned_of():
    with pytest.warns(UserWarning, match="3 samples are too few for the covariance of 3 features"):
        figures = evaluation.figures(
            ("fid",),
            evaluation.gather(EXTRACTOR, batches, evaluation.plan(("fid",), 3, reference=reference())),
            reference(),
        )
    assert figures["samples"] == 3 and "fid_infinity" in figures
