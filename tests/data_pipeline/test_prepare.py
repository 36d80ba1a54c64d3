"""Preparation: the papers' sets from files of their real formats, records, and what a killed preparation leaves."""

import contextlib
import dataclasses
import gzip
import io
import pathlib
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from sgm_jax import data
from sgm_jax.data import records
from sgm_jax.data.catalogue import Catalogued

tfds = pytest.importorskip("tensorflow_datasets")


def pixels(count, *shape):
    return np.random.default_rng(count).integers(0, 256, (count, *shape), np.uint8)


def everything(source):
    return data.gather(source, range(len(source)))


def by_content(images):
    flat = images.reshape(len(images), -1)
    return flat[np.lexsort(flat.T)]


@contextlib.contextmanager
def downloads(place, monkeypatch):
    """Let tfds find what it would download, every URL by its last part, and extract it as it does."""

    def find(self, urls):
        if isinstance(urls, dict):
            return {name: find(self, url) for name, url in urls.items()}
        if isinstance(urls, list):
            return [find(self, url) for url in urls]
        return self.extract(place / urls.rpartition("/")[2])

    with monkeypatch.context() as patch:
        patch.setattr(tfds.download.DownloadManager, "download_and_extract", find)
        patch.setattr(tfds.download.DownloadManager, "download", find)
        yield


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def test_cifar10_is_prepared_from_its_binary_files(tmp_path, monkeypatch):
    images, label = pixels(24, 32, 32, 3), np.arange(24) % 10
    rows = np.concatenate([label[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(24, -1)], 1)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = dict(zip(names, (part.tobytes() for part in np.split(rows, 6)), strict=True))
    files["batches.meta.txt"] = "\n".join(f"class{n}" for n in range(10)).encode()
    members = [(f"cifar-10-batches-bin/{name}", content) for name, content in files.items()]
    write_tar(tmp_path / "cifar-10-binary.tar.gz", members, "w:gz")
    place = str(tmp_path / "prepared")
    with pytest.raises(ValueError, match="'cifar10' is not prepared .*--mode=prepare"):
        data.load("cifar10", data_dir=place)
    with downloads(tmp_path, monkeypatch):
        assert data.prepare("cifar10", data_dir=place).is_dir()
    dataset = data.load("cifar10", data_dir=place)
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (20, 4, (32, 32, 3))
    assert (dataset.num_classes, dataset.levels, dataset.name) == (10, 256, "cifar10")
    train = everything(dataset.train)
    np.testing.assert_array_equal(by_content(train["x"]), by_content(images[:20]))
    for x, value in zip(train["x"], train["label"], strict=True):
        assert np.any(np.all(images[label == value] == x, axis=(1, 2, 3)))


@pytest.mark.parametrize("name", ["full_mnist", "fashion_mnist"])
def test_digits_and_articles_are_prepared_from_idx_files(tmp_path, monkeypatch, name):
    from tensorflow_datasets.image_classification import mnist as module

    monkeypatch.setattr(module, "_TRAIN_EXAMPLES", 6)
    monkeypatch.setattr(module, "_TEST_EXAMPLES", 3)
    images = {"train": pixels(6, 28, 28, 1), "t10k": pixels(3, 28, 28, 1)}
    for split, part in images.items():
        header = np.array([2051, len(part), 28, 28], ">i4").tobytes()
        for kind, body in (
            ("images-idx3", header + part.tobytes()),
            (
                "labels-idx1",
                np.array([2049, len(part)], ">i4").tobytes() + np.arange(len(part), dtype=np.uint8).tobytes(),
            ),
        ):
            (tmp_path / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(body))
    place = str(tmp_path / "prepared")
    with downloads(tmp_path, monkeypatch):
        data.prepare(name, data_dir=place)
    dataset = data.load(name, data_dir=place)
    assert dataset.shape == (28, 28, 1) and dataset.num_classes == 10 and dataset.name == name
    for source, part in ((dataset.train, images["train"]), (dataset.test, images["t10k"])):
        found = everything(source)
        np.testing.assert_array_equal(found["x"], part[found["label"]])


def test_svhn_is_prepared_from_its_matlab_files(tmp_path, monkeypatch):
    import scipy.io

    images = pixels(5, 32, 32, 3)
    for split in ("train", "test", "extra"):
        label = np.array([[1], [10], [3], [4], [5]])
        scipy.io.savemat(tmp_path / f"{split}_32x32.mat", {"X": np.moveaxis(images, 0, -1), "y": label})
    place = str(tmp_path / "prepared")
    with downloads(tmp_path, monkeypatch):
        data.prepare("svhn", data_dir=place)
    found = everything(data.load("svhn", data_dir=place).train)
    # Class 10 of the files is the digit 0.
    np.testing.assert_array_equal(found["x"], images[[[1, 0, 3, 4, 5].index(value) for value in found["label"]]])


def jpeg(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_imagenet_is_prepared_from_its_archives_resized_and_with_classes(tmp_path, monkeypatch):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    photographs = pixels(3, 80, 70, 3)
    names = ("n01440764", "n01443537", "n15075141")

    inner = []
    for name, photograph in zip(names, photographs, strict=True):
        write_tar(tmp_path / "inner.tar", [(f"{name}_1.JPEG", jpeg(photograph))])
        inner.append((f"{name}.tar", (tmp_path / "inner.tar").read_bytes()))
    write_tar(manual / "ILSVRC2012_img_train.tar", inner)
    write_tar(manual / "ILSVRC2012_img_val.tar", [("ILSVRC2012_val_00000001.JPEG", jpeg(photographs[0]))])
    with pytest.raises(ValueError, match="'imagenet' are not prepared .*--mode=prepare"):
        data.load("imagenet", data_dir=str(tmp_path), size=32)
    data.prepare("imagenet", data_dir=str(tmp_path), size=32)
    dataset = data.load("imagenet", data_dir=str(tmp_path), size=32)
    assert (len(dataset.train), len(dataset.test), dataset.shape, dataset.num_classes) == (3, 1, (32, 32, 3), 1000)
    found = everything(dataset.train)
    assert sorted(found["label"]) == [0, 1, 999] and found["x"].dtype == np.uint8
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        data.load("imagenet", data_dir=str(tmp_path), size=0)


def test_celeba_is_prepared_from_its_archive_and_tables(tmp_path, monkeypatch):
    faces = np.repeat(np.arange(10, 130, 30, dtype=np.uint8), 218 * 178 * 3).reshape(4, 218, 178, 3)
    faces[:, :, :19] = 255  # beside the crop
    names = [f"{number:06d}.jpg" for number in range(1, 5)]
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for name, face in zip(names, faces, strict=True):
            archive.writestr(f"img_align_celeba/{name}", jpeg(face))
    features = tfds.builder("celeb_a", data_dir=tmp_path).info.features
    for table, titles in (("list_attr_celeba", features["attributes"]), ("landmarks_celeba", features["landmarks"])):
        rows = "".join(f"{name} {' '.join('1' for _ in titles)}\n" for name in names)
        (tmp_path / table).write_text(f"4\n{' '.join(titles)}\n{rows}")
    (tmp_path / "identity_celeba").write_text("".join(f"{name} 1\n" for name in names))
    (tmp_path / "list_eval_partition").write_text(
        "".join(f"{name} {part}\n" for name, part in zip(names, "0012", strict=True))
    )
    find = lambda self, urls: {name: tmp_path / (name + ".zip" * name.startswith("img")) for name in urls}
    monkeypatch.setattr(tfds.download.DownloadManager, "download", find)
    data.prepare("celeba", data_dir=str(tmp_path))
    dataset = data.load("celeba", data_dir=str(tmp_path))
    assert (len(dataset.train), len(dataset.test), dataset.shape, dataset.num_classes) == (2, 1, (64, 64, 3), None)
    inner = everything(dataset.train)["x"][:, :, 4:].astype(int)
    assert sorted(np.round(inner.mean((1, 2, 3)))) == [10, 40] and np.ptp(inner, axis=(1, 2, 3)).max() < 6


def test_downsampled_imagenet_is_prepared_from_its_archives(tmp_path, monkeypatch):
    images = pixels(5, 32, 32, 3)
    for split, part in (("train", images[:4]), ("valid", images[4:])):
        members = []
        for number, image in enumerate(part):
            png = io.BytesIO()
            Image.fromarray(image).save(png, "PNG")
            members.append((f"{split}_32x32/{number:07d}.png", png.getvalue()))
        write_tar(tmp_path / f"{split}_32x32.tar", members)
    find = lambda self, urls: [tmp_path / url.rpartition("/")[2] for url in urls]
    monkeypatch.setattr(tfds.download.DownloadManager, "download", find)
    data.prepare("downsampled_imagenet", data_dir=str(tmp_path))
    dataset = data.load("downsampled_imagenet", data_dir=str(tmp_path))
    assert dataset.shape == (32, 32, 3) and dataset.num_classes is None
    np.testing.assert_array_equal(by_content(everything(dataset.train)["x"]), by_content(images[:4]))
    np.testing.assert_array_equal(everything(dataset.test)["x"], images[4:])
    with pytest.raises(ValueError, match="must be 32 or 64, got 48"):
        data.load("downsampled_imagenet", size=48)


def test_lsun_is_prepared_from_its_databases(tmp_path, monkeypatch):
    photographs = {"train": pixels(3, 30, 40, 3), "val": pixels(2, 30, 40, 3)}
    for split in photographs:
        with zipfile.ZipFile(tmp_path / f"tower_{split}_lmdb.zip", "w") as archive:
            archive.writestr(f"tower_{split}_lmdb/data.mdb", split)

    @contextlib.contextmanager
    def database(path, **options):
        split = (pathlib.Path(path) / "data.mdb").read_text()
        rows = [(str(number).encode(), jpeg(image)) for number, image in enumerate(photographs[split])]
        transaction = types.SimpleNamespace(cursor=lambda: rows)
        yield types.SimpleNamespace(begin=lambda: contextlib.nullcontext(transaction))

    options = {"category": "tower", "size": 30, "data_dir": str(tmp_path / "prepared")}
    with downloads(tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "lmdb", None)
        with pytest.raises(ValueError, match="pip install lmdb"):
            data.prepare("lsun", **options)
        monkeypatch.setitem(sys.modules, "lmdb", types.SimpleNamespace(open=database))
        data.prepare("lsun", **options)
    dataset = data.load("lsun", **options)
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (3, 2, (30, 30, 3))
    # The centre square, as JPEG keeps it.
    wanted = np.stack([np.asarray(Image.open(io.BytesIO(jpeg(image)))) for image in photographs["val"]])[:, :, 5:35]
    np.testing.assert_array_equal(by_content(everything(dataset.test)["x"]), by_content(wanted))


def test_data_that_cannot_be_had_say_where_they_are(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="'imagenet2012' could not be had: .*ILSVRC2012_img_train.tar.*docs/data.md"):
        data.prepare("imagenet", data_dir=str(tmp_path))
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    def wrong(self, url):
        raise NonMatchingChecksumError("cifar-10-binary.tar.gz has wrong checksum")

    monkeypatch.setattr(tfds.download.DownloadManager, "download_and_extract", wrong)
    with pytest.raises(ValueError, match="checksum of a download of 'cifar10' is wrong: cifar-10-binary.tar.gz"):
        data.prepare("cifar10", data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="is not prepared"):
        data.load("cifar10", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("celeba", {}, ("celeb_a", "celeba-64", "validation")),
        ("lsun", {"category": "church_outdoor"}, ("lsun/church_outdoor", "lsun_church_outdoor-256", "validation")),
        ("lsun", {"category": "cat", "size": 128}, ("lsun/cat", "lsun_cat-128", "train")),
        ("imagenet", {"size": 256}, ("imagenet2012", "imagenet-256", "validation")),
    ],
)
def test_cropped_sets_say_what_they_are_made_from(tmp_path, name, options, expected):
    prepared = data.DATASETS[name](data_dir=str(tmp_path), **options)
    whole = prepared.examples.__self__
    assert (prepared.origin["dataset"], prepared.folder.name, whole.test_split) == expected
    assert isinstance(whole, Catalogued)


# ------------------------------------------------------------------------------------------------ records


def write_images(root, count=11, size=(9, 9)):
    root.mkdir(exist_ok=True)
    for number, image in enumerate(pixels(count, *size, 3)):
        Image.fromarray(image).save(root / f"{number:02d}.png")
    return root


@pytest.mark.parametrize("name", ["folder", "ffhq", "celeba_hq"])
def test_records_hold_what_the_files_decode_to(tmp_path, name):
    root = write_images(tmp_path / "images")
    options = {"path": str(root), "size": 3, "filter": "box"}
    place = data.prepare(name, data_dir=str(tmp_path / "prepared"), **options)
    dataset = data.load(name, data_dir=str(tmp_path / "prepared"), **options)
    direct = data.load("folder", **options, test_fraction=0.1 if name == "folder" else 0.0)
    assert dataset.shape == (3, 3, 3) and dataset.name == ("images" if name == "folder" else name)
    assert len(dataset.test) == (1 if name == "folder" else 11)
    for ours, theirs in ((dataset.train, direct.train), (dataset.test, direct.test)):
        np.testing.assert_array_equal(everything(ours)["x"], everything(theirs)["x"])
    # A second preparation has nothing to do, and other images or options are another data set.
    stamp = {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    data.prepare(name, data_dir=str(tmp_path / "prepared"), **options)
    assert stamp == {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    Image.new("RGB", (9, 9)).save(root / "new.png")
    with pytest.raises(ValueError, match="were prepared from something else .*--mode=prepare"):
        data.load(name, data_dir=str(tmp_path / "prepared"), **options)


class Killed(BaseException):
    pass


def test_a_killed_preparation_leaves_no_data_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "SHARD", 3)
    x, label = pixels(11, 4, 4, 1), np.arange(11, dtype=np.int32)
    whole = data.Dataset(data.ArraySource(x, label), data.ArraySource(x[:2], label[:2]), (4, 4, 1), 256, 11, "whole")
    reads = []

    @dataclasses.dataclass
    class Mortal:
        life: int

        def __len__(self):
            return 11

        def __getitem__(self, index):
            if len(reads) >= self.life:
                raise Killed
            reads.append(index)
            return whole.train[index]

    def preparation(life):
        return data.Prepared(
            "whole", tmp_path / "whole", {"a": 1}, lambda: dataclasses.replace(whole, train=Mortal(life))
        )

    with pytest.raises(Killed):
        preparation(8).prepare()
    with pytest.raises(ValueError, match="'whole' are not prepared"):
        preparation(0).load()
    done = sorted(tmp_path.rglob("train*.array_record"))
    assert len(done) == 2
    reads.clear()
    preparation(1000).prepare()
    # The first example says what they are like; six are there already.
    assert sorted(reads) == [0, 6, 7, 8, 9, 10]
    found = preparation(0).load()
    for source, wanted in ((found.train, whole.train), (found.test, whole.test)):
        np.testing.assert_array_equal(everything(source)["x"], wanted.x)
        np.testing.assert_array_equal(everything(source)["label"], wanted.label)
    assert not list(tmp_path.rglob("*.part")) and found.num_classes == 11


def test_broken_examples_stop_a_preparation_or_are_skipped(tmp_path, caplog):
    root = write_images(tmp_path / "images")
    (root / "05.png").write_text("broken")
    options = {"path": str(root), "data_dir": str(tmp_path)}
    with pytest.raises(data.BrokenExample, match="05.png"):
        data.prepare("folder", **options)
    data.prepare("folder", **options, corrupt="skip")
    dataset = data.load("folder", **options, corrupt="skip")
    assert len(dataset.train) + len(dataset.test) == 10 and "05.png" in caplog.text


def test_sixteen_bits_and_continuous_values_keep_their_type(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full((2, 4, 4), number + 1.0))
    options = {"path": str(tmp_path), "data_dir": str(tmp_path)}
    data.prepare("medical", **options)
    dataset = data.load("medical", **options)
    assert dataset.levels is None and dataset.train[0]["x"].dtype == np.float32
    assert everything(dataset.train)["x"].min() == 1


def test_what_needs_no_preparation_says_so():
    assert data.prepare("two_moons") is None
