"""What halving does to the law of the best rate and to the best-case loss, on simulated worlds whose truth is known.

    python -m benchmarks.stopping.halving [--worlds 40]

A run's course at step t of T is L(rate; t) = L(rate) + 0.5 L_best ((T / t)^0.5 - 1) / (T^0.5 - 1), with its bowl's centre moved
up by 0.3 ln(T / t): short runs like higher rates. Its seed's luck is the same at every step. Runs of a size arrive in random
order, each goes through the very code that a worker runs, and the fit sees the survivors. "floor 1" lets fewer than three
settings go on.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scalelaw.errors import DataError
from scalelaw.optimum import optimum
from scalelaw.testing.worlds import World
from scalelaw.trainers import Order, Record, Rules, _rungs
from scalelaw.trainers._rungs import Halving
from scalelaw.trial import Trial, TrialSpec
from scalelaw.trials import Trials

STEPS = 2700
WAYS: dict[str, tuple[Halving | None, int]] = {
    "none": (None, 3),
    "keep 3 from 100": (Halving(3, 100), 3),
    "keep 3 from 900": (Halving(3, 900), 3),
    "keep 2 from 100": (Halving(2, 100), 3),
    "keep 3 from 100, floor 1": (Halving(3, 100), 1),
}
_SHORT = 0.3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stopping.halving", description="Halving on simulated worlds.")
    parser.add_argument("--worlds", type=int, default=40, help="how many (default 40)")
    options = parser.parse_args()
    head = ("halving", "seeds", "fits", "steps saved", "runs kept", "rates kept", "exponent: bias, rms", "inside 90 %")
    head += ("ln loss at the largest: bias, rms", "inside 90 %")
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for seeds in (1, 3):
        for name, (halving, floor) in WAYS.items():
            _rungs.FEWEST = floor
            found = [_world(halving, seeds, number) for number in range(options.worlds)]
            rows = np.array([row for row in found if row is not None])
            saved, kept, rates, exponent, in_exponent, loss, in_loss = rows.T
            fits = len(rows) / len(found)
            print(
                f"| {name} | {seeds} | {fits:.0%} | {saved.mean():.0%} | {kept.mean():.0%} | {rates.mean():.1f} "
                f"| {exponent.mean():+.3f}, {_rms(exponent):.3f} | {in_exponent.mean():.0%} "
                f"| {loss.mean():+.4f}, {_rms(loss):.4f} | {in_loss.mean():.0%} |",
                flush=True,
            )


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _world(halving: Halving | None, seeds: int, number: int) -> tuple[float, ...] | None:
    """(steps saved, share of runs kept, rates kept in a size, error of the exponent, inside, error of ln loss, inside).

    None where the survivors tell no bowl.
    """
    random = np.random.default_rng([number, seeds])
    world = World(seeds=seeds, sizes=6, rates=9)
    table, tops = world.draw(random)
    with tempfile.TemporaryDirectory() as folder:
        trials, made = zip(*_trained(world, (table, tops), halving, random, Path(folder)), strict=True)
    saved = 1 - sum(made) / (len(made) * STEPS)
    found = Trials.from_trials(trials)
    kept = found.finished
    rates = np.mean([len(np.unique(rows["learning_rate"])) for _, rows in kept.groups(["width"])])
    try:
        best = optimum(found, over="width", hyper="learning_rate")
    except DataError:
        return None
    law = best["learning_rate"].exponent("width")
    at_largest = best.frontier.trials.where(best.frontier.trials["width"] == world.widths[-1])
    loss, sigma = (float(at_largest.numbers(name)[0]) for name in ("loss", "loss_se"))
    error = math.log(loss / world.loss(float(world.widths[-1])))
    inside = float(law.low <= -world.exponent <= law.high)
    return (
        saved,
        len(kept) / len(found),
        float(rates),
        law.value + world.exponent,
        inside,
        error,
        float(abs(error) < 1.645 * sigma / loss),
    )


def _trained(
    world: World, drawn: tuple[Trials, NDArray[np.float64]], halving: Halving | None, random: np.random.Generator, folder: Path
) -> Iterator[tuple[Trial, int]]:
    """Each run as it ended, and its steps."""
    rules, order = Rules(halving=halving), Order(folder)
    moments = np.unique(np.round(np.geomspace(20, STEPS - 1, 60)).astype(int)).tolist()
    for width, top in zip(map(float, world.widths), drawn[1], strict=True):
        rows = drawn[0].where(drawn[0]["width"] == width).rows()
        for place in random.permutation(len(rows)):
            rate, loss = rows[place]["learning_rate"], rows[place]["loss"]
            spec = TrialSpec("world", {"width": int(width), "steps": STEPS}, {"learning_rate": rate}, int(rows[place]["seed"]))
            record = Record(spec, rules, order)
            for step in moments:
                left = STEPS / step
                away = math.log(rate) - top
                moved = float(world.cost(width, away - _SHORT * math.log(left)) - world.cost(width, away))
                behind = 0.5 * world.loss(width) * (left**0.5 - 1) / (STEPS**0.5 - 1)
                if not record.note(step, loss * math.exp(moved) + behind, {}):
                    yield record.end(None), step
                    break
            else:
                yield record.end({"loss": loss}), STEPS


if __name__ == "__main__":
    main()
