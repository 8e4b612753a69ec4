"""Cutting trials into batches: what a worker is sent at once, and in which order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .engines import Batch
from .engines._base import shape
from .errors import InputError
from .trainers import Trainer
from .trial import TrialSpec

__all__ = ["Cutter"]

# Work that a core does in about a fifth of a second.
LIVELY = 2e10


@dataclass(frozen=True)
class Cutter:
    """How trials become batches.

    Args:
        trainer: what trains them. settings: the study's `[trainer]` table, resolved.
        whole: for an accelerator: a shape is one batch, which the worker cuts by what its memory holds.
        witnesses: see `Batch`.
        most: the largest number of trials in a batch; None leaves it to the trainer.
    """

    trainer: Trainer
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    whole: bool = False
    witnesses: bool = False
    most: int | None = None

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise InputError(f"a batch cannot have {self.most} trials", "--batch", "Give a whole number of 1 or more")

    def batch(self, specs: Sequence[TrialSpec]) -> Batch:
        """These trials, of one shape, as one batch."""
        work = self.work(specs[0])
        return Batch(tuple(specs), work * len(specs), self.witnesses, self.settings)

    def work(self, spec: TrialSpec, flops: float | None = None) -> float:
        """What a trial costs, given its FLOPs where they are known; where it cannot be told, every one the same."""
        told = self.trainer.work(spec, self.settings, flops)
        return LIVELY if told is None else told

    def cut(self, specs: Sequence[TrialSpec]) -> list[Batch]:
        """Batches of one shape, the costliest first, so that no large trial is left alone at the end.

        For a core a batch is made of whole groups: trials of one shape and seed, in the number that the trainer trains side by
        side. Results arrive batch by batch, so a batch is one group, or as many as take about a fifth of a second.
        """
        groups: dict[object, dict[int, list[TrialSpec]]] = {}
        for spec in specs:
            groups.setdefault(shape(spec), {}).setdefault(spec.seed, []).append(spec)
        made: list[Batch] = []
        for seeds in groups.values():
            if self.whole or self.most is not None:
                all_of = list(itertools.chain.from_iterable(seeds.values()))
                size = self.most or len(all_of)
                made += [self.batch(all_of[first : first + size]) for first in range(0, len(all_of), size)]
            else:
                made += self._groups(list(seeds.values()))
        return sorted(made, key=lambda batch: -batch.work)

    def _groups(self, seeds: Sequence[Sequence[TrialSpec]]) -> list[Batch]:
        one = seeds[0][0]
        size, work = self.trainer.group(one, self.settings), self.work(one)  # equal for all trials of a shape
        room = LIVELY / work if work else math.inf
        made: list[Batch] = []
        pending: list[TrialSpec] = []
        for same in seeds:
            for first in range(0, len(same), size):
                group = same[first : first + size]
                if pending and len(pending) + len(group) > room:
                    made.append(self.batch(pending))
                    pending = []
                pending.extend(group)
        return [*made, self.batch(pending)]
