"""A study as the text of its TOML file: what `read_study` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .study import Parent, Study
from .trial import Value

__all__ = ["study_text"]


def study_text(study: Study, comment: Sequence[str] = ()) -> str:
    """The study file; `comment` lines stand at its head. Reading it gives the same specs."""
    lines = ["# " + "".join(c if c.isprintable() else " " for c in each) for each in comment]
    lines += [f"name = {_value(study.name)}", f"task = {_value(study.task)}", f"model = {_value(study.model)}"]
    lines += _table("task_options", study.task_options)
    lines += _table("trainer", study.trainer)
    if study.target:
        goal = {"target": dict(study.target), "until": study.until, "budget": study.budget}
        lines += _table("plan", {name: value for name, value in goal.items() if value is not None})
    for grid in study.grids:
        lines += ["", "[[grid]]", f"seeds = {_value(list(grid.seeds))}"]
        lines.append(f"scale = {_inline({name: _axis(values) for name, values in grid.scale.items()})}")
        lines.append(f"hyperparameters = {_inline({name: _axis(values) for name, values in grid.hyperparameters.items()})}")
        if grid.init_from is not None:
            lines.append(f"init_from = {_inline(_parent(grid.init_from))}")
    return "\n".join(lines) + "\n"


def _parent(parent: Parent) -> dict[str, Any]:
    found: dict[str, Any] = {"task": parent.task, "model": parent.model, "seed": parent.seed}
    tables = {"scale": parent.scale, "hyperparameters": parent.hyperparameters, "task_options": parent.task_options}
    return {**found, **{name: dict(table) for name, table in tables.items() if table}}


def _axis(values: Sequence[Value]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _table(name: str, values: Mapping[str, Any]) -> list[str]:
    return ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in values.items())] if values else []


def _inline(values: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in values.items()) + " }" if values else "{}"


def _value(value: Any) -> str:
    """TOML's strings, numbers and lists are JSON's, but that it takes no bare DEL."""
    if isinstance(value, Mapping):
        return _inline(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
