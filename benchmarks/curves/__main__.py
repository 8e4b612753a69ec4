"""`python -m benchmarks.curves`: 20 curves under M1 to M4, ours beside the paper's and the official code's. Half a minute."""

from __future__ import annotations

import os
import statistics
from pathlib import Path

from .table import LAWS, Row, rows

FOLDER = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")


def main() -> None:
    """Print the tables."""
    found = list(rows(FOLDER))
    print(
        "| curve | form | ours | published estimator | official code, rerun | printed | value, ours | value, published | status |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for row in found:
        cells = (row.ours, row.stops, row.rerun, row.printed)
        values = (row.value, row.stops_value)
        print(
            f"| {row.curve.name} | {row.form} | {' | '.join(_number(x) for x in cells)} | "
            f"{' | '.join(_number(x, '.4e') for x in values)} | {row.fit.status.name} |"
        )
    print()
    print("| form | curves | median ours | median printed | ours lower than printed | published estimator at our minimum |")
    print("|---|---|---|---|---|---|")
    for form in LAWS:
        print(_summary(form, [row for row in found if row.form == form]))


def _summary(form: str, found: list[Row]) -> str:
    printed = [row.printed for row in found if row.printed is not None]
    lower = sum(row.printed is not None and row.ours < row.printed for row in found)
    same = "" if form == "M4" else f"{sum(row.same for row in found)}"
    ours = statistics.median(row.ours for row in found)
    return f"| {form} | {len(found)} | {ours:.5f} | {statistics.median(printed):.5f} | {lower} | {same} |"


def _number(value: float | None, form: str = ".5f") -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    main()
