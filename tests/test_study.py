"""Study files: what they expand to, and the one line that says what is wrong with them."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelaw.errors import StudyError
from scalelaw.notation import HYPERPARAMETERS, SCALES
from scalelaw.study import Grid, Study, log_spaced, parse_study, read_study

LADDER = """
name = "width"
task = "fashion_mnist"
seeds = 3

[scale]
width = [16, 32, 64]
steps = 1000

[hyperparameters]
learning_rate = { from = 1e-4, to = 1e-1, count = 4 }
batch_size = 128

[[grid]]
scale = { width = 512 }
hyperparameters = { learning_rate = 3e-3 }
seeds = [7]
"""


def wrong(tmp_path: Path, text: str) -> str:
    path = tmp_path / "study.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError) as caught:
        read_study(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "study.toml" in message
    return message


def test_a_file_is_every_combination(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(LADDER, encoding="utf-8")
    study = read_study(path)
    specs = study.specs
    assert len(specs) == 3 * 4 * 3 + 1
    assert len({spec.id for spec in specs}) == len(specs)
    own = {(spec.scale["width"], spec.hyperparameters["learning_rate"], spec.seed) for spec in specs}
    assert set(itertools.product((16, 32, 64), (1e-4, 1e-3, 1e-2, 1e-1), (0, 1, 2))) < own
    assert own - set(itertools.product((16, 32, 64), (1e-4, 1e-3, 1e-2, 1e-1), (0, 1, 2))) == {(512, 3e-3, 7)}
    assert {spec.scale["steps"] for spec in specs} == {1000}
    assert {spec.hyperparameters["batch_size"] for spec in specs} == {128}


def test_a_grid_that_repeats_another_adds_nothing() -> None:
    grid = Grid({"width": (16, 32)}, {"learning_rate": (1e-3,)}, (0, 1))
    assert len(Study("s", "fashion_mnist", (grid, grid)).specs) == 4
    assert len(Study("s", "fashion_mnist", (grid, Grid({"width": (16.0,)}, {"learning_rate": (0.001,)}, (1, 2)))).specs) == 5


def test_an_alias_is_the_same_study() -> None:
    plain = parse_study({"name": "a", "task": "t", "scale": {"width": 16}, "hyperparameters": {"learning_rate": 1e-3}})
    alias = parse_study({"name": "b", "task": "t", "scale": {"hidden_size": 16}, "hyperparameters": {"lr": 1e-3}})
    assert [spec.id for spec in plain.specs] == [spec.id for spec in alias.specs]


BASE = 'name = "a"\ntask = "fashion_mnist"\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BASE + "sedes = 3\n[scale]\nwidth = 4", ("'sedes'", "'seeds'")),
        (BASE + "[scale]\nwidht = 4", ("'widht'", "'width'")),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearing_rate = 1e-3", ("'learing_rate'", "'learning_rate'")),
        (BASE + "[scale]\nlearning_rate = 4", ("'learning_rate'", "Known: parameters")),
        (BASE + "[scale]\nwidth = 4\nhidden_size = 8", ("hidden_size", "Keep one")),
        (BASE + "[scale]\nwidth = []", ("empty", "width")),
        (BASE, ("empty", "[scale]")),
        (BASE + "seeds = 0\n[scale]\nwidth = 4", ("seed", "count >= 1")),
        (BASE + "seeds = []\n[scale]\nwidth = 4", ("seed", "count >= 1")),
        (BASE + "seeds = [1, -1]\n[scale]\nwidth = 4", ("negative seed",)),
        (BASE + "[scale]\nwidth = -4", ("width", "positive")),
        (BASE + "[scale]\nwidth = 0", ("width", "positive")),
        (BASE + "[scale]\nwidth = 4.5", ("width", "whole number")),
        (BASE + "[scale]\nwidth = nan", ("width", "finite")),
        (BASE + '[scale]\nwidth = "wide"', ("width", "number")),
        (BASE + "[scale]\nwidth = true", ("width",)),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = -1e-3", ("learning_rate", "positive")),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = inf", ("learning_rate", "finite")),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nschedule = 3", ("schedule", "quotes")),
        (
            BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = { from = 1e-3, to = 1e-1, cuont = 3 }",
            ("learning_rate", "'cuont'", "'count'"),
        ),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = { from = -1, to = 1, count = 3 }", ("from",)),
        (BASE + "[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = { from = 1, to = 2, count = 0 }", ("count",)),
        (BASE + "[scale]\nwidth = 4\n[[grid]]\nscael = { width = 8 }", ("'scael'", "'scale'")),
        ('task = "fashion_mnist"\n[scale]\nwidth = 4', ("'name'", "missing")),
        (BASE + "[scale]\nwidth = 4\n[scale]\nwidth = 8", ("TOML",)),
        (BASE + "[scale", ("TOML",)),
        (BASE + "seeds = 1000\n[scale]\nwidth = { from = 1, to = 9000, count = 9000 }", ("whole number",)),
        (
            BASE + "seeds = 2000\n[scale]\nwidth = 4\n[hyperparameters]\nlearning_rate = { from = 1e-6, to = 1, count = 1000 }",
            ("2,000,000",),
        ),
        (BASE + "seeds = 100000000000\n[scale]\nwidth = 4", ("1,000,000",)),
    ],
)
def test_bad_studies_are_told_in_one_line(tmp_path: Path, text: str, says: tuple[str, ...]) -> None:
    message = wrong(tmp_path, text)
    for part in says:
        assert part in message


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(StudyError) as caught:
            read_study(path)
        assert str(path) in str(caught.value)
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot be read"):
        read_study(binary)


@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), st.integers(1, 60))
def test_log_spaced_keeps_its_ends_and_its_order(low: float, ratio: float, count: int) -> None:
    values = log_spaced(low, low * ratio, count)
    assert len(values) == count
    assert values[0] == low
    if count > 1:
        assert values[-1] == low * ratio
    if count > 2:
        steps = [math.log(b / a) for a, b in itertools.pairwise(values)]
        # Four digits move a step by at most 1e-3.
        assert all(abs(step - math.log(ratio) / (count - 1)) < 1.1e-3 for step in steps)


@contextlib.contextmanager
def told_in_one_line() -> Iterator[None]:
    """Let a StudyError pass whose message is one line that names the file."""
    try:
        yield
    except StudyError as error:
        if "study.toml" not in str(error) or "\n" in str(error):
            raise AssertionError(str(error)) from error
        raise


SCALAR = st.one_of(st.integers(-5, 5), st.floats(), st.text(max_size=4), st.booleans())
AXIS = st.one_of(
    SCALAR,
    st.lists(SCALAR, max_size=3),
    st.dictionaries(st.sampled_from(["from", "to", "count", "cuont"]), SCALAR, max_size=3),
)
KEYS = st.one_of(st.sampled_from([*SCALES[:4], *HYPERPARAMETERS[:3], "lr", "widht"]), st.text(max_size=4))
BLOCK = st.fixed_dictionaries(
    {},
    optional={
        "scale": st.one_of(st.dictionaries(KEYS, AXIS, max_size=3), SCALAR),
        "hyperparameters": st.dictionaries(KEYS, AXIS, max_size=3),
        "seeds": st.one_of(SCALAR, st.lists(st.integers(-1, 5), max_size=3)),
        "extra": SCALAR,
    },
)


HEAD = st.fixed_dictionaries({}, optional={"name": SCALAR, "task": st.just("t"), "model": SCALAR})


@settings(max_examples=400, deadline=None)
@given(
    BLOCK,
    st.lists(BLOCK, max_size=2),
    st.fixed_dictionaries({}, optional={"name": SCALAR, "task": st.just("t"), "model": SCALAR}),
)
def test_any_content_is_a_study_or_a_studyerror(block: dict[str, Any], grids: list[dict[str, Any]], head: dict[str, Any]) -> None:
    with contextlib.suppress(StudyError), told_in_one_line():
        check_specs(parse_study({**head, **block, "grid": grids}, "study.toml"))


def check_specs(study: Study) -> None:
    for spec in study.specs:
        assert spec.scale
        assert all(value > 0 and math.isfinite(value) for value in spec.scale.values() if not isinstance(value, str))


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4096), min_size=1, max_size=4),
    st.lists(st.floats(1e-6, 1), min_size=1, max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=3),
)
def test_a_study_is_a_set(widths: list[int], rates: list[float], seeds: list[int]) -> None:
    content = {"name": "a", "task": "t", "seeds": seeds, "scale": {"width": widths}, "hyperparameters": {"learning_rate": rates}}
    study = parse_study(content)
    assert len(study.specs) == len(set(widths)) * len(set(rates)) * len(set(seeds))
    turned = {**content, "scale": {"width": widths[::-1]}, "hyperparameters": {"learning_rate": rates[::-1]}}
    assert {spec.id for spec in parse_study(turned).specs} == {spec.id for spec in study.specs}
