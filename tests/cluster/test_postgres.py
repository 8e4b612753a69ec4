"""A store on a real PostgreSQL server: all that a file does, and what only a server can do wrong."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres import PostgresServer, programs

from scalelaw import spool
from scalelaw._store import migrations
from scalelaw._store.address import masked
from scalelaw._store.tables import SCHEMA, metadata
from scalelaw.cli._app import execute
from scalelaw.errors import MissingExtraError, StoreError
from scalelaw.store import Store, load, template
from scalelaw.trial import Status
from store_contract import StoreContract, trial

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(programs() is None, reason="no PostgreSQL: apt-get install postgresql"),
]
pytest.importorskip("psycopg")

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


def sql(server: PostgresServer, *statements: str) -> list[tuple[object, ...]]:
    """Run statements, each by itself; the rows of the last."""
    engine = sa.create_engine(server.url().replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        results = [connection.exec_driver_sql(statement) for statement in statements]
        rows = [tuple(row) for row in results[-1]] if results[-1].returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def address(server: PostgresServer) -> Callable[[], str]:
    return lambda: f"{server.url()}?schema=s{next(NUMBERS)}"


class TestServer(StoreContract):
    """The contract of every store."""

    @pytest.fixture
    def address(self, server: PostgresServer) -> Callable[[], str]:
        return lambda: f"{server.url()}?schema=s{next(NUMBERS)}"


# ---- what goes wrong ----------------------------------------------------------------------------------------------------


def refused(address: str, *, read_only: bool = False) -> str:
    with pytest.raises(StoreError) as caught:
        Store(address, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("read_only", [False, True])
def test_what_is_wrong_is_told_in_one_line(server: PostgresServer, read_only: bool) -> None:
    nobody = f"postgresql://me:hush@127.0.0.1:{server.port + 1}/lab"
    told = refused(nobody, read_only=read_only)
    assert told.startswith(f"postgresql://me@127.0.0.1:{server.port + 1}/lab: no database server answers there. Start it")
    assert "createdb nowhere" in refused(server.url("nowhere"), read_only=read_only)
    sql(server, "DROP ROLE IF EXISTS locked", "CREATE ROLE locked LOGIN PASSWORD 'key'")
    assert "PGPASSWORD" in refused(server.url(user="locked:hush"), read_only=read_only)
    assert "PGPASSWORD" in refused(server.url(user="locked"), read_only=read_only)
    sql(server, "CREATE SCHEMA IF NOT EXISTS taken", "CREATE TABLE IF NOT EXISTS taken.trials (id TEXT)")
    assert "not a scalelaw store" in refused(f"{server.url()}?schema=taken", read_only=read_only)


def test_a_store_that_is_not_there_is_not_made_by_a_reader(server: PostgresServer) -> None:
    told = refused(f"{server.url()}?schema=absent", read_only=True)
    assert "Give the study.db" in told or "Run a study first" in told
    assert sql(server, "SELECT to_regnamespace('absent')::text") == [(None,)]
    assert execute(["tag", f"{server.url()}?schema=absent", "width == 1", "a"]) == 2


def test_a_user_without_rights(server: PostgresServer) -> None:
    sql(server, "DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    assert "may not" in refused(f"{server.url(user='guest')}?schema=theirs")
    # A store that is there needs no right to make one, however it is called.
    Store(f"{server.url()}?schema=Ours").close()
    sql(server, 'GRANT USAGE ON SCHEMA "Ours" TO guest', 'GRANT ALL ON ALL TABLES IN SCHEMA "Ours" TO guest')
    with Store(f"{server.url(user='guest')}?schema=Ours") as store:
        store.put([trial()])
    sql(server, 'DROP SCHEMA "Ours" CASCADE')


def test_a_server_needs_its_driver(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"scalelaw\[postgres\]") as caught:
        Store(f"postgresql://me:hush@127.0.0.1:{server.port}/lab")
    assert "hush" not in str(caught.value)


def test_a_text_shows_no_password() -> None:
    for text in (
        "scalelaw run a.toml --storage postgresql://me:hush@h/db --json",
        "postgresql+psycopg://:hush@h/d",
        "postgresql://h/d?password=hush&a=1",
    ):
        assert "hush" not in masked(text)
    assert masked("scalelaw fit a:b@c postgresql://me@h/db") == "scalelaw fit a:b@c postgresql://me@h/db"


@pytest.mark.parametrize("odd", ["", "/", "/a/b", "/a?schema=x;y", "/a?schema="])
def test_what_is_no_address(odd: str) -> None:
    assert "postgresql://user@host" in refused(f"postgresql://me:hush@there{odd}")
    assert "postgresql://user@host" in refused(f"postgresql://me:hush@there:port{odd}")


def test_a_server_that_comes_back_loses_nothing(server: PostgresServer, address: Callable[[], str], tmp_path: Path) -> None:
    with Store(address(), spool=tmp_path / "spool") as store:
        store.put([trial(0)])
        spool.write(store.spool, trial(1))
        server.stop()
        try:
            with pytest.raises(StoreError):
                store.ingest()
        finally:
            server.start()
        assert [each.id for each in store.ingest().trials] == [trial(1).id]
        assert len(store) == 2


def test_a_driver_knows_when_the_server_has_forgotten_it(server: PostgresServer, address: Callable[[], str]) -> None:
    place = address()
    with Store(place) as first:
        first.lock()
        first.put([trial(0)])
        for taken in (False, True):
            server.stop()
            server.start()
            with Store(place) as second:
                if taken:
                    second.lock()
                    with pytest.raises(StoreError, match="is filling this store"):
                        first.put([trial(1)])
                else:
                    first.put([trial(2)])
                    with pytest.raises(StoreError, match="is filling this store"):
                        second.lock()
        first.put([trial(3)])
        assert len(first) == 3


# ---- on the command line ------------------------------------------------------------------------------------------------


def test_every_command_takes_an_address(
    address: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = address().replace("scalelaw@", "scalelaw:hush@")
    (tmp_path / "runs.csv").write_text("width,lr,loss\n8,1e-3,3\n16,1e-3,2.5\n32,1e-3,2.2\n64,1e-3,2.0\n", encoding="utf-8")

    def run(*words: str, code: int = 0) -> str:
        assert execute(words) == code
        told = capsys.readouterr()
        assert "hush" not in told.out + told.err
        return told.out

    assert "4 were added" in run("import", "runs.csv", "--storage", place)
    assert json.loads(run("fit", place, "--law", "power", "--fixed", "--json"))["n"] == 4
    assert "4 trials" in run("trials", place, "--curves")
    run("tag", place, "width == 64", "last")
    run("exclude", place, "'last' in tags", "--reason", "to see")
    assert json.loads(run("fit", place, "--law", "power", "--fixed", "--json"))["n"] == 3
    run("include", place, "'last' in tags")
    run("export", place, "-o", "out.parquet")
    assert load("out.parquet").rows()[0]["loss"] == 3
    assert run("fit", f"{place}x", code=2) == ""
    assert template(place) is None


STUDY = """
import sys
from scalelaw.run import run
from scalelaw.study import Grid, Study, log_spaced
rates = {"learning_rate": log_spaced(1e-3, 30.0, 25), "batch_size": (32,)}
study = Study("kill", "teacher_student", (Grid({"width": (4, 8), "depth": (1,), "steps": (50,)}, rates, (0, 1, 2, 3)),))
summary = run(study, sys.argv[1], on_event=lambda event: print(event.progress.done, flush=True))
sys.exit(0 if summary.complete else 1)
"""


def test_a_killed_driver_loses_and_doubles_nothing(address: Callable[[], str], tmp_path: Path) -> None:
    place = address()
    command = [sys.executable, "-c", STUDY, place]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True) as driver:
        assert driver.stdout is not None
        while int(driver.stdout.readline() or 200) < 60:
            pass
        os.kill(driver.pid, signal.SIGKILL)
    with Store(place, read_only=True) as store:
        before = {each.id: each for each in store.trials()}
    assert 50 <= len(before) < 200
    time.sleep(0.5)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, timeout=300, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "200"
    with Store(place, read_only=True) as store:
        after = {each.id: each for each in store.trials()}
        assert len(store) == len(after) == 200
        assert set(store.statuses().values()) <= {Status.COMPLETE, Status.DIVERGED}
        assert all(after[key] == each for key, each in before.items())
        assert len(store.table()) == 200
    assert [each.name for each in tmp_path.iterdir()] == []


def test_an_old_store_is_upgraded_after_a_copy(server: PostgresServer, address: Callable[[], str]) -> None:
    place = address()
    schema = place.split("=")[1]
    with Store(place) as store:
        store.put(map(trial, range(3)))
        held = store.trials()
    inside = f"SET search_path = {schema}"
    sql(  # what schema 1 lacked
        server,
        inside,
        *(f"DROP TABLE {name}" for name in set(metadata.tables) - {"meta", "trials", "curves", "provenance"}),
        "ALTER TABLE trials DROP COLUMN reason, DROP COLUMN before",
        "UPDATE meta SET value = '1' WHERE key = 'schema'",
    )
    with Store(place, read_only=True) as store:
        assert store.trials() == held
        assert store.tags() == store.exclusions() == {}
    tables = f"SELECT table_name::text FROM information_schema.tables WHERE table_schema = '{schema}' ORDER BY 1"
    assert ("tags",) not in sql(server, tables)
    with Store(place) as store:
        assert store.trials() == held
        store.exclude([held[0].id], "why")
    assert {name for (name,) in sql(server, tables)} == {
        *metadata.tables,
        *(f"backup1_{name}" for name in ("curves", "meta", "provenance", "trials")),
    }
    assert len(sql(server, inside, "SELECT id FROM backup1_trials")) == 3
    assert sql(server, inside, "SELECT value FROM backup1_meta WHERE key = 'schema'") == [("1",)]
    assert sql(server, inside, "SELECT value FROM meta WHERE key = 'schema'") == [(str(SCHEMA),)]
    assert sorted(migrations.STEPS) == list(range(1, SCHEMA))


def test_stores_in_one_database_know_nothing_of_each_other(address: Callable[[], str]) -> None:
    first, second = address(), address()
    with Store(first) as one, Store(second) as other:
        one.lock()
        other.lock()
        one.put([trial(0)])
        assert (len(one), len(other)) == (1, 0)
        assert one.spool != other.spool
