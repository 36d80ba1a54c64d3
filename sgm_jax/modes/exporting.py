"""A trained model as files of their own: the network, and the sampler that needs JAX alone."""

import pathlib
from typing import Any

from sgm_jax import fitted
from sgm_jax.convert import Pretrained
from sgm_jax.convert.pretrained import FILE
from sgm_jax.experiment import Experiment
from sgm_jax.serving import FILE as SAMPLER
from sgm_jax.serving import CompiledSampler
from sgm_jax.stored import trained


def export(experiment: Experiment, workdir: pathlib.Path) -> int:
    """Write the network as `model.safetensors` and, for fixed steps, its sampler as `sampler.jax_export`.

    The sampler is the config's `sampling` section, for the platforms that it names; none if it names none.
    """
    experiment, params = trained(experiment, workdir)
    Pretrained.from_experiment(experiment, params).save(workdir / FILE)
    print(f"network in {workdir / FILE}")
    section = experiment.config.sampling
    if section.steps is not None and section.platforms:
        (workdir / SAMPLER).write_bytes(sampler(experiment, workdir, params).export(section.platforms))
        print(f"sampler in {workdir / SAMPLER}")
    return 0


def sampler(experiment: Experiment, workdir: pathlib.Path, params: Any) -> CompiledSampler:
    """Return the sampler of the config's `sampling` section, in batches of its `batch_size`."""
    section = experiment.config.sampling
    return CompiledSampler(
        experiment.process,
        params,
        experiment.dataset.shape,
        experiment.scaling,
        None if section.label is None else experiment.num_classes,
        section.batch_size,
        options=fitted.sampler(experiment, workdir),
    )
