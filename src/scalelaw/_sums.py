"""A sum of power terms in closed form: objective, gradient and Hessian as moments of the inputs, a block of rows at a time.

Term t is exp(c_t . (1, z)), with z the inputs' logarithms less their mean and c_t affine in the free coordinates u. With s_t the
share of term t in the sum, psi and kappa slope and bend of the objective at residual r,

    d/du   =  - sum_i w psi sum_t s_t c_t' (1, z)
    d2/du2 =    sum_i w (kappa + psi) sum_st s_s s_t [c_s' (1, z)] [c_t' (1, z)]' - w psi sum_t s_t [c_t' (1, z)] [c_t' (1, z)]'

so all that is summed over rows is sum_i a_i m_i, for weighted shares and their products a and monomials m of z up to degree two:
one matrix product. A block is small enough to stay in the processor's cache, which is worth a factor of three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._objective import Objective
from .laws import Law

__all__ = ["Sums"]

Array: TypeAlias = NDArray[np.float64]

# Measured: from 8,000 to 32,000 cells (resamples times rows) the cost of a cell differs by a few per cent.
_BLOCK = 16_384
# Below so many cells the number of calls matters, not the arithmetic.
_SMALL = 2_048


@dataclass(frozen=True, eq=False)
class Sums:
    """What the sum of terms needs of law, rows and coordinates. T terms, p inputs, q free coordinates, n rows.

    Args:
        monomials: `(n, m)`: 1, each z, each product of two z.
        start, slope: `(T, 1 + p)` and `(T, q, 1 + p)`; the coefficients of (1, z) in ln(term t) are start[t] + u @ slope[t].
        pairs: `(1 + p, 1 + p, m)`, one where the monomial is that product.
    """

    monomials: Array
    start: Array
    slope: Array
    pairs: Array

    @classmethod
    def of(cls, law: Law, x: Mapping[str, Array], offset: Array, basis: Array) -> Sums:
        """From a law with `terms`."""
        names = list(x)
        means = [float(np.mean(column)) for column in x.values()]
        size = 1 + len(names)
        places = {name: place for place, name in enumerate(law.names)}
        start, slope = np.zeros((len(law.terms), size)), np.zeros((len(law.terms), basis.shape[1], size))
        for t, term in enumerate(law.terms):
            start[t, 0] = offset[places[term.coefficient]]
            slope[t, :, 0] = basis[places[term.coefficient]]
            for name, power in term.powers.items():
                k, place = names.index(name), places[power]
                start[t, [0, k + 1]] -= offset[place] * np.array([means[k], 1.0])
                slope[t][:, [0, k + 1]] -= basis[place][:, None] * np.array([means[k], 1.0])
        columns = [np.ones(len(x[names[0]])), *(x[name] - mean for name, mean in zip(names, means, strict=True))]
        products = [(a, b) for a in range(1, size) for b in range(a, size)]
        pairs = np.zeros((size, size, size + len(products)))
        for a in range(size):
            pairs[0, a, a] = pairs[a, 0, a] = 1.0
        for place, (a, b) in enumerate(products, size):
            pairs[a, b, place] = pairs[b, a, place] = 1.0
        monomials = np.stack([*columns, *(columns[a] * columns[b] for a, b in products)], axis=1)
        return cls(monomials, start, slope, pairs)

    def slopes(self, u: Array) -> tuple[Array, Array]:
        """ln(sum) `(n,)` and its derivatives `(q, n)` at one point `(q,)`."""
        inputs = self._linear[: self.start.shape[1]]
        terms = (self.start + u @ self.slope) @ inputs
        z = np.logaddexp.reduce(terms, axis=0)
        first = np.zeros((len(u), len(z)))
        for term, slope in zip(terms, self.slope, strict=True):
            first += np.exp(term - z) * (slope @ inputs)
        return z, first

    def residual(self, u: Array, y: Array) -> Array:
        """y - ln(sum), `(B, n)`."""
        return self._shares(self.start[:, None] + np.matmul(u, self.slope), y, slice(None))[1]

    def evaluate(
        self, u: Array, objective: Objective, weight: Array, y: Array, rows: NDArray[np.intp] | None = None
    ) -> tuple[Array, Array, Array]:
        """Value `(B,)`, gradient `(q, B)` and Hessian `(q, q, B)` of the objective of y - ln(sum).

        Args:
            u: `(B, q)`.
            objective: of the residuals.
            weight, y: `(n,)`, or one row `(n,)` for each of B.
            rows: which rows of a two-dimensional `weight` or `y` belong to u; default all, in order.
        """
        batch, count = u.shape
        affine = self.start[:, None] + np.matmul(u, self.slope)
        if batch > 1 and weight.ndim == 2 and y.ndim == 1 and np.all(u == u[0]):
            value, moments = self._at_one_point(affine[:, :1], objective, weight if rows is None else weight[rows], y)
        else:
            value, moments = self._blocks(affine, objective, weight, y, rows)
        both = self._expand @ moments.transpose(0, 2, 1).reshape(-1, batch)
        return np.where(np.isfinite(value), value, np.inf), both[:count], both[count:].reshape(count, count, batch)

    def _blocks(
        self, affine: Array, objective: Objective, weight: Array, y: Array, rows: NDArray[np.intp] | None
    ) -> tuple[Array, Array]:
        """Value `(B,)` and moments `(K, B, m)`, block by block."""
        batch, total = affine.shape[1], len(self.monomials)
        width = min(total, _BLOCK)
        height = max(1, _BLOCK // width)
        if height >= batch and width == total:
            if rows is not None:
                weight, y = (each if each.ndim == 1 else each[rows] for each in (weight, y))
            return self._block(affine, objective, weight, y, slice(None))
        value, moments = np.zeros(batch), np.zeros((len(self._expand.T) // self.pairs.shape[2], batch, self.pairs.shape[2]))
        for top in range(0, batch, height):
            some = slice(top, top + height)
            pick = some if rows is None else rows[some]
            for left in range(0, total, width):
                part = slice(left, left + width)
                w = weight[part] if weight.ndim == 1 else weight[pick, part]
                target = y[part] if y.ndim == 1 else y[pick, part]
                amount, sums = self._block(affine[:, some], objective, w, target, part)
                value[some] += amount
                moments[:, some] += sums
        return value, moments

    def _block(self, affine: Array, objective: Objective, weight: Array, y: Array, part: slice) -> tuple[Array, Array]:
        """Value `(b,)` and moments `(K, b, m)` of some starts over some rows."""
        share, r = self._shares(affine, y, part)
        value, pull, bend = objective.weigh(r, weight)
        bend += pull
        products = self._products(share, pull, bend)
        flat = products.reshape(-1, products.shape[2]) @ self.monomials[part]
        return value, flat.reshape(len(products), -1, flat.shape[1])

    def _at_one_point(self, affine: Array, objective: Objective, weight: Array, y: Array) -> tuple[Array, Array]:
        """The same where every problem stands at the same point: only weights differ, and they enter linearly."""
        share, r = self._shares(affine, y, slice(None))
        rho, psi, bend = objective.rho(r)
        products = self._products(share, psi, bend + psi)[:, 0]
        table = (products[:, :, None] * self.monomials).transpose(1, 0, 2).reshape(len(self.monomials), -1)
        moments = (weight @ table).reshape(len(weight), len(products), -1).transpose(1, 0, 2)
        return weight @ rho[0], moments

    def _shares(self, affine: Array, y: Array, part: slice) -> tuple[Array, Array]:
        """Shares `(T, b, n)` of the terms in the sum, and the residuals y - ln(sum).

        Terms are divided by e^y before they are added: then the sum is e^-residual, which is near 1 wherever a fit can be.
        """
        linear = self._linear[:, part]
        if affine.shape[1] * linear.shape[1] <= _SMALL:
            terms = np.matmul(affine, linear)
            terms -= y
            np.exp(terms, out=terms)
            total = terms.sum(axis=0)
        else:
            terms = np.empty((*affine.shape[:2], linear.shape[1]))
            for t in range(len(terms)):
                term: Array = terms[t, :, :]
                if self._constant[t]:
                    np.multiply(np.exp(affine[t, :, :1]), np.exp(-y), out=term)
                    continue
                np.matmul(affine[t], linear, out=term)
                term -= y
                np.exp(term, out=term)
            total = terms[0] + terms[1] if len(terms) > 1 else terms[0].copy()
            for term in terms[2:]:
                total += term
        r = np.log(total)
        terms *= np.divide(1.0, total, out=total)
        return terms, np.negative(r, out=r)

    def _products(self, share: Array, pull: Array, bend: Array) -> Array:
        """Shares times pull `(T, b, n)`, then products of two shares times bend, the pairs in order."""
        count = len(share)
        result = np.empty((count + count * (count + 1) // 2, *share.shape[1:]))
        np.multiply(share, pull, out=result[:count])
        place = count
        for s in range(count):
            last = place + count - s
            np.multiply(share[s:], share[s] * bend, out=result[place:last])
            place = last
        return result

    @cached_property
    def _linear(self) -> Array:
        """(1, z), `(1 + p, n)`."""
        return np.ascontiguousarray(self.monomials[:, : self.start.shape[1]].T)

    @cached_property
    def _constant(self) -> list[bool]:
        """Which terms are one number for all rows."""
        return [not (np.any(begin[1:]) or np.any(slope[:, 1:])) for begin, slope in zip(self.start, self.slope, strict=True)]

    @cached_property
    def _expand(self) -> Array:
        """From the K * m sums over rows to gradient and Hessian, `(q + q * q, K * m)`."""
        terms, count, size = self.slope.shape
        monomials = self.pairs.shape[2]
        kinds = terms + terms * (terms + 1) // 2
        gradient = np.zeros((count, kinds, monomials))
        hessian = np.zeros((count, count, kinds, monomials))
        place = terms
        for s in range(terms):
            gradient[:, s, :size] = -self.slope[s]
            half = (self.slope[s] @ self.pairs.reshape(size, -1)).reshape(count, size, monomials)
            for t in range(s, terms):
                product = np.matmul(self.slope[t], half)
                if s == t:
                    hessian[:, :, s] = -product
                    hessian[:, :, place] = product
                else:
                    hessian[:, :, place] = product + product.swapaxes(0, 1)
                place += 1
        width = kinds * monomials
        return np.concatenate([gradient.reshape(count, width), hessian.reshape(count * count, width)])
