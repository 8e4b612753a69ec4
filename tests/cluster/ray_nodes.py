"""A Ray cluster of several nodes on this machine, started by Ray's own command line, each in the foreground.

nodes = RayNodes(Path("run"))
nodes.start()             # a head and a second node, of one core each
nodes.kill("n2")          # the node fails: its daemon and its workers die without a word
nodes.stop()              # nothing stays behind
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from processes import descendants, free_port, kill, within

__all__ = ["ALONE", "NODES", "RayNodes"]

NODES = ("head", "n2")
PATIENCE = 90.0
# Nothing of the user's own Ray: no reports, and no token that an earlier cluster has left.
ALONE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
MEMORY = 80_000_000  # the least that Ray takes for its objects; results are small


class RayNodes:
    """A cluster whose files lie in `folder`; keep its path short, Ray's sockets are in it."""

    def __init__(self, folder: Path, cpus: int = 1) -> None:
        self.folder, self.cpus = folder, cpus
        self.address = f"127.0.0.1:{free_port()}"
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start every node and wait until it has said that it runs."""
        port = self.address.rpartition(":")[2]
        self.add("head", "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        for name in NODES[1:]:
            self.add(name, f"--address={self.address}")

    def add(self, name: str, *arguments: str) -> None:
        """Start a node."""
        log = self.folder.parent / f"{self.folder.name}.{name}.out"
        with log.open("wb") as out:
            self._nodes[name] = subprocess.Popen(
                [
                    *(sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", "--block"),
                    *(
                        f"--num-cpus={self.cpus}",
                        "--num-gpus=1",
                        f"--object-store-memory={MEMORY}",
                        "--node-ip-address=127.0.0.1",
                    ),
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **ALONE},
                start_new_session=True,
            )
        node = self._nodes[name]
        _ = within(PATIENCE, lambda: node.poll() is not None or "Ray runtime started" in log.read_text(encoding="utf-8"))
        if "Ray runtime started" not in (said := log.read_text(encoding="utf-8")):
            raise RuntimeError(f"the Ray node {name} does not start: {said[-2000:]}")

    def kill(self, name: str) -> None:
        """The node fails: its daemon and all that it started are gone at once."""
        node = self._nodes.pop(name)
        for pid in (node.pid, *descendants(node.pid)):
            kill(pid)
        node.wait()

    def stop(self) -> None:
        """End every process, the head's last."""
        for name in reversed(list(self._nodes)):
            self.kill(name)

    def workers(self) -> list[int]:
        """The processes that train, on any node."""
        found: list[int] = []
        for node in self._nodes.values():
            for pid in descendants(node.pid):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::call"):
                        found.append(pid)
        return found
