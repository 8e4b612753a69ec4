"""What scripts depend on: the keys of every JSON object, exit codes, and the public measurements through the public commands."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelaw.cli import main
from scalelaw.store import Store
from scalelaw.testing.curves import CurveWorld
from scalelaw.testing.surfaces import Surface, axes

SCALELAW = (sys.executable, "-c", "import sys; from scalelaw.cli import main; sys.exit(main())")
STUDY = """
name = "tiny"
task = "teacher_student"
seeds = 2
[scale]
width = [4, 8]
steps = 30
[hyperparameters]
learning_rate = [1e-3, 1e-2]
batch_size = 16
"""


def ask(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    """The JSON object of a command."""
    capsys.readouterr()
    assert main([str(word) for word in (*words, "--json")]) == code
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def metz(reference_data: Path) -> tuple[str, ...]:
    """Losses of networks of width 4 to 8192 at twelve rates, digitised from a published figure."""
    return (str(reference_data / "metz_blog_lr_width_digitised.csv"), "--map", "loss=loss_digitised")


@pytest.fixture
def runs(tmp_path: Path) -> dict[float, Path]:
    """The measured runs at width 8192 for two rates, as one-row files."""
    found: dict[float, Path] = {}
    for rate, loss in ((3e-4, 5.303), (6e-5, 4.659)):
        found[rate] = tmp_path / f"{rate}.csv"
        found[rate].write_text(f"width,lr,loss\n8192,{rate},{loss}\n", encoding="utf-8")
    return found


FINDING = {"name", "message", "action"}
SMALL = ("--where", "width <= 512")
KEPT = ("--where", "width <= 512 and learning_rate == 3e-4")


@pytest.mark.published
def test_fit(metz: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "fit", *metz, "--law", "log_linear", *KEPT, "--fixed")
    assert {"law", "theta", "stderr", "interval", "objective", "status", "message", "n", "certificate"} <= set(found)
    assert found["law"] == "log_linear"
    assert set(found["theta"]) == set(found["stderr"]) == set(found["interval"]) == {"a", "b"}
    assert found["theta"]["a"] == pytest.approx(7.006, abs=0.005)
    assert found["theta"]["b"] == pytest.approx(0.2761, abs=0.005)
    assert found["n"] == 8
    assert found["status"] == "CONVERGED"
    assert found["over"] == ["width"]
    # What the article promised at 8192, where 5.30 was measured.
    promise = ask(capsys, "forecast", *metz, *KEPT, "--fixed", "--law", "log_linear", "--at", "width=8192")
    assert promise["loss"] == pytest.approx(4.52, abs=0.01)


@pytest.mark.published
@pytest.mark.parametrize(
    ("law", "names"), [("power", ["A", "alpha"]), ("saturating", ["E", "A", "alpha"]), ("log_linear", ["a", "b"])]
)
def test_theta_has_the_keys_of_its_law(
    metz: tuple[str, ...], capsys: pytest.CaptureFixture[str], law: str, names: list[str]
) -> None:
    assert list(ask(capsys, "fit", *metz, *SMALL, "--law", law)["theta"]) == names


@pytest.mark.published
def test_optimum(metz: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "optimum", *metz, *SMALL, "--at", "width=8192")
    assert {"law", "per_scale", "at", "safe_ratio"} <= set(found)
    assert {"coefficients", "interval"} <= set(found["law"]["learning_rate"])
    assert [row["width"] for row in found["per_scale"]] == [4, 8, 16, 32, 64, 128, 256, 512]
    assert found["at"]["width"] == 8192
    assert set(found["at"]["learning_rate"]) == {"value", "low", "high"}
    assert 6e-5 <= found["at"]["learning_rate"]["value"] <= 2e-4
    assert set(found["safe_ratio"]["learning_rate"]) == {"value", "low", "high"}
    assert ask(capsys, "optimum", *metz, *SMALL)["at"] is None
    # No run up to width 512 failed, and the reason is told; what transfers, and the redrawn law, are.
    assert found["cliff"] is None
    assert set(found["reasons"]) == {"cliff"}
    assert found["transfer"]["cut"] == 256
    assert found["transfer"]["metrics"]["learning_rate"]["verdict"]["name"] == "DRIFTS"
    assert found["bootstrap"]["draws"] == 200
    redrawn = found["bootstrap"]["exponent"]["learning_rate"]["width"]
    assert redrawn["low"] < -found["law"]["learning_rate"]["coefficients"]["p"] < redrawn["high"]
    assert found["bootstrap"]["at"]["learning_rate"]["low"] < 6.5e-5 < found["bootstrap"]["at"]["learning_rate"]["high"]
    assert set(found["estimators"]) == {"response", "parabola", "argmin"}


@pytest.mark.published
def test_an_estimator_reads_the_sizes_and_leaves_the_law(metz: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    surface = ask(capsys, "optimum", *metz, *SMALL, "--bootstrap", "0")
    lowest = ask(capsys, "optimum", *metz, *SMALL, "--bootstrap", "0", "--estimator", "argmin")
    assert (surface["estimator"], lowest["estimator"]) == ("response", "argmin")
    assert surface["bootstrap"] is None
    assert "bootstrap" in surface["reasons"]
    for row in lowest["per_scale"]:
        assert row["loss"] == pytest.approx(row["argmin_loss"])
    assert lowest["law"] == surface["law"]
    assert main(["optimum", *metz, "--estimator", "bowl"]) == 2
    assert "Use response, parabola, argmin" in capsys.readouterr().err


@pytest.fixture(scope="module")
def breaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated study of six widths: best rates fall as width^-0.35, the cliff 1.6 nats above them closes in."""
    trials, _ = Surface(
        axes(1, learning_rate={"shift": 0.5, "points": 9}), cliff=1.6, cliff_exponent=-0.6, seeds=2, sizes=6
    ).draw(np.random.default_rng(1))
    path = tmp_path_factory.mktemp("breaking") / "study.csv"
    trials.to_frame().write_csv(path)
    return path


