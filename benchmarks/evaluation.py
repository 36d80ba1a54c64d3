"""Memory, time and accuracy of streaming statistics: 50,000 x 2048 features and their Fréchet distance.

    python -m benchmarks.evaluation [--count=50000] [--features=2048] [--block=500]

The true mean and covariance are known, so that the accuracy is told; the peak memory is that of the whole process.
"""

import argparse
import resource
import time

import numpy as np

from sgm_jax.evaluation import Moments, Statistics, gaussian_distance


def main(count: int, features: int, block: int) -> None:
    generator = np.random.default_rng(0)
    scale = np.linspace(0.1, 1.0, features)

    def blocks():
        # Features far from the origin, as rectified means are, in float32.
        for start in range(0, count, block):
            z = generator.standard_normal((min(block, count - start), features), np.float32)
            yield z * scale.astype(np.float32) + np.float32(10)

    start = time.perf_counter()
    moments = Moments.gather(blocks())
    gathered = time.perf_counter() - start
    statistics = Statistics.of(moments)
    start = time.perf_counter()
    distance = gaussian_distance(statistics, Statistics(np.full(features, 10.0), np.diag(scale**2)))
    compared = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    error = np.abs(np.sqrt(np.diag(statistics.covariance)) / scale - 1).max()
    print(f"{count} x {features} in blocks of {block}: {gathered:.1f} s, distance {compared:.1f} s")
    print(f"peak memory {peak:.0f} MiB; largest relative error of a deviation {error:.1e} (expected about")
    print(f"{np.sqrt(np.log(features) / count):.1e} from sampling); distance to the truth {distance:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--block", type=int, default=500)
    main(**vars(parser.parse_args()))
