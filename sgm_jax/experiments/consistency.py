"""Experiments that learn a consistency function, from a teacher or data alone: `config.objective = "consistency"`."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from sgm_jax import modes, objectives, sampling
from sgm_jax.augmentation import identity
from sgm_jax.components import DEQUANTISATIONS
from sgm_jax.convert import Pretrained
from sgm_jax.experiments import made
from sgm_jax.experiments.distillation import run
from sgm_jax.naming import choose, construct
from sgm_jax.score import ConsistencyPreconditioned, EDMPreconditioned, NetworkScore
from sgm_jax.shapes import PRNGKey, PRNGKeys
from sgm_jax.training import TrainState


class Form(NamedTuple):
    """One way to learn a consistency function.

    Attributes:
        losses: `(key, sde, student, target, score_fn, x0, *, times, step) -> losses` [b], where `score_fn` is the
            teacher's, or None.
        taught: whether there must be a teacher.
        rate: `step -> decay` of the moving average that is the target, None for the student's own parameters.
        whole: whether `losses` is instead `(key, sde, student, x0, states, levels) -> losses` [b], of whole
            trajectories of the teacher.
        adaptive: whether `losses` takes a `log_weight` too, whose weights are trained.
    """

    losses: Callable
    taught: bool
    rate: Callable[[Array], Array] | None = None
    whole: bool = False
    adaptive: bool = False


TARGETS = {
    "average": lambda levels, target_rate=0.95: objectives.FixedRate(target_rate),
    "progressive": lambda levels, target_rate=0.9: objectives.ProgressiveRate(levels, target_rate),
    "student": lambda levels: None,
}


def _discrete(loss, taught, steps, levels, first, last, target, target_rate, distance, weighting, rho):
    make = choose("consistency.levels", levels, objectives.LEVELS)
    options = {"first": first, "last": last} | ({} if make is objectives.FixedLevels else {"steps": steps})
    count = construct(f"consistency.levels {levels!r}", make, options)
    make = choose("consistency.target", target, TARGETS)
    rate = construct(f"consistency.target {target!r}", make, {"levels": count, "target_rate": target_rate})
    distance = choose("consistency.distance", distance, objectives.DISTANCES)
    weighting = choose("consistency.weighting", weighting, objectives.PAIR_WEIGHTINGS)

    def losses(key, sde, student, target, score_fn, x0, *, times, step):
        teacher = (score_fn,) if taught else ()
        return loss(
            key,
            sde,
            student,
            target,
            *teacher,
            x0,
            levels=count(step),
            rho=rho,
            times=times,
            distance=distance,
            weighting=weighting,
        )

    return Form(losses, taught, rate)


def distillation(
    steps: int,
    levels: str = "fixed",
    first: int | None = None,
    last: int | None = None,
    target: str = "student",
    target_rate: float | None = None,
    distance: str = "l2",
    weighting: str = "uniform",
    teacher_step: str = "heun",
    rho: float = 7.0,
) -> Form:
    """Return consistency distillation between adjacent levels, see `objectives.consistency_distillation`."""
    step = choose("consistency.teacher_step", teacher_step, objectives.TEACHER_STEPS)
    loss = functools.partial(objectives.consistency_distillation, step=step)
    return _discrete(loss, True, steps, levels, first, last, target, target_rate, distance, weighting, rho)


def training(
    steps: int,
    levels: str = "progressive",
    first: int | None = None,
    last: int | None = None,
    target: str = "progressive",
    target_rate: float | None = None,
    distance: str = "l2",
    weighting: str = "uniform",
    rho: float = 7.0,
) -> Form:
    """Return consistency training between adjacent levels, see `objectives.consistency_training`."""
    loss = objectives.consistency_training
    return _discrete(loss, False, steps, levels, first, last, target, target_rate, distance, weighting, rho)


def continuous(taught: bool) -> Callable[..., Form]:
    """Return the maker of continuous-time distillation, or of training, which has no teacher."""

    def make(steps: int, data_scale: float = 0.5, warmup: int = 10_000, adaptive: bool = False) -> Form:
        def losses(key, sde, student, target, score_fn, x0, *, times, step, log_weight=None):
            share = jnp.minimum(1.0, step / warmup) if warmup else 1.0
            options = {"data_scale": data_scale, "times": times, "warmup": share, "log_weight": log_weight}
            if taught:
                return objectives.continuous_consistency_distillation(key, sde, student, score_fn, x0, **options)
            return objectives.continuous_consistency_training(key, sde, student, x0, **options)

        return Form(losses, taught, adaptive=adaptive)

    return make


def trajectories(steps: int, distance: str = "pseudo_huber", top: float = 0.25) -> Form:
    """Return the regression on the ends of the teacher's trajectories, see `objectives.trajectory_regression`."""
    measure = choose("consistency.distance", distance, objectives.DISTANCES)
    if not 0 <= top <= 1:
        raise ValueError(f"consistency.top must be between 0 and 1, got {top}")
    return Form(functools.partial(objectives.trajectory_regression, distance=measure, top=top), True, whole=True)


FORMS = {
    "continuous_distillation": continuous(taught=True),
    "continuous_training": continuous(taught=False),
    "distillation": distillation,
    "training": training,
    "trajectories": trajectories,
}


def make_form(config: ConfigDict) -> Form:
    """Return the form of learning that the section on consistency names.

    Raises:
        ValueError: if a name or an option in it is not allowed.
    """
    options = dict(config.consistency)
    name = options.pop("name")
    make = choose("consistency.name", name, FORMS)
    return construct(f"consistency {name!r}", make, options | {"steps": config.train.steps})


