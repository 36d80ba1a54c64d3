"""Features of images: what distances between sets of images are measured in."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from sgm_jax.evaluation.inception import SPATIAL_CHANNELS, InceptionV3
from sgm_jax.evaluation.resizing import RESIZES
from sgm_jax.meshes import collect, spread
from sgm_jax.naming import choose

# How variants prepare images, (x - middle) / middle, and whether their logits have the bias of the last layer.
VARIANTS = {"fid": (128.0, False), "tfgan": (127.5, True)}


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A feature network as a function of images.

    Args:
        name: of network, weights and preparation: features of different names are never compared.
        function: maps images [b, h, w, c] to arrays [b, ...] by name: `pool` [b, d], what distances are measured in;
            where there are classes `logits` [b, k]; where sFID is wanted `spatial` [b, e].
        batch_size: images at a time, split over all devices.
    """

    name: str
    function: Callable[[Shaped[Array, "b h w c"]], Mapping[str, Array]]
    batch_size: int = 64

    def __call__(self, images: Shaped[np.ndarray, "n h w c"]) -> dict[str, Float[np.ndarray, "n _"]]:
        """Return the features of images, each of its own line."""
        blocks = list(self.blocks(images))
        return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}

    def blocks(self, images: Shaped[np.ndarray, "n h w c"]) -> Iterator[dict[str, Float[np.ndarray, "b _"]]]:
        """Yield the features of images, `batch_size` at a time."""
        size = -(-self.batch_size // jax.device_count()) * jax.device_count()
        for start in range(0, len(images), size):
            part = images[start : start + size]
            # Batches of one size compile once; a smaller one is filled up and cut again.
            filled = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), part.dtype)])
            outputs = _apply(self.function, spread(filled))
            yield {name: collect(output)[: len(part)] for name, output in outputs.items()}


# Parameters of a `jax.tree_util.Partial` are arguments of the compiled function, not constants inside it.
_apply = eqx.filter_jit(lambda function, images: function(images))


def inception(
    params: Any, weights: str = "random", *, variant: str = "fid", resize: str = "tensor_bilinear", batch_size: int = 64
) -> Extractor:
    """Return InceptionV3 of 2015-12-05 as a feature network.

    `logits` are for the Inception score. Those of variant "fid" lack the bias of the last layer, as the score's own
    code computes them and as torch-fidelity and ADM's evaluator do; those of "tfgan" have it. `spatial` [b, 2023] is
    what ADM's sFID is computed from: the first seven channels of a convolution of 17 x 17 pixels, before its
    normalisation.

    Args:
        params: from `sgm_jax.convert.inception`.
        weights: what these weights are called, the beginning of their file's SHA-256.
        variant: "fid", which scales by `(x - 128) / 128`, or "tfgan", by `(x - 127.5) / 127.5`.
        resize: one of `RESIZES`.
        batch_size: images at a time.

    Raises:
        ValueError: if variant or resize is unknown.

    References:
        Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021; Nash et al., "Generating Images
        with Sparse Representations", 2021 (sFID).
    """
    middle, biased = choose("variant", variant, VARIANTS)
    resized = choose("resize", resize, RESIZES)

    def function(params: Any, images: UInt8[Array, "b h w c"]) -> dict[str, Array]:
        images = jnp.repeat(images, 3, -1) if images.shape[-1] == 1 else images
        x = (resized(images) - middle) / middle
        backbone = {name: value for name, value in params.items() if name != "fc"}
        pool, recorded = InceptionV3().apply({"params": backbone}, x, mutable="intermediates")
        (spatial,) = recorded["intermediates"]["Mixed_6d"]["branch1x1"]["linear"]
        spatial = jnp.asarray(spatial)[..., :SPATIAL_CHANNELS].reshape(len(x), -1)
        last = params["fc"]
        logits = jnp.dot(pool, last["kernel"], precision="highest") + (last["bias"] if biased else 0)
        return {"pool": pool, "spatial": spatial, "logits": logits}

    bound = jax.tree_util.Partial(function, jax.tree.map(jnp.asarray, params))
    return Extractor(f"inception-2015-12-05/{weights}/{variant}/{resize}", bound, batch_size)