def test_optimum_tells_of_the_cliff(breaking: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "optimum", breaking, "--at", "width=16384")
    assert found["cliff"]["failed"] == 29
    assert found["cliff"]["slope"]["width"]["high"] < 0
    assert set(found["reasons"]) == {"bootstrap"}
    assert main(["optimum", str(breaking), "--at", "width=16384"]) == 0
    out, _ = capsys.readouterr()
    assert "29 of 108 runs failed. At width 16384 the best learning_rate stands" in out
    assert "with the predicted settings is expected to lose" in out
    assert "By estimator: from the surface, parabolas and lowest runs." in out
    assert "redrawn" not in out  # six sizes are too few
    assert all(line == line.rstrip() and len(line) <= 120 for line in out.splitlines())


def test_optimum_names_the_best_level_of_a_factor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["width,learning_rate,schedule,loss"]
    for width in (16, 32, 64, 128):
        for cost, schedule in ((0.0, "cosine"), (0.03, "constant")):
            for k in range(-3, 4):
                loss = (1 + 6 * width**-0.35) * math.exp(cost + 0.025 * (0.7 * k + 0.1) ** 2)
                lines.append(f"{width},{1e-3 * math.exp(0.7 * k) * (width / 64) ** -0.4},{schedule},{loss}")
    (tmp_path / "study.csv").write_text("\n".join(lines), encoding="utf-8")
    assert main(["optimum", str(tmp_path / "study.csv")]) == 0
    assert "Best schedule: cosine; constant costs 3 %" in capsys.readouterr().out


@pytest.mark.published
def test_forecast(metz: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "forecast", *metz, *SMALL, "--at", "width=8192", "--with", "learning_rate=3e-4")
    keys = {"at", "loss", "low", "high", "level", "laws", "reach", "backtest", "findings", "optimum", "fixed"}
    assert keys <= set(found)
    assert found["at"] == {"width": 8192}
    assert found["level"] == 0.9
    assert found["loss"] == pytest.approx(4.66, abs=0.15)
    assert found["low"] <= 4.66 <= found["high"]
    assert sum(each["weight"] for each in found["laws"]) == pytest.approx(1)
    assert all({"name", "weight"} <= set(each) for each in found["laws"])
    assert {"coverage", "error", "n"} <= set(found["backtest"])
    assert all(set(each) == FINDING for each in found["findings"])
    assert set(found["optimum"]["learning_rate"]) == {"value", "low", "high"}
    assert {"loss", "low", "high"} <= set(found["fixed"])
    assert found["fixed"]["loss"] == pytest.approx(4.52, abs=0.01)
    # Aliases mean the same point.
    assert ask(capsys, "forecast", *metz, *SMALL, "--at", "hidden_size=8192", "--with", "lr=3e-4") == found


