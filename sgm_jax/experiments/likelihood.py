"""Experiments trained for their likelihood: `config.objective = "vdm"` and `"maximum_likelihood"`."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from sgm_jax import bounds, modes, objectives, sampling
from sgm_jax import data as datasets
from sgm_jax.convert import Pretrained
from sgm_jax.experiment import Experiment
from sgm_jax.learned_schedule import LearnedVP
from sgm_jax.meshes import collect, spread
from sgm_jax.scaling import Scaling
from sgm_jax.score import NetworkScore
from sgm_jax.shapes import PRNGKey

# Their losses are likelihoods, which have a scale and a dequantisation of their own.
UNUSED = {"reduction": "half_mean", "dequantisation": "uniform"}


class VariationalExperiment(Experiment):
    """An experiment whose noise schedule is trained beside the network: `params` holds `network` and `schedule`.

    Losses are bounds on the negative log-likelihood of the raw data, in bits per dimension.
    """

    sde: LearnedVP
    scaling: Scaling
    coupled: ClassVar[bool] = True
    unused: ClassVar[Mapping[str, str]] = UNUSED

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check SDE and data.

        Raises:
            ValueError: if the SDE is not one that is learned or the data's bins are not of one width, here or of the
                stored network.
        """
        if pretrained is None and config.sde.name != "learned_vp":
            raise ValueError(f"objective 'vdm' needs sde.name 'learned_vp', got {config.sde.name!r}")
        if config.data.transform != "affine":
            raise ValueError(f"objective 'vdm' needs data.transform 'affine', got {config.data.transform!r}")
        for part, kind in (("sde", LearnedVP), ("scaling", Scaling)):
            if pretrained is not None and not isinstance(getattr(pretrained, part), kind):
                given = type(getattr(pretrained, part)).__name__
                raise ValueError(f"objective 'vdm' needs a network whose {part} is a {kind.__name__}, got a {given}")

    def init_params(self) -> PyTree:
        """Return the network's parameters and the schedule's, as they are at first."""
        schedule = {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(self._arrays)}
        return {"network": super().init_params(), "schedule": schedule}

    @property
    def _arrays(self) -> PyTree:
        return eqx.filter(self.sde, eqx.is_array)

    def trained(self, params: PyTree) -> tuple["VariationalExperiment", PyTree]:
        """Return the experiment with the schedule that `params` hold, and the network's parameters."""
        arrays = jax.tree_util.tree_map_with_path(lambda path, _: params["schedule"][_name(path)], self._arrays)
        return dataclasses.replace(self, sde=eqx.combine(arrays, self.sde)), params["network"]

    def loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the bound of each example [b] as in training, in bits per dimension."""
        experiment, network = self.trained(params)
        return Experiment.loss(experiment, key, network, batch)

    def held_out_loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the bound of each example [b], without dropout and augmentation, in bits per dimension."""
        experiment, network = self.trained(params)
        return Experiment.held_out_loss(experiment, key, network, batch)

    @property
    def decoder(self) -> bounds.Decoder:
        """What leads from the smallest noise level to the data: to integers, where the data are integers."""
        return bounds.gaussian_decoder if self.scaling.levels is None else bounds.DiscretisedDecoder(self.scaling)

    def _loss(self, keys, network, batch, augmentation):
        _, augment, loss = keys
        x0, augment = augmentation(augment, self.scaling.to_model(jnp.asarray(batch["x"])))
        network = functools.partial(network, augment=augment)
        score_of = lambda sde: NetworkScore(sde, self.prediction, network)
        steps = self.config.train.chain_steps
        if steps is None:
            nats = objectives.variational_diffusion(loss, self.sde, score_of, x0, decoder=self.decoder)
        else:
            nats = objectives.discrete_variational_diffusion(
                loss, self.sde, score_of, x0, steps=steps, decoder=self.decoder
            )
        return nats / (x0[0].size * jnp.log(2))


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def measure_bound(experiment: VariationalExperiment, workdir: pathlib.Path, params: PyTree) -> dict[str, Any]:
    """Bound bits per dimension of a split's data from above, given their classes where there are any."""
    section = experiment.config.likelihood
    source = modes.examples(experiment, section.split)
    batch = datasets.gather(source, range(modes.available(source, section.count)))
    raw, label = jnp.asarray(batch["x"]), experiment.labels(batch)

    @jax.jit
    def bound(key, params, raw, label):
        x0, score_fn = experiment.scaling.to_model(raw), experiment.score_fn(params, label)
        return bounds.likelihood_bound(
            key, experiment.sde, score_fn, x0, draws=section.draws, decoder=experiment.decoder
        )

    parts = []
    for start in range(0, len(raw), section.batch_size):
        part = slice(start, start + section.batch_size)
        key = jax.random.fold_in(modes.stream(experiment, modes.LIKELIHOOD), start)
        batch = spread((raw[part], None if label is None else label[part]))
        parts.append(collect(bound(key, params, *batch)))
    nats = np.concatenate(parts)
    bits = nats / (raw[0].size * np.log(2))
    return modes.summarise(bits, float(-nats.mean()), float(2 * section.draws)) | {"split": section.split}


class MaximumLikelihoodExperiment(Experiment):
    """An experiment trained by the probability-flow ODE itself, with the tolerances of the `likelihood` section."""

    coupled: ClassVar[bool] = True
    unused: ClassVar[Mapping[str, str]] = UNUSED

    def _loss(self, keys, network, batch, augmentation):
        bins, augment, loss = keys
        section = self.config.likelihood
        x, augment = augmentation(augment, self.scaling.dequantise(bins, batch["x"]))
        # Parameters as leaves, for the solver to differentiate.
        network = jax.tree_util.Partial(network.func, *network.args, **network.keywords, augment=augment)
        nats = objectives.maximum_likelihood(
            loss,
            self.sde,
            NetworkScore(self.sde, self.prediction, network),
            x,
            chart=sampling.Angle(section.data_scale),
            rtol=section.rtol,
            atol=section.atol,
        )
        return nats / x[0].size
