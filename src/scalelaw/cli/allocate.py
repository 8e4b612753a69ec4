"""`scalelaw allocate`: how to split a compute budget between size and data."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from ._files import replacing
from ._json import emit
from ._options import Fixed, Force, Json, Level, Map, Outcome, Where, naming, new, read, share
from ._screen import ignored, interval, note, number, say, table

if TYPE_CHECKING:
    from ..allocate import Allocation, Ladder, Rounded
    from ..estimate import Estimate

__all__ = ["Compute", "allocate"]

Compute = Annotated[float, typer.Option("--compute", metavar="FLOPS", help="The budget in FLOPs: 1e24.")]


Table = Annotated[
    str | None,
    typer.Argument(
        metavar="DATA",
        help="A store (study.db), a CSV, Parquet or JSONL file, or a folder an importer knows; none, with --spend, to begin.",
    ),
]
Kind = Annotated[str, typer.Option("--count", metavar="KIND", help="N without embeddings, parameters, or total.")]
Curve = Annotated[str, typer.Option("--curve", metavar="CURVE", help="IsoFLOP profiles: cubic, or parabola.")]
LawName = Annotated[str, typer.Option("--law", metavar="LAW", help="chinchilla, chinchilla_shared or skaling.")]
Inference = Annotated[
    float | None, typer.Option("--inference", metavar="TOKENS", help="Tokens the model will serve: least lifetime compute.")
]
Unique = Annotated[
    float | None, typer.Option("--unique", metavar="TOKENS", help="Tokens there are; more than these are repeats.")
]
Built = Annotated[
    str | None,
    typer.Option(
        "--shapes",
        metavar="SHAPES",
        help="Round to what can be built: transformer; sizes, 7e9,13e9; or width=1024:8192:128,depth=16/24/32,heads=8/16.",
    ),
]
Batch = Annotated[
    float | None, typer.Option("--batch", metavar="TOKENS", help="Tokens of a step: round the data to whole steps.")
]
Spend = Annotated[
    float | None, typer.Option("--spend", metavar="FLOPS", help="Propose the runs of this cost that pin the optimum best.")
]
Largest = Annotated[
    float | None, typer.Option("--largest", metavar="FLOPS", help="The largest of these runs; default a tenth of the spend.")
]
Sizes = Annotated[
    str | None, typer.Option("--sizes", metavar="SHAPES", help="Shapes that these runs may have, as in --shapes; default any.")
]
Offered = Annotated[
    str | None,
    typer.Option("--offered", metavar="FILE", help="Choose these runs from a table of parameters, and tokens or compute."),
]
StudyFile = Annotated[
    Path | None, typer.Option("--study", metavar="FILE", help="Write these runs as a study for `scalelaw run`: ladder.toml.")
]


def allocate(
    data: Table = None,
    *,
    compute: Compute,
    count: Kind = "parameters",
    curve: Curve = "cubic",
    law: LawName = "chinchilla",
    inference: Inference = None,
    unique: Unique = None,
    shapes: Built = None,
    batch: Batch = None,
    spend: Spend = None,
    largest: Largest = None,
    sizes: Sizes = None,
    offered: Offered = None,
    study: StudyFile = None,
    force: Force = False,
    fixed: Fixed = False,
    where: Where = None,
    mapping: Map = None,
    outcome: Outcome = None,
    level: Level = 0.9,
    as_json: Json = False,
) -> None:
    """Find the compute-optimal size and data for a budget, by three approaches, and how far these disagree.

    Example: scalelaw allocate runs.csv --compute 1e24 --shapes transformer --batch 4e6 --spend 1e20
    """
    from .. import allocate as divide
    from ..allocate import Experiment

    share(level)
    _spent(spend, data, largest, sizes, offered, study)
    if study is not None:
        new(study, (".toml",), force)
    trials = None if data is None else read(data, mapping, where, outcome)
    pool = None if offered is None else read(offered, mapping)
    with contextlib.nullcontext() if data is None else naming(data):
        found = divide(
            trials,
            compute,
            level=level,
            count=count,
            curve=curve,
            law=law,
            fixed=fixed,
            inference_tokens=inference,
            unique_tokens=unique,
            shapes=shapes,
            batch_tokens=batch,
            experiment=None if spend is None else Experiment(spend, largest, sizes=sizes, offered=pool),
        )
    if study is not None and found.ladder is not None:
        _write(found.ladder, study)
    if as_json:
        emit(found.to_dict())
        return
    show(found)
    if trials is not None:
        ignored(trials)


def _spent(spend: float | None, data: str | None, *asked: object) -> None:
    """Without --spend there must be a table, and nothing asked of runs that would be bought."""
    if spend is None and (data is None or any(each is not None for each in asked)):
        what = "there is no DATA" if data is None else "--largest, --sizes, --offered and --study belong to --spend"
        raise InputError(what, "allocate", "Name a table of runs, or give --spend FLOPS for the runs to begin with")


def _write(ladder: Ladder, study: Path) -> None:
    text = ladder.study()
    with replacing(study) as path:
        path.write_text(text, encoding="utf-8")
    note(f"The ladder is written to {study}: set its task, context and learning rates, then `scalelaw run {study}`.")


def show(found: Allocation) -> None:
    """Print an allocation."""
    begun = f", {number(found.reach, 3)} times the largest run" if found.runs else ", before any run"
    say(f"At {number(found.compute)} FLOPs{begun}:", "bold")
    answered = [each for each in found.approaches if each.parameters is not None]
    if answered:
        lines = {
            "parameters": [_told(each.parameters) for each in answered],
            "tokens": [_told(each.tokens) for each in answered],
            "tokens per parameter": [_told(each.tokens_per_parameter) for each in answered],
            "exponent of N": [_told(each.exponent) for each in answered],
            "loss": [_told(each.loss, 4) for each in answered],
        }
        head = (f"{found.level:.0%} intervals", *(each.name for each in answered))
        table(head, [(name, *cells) for name, cells in lines.items()], left=head[:1])
    for each in found.approaches:
        say(f"{each.name}: {each.reason}", "" if each.parameters is not None else "yellow")
    for each in found.approaches:
        if each.basin is not None:
            costs = ", ".join(f"{cost:+.2%} at {factor:g} N" for factor, cost in each.basin.penalties.items())
            inside = interval(each.basin.low, each.basin.high, 3)
            say(f"Deviating, by {each.name}: {costs}; within {each.basin.tolerance:.1%} for N from {inside}.")
    say(found.disagreement.message, "bold")
    for name, each in found.special.items():
        if each.parameters is None:
            say(f"{name}: {each.reason}", "yellow")
            continue
        numbers = ", ".join(f"{key.replace('_', ' ')} {number(value, 4)}" for key, value in each.numbers.items())
        say(f"{name}: parameters {_told(each.parameters)}, tokens {_told(each.tokens)}; {numbers}. {each.reason}")
    if found.rounded is not None:
        _rounded(found.rounded)
    if found.ladder is not None:
        _ladder(found.ladder)
    for each in (found.count.value, *found.notes) if found.runs else ():
        say(each)


def _rounded(found: Rounded) -> None:
    """Print the shapes near the optimum."""
    if found.choices:
        rows: list[tuple[str, ...]] = []
        for each in found.choices:
            shape = each.shape
            form = tuple(number(value) for value in (shape.width, shape.depth, shape.heads, shape.parameters))
            steps = "-" if each.steps is None else f"{each.steps:,}"
            rows.append((*form, number(each.tokens), steps, _share(each.excess), _share(each.regret)))
        head = ("width", "depth", "heads", "parameters", "tokens", "steps", "rounding costs, %", "regret, %")
        table(head, rows, title="What can be built near the optimum, within the budget")
        say("Rounding costs: loss over the optimum as estimated. Regret: over the optimum as it may be, mean and interval.")
    say(found.reason, "" if found.choices else "yellow")


def _share(each: Estimate | None) -> str:
    if each is None:
        return "-"
    return f"{100 * each.value:.4f} ({100 * each.low:.4f} to {100 * each.high:.4f})"


def _ladder(found: Ladder) -> None:
    """Print the runs that pin the optimum, and what they are worth."""
    rows: list[tuple[str, ...]] = []
    for each in found.runs:
        place = "" if each.row is None else f", row {each.row + 1}"
        shape = "" if each.shape is None or each.shape.width is None else f"{each.shape.width} x {each.shape.depth}"
        part = ("profile" if each.even else "chosen") + place
        ratio = number(each.tokens / each.parameters, 3)
        rows.append((part, number(each.parameters), shape, number(each.tokens), number(each.compute), ratio))
    head = ("part", "parameters", "width x depth", "tokens", "FLOPs", "tokens per parameter")
    if not any(row[2] for row in rows):
        head, rows = (*head[:2], *head[3:]), [(*row[:2], *row[3:]) for row in rows]
    title = f"{len(rows)} runs of {number(found.cost)} FLOPs that pin the optimum at {number(found.compute)} FLOPs"
    table(head, rows, left=head[:1], title=title)
    by_law = found.approach == "approach_3"
    head = (
        "if the law holds" if by_law else "if the profiles lie on a line",
        "before",
        "with the ladder",
        "with an isoFLOP grid of its cost",
    )
    known = (found.before, found.after, found.isoflop)
    lines = [
        ("N* within a factor (1 s.e.)", *(number(each.factor, 3) for each in known)),
        ("s.e. of ln N*", *(number(each.size, 3) for each in known)),
        ("s.e. of the exponent", *(number(each.exponent, 2) for each in known)),
        ("expected regret", *(f"{100 * each.regret:.2g} %" for each in known)),
    ]
    table(head, lines, left=head[:1])
    say(f"{found.reason} {found.even:.0%} of the cost goes to isoFLOP profiles, for what the law's own errors do not know.")


def _told(each: Estimate | None, digits: int = 3) -> str:
    if each is None:
        return "-"
    return f"{number(each.value, digits)} ({interval(each.low, each.high, digits)})"
