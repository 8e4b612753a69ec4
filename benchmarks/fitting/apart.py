"""Other packages, asked in an environment of their own: `benchmarks/README.md` says how it is made."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["MISSING", "ROOT", "VERSIONS", "ask", "installed"]

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-bench-fit" / "bin" / "python"
# What each is called, and the version that the tables are about.
VERSIONS = {"chinchilla": "chinchilla 0.2.0", "simple": "simple-scaling-laws 0.2.0", "lmfit": "lmfit 1.3.4"}
MISSING = "The other packages are not installed; see benchmarks/README.md."


def installed() -> bool:
    """Whether their environment is there."""
    return PYTHON.exists()


def ask(name: str, *arguments: str | Path) -> Any:
    """What `rivals.py` prints of one package."""
    command: Sequence[str] = [str(PYTHON), str(Path(__file__).with_name("rivals.py")), name, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
