"""The store: nothing lost, nothing doubled, nothing half-written, and a clear line for whatever is not a store."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars
import pytest

from scalelaw import spool
from scalelaw.errors import InputError, StoreError, UnknownNameError
from scalelaw.store import Store, load
from scalelaw.trial import Curve, Status, Trial, TrialSpec
from store_contract import StoreContract, trial
from test_spool import TRIAL


def refused(path: Path, *, read_only: bool = False) -> str:
    with pytest.raises(StoreError) as caught:
        Store(path, read_only=read_only)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or str(path.parent) in str(caught.value)
    return str(caught.value)


class TestFile(StoreContract):
    """A store in a file."""

    @pytest.fixture
    def address(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
        made: list[Path] = []

        def new() -> str:
            made.append(tmp_path_factory.mktemp("store") / "study.db")
            return str(made[-1])

        yield new
        for path in made:
            assert [each.name for each in path.parent.iterdir()] == ["study.db"], "a store at rest is one file"


def test_export(tmp_path: Path) -> None:
    with Store(tmp_path / "study.db") as store:
        store.put([trial(0), trial(1, Status.DIVERGED)])
        for name in ("a.csv", "a.parquet", "a.jsonl"):
            assert store.export(tmp_path / name) == 2
            assert load(tmp_path / name)["status"].tolist() == ["COMPLETE", "DIVERGED"]
        assert polars.read_parquet(tmp_path / "a.parquet")["loss"].to_list() == [1.5, None]
        for path in (tmp_path / "a.xlsx", tmp_path / "a.csv" / "b.csv"):
            with pytest.raises(StoreError):
                store.export(path)
        with pytest.raises(UnknownNameError):
            store.curve("nothing")


# ---- what is not a store ------------------------------------------------------------------------------------------------


def test_what_is_not_a_store_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("width,loss\n64,3\n" * 100, encoding="utf-8")
    for read_only in (True, False):
        assert "this is not a store" in refused(path, read_only=read_only)
    assert path.read_text(encoding="utf-8").startswith("width,loss")
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE trials (id TEXT)")
        other.commit()
    for read_only in (True, False):
        assert "not a scalelaw store" in refused(tmp_path / "other.db", read_only=read_only)
    (tmp_path / "empty.db").touch()
    assert "empty" in refused(tmp_path / "empty.db", read_only=True)
    assert "there is no such store" in refused(tmp_path / "none.db", read_only=True)
    assert "folder" in refused(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "none.db")


def test_a_store_of_a_newer_scalelaw(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    Store(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
        connection.commit()
    for read_only in (True, False):
        assert "newer scalelaw (schema 99" in refused(path, read_only=read_only)


def test_a_damaged_store(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with Store(path) as store:
        store.put(trial(seed) for seed in range(200))
    content = bytearray(path.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    path.write_bytes(content)
    for read_only in (True, False):
        with pytest.raises(StoreError, match="damaged") as caught, Store(path, read_only=read_only) as store:
            store.trials()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["file/study.db", "/proc/study.db", "/proc/new/study.db", "/dev/null/study.db"])
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    message = refused(tmp_path / name)
    assert "--storage" in message or "folder exists" in message


# RLIMIT_FSIZE makes every write beyond it fail: a full disk that any user can have.
FULL = """
import resource, signal, sys
from scalelaw.errors import StoreError
from scalelaw.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    try:
        for _ in range(100):
            store.ingest()
            break
    except StoreError as error:
        print(error)
"""


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    generator = np.random.default_rng(0)
    with Store(path) as store:
        kept = trial(0)
        store.put([kept])
        made = [trial(seed, curve=Curve(tuple(range(1000)), tuple(generator.normal(size=1000)))) for seed in range(1, 60)]
        for each in made:
            spool.write(store.spool, each)
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(f"{path}: the disk "), done
    assert "Free some space" in done.stdout
    assert done.stdout.count("\n") == 1
    with Store(path) as store:
        assert store.trials() == [kept]
        assert {each.id for each in store.ingest().trials} == {each.id for each in made}
        assert store.trials() == sorted([kept, *made], key=lambda each: each.id)
        assert len(store) == 60


# ---- together -----------------------------------------------------------------------------------------------------------

WRITER = """
import json, sys
from scalelaw.store import Store
from scalelaw.trial import Trial
trial = json.loads(sys.argv[2])
with Store(sys.argv[1]) as store:
    for seed in range(300):
        trial["spec"]["seed"] = seed
        store.put([Trial.from_dict(trial)])
        print(seed, flush=True)
    sys.stdin.read()
