"""Requests to stop: signals, notices of pre-emption, and a watchdog for steps that never end."""

import contextlib
import faulthandler
import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Whether somebody asked the run to stop; call it once a step.

    On one host SIGTERM and Ctrl-C ask, and a second Ctrl-C stops at once. On several SIGTERM at any of them, which is
    how schedulers tell of pre-emption, stops all after the same step.
    """

    def __init__(self):
        self.signal: int | None = None

    def __call__(self, step: int) -> bool:
        """Tell whether to save and stop after step number `step`."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = signal.SIGTERM
        return self.signal is not None


@contextlib.contextmanager
def stop_requests():
    """Listen for requests to stop inside of the block."""
    request = StopRequest()

    def receive(number, frame):
        if request.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal = number

    # JAX itself listens for SIGTERM on several hosts, and Python lets no other thread listen.
    listens = jax.process_count() == 1 and threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGINT) if listens else ()
    previous = {number: signal.signal(number, receive) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def watchdog(seconds: float | None):
    """End the process with exit code 1 and all threads' stacks when the yielded function isn't called for so long.

    Args:
        seconds: how long; None for ever.
    """
    if seconds is None:
        yield lambda: None
        return
    alive = lambda: faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or sys.stderr)
    alive()
    try:
        yield alive
    finally:
        faulthandler.cancel_dump_traceback_later()
