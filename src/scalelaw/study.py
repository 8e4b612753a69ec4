"""Studies: a declared set of trials, read from TOML or written in Python.

    name = "width"
    task = "fashion_mnist"
    seeds = 3                                   # 0, 1, 2; or a list

    [scale]                                     # every combination of scale x hyperparameters x seeds is one trial
    width = [16, 32, 64]
    steps = 1000

    [hyperparameters]
    learning_rate = { from = 1e-4, to = 1e-1, count = 12 }     # spaced evenly in log
    batch_size = 128

    [init_from]                                 # start where another run ends (fine-tuning); a value for each key
    task = "teacher_student"                    # also: model, task_options, hyperparameters, seed (0)
    scale = { steps = 5000 }                    # what is not given is as in the trial itself: its width, its depth
    hyperparameters = { learning_rate = 1e-3 }

    [trainer]                                   # what trains the trials, where scalelaw's own networks do not: docs/running.md
    command = ["python", "train.py", "--lr", "{learning_rate}"]

    [plan]                                      # for `scalelaw run STUDY --until "regret < 0.2 %"` and `scalelaw plan STUDY`
    target = { width = 1024 }                   # the run all this is for; also: budget (FLOPs), until

    [[grid]]                                    # more trials beside the grid above; a table replaces the keys it names
    scale = { width = 512 }
    hyperparameters = { learning_rate = 3e-3 }

A study is a set of specs known by their content: running it again fills the holes, and trials that two studies share are
trained once.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError

from .errors import StudyError, near
from .notation import HYPERPARAMETERS, QUANTITIES, SCALES, Kind, quantity
from .trial import TrialSpec, Value

__all__ = ["Grid", "Parent", "Study", "log_spaced", "read_study"]

Axis = tuple[Value, ...]
LARGEST = 1_000_000
_ZERO_ALLOWED = frozenset({"weight_decay", "warmup", "warmup_steps", "final_fraction", "dropout", "momentum", "beta1", "beta2"})


@dataclass(frozen=True)
class Parent:
    """The run that trials start from: the same network trained before, most often on another task.

    Args:
        task, task_options, model: what it is trained on, and which family it is of.
        scale: sizes that differ from those of the trial that starts from it.
        hyperparameters: its own, a value each.
        seed: its seed: trials of all seeds start from one run.
    """

    task: str
    model: str = "mlp"
    scale: Mapping[str, Value] = field(default_factory=dict[str, Value])
    hyperparameters: Mapping[str, Value] = field(default_factory=dict[str, Value])
    task_options: Mapping[str, Value] = field(default_factory=dict[str, Value])
    seed: int = 0

    def spec(self, scale: Mapping[str, Value]) -> TrialSpec:
        """The run for a trial of this scale."""
        return TrialSpec(self.task, {**scale, **self.scale}, self.hyperparameters, self.seed, self.model, self.task_options)


@dataclass(frozen=True)
class Grid:
    """Every combination of scale x hyperparameters x seeds.

    Args:
        init_from: the run they start from; None starts afresh.
        scale: values by scale column, for example `{"width": (16, 32), "steps": (1000,)}`.
        hyperparameters: values by hyperparameter column.
        seeds: the seeds of each setting.
    """

    scale: Mapping[str, Axis]
    hyperparameters: Mapping[str, Axis]
    seeds: tuple[int, ...] = (0,)
    init_from: Parent | None = None

    def __post_init__(self) -> None:
        for name in ("scale", "hyperparameters"):
            axes = {key: tuple(values) for key, values in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(axes))
        object.__setattr__(self, "seeds", tuple(self.seeds))

    def __len__(self) -> int:
        axes = (*self.scale.values(), *self.hyperparameters.values(), self.seeds)
        return math.prod(len(axis) for axis in axes)


@dataclass(frozen=True)
class Study:
    """A named set of trials of one task and one model.

    Args:
        name: what the study is called.
        task: a member of `tasks/`.
        grids: the trials; equal specs count once.
        model: the model family.
        task_options: settings of the task.
        target: the scale that the study is for; empty where none is named.
        budget: FLOPs that may be spent on it. until: when to stop, `regret < 0.2 %`.
        trainer: the `[trainer]` table, see `trainers/`; empty for scalelaw's own networks.
        folder: where the trainer's relative paths start: that of the study's file.
    """

    name: str
    task: str
    grids: tuple[Grid, ...]
    model: str = "mlp"
    task_options: Mapping[str, Value] = field(default_factory=dict[str, Value])
    target: Mapping[str, float] = field(default_factory=dict[str, float])
    budget: float | None = None
    until: str | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    folder: Path = Path()

    @functools.cached_property
    def specs(self) -> tuple[TrialSpec, ...]:
        """Every spec once, in the order of the grids."""
        return tuple(dict.fromkeys(itertools.chain.from_iterable(map(self._expand, self.grids))))

    def _expand(self, grid: Grid) -> Iterable[TrialSpec]:
        scales = [dict(zip(grid.scale, values, strict=True)) for values in itertools.product(*grid.scale.values())]
        names = tuple(grid.hyperparameters)
        for scale in scales:
            first = None if grid.init_from is None else grid.init_from.spec(scale)
            for values in itertools.product(*grid.hyperparameters.values()):
                for seed in grid.seeds:
                    given = dict(zip(names, values, strict=True))
                    yield TrialSpec(self.task, scale, given, seed, self.model, self.task_options, first)


def log_spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` values evenly spaced in log from `low` to `high`, rounded to four significant digits, ends exact."""
    if count == 1:
        return (low,)
    inner = [math.exp(math.log(low) + (math.log(high) - math.log(low)) * k / (count - 1)) for k in range(1, count - 1)]
    return (low, *(float(f"{value:.4g}") for value in inner), high)


