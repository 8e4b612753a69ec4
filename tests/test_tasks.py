"""The tasks: their data are what they say, the same everywhere, and free of anything but NumPy."""

from __future__ import annotations

import gzip
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import SpecError, UnknownNameError
from scalelaw.tasks import Task, tasks
from scalelaw.tasks._base import Loss, TaskData, one_hot
from scalelaw.tasks.fashion_mnist import DEBIAN_FOLDER, SUBSET_FILE, read_idx
from scalelaw.trial import Value

FASHION, TEACHER = tasks["fashion_mnist"], tasks["teacher_student"]


@pytest.fixture(scope="module")
def needed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Value]]:
    """The options of tasks that read the user's own data, with some data."""
    folder = tmp_path_factory.mktemp("own")
    generator = np.random.default_rng(0)
    np.savez(folder / "own.npz", inputs=generator.standard_normal((60, 5)), targets=np.arange(60) % 3)
    for name in ("a", "b"):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(30):
            pixels = generator.integers(0, 256, 64).astype(np.uint8).tobytes()
            (folder / "pictures" / name / f"{number}.pgm").write_bytes(b"P5 8 8 255 " + pixels)
    return {"npz": {"file": str(folder / "own.npz")}, "image_folder": {"folder": str(folder / "pictures")}}


@pytest.mark.parametrize("name", tasks.names())
def test_every_task_is_of_one_kind_and_complete(name: str, needed: dict[str, dict[str, Value]]) -> None:
    data = tasks[name].data(needed.get(name))
    assert data.examples == len(data.inputs) == len(data.targets) > 0
    assert len(data.test_inputs) == len(data.test_targets) > 0
    assert data.inputs.shape[1:] == data.test_inputs.shape[1:] == (data.input_dim,)
    assert {"N", "D", "C"} <= set(tasks[name].meaning)
    assert all(isinstance(value, float) and math.isfinite(value) for value in data.truths.values())
    for targets in (data.targets, data.test_targets):
        if data.vocabulary:
            assert targets.shape[1] == data.tokens_per_example == data.input_dim
        if data.vocabulary or data.labels:
            assert targets.dtype == np.int32
            assert 0 <= targets.min() <= targets.max() < data.classes
        else:
            assert targets.dtype == np.float32
            assert targets.shape[1] == data.classes
        if not (data.vocabulary or data.labels or data.loss is Loss.SQUARED_ERROR):
            np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert data.inputs.dtype == data.test_inputs.dtype == (np.int32 if data.vocabulary else np.float32)
    if data.loss is Loss.CROSS_ENTROPY:
        assert data.chance_loss == pytest.approx(math.log(data.classes))
    drawn = next(data.batches(0, 16, [2]))
    for part, like in zip(drawn, (data.inputs, data.targets), strict=True):
        assert part.shape == (2, 16, *like.shape[1:])
        assert part.dtype == like.dtype


@pytest.mark.parametrize("name", ["fashion_mnist", "teacher_student", "thousand_classes", "image_folder"])
def test_vectors_are_scaled(name: str, needed: dict[str, dict[str, Value]]) -> None:
    data = tasks[name].data(needed.get(name))
    assert abs(float(data.test_inputs.mean())) < 0.1
    assert float(data.test_inputs.std()) == pytest.approx(1, abs=0.1)


def test_every_task_is_the_same_in_another_process(needed: dict[str, dict[str, Value]]) -> None:
    code = (
        "import hashlib, json, sys; from scalelaw.tasks import tasks\n"
        "def known(name, options):\n"
        "    data = tasks[name].data(options)\n"
        "    arrays = (data.inputs, data.targets, data.test_inputs, data.test_targets, *next(data.batches(3, 8, [2])))\n"
        "    return hashlib.sha256(b''.join(array.tobytes() for array in arrays)).hexdigest()\n"
    )
    script = code + "needed = json.loads(sys.argv[1]); print(json.dumps({n: known(n, needed.get(n)) for n in tasks}))\n"
    script += (
        "heavy = ('jax', 'scipy', 'polars', 'pydantic', 'sqlalchemy', 'typer', 'rich', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, json.dumps(needed)]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines() for _ in range(2))
    assert first == second
    assert set(json.loads(first[0])) == set(tasks)
    # A worker has nothing but NumPy.
    assert first[1] == "[]"


def test_the_subset_is_balanced_and_small() -> None:
    data = FASHION.data()
    assert data.inputs.shape == (16_000, 784)
    assert data.test_inputs.shape == (4_000, 784)
    np.testing.assert_array_equal(data.targets.sum(axis=0), 1600)
    np.testing.assert_array_equal(data.test_targets.sum(axis=0), 400)
    assert SUBSET_FILE.stat().st_size <= 10e6
    notice = (SUBSET_FILE.parent / "NOTICE.md").read_text(encoding="utf-8")
    assert "Zalando" in notice
    assert "MIT" in notice


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_subset_holds_pictures_of_the_original() -> None:
    images, labels = read_idx(DEBIAN_FOLDER / "t10k-images-idx3-ubyte.gz"), read_idx(DEBIAN_FOLDER / "t10k-labels-idx1-ubyte.gz")
    with np.load(SUBSET_FILE) as subset:
        ours, our_labels = subset["test_images"], subset["test_labels"]
    first = [np.flatnonzero(labels == label)[:400] for label in range(10)]
    kept = np.sort(np.concatenate(first))
    np.testing.assert_array_equal(ours, images[kept])
    np.testing.assert_array_equal(our_labels, labels[kept])


def write_idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}i", *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes()))


