"""The contract of a law, for this package's laws and for a plug-in's: `check_law(MyLaw())`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..fit import Fit, FitStatus, fit
from ..laws import Law
from ..laws._jet import Jet

__all__ = ["Points", "check_derivatives", "check_description", "check_law", "check_recovery"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """The least table a fit accepts: named columns of equal length."""

    columns: Mapping[str, Array]

    def numbers(self, name: str) -> Array:
        """A column."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def check_law(law: Law) -> None:
    """Everything a law promises.

    Raises:
        AssertionError: naming the promise that is broken.
    """
    check_description(law)
    check_derivatives(law)
    check_recovery(law)


def check_description(law: Law) -> None:
    """It has a formula whose symbols are explained, a reference, and an example inside its bounds."""
    assert law.formula, f"{law.name}: no formula"
    assert law.reference, f"{law.name}: no reference"
    assert type(law).__doc__, f"{law.name}: no docstring"
    words = set(re.findall(r"[A-Za-z]\w*", law.formula))
    for item in law.parameters:
        assert item.name in law.symbols, f"{law.name}: the symbol map leaves out {item.name}"
        assert item.name in words, f"{law.name}: the formula does not show {item.name}"
        assert item.meaning, f"{law.name}: {item.name} has no meaning"
        value = law.example.theta[item.name]
        assert item.lower <= value <= item.upper, f"{law.name}: the example's {item.name} is out of bounds"
        assert item.linear or len(item.grid) > 1, f"{law.name}: {item.name} is neither linear nor scanned"
    assert set(law.example.theta) == set(law.names), f"{law.name}: the example has other parameters"
    assert set(law.example.x) == set(law.inputs), f"{law.name}: the example has other inputs"
    assert len({len(column) for column in law.example.x.values()}) == 1, f"{law.name}: ragged example"


def check_derivatives(law: Law, tolerance: float = 2e-6) -> None:
    """First and second derivatives of `evaluate` agree with central differences at the example."""
    x = {name: np.log(column) for name, column in law.example.x.items()}
    centre = np.array([float(item.inner(np.float64(law.example.theta[item.name]))) for item in law.parameters])

    def jet(at: Array) -> Jet:
        p = {item.name: Jet(at[k : k + 1], np.eye(len(at))[:, k : k + 1]) for k, item in enumerate(law.parameters)}
        return law.evaluate(p, x)

    def plain(at: Array) -> Array:
        return law.evaluate({item.name: at[k : k + 1] for k, item in enumerate(law.parameters)}, x)

    shape = (len(centre), len(next(iter(x.values()))))
    here = jet(centre)
    assert np.allclose(here.value, plain(centre), rtol=1e-13, atol=1e-13), f"{law.name}: value of the jet"
    first = np.broadcast_to(here.first, shape)
    second = np.broadcast_to(0.0 if here.second is None else here.second, (len(centre), *shape))
    step = 1e-5
    for k in range(len(centre)):
        ahead, behind = centre.copy(), centre.copy()
        ahead[k] += step
        behind[k] -= step
        slope = (plain(ahead) - plain(behind)) / (2 * step)
        assert np.allclose(first[k], slope, rtol=tolerance, atol=tolerance), f"{law.name}: slope in {law.names[k]}"
        bend = (np.broadcast_to(jet(ahead).first, shape) - np.broadcast_to(jet(behind).first, shape)) / (2 * step)
        assert np.allclose(second[k], bend, rtol=tolerance, atol=tolerance), f"{law.name}: bend in {law.names[k]}"


def check_recovery(law: Law, tolerance: float = 1e-6) -> Fit:
    """From its own predictions the law finds its example again, to `tolerance` relative."""
    bound = law.over(law.columns or tuple(law.inputs))
    data = dict(zip(bound.columns, law.example.x.values(), strict=True))
    found = fit(bound, Points({**data, law.output: law.predict(law.example.theta, law.example.x)}))
    assert found.status is FitStatus.CONVERGED, f"{law.name}: {found.message}"
    for name, truth in law.example.theta.items():
        error = abs(found.theta[name] - truth) / max(abs(truth), 1e-3)
        assert error <= tolerance, f"{law.name}: {name} = {found.theta[name]!r}, not {truth!r}"
    return found
