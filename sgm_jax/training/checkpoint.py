"""Checkpoints: state, input position and config, written by Orbax in the background."""

import json
import pathlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from sgm_jax.training.state import TrainState


class CheckpointMismatch(ValueError):
    """The checkpoint holds other arrays than the experiment's."""


class Checkpoints:
    """The checkpoints of one run, in `<workdir>/checkpoints`.

    A checkpoint becomes visible only when it is complete, so a run killed at any moment finds the last whole one.

    Args:
        workdir: the run's folder.
        keep: number of latest checkpoints to keep.
    """

    def __init__(self, workdir: pathlib.Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.LatestN(keep), enable_async_checkpointing=True
        )
        directory = (pathlib.Path(workdir) / "checkpoints").absolute()
        self._manager = ocp.CheckpointManager(
            directory,
            options=options,
            item_handlers={
                "state": ocp.StandardCheckpointHandler(),
                "data": ocp.JsonCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
            },
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._manager.close()

    @property
    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def save(self, state: TrainState, data: dict, config: dict) -> None:
        """Write a checkpoint in the background.

        Args:
            state: the training state; it may be donated to the next step as soon as this returns.
            data: the input iterator's position.
            config: the experiment's config.
        """
        step = int(state.step)
        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_as_dict(state)),
                data=ocp.args.JsonSave(data),
                config=ocp.args.JsonSave(config),
            ),
        )

    def wait(self) -> None:
        """Block until everything handed to `save` is on disk."""
        self._manager.wait_until_finished()

    def restore(self, like: TrainState, step: int | None = None) -> tuple[TrainState, dict]:
        """Read a checkpoint.

        Args:
            like: a state, or the shapes of one, that the checkpoint must fit; each array comes back with the sharding
                that it has there, whatever it was when it was saved, on this host's first device where it has none.
            step: which checkpoint; the newest unless given.

        Returns:
            The state and the input iterator's position.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            CheckpointMismatch: if its arrays differ from `like`, naming those that do.
        """
        step = self.latest if step is None else step
        if step is None:
            raise FileNotFoundError(f"no checkpoint in {self._manager.directory}")
        target = jax.tree.map(_with_place, _as_dict(like))
        stored = self._manager.item_metadata(step)["state"]
        _check_fit(_shapes(target), _shapes(stored), f"checkpoint {step} in {self._manager.directory}")
        restored = self._manager.restore(
            step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target), data=ocp.args.JsonRestore())
        )
        return TrainState(**restored["state"]), restored["data"]


def _with_place(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _as_dict(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "params", "ema_params", "opt_state")}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Return the shape of every array by its path; `opt_state` is named by position on both sides."""
    leaves = jax.tree_util.tree_flatten_with_path(tree["params"])[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def _check_fit(wanted: dict, found: dict, where: str) -> None:
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is not in this network" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {found[name]}, this network's has {wanted[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if found[name] != wanted[name]
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointMismatch(f"{where} holds another architecture: {'; '.join(problems[:3])}{more}")


def to_json(value: Any) -> Any:
    """Turn nested dicts with numpy numbers into what JSON can hold."""
    return json.loads(json.dumps(value, default=lambda v: v.item() if isinstance(v, np.generic) else list(v)))
