"""A study that one's own loop works through: ask for a trial, train it anywhere, tell what came of it.

    import scalelaw

    with scalelaw.open_study("study.db", "study.toml") as study:
        for trial in study:                              # until nothing is left
            loss = train(trial["width"], trial["learning_rate"], trial.seed)
            study.tell(trial, loss)

Any number of processes may do that with one store: a trial that one has asked for is kept from the others until it is told of, or
until its process has ended. Telling twice changes nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .errors import InputError, RunError
from .spool import rungs
from .store import Store
from .study import Study, read_study
from .trainers import Order, Record, rules, trainer_of
from .trainers._rungs import Halving, Rungs, cell
from .trial import Status, Trial, TrialSpec, Value
from .trials import Trials
from .until import suggest

__all__ = ["OpenStudy", "open_study"]

Watch = Callable[[Trial], None]
# How often a trial that failed is asked for again by the process in which it did.
RETRIES = 2


class OpenStudy:
    """A store, and the trials that are wanted of it; see `open_study`. A context manager and an iterator."""

    def __init__(
        self, storage: str | Path, study: Study | None, planned: bool, options: Mapping[str, Any], on_trial: Sequence[Watch]
    ) -> None:
        self.store, self.study = Store(storage), study
        self._storage = storage  # with the password that `Store.name` does not show
        self._planned, self._options, self._on_trial = planned, dict(options), tuple(on_trial)
        self._asked: dict[str, TrialSpec] = {}
        self._own = {} if study is None else {spec.id: spec for spec in study.specs}
        self._records: dict[str, Record] = {}
        self._failures: Counter[str] = Counter()
        self._rules = rules({} if study is None else study.trainer)

    # ---- what is wanted -----------------------------------------------------------------------------------------------

    def ask(self, count: int | None = None) -> Any:
        """The next trial; None where there is none. With a `count` a list of at most so many.

        First what was enqueued, then the study's trials without a result: in its order, or as the planner wants them.
        What other processes have asked for is left to them, and so is what has failed here three times.

        Raises:
            InputError: the planner cannot plan, see `until.suggest`.
        """
        wanted = 1 if count is None else count
        hopeless = {key for key, times in self._failures.items() if times > RETRIES}
        found = self.store.claim((), wanted, without=hopeless)
        while (more := wanted - len(found)) > 0 and (specs := self._wanted(more, hopeless)):
            found += (new := self.store.claim(specs, more, without=hopeless))
            if new or not self._planned:
                break  # else somebody has just taken what the planner wanted: ask it for what comes after
        self._asked.update({spec.id: spec for spec in found})
        if count is not None:
            return found
        return found[0] if found else None

    def _wanted(self, count: int, hopeless: Collection[str]) -> Sequence[TrialSpec]:
        if self.study is None:
            return ()
        if not self._planned:
            return self.study.specs
        return suggest(self.study, self._storage, count, busy={*self.store.busy(), *hopeless}, **self._options)

    def __iter__(self) -> Iterator[TrialSpec]:
        while (spec := self.ask()) is not None:
            yield spec

    def enqueue(self, *specs: TrialSpec, **axes: Value | Sequence[Value]) -> int:
        """Want trials that are to come next; returns how many were new.

        Args:
            specs: trials; with `axes` they are the pattern, by default the study's first trial.
            axes: columns that differ from it, a value or several: `width=512, learning_rate=[1e-4, 3e-4], seed=[0, 1]`.

        Raises:
            InputError: no pattern, a column that it does not have, or a value that such a column cannot have.
        """
        if not axes:
            return self.store.enqueue(specs)
        patterns = specs or (self.study.specs[:1] if self.study is not None else ())
        if not patterns:
            raise InputError("no trial to vary", "enqueue", "Give a TrialSpec, or open the store with a study")
        several = [each if isinstance(each, Iterable) and not isinstance(each, str) else [each] for each in axes.values()]
        values = [[_plain(value) for value in each] for each in several]
        varied = [
            _varied(pattern, dict(zip(axes, point, strict=True))) for pattern in patterns for point in itertools.product(*values)
        ]
        return self.store.enqueue(varied)

    # ---- what came of it ----------------------------------------------------------------------------------------------

    def report(self, trial: TrialSpec | str, step: int, loss: float, **metrics: float) -> bool:
        """Note a loss while training; False where the run should stop; `tell` it all the same.

        It should where its loss is not finite, where it is certain to diverge, or where others of its size are better (`halving`
        in the study's `[trainer]` table).

        Raises:
            RunError: nobody asked for such a trial, or what is reported is no number.
        """
        with _told():
            return self._record(trial).note(step, loss, metrics)

    def tell(
        self,
        trial: TrialSpec | str,
        result: float | Mapping[str, Any] | None = None,
        *,
        curve: Iterable[tuple[int, float]] = (),
        error: str | None = None,
        pruned: bool = False,
    ) -> Trial:
        """Store what came of a trial. One that has a finished result already keeps it.

        Args:
            trial: as it was asked for, or its id.
            result: the loss; or a mapping that holds `loss` and what else is known: parameters (N), embedding_parameters, tokens
                (D), compute (C), and other numbers as metrics. None takes the loss that was reported last.
            curve: (step, loss) pairs, beside what was reported.
            error: the trial failed, for this reason; it is asked for again, twice at most by this process.
            pruned: it was stopped early on purpose.

        Raises:
            RunError: nobody asked for such a trial, or a number cannot be read.
        """
        record = self._record(trial)
        with _told():
            for step, loss in curve:
                record.note(step, loss, {})
        if error is not None:
            told = record.failed(error)
        elif pruned:
            told = record.pruned()
        else:
            told = record.end(result)
        if told.status is Status.FAILED and error is None:
            record.verdict = None  # nothing came of telling it so: it can be told again
            raise RunError(told.error or "", f"trial {told.id}", "Tell its loss, or error=... where it failed")
        self._store(told)
        return told

    def _store(self, told: Trial) -> None:
        self.store.put([told])
        if told.status is Status.FAILED:
            self._failures[told.id] += 1
            self.store.give_back([told.id])
        else:
            self.store.settle([told.id])
        self._asked.pop(told.id, None)
        self._records.pop(told.id, None)
        for watch in self._on_trial:
            watch(told)

    def _record(self, trial: TrialSpec | str) -> Record:
        spec = self._spec(trial)
        if spec.id not in self._records:
            self._records[spec.id] = Record(spec, self._rules, Order(self.store.spool))
        return self._records[spec.id]

    def give_back(self, *trials: TrialSpec | str) -> None:
        """Let others train what was asked for here."""
        ids = [self._spec(trial).id for trial in trials]
        self.store.give_back(ids)
        for key in ids:
            self._asked.pop(key, None)

    def _spec(self, trial: TrialSpec | str) -> TrialSpec:
        key = trial.id if isinstance(trial, TrialSpec) else trial
        for known in (self._asked, self._own):
            if key in known:
                return known[key]
        claimed = self.store.claims()
        there = {} if key in claimed else {each.id: each.spec for each in self.store.trials([key], curves=False)}
        if key not in claimed and key not in there:
            raise RunError("a result for a trial that nobody asked for", key, "Give the trial, or the id, that ask() gave")
        return claimed[key] if key in claimed else there[key]

    # ---- the store ----------------------------------------------------------------------------------------------------

    def trials(self) -> Trials:
        """Every trial of the store so far, as a table."""
        return self.store.table()

    def exclude(self, trials: str | Iterable[str], reason: str) -> int:
        """Leave trials out of every analysis: ids, or a condition such as `width == 64`. Returns how many. Raises InputError."""
        return self.store.exclude(self._ids(trials), reason)

    def include(self, trials: str | Iterable[str]) -> int:
        """Undo `exclude`."""
        return self.store.include(self._ids(trials))

    def tag(self, trials: str | Iterable[str], *names: str) -> int:
        """Give trials tags."""
        return self.store.tag(self._ids(trials), *names)

    def _ids(self, trials: str | Iterable[str]) -> Iterable[str]:
        return self.store.find(trials) if isinstance(trials, str) else trials

    def close(self) -> None:
        """Give back what was asked for and not told of, and close the store."""
        try:
            self.store.give_back(list(self._asked))
            self._asked.clear()
            if self._rules.halving is not None:
                self._forget(self._rules.halving)
        finally:
            self.store.close()

    def _forget(self, halving: Halving) -> None:
        """Remove what the runs had at their rungs, where all of the study's are done: a store at rest is one file."""
        done = {key for key, status in self.store.statuses().items() if status not in (Status.FAILED, Status.LOST)}
        if self._own.keys() <= done:
            for spec in {cell(spec): spec for spec in self._own.values()}.values():
                Rungs(rungs(self.store.spool), spec, halving).forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_study(
    storage: str | Path,
    study: Study | str | Path | None = None,
    *,
    planned: bool = False,
    on_trial: Watch | Sequence[Watch] = (),
    **options: Any,
) -> OpenStudy:
    """Open a store to ask for trials and to tell what came of them.

    Args:
        storage: path or URL of the store; made if absent.
        study: the trials that are wanted, or its TOML file; None: only what is enqueued.
        planned: ask in the order that the planner wants, and only while the study's budget lasts; it needs a target.
        on_trial: called with each trial that was told of; one function, or several.
        options: of `until.suggest`: target, budget, seed.

    Raises:
        StudyError: the study's file. StoreError: the store. InputError: a plan without a study.
    """
    if planned and study is None:
        raise InputError("nothing to plan", "open_study", "Give the study whose trials are to be planned")
    read = read_study(study) if isinstance(study, str | Path) else study
    if read is not None:
        trainer_of(read.trainer, read.name).resolved(read.trainer, read.folder)
    return OpenStudy(storage, read, planned, options, [on_trial] if callable(on_trial) else on_trial)


def _varied(pattern: TrialSpec, values: Mapping[str, Value]) -> TrialSpec:
    tables = {name: dict(getattr(pattern, name)) for name in ("scale", "hyperparameters", "task_options")}
    seed = pattern.seed
    for column, value in values.items():
        if column == "seed":
            if isinstance(value, bool) or not isinstance(value, int):
                raise InputError(f"seed = {value!r} is no whole number", "enqueue", "Give seed=0, or seed=[0, 1, 2]")
            seed = value
            continue
        home = next((table for table in tables.values() if column in table), None)
        if home is None:
            known = ", ".join((*pattern.scale, *pattern.hyperparameters, "seed"))
            raise InputError(f"the trial has no {column}", "enqueue", f"It has {known}")
        _suits(column, value, home[column], positive=column in pattern.scale)
        home[column] = value
    return TrialSpec(
        pattern.task, tables["scale"], tables["hyperparameters"], seed, pattern.model, tables["task_options"], pattern.init_from
    )


def _plain(value: Any) -> Any:
    """A number of an array library as Python's own."""
    item = getattr(value, "item", None)
    return item() if callable(item) else value


def _suits(column: str, value: Any, like: Value, *, positive: bool) -> None:
    """Raises InputError where a column that holds values like this one cannot have the value."""
    words = isinstance(like, str)
    fits = isinstance(value, str) if words else isinstance(value, int | float) and not isinstance(value, bool)
    if not fits or (not words and (not math.isfinite(value) or (positive and value <= 0))):
        kind = "text" if words else "a finite number above 0" if positive else "a finite number"
        raise InputError(f"{column} = {value!r} is not {kind}", "enqueue", f"The other trials have {column} = {like!r}")


@contextlib.contextmanager
def _told() -> Generator[None]:
    """What is no step or no number is told as what it is."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise RunError(str(error), "report", "Report a whole step and a loss") from error
