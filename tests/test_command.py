"""Training by any command: what it is told, what it may print, and that nothing of it outlives its worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scalelaw._study_text import study_text
from scalelaw.cli import main
from scalelaw.engines import Batch
from scalelaw.errors import SpecError, StudyError
from scalelaw.run import run
from scalelaw.store import load
from scalelaw.study import parse_study, read_study
from scalelaw.testing.trainers import check_trainer
from scalelaw.trainers import Order, trainers
from scalelaw.trainers._template import fill, placeholders, words
from scalelaw.trial import Status, Trial, TrialSpec

SPEC = TrialSpec("mine", {"width": 32}, {"learning_rate": 0.1 + 0.2, "z_loss": 1e-5}, 7, task_options={"word": "a b"})
PYTHON = ["{python}", "-c"]


def one(folder: Path, *command: str, spec: TrialSpec = SPEC, **settings: Any) -> Trial:
    """The trial of a command."""
    member = trainers["command"]
    resolved = member.resolved({"command": list(command), **settings}, folder)
    member.check(spec, resolved)
    (trial,) = member.trained([spec], Order(folder / "spool", resolved))
    return trial


def script(folder: Path, code: str, *arguments: str, **settings: Any) -> Trial:
    """The trial of a piece of Python."""
    (folder / "train.py").write_text(code, encoding="utf-8")
    return one(folder, "{python}", "train.py", *arguments, **settings)


def shell(folder: Path, text: str, **settings: Any) -> Trial:
    """The trial of a line of shell."""
    return one(folder, "sh", "-c", text.replace("{", "{{").replace("}", "}}"), **settings)


RESULT = "import json, sys; print(json.dumps({'loss': 1.5, 'parameters': 12, 'tokens': 100, 'accuracy': .5, 'final': True}))"


def test_the_command_keeps_its_contract(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(RESULT, encoding="utf-8")
    trial = check_trainer(trainers["command"], {"command": "{python} train.py --lr {learning_rate}"}, SPEC, tmp_path)
    assert (trial.status, trial.loss, trial.parameters, trial.tokens) == (Status.COMPLETE, 1.5, 12, 100)
    assert (trial.compute, trial.compute_rule, trial.metrics) == (6 * 12 * 100, "6 N D", {"accuracy": 0.5})


def test_what_a_command_is_told(tmp_path: Path) -> None:
    code = (
        "import json, os, sys\n"
        "told = {'argv': sys.argv[1:], 'cwd': os.getcwd(), 'environment': dict(os.environ), 'stdin': sys.stdin.read()}\n"
        "open('told.json', 'w').write(json.dumps(told))\n"
        "open(os.environ['SCALELAW_RESULT'], 'w').write('{\"loss\": 2}')\n"
    )
    arguments = ["{learning_rate}", "{lr}", "{width}", "{word}", "{seed}", "{id}", "{task}", "{model}", "{z_loss}", "{{{seed}}}"]
    (tmp_path / "at").mkdir()
    (tmp_path / "at" / "train.py").write_text(code, encoding="utf-8")
    trial = one(tmp_path, "{python}", "train.py", *arguments, "{folder}", environment={"Z": "{z_loss}"}, directory="at")
    assert trial.loss == 2, trial.error
    told = json.loads((tmp_path / "at" / "told.json").read_text(encoding="utf-8"))
    expected = ["0.30000000000000004"] * 2 + ["32", "a b", "7", SPEC.id, "mine", "mlp", "1e-05", "{7}"]
    folder = str(tmp_path / "spool" / "trials" / SPEC.id)
    assert told["argv"] == [*expected, folder]
    assert told["cwd"] == str(tmp_path / "at")
    assert told["stdin"] == ""
    environment = told["environment"]
    assert (environment["Z"], environment["SCALELAW_TRIAL"], environment["SCALELAW_FOLDER"]) == ("1e-05", SPEC.id, folder)
    assert TrialSpec.from_dict(json.loads(environment["SCALELAW_SPEC"])) == SPEC
    assert not Path(folder).exists()


@pytest.mark.parametrize("value", [0.1 + 0.2, 1e-5, 1e22, 5e-324, 1.7976931348623157e308, 123456789.123, 64.0, 64, -0.5])
def test_numbers_read_back_to_the_same(value: float) -> None:
    assert float(words(value)) == value
    assert "." not in words(64.0)


@pytest.mark.parametrize(
    ("text", "status", "loss"),
    [
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"step": 2, "loss": 2.5}\'', Status.COMPLETE, 2.5),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"loss": 2.25}\'', Status.COMPLETE, 2.25),
        ('echo \'{"loss": 2, "final": true}\'; echo \'{"step": 9, "loss": 8}\'', Status.COMPLETE, 2.0),
        ("echo '{\"loss\": 9}'; echo '{\"loss\": 2}'", Status.COMPLETE, 2.0),
        ('echo starting; echo \'{"epoch": 1}\'; echo "[1, 2]"; echo \'{"loss": 2}\' ; echo bye', Status.COMPLETE, 2.0),
        ("printf '{\"loss\": 2}'", Status.COMPLETE, 2.0),
        ("printf '\\357\\273\\277{\"loss\": 2}\\n'", Status.COMPLETE, 2.0),  # behind a byte-order mark
        ("echo '{\"loss\": 2}' >&2; echo '{\"loss\": 3}'", Status.COMPLETE, 3.0),
        ("echo '{\"loss\": 3}'; echo '{\"loss\": 2}' > $SCALELAW_RESULT", Status.COMPLETE, 2.0),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"step": 2, "loss": NaN}\'; sleep 60', Status.DIVERGED, None),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"step": 2, "loss": Infinity}\'; sleep 60', Status.DIVERGED, None),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"step": 2, "loss": 1e999}\'; exit 1', Status.DIVERGED, None),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"loss": NaN, "final": true}\'', Status.DIVERGED, None),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"loss": NaN}\' > $SCALELAW_RESULT', Status.DIVERGED, None),
        ('echo \'{"step": 1, "loss": 3}\'; echo \'{"loss": "nan", "final": true}\'', Status.DIVERGED, None),
    ],
)
def test_what_a_command_may_print(tmp_path: Path, text: str, status: Status, loss: float | None) -> None:
    trial = shell(tmp_path, text)
    assert (trial.status, trial.loss, trial.error) == (status, loss, None)
    if status is Status.DIVERGED:
        assert trial.last_loss == 3.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("exit 0", "it printed no loss"),
        ("echo hello", "it printed no loss: hello"),
        ('echo \'{"step": 1, "loss": 3}\'; printf \'{"step": 2, "lo\'', 'its last line is cut off: {"step": 2, "lo'),
        ("echo first >&2; echo 'Error: no data' >&2; exit 3", "exit code 3: Error: no data"),
        ("echo 'only printed'; exit 3", "exit code 3: only printed"),
        ("echo 'dying' >&2; kill -9 $$", "signal 9: dying"),
        ('echo \'{"loss": 1, "id": "0123456789abcdef"}\'', "the result is for an unknown trial ('0123456789abcdef')"),
        ('echo \'{"loss": 1, "id": "a"}\' > $SCALELAW_RESULT', "the result is for an unknown trial ('a')"),
        ("echo 'loss: 1' > $SCALELAW_RESULT", "its result file is no JSON object"),
        ("mkfifo $SCALELAW_RESULT", "its result file is no file"),
        ("echo '{\"accuracy\": 1}' > $SCALELAW_RESULT", "its result has no loss"),
        ('echo \'{"loss": "low"}\'', "loss is no number but 'low'"),
        ('echo \'{"step": "two", "loss": 1}\'; sleep 60', "cannot read its report: step is no number but 'two'"),
        ('echo \'{"step": 1.5, "loss": 1}\'; sleep 60', "cannot read its report: a step is a whole number of 0 or more, not 1.5"),
        ('echo \'{"loss": 1, "parameters": -3}\'', "parameters = -3 is no number above 0"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    trial = shell(tmp_path, text)
    assert (trial.status, trial.error) == (Status.FAILED, says)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    assert one(tmp_path, "no_such_command_at_all").error == "command not found: no_such_command_at_all"
    assert one(tmp_path, "./train.sh").error == "./train.sh does not start: No such file or directory"
    (tmp_path / "train.sh").write_text("exit 0", encoding="utf-8")
    assert one(tmp_path, "./train.sh").error == "./train.sh does not start: Permission denied"


def test_a_restart_wins_over_what_was_reported_before(tmp_path: Path) -> None:
    lines = [(10, 5.0), (20, 4.0), (30, 3.0), (20, 3.5), (40, 2.0)]
    trial = script(tmp_path, "import json\n" + "".join(f"print(json.dumps({{'step': {s}, 'loss': {x}}}))\n" for s, x in lines))
    assert trial.curve is not None
    assert trial.curve.steps == (10, 20, 40)
    assert trial.curve.losses == (5.0, 3.5, 2.0)


def test_output_without_end_takes_no_memory(tmp_path: Path) -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code = (
        "import sys\n"
        "for stream in (sys.stdout, sys.stderr):\n"
        "    for _ in range(200): stream.write('x' * (1 << 20))\n"
        "    stream.write('\\n')\n"
        'for step in range(200000): print(\'{"step": %d, "loss": 1.5, "word": "x"}\' % step)\n'
        "print('{\"loss\": 1.25}')\n"
    )
    trial = script(tmp_path, code)
    assert trial.loss == 1.25, trial.error
    assert trial.curve is not None
    assert len(trial.curve.steps) <= 200
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000  # KiB, of 400 MiB that were written


# ---- ending it ----------------------------------------------------------------------------------------------------------

# Starts a child and a grandchild that only a kill of the group reaches, and tells their numbers.
FAMILY = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c",
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "grandchild = subprocess.Popen(['sleep', '600']); print(grandchild.pid, flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
numbers = [os.getpid(), child.pid, int(child.stdout.readline())]
open("family", "w").write(" ".join(map(str, numbers)))
"""


