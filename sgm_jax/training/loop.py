"""The training loop: one straight function."""

import contextlib
import dataclasses
import pathlib
import signal
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from sgm_jax.progress import progress
from sgm_jax.training.checkpoint import Checkpoints, to_json
from sgm_jax.training.metrics import MetricsLog
from sgm_jax.training.parallel import Program, jit_program
from sgm_jax.training.snapshots import Snapshots
from sgm_jax.training.state import TrainState
from sgm_jax.training.stopping import stop_requests, watchdog
from sgm_jax.training.watching import Stopwatch, Watch, compile_ahead, peak_memory, performance, tracer


class TrainingDiverged(ArithmeticError):
    """The loss or the gradient stopped being finite."""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to train, and how often to do what (all in steps).

    Args:
        steps: updates in all.
        log_every: between rows of the metrics.
        eval_every: between evaluations on held-out data; 0 for none.
        checkpoint_every: between checkpoints; one is written at the end in any case.
        keep: number of latest checkpoints to keep.
        keep_every: between checkpoints that are kept for good besides; None for none.
        snapshot_every: between stored averages (`posthoc`), where the state has any.
    """

    steps: int
    log_every: int = 50
    eval_every: int = 500
    checkpoint_every: int = 500
    keep: int = 2
    keep_every: int | None = None
    snapshot_every: int = 1000

    def __post_init__(self):
        least = {"steps": 1, "log_every": 1, "eval_every": 0, "checkpoint_every": 1, "keep": 1, "snapshot_every": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if self.keep_every is not None and (self.keep_every < 1 or self.keep_every % self.checkpoint_every):
            raise ValueError(
                f"keep_every must be a multiple of checkpoint_every={self.checkpoint_every}, got {self.keep_every}"
            )


@dataclasses.dataclass(frozen=True)
class Safeguards:
    """What training bears before it stops by itself.

    Args:
        skip_limit: updates whose loss or gradient is not finite and which are left out, in one run of the process.
        step_timeout: seconds without an update after which the process ends with exit code 1 and the stacks of all
            threads; None for ever. Evaluations and compilation count too.
    """

    skip_limit: int = 0
    step_timeout: float | None = None

    def __post_init__(self):
        if self.skip_limit < 0:
            raise ValueError(f"train.skip_limit must be at least 0, got {self.skip_limit}")
        if self.step_timeout is not None and not self.step_timeout > 0:
            raise ValueError(f"train.step_timeout must be positive, got {self.step_timeout}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended.

    Args:
        state: the last state.
        finished: whether all steps were made.
        stopped_by: the signal that stopped it before, or None.
    """

    state: TrainState
    finished: bool
    stopped_by: int | None = None


SAFEGUARDS, WATCH = Safeguards(), Watch()


@runtime_checkable
class Batches(Protocol):
    """Endless iterator of this host's part of each batch, with a position that JSON can hold."""

    def __next__(self) -> Any:
        """Return the next batch, a dict of arrays."""

    def get_state(self) -> Any:
        """Return the position."""

    def set_state(self, state: Any) -> None:
        """Go to a position."""


