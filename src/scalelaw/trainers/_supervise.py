"""Runs a command and ends it, with all it started, when whoever asked for it is gone. Started as a file; standard library only.

    python -I -S _supervise.py STATUS GRACE COMMAND [ARGUMENT ...]

It leads a process group that holds the command. When its standard input closes, by intent or because its parent died in whatever
way, the group is asked to end (SIGTERM) and GRACE seconds later it is made to (SIGKILL). STATUS is a file descriptor: there it
says, as one line of JSON, {"code": exit code, negative for a signal} or {"error": "why it did not start"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

__all__ = ["main"]


def main(arguments: list[str]) -> None:
    """Run the command to its end, or to ours."""
    status, grace = int(arguments[0]), float(arguments[1])
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # A handler, where ignoring would be inherited by the command; the wake-up ends the wait below when the command ends.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        child = subprocess.Popen(arguments[2:], stdin=subprocess.DEVNULL)
    except OSError as error:
        _tell(status, {"error": f"{error.strerror or error}"})
        return
    asked: float | None = None
    while child.poll() is None:
        wanted = [reading] if asked is not None else [reading, 0]
        ready, _, _ = select.select(wanted, [], [], None if asked is None else max(asked + grace - time.monotonic(), 0.0))
        if reading in ready:
            os.read(reading, 512)
        if 0 in ready and not os.read(0, 512):
            asked = time.monotonic()
            with contextlib.suppress(OSError):
                os.killpg(0, signal.SIGTERM)
        elif asked is not None and time.monotonic() >= asked + grace:
            os.killpg(0, signal.SIGKILL)  # and this process with it
    _tell(status, {"code": child.returncode})
    if asked is not None or not _parent_lives():
        os.killpg(0, signal.SIGKILL)  # what the command left behind


def _parent_lives() -> bool:
    ready, _, _ = select.select([0], [], [], 0)
    return not ready


def _tell(status: int, what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(status, (json.dumps(what) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1:])
