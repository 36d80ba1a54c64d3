"""Averages of the parameters stored on the way, from which ones of other lengths are made after training."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree
from orbax.checkpoint.checkpoint_managers import preservation_policy

from sgm_jax.training.checkpoint import BackgroundFolder, open_manager, writing
from sgm_jax.training.posthoc import PowerProfile, combination, combine


class Snapshots(BackgroundFolder):
    """The stored averages of one run, in `<workdir>/averages`: parameters alone, and all of them kept.

    Args:
        workdir: the run's folder, or a bucket.

    Raises:
        OSError: if it cannot be used.
    """

    def __init__(self, workdir: str | os.PathLike):
        handlers = {"averages": ocp.StandardCheckpointHandler(), "widths": ocp.JsonCheckpointHandler()}
        self._manager = open_manager(workdir, "averages", preservation_policy.PreserveAll(), handlers)

    def save(self, step: int, averages: Sequence[PyTree], widths: Sequence[float]) -> None:
        """Store averages in the background, each with the relative width of its profile.

        Raises:
            CheckpointFailed: if they could not be written.
        """
        # A run that goes on from a checkpoint comes by here again, with the same numbers.
        if step in self._manager.all_steps():
            return
        with writing(self._manager):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    averages=ocp.args.StandardSave(list(averages)), widths=ocp.args.JsonSave(list(widths))
                ),
            )

    def reconstruct(self, like: PyTree, width: float, step: int | None = None) -> Any:
        """Return the parameters averaged with a profile of the given width.

        Args:
            like: the parameters' shapes.
            width: standard deviation of the profile in units of `step`, in (0, 0.28].
            step: when the average ends; with the last stored one unless given.

        Raises:
            FileNotFoundError: if no averages are stored.
            ValueError: if `width` is out of range or nothing was stored up to `step`.
        """
        profile = PowerProfile(width)
        stored = sorted(self._manager.all_steps())
        if not stored:
            raise FileNotFoundError(f"no averages in {self._manager.directory}: train with --config.train.posthoc")
        step = stored[-1] if step is None else step
        used = [s for s in stored if s <= step]
        if not used:
            raise ValueError(f"step must be at least that of the first stored averages, {stored[0]}, got {step}")
        steps, profiles, averages = [], [], []
        for at in used:
            widths = self._manager.restore(at, args=ocp.args.Composite(widths=ocp.args.JsonRestore()))["widths"]
            target = ocp.args.StandardRestore([like] * len(widths))
            parts = self._manager.restore(at, args=ocp.args.Composite(averages=target))["averages"]
            steps += [at] * len(widths)
            profiles += [PowerProfile(w) for w in widths]
            averages += [jax.device_get(part) for part in parts]
        return combine(combination(steps, profiles, step, profile), averages)
