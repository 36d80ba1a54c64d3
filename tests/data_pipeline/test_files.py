"""Zip archives, tables of labels, broken images, checksums, medical volumes and Hugging Face's folders."""

import hashlib
import pathlib
import sys
import types
import zipfile

import numpy as np
import pytest
from PIL import Image

from sgm_jax import data


def write_images(root, count=8, size=(6, 5), classes=("",)):
    for number in range(count):
        place = root / classes[number % len(classes)]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(place / f"{number}.png")
    return root


def values(source):
    return [int(source[number]["x"].flat[0]) for number in range(len(source))]


def test_a_zip_archive_is_the_folder_it_was_made_from(tmp_path):
    root = write_images(tmp_path / "images", classes=("a", "b", "c"))
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(root))
    folder = data.load("folder", path=str(root), test_fraction=0.25)
    archive = data.load("folder", path=str(tmp_path / "images.zip"), test_fraction=0.25)
    assert archive.num_classes == 3 and archive.shape == (6, 5, 3)
    for ours, theirs in ((archive.train, folder.train), (archive.test, folder.test)):
        assert values(ours) == values(theirs)
        assert [ours[i]["label"] for i in range(len(ours))] == [v % 3 for v in values(ours)]
    digest = hashlib.sha256((tmp_path / "images.zip").read_bytes()).hexdigest()
    data.load("folder", path=str(tmp_path / "images.zip"), sha256=digest)
    with pytest.raises(ValueError, match="sha256 .*must be 00, got " + digest):
        data.load("folder", path=str(tmp_path / "images.zip"), sha256="00")
    (tmp_path / "broken.zip").write_text("no archive")
    with pytest.raises(ValueError, match="zip archive of images, got .*broken.zip"):
        data.load("folder", path=str(tmp_path / "broken.zip"))


@pytest.mark.parametrize(
    ("label", "classes", "expected"),
    [(lambda n: n % 3 + 1, 4, lambda n: n % 3 + 1), (lambda n: ("owl", "cat")[n % 2], 2, lambda n: 1 - n % 2)],
)
def test_tables_give_labels(tmp_path, label, classes, expected):
    root = write_images(tmp_path / "images")
    rows = "".join(f"{number}.png,{label(number)}\n" for number in reversed(range(8)))
    (tmp_path / "labels.csv").write_text("file,label\n" + rows)
    dataset = data.load("folder", path=str(root), labels=str(tmp_path / "labels.csv"))
    assert dataset.num_classes == classes
    for source in (dataset.train, dataset.test):
        for number, value in enumerate(values(source)):
            assert source[number]["label"] == expected(value)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda rows: ["name,label", *rows[1:]], "columns file,label, got name,label"),
        (lambda rows: [*rows, "9.png,1"], "row 10 of labels.csv has the file '9.png'"),
        (lambda rows: [*rows, "3.png,1"], "row 10 .*'3.png' a second time"),
        (lambda rows: [*rows[:2], "1.png,", *rows[3:]], "row 3 of labels.csv has no label for '1.png'"),
        (lambda rows: rows[:-2], r"none for '6.png' \(2 such\)"),
    ],
)
def test_unusable_tables_are_refused(tmp_path, spoil, match):
    root = write_images(tmp_path / "images")
    rows = ["file,label", *(f"{number}.png,{number % 2}" for number in range(8))]
    (tmp_path / "labels.csv").write_text("\n".join(spoil(rows)))
    with pytest.raises(ValueError, match=match):
        data.load("folder", path=str(root), labels=str(tmp_path / "labels.csv"))


def test_broken_images_are_named_or_skipped(tmp_path, caplog):
    root = write_images(tmp_path)
    (root / "bad.png").write_bytes((root / "0.png").read_bytes()[:40])
    with pytest.raises(data.BrokenExample, match=r"bad.png.*broken.*\(1 such\); set corrupt to skip"):
        data.load("folder", path=str(root))
    dataset = data.load("folder", path=str(root), corrupt="skip")
    assert sorted(values(dataset.train) + values(dataset.test)) == list(range(8))
    assert "bad.png" in caplog.text
    # One that breaks later is named when it is read.
    (root / dataset.train.names[0]).write_text("")
    with pytest.raises(data.BrokenExample, match=dataset.train.names[0]):
        dataset.train[0]


