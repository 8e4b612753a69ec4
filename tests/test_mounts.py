"""Where the store lies, and who may drive it there: on network file systems locks may mean nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from scalelaw._store.lock import ClaimedFile, own
from scalelaw._store.mounts import MOUNTS, network
from scalelaw.cli._app import execute
from scalelaw.errors import StoreError
from scalelaw.store import Store
from store_contract import trial

KINDS = (
    *("nfs", "nfs4", "lustre", "gpfs", "beegfs", "9p", "cifs", "smb3", "ceph", "afs"),
    *("fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "fuse.juicefs"),
)


def table(folder: Path, *mounts: tuple[str, str]) -> Path:
    """A table of mounts in the layout of /proc/mounts."""
    path = folder / "mounts"

    def escaped(text: str) -> str:
        return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in text)

    lines = [f"server:/export {escaped(point)} {kind} rw,relatime 0 0" for point, kind in (("/", "ext4"), *mounts)]
    path.write_text("\n".join(lines) + "\nshort line\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_network_file_systems_are_known(tmp_path: Path, kind: str) -> None:
    assert network(tmp_path / "a" / "study.db", table(tmp_path, (str(tmp_path), kind))) == kind


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "fuse.lxcfs", "zfs"])
def test_local_disks_are_known(tmp_path: Path, kind: str) -> None:
    assert network(tmp_path / "study.db", table(tmp_path, (str(tmp_path), kind))) is None


def test_the_longest_mount_wins_and_of_equals_the_last(tmp_path: Path) -> None:
    inside = tmp_path / "scratch" / "a folder\twith \\ signs"
    inside.mkdir(parents=True)
    mounts = table(tmp_path, (str(inside), "nfs4"), (str(tmp_path), "xfs"), (str(tmp_path / "scratch"), "tmpfs"))
    assert network(inside / "study.db", mounts) == "nfs4"
    assert network(inside.parent / "study.db", mounts) is None
    link = tmp_path / "link"
    link.symlink_to(inside)
    assert network(link / "study.db", mounts) == "nfs4"
    # A name that only begins like a mount point does not lie under it.
    assert network(tmp_path / "scratch2" / "study.db", table(tmp_path, (str(tmp_path / "scratch"), "nfs"))) is None
    covered = table(tmp_path, (str(tmp_path), "nfs"), (str(tmp_path), "ext4"))
    assert network(tmp_path / "study.db", covered) is None


def test_where_it_cannot_be_told_the_disk_is_local(tmp_path: Path) -> None:
    assert network(tmp_path / "study.db", tmp_path / "absent") is None
    assert network(Path("/proc/study.db"), MOUNTS) is None


def test_a_store_on_a_network_keeps_no_log_and_is_claimed_by_a_file(tmp_path: Path) -> None:
    mounts, path = table(tmp_path, (str(tmp_path), "nfs4")), tmp_path / "study.db"
    with Store(path, mounts=mounts) as store:
        assert store.network == "nfs4"
        store.lock()
        store.put([trial()])
        assert not Path(f"{path}-wal").exists()
        held = json.loads(Path(f"{path}.lock").read_text(encoding="utf-8"))
        assert held["pid"] == os.getpid()
        with Store(path, mounts=mounts) as other, pytest.raises(StoreError, match=f"process {os.getpid()}"):
            other.lock()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["mounts", "study.db"]


def test_a_driver_whose_claim_was_removed_stops(tmp_path: Path) -> None:
    mounts, path = table(tmp_path, (str(tmp_path), "nfs")), tmp_path / "study.db"
    with Store(path, mounts=mounts) as store:
        store.lock()
        store.put([trial(0)])
        Path(f"{path}.lock").unlink()
        with pytest.raises(StoreError, match="taken away"):
            store.put([trial(1)])
        other = ClaimedFile(Path(f"{path}.lock"), path, {**own(), "host": "node17"})
        with pytest.raises(StoreError, match="node17 has it now"):
            store.put([trial(1)])
        other.release()


DRIVER = """
import sys
from pathlib import Path
from scalelaw.store import Store
store = Store(sys.argv[1], mounts=Path(sys.argv[2]))
store.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_claim_ends_with_its_process_and_not_before(tmp_path: Path) -> None:
    mounts, path = table(tmp_path, (str(tmp_path), "lustre")), tmp_path / "study.db"
    command = [sys.executable, "-c", DRIVER, str(path), str(mounts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "locked\n"
        with Store(path, mounts=mounts) as store, pytest.raises(StoreError, match=f"kill -INT {driver.pid}"):
            store.lock()
        driver.kill()
        os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet buried
        with Store(path, mounts=mounts) as store:
            store.lock()
    assert not Path(f"{path}.lock").exists()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"host": "node17"}, "on node17 (process 1"),
        ({"namespace": "pid:[1]"}, "is filling this store"),
        ({"began": "1"}, None),  # another process has that number now
        ({"boot": "another"}, None),  # the machine was started anew
        ({"pid": 2**22 + 1}, None),
    ],
)
def test_a_claim_that_was_left_behind(tmp_path: Path, other: dict[str, object], said: str | None) -> None:
    path, lock = tmp_path / "study.db", tmp_path / "study.db.lock"
    left = ClaimedFile(lock, path, {**own(), "pid": 1, "began": None, **other})
    if said is None:
        ClaimedFile(lock, path).release()
        assert not lock.exists()
        left.release()
        return
    with pytest.raises(StoreError) as caught:
        ClaimedFile(lock, path)
    assert said in str(caught.value)
    assert f"remove {lock}" in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == [lock.name]


