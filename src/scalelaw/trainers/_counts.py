"""N, D and C of a trial that scalelaw did not train itself: given by the run, else by its scale, else derived."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..trial import TrialSpec
from ._formula import Formula

__all__ = ["GIVEN", "counts", "expected", "numbers"]

# What a run may tell of itself.
GIVEN = ("parameters", "embedding_parameters", "tokens", "compute")


def numbers(spec: TrialSpec) -> dict[str, float]:
    """The trial's numbers by name: scale, hyperparameters, the task's options."""
    tables = (spec.task_options, spec.hyperparameters, spec.scale)
    return {name: float(value) for values in tables for name, value in values.items() if not isinstance(value, str)}


def counts(spec: TrialSpec, given: Mapping[str, float], formula: Formula | None = None) -> dict[str, Any]:
    """N, D and C as fields of `Trial`, and how C was counted.

    Args:
        given: what the run told, of `GIVEN`. formula: the study's for C.

    D is steps x batch_size, and x context where that is a scale, if nobody gives it. C is the run's own, else the scale's, else
    the formula's, else 6 N D (Kaplan et al., 2001.08361); None where N or D are not known.
    """
    known = numbers(spec)
    told = {name: float(given[name]) if name in given else known.get(name) for name in GIVEN}
    derived = ""
    if told["tokens"] is None and "steps" in known and "batch_size" in known:
        told["tokens"] = known["steps"] * known["batch_size"] * known.get("context", 1.0)
        derived = f"; D = steps x batch_size{' x context' if 'context' in known else ''}"
    found = {**known, **{name: value for name, value in told.items() if value is not None}}
    compute, rule = told["compute"], "given by the run" if "compute" in given else "given as a scale"
    if compute is None and formula is not None and set(formula.names) <= found.keys():
        compute, rule = formula.value(found), f"the study's formula {formula.text}{derived if 'tokens' in formula.names else ''}"
    elif compute is None and formula is None and told["parameters"] is not None and told["tokens"] is not None:
        compute, rule = 6.0 * told["parameters"] * told["tokens"], f"6 N D{derived}"
    return {
        "parameters": _whole(told["parameters"]),
        "embedding_parameters": _whole(told["embedding_parameters"]),
        "tokens": told["tokens"],
        "compute": compute,
        "compute_rule": None if compute is None else rule,
    }


def expected(spec: TrialSpec, formula: Formula | None) -> float | None:
    """C before the trial is trained; None where it cannot be told yet.

    Raises:
        SpecError: the formula names what neither the trial has nor its run can tell.
    """
    found = counts(spec, {}, formula)["compute"]
    if found is None and formula is not None and not set(formula.names) <= {*numbers(spec), *GIVEN}:
        formula.value({**numbers(spec), **dict.fromkeys(GIVEN, 1.0)})
    return found


def _whole(value: float | None) -> int | None:
    return None if value is None or not math.isfinite(value) else round(value)