"""


def test_readers_see_whole_trials_while_a_writer_writes_and_make_no_file(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    command = [sys.executable, "-c", WRITER, str(path), json.dumps(TRIAL.to_dict())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = [0]
        with Store(path, read_only=True) as reader:
            files = {each.name for each in tmp_path.iterdir()}
            while seen[-1] < 300:
                seen.append(len(reader.trials()))
            assert {each.name for each in tmp_path.iterdir()} == files
            writer.communicate("")
        assert seen == sorted(seen)
        assert writer.returncode == 0
    with Store(path, read_only=True) as reader:
        assert len(reader) == 300
    # The last reader may have been there when the writer wanted to fold its log away; the next writer does it.
    Store(path).close()
    assert [each.name for each in tmp_path.iterdir()] == ["study.db"]


# ---- two processes, one of which also looks ------------------------------------------------------------------------------

LOOKING = """
import os, signal, subprocess, sys
import scalelaw
from scalelaw.store import Store, listing
from scalelaw.trial import Status, Trial, TrialSpec

other = "import sys; from scalelaw.store import Store; Store(sys.argv[1]).close()"
with Store(sys.argv[1]) as store:
    for place in range(4):
        store.put([Trial(TrialSpec("t", {"width": place}, {}), Status.COMPLETE, loss=1.0)])
        assert len(scalelaw.load(sys.argv[1])) == listing(sys.argv[1], curves=True).total == place + 1
        subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_who_looks_at_a_store_that_he_writes_loses_nothing(tmp_path: Path) -> None:
    """A process that closes any handle of a file loses its locks on it, and another one that closes the store its log."""
    done = subprocess.run(
        [sys.executable, "-c", LOOKING, str(tmp_path / "study.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Store(tmp_path / "study.db") as store:
        assert len(store) == 4


def test_a_log_that_was_taken_away_is_told_before_results_are_deleted(tmp_path: Path) -> None:
    path, trial = tmp_path / "study.db", Trial(TrialSpec("t", {"width": 1}, {}), Status.COMPLETE, loss=1.0)
    store = Store(path)
    path.read_bytes()  # somebody copies the file
    subprocess.run(
        [sys.executable, "-c", "import sys; from scalelaw.store import Store; Store(sys.argv[1]).close()", path], check=True
    )
    spool.write(store.spool, trial)
    with pytest.raises(StoreError, match="log was taken away"):
        store.ingest()
    assert [spool.read(each) for each in spool.scan(store.spool)] == [trial]
    store.close()
    with Store(path) as again:
        assert [each.id for each in again.ingest().trials] in ([trial.id], [])
        assert again.trials() == [trial]


# ---- one driver and one spool for each store ------------------------------------------------------------------------------


def test_a_spool_holds_the_results_of_one_store(tmp_path: Path) -> None:
    ours, scratch = Trial(TrialSpec("ours", {"width": 1}, {}), Status.COMPLETE, loss=1.0), tmp_path / "scratch"
    with Store(tmp_path / "a.db", spool=scratch) as one:
        one.lock()
        token = spool.mark(one.spool)
        for _ in range(2):
            with (
                Store(tmp_path / "b.db", spool=scratch) as other,
                pytest.raises(StoreError, match=r"another store \(.*a\.db\)"),
            ):
                other.lock()
        assert spool.marked(one.spool, token), "who is refused takes nothing away"
        spool.write(one.spool, ours)
    # Its driver ended with an error before it had read all of it: the folder stays its own.
    with Store(tmp_path / "b.db", spool=scratch) as other, pytest.raises(StoreError, match="another store"):
        other.lock()
    with Store(tmp_path / "a.db", spool=scratch) as one:
        one.lock()
        assert one.ingest().trials == (ours,)
    assert not scratch.exists()
    with Store(tmp_path / "b.db", spool=scratch) as other:
        other.lock()


def test_a_link_to_a_store_is_that_store(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(tmp_path / "study.db")
    with Store(tmp_path / "study.db") as store, Store(link) as same:
        assert same.spool == store.spool
        store.lock()
        with pytest.raises(StoreError, match="is filling this store"):
            same.lock()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "study.db"]


@pytest.mark.parametrize(
    "address", ["mysql://u:secret@host/db", "sqlite://study.db", "https://host/study.db", "file:///study.db"]
)
def test_an_address_of_something_else_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=r"^\w+://\.\.\.: a store is an SQLite file or a PostgreSQL database") as told:
        Store(address)
    assert "secret" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["", ".", "/", "folder"])
def test_a_folder_is_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="this is a folder"):
        Store(address)
