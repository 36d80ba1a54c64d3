"""What a run is watched by: where the time goes, how well the devices are used, memory, traces."""

import collections
import contextlib
import dataclasses
import importlib.util
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Watch:
    """What the metrics of a run are told of it.

    Args:
        batch_size: examples in the global batch; None leaves their rate out.
        peak_flops: floating-point operations a second that one device can do at most; None leaves utilisation out.
        count_flops: `count_flops(compiled)`, the operations of one call of the compiled step on one device; None takes
            the compiler's own count, which has the body of a loop once.
        trace: first and last step to trace with JAX's profiler, into `<workdir>/profile`; None for no trace.
        tensorboard: whether to write metrics for TensorBoard besides, into `<workdir>/tensorboard`.

    Raises:
        ValueError: if `trace` is no range of steps, or TensorBoard is asked for and tensorboardX is not installed.
    """

    batch_size: int | None = None
    peak_flops: float | None = None
    count_flops: Callable[[jax.stages.Compiled], float] | None = None
    trace: tuple[int, ...] | None = None
    tensorboard: bool = False

    def __post_init__(self):
        if self.trace is not None and (len(self.trace) != 2 or not 1 <= self.trace[0] <= self.trace[1]):
            raise ValueError(f"train.trace must be a first and a last step, got {tuple(self.trace)}")
        if self.tensorboard and importlib.util.find_spec("tensorboardX") is None:
            raise ValueError("train.tensorboard needs tensorboardX: pip install 'sgm_jax[tensorboard]'")


class Stopwatch:
    """Seconds by what they were spent on since it was last read."""

    def __init__(self):
        self._start, self._spent = time.perf_counter(), collections.defaultdict(float)

    @contextlib.contextmanager
    def __call__(self, name: str, counts: Callable[[], bool] = lambda: True):
        """Count the block's time as spent on `name`, if it `counts`, as is asked when it is over."""
        start = time.perf_counter()
        yield
        if counts():
            self._spent[name] += time.perf_counter() - start

    def read(self) -> tuple[float, dict[str, float]]:
        """Return the seconds since the last reading, and those of each name; starts anew."""
        now = time.perf_counter()
        seconds, spent = now - self._start, dict(self._spent)
        self._start, self._spent = now, collections.defaultdict(float)
        return seconds, spent


def performance(watch: Watch, updates: int, seconds: float, flops: float | None) -> dict[str, float]:
    """Return rates of so many updates in so many seconds.

    Args:
        watch: what is known of the run.
        updates: number of updates.
        seconds: what they took, without evaluations, checkpoints and compilation.
        flops: floating-point operations of one update on one device, or None.
    """
    row = {"steps_per_second": updates / seconds}
    if watch.batch_size is not None:
        row["examples_per_second"] = watch.batch_size * updates / seconds
        row["examples_per_second_per_device"] = row["examples_per_second"] / jax.device_count()
    if watch.peak_flops is not None and flops is not None:
        row["model_flops_utilisation"] = flops * updates / seconds / watch.peak_flops
    return row


def peak_memory() -> float:
    """Return the most memory used so far in GiB: of a device where it tells, or else of the process."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"] / 2**30
    # Kilobytes on Linux, bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)


def compile_ahead(step: Callable, watch: Watch, *arguments: Any) -> tuple[Callable, float, float | None]:
    """Compile a jitted step for its arguments.

    Returns:
        The compiled step, the seconds that it took, and the floating-point operations of one call on one device, None
        where the compiler does not tell.
    """
    start = time.perf_counter()
    compiled = step.lower(*arguments).compile()
    seconds = time.perf_counter() - start
    if watch.count_flops is not None:
        return compiled, seconds, watch.count_flops(compiled)
    return compiled, seconds, (compiled.cost_analysis() or {}).get("flops")


@contextlib.contextmanager
def tracer(span: tuple[int, ...] | None, folder: pathlib.Path):
    """Trace steps with JAX's profiler.

    Args:
        span: first and last step, or None.
        folder: where the trace goes.

    Yields:
        A function `(done, outcome)` that is to be called after each step with its number and a result to wait for; a
        trace that the end of the run cuts short is written as far as it goes.
    """
    running = False

    def after(done: int, outcome: Any) -> None:
        nonlocal running
        if span is None:
            return
        if running and done >= span[1]:
            jax.block_until_ready(outcome)
            jax.profiler.stop_trace()
            running = False
        elif not running and span[0] - 1 <= done < span[1]:
            jax.block_until_ready(outcome)
            jax.profiler.start_trace(folder)
            running = True

    try:
        yield after
    finally:
        if running:
            jax.profiler.stop_trace()
