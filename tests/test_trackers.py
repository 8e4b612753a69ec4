"""Runs of other tools: real files that the real tools wrote, read back against the formula that was logged."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
import sys
import types
from pathlib import Path

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.world import GONE, RUNS, STEPS, Run
from scalelaw.errors import InputError
from scalelaw.importers import Found, Reading, Series, TrackedRun, importers, parse_final, recognise
from scalelaw.importers._crc import crc32c
from scalelaw.importers._loss import choose
from scalelaw.importers._tracked import gather
from scalelaw.importers._yaml import read_yaml
from scalelaw.importers.plain_log import _record
from scalelaw.importing import import_into
from scalelaw.logs import read_runs
from scalelaw.store import Store, load
from scalelaw.testing.importers import check_importer
from scalelaw.trial import Status

FIXTURES = Path(__file__).resolve().parent / "fixtures"


def run_of(row: dict[str, object]) -> Run:
    """The run of the sample that a row is, by its width and rate."""
    return next(run for run in RUNS if run.width == row["width"] and math.isclose(run.rate, float(str(row["learning_rate"]))))


def check_truth(found: Found, *, first: int = 1, curve: str = "train", loss: str = "eval") -> None:
    """Every finished or diverged run of the sample is as the formula says."""
    seen = 0
    for row, series in zip(found.table.rows(), found.curves, strict=True):
        if row["status"] not in ("COMPLETE", "DIVERGED"):
            continue
        run, seen = run_of(row), seen + 1
        assert row["status"] == ("DIVERGED" if run.diverges else "COMPLETE")
        final = run.eval_loss(STEPS) if loss == "eval" else run.train_loss(STEPS)
        assert row["loss"] is None if run.diverges else row["loss"] == pytest.approx(final, rel=1e-6)
        if "parameters" in row and row["parameters"] is not None:
            assert row["parameters"] == run.parameters
        if "tokens" in row and row["tokens"] is not None:
            assert row["tokens"] == run.tokens
            assert row["compute"] == pytest.approx(6 * run.parameters * run.tokens)
        if curve == "train":
            assert series is not None
            upto = GONE - 1 if run.diverges else STEPS
            here = series.steps <= upto
            np.testing.assert_array_equal(series.steps[here], np.arange(first, upto + 1))
            truth = [run.train_loss(int(step)) for step in series.steps[here]]
            np.testing.assert_allclose(series.values[here], truth, rtol=1e-6)
            assert not np.isfinite(series.values[~here]).any()
    assert seen >= len(RUNS)


def told(path: Path, **options: object) -> str:
    """The one line with which a source is refused."""
    with pytest.raises(InputError) as caught:
        recognise(path).gather(path, Reading(**options))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name", [path.name for path in sorted(FIXTURES.iterdir()) if path.is_dir() and path.name != "__pycache__"]
)
def test_a_sample_is_known_by_itself_and_stored_once(name: str, tmp_path: Path) -> None:
    path, store = FIXTURES / name, tmp_path / "study.db"
    first = import_into([path], store)
    again = import_into([path], store)
    assert first.added == first.rows >= len(RUNS)
    assert (again.added, again.known) == (0, first.rows)
    assert not any("new store" in note for note in again.notes)
    with Store(store, read_only=True) as opened:
        origins = opened.provenance()
        assert len(origins) == len(opened) == first.rows
        trials = {trial.id: trial for trial in opened.trials()}
        for key, origin in origins.items():
            assert (trials[key].curve is not None) == bool(origin["records"])
            assert origin["place"]
    table = load(store)
    assert sorted(table["status"]) == sorted(load(path)["status"])


# ---- Weights & Biases ---------------------------------------------------------------------------------------------------

WANDB = FIXTURES / "wandb"


def test_wandb_folders_are_read_without_wandb(tmp_path: Path) -> None:
    found = importers["wandb_offline"].gather(WANDB, Reading())
    check_truth(found)
    status = dict(zip(found.table["id"], found.table["status"], strict=True))
    assert status["raised64x0p001"] == "FAILED"
    assert status["killed64x0p01"] == "LOST"
    errors = {origin["run"]: origin["error"] for origin in found.provenance}
    assert errors["raised64x0p001"] == "exit code 1"
    assert "no exit record" in errors["killed64x0p01"]
    assert {origin["diverged_step"] for origin in found.provenance if origin["run"] == "run128x1"} == {GONE}
    assert set(found.table["task"]) == {"ladder"}
    assert not any(origin["sampled"] for origin in found.provenance)
    # Words, lists, histograms and nothing at all were logged too; a number in an object is a metric.
    assert load(WANDB, outcome="inner.accuracy").finished["loss"].tolist() == [STEPS / 100] * 4
    one = next(WANDB.glob("*-run64x0p01"))
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    check_importer(importers["wandb_offline"], WANDB, stranger)
    assert recognise(one / "run-run64x0p01.wandb").name == "wandb_offline"
    assert load(one)["loss"].tolist() == [pytest.approx(RUNS[1].eval_loss(STEPS))]


def test_a_wandb_log_that_is_cut_off_gives_what_stands_before(tmp_path: Path) -> None:
    source = next(WANDB.glob("*-run64x0p001")) / "run-run64x0p001.wandb"
    content = source.read_bytes()
    path = tmp_path / source.name
    before = 0
    for size in range(4_000, len(content), 1_111):
        path.write_bytes(content[:size])
        found = importers["wandb_offline"].gather(path, Reading(mapping={"loss": "train/loss"}))
        assert found.table["status"].tolist() == ["LOST"]
        assert found.curves[0] is not None
        steps = found.curves[0].steps
        np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
        assert len(steps) >= before
        before = len(steps)
    assert before > 50
    damaged = bytearray(content)
    damaged[12_000] ^= 0xFF
    path.write_bytes(damaged)
    found = importers["wandb_offline"].gather(path, Reading(mapping={"loss": "train/loss"}))
    assert any("cut off or damaged" in note for note in found.table.notes)
    path.write_bytes(content[:40])
    assert "ends before it says which run it is" in told(path)
    path.write_bytes(b"")
    assert "the file is empty" in told(tmp_path)
    shutil.copy(next(WANDB.rglob("run-run128x1.wandb")), tmp_path)
    found = importers["wandb_offline"].gather(tmp_path, Reading())
    assert found.table["id"].tolist() == ["run128x1"]
    assert any("1 file is left out" in note and str(path) in note for note in found.table.notes)


def test_a_run_that_was_still_going_is_replaced_once_it_has_ended(tmp_path: Path) -> None:
    source = next(WANDB.glob("*-run64x0p001")) / "run-run64x0p001.wandb"
    path, store = tmp_path / source.name, tmp_path / "study.db"
    path.write_bytes(source.read_bytes()[:15_000])
    assert import_into([path], store).added == 1
    assert load(store)["status"].tolist() == ["LOST"]
    shutil.copy(source, path)
    assert import_into([path], store).added == 1
    table = load(store)
    assert table["status"].tolist() == ["COMPLETE"]
    assert import_into([path], store, final="last").notes[-1].startswith("1 run is there already with val/loss, mean of")
    assert read_runs(store).known == 1


def test_a_resumed_run_is_one_run(tmp_path: Path) -> None:
    source = next(WANDB.glob("*-run64x0p001")) / "run-run64x0p001.wandb"
    for when, size in (("20260101_000000", 15_000), ("20260102_000000", None)):
        folder = tmp_path / f"offline-run-{when}-run64x0p001"
        folder.mkdir()
        (folder / source.name).write_bytes(source.read_bytes()[:size])
    found = importers["wandb_offline"].gather(tmp_path, Reading())
    assert found.table["status"].tolist() == ["COMPLETE"]
    check = found.curves[0]
    assert check is not None
    np.testing.assert_array_equal(check.steps, np.arange(1, STEPS + 1))
    assert any("1 run was restarted" in note for note in found.table.notes)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200), st.integers(0, 20_000))
def test_any_damage_to_a_wandb_log_is_told_in_one_line(tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int) -> None:
    content = bytearray((next(WANDB.glob("*-run64x0p001")) / "run-run64x0p001.wandb").read_bytes())
    content[at : at + len(noise)] = noise
    path = tmp_path_factory.mktemp("noise") / "run-x.wandb"
    path.write_bytes(content)
    message = ""
    try:
        importers["wandb_offline"].gather(path, Reading(mapping={"loss": "train/loss"}))
    except InputError as error:
        message = str(error)
    assert "\n" not in message


# ---- what is the same for all -------------------------------------------------------------------------------------------


def test_the_rules_for_the_final_loss() -> None:
    steps = np.arange(1.0, 101.0)
    values = 2 + 1 / steps
    values[49] = 1.0
    assert parse_final("last").of(steps, values) == values[-1]
    assert parse_final("min").of(steps, values) == 1.0
    assert parse_final("mean:5%").of(steps, values) == pytest.approx(values[94:].mean())
    assert parse_final("mean").of(steps[::10], values[::10]) == values[90]
    average = values[0]
    for value in values[1:]:
        average = 0.9 * average + 0.1 * value
    assert parse_final("ema:0.9").of(steps, values) == pytest.approx(average)
    for rule in ("last", "min", "mean", "ema"):
        assert math.isnan(parse_final(rule).of(steps, np.where(steps > 99, np.nan, values)) or 0.0)
        assert parse_final(rule).of(steps[:0], steps[:0]) is None
    for wrong in ("median", "mean:200%", "ema:1", "last:3", "mean:x"):
        with pytest.raises(InputError, match=r"--final"):
            parse_final(wrong)


def test_steps_that_go_back_are_a_restart() -> None:
    series, back = Series.of([1, 2, 3, 4, 3, 4, 5, np.nan], [1, 2, 3, 4, 30, 40, 50, 9]).merged()
    assert (series.steps.tolist(), series.values.tolist(), back) == ([1, 2, 3, 4, 5], [1, 2, 30, 40, 50], 1)


def test_a_long_table_becomes_runs_with_curves_in_every_format(tmp_path: Path) -> None:

    rows = [
        {"run_id": run.name, "step": step, "train/loss": run.train_loss(step), "n_embd": run.width, "lr": run.rate_at(step)}
        | ({"val/loss": run.eval_loss(step)} if step % 20 == 0 else {"val/loss": None})
        | {"n_params": run.parameters, "seed": run.seed, "state": "finished"}
        for step in range(1, STEPS + 1)
        for run in RUNS
    ]
    frame = polars.DataFrame(rows, infer_schema_length=None)
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        found = recognise(tmp_path / name).gather(tmp_path / name, Reading())
        check_truth(found)
        assert import_into([tmp_path / name], tmp_path / f"{name}.db").curves == len(RUNS)
    named = tmp_path / "named.csv"
    frame.rename({"run_id": "trial", "step": "t"}).write_csv(named)
    found = recognise(named).gather(named, Reading({"id": "trial", "step": "t"}))
    check_truth(found)
    assert set(found.table["id"]) == {run.name for run in RUNS}
    assert not found.table.ignored


def test_half_a_line_of_json_is_one_line_and_stores_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1, "loss": 3}\n{"step": 2, "lo', encoding="utf-8")
    assert "line 2: not valid JSON" in told(path)
    with pytest.raises(InputError):
        import_into([WANDB, path], tmp_path / "study.db")
    assert not (tmp_path / "study.db").exists()


def test_what_a_law_needs_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("width,lr,loss\n64,1e-3,3\n128,1e-3,2.5\n", encoding="utf-8")
    note = import_into([path], tmp_path / "study.db").notes[-1]
    assert "A law over N and D needs N (parameters) and D (tokens)" in note
    assert "--map parameters=COLUMN, tokens=COLUMN" in note
    path.write_text("params,C,loss\n1e6,6e14,3\n2e6,2.4e15,2.5\n", encoding="utf-8")
    found = import_into([path], tmp_path / "other.db")
    assert found.needs["tokens"] == {"given": 0, "derived": 2, "missing": 0}
    np.testing.assert_allclose(load(tmp_path / "other.db")["tokens"], [1e8, 2e8])


# ---- TensorBoard --------------------------------------------------------------------------------------------------------

BOARD = FIXTURES / "tensorboard"


def test_event_files_are_read_whole_by_simple_value_and_by_tensor(tmp_path: Path) -> None:
    found = importers["tensorboard"].gather(BOARD, Reading())
    assert len(found.table) == len(RUNS)
    check_truth(found)
    restarted = {origin["name"]: origin["restarts"] for origin in found.provenance}
    assert restarted[RUNS[0].name] == 1
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    check_importer(importers["tensorboard"], BOARD, stranger)
    alone = next((BOARD / RUNS[4].name).iterdir())
    assert recognise(alone).name == "tensorboard"
    assert load(alone)["status"].tolist() == ["DIVERGED"]


def test_an_event_file_that_is_damaged_is_read_up_to_there(tmp_path: Path) -> None:
    source = next((BOARD / RUNS[3].name).iterdir())
    content = bytearray(source.read_bytes())
    path = tmp_path / source.name
    for at, change in ((5_000, 0xFF), (len(content) - 3, None)):
        changed = bytearray(content)
        if change is None:
            del changed[at:]
        else:
            changed[at] ^= change
        path.write_bytes(changed)
        found = importers["tensorboard"].gather(path, Reading(mapping={"loss": "train/loss"}))
        assert found.curves[0] is not None
        steps = found.curves[0].steps
        np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
        assert any("cut off or damaged" in note for note in found.table.notes)
    path.write_bytes(b"nothing of the kind")
    assert "not an event file" in told(tmp_path)


def test_the_checksum_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA


def test_yaml_makes_nothing_but_plain_values() -> None:
    text = "a: 1\nb:\n  c: 1e-3\nt: !!python/tuple\n- 0.9\n- 0.95\ne: !!python/object/apply:os.system\n  args: [ls]\nf: 'x: y'\n"
    assert read_yaml(text) == {"a": 1, "b": {"c": 1e-3}, "f": "x: y"}
    assert read_yaml("&a [*a, *a]\n" * 10 + "? x\n") == {}


# ---- MLflow -------------------------------------------------------------------------------------------------------------


def test_mlflow_is_read_from_files_and_from_its_database(tmp_path: Path) -> None:
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    for name, folder in (
        ("mlflow_files", FIXTURES / "mlflow_files"),
        ("mlflow_sqlite", FIXTURES / "mlflow_sqlite" / "mlflow.db"),
    ):
        found = importers[name].gather(folder, Reading())
        check_truth(found)
        assert set(found.table["task"]) == {"ladder"}
        assert found.table["seconds"].tolist() == [90.0] * len(found.table)
        check_importer(importers[name], folder, stranger)
    database = importers["mlflow_sqlite"].read(FIXTURES / "mlflow_sqlite")
    # One run failed; one was deleted and is not there.
    assert sorted(database["status"]) == ["COMPLETE"] * 4 + ["DIVERGED", "FAILED"]


def test_mlflows_nan_is_no_zero(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    shutil.copy(FIXTURES / "mlflow_sqlite" / "mlflow.db", path)
    with sqlite3.connect(path) as connection:
        stored = connection.execute("SELECT DISTINCT value FROM metrics WHERE is_nan = 1").fetchall()
        assert stored == [(0.0,)]  # what the real library wrote for NaN
        connection.execute("UPDATE metrics SET value = 1.7976931348623157e308, is_nan = 0 WHERE is_nan = 1")
    connection.close()
    table = importers["mlflow_sqlite"].read(path)
    assert table["status"].tolist().count("DIVERGED") == 1
    assert not (table.numbers("loss") == 0).any()


def test_mlflow_metrics_without_steps_are_counted_and_torn_lines_told(tmp_path: Path) -> None:
    folder = tmp_path / "mlruns"
    shutil.copytree(FIXTURES / "mlflow_files", folder)
    file = next(folder.rglob("train/loss"))
    lines = [line.rsplit(" ", 1)[0] for line in file.read_text(encoding="utf-8").splitlines()]
    file.write_text("\n".join(lines) + "\n1700", encoding="utf-8")
    check_truth(importers["mlflow_files"].gather(folder, Reading()))
    file.write_text("1 2 3\noops\n1 2 4\n", encoding="utf-8")
    wrong = "line 2: 'oops' is not time, value, step"
    assert wrong in told(file.parents[2])
    found = importers["mlflow_files"].gather(folder, Reading())
    assert len(found.table) == len(RUNS) - 1
    assert any("1 file is left out" in note and wrong in note for note in found.table.notes)


# ---- Optuna -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "file"), [("optuna_sqlite", "optuna.db"), ("optuna_journal", "journal.log")])
def test_optuna_is_read_from_its_database_and_its_journal(name: str, file: str, tmp_path: Path) -> None:
    path = FIXTURES / name / file
    found = importers[name].gather(path, Reading())
    check_truth(found, curve="eval")
    table = found.table
    # Width was a categorical choice: stored as 0 and 1, read as 64 and 128.
    assert set(table["width"]) == {64.0, 128.0}
    assert sorted(table["status"]) == ["COMPLETE"] * 4 + ["DIVERGED", "FAILED", "PRUNED"]
    complete = [curve for curve, status in zip(found.curves, table["status"], strict=True) if status == "COMPLETE"]
    assert all(curve is not None and len(curve.steps) == STEPS for curve in complete)
    assert np.isfinite(table.numbers("seconds")).all()
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    check_importer(importers[name], path, stranger)


def test_optunas_two_stores_hold_the_same(tmp_path: Path) -> None:
    one, other = (importers[name].read(FIXTURES / name) for name in ("optuna_sqlite", "optuna_journal"))
    for column in ("id", "learning_rate", "loss", "status", "parameters", "tokens"):
        np.testing.assert_array_equal(one[column], other[column])
    text = (FIXTURES / "optuna_journal" / "journal.log").read_text(encoding="utf-8")
    path = tmp_path / "journal.log"
    path.write_text(text + '{"op_code": 7, "tri', encoding="utf-8")
    assert "cut off" in " ".join(importers["optuna_journal"].read(path).notes)
    path.write_text(text.replace('"op_code":7', '"op_code:7', 1), encoding="utf-8")
    assert "no operation of Optuna" in told(path)


# ---- Trackio ------------------------------------------------------------------------------------------------------------


def test_trackio_is_read_from_its_database(tmp_path: Path) -> None:
    path = FIXTURES / "trackio" / "ladder.db"
    found = importers["trackio"].gather(path, Reading())
    check_truth(found)
    assert set(found.table["task"]) == {"ladder"}
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    check_importer(importers["trackio"], path, stranger)


def test_a_database_of_nobody_is_told_and_a_damaged_one_too(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (a)")
    connection.close()
    with pytest.raises(InputError, match="not a scalelaw store"):
        load(path)
    with pytest.raises(InputError, match="no importer knows"):
        import_into([path], tmp_path / "study.db")
    content = bytearray((FIXTURES / "mlflow_sqlite" / "mlflow.db").read_bytes())
    content[8192:60_000] = b"\xff" * (60_000 - 8192)
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        import_into([path], tmp_path / "study.db")
    assert "\n" not in str(caught.value)


# ---- Hugging Face Trainer, Lightning ------------------------------------------------------------------------------------


def test_the_trainers_state_is_read_with_sizes_and_flops(tmp_path: Path) -> None:
    path = FIXTURES / "hf_trainer"
    found = importers["hf_trainer"].gather(path, Reading())
    table = found.table
    assert len(table) == len(RUNS)
    for row, curve, origin in zip(table.rows(), found.curves, found.provenance, strict=True):
        run = run_of(row)
        assert row["status"] == ("DIVERGED" if run.diverges else "COMPLETE")
        assert row["loss"] is None if run.diverges else row["loss"] == pytest.approx(run.eval_loss(STEPS), rel=1e-6)
        assert row["tokens"] == run.tokens
        # Counted from the header of the weights, and by the library for its FLOPs: the same number.
        assert row["compute"] == 6 * row["parameters"] * row["tokens"]
        assert row["parameters"] == pytest.approx(run.parameters, rel=0.03)
        assert row["embedding_parameters"] == (16 + 32) * run.width
        assert origin["given"] == ["parameters", "tokens", "compute"]
        assert curve is not None
        truth = [run.train_loss(step) for step in range(1, GONE)]
        np.testing.assert_allclose(curve.values[: GONE - 1], truth, rtol=1e-6)
    stranger = tmp_path / "a.png"
    stranger.write_bytes(b"\x89PNG")
    check_importer(importers["hf_trainer"], path, stranger)
    one = path / RUNS[0].name
    assert load(one / "checkpoint-40")["status"].tolist() == ["PRUNED"]
    assert load(one)["loss"].tolist() == [pytest.approx(RUNS[0].eval_loss(STEPS), rel=1e-6)]
    broken = tmp_path / "trainer_state.json"
    broken.write_text('{"log_history": [', encoding="utf-8")
    assert "not valid JSON" in told(broken)
    broken.write_text("[]", encoding="utf-8")
    assert "no log_history" in told(broken)


def test_lightnings_csv_is_read_with_its_settings(tmp_path: Path) -> None:
    path = FIXTURES / "lightning_csv"
    found = importers["lightning_csv"].gather(path, Reading())
    check_truth(found)
    stranger = tmp_path / "a.csv"
    stranger.write_text("width,loss\n64,3\n", encoding="utf-8")
    check_importer(importers["lightning_csv"], path, stranger)
    assert recognise(path / "version_1" / "metrics.csv").name == "lightning_csv"
    # Without settings the rate is the peak of those logged, and the settings are made of nothing but plain values.
    shutil.copy(path / "version_0" / "metrics.csv", tmp_path / "metrics.csv")
    assert load(tmp_path / "metrics.csv")["learning_rate"].tolist() == [RUNS[0].rate]
    (tmp_path / "hparams.yaml").write_text("lr: !!python/object/apply:os.getcwd []\nn_embd: 64\n", encoding="utf-8")
    table = load(tmp_path / "metrics.csv")
    assert table["width"].tolist() == [64]
    assert table["learning_rate"].tolist() == [RUNS[0].rate]


# ---- logs ---------------------------------------------------------------------------------------------------------------


def test_what_nanogpt_prints_is_a_run(tmp_path: Path) -> None:
    path = FIXTURES / "plain_log"
    found = importers["plain_log"].gather(path, Reading())
    assert len(found.table) == len(RUNS)
    for row, curve in zip(found.table.rows(), found.curves, strict=True):
        run = run_of(row)
        assert row["status"] == ("DIVERGED" if run.diverges else "COMPLETE")
        assert row["loss"] is None if run.diverges else row["loss"] == pytest.approx(run.eval_loss(STEPS), abs=1e-4)
        assert row["tokens"] == run.tokens
        assert row["parameters"] == pytest.approx(run.parameters, rel=0.05)  # printed as 0.10M
        assert curve is not None
        truth = [run.train_loss(step) for step in range(1, GONE)]
        np.testing.assert_allclose(curve.values[: GONE - 1], truth, atol=1e-4)
    stranger = tmp_path / "a.txt"
    stranger.write_text("width,loss\n64,3\n", encoding="utf-8")
    check_importer(importers["plain_log"], path, stranger)
    assert recognise(stranger).name == "csv"


@pytest.mark.parametrize(
    ("line", "metrics"),
    [
        ("iter 7: loss 4.2500, time 12.34ms, mfu 3.21%", {"loss": 4.25}),
        ("step 7: train loss 3.1, val loss 3.2", {"train_loss": 3.1, "val_loss": 3.2}),
        ("[2026-01-01 10:00:00] INFO step=7 | train_loss=4.2 | lr=3e-4", {"train_loss": 4.2, "lr": 3e-4}),
        ("{'loss': 2.3, 'learning_rate': 0.001, 'step': 7}", {"loss": 2.3, "learning_rate": 0.001}),
        ("step:7/1390 train_loss:10.8258 train_time:0ms step_avg:nanms", {"train_loss": 10.8258}),
        ("Step 7/2,000 loss: inf", {"loss": math.inf}),
        ("warmup step 7 begins", None),
        ("loss 3 without what it counts by", None),
    ],
)
def test_lines_with_a_step_and_a_loss(line: str, metrics: dict[str, float] | None) -> None:
    record = _record(line)
    assert (record is None) == (metrics is None)
    assert record is None or (record[0], record[1]) == (7.0, metrics)


def test_any_other_layout_is_read_with_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    path.write_text(
        "".join(f"| epoch 1 | {10 * n:5d}/ 100 batches | ppl 9 | nll={5 - n / 10} |\n" for n in range(1, 11)), encoding="utf-8"
    )
    pattern = r"(?P<step>\d+)/ 100 batches.*nll=(?P<nll>\S+)"
    found = importers["plain_log"].gather(path, Reading(pattern=pattern))
    assert found.table["loss"].tolist() == [4.0]
    assert found.curves[0] is not None
    np.testing.assert_array_equal(found.curves[0].steps, np.arange(10, 101, 10))
    for wrong in ("(", "(?P<step>a)", "(?P<loss>a)(?P<x>b)"):
        with pytest.raises(InputError, match=r"--pattern"):
            importers["plain_log"].gather(path, Reading(pattern=wrong))
    with pytest.raises(InputError, match="no line holds a step and a loss"):
        importers["plain_log"].gather(path, Reading())


# ---- W&B: exports and server --------------------------------------------------------------------------------------------


def test_wandbs_exports_are_a_table_and_samples(tmp_path: Path) -> None:
    table = tmp_path / "wandb_export_table.csv"
    head = '"Name","State","Created","Runtime","Sweep","n_embd","optim.lr","n_params","train/loss","val/loss"\n'
    states = ["finished", "finished", "finished", "crashed", "finished"]
    rows = [
        f'"{run.name}","{state}","2026-01-01T00:00:00.000Z","90","","{run.width}","{run.rate}","{run.parameters}",'
        f'"{run.train_loss(STEPS)}","{"NaN" if run.diverges else run.eval_loss(STEPS)}"\n'
        for run, state in zip(RUNS, states, strict=True)
    ]
    table.write_text(head + "".join(rows), encoding="utf-8")
    assert recognise(table).name == "wandb_csv"
    read = load(table)
    assert sorted(read["status"]) == ["COMPLETE", "COMPLETE", "COMPLETE", "DIVERGED", "FAILED"]
    for row in read.rows():
        assert row["status"] != "COMPLETE" or row["loss"] == pytest.approx(run_of(row).eval_loss(STEPS))
    check_importer(importers["wandb_csv"], table, next(WANDB.rglob("*.wandb")))
    chart = tmp_path / "wandb_export_chart.csv"
    names = [f'"{run.name} - train/loss","{run.name} - train/loss__MIN","{run.name} - train/loss__MAX"' for run in RUNS[:2]]
    lines = [
        ",".join([f'"{step}"', *(f'"{run.train_loss(step)}"' for run in RUNS[:2] for _ in range(3))]) for step in range(1, 61, 7)
    ]
    chart.write_text("\n".join(['"Step",' + ",".join(names), *lines]) + "\n", encoding="utf-8")
    found = import_into([chart], tmp_path / "study.db")
    assert (found.rows, found.curves, found.sampled) == (2, 2, 2)
    assert any("no final loss is taken" in note for note in found.notes)
    assert load(tmp_path / "study.db")["status"].tolist() == ["FAILED", "FAILED"]


def as_json(value: float) -> float | str:
    """As the server sends it."""
    return value if math.isfinite(value) else "NaN"


class _FakeRun:
    """What `wandb.Api().runs(...)` gives, as far as it is used; there is no server to test against."""

    def __init__(self, run: Run) -> None:
        self.id, self.name, self.state = run.name, run.name, "finished"
        self.config = {**run.config, "_wandb": {}}
        self.summary_metrics = {"train/loss": 1.0, "_runtime": 9, "best": {"accuracy": 0.5}}
        self._run = run

    def scan_history(self, keys: object = None, page_size: int = 0) -> list[dict[str, object]]:
        assert keys is None, "keys leave out rows that lack one"
        assert page_size > 500
        return [
            {
                "_step": step,
                "_runtime": step,
                "train/loss": as_json(self._run.train_loss(step)),
            }
            | ({"val/loss": self._run.eval_loss(step)} if step % 20 == 0 else {})
            for step in range(1, STEPS + 1)
        ]

    def history(self, *_: object, **__: object) -> None:
        raise AssertionError("a sample is never read")


def test_wandbs_server_is_asked_for_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Api:
        def runs(self, path: str) -> list[_FakeRun]:
            if path != "me/ladder":
                raise ValueError(f"Could not find project {path}\nmore lines")
            return [_FakeRun(run) for run in RUNS]

    fake = types.ModuleType("wandb")
    fake.Api = Api
    monkeypatch.setitem(sys.modules, "wandb", fake)
    found = recognise(Path("wandb:me/ladder")).gather(Path("wandb:me/ladder"), Reading())
    check_truth(found)
    assert (
        recognise(Path("wandb:me/ladder")).read(Path("wandb:me/ladder"), keep=["best.accuracy"])["best.accuracy"].tolist()
        == [0.5] * 5
    )
    assert import_into(["wandb://me/ladder"], tmp_path / "study.db").added == len(RUNS)
    for wrong, part in (("wandb:me/nothing", "W&B does not give it"), ("wandb:ladder", "names no project")):
        assert part in told(Path(wrong))
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert "pip install 'scalelaw[wandb]'" in told(Path("wandb:me/ladder"))


# ---- what SECURITY.md promises ------------------------------------------------------------------------------------------


def test_no_link_leads_out_of_a_folder(tmp_path: Path) -> None:
    inside, outside = tmp_path / "runs", tmp_path / "private"
    shutil.copytree(next(WANDB.glob("*-run64x0p01")), inside / "offline-run-1")
    shutil.copytree(next(WANDB.glob("*-run128x1")), outside / "offline-run-2")
    (inside / "linked").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / "run-stolen.wandb").symlink_to(next(outside.rglob("*.wandb")))
    assert load(inside)["id"].tolist() == ["run64x0p01"]
    shutil.copytree(FIXTURES / "mlflow_files", tmp_path / "mlruns")
    params = next((tmp_path / "mlruns").rglob("params"))
    (tmp_path / "secret").write_text("1234", encoding="utf-8")
    (params / "n_head").symlink_to(tmp_path / "secret")
    found = importers["mlflow_files"].gather(tmp_path / "mlruns", Reading())
    assert not any("n_head" in origin["config"] for origin in found.provenance)


def test_a_parquet_file_that_would_unpack_to_too_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    polars.DataFrame({"loss": [1.0] * 200_000}).write_parquet(path)
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("scalelaw.importers._frame.MOST_CELLS", 100_000)
    assert "unpacks to 200,000 rows of 1 columns; at most 100,000" in told(path)


def test_reading_a_database_leaves_nothing_beside_it(tmp_path: Path) -> None:
    for name in ("trackio", "mlflow_sqlite", "optuna_sqlite"):
        folder = tmp_path / name
        shutil.copytree(FIXTURES / name, folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        load(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_a_file_says_stays_on_its_line_and_gives_no_orders_to_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('width,"lo\x1b[31m\nss",recipe\n64,3,"a\x1b]0;x\nb"\n', encoding="utf-8")
    message = told(path)
    assert message.isprintable()
    assert load(path, {"loss": "lo\x1b[31m\nss"})["recipe"].tolist() == ["a ]0;x b"]
    deep = tmp_path / "a.jsonl"
    deep.write_text('{"loss": ' + '{"a":' * 50_000 + "1" + "}" * 50_001, encoding="utf-8")
    assert "\n" not in told(deep)


def test_progress_is_told_and_other_settings_too(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    store = tmp_path / "study.db"
    import_into([WANDB], store, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(place, 7) for place in range(1, 8)]
    again = import_into([WANDB], store, {"parameters": "n_embd"})
    assert again.added == 2  # those that had not ended make way
    assert "5 runs are there already, read with other settings" in again.notes[-1]


def test_a_tracker_is_data_for_every_command() -> None:
    runs = read_runs(WANDB)
    assert runs.known == 4
    curve = next(curve for curve in runs.curves if curve is not None)
    assert curve.total == STEPS
    assert len(curve) == STEPS


# ---- how a run is judged ------------------------------------------------------------------------------------------------


def tracked(name: str, steps: int = 100, **config: object) -> TrackedRun:
    """A run that logged a loss at each step."""
    return TrackedRun(name, "here", config, {"loss": Series.of(range(1, steps + 1), 3 - np.arange(steps) / 1000)})


def judged(*runs: TrackedRun, **options: object) -> Found:
    """The table of runs."""
    return gather("x", runs, Path("here"), Reading(**options))


def test_a_run_without_a_status_is_judged_by_its_steps() -> None:
    found = judged(tracked("a", max_steps=100), tracked("b", max_steps=200), tracked("c"), tracked("d", max_steps=-1))
    assert found.table["status"].tolist() == ["COMPLETE", "PRUNED", "COMPLETE", "COMPLETE"]
    assert np.isnan(found.table["steps"][3])
    assert any("max_steps is '-1' in 1 run: not given" in note for note in found.table.notes)
    # Counted from 0, the last of 100 steps is 99.
    zero = TrackedRun("e", "here", {"max_steps": 10}, {"loss": Series.of(range(10), np.arange(10, 0, -1))})
    assert judged(zero).table["status"].tolist() == ["COMPLETE"]


def test_tokens_count_accumulated_batches_and_not_twice() -> None:
    sizes = {"max_steps": 100, "context_length": 8, "gradient_accumulation_steps": 4}
    found = judged(tracked("a", batch_size=2, **sizes), tracked("b", train={"x": 1}, batch_size=2, **sizes))
    assert found.table["tokens"].tolist() == [100 * 2 * 8 * 4] * 2
    assert found.provenance[0]["derived"]["tokens"] == "steps x batch_size x context x accumulation"
    assert judged(tracked("a", global_batch_size=2, **sizes)).table["tokens"].tolist() == [100 * 2 * 8]
    # Steps that are not given are those that were done, of a run that was done.
    unsaid = {"batch_size": 2, "context_length": 8}
    stopped = TrackedRun("s", "here", unsaid, tracked("s").series, status=Status.FAILED)
    found = judged(tracked("a", **unsaid), stopped)
    assert found.table.rows()[0]["tokens"] == 1600
    assert found.provenance[1]["missing"] == ["parameters", "tokens", "compute"]


def test_the_loss_is_the_one_held_out_unless_another_is_named() -> None:
    assert choose([{"train_loss", "val_loss"}, {"train_loss", "val_loss", "z_loss"}], None, (), "x")[0] == "val_loss"
    assert choose([{"train/loss"}, {"train/loss"}, {"train/loss", "eval/loss"}], None, (), "x")[0] == "train/loss"
    assert choose([{"loss"}, {"eval_c4_loss"}], "eval_c4_loss", (), "x") == ("eval_c4_loss", ["loss"])
    assert choose([{"eval/loss"}], "loss", (), "x")[0] == "eval/loss"
    for names, asked, part in (
        ({"accuracy"}, None, "no metric is a loss by its name"),
        ({"loss"}, "los", "Did you mean 'loss'"),
        (set(), None, "Check that the runs logged one"),
    ):
        with pytest.raises(InputError, match=part):
            choose([names], asked, (), "x")


def test_a_value_that_was_maximised_is_no_loss_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    shutil.copy(FIXTURES / "optuna_sqlite" / "optuna.db", path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE study_directions SET direction = 'MAXIMIZE'")
    connection.close()
    assert "Name it with --map loss=NAME. The metrics are: value" in told(path)
    assert len(load(path, "loss=value").finished) == 4


def test_the_trainers_tokens_follow_from_its_flops_where_it_did_not_count_them(tmp_path: Path) -> None:
    source = FIXTURES / "hf_trainer" / RUNS[0].name / "checkpoint-60"
    shutil.copytree(source, tmp_path / "checkpoint-60")
    file = tmp_path / "checkpoint-60" / "trainer_state.json"
    file.write_text(
        file.read_text(encoding="utf-8").replace('"num_input_tokens_seen": 15360, "num_train', '"x": 0, "num_train'),
        encoding="utf-8",
    )
    found = importers["hf_trainer"].gather(tmp_path, Reading())
    assert found.table["tokens"].tolist() == [RUNS[0].tokens]
    assert found.provenance[0]["derived"] == {"tokens": "C / 6N"}
