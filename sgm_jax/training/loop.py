"""The training loop: one straight function."""

import contextlib
import dataclasses
import pathlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from sgm_jax.training.checkpoint import Checkpoints, to_json
from sgm_jax.training.metrics import MetricsLog
from sgm_jax.training.parallel import Program, jit_program
from sgm_jax.training.state import TrainState


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
    """

    steps: int
    log_every: int = 50
    eval_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self):
        for name, least in (("steps", 1), ("log_every", 1), ("eval_every", 0), ("checkpoint_every", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How training ended.

    Args:
        state: the last state.
        finished: whether all steps were made; False after SIGTERM or Ctrl-C.
    """

    state: TrainState
    finished: bool


def train(
    train_step: Callable,
    make_state: Callable[[], TrainState],
    data: Iterator,
    schedule: Schedule,
    workdir: pathlib.Path,
    *,
    evaluate: Callable[[TrainState], float] | None = None,
    learning_rate: Callable[[int], Any] | None = None,
    config: dict | None = None,
    keep: int = 2,
    compile: Callable[[Callable, Callable], Program] = jit_program,
) -> Outcome:
    """Train from the newest checkpoint in `workdir`, or from the start.

    Args:
        train_step: pure step `(state, batch) -> (state, metrics)`.
        make_state: returns the initial state.
        data: endless iterator of this host's part of each batch (dicts of arrays) with `get_state()` and
            `set_state(...)`.
        schedule: lengths and intervals.
        workdir: folder for `metrics.jsonl` and `checkpoints/`.
        evaluate: held-out loss of a state.
        learning_rate: `step -> learning rate`, for the metrics.
        config: stored with every checkpoint.
        keep: number of latest checkpoints to keep.
        compile: `(train_step, make_state) -> Program`, which says on what devices the step runs; one unless given.

    Raises:
        TrainingDiverged: at a loss or gradient that is not finite; the last checkpoint stays.
        CheckpointMismatch: if the checkpoint in `workdir` holds another architecture.
    """
    # ------------------------------------------------------------------ start, or go on
    program, first_host = compile(train_step, make_state), jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        checkpoints = stack.enter_context(Checkpoints(workdir, keep))
        if checkpoints.latest is None:
            state = program.init()
        else:
            state, position = checkpoints.restore(program.like)
            data.set_state(position)
        start = int(state.step)
        if (schedule.steps - start) % program.steps:
            raise ValueError(
                f"parallel.steps_per_dispatch must divide the steps that remain, got {program.steps} for steps "
                f"{start} to {schedule.steps}"
            )
        log = MetricsLog(pathlib.Path(workdir) / "metrics.jsonl", start) if first_host else None
        stop = stack.enter_context(_stop_signals())
        bar = stack.enter_context(
            tqdm(
                total=schedule.steps,
                initial=start,
                unit="step",
                desc="training",
                mininterval=1,
                disable=not first_host,
            )
        )

        # -------------------------------------------------------------- steps
        pending, since = [], time.perf_counter()
        for step in range(start, schedule.steps, program.steps):
            state, metrics = program.step(state, program.place([next(data) for _ in range(program.steps)]))
            pending.append(metrics)
            done = step + program.steps
            # Asked once a step: a signal that comes later is for the next one, which then saves.
            stopping = stop.is_set()
            last = done == schedule.steps or stopping
            due = {
                name: bool(every) and (last or done % every == 0)
                for name, every in (
                    ("log", schedule.log_every),
                    ("eval", schedule.eval_every if evaluate else 0),
                    ("checkpoint", schedule.checkpoint_every),
                )
            }
            due["log"] |= due["eval"]
            bar.update(program.steps)
            if not any(due.values()):
                continue

            # ---------------------------------------------------------- metrics, which also tell whether all is well
            rows = {name: np.hstack([row[name] for row in jax.device_get(pending)]) for name in metrics}
            updates = len(rows["loss"])
            _check_finite(rows, done - updates)
            if due["log"]:
                row = {"step": done, **{name: float(values.mean()) for name, values in rows.items()}}
                row["steps_per_second"] = updates / (time.perf_counter() - since)
                if learning_rate is not None:
                    row["learning_rate"] = float(learning_rate(done - 1))
                if due["eval"] and not stopping:
                    row["eval_loss"] = float(evaluate(state))
                if log is not None:
                    log.write(row)
                bar.set_postfix(loss=f"{row['loss']:.4f}", refresh=False)
                pending, since = [], time.perf_counter()

            # ---------------------------------------------------------- checkpoint
            if due["checkpoint"]:
                checkpoints.save(state, to_json(data.get_state()), config or {})
            if stopping:
                break
        checkpoints.wait()
    return Outcome(state, int(state.step) >= schedule.steps)


def _check_finite(rows: dict[str, np.ndarray], first: int) -> None:
    bad = ~np.isfinite(rows["loss"]) | ~np.isfinite(rows["gradient_norm"])
    if bad.any():
        at = int(np.argmax(bad))
        raise TrainingDiverged(
            f"training diverged at step {first + at + 1}: loss {rows['loss'][at]}, gradient norm "
            f"{rows['gradient_norm'][at]}; the last good checkpoint is kept. Try a lower learning rate or clipping"
        )


@contextlib.contextmanager
def _stop_signals():
    """Turn SIGTERM and Ctrl-C into a request to stop after the current step; a second Ctrl-C stops at once."""
    stop = threading.Event()

    def request(number, frame):
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
