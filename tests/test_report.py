"""The report is one file that says what the verbs say, loads nothing, and trusts no text it is given."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

import scalelaw
from scalelaw.errors import DataError
from scalelaw.forecast import forecast
from scalelaw.report import analyse, report
from scalelaw.trials import Trials
from scalelaw.verdict import check
from test_figures import RATES, world

EVIL = "</title><script>alert('x')</script><img src=//evil.example/a onerror=alert(1)>\"' onmouseover=\"alert(2)"
VOID = {"meta", "link", "img", "br", "hr", "input", "col", "wbr", "source"}


class Page(HTMLParser):
    """A strict reader: every element is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag} repeats an attribute"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def trials() -> Trials:
    return world()


@pytest.fixture(scope="module")
def page(trials: Trials) -> str:
    return report(trials, at={"width": 1024}, setting={"learning_rate": float(RATES[7])})


def test_it_is_a_valid_page_with_every_part(page: str, trials: Trials) -> None:
    read = Page(page)
    assert page.startswith("<!doctype html>")
    ids = [attributes["id"] for _, attributes in read.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads == ["Verdict", "Forecast", "Laws", "How far such forecasts can be trusted", "Trials", "Provenance"]
    assert page.count("<svg") == 2
    assert trials.digest in read.text
    assert scalelaw.__version__ in read.text


def test_it_loads_nothing(page: str) -> None:
    read = Page(page)
    for tag, attributes in read.tags:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name.endswith("href"):
                assert (value or "").startswith("#")
    assert not re.search(r"@import|url\((?!#)", page)
    assert set(re.findall(r"https?://[^\s\"'<>]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "default-src 'none'" in page


def test_it_says_what_the_verbs_say(trials: Trials, page: str) -> None:
    found = analyse(trials, at={"width": 1024}, setting={"learning_rate": float(RATES[7])})
    assert found.forecast is not None
    text = Page(page).text
    for value in (found.forecast.loss, found.forecast.low, found.forecast.high, found.forecast.fixed.loss):
        assert f"{value:.4g}" in text
    assert {verdict.verdict.name for verdict in found.verdicts} == {"OFF_LAW"}
    assert "OFF THE LAW" in text
    assert found.verdicts[0].verdict.value in text
    for law in found.forecast.laws:
        assert law.fit.law.formula in text
        assert all(f"{name} = {value:.4g}" in text for name, value in law.fit.theta.items() if value > 1e-3)
    assert found.forecast.reach.message in text


def test_text_of_others_is_never_markup(trials: Trials) -> None:
    count = len(trials)
    table = (
        trials.with_column("task", [EVIL] * count)
        .with_column(EVIL, np.ones(count))
        .with_column("id", [f"{EVIL}{place}" for place in range(count)])
    )
    table = Trials(table.columns, source=f"/data/{EVIL}", ignored=(EVIL,))
    text = report(table, at={"width": 1024}, title=EVIL, account=[EVIL, "fine"])
    read = Page(text)
    assert sum(tag == "script" for tag, _ in read.tags) == 1
    assert not any(tag == "img" for tag, _ in read.tags)
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    assert text.count("&lt;script&gt;") >= 3 + count


def test_what_was_computed_is_taken_as_it_is(trials: Trials) -> None:
    small = trials.where("width <= 128")
    expected = forecast(small, {"width": 1024}, level=0.8)
    run = trials.where("width == 1024").finished
    verdict = check(small, run.where(np.arange(len(run)) == 0))
    text = report(trials, forecast=expected, verdicts=[verdict], account="One sentence.", title="Mine")
    assert "<title>Mine</title>" in text
    assert "One sentence." in text
    assert f"80% interval {expected.low:.4g}" in text
    alone = report(trials, verdicts=[verdict])
    assert f"{verdict.forecast.loss:.4g}" in alone


def test_the_target_is_the_largest_size_and_laws_stop_short_of_it(trials: Trials) -> None:
    found = analyse(trials)
    assert dict(found.forecast.at) == {"width": 1024.0}
    assert max(found.forecast.frontier.trials["width"]) == 128
    assert len(found.verdicts) in (1, 2, 3)
    # With fewer than five sizes an eighth as large, all smaller ones count.
    assert max(analyse(trials.where("width <= 128")).forecast.frontier.trials["width"]) == 64
    assert max(analyse(trials, upto={"width": 32}).forecast.frontier.trials["width"]) == 32
    beyond = analyse(trials, at={"width": 8192})
    assert max(beyond.forecast.frontier.trials["width"]) == 1024
    assert beyond.verdicts == ()


def test_without_a_law_it_says_why(trials: Trials) -> None:
    text = Page(report(trials.where("width <= 8"))).text
    assert "There is no forecast" in text
    with pytest.raises(DataError):
        report(trials.where("width == 8"))


def test_it_stays_small_and_says_what_it_leaves_out() -> None:
    full = world(seeds=6, missing=0.0)
    assert len(full) == 420
    text = report(full, at={"width": 1024})
    assert len(text.encode()) < 1_000_000
    assert "420 rows" in text
    many = Trials.from_columns({name: np.concatenate([full[name]] * 8).tolist() for name in full.columns})
    text = report(many, forecast=forecast(full.where("width <= 128"), {"width": 1024}))
    assert "3000 rows" in text
    assert f"The other {len(many) - 3000} are left out" in text
    assert text.count("<tr>") < 3100


def test_it_is_the_same_each_time(trials: Trials, page: str) -> None:
    assert report(trials, at={"width": 1024}, setting={"learning_rate": float(RATES[7])}) == page
    assert scalelaw.report is report