def test_photographs_stand_the_way_their_camera_noted(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    turned = Image.Exif()
    turned[274] = 6  # the camera lay on its side: a quarter turn clockwise shows the image upright
    for name in "ab":
        Image.fromarray(np.rot90(pixels)).save(tmp_path / f"{name}.png", exif=turned)
    dataset = data.load("folder", path=str(tmp_path), test_fraction=0.0)
    assert dataset.shape == (6, 5, 3)
    np.testing.assert_array_equal(dataset.train[0]["x"], pixels)


def test_single_images_and_whole_folders_are_read_without_parts(tmp_path):
    root = write_images(tmp_path / "images")
    alone, everything = (data.read_images(str(path), 4, 1) for path in (root / "3.png", root))
    assert values(alone) == [3] and alone[0]["x"].shape == (4, 4, 1)
    assert values(everything) == list(range(8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty' must hold an image \(.bmp, .*\), got none"):
        data.read_images(str(tmp_path / "empty"), 4, 1)


def test_hidden_files_of_file_managers_are_no_images(tmp_path):
    root = write_images(tmp_path / "images", classes=("a", "b"))
    for name in ("a/._0.png", ".trash/1.png", "__MACOSX/b/._1.png"):
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text("no image")
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in root.rglob("*.png"):
            archive.write(path, path.relative_to(root))
    for path in (root, tmp_path / "images.zip"):
        dataset = data.load("folder", path=str(path))
        assert len(dataset.train) + len(dataset.test) == 8 and dataset.num_classes == 2


# ------------------------------------------------------------------------------------------------ medical


def test_volumes_become_slices_of_unit_scale_and_are_held_out_whole(tmp_path):
    for number in range(4):
        volume = np.full((3, 8, 8), 10.0 * (number + 1))
        volume[1] *= 0.5
        volume[2] = -1
        np.save(tmp_path / f"patient_{number}.npy", volume)
    dataset = data.load("medical", path=str(tmp_path), size=4, test_fraction=0.25)
    assert dataset.shape == (4, 4, 1) and dataset.levels is None
    # The third slice of each volume has no signal.
    for source, count in ((dataset.train, 6), (dataset.test, 2)):
        slices = [source[number]["x"] for number in range(len(source))]
        assert [round(float(x.mean()), 5) for x in slices] == [1.0, 0.5] * (count // 2)
        assert slices[0].dtype == np.float32 and np.ptp(slices[0]) == 0
    np.save(tmp_path / "odd.npy", np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"odd.npy must be real numbers \[slices, h, w\], got float64 \(8, 8\)"):
        data.load("medical", path=str(tmp_path))


# ------------------------------------------------------------------------------------------------ Hugging Face


class Rows(list):
    """What `datasets.Dataset` shows of itself."""

    features = {"image": None, "label": types.SimpleNamespace(num_classes=5)}


def fake_rows(count):
    return Rows({"image": Image.fromarray(np.full((4, 4), n, np.uint8)), "label": n % 5} for n in range(count))


def test_folders_of_hugging_face_are_read(tmp_path, monkeypatch):
    saved = {"splits": {"train": fake_rows(10), "test": fake_rows(3)}, "rows": fake_rows(20)}
    module = types.SimpleNamespace(load_from_disk=lambda path: saved[pathlib.Path(path).name])
    monkeypatch.setitem(sys.modules, "datasets", module)
    dataset = data.load("huggingface", path=str(tmp_path / "splits"), label_key="label")
    assert (len(dataset.train), len(dataset.test), dataset.shape, dataset.num_classes) == (10, 3, (4, 4, 3), 5)
    assert [dataset.train[n]["label"] for n in range(10)] == [v % 5 for v in values(dataset.train)]
    whole = data.load("huggingface", path=str(tmp_path / "rows"), channels=1, size=2)
    assert whole.shape == (2, 2, 1) and "label" not in whole.train[0]
    assert sorted(values(whole.train) + values(whole.test)) == list(range(20))
    with pytest.raises(ValueError, match="column must be one of image, label, got 'picture'"):
        data.load("huggingface", path=str(tmp_path / "rows"), image_key="picture")
    with pytest.raises(ValueError, match="got 'dev'"):
        data.load("huggingface", path=str(tmp_path / "splits"), test_split="dev")


def test_hugging_face_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="pip install datasets"):
        data.load("huggingface", path="anywhere")
