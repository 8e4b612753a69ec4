"""Allocation under another objective, from approach 3's law: models that will be served, and data that run out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

from ..errors import InputError
from ..estimate import Estimate
from ..laws import Parameter
from ._parametric import LawPath
from ._result import Approach, Special, bounded
from ._runs import Array

__all__ = ["DRAWS", "R_D", "R_N", "data_limited", "drawn_laws", "inference_aware", "n_star"]

# Muennighoff et al. 2023: repeats, and excess parameters, after which their worth has fallen to 1 / e.
R_D, R_N = 15.39, 5.31
DRAWS, _NODES = 400, 161

Theta: TypeAlias = Mapping[str, Array]
Objective: TypeAlias = Callable[[Theta, Array], tuple[Array, Array]]


def inference_aware(third: Approach, compute: float, served: float, level: float) -> Special:
    """The cheapest model, over training and serving, that is as good as compute-optimal training at `compute`.

    minimise k N D + 2 N D_inf  over N, D  with  L(N, D) = L(N*, D*)     (Sardana et al. 2023, arXiv:2401.00448, equation 1)

    On the constraint D(N) = (B / (L* - E - A N^-alpha))^(1 / beta), so one variable is left.

    Args:
        served: D_inf, tokens of inference over the model's lifetime.
    """
    name = "inference_aware"
    if not (served > 0 and math.isfinite(served)):
        raise InputError(f"{served:g} tokens of inference", "inference_tokens", "Give a positive number, for example 1e13")
    path = _law(third)
    if path is None:
        return Special(name, None, None, {"inference_tokens": served}, f"Needs approach 3. {third.reason}")
    k = path.per_token
    nd = math.log(compute / k)

    def lifetime(theta: Theta, n: Array) -> tuple[Array, Array]:
        """ln cost and ln D at ln N; infinite where no amount of data reaches the loss."""
        best = n_star(theta, nd)
        goal = theta["A"] * np.exp(-theta["alpha"] * best) + theta["B"] * np.exp(-theta["beta"] * (nd - best))
        room = goal - theta["A"] * np.exp(-theta["alpha"] * n)
        with np.errstate(divide="ignore", invalid="ignore"):
            d = np.where(room > 0, np.log(theta["B"] / room) / theta["beta"], np.inf)
        return n + np.logaddexp(math.log(k) + d, math.log(2 * served)), d

    draws = drawn_laws(path)
    first = n_star(draws, nd)
    n, cost, d = _lowest(lifetime, draws, first - 6.0, first + 0.5)
    dense = float(np.logaddexp(nd, math.log(2 * served / k) + first[0, 0]) + math.log(k))
    numbers = {
        "inference_tokens": served,
        "training_compute": k * bounded(n[0] + d[0]),
        "lifetime_compute": bounded(cost[0]),
        "lifetime_compute_of_training_optimum": bounded(dense),
        "saving": 1 - bounded(cost[0] - dense),
    }
    reason = "Least compute over training (k N D) and serving (2 N D_inf) at the training optimum's loss (Sardana et al. 2023)."
    return Special(name, _interval(n, level), _interval(d, level), numbers, reason)


def data_limited(third: Approach, compute: float, unique: float, level: float, fade: tuple[float, float] = (R_D, R_N)) -> Special:
    """The best N and D at `compute` when only `unique` tokens exist and the rest are repeats.

    minimise L(N', D') over N with D = C / (k N), where with U_D = min(U, D), R = D / U_D - 1, U_N the size that is optimal for
    U_D tokens and S = max(N / U_N - 1, 0)

        D' = U_D + U_D R_D (1 - e^(-R / R_D)),   N' = min(N, U_N) (1 + R_N (1 - e^(-S / R_N)))

    (Muennighoff et al. 2023, arXiv:2305.16264, equations 5 to 7, with their R_D = 15.39, R_N = 5.31 unless `fade` gives others).
    The interval leaves out that R_D and R_N are another study's.
    """
    name = "data_limited"
    if not (unique > 0 and math.isfinite(unique)):
        raise InputError(f"{unique:g} unique tokens", "unique_tokens", "Give a positive number, for example 1e11")
    if not all(value > 0 and math.isfinite(value) for value in fade):
        raise InputError(f"R_D and R_N are {fade[0]:g} and {fade[1]:g}", "fade", "Give two positive numbers")
    path = _law(third)
    if path is None:
        return Special(name, None, None, {"unique_tokens": unique}, f"Needs approach 3. {third.reason}")
    nd = math.log(compute / path.per_token)

    def loss(theta: Theta, n: Array) -> tuple[Array, Array]:
        d = nd - n
        u = np.minimum(math.log(unique), d)
        alpha, beta = theta["alpha"], theta["beta"]
        G = (np.log(alpha * theta["A"]) - np.log(beta * theta["B"])) / (alpha + beta)
        u_n = G + beta / alpha * (u + G)
        excess = np.maximum(n - u_n, 0.0)
        size = n - excess + np.log1p(-fade[1] * np.expm1(-np.expm1(np.minimum(excess, 50)) / fade[1]))
        data = u + np.log1p(-fade[0] * np.expm1(-np.expm1(np.minimum(d - u, 50)) / fade[0]))
        return np.log(theta["E"] + theta["A"] * np.exp(-alpha * size) + theta["B"] * np.exp(-beta * data)), d

    draws = drawn_laws(path)
    centre = n_star(draws, nd)
    n, log_loss, d = _lowest(loss, draws, centre - 8.0, centre + 12.0)
    numbers = {
        "unique_tokens": unique,
        "epochs": max(bounded(d[0] - math.log(unique)), 1.0),
        "loss": bounded(log_loss[0]),
        "loss_at_unlimited_optimum": math.nan if third.loss is None else third.loss.value,
        "R_D": fade[0],
        "R_N": fade[1],
    }
    reason = "Repeats and excess parameters lose their worth exponentially (Muennighoff et al. 2023), on approach 3's law."
    if numbers["epochs"] == 1.0:
        reason = "The optimum needs no repeats: the unique tokens suffice. " + reason
    return Special(name, _interval(n, level), _interval(d, level), numbers, reason)


def _law(third: Approach) -> LawPath | None:
    path = third.path
    return path if isinstance(path, LawPath) and path.fit.law.name in ("chinchilla", "chinchilla_shared") else None


def drawn_laws(path: LawPath) -> dict[str, Array]:
    """Parameters `(1 + draws, 1)`: the estimate, then draws from a Student-t with the fit's covariance."""
    law, rng = path.fit.law, np.random.default_rng(0)
    # A coefficient at 0 has no logarithm and no error.
    centre = np.array([float(_inner(item, path.fit.theta[item.name])) for item in law.parameters])
    covariance = np.nan_to_num(path.fit.covariance_inner)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    scale = np.sqrt(path.degrees / rng.chisquare(path.degrees, (DRAWS, 1)))
    drawn = np.concatenate([centre[None, :], centre + scale * (rng.standard_normal((DRAWS, len(centre))) @ root.T)])
    result: dict[str, Array] = {}
    for place, item in enumerate(law.parameters):
        column = np.exp(drawn[:, place]) if item.log else np.maximum(drawn[:, place], 1e-3)
        result[item.name] = column[:, None]
    result.setdefault("beta", result["alpha"])
    return result


