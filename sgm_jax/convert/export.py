"""A sampler as a file of its own, which runs with JAX alone."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
from jaxtyping import Array, Num

from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.sampling import AbstractProcess, ProbabilityFlow, sample


def export_sampler(
    pretrained: Pretrained,
    count: int,
    *,
    process: Callable[..., AbstractProcess] = ProbabilityFlow,
    class_labels: Num[Array, "b ..."] | None = None,
    platforms: Sequence[str] | None = None,
    **options: Any,
) -> bytes:
    """Compile a sampler, parameters included, to a portable program that maps a PRNG key to raw samples [count, ...].

    Where it is used, nothing but JAX and flatbuffers is needed:
    `jax.export.deserialize(data).call(jax.random.key(0))`.

    Args:
        pretrained: the network; its `shape` must be known.
        count: number of samples that one call draws.
        process: makes the process of an SDE and a score function.
        class_labels: classes [count], or their one-hot vectors [count, k], where the samples have any.
        platforms: what it shall run on, of "cpu", "cuda", "rocm" and "tpu"; unless given, what it is made on.
        **options: of `sgm_jax.sample`, such as `steps`.

    Raises:
        ValueError: if the shape is not known, the steps are not fixed, or an option is not allowed.
    """
    if pretrained.shape is None:
        raise ValueError("shape of one example must be known, as in dataclasses.replace(pretrained, shape=...)")
    if options.get("steps") is None and options.get("schedule") is None:
        raise ValueError(f"options must give steps or a schedule, as only fixed steps can be exported, got {options}")

    def draw(key):
        chosen = process(pretrained.sde, pretrained.conditional(class_labels))
        return pretrained.scaling.to_raw(sample(key, chosen, (count, *pretrained.shape), **options).x)

    key = jax.eval_shape(lambda: jax.random.key(0))
    return bytes(jax.export.export(jax.jit(draw), platforms=platforms)(key).serialize())