class _Range(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)
    start: float = Field(alias="from", gt=0, allow_inf_nan=False)
    to: float = Field(gt=0, allow_inf_nan=False)
    count: int = Field(ge=1, le=10_000)


_Scalar = StrictInt | StrictFloat | StrictStr  # strict: true is not the number 1
_Axis = _Scalar | list[_Scalar] | _Range


class _Parent(BaseModel):
    model_config = ConfigDict(extra="forbid")
    task: str
    model: str | None = None
    scale: dict[str, _Axis] = {}
    hyperparameters: dict[str, _Axis] = {}
    task_options: dict[str, _Scalar] = {}
    seed: StrictInt = Field(default=0, ge=0)


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid")
    scale: dict[str, _Axis] = {}
    hyperparameters: dict[str, _Axis] = {}
    seeds: StrictInt | list[StrictInt] | None = None
    init_from: _Parent | None = None


class _Plan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    target: dict[str, StrictInt | StrictFloat]
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    until: str | None = None


class _File(_Block):
    name: str
    task: str
    model: str = "mlp"
    task_options: dict[str, _Scalar] = {}
    grid: list[_Block] = []
    plan: _Plan | None = None
    trainer: dict[str, Any] = {}


def read_study(path: str | Path) -> Study:
    """Read a study from a TOML file.

    Raises:
        StudyError: the file cannot be read, a key is unknown (the near one is offered), a value is out of range, or the grid is
            empty. The message names the file and the key.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StudyError("there is no such file", str(path), "Give the path of a study's TOML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"the file cannot be read ({error})", str(path), "Give the path of a study's TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"not valid TOML: {error}", str(path), "Mend that line") from error
    return parse_study(content, str(path), path.parent)


def parse_study(content: Mapping[str, Any], where: str = "study", folder: Path | None = None) -> Study:
    """A study from the content of its TOML file, which lies in `folder`; `where` names it in messages. Raises StudyError."""
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        raise _explain(error, where) from error
    own = [file] if (file.scale or not file.grid) else []
    grids = [_grid(block, file, where) for block in (*own, *file.grid)]
    if sum(map(len, grids)) > LARGEST:
        raise StudyError(f"the grid has {sum(map(len, grids)):,} trials", where, f"Keep it under {LARGEST:,}")
    plan = file.plan
    target = {} if plan is None else _axes(dict(plan.target), SCALES, f"{where}: plan.target")
    return Study(
        file.name,
        file.task,
        tuple(grids),
        file.model,
        dict(file.task_options),
        {name: float(values[0]) for name, values in target.items()},
        None if plan is None else plan.budget,
        None if plan is None else plan.until,
        dict(file.trainer),
        Path() if folder is None else folder,
    )


def _grid(block: _Block, file: _File, where: str) -> Grid:
    scale = _axes(file.scale, SCALES, f"{where}: scale") | _axes(block.scale, SCALES, f"{where}: scale")
    place, known = f"{where}: hyperparameters", (*HYPERPARAMETERS, *_declared(file.trainer, f"{where}: trainer.names"))
    hyperparameters = _axes(file.hyperparameters, known, place) | _axes(block.hyperparameters, known, place)
    if not scale:
        raise StudyError("the grid is empty: no scale is given", where, "Add a [scale] table, for example width = [16, 32, 64]")
    seeds = file.seeds if block.seeds is None else block.seeds
    parent = file.init_from if block.init_from is None else block.init_from
    return Grid(scale, hyperparameters, _seeds(seeds, f"{where}: seeds"), parent and _parent(parent, file, f"{where}: init_from"))


def _parent(given: _Parent, file: _File, where: str) -> Parent:
    axes = (
        _axes(given.scale, SCALES, f"{where}.scale"),
        _axes(given.hyperparameters, HYPERPARAMETERS, f"{where}.hyperparameters"),
    )
    for name, values in itertools.chain.from_iterable(each.items() for each in axes):
        if len(values) > 1:
            raise StudyError(f"{name} has {len(values)} values", where, "Give one: a trial starts from one run")
    scale, hyperparameters = ({name: values[0] for name, values in each.items()} for each in axes)
    return Parent(given.task, given.model or file.model, scale, hyperparameters, dict(given.task_options), given.seed)


def _seeds(seeds: int | list[int] | None, where: str) -> tuple[int, ...]:
    if isinstance(seeds, int) and seeds > LARGEST:
        raise StudyError(f"{seeds:,} seeds are too many", where, f"Keep the whole grid under {LARGEST:,} trials")
    listed = [0] if seeds is None else list(range(seeds)) if isinstance(seeds, int) else seeds
    if not listed or min(listed) < 0:
        raise StudyError(
            f"the grid is empty or has a negative seed ({seeds})", where, "Give a count >= 1 or a list of seeds >= 0"
        )
    return tuple(dict.fromkeys(listed))


def _declared(trainer: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Hyperparameters that the trainer knows and notation does not: its `names`, and what stands in braces in its command."""
    names = trainer.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise StudyError(f"this is a list of names, not {names!r}", where, 'For example names = ["z_loss"]')
    for name in names:
        if (known := quantity(name)) is not None and known.kind is not Kind.HYPERPARAMETER:
            raise StudyError(f"{name!r} is no hyperparameter: {known.kind.value}", where, "Choose another name")
    texts = [trainer.get("command", ""), *_values_in(trainer.get("environment"))]
    words = itertools.chain.from_iterable(each if isinstance(each, list) else [each] for each in texts)
    found = itertools.chain(names, *(re.findall(r"\{([A-Za-z_]\w*)\}", word) for word in words if isinstance(word, str)))
    return tuple(name for name in dict.fromkeys(found) if quantity(name) is None)


