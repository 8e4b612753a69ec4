"""Two studies that share a store: each is what it is alone, and together they are told apart."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from scalelaw import spool
from scalelaw.cli._app import execute
from scalelaw.store import Store, load
from scalelaw.trial import Status, Trial, TrialSpec


def first() -> list[Trial]:
    """A ladder over width, tuned over the learning rate."""
    made: list[Trial] = []
    for width in (16, 32, 64, 128, 256):
        for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1):
            loss = 1 + 5 * width**-0.5 + 0.05 * np.log(rate / 1e-2) ** 2
            made.append(
                Trial(TrialSpec("alpha", {"width": width, "steps": 100}, {"learning_rate": rate}), Status.COMPLETE, float(loss))
            )
    return made


def second() -> list[Trial]:
    """Another task, with other columns."""
    spec = [
        TrialSpec(
            "beta", {"width": width, "depth": depth, "epochs": 2}, {"weight_decay": decay, "schedule": "cosine"}, 0, "transformer"
        )
        for width in (8, 16, 48)
        for depth in (2, 3)
        for decay in (0.0, 0.1)
    ]
    return [Trial(each, Status.COMPLETE, 3 + each.scale["width"] ** -0.3, metrics={"accuracy": 0.5}) for each in spec]  # pyright: ignore[reportOperatorIssue]


@pytest.fixture
def both(tmp_path: Path) -> Path:
    with Store(tmp_path / "one.db") as store:
        store.put(first())
    with Store(tmp_path / "both.db") as store:
        store.put(second())
        store.put(first())
    return tmp_path / "both.db"


def test_the_columns_of_the_other_study_are_empty(both: Path) -> None:
    table = load(both, where="task == 'alpha'")
    assert np.isnan(table.numbers("depth")).all()
    assert np.isnan(table.numbers("weight_decay")).all()
    assert set(table["schedule"]) == {""}
    assert table.notes == ()
    alone = load(both.with_name("one.db"))
    for name, column in alone.columns.items():
        np.testing.assert_array_equal(table[name], column)


@pytest.mark.parametrize(
    "verb", [("fit", "--law", "power"), ("optimum", "--at", "width=1024"), ("forecast", "--at", "width=1024")]
)
def test_one_of_two_studies_is_analysed_as_if_it_were_alone(
    both: Path, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]
) -> None:
    told: list[object] = []
    for path, more in ((both.with_name("one.db"), ()), (both, ("--where", "task == 'alpha'"))):
        assert execute([verb[0], str(path), *verb[1:], *more, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]


def test_who_does_not_choose_is_told_how(both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = f"{both} holds 2 tasks: alpha (25 trials), beta (12 trials). Choose one with --where \"task == 'alpha'\"."
    assert load(both).notes == (line,)
    assert execute(["trials", str(both)]) == 0
    assert line in " ".join(capsys.readouterr().err.split())
    assert execute(["fit", str(both), "--law", "power"]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    with Store(both, read_only=True) as store:
        store.export(tmp_path / "both.parquet")
    assert "holds 2 tasks" in load(tmp_path / "both.parquet").notes[0]


def test_nothing_depends_on_the_clock(tmp_path: Path) -> None:
    """Results whose files were written in the future, in the past, and in the wrong order."""
    tables: list[object] = []
    for name, times in (("now", (0, 1, 2)), ("wild", (4e9, 1, 86_400 * 365))):
        with Store(tmp_path / f"{name}.db") as store:
            for trial, at in zip(first()[:3], times, strict=True):
                os.utime(spool.write(store.spool, trial), (at, at))
            assert [each.id for each in store.ingest().trials] == sorted(each.id for each in first()[:3])
            store.put([first()[0]])
            tables.append((store.table().rows(), store.trials()))
    assert tables[0] == tables[1]
    # No table of a store has a time in it.
    with Store(tmp_path / "now.db") as store, store._transaction() as connection:
        names = {name for (name,) in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = {row[1] for name in names for row in connection.exec_driver_sql(f"PRAGMA table_info({name})")}
    assert not {each for each in columns if "time" in each or "date" in each or each.endswith("_at")}