def _inner(item: Parameter, value: float) -> float:
    return float(max(math.log(value), -700.0) if value > 0 else -700.0) if item.log else value


def n_star(theta: Theta, nd: float) -> Array:
    """ln N* `(draws, 1)` at ln(C / k); the closed form of `_parametric`."""
    alpha, beta = theta["alpha"], theta["beta"]
    return (np.log(alpha * theta["A"]) - np.log(beta * theta["B"]) + beta * nd) / (alpha + beta)


def _lowest(objective: Objective, theta: Theta, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """Lowest point `(draws,)` of an objective of ln N between `low` and `high` `(draws, 1)`: a grid, refined three times."""
    share = np.linspace(0.0, 1.0, _NODES)[None, :]
    rows = np.arange(len(low))
    for _ in range(3):
        n = low + (high - low) * share
        value, _ = objective(theta, n)
        best = np.argmin(value, axis=1)
        low = n[rows, np.maximum(best - 1, 0)][:, None]
        high = n[rows, np.minimum(best + 1, _NODES - 1)][:, None]
    n = low + (high - low) * share
    value, d = objective(theta, n)
    best = np.argmin(value, axis=1)
    return n[rows, best], value[rows, best], np.broadcast_to(d, value.shape)[rows, best]


def _interval(draws: Array, level: float) -> Estimate:
    """The estimate (row 0) with the draws' quantiles."""
    low, high = np.quantile(draws[1:], [0.5 - 0.5 * level, 0.5 + 0.5 * level])
    low, high = min(low, draws[0]), max(high, draws[0])
    return Estimate(bounded(draws[0]), bounded(low), bounded(high), level, float(np.std(draws[1:])))