def _values_in(table: Any) -> Iterable[Any]:
    return table.values() if isinstance(table, Mapping) else ()


def _axes(axes: Mapping[str, _Axis], known: Iterable[str], where: str) -> dict[str, Axis]:
    expanded: dict[str, Axis] = {}
    for name, axis in axes.items():
        each = quantity(name)
        column = name if each is None else each.column
        if column not in known:
            close = near(name, known)
            hint = f"Did you mean {close!r}? " if close else ""
            raise StudyError(f"unknown key {name!r}", where, f"{hint}Known: {', '.join(known)}")
        if column in expanded:
            raise StudyError(f"{name!r} and another key mean the same {column}", where, "Keep one of them")
        expanded[column] = _values(column, axis, f"{where}.{name}")
    return expanded


def _values(column: str, axis: _Axis, where: str) -> Axis:
    if isinstance(axis, _Range):
        values: Axis = log_spaced(axis.start, axis.to, axis.count)
    else:
        values = tuple(axis) if isinstance(axis, list) else (axis,)
    if not values:
        raise StudyError("the grid is empty: the list has no value", where, "Give at least one value")
    for value in values:
        _check(column, value, where)
    return tuple(dict.fromkeys(values))


def _check(column: str, value: Value, where: str) -> None:
    if column not in QUANTITIES:  # the trainer's own, which alone knows what will do
        if not isinstance(value, str) and not math.isfinite(value):
            raise StudyError(f"{column} = {value} is not finite", where, "Give a finite number, or a word")
        return
    if QUANTITIES[column].text:
        if not isinstance(value, str):
            raise StudyError(f"{column} is a word, not {value!r}", where, "Put it in quotes")
        return
    if isinstance(value, str) or not math.isfinite(value):
        raise StudyError(f"{column} is a number, not {value!r}", where, "Give a finite number")
    if value < 0 or (value == 0 and column not in _ZERO_ALLOWED):
        raise StudyError(f"{column} must be positive, not {value}", where, "Give a number above 0")
    if column in SCALES and column != "compute" and not float(value).is_integer():
        raise StudyError(f"{column} counts {QUANTITIES[column].unit}, so {value} will not do", where, "Give a whole number")


def _explain(error: ValidationError, where: str) -> StudyError:
    errors = error.errors()
    # A value may be a number, a list or a range; a table is judged as a range, whatever the other readings say of it.
    ranged = [each for each in errors if "_Range" in each["loc"] and not each["type"].startswith("model_")]
    # A misspelt key is told before the key that is missing because of it.
    first = min(ranged or errors, key=lambda each: each["type"] != "extra_forbidden")
    location = [str(part) for part in first["loc"]]
    key = location[-1] if location else ""
    named = [part for part in location if not part.startswith(("_", "int", "float", "str", "list["))]
    if first["type"] == "extra_forbidden":
        grid = "grid" in location[:-1]
        inner = {"_Range": _Range, "init_from": _Parent, "plan": _Plan}
        model = next((each for name, each in inner.items() if name in location[:-1]), _Block if grid else _File)
        names = [each.alias or name for name, each in model.model_fields.items()]
        close = near(key, names)
        place = f"{where}: {'.'.join(named[:-1])}" if named[:-1] else where
        return StudyError(f"unknown key {key!r}", place, f"Did you mean {close!r}?" if close else f"Known: {', '.join(names)}")
    path = ".".join(named)
    if first["type"] == "missing":
        return StudyError(f"the key {path!r} is missing", where, f"Add {key} = ...")
    return StudyError(f"{first['msg']} (got {first.get('input')!r})", f"{where}: {path}", "Mend that value")
