"""An export holds all of a store, and is data like any other table."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from scalelaw._store import rows as _rows_of
from scalelaw.cli._app import execute
from scalelaw.errors import DataError, StoreError
from scalelaw.importers import importers, recognise
from scalelaw.importing import import_into
from scalelaw.store import Store, load
from scalelaw.testing.importers import check_importer
from scalelaw.trial import Curve, Origin, Status, Trial, TrialSpec
from store_contract import trial
from test_spool import trials

KINDS = ("csv", "parquet", "jsonl")
ODD = ("=1+1", "-3", "'", "''=", '"', "a\r\nb", "\r", "a,b", "\x00", "\u2028", "", "-", "1e5", "\ud800")
odd_text = st.one_of(st.text(max_size=12), st.sampled_from(ODD))
odd_float = st.one_of(st.floats(allow_nan=False), st.sampled_from([math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2, 1e308]))
odd_curve = st.lists(st.tuples(st.integers(0, 2**60), odd_float), max_size=4).map(
    lambda points: Curve(tuple(step for step, _ in points), tuple(loss for _, loss in points))
)
parents = st.builds(TrialSpec, task=odd_text, scale=st.just({"width": 2.5}), hyperparameters=st.just({}))
parents = st.builds(TrialSpec, task=odd_text, scale=st.just({"width": 2.5}), hyperparameters=st.just({}))
specs = st.builds(
    TrialSpec,
    task=odd_text,
    scale=st.dictionaries(st.sampled_from(["width", "parameters"]), st.one_of(st.integers(1, 2**53), odd_text), max_size=2),
    hyperparameters=st.dictionaries(st.sampled_from(["learning_rate", "schedule"]), st.one_of(odd_float, odd_text), max_size=2),
    seed=st.integers(0, 99),
    task_options=st.dictionaries(st.sampled_from(["recipe", "x"]), odd_text, max_size=2),
    init_from=st.one_of(st.none(), parents),
)
odd_trials = st.builds(
    Trial,
    spec=specs,
    status=st.sampled_from(Status),
    loss=st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
    tokens=st.one_of(st.none(), odd_float),
    compute_rule=st.one_of(st.none(), odd_text),
    curve=st.one_of(st.none(), odd_curve),
    at_chance=st.booleans(),
    diverged_step=st.one_of(st.none(), st.integers(0, 2**60)),
    metrics=st.dictionaries(odd_text, odd_float, max_size=2),
    origin=st.sampled_from(Origin),
    error=st.one_of(st.none(), odd_text),
)


def bits(value: Any) -> Any:
    """A value that is equal only to itself: -0.0 is not 0.0."""
    match value:
        case float():
            return struct.pack("<d", value)
        case dict():
            return {key: bits(each) for key, each in value.items()}
        case list() | tuple():
            return [bits(each) for each in value]
        case _:
            return value


def held(path: Path) -> Any:
    """All that a store says of its trials."""
    with Store(path, read_only=True) as store:
        excluded = store.exclusions()
        sources = _rows(store)
        return bits([[each.to_dict() for each in store.trials()], store.tags(), excluded, store.provenance(), sources])


def _rows(store: Store) -> list[Any]:
    with store._transaction() as connection:
        return [(row["id"], row["loss"], row["source"], row["before"]) for row in _rows_of.read_rows(connection)]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], phases=[Phase.generate])
@given(
    found=st.lists(st.one_of(trials, odd_trials), min_size=1, max_size=4, unique_by=lambda each: each.id),
    source=st.one_of(st.none(), odd_text),
    reason=odd_text.filter(str.strip),
)
def test_a_store_comes_back_from_its_export(
    tmp_path_factory: pytest.TempPathFactory, kind: str, found: list[Trial], source: str | None, reason: str
) -> None:
    folder = tmp_path_factory.mktemp("whole")
    path, out, new = folder / "a.db", folder / f"out.{kind}", folder / "b.db"
    ids = [each.id for each in found]
    with Store(path) as store:
        store.put(found, source)
        imported = Trial(TrialSpec("imported", {"width": 1}, {}), Status.COMPLETE, 1.0, origin=Origin.IMPORTED)
        store.put_imported([(imported, ([1, 2], [0.1, math.inf]), {"importer": "csv", "run": "=r", "config": {"x": [1, None]}})])
        store.tag(ids[:2], "pilot", "größer")
        store.exclude(ids[1:], reason)
        assert store.export(out) == len(found) + 1
    result = import_into([out], new)
    assert (result.rows, result.added, result.known) == (len(found) + 1, len(found) + 1, 0)
    assert held(new) == held(path)
    again = import_into([out], new)
    assert (again.added, again.known) == (0, len(found) + 1)
    assert held(new) == held(path)
    with Store(new) as store:  # and once more: what comes back can be undone too
        store.include(ids)
    with Store(path) as store:
        store.include(ids)
    assert held(new) == held(path)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    with Store(path) as store:
        store.put(map(trial, range(6)))
        store.put([trial(7, Status.DIVERGED, last_loss=9.0), trial(8, metrics={"accuracy": 0.5, "own": 2.0})])
        store.tag([trial(0).id], "pilot", "old")
        store.exclude([trial(3).id], "=SUM(A1)")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_the_table_that_the_store_is(study: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / f"out.{kind}"
    with Store(study, read_only=True) as store:
        store.export(out)
    table, back = load(study), load(out)
    assert not back.ignored
    assert not back.notes
    assert set(back.columns) == set(table.columns)
    for name, column in table.columns.items():
        np.testing.assert_array_equal(back[name], column)
    assert load(out, where="'pilot' in tags and own != own")["seed"].tolist() == [0]
    assert load(out, outcome="own").finished["loss"].tolist() == [2.0]
    check_importer(importers["exported"], out, study)
    assert recognise(out).name == "exported"


@pytest.mark.parametrize("kind", KINDS)
def test_export_on_the_command_line(study: Path, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, plain, new = tmp_path / f"out.{kind}", tmp_path / f"plain.{kind}", tmp_path / "new.db"
    assert execute(["export", str(study), "-o", str(out), "--where", "width <= 16"]) == 0
    assert capsys.readouterr().out.startswith("Wrote 2 trials with ")
    assert execute(["import", str(out), "--storage", str(new)]) == 0
    assert " ".join(capsys.readouterr().out.split()) == f"Read 2 runs: 2 were added to {new}, 0 were there already."
    with Store(new, read_only=True) as store:
        assert store.trials() == sorted(map(trial, range(2)), key=lambda each: each.id)
        assert store.tags() == {trial(0).id: ("old", "pilot")}
    assert execute(["export", str(study), "-o", str(plain), "--table"]) == 0
    assert recognise(plain).name == kind
    assert execute(["trials", str(out), "--json", "--curves"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [each["curve"] for each in listed["trials"]] == [{"steps": [1, 2], "losses": [3.0, 2.0]}] * 2


def test_no_spreadsheet_takes_a_cell_for_a_formula(study: Path, tmp_path: Path) -> None:
    with Store(study, read_only=True) as store:
        store.export(tmp_path / "out.csv")
    frame = polars.read_csv(tmp_path / "out.csv", infer_schema=False)
    cells = [str(cell) for column in frame.columns for cell in frame[column].drop_nulls()]
    assert "'=SUM(A1)" in cells
    assert not any(cell.startswith(("=", "+", "@")) for cell in cells)
    assert load(tmp_path / "out.csv", where="status == 'EXCLUDED'")["reason"].tolist() == ["=SUM(A1)"]


def test_a_long_curve_fits_into_a_cell(tmp_path: Path) -> None:
    curve = Curve(tuple(range(40_000)), tuple(np.random.default_rng(0).normal(size=40_000).tolist()))
    with Store(tmp_path / "a.db") as store:
        store.put([trial(0, curve=curve)])
        store.export(tmp_path / "a.csv")
    import_into([tmp_path / "a.csv"], tmp_path / "b.db")
    assert held(tmp_path / "b.db") == held(tmp_path / "a.db")
    assert len(load(tmp_path / "a.csv")) == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('{"id"', "row 2"),
        ("", "row 2"),
        ("[]", "row 2"),
        ('{"id": "x"}', "row 2"),
        ('{"id": "0", "status": "COMPLETE", "spec": {"task": "t"}, "metrics": {}}', "row 2"),
        ("OTHER", "its id is not that of its settings"),
    ],
)
def test_what_holds_no_trial_is_told_and_nothing_is_stored(study: Path, tmp_path: Path, wrong: str, said: str) -> None:
    out, new = tmp_path / "out.jsonl", tmp_path / "new.db"
    with Store(study, read_only=True) as store:
        store.export(out)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    other = json.loads(lines[1]["scalelaw_trial"]) | {"id": trial(0).id}
    lines[1]["scalelaw_trial"] = json.dumps(other) if wrong == "OTHER" else wrong
    out.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    with pytest.raises(DataError) as caught:
        import_into([out], new)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    with Store(new, read_only=True) as store:
        assert len(store) == 0


def test_where_one_source_is_wrong_nothing_of_the_others_is_stored(study: Path, tmp_path: Path) -> None:
    with Store(study, read_only=True) as store:
        store.export(tmp_path / "good.csv")
    text = (tmp_path / "good.csv").read_text(encoding="utf-8")
    assert '""status"": ""' in text
    (tmp_path / "bad.csv").write_text(text.replace('""status"": ""', '""status"": ""UN'), encoding="utf-8")
    (tmp_path / "runs.csv").write_text("width,loss\n5,1.0\n6,2.0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"bad\.csv: row"):
        import_into([tmp_path / name for name in ("runs.csv", "good.csv", "bad.csv")], tmp_path / "new.db")
    with Store(tmp_path / "new.db") as store:
        assert len(store) == 0
    found = import_into([tmp_path / name for name in ("runs.csv", "good.csv")], tmp_path / "new.db")
    assert found.added == found.rows > 2


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), content=st.binary(max_size=3))
def test_any_damage_is_read_or_told_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: float, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    with Store(folder / "a.db") as store:
        store.put([trial(0), trial(1)])
        store.export(folder / f"a.{kind}")
    path = folder / f"a.{kind}"
    whole = path.read_bytes()
    cut = int(place * len(whole))
    path.write_bytes(whole[:cut] + content + whole[cut + len(content) :] if content else whole[:cut])
    for read in (lambda: import_into([path], folder / "b.db"), lambda: load(path)):
        told = ""
        try:
            read()
        except (DataError, StoreError) as error:
            told = str(error)
        assert "\n" not in told


def test_an_old_store_is_exported_as_it_is(tmp_path: Path) -> None:
    old = Path(shutil.copy(Path(__file__).parent / "stores" / "schema1.db", tmp_path / "old.db"))
    with Store(old, read_only=True) as store:
        store.export(tmp_path / "old.parquet")
    import_into([tmp_path / "old.parquet"], tmp_path / "new.db")
    assert held(tmp_path / "new.db") == held(old)


@pytest.mark.parametrize(("ending", "table"), [("parquet", False), ("parquet", True), ("csv", True), ("jsonl", True)])
def test_a_full_disk_is_told_of_the_file_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: str, table: bool
) -> None:
    """polars says that the file is out of its specification, or gives an OSError without its number."""
    with Store(tmp_path / "study.db") as store:
        store.put([trial(0)])

    def fail(_: polars.DataFrame, path: Path) -> None:
        path.write_text("half")
        raise polars.exceptions.ComputeError("parquet: File out of specification") if ending == "parquet" else OSError("no space")

    for writer in ("write_parquet", "write_csv", "write_ndjson"):
        monkeypatch.setattr(polars.DataFrame, writer, fail)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    output = tmp_path / f"all.{ending}"
    assert execute(["export", str(tmp_path / "study.db"), "-o", str(output), *(["--table"] if table else [])]) == 2
    assert capsys.readouterr().err == f"scalelaw: {output}: the disk is full. Free some space and run the same command again.\n"
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]
