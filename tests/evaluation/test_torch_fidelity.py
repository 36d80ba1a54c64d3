"""The whole way from images to figures beside torch-fidelity, with the same random weights in both networks."""

import numpy as np
import pytest
from inception_weights import images, random_state_dict

from sgm_jax import evaluation
from sgm_jax.convert.inception import from_state_dict

torch = pytest.importorskip("torch")
fidelity = pytest.importorskip("torch_fidelity")

COUNT = 6
pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Features of samples and data: (ours, theirs)."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    path, names = tmp_path_factory.mktemp("weights") / "weights.pth", ["2048", "logits_unbiased"]
    state = random_state_dict()
    torch.save({name: torch.from_numpy(np.asarray(array)) for name, array in state.items()}, path)
    network = FeatureExtractorInceptionV3("fid", names, feature_extractor_weights_path=str(path))
    extractor = evaluation.inception(from_state_dict(state), batch_size=COUNT)
    both = []
    for seed in (0, 1):
        x = images(COUNT, seed)
        ours = extractor(x)
        both.append((ours["pool"], ours["logits"], *network(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))))
    return both


def test_features_agree(outputs):
    for pool, logits, their_pool, their_logits in outputs:
        np.testing.assert_allclose(pool, their_pool.numpy(), atol=2e-5)
        np.testing.assert_allclose(logits, their_logits.numpy(), atol=2e-5)


def test_figures_agree(outputs):
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    (samples, logits, their_samples, their_logits), (data, _, their_data, _) = outputs
    statistics = [metric_fid.fid_features_to_statistics(x) for x in (their_samples, their_data)]
    theirs = metric_fid.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    assert evaluation.frechet_distance(samples, data) == pytest.approx(theirs, rel=1e-3)

    options = {"kid_subsets": 2, "kid_subset_size": COUNT, "verbose": False}
    theirs = metric_kid.kid_features_to_metric(their_samples, their_data, **options)["kernel_inception_distance_mean"]
    assert evaluation.kid(samples, data, size=COUNT, subsets=2).mean == pytest.approx(theirs, rel=1e-3)

    theirs = metric_isc.isc_features_to_metric(their_logits, splits=3, shuffle=False)
    np.testing.assert_allclose(evaluation.inception_score(logits, 3)[:2], list(theirs.values()), rtol=1e-5)

    theirs = metric_prc.prc_features_to_metric(their_samples, their_data, verbose=False)
    np.testing.assert_allclose(evaluation.precision_recall(samples, data), [theirs["precision"], theirs["recall"]])
