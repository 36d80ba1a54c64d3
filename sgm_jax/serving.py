"""Samplers compiled once and used many times, and exported to run without this library.

The whole trajectory of a batch is one program. Sample `i` of a key is a function of both alone, whatever the batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int, Num, PyTree

from sgm_jax import guidance as guiding
from sgm_jax.convert import Pretrained
from sgm_jax.naming import choose
from sgm_jax.sampling import AbstractProcess, ProbabilityFlow, sample
from sgm_jax.scaling import AbstractScaling
from sgm_jax.shapes import PRNGKey, PRNGKeys, per_example_keys

FILE = "sampler.jax_export"
PLATFORMS = ("cpu", "cuda", "tpu")
OUTPUTS = {"raw": lambda scaling, x: scaling.to_raw(x), "model": lambda scaling, x: x}


@dataclasses.dataclass(frozen=True)
class CompiledSampler:
    """A sampler in batches of a fixed size.

    Attributes:
        process: `(params, label) -> process`, `label` [b] or None where nothing is labelled.
        params: the network's parameters.
        shape: shape of one sample.
        scaling: from raw data to the model's.
        unlabelled: what stands for "no class" among the labels; None if nothing is labelled.
        batch_size: samples that one call of the program draws.
        output: "raw" for data as they were before scaling, such as 8-bit images; "model" for the model's range.
        options: of `sgm_jax.sample`.
    """

    process: Callable[[PyTree, Int[Array, " b"] | None], AbstractProcess]
    params: PyTree
    shape: tuple[int, ...]
    scaling: AbstractScaling
    unlabelled: int | None = None
    batch_size: int = 64
    output: str = "raw"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        choose("output", self.output, OUTPUTS)

    @functools.cached_property
    def _program(self):
        return jax.jit(self._draw)

    def _draw(self, params, keys, label):
        drawn = sample(keys, self.process(params, label), (self.batch_size, *self.shape), **self.options)
        return OUTPUTS[self.output](self.scaling, drawn.x)

    def __call__(
        self, key: PRNGKey | PRNGKeys, count: int, label: Int[Array | np.ndarray, "..."] | int | None = None
    ) -> Num[Array, "count ..."]:
        """Draw samples.

        Args:
            key: one PRNG key, or one a sample [count].
            count: number of samples.
            label: one class for all, or one each [count]; None for no class.

        Raises:
            ValueError: if `count` is not positive, a label is given where nothing is labelled, or it is no class.
        """
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        keys, label = per_example_keys(key, count), self._labels(label, count)
        # A last, smaller batch is filled up, so that the one program serves it too.
        rows = np.minimum(np.arange(-(-count // self.batch_size) * self.batch_size), count - 1)
        parts = [
            self._program(self.params, keys[row], None if label is None else label[row])
            for row in rows.reshape(-1, self.batch_size)
        ]
        return jnp.concatenate(parts)[:count]

    def _labels(self, label, count):
        if self.unlabelled is None:
            if label is not None:
                raise ValueError(f"label must be None for a network without classes, got {label}")
            return None
        given = label if isinstance(label, Tracer) else np.asarray(self.unlabelled if label is None else label)
        fits = given.dtype.kind in "iu" and given.shape in ((), (count,))
        if fits and not isinstance(given, Tracer):
            fits = np.all((given >= 0) & (given <= self.unlabelled))
        if not fits:
            raise ValueError(
                f"label must be None, a class in [0, {self.unlabelled}), or one for each of {count}, got {label!r}"
            )
        return jnp.broadcast_to(jnp.asarray(given, int), (count,))

    def export(self, platforms: Sequence[str] = PLATFORMS) -> bytes:
        """Return the program, parameters included, as bytes that run where there is JAX alone.

        `jax.export.deserialize(bytearray(data)).call(key, first)` draws the samples `first, first + 1, ...` of `key`, a
        batch of them; where there are classes it is called with one label a sample too, `call(key, first, label)`.

        Args:
            platforms: what it shall run on, of "cpu", "cuda", "rocm" and "tpu".

        Raises:
            ValueError: if the steps are not fixed.
        """
        if self.options.get("steps") is None and self.options.get("schedule") is None:
            raise ValueError(f"options must give steps or a schedule to be exported, got {self.options}")

        def draw(key, first, *label):
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(self.batch_size))
            return self._draw(self.params, keys, *(label or (None,)))

        arguments = [jax.eval_shape(lambda: jax.random.key(0)), jax.ShapeDtypeStruct((), jnp.int32)]
        if self.unlabelled is not None:
            arguments.append(jax.ShapeDtypeStruct((self.batch_size,), jnp.int32))
        return bytes(jax.export.export(jax.jit(draw), platforms=tuple(platforms))(*arguments).serialize())


class Sampler(CompiledSampler):
    """The sampler of a trained network: `Sampler(sgm_jax.pretrained("mnist"), steps=10)(key, 100, label=7)`.

    Args:
        pretrained: the network; its `shape` must be known.
        process: makes the process of an SDE and a score function.
        guidance: scale of classifier-free guidance, 1 for none; both of its evaluations are one of a batch twice as
            long.
        dtype: type that the network computes in, its own unless given.
        batch_size: samples that one call of the program draws.
        output: "raw" or "model", see `CompiledSampler`.
        **options: of `sgm_jax.sample`, such as `solver`, `steps` or `schedule`, and `final`.

    Raises:
        ValueError: if the shape is not known, the network has no classes to be guided by or no `dtype`, or an option
            is not allowed.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        *,
        process: Callable[..., AbstractProcess] = ProbabilityFlow,
        guidance: float = 1.0,
        dtype: Any = None,
        batch_size: int = 64,
        output: str = "raw",
        **options: Any,
    ):
        shape = pretrained.shape
        if shape is None:
            raise ValueError("shape of one example must be known, as in dataclasses.replace(pretrained, shape=...)")
        classes = getattr(pretrained.network, "num_classes", 0) or None
        if guidance != 1 and classes is None:
            raise ValueError(f"guidance must be 1 for a network without classes, got {guidance}")
        if dtype is not None:
            if not hasattr(pretrained.network, "dtype"):
                raise ValueError(f"dtype must be None for {type(pretrained.network).__name__}, got {dtype}")
            pretrained = dataclasses.replace(pretrained, network=pretrained.network.clone(dtype=dtype))

        def process_of(params: PyTree, label: Int[Array, " b"] | None) -> AbstractProcess:
            network = dataclasses.replace(pretrained, params=params)
            if guidance == 1:
                return process(network.sde, network.conditional(label))
            assert label is not None and classes is not None  # as guidance needs classes
            both = network.conditional(jnp.concatenate([label, jnp.full_like(label, classes)]))
            return process(network.sde, guiding.classifier_free_paired(both, guidance))

        super().__init__(
            process_of,
            pretrained.params,
            shape,
            pretrained.scaling,
            classes,
            batch_size,
            output,
            options,
        )
