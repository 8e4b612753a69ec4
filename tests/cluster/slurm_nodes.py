"""A SLURM cluster of two nodes on this machine: munge, a controller and two node daemons, started by hand as root.

    nodes = SlurmNodes(Path("run"))
    nodes.start()                    # then subprocess.run(["sinfo"], env={**os.environ, **nodes.environment})
    nodes.kill("n1")                 # the node fails: its daemon and the steps of its jobs die without a word
    nodes.stop()                     # nothing stays behind

Debian's packages slurmctld, slurmd, slurm-client and munge; no systemd, no accounting, nothing outside `folder`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from processes import descendants, free_port, kill, within

__all__ = ["NODES", "SlurmNodes", "missing"]

NODES = ("n1", "n2")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATIENCE = 60.0

CONFIGURATION = """
ClusterName=scalelaw
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={run}/munge.sock
SlurmctldPort={port}
StateSaveLocation={run}/state
SlurmdSpoolDir={run}/spool.%n
SlurmctldPidFile={run}/controller.pid
SlurmdPidFile={run}/node.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobRequeue=1
MinJobAge=300
SlurmdTimeout=10
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=100000
GresTypes=gpu
{nodes}
PartitionName=work Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs of SLURM that are not on the PATH."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class SlurmNodes:
    """A cluster in `folder`, which every process of it can write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything and wait until both nodes are idle."""
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().split(".")[0]
        lines = [
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={free_port()} CPUs=1 RealMemory=1000 Gres=gpu:1"
            for node in NODES
        ]
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(host=host, run=self.folder, port=free_port(), nodes="\n".join(lines), names=",".join(NODES)),
            encoding="utf-8",
        )
        # A GPU each, as far as SLURM can see.
        gpus = [f"NodeName={node} Name=gpu File=/dev/null" for node in NODES]
        (self.folder / "gres.conf").write_text("\n".join([*gpus, ""]), encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        paths = [f"--{name}={self.folder / file}" for name, file in (("key-file", "munge.key"), ("socket", "munge.sock"))]
        paths += [f"--{name}-file={self.folder / f'munge.{name}'}" for name in ("pid", "log", "seed")]
        self._run("munged", ["munged", "-F", "--force", *paths])
        _wait((self.folder / "munge.sock").exists, "munged does not start")
        configuration = str(self.folder / "slurm.conf")
        self._run("controller", ["slurmctld", "-D", "-f", configuration])
        _wait(lambda: "UP" in self._tell("scontrol", "ping"), "slurmctld does not start")
        for node in NODES:
            self._run(node, ["slurmd", "-D", "-N", node, "-f", configuration])
        _wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "the nodes do not become idle")

    def states(self) -> dict[str, str]:
        """What the controller says of each node: idle, mixed, allocated, down."""
        lines = self._tell("sinfo", "-h", "-N", "-o", "%N %T").split("\n")
        return dict(line.split() for line in lines if line)

    def jobs(self) -> list[str]:
        """The jobs that wait or run, one line each: id, state, nodes."""
        return [line for line in self._tell("squeue", "-h", "-r", "-o", "%i %T %N").split("\n") if line]

    def workers(self, node: str) -> list[int]:
        """The processes that train on a node."""
        told = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self._steps(node)}
        return [pid for pid, words in told.items() if b"submitit.core._submit" in words and not words.startswith(b"srun")]

    def kill(self, node: str) -> None:
        """The node fails: its daemon and all that it started are gone at once."""
        for pid in (self._daemons[node].pid, *self._steps(node)):
            kill(pid)
        self._daemons.pop(node).wait()
        # The controller is told, instead of waiting for its time-out.
        self._tell("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=failed")

    def stop(self) -> None:
        """Cancel every job and end every process, the controller and munge last."""
        if "controller" in self._daemons:
            self._tell("scancel", "--partition=work")
            within(PATIENCE, lambda: not self.jobs())
        for name, daemon in reversed(list(self._daemons.items())):
            # Nothing here is kept, so nothing needs to end in order.
            for pid in (daemon.pid, *descendants(daemon.pid), *self._steps(name)):
                kill(pid)
            daemon.wait()
        self._daemons.clear()

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            self._daemons[name] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env={**os.environ, **self.environment}
            )

    def _tell(self, *command: str) -> str:
        environment = {**os.environ, **self.environment}
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=PATIENCE, check=False).stdout

    def _steps(self, node: str) -> list[int]:
        """The step daemons of a node and their tasks. They leave the node's daemon, and tell their node in the environment."""
        marks = (f"SLURMD_NODENAME={node}".encode(), f"SLURM_CONF={self.environment['SLURM_CONF']}".encode())
        daemons: list[int] = []
        tasks: list[int] = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if not set(marks) <= set((path / "environ").read_bytes().split(b"\0")):
                    continue
                parent = int((path / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
                if b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes():
                    daemons.append(parent)
            except OSError:
                continue
            tasks.append(int(path.name))
        return [*daemons, *tasks]


def _wait(ready: Callable[[], bool], otherwise: str) -> None:
    if not within(PATIENCE, ready):
        raise RuntimeError(otherwise)
