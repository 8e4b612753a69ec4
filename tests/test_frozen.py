"""Frozen forecasts: written once, read as they were written, scored by the book, and uniform in worlds it knows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import scalelaw
from scalelaw import frozen as frozen_module
from scalelaw._predictive import Predictive, interval_score
from scalelaw.cli import main
from scalelaw.errors import InputError, RunError
from scalelaw.forecast import Forecast, forecast
from scalelaw.frozen import Frozen, data_digest, freeze, sidecar, thaw
from scalelaw.scoring import record, register, score
from scalelaw.testing.worlds import World
from scalelaw.trial import Status, Trial, TrialSpec
from scalelaw.trials import Trials

NORMAL = NormalDist()
WORLD = World()
TARGET = 4096.0


@pytest.fixture(scope="module")
def trials() -> Trials:
    return WORLD.draw(np.random.default_rng(0))[0]


@pytest.fixture(scope="module")
def found(trials: Trials) -> Forecast:
    return forecast(trials, {"width": TARGET})


@pytest.fixture
def frozen(found: Forecast, tmp_path: Path) -> Frozen:
    return freeze(found, tmp_path / "forecast.json")


def run(loss: float | None, width: float = TARGET, **more: Any) -> dict[str, Any]:
    return {"width": width, "learning_rate": 2.4e-4, "loss": loss, **more}


# ---- scores against closed forms ----------------------------------------------------------------------------------------


def normal(mean: float, sd: float) -> Predictive:
    """A normal distribution by the quantiles that a frozen forecast keeps."""
    half = frozen_module._HALF
    shares = [*half, 0.5, *(1 - each for each in reversed(half))]
    return Predictive(shares, [mean + sd * NORMAL.inv_cdf(each) for each in shares])


@pytest.mark.parametrize("away", [-9.0, -3.0, -0.7, 0.0, 0.01, 1.0, 2.5, 6.0])
@pytest.mark.parametrize(("mean", "sd"), [(0.4, 0.02), (-1.0, 0.5)])
def test_scores_of_a_normal_are_the_closed_forms(mean: float, sd: float, away: float) -> None:
    found, y = normal(mean, sd), mean + sd * away
    assert found.z(y) == pytest.approx(away, abs=1e-9)
    assert found.pit(y) == pytest.approx(NORMAL.cdf(away), abs=1e-12)
    # Gneiting and Raftery 2007, eq. 21.
    crps = sd * (away * (2 * NORMAL.cdf(away) - 1) + 2 * NORMAL.pdf(away) - 1 / math.sqrt(math.pi))
    assert found.crps(y) == pytest.approx(crps, rel=1e-9)
    log_score = 0.5 * away**2 + math.log(sd * math.sqrt(2 * math.pi))
    assert found.log_score(y) == pytest.approx(log_score, abs=1e-9)


def test_scores_of_another_shape_are_the_integrals() -> None:
    from scipy import integrate, stats

    law = stats.t(df=4, loc=0.3, scale=0.05)
    half = frozen_module._HALF
    shares = [*half, 0.5, *(1 - each for each in reversed(half))]
    found = Predictive(shares, [float(law.ppf(each)) for each in shares])
    for y in (0.1, 0.29, 0.33, 0.45):
        crps = integrate.quad(lambda x: law.cdf(x) ** 2, -3, y)[0] + integrate.quad(lambda x: law.sf(x) ** 2, y, 3)[0]
        assert found.crps(y) == pytest.approx(crps, rel=2e-3)
        assert found.pit(y) == pytest.approx(law.cdf(y), abs=2e-4)
        assert found.log_score(y) == pytest.approx(-law.logpdf(y), abs=0.02)
    assert found.quantile(0.9) == pytest.approx(law.ppf(0.9))


def test_the_interval_score_charges_width_and_what_lies_outside() -> None:
    assert interval_score(0.5, 0.0, 1.0, 0.9) == 1.0
    assert interval_score(-0.1, 0.0, 1.0, 0.9) == pytest.approx(1 + 20 * 0.1)
    assert interval_score(1.2, 0.0, 1.0, 0.5) == pytest.approx(1 + 4 * 0.2)
    # Over a normal its expectation is least at the normal's own quantiles.
    y = np.random.default_rng(0).normal(size=20_000)
    own, *others = (np.mean([interval_score(each, -w, w, 0.9) for each in y]) for w in (1.645, 1.3, 2.1))
    assert own < min(others)


def test_a_distribution_without_width_is_still_scored() -> None:
    found = Predictive([0.1, 0.5, 0.9], [0.3, 0.3, 0.3])
    assert found.z(0.3) == pytest.approx(0, abs=1e-6)
    assert found.crps(0.4) == pytest.approx(0.1, rel=1e-6)
    assert math.isfinite(found.log_score(0.31))
    for wrong in (([0.5], [1.0]), ([0.5, 0.4], [1.0, 2.0]), ([0.1, 0.9], [1.0, math.nan])):
        with pytest.raises(ValueError, match="rising"):
            Predictive(*wrong)


def test_places_are_uniform_where_the_forecast_knows_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_module, "_HALF", [0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4])  # fewer quantiles take less time
    # Runs drawn from the forecast's own posterior would be uniform by construction; here the world is the judge.
    world, places = World(law="power", sizes=7, rates=5, noise=0.01), []
    for seed in range(60):
        random = np.random.default_rng(seed)
        at = 2 * float(world.widths[-1])
        told = frozen_module._content(forecast(world.draw(random)[0], {"width": at}, law="power"), {})
        table = told["quantiles"]
        places.append(Predictive(table["probability"], np.log(table["loss"]).tolist()).pit(math.log(world.run(random, at))))
    # Wide is forgiven (small data leave room for unseen form), narrow and crooked are not.
    assert 0.35 < np.mean(places) < 0.65
    outer = np.mean(np.abs(np.array(places) - 0.5) > 0.45)
    assert outer <= 0.2, "nominal 0.1; 60 calibrated places exceed 0.2 once in 200"
    assert len(set(np.floor(np.array(places) * 4))) == 4


# ---- the file -----------------------------------------------------------------------------------------------------------


def test_a_forecast_is_read_as_it_was_frozen(found: Forecast, trials: Trials, frozen: Frozen) -> None:
    again = thaw(frozen.path)
    assert again.content == frozen.content
    assert (again.loss, again.low, again.high, again.level) == (found.loss, found.low, found.high, 0.9)
    assert dict(again.at) == {"width": TARGET}
    assert again.recommended["learning_rate"].value == found.optimum["learning_rate"].value
    assert again.data["sha256"] == data_digest(trials)
    assert (again.data["rows"], again.data["at_target"]) == (len(trials), 0)
    assert again.code["scalelaw"] == scalelaw.__version__
    assert again.created.endswith("+00:00")
    assert [each["name"] for each in again.findings] == [each.name for each in found.findings]
    assert set(again.intervals) == {0.5, 0.8, 0.9, 0.95}
    assert again.intervals[0.9] == (pytest.approx(found.low, rel=1e-9), pytest.approx(found.high, rel=1e-9))
    widths = [high - low for low, high in again.intervals.values()]
    assert widths == sorted(widths)
    # The table of quantiles says what the intervals say.
    for level, (low, high) in again.intervals.items():
        assert again.predictive.pit(math.log(low)) == pytest.approx(0.5 - level / 2, abs=1e-6)
        assert again.predictive.pit(math.log(high)) == pytest.approx(0.5 + level / 2, abs=1e-6)
    assert again.predictive.pit(math.log(again.loss)) == pytest.approx(0.5, abs=1e-6)


def test_a_level_of_its_own_is_kept(trials: Trials, tmp_path: Path) -> None:
    told = freeze(forecast(trials, {"width": TARGET}, level=0.7), tmp_path / "f.json")
    assert set(told.intervals) == {0.5, 0.7, 0.8, 0.9, 0.95}
    assert told.intervals[0.7] == (pytest.approx(told.low, rel=1e-9), pytest.approx(told.high, rel=1e-9))


def test_the_data_hash_knows_every_value_and_no_order(trials: Trials) -> None:
    digest = data_digest(trials)
    order = np.random.default_rng(1).permutation(len(trials))
    assert data_digest(trials.where(np.ones(len(trials), dtype=bool))) == digest
    shuffled = Trials({name: column[order] for name, column in reversed(trials.columns.items())}, "elsewhere")
    assert data_digest(shuffled) == digest
    seen = {digest}
    for name, column in trials.columns.items():
        for row in (0, len(trials) - 1):
            changed = column.copy()
            changed[row] = "OTHER" if column.dtype == object else np.nextafter(changed[row], np.inf)
            seen.add(data_digest(trials.with_column(name, changed)))
    assert len(seen) == 1 + 2 * len(trials.columns)
    # Values that change places between rows are other data, and so is one row fewer.
    rates = trials["learning_rate"].copy()
    rates[[0, 1]] = rates[[1, 0]]
    assert data_digest(trials.with_column("learning_rate", rates)) != digest
    assert data_digest(trials.where(np.arange(len(trials)) > 0)) != digest
    assert data_digest(Trials({})) != digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c["intervals"][2].update(high=9.0),
        lambda c: c["forecast"].update(low=0.1),
        lambda c: c["quantiles"]["loss"].__setitem__(3, c["quantiles"]["loss"][3] * (1 + 1e-12)),
        lambda c: c["target"].update(width=2048.0),
        lambda c: c.update(created="2020-01-01T00:00:00+00:00"),
        lambda c: c["data"].update(sha256="0" * 64),
        lambda c: c.update(note="added"),
        lambda c: c.pop("findings"),
        lambda c: c.pop("digest"),
        lambda c: c.update(median=math.nan),
    ],
)
def test_an_edit_is_seen(frozen: Frozen, edit: Any) -> None:
    path = Path(frozen.path)
    content = json.loads(path.read_text(encoding="utf-8"))
    # Laid out otherwise it is still the same forecast.
    path.write_text(json.dumps(content, sort_keys=True), encoding="utf-8")
    assert thaw(path).digest == frozen.digest
    edit(content)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match="changed after it was frozen"):
        thaw(path)


def test_nothing_is_written_over(found: Forecast, frozen: Frozen, tmp_path: Path) -> None:
    path, before = Path(frozen.path), Path(frozen.path).read_bytes()
    with pytest.raises(InputError, match="there already"):
        freeze(found, path)
    # Not even where the file came to be after the first look.
    with pytest.raises(InputError, match="there already"):
        frozen_module._write(path, "other", force=False)
    assert path.read_bytes() == before
    assert freeze(found, path, force=True).loss == found.loss
    record(score(path, run(found.loss)))
    with pytest.raises(InputError, match="has been scored"):
        freeze(found, path, force=True)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["forecast.json", "forecast.scores.jsonl"]


def test_a_full_disk_leaves_nothing_behind(found: Forecast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="no space left"):
        freeze(found, tmp_path / "f.json")
    assert list(tmp_path.iterdir()) == []


# ---- scoring ------------------------------------------------------------------------------------------------------------


def test_a_run_is_scored_without_the_data(frozen: Frozen) -> None:
    middle = score(frozen.path, run(frozen.loss))
    assert (middle.inside, middle.followed) == (True, True)
    assert middle.z == pytest.approx(0, abs=1e-6)
    assert middle.interval_score == pytest.approx(math.log(frozen.high / frozen.low))
    assert middle.message.startswith("INSIDE")
    edge = score(frozen, run(frozen.high))
    assert edge.inside
    assert edge.z == pytest.approx(NORMAL.inv_cdf(0.95), abs=1e-5)
    worse = score(frozen, run(frozen.high * 1.05))
    assert not worse.inside
    assert worse.interval_score == pytest.approx(math.log(frozen.high / frozen.low) + 20 * math.log(1.05))
    assert worse.crps is not None
    assert middle.crps is not None
    assert worse.crps > 5 * middle.crps
    assert "above" in worse.message
    assert "below" in score(frozen, run(frozen.low * 0.95)).message


def test_a_run_that_diverged_is_outside_and_has_no_place(frozen: Frozen) -> None:
    spec = TrialSpec("task", {"width": 4096}, {"learning_rate": 2.4e-4})
    for lost in (run(math.nan), {**run(None), "status": "DIVERGED"}, Trial(spec, Status.DIVERGED)):
        told = score(frozen, lost)
        assert (told.inside, told.z, told.pit, told.interval_score, told.observed) == (False, None, None, None, None)
        assert "diverged" in told.message
        assert json.dumps(told.to_dict(), allow_nan=False)


def test_a_trial_and_a_table_are_runs_too(frozen: Frozen) -> None:
    spec = TrialSpec("task", {"width": 4096}, {"learning_rate": 2.4e-4})
    told = score(frozen, Trial(spec, Status.COMPLETE, loss=frozen.loss))
    assert (told.run, told.followed) == (spec.id, True)
    table = Trials.from_columns({"width": [TARGET], "learning_rate": [2.4e-4], "loss": [frozen.loss]})
    assert score(frozen, table).z == told.z


@pytest.mark.parametrize(("rate", "followed"), [(1.0, True), (1.09, True), (4.0, False), (0.2, False), (None, None)])
def test_the_run_is_asked_for_its_settings(frozen: Frozen, rate: float | None, followed: bool | None) -> None:
    row = run(frozen.loss)
    best = frozen.recommended["learning_rate"].value
    row = {**row, "learning_rate": best * rate} if rate else {k: v for k, v in row.items() if k != "learning_rate"}
    assert score(frozen, row).followed is followed


def test_a_forecast_at_one_setting_is_for_that_setting(trials: Trials, tmp_path: Path) -> None:
    told = freeze(forecast(trials, {"width": TARGET}, fixed=True), tmp_path / "f.json")
    kept = told.recommended["learning_rate"]
    assert not told.tuned
    assert kept.low == kept.value == kept.high
    assert score(told, {**run(told.loss), "learning_rate": kept.value}).followed
    assert score(told, {**run(told.loss), "learning_rate": kept.value * 2}).followed is False


def test_data_that_hold_the_target_are_told(trials: Trials, tmp_path: Path) -> None:
    width = float(WORLD.widths[-1])
    assert freeze(forecast(trials, {"width": width}), tmp_path / "f.json").data["at_target"] == WORLD.rates


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (run(1.5, width=2048.0), "2048"),
        ({"learning_rate": 1e-3, "loss": 1.5}, "width"),
        ({"width": TARGET, "learning_rate": 1e-3}, "no loss"),
        (run(None), "no final loss"),
        (run(-1.0), "positive"),
        ({**run(1.5), "status": "PRUNED"}, "PRUNED"),
        (Trials.from_columns({"width": [TARGET] * 2, "loss": [1.5, 1.6]}), "2 rows"),
    ],
)
def test_a_run_that_cannot_be_scored_is_one_line(frozen: Frozen, wrong: Any, says: str) -> None:
    with pytest.raises(RunError, match=says) as caught:
        score(frozen, wrong)
    assert "\n" not in str(caught.value)


def test_a_size_within_one_percent_is_the_target(frozen: Frozen) -> None:
    assert score(frozen, run(frozen.loss, width=TARGET * 1.009)).inside


# ---- all of them --------------------------------------------------------------------------------------------------------


def test_scores_are_kept_beside_the_forecast(frozen: Frozen) -> None:
    before = Path(frozen.path).read_bytes()
    first, second = run(frozen.loss, seed=0), run(frozen.high * 1.1, seed=1)
    for each in (first, second, first):
        path = record(score(frozen, each))
    assert Path(frozen.path).read_bytes() == before
    assert path == sidecar(frozen.path)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3, "scoring again hides nothing"
    (row,) = register(frozen.path).rows
    assert len(row.scores) == 2, "and counts once"
    # A line that was cut short is no score, and swallows none.
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"forecast": "ab')
    record(score(frozen, run(frozen.loss, seed=2)))
    assert len(register(frozen.path).rows[0].scores) == 3


def test_scores_of_another_forecast_are_refused(frozen: Frozen) -> None:
    path = record(score(frozen, run(frozen.loss)))
    path.write_text(path.read_text(encoding="utf-8").replace(frozen.digest, "0" * 64), encoding="utf-8")
    for ask in (lambda: register(frozen.path), lambda: record(score(frozen, run(frozen.loss)))):
        with pytest.raises(InputError, match="another forecast"):
            ask()


def test_a_register_counts_forecasts(found: Forecast, tmp_path: Path) -> None:
    from scipy.stats import binomtest

    for k in range(6):
        told = freeze(found, tmp_path / f"{k}.json")
        if k < 5:
            record(score(told, run(found.loss if k < 4 else found.high * 1.01)))
    # Three seeds of one target, two of them out, are one forecast that held for a third.
    record(score(told := thaw(tmp_path / "3.json"), run(found.high * 1.01, seed=1)))
    record(score(told, run(found.high * 1.02, seed=2)))
    # A run at another setting says nothing of the forecast.
    record(score(thaw(tmp_path / "0.json"), {**run(found.high * 2), "learning_rate": 1e-2}))
    all_of_them = register(tmp_path)
    assert len(all_of_them.rows) == 6
    assert [Path(each.path).name for each in all_of_them.waiting] == ["5.json"]
    at_90 = next(each for each in all_of_them.coverage if each.level == 0.9)
    assert at_90.n == 5
    assert at_90.share == pytest.approx((3 + 1 / 3) / 5)
    assert all_of_them.pit is not None
    assert all_of_them.pit_sd == pytest.approx(1 / math.sqrt(60))
    assert json.dumps(all_of_them.to_dict(), allow_nan=False)
    interval = binomtest(4, 5).proportion_ci(0.95, "exact")
    from scalelaw.scoring import _coverage

    exact = _coverage(0.9, [1, 1, 1, 1, 0])
    assert (exact.low, exact.high) == (pytest.approx(interval.low), pytest.approx(interval.high))
    # One that was changed is listed, and does not count.
    path = tmp_path / "1.json"
    path.write_text(path.read_text(encoding="utf-8").replace(f'"median": {found.loss!r}', '"median": 1.0'), encoding="utf-8")
    listed = register(tmp_path)
    assert len(listed.rows) == 6
    assert "changed" in listed.rows[0].reason
    assert listed.coverage[0].n == 4
    with pytest.raises(InputError, match="changed"):
        register([path])


def test_diverged_runs_count_as_misses(frozen: Frozen) -> None:
    record(score(frozen, run(math.nan)))
    told = register(frozen.path)
    assert [each.share for each in told.coverage] == [0.0] * 4
    assert (told.pit, told.interval_score) == (1.0, None)


# ---- the command line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with data, a frozen forecast, and runs."""
    monkeypatch.chdir(tmp_path)
    trials.to_frame().rename({"loss": "val"}).write_csv("runs.csv")
    Path("good.csv").write_text("width,lr,val\n4096,2.4e-4,1.53\n", encoding="utf-8")
    Path("small.csv").write_text("width,lr,val\n2048,2.4e-4,1.53\n", encoding="utf-8")
    words = ["forecast", "runs.csv", "--at", "width=4096", "--outcome", "val", "--freeze", "forecast.json"]
    assert main([*words, "--where", "width > 8"]) == 0
    return tmp_path


