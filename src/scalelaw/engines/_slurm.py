"""What SLURM's own commands tell: its partitions, their nodes, and times as it writes them."""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass

from ..errors import InputError, near
from ._base import Resources

__all__ = ["GONE", "Node", "Partition", "State", "jobs", "minutes", "partition", "told"]

PATIENCE = 60.0
DAY = 24 * 60
MOST = 1000  # elements of an array, where the cluster allows more


ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
# Nobody but an administrator gets these out of the queue.
STUCK = ("JobHeldAdmin", "JobHoldMaxRequeue", "launch failed requeued held")
COLUMNS = (("JobArrayID", 32), ("State", 16), ("Reason", 40), ("RestartCnt", 8))


@dataclass(frozen=True)
class State:
    """What the controller says of a job: its state, why it waits, and how often it was started again."""

    name: str
    reason: str = ""
    restarts: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be expected of it."""
        return self.name in ENDED or self == GONE or (self.name == "PENDING" and self.reason in STUCK)

    @property
    def put_off(self) -> bool:
        """Whether it waits for a time only."""
        return self.name == "PENDING" and self.reason == "BeginTime"


GONE = State("unknown to the controller")


@dataclass(frozen=True)
class Node:
    """What a node has: cores, whole GPUs, bytes of memory."""

    cpus: int
    gpus: int
    memory: float


@dataclass(frozen=True)
class Partition:
    """A partition: its nodes that are up, its limit on a job in minutes, and the largest array."""

    name: str
    nodes: tuple[Node, ...]
    minutes: int
    array: int

    def room(self, resources: Resources) -> int:
        """How many batches run at once when nobody else uses it; at least 1."""
        gpus = int(resources.gpus) or int(resources.device == "gpu")
        total = 0
        for node in self.nodes:
            fits = [int(node.cpus / max(1.0, resources.cpus))]
            fits += [node.gpus // gpus] if gpus else []
            fits += [int(node.memory / resources.memory)] if resources.memory else []
            total += min(fits)
        return max(1, total)


def partition(name: str | None) -> Partition:
    """The partition of that name, or the default one.

    Raises:
        InputError: there is none, or the controller does not answer.
    """
    try:
        # Partition (the default one starred), default and largest time, cores, generic resources, MB, state.
        rows = [line.split("|") for line in told("sinfo", "-h", "-N", "-o", "%P|%L|%l|%c|%G|%m|%T").splitlines()]
        settings = told("scontrol", "show", "config")
    except (OSError, subprocess.SubprocessError) as error:
        raise InputError(f"SLURM does not answer ({error})", "--engine slurm", "Is slurmctld running? Try: sinfo") from error
    known = {row[0].rstrip("*") for row in rows}
    chosen = name or next((row[0][:-1] for row in rows if row[0].endswith("*")), None)
    if chosen is None or chosen not in known:
        what = "SLURM has no default partition" if chosen is None else f"SLURM has no partition {chosen!r}"
        close = near(chosen, known) if chosen else None
        hint = f"Did you mean {close!r}? " if close else ""
        raise InputError(what, "--option partition", f"{hint}Known: {', '.join(sorted(known)) or 'none'}")
    mine = [row for row in rows if row[0].rstrip("*") == chosen]
    nodes = tuple(_node(row) for row in mine if not row[6].startswith(("down", "drain", "fail", "maint", "unk")))
    array = re.search(r"MaxArraySize\s*=\s*(\d+)", settings)
    default, largest = _minutes(mine[0][1]), _minutes(mine[0][2])
    limit = default or min(largest or DAY, DAY)
    return Partition(chosen, nodes, limit, min(MOST, int(array[1]) - 1) if array else MOST)


def jobs(names: str) -> dict[str, State]:
    """The jobs of these names, separated by commas, by id. Raises as `told`."""
    columns = ",".join(f"{name}:{width}" for name, width in COLUMNS)
    found: dict[str, State] = {}
    for line in told("squeue", "-h", "-r", "-t", "all", f"--name={names}", "-O", columns).splitlines():
        ends = list(itertools.accumulate(width for _, width in COLUMNS))
        cells = [line[first:last].strip() for first, last in zip([0, *ends], ends, strict=False)]
        found[cells[0]] = State(cells[1], cells[2], int(cells[3] or 0))
    return found


def told(*command: str) -> str:
    """What a command prints. Raises InputError with its own words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(f"{command[0]} fails ({lines[-1] if lines else f'exit code {done.returncode}'})", "--engine slurm")
    return done.stdout


def minutes(text: str) -> int:
    """A time limit as SLURM writes it: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].

    Raises:
        InputError: it is something else.
    """
    found = _minutes(text)
    if not found:
        mend = "Give minutes, hours:minutes:seconds or days-hours:minutes:seconds"
        raise InputError(f"{text!r} is no time limit", "--option time", mend)
    return found


def _minutes(text: str) -> int | None:
    """Whole minutes, rounded up; None for what is no time, or unlimited."""
    days, dash, rest = text.strip().rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in (*parts, *([days] if dash else []))) or len(parts) > 3:
        return None
    numbers = [int(part) for part in parts]
    if dash:
        hours, mins, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, mins, seconds = numbers
    else:
        hours, mins, seconds = 0, *(*numbers, 0)[:2]
    return (int(days) * DAY if dash else 0) + hours * 60 + mins + (seconds > 0)


def _node(row: list[str]) -> Node:
    gpus = sum(int(count) for count in re.findall(r"gpu(?::[^:,()]+)?:(\d+)", row[4]))
    memory = re.sub(r"\D", "", row[5]) or "0"
    return Node(int(re.sub(r"\D", "", row[3]) or 1), gpus, float(memory) * 2**20)
