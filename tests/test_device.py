"""What a run trains on: what is there is told, what is not is refused before anything is made, and batches fit the device."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scalelaw._batches import Cutter
from scalelaw.cli import main
from scalelaw.engines import Engine, Pool, Resources, engines
from scalelaw.engines._base import shape
from scalelaw.engines.local import Local, LocalPool
from scalelaw.errors import EngineError, InputError
from scalelaw.run import Retried, run
from scalelaw.store import Store, load
from scalelaw.study import Grid, Study
from scalelaw.train import Recipe, device
from scalelaw.train.program import program, start_state, starts
from scalelaw.trainers import BUILTIN, trainers
from scalelaw.trial import TrialSpec

STUDY = Study(
    "s",
    "teacher_student",
    (Grid({"width": (2, 4), "depth": (1,), "steps": (20,)}, {"learning_rate": (1e-3, 1e-2), "batch_size": (8,)}, (0, 1, 2)),),
)


def machine(monkeypatch: pytest.MonkeyPatch, **found: tuple[str, ...]) -> None:
    monkeypatch.setattr(device, "platforms", lambda: found)


def test_the_word_wins_then_jax_platforms_then_the_processor() -> None:
    assert device.device_of(None, {}) == device.device_of(None, {"JAX_PLATFORMS": ""}) == "cpu"
    assert device.device_of(None, {"JAX_PLATFORMS": "cuda,cpu"}) == "gpu"
    assert device.device_of(None, {"JAX_PLATFORMS": "rocm"}) == device.device_of("gpu", {"JAX_PLATFORMS": "cpu"}) == "gpu"
    assert device.device_of(None, {"JAX_PLATFORMS": "tpu"}) == "tpu"
    with pytest.raises(InputError, match=r"^--device: unknown device 'cuda'\. Known: cpu, gpu, tpu\.$"):
        device.device_of("cuda", {})
    with pytest.raises(InputError, match="JAX_PLATFORMS: unknown device 'abacus'"):
        device.device_of(None, {"JAX_PLATFORMS": "abacus"})


def test_jax_is_asked_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    device.platforms.cache_clear()
    found = device.platforms()
    assert found["cpu"]
    assert "cpu" in device.present()
    device.platforms.cache_clear()
    monkeypatch.setattr(device, "ASK", "raise SystemExit('no driver')")
    with pytest.raises(EngineError, match=r"does not tell its devices \(no driver\).*doctor"):
        device.platforms()


def test_a_worker_is_held_to_its_device(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, rocm=("MI300X",), cpu=("cpu",))
    assert device.present() == ("cpu", "gpu")
    there = device.environment_of("gpu", {"HOME": "/root", "OMP_NUM_THREADS": "8"})
    assert there == {"HOME": "/root", "OMP_NUM_THREADS": "8", "JAX_PLATFORMS": "rocm"}
    here = device.environment_of("cpu", {"HOME": "/root", "JAX_PLATFORMS": "rocm"})
    assert (here["JAX_PLATFORMS"], here["OMP_NUM_THREADS"], here["HOME"]) == ("cpu", "1", "/root")


def test_an_accelerator_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=("NVIDIA H200",), cpu=("cpu",))
    made: list[Any] = []
    monkeypatch.setattr("scalelaw.engines.local.LocalPool", lambda *given, **more: made.append((given, more)))
    Local().open(Resources(device="gpu"))
    Local().open(Resources(max_parallel=3))
    ((one,), more), ((several,), _) = made
    assert (len(one), len(several)) == (1, 3)
    assert more["environment"]["JAX_PLATFORMS"] == "cuda"
    assert "scalelaw_threads" not in more["environment"]


def test_a_device_that_is_not_there_is_one_line_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, cpu=("cpu",))
    store, file = tmp_path / "out" / "study.db", tmp_path / "study.toml"
    file.write_text(
        'name = "s"\ntask = "teacher_student"\n[scale]\nwidth = 2\nsteps = 5\n[hyperparameters]\nlearning_rate = 1e-3\n'
    )
    with pytest.raises(InputError, match="there is no gpu here; present: cpu"):
        run(STUDY, store, device="gpu")
    for arguments, says in (
        (["--device", "tpu"], "--device: there is no tpu here; present: cpu. Choose one that is."),
        (["--device", "abacus"], "--device: unknown device 'abacus'. Known: cpu, gpu, tpu."),
    ):
        assert main(["run", str(file), "--storage", str(store), *arguments]) == 2
        assert capsys.readouterr().err == f"scalelaw: {says}\n"
    assert not store.parent.exists()
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    with pytest.raises(InputError, match="there is no gpu here"):
        run(STUDY, store)


# An engine on a device, and one that knows of none

LOSES = """
import json, os, signal, sys
from pathlib import Path
from scalelaw import spool
from scalelaw.trial import Status, Trial, TrialSpec
for line in sys.stdin:
    message = json.loads(line)
    specs = [TrialSpec.from_dict(values) for values in message["specs"]]
    log = Path(sys.argv[-1]).parent / "log"
    with log.open("a") as stream:
        print(len(specs), message["witnesses"], file=stream)
    if sys.argv[1] == "die" and len(log.read_text().splitlines()) <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    for spec in specs:
        spool.write(Path(sys.argv[-1]), Trial(spec, Status.COMPLETE, loss=1.0))
    print(json.dumps({"done": message["batch"], "trials": [spec.id for spec in specs]}), flush=True)
