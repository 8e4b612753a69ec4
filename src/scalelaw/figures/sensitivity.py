"""Every answer that the silent choices of a fit can give, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from ._base import Axis, Figure, FigureData, Mark, Panel, Points, Ramp, Role, Tick
from ._scales import log_ticks, number, round_axis

if TYPE_CHECKING:
    from ..forecast import Forecast
    from ..sensitivity import Row, Sensitivity
    from ..trials import Trials
    from ..verdict import Verdict

__all__ = ["SensitivityFigure"]

_SHORT = {"chinchilla_shared": "shared"}


class SensitivityFigure(Figure):
    """See `summary`."""

    name = "sensitivity"
    summary = "The optimum under every combination of objective, law, parameter count and dropped points."

    def data(
        self,
        trials: Trials,
        *,
        forecast: Forecast | None = None,  # noqa: ARG002  (every figure takes it)
        verdicts: Iterable[Verdict] = (),  # noqa: ARG002  (every figure takes it)
        panel: Sensitivity | None = None,
    ) -> FigureData:
        """See `Figure.data`.

        Args:
            panel: what to draw; default the panel at ten times the largest compute of the trials.
        """
        from ..sensitivity import sensitivity

        finished = trials.finished
        if panel is None:
            c = (
                finished.numbers("compute")
                if "compute" in finished
                else 6 * finished.numbers("parameters") * finished.numbers("tokens")
            )
            panel = sensitivity(trials, 10 * float(np.nanmax(c)))
        if not panel.answered:
            raise DataError("no combination has an answer", trials.source, panel.rows[0].reason)
        laws = list(dict.fromkeys(row.law for row in panel.rows))
        factor = panel.spread["parameters"].factor
        title = f"{len(panel.answered)} fits of the same runs: N* within a factor {number(factor)}"
        other = f"At {number(panel.compute)} FLOPs, each point one combination of choices"
        panels = (
            _cloud(panel.answered, "exponent", "exponent a of N* ~ C^a", laws, (title, "a")),
            _cloud(panel.answered, "loss", "loss at the optimum", laws, (other, "b")),
        )
        return FigureData(self.name, title, panels, columns=2, description=self.summary)


def _cloud(rows: Sequence[Row], name: str, label: str, laws: Sequence[str], words: tuple[str, str]) -> Panel:
    x = np.array([row.parameters for row in rows], dtype=np.float64)
    y = np.array([getattr(row, name) for row in rows], dtype=np.float64)
    value = np.array([laws.index(row.law) for row in rows], dtype=np.float64)
    marks: list[Mark] = [
        Points(Role.RUN, _plain(x), _plain(y), values=_plain(value)),
        Points(
            Role.UNSEEN, (float(x[0]),), (float(y[0]),), label=f"{rows[0].law}, {rows[0].objective}, {rows[0].dropped} dropped"
        ),
    ]
    low, high = float(x.min()) / 1.3, float(x.max()) * 1.3
    ticks = tuple(Tick(float(place), _SHORT.get(law, law)) for place, law in enumerate(laws))
    ramp = Ramp("rate", "", -0.25, max(len(laws) - 0.75, 0.25), ticks=ticks)
    title, letter = words
    return Panel(
        name,
        title,
        Axis("compute-optimal parameters", low, high, "log", _ticks(low, high)),
        round_axis(label, _plain(y), room=0.06),
        tuple(marks),
        ramp,
        legend="lower right" if name == "exponent" else "lower left",
        letter=letter,
    )


def _ticks(low: float, high: float) -> tuple[Tick, ...]:
    """Ticks of a log axis, also where it spans less than a decade."""
    ticks = log_ticks(low, high)
    if len(ticks) > 2:
        return ticks
    power = 10.0 ** math.floor(math.log10(low))
    places = [power * factor for factor in (1, 1.5, 2, 3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80)]
    return tuple(Tick(place, number(place)) for place in places if low <= place <= high)


def _plain(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
