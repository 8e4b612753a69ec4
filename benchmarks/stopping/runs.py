"""Runs across the cliff with the loss of every step: networks of three tasks, five optimisers, warmed up or not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalelaw.train.checkpoint import Checkpoint
from scalelaw.train.loop import companies, train_group
from scalelaw.train.outcome import judge
from scalelaw.trial import Status, TrialSpec

# Twelve rates over three decades; the cliff of each optimiser lies among them on all tasks.
RATES = {
    "adamw": (1e-3, 3.0),
    "lion": (1e-4, 0.3),
    "muon": (1e-2, 30.0),
    "sgd": (1e-2, 30.0),
    "momentum": (3e-3, 10.0),
}
TASKS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "teacher_student": ({"model": "mlp"}, {"depth": 2}),
    "fashion_mnist": ({"model": "mlp"}, {"depth": 3}),
    "zipf_markov": ({"model": "transformer"}, {"depth": 2, "context": 32}),
}
WIDTHS = {"teacher_student": (8, 32, 128), "fashion_mnist": (16, 64, 128), "zipf_markov": (8, 16, 32)}
BATCH = {"teacher_student": 16, "fashion_mnist": 32, "zipf_markov": 4}


@dataclass(frozen=True)
class Run:
    """One run: what it was, the training loss of each step, the loss before the first, and how it ended."""

    spec: TrialSpec
    losses: NDArray[np.float32]
    start: float
    status: Status
    at_chance: bool


def specs(count: int = 12, seeds: int = 2, steps: int = 400, tasks: tuple[str, ...] = tuple(TASKS)) -> list[TrialSpec]:
    """The sweep."""
    found: list[TrialSpec] = []
    for task in tasks:
        given, sizes = TASKS[task]
        for width in WIDTHS[task]:
            for name, (low, high) in RATES.items():
                for schedule in ({"schedule": "constant"}, {"schedule": "cosine", "warmup": 0.1}):
                    for rate in np.geomspace(low, high, count):
                        optimiser = {"optimiser": "sgd", "momentum": 0.9} if name == "momentum" else {"optimiser": name}
                        settings = {"learning_rate": float(f"{rate:.4g}"), "batch_size": BATCH[task], **optimiser, **schedule}
                        scale = {"width": width, "steps": steps, **sizes}
                        found += [TrialSpec(task, scale, settings, seed, **given) for seed in range(seeds)]
    return found


def trained(wanted: list[TrialSpec]) -> Iterator[Run]:
    """The runs, group by group."""
    for company in companies(wanted, lambda recipe: recipe.company):
        size = company[0][1].family.group(dict(company[0][1].sizes))
        for first in range(0, len(company), size):
            members = company[first : first + size]
            recipes = [recipe for _, recipe in members]
            ran = train_group(recipes, size, Checkpoint(None, [spec.id for spec, _ in members], 60.0))
            chance = recipes[0].loaded().chance_loss
            for place, (spec, _) in enumerate(members):
                ended = judge(ran.losses[:, place], ran.starts[place], ran.ends[place], chance)
                # A call goes on while any of its networks does: of a run that is lost its own steps count.
                losses = ran.losses[: ended.get("diverged_step") or None, place]
                yield Run(spec, losses, ran.starts[place].loss, ended["status"], bool(ended.get("at_chance")))


def save(runs: list[Run], path: Path) -> None:
    """Keep runs in a file."""
    told = [[run.spec.to_dict(), run.start, run.status.name, run.at_chance] for run in runs]
    lengths = np.cumsum([len(run.losses) for run in runs])[:-1]
    np.savez_compressed(path, told=json.dumps(told), losses=np.concatenate([run.losses for run in runs]), ends=lengths)


def read(path: Path) -> list[Run]:
    """The runs of a file."""
    with np.load(path) as kept:
        losses = np.split(kept["losses"], kept["ends"])
        told = json.loads(str(kept["told"]))
    return [
        Run(TrialSpec.from_dict(spec), each, start, Status[status], chance)
        for (spec, start, status, chance), each in zip(told, losses, strict=True)
    ]
