"""`scalelaw plan`: what to run next, and whether to extrapolate or to evaluate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..errors import InputError
from ._files import replacing
from ._json import emit
from ._options import Data, Force, Hyper, Json, Level, Map, Outcome, Over, Where, columns, naming, new, read, share
from ._points import point
from ._screen import ignored, interval, number, places, say, table

if TYPE_CHECKING:
    from ..plan import Plan
    from ..trial import TrialSpec
    from ..trials import Trials

__all__ = ["plan"]

_T = TypeVar("_T")
_SHOWN = 12


_TargetOf = Annotated[
    str | None, typer.Option("--target", metavar="POINT", help="The scale of the large run: width=8192; a study names its own.")
]
_Budget = Annotated[
    float | None,
    typer.Option("--budget", metavar="FLOPS", help="FLOPs that may be spent before it: 1e15; a study names its own."),
]
_Sizes = Annotated[
    str | None, typer.Option("--sizes", metavar="LIST", help="Run at these values of the first scale column only: 64,128.")
]
_Largest = Annotated[float, typer.Option("--largest", metavar="FLOPS", help="FLOPs of one run at most.")]
_Slots = Annotated[int | None, typer.Option("--slots", metavar="N", help="Plan so many runs, then plan again.")]
_Goal = Annotated[
    float | None, typer.Option("--goal", metavar="LOSS", help="The run is worth its cost only if it reaches this loss.")
]
_Rate = Annotated[str | None, typer.Option("--price", metavar="PRICE", help="Money per GPU-hour: 2.5/gpu-hour.")]
_Peak = Annotated[float | None, typer.Option("--peak-flops", metavar="FLOPS", help="FLOP/s of one device.")]
_Share = Annotated[
    float | None, typer.Option("--mfu", metavar="SHARE", help="Share of them that training reaches; default as measured.")
]
_Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the runs as a study: next.toml.")]
_Store = Annotated[str, typer.Option("--storage", metavar="STORE", help="Where DATA is a study's TOML: the store of its trials.")]
_Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of the runs that fill space.", min=0)]


def plan(
    data: Data,
    *,
    target: _TargetOf = None,
    budget: _Budget = None,
    sizes: _Sizes = None,
    largest: _Largest = math.inf,
    slots: _Slots = None,
    goal: _Goal = None,
    price: _Rate = None,
    peak_flops: _Peak = None,
    mfu: _Share = None,
    output: _Output = None,
    storage: _Store = "study.db",
    over: Over = None,
    hyper: Hyper = None,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    seed: _Seed = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose the next runs under a budget, and decide whether they are worth it or the law can be trusted now.

    Example: scalelaw plan study.db --target width=8192 --budget 1e15 -o next.toml
    """
    from .. import plan as choose
    from ..plan import Limits, price_of

    names = columns(over, "--over")
    share(level)
    if output is not None:
        new(output, (".toml",), force)
    allowed = Limits(_sizes(sizes), largest, slots)
    options: dict[str, Any] = {"limits": allowed, "goal": goal, "level": level, "seed": seed}
    if data.endswith(".toml"):
        _no_columns({"--over": over, "--hyper": hyper, "--where": where, "--map": mapping, "--outcome": outcome})
        options |= {"price": price_of(price, peak_flops=peak_flops, mfu=mfu, trials=_made(storage))}
        found, template, trials = _of_study(data, storage, target, budget, options)
    else:
        there = point(_named(target, "--target", "width=8192"), "--target")
        budget = _named(budget, "--budget", "1e15")
        trials, template = read(data, mapping, where, outcome, hyper), _template(data)
        options |= {"price": price_of(price, peak_flops=peak_flops, mfu=mfu, trials=trials), "costs": _counted(template, there)}
        with naming(data, trials):
            found = choose(trials, there, budget, over=names, **options)
    if output is not None and found.runs:
        _write(found, template, data, output)
    if as_json:
        emit(found.to_dict())
        return
    show(found)
    if output is not None:
        _next(output, data, storage, bool(found.runs))
    if trials is not None:
        ignored(trials)


def _next(output: Path, data: str, storage: str, runs: bool) -> None:
    """Say how to train what was written, and into which store."""
    from ..store import is_store, shown

    kept = shown(data if is_store(data) else storage)
    say(f"Written: {output}. Next: scalelaw run {output} --storage {kept}" if runs else "No run to write.")


def _named(value: _T | None, option: str, example: str) -> _T:
    if value is None:
        raise InputError("no such value is named", option, f"For example: {option} {example}")
    return value


def _no_columns(given: Mapping[str, object]) -> None:
    """A study names its own columns."""
    found = [name for name, value in given.items() if value]
    if found:
        raise InputError(
            "a study says what its columns are", ", ".join(found), "Leave it out, or plan from the store of its trials"
        )


def _of_study(
    data: str, storage: str, target: str | None, budget: float | None, options: dict[str, Any]
) -> tuple[Plan, TrialSpec, None]:
    """A plan from a study's own trials: those in the store were made, the others may be."""
    from ..study import read_study
    from ..until import plan_study

    study = read_study(data)
    there = None if target is None else point(target, "--target")
    most = _named(study.budget if budget is None else budget, "--budget", "1e15")
    return plan_study(study, storage, most, target=there, **options), study.specs[0], None


