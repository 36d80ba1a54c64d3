"""A sampler as a file of its own, which runs with JAX alone."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import equinox
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

    A solve that fails there gives NaN. Where it is used, nothing but JAX and flatbuffers is needed:
    `jax.export.deserialize(data).call(jax.random.key(0))`.

    Args:
        pretrained: the network; its `shape` must be known.
        count: number of samples that one call draws.
        process: makes the process of an SDE and a score function.
        class_labels: classes [count], or their one-hot vectors [count, k], where the samples have any.
        platforms: what it shall run on, of "cpu", "cuda", "rocm" and "tpu"; unless given, what it is made on.
        **options: of `sgm_jax.sample`, such as `steps`.

    Raises:
        ValueError: if the shape is not known, or an option is not allowed.
    """
    if pretrained.shape is None:
        raise ValueError("shape of one example must be known, as in dataclasses.replace(pretrained, shape=...)")

    def draw(key):
        chosen = process(pretrained.sde, pretrained.conditional(class_labels))
        return pretrained.scaling.to_raw(sample(key, chosen, (count, *pretrained.shape), **options).x)

    key = jax.eval_shape(lambda: jax.random.key(0))
    with _errors_give_nan():
        return bytes(jax.export.export(jax.jit(draw), platforms=platforms)(key).serialize())


@contextlib.contextmanager
def _errors_give_nan():
    """Let failed checks of equinox and diffrax give NaN: they raise through a callback, which a file cannot hold."""
    # What is traced already has the callback in it, and must not have the NaN in it afterwards.
    jax.clear_caches()
    try:
        with mock.patch.object(equinox._errors, "EQX_ON_ERROR", "nan"):
            yield
    finally:
        jax.clear_caches()
