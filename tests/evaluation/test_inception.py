"""InceptionV3 against torch-fidelity's with the same random weights, and its files."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inception_weights import images, random_state_dict
from PIL import Image
from pytorch_files import storage, tensor, write_zip

from sgm_jax import convert, evaluation
from sgm_jax.convert.inception import from_state_dict, save
from sgm_jax.evaluation.resizing import clean, half_pixel_bilinear, tensor_bilinear

RECORD = np.load(pathlib.Path(__file__).parents[1] / "data" / "inception.npz")


def write_state_dict(path, state):
    """Write arrays as PyTorch does."""
    strides = lambda array: tuple(step // array.itemsize for step in array.strides)  # noqa: E731
    write_zip(path, {name: tensor(storage(a), 0, a.shape, strides(a)) for name, a in state.items()})


@pytest.mark.slow
def test_features_are_those_of_torch_fidelity():
    params = from_state_dict(random_state_dict())
    outputs = evaluation.inception(params, batch_size=8)(images(4)[:2])
    for name, recorded in (("pool", "pool"), ("logits", "logits_unbiased")):
        np.testing.assert_allclose(outputs[name], RECORD[recorded], atol=2e-5)
    # Before any normalisation, as ADM reads them.
    np.testing.assert_allclose(outputs["spatial"][:1], RECORD["spatial"], atol=5e-5)
    other = evaluation.inception(params, variant="tfgan", batch_size=8)(images(4)[:2])
    # Of other scaling and with the bias: the difference of logits is that of the bias, but for half a grey level.
    np.testing.assert_allclose(other["logits"] - outputs["logits"], np.tile(params["fc"]["bias"], (2, 1)), atol=0.05)


@pytest.mark.parametrize("size", [(32, 48), (512, 300)])
def test_clean_resizing_is_pillows(size):
    image = np.random.default_rng(0).integers(0, 256, (1, *size, 3), np.uint8)
    channels = [Image.fromarray(image[0, ..., c].astype(np.float32), mode="F") for c in range(3)]
    expected = np.stack([np.asarray(c.resize((299, 299), Image.Resampling.BICUBIC)) for c in channels], -1)
    np.testing.assert_allclose(clean(jnp.asarray(image))[0], expected.clip(0, 255), atol=2e-4)


def test_bilinear_resizes_differ_by_where_pixels_lie():
    ramp = jnp.broadcast_to(np.arange(16.0)[:, None, None], (1, 16, 16, 1))
    place = np.arange(299) * 16 / 299
    np.testing.assert_allclose(tensor_bilinear(ramp)[0, :, 0, 0], np.minimum(place, 15), atol=1e-5)
    np.testing.assert_allclose(
        half_pixel_bilinear(ramp)[0, :, 0, 0], jax.image.resize(ramp[0], (299, 16, 1), "bilinear")[:, 0, 0], atol=1e-5
    )


def test_files_are_checked_by_their_sum(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(FileNotFoundError, match="download https://github.com/toshas"):
        convert.inception(path)
    path.write_bytes(b"not the weights")
    with pytest.raises(ValueError, match="sha256 6726825d.*, got "):
        convert.inception(path)
    write_state_dict(path, {"fc.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(ValueError, match="lacks 'fc.bias'"):
        convert.inception(path, sha256=None)


@pytest.mark.slow
def test_files_are_converted_once(tmp_path):
    state = {name: array for name, array in random_state_dict().items() if not name.endswith("tracked")}
    path = tmp_path / "weights.pth"
    write_state_dict(path, state)
    first = convert.inception(path, sha256=None)
    wanted = from_state_dict(state)
    jax.tree.map(np.testing.assert_array_equal, first.params, wanted)
    changed = jax.tree.map(np.zeros_like, wanted)
    save(first._replace(params=changed), tmp_path / "weights.safetensors")
    jax.tree.map(np.testing.assert_array_equal, convert.inception(path, sha256=None).params, changed)
    # Of another file, it is made anew.
    write_state_dict(path, state | {"fc.bias": np.ones(1008, np.float32)})
    assert convert.inception(path, sha256=None).params["fc"]["bias"].all()


def test_names_of_variants_are_checked():
    with pytest.raises(ValueError, match="variant must be one of fid, tfgan, got 'tf'"):
        evaluation.inception({}, variant="tf")
    with pytest.raises(ValueError, match="did you mean 'clean'"):
        evaluation.inception({}, resize="cleen")