def _made(storage: str) -> Trials | None:
    """The runs of a store; None where there is none yet."""
    from ..store import is_store, load

    return load(storage) if is_store(storage) else None


def _sizes(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(each) for each in text.split(","))
    except ValueError:
        raise InputError(f"cannot read {text!r}", "--sizes", "Give numbers with commas between: 64,128,256") from None


def _template(data: str) -> TrialSpec | None:
    """The costliest finished run of a store or of a study folder, whose recipe new runs take over; None for other data."""
    from ..store import template

    return template(data)


def _counted(template: TrialSpec | None, target: Mapping[str, float]) -> Callable[[Mapping[str, float]], float] | None:
    """FLOPs by scale, counted from the template's network; None where the trainer cannot train it at the target."""
    from ..errors import SpecError, UnknownNameError
    from ..train.count import flops

    if template is None or not set(target) <= set(template.scale):
        return None

    def count(where: Mapping[str, float]) -> float:
        return flops(replace(template, scale={**template.scale, **{name: max(round(value), 1) for name, value in where.items()}}))

    try:
        count(target)
    except (SpecError, UnknownNameError):
        return None
    return count


def _write(found: Plan, template: TrialSpec | None, data: str, output: Path) -> None:
    from .._study_text import study_text
    from ..plan import study_of
    from ..trial import TrialSpec

    named = template or TrialSpec("your_task", {}, {}, model="your_model")
    from ..store import shown

    comment = [f"Planned from {shown(data)} for {places(found.target)}.", found.reason]
    if template is None:
        comment.append("These data do not say how they were trained: name task and model before `scalelaw run`.")
    made = study_of(found, named, f"{output.stem}")
    if Path(data).suffix == ".toml":
        made = replace(made, trainer=_trainer(Path(data)))
    with replacing(output) as file:
        file.write_text(study_text(made, comment), encoding="utf-8")


def _trainer(data: Path) -> Mapping[str, Any]:
    """The study's `[trainer]` table, with paths that hold wherever the new study lies."""
    from ..study import read_study
    from ..trainers import trainer_of

    study = read_study(data)
    return trainer_of(study.trainer, str(data)).resolved(study.trainer, study.folder)


def show(found: Plan) -> None:
    """Print a plan."""
    say(f"{found.decision.value}", "bold")
    say(found.reason)
    _runs(found)
    _curve(found)
    _rungs(found)
    if found.go is not None:
        say(
            f"The goal is reached with probability {found.go['probability']:.0%}; knowing better is worth "
            f"{found.price.words(found.go['value'])}."
        )
    if found.mistake is not None:
        say(found.mistake.message)
    if found.setting:
        best = ", ".join(
            f"{name} {number(each.value, 3)} ({interval(each.low, each.high, 3)})" for name, each in found.setting.items()
        )
        say(f"The target's own run costs {found.price.words(found.cost)}; its settings, as known now: {best}.")
    for each in found.notes:
        say(each, "dim")


def _runs(found: Plan) -> None:
    if not found.runs:
        return
    columns = [name for name in (*found.target, *found.hyper) if name in found.runs[0].values]
    rows = [
        [
            *(number(run.values[name], 3) for name in columns),
            number(run.values["seed"]),
            number(found.price.of(run.cost), 3),
            "-" if run.gain is None else f"{run.gain:.3%}",
            "fills space" if run.filling else "gain",
        ]
        for run in found.runs
    ]
    shown = rows[:_SHOWN]
    table((*columns, "seed", found.price.unit, "gain", "why"), shown, left=("why",), title="Next runs")
    if len(rows) > _SHOWN:
        say(f"... and {len(rows) - _SHOWN} more, {found.price.words(found.spend)} in all.")


def _curve(found: Plan) -> None:
    if not found.curve:
        return
    rows = [
        [
            number(found.price.of(each.spend), 3),
            number(each.runs),
            f"{each.regret:.3%}",
            f"{each.low:.3%} to {each.high:.3%}",
            f"{each.off_law:.1%}",
            "any" if math.isinf(each.safe_ratio) else number(each.safe_ratio, 3),
            number(found.price.of(each.total), 3),
            "stop" if each.runs == found.stop else "",
        ]
        for each in found.curve
    ]
    head = (f"spend, {found.price.unit}", "runs", "expected regret", "90 % band", "P(off the law)", "safe ratio", "total", "")
    table(head, rows, left=("",), title="Spend against regret")


def _rungs(found: Plan) -> None:
    if not found.rungs:
        return
    rows = [
        [
            places(each.point),
            number(each.runs),
            number(found.price.of(each.cost), 3),
            f"{each.regret:.3%}",
            number(found.price.of(each.worth), 3),
            number(found.price.of(each.net), 3),
        ]
        for each in found.rungs
    ]
    table(("a sweep at", "runs", "costs", "regret after", "worth", "net"), rows, left=("a sweep at",), title="Further rungs")
