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
from .laws import Law
from .laws._jet import Jet, exp, log

__all__ = ["Evaluation", "Problem"]

Array: TypeAlias = NDArray[np.float64]


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
        other.__dict__["_rows"] = self._rows
        if self._rows is not None:
            other.__dict__.update({"_products": self._products, "_level": self._level})
        return other

    def phi(self, u: Array) -> Array:
        """The law's coordinates, `(..., p)`."""
        return self.offset + u @ self.basis.T

    def evaluate(self, u: Array, weight: Array | None = None, y: Array | None = None) -> Evaluation:
        """The objective at a batch `(B, q)`; `weight` and `y` default to the problem's own."""
        weight = self.weight if weight is None else weight
        y = self.y if y is None else y
        if self._rows is not None:
            return self._closed(u, weight, y)
        z, first, second = self.prediction(u)
        value, psi, bend = self._rho(y, z)
        psi, bend = psi * weight, bend * weight
        gradient = -np.einsum("bn,qbn->bq", psi, first)
        hessian = np.einsum("bn,qbn,rbn->bqr", bend, first, first) - np.einsum("bn,qrbn->bqr", psi, second)
        return Evaluation(np.sum(value * weight, axis=-1), gradient, hessian)

    def prediction(self, u: Array) -> tuple[Array, Array, Array]:
        """Prediction on the objective's scale with its derivatives in u: `(B, n)`, `(q, B, n)`, `(q, q, B, n)`."""
        batch, count = u.shape
        phi = self.phi(u)
        first = self.basis.T[:, None, None, :]
        p: dict[str, Any] = {}
        for place, item in enumerate(self.law.parameters):
            p[item.name] = Jet(phi[:, place, None], first[..., place])
        with np.errstate(all="ignore"):
            z = self._scaled(self.law.evaluate(p, self.x))
            shape = (batch, len(self.y))
            second = np.zeros((1, 1, 1, 1)) if z.second is None else z.second
            return (
                np.broadcast_to(z.value, shape),
                np.broadcast_to(z.first, (count, *shape)),
                np.broadcast_to(second, (count, count, *shape)),
            )

    def slopes(self, u: Array) -> tuple[Array, Array]:
        """Prediction `(n,)` and its derivatives `(q, n)` at one point `(q,)`."""
        if self._rows is None:
            z, first, _ = self.prediction(u[None, :])
            return z[0], first[:, 0]
        start, rows = self._rows
        terms = start + rows @ u
        z = np.logaddexp.reduce(terms, axis=0)
        share = np.exp(terms - z)
        slope = np.zeros((len(u), len(z)))
        for part, row in zip(share, rows, strict=True):
            slope += part * row.T
        return z, slope

    def residual(self, u: Array, y: Array | None = None) -> Array:
        """Residuals on the objective's scale, `(B, n)`."""
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

    def _rho(self, y: Array, z: Array | float) -> tuple[Array, Array, Array]:
        with np.errstate(all="ignore"):
            value, psi, bend = self.objective.rho(y - z)
        bad = ~np.isfinite(value)
        if bad.any():
            value = np.where(bad, np.inf, value)
        return value, psi, bend

    @cached_property
    def _rows(self) -> tuple[Array, Array] | None:
        """For a sum of terms: the logarithm of term t is start[t] + rows[t] @ u. Shapes `(T, n)`, `(T, n, q)`."""
        if not (self.law.terms and self.law.logarithmic and self.objective.log):
            return None
        places = {name: place for place, name in enumerate(self.law.names)}
        start = np.empty((len(self.law.terms), len(self.y)))
        rows = np.empty((*start.shape, self.basis.shape[1]))
        for begin, row, term in zip(start, rows, self.law.terms, strict=True):
            begin[:] = self.offset[places[term.coefficient]]
            row[:] = self.basis[places[term.coefficient]]
            for name, power in term.powers.items():
                begin -= self.offset[places[power]] * self.x[name]
                for column in np.flatnonzero(self.basis[places[power]]):
                    row[:, column] -= self.basis[places[power], column] * self.x[name]
        return start, rows

    @cached_property
    def _products(self) -> list[tuple[int, int, NDArray[np.intp], NDArray[np.intp], Array]]:
        """For each pair of terms the products of their non-zero columns, so that second moments are matrix products."""
        assert self._rows is not None
        _, rows = self._rows
        used = [np.flatnonzero(np.any(row != 0, axis=0)) for row in rows]
        result: list[tuple[int, int, NDArray[np.intp], NDArray[np.intp], Array]] = []
        for s in range(len(rows)):
            for t in range(s, len(rows)):
                left, right = used[s], used[t]
                if len(left) and len(right):
                    product = rows[s][:, left, None] * rows[t][:, None, right]
                    result.append((s, t, left, right, product.reshape(len(self.y), -1)))
        return result

    @cached_property
    def _level(self) -> list[bool]:
        """Which terms do not depend on the inputs: their logarithm is one number for all rows."""
        assert self._rows is not None
        return [bool(np.all(row == row[:1])) for row in self._rows[1]]

    def _closed(self, u: Array, weight: Array, y: Array) -> Evaluation:
        """ln f = logsumexp of affine terms: gradient and Hessian are moments of the terms' shares.

        Terms are divided by e^y before they are added, so the sum is e^-residual: near 1 wherever a fit can be.
        """
        assert self._rows is not None
        start, rows = self._rows
        batch, count = u.shape
        with np.errstate(all="ignore"):
            shares: list[Array] = []
            for begin, row, level in zip(start, rows, self._level, strict=True):
                if level:
                    shares.append(np.exp(u @ row[0])[:, None] * np.exp(begin - y))
                else:
                    term = u @ row.T
                    term += begin - y
                    shares.append(np.exp(term, out=term))
            total = shares[0] + shares[1] if len(shares) > 1 else shares[0]
            for share in shares[2:]:
                total = total + share
            value, psi, bend = self._rho(-np.log(total), 0.0)
            inverse = 1 / total
            for share in shares:
                share *= inverse
        psi, bend = psi * weight, bend * weight
        gradient = np.zeros((batch, count))
        hessian = np.zeros((batch, count, count))
        pulls = [psi * share for share in shares]
        for pull, row in zip(pulls, rows, strict=True):
            gradient -= pull @ row
        bend += psi
        outer = [bend * share for share in shares]
        for s, t, left, right, product in self._products:
            moment = outer[s] * shares[t]
            if s == t:
                moment -= pulls[s]
            block = (moment @ product).reshape(batch, len(left), len(right))
            hessian[:, left[:, None], right[None, :]] += block
            if s != t:
                hessian[:, right[:, None], left[None, :]] += block.swapaxes(1, 2)
        return Evaluation(np.einsum("...n,...n->...", value, np.broadcast_to(weight, value.shape)), gradient, hessian)
