"""Running a study: fill the holes of its store. Resuming is the same call again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ._batches import Cutter
from ._driver import Driver, Wish, signals
from ._events import Event, Progress, Retried, RunSummary, Started, Stopping, TrialEnded
from ._store.address import parse
from .engines import Engine, Pool, Resources, engine_of
from .errors import InputError
from .spool import forget
from .store import Store
from .study import Study
from .train.device import device_of
from .trainers import Trainer, trainer_of
from .trial import TrialSpec

__all__ = [
    "Event",
    "Progress",
    "Retried",
    "RunSummary",
    "Started",
    "Stopping",
    "TrialEnded",
    "costs_of",
    "counting",
    "run",
]

Watch = Callable[[Event], None]
SHOWN_ERRORS = 100


def run(
    study: Study,
    storage: str | Path,
    *,
    trainer: Callable[..., Any] | Mapping[str, Any] | None = None,
    engine: str | Engine | Any = "local",
    options: Mapping[str, str] | None = None,
    resources: Resources | None = None,
    max_parallel: int | None = None,
    device: str | None = None,
    witnesses: bool = False,
    on_event: Watch | Sequence[Watch] | None = None,
    retries: int = 2,
    batch: int | None = None,
    budget: float | None = None,
    drain: float = 0.0,
    spool: str | Path | None = None,
) -> RunSummary:
    """Train the trials of a study that the store does not hold yet; those that FAILED or were LOST once more.

    SIGINT (Ctrl-C) and SIGTERM stop it within a moment: what is finished is stored. The same call resumes, after SIGKILL too.

    Args:
        study: the trials, and what trains them. storage: path or URL of the store. spool: of the workers; None: beside it.
        trainer: in place of the study's: a function `train(spec, report)` that workers can import, or a `[trainer]` table.
        engine: a member of `engines/`, or an object with `submit(function, *arguments)`. options: the engine's own, by name.
        resources: of each batch; None takes one core. max_parallel: at most so many batches at once; None: what the engine can.
        device: what scalelaw's own networks train on: cpu, gpu or tpu. None takes what JAX_PLATFORMS says, else the processor.
        witnesses: whether trials also tell what goes on inside: more metrics, the same losses. None is trained again for it.
        on_event: called in this thread with each event; one function, or several.
        retries: how often a trial whose worker vanished is trained again before it is LOST.
        batch: the largest number of trials that are sent to a worker at once; None leaves it to the trainer.
        budget: FLOPs that the study may take, those of the trials done counted in; the cheapest trials go first. None: no limit.
        drain: seconds that trials in training are given to end after a signal; a second signal stops at once.

    Raises:
        InputError: no trial, one that cannot be trained so, or a device or option that is not there; nothing is made then.
        StoreError: the store cannot be used, or another process is filling it.
        MissingExtraError: the engine or the trainer is not installed.
        EngineError: the engine cannot train anything, for example because its workers do not start.
    """
    if not study.specs:
        raise InputError("the study has no trial", study.name, "Give it a scale, for example width = [16, 32, 64]")
    study = replace(study, trainer=_settings(trainer, study))
    chosen_trainer, settings = _trainer(study)
    asked = _resources(chosen_trainer, resources or Resources(), max_parallel, device)
    chosen = _engine(engine, chosen_trainer, asked)
    given = chosen.checked(options or {})
    # Every spec is checked, so that a wrong one is told before anything is made or trained.
    costs = _costs(study, chosen_trainer, settings, budget)
    wish = Wish(Cutter(chosen_trainer, settings, asked.device != "cpu", witnesses, batch), retries, drain, budget)
    with contextlib.ExitStack() as stack:
        # Where there is no store yet, all is missing: an engine that cannot be opened then leaves none behind.
        ahead = stack.enter_context(chosen.open(asked, given)) if _absent(storage) else None
        store = stack.enter_context(Store(storage, spool=spool))
        driver = Driver(study, store, costs, _all(on_event), wish)
        return _filled(driver, store, lambda: ahead or chosen.open(asked, given))


def _filled(driver: Driver, store: Store, start: Callable[[], Pool]) -> RunSummary:
    """Train what is missing on what `start` gives, which is called only where anything is."""
    store.lock()
    driver.collect()
    skipped = driver.progress().done
    if missing := driver.missing():
        with signals(driver), start() as pool:
            driver.fill(pool, missing)
    return _summary(driver, store, skipped)


def _absent(storage: str | Path) -> bool:
    place = parse(storage)
    return isinstance(place, Path) and not place.exists()


def _summary(driver: Driver, store: Store, skipped: int) -> RunSummary:
    at = driver.progress()
    if at.done == at.trials:
        forget(store.spool)
    return RunSummary(
        study=driver.study.name,
        storage=store.name,
        progress=at,
        skipped=skipped,
        trained=driver.trained,
        interrupted=driver.stopped_by,
        broken=tuple(driver.broken),
        errors=dict(driver.errors.most_common(SHOWN_ERRORS)),
    )


def costs_of(study: Study) -> dict[str, float]:
    """FLOPs of every trial of a study, by id. Checks every spec.

    Raises:
        SpecError, StudyError: see `run`. InputError: its trainer cannot tell them.
    """
    count = counting(study)
    return {spec.id: count(spec) for spec in study.specs}


def counting(study: Study) -> Callable[[TrialSpec], float]:
    """What counts the FLOPs of a study's trials, and of others like them; it raises as `costs_of`."""
    trainer, settings = _trainer(study)

    def count(spec: TrialSpec) -> float:
        trainer.check(spec, settings)
        cost = trainer.flops(spec, settings)
        if cost is None:
            what = f"nothing tells the FLOPs of a trial with {', '.join(spec.scale)}"
            raise InputError(what, study.name, 'Give parameters and tokens in [scale], or flops = "6 * ..." in [trainer]')
        return cost

    return count


