"""The nouns of an experiment that pins the allocation: `Experiment` asks, `Ladder` answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError
from ..estimate import number
from ..trials import Trials
from ._runs import Count
from ._shapes import Family, Shape, Shapes

__all__ = ["Experiment", "Known", "Ladder", "Rung"]

# Narrower steps than a large model's, for the small networks of the built-in trainer.
_SMALL = Family(widths=(*range(8, 128, 4), *range(128, 1025, 16)))


@dataclass(frozen=True)
class Experiment:
    """What may be spent on runs that pin the allocation.

    Args:
        spend: FLOPs of all runs together.
        largest: FLOPs of the largest run; default a tenth of the spend, and never more than the budget of the allocation.
        most: number of runs at most.
        sizes: shapes that the runs may have, see `read_shapes`; default any size.
        noise: standard deviation of ln loss between runs of one setting; default the scatter about the fitted law, or 0.5 %
            without one.
        offered: the runs to choose from, a row each with parameters, and tokens or compute; a row is taken at most once, costs
            its compute, and is named by `row` of the answer's runs. The largest run then defaults to the spend, and `sizes` are
            not read. Default: any size, at budgets that the spend suggests.
    """

    spend: float
    largest: float | None = None
    most: int = 40
    sizes: Shapes | None = None
    noise: float | None = None
    offered: Trials | None = field(default=None, repr=False)

    def check(self) -> None:
        """Raise InputError for what no experiment can be."""
        for name, value in (("spend", self.spend), ("largest", self.largest), ("noise", self.noise)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{name} is {value:g}", name, "Give a positive number")
        if not 5 <= self.most <= 500:
            raise InputError(f"{self.most} runs at most", "most", "Give 5 to 500: the law has five parameters")


@dataclass(frozen=True)
class Rung:
    """One run: N, D and their cost k N D in FLOPs.

    Args:
        even: whether it belongs to the even spread or completes a profile; else the law chose it for what it tells.
        shape: what to build, where sizes were given.
        row: of the table that was offered, from 0, where runs were.
    """

    parameters: float
    tokens: float
    compute: float
    even: bool
    shape: Shape | None = None
    row: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        shape = {} if self.shape is None else {"width": self.shape.width, "depth": self.shape.depth, "heads": self.shape.heads}
        return {
            "parameters": self.parameters,
            "tokens": self.tokens,
            "compute": self.compute,
            **shape,
            **({} if self.row is None else {"row": self.row}),
            "part": "even" if self.even else "chosen",
        }


@dataclass(frozen=True)
class Known:
    """How well the allocation is known, if what the runs are chosen by holds: the law, or a line through the profiles.

    Args:
        size: standard error of ln N*. exponent: of a in N* ~ C^a.
        regret: expected relative excess loss of training at the estimate of N*.

    By the law each is the geometric mean over what it may be before the runs.
    """

    size: float
    exponent: float
    regret: float

    @property
    def factor(self) -> float:
        """One standard error of ln N* as a factor."""
        return math.exp(min(self.size, 700.0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"size_se": number(self.size), "exponent_se": number(self.exponent), "regret": number(self.regret)}


@dataclass(frozen=True)
class Ladder:
    """The training runs that pin the allocation best for what they cost.

    Args:
        compute: of the allocation that is pinned, FLOPs. spend: what was allowed. cost: of the runs.
        runs: those of the even spread or of profiles first, each part from the cheapest on.
        even: share of the cost that is spread evenly or completes profiles.
        noise: standard deviation of ln loss that was reckoned with.
        degrees: of freedom behind it, infinite where it was given; of the line through the profiles where these choose.
        per_token: k in C = k N D.
        before, after: what is known without and with the runs. isoflop: with a plain isoFLOP grid of the same cost instead.
        plain: the runs of that grid. parameters: N* at the compute as believed before the runs.
        approach: that is to read the runs, and by whose model they are chosen.
        reason: what the choice rests on.
    """

    compute: float
    spend: float
    cost: float
    runs: tuple[Rung, ...]
    even: float
    noise: float
    degrees: float
    per_token: float
    before: Known
    after: Known
    isoflop: Known
    plain: tuple[Rung, ...] = field(repr=False)
    parameters: float
    approach: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "spend": self.spend,
            "cost": self.cost,
            "runs": [each.to_dict() for each in self.runs],
            "even": self.even,
            "noise": self.noise,
            "degrees": number(self.degrees),
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "isoflop": self.isoflop.to_dict(),
            "parameters": number(self.parameters),
            "approach": self.approach,
            "reason": self.reason,
        }

    def study(
        self,
        task: str = "text_bytes",
        *,
        context: int = 128,
        hyperparameters: Mapping[str, int | float | str] | None = None,
        seeds: Sequence[int] = (0,),
    ) -> str:
        """The runs as a study file that `scalelaw run` trains with the built-in transformer.

        Every run is a transformer near to its size (without embeddings) and as many whole steps as its compute k N D buys. Below
        a hundred thousand parameters two sizes may come out as one shape; equal runs are trained once.

        Args:
            task: of tokens. context: tokens of an example. hyperparameters: of every run; batch_size is in examples.
            seeds: of every run.

        Raises:
            InputError: a run is shorter than one step, or the hyperparameters lack batch_size or learning_rate.
        """
        chosen = {"learning_rate": 0.003, "batch_size": 32} if hyperparameters is None else dict(hyperparameters)
        if not {"learning_rate", "batch_size"} <= set(chosen):
            raise InputError("learning_rate and batch_size are needed", "hyperparameters", "Give both")
        step = float(chosen["batch_size"]) * context
        lines = [
            f"# {len(self.runs)} runs of {self.cost:.3g} FLOPs that pin N* at {self.compute:.3g} FLOPs.",
            "# One setting for all sizes: the law of the best case needs each size at its best, see `scalelaw optimum`.",
            'name = "ladder"',
            f'task = "{task}"',
            'model = "transformer"',
            f"seeds = {list(seeds)}",
            f"task_options = {{ context = {context} }}",
            "",
            "[hyperparameters]",
            *(f"{name} = {value!r}".replace("'", '"') for name, value in chosen.items()),
        ]
        for each in self.runs:
            shape = _built(each)
            steps = round(each.compute / (self.per_token * shape.parameters * step))
            if steps < 1:
                what = f"{each.compute:.3g} FLOPs do not pay one step of {shape.parameters:.3g} parameters"
                raise InputError(what, "batch_size", "Take a smaller batch or context, or spend more")
            heads = "" if each.shape is None or not shape.heads else f", heads = {shape.heads}"
            lines += ["", "[[grid]]", f"scale = {{ width = {shape.width}, depth = {shape.depth}{heads}, steps = {steps} }}"]
        return "\n".join(lines) + "\n"


def _built(rung: Rung) -> Shape:
    if rung.shape is not None and rung.shape.width and rung.shape.depth:
        return rung.shape
    return _SMALL.usual(rung.parameters, Count.PARAMETERS)
