"""Approach 2: the lowest point of each isoFLOP profile, and N* ~ C^a through them.

A profile is a response (`response.py`) of ln loss to ln N at one budget C, so it is estimated as one:

    ln L = mu_C + 1/2 h_C u^2 + k_C u^3,   u = ln N - ln N*_C

with h and k shrunk over budgets towards shared values, runs weighted by 1 / (1 + (excess / 5 %)^2)^2, and the noise pooled over
budgets. In Chinchilla's law k / h = (beta - alpha) / 6 at every budget, so the skew is the one thing that budgets do share, and
leaving it out (a parabola) moves N*. Budgets whose minimum lies at or beyond the edge of their sizes are left out and named.

ln N*_C = p + a ln C is then fitted with the budgets' own errors and a scatter between budgets (`estimate.random_effects`).
"""

from __future__ import annotations

import math

import numpy as np

from ..estimate import random_effects
from ..response import Bowl, Edge, Settings, respond
from ..trials import Trials
from ._result import Applies, Approach, Budget, Line, missing
from ._runs import Array, Runs, budgets_of

__all__ = ["isoflop", "profiles"]

WINDOW = 0.05
LEAST = {"cubic": 4, "parabola": 3}


def isoflop(runs: Runs, curve: str = "cubic", window: float = WINDOW) -> Approach:
    """Approach 2, up to what depends on the compute that is asked for.

    Args:
        curve: "cubic" (shared skew, windowed) or "parabola" (each budget alone, every run: as published, and biased off centre).
        window: relative excess loss at which a run's weight has fallen to a quarter, for the cubic.
    """
    name, least = "approach_2", LEAST[curve]
    budgets, thin = profiles(runs, curve, window)
    if not budgets:
        found = f"The fullest of the {thin} budgets has too few sizes for a {curve}, which needs {least}." if thin else ""
        return missing(name, Applies.NO_BUDGET, found)
    used = [each for each in budgets if each.used]
    edges = [f"{each.compute:.3g} ({each.reason})" for each in budgets if not each.used]
    left = f"Left out: {'; '.join(edges)}." if edges else ""
    if not used:
        return missing(name, Applies.NO_MINIMUM, left, budgets)
    told = f"{len(used)} of {len(budgets)} budgets have a bracketed minimum. {left}".strip()
    if thin:
        told += f" {thin} other values of compute have fewer than {least} sizes."
    if len(used) == 1:
        return missing(
            name, Applies.ONE_BUDGET, f"It is {used[0].compute:.3g}, N* = {math.exp(used[0].best):.3g}. {left}", budgets
        )
    c = np.log([each.compute for each in used])
    centre = float(c.mean())
    X = np.stack([np.ones_like(c), c - centre], axis=1)
    line = random_effects(X, np.array([each.best for each in used]), np.array([each.best_se for each in used]))
    path = Line(line.beta, line.covariance, centre, line.degrees)
    if len(used) == 2:
        told += " Two budgets only: the interval rests on one degree of freedom."
    return Approach(name, Applies.YES, told, path=path, budgets=budgets, detail={"curve": curve, "scatter": float(line.tau)})


def profiles(runs: Runs, curve: str = "cubic", window: float = WINDOW) -> tuple[tuple[Budget, ...], int]:
    """Every isoFLOP profile in ascending order of compute, and how many budgets had too few sizes to be one."""
    groups = budgets_of(runs.c)
    full = [rows for rows in groups if len(np.unique(np.round(runs.n[rows], 6))) >= LEAST[curve]]
    if not full:
        return (), len(groups)
    centres = np.array([float(np.median(runs.c[rows])) for rows in full])
    lowest = np.array([float(runs.y[rows].min()) for rows in full])
    # Within a budget compute may scatter: its losses are moved to one compute along the slope of the lowest losses.
    slope = float(np.polyfit(centres, lowest, 1)[0]) if len(full) > 1 else 0.0
    profile = [
        (math.exp(centre), runs.n[rows], runs.y[rows] - slope * (runs.c[rows] - centre))
        for centre, rows in zip(centres, full, strict=True)
    ]
    found = _cubics(profile, window) if curve == "cubic" else _parabolas(profile)
    return found, len(groups) - len(full)