"""


class Card(Engine):
    """Pretends to have a card."""

    name = "card"
    summary = "a test's"

    def __init__(self, deed: str) -> None:
        self.deed, self.opened = deed, []

    def devices(self) -> tuple[str, ...]:
        return ("cpu", "gpu")

    def open(self, resources: Resources, options: Mapping[str, str]) -> Pool:
        self.checked(options)
        self.opened.append(resources.device)
        return LocalPool(resources.max_parallel or 1, (sys.executable, "-c", LOSES, self.deed), dict(os.environ))


class Plain(Card):
    """A plug-in that knows of no devices."""

    def devices(self) -> tuple[str, ...]:
        return Engine.devices(self)


def test_on_a_card_a_shape_is_one_batch_and_a_lost_one_is_tried_whole_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card("die")
    monkeypatch.setitem(engines._members, "card", card)
    events: list[Any] = []
    summary = run(STUDY, tmp_path / "study.db", engine="card", device="gpu", witnesses=True, on_event=events.append)
    assert summary.complete
    assert card.opened == ["gpu"]
    sizes = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    # Both shapes are lost once, and then trained whole.
    assert all(witnesses == "True" for _, witnesses in sizes)
    assert [size for size, _ in sizes] == ["6"] * 4
    assert sum(isinstance(event, Retried) for event in events) == 2


def test_an_engine_that_knows_of_no_device_is_opened_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Plain("train")
    monkeypatch.setitem(engines._members, "plain", plain)
    assert run(STUDY, tmp_path / "study.db", engine="plain").complete
    assert all(line.endswith("False") for line in (tmp_path / "log").read_text().splitlines())
    with pytest.raises(InputError, match="there is no gpu here; present: cpu"):
        run(STUDY, tmp_path / "other.db", engine="plain", device="gpu")
    assert not (tmp_path / "other.db").exists()


def test_whole_batches_hold_every_trial_once() -> None:
    made = Cutter(trainers[BUILTIN], whole=True).cut(STUDY.specs)
    assert [len(batch.specs) for batch in made] == [6, 6]
    assert Counter(spec for batch in made for spec in batch.specs) == Counter(STUDY.specs)
    assert all({shape(spec) for spec in batch.specs} == {batch.shape} for batch in made)
    assert made[0].work > made[1].work


# Witnesses


def test_witnesses_on_request_reach_the_store_and_its_exports(tmp_path: Path) -> None:
    file, store, out = tmp_path / "study.toml", tmp_path / "study.db", tmp_path / "trials.csv"
    file.write_text(
        'name = "s"\ntask = "teacher_student"\ntask_options = { input_dim = 8, classes = 4, teacher_width = 8 }\n'
        "[scale]\nwidth = [8]\nsteps = 40\n[hyperparameters]\nlearning_rate = [3e-3, 1e-2]\nbatch_size = 64\n"
    )
    arguments = ["run", str(file), "--storage", str(store), "--max-parallel", "1", "--witnesses", "--json"]
    assert main(arguments) == 0
    with Store(store, read_only=True) as opened:
        for trial in opened.trials():
            assert 1e-4 < trial.metrics["update_ratio:weight1"] < 1
    table = load(store)
    assert table.numbers("activation_rms:hidden 2").min() > 0
    assert len(load(store, outcome="update_ratio:weight1").finished) == 2
    assert main(["export", str(store), "-o", str(out)]) == 0
    assert "denominator_ratio:weight2" in out.read_text().splitlines()[0]


# What a precision means


@pytest.mark.parametrize(("word", "products"), [("float32", "HIGHEST"), ("tfloat32", "HIGH"), ("bfloat16", "DEFAULT")])
def test_float32_is_float32_in_every_product_going_forward_and_back(word: str, products: str) -> None:
    asked = TrialSpec("teacher_student", {"width": 8, "steps": 5}, {"learning_rate": 1e-3, "precision": word})
    recipe = Recipe.of(asked)
    parameters, fixed = starts(recipe, [1.0], grouped=False, first={})
    data = recipe.loaded()
    rates = dict(recipe.rates)
    carry = (0.0, parameters, start_state(recipe, parameters, None))
    text = program(recipe, grouped=False).gradients.lower((rates, 0, fixed), carry, data.test_inputs, data.test_targets).as_text()
    lines = [line for line in text.splitlines() if "dot_general" in line]
    assert len(lines) == 4 + 7, "four layers forward, back into weights, and into all but the data"
    assert all(f"precision = [{products}, {products}]" in line for line in lines)
