"""The one place where a config turns into objects."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PyTree
from ml_collections import ConfigDict

from sgm_jax import data as datasets
from sgm_jax import guidance, sampling, sde
from sgm_jax.augmentation import identity
from sgm_jax.checks import (
    check_augmentation,
    check_classes,
    check_evaluation,
    check_guidance,
    check_inverse,
    check_parallel,
    check_rank,
    check_sampling,
    check_training,
    check_unused,
    sampling_levels,
)
from sgm_jax.components import (
    DEQUANTISATIONS,
    MATCHINGS,
    NETWORKS,
    PREDICTIONS,
    PROCESSES,
    QUANTILES,
    REDUCTIONS,
    SDES,
    THRESHOLDS,
    TIMES,
    WEIGHTINGS,
    build,
    load_data,
    make_augmentation,
    make_network,
    make_scaling,
)
from sgm_jax.convert import Pretrained
from sgm_jax.naming import choose
from sgm_jax.samplers import make_solver
from sgm_jax.scaling import AbstractScaling
from sgm_jax.score import AbstractPrediction, NetworkScore
from sgm_jax.shapes import PRNGKey, ScoreFn
from sgm_jax.training import PowerProfile, Safeguards, Schedule, TrainState, Watch, init_state, make_train_step
from sgm_jax.training.averaging import WARMUPS
from sgm_jax.training.optimizers import OPTIMIZERS, SCHEDULES


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The objects of one experiment. Make it with `from_config`, which checks everything before any long work."""

    config: ConfigDict
    dataset: datasets.Dataset
    scaling: AbstractScaling
    sde: sde.AbstractSDE
    network: Any
    prediction: AbstractPrediction
    matching: Callable
    weighting: Callable
    times: Callable
    augmentation: Callable
    learning_rate: Callable
    optimizer: optax.GradientTransformation
    schedule: Schedule
    safeguards: Safeguards
    watch: Watch
    # `(score_fn, label, scale) -> score_fn`, in place of classifier-free guidance: see `guides.attach`.
    guide: Callable[[ScoreFn, Int[Array, " b"] | None, float], ScoreFn] | None = None

    matchings: ClassVar[Mapping[str, Callable]] = MATCHINGS
    # Whether losses couple the examples of a batch, so that a part of it does not give its part of the result.
    coupled: ClassVar[bool] = False
    # Fields of `train` that the loss has no use for, by what they must be left at.
    unused: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def from_config(
        cls,
        config: ConfigDict,
        pretrained: Pretrained | None = None,
        load: Callable[[ConfigDict], datasets.Dataset] = load_data,
    ) -> "Experiment":
        """Build everything a config names.

        Args:
            config: the config.
            pretrained: what network, SDE, prediction and scaling are taken from, in place of the config's; the data
                too where the config's `data.name` is "none": their shape is known then, but there are no examples.
            load: where the data of the config's section come from; `components.describe_data` needs none at hand.

        Raises:
            ValueError: if a name, option or number in the config is not allowed, or the data are not usable.
        """
        cls.check(config, pretrained)
        train = config.train
        check_training(train, config.optimizer.clip)
        check_unused(config, cls.unused)
        check_parallel(config, cls.coupled)
        schedule = Schedule(
            train.steps,
            train.log_every,
            train.eval_every,
            train.checkpoint_every,
            train.keep,
            train.keep_every,
            train.posthoc_every,
        )
        learning_rate = choose("optimizer.schedule", config.optimizer.schedule, SCHEDULES)(
            config.optimizer.learning_rate, config.optimizer.warmup, cls.annealing(config)
        )
        chosen = {k: v for k, v in config.optimizer.items() if k not in ("schedule", "learning_rate", "warmup", "clip")}
        optimizer = build("optimizer", chosen, OPTIMIZERS, learning_rate=learning_rate)
        if config.optimizer.clip is not None:
            # Checkpoints have a place for a state of clipping, from when the optimizer did it.
            optimizer = optax.chain(optax.identity(), optimizer)
        times = {**config.times, "quantiles": choose("times.quantiles", config.times.quantiles, QUANTILES)}
        watch = Watch(train.batch_size, trace=tuple(train.trace) or None, tensorboard=train.tensorboard)
        # The cheap checks come first: reading the data may take long.
        parts = dict(
            sde=build("sde", config.sde, SDES),
            prediction=build("prediction", config.prediction, PREDICTIONS),
            matching=build("matching", config.matching, cls.matchings),
            weighting=build("weighting", config.weighting, WEIGHTINGS),
            times=build("times", times, TIMES),
            augmentation=make_augmentation(train),
        )
        # What the times would say of the SDE in training they say now.
        jax.eval_shape(lambda key: parts["times"](key, parts["sde"], 1), jax.random.key(0))
        if pretrained is not None:
            parts |= dict(sde=pretrained.sde, prediction=pretrained.prediction)
            config = config.copy_and_resolve_references()
            config.network.num_classes = getattr(pretrained.network, "num_classes", 0)
        check_sampling(config, parts["sde"])
        check_evaluation(config)
        if pretrained is None:
            dataset = load(config.data)
            network = cls.make_network(config, dataset)
            scaling = make_scaling(config.data, dataset.levels)
        else:
            network, scaling, shape = pretrained.network, pretrained.scaling, pretrained.shape
            if shape is None:
                raise ValueError(
                    "pretrained.shape must be known, as in dataclasses.replace(pretrained, shape=...), got None"
                )
            dataset = datasets.absent(shape, scaling.levels)
            if config.data.name != dataset.name:
                dataset = load(config.data)
            if (dataset.shape, dataset.levels) != (shape, scaling.levels):
                raise ValueError(
                    f"data must have the network's shape {shape} and {scaling.levels} levels, got "
                    f"{dataset.name!r} with {dataset.shape} and {dataset.levels}"
                )
        check_guidance(config, dataset)
        check_inverse(config, dataset.shape)
        return cls(
            config=config,
            dataset=dataset,
            scaling=scaling,
            network=network,
            learning_rate=learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            safeguards=Safeguards(train.skip_limit, train.step_timeout),
            watch=watch,
            **parts,
        ).completed()

    @classmethod
    def check(cls, config: ConfigDict, pretrained: Pretrained | None) -> None:
        """Check what this kind of experiment needs of a config besides: here nothing.

        Raises:
            ValueError: if it is not there.
        """

    def completed(self) -> "Experiment":
        """Return the experiment with what follows from all that a config names: here nothing more."""
        return self

    @staticmethod
    def make_network(config: ConfigDict, dataset: datasets.Dataset) -> Any:
        """Build the network that the config names.

        Raises:
            ValueError: if it is unknown or does not suit the data.
        """
        check_rank(config.network.name, dataset.shape)
        check_classes(config, dataset)
        check_augmentation(config, dataset.shape)
        return make_network(config.network, NETWORKS)

    @staticmethod
    def annealing(config: ConfigDict) -> int:
        """Return over how many steps the learning rate is annealed."""
        return config.train.steps

    def init(self) -> TrainState:
        """Return the initial training state, a function of the config alone."""
        return init_state(self.init_params(), self.optimizer, len(self.profiles))

    @property
    def profiles(self) -> tuple[Callable[[Array], Array], ...]:
        """What the state's further averages weigh the parameters by."""
        return tuple(PowerProfile(width) for width in self.config.train.posthoc)

    def init_params(self) -> PyTree:
        """Return all that is trained, as it is at first."""
        t, example = jnp.full(1, self.sde.t_max), jnp.zeros((1, *self.dataset.shape))
        inputs = self.prediction.inputs(self.sde, t, example)
        return self.network.init(jax.random.key(self.config.seed), *inputs)["params"]

    @property
    def num_classes(self) -> int:
        """Number of classes that the network is told of, 0 for an unconditional network."""
        return self.config.network.get("num_classes") or 0

    def apply(
        self,
        params: PyTree,
        noise_label: Array,
        x: Array,
        label: Int[Array, " b"] | None = None,
        dropout_key: PRNGKey | None = None,
        augment: Float[Array, "b m"] | None = None,
    ) -> Array:
        """Evaluate the network; with a `dropout_key` as in training, without as in use.

        `augment` are the labels of an augmentation, which not every network takes; None for "not augmented".
        """
        options = {} if dropout_key is None else {"deterministic": False, "rngs": {"dropout": dropout_key}}
        options |= {} if augment is None else {"augment": augment}
        return self.network.apply({"params": params}, noise_label, x, label, **options)

    def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of a training batch."""
        data = self.dataset
        kind = jnp.float32 if data.levels is None else jnp.uint8 if data.levels <= 256 else jnp.int32
        batch = {"x": jax.ShapeDtypeStruct((batch_size, *data.shape), kind)}
        return batch | ({"label": jax.ShapeDtypeStruct((batch_size,), jnp.int32)} if data.num_classes else {})

    def prepared(self, workdir: pathlib.Path) -> "Experiment":
        """Return the experiment ready to train, with what must be made before in the run's folder: here nothing."""
        return self

    def trained(self, params: PyTree) -> tuple["Experiment", PyTree]:
        """Return the experiment of a trained network and the network's parameters, of the parameters in training.

        Here they are what they were; objectives that train more than the network put what they trained in its place.
        """
        return self, params

    def score_fn(self, params: PyTree, label: Int[Array, " b"] | None = None) -> NetworkScore:
        """Return the score function of the network with `params`, given classes [b] or none."""
        return NetworkScore(self.sde, self.prediction, jax.tree_util.Partial(self._apply, params, label=label))

    @functools.cached_property
    def _apply(self) -> Callable:
        # One and the same function object each time, so that compiled samplers are found again.
        return functools.partial(self.apply)

    def loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the training loss of each example [b], per dimension or as `train.reduction` says."""
        dropout_key, *keys = jax.random.split(key, 4)
        label = self.drop_labels(jax.random.fold_in(dropout_key, 0), self.labels(batch))
        network = functools.partial(self.apply, params, label=label, dropout_key=dropout_key)
        return self._loss(keys, network, batch, self.augmentation)

    def held_out_loss(self, key: PRNGKey, params: PyTree, batch: Mapping[str, Array | np.ndarray]) -> Array:
        """Return the loss of each example [b], given its class where there is one, without dropout and augmentation."""
        network = functools.partial(self.apply, params, label=self.labels(batch))
        return self._loss(jax.random.split(key, 3), network, batch, identity)

    def labels(self, batch: Mapping[str, Array | np.ndarray]) -> Int[Array, " b"] | None:
        """Return the classes [b] that the network is told of a batch, None for an unconditional network."""
        return jnp.asarray(batch["label"]) if self.num_classes else None

    def drop_labels(self, key: PRNGKey, label: Int[Array, " b"] | None) -> Int[Array, " b"] | None:
        """Replace each label by "no label" with probability `train.label_dropout`.

        References:
            Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, algorithm 1.
        """
        if label is None:
            return None
        dropped = jax.random.bernoulli(key, self.config.train.label_dropout, label.shape)
        return jnp.where(dropped, self.num_classes, label)

    def _loss(self, keys, network, batch, augmentation):
        bins, augment, loss = keys
        dequantise = DEQUANTISATIONS[self.config.train.dequantisation]
        x0, augment = augmentation(augment, dequantise(self.scaling, bins, batch["x"]))
        network = functools.partial(network, augment=augment)
        losses = self.objective(loss, NetworkScore(self.sde, self.prediction, network), x0)
        return REDUCTIONS[self.config.train.reduction](x0[0].size) * losses

    def objective(self, key: PRNGKey, score_fn: ScoreFn, x0: Array) -> Array:
        """Return the config's form of score matching [b] for data `x0` [b, ...]."""
        return self.matching(key, self.sde, score_fn, x0, weighting=self.weighting, times=self.times)

    def train_step(self) -> Callable:
        """Return the pure training step `(state, batch) -> (state, metrics)`."""
        train = self.config.train
        return make_train_step(
            self.loss,
            self.optimizer,
            seed=self.config.seed,
            ema_rate=train.ema_rate,
            ema_warmup=WARMUPS[train.ema_warmup],
            clip=self.config.optimizer.clip,
            accumulate=train.accumulate,
            profiles=self.profiles,
            given=self.given,
        )

    def given(self, state: TrainState) -> dict[str, Any]:
        """Return what of the training state the loss is given besides, by name: nothing, unless a kind wants it."""
        return {}

    def sampler(self) -> dict[str, Any]:
        """Return the options of `sgm_jax.sample` that the config's `sampling` section stands for.

        Where its schedule is to be fitted, they are those that the fit starts from.
        """
        section, levels = self.config.sampling, sampling_levels(self.config, self.sde)
        options = {"solver": make_solver(section, self.sde, levels), "final": section.final, "schedule": levels}
        return options | {name: section[name] for name in ("rtol", "atol")}

    def sampling_labels(self, count: int) -> np.ndarray | None:
        """Return the classes [count] that the config's `sampling` section asks for, None for no label."""
        label = self.config.sampling.label
        if label is None:
            return None
        if label != "balanced":
            return np.full(count, label)
        classes = self.num_classes or self.dataset.num_classes
        assert classes is not None  # as `check_guidance` sees to
        return np.arange(count) % classes

    def guided_score_fn(
        self, params: PyTree, label: Int[Array, " b"] | None = None, scale: float | None = None
    ) -> ScoreFn:
        """Return the score function given classes [b] or none, with guidance: the `sampling` section's unless given."""
        scale = self.config.sampling.guidance if scale is None else scale
        plain = self.score_fn(params, label if self.num_classes else None)
        if self.guide is not None:
            guided = self.guide(plain, label, scale)
        elif label is None or scale == 1:
            return plain
        else:
            guided = guidance.classifier_free(plain, self.score_fn(params), scale)
        interval = self.config.sampling.guidance_interval
        return guided if interval is None else guidance.within(self.sde, guided, plain, *interval)

    def process(
        self, params: PyTree, label: Int[Array, " b"] | None = None, guidance: float | None = None
    ) -> sampling.AbstractProcess:
        """Return the process that the config's `sampling` section names, with the network's score given `label` [b]."""
        process = choose("sampling.process", self.config.sampling.process, PROCESSES)
        options = {"eta": self.config.sampling.eta} if process is sampling.ReverseSDE else {}
        score = self.guided_score_fn(params, label, guidance)
        rule = THRESHOLDS[self.config.sampling.threshold]
        if rule is not None:
            score = sampling.threshold(self.sde, score, rule(low=self.scaling.low, high=self.scaling.high))
        return process(self.sde, score, **options)