def test_a_claim_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalelaw._store.lock._PAUSE", 0.0)
    lock = tmp_path / "study.db.lock"
    lock.touch()
    with pytest.raises(StoreError, match="cannot be read") as caught:
        ClaimedFile(lock, tmp_path / "study.db")
    assert f"remove {lock}" in str(caught.value)


def race(path: Path, rounds: int, told: Queue[int]) -> None:
    won = 0
    for _ in range(rounds):
        try:
            claim = ClaimedFile(path, path)
        except StoreError:
            continue
        handle = os.open(f"{path}.inside", os.O_CREAT | os.O_EXCL)  # fails where another is inside too
        os.close(handle)
        Path(f"{path}.inside").unlink()
        won += 1
        claim.release()
    told.put(won)


def test_of_many_that_claim_at_once_one_wins(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    told: Queue[int] = context.Queue()
    path = tmp_path / "lock"
    # A dead process left its claim: it must not be removed twice.
    ClaimedFile(path, path, {**own(), "pid": 2**22 + 1, "began": "1"})
    racers = [context.Process(target=race, args=(path, 100, told)) for _ in range(4)]
    for racer in racers:
        racer.start()
    won = [told.get(timeout=60) for _ in racers]
    for racer in racers:
        racer.join()
    assert sum(won) > 0
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert not path.exists()


STUDY = """
name = "one"
task = "teacher_student"
[scale]
width = 4
depth = 1
steps = 2
[hyperparameters]
learning_rate = 0.1
batch_size = 8
"""


def test_run_and_doctor_say_so_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert execute(["run", "study.toml"]) == 0
    assert "network" not in capsys.readouterr().err
    mounts = table(tmp_path, (str(tmp_path), "beegfs"))
    for module in ("mounts", "doctor"):
        monkeypatch.setattr(f"scalelaw.{'_store' if module == 'mounts' else 'cli'}.{module}.MOUNTS", mounts)
    assert execute(["run", "study.toml"]) == 0
    assert " ".join(capsys.readouterr().err.split()).count("study.db lies on a network file system (beegfs)") == 1
    assert execute(["doctor"]) == 0
    assert " ".join(capsys.readouterr().out.split()).count("on a network file system (beegfs)") == 1
