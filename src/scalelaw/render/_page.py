"""The report's page: every number as the words that stand on it, and the template that holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ..figures import FigureData
from ..trials import Trials
from ._paint import inline_svg

if TYPE_CHECKING:
    from ..fit import Fit
    from ..forecast import Forecast
    from ..plan import Plan
    from ..verdict import Verdict

__all__ = ["MOST_ROWS", "facts", "page", "short"]

# Rows of the table of trials; a browser sorts this many without a pause.
MOST_ROWS = 3000
_MOST_RULINGS = 12
_RULINGS = {"ON_LAW": "ON THE LAW", "OFF_LAW": "OFF THE LAW", "UNDECIDED": "UNDECIDED"}
# Columns of a trial that come first in the table, in this order; the others follow as they stand.
_FIRST = ("id", "status", "width", "depth", "parameters", "tokens", "learning_rate", "batch_size", "seed", "loss")


def page(
    trials: Trials,
    figure: FigureData,
    *,
    forecast: Forecast | None,
    verdicts: Sequence[Verdict],
    title: str,
    account: Sequence[str],
    notes: Mapping[str, str],
    plan: Plan | None = None,
    pictures: Sequence[FigureData] = (),
) -> str:
    """One self-contained HTML page.

    Args:
        trials: every run, for the table. figure: the main figure. forecast, verdicts: their sections are left out without them.
        title, account: of the page; the sentences of its first paragraph.
        notes: further lines of the provenance.
        plan, pictures: the next runs and their figures; left out without them.
    """
    from importlib.resources import files

    from jinja2 import Environment

    from .. import __version__

    seen = {finding.name for finding in forecast.findings} if forecast is not None else set[str]()
    fresh = {finding.name: finding for verdict in verdicts for finding in verdict.findings if finding.name not in seen}
    environment = Environment(autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string((files("scalelaw") / "templates" / "report.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        version=__version__,
        account=list(account),
        facts=facts(trials),
        figure={**_svgs(figure), "caption": figure.description},
        verdicts=_rulings(verdicts),
        findings={"forecast": forecast.findings if forecast is not None else (), "verdict": list(fresh.values())},
        forecast=None if forecast is None else _forecast(forecast),
        laws=[] if forecast is None else _laws(forecast),
        backtest=None if forecast is None else _backtest(forecast),
        plan=None if plan is None else {"decision": plan.decision.value, "reason": plan.reason, "notes": plan.notes},
        pictures=[{**_svgs(each), "caption": each.description} for each in pictures],
        table=_table(trials),
        provenance=[*_provenance(trials, forecast), *notes.items(), ("scalelaw", __version__)],
    )


def short(value: float | None, digits: int = 4) -> str:
    """A number with at most `digits` significant digits, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    text = f"{value:.{digits - 1}e}" if 0 < abs(value) < 1e-3 else f"{value:.{digits}g}"
    mantissa, mark, power = text.partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if mark and "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}" if mark else mantissa


def facts(trials: Trials) -> str:
    """What was measured, in one line."""
    parts = [f"{len(trials)} trial{'' if len(trials) == 1 else 's'}"]
    for name in (*trials.varying(trials.scales), *trials.varying(trials.hyperparameters), *trials.varying(["seed"])):
        column = trials[name]
        if column.dtype == object:
            parts.append(f"{len(set(column.tolist()))} {_spaced(name)}s")
            continue
        values = sorted({float(value) for value in column if math.isfinite(value)})
        parts.append(f"{len(values)} values of {_spaced(name)} ({short(values[0], 3)} to {short(values[-1], 3)})")
    if lost := len(trials.diverged):
        parts.append(f"{lost} diverged")
    return "; ".join(parts) + "."


def _svgs(figure: FigureData) -> dict[str, Any]:
    from markupsafe import Markup

    # Painted by matplotlib from numbers and escaped text, so it is markup already.
    return {theme: Markup(inline_svg(figure, theme=theme)) for theme in ("light", "dark")}


