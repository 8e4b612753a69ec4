"""Training by a Python function of the user's: what it is handed, what it may give, and that it harms no other trial."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scalelaw import worker
from scalelaw.cli import main
from scalelaw.engines import Batch
from scalelaw.engines.local import LocalPool
from scalelaw.errors import SpecError, StudyError
from scalelaw.optimum import optimum
from scalelaw.run import costs_of, run
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study, parse_study, read_study
from scalelaw.testing.trainers import check_trainer
from scalelaw.trainers import Order, Record, Stopped, rules, trainer_of, trainers
from scalelaw.trainers._limit import _Watch, limited
from scalelaw.trainers.function import function_settings
from scalelaw.trial import Status, Trial, TrialSpec

SPEC = TrialSpec("mine", {"width": 32, "steps": 40}, {"learning_rate": 1e-2, "batch_size": 8}, 3, task_options={"classes": 10})

BODY = """
import json, math, os, random, sys, time
from helper import HELP

def train(spec, report):
    random.seed(spec.seed)
    for step in range(1, spec["steps"] + 1):
        report(step, 2 + 5 / step, accuracy=step / 100)
    return {"loss": 2 + 0.01 * math.log(spec["learning_rate"] / 0.01) ** 2 + 1 / spec["width"], "parameters": spec["width"] ** 2,
            "perplexity": 7.5, "note": "text is no metric"}

def number(spec, report):
    return 1.5

def array(spec, report):
    import numpy
    report(numpy.int64(1), numpy.float32(3.0))
    return numpy.array([1.25])

def nothing(spec, report):
    for step in range(1, 11):
        report(step, 10.0 - step)

def silent(spec, report): pass
def text(spec, report): return "a loss"
def listed(spec, report): return [1.0, 2.0]
def truth(spec, report): return True
def failing(spec, report): raise ValueError("two\\nlines")
def leaving(spec, report): sys.exit("no data")
def aborting(spec, report): raise BaseException("neither this")
def bare(spec, report): raise RuntimeError
def own(spec, report):
    from scalelaw.trainers import Stopped
    raise Stopped
def not_a_number(spec, report): report(1, 3.0); report("two", 3.0)
def backwards(spec, report):
    for step in (10, 20, 30, 20, 40): report(step, 100.0 - step)
    return 1.0
def diverging(spec, report):
    report(1, 3.0, parameters=12, tokens=10)
    try:
        report(2, float("nan"))
    except Exception:
        raise RuntimeError("an except Exception caught it")
def stubborn(spec, report):
    report(1, 3.0)
    for step in range(2, 5):
        try:
            report(step, math.inf)
        except BaseException:
            pass
    return 1.0
def rising(spec, report):
    for step in range(1, 11): report(step, float(step))
def unknown_trial(spec, report): return {"loss": 1.0, "id": "0123456789abcdef"}
def wandering(spec, report):
    os.chdir("/")
    print("chatter", file=sys.stdout)
    return 1.0
def asking(spec, report): return float(len(sys.stdin.read()))
def typo(spec, report): return spec["widht"]
def sleeping(spec, report): time.sleep(60)
def looping(spec, report):
    while True: pass
def clinging(spec, report):
    while True:
        try: time.sleep(60)
        except BaseException: pass
def reporting(spec, report):
    for step in range(10**9): report(step, 1.0); time.sleep(0.01)
def kept(spec, report):
    there = report.folder / "checkpoint"
    if not there.exists():
        there.write_text("half")
        raise RuntimeError("first attempt")
    return 1.0
def leaving_a_fork(spec, report):
    child = os.fork()
    if not child:
        time.sleep(600)
    (report.folder.parent / "child").write_text(str(child))
    os.kill(os.getpid(), 9)
def at_exit(spec, report):
    import atexit
    atexit.register((report.folder.parent.parent.parent / "ended").write_text, "a tracker's last word")
    return 1.0
def coming_back_twice(spec, report):
    os.fork()
    return 1.0
