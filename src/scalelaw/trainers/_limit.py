"""Ending a function that takes too long, from inside the process it runs in."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import math
import signal
import sys
import threading
from collections.abc import Callable, Generator
from types import FrameType

from ._record import Record, Stopped

__all__ = ["limited"]

# A function that does not let go is reminded this often, and left for lost after so long.
AGAIN_SECONDS = 1.0
PATIENCE_SECONDS = 15.0


@contextlib.contextmanager
def limited(record: Record, give_up: Callable[[], None] | None) -> Generator[None]:
    """Raise `Stopped` in this thread when the trial's time is up; nothing where it may take any.

    In a main thread an alarm does, elsewhere an exception that the interpreter raises between two instructions; both wait for a
    library's call to return.

    Args:
        give_up: called where that does not help; it ends the process. None waits for as long as it takes.
    """
    seconds = record.left()
    if math.isinf(seconds):
        yield
        return
    seconds = max(seconds, 0.001)
    watch = _Watch(record, seconds, give_up)
    watch.start()
    try:
        try:
            yield
        finally:
            watch.stop()
    finally:
        watch.stop()  # an alarm that rang in the midst of the first left it undone; the next rings a second later


class _Watch:
    def __init__(self, record: Record, seconds: float, give_up: Callable[[], None] | None) -> None:
        self._record, self._seconds, self._give_up = record, seconds, give_up
        self._over = threading.Event()
        self._thread = threading.get_ident()
        self._main = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
        self._lock = threading.Lock()

    def start(self) -> None:
        if self._main:
            self._before = signal.signal(signal.SIGALRM, self._alarm)
            signal.setitimer(signal.ITIMER_REAL, self._seconds, AGAIN_SECONDS)
        if not self._main or self._give_up is not None:
            threading.Thread(target=self._wait, name="trial-timeout", daemon=True).start()
        if self._give_up is not None:
            # A library that never lets go of the interpreter stops this file's thread too: this one is not Python's.
            with contextlib.suppress(RuntimeError, ValueError, OSError, AttributeError):
                last = self._seconds + 2 * (PATIENCE_SECONDS + AGAIN_SECONDS)
                faulthandler.dump_traceback_later(last, exit=True, file=sys.stderr)

    def stop(self) -> None:
        self._over.set()
        if self._main:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)
        if self._give_up is not None:
            faulthandler.cancel_dump_traceback_later()
        with self._lock:  # an exception that was asked for and not raised yet is taken back
            if not self._main:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), None)

    def _alarm(self, _number: int, _frame: FrameType | None) -> None:
        if not self._over.is_set():
            self._record.late()
            raise Stopped

    def _wait(self) -> None:
        passed, wait = 0.0, self._seconds
        while not self._over.wait(wait):
            passed, wait = passed + wait, AGAIN_SECONDS
            self._record.late()
            if self._give_up is not None and passed >= self._seconds + PATIENCE_SECONDS:
                self._give_up()
            with self._lock:
                if not self._main and not self._over.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(Stopped))
