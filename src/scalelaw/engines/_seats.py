"""What this machine has room for: cores, GPUs and memory, cut into seats of one worker each."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ._base import Resources

__all__ = ["Seat", "cores", "seats", "visible"]

PATIENCE = 30.0


def cores() -> list[int]:
    """The cores this process may use: its affinity, cut to the quota of its control group. At least one."""
    try:
        own = sorted(os.sched_getaffinity(0))
    except AttributeError:  # no affinity on this operating system
        own = list(range(os.cpu_count() or 1))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            own = own[: max(1, round(int(quota) / int(period)))]
    return own


@dataclass(frozen=True)
class Seat:
    """What one worker may use: cores it is held to, and GPUs it sees; None and nothing leave both to the system."""

    cores: frozenset[int] | None = None
    gpus: tuple[str, ...] = ()


def seats(asked: Resources, places: Sequence[int], gpus: Sequence[str] = (), memory: float | None = None) -> list[Seat]:
    """The workers that a machine has room for.

    Args:
        asked: of each worker. places: the cores. gpus: the GPUs. memory: bytes; None asks the machine.

    Raises:
        InputError: it has no room for one.
    """
    rooms: list[tuple[float, str]] = [(len(places) / asked.cpus, f"{len(places)} cores")]
    if asked.gpus:
        held = len(gpus) * int(1 / asked.gpus + 1e-9) if asked.gpus < 1 else len(gpus) // int(asked.gpus)
        rooms.append((held, f"{len(gpus)} visible GPUs"))
    if asked.memory is not None and (there := memory or _memory()) is not None:
        rooms.append((there / asked.memory, f"{there / 2**30:.3g} GiB of memory"))
    for room, what in rooms:
        if room < 1 - 1e-9:
            raise InputError(f"there is no room for a batch: this machine has {what}", "--cpus, --gpus, --memory", "Ask for less")
    count = int(min(room for room, _ in rooms) + 1e-9)
    if asked.max_parallel is not None:
        plain = asked.cpus == 1 and not asked.gpus and asked.memory is None  # as many as one likes: they share the cores
        count = asked.max_parallel if plain else min(count, asked.max_parallel)
    # Pinning pays where every core has its worker; with fewer workers the kernel finds the free cores better.
    each = int(asked.cpus)
    pinned = each == asked.cpus and count * each == len(places)
    held = [frozenset(places[place * each : (place + 1) * each]) if pinned else None for place in range(count)]
    return [Seat(own, _own(asked.gpus, gpus, place)) for place, own in enumerate(held)]


def _own(need: float, gpus: Sequence[str], place: int) -> tuple[str, ...]:
    """The GPUs of a worker. Those that share one are dealt out in turn, so that every GPU has a worker before one has two."""
    if not need:
        return ()
    if need < 1:
        return (gpus[place % len(gpus)],)
    return tuple(gpus[place * int(need) : (place + 1) * int(need)])


def visible() -> tuple[str, ...]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return tuple(part for name in given.split(",") if (part := name.strip()) and part != "-1")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
        return tuple(told.split())
    return ()


def _memory() -> float | None:
    """Bytes of this machine, cut to the limit of its control group; None where it does not tell."""
    found: list[float] = []
    with contextlib.suppress(OSError, ValueError, AttributeError):
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    with contextlib.suppress(OSError, ValueError):
        found.append(float(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(found, default=None)