class Slow:
    pass
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "functions.py").write_text(BODY, encoding="utf-8")
    (tmp_path / "helper.py").write_text("HELP = 1\n", encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("functions", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def one(folder: Path, name: str, spec: TrialSpec = SPEC, **settings: Any) -> Trial:
    member = trainers["function"]
    resolved = member.resolved({"function": f"functions.py:{name}", **settings}, folder)
    member.check(spec, resolved)
    (trial,) = member.trained([spec], Order(folder / "spool", resolved))
    return trial


def test_the_function_keeps_its_contract(folder: Path) -> None:
    trial = check_trainer(trainers["function"], {"function": "functions.py:train"}, SPEC, folder)
    assert trial.status is Status.COMPLETE
    assert trial.loss == pytest.approx(2 + 1 / 32)
    assert trial.parameters == 1024
    assert trial.tokens == 40 * 8
    assert (trial.compute, trial.compute_rule) == (6 * 1024 * 320, "6 N D; D = steps x batch_size")
    assert trial.metrics == {"accuracy": 0.4, "perplexity": 7.5}
    assert trial.curve is not None
    assert trial.curve.steps == tuple(range(1, 41))
    assert trial.curve.losses[:2] == (7.0, 4.5)
    assert trial.initial_loss == 7.0


@pytest.mark.parametrize(("name", "loss"), [("number", 1.5), ("array", 1.25), ("nothing", 0.0), ("backwards", 1.0)])
def test_what_a_function_may_give(folder: Path, name: str, loss: float) -> None:
    trial = one(folder, name)
    assert (trial.status, trial.loss) == (Status.COMPLETE, loss)
    if name == "nothing":
        assert trial.metrics == {"final_reports": 1.0}
    if name == "backwards":
        assert trial.curve is not None
        assert trial.curve.steps == (10, 20, 40)
        assert trial.curve.losses == (90.0, 80.0, 60.0)


def test_without_a_loss_the_reports_are_averaged_as_the_study_says(folder: Path) -> None:
    trial = one(folder, "nothing", final="50 %")
    assert trial.loss == pytest.approx(np.mean([4, 3, 2, 1, 0]))
    assert trial.metrics == {"final_reports": 5.0}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("silent", "it gave no loss: return one, or report one"),
        ("text", "the result is no number but 'a loss'"),
        ("listed", "the result is no number but [1.0, 2.0]"),
        ("truth", "the result is no number but True"),
        ("failing", "ValueError: two lines @"),
        ("leaving", "it called exit (no data)"),
        ("aborting", "BaseException: neither this @"),
        ("bare", "RuntimeError @"),
        ("own", "it raised Stopped by itself"),
        ("not_a_number", "TypeError: step is no number but 'two' @"),
        ("typo", "KeyError: \"the trial has no 'widht'; it has steps, width, batch_size, learning_rate, classes\" @"),
        ("unknown_trial", "the result is for an unknown trial ('0123456789abcdef')"),
        ("missing", None),
    ],
)
def test_what_goes_wrong_is_one_line(folder: Path, name: str, says: str | None) -> None:
    if says is None:
        with pytest.raises(StudyError, match=r"functions.py has no function 'missing'"):
            one(folder, name)
        return
    trial = one(folder, name)
    line = next(number for number, text in enumerate(BODY.splitlines(), 1) if text.startswith(f"def {name}("))
    assert (trial.status, trial.error) == (Status.FAILED, says.replace("@", f"(functions.py, line {line})"))
    assert trial.loss is None


@pytest.mark.parametrize("name", ["diverging", "stubborn"])
def test_a_loss_that_is_not_finite_stops_the_run(folder: Path, name: str) -> None:
    trial = one(folder, name)
    assert (trial.status, trial.diverged_step, trial.last_loss, trial.error) == (Status.DIVERGED, 2, 3.0, None)
    if name == "diverging":
        assert (trial.parameters, trial.compute) == (12, 6 * 12 * 10)


def test_a_run_that_ends_above_its_start_has_diverged(folder: Path) -> None:
    trial = one(folder, "rising")
    assert (trial.status, trial.diverged_step, trial.last_loss) == (Status.DIVERGED, 10, 10.0)


def test_nothing_a_function_does_reaches_the_next(folder: Path) -> None:
    here, handlers = Path.cwd(), sys.exc_info()
    assert one(folder, "wandering").loss == 1.0
    assert Path.cwd() == here
    assert one(folder, "failing").status is Status.FAILED
    assert sys.exc_info() == handlers
    assert one(folder, "number").loss == 1.5


