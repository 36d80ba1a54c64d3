"""A trained network inside its preconditioner."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from sgm_jax.convert.pretrained import Pretrained
from sgm_jax.shapes import Batch, expand


class Denoiser(Pretrained):
    """A trained network whose `apply` is the estimate of the clean data."""

    def apply(
        self,
        labels: Num[Array, " b"],
        x: Batch,
        class_labels: Num[Array, "b ..."] | None = None,
        augment_labels: Float[Array, "b m"] | None = None,
    ) -> Batch:
        """Return the estimate [b, ...] of the clean data in `x = data + sigma noise`.

        Args:
            labels: sigma [b], in units of the data.
            x: noisy data [b, ...], whatever the scale of the data in the SDE.
            class_labels: classes [b], or their one-hot vectors [b, k].
            augment_labels: what was done to the images [b, m], for networks trained with it.
        """
        t = self.sde.t(jnp.asarray(labels, x.dtype))
        scaled = expand(self.sde.alpha(t), x) * x
        label, fed = self.prediction.inputs(self.sde, t, scaled)
        output = super().apply(label, fed, class_labels, augment_labels)
        return self.prediction.split(self.sde, t, scaled, output)[0]
