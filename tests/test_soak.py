"""As long as SCALELAW_SOAK_SECONDS says: whatever is written into filters, studies, tables and options ends in the documented
errors, and a run that is killed over and over ends as if nobody had touched it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from killing import contents, finish, kill_within, start
from scalelaw.cli._points import names, point, setting
from scalelaw.condition import select
from scalelaw.errors import DataError, InputError, StudyError
from scalelaw.importers import Reading, importers, parse_mapping, recognise
from scalelaw.importing import import_into
from scalelaw.notation import QUANTITIES
from scalelaw.store import Store
from scalelaw.study import LARGEST, read_study
from scalelaw.trainers import rules
from scalelaw.trial import Curve, Status, Trial, TrialSpec
from scalelaw.trials import Trials

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("SCALELAW_SOAK_SECONDS") or 600)
# The kills get what the fuzzed languages leave. No input may hold a parser longer than SLOW.
FUZZ = 0.1
SLOW = 5.0

# Words that each language knows, glued at random, reach further into a parser than letters do.
COLUMNS = (*QUANTITIES, *(alias for each in QUANTITIES.values() for alias in each.aliases))
NUMBERS = ("0", "1", "-1", "3e-4", "1e400", "-0.0", "nan", "inf", "0x1f", "1_000", "1,5", "64.0", "1e-320", ".5", "9" * 400)


def words(*more: str) -> st.SearchStrategy[str]:
    """Any text, or the words of a language with glue between them."""
    token = st.sampled_from((*more, *COLUMNS, *NUMBERS)) | st.text(max_size=6)
    glued = st.tuples(st.lists(token, max_size=24), st.sampled_from(("", " ", ",", "\n"))).map(lambda pair: pair[1].join(pair[0]))
    return glued | st.text(max_size=200)


def soak(share: float, strategy: st.SearchStrategy[Any], try_one: Callable[[Any], None]) -> int:
    """Try examples until the share of the time is over; returns how many."""
    deadline, tried = time.monotonic() + share * SECONDS, 0

    @settings(
        max_examples=200,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(strategy)
    def batch(value: Any) -> None:
        nonlocal tried
        if time.monotonic() > deadline:
            return
        began = time.monotonic()
        try_one(value)
        tried += 1
        assert time.monotonic() - began < SLOW, f"hung on {value!r}"

    while time.monotonic() < deadline:
        batch()
    return tried


def one_line(error: InputError, path: Path | None = None) -> None:
    """The promise of every wrong input: it says where, and ends its sentence."""
    text = str(error)
    assert text.endswith((".", "?", "!"))
    assert path is None or str(path) in text


def test_filters() -> None:
    columns = {
        "width": np.array([64.0, 128.0, np.nan]),
        "learning_rate": np.array([3e-4, 1e-3, 0.0]),
        "schedule": np.array(["cosine", "", "x"], dtype=object),
    }
    joints = ("and", "or", "not", "in", "[", "]", "(", ")", "lambda", ":", "'cosine'")
    signs = ("==", "!=", "<", "<=", ">", "+", "-", "*", "/", "**")

    def try_one(text: str) -> None:
        try:
            mask = select(text, columns, 3)
        except DataError as error:
            one_line(error)
        else:
            assert mask.dtype == bool
            assert mask.shape == (3,)

    print(soak(FUZZ, words("width", "learning_rate", "schedule", *joints, *signs), try_one), "filters")


def test_studies(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    whole = (
        *("name = 'x'", "task = 'teacher_student'", "[scale]", "[hyperparameters]", "[[grid]]", "[task_options]"),
        *(
            "width = [4, 8]",
            "steps = 10",
            "seeds = 3",
            "seeds = 99999999999",
            "learning_rate = { from = 1e-4, to = 1, count = 3 }",
        ),
    )
    glue = ("=", "[", "]", "{", "}", ".", '"', "'", "from", "to", "count", "#", "scale", "grid", "\n")
    lines = st.lists(st.sampled_from(whole) | words(*glue), max_size=12).map("\n".join)

    def try_one(text: str) -> None:
        with contextlib.suppress(UnicodeEncodeError):
            path.write_text(text, encoding="utf-8")
        try:
            study = read_study(path)
        except StudyError as error:
            one_line(error, path)
        else:
            assert 0 < sum(map(len, study.grids)) <= LARGEST

    print(soak(FUZZ, lines, try_one), "studies")


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_tables(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"table.{kind}"
    cell = st.sampled_from((*NUMBERS, "", "cosine", "null", "DIVERGED", "NA")) | st.text(max_size=8)
    if kind == "csv":
        rows = st.lists(st.lists(cell, min_size=3, max_size=3).map(",".join), max_size=8)
        text = rows.map(lambda each: "\n".join(("width,lr,loss", *each)))
        text |= words(",", ";", "\t", '"', "\r\n", "\0", "width,loss\n")
    else:
        value = st.none() | st.booleans() | st.floats() | st.integers() | cell | st.just([1]) | st.just({"a": {"b": 1}})
        name = st.sampled_from(("width", "lr", "loss", "status", "seed")) | st.text(max_size=4)
        text = st.lists(st.dictionaries(name, value, max_size=5).map(json.dumps), max_size=8).map("\n".join)
        text |= words("{", "}", "[", "]", ":", '"')
    written = text.map(lambda each: each.encode("utf-8", "replace")) | st.binary(max_size=200)

    def try_one(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = importers[kind].read(path)
        except DataError as error:
            one_line(error, path)
        else:
            assert isinstance(found, Trials)
            assert len(found)
            loss = found.numbers("loss")
            assert np.array_equal(np.isfinite(loss), found["status"] == "COMPLETE")

    print(soak(FUZZ / 2, written, try_one), f"{kind} tables")


def test_options() -> None:
    def try_one(text: str) -> None:
        for parse in (point, setting, lambda each: names(each, "--over"), parse_mapping, lambda each: rules({"flops": each})):
            try:
                found = parse(text)
            except InputError as error:
                one_line(error)
            else:
                assert found or parse is parse_mapping

    print(soak(FUZZ, words("=", ",", "loss=final_loss", "width=8192", "N=1e9", " "), try_one), "options")


def damaged(content: bytes, damages: list[tuple[str, float, bytes]]) -> bytes:
    """Cut off, written over, with something put in between, or with its second half again."""
    for kind, where, added in damages:
        at = int(where * len(content))
        after = {"cut": b"", "write": content[at + len(added) :], "insert": content[at:], "twice": content[at // 2 :]}[kind]
        content = content[:at] + (added if kind in ("write", "insert") else b"") + after
    return content


PLACE = st.floats(0, 1, exclude_max=True)
NOISE = st.binary(max_size=40) | st.sampled_from((b"nan", b"1e999", b"-1", b'{"a":', b"\n", b"," * 9, b"[" * 5000, b"\xff" * 9))
DAMAGE = st.lists(st.tuples(st.sampled_from(("cut", "write", "insert", "twice")), PLACE, NOISE), min_size=1, max_size=3)


def test_damaged_exports(tmp_path: Path) -> None:
    """A whole store in a file, damaged, comes back or is refused in one line."""
    kinds = ("parquet", "csv", "jsonl")
    with Store(tmp_path / "study.db") as store:
        store.put(
            Trial(
                TrialSpec("t", {"width": width}, {"learning_rate": 0.1}, seed),
                Status.COMPLETE,
                1.5,
                curve=Curve((1, 2), (3.0, 2.0)),
            )
            for width in (2, 4)
            for seed in (0, 1)
        )
        for kind in kinds:
            store.export(tmp_path / f"all.{kind}")
    whole = {kind: (tmp_path / f"all.{kind}").read_bytes() for kind in kinds}

    def try_one(value: tuple[str, list[tuple[str, float, bytes]]]) -> None:
        path = tmp_path / f"damaged.{value[0]}"
        path.write_bytes(damaged(whole[value[0]], value[1]))
        try:
            found = import_into([path], tmp_path / "back.db")
        except InputError as error:
            one_line(error)
        else:
            read[0] += found.rows > 0

    read = [0]
    print(soak(FUZZ, st.tuples(st.sampled_from(kinds), DAMAGE), try_one), "damaged exports,", read[0], "of them read")
    assert read[0], "nothing was ever read back"


def test_damaged_files_of_trackers(tmp_path: Path) -> None:
    """A real file, cut off, with noise in it, or with a part of it twice, is read or refused in one line."""
    samples = Path(__file__).resolve().parent / "fixtures"
    names = sorted(path.name for path in samples.iterdir() if path.is_dir() and "__" not in path.name)
    for name in names:
        shutil.copytree(samples / name, tmp_path / name)
    files = {name: sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in names}
    whole = {path: path.read_bytes() for each in files.values() for path in each}

    def try_one(value: tuple[str, float, list[tuple[str, float, bytes]]]) -> None:
        name, which, damages = value
        path = files[name][int(which * len(files[name]))]
        path.write_bytes(damaged(whole[path], damages))
        try:
            found = recognise(tmp_path / name).gather(tmp_path / name, Reading())
        except InputError as error:
            one_line(error)
        else:
            assert len(found.table) == len(found.curves) == len(found.provenance)
        finally:
            path.write_bytes(whole[path])

    print(soak(FUZZ, st.tuples(st.sampled_from(names), PLACE, DAMAGE), try_one), "damaged files")


def test_kill_and_resume(tmp_path: Path) -> None:
    deadline = time.monotonic() + (1 - 6 * FUZZ) * SECONDS
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    finish(start(tmp_path / "undisturbed.db", environment))
    undisturbed = contents(tmp_path / "undisturbed.db")
    seed = random.SystemRandom().randrange(10**6)
    generator, told = random.Random(seed), []
    worst = 0.0
    while not told or time.monotonic() + worst < deadline:
        round_began = time.monotonic()
        store = tmp_path / f"{len(told)}.db"
        told += kill_within(store, environment, generator, 3) or ["nothing"]
        worst = max(worst, time.monotonic() - round_began)
        assert contents(store) == undisturbed, f"seed {seed}: {told}"
    print(f"killed {len(told)} times (seed {seed})")