def in_time(work: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gives; a failure where it does not end."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return found[0]


def mine(name: str, folder: Path, seeds: int) -> Study:
    table = {"name": "s", "task": "t", "seeds": seeds, "scale": {"width": 8}, "trainer": {"function": f"functions.py:{name}"}}
    return parse_study(table, folder=folder)


def test_what_a_killed_worker_has_forked_neither_holds_the_run_up_nor_stays(folder: Path) -> None:
    store = folder / "s.db"
    summary = in_time(lambda: run(mine("leaving_a_fork", folder, 1), store, max_parallel=1, retries=0))
    assert summary.progress.lost == 1
    child = int((folder / "s.db.spool" / "trials" / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    deadline = time.monotonic() + 10
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "what the worker forked is still there"
        time.sleep(0.05)


def test_what_is_to_be_done_at_the_end_of_a_worker_is_done(folder: Path) -> None:
    run(mine("at_exit", folder, 2), folder / "s.db", max_parallel=1)
    assert (folder / "ended").read_text() == "a tracker's last word"


def test_a_fork_that_returns_from_its_trial_takes_no_other(folder: Path) -> None:
    summary = in_time(lambda: run(mine("coming_back_twice", folder, 12), folder / "s.db", max_parallel=1))
    assert summary.complete
    assert summary.trained == 12


def test_a_file_that_has_changed_is_read_again(folder: Path) -> None:
    assert one(folder, "number").loss == 1.5
    (folder / "functions.py").write_text("def number(spec, report):\n    return 2.50\n", encoding="utf-8")
    assert one(folder, "number").loss == 2.5
    (folder / "functions.py").write_text("import no_such_package\ndef number(spec, report):\n    return 2\n", encoding="utf-8")
    assert one(folder, "number").error == "ModuleNotFoundError: No module named 'no_such_package' (functions.py, line 1)"


# Outside the main thread a call of the operating system is waited for.
@pytest.mark.parametrize(
    ("name", "main"), [("sleeping", True), ("looping", True), ("looping", False), ("reporting", True), ("reporting", False)]
)
def test_a_function_that_takes_too_long_is_ended(folder: Path, name: str, main: bool) -> None:
    found: list[Trial] = []
    began = time.monotonic()
    if main:
        found.append(one(folder, name, timeout=0.3))
    else:
        thread = threading.Thread(target=lambda: found.append(one(folder, name, timeout="0.3 s")))
        thread.start()
        thread.join(20)
    assert time.monotonic() - began < 5
    assert found[0].status is Status.FAILED
    assert found[0].error == "took longer than 0.3 s"
    # The alarm is off again: the next one may take longer.
    assert one(folder, "number").loss == 1.5
    time.sleep(0.4)


def test_an_alarm_that_rings_as_the_function_returns_is_off_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = Record(SPEC, rules({"timeout": 60}), Order(tmp_path))
    stop = _Watch.stop

    def ringing(watch: _Watch) -> None:
        monkeypatch.setattr(_Watch, "stop", stop)
        signal.raise_signal(signal.SIGALRM)
        stop(watch)

    before = signal.getsignal(signal.SIGALRM)
    monkeypatch.setattr(_Watch, "stop", ringing)
    with pytest.raises(Stopped), limited(record, None):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_function_that_holds_on_ends_its_worker_and_keeps_its_reason(folder: Path) -> None:
    code = (
        "import sys; from scalelaw.trainers import _limit; _limit.PATIENCE_SECONDS = 1.0\n"
        "from scalelaw import worker; sys.exit(worker.main(sys.argv[1:]))"
    )
    member = trainers["function"]
    settings = member.resolved({"function": "functions.py:clinging", "timeout": 0.3}, folder)
    batch = Batch((SPEC,), trainer=settings)
    done = subprocess.run(
        [sys.executable, "-c", code, "--spool", str(folder / "spool")],
        input=json.dumps(batch.message) + "\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    trial = worker.spool.read(next(worker.spool.scan(folder / "spool")))
    assert (trial.status, trial.error) == (Status.FAILED, "took longer than 0.3 s")


def test_printing_and_asking_leave_the_workers_lines_alone(folder: Path) -> None:
    study = _study(folder, "wandering")
    assert run(study, folder / "a.db", max_parallel=1).complete
    assert run(_study(folder, "asking"), folder / "b.db", max_parallel=1).complete
    assert load(folder / "b.db").numbers("loss").tolist() == [0.0, 0.0]


def test_a_trial_that_failed_finds_its_own_folder_again(folder: Path) -> None:
    study = _study(folder, "kept")
    first = run(study, folder / "kept.db", max_parallel=1)
    assert first.progress.failed == 2
    again = run(study, folder / "kept.db", max_parallel=1)
    assert again.complete
    assert not list(folder.rglob("checkpoint"))
    assert not (folder / "kept.db.spool").exists()


def _study(folder: Path, name: str) -> Study:
    path = folder / "study.toml"
    path.write_text(
        f'name = "f"\ntask = "mine"\nseeds = 2\n[trainer]\nfunction = "functions.py:{name}"\n'
        "[scale]\nwidth = 8\n[hyperparameters]\nlearning_rate = 0.1\n",
        encoding="utf-8",
    )
    return read_study(path)


def test_the_time_that_is_left_is_that_of_the_run_and_not_of_the_study(folder: Path) -> None:
    """Neither what the budget does not pay for nor what failed is waited for."""
    (folder / "half.py").write_text("def train(spec, report):\n    assert spec['width'] != 2\n    return 1.0\n", encoding="utf-8")
    grid = Grid({"width": (1, 2, 3, 4)}, {"learning_rate": (0.1,)})
    trainer = {"function": "half.py:train", "flops": "width * 1e6"}
    study = Study("half", "t", (grid,), "net", trainer=trainer, folder=folder)
    etas: list[float | None] = []
    summary = run(study, folder / "study.db", budget=6e6, max_parallel=1, on_event=lambda event: etas.append(event.progress.eta))
    assert (summary.progress.done, summary.progress.failed, summary.trained) == (2, 1, 3)
    assert etas[0] is None
    assert all(each is not None and each > 0 for each in etas[1:-1])
    assert etas[-1] == 0


def test_of_many_reasons_the_most_frequent_are_told(folder: Path) -> None:
    body = "raise ValueError('always' if spec.seed < 3 else spec.seed)"
    (folder / "odd.py").write_text(f"def train(spec, report):\n    {body}\n", encoding="utf-8")
    grid = Grid({"width": (1,)}, {"learning_rate": (0.1,)}, tuple(range(150)))
    study = Study("odd", "t", (grid,), "net", trainer={"function": "odd.py:train"}, folder=folder)
    summary = run(study, folder / "study.db", max_parallel=1, batch=50)
    assert summary.progress.failed == 150
    assert len(summary.errors) == 100
    assert next(iter(summary.errors.items())) == ("ValueError: always (odd.py, line 2)", 3)
    assert "(3 of them: ValueError: always (odd.py, line 2))" in summary.message


def test_what_functions_print_takes_no_room(folder: Path) -> None:
    loud = "sys.stderr.write('x' * 3_000_000 + f'\\nseed {spec.seed}\\n')"
    code = f"import sys\ndef train(spec, report):\n    {loud}\n"
    (folder / "loud.py").write_text(code, encoding="utf-8")
    settings = trainers["function"].resolved({"function": "loud.py:train"}, folder)
    with LocalPool(1) as pool:
        for seed in range(5):
            batch = Batch((replace(SPEC, seed=seed),), trainer=settings)
            pool.submit(batch, folder / "spool").result(60)
            errors = pool._workers[0]._errors
            assert errors is not None
            assert os.fstat(errors.fileno()).st_size < 4_000_000
            errors.seek(-20, os.SEEK_END)
            assert errors.read().endswith(f"seed {seed}\n".encode())


def test_a_study_of_functions_is_analysed_like_any_other(folder: Path) -> None:
    content = {
        "name": "mine",
        "task": "mine",
        "trainer": {"function": "functions.py:train", "flops": "6 * width**2 * steps * batch_size"},
        "scale": {"width": [8, 16, 32, 64], "steps": 20},
        "hyperparameters": {"learning_rate": {"from": 1e-3, "to": 1e-1, "count": 5}, "batch_size": 4},
    }
    study = parse_study(content, folder=folder)
    costs = costs_of(study)
    assert costs[study.specs[0].id] == 6 * 64 * 20 * 4
    summary = run(study, folder / "study.db", max_parallel=2)
    assert summary.complete
    with Store(folder / "study.db", read_only=True) as store:
        for trial in store.trials():
            assert trial.compute == costs[trial.spec.id]
            assert trial.compute_rule == "the study's formula 6 * width**2 * steps * batch_size"
    found = optimum(load(folder / "study.db"), at={"width": 128}).estimates({"width": 128})
    assert found["learning_rate"].value == pytest.approx(1e-2, rel=0.05)


def test_a_plan_for_functions_is_a_study_that_runs_anywhere(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "study.toml").write_text(
        'name = "f"\ntask = "mine"\n[trainer]\nfunction = "functions.py:train"\nflops = "6 * width ** 2 * steps"\n'
        "[scale]\nwidth = [8, 16, 32]\nsteps = 20\n"
        "[hyperparameters]\nlearning_rate = { from = 1e-3, to = 1e-1, count = 5 }\n"
        "[plan]\ntarget = { width = 128 }\nbudget = 1e8\n",
        encoding="utf-8",
    )
    (folder / "there").mkdir()
    planned, store = folder / "there" / "next.toml", str(folder / "study.db")
    assert main(["plan", str(folder / "study.toml"), "--storage", store, "-o", str(planned)]) == 0
    made = read_study(planned)
    assert made.trainer == {"function": f"{folder / 'functions.py'}:train", "flops": "6 * width ** 2 * steps"}
    assert set(made.specs) <= set(read_study(folder / "study.toml").specs)
    assert main(["run", str(planned), "--storage", store, "--max-parallel", "1"]) == 0
    assert main(["run", str(folder / "study.toml"), "--storage", store, "--until", "runs > 12", "--max-parallel", "1"]) == 0
    assert set(load(store)["status"].tolist()) == {"COMPLETE"}
    capsys.readouterr()


# ---- settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"function": "functions.py:trian"}, "Did you mean 'train'"),
        ({"function": "nowhere.py:train"}, "there is no file"),
        ({"function": "train"}, "names no function"),
        ({"function": "functions.py:"}, "names no function"),
        ({"function": 3}, "names no function"),
        ({"function": "functions.py:train", "timeuot": 3}, "unknown key 'timeuot'. Did you mean 'timeout'"),
        ({"function": "functions.py:train", "timeout": "soon"}, "'soon' is no duration"),
        ({"function": "functions.py:train", "timeout": -1}, "is no duration"),
        ({"function": "functions.py:train", "timeout": True}, "is no duration"),
        ({"function": "functions.py:train", "flops": "__import__('os')"}, "cannot read the formula"),
        ({"function": "functions.py:train", "flops": "6 *"}, "cannot read the formula"),
        ({"function": "functions.py:train", "flops": "a.b"}, "cannot read the formula"),
        ({"function": "functions.py:train", "flops": "1 if width else 2"}, "cannot read the formula"),
        ({"function": "functions.py:train", "flops": 6}, "a formula is text"),
        ({"function": "functions.py:train", "flops": "(" * 400 + "1" + ")" * 400}, "the formula"),
        ({"function": "functions.py:train", "final": "middle"}, "cannot read 'middle'"),
        ({"function": "functions.py:train", "stop": "no"}, "true or false"),
        ({"function": "functions.py:train", "names": "z_loss"}, "list of names"),
        ({"function": "functions.py:train", "halving": 3}, "a table"),
        ({"function": "functions.py:train", "halving": {"keep": 1, "first": 10}}, "keep = 1 will not do"),
        ({"function": "functions.py:train", "halving": {"keep": 3}}, "'first' is missing"),
    ],
)
def test_bad_settings_are_told_in_one_line(folder: Path, settings: Mapping[str, Any], says: str) -> None:
    with pytest.raises(StudyError) as caught:
        trainers["function"].resolved(settings, folder)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flops", "says"),
    [
        ("6 * paramters * tokens", "Did you mean 'parameters'"),
        ("width - 32", "no number above 0"),
        ("1 / (width - 32)", "above 0"),
    ],
)
def test_a_formula_that_cannot_be_counted_is_told_before_anything_is_trained(folder: Path, flops: str, says: str) -> None:
    settings = trainers["function"].resolved({"function": "functions.py:train", "flops": flops}, folder)
    with pytest.raises(SpecError, match=says):
        trainers["function"].check(TrialSpec("t", {"width": 32, "parameters": 5}, {}), settings)


def test_flops_are_told_where_they_can_be() -> None:
    member = trainers["function"]
    small = TrialSpec("t", {"parameters": 100, "tokens": 50}, {})
    assert member.flops(small, {}) == 6 * 100 * 50
    assert member.flops(TrialSpec("t", {"compute": 7.0}, {}), {}) == 7.0
    assert member.flops(TrialSpec("t", {"width": 3}, {}), {}) is None
    assert member.flops(TrialSpec("t", {"width": 3}, {}), {"flops": "6 * N * D"}) is None
    assert member.flops(small, {"flops": "6 * N * D + 2 ** 3 / -(-4)"}) == 6 * 100 * 50 + 2
    steps = TrialSpec("t", {"parameters": 100, "steps": 5, "context": 3}, {"batch_size": 2})
    assert member.flops(steps, {}) == 6 * 100 * 30
    assert (member.work(small, {}) or 0) > 6 * 100 * 50


def test_the_built_in_trainer_keeps_the_same_contract(tmp_path: Path) -> None:
    options = {"input_dim": 8, "classes": 4, "teacher_width": 8}
    spec = TrialSpec("teacher_student", {"width": 8, "steps": 20}, {"learning_rate": 3e-3}, task_options=options)
    assert check_trainer(trainers["builtin"], {}, spec, tmp_path).status is Status.COMPLETE
    assert trainers.names() == ["builtin", "command", "function"]


def test_the_built_in_trainer_takes_no_halving() -> None:
    with pytest.raises(StudyError, match="side by side"):
        trainer_of({"name": "builtin"}).resolved({"name": "builtin", "halving": {"first": 1}}, Path())


def test_a_table_that_names_two_trainers_or_none() -> None:
    for table in ({"timeout": 3}, {"function": "a:b", "command": "c"}):
        with pytest.raises(StudyError, match="Give one"):
            trainer_of(table)
    with pytest.raises(StudyError, match="the built-in one takes no halving"):
        trainer_of({"halving": {"first": 100}})
    with pytest.raises(StudyError, match="Did you mean 'command'"):
        trainer_of({"comand": ["python", "train.py"]})


def test_what_a_trial_starts_from_is_refused() -> None:
    spec = TrialSpec("t", {"width": 3}, {}, init_from=SPEC)
    with pytest.raises(SpecError, match="cannot train what a trial starts from"):
        trainers["function"].check(spec, {})


def test_a_callable_becomes_settings(tmp_path: Path) -> None:
    assert function_settings(check_trainer) == {"function": "scalelaw.testing.trainers:check_trainer"}

    def nested(spec: TrialSpec, report: Any) -> None:
        del spec, report

    for wrong, says in ((lambda *_: 1.0, "a lambda"), (nested, "inside another"), (3, "no function")):
        with pytest.raises(StudyError, match=says):
            function_settings(wrong)  # pyright: ignore[reportArgumentType]
    script = tmp_path / "script.py"
    script.write_text(
        "from scalelaw.trainers.function import function_settings\n"
        "def train(spec, report): return 1.0\n"
        "print(function_settings(train))\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == repr({"function": f"{script.resolve()}:train"})


def test_stopped_passes_by_except_exception() -> None:
    assert not issubclass(Stopped, Exception)


def test_a_spec_answers_by_name() -> None:
    assert (SPEC["width"], SPEC["learning_rate"], SPEC["classes"], SPEC.seed) == (32, 1e-2, 10, 3)
    assert "width" in SPEC
    assert "depth" not in SPEC
    with pytest.raises(KeyError, match="the trial has no 'depth'; it has steps, width, batch_size, learning_rate, classes"):
        _ = SPEC["depth"]


def test_the_folder_of_a_worker_that_does_not_share_the_spool_goes(folder: Path) -> None:
    settings = trainers["function"].resolved({"function": "functions.py:kept"}, folder)
    answer = worker.work(Batch((SPEC,), trainer=settings).message, str(folder / "elsewhere"))
    assert (Trial.from_dict(json.loads(answer["results"][0])).error or "").startswith("RuntimeError: first attempt")
    assert not (folder / "elsewhere").exists()