def train(
    train_step: Callable,
    make_state: Callable[[], TrainState],
    data: Batches,
    schedule: Schedule,
    workdir: pathlib.Path,
    *,
    evaluate: Callable[[TrainState], float] | None = None,
    learning_rate: Callable[[int], Any] | None = None,
    config: dict | None = None,
    widths: tuple[float, ...] = (),
    safeguards: Safeguards = SAFEGUARDS,
    watch: Watch = WATCH,
    checkpoints_in: str | None = None,
    compile: Callable[[Callable, Callable], Program] = jit_program,
) -> Outcome:
    """Train from the newest checkpoint in `workdir`, or from the start.

    Args:
        train_step: pure step `(state, batch) -> (state, metrics)`.
        make_state: returns the initial state.
        data: the batches, `dict`s of arrays.
        schedule: lengths and intervals.
        workdir: folder for `metrics.jsonl` and `checkpoints/`.
        evaluate: held-out loss of a state.
        learning_rate: `step -> learning rate`, for the metrics.
        config: stored with every checkpoint.
        widths: relative widths of the first of the state's further averages, which are stored with them.
        safeguards: what training bears.
        watch: what the metrics are told of the run, and what else is recorded.
        checkpoints_in: folder or bucket for `checkpoints/` and `averages/` in place of `workdir`.
        compile: `(train_step, make_state) -> Program`, which says on what devices the step runs; one unless given.

    Raises:
        TrainingDiverged: at more losses or gradients that are not finite than are borne; the last checkpoint stays.
        CheckpointMismatch: if the arrays of the checkpoint differ from those of the state.
        OSError: if a folder cannot be written to; the last checkpoint stays.
    """
    # ------------------------------------------------------------------ start, or go on
    program, first_host = compile(train_step, make_state), jax.process_index() == 0
    workdir, store = pathlib.Path(workdir), checkpoints_in or workdir
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(store, schedule.keep, schedule.keep_every))
        snapshots = stack.enter_context(Snapshots(store)) if widths else None
        if checkpoints.latest is None:
            state = program.init()
        else:
            state, position = checkpoints.restore(program.like, config=config)
            data.set_state(position)
        start = int(state.step)
        if (schedule.steps - start) % program.steps:
            raise ValueError(
                f"parallel.steps_per_dispatch must divide the steps that remain, got {program.steps} for steps "
                f"{start} to {schedule.steps}"
            )
        board = workdir / "tensorboard" if watch.tensorboard else None
        log = MetricsLog(workdir / "metrics.jsonl", start, board) if first_host else None
        stop = stack.enter_context(stop_requests())
        alive = stack.enter_context(watchdog(safeguards.step_timeout))
        trace = stack.enter_context(tracer(watch.trace, workdir / "profile"))
        bar = stack.enter_context(progress(total=schedule.steps, initial=start, unit="step", desc="training"))

        # -------------------------------------------------------------- steps
        clock, pending, skipped, step_fn, once = Stopwatch(), [], 0, None, {}
        # Steps run while the next batch is read: it is waited for only if they are done before it is there.
        idle = lambda: not pending or pending[-1]["loss"].is_ready()
        for step in range(start, schedule.steps, program.steps):
            with clock("input", idle):
                batch = program.place([next(data) for _ in range(program.steps)])
            if step_fn is None:
                with clock("compilation"):
                    step_fn, once["compile_seconds"], flops = compile_ahead(program.step, watch, state, batch)
                bar.unpause()  # what compilation took tells nothing of the time to go
            state, metrics = step_fn(state, batch)
            pending.append(metrics)
            done = step + program.steps
            trace(done, state)
            alive()
            # Asked once a step: a signal that comes later is for the next one, which then saves.
            stopping = stop(done)
            last = done == schedule.steps or stopping
            due = {
                name: bool(every) and (last or done % every == 0)
                for name, every in (
                    ("log", schedule.log_every),
                    ("eval", schedule.eval_every if evaluate else 0),
                    ("checkpoint", schedule.checkpoint_every),
                    ("snapshot", schedule.snapshot_every if snapshots else 0),
                )
            }
            due["log"] |= due["eval"]
            bar.update(program.steps)
            if not any(due.values()):
                continue

            # ---------------------------------------------------------- metrics, which also tell whether all is well
            rows = {name: np.hstack([row[name] for row in jax.device_get(pending)]) for name in metrics}
            good = np.isfinite(rows["loss"]) & np.isfinite(rows["gradient_norm"])
            updates = len(good)
            _check_finite(rows, good, done - updates, skipped, safeguards.skip_limit)
            if due["log"]:
                skipped += int((~good).sum())
                row = {"step": done} | {name: float(values[good].mean()) for name, values in rows.items() if good.any()}
                row |= {"skipped": skipped} if skipped else {}
                seconds, spent = clock.read()
                work = seconds - sum(spent.get(name, 0) for name in ("compilation", "evaluation", "checkpoint"))
                row |= performance(watch, updates, work, flops and flops / program.steps) | once
                row |= {f"{name}_share": spent.get(name, 0) / seconds for name in ("input", "evaluation", "checkpoint")}
                row["peak_memory_gib"], once = peak_memory(), {}
                if learning_rate is not None:
                    row["learning_rate"] = float(learning_rate(done - 1))
                if evaluate is not None and due["eval"] and not stopping:
                    with clock("evaluation"):
                        row["eval_loss"] = float(evaluate(state))
                if log is not None:
                    log.write(row)
                bar.set_postfix(loss=f"{row.get('loss', np.nan):.4f}", refresh=False)
                pending = []

            # ---------------------------------------------------------- checkpoint
            with clock("checkpoint"):
                if snapshots is not None and due["snapshot"]:
                    snapshots.save(done, state.profiles[: len(widths)], widths)
                if due["checkpoint"]:
                    checkpoints.save(state, to_json(data.get_state()), config or {})
            if stopping:
                break
        checkpoints.wait()
        if snapshots is not None:
            snapshots.wait()
    finished = int(state.step) >= schedule.steps
    return Outcome(state, finished, None if finished else stop.signal)


def exit_code(outcome: Outcome) -> int:
    """Return the exit code of a process that trained: 130 after Ctrl-C, and 0 after SIGTERM, since all is saved."""
    return 130 if outcome.stopped_by == signal.SIGINT else 0


def _check_finite(rows: dict[str, np.ndarray], good: np.ndarray, first: int, skipped: int, limit: int) -> None:
    if skipped + (~good).sum() > limit:
        at = int(np.flatnonzero(~good)[max(limit - skipped, 0)])
        borne = f", after {limit} that were left out" if limit else ""
        raise TrainingDiverged(
            f"training diverged at step {first + at + 1}: loss {rows['loss'][at]}, gradient norm "
            f"{rows['gradient_norm'][at]}{borne}; the last good checkpoint is kept. Try a lower learning rate or "
            "clipping"
        )