def family(folder: Path) -> list[int]:
    """The numbers of the processes, once they are all there."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if (folder / "family").exists() and len(found := (folder / "family").read_text(encoding="utf-8").split()) == 3:
            return list(map(int, found))
        time.sleep(0.02)
    raise AssertionError("the command did not start")


def gone(processes: list[int], seconds: float = 10) -> bool:
    """Whether all have ended, or wait to be collected."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        left = [each for each in processes if Path(f"/proc/{each}").exists()]
        states = [Path(f"/proc/{each}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] for each in left]
        if all(state == "Z" for state in states):
            return True
        time.sleep(0.05)
    return False


def test_a_command_that_takes_too_long_is_ended_with_all_it_started(tmp_path: Path) -> None:
    began = time.monotonic()
    trial = script(tmp_path, FAMILY + "time.sleep(600)", timeout="1.5 s")
    assert (trial.status, trial.error) == (Status.FAILED, "took longer than 1.5 s")
    assert time.monotonic() - began < 10
    assert gone(family(tmp_path))


def test_a_command_that_diverges_is_ended_with_all_it_started(tmp_path: Path) -> None:
    trial = script(tmp_path, FAMILY + 'print(\'{"step": 5, "loss": NaN}\', flush=True); time.sleep(600)')
    assert trial.status is Status.DIVERGED
    assert gone(family(tmp_path))


def test_what_a_command_leaves_behind_is_ended(tmp_path: Path) -> None:
    trial = script(tmp_path, FAMILY + "print('{\"loss\": 1}')")
    assert trial.loss == 1
    assert gone(family(tmp_path))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_command_ends_with_its_worker(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "train.py").write_text(FAMILY + "time.sleep(600)", encoding="utf-8")
    settings = trainers["command"].resolved({"command": ["{python}", "train.py"]}, tmp_path)
    worker = subprocess.Popen(
        [sys.executable, "-m", "scalelaw.worker", "--spool", str(tmp_path / "spool")], stdin=subprocess.PIPE, text=True
    )
    assert worker.stdin is not None
    worker.stdin.write(json.dumps(Batch((SPEC,), trainer=settings).message) + "\n")
    worker.stdin.flush()
    processes = family(tmp_path)
    worker.send_signal(how)
    worker.wait(10)
    assert gone(processes)
    worker.stdin.close()


def test_a_killed_supervisor_takes_its_command_along(tmp_path: Path) -> None:
    trial = script(tmp_path, FAMILY + "os.kill(os.getppid(), signal.SIGKILL); time.sleep(600)")
    assert (trial.status, trial.error) == (Status.FAILED, "the command was killed")
    assert gone(family(tmp_path))


# ---- studies ------------------------------------------------------------------------------------------------------------

STUDY = """
name = "shell"
task = "mine"
[trainer]
command = ["{python}", "train.py", "{width}", "{learning_rate}", "{z_loss}"]
names = ["tau"]
[scale]
width = [8, 16, 32]
[hyperparameters]
lr = [0.01, 0.02, 0.04, 0.08, 0.16]
z_loss = [0, 1e-4]
tau = 0.5
"""
TRAIN = """
import json, math, sys
width, rate, z = map(float, sys.argv[1:])
print(json.dumps({"step": 1, "loss": 5.0}))
print(json.dumps({"loss": 2 + 1 / width + 0.05 * math.log(rate / 0.04) ** 2 + z}))
"""


def test_a_study_of_commands_is_analysed_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    store = str(tmp_path / "study.db")
    assert main(["run", str(tmp_path / "study.toml"), "--storage", store, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["complete"] is True
    table = load(store)
    assert table.hyperparameters == ("learning_rate", "tau", "z_loss")
    assert sorted(set(table.numbers("z_loss").tolist())) == [0.0, 1e-4]
    assert main(["optimum", store, "--hyper", "learning_rate", "--where", "z_loss == 0", "--at", "width=64", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["at"]["learning_rate"]["value"] == pytest.approx(0.04, rel=0.02)
    # Written back, it is the same study.
    study = read_study(tmp_path / "study.toml")
    (tmp_path / "again.toml").write_text(study_text(study), encoding="utf-8")
    again = read_study(tmp_path / "again.toml")
    assert set(again.specs) == set(study.specs)
    assert again.trainer == study.trainer
    assert run(again, store).skipped == 30


def test_a_store_beside_the_shell_and_a_study_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "code").mkdir()
    text = STUDY.replace('"train.py",', '"train.py", "{result}", "{folder}",')
    (tmp_path / "code" / "study.toml").write_text(text, encoding="utf-8")
    told = "import sys, pathlib\nassert pathlib.Path(sys.argv[2]).is_dir()\nopen(sys.argv[1], 'w').write('{\"loss\": 2}')\n"
    (tmp_path / "code" / "train.py").write_text(told, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "code/study.toml", "--storage", "study.db"]) == 0
    assert set(load("study.db").numbers("loss").tolist()) == {2.0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code", "study.db"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("{width}", "{widht}", "trainer.command: the trial has no 'widht'. Did you mean 'width'"),
        ("{width}", "{width", "has a brace that names nothing"),
        ('"train.py"', "3", "trainer.command: this is a list of words"),
        ("tau = 0.5", "tua = 0.5", "unknown key 'tua'. Did you mean 'tau'"),
        ("lr = [", "learnin_rate = [", "unknown key 'learnin_rate'. Did you mean 'learning_rate'"),
        ("tau = 0.5", "tau = inf", "not finite"),
        ('names = ["tau"]', 'names = ["tau", "width"]', "'width' is no hyperparameter"),
        ('names = ["tau"]', 'namse = ["tau"]', "unknown key"),
        ('names = ["tau"]', 'names = ["tau"]\nenvironment = ["A"]', "trainer.environment: this is a table"),
        ('names = ["tau"]', 'names = ["tau"]\ndirectory = "nowhere"', "there is no folder 'nowhere'"),
        ('names = ["tau"]', 'names = ["tau"]\nfunction = "a:b"', "names two trainers"),
    ],
)
def test_a_wrong_study_is_told_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, says: str
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new, 1), encoding="utf-8")
    assert main(["run", str(tmp_path / "study.toml"), "--storage", str(tmp_path / "study.db")]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert says in told
    assert not (tmp_path / "study.db").exists()


def test_a_name_in_braces_declares_itself() -> None:
    content: dict[str, Any] = {"name": "a", "task": "t", "scale": {"width": 4}, "hyperparameters": {"z_loss": 1e-4}}
    with pytest.raises(StudyError, match="unknown key 'z_loss'"):
        parse_study(content)
    for trainer in (
        {"command": "train {z_loss}"},
        {"command": ["train"], "environment": {"Z": "{z_loss}"}},
        {"function": "a:b", "names": ["z_loss"]},
    ):
        assert parse_study({**content, "trainer": trainer}).specs[0].hyperparameters == {"z_loss": 1e-4}


def test_placeholders() -> None:
    values: Mapping[str, str] = {"learning_rate": "0.1", "width": "{seed}"}
    assert fill('{{"lr": {lr}}} {width}', values, "") == '{"lr": 0.1} {seed}'
    assert placeholders("{a}{{b}}{c}", "") == ["a", "c"]
    for text in ("{", "}", "{0}", "{a.b}", "{a:.3f}", "{a!r}", "{}"):
        with pytest.raises(StudyError, match="brace"):
            placeholders(text, "")
    with pytest.raises(SpecError, match="Did you mean 'width'"):
        fill("{widt}", values, "")


def test_a_command_string_is_split_as_a_shell_would(tmp_path: Path) -> None:
    resolved = trainers["command"].resolved({"command": "python train.py --name 'a b' {width}"}, tmp_path)
    assert resolved["command"] == ["python", "train.py", "--name", "a b", "{width}"]
    with pytest.raises(StudyError, match="cannot split"):
        trainers["command"].resolved({"command": "python 'train.py"}, tmp_path)
    assert os.sep in resolved["directory"]
