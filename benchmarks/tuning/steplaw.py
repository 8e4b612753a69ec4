"""The Step Law grid (arXiv:2503.04715): 1,911 runs in 17 cells of parameters and tokens, and its two splits."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from scalelaw.trials import Trials

__all__ = ["FOLDER", "HYPER", "OVER", "SEQUENCE", "Array", "Split", "cells", "grid", "splits"]

Array: TypeAlias = NDArray[np.float64]

FOLDER = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
OVER = ("parameters", "tokens")
HYPER = ("learning_rate", "batch_size")
SEQUENCE = 2048  # tokens; the grid's batch is counted in sequences, and so is ours
_COLUMNS = {"parameters": "N", "tokens": "D", "learning_rate": "lr", "batch_size": "bs", "loss": "smooth loss"}


@dataclass(frozen=True, eq=False)
class Split:
    """Small cells to learn from and larger ones to be judged at."""

    name: str
    train: Trials
    judge: Trials


def grid() -> Trials:
    """All runs, diverged ones (losses of 5 to 11) with them."""
    with (FOLDER / "steplaw_dense_lr_bs_loss.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trials = Trials.from_columns(
        {name: [float(row[column]) for row in rows] for name, column in _COLUMNS.items()}, "the Step Law grid"
    )
    assert (len(trials), len(cells(trials))) == (1911, 17)
    return trials


def cells(trials: Trials) -> list[tuple[tuple[float, float], Trials]]:
    """(parameters, tokens) and the runs there, in ascending order."""
    return [((float(key[0]), float(key[1])), rows) for key, rows in trials.groups(OVER)]


def splits(trials: Trials) -> tuple[Split, Split]:
    """Split 1 learns from N <= 4.3e8 with D < 6e10 and is judged at the five cells of larger N; split 2 from two sizes."""
    size, tokens = (trials.numbers(name) for name in OVER)
    first = Split("1", trials.where((size <= 4.3e8) & (tokens < 6e10)), trials.where(size > 4.3e8))
    second = Split("2", trials.where(size <= 2.7e8), trials.where(size > 2.7e8))
    assert [len(cells(each)) for each in (first.train, first.judge, second.train, second.judge)] == [10, 5, 8, 9]
    return first, second
