"""Public families of runs, each a ladder of scales with the laws that forecasts stack."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scalelaw.discrepancy import Discrepancy
from scalelaw.frontier import Frontier, frontier
from scalelaw.stack import Ladder
from scalelaw.trials import Trials

from ..curves.table import Array, curves

__all__ = ["FOLDER", "Family", "chinchilla", "families", "frontier_of", "ladder", "language", "rest_of_language", "supercollapse"]

FOLDER = Path(os.environ.get("SCALELAW_REFERENCE_DATA") or Path(__file__).resolve().parents[2].parent / "shared" / "data")
TWO = ("parameters", "tokens")
_EXAMPLES = "dataset_size"


@dataclass(frozen=True, eq=False)
class Family:
    """One ladder: `name` within its `family`, whose members share a discrepancy's size."""

    family: str
    name: str
    trials: Trials
    over: tuple[str, ...]


def families() -> list[Family]:
    """All of them."""
    return [*chinchilla(), *_porian(), *_gadre(), *_datablations(), *_marin(), *language(), *supercollapse(), *_steplaw()]


def frontier_of(family: Family) -> Frontier:
    """Its rows as they stand; the Step Law grid by its tuned frontier."""
    return frontier(family.trials, over=family.over, fixed=family.family != "Step Law")


def ladder(family: Family, prior: Discrepancy | None = None, law: tuple[str, ...] | None = None) -> Ladder:
    """Of its frontier."""
    return Ladder(frontier_of(family), list(law) if law else None, prior)


def _rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _table(rows: list[dict[str, str]], columns: dict[str, str], source: str) -> Trials:
    found = {name: [float(row[key]) for row in rows] for name, key in columns.items()}
    return Trials.from_columns(found, source)


def _groups(rows: list[dict[str, str]], *keys: str) -> Iterator[tuple[str, list[dict[str, str]]]]:
    for label in sorted({tuple(row[key] for key in keys) for row in rows}):
        yield " ".join(label), [row for row in rows if tuple(row[key] for key in keys) == label]


def chinchilla() -> list[Family]:
    """240 points; the five highest losses dropped, as published."""
    rows = sorted(_rows("chinchilla_epoch_svg_extracted.csv"), key=lambda row: float(row["loss"]))[:-5]
    n = np.array([float(row["Model Size"]) for row in rows])
    c = np.array([float(row["Training FLOP"]) for row in rows])
    columns = {"parameters": n, "tokens": c / (6 * n), "loss": np.array([float(row["loss"]) for row in rows])}
    return [Family("Chinchilla", "points", Trials.from_columns(columns, "Chinchilla points"), TWO)]


def _porian() -> list[Family]:
    columns = {"parameters": "n_params", "tokens": "tokens", "loss": "loss"}
    rows = [row for row in _rows("porian_isoflop_points.csv") if row["split"] == "val"]
    keys = ("dataset", "hparams", "warmup", "decay")
    return [Family("Porian", name, _table(mine, columns, name), TWO) for name, mine in _groups(rows, *keys)]


def _gadre() -> list[Family]:
    columns = {"parameters": "N_params", "tokens": "D_tokens", "loss": "loss_c4_val"}
    found = _groups(_rows("gadre_overtraining_models.csv"), "dataset")
    return [Family("Gadre", name, _table(mine, columns, name), TWO) for name, mine in found]


def _datablations() -> list[Family]:
    columns = {"parameters": "num_params", "tokens": "token_num", "loss": "openLM_loss"}
    rows = [row for row in _rows("datablations_contour_losses.csv") if float(row["epochs"]) <= 1]
    return [Family("Data-constrained", "one epoch", _table(rows, columns, "one epoch"), TWO)]


def _marin() -> list[Family]:
    columns = {"parameters": "parameter_count", "tokens": "throughput/total_tokens", "loss": "eval/paloma/macro_loss"}
    found = _groups(_rows("marin_isoflop_raw.csv"), "dataset")
    return [Family("Marin", name, _table(mine, columns, name), TWO) for name, mine in found]


def language() -> list[Family]:
    """The 20 curves of Alabdulmohsin et al.: training rows; each domain is a family."""
    return [
        Family(
            each.domain, each.name, Trials.from_columns({"dataset_size": each.x, "loss": each.y}, each.name), ("dataset_size",)
        )
        for each in curves(FOLDER)
    ]


def rest_of_language() -> list[tuple[Array, Array, float]]:
    """In the order of `language`: the held-out rows' x and loss, and the printed RMSLE of M4."""
    rows = _rows("revisiting_nsl_published_rmse.csv")
    printed = {f"{row['domain']} {row['model_or_task']}": float(row["M4_rmse"]) for row in rows}
    return [(each.later_x, each.later_y, printed[each.name]) for each in curves(FOLDER)]


def supercollapse() -> list[Family]:
    """Five logs, eight widths each with its seeds; each task is a family."""
    columns = {"parameters": "n_params", "seed": "seed", "loss": "final_test_loss"}
    found = _groups(_rows("supercollapse_endpoints.csv"), "log")
    return [Family(name.split("_")[0], name, _table(mine, columns, name), ("parameters",)) for name, mine in found]


def _steplaw() -> list[Family]:
    columns = {"parameters": "N", "tokens": "D", "learning_rate": "lr", "batch_size": "bs", "loss": "smooth loss"}
    return [Family("Step Law", "grid", _table(_rows("steplaw_dense_lr_bs_loss.csv"), columns, "Step Law"), TWO)]
