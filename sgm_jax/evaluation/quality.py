"""How good samples are, each figure beside what real data that were never trained on reach."""

from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from sgm_jax.evaluation.classifier import Classifier
from sgm_jax.evaluation.frechet import frechet_distance

CONFIDENT = 0.9


def quality(
    classifier: Classifier,
    samples: UInt8[np.ndarray, "n h w c"],
    data: UInt8[np.ndarray, "m h w c"],
    heldout: UInt8[np.ndarray, "k h w c"],
    heldout_labels: Int[np.ndarray, " k"],
    *,
    sample_labels: Int[np.ndarray, " n"] | None = None,
) -> dict[str, Any]:
    """Judge samples by a classifier, with held-out data as the yardstick.

    The Fréchet distance depends on the number of examples, so both it and its floor take as many as the
    smaller of `samples` and `heldout` has; the other figures use all.

    Args:
        classifier: trained on `data`.
        samples: what the model drew, uint8 [n, h, w, c].
        data: the training data, uint8 [m, h, w, c].
        heldout: data kept from model and classifier, uint8 [k, h, w, c].
        heldout_labels: their classes, [k].
        sample_labels: the classes that the samples were drawn for, [n].

    Returns:
        A dict of:
            frechet, frechet_floor: squared Fréchet distance of the samples, and of the held-out data, to `data`.
            confident, confident_floor: share whose likeliest class has a probability above 0.9.
            class_shares, class_shares_real: share of each class as classified, [classes].
            accuracy: of the classifier on the held-out data.
            class_accuracy: share of samples classified as what they were drawn for, where `sample_labels` says that.
            samples, heldout: how many there were.
    """
    features, probabilities = classifier(samples)
    real_features, real_probabilities = classifier(heldout)
    data_features, _ = classifier(data)
    count = min(len(samples), len(heldout))

    def shares(probabilities):
        return np.bincount(probabilities.argmax(1), minlength=classifier.classes) / len(probabilities)

    result = {
        "frechet": frechet_distance(features[:count], data_features),
        "frechet_floor": frechet_distance(real_features[:count], data_features),
        "confident": float((probabilities.max(1) > CONFIDENT).mean()),
        "confident_floor": float((real_probabilities.max(1) > CONFIDENT).mean()),
        "class_shares": shares(probabilities),
        "class_shares_real": shares(real_probabilities),
        "accuracy": float((real_probabilities.argmax(1) == heldout_labels).mean()),
        "samples": len(samples),
        "heldout": len(heldout),
    }
    if sample_labels is not None:
        result["class_accuracy"] = float((probabilities.argmax(1) == sample_labels).mean())
    return result