def told(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(list(words)) == code
    out, err = capsys.readouterr()
    return out, err


def test_freeze_and_score(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = thaw(folder / "forecast.json")
    assert kept.assumptions["where"] == "width > 8"
    assert kept.assumptions["outcome"] == "val"
    assert kept.data["rows"] == 49
    # The run's loss is read as the data's was.
    found = json.loads(told(capsys, "score", "forecast.json", "good.csv", "--json")[0])
    assert {"inside", "z", "interval_score", "observed", "forecast", "crps", "pit", "followed"} <= set(found)
    assert found["observed"] == 1.53
    assert found["forecast"]["digest"] == kept.digest
    out, err = told(capsys, "score", "forecast.json", "good.csv", "--no-record")
    assert out.startswith("INSIDE" if found["inside"] else "OUTSIDE")
    assert err == ""
    assert len((folder / "forecast.scores.jsonl").read_text(encoding="utf-8").splitlines()) == 1
    listed = json.loads(told(capsys, "score", ".", "--json")[0])
    assert [len(each["scores"]) for each in listed["forecasts"]] == [1]
    out, _ = told(capsys, "score", "forecast.json")
    assert "good.csv" in out
    assert all(len(line) <= 120 for line in out.splitlines())


def test_a_trial_is_found_by_its_id(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "all.csv").write_text("id,width,lr,val\nabc123,4096,2.4e-4,1.53\nxyz,4096,2.4e-4,1.6\n", encoding="utf-8")
    found = json.loads(told(capsys, "score", "forecast.json", "abc", "--data", "all.csv", "--json")[0])
    assert (found["run"], found["observed"]) == ("abc123", 1.53)


WRONG = {
    ("forecast", "runs.csv", "--outcome", "val", "--at", "width=4096", "--freeze", "forecast.json"): "--force",
    ("forecast", "runs.csv", "--outcome", "val", "--at", "width=4096", "--freeze", "f.txt"): ".json",
    ("forecast", "runs.csv", "--outcome", "val", "--at", "width=4096", "--freeze", "no/f.json"): "mkdir",
    ("forecast", "runs.csv", "--outcome", "val", "--at", "width=4096", "--force"): "--freeze",
    ("score",): "FORECAST",
    ("score", "absent.json"): "no such file",
    ("score", "good.csv"): "JSON",
    ("score", "empty"): "no frozen forecast",
    ("score", "forecast.json", "small.csv"): "2048",
    ("score", "forecast.json", "absent.csv"): "absent.csv",
    ("score", "forecast.json", "runs.csv"): "56 rows",
    ("score", "forecast.json", "forecast.json", "good.csv"): "one forecast at a time",
    ("score", "forecast.json", "--no-record"): "--no-record",
    ("score", "broken.json", "good.csv"): "changed after it was frozen",
    ("score", "newer.json", "good.csv"): "newer scalelaw",
    ("score", "plain.json", "good.csv"): "no frozen forecast",
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    (folder / "empty").mkdir()
    text = (folder / "forecast.json").read_text(encoding="utf-8")
    (folder / "broken.json").write_text(text.replace('"target": {\n  "width": 4096.0', '"target": {\n  "width": 4095.0'), "utf-8")
    (folder / "newer.json").write_text(text.replace('"format": 1', '"format": 2'), "utf-8")
    (folder / "plain.json").write_text("[1]", "utf-8")
    before = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}
    out, err = told(capsys, *words, code=2)
    assert out == ""
    assert err.count("\n") == 1, err
    assert WRONG[words] in err
    assert {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()} == before
