"""The table of regret: what settings forecast 2 to 4 times beyond the data cost, in bowls that are not the surface's own form.

Two hyperparameters over parameters and tokens, a ragged choice of cells, a grid of 12 rates by 10 batches of which a cell holds a
random share, noise that grows with the excess, and runs that diverge. Bowls, in u along the turned axes, with curvature h:

    skewed      h / b^2 (e^(bu) - 1 - bu)                        saturating  the same, held below 0.15
    quartic     h (u^2 / 2 + b u^3 / 6 + (1/20 + b^2 / 10) u^4)   curved      skewed, its valley bent as u_1 - 0.12 u_2^2
    lopsided    h / k^2 (cosh ku - 1) above the best, h / k^2 ln cosh ku below it, k = b + 1/2
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scalelaw.response import Response, Settings, respond, skewed
from scalelaw.trials import Trials

__all__ = ["regrets"]

Array = NDArray[np.float64]
Point = tuple[float, float]
Predict = Callable[[Point], Array]

OVER, HYPER = ("parameters", "tokens"), ("learning_rate", "batch_size")
FORMS = ("skewed", "quartic", "lopsided", "saturating", "curved")
# Cells, span of ln parameters, and the shares of its grid that a cell holds.
DESIGNS = {
    "40 to 120 runs a cell": (10, 1.6, 0.4, 1.0),
    "10 to 24 runs a cell": (10, 1.6, 0.08, 0.2),
    "6 cells": (6, 0.9, 0.4, 1.0),
}
_NOISE, _TAU, _UNEVEN = 0.0012, np.array([0.1, 0.07]), 0.15


def _bowl(form: str, u: Array, h: Array, b: Array) -> Array:
    if form == "curved":
        u = np.stack([u[..., 0] - 0.12 * u[..., 1] ** 2, u[..., 1]], axis=-1)
    x = np.minimum(b * u, 50.0)
    cost = np.sum(h / b**2 * (np.expm1(x) - x), axis=-1)
    if form == "quartic":
        return np.sum(h * (u**2 / 2 + b * u**3 / 6 + (0.05 + b**2 / 10) * u**4), axis=-1)
    if form == "lopsided":
        x = np.clip((b + 0.5) * u, -30.0, 30.0)
        return np.sum(h / (b + 0.5) ** 2 * np.where(x < 0, np.log(np.cosh(x)), np.cosh(x) - 1), axis=-1)
    return 0.15 * -np.expm1(-cost / 0.15) if form == "saturating" else cost


class _World:
    """One study: its law, bowls and cells are drawn, half of its exponents bend."""

    def __init__(self, form: str, design: tuple[int, float, float, float], random: np.random.Generator) -> None:
        count, span, self.least, self.most = design
        self.form = form
        self.power = random.normal([[-0.6, 0.25], [-0.05, 0.5]], [[0.2, 0.12], [0.1, 0.12]])
        self.bend = np.where(random.random(2) < 0.5, random.normal(0, 0.05, 2), 0.0)
        self.h = np.array([0.022, 0.017]) * np.exp(random.normal(0, 0.3, 2))
        self.b = np.clip(random.normal([0.6, 0.3], [0.2, 0.15]), 0.05, 1.2)
        self.growth = random.normal(0.08, 0.08)
        between = np.clip(random.normal(-0.3, 0.15), -0.7, 0.3)
        values, vectors = np.linalg.eigh(np.array([[1.0, between], [between, 1.0]]))
        self.root = (vectors * np.sqrt(values)) @ vectors.T
        N, D = 1e8 * np.exp(np.linspace(0, span, 4)), 2e9 * np.exp(np.linspace(0, 2.3, 5))
        every = list(itertools.product(N, D))
        self.points: list[Point] = [every[k] for k in np.sort(random.permutation(len(every))[:count])]
        self.middle = np.array([np.log(N).mean(), np.log(D).mean()])
        top = N[-1]
        self.targets: list[Point] = [(2 * top, D[1]), (2 * top, D[4]), (4 * top, D[3]), (2 * top, 2 * D[4]), (4 * top, 2 * D[4])]

    def best(self, point: Point) -> Array:
        s = np.log(point) - self.middle
        return np.log([1e-3, 200.0]) + self.power @ s + 0.5 * self.bend * s[0] ** 2

    def cost(self, point: Point, away: Array, uneven: float) -> Array:
        h = self.h * math.exp(self.growth * (math.log(point[0]) - self.middle[0]) + uneven)
        return _bowl(self.form, (away * np.sqrt(h)) @ self.root / np.sqrt(h), h, self.b)

    def draw(self, random: np.random.Generator) -> Trials:
        centre = np.mean([self.best(point) for point in self.points], axis=0) + random.uniform(-0.5, 0.5, 2)
        axes = centre[0] + 0.5 * math.log(2) * np.arange(-6, 6), centre[1] + 0.45 * (np.arange(10) - 4.5)
        rows: list[tuple[float, ...]] = []
        for point in self.points:
            z = np.array(list(itertools.product(*axes)))
            z = z[random.random(len(z)) < random.uniform(self.least, self.most)]
            best = self.best(point) + _TAU * random.normal(size=2)
            cost = self.cost(point, z - best, _UNEVEN * random.normal())
            s = np.log(point) - self.middle
            loss = np.exp(
                math.log(2.5) - s @ [0.08, 0.06] + cost + _NOISE * (1 + 50 * np.minimum(cost, 0.3)) * random.normal(size=len(z))
            )
            failed = z[:, 0] + 0.2 * random.normal(size=len(z)) > self.best(point)[0] + 2.2 - 0.2 * s[0] + 0.3 * random.normal()
            loss[failed] = random.uniform(5, 11, int(failed.sum()))
            rows.extend((*point, *np.exp(place), value) for place, value in zip(z, loss, strict=True))
        return Trials.from_columns(dict(zip((*OVER, *HYPER, "loss"), np.array(rows).T, strict=True)), "simulated")


def _centre(*responses: Response) -> Predict:
    return lambda point: np.mean([each.trend.best(dict(zip(OVER, point, strict=True))) for each in responses], axis=0)


def _cheapest(response: Response) -> Predict:
    """The setting whose expected cost is least over draws of the law, its scatter and the curvature: steps down a pattern."""

    def predict(point: Point) -> Array:
        at, random = dict(zip(OVER, point, strict=True)), np.random.default_rng(0)
        best = response.trend.draw(400, random)(response.trend.place(at)[None])[:, 0]
        sharp, H, k = response.sharpness([at], 400, random)[:, 0], response.hessian_at(at), response.skew_at(at)
        here, step = response.trend.best(at), 0.1
        moves = np.concatenate([np.zeros((1, 2)), np.eye(2), -np.eye(2)])
        while step > 0.005:
            costs = [float(skewed(H, k, here + step * move - best, sharp).mean()) for move in moves]
            lowest = int(np.argmin(costs))
            here, step = here + step * moves[lowest], step if lowest else step / 2
        return here

    return predict


def _rules(trials: Trials) -> Mapping[str, Predict]:
    """The shipped rule first."""
    shipped = Settings()
    kinds = {
        "as shipped": shipped,
        "window 0.01": replace(shipped, window=0.01),
        "window 0.04": replace(shipped, window=0.04),
        "scatter of the curvature not learned": replace(shipped, learn=False),
        "straight or bent at even odds": replace(shipped, straight=0.5),
        "always straight": replace(shipped, bend=0.0),
        "always bent": replace(shipped, straight=1e-9),
    }
    found: dict[str, Response] = {}
    for name, settings in kinds.items():
        response = respond(trials, OVER, HYPER, settings)
        assert response is not None
        found[name] = response
    first = found["as shipped"]
    return {
        **{name: _centre(response) for name, response in found.items()},
        "average of three windows": _centre(first, found["window 0.01"], found["window 0.04"]),
        "average, scatter learned and not": _centre(first, found["scatter of the curvature not learned"]),
        "least expected cost": _cheapest(first),
    }


def regrets(replicates: int) -> list[str]:
    """Mean regret in percent over five cells beyond the data, and its ratio to the shipped rule's, geometric mean over studies.

    The law itself known, what is left is the scatter of cells about it.
    """
    values: dict[str, list[float]] = {}
    place: list[str] = []
    for (design, numbers), form in itertools.product(DESIGNS.items(), FORMS):
        for seed in range(replicates):
            random = np.random.default_rng([seed, FORMS.index(form), list(DESIGNS).index(design)])
            world = _World(form, numbers, random)
            rules = {**_rules(world.draw(random)), "the law itself": world.best}
            cells = [(at, _TAU * random.normal(size=2), _UNEVEN * random.normal()) for at in world.targets for _ in range(4)]
            place.append(design)
            for name, predict in rules.items():
                costs = [world.cost(at, predict(at) - world.best(at) - eta, xi) for at, eta, xi in cells]
                values.setdefault(name, []).append(100 * float(np.mean(costs)))
    where = np.array(place)
    lines = [f"| settings | {' | '.join(DESIGNS)} | ratio (standard error) | better in |", "|" + "---|" * (len(DESIGNS) + 3)]
    first = np.array(values["as shipped"])
    for name, each in values.items():
        mean = [f"{np.array(each)[where == design].mean():.3f}" for design in DESIGNS]
        ratio = np.log(np.array(each) / first)
        se = ratio.std() / math.sqrt(len(ratio))
        lines.append(f"| {name} | {' | '.join(mean)} | {math.exp(ratio.mean()):.3f} ({se:.3f}) | {np.mean(ratio < 0):.2f} |")
    return lines