def _costs(study: Study, trainer: Trainer, settings: Mapping[str, Any], budget: float | None) -> dict[str, float] | None:
    """As `costs_of`; None where they cannot be told and no budget needs them. Raises InputError where it buys no trial."""
    if budget is not None:
        costs = costs_of(study)
        if not budget >= (cheapest := min(costs.values())):
            raise InputError(f"{budget:.3g} FLOP buy no trial", "--budget", f"The cheapest takes {cheapest:.3g}")
        return costs
    known: dict[str, float] = {}
    for spec in study.specs:
        trainer.check(spec, settings)
        if (cost := trainer.flops(spec, settings)) is not None:
            known[spec.id] = cost
    return known if len(known) == len(study.specs) else None


def _settings(trainer: Callable[..., Any] | Mapping[str, Any] | None, study: Study) -> Mapping[str, Any]:
    if trainer is None:
        return study.trainer
    if isinstance(trainer, Mapping):
        return trainer
    from .trainers.function import function_settings

    return function_settings(trainer)


def _trainer(study: Study) -> tuple[Trainer, Mapping[str, Any]]:
    trainer = trainer_of(study.trainer, study.name)
    return trainer, trainer.resolved(study.trainer, study.folder)


def _resources(trainer: Trainer, given: Resources, max_parallel: int | None, device: str | None) -> Resources:
    if device is not None and not trainer.devices:
        what = f"the trainer {trainer.name!r} chooses its device itself"
        raise InputError(what, "--device", "Say with --gpus how many GPUs a batch takes")
    where = device_of(device) if trainer.devices and given.device == "cpu" else given.device
    return replace(given, device=where, max_parallel=given.max_parallel if max_parallel is None else max_parallel)


def _engine(engine: str | Engine | Any, trainer: Trainer, asked: Resources) -> Engine:
    """The engine. Raises InputError where the device is not there, MissingExtraError where the trainer cannot train here."""
    chosen = engine_of(engine)
    if chosen.here:
        trainer.require()
    if asked.device != "cpu" and asked.device not in (there := chosen.devices()):
        raise InputError(f"there is no {asked.device} here; present: {', '.join(there)}", "--device", "Choose one that is")
    return chosen


def _all(watch: Watch | Sequence[Watch] | None) -> Watch:
    if watch is None or callable(watch):
        return watch or (lambda _: None)
    several = tuple(watch)

    def tell(event: Event) -> None:
        for each in several:
            each(event)

    return tell
