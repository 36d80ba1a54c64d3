"""Classifier-free guidance in two evaluations of the network or in one: `python -m benchmarks.guidance`.

Milliseconds of ten guided steps of the network that comes with the library, the two in turns, and their ratio; the
median of the rounds.
"""

import argparse
import time

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

import sgm_jax as sgm
from sgm_jax.guidance import classifier_free, classifier_free_paired


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    digits = sgm.pretrained("mnist")
    options = dict(solver=diffrax.Euler(), steps=10, final="none")
    print(f"on {jax.devices()[0].device_kind}\n\n| batch | two evaluations | one | ratio |\n|---|---|---|---|")
    for count in arguments.batches:
        label = jnp.arange(count) % 10
        nothing = jnp.full(count, digits.network.num_classes)
        scores = (
            classifier_free(digits.conditional(label), digits.conditional(nothing), 1.3),
            classifier_free_paired(digits.conditional(jnp.concatenate([label, nothing])), 1.3),
        )
        seconds = [[], []]
        for repeat in range(arguments.rounds + 1):
            for score, taken in zip(scores, seconds, strict=True):
                start = time.perf_counter()
                flow = sgm.ProbabilityFlow(digits.sde, score)
                sgm.sample(jax.random.key(0), flow, (count, *digits.shape), **options).x.block_until_ready()
                if repeat:  # the first one compiles
                    taken.append(time.perf_counter() - start)
        two, one = (1e3 * np.median(taken) for taken in seconds)
        print(f"| {count} | {two:.1f} ms | {one:.1f} ms | {one / two:.2f} |", flush=True)


if __name__ == "__main__":
    main()
