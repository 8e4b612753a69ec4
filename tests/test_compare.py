"""Recipes compared: multipliers and crossings are covered, winners win as often as said, pairing pays, tuning is watched."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelaw import Comparison, compare
from scalelaw._pairing import LAWS, Differences, Pairs, pair
from scalelaw._ray import Ray, currency
from scalelaw.cli import main
from scalelaw.errors import DataError, UnknownNameError
from scalelaw.figures import Line, Role, Rule, figures
from scalelaw.forecast import forecast
from scalelaw.frontier import frontier
from scalelaw.testing.figures import check_figure
from scalelaw.testing.worlds import World
from scalelaw.trials import Trials

Curve = Callable[[float], float]
LADDER: dict[str, Any] = {"sizes": 5, "smallest": 32.0, "seeds": 1, "noise": 0.004}
TARGET = 2048.0


@dataclass(frozen=True)
class Recipe(World):
    """A world with a law of its own."""

    curve: Curve = math.log

    def loss(self, width: float) -> float:
        return self.curve(width)


def base(n: float) -> float:
    return 1.2 + 6.0 * n**-0.35


def better(n: float) -> float:
    """`base` at 1.3 times the width: needs 1 / 1.3 of it everywhere, and never crosses."""
    return base(1.3 * n)


def crossing(n: float) -> float:
    """`base` at (n / 256)^-0.15 times the width: better below 256."""
    return base(n * (n / 256) ** -0.15)


def draw(random: np.random.Generator, curves: Sequence[Curve], luck: float = 0.0, shared: bool = True, **changes: Any) -> Trials:
    """Arms A, B, ...; each seed of each width has luck, the same in all arms where that is `shared`."""
    columns: dict[str, list[Any]] = {}
    lucks: dict[tuple[float, float, str], float] = {}
    for name, curve in zip("ABCD", curves, strict=False):
        trials, _ = Recipe(**{**LADDER, "rates": 5, **changes}, curve=curve).draw(random)
        keys = [(*key, "" if shared else name) for key in zip(trials["width"], trials["seed"], strict=True)]
        each = np.array([luck * lucks.setdefault(key, random.normal()) for key in keys])
        trials = trials.with_column("loss", trials["loss"] * np.exp(each)).with_column("recipe", [name] * len(trials))
        for column, values in trials.columns.items():
            columns.setdefault(column, []).extend(values.tolist())
    return Trials.from_columns(columns, "simulated")


def multiplier(first: Curve, second: Curve, at: float) -> float:
    """The factor in width at which the second's loss is the first's at `at`."""
    low, high = at / 1e3, at * 1e3
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if second(middle) > first(at) else (low, middle)
    return middle / at


def write(trials: Trials, path: Path) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(trials.columns)
        rows.writerows(zip(*(column.tolist() for column in trials.columns.values()), strict=True))
    return path


# ---- what is recovered --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crossed() -> list[Comparison]:
    return [compare(draw(np.random.default_rng(seed), (base, crossing)), "recipe", {"width": TARGET}) for seed in range(50)]


def test_multipliers_and_crossings_are_covered(crossed: list[Comparison]) -> None:
    truth = multiplier(base, crossing, TARGET)
    gap = math.log(crossing(TARGET) / base(TARGET))
    gaps = [each.gaps[0] for each in crossed]
    assert np.mean([each.multiplier.low <= truth <= each.multiplier.high for each in gaps]) >= 0.85
    assert np.mean([each.crossing.low <= 256 <= each.crossing.high for each in gaps]) >= 0.85
    assert np.mean([each.difference.low <= gap <= each.difference.high for each in gaps]) >= 0.85
    # And the values themselves are near: the median error is small beside the truth.
    assert np.median([abs(math.log(each.multiplier.value / truth)) for each in gaps]) < 0.3 * math.log(truth)
    assert np.median([abs(math.log(each.crossing.value / 256)) for each in gaps]) < 0.35
    assert all(each.probability["A"] > 0.5 for each in map(_Probabilities, crossed[:5]))


def test_pairing_is_far_sharper_than_two_forecasts(crossed: list[Comparison]) -> None:
    ratios = []
    for each in crossed:
        alone = math.hypot(*(math.log(arm.forecast.high / arm.forecast.low) for arm in each.arms))
        ratios.append((each.gaps[0].difference.high - each.gaps[0].difference.low) / alone)
    assert np.median(ratios) < 0.7
    assert all(each.pairing.weight > 0.5 for each in crossed[:5])


class _Probabilities:
    def __init__(self, found: Comparison) -> None:
        self.probability = {arm.name: arm.probability for arm in found.arms}


def test_probabilities_are_calibrated_and_equal_arms_win_half_the_time() -> None:
    chance: list[float] = []
    won: list[bool] = []
    fair: list[float] = []
    for seed in range(24):
        random = np.random.default_rng(1000 + seed)
        factor = math.exp(0.15 * random.normal())
        other: Curve = lambda n, factor=factor: base(factor * n)  # noqa: E731
        found = compare(draw(random, (base, other)), "recipe", {"width": TARGET})
        chance.append(found.arms[1].probability)
        won.append(factor > 1)
        assert sum(arm.probability for arm in found.arms) == pytest.approx(1)
        if seed < 16:
            fair.append(compare(draw(random, (base, base)), "recipe", {"width": TARGET}).arms[1].probability)
    brier = float(np.mean((np.array(chance) - np.array(won)) ** 2))
    assert brier < 0.2
    # 24 fair coins: fewer than 5 or more than 19 heads have probability 0.003.
    assert 5 <= sum(each > 0.5 for each in fair) <= 19
    assert abs(float(np.mean(fair)) - 0.5) < 0.15
    # A nominal 95 % call of equal arms is wrong at most now and then.
    assert sum(each > 0.95 or each < 0.05 for each in fair) <= 4


def test_shared_seeds_narrow_the_interval() -> None:
    widths: dict[bool, list[float]] = {True: [], False: []}
    shares: dict[bool, list[float]] = {True: [], False: []}
    for shared in widths:
        for seed in range(6):
            trials = draw(np.random.default_rng(seed), (base, better), 0.012, shared, seeds=4, noise=0.002)
            if not shared:
                names = trials.numbers("seed") + 10 * (trials["recipe"] == "B")
                trials = trials.with_column("seed", names)
            found = compare(trials, "recipe", {"width": TARGET})
            estimate = found.gaps[0].difference
            widths[shared].append(estimate.high - estimate.low)
            shares[shared].append(found.pairing.share)
            assert found.pairing.seeds == (4 if shared else 0)
    assert np.median(widths[True]) < 0.75 * np.median(widths[False])
    # All the luck is common; the estimate is drawn a little towards none.
    assert np.median(shares[True]) > 0.55
    assert max(shares[False]) == 0


def test_more_than_two_arms() -> None:
    trials = draw(np.random.default_rng(0), (base, better, crossing), noise=0.002)
    found = compare(trials, "recipe", {"width": TARGET}, reference="C")
    assert [arm.name for arm in found.arms] == ["C", "A", "B"]
    assert found.winner.name == "B"
    assert sum(arm.probability for arm in found.arms) == pytest.approx(1)
    truths = {"A": multiplier(crossing, base, TARGET), "B": multiplier(crossing, better, TARGET)}
    for gap in found.gaps:
        assert gap.multiplier.low <= truths[gap.name] <= gap.multiplier.high
        assert gap.detectable > 0.5 * (gap.difference.high - gap.difference.low)
    # Which arm stands first does not matter to who wins.
    other = compare(trials, "recipe", {"width": TARGET})
    assert {arm.name: arm.probability for arm in other.arms}["B"] == pytest.approx(found.winner.probability, abs=0.04)


def test_the_law_of_differences_recovers_its_forms() -> None:
    t = np.log(32.0) + math.log(2) * np.arange(8)[:, None]
    g = 0.3 * np.exp(-0.2 * (t[:, 0] - t[0, 0]))
    random = np.random.default_rng(0)
    truths = {"constant": 0.02 + 0 * g, "straight": 0.01 * (t[:, 0] - 5), "shift": 0.2 * g, "power": g * 0.3 * (t[:, 0] - 5)}
    for name, truth in truths.items():
        noise = 0.0003 * random.standard_normal((2, 8))
        pairs = Pairs(t, np.stack([0 * truth, truth]) + noise + np.sin(t[:, 0]), np.full((2, 8), 1e-7), 0, 0.0)
        found = Differences.learn(pairs, g)
        assert set(found.weights) == set(LAWS)
        assert sum(found.weights.values()) == pytest.approx(1)
        # A simple truth may be told by the form that holds it too.
        nested = {"constant": ("constant", "straight", "floor"), "shift": ("shift", "power", "floor")}.get(name, (name,))
        assert sum(found.weights[each] for each in nested) > 0.8, name
        drawn = found.draw(t, g, 2000, random)
        assert np.abs(np.median(drawn[:, 1] - drawn[:, 0], axis=0) - truth).max() < 0.001


# ---- tuning -------------------------------------------------------------------------------------------------------------


def test_a_better_tuned_arm_is_told_of() -> None:
    fired = 0
    for seed in range(4):
        trials = draw(np.random.default_rng(seed), (base, base), sizes=6)
        swept = compare(trials, "recipe", {"width": 4096})
        fired += any(each.name == "unequal_tuning" for each in swept.findings)
        rate = np.unique(trials.numbers("learning_rate")[trials["recipe"] == "A"])[3]
        kept = trials.where((trials["recipe"] == "B") | np.isclose(trials.numbers("learning_rate"), rate))
        found = compare(kept, "recipe", {"width": 4096})
        told = [each for each in found.findings if each.name == "unequal_tuning"]
        assert len(told) == 1
        assert "B was tuned over learning_rate and A was not" in told[0].message
        assert "of the gap" in told[0].message
        assert found.arms[0].tuning.kept == {"learning_rate": pytest.approx(rate)}
        assert not found.arms[0].tuning.hyper
        # The swept arm looks better than it is; the price says that tuning may explain it.
        assert found.gaps[0].difference.value < 0
        assert "all of the gap" in told[0].message or "%" in told[0].message
    assert fired == 0


def test_other_inequalities_are_told_of() -> None:
    random = np.random.default_rng(1)
    trials = draw(random, (base, base), sizes=6)
    a, width = trials["recipe"] == "A", trials.numbers("width")
    middle = np.unique(trials.numbers("learning_rate")[a])[2]
    some = trials.where(~a | (width <= 64) | np.isclose(trials.numbers("learning_rate"), middle))
    told = [each.message for each in compare(some, "recipe", {"width": 4096}).findings if each.name == "unequal_tuning"]
    assert any("A was swept at 33% of its sizes" in each for each in told)
    edged = draw(random, (base, base), sizes=6, shift=0.0)
    a = edged["recipe"] == "A"
    low = np.unique(edged.numbers("learning_rate")[a])[:3]
    cut = edged.where(~a | np.isin(edged.numbers("learning_rate"), low) | (edged.numbers("width") < 0))
    told = [each.message for each in compare(cut, "recipe", {"width": 4096}).findings if each.name == "unequal_tuning"]
    assert any(each.startswith("A has its best setting at the edge") for each in told)


# ---- what is asked ------------------------------------------------------------------------------------------------------


def test_multipliers_count_each_arms_own_compute() -> None:
    trials = draw(np.random.default_rng(2), (base, better))
    dear = np.where(trials["recipe"] == "B", 1.5, 1.0)
    costly = trials.with_column("compute", 1e6 * dear * trials.numbers("width") ** 2)
    plain, found = (compare(each, "recipe", {"width": TARGET}) for each in (trials, costly))
    assert (plain.column, found.column) == ("width", "compute")
    assert found.gaps[0].multiplier.value == pytest.approx(1.5 * plain.gaps[0].multiplier.value ** 2, rel=1e-6)
    edge = frontier(trials.where("recipe == 'A'"), over="width")
    assert currency([forecast(edge, {"width": TARGET})], Ray.through({"width": TARGET}, {"width": 32.0})).column == "width"


def test_arms_without_shared_sizes_are_not_paired() -> None:
    trials = draw(np.random.default_rng(3), (base, better), sizes=8)
    first = np.isin(np.log2(trials.numbers("width")) % 2, [1])
    apart = trials.where(first == (trials["recipe"] == "A"))
    found = compare(apart, "recipe", {"width": 8192})
    assert found.pairing.weight == 0
    assert "share fewer than two sizes" in found.pairing.message
    assert found.gaps[0].difference.low < math.log(better(8192) / base(8192)) < found.gaps[0].difference.high
    assert len(pair([arm.forecast.frontier for arm in found.arms])) == 0


def test_numbers_tell_arms_apart_too() -> None:
    trials = draw(np.random.default_rng(4), (base, better))
    trials = trials.with_column("weight_decay", np.where(trials["recipe"] == "A", 0.1, 0.01)).where("width > 0")
    trials = Trials({name: column for name, column in trials.columns.items() if name != "recipe"}, "simulated")
    found = compare(trials, "wd", {"width": TARGET})
    assert [arm.name for arm in found.arms] == ["0.1", "0.01"]
    assert json.loads(json.dumps(found.to_dict()))["by"] == "weight_decay"


@pytest.mark.parametrize(
    ("by", "changes", "told"),
    [
        ("recip", {}, "there is no column 'recip'"),
        ("seed", {}, "one value only (0)"),
        ("width", {}, "width is no recipe"),
        ("recipe", {"reference": "Z"}, "unknown value of recipe 'Z'"),
        ("recipe", {"level": 1.5}, "no probability"),
    ],
)
def test_bad_questions_are_told_in_one_line(by: str, changes: dict[str, Any], told: str) -> None:
    trials = draw(np.random.default_rng(0), (base, better))
    with pytest.raises((DataError, UnknownNameError)) as error:
        compare(trials, by, {"width": TARGET}, **changes)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = draw(np.random.default_rng(5), (base, crossing), seeds=2)
    path = write(trials, tmp_path / "arms.csv")
    assert main(["compare", str(path), "--by", "recipe", "--at", "width=2048"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("At width 2048 A wins with probability")
    assert "Paired at 5 sizes and 2 seeds" in out
    assert all(len(line) <= 120 for line in out.splitlines())
    assert main(["compare", str(path), "--by", "nothing", "--at", "width=2048"]) == 2
    _, err = capsys.readouterr()
    assert "there is no column 'nothing'" in err
    assert len(err.splitlines()) == 1
    # A column that no quantity claims tells arms apart as well.
    text = path.read_text(encoding="utf-8").replace("recipe", "my setup", 1)
    path.write_text(text, encoding="utf-8")
    assert main(["compare", str(path), "--by", "my setup", "--at", "width=2048", "--against", "B", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["by"], found["reference"]) == ("my setup", "B")


def test_the_figure() -> None:
    trials = draw(np.random.default_rng(6), (base, crossing))
    data = check_figure(figures["arms"], trials)
    losses, difference = data.panel("losses"), data.panel("difference")
    assert [line.label for line in losses.marks if isinstance(line, Line)] == ["A", "B"]
    (line,) = difference.marks_of(Role.TUNED_LAW, Line)
    crossed = [rule for rule in difference.marks_of(Role.TUNED_LAW, Rule) if rule.axis == "x"]
    assert len(crossed) == 1
    assert crossed[0].at == pytest.approx(256, rel=0.5)
    assert line.y[0] < 0 < line.y[-1]
    with pytest.raises(DataError, match="no column tells recipes apart"):
        figures["arms"].data(trials.where("recipe == 'A'"))
