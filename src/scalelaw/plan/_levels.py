"""What is known of the best-case loss at each scale, and what a run there would tell of it at the targets.

The logarithms of the best case at the candidates' scales and at the targets are jointly normal, with the moments of the stacked
laws (`stack.py`), weights w_k, values m_k, derivatives J_k:

    P = sum_k w_k ( J_k' C_k J_k + (m_k - m)(m_k - m)' ) + scatter of scales + discrepancy

The discrepancy has the stack's variance kappa^2 r^2 at r nats beyond the data (that of tokens per parameter is left out) and the
correlation sqrt(r / r') between two distances: a run near the target says more of what the laws leave out than one near the data.
A run at scale c with noise variance v lowers the targets' variance by P_cT^2 / (P_cc + v).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..discrepancy import KAPPAS
from ..frontier import Frontier
from ..stack import Stack

__all__ = ["Levels"]

Array: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.intp]


class Levels:
    """Joint covariance of ln best-case loss at scales and targets, to which runs can be added in fantasy.

    Args:
        stack, edge: the laws, and the frontier they were fitted to.
        points, targets: scales.
    """

    def __init__(
        self, stack: Stack, edge: Frontier, points: Sequence[Mapping[str, float]], targets: Sequence[Mapping[str, float]]
    ) -> None:
        every = [*points, *targets]
        columns = {name: np.array([point[name] for point in every]) for name in stack.over}
        slopes = [member.slopes(columns) for member in stack.members]
        alive = [k for k, (value, _) in enumerate(slopes) if np.all(np.isfinite(value))]
        weights = stack.weights[alive] / stack.weights[alive].sum()
        value = np.stack([slopes[k][0] for k in alive])
        mean = weights @ value
        self._points, self.variance_of_run = len(points), max(edge.run_sd, 1e-3) ** 2
        joint = np.zeros((len(every), len(every)))
        for weight, k, each in zip(weights, alive, value, strict=True):
            J = slopes[k][1]
            joint += weight * (J.T @ stack.members[k].covariance @ J + np.outer(each - mean, each - mean))
        joint[np.diag_indices_from(joint)] += self._own(edge, every, weights @ [stack.members[k].scatter ** 2 for k in alive])
        self._joint = joint + self._discrepancy(stack, columns)

    @staticmethod
    def _own(edge: Frontier, points: Sequence[Mapping[str, float]], scatter: float) -> Array:
        """Variance of a scale's own departure from the laws: the scatter, less what its runs told of it."""
        measured = edge.scales
        error = np.nan_to_num(edge.trials.numbers("loss_se") / edge.trials.numbers("loss"), nan=np.inf) ** 2
        found = np.full(len(points), scatter)
        for n, point in enumerate(points):
            same = np.all(np.abs(measured - np.log([point[name] for name in edge.over])) < 1e-9, axis=1)
            if same.any():
                found[n] = 1.0 / (1.0 / scatter + 1.0 / max(float(error[same].min()), 1e-12))
        return found

    @staticmethod
    def _discrepancy(stack: Stack, columns: Mapping[str, Array]) -> Array:
        size = stack.inflation**2 * float(stack.chances.sum(axis=1) @ KAPPAS**2)
        r = stack.distance(columns)
        with np.errstate(divide="ignore", invalid="ignore"):
            likeness = np.sqrt(np.minimum.outer(r, r) / np.maximum.outer(r, r))
        return size * np.outer(r, r) * np.nan_to_num(likeness)

    @property
    def sd(self) -> Array:
        """Standard deviation at the candidates' scales, `(points,)`."""
        return np.sqrt(np.diag(self._joint)[: self._points])

    @property
    def variance(self) -> float:
        """Mean over the targets."""
        return float(np.mean(np.diag(self._joint)[self._points :]))

    def gains(self, cell: Places, share: Array) -> Array:
        """What one run at each candidate's scale takes from the mean variance, `(n,)`.

        Args:
            share: of a run at the best setting's information, `(n,)`: one far up the bowl, or that may fail, tells less.
        """
        toward = np.mean(self._joint[: self._points, self._points :] ** 2, axis=1)
        return share * toward[cell] / (share * np.diag(self._joint)[: self._points][cell] + self.variance_of_run)

    def add(self, cell: int, share: float) -> None:
        """Add one run in fantasy."""
        column = self._joint[:, cell].copy()
        self._joint -= share * np.outer(column, column) / (share * column[cell] + self.variance_of_run)
