"""`python -m benchmarks.importing [TABLE ...] [--folder FOLDER]`: how long it takes to import runs of other tools."""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

from scalelaw.importing import import_into

from . import written

TABLES = {"wandb": written.wandb_runs, "tensorboard": written.event_files, "parquet": written.long_table}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importing", description=__doc__)
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="default: all")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "scalelaw-importing", help="keeps what is read"
    )
    arguments = parser.parse_args()
    print("| source | runs | curve points | size, MB | seconds | of them processor | memory, MB |")
    print("|---|---|---|---|---|---|---|")
    for name in arguments.tables or TABLES:
        folder = arguments.folder / name
        if not folder.exists():
            part = folder.with_name(f".{name}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            TABLES[name](part)
            part.rename(folder)
        store = arguments.folder / f"{name}.db"
        store.unlink(missing_ok=True)
        source = folder / "runs.parquet" if (folder / "runs.parquet").exists() else folder
        began, used = time.perf_counter(), time.process_time()
        found = import_into([source], store)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        again = import_into([source], store)
        assert found.added == found.rows == again.known
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        points = written.POINTS[name]
        print(f"| {name} | {found.rows:,} | {points:,} | {size:,.0f} | {seconds:.1f} | {used:.1f} | {memory:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
