"""Which kind of network file system a path lies on: there a write-ahead log and the system's locks are not safe."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

__all__ = ["MOUNTS", "network"]

MOUNTS = Path("/proc/mounts")
_NETWORK = (
    "nfs",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.",
    "9p",
    "cifs",
    "smb",
    "ceph",
    "afs",
    "panfs",
    "pvfs",
    "orangefs",
    "glusterfs",
)
# FUSE is also how some local disks are mounted.
_LOCAL = ("fuse.lxcfs", "fuse.ntfs", "fuse.ntfs-3g", "fuse.exfat", "fuse.fuse-overlayfs", "fuse.bindfs", "fuse.mergerfs")


def network(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The network file system that holds `path`, such as nfs4; None for a local disk and where that cannot be told.

    Args:
        path: a file, which need not exist.
        mounts: the table of what is mounted, in the layout of /proc/mounts: device, mount point, kind, separated by blanks;
            blanks and the like within a field are written as octal escapes.
    """
    folder = path.parent.resolve()
    best, kind = -1, ""
    with contextlib.suppress(OSError):
        for line in mounts.read_bytes().decode("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            if len(fields) < 3:
                continue
            point = Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[1]))
            # Of two mounts at one point the later one covers the other.
            if len(point.parts) >= best and folder.is_relative_to(point):
                best, kind = len(point.parts), fields[2]
    return kind if kind.startswith(_NETWORK) and kind not in _LOCAL else None
