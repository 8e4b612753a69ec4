"""Simulated ladders with training curves whose law, course and gaps are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..curves import Plan, Runs, TrainingCurve, mend
from ..trial import Curve, Status, Trial, TrialSpec, Value

__all__ = ["CurveWorld"]

Array: TypeAlias = NDArray[np.float64]

_PLAN = Plan("cosine", 0.02, 0.1)


@dataclass(frozen=True)
class CurveWorld:
    """Tuned runs of several widths, with their curves.

        final(n) = floor + size (n / 64)^-decay                            the law
        course   = multi-power law in S(t), with a decay exponent that drifts in ln n, over its own end
        ln loss  = ln final(n) + a_n + seed + ln course + gap x^h + c_n z^2 + noise

    with a_n ~ N(0, `law_sd`^2) and c_n ~ N(0, `course_sd`^2) of each width, seed ~ N(0, `seed_sd`^2), z = ln(1/x) / ln 20.

    Args:
        widths, seeds: of the ladder. steps: of each run. plan: its schedule.
        noise: of one record, in ln loss. records: per curve, log-spaced.
        drift: of the exponent per nat of width.
    """

    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    seeds: int = 3
    steps: int = 4000
    plan: Plan = _PLAN
    floor: float = 1.5
    size: float = 1.0
    decay: float = 0.35
    law_sd: float = 0.001
    course_sd: float = 0.002
    seed_sd: float = 0.001
    noise: float = 0.003
    records: int = 120
    drift: float = 0.03

    def final(self, width: float) -> float:
        """The law's loss."""
        return self.floor + self.size * (width / 64) ** -self.decay

    def course(self, width: float, steps: Array) -> Array:
        """Loss over final loss at steps."""
        u = self.plan.shares(self.steps)
        area = np.cumsum(u) / self.steps
        at = np.clip(np.round(steps).astype(int), 1, self.steps) - 1
        exponent = 0.5 + self.drift * math.log(width / 64)
        drops = np.concatenate([[0.0], -np.diff(u)])
        drops[: round(self.plan.warmup * self.steps) + 1] = 0.0
        falls = np.flatnonzero(drops > 0)
        falls = falls[:: max(len(falls) // 200, 1)]
        weight = drops[falls] * max(np.sum(drops > 0) / max(len(falls), 1), 1.0)
        since = np.maximum(area[:, None] - area[falls], 0.0)
        gain = (1 - (1 + 20 * np.maximum(u[falls], 1e-3) ** -0.6 * since) ** -0.6) @ weight if len(falls) else 0.0
        loss = 0.7 + 0.25 * (area + 0.01) ** -exponent - 0.25 * gain
        return np.asarray(loss[at] / loss[-1], dtype=np.float64)

    def run(
        self, random: np.random.Generator, width: float, shift: tuple[float, float], gap: float = 0.0, h: float = 1.0
    ) -> Trial:
        """One run as a trial; `shift` is (a_n, c_n), and it ends `gap` in ln loss above a tuned run, opening as x^h."""
        ends = np.unique(np.round(np.geomspace(1, self.steps, self.records)).astype(int))
        begin = np.concatenate([[0], ends[:-1]])
        middle = 0.5 * (begin + 1 + ends)
        x = np.clip(middle / self.steps, 1e-6, 1.0)
        z = np.log(1 / x) / math.log(20)
        seed = self.seed_sd * random.standard_normal()
        end = math.log(self.final(width)) + shift[0] + seed
        log = end + np.log(self.course(width, middle)) + gap * x**h + shift[1] * z**2
        log = log + self.noise * random.standard_normal(len(x)) / np.sqrt(np.maximum((ends - begin) / 20, 1.0))
        settings: dict[str, Value] = {"learning_rate": 1e-3, "schedule": self.plan.schedule, "warmup": self.plan.warmup}
        if self.plan.final_fraction:
            settings["final_fraction"] = self.plan.final_fraction
        spec = TrialSpec("simulated", {"width": width, "steps": self.steps}, settings, int(random.integers(1 << 40)))
        curve = Curve(tuple(ends.tolist()), tuple(np.exp(log).tolist()))
        return Trial(spec, Status.COMPLETE, loss=math.exp(end + gap), curve=curve)

    def shift(self, random: np.random.Generator) -> tuple[float, float]:
        """What a width adds to its law and its course."""
        return float(self.law_sd * random.standard_normal()), float(self.course_sd * random.standard_normal())

    def ladder(self, random: np.random.Generator) -> Runs:
        """All tuned runs."""
        trials: list[Trial] = []
        for width in self.widths:
            shift = self.shift(random)
            trials += [self.run(random, width, shift) for _ in range(self.seeds)]
        return Runs.of(trials)

    def watched(self, random: np.random.Generator, width: float, gap: float = 0.0, h: float = 1.0) -> tuple[TrainingCurve, float]:
        """The whole curve of another width's run, and its final loss."""
        trial = self.run(random, width, self.shift(random), gap, h)
        assert trial.curve is not None
        assert trial.loss is not None
        return mend(trial.curve.steps, trial.curve.losses, means=True, total=self.steps), trial.loss
