"""Images a second that training gets from prepared 32x32 images, and the memory that it takes over many batches.

`python -m benchmarks.input` makes 20,000 images that look like photographs, as PNGs in tfds's array_record format and
as prepared records of bytes, reads both in batches of 128 for some seconds each, and then counts memory over
`--batches` batches of 32, as many as an hour of training has at 20 steps a second. `--workers` processes decode PNGs.
"""

import argparse
import io
import pathlib
import resource
import tempfile
import time

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from benchmarks import tables
from sgm_jax import data

COUNT, SIZE, BATCH = 20_000, 32, 128
HOUR, SMALL_BATCH = 72_000, 32


# Unregistered, so that worker processes, which import this file too, read the images from their files alone.
with tfds.core.registered.skip_registration():

    class SmallImages(tfds.core.GeneratorBasedBuilder):
        """Smooth random images of 32x32 pixels with a little noise."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            image = tfds.features.Image(shape=(SIZE, SIZE, 3))
            features = tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(num_classes=10)})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples(COUNT), "test": self._generate_examples(BATCH)}

        def _generate_examples(self, count):
            generator = np.random.default_rng(count)
            for number in range(count):
                coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), np.uint8))
                smooth = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(int)
                noisy = np.clip(smooth + generator.integers(-4, 5, smooth.shape), 0, 255).astype(np.uint8)
                png = io.BytesIO()
                Image.fromarray(noisy).save(png, "PNG")
                png.seek(0)
                yield number, {"image": png, "label": number % 10}


def throughput(source: data.Source, seconds: float, workers: int = 0) -> float:
    """Return images a second, after whatever the first two epochs cost to set up."""
    batches = data.training_batches(source, BATCH, seed=0, workers=workers)
    for _ in range(2 * len(source) // BATCH if isinstance(source, data.Cached) else 50):
        next(batches)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(batches)
        count += BATCH
    return count / (time.perf_counter() - start)


def resident() -> float:
    """Return this process's memory, in MiB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--batches", type=int, default=HOUR)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--data_dir", help="where the images are made, or were; a temporary folder unless given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.data_dir or temporary
        SmallImages(data_dir=place, file_format="array_record").download_and_prepare()
        pngs = data.load("tfds", dataset="small_images", data_dir=place, label_key="label")
        folder = pathlib.Path(place) / "records"
        prepared = data.Prepared("small_images", folder, {"count": COUNT}, lambda: pngs)
        prepared.prepare()
        records = prepared.load()
        cached = data.cached(records, 2**30).train
        tables.header("read from", "images/s")
        for name, source, workers in (
            ("PNGs, this process", pngs.train, 0),
            (f"PNGs, {options.workers} workers", pngs.train, options.workers),
            ("records, this process", records.train, 0),
            ("records, cached", cached, 0),
        ):
            tables.row(name, f"{throughput(source, options.seconds, workers):,.0f}")
        tables.header("read from", "batches", "seconds", "MiB after each tenth")
        for name, source in (("records", records.train), ("records, cached", cached)):
            batches = data.training_batches(source, SMALL_BATCH, seed=0)
            start, marks = time.perf_counter(), []
            for number in range(options.batches):
                next(batches)
                if number % max(1, options.batches // 10) == 0:
                    marks.append(resident())
            seconds, marks = time.perf_counter() - start, " ".join(f"{mark:.0f}" for mark in [*marks, resident()])
            tables.row(name, f"{options.batches:,}", f"{seconds:.0f}", marks)


if __name__ == "__main__":
    main()
