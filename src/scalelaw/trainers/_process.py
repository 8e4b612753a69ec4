"""A command in a process group of its own, its output line by line, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Ended", "end", "gone", "kill", "run"]

GRACE_SECONDS = 3.0
# Of a line without end: more is read and dropped.
LONGEST = 1 << 20
_SUPERVISOR = Path(__file__).with_name("_supervise.py")


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Args:
        code: its exit code, negative for a signal; None where it did not start or was killed along with its supervisor.
        error: why it did not start; empty where it did.
        cut: the start of its last output line, where that has no end and is no line of JSON; empty where it is whole.
    """

    code: int | None
    error: str = ""
    cut: str = ""


@dataclass
class _Lines:
    """Lines out of pieces. `take` is called with each; it gives back whether the line was understood."""

    take: Callable[[bytes], bool]
    _held: bytearray = field(default_factory=bytearray)
    _dropping: bool = False

    def feed(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            if not self._dropping:
                self.take(bytes(self._held) + piece)
            self._held.clear()
            self._dropping = False
        if self._dropping:
            return
        self._held += rest
        if len(self._held) > LONGEST:
            self.take(bytes(self._held[:200]) + b" ...")
            self._held.clear()
            self._dropping = True

    def end(self) -> str:
        """The last line, where it has no end; what of it was not understood."""
        last, self._held = bytes(self._held), bytearray()
        if last.strip() and not self._dropping and not self.take(last) and last.lstrip().startswith(b"{"):
            return last.decode("utf-8", "replace").strip()[:100]
        return ""


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    line: Callable[[bytes], bool],
    complaint: Callable[[bytes], bool],
    going: Callable[[], bool],
    left: Callable[[], float],
) -> Ended:
    """Run a command to its end, or until it is to stop.

    Args:
        command, environment, folder: what is run, with what, where.
        line, complaint: called with each line of its standard output and error; whether they understood it.
        going: whether it is to go on, asked after each piece of output. left: seconds that it has left.

    Raises:
        OSError: not even the supervisor starts.
    """
    reading, writing = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_SUPERVISOR), str(writing), str(GRACE_SECONDS), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=folder,
            pass_fds=(writing,),
            process_group=0,
        )
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        return _follow(process, reading, (_Lines(line), _Lines(complaint)), going, left)
    finally:
        end(process)
        os.close(reading)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _follow(
    process: subprocess.Popen[bytes],
    status: int,
    lines: tuple[_Lines, _Lines],
    going: Callable[[], bool],
    left: Callable[[], float],
) -> Ended:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    told = b""
    stopped: float | None = None
    with selectors.DefaultSelector() as watch:
        outputs = {process.stdout.fileno(): lines[0], process.stderr.fileno(): lines[1]}
        for number in (status, *outputs):
            watch.register(number, selectors.EVENT_READ)
        while status in watch.get_map():
            wait = left() if stopped is None else stopped + 2 * GRACE_SECONDS - time.monotonic()
            for key, _ in watch.select(min(max(wait, 0.0), 3600.0)):
                data = os.read(key.fd, 1 << 16)
                if not data:
                    watch.unregister(key.fd)
                elif key.fd == status:
                    told += data
                    watch.unregister(key.fd)
                elif stopped is None:
                    outputs[key.fd].feed(data)
            if stopped is None and (left() <= 0 or not going()):
                stopped = time.monotonic()
                process.stdin.close()
            elif stopped is not None and time.monotonic() > stopped + 2 * GRACE_SECONDS:
                break
        end(process)
        if stopped is None:
            _drain(watch, outputs)
    ended = _status(told)
    cut = "" if stopped is not None else lines[0].end()
    lines[1].end()
    return Ended(ended.get("code"), str(ended.get("error", "")), cut)


def _drain(watch: selectors.BaseSelector, outputs: Mapping[int, _Lines]) -> None:
    """What the pipes still hold. A process that left the group may keep them open, and go on writing: it is not waited for."""
    deadline = time.monotonic() + GRACE_SECONDS
    while watch.get_map() and time.monotonic() < deadline and (ready := watch.select(0.2)):
        for key, _ in ready:
            data = os.read(key.fd, 1 << 16)
            if data:
                outputs[key.fd].feed(data)
            else:
                watch.unregister(key.fd)


def _status(told: bytes) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(told)
        return value if isinstance(value, dict) else {}
    return {}


def kill(process: subprocess.Popen[Any]) -> None:
    """Kill the group that a process leads; nothing once it is collected, since anybody may bear its number then."""
    if process.returncode is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)


def end(process: subprocess.Popen[Any]) -> int:
    """Kill the group that a process leads, and collect it; its exit code."""
    kill(process)
    return process.wait()


def gone(process: subprocess.Popen[Any]) -> bool:
    """Whether the leader of a group has ended; what it left behind is killed at once, before its number is given out again."""
    if process.returncode is None and process.poll() is not None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode is not None
