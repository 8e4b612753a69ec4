"""The base of trainers that run other people's code: one trial at a time, known by what it reports."""

from __future__ import annotations

import keyword
import shutil
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from ..errors import SpecError, StudyError, one_line
from ..trial import Status, Trial, TrialSpec
from ._base import Order, Trainer
from ._counts import expected
from ._record import Record
from ._rules import known_keys, rules

__all__ = ["Reported"]

# What a trial costs before its first step, in FLOPs of a core: starting a program, loading a library, compiling.
START_FLOPS = 2e10


class Reported(Trainer):
    """A member sets `keys`, its own settings, and trains one trial in `run`."""

    keys: ClassVar[tuple[str, ...]]

    def resolved(self, settings: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
        """See `Trainer.resolved`."""
        del folder
        known_keys(settings, self.keys)
        rules(settings)
        names = settings.get("names", [])
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_name(name) for name in names):
            raise StudyError(f"this is a list of names, not {names!r}", "trainer.names", 'For example names = ["z_loss"]')
        return dict(settings)

    def check(self, spec: TrialSpec, settings: Mapping[str, Any]) -> None:
        """Raises SpecError: it asks for what only scalelaw's own trainer does, or its FLOPs cannot be counted as told."""
        if spec.init_from is not None:
            mend = "Let your own code load what it starts from; a task option can name it"
            raise SpecError(f"the trainer {self.name!r} cannot train what a trial starts from", "init_from", mend)
        self.flops(spec, settings)

    def flops(self, spec: TrialSpec, settings: Mapping[str, Any]) -> float | None:
        """By the study's formula; else the scale's own; else 6 N D where the scale tells them."""
        return expected(spec, rules(settings).formula)

    def work(self, spec: TrialSpec, settings: Mapping[str, Any], flops: float | None = None) -> float | None:
        """FLOPs, and those of starting: a trial is a batch of its own."""
        told = self.flops(spec, settings) if flops is None else flops
        return None if told is None else told + START_FLOPS

    def trained(self, specs: Sequence[TrialSpec], order: Order) -> Iterator[Trial]:
        """One after the other; a trial's own folder goes when its result is safe."""
        shared = rules(order.settings)
        # What is trained may change the folder it works in, or have another.
        order = replace(order, folder=order.folder.absolute())
        for spec in specs:
            record = Record(spec, shared, order)
            try:
                trial = self.run(record, order)
            except Exception as error:  # whatever goes wrong in training is a result of its trial
                trial = record.failed(one_line(error))
            yield trial
            if trial.status is not Status.FAILED:
                shutil.rmtree(record.folder, ignore_errors=True)

    @abstractmethod
    def run(self, record: Record, order: Order) -> Trial:
        """Train one trial. What is raised fails it."""


def _is_name(text: str) -> bool:
    return text.isidentifier() and not keyword.iskeyword(text)
