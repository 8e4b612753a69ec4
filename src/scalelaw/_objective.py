"""What a fit minimises: small frozen objects, passed in. The sum over rows, never the mean.

A mean of Huber losses at delta = 1e-3 is about 1e-6 in size, which many optimisers take for converged at once; the sum is the
published objective, and the Newton solver's stopping rule does not depend on its size (docs/internals.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Absolute", "Huber", "LeastSquares", "Objective"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Objective(ABC):
    """sum_i w_i rho(r_i), with residual r = ln y - ln f where `log`, else y - f."""

    log: bool = True

    @abstractmethod
    def rho(self, r: Array) -> tuple[Array, Array, Array]:
        """rho(r), its slope psi and its bend, elementwise."""

    def weigh(self, r: Array, weight: Array) -> tuple[Array, Array, Array]:
        """The sum of weight * rho(r) over the last axis, and weight * slope and weight * bend of each residual, as new arrays."""
        value, psi, bend = self.rho(r)
        return np.einsum("...n,...n->...", value, np.broadcast_to(weight, r.shape)), psi * weight, bend * weight

    @property
    def delta(self) -> float:
        """Residual size from which a row's pull stops growing; infinite where it never does."""
        return np.inf

    @property
    def name(self) -> str:
        """What a person reads."""
        return f"{self._label()} of {'log residuals' if self.log else 'residuals'}, summed"

    @abstractmethod
    def _label(self) -> str: ...


@dataclass(frozen=True)
class LeastSquares(Objective):
    """rho = r^2 / 2."""

    def rho(self, r: Array) -> tuple[Array, Array, Array]:
        """See `Objective.rho`."""
        return 0.5 * r * r, r, np.ones_like(r)

    def _label(self) -> str:
        return "half squares"


@dataclass(frozen=True)
class Huber(Objective):
    """rho = r^2 / 2 up to |r| = width, width (|r| - width / 2) beyond (Huber 1964); width 1e-3 is Hoffmann et al. 2022."""

    width: float = 1e-3

    def rho(self, r: Array) -> tuple[Array, Array, Array]:
        """See `Objective.rho`."""
        psi = np.minimum(np.maximum(r, -self.width), self.width)
        return psi * (r - 0.5 * psi), psi, (np.abs(r) <= self.width).astype(np.float64)

    def weigh(self, r: Array, weight: Array) -> tuple[Array, Array, Array]:
        """See `Objective.weigh`."""
        psi = np.maximum(r, -self.width)
        np.minimum(psi, self.width, out=psi)
        bend = np.equal(psi, r, out=np.empty_like(psi), casting="unsafe")
        bend *= weight
        pull = psi * weight
        psi *= -0.5
        psi += r
        return np.einsum("...n,...n->...", pull, psi), pull, bend

    @property
    def delta(self) -> float:
        """The Huber width."""
        return self.width

    def _label(self) -> str:
        return f"Huber ({self.width:g})"


@dataclass(frozen=True)
class Absolute(Objective):
    """rho = |r|, rounded within 1e-6 of zero so that Newton's method sees its bend."""

    rounding: float = 1e-6

    def rho(self, r: Array) -> tuple[Array, Array, Array]:
        """See `Objective.rho`."""
        value, psi, bend = Huber(self.log, self.rounding).rho(r)
        return value / self.rounding, psi / self.rounding, bend / self.rounding

    @property
    def delta(self) -> float:
        """The rounding."""
        return self.rounding

    def _label(self) -> str:
        return "absolute values"