@dataclasses.dataclass(frozen=True)
class ConsistencyExperiment(made.MadeExperiment):
    """The objects of one experiment with a consistency function in place of the denoiser.

    Its score function is that of which the consistency function would be the denoiser: what samplers of consistency
    models want, and no score. With an adaptive weighting `params` holds `network` and `weighting`.
    """

    @functools.cached_property
    def form(self) -> Form:
        """The form of learning that the config names."""
        return make_form(self.config)

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check the section on consistency.

        Raises:
            ValueError: if it, or the section on distillation, is not usable, or the augmentation is one that a teacher
                is not told of.
        """
        name, form = config.consistency.name, make_form(config)
        if form.taught and config.distillation.teacher is None and pretrained is None:
            raise ValueError(f"consistency {name!r} needs a distillation.teacher, got None")
        if form.taught and config.train.augmentation == "edm":
            raise ValueError(f"train.augmentation must be none or flip for consistency {name!r}, got 'edm'")
        if config.distillation.pairs < 0 or config.distillation.pairs and not form.whole:
            given = f"{config.distillation.pairs} for {name!r}"
            raise ValueError(f"distillation.pairs must be 0, or more for consistency 'trajectories', got {given}")
        if form.whole:
            made.check(config, "consistency 'trajectories'")
        super().check(config, pretrained)

    def completed(self) -> "ConsistencyExperiment":
        """Return the experiment as it is.

        Raises:
            ValueError: if the network's output is not the data at the smallest noise level.
        """
        low = float(self.sde.s(self.sde.t_min))
        if isinstance(self.prediction, ConsistencyPreconditioned):
            if not np.isclose(self.prediction.s_min, low, rtol=1e-3):
                given = self.prediction.s_min
                raise ValueError(f"prediction.s_min must be the SDE's smallest level {low:g}, got {given:g}")
        elif not isinstance(self.prediction, EDMPreconditioned):
            given = self.config.prediction.name
            raise ValueError(f"objective 'consistency' needs prediction.name 'consistency' or 'edm', got {given!r}")
        return self

    @property
    def profiles(self) -> tuple[Callable[[Array], Array], ...]:
        """What the state's further averages weigh the parameters by; the target is the last of them."""
        return super().profiles + (() if self.form.rate is None else (self.form.rate,))

    def init_params(self) -> PyTree:
        """Return what training starts from: the network's parameters, and the weighting's where it is trained."""
        params = super().init_params()
        if not self.form.adaptive:
            return params
        return {"network": params, "weighting": jnp.zeros(objectives.LOG_WEIGHT_FEATURES)}

    def trained(self, params: PyTree) -> tuple["ConsistencyExperiment", PyTree]:
        """Return the experiment and the network's parameters."""
        return self, params["network"] if self.form.adaptive else params

    def given(self, state: TrainState) -> dict[str, Any]:
        """Return the step and the target's parameters, None for the student's own."""
        return {"step": state.step, "target": None if self.form.rate is None else state.profiles[-1]}

    def loss(
        self,
        key: PRNGKey,
        params: PyTree,
        batch: Mapping[str, Array | np.ndarray],
        *,
        step: Array,
        target: PyTree | None,
    ) -> Array:
        """Return the loss of each example [b] as in training, student and target with the same dropout."""
        dropout_key, *keys = jax.random.split(key, 4)
        label = self.drop_labels(jax.random.fold_in(dropout_key, 0), self.labels(batch))
        network = functools.partial(self.apply, label=label, dropout_key=dropout_key)
        target = params if target is None else target
        return self._losses(keys, network, (params, target), label, batch, self.augmentation, step)

    def held_out_loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the loss of each example [b] as at the end of training, without dropout and augmentation."""
        label = self.labels(batch)
        network = functools.partial(self.apply, label=label)
        keys, last = jax.random.split(key, 3), self.config.train.steps
        return self._losses(keys, network, (params, params), label, batch, identity, last)

    @property
    def levels(self) -> np.ndarray:
        """The levels of the teacher's whole trajectories."""
        return np.asarray(sampling.karras(self.sde, self.config.distillation.steps))

    def make(self, key: PRNGKey | PRNGKeys, label: Array | None, count: int) -> dict[str, Array]:
        """Return samples `x` of the teacher's flow [count, ...] and the `states` before them [count, steps, ...]."""
        flow = sampling.ProbabilityFlow(self.sde, self.teacher_score_fn(label))
        x0, states = objectives.flow_trajectories(key, flow, (count, *self.dataset.shape), self.levels)
        return {"x": x0, "states": states}

    def _losses(self, keys, network, params, label, batch, augmentation, step):
        bins, augment, loss = keys
        if self.form.whole:
            if "states" not in batch:
                batch = jax.lax.stop_gradient(self.make(bins, label, len(batch["x"])))
            student = NetworkScore(self.sde, self.prediction, functools.partial(network, params[0])).denoised
            return self.form.losses(loss, self.sde, student, batch["x"], batch["states"], self.levels[:-1])
        dequantise = DEQUANTISATIONS[self.config.train.dequantisation]
        x0, augment = augmentation(augment, dequantise(self.scaling, bins, batch["x"]))
        networks = (functools.partial(network, self.trained(p)[1], augment=augment) for p in params)
        student, target = (NetworkScore(self.sde, self.prediction, each).denoised for each in networks)
        score_fn, options = self.teacher_score_fn(label) if self.form.taught else None, {}
        if self.form.adaptive:
            options["log_weight"] = functools.partial(objectives.log_weight, params[0]["weighting"])
        return self.form.losses(loss, self.sde, student, target, score_fn, x0, times=self.times, step=step, **options)


NAMES = ("train", "sample", "inverse", "stats", "evaluate", "reproduce", "plan", "export")
MODES = {"run": run} | {name: modes.MODES[name] for name in NAMES}
