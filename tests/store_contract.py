"""What every kind of database must do as a store. A test class derives from `StoreContract` and gives `address`."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalelaw import spool
from scalelaw._store import packed
from scalelaw.errors import DataError, RunError, StoreError, UnknownNameError
from scalelaw.store import Store, load
from scalelaw.trial import Curve, Origin, Status, Trial, TrialSpec
from test_spool import trials

__all__ = ["DRIVER", "StoreContract", "trial"]

Address = Callable[[], str]

DRIVER = """
import sys
from scalelaw.store import Store
with Store(sys.argv[1]) as store:
    store.lock()
    print("locked", flush=True)
    sys.stdin.read()
"""


def trial(seed: int = 0, status: Status = Status.COMPLETE, **values: object) -> Trial:
    spec = TrialSpec("t", {"width": 8 * (seed + 1)}, {"learning_rate": 1e-3}, seed)
    loss = 1.5 if status is Status.COMPLETE else None
    return Trial(spec, status, **{"loss": loss, "curve": Curve((1, 2), (3.0, 2.0)), **values})  # pyright: ignore[reportArgumentType]


@contextlib.contextmanager
def packing(at: int) -> Iterator[None]:
    """Pack columns from `at` loose trials on."""
    before = packed.PACK
    packed.PACK = at
    try:
        yield
    finally:
        packed.PACK = before


def by_rows(store: Store) -> list[dict[str, object]]:
    """The table as it follows from the rows, in no order."""
    with store._transaction() as connection:
        table, _ = packed._arrange(packed._join(list(packed._parts(connection, None))), store.name)
    return table.rows()


hyper_only = settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])


class StoreContract:
    """`address` makes the address of a store that is not there yet, a new one at each call."""

    @pytest.fixture
    def address(self) -> Address:
        raise NotImplementedError

    @settings(parent=hyper_only, max_examples=40)
    @given(given_trials=st.lists(trials, max_size=4, unique_by=lambda each: each.id))
    def test_trials_come_back_as_they_went(self, address: Address, given_trials: list[Trial]) -> None:
        path = address()
        with Store(path) as store:
            assert set(store.put(given_trials)) == set(given_trials)
        with Store(path, read_only=True) as store:
            assert store.trials() == sorted(given_trials, key=lambda each: each.id)
            assert len(store) == len(given_trials)
            assert store.statuses() == {each.id: each.status for each in given_trials}
            for each in given_trials:
                assert store.curve(each.id) == each.curve

    @pytest.mark.parametrize("first", [Status.FAILED, Status.LOST])
    @pytest.mark.parametrize("last", [Status.COMPLETE, Status.DIVERGED, Status.PRUNED])
    def test_a_finished_trial_replaces_a_failed_one_and_is_never_replaced(
        self, address: Address, first: Status, last: Status
    ) -> None:
        with Store(address()) as store:
            store.put([trial(status=first, error="out of memory", curve=None)])
            done = trial(status=last)
            assert store.put([done, replace(done, seconds=5.0), trial(1)]) == (done, trial(1))
            for status in Status:
                assert store.put([trial(status=status, seconds=9.0)]) == ()
            assert store.trials([done.id]) == [done]

    def test_reading_a_result_twice_changes_nothing(self, address: Address, tmp_path: Path) -> None:
        with Store(address(), spool=tmp_path / "spool") as store:
            for seed in range(3):
                spool.write(store.spool, trial(seed))
            kept = [(path.name, path.read_bytes()) for path in spool.scan(store.spool)]
            assert len(store.ingest().trials) == 3
            assert list(spool.scan(store.spool)) == []
            for name, content in kept:  # as if the driver had been killed before it deleted them
                (store.spool / name).write_bytes(content)
            assert store.ingest().trials == ()
            assert store.trials() == sorted(map(trial, range(3)), key=lambda each: each.id)

    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"null", b'{"spec": {"task": "t"}}', b"\xff\xfe\0", b'{"spec": 3, "status": "COMPLETE"}']
    )
    def test_a_file_that_holds_no_trial_is_set_aside(self, address: Address, tmp_path: Path, content: bytes) -> None:
        with Store(address(), spool=tmp_path / "spool") as store:
            spool.write(store.spool, trial())
            bad = store.spool / f"0123{spool.SUFFIX}"
            bad.write_bytes(content)
            (store.spool / ".0123.99.part").write_bytes(b"{")
            found = store.ingest()
            assert found.trials == (replace(trial(), curve=None),)
            assert store.trials() == [trial()]
            assert found.broken == (bad,)
            assert store.ingest().broken == ()
            assert sorted(path.name for path in store.spool.iterdir()) == [".0123.99.part", f"0123{spool.SUFFIX}.broken"]

    def test_the_table_is_ordered_and_says_where_it_comes_from(self, address: Address) -> None:
        path = address()
        with Store(path) as store:
            store.put([trial(2), trial(0), trial(1, Status.DIVERGED, last_loss=9.0)])
        table = load(path)
        assert table["width"].tolist() == [8, 16, 24]
        assert table["status"].tolist() == ["COMPLETE", "DIVERGED", "COMPLETE"]
        assert table.source == path
        assert load(path, where="width > 8")["seed"].tolist() == [1, 2]
        assert load(path, outcome="last_loss")["loss"][1] == 9.0

    def test_one_driver_at_a_time(self, address: Address, tmp_path: Path) -> None:
        path = address()
        command = [sys.executable, "-c", DRIVER, path]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "locked\n"
            with Store(path) as store, pytest.raises(StoreError, match=f"process {other.pid}") as caught:
                store.lock()
            assert f"kill -INT {other.pid}" in str(caught.value)
            other.kill()
        with Store(path) as store:  # it is given back, whatever its holder left behind
            store.lock()
            store.lock()

    def test_a_closed_store_is_closed(self, address: Address) -> None:
        path = address()
        store = Store(path)
        store.put([trial(0)])
        store.close()
        store.close()
        for use in (lambda: store.put([trial(1)]), store.trials, store.lock):
            with pytest.raises(StoreError, match="this store is closed"):
                use()
        with Store(path, read_only=True) as again:
            assert len(again) == 1
        with pytest.raises(StoreError, match="this store is closed"):
            again.trials()

    # ---- what people say of trials ----------------------------------------------------------------------------------

    def test_tags(self, address: Address) -> None:
        path = address()
        with Store(path) as store:
            store.put(map(trial, range(4)))
            ids = [each.id for each in map(trial, range(4))]
            assert store.tag(ids[:2], "pilot", "größer") == 2
            assert store.tag(ids[:3], "pilot") == 1
            assert store.untag(ids[1:], "größer") == 1
            assert store.tags() == {ids[0]: ("größer", "pilot"), ids[1]: ("pilot",), ids[2]: ("pilot",)}
            assert sorted(store.find("'pilot' in tags and width < 24")) == sorted(ids[:2])
            assert store.find("'pilot' not in tags") == [ids[3]]
            for odd in ("", "a,b", " a", "a'b", 'a"b', "a\nb", "a" * 65):
                with pytest.raises(StoreError, match="cannot be a tag"):
                    store.tag(ids, odd)
            with pytest.raises(UnknownNameError):
                store.tag(["0" * 16], "pilot")
        assert load(path, where="'größer' in tags")["seed"].tolist() == [0]
        assert load(path)["tags"].tolist() == ["größer,pilot", "pilot", "pilot", ""]

    @hyper_only
    @given(given_trials=st.lists(trials, min_size=1, max_size=4, unique_by=lambda each: each.id), reason=st.text(min_size=1))
    def test_excluding_and_including_changes_nothing(self, address: Address, given_trials: list[Trial], reason: str) -> None:
        ids = [each.id for each in given_trials]
        fresh = [each.id for each in given_trials if each.status is not Status.EXCLUDED]
        with Store(address()) as store:
            store.put(given_trials)
            if not reason.strip():
                with pytest.raises(StoreError, match="reason"):
                    store.exclude(ids, reason)
                return
            assert store.exclude(ids, "another") == len(ids)
            assert store.exclude(ids, reason) == len(ids) * (reason != "another")
            assert store.exclusions() == dict.fromkeys(ids, reason)
            assert set(store.statuses().values()) == {Status.EXCLUDED}
            assert store.put(replace(each, status=Status.COMPLETE, loss=7.0) for each in given_trials) == ()
            table = store.table()
            assert set(table["status"]) == {"EXCLUDED"}
            assert not len(table.finished)
            assert not len(table.diverged)
            assert all(each.loss is None for each in store.trials() if each.id in fresh)
            assert store.include(ids) == len(fresh)
            assert store.include(ids) == 0
            assert store.trials() == sorted(given_trials, key=lambda each: each.id)

    def test_trials_are_found_by_their_ids_or_by_a_condition(self, address: Address) -> None:
        with Store(address()) as store:
            store.put(map(trial, range(3)))
            ids = [each.id for each in map(trial, range(3))]
            assert store.find("width >= 16") == ids[1:]
            assert store.find("width > 99") == []
            assert store.find(f"{ids[2]}, {ids[0][:9]},{ids[2]}") == [ids[2], ids[0]]
            for wrong, kind in (("zzz", RunError), ("", RunError), ("widht > 3", DataError), ("width >", DataError)):
                with pytest.raises(kind):
                    store.find(wrong)

    # ---- columns ----------------------------------------------------------------------------------------------------

    def test_columns_say_what_rows_say(self, address: Address) -> None:
        """Whatever is written in whatever order: the packed columns, the rows, and a copy that was never packed agree."""
        generator = np.random.default_rng(0)
        made = [
            replace(
                trial(seed),
                spec=replace(trial(seed).spec, **some),
                status=status,
                loss=1.0 if status is Status.COMPLETE else None,
            )
            for seed, (some, status) in enumerate(
                itertools.product(
                    (
                        {},
                        {"scale": {"depth": 2, "width": 4}, "task": "other"},
                        {"hyperparameters": {"schedule": "cosine"}},
                        {"hyperparameters": {"schedule": 3}, "task_options": {"recipe": "a", "id": "mine"}},
                    ),
                    (Status.COMPLETE, Status.DIVERGED, Status.FAILED),
                )
            )
        ]
        ids = [each.id for each in made]

        def some(count: int) -> list[int]:
            return generator.choice(len(made), count, replace=False).tolist()

        with packing(at=4), Store(address()) as store:
            for _ in range(40):
                store.put(made[place] for place in some(2))
                store.put(replace(made[place], status=Status.COMPLETE, loss=2.0) for place in some(1))
                there = set(store.statuses())
                chosen = [ids[place] for place in some(3) if ids[place] in there]
                (store.tag if generator.random() < 0.5 else store.untag)(chosen, str(generator.choice(["a", "b"])))
                chosen = [ids[place] for place in some(2) if ids[place] in there]
                _ = store.exclude(chosen, "why") if generator.random() < 0.5 else store.include(chosen)
                rows = store.table().rows()
                assert rows == by_rows(store)
                assert sorted(each["seed"] for each in rows) == sorted(each.spec.seed for each in store.trials())
            assert len(there) == len(made)
            with store._transaction() as connection:
                assert packed._segments(connection)

    def test_an_imported_run_that_makes_way_leaves_no_trace_but_its_tags(self, address: Address) -> None:
        def run(steps: int, status: Status) -> tuple[Trial, None, dict[str, object]]:
            spec = TrialSpec("t", {"steps": steps}, {}, model="imported")
            loss = 1.0 if status is Status.COMPLETE else None
            return Trial(spec, status, loss, origin=Origin.IMPORTED), None, {"importer": "csv", "run": "r"}

        with packing(at=3), Store(address()) as store:
            store.put(map(trial, range(4)))
            store.put_imported([run(10, Status.PRUNED)])
            store.tag([run(10, Status.PRUNED)[0].id], "mine")
            last = run(20, Status.COMPLETE)
            assert store.put_imported([last]) == (last[0].id,)
            assert store.put_imported([run(30, Status.COMPLETE)]) == ()
            assert len(store) == 5
            assert store.tags() == {last[0].id: ("mine",)}
            assert store.table().rows() == by_rows(store)
            assert list(store.provenance()) == [last[0].id]

    def test_an_export_comes_back(self, address: Address, tmp_path: Path) -> None:
        path, copy = address(), address()
        with Store(path) as store:
            store.put([trial(0, error="\0"), trial(1, Status.DIVERGED), trial(2, curve=None, metrics={"own": float("inf")})])
            store.put_imported(
                [(trial(3, origin=Origin.IMPORTED, curve=None), ([1, 2], [0.1, 0.2]), {"importer": "csv", "run": "r"})]
            )
            store.tag([trial(1).id], "pilot")
            store.exclude([trial(0).id, trial(1).id], "why")
            store.export(tmp_path / "all.parquet")
            with Store(copy) as other:
                assert other.restore(tmp_path / "all.parquet") == (4, 4)
                assert other.restore(tmp_path / "all.parquet") == (4, 0)
                for _ in range(2):
                    assert other.trials() == store.trials()
                    assert other.tags() == store.tags()
                    assert other.exclusions() == store.exclusions()
                    assert other.provenance() == store.provenance()
                    assert other.table().rows() == store.table().rows()
                    store.include([trial(0).id, trial(1).id])
                    other.include([trial(0).id, trial(1).id])

    def test_a_missing_trial(self, address: Address) -> None:
        with Store(address()) as store:
            store.put([trial()])
            with pytest.raises(UnknownNameError):
                store.curve("nothing")
