"""The demo's flow, on a study of seconds: every number of the account is a noun's, and a second call trains nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from scalelaw.demo import Account, Outcome, _parts, demo, packaged_study
from scalelaw.errors import DataError
from scalelaw.frontier import kept_setting
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study

LADDER = Grid(
    {"width": (4, 8, 16, 32), "steps": (400,)}, {"learning_rate": (1e-3, 4e-3, 1.2e-2, 4e-2, 1.2e-1), "batch_size": (32,)}, (0, 1)
)
LARGE = replace(LADDER, scale={"width": (128,), "steps": (400,)})
SMALL = Study("small", "teacher_student", (LADDER, LARGE))


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "study.db"


@pytest.fixture(scope="module")
def account(storage: Path) -> Account:
    return demo(storage, study=SMALL, max_parallel=1)


def test_the_account_holds_what_the_store_holds(account: Account, storage: Path) -> None:
    trials = load(storage)
    small = trials.where("width <= 32")
    assert {"learning_rate": account.kept.rate} == kept_setting(small, over="width", hyper="learning_rate")
    wide = trials.where("width == 128")
    for each in (account.kept, account.predicted, account.truth):
        losses = wide.where(f"learning_rate == {each.rate!r}").finished["loss"].tolist()
        assert each.losses == tuple(losses)
    assert account.predicted.rate == pytest.approx(account.best_rate.value, rel=5e-3)
    assert account.truth.loss == min(
        float(group.finished["loss"].mean()) for _, group in wide.groups(("learning_rate",)) if len(group.finished) == len(group)
    )
    assert account.tried == len(set(wide["learning_rate"]))
    assert account.trials == len(trials) == 4 * 5 * 2 + account.tried * 2


def test_the_forecast_saw_the_small_networks_alone(account: Account) -> None:
    assert account.forecast.frontier.source["width"].max() == 32
    assert all(verdict.forecast.frontier.source["width"].max() == 32 for verdict in account.verdicts)
    assert account.large == 128


def test_the_account_reads_as_sentences(account: Account) -> None:
    sentences = account.sentences()
    text = " ".join(sentences)
    assert all("\n" not in each and each for each in sentences)
    for part in (
        "kept",
        "promises a loss of",
        "The large network gave",
        f"Verdict: {account.ruling}",
        "predicted",
        "truth",
    ):
        assert part in text
    assert f"{account.kept.loss:.4g}" in text
    assert f"{account.truth.loss:.4g}" in text
    assert ("inside" in text) == account.covered
    found = account.to_dict()
    json.dumps(found, allow_nan=False)
    assert found["sentences"] == list(sentences)
    assert found["excess"] == pytest.approx(account.kept.loss - account.truth.loss)


def test_figure_and_report_are_written(account: Account) -> None:
    assert [path.suffix for path in account.figures] == [".png", ".svg"]
    assert all(path.stat().st_size > 10_000 for path in account.figures)
    page = account.report.read_text(encoding="utf-8")
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert f"{account.truth.loss:.4g}" in page


def test_a_second_call_trains_nothing_and_says_the_same(account: Account, storage: Path) -> None:
    with Store(storage, read_only=True) as store:
        before = {trial.id: trial.seconds for trial in store.trials()}
    again = demo(storage, study=SMALL, max_parallel=1)
    with Store(storage, read_only=True) as store:
        assert {trial.id: trial.seconds for trial in store.trials()} == before
    assert again.sentences() == account.sentences()


def test_reruns_share_no_trial() -> None:
    ladders = [{spec.id for spec in _parts(SMALL, seed)[0].specs} for seed in range(3)]
    assert sum(map(len, ladders)) == len(set().union(*ladders))


def test_a_study_without_a_large_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two grids"):
        demo(tmp_path / "study.db", study=replace(SMALL, grids=(LADDER,)))
    assert list(tmp_path.iterdir()) == []


def test_a_rate_that_loses_a_seed_cannot_be_the_truth(account: Account) -> None:
    assert Outcome(0.1, (1.0, 3.0), 2).loss == 2.0
    assert Outcome(0.1, (1.0,), 2).loss == math.inf
    assert Outcome(0.1, (1.0, 3.0), 2).variance == 2.0
    lost = replace(account, kept=Outcome(0.1, (), 2), verdicts=())
    text = " ".join(lost.sentences())
    assert "diverge" in text
    assert "Verdict: OFF_LAW" in text
    assert "nan" not in text


def test_the_packaged_study_is_a_ladder_and_one_large_network() -> None:
    study = packaged_study()
    ladder, large = _parts(study, 0)
    widths = ladder.grids[0].scale["width"]
    rates = ladder.grids[0].hyperparameters["learning_rate"]
    assert len(widths) >= 8
    assert len(rates) == 12
    assert len(ladder.grids[0].seeds) == len(large.seeds) == 3
    assert len(large.scale["width"]) == 1
    assert 8 <= large.scale["width"][0] / max(widths) <= 16
    assert large.hyperparameters["learning_rate"] == rates