def _cubics(profile: list[tuple[float, Array, Array]], window: float) -> tuple[Budget, ...]:
    table = Trials.from_columns(
        {
            "compute": np.concatenate([np.full(len(n), c) for c, n, _ in profile]),
            "parameters": np.exp(np.concatenate([n for _, n, _ in profile])),
            "loss": np.exp(np.concatenate([y for *_, y in profile])),
        }
    )
    # The skew is what budgets share; a budget's curvature stays its own, so its scatter is not learned.
    response = respond(table, ("compute",), ("parameters",), Settings(window=window / 2, learn=False))
    if response is None:
        return ()
    bowls = {bowl.point["compute"]: bowl for bowl in response.bowls}
    skew = float(response.skew[0])
    return tuple(_budget(c, n, y, bowls[c], skew) for c, n, y in profile if c in bowls)


def _budget(c: float, n: Array, y: Array, bowl: Bowl, skew: float) -> Budget:
    edge = bowl.edge[0]
    best, se, h = float(bowl.best[0]), float(np.sqrt(bowl.best_cov[0, 0])), float(bowl.hessian[0, 0])
    reason = ""
    if edge is Edge.LOW or not best > n.min():
        reason = f"minimum at or below the smallest size, N = {math.exp(n.min()):.3g}"
    elif edge is Edge.HIGH or not best < n.max():
        reason = f"minimum at or above the largest size, N = {math.exp(n.max()):.3g}"
    return Budget(c, np.exp(n), np.exp(y), best, se, math.exp(bowl.log_loss), (h, skew), not reason, reason)


def _parabolas(profile: list[tuple[float, Array, Array]]) -> tuple[Budget, ...]:
    """ln L = c0 + c1 x + c2 x^2 through every run of a budget; the scatter is pooled over budgets.

    N* = -c1 / (2 c2), with the delta method's error.
    """
    fits: list[tuple[Array, Array, float]] = []
    squares, freedom = 0.0, 0
    for _, n, y in profile:
        middle = float(n.mean())
        X = np.vander(n - middle, 3, increasing=True)
        inverse = np.asarray(np.linalg.pinv(X.T @ X), dtype=np.float64)
        beta = np.asarray(inverse @ X.T @ y, dtype=np.float64)
        squares += float(np.sum((y - X @ beta) ** 2))
        freedom += max(len(y) - 3, 0)
        fits.append((beta, inverse, middle))
    variance = squares / freedom if freedom else math.nan
    return tuple(
        _parabola(c, n, y, (beta, variance * inverse, middle))
        for (c, n, y), (beta, inverse, middle) in zip(profile, fits, strict=True)
    )


def _parabola(c: float, n: Array, y: Array, fitted: tuple[Array, Array, float]) -> Budget:
    """One budget's parabola from its coefficients about `middle` and their covariance."""
    beta, covariance, middle = fitted
    if not beta[2] > 0:
        reason = "no minimum: the parabola opens downwards"
        return Budget(c, np.exp(n), np.exp(y), math.nan, math.nan, math.nan, (math.nan, 0.0), False, reason)
    shift = float(-beta[1] / (2 * beta[2]))
    slopes = np.array([0.0, -1 / (2 * beta[2]), beta[1] / (2 * beta[2] ** 2)])
    se, best = float(np.sqrt(slopes @ covariance @ slopes)), middle + shift
    reason = "" if math.isfinite(se) else "as many sizes as coefficients in every budget: no error"
    if best <= n.min():
        reason = f"minimum at or below the smallest size, N = {math.exp(n.min()):.3g}"
    elif best >= n.max():
        reason = f"minimum at or above the largest size, N = {math.exp(n.max()):.3g}"
    lowest = math.exp(float(beta[0]) + float(beta[1]) * shift / 2)
    return Budget(c, np.exp(n), np.exp(y), best, se, lowest, (2 * float(beta[2]), 0.0), not reason, reason)
