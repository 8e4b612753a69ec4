"""The tables: each function simulates and returns lines of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scalelaw.forecast import forecast
from scalelaw.frontier import frontier
from scalelaw.optimum import optimum
from scalelaw.response import Settings, respond
from scalelaw.testing.worlds import World
from scalelaw.verdict import Ruling, check

__all__ = ["bowls", "forecasts", "optima", "share", "verdicts"]

BOWLS = {
    "skewed, rates x2": World(sizes=6),
    "skewed, 12 rates x1.4": World(sizes=6, rates=12, step=0.35, noise=0.002),
    "deep, saturating": World(curvature=0.1, cap=0.35, growth=0.15, rates=10, step=0.6),
    "symmetric": World(sizes=6, skew=0.0),
    "very skewed": World(sizes=6, skew=1.0),
    "5 rates x2, 3 seeds": World(sizes=6, rates=5, seeds=3),
    "30 % missing": World(sizes=6, missing=0.3),
    "half at an edge": World(sizes=6, rates=5, shift=-0.9),
}
OPTIMA = {
    f"{cells} sizes, tau {tau:g}{', edges' if shift else ''}": World(
        sizes=cells, tau=tau, noise=0.003, shift=shift, missing=0.15, rates=6
    )
    for cells in (5, 6, 8)
    for tau, shift in ((0.02, 0.0), (0.1, 0.0), (0.25, 0.0), (0.1, -0.8))
}
FORECASTS = {
    f"{law}, {seeds} seed{'s' if seeds > 1 else ''}": World(law=law, seeds=seeds)
    for law in ("saturating", "power", "log_linear", "bent")
    for seeds in (1, 3)
}


def share(hits: Sequence[float] | np.ndarray) -> str:
    """A share with its standard error."""
    rate = float(np.mean(hits))
    return f"{rate:.3f} ({math.sqrt(max(rate * (1 - rate), 0.25 / len(hits)) / len(hits)):.3f})"


def bowls(replicates: int) -> list[str]:
    """Error of the best rate and of the best loss, by estimator."""
    lines = ["| world | estimator | rms error ln rate | cover 90 % | rms error loss | cover 90 % |", "|---|---|---|---|---|---|"]
    kinds = {
        f"{'cubic' if cubic else 'parabola'}, {100 * window:g} %": Settings(window=window, cubic=cubic)
        for cubic in (False, True)
        for window in (0.01, 0.02, 0.04, 0.08)
    }
    for name, world in BOWLS.items():
        for kind, settings in kinds.items():
            rows: list[tuple[float, float, float, float]] = []
            for seed in range(replicates):
                trials, best = world.draw(np.random.default_rng(seed))
                response = respond(trials, ("width",), ("learning_rate",), settings)
                if response is None:
                    continue
                for bowl in response.bowls:
                    place = int(np.argmin(np.abs(world.widths - bowl.point["width"])))
                    rows.append(
                        (
                            float(bowl.best[0] - best[place]),
                            math.sqrt(bowl.best_cov[0, 0]),
                            bowl.log_loss - math.log(world.loss(bowl.point["width"])),
                            bowl.log_loss_se,
                        )
                    )
            e = np.array(rows)
            rate, loss = (np.sqrt(np.mean(e[:, k] ** 2)) for k in (0, 2))
            cover = [np.mean(np.abs(e[:, k]) < 1.645 * e[:, k + 1]) for k in (0, 2)]
            lines.append(f"| {name} | {kind} | {rate:.3f} | {cover[0]:.2f} | {100 * loss:.2f} % | {cover[1]:.2f} |")
    return lines


def optima(replicates: int) -> list[str]:
    """Coverage of the 90 % interval of the optimum's law, one size's own optimum, and the exponent; target 4x."""
    lines = [
        "| world | law's value | one size's own | exponent | rms error ln rate | half-width, nats |",
        "|---|---|---|---|---|---|",
    ]
    for name, world in OPTIMA.items():
        law: list[bool] = []
        own: list[bool] = []
        power: list[bool] = []
        error: list[float] = []
        half: list[float] = []
        for seed in range(replicates):
            random = np.random.default_rng(seed)
            trials, _ = world.draw(random)
            at = {"width": 4 * float(world.widths[-1])}
            found = optimum(trials, at=at)["learning_rate"]
            value, run = found.at(at), found.run_at(at)
            truth = world.law_rate(at["width"])
            draw = truth + world.tau * random.normal()
            low, high = found.to_dict()["interval"]["p"]
            law.append(value.low <= math.exp(truth) <= value.high)
            own.append(run.low <= math.exp(draw) <= run.high)
            power.append(low <= world.exponent <= high)
            error.append(math.log(value.value) - truth)
            half.append(0.5 * math.log(value.high / value.low))
        rms = math.sqrt(float(np.mean(np.square(error))))
        lines.append(f"| {name} | {share(law)} | {share(own)} | {share(power)} | {rms:.3f} | {np.median(half):.2f} |")
    return lines


def forecasts(replicates: int, ratios: tuple[int, ...] = (2, 4, 16)) -> list[str]:
    """Coverage of the 90 % interval of a tuned run's loss, its half-width, and the error; 8 sizes."""
    lines = ["| truth | ratio | cover 90 % | median half-width | rms error | bias |", "|---|---|---|---|---|---|"]
    for name, world in FORECASTS.items():
        rows: dict[int, list[tuple[bool, float, float]]] = {ratio: [] for ratio in ratios}
        for seed in range(replicates):
            random = np.random.default_rng(seed)
            widths = np.array(ratios) * float(world.widths[-1])
            found = forecast(frontier(world.draw(random)[0]), {"width": float(widths[0])})
            for ratio, value, low, high in zip(ratios, *found.predict({"width": widths}), strict=True):
                run = world.run(random, ratio * float(world.widths[-1]))
                rows[ratio].append((low <= run <= high, 0.5 * math.log(high / low), math.log(run / value)))
        for ratio, each in rows.items():
            error = np.array([row[2] for row in each])
            lines.append(
                f"| {name} | {ratio}x | {share([row[0] for row in each])} | {100 * np.median([row[1] for row in each]):.1f} % "
                f"| {100 * np.sqrt(np.mean(error**2)):.1f} % | {100 * error.mean():+.1f} % |"
            )
    return lines