def test_the_full_set_is_read_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 30), ("t10k", 20)):
        write_idx(tmp_path / f"{split}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)).astype(np.uint8))
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", (np.arange(count) % 10).astype(np.uint8))
    monkeypatch.setenv("SCALELAW_DATA", str(tmp_path))
    assert len(FASHION.data().inputs) == 16_000
    assert len(FASHION.data({"images": "full"}).inputs) == 30
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"junk")
    with pytest.raises(SpecError, match="dataset-fashion-mnist") as caught:
        FASHION.data({"images": "full"})
    assert "\n" not in str(caught.value)


def test_fewer_pixels_are_block_means() -> None:
    whole, small = FASHION.data(), FASHION.data({"pixels": 14})
    blocks = whole.inputs[:50].reshape(50, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(50, 196)
    # Both are scaled to deviation 1, each over its own pixels: equal up to one scale and one offset.
    slope, offset = np.polyfit(blocks.ravel(), small.inputs[:50].ravel(), 1)
    np.testing.assert_allclose(small.inputs[:50], slope * blocks + offset, atol=1e-4)


def test_a_shift_moves_pictures_and_leaves_black_behind() -> None:
    data = FASHION.data({"pixels": 7, "shift": 1})
    plain = FASHION.data({"pixels": 7}).inputs.reshape(-1, 7, 7)
    assert data.draw is not None
    rows = np.arange(300)
    moved, targets = data.draw(np.random.default_rng(1), rows)
    black = plain.min()
    for picture, source in zip(moved.reshape(-1, 7, 7), plain, strict=False):
        padded = np.pad(source, 1, constant_values=black)
        assert any(np.array_equal(picture, padded[i : i + 7, j : j + 7]) for i in range(3) for j in range(3))
    np.testing.assert_array_equal(targets, data.targets[rows])
    again, _ = data.draw(np.random.default_rng(2), rows)
    assert not np.array_equal(moved, again)


def test_augmented_test_images_are_the_same_every_time() -> None:
    options = {"pixels": 14, "shift": 2, "flip": 1, "noise": 0.5}
    np.testing.assert_array_equal(FASHION.data(options).test_inputs, FASHION.data(options).test_inputs)


@settings(max_examples=40, deadline=None)
@given(
    examples=st.integers(1, 50),
    batch=st.integers(1, 30),
    steps=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    seed=st.integers(0, 2**31),
)
def test_batches_depend_on_the_seed_and_not_on_the_chunks(examples: int, batch: int, steps: list[int], seed: int) -> None:
    x = np.arange(examples, dtype=np.float32)[:, None]
    data = TaskData(x, one_hot(np.zeros(examples, dtype=np.int64), 2), x, one_hot(np.zeros(examples, dtype=np.int64), 2))
    cut = np.concatenate([x.reshape(-1, batch) for x, _ in data.batches(seed, batch, steps)])
    whole = next(data.batches(seed, batch, [sum(steps)]))[0].reshape(-1, batch)
    np.testing.assert_array_equal(cut, whole)
    # Every example comes once before any comes twice.
    counts = np.bincount(whole.ravel().astype(int), minlength=examples)
    assert counts.max() - counts.min() <= 1


def test_the_teachers_floor_is_the_entropy_of_its_targets() -> None:
    data = TEACHER.data({"input_dim": 6, "classes": 4, "sharpness": 2.0})
    entropy = -(data.test_targets * np.log(data.test_targets)).sum(axis=1).mean()
    assert data.truths["floor"] == pytest.approx(float(entropy), rel=1e-5)
    assert 0 < data.truths["floor"] < data.chance_loss
    wrong = np.roll(data.test_targets, 1, axis=0)
    assert -(data.test_targets * np.log(wrong)).sum(axis=1).mean() > data.truths["floor"]


def test_the_teacher_gives_as_many_examples_as_asked_for() -> None:
    fixed, fresh = TEACHER.data({"samples": 300}), TEACHER.data()
    assert len(fixed.inputs) == 300
    seen = np.concatenate([x.reshape(-1, x.shape[-1]) for x, _ in fresh.batches(0, 64, [100, 100])])
    assert len(np.unique(seen, axis=0)) == 200 * 64
    np.testing.assert_array_equal(fixed.test_inputs, fresh.test_inputs)
    assert not np.array_equal(TEACHER.data({"teacher_seed": 1}).test_targets, fresh.test_targets)


@pytest.mark.parametrize(
    ("task", "options", "says"),
    [
        (FASHION, {"pixel": 14}, "'pixels'"),
        (FASHION, {"pixels": 5}, "28, 14 or 7"),
        (FASHION, {"pixels": "14"}, "Give a number"),
        (FASHION, {"images": "half"}, "'full'"),
        (FASHION, {"images": 3}, "Give text"),
        (FASHION, {"shift": 28}, "less than the side"),
        (FASHION, {"shift": -1}, "not negative"),
        (FASHION, {"shift": 1.5}, "whole number"),
        (FASHION, {"flip": 2}, "0 or 1"),
        (FASHION, {"noise": -0.5}, "0 or more"),
        (FASHION, {"noise": math.nan}, "Give a number"),
        (TEACHER, {"classes": 1}, "2 or more"),
        (TEACHER, {"sharpness": 0}, "more than 0"),
        (TEACHER, {"teacher_wdith": 8}, "'teacher_width'"),
    ],
)
def test_a_bad_option_is_one_line_with_the_mend(task: Task, options: dict[str, int | float | str], says: str) -> None:
    with pytest.raises(SpecError) as caught:
        task.data(options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_task_names_the_near_one() -> None:
    with pytest.raises(UnknownNameError, match="'fashion_mnist'"):
        tasks["fashion_mnst"]
