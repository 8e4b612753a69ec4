"""Simulated curves: the power of the test at half the compute, by how well law and course are known and by how the gap opens."""

from __future__ import annotations

import numpy as np

from scalelaw._sequential import Noise, evidence
from scalelaw.testing.curves import CurveWorld
from scalelaw.watch import watcher

OPENINGS = (0.0, 0.5, 1.0, 2.0)
GAP = 0.03
TARGET = 1024


def known(replicates: int = 2000) -> list[str]:
    """The e-process alone: law and course errors of known size, threshold 1 / 0.05."""
    x = np.geomspace(0.05, 1.0, 61)[1:]
    half = x <= 0.5
    z = np.log(1 / 0.5) / np.log(1 / x[0])
    lines = ["**Errors of known size** (alarm at E >= 20; 3 % off at the end, flagged by half)", ""]
    lines += ["| law sd, curve sd at half | false alarms, whole run | h = 0 | .5 | 1 | 2 |", "|---|---|---|---|---|---|"]
    for law, curve in ((0.002, 0.003), (0.004, 0.001), (0.004, 0.003), (0.006, 0.006), (0.010, 0.012)):
        random = np.random.default_rng(0)
        C = law**2 + Noise(curve / 3, 0.9 * curve / z, 0.0, 0.0, 0.002, 0.2, 0.3).covariance(x)
        draws = (np.linalg.cholesky(C) @ random.standard_normal((len(x), replicates))).T
        false = np.mean([evidence(e, C, x).max() >= np.log(20) for e in draws])
        sub = C[np.ix_(half, half)]
        power = [
            np.mean([evidence((e + GAP * x**h)[half], sub, x[half]).max() >= np.log(20) for e in draws[:500]]) for h in OPENINGS
        ]
        lines.append(f"| {100 * law:.1f} %, {100 * curve:.1f} % | {false:.3f} | " + " | ".join(f"{p:.2f}" for p in power) + " |")
    return lines


def ladders(replicates: int = 20) -> list[str]:
    """The whole of `watcher` on simulated ladders of six widths, target twice the largest."""
    lines = ["**Whole ladders** (six widths x 3 seeds, target twice the largest; law, course and noise estimated)", ""]
    head = "scatter of law, of course | stated law sd, curve sd at half | false alarms, whole run | 90 % interval at half holds"
    lines += [f"| {head} | h = 0 | .5 | 1 | 2 |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for law, course in ((0.0005, 0.001), (0.001, 0.003), (0.004, 0.003), (0.006, 0.02)):
        world = CurveWorld(law_sd=law, course_sd=course)
        false = inside = 0
        flagged = dict.fromkeys(OPENINGS, 0)
        stated: list[tuple[float, float]] = []
        for seed in range(replicates):
            random = np.random.default_rng(seed)
            eye = watcher(world.ladder(random), {"width": TARGET}, total=world.steps)
            for _ in range(3):
                curve, loss = world.watched(random, TARGET)
                false += eye.read(curve).alarm
                half = eye.read(curve.upto(0.5 * world.steps))
                inside += half.final.low <= loss <= half.final.high
            stated.append((half.law_sd, half.curve_sd))
            for h in OPENINGS:
                curve, _ = world.watched(random, TARGET, GAP, h)
                flagged[h] += eye.read(curve.upto(0.5 * world.steps)).alarm
        sd = 100 * np.median(stated, axis=0)
        n = 3 * replicates
        power = " | ".join(f"{flagged[h] / replicates:.2f}" for h in OPENINGS)
        stated_sd = f"{sd[0]:.2f} %, {sd[1]:.2f} %"
        lines.append(f"| {100 * law:.2f} %, {100 * course:.1f} % | {stated_sd} | {false}/{n} | {inside / n:.2f} | {power} |")
    return lines
