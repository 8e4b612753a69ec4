"""The objective of one fit as a function of its free coordinates u, with exact gradient and Hessian, in batches.

Coordinates: the law's own are phi (logarithms of the positive parameters, the others as they are); phi = offset + basis @ u.
The basis carries fixed parameters (no column), tied ones (a shared column), and a centring of each term's inputs, which takes
most of the correlation between a coefficient and its exponent away. A batch of B vectors u may have its own weights `(B, n)` and
its own outcomes `(B, n)`: bootstrap refits are one call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._objective import Objective
from ._sums import Sums
from .laws import Law
from .laws._jet import Jet, exp, log

__all__ = ["Evaluation", "Problem"]

Array: TypeAlias = NDArray[np.float64]

# Starts times rows that are evaluated at once where derivatives are carried along: their second derivatives stay in the cache.
_BLOCK = 512


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Value `(B,)`, gradient `(B, q)` and Hessian `(B, q, q)` of the objective."""

    value: Array
    gradient: Array
    hessian: Array


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, law and objective of one fit.

    Args:
        law: the formula.
        x: logarithm of each input, `(n,)`, by the law's input name.
        y: outcome on the objective's scale (its logarithm where `objective.log`), `(n,)`.
        weight: of each row, `(n,)`.
        objective: what is summed.
        offset, basis: phi = offset + basis @ u, `(p,)` and `(p, q)`.
        lower, upper: bounds of u, `(q,)`.
        floor: coordinate of u that stands for a parameter of exactly 0, `(q,)`.
    """

    law: Law
    x: Mapping[str, Array]
    y: Array
    weight: Array
    objective: Objective
    offset: Array
    basis: Array
    lower: Array
    upper: Array
    floor: Array

    def under(self, objective: Objective) -> Problem:
        """The same problem with another objective on the same scale; shares what was computed from the rows."""
        other = replace(self, objective=objective)
        other.__dict__["_sums"] = self._sums
        return other

    @cached_property
    def inverse(self) -> Array:
        """Pseudo-inverse of the basis: from the law's coordinates to u, `(q, p)`."""
        return np.asarray(np.linalg.pinv(self.basis), dtype=np.float64)

    def phi(self, u: Array) -> Array:
        """The law's coordinates, `(..., p)`."""
        return self.offset + u @ self.basis.T

    def evaluate(
        self, u: Array, weight: Array | None = None, y: Array | None = None, rows: NDArray[np.intp] | None = None
    ) -> Evaluation:
        """The objective at a batch `(B, q)`; `weight` and `y` default to the problem's own.

        `rows` says which rows of a `weight` or `y` of two dimensions belong to u; default all of them, in order.
        """
        weight = self.weight if weight is None else weight
        y = self.y if y is None else y
        if self._sums is not None:
            value, gradient, hessian = self._sums.evaluate(u, self.objective, weight, y, rows)
            return Evaluation(value, gradient.T, hessian.transpose(2, 0, 1))
        batch, count = u.shape
        total, gradient, hessian = np.zeros(batch), np.zeros((batch, count)), np.zeros((batch, count, count))
        width = min(len(self.y), _BLOCK)
        height = max(1, _BLOCK // width)
        for top in range(0, batch, height):
            some = slice(top, top + height)
            pick = some if rows is None else rows[some]
            for left in range(0, len(self.y), width):
                part = slice(left, left + width)
                z, first, second = self.prediction(u[some], part)
                target, amount = (each[part] if each.ndim == 1 else each[pick, part] for each in (y, weight))
                value, pull, bend = self.objective.weigh(target - z, amount)
                total[some] += value
                gradient[some] -= np.einsum("bn,qbn->bq", pull, first)
                turned = first.transpose(1, 0, 2)
                hessian[some] += np.matmul(turned * bend[:, None, :], turned.transpose(0, 2, 1))
                hessian[some] -= np.einsum("bn,qrbn->bqr", pull, second)
        return Evaluation(np.where(np.isfinite(total), total, np.inf), gradient, hessian)

    def prediction(self, u: Array, part: slice = slice(None)) -> tuple[Array, Array, Array]:
        """Prediction on the objective's scale with its derivatives in u: `(B, n)`, `(q, B, n)`, `(q, q, B, n)`.

        `part` restricts it to some of the rows.
        """
        batch, count = u.shape
        phi = self.phi(u)
        first = self.basis.T[:, None, None, :]
        p: dict[str, Any] = {}
        for place, item in enumerate(self.law.parameters):
            p[item.name] = Jet(phi[:, place, None], first[..., place])
        x = {name: column[part] for name, column in self.x.items()}
        with np.errstate(all="ignore"):
            z = self._scaled(self.law.evaluate(p, x))
            shape = (batch, len(self.y[part]))
            second = np.zeros((1, 1, 1, 1)) if z.second is None else z.second
            return (
                np.broadcast_to(z.value, shape),
                np.broadcast_to(z.first, (count, *shape)),
                np.broadcast_to(second, (count, count, *shape)),
            )

    def slopes(self, u: Array) -> tuple[Array, Array]:
        """Prediction `(n,)` and its derivatives `(q, n)` at one point `(q,)`."""
        if self._sums is not None:
            return self._sums.slopes(u)
        z, first, _ = self.prediction(u[None, :])
        return z[0], first[:, 0]

    def residual(self, u: Array, y: Array | None = None) -> Array:
        """Residuals on the objective's scale, `(B, n)`."""
        if self._sums is not None:
            with np.errstate(all="ignore"):
                return self._sums.residual(u, self.y if y is None else y)
        phi = self.phi(u)
        p = {item.name: phi[:, place, None] for place, item in enumerate(self.law.parameters)}
        with np.errstate(all="ignore"):
            return (self.y if y is None else y) - self._scaled(self.law.evaluate(p, self.x))

    def objective_at(self, u: Array) -> Array:
        """The objective alone at a batch `(B, q)`: infinite where the law has no value."""
        with np.errstate(all="ignore"):
            value = self.objective.rho(self.residual(u))[0] @ self.weight
        return np.where(np.isfinite(value), value, np.inf)

    def _scaled(self, z: Any) -> Any:
        if self.law.logarithmic == self.objective.log:
            return z
        return log(z) if self.objective.log else exp(z)

    @cached_property
    def _sums(self) -> Sums | None:
        """The closed form, where the law is a sum of terms and is fitted on its logarithm."""
        if not (self.law.terms and self.law.logarithmic and self.objective.log):
            return None
        return Sums.of(self.law, self.x, self.offset, self.basis)
