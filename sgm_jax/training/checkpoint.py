"""Checkpoints: state, input position and config, written by Orbax in the background."""

import contextlib
import json
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy

from sgm_jax.training.state import TrainState

SCHEMES = ("gs://", "s3://")


class CheckpointMismatch(ValueError):
    """The checkpoint holds other arrays than the experiment's."""


class CheckpointFailed(OSError):
    """A checkpoint could not be written."""


class BackgroundFolder:
    """A folder of a run that Orbax writes to in the background; close it by leaving its `with` block."""

    _manager: ocp.CheckpointManager

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        close(self._manager, error)

    def wait(self) -> None:
        """Block until everything handed to `save` is on disk.

        Raises:
            CheckpointFailed: if it could not be written.
        """
        with writing(self._manager):
            self._manager.wait_until_finished()


class Checkpoints(BackgroundFolder):
    """The checkpoints of one run, in `<workdir>/checkpoints`.

    A checkpoint becomes visible only when it is complete, so a run killed at any moment finds the last whole one. One
    that was damaged later is left out with a word, and the one before it serves.

    Args:
        workdir: the run's folder, or a bucket, `gs://...` or `s3://...`.
        keep: number of latest checkpoints to keep.
        keep_every: steps between checkpoints that are kept besides, for good; None for none.

    Raises:
        OSError: if the folder or bucket cannot be used.
    """

    def __init__(self, workdir: str | os.PathLike, keep: int = 2, keep_every: int | None = None):
        policies = [preservation_policy.LatestN(keep)]
        if keep_every is not None:
            policies.append(preservation_policy.EveryNSteps(keep_every))
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "data": ocp.JsonCheckpointHandler(),
            "config": ocp.JsonCheckpointHandler(),
        }
        policy = preservation_policy.AnyPreservationPolicy(policies)
        self._manager = open_manager(workdir, "checkpoints", policy, handlers)
        self._damaged: set[int] = set()

    @property
    def steps(self) -> list[int]:
        """The steps of the whole checkpoints, the oldest first."""
        return sorted(set(self._manager.all_steps()) - self._damaged)

    @property
    def latest(self) -> int | None:
        """The step of the newest whole checkpoint, or None."""
        return self.steps[-1] if self.steps else None

    def save(self, state: TrainState, data: dict, config: dict) -> None:
        """Write a checkpoint in the background.

        Args:
            state: the training state; it may be donated to the next step as soon as this returns.
            data: the input iterator's position.
            config: the experiment's config.

        Raises:
            CheckpointFailed: if it, or the one before, could not be written; those before are kept.
        """
        step = int(state.step)
        if step in self.steps:
            return
        with writing(self._manager):
            if step in self._damaged:
                self._manager.delete(step)
                self._damaged.remove(step)
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(_as_dict(state)),
                    data=ocp.args.JsonSave(data),
                    config=ocp.args.JsonSave(config),
                ),
            )

    def restore(self, like: TrainState, step: int | None = None, config: dict | None = None) -> tuple[TrainState, dict]:
        """Read a checkpoint.

        Args:
            like: a state, or the shapes of one, that the checkpoint must fit; each array comes back with the sharding
                that it has there, whatever it was when it was saved, on this host's first device where it has none.
            step: which checkpoint; the newest whole one unless given.
            config: the experiment's config, to tell what differs where the checkpoint does not fit.

        Returns:
            The state and the input iterator's position.

        Raises:
            FileNotFoundError: if there is no whole checkpoint.
            CheckpointMismatch: if its arrays differ from `like`, naming those that do.
        """
        target = jax.tree.map(_with_place, _as_dict(like))
        items = ocp.args.Composite(state=ocp.args.StandardRestore(target), data=ocp.args.JsonRestore())
        for chosen in reversed(self.steps) if step is None else (step,):
            found = self._unless_damaged(chosen, lambda step: self._manager.item_metadata(step)["state"].tree)
            if found is None:
                continue
            if difference := _difference(target, found):
                difference += self._changed(chosen, config)
                raise CheckpointMismatch(f"checkpoint {chosen} in {self._manager.directory} holds {difference}")
            restored = self._unless_damaged(chosen, lambda step: self._manager.restore(step, args=items))
            if restored is not None:
                state = restored["state"]
                return TrainState(**state | {"profiles": tuple(state.get("profiles", ()))}), restored["data"]
        raise FileNotFoundError(f"no {'whole ' * bool(self._damaged)}checkpoint in {self._manager.directory}")

    def _unless_damaged(self, step: int, read: Callable[[int], Any]) -> Any:
        """Return what is read of a checkpoint; None, with a word, if it is damaged."""
        try:
            return read(step)
        except PermissionError:
            raise
        # What a damaged file makes of its reader is not known beforehand.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            print(f"checkpoint {step} in {self._manager.directory} is damaged and left out: {reason}")
            self._damaged.add(step)
            return None

    def _changed(self, step: int, config: dict | None) -> str:
        """Return which fields differ between a checkpoint's config and the experiment's, where both are known."""
        items = ocp.args.Composite(config=ocp.args.JsonRestore())
        stored = self._unless_damaged(step, lambda step: self._manager.restore(step, args=items)["config"])
        given = to_json(config or {})
        fields = [
            f"{section}.{name}={stored[section].get(name)} there and {value} here"
            for section in ("network", "data", "optimizer", "train")
            if stored and section in stored and section in given
            for name, value in given[section].items()
            if stored[section].get(name) != value
        ]
        return f"; of the configs, {_first(fields)}" if fields else ""


