"""The studies that ship with the project.

    python -m benchmarks.studies run [NAME ...]       train what is missing, then write trials.parquet and README.md
    python -m benchmarks.studies tables [NAME ...]    what the kept trials say

Names are folders of `studies/`: width, drift, finetune, offlaw, language, schedules, entropy. An interrupted run goes on where it
was.
"""

from __future__ import annotations

import argparse

from . import drift, entropy, finetune, language, offlaw, schedules, width
from .record import record

STUDIES = {module.NAME: module for module in (width, drift, finetune, offlaw, language, schedules, entropy)}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("run", "tables"))
    parser.add_argument("names", nargs="*", default=list(STUDIES), metavar="NAME", help=", ".join(STUDIES))
    parser.add_argument("--workers", type=int, help="trials at once (default: one a core)")
    options = parser.parse_args()
    for name in options.names:
        if name not in STUDIES:
            parser.error(f"there is no study {name!r}; known: {', '.join(STUDIES)}")
    for name in options.names:
        module = STUDIES[name]
        if options.what == "run":
            for part in module.parts():
                record(part, options.workers)
        print(f"## {name}\n")
        module.tables()


if __name__ == "__main__":
    main()
