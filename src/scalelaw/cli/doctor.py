"""`scalelaw doctor`: is this machine ready, and what to mend if not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .._store.mounts import MOUNTS, network
from ..errors import EngineError
from ._json import emit
from ._options import Json
from ._screen import draw, say

__all__ = ["doctor"]

NEEDED_DISK = 2e9
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Check:
    """One line of the examination; `mend` is empty where nothing is to be done."""

    name: str
    found: str
    ok: bool = True
    mend: str = ""


def doctor(*, as_json: Json = False) -> None:
    """Examine this machine: versions, cores, accelerator, data, disk; each line says what to mend.

    Example: scalelaw doctor
    """
    checks = [*_software(), *_machine(), _accelerator(), _images(), *_disk()]
    if as_json:
        emit({"ok": all(each.ok for each in checks), "checks": [asdict(each) for each in checks]})
        return
    from rich.table import Table
    from rich.text import Text

    wrong = [each for each in checks if not each.ok]
    say("Everything is in order." if not wrong else f"{len(wrong)} of {len(checks)} checks need a look.", "bold")
    grid = Table.grid(padding=(0, 2))
    for each in checks:
        mark = Text("ok", style="green") if each.ok else Text("warning", style="bold yellow")
        found = Text.assemble(each.found, (f"  {each.mend}" if each.mend else "", "italic"))
        grid.add_row(mark, Text(each.name), found)
    draw(grid)


def _software() -> Iterator[Check]:
    yield Check("scalelaw", importlib.metadata.version("scalelaw"))
    old = sys.version_info < (3, 11)
    yield Check("python", platform.python_version(), not old, "Install Python 3.11 or newer." if old else "")
    found: list[str] = []
    missing: list[str] = []
    for line in importlib.metadata.requires("scalelaw") or ():
        if "extra ==" in line:
            continue
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Check("libraries", ", ".join(found))
    if missing:
        yield Check("missing", ", ".join(missing), False, f"Install them: pip install {' '.join(missing)}")
    yield Check("sqlite", sqlite3.sqlite_version)


def _machine() -> Iterator[Check]:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    yield Check("cores", f"{cores}; a study trains one trial on each")
    # Linear algebra with several threads per worker fights itself for the cores; `scalelaw run` sets 1 for its workers.
    chosen = {name: os.environ[name] for name in THREADS if os.environ.get(name)}
    many = {name: value for name, value in chosen.items() if value != "1"}
    said = ", ".join(f"{name}={value}" for name, value in chosen.items()) or "not set; workers use one each"
    yield Check("threads", said, not many, f"Set {', '.join(f'{name}=1' for name in many)}." if many else "")


def _accelerator() -> Check:
    try:
        version = importlib.metadata.version("jax")
    except importlib.metadata.PackageNotFoundError:
        return Check("jax", "not installed: no training here", False, "Install it: pip install 'scalelaw[train]'")
    from ..train.device import platforms, present

    try:
        found, devices = platforms(), present()
    except EngineError as error:
        return Check("jax", f"{version}: {error}", False, "Install it again: pip install 'scalelaw[train]'")
    kinds = ", ".join(f"{len(kinds)} x {kinds[0]} ({name})" for name, kinds in found.items() if name != "cpu" and kinds)
    said = f"{kinds}; use it with: scalelaw run --device {devices[-1]}" if kinds and len(devices) > 1 else "no accelerator"
    return Check("jax", f"{version} on {', '.join(devices)}; {said}")


def _images() -> Check:
    from ..tasks.fashion_mnist import DEBIAN_FOLDER, SUBSET_FILE

    folder = Path(os.environ.get("SCALELAW_DATA") or DEBIAN_FOLDER)
    if not SUBSET_FILE.is_file():
        return Check("fashion_mnist", f"{SUBSET_FILE} is missing", False, "Install scalelaw again.")
    full = f"full set in {folder}" if folder.is_dir() else "full set: apt-get install dataset-fashion-mnist"
    return Check("fashion_mnist", f"subset in the package; {full}")


def _disk() -> Iterator[Check]:
    for name, folder, mend in (
        ("folder", Path.cwd(), "Run from a folder you may write, or give --storage another."),
        ("temporary", Path(tempfile.gettempdir()), "Set TMPDIR to a folder you may write."),
    ):
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            yield Check(name, f"{folder} cannot be written ({error.strerror})", False, mend)
            continue
        free = shutil.disk_usage(folder).free
        short = free < NEEDED_DISK
        kind = network(folder / "study.db", MOUNTS)
        where = f", on a network file system ({kind}): a store there has no log and one driver" if kind else ""
        yield Check(
            name, f"{folder} is writable, {free / 1e9:.0f} GB free{where}", not short, "Free some space." if short else ""
        )
