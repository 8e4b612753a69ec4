"""`scalelaw trials`, `tag`, `exclude`, `include`: a store's trials looked at and spoken of on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalelaw.cli._app import execute
from scalelaw.store import Store, load
from scalelaw.trial import Curve, Origin, Status, Trial, TrialSpec
from store_contract import trial


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "study.db"
    with Store(path) as opened:
        opened.put(map(trial, range(4)))
        opened.put([trial(4, Status.DIVERGED, curve=None), trial(5, Status.FAILED, curve=None, error="a\nb")])
    return path


def run(*words: object, code: int = 0) -> None:
    assert execute([str(word) for word in words]) == code


def test_trials_are_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("trials", store, "--where", "width < 48", "--limit", 2, "--curves")
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0] == "5 trials: 4 COMPLETE, 1 DIVERGED."
    assert [line.split() for line in lines if "COMPLETE " in line] == [
        [trial(seed).id, "COMPLETE", str(8 * seed + 8), str(seed), "1.5", "█▁"] for seed in range(2)
    ]
    assert "learning_rate" not in shown.out, "what does not differ is not shown"
    assert shown.err == "3 more: --limit 5 shows all, --where chooses.\n"
    run("trials", store, "--json", "--curves")
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == len(told["trials"]) == 6
    assert told["varying"] == ["width", "seed"]
    assert [each["curve"] for each in told["trials"]] == [{"steps": [1, 2], "losses": [3.0, 2.0]}] * 4 + [None] * 2


def test_why_trials_failed_is_listed(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(store) as opened:
        long = "exit code 1: \x1b[31m" + "word " * 80
        opened.put([trial(6, Status.LOST, curve=None, error="signal 9"), trial(7, Status.FAILED, curve=None, error=long)])
    run("trials", store)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert [line.split()[-1] for line in shown.splitlines() if line.split()[1:2] == ["COMPLETE"]] == ["1.5"] * 4
    assert next(line.split()[-2:] for line in shown.splitlines() if "LOST " in line) == ["signal", "9"]
    assert " ..." in shown
    run("trials", store, "--json", "--limit", 7)
    told = json.loads(capsys.readouterr().out)["trials"]
    assert [each["error"] for each in told] == [None] * 5 + ["a\nb", "signal 9"]
    run("trials", store, "--where", "status == 'COMPLETE'")
    assert "error" not in capsys.readouterr().out


def test_json_is_unicode_whatever_a_name_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "study.db"
    with Store(path) as opened:
        opened.put([trial(0, metrics={"half\udc80": 1.0})])
    run("trials", path, "--json")
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert json.loads(shown)["trials"][0]["half\udc80"] == 1.0


def test_trials_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    lines = [
        "id,width,step,loss",
        *(f"{run},{width},{step},{3 - step / 9}" for run, width in (("a", 8), ("b", 16)) for step in (1, 2)),
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    run("trials", path, "--json")
    assert json.loads(capsys.readouterr().out)["total"] == 4
    run("trials", path, "--limit", 0)
    assert capsys.readouterr().out.startswith("4 trials: 4 COMPLETE.")
    run("trials", path, "--limit", -1, code=2)


def test_curves_of_runs_with_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two imported runs that their trackers called the same."""
    with Store(tmp_path / "study.db") as opened:
        for task in ("a", "b"):
            spec = TrialSpec(task, {"width": 8}, {}, model="imported", task_options={"id": "run"})
            found = Trial(spec, Status.COMPLETE, 1.0, origin=Origin.IMPORTED)
            opened.put_imported([(found, ([1, 2], [2.0, float(ord(task))]), {"importer": "csv"})])
    run("trials", tmp_path / "study.db", "--curves", "--json", "--where", "loss == 1")
    told = json.loads(capsys.readouterr().out)["trials"]
    assert [(each["id"], each["task"], each["curve"]["losses"][1]) for each in told] == [("run", "a", 97.0), ("run", "b", 98.0)]


def test_tags_and_exclusion(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load(store).rows()
    run("tag", store, "width <= 16", "pilot", "old")
    run("tag", store, trial(1).id[:8], "old", "--remove")
    assert capsys.readouterr().out == "2 trials are tagged pilot, old.\n1 trial is no longer tagged old.\n"
    run("exclude", store, "'pilot' in tags and 'old' not in tags", "--reason", "the wrong data", "--json")
    assert json.loads(capsys.readouterr().out) == {"storage": str(store), "matched": 1, "changed": 1, "ids": [trial(1).id]}
    run("trials", store, "--where", "status == 'EXCLUDED'")
    shown = capsys.readouterr().out
    assert "pilot" in shown
    assert "the wrong data" in shown
    assert load(store, where="'pilot' in tags").finished["width"].tolist() == [8]
    run("include", store, "width > 0")
    assert capsys.readouterr().out == "1 trial is no longer left out; 5 were so before.\n"
    run("tag", store, "width > 0", "pilot", "old", "--remove")
    assert load(store).rows() == before


@pytest.mark.parametrize(
    "verb", [("tag", "STORE", "WHERE", "a"), ("exclude", "STORE", "WHERE", "--reason", "b"), ("include", "STORE", "WHERE")]
)
def test_what_cannot_be_spoken_of(store: Path, capsys: pytest.CaptureFixture[str], verb: tuple[str, ...]) -> None:
    content = store.read_bytes()
    for place, which in (
        (store, "width == 3"),
        (store, "widht == 8"),
        (store, "width =="),
        (store, "ffff"),
        (store.with_name("none.db"), "width == 8"),
        (store.parent, "width == 8"),
    ):
        run(*({"STORE": place, "WHERE": which}.get(word, word) for word in verb), code=2)
        told = capsys.readouterr()
        assert told.err.count("\n") == 1
        assert not told.out
    assert store.read_bytes() == content
    assert [each.name for each in store.parent.iterdir()] == ["study.db"]


def test_an_id_that_no_trial_has_is_no_file(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("tag", store, "ffff", "pilot", code=2)
    told = capsys.readouterr().err
    assert "no trial has this id" in told
    assert "file" not in told


def test_a_reason_of_several_lines_is_told_in_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("exclude", store, "width == 8", "--reason", "one\ntwo\x1b[31m")
    assert capsys.readouterr().out == "1 trial is left out (one two [31m).\n"


def test_an_excluded_trial_counts_nowhere(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(store) as opened:
        opened.put([trial(9, loss=99.0, curve=Curve((1,), (1.0,)))])
    run("fit", store, "--law", "power", "--fixed", "--json")
    with_it = json.loads(capsys.readouterr().out)
    run("exclude", store, "loss == 99", "--reason", "a typing error")
    capsys.readouterr()
    run("fit", store, "--law", "power", "--fixed", "--json")
    without = json.loads(capsys.readouterr().out)
    assert (with_it["n"], without["n"]) == (5, 4)
    run("fit", store, "--law", "power", "--fixed", "--json", "--where", "width != 80")
    assert json.loads(capsys.readouterr().out)["theta"] == without["theta"]
