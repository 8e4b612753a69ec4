"""The contract of every engine. A plug-in's own tests call `check_engine`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .. import spool
from ..engines import Batch, Engine, Resources
from ..trial import Status, TrialSpec

__all__ = ["check_engine"]

PATIENCE = 120.0


def check_engine(engine: Engine, folder: Path, max_parallel: int | None = 1, options: Mapping[str, str] | None = None) -> None:
    """Assert what `run` relies on, by training four tiny networks.

    Args:
        engine: the member.
        folder: an empty folder that the driver and every worker can write.
        max_parallel: of the resources handed to `open`. options: handed to `open`.

    Raises:
        AssertionError: the engine breaks the contract; the message says how.
    """
    assert engine.name, "an engine has a name, its file's"
    assert engine.summary, "an engine says where it trains"
    with engine.open(Resources(max_parallel=max_parallel), options or {}) as pool:
        assert pool.capacity() >= 1, "an engine can train something"
        assert max_parallel is None or pool.capacity() <= max_parallel, "no more at once than was allowed"
        made = [Batch(tuple(_spec(rate, width) for rate in (1e-3, 1e-2))) for width in (2, 3)]
        futures = [pool.submit(batch, folder) for batch in made]
        for batch, future in zip(made, futures, strict=True):
            ids = future.result(PATIENCE)
            assert set(ids) == {spec.id for spec in batch.specs}, "a batch's future gives the ids of its trials"
            found = {path.name.split(".")[0] for path in spool.scan(folder)}
            assert set(ids) <= found, "a trial's result is in the spool when its batch ends"
        trials = [spool.read(path) for path in spool.scan(folder)]
        trained = {Status.COMPLETE, Status.DIVERGED}
        assert all(trial.status in trained for trial in trials), [trial.error for trial in trials]
        (wrong,) = pool.submit(Batch((_spec(1e-3, 2, {"no_such_option": 1}),)), folder).result(PATIENCE)
        status = spool.read(folder / f"{wrong}{spool.SUFFIX}").status
        assert status is Status.FAILED, "a trial that cannot be trained has FAILED"
        late = [pool.submit(Batch((_spec(1e-3, 2, seed=seed),)), folder) for seed in range(50)]
        pool.cancel()
        for future in late:
            if not future.cancelled():
                future.exception(PATIENCE)
        assert all(future.done() for future in late), "every future ends after a cancel"
    assert pool.capacity() >= 1, "a closed pool can still be asked"


def _spec(rate: float, width: int, options: dict[str, int | float | str] | None = None, seed: int = 0) -> TrialSpec:
    scale = {"width": width, "depth": 1, "steps": 20}
    return TrialSpec("teacher_student", scale, {"learning_rate": rate, "batch_size": 8}, seed, task_options=options or {})
