"""A ladder of widths under three schedules, trained by scalelaw itself: tuned runs, and runs with one thing wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scalelaw.store import Store
from scalelaw.train.device import single_thread_environment
from scalelaw.trial import Status, Trial, TrialSpec, Value

WIDTHS = (16, 22, 32, 45, 64, 90, 128)
STEPS = 1000
# Few inputs and a teacher wider than every student: the loss falls smoothly over the whole ladder, with little scatter of seeds.
TASK: Mapping[str, Value] = {"input_dim": 6, "classes": 8, "teacher_width": 256, "teacher_depth": 1, "sharpness": 6.0}
PLANS: Mapping[str, Mapping[str, Value]] = {
    "warmup": {"schedule": "constant", "warmup": 0.05},
    "cosine": {"schedule": "cosine", "warmup": 0.05},
    "warmup_stable_decay": {"schedule": "warmup_stable_decay", "warmup": 0.05},
}
RATES: Mapping[str, tuple[float, ...]] = {
    "warmup": (5e-3, 1e-2, 2e-2, 4e-2),
    "cosine": (1e-2, 2e-2, 4e-2, 8e-2),
    "warmup_stable_decay": (1e-2, 2e-2, 4e-2, 8e-2),
}
SWEEP_SEEDS = (0, 1)
MORE_SEEDS = (2, 3)
# What is wrong with a run, as what it does to the tuned setting.
FAULTS: Mapping[str, Mapping[str, float]] = {
    "rate x4": {"learning_rate": 4.0},
    "rate / 6": {"learning_rate": 1 / 6},
    "weight decay": {"weight_decay": 0.3},
    "epsilon": {"epsilon": 3e-2},
    "no decay": {},
}


@dataclass(frozen=True)
class Off:
    """A run with one thing wrong."""

    fault: str
    plan: str
    trial: Trial


class Ladder:
    """The trained runs, kept in a store so that a second call trains nothing; each `teacher` is another task."""

    def __init__(self, path: Path, teacher: int = 0) -> None:
        self.task = {**TASK, "teacher_seed": teacher} if teacher else TASK
        os.environ.update(single_thread_environment())
        self.store = Store(path)
        self._known = {trial.id: trial for trial in self.store.trials()}

    def spec(self, width: int, plan: str, rate: float, seed: int, **more: Value) -> TrialSpec:
        """One run of the ladder."""
        settings: dict[str, Value] = {"learning_rate": rate, "batch_size": 512, **PLANS[plan], **more}
        return TrialSpec("teacher_student", {"width": width, "depth": 1, "steps": STEPS}, settings, seed, task_options=self.task)

    def train(self, specs: list[TrialSpec]) -> list[Trial]:
        """Trials of these specs, trained where the store has none."""
        missing = [each for each in specs if each.id not in self._known]
        if missing:
            from scalelaw.trainers import BUILTIN, Order, trainers

            for trial in trainers[BUILTIN].trained(missing, Order(self.store.spool)):
                self.store.put([trial])
                self._known[trial.id] = trial
        return [self._known[each.id] for each in specs]

    def sweep(self) -> list[Trial]:
        """Every width and plan at every rate."""
        return self.train([self.spec(w, p, r, s) for p in PLANS for w in WIDTHS for s in SWEEP_SEEDS for r in RATES[p]])

    def best(self, width: int, plan: str) -> float:
        """The rate whose swept runs are lowest on average at this width and its two neighbours: one width's noise alone would
        choose badly."""
        place = WIDTHS.index(width)
        near = WIDTHS[max(place - 1, 0) : place + 2]
        total = dict.fromkeys(RATES[plan], 0.0)
        for w in near:
            for trial in self.train([self.spec(w, plan, r, s) for s in SWEEP_SEEDS for r in RATES[plan]]):
                rate = float(trial.spec.hyperparameters["learning_rate"])
                total[rate] += trial.loss if trial.loss is not None else 10.0
        return min(total, key=lambda rate: total[rate])

    def tuned(self) -> list[Trial]:
        """More seeds at the best rate of every width and plan."""
        return self.train([self.spec(w, p, self.best(w, p), s) for p in PLANS for w in WIDTHS for s in MORE_SEEDS])

    def off(self) -> list[Off]:
        """Runs with one thing wrong, at the tuned setting otherwise; a cosine or decay that never came is one of them."""
        asked: list[tuple[str, str, TrialSpec]] = []
        for fault, change in FAULTS.items():
            for plan in PLANS:
                if fault == "no decay" and plan == "warmup":
                    continue
                for width in WIDTHS:
                    rate = self.best(width, plan) * change.get("learning_rate", 1.0)
                    more: dict[str, Value] = {name: value for name, value in change.items() if name != "learning_rate"}
                    made = self.spec(width, plan, rate, 7, **more)
                    if fault == "no decay":
                        made = self.spec(width, "warmup", rate, 7)
                    asked.append((fault, plan, made))
        trials = self.train([each for _, _, each in asked])
        return [
            Off(fault, plan, trial)
            for (fault, plan, _), trial in zip(asked, trials, strict=True)
            if trial.status is Status.COMPLETE
        ]
