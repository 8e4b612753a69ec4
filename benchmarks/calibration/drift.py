"""The table of drift: is the hyperparameter that moves away ranked first, and does a gap find its cause?"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scalelaw._screening import losses
from scalelaw.drift import Case, Drift, explain
from scalelaw.drift import drift as find
from scalelaw.errors import ScalelawError
from scalelaw.response import respond
from scalelaw.testing.surfaces import Surface, axes
from scalelaw.trials import Trials
from scalelaw.verdict import columns_of, judge, settings_of

__all__ = ["WORLDS", "drifts"]

_TWO = {"over": ("parameters", "tokens"), "smallest": (1e7, 1e9)}
_RATE = {"learning_rate": {"exponents": (-0.7, 0.3)}}
_BATCH = {"learning_rate": {"exponents": (-0.15, 0.1)}, "batch_size": {"exponents": (0.7, 0.4)}}
_DECAY = {
    "learning_rate": {"exponents": (-0.15, 0.1)},
    "batch_size": {"exponents": (0.15, 0.1)},
    "weight_decay": {"exponents": (-1.0, -0.3)},
}
# World, and how many times larger than the data the target is. The first two have the usual exponents.
WORLDS: dict[str, tuple[Surface, float]] = {
    "3, as they are, 4x": (Surface(axes(3)), 4.0),
    "4, as they are, 8x": (Surface(axes(4)), 8.0),
    "3, rate, 4x": (Surface(axes(3, **_RATE)), 4.0),
    "4, rate, 4x": (Surface(axes(4, **_RATE)), 4.0),
    "4, rate, tau .02, 4x": (Surface(axes(4, **_RATE), tau=0.02), 4.0),
    "3, batch, 4x": (Surface(axes(3, **_BATCH)), 4.0),
    "4, weight decay, 4x": (Surface(axes(4, **_DECAY)), 4.0),
    "4, weight decay, 8 sizes, 2 seeds, 8x": (Surface(axes(4, **_DECAY), sizes=8, seeds=2), 8.0),
    "6, rate, 8 sizes, 4x": (Surface(axes(6, **_RATE), sizes=8), 4.0),
    "3, batch, 2 scales, 4x": (Surface(axes(3, **_RATE), **_TWO, sizes=5, ragged=2), 4.0),
}


# Gaps and experiments take a forecast each: asked of every tenth study.
_EVERY = 10


def _one(world: Surface, ratio: float, seed: int) -> tuple[list[float], list[float], float]:
    """One study: whether the culprit is first, the chance that the first is right, whether the culprit's interval covers; what is
    asked of a run (see `drifts`); and the excess of the culprit by the law."""
    random = np.random.default_rng(seed)
    trials, _ = world.draw(random)
    at, start = world.target(ratio), world.point(world.ladder[-1])
    truth = world.excess(at, start)
    culprit = max(truth, key=lambda name: truth[name])
    scatter = world.tau * random.normal(size=len(world.axes))
    response = respond(trials, world.over, world.names)
    assert response is not None
    lost = {each.name: each for each in losses(response, at, start, 0.9)}
    settings = world.kept(culprit, at, start)
    exact = float(world.cost(at, [math.log(settings[name]) for name in world.names] - world.best(at) - scatter))
    mine = lost[culprit].excess
    # Draws of what each costs: the chance that the one ranked first costs most.
    draws = np.stack([each.part * each.kept.draws(at) for each in lost.values()])
    first = max(lost, key=lambda name: lost[name].excess.value)
    sure = float(np.mean(draws.argmax(axis=0) == list(lost).index(first)))
    ranked = [float(first == culprit), sure, float(mine.low <= exact <= mine.high)]
    return ranked, _asked(world, trials, at, culprit, scatter, random) if seed % _EVERY == 0 else [], truth[culprit]


def _asked(
    world: Surface, trials: Trials, at: Mapping[str, float], culprit: str, scatter: np.ndarray, random: np.random.Generator
) -> list[float]:
    """Of a run with the culprit left behind, and of one that another cause raised."""
    settings = world.kept(culprit, at, world.point(world.ladder[-1]))
    run = {**at, **settings, "loss": world.run(random, at, settings, scatter)}
    broken = {**at, **{name: math.exp(each) for name, each in zip(world.names, world.best(at), strict=True)}}
    broken["loss"] = 1.3 * world.run(random, at)
    found = find(trials, at, over=world.over, hyper=world.names, run=run)
    # The same runs and the same target: the forecast stands.
    other = explain(judge(found.forecast, columns_of(broken), settings_of(trials, broken), 0.95))
    assert found.gap is not None
    blamed = bool(found.gap.shares) and found.gap.shares[0].hyperparameter == culprit
    return [
        found[culprit].score,
        float(blamed) if found.gap.shares else math.nan,
        float(other.case is Case.UNSCREENED),
        float(_bisected(world, found, culprit, random)) if found.confirm.at is not None else math.nan,
        found.confirm.cost if found.confirm.at is not None else math.nan,
    ]


def _bisected(world: Surface, found: Drift, culprit: str, random: np.random.Generator) -> bool:
    """Run the experiment as it is proposed; whether it ends with the culprit alone."""
    plan = found.confirm
    assert plan.at is not None
    # Every run of one size sees the same best settings.
    scatter = world.tau * random.normal(size=len(world.axes))

    def run(settings: dict[str, float]) -> float:
        return float(np.mean([math.log(world.run(random, plan.at or {}, settings, scatter)) for _ in range(plan.seeds)]))

    base, gains, closed = run(dict(plan.kept)), [], []
    while (following := plan.next(closed)) is not None:
        gains.append(base - run(dict(following.settings)))
        closed.append(gains[-1] > 0.5 * (plan.predicted if not closed else gains[0]))
    return plan.suspected(closed) == (culprit,)


def _share(values: np.ndarray) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    rate = float(known.mean())
    return f"{rate:.3f} ({math.sqrt(max(rate * (1 - rate), 0.25 / len(known)) / len(known)):.3f})"


def drifts(replicates: int) -> list[str]:
    """One hyperparameter, the one with the largest true excess, is left at the law's best of the largest size.

    First: it is given the highest excess before the run. Told: the chance, by the draws of the excess, that the one ranked first
    costs most, on average. Sure: the share ranked first where that chance is .8 or more, and of how many. Covered: the 90 %
    interval of its predicted excess holds the true one. Of every tenth study: the score; blamed, after a run with a gap it has
    the largest share; unscreened, a run at the best settings whose loss another cause raised by 30 % is told to have a cause that
    was not screened; found, the proposed experiment, run as proposed on that run, ends with the culprit alone; its cost is that
    of its first two arms in runs at the target. Shares have their standard error in brackets.
    """
    lines = [
        "| hyperparameters, mover, target | true excess | first | told | sure | of | covered | score | blamed | of "
        "| unscreened | found | of | cost | refused |",
        "|" + "---|" * 15,
    ]
    for name, (world, ratio) in WORLDS.items():
        ranks: list[list[float]] = []
        rows: list[list[float]] = []
        true, refused = 0.0, 0
        for seed in range(replicates):
            try:
                ranked, row, true = _one(world, ratio, seed)
            except ScalelawError:
                refused += 1
                continue
            ranks.append(ranked)
            if row:
                rows.append(row)
        rank, table = np.array(ranks), np.array(rows)
        sure = rank[rank[:, 1] >= 0.8, 0]
        asked, tried = (int(np.isfinite(table[:, k]).sum()) for k in (1, 3))
        cost = f"{np.nanmedian(table[:, 4]):.2f}" if tried else "-"
        lines.append(
            f"| {name} | {100 * true:.1f} % | {_share(rank[:, 0])} | {rank[:, 1].mean():.2f} | {_share(sure)} | {len(sure)} "
            f"| {_share(rank[:, 2])} | {np.median(table[:, 0]):.1f} | {_share(table[:, 1])} | {asked} "
            f"| {_share(table[:, 2])} | {_share(table[:, 3])} | {tried} | {cost} | {refused} |"
        )
    return lines