def _rulings(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One card per size, setting and ruling; the seeds of one setting share it."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        run = ", ".join(f"{_spaced(key)} {short(value, 3)}" for key, value in {**verdict.at, **verdict.settings}.items())
        groups.setdefault(f"{run}\0{verdict.verdict.name}", []).append(verdict)
    cards: list[dict[str, Any]] = []
    for key, group in list(groups.items())[:_MOST_RULINGS]:
        run, name = key.split("\0")
        first, words = group[0], _RULINGS.get(name, name)
        suspects = "; ".join(
            f"{_spaced(each.hyperparameter)} {short(each.used, 3)}, predicted best {short(each.best, 3)} "
            f"(explains {each.share:.0%} of the gap; chance that it explains most of it: {each.probability:.0%})"
            for each in first.suspects
        )
        # The message opens with the ruling, which the card already shows.
        said = first.message.removeprefix(f"{words}: ")
        cards.append(
            {
                "name": name,
                "words": words,
                "run": f"{run}, {len(group)} runs" if len(group) > 1 else run,
                "message": f"{said[:1].upper()}{said[1:]}",
                "numbers": [_numbers(each) for each in group],
                "suspects": f"Suspects: {suspects}. Unexplained: {first.unexplained or 0:.0%} of the gap." if suspects else "",
            }
        )
    return cards


def _numbers(verdict: Verdict) -> str:
    text = f"Expected {short(verdict.expected)} ({short(verdict.low)} to {short(verdict.high)}), "
    text += "diverged" if verdict.observed is None else f"observed {short(verdict.observed)}"
    if verdict.p_value is not None:
        text += f", p {'< 0.0001' if verdict.p_value < 1e-4 else f'= {verdict.p_value:.2g}'}"
    if verdict.excess is not None:
        text += f", excess {short(verdict.excess['nats'], 3)} nats ({verdict.excess['relative']:+.1%})"
    return f"{text}."


def _status(fit: Fit) -> str:
    """One word where all is well, else the sentence."""
    return "converged" if fit.status.name == "CONVERGED" else fit.message


def _forecast(forecast: Forecast) -> dict[str, Any]:
    where = _point(forecast.at)
    kind = "A tuned run" if forecast.frontier.tuned else "A run at the fixed setting"
    lines = [("Reach", forecast.reach.message)]
    for name, best in forecast.optimum.items():
        lines.append(
            (
                f"Best {_spaced(name)}",
                f"{short(best.value, 3)} ({best.level:.0%} interval {short(best.low, 3)} to {short(best.high, 3)})",
            )
        )
    fixed = forecast.fixed
    if fixed is not None and forecast.frontier.tuned:
        held = ", ".join(f"{_spaced(name)} {short(value, 3)}" for name, value in fixed.setting.items())
        lines.append(
            (f"Promised at {held or 'the kept setting'}", f"{short(fixed.loss)} ({short(fixed.low)} to {short(fixed.high)})")
        )
    lines.append(("Laws averaged", ", ".join(f"{each.name} {each.weight:.0%}" for each in forecast.laws)))
    return {
        "value": short(forecast.loss),
        "interval": f"{forecast.level:.0%} interval {short(forecast.low)} to {short(forecast.high)}",
        "words": f"{kind} at {where} should reach this loss.",
        "facts": lines,
    }


def _laws(forecast: Forecast) -> list[dict[str, Any]]:
    sizes = len(forecast.frontier.trials)
    data = "best case" if forecast.frontier.tuned else "runs at the fixed setting"
    rows = [
        _law(each.fit, f"{data} of {sizes} sizes", f"{each.weight:.0%}", forecast.at, forecast.level) for each in forecast.laws
    ]
    fixed = forecast.fixed
    if fixed is not None and forecast.frontier.tuned:
        held = ", ".join(f"{_spaced(name)} {short(value, 3)}" for name, value in fixed.setting.items())
        rows.append(_law(fixed.fit, f"runs at {held}" if held else "runs as they stand", "", forecast.at, forecast.level))
    if forecast.optima is None:
        return rows
    for name, law in forecast.optima.optima.items():
        told = law.to_dict()
        best = forecast.optimum[name]
        rows.append(
            {
                "data": f"best {_spaced(name)} of {told['scales']} sizes",
                "formula": law.formula,
                "name": "optimum",
                "weight": "",
                "theta": [_theta(key, value, told["interval"][key]) for key, value in told["coefficients"].items()],
                "at": f"{short(best.value, 3)} ({short(best.low, 3)} to {short(best.high, 3)})",
                "status": f"straight with probability {law.path.straight:.0%}; averaged with a bent law at the target",
            }
        )
    return rows


def _law(fit: Fit, data: str, weight: str, at: Mapping[str, float], level: float) -> dict[str, Any]:
    intervals = fit.interval(level)
    return {
        "data": data,
        "formula": fit.law.formula,
        "name": fit.law.name,
        "weight": weight,
        "theta": [_theta(key, value, intervals[key]) for key, value in fit.theta.items()],
        "at": short(float(fit.predict(at))),
        "status": _status(fit),
    }


def _theta(name: str, value: float, interval: Sequence[float]) -> str:
    low, high = interval
    spread = (
        f" ({short(low)} to {short(high)})" if math.isfinite(low) and math.isfinite(high) else " (no interval: see the status)"
    )
    return f"{name} = {short(value)}{spread}"


def _backtest(forecast: Forecast) -> dict[str, Any]:
    checks = forecast.backtest
    if not checks.n:
        return {"words": checks.message, "rows": [], "names": []}
    inside = sum(row.inside for row in checks.rows)
    words = (
        f"Each row was predicted from smaller sizes alone: {inside} of {checks.n} fell inside their {checks.level:.0%} interval, "
        f"with a typical error of {100 * math.expm1(checks.error):.2g} %. "
        f"The farthest was {short(checks.horizon, 3)} times the largest size used."
    )
    over = forecast.frontier.over
    names = ["sizes used", *(_spaced(name) for name in over), "times larger", "predicted", "low", "high", "observed", "error"]
    rows = [
        [
            str(row.sizes),
            *(short(row.at[name], 3) for name in over),
            short(row.ratio, 3),
            *(short(value) for value in (row.predicted, row.low, row.high, row.observed)),
            f"{math.expm1(row.error):+.1%}",
        ]
        for row in checks.rows
    ]
    return {"words": words, "rows": rows, "names": names}


def _table(trials: Trials) -> dict[str, Any]:
    """The trials as text; a column with nothing in it is left out."""
    names = sorted(trials.columns, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    names = [name for name in names if any(value == value and value != "" for value in trials[name])]
    shown = trials.where(_head(trials)) if len(trials) > MOST_ROWS else trials
    columns = [{"name": _spaced(name), "number": trials[name].dtype != object} for name in names]
    rows = [[_value(row[name]) for name in names] for row in shown.rows()]
    left = len(trials) - len(rows)
    words = f"{len(rows)} rows; a column's name sorts by it."
    if left:
        words += f" The other {left} are left out here: scalelaw export writes them all."
    return {"columns": columns, "rows": rows, "words": words}


def _head(trials: Trials) -> Any:
    import numpy as np

    return np.arange(len(trials)) < MOST_ROWS


def _value(value: Any) -> str:
    if value is None:
        return ""
    return short(value, 6) if isinstance(value, float) else str(value)


def _provenance(trials: Trials, forecast: Forecast | None) -> list[tuple[str, str]]:
    lines = [("Data", PurePath(trials.source).name), ("Digest of the data", trials.digest)]
    if trials.ignored:
        lines.append(("Columns not used", ", ".join(trials.ignored)))
    if forecast is None:
        return lines
    edge = forecast.frontier
    lines.append(("Law over", ", ".join(map(_spaced, edge.over))))
    lines.append(("Tuned within a size", ", ".join(map(_spaced, edge.hyper)) if edge.tuned else "nothing"))
    sizes = edge.trials.numbers(edge.over[0])
    lines.append(("Fitted to", f"{len(sizes)} sizes, {_spaced(edge.over[0])} {short(min(sizes), 3)} to {short(max(sizes), 3)}"))
    lines.append(("Target", _point(forecast.at)))
    lines.append(("Level of the intervals", f"{forecast.level:.0%}"))
    return lines


def _point(at: Mapping[str, float]) -> str:
    return ", ".join(f"{_spaced(name)} {short(value, 4)}" for name, value in at.items())


def _spaced(name: str) -> str:
    return name.replace("_", " ")