def verdicts(replicates: int, ratios: tuple[int, ...] = (2, 4)) -> list[str]:
    """Rulings on tuned runs (OFF is a false alarm, nominal 5 %) and on runs away from their best rate; curvature 0.03.

    One `check` per world judges the tuned run; the others are judged by the same distribution, as `check` would.
    """
    lines = [
        "| truth | ratio | tuned: OFF | tuned: ON | 2x high: OFF | 4x high: OFF | 4x low: OFF | cost of 2x, 4x, 1/4x |",
        "|---|---|---|---|---|---|---|---|",
    ]
    aways = (math.log(2), math.log(4), -math.log(4))
    for name, world in FORECASTS.items():
        world = replace(world, curvature=0.03)
        for ratio in ratios if "3 seeds" in name else ():
            width = ratio * float(world.widths[-1])
            tuned: list[Ruling] = []
            off: list[list[bool]] = [[] for _ in aways]
            for seed in range(replicates):
                random = np.random.default_rng(seed)
                trials, _ = world.draw(random)
                found = check(trials, {"width": width, "loss": world.run(random, width)})
                tuned.append(found.verdict)
                for place, away in enumerate(aways):
                    off[place].append(world.run(random, width, away) > found.high)
            cost = ", ".join(f"{100 * float(world.cost(width, away)):.1f} %" for away in aways)
            shares = [share([each is ruling for each in tuned]) for ruling in (Ruling.OFF_LAW, Ruling.ON_LAW)]
            lines.append(f"| {name} | {ratio}x | {' | '.join([*shares, *(share(each) for each in off)])} | {cost} |")
    return lines