def open_manager(workdir, name, policy, handlers) -> ocp.CheckpointManager:
    """Return Orbax's manager of a folder in `workdir`, which may be a bucket.

    Raises:
        OSError: if it cannot be used, in one line.
    """
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        enable_async_checkpointing=True,
        # Else threads wait for minutes, and hold the process, for folders that could not be made.
        async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
    )
    try:
        folder = epath.Path(workdir) / name
        folder = folder if str(workdir).startswith(SCHEMES) else folder.absolute()
        return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)
    # Backends of buckets raise what they like, from missing packages to missing rights.
    except Exception as error:
        raise OSError(f"{workdir}/{name} cannot be used: {' '.join(str(error).split())[:300]}") from error


def close(manager: ocp.CheckpointManager, error: BaseException | None) -> None:
    """Close a manager; what goes wrong then is told unless it follows from an error that is on its way already.

    Raises:
        CheckpointFailed: if the last checkpoint could not be written.
    """
    try:
        with writing(manager):
            manager.close()
    except CheckpointFailed:
        if error is None:
            raise


@contextlib.contextmanager
def writing(manager: ocp.CheckpointManager):
    """Turn whatever goes wrong in writing, which may be seen only at the next write, into one line."""
    try:
        yield
    except Exception as error:
        raise CheckpointFailed(
            f"a checkpoint cannot be written to {manager.directory}: {' '.join(str(error).split())[:300]}"
        ) from error


def _with_place(leaf: Any) -> jax.ShapeDtypeStruct:
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _as_dict(state: TrainState) -> dict[str, Any]:
    parts = {name: getattr(state, name) for name in ("step", "params", "ema_params", "opt_state")}
    return parts | ({"profiles": list(state.profiles)} if state.profiles else {})


def _difference(wanted: Any, found: Any) -> str:
    """Return in what the arrays of a checkpoint differ from those wanted, by name, of the first part that does."""
    parts = {"params": "architecture", "opt_state": "optimizer's state", "profiles": "set of averages (train.posthoc)"}
    for part, what in parts.items():
        ours, theirs = _shapes(wanted.get(part)), _shapes(found.get(part))
        problems = [f"{name} is missing" for name in sorted(ours.keys() - theirs.keys())]
        problems += [f"{name} is not in this experiment" for name in sorted(theirs.keys() - ours.keys())]
        problems += [
            f"{name} has shape {theirs[name]}, this experiment's has {ours[name]}"
            for name in sorted(ours.keys() & theirs.keys())
            if theirs[name] != ours[name]
        ]
        if problems:
            return f"another {what}: {_first(problems)}"
    return ""


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape) for path, leaf in leaves}


def _first(problems: list[str]) -> str:
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return "; ".join(problems[:3]) + more


def to_json(value: Any) -> Any:
    """Turn nested dicts with numpy numbers into what JSON can hold."""
    return json.loads(json.dumps(value, default=lambda v: v.item() if isinstance(v, np.generic) else list(v)))