@pytest.mark.published
def test_drift(metz: tuple[str, ...], runs: dict[float, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "drift", *metz, *SMALL, "--target", "width=8192")
    assert {"hyperparameters", "unscreened", "confirm"} <= set(found)
    (rate,) = found["hyperparameters"]
    assert {"name", "exponent", "interval", "predicted_excess", "score"} <= set(rate)
    assert rate["name"] == "learning_rate"
    assert rate["interval"][0] <= rate["exponent"] <= rate["interval"][1] < 0
    assert {"at", "seeds", "cost", "configurations", "message"} <= set(found["confirm"])
    assert found["gap"] is None
    after = ask(capsys, "drift", *metz, *SMALL, "--target", "width=8192", "--run", runs[3e-4])
    assert after["gap"]["shares"][0]["hyperparameter"] == "learning_rate"
    assert sum(each["share"] for each in after["gap"]["shares"]) + after["gap"]["unexplained"] == pytest.approx(1)


@pytest.mark.published
def test_check(metz: tuple[str, ...], runs: dict[float, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "check", *metz, *SMALL, runs[3e-4], code=3)
    keys = {
        "verdict",
        "message",
        "expected",
        "low",
        "high",
        "observed",
        "p_value",
        "excess",
        "detectable",
        "findings",
        "suspects",
    }
    assert keys <= set(found)
    assert found["verdict"] == "OFF_LAW"
    assert found["suspects"][0]["hyperparameter"] == "learning_rate"
    assert {"hyperparameter", "share", "probability"} <= set(found["suspects"][0])
    assert found["detectable"]["learning_rate"] > 1
    assert found["observed"] > found["high"]
    good = ask(capsys, "check", *metz, *SMALL, runs[6e-5])
    assert good["verdict"] != "OFF_LAW"


@pytest.mark.published
def test_a_frozen_forecast_is_scored(
    metz: tuple[str, ...], runs: dict[float, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "forecast.json"
    made = ask(capsys, "forecast", *metz, *SMALL, "--at", "width=8192", "--freeze", path)
    assert set(made["frozen"]) == {"path", "digest"}
    found = ask(capsys, "score", path, runs[6e-5])
    assert {"inside", "z", "interval_score", "observed", "forecast"} <= set(found)
    assert found["observed"] == 4.659
    assert found["inside"] == (made["low"] <= 4.659 <= made["high"])
    assert {"at", "loss", "low", "high", "level", "digest", "data"} <= set(found["forecast"])
    assert (found["forecast"]["loss"], found["forecast"]["digest"]) == (made["loss"], made["frozen"]["digest"])
    kept = ask(capsys, "score", path, runs[3e-4])
    assert (kept["inside"], kept["followed"]) == (False, False)
    listed = ask(capsys, "score", tmp_path)
    assert {"forecasts", "waiting", "coverage", "interval_score", "crps", "pit", "pit_sd"} <= set(listed)
    assert [len(each["scores"]) for each in listed["forecasts"]] == [2]


@pytest.mark.published
def test_check_of_a_fixed_ladder(metz: tuple[str, ...], runs: dict[float, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "check", *metz, *KEPT, "--fixed", runs[3e-4], code=3)
    assert found["verdict"] == "OFF_LAW"
    assert "tuning_untested" in {each["name"] for each in found["findings"]}


@pytest.mark.published
def test_compare(metz: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, *rows = Path(metz[0]).read_text(encoding="utf-8").splitlines()
    # The measurements, and beside them the same with 2 % more loss.
    place = head.split(",").index("loss_digitised")
    more = [line.split(",") for line in rows]
    more = [[*cells[:place], f"{1.02 * float(cells[place])}" if cells[place] else "", *cells[place + 1 :]] for cells in more]
    table = [f"{head},recipe", *(f"{line},plain" for line in rows), *(f"{','.join(cells)},worse" for cells in more)]
    path = tmp_path / "arms.csv"
    path.write_text("\n".join(table) + "\n", encoding="utf-8")
    found = ask(capsys, "compare", path, *metz[1:], *SMALL, "--by", "recipe", "--at", "width=8192")
    keys = {"arms", "multiplier", "crossing", "probability", "difference", "detectable", "pairing", "findings", "reference"}
    assert keys <= set(found)
    assert [arm["name"] for arm in found["arms"]] == ["plain", "worse"]
    assert all({"name", "loss", "low", "high"} <= set(arm) for arm in found["arms"])
    assert {"value", "low", "high"} <= set(found["multiplier"]["worse"])
    assert {"value", "low", "high", "probability", "message"} <= set(found["crossing"]["worse"])
    assert sum(found["probability"].values()) == pytest.approx(1)
    assert found["probability"]["plain"] > 0.9
    assert found["difference"]["worse"]["value"] == pytest.approx(0.0198, abs=0.003)
    assert found["multiplier"]["worse"]["value"] > 1
    assert all(set(each) == FINDING for each in found["findings"])


@pytest.mark.published
def test_backtest(metz: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "backtest", *metz, *SMALL)
    assert {"coverage", "error", "bias", "n", "horizon", "level", "rows"} <= set(found)
    assert found["n"] == len(found["rows"]) == 15
    assert 0 <= found["coverage"] <= 1
    assert all(row["low"] <= row["predicted"] <= row["high"] for row in found["rows"])


@pytest.mark.published
def test_the_screens_lead_with_the_answer(
    metz: tuple[str, ...], runs: dict[float, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    screens = {
        ("forecast", "--at", "width=8192"): "At width 8192 expect a loss of 4.7",
        ("optimum", "--at", "width=8192"): "The best learning_rate goes as width^-0.2",
        ("backtest",): "15 of 15 held-out sizes",
        ("fit", "--law", "power"): "power over width: L = A x^-alpha",
    }
    for (verb, *rest), start in screens.items():
        assert main([verb, *metz, *SMALL, *rest]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(start)
        assert all(line == line.rstrip() and len(line) <= 120 for line in out.splitlines())
        assert "colour_index_0_255" in err
    assert main(["check", *metz, *SMALL, str(runs[3e-4])]) == 3
    assert capsys.readouterr().out.startswith("OFF THE LAW: loss 5.303 at width 8192")


@pytest.mark.published
def test_figures_and_report(metz: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = ("--at", "width=8192", "--upto", "width=512", "--with", "lr=3e-4")
    for name in ("f.png", "f.svg"):
        found = ask(capsys, "plot", "four_pane", *metz, *target, "-o", tmp_path / name)
        assert len(found["panels"]) == 4
        assert (tmp_path / name).stat().st_size > 20_000
    assert ask(capsys, "report", *metz, *target, "-o", tmp_path / "r.html")["trials"] == 144
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "OFF THE LAW" in page or "OFF_LAW" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.png", "f.svg", "r.html"]


# ---- run, import, export ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study that has run."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "tiny.toml").write_text(STUDY, encoding="utf-8")
    assert main(["run", str(folder / "tiny.toml"), "--storage", str(folder / "study.db"), "--max-parallel", "1", "--json"]) == 0
    return folder


def test_a_run_again_trains_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(capsys, "run", study / "tiny.toml", "--storage", study / "study.db")
    assert found["trials"] == found["done"] == found["skipped"] == 8
    assert found["trained"] == 0
    assert found["complete"] is True
    assert main(["run", str(study / "tiny.toml"), "--storage", str(study / "study.db")]) == 0
    out, err = capsys.readouterr()
    assert "8 of 8 trials are done (8 were before)" in out
    assert err == ""


def test_a_run_tells_its_progress_in_plain_lines(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(study / "tiny.toml"), "--storage", str(tmp_path / "study.db"), "--max-parallel", "1"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "8 of 8 trials" in err
    assert "FLOP" in err
    assert "diverged" in err
    assert "\x1b" not in out + err
    assert len(err.splitlines()) <= 12
    assert [path.name for path in tmp_path.iterdir()] == ["study.db"]


def test_export_and_import_keep_every_trial(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"trials.{suffix}"
        assert ask(capsys, "export", study / "study.db", "-o", out)["trials"] == 8
        store = tmp_path / f"{suffix}.db"
        first = ask(capsys, "import", out, "--storage", store)
        again = ask(capsys, "import", out, "--storage", store)
        assert (first["rows"], first["added"], again["added"], again["known"]) == (8, 8, 0, 8)
        with Store(store, read_only=True) as there, Store(study / "study.db", read_only=True) as here:
            losses = [sorted(trial.loss or 0.0 for trial in each.trials()) for each in (there, here)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-12)


def test_a_trial_of_the_store_can_be_judged(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(study / "study.db", read_only=True) as store:
        trial = store.trials()[0]
    capsys.readouterr()
    assert main(["check", str(study / "study.db"), trial.id]) in (0, 2, 3)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_interrupt_keeps_what_is_finished_and_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text(STUDY.replace("steps = 30", "steps = 200000"), encoding="utf-8")
    words = ["run", str(path), "--storage", str(tmp_path / "study.db"), "--max-parallel", "1"]
    process = subprocess.Popen([*SCALELAW, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "8 of 8 trials to train" in first
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".db"] == ["study.db"]


def test_watch(tmp_path: Path, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    world = CurveWorld()
    with Store(tmp_path / "ladder.db") as store:
        store.put([world.run(random, width, (0.0, 0.0)) for width in world.widths])
    log = tmp_path / "log.csv"
    for gap, code in ((0.0, 0), (0.08, 3)):
        curve = world.watched(random, 1024, gap, 0.0)[0].upto(1600)
        rows = [f"{step},{loss}" for step, loss in zip(curve.middle, curve.losses, strict=True)]
        log.write_text("\n".join(["step,loss", *rows]) + "\n", encoding="utf-8")
        found = ask(capsys, "watch", tmp_path / "ladder.db", log, "--at", "width=1024", "--total", "4000", code=code)
        assert {"step", "fraction", "verdict", "message", "final", "excess", "alarm", "restart"} <= set(found)
        assert {"loss", "low", "high"} <= set(found["final"])
        assert {"decision", "reason"} <= set(found["restart"])
        assert found["alarm"] is (code == 3)
        assert found["verdict"] in (("OFF_LAW",) if code else ("ON_LAW", "UNDECIDED"))
    # Two sizes carry no course.
    capsys.readouterr()
    assert main(["watch", str(study / "study.db"), str(log), "--at", "width=64"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
