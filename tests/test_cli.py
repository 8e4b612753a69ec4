"""The command line: exactly one line for every wrong input, exactly one object for --json, exit codes to script on."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelaw.cli import main
from scalelaw.cli._app import VERBS
from scalelaw.cli._json import plain
from scalelaw.cli._points import names, point, setting
from scalelaw.cli._progress import duration, flops
from scalelaw.cli._screen import interval, number
from scalelaw.errors import InputError
from scalelaw.notation import HYPERPARAMETERS, QUANTITIES, SCALES
from scalelaw.trial import Status

ROOT = Path(__file__).resolve().parent.parent
SCALELAW = (sys.executable, "-c", "import sys; from scalelaw.cli import main; sys.exit(main())")
WIDTHS = (16, 32, 64, 128, 256)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)


def start(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [*SCALELAW, *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=300, check=False, env={**os.environ}
    )


def ladder(rates: tuple[float, ...] = RATES, seeds: int = 2) -> list[dict[str, float]]:
    """Runs whose best rate falls as width^-0.4 and whose tuned loss is 1 + 4 width^-0.5."""
    rows: list[dict[str, float]] = []
    for width in WIDTHS:
        best = 3e-3 * (width / 16) ** -0.4
        for rate in rates:
            for seed in range(seeds):
                noise = 0.002 * math.sin(width + 7 * seed + 1e4 * rate)
                loss = (1 + 4 * width**-0.5) * math.exp(0.02 * math.log(rate / best) ** 2 + noise)
                rows.append({"width": width, "learning_rate": rate, "seed": seed, "loss": loss})
    return rows


def csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [",".join(rows[0]), *(",".join("" if value is None else str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return csv(tmp_path / "runs.csv", ladder())


def object_of(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    """The one JSON object of a command that prints nothing else."""
    capsys.readouterr()
    assert main([str(word) for word in (*words, "--json")]) == code
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(found, dict)
    return found


def told(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 2) -> str:
    """The one line on stderr of a command that fails."""
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("scalelaw: ")
    assert "Traceback" not in err
    return err


# ---- small languages ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("width=8192", {"width": 8192.0}),
        ("parameters=1e9,tokens=2e10", {"parameters": 1e9, "tokens": 2e10}),
        (" N = 1e9 , D=2e10 ", {"parameters": 1e9, "tokens": 2e10}),
        ("hidden_size=64", {"width": 64.0}),
    ],
)
def test_points(text: str, means: dict[str, float]) -> None:
    assert point(text) == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("8192", "NAME=VALUE"),
        ("width", "NAME=VALUE"),
        ("width=", "NAME=VALUE"),
        ("=3", "NAME=VALUE"),
        ("width=1,", "NAME=VALUE"),
        ("widht=8192", "'width'"),
        ("width=wide", "finite number"),
        ("width=nan", "finite number"),
        ("width=inf", "finite number"),
        ("width=0", "positive"),
        ("width=-4", "positive"),
        ("width=4,hidden_size=8", "twice"),
        ("learning_rate=3e-4", "--with"),
        ("loss=1", "not a scale"),
    ],
)
def test_points_that_are_none(text: str, says: str) -> None:
    with pytest.raises(InputError, match="--at") as caught:
        point(text)
    assert says in str(caught.value)


def test_settings() -> None:
    assert setting(None) is None
    assert setting("lr=3e-4,bs=128") == {"learning_rate": 3e-4, "batch_size": 128.0}
    assert setting("warm=2", more=("warm",)) == {"warm": 2.0}
    assert setting("weight_decay=0") == {"weight_decay": 0.0}
    with pytest.raises(InputError, match="--at"):
        setting("width=3")


@given(st.dictionaries(st.sampled_from(SCALES), st.floats(1e-12, 1e15), min_size=1))
def test_a_point_survives_being_written(values: dict[str, float]) -> None:
    assert point(",".join(f"{name}={value!r}" for name, value in values.items())) == values


@given(st.text(max_size=20) | st.lists(st.sampled_from([*QUANTITIES, "=", ",", "1e3", "-1", " "]), max_size=8).map("".join))
def test_any_text_is_a_point_or_one_line(text: str) -> None:
    for parse in (point, setting):
        with contextlib.suppress(InputError):
            found = parse(text)
            assert found
            assert set(found) <= {*SCALES, *HYPERPARAMETERS}


def test_column_lists() -> None:
    assert names("N,D", "--over") == ("parameters", "tokens")
    assert names(["lr", "mine,lr"], "--hyper") == ("learning_rate", "mine")
    with pytest.raises(InputError, match="--over"):
        names("width,,depth", "--over")


def test_json_is_plain() -> None:
    import numpy as np

    given_values = {
        "nan": float("nan"),
        "inf": [np.inf, -np.inf, np.float64(1.5)],
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.array([[1.0, np.nan]]),
        "status": Status.DIVERGED,
        "path": Path("a/b"),
        4: (1, None, "x"),
    }
    assert plain(given_values) == {
        "nan": None,
        "inf": [None, None, 1.5],
        "count": 3,
        "flag": True,
        "array": [[1.0, None]],
        "status": "DIVERGED",
        "path": "a/b",
        "4": [1, None, "x"],
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (float("nan"), "-"),
        (8192.0, "8192"),
        (3e-4, "0.0003"),
        (1.2345678e-7, "1.235e-7"),
        (2e10, "2e10"),
        (12345.6, "12350"),
        (4.517, "4.517"),
    ],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert number(value) == text


def test_words_for_times_and_work() -> None:
    assert [duration(seconds) for seconds in (3.4, 61, 7325)] == ["3 s", "1 min 01 s", "2 h 02 min"]
    assert [flops(value) for value in (12, 3.2e12, 1.5e15)] == ["12 FLOP", "3.2 TFLOP", "1.5 PFLOP"]
    assert interval(1.0, float("inf")) == "1 to inf"
    assert interval(None, 1.0) == "-"


# ---- usage --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("fti",), "'fit'"),
        (("frobnicate",), "scalelaw --help"),
        (("--vresion",), "--version"),
        (("fit", "x.csv"), "'--law'"),
        (("fit", "--law", "power"), "'DATA'"),
        (("fit", "x.csv", "--lwa", "power"), "--law"),
        (("fit", "x.csv", "--law"), "--law"),
        (("fit", "x.csv", "y.csv", "--law", "power"), "y.csv"),
        (("fit", "x.csv", "--law", "power", "--level", "high"), "--level"),
        (("fit", "x.csv", "--law", "power", "--level", "1"), "--level"),
        (("fit", "x.csv", "--law", "powre"), "'power'"),
        (("fit", "x.csv", "--law", "power"), "x.csv"),
        (("forecast", "x.csv"), "--at"),
        (("forecast", "x.csv", "--at", "big"), "width=8192"),
        (("run", "absent.toml"), "absent.toml"),
        (("run", "absent.toml", "--max-parallel", "0"), "--max-parallel"),
        (("plot", "fuor_pane", "x.csv"), "'four_pane'"),
        (("plot", "four_pane", "x.csv"), "-o"),
        (("plot", "four_pane", "x.csv", "-o", "f.gif"), ".png"),
        (("export", "x.csv", "-o", "f.xlsx"), ".parquet"),
        (("demo", "--seed", "-1"), "--seed"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert says in told(capsys, *words)
    assert list(tmp_path.iterdir()) == []


def test_every_verb_explains_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    top = capsys.readouterr().out
    for verb in VERBS:
        assert f"  {verb} " in top
        assert main([verb, "--help"]) == 0
        page = capsys.readouterr().out
        assert "--json" in page
        assert f"scalelaw {verb}" in page
    for verb in VERBS[: VERBS.index("doctor") + 1]:
        main([verb, "--help"])
        assert f"Example: scalelaw {verb}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    import scalelaw

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"scalelaw {scalelaw.__version__}\n"


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "make_cli_page.py", "--check"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_a_failure_of_ours_is_one_line_and_debug_shows_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("boom\nboom")

    monkeypatch.setattr(importlib.import_module("scalelaw.store"), "load", broken)
    line = told(capsys, "optimum", data, code=1)
    assert "--debug" in line
    assert "boom boom" in line
    assert main(["optimum", str(data), "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly() -> None:
    process = subprocess.Popen([*SCALELAW, "laws"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(60) in (0, 141)
    assert process.stderr.read() == b""
    process.stderr.close()


def test_colour_is_for_terminals(data: Path) -> None:
    assert "\x1b" not in start("optimum", data).stdout


# ---- lookups ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["laws", "tasks", "trainers", "importers", "engines", "figures", "diagnostics"])
def test_listings(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    known = getattr(importlib.import_module(f"scalelaw.{verb}"), verb).names()
    rows = object_of(capsys, verb)[verb]
    assert [row["name"] for row in rows] == known
    assert main([verb]) == 0
    page = capsys.readouterr().out
    assert all(name in page for name in known)


def test_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    found = object_of(capsys, "doctor")
    assert {"scalelaw", "python", "libraries", "cores", "threads", "jax", "fashion_mnist", "folder"} <= {
        each["name"] for each in found["checks"]
    }
    assert all(each["ok"] or each["mend"] for each in found["checks"])
    assert found["ok"] == all(each["ok"] for each in found["checks"])


def test_doctor_tells_what_to_mend(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    checks = {each["name"]: each for each in object_of(capsys, "doctor")["checks"]}
    assert not checks["threads"]["ok"]
    assert "OMP_NUM_THREADS=1" in checks["threads"]["mend"]


# ---- bad input ----------------------------------------------------------------------------------------------------------

STUDY = {
    "head": 'name = "a"\ntask = "teacher_student"\n',
    "scale": "[scale]\nwidth = 4\nsteps = 20\n",
    "hyper": "[hyperparameters]\nlearning_rate = 1e-3\nbatch_size = 16\n",
}
GOOD = "width,lr,loss\n4,1e-3,2\n8,1e-3,1.5\n16,1e-3,1.2\n"

# name of the case: file, its content, the command (FILE stands for the file), and what the line must name.
BAD: dict[str, tuple[str, str | bytes, tuple[str, ...], tuple[str, ...]]] = {
    "unknown key": ("s.toml", STUDY["head"] + "sedes = 3\n" + STUDY["scale"], ("run", "FILE"), ("s.toml", "'sedes'", "'seeds'")),
    "unknown scale": ("s.toml", STUDY["head"] + "[scale]\nwidht = 4\n", ("run", "FILE"), ("s.toml", "'widht'", "'width'")),
    "empty grid": ("s.toml", STUDY["head"] + STUDY["hyper"], ("run", "FILE"), ("s.toml", "empty", "[scale]")),
    "empty axis": ("s.toml", STUDY["head"] + "[scale]\nwidth = []\nsteps = 2\n", ("run", "FILE"), ("s.toml", "empty", "width")),
    "negative width": ("s.toml", STUDY["head"] + "[scale]\nwidth = -4\n", ("run", "FILE"), ("s.toml", "width", "positive")),
    "negative rate": (
        "s.toml",
        STUDY["head"] + STUDY["scale"] + "[hyperparameters]\nlearning_rate = -1e-3\n",
        ("run", "FILE"),
        ("s.toml", "learning_rate", "positive"),
    ),
    "no toml": ("s.toml", "width: 4", ("run", "FILE"), ("s.toml", "TOML")),
    "unknown task": (
        "s.toml",
        STUDY["head"].replace("student", "studnet") + STUDY["scale"] + STUDY["hyper"],
        ("run", "FILE"),
        ("s.toml", "'teacher_student'"),
    ),
    "no steps": ("s.toml", STUDY["head"] + "[scale]\nwidth = 4\n" + STUDY["hyper"], ("run", "FILE"), ("s.toml", "steps")),
    "untrainable key": (
        "s.toml",
        STUDY["head"] + STUDY["scale"] + "[hyperparameters]\nlearning_rate = 1e-3\nmomentum = 0.5\n",
        ("run", "FILE"),
        ("s.toml", "'momentum'"),
    ),
    "unknown engine": (
        "s.toml",
        STUDY["head"] + STUDY["scale"] + STUDY["hyper"],
        ("run", "FILE", "--engine", "locla"),
        ("'local'",),
    ),
    "store that is none": (
        "not.db",
        "hello",
        ("import", "good.csv", "--storage", "FILE"),
        ("not.db", "not a store"),
    ),
    "store that is none, read": ("not.db", "hello", ("optimum", "FILE"), ("not.db", "store")),
    "store in a file": ("good.toml", "", ("import", "good.csv", "--storage", "FILE/study.db"), ("good.toml", "--storage")),
    "no loss": ("t.csv", "width,lr\n4,1e-3\n", ("fit", "FILE", "--law", "power"), ("t.csv", "loss", "--map")),
    "text among numbers": (
        "t.csv",
        "width,lr,loss\n4,1e-3,2\n8,big,1\n",
        ("optimum", "FILE"),
        ("t.csv", "row 2", "'lr'", "'big'"),
    ),
    "one width": ("t.csv", "width,lr,loss\n4,1e-3,2\n4,3e-3,1\n", ("fit", "FILE", "--law", "power"), ("t.csv", "only one size")),
    "one width, named": (
        "t.csv",
        "width,lr,loss\n4,1e-3,2\n4,3e-3,1\n",
        ("fit", "FILE", "--law", "power", "--over", "width"),
        ("t.csv", "only one size"),
    ),
    "one width, forecast": (
        "t.csv",
        "width,loss\n4,2\n4,1\n",
        ("forecast", "FILE", "--at", "width=8"),
        ("t.csv", "only one size"),
    ),
    "negative size": ("t.csv", "width,loss\n-4,2\n8,1\n", ("fit", "FILE", "--law", "power"), ("t.csv", "row 1", "width")),
    "ragged": ("t.csv", "width,loss\n4,2,1\n", ("fit", "FILE", "--law", "power"), ("t.csv", "row 1", "cells")),
    "empty file": ("t.csv", "", ("fit", "FILE", "--law", "power"), ("t.csv", "empty")),
    "header alone": ("t.csv", "width,loss\n", ("fit", "FILE", "--law", "power"), ("t.csv", "no row")),
    "bytes": ("t.csv", b"\xff\xfe\x00\x01\x02", ("fit", "FILE", "--law", "power"), ("t.csv",)),
    "broken json": ("t.jsonl", '{"width": 4, "loss": 2}\n{"width"\n', ("fit", "FILE", "--law", "power"), ("t.jsonl", "line 2")),
    "no row left": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--where", "width > 99"), ("t.csv", "width > 99")),
    "bad filter": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--where", "widht > 9"), ("'width'", "--where")),
    "filter of code": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--where", "open('x')"), ("--where",)),
    "bad map": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--map", "lss=loss"), ("--map", "'loss'")),
    "map to two": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--map", "loss=x,tokens=x"), ("--map", "loss and tokens")),
    "map to nothing": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--map", "loss=lozz"), ("t.csv", "lozz")),
    "unknown over": ("t.csv", GOOD, ("fit", "FILE", "--law", "power", "--over", "widht"), ("'width'",)),
    "law of other inputs": ("t.csv", GOOD, ("fit", "FILE", "--law", "chinchilla"), ("t.csv", "parameters")),
    "target in other columns": ("t.csv", GOOD, ("forecast", "FILE", "--at", "tokens=1e9"), ("width",)),
    "run that is none": ("t.csv", GOOD, ("check", "FILE", "no-such-run"), ("no-such-run", "id")),
    "nothing but runs to judge": ("t.csv", GOOD, ("check", "FILE", "FILE"), ("t.csv", "smaller runs")),
    "run of many rows": ("t.csv", GOOD, ("plot", "loss_vs_scale", "FILE", "--json", "--run", "FILE"), ("t.csv", "3 rows")),
    "runs that are none": ("t.csv", GOOD, ("check", "FILE", "width > 99"), ("width > 99", "Loosen")),
    "runs of no column": ("t.csv", GOOD, ("check", "FILE", "widht > 99"), ("widht > 99", "'width'")),
    "one run of several without a size": ("r.csv", "width,loss\n64,1\n,1\n", ("check", "good.csv", "FILE"), ("run 2", "width")),
    "run without a size": ("r.csv", "lr,loss\n1e-3,1\n", ("check", "good.csv", "FILE"), ("width",)),
    "output in no folder": ("t.csv", GOOD, ("export", "FILE", "-o", "no/such/f.csv"), ("no/such", "mkdir")),
    "output that is there": ("t.csv", GOOD, ("export", "FILE", "-o", "good.csv"), ("good.csv", "--force")),
}


def runs(changed: dict[str, Any], *, left_out: tuple[str, ...] = (), only: int | None = None) -> str:
    """A ladder that says what it cost, as CSV; `changed` holds for every row, `only` one size is kept."""
    rows = [{**row, "compute": 1e3 * row["width"] ** 2, **changed} for row in ladder() if only in (None, row["width"])]
    names = [name for name in rows[0] if name not in left_out]
    return "\n".join([",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]) + "\n"


PLAN = ("plan", "FILE", "--target", "width=4096", "--budget", "1e12")
POOL = (
    'name = "a"\ntask = "teacher_student"\n[scale]\nwidth = [4, 8, 16]\nsteps = 20\n'
    "[hyperparameters]\nlearning_rate = [1e-3, 1e-2, 1e-1]\nbatch_size = 16\n"
)
BAD |= {
    "plan: budget below any run": ("t.csv", runs({}), (*PLAN[:4], "--budget", "1"), ("budget", "buys no run", "2.56e+05")),
    "plan: negative budget": ("t.csv", runs({}), (*PLAN[:4], "--budget", "-1"), ("--budget",)),
    "plan: no budget": ("t.csv", runs({}), PLAN[:4], ("--budget", "1e15")),
    "plan: no target": ("t.csv", runs({}), ("plan", "FILE", "--budget", "1e12"), ("--target", "width=8192")),
    "plan: target inside": ("t.csv", runs({}), ("plan", "FILE", "--target", "width=64", "--budget", "1"), ("width 64", "within")),
    "plan: target elsewhere": ("t.csv", runs({}), ("plan", "FILE", "--target", "tokens=1e9", "--budget", "1e9"), ("width",)),
    "plan: no costs": ("t.csv", runs({}, left_out=("compute",)), PLAN, ("t.csv", "cost", "compute", "tokens")),
    "plan: no size allowed": ("t.csv", runs({}), (*PLAN, "--sizes", "7,5000"), ("--sizes", "allowed")),
    "plan: no size affordable": ("t.csv", runs({}), (*PLAN, "--largest", "10"), ("--largest", "cheapest costs 2.56e+05")),
    "plan: sizes that are none": ("t.csv", runs({}), (*PLAN, "--sizes", "64,large"), ("--sizes", "64,large")),
    "plan: no slot": ("t.csv", runs({}), (*PLAN, "--slots", "0"), ("--slots",)),
    "plan: all diverged": ("t.csv", runs({"loss": "", "status": "DIVERGED"}), PLAN, ("t.csv", "all 50 runs", "lower")),
    "plan: nothing tuned": ("t.csv", runs({}, left_out=("learning_rate",)), PLAN, ("t.csv", "learning_rate", "--hyper")),
    "plan: unreadable price": ("t.csv", runs({}), (*PLAN, "--price", "2.5"), ("--price", "'2.5'", "2.5/gpu-hour")),
    "plan: price without speed": ("t.csv", runs({}), (*PLAN, "--price", "2.5/gpu-hour"), ("--price", "--mfu")),
    "plan: impossible speed": ("t.csv", runs({}), (*PLAN, "--peak-flops", "1e12", "--mfu", "2"), ("--mfu", "at most 1")),
    "plan: goal below nothing": ("t.csv", runs({}), (*PLAN, "--goal", "-1"), ("--goal",)),
    "plan: output that is there": ("t.toml", "", ("plan", "good.csv", *PLAN[2:], "-o", "FILE"), ("t.toml", "--force")),
    "plan: output of another kind": ("t.csv", runs({}), (*PLAN, "-o", "next.csv"), ("next.csv", ".toml")),
    "plan: study without target": ("s.toml", POOL, ("plan", "FILE", "--budget", "1e9"), ("target", "[plan]")),
    "plan: study without budget": ("s.toml", POOL, ("plan", "FILE", "--target", "width=64"), ("--budget",)),
    "plan: study that holds the target": ("s.toml", POOL, ("plan", "FILE", *PLAN[4:], "--target", "width=8"), ("width 8", "own")),
    "plan: study and columns": ("s.toml", POOL, (*PLAN, "--over", "width"), ("--over", "study")),
    "plan: study with nothing allowed": ("s.toml", POOL, (*PLAN, "--sizes", "5"), ("--sizes", "allowed")),
    "run: unreadable condition": ("s.toml", POOL, ("run", "FILE", "--until", "loss < 1"), ("--until", "'loss < 1'", "regret")),
    "run: until without target": ("s.toml", POOL, ("run", "FILE", "--until", "regret < 1 %"), ("target", "[plan]")),
    "run: target without until": ("s.toml", POOL, ("run", "FILE", "--target", "width=64"), ("--until",)),
    "run: budget below any trial": ("s.toml", POOL, ("run", "FILE", "--budget", "10"), ("budget", "cheapest takes")),
    "run: an option no engine has": ("s.toml", POOL, ("run", "FILE", "--option", "adress=x"), ("local", "--option")),
    "run: an option without a value": ("s.toml", POOL, ("run", "FILE", "--option", "address"), ("NAME=VALUE",)),
    "run: a size without a unit it knows": ("s.toml", POOL, ("run", "FILE", "--memory", "4 apples"), ("--memory", "4GiB")),
    "handover: to nobody": ("s.toml", POOL, ("handover", "FILE"), ("-o", "--optuna")),
    "handover: no program": ("s.toml", POOL, ("handover", "FILE", "-o", "x.yaml"), ("--program",)),
    "run: no cores": ("s.toml", POOL, ("run", "FILE", "--cpus", "0"), ("--cpus",)),
    "run: a GPU and a half": ("s.toml", POOL, ("run", "FILE", "--gpus", "1.5"), ("--gpus", "fraction")),
    "run: an empty batch": ("s.toml", POOL, ("run", "FILE", "--batch", "0"), ("--batch",)),
    "run: budget below any run": (
        "s.toml",
        POOL,
        ("run", "FILE", "--until", "runs > 3", "--target", "width=64", "--budget", "1"),
        ("buys no run",),
    ),
}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    name, content, words, says = BAD[case]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD, encoding="utf-8")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = files(tmp_path)
    for more in ((), ("--json",)):
        line = told(capsys, *(word.replace("FILE", name) for word in words), *more)
        for part in says:
            assert part in line
    assert files(tmp_path) == before


def test_a_plan_of_runs_without_costs_says_how_it_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "parameters": 12 * row["width"] ** 2, "tokens": 1e4} for row in ladder()]
    found = object_of(capsys, "plan", csv(tmp_path / "runs.csv", rows), "--target", "width=1024", "--budget", "1e12")
    assert any("6 N D" in note for note in found["notes"])
    assert {"runs", "decision", "reason", "curve", "stop"} <= set(found)
    assert {"spend", "regret", "low", "high"} <= set(found["curve"][0])


def test_a_plan_is_written_as_a_study_that_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(runs({}), encoding="utf-8")
    output = tmp_path / "next.toml"
    found = object_of(capsys, "plan", path, "--target", "width=16384", "--budget", "1e12", "--slots", "2", "-o", output)
    assert found["decision"] == "EVALUATE"
    assert len(found["runs"]) == 2
    assert all({"width", "learning_rate", "cost", "gain"} <= set(run) for run in found["runs"])
    study = importlib.import_module("scalelaw.study").read_study(output)
    assert len(study.specs) == 2
    assert study.target == {"width": 16384.0}
    # Where no run is worth its cost, none is written.
    cheap = tmp_path / "none.toml"
    done = object_of(capsys, "plan", path, "--target", "width=300", "--budget", "1e12", "-o", cheap)
    assert done["decision"] == "EXTRAPOLATE"
    assert not cheap.exists()


def test_the_real_command_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('name = "a"\ntask = "teacher_student"\nsedes = 3\n[scale]\nwidth = 4\n', encoding="utf-8")
    done = start("run", path, "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"scalelaw: {path}: unknown key 'sedes'. Did you mean 'seeds'?\n"
    assert list(tmp_path.iterdir()) == [path]


def test_python_runs_the_package() -> None:
    for words, code in ((["--version"], 0), (["fit"], 2)):
        done = subprocess.run([sys.executable, "-m", "scalelaw", *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, code // 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_stdout(data: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*SCALELAW, "optimum", data, "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no space left" in done.stderr


@pytest.mark.parametrize(("number_", "says"), [(28, "disk is full"), (13, "cannot be written"), (30, "cannot be written")])
def test_an_output_that_cannot_be_written_leaves_nothing(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number_: int, says: str
) -> None:
    def fail(self: Path, *_: Any) -> None:
        raise OSError(number_, os.strerror(number_), str(self))

    monkeypatch.setattr(Path, "replace", fail)
    before = files(data.parent)
    assert says in told(capsys, "export", data, "-o", data.parent / "out.csv")
    assert files(data.parent) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.parent / "locked"
    folder.mkdir(mode=0o555)
    for words in (("import", data, "--storage", folder / "study.db"), ("export", data, "-o", folder / "out.csv")):
        assert "locked" in told(capsys, *words)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("optimum", "DATA", "--at", "tokens=1e9"),
        ("forecast", "DATA", "--at", "tokens=1e9"),
        ("report", "DATA", "-o", "r.html", "--at", "tokens=1e9"),
        ("plot", "loss_vs_scale", "DATA", "--at", "tokens=1e9"),
        ("forecast", "DATA", "--at", "width=1024", "--with", "learning_rate=7"),
    ],
)
def test_a_point_or_setting_that_the_data_lack(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(data.parent)
    asked = [str(data) if word == "DATA" else word for word in words]
    says = told(capsys, *asked, *(("--json",) if words[0] == "plot" else ()))
    assert ("lacks width" if "--with" not in words else "no finished run at learning_rate=7") in says
    assert not Path("r.html").exists()


def test_figures_and_reports_judge_the_run_they_are_given(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = data.with_name("run.json")
    run.write_text(json.dumps({"width": 1024, "learning_rate": 1e-2, "loss": 1.9}))
    page = data.with_name("r.html")
    object_of(capsys, "report", data, "-o", page, "--run", run, "--over", "width")
    assert "width 1024" in page.read_text(encoding="utf-8")
    assert "With learning rate 0.01 kept" in page.read_text(encoding="utf-8")
    assert "off the law" in page.read_text(encoding="utf-8").lower()
    drawn = object_of(capsys, "plot", "loss_vs_scale", data, "--run", run)
    missed = [mark for mark in drawn["panels"][0]["marks"] if mark["role"] == "MISSED"]
    assert any(1.9 in mark.get("y", ()) for mark in missed)
    assert "no such file" in told(capsys, "report", data, "-o", data.with_name("s.html"), "--run", "nobody")
    assert "no column 'nope'" in told(capsys, "plot", "loss_vs_scale", data, "--json", "--over", "nope")


def test_hyper_adds_to_the_known_hyperparameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {**row, "damping": damping, "loss": row["loss"] * math.exp(0.02 * math.log(damping / 2) ** 2)}
        for row in ladder(seeds=1)
        for damping in (0.5, 1.0, 2.0, 4.0, 8.0)
    ]
    path = csv(tmp_path / "two.csv", rows)
    found = object_of(capsys, "optimum", path, "--hyper", "damping", "--at", "width=1024")
    assert set(found["law"]) == {"learning_rate", "damping"}
    assert found["at"]["damping"]["value"] == pytest.approx(2, rel=0.02)
    rate = found["at"]["learning_rate"]
    assert rate["low"] < 3e-3 * 64**-0.4 < rate["high"]
    assert rate["value"] == pytest.approx(3e-3 * 64**-0.4, rel=0.15), "four times beyond five sizes, and the law may bend"
    run = tmp_path / "run.json"
    run.write_text(json.dumps({"width": 1024, "learning_rate": 3e-3 * 64**-0.4, "damping": 100.0, "loss": 1.6}))
    judged = object_of(capsys, "check", path, run, "--hyper", "damping", code=3)
    assert judged["suspects"][0]["hyperparameter"] == "damping"
    assert "cannot be tuned" in told(capsys, "optimum", path, "--hyper", "loss")
    assert "no column 'dampin'" in told(capsys, "optimum", path, "--hyper", "dampin")


def at_1024(factors: tuple[float, ...]) -> list[dict[str, float]]:
    """Runs at width 1024, each a factor away from the best rate there."""
    rows: list[dict[str, float]] = []
    for seed, factor in enumerate(factors):
        loss = (1 + 4 * 1024**-0.5) * math.exp(0.05 * math.log(factor) ** 2 + 0.002 * math.sin(seed))
        rows.append({"width": 1024, "learning_rate": factor * 3e-3 * 64**-0.4, "seed": seed, "loss": loss})
    return rows


def test_several_runs_are_judged_together(tmp_path: Path) -> None:
    data, runs = csv(tmp_path / "data.csv", ladder()), at_1024((1.0, 30.0, 1.0, 1.0))
    several, all_, one = csv(tmp_path / "runs.csv", runs), csv(tmp_path / "all.csv", ladder() + runs), tmp_path / "one.csv"
    done = start("check", data, several, "--json")
    assert (done.returncode, done.stderr) == (3, "")
    found = json.loads(done.stdout)
    assert found["verdict"] == "OFF_LAW"
    assert found["off"] == [1]
    assert [each["verdict"] for each in found["runs"]] == ["ON_LAW", "OFF_LAW", "ON_LAW", "ON_LAW"]
    assert found["e_value"] == pytest.approx(sum(each["e_value"] for each in found["runs"]) / 4)
    for row, each in zip(runs, found["runs"], strict=True):
        # The same as judged alone, and no less likely by chance among several.
        alone = json.loads(start("check", data, csv(one, [row]), "--json").stdout)
        assert {name: each[name] for name in alone} == alone
        assert each["p_adjusted"] >= each["p_value"]
    # The same runs named by a condition are left out of the law.
    assert json.loads(start("check", all_, "width == 1024", "--json").stdout) == found
    lines = start("check", data, several).stdout.splitlines()
    assert "1 of 4 runs" in lines[0]
    assert next(line.split("  ")[0] for line in lines if line.startswith("row ")) == "row 2", "the worst comes first"


def test_what_is_off_alone_may_be_chance_among_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = csv(tmp_path / "data.csv", ladder())
    (good,) = at_1024((1.0,))
    bad = {**good, "loss": 1.003 * object_of(capsys, "check", data, csv(tmp_path / "one.csv", [good]))["high"]}
    assert object_of(capsys, "check", data, csv(tmp_path / "one.csv", [bad]), code=3)["verdict"] == "OFF_LAW"
    found = object_of(capsys, "check", data, csv(tmp_path / "runs.csv", [*at_1024((1.0,) * 9), bad]))
    last = found["runs"][-1]
    assert last["p_value"] < 0.05 < last["p_adjusted"]
    assert last["verdict"] == "UNDECIDED"
    assert last["message"].startswith("UNDECIDED: of 10 runs")
    assert found["verdict"] == "UNDECIDED"


def test_runs_are_named_by_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": f"a{place}", **row} for place, row in enumerate(ladder())]
    rows += [{"id": name, **row} for name, row in zip(("big1", "big2"), at_1024((1.0, 30.0)), strict=True)]
    data = csv(tmp_path / "data.csv", rows)
    found = object_of(capsys, "check", data, "big1, big2", code=3)
    assert [each["run"] for each in found["runs"]] == ["big1", "big2"]
    assert "no such file" in told(capsys, "check", data, "big1,huge2")


def test_losses_that_are_not_finite_are_kept_as_diverged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(GOOD + "16,1e-1,nan\n16,1,inf\n", encoding="utf-8")
    assert object_of(capsys, "fit", path, "--law", "power")["n"] == 3
    out = tmp_path / "out.csv"
    assert object_of(capsys, "export", path, "-o", out)["trials"] == 5
    assert out.read_text(encoding="utf-8").count("DIVERGED") == 2


def test_rows_that_stand_there_twice_count_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(GOOD + "16,1e-3,1.2\n", encoding="utf-8")
    assert object_of(capsys, "fit", path, "--law", "power")["n"] == 3
    assert main(["fit", str(path), "--law", "power"]) == 0
    assert "counted once" in capsys.readouterr().err
