"""An old store: read as it is, brought up to date by a writer after a copy, and never half-way."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from scalelaw._store import migrations
from scalelaw._store.database import Lock
from scalelaw._store.sqlite import SQLite
from scalelaw._store.tables import SCHEMA
from scalelaw.errors import StoreError
from scalelaw.store import Store, load
from scalelaw.trial import Status, Trial
from store_contract import DRIVER, trial

HERE = Path(__file__).resolve().parent / "stores"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A store as it was written when the schema was 1."""
    return Path(shutil.copy(HERE / "schema1.db", tmp_path / "study.db"))


def held() -> dict[str, Any]:
    return json.loads((HERE / "schema1.json").read_text(encoding="utf-8"))


def shape(path: Path) -> dict[str, Any]:
    """Tables with their columns, keys and indexes."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found: dict[str, Any] = {}
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            columns = sorted(row[1:4] + row[5:] for row in connection.execute(f"PRAGMA table_info({name})"))
            indexes = sorted(row[1] for row in connection.execute(f"PRAGMA index_list({name})"))
            keys = sorted(row[2:5] for row in connection.execute(f"PRAGMA foreign_key_list({name})"))
            found[name] = (columns, indexes, keys)
        return found


def dump(path: Path) -> list[str]:
    """All that a database holds, as SQL."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def test_every_schema_has_a_step_to_the_next() -> None:
    assert sorted(migrations.STEPS) == list(range(1, SCHEMA))


def test_a_reader_reads_an_old_store_and_leaves_it(old: Path) -> None:
    before = old.read_bytes()
    with Store(old, read_only=True) as store:
        assert [each.to_dict() for each in store.trials()] == [Trial.from_dict(each).to_dict() for each in held()["trials"]]
        assert store.provenance() == held()["provenance"]
        assert store.tags() == store.exclusions() == {}
        assert store.find("learning_rate == 30") == [each.id for each in store.trials() if each.status is Status.DIVERGED]
    assert len(load(old, where="status == 'COMPLETE' and task == 'teacher_student'")) == 10
    assert old.read_bytes() == before
    assert [each.name for each in old.parent.iterdir()] == ["study.db"]


def test_a_writer_brings_an_old_store_up_to_date_after_a_copy(old: Path, tmp_path: Path) -> None:
    table = load(old).rows()
    with Store(old) as store:
        assert [each.to_dict() for each in store.trials()] == [Trial.from_dict(each).to_dict() for each in held()["trials"]]
        assert store.provenance() == held()["provenance"]
        assert store.table().rows() == table
        ids = list(store.statuses())
        store.tag(ids, "old")
        store.exclude(ids, "old")
        store.include(ids)
        store.put([trial()])
    assert sorted(each.name for each in tmp_path.iterdir()) == ["study.db", "study.db.schema1.backup"]
    copy = shutil.copy(tmp_path / "study.db.schema1.backup", tmp_path / "copy.db")
    assert load(copy).rows() == table
    assert dump(Path(copy)) == dump(HERE / "schema1.db")
    Store(tmp_path / "new.db").close()
    assert shape(old) == shape(tmp_path / "new.db")
    shutil.copy(tmp_path / "study.db.schema1.backup", old)
    assert load(old).rows() == table


def test_an_upgrade_that_fails_changes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(connection: sa.Connection) -> None:
        migrations._notes_and_columns(connection)
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (1)")

    before = dump(old)
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "STEPS", {1: step})
        with pytest.raises(StoreError):
            Store(old)
    assert dump(old) == before
    with Store(old) as store:
        assert len(store) == len(held()["trials"])


def test_of_two_upgrades_at_once_the_copy_of_the_old_store_stays(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = SQLite.lock

    def late(database: SQLite) -> Lock:
        monkeypatch.setattr(SQLite, "lock", lock)
        Store(old).close()  # another process upgrades, between our look at the schema and our lock
        return lock(database)

    monkeypatch.setattr(SQLite, "lock", late)
    with Store(old) as store:
        assert len(store) == len(held()["trials"])
    assert dump(old.with_name("study.db.schema1.backup")) == dump(HERE / "schema1.db")


def test_an_old_store_that_is_being_filled_is_not_upgraded(old: Path, tmp_path: Path) -> None:
    lock = tmp_path / "other.db"
    with subprocess.Popen([sys.executable, "-c", DRIVER, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        (tmp_path / "other.db.lock").rename(tmp_path / "study.db.lock")  # as if the driver of then held it
        before = dump(old)
        with pytest.raises(StoreError, match=f"process {driver.pid}"):
            Store(old)
        assert dump(old) == before
        driver.kill()
