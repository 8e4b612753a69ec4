"""The width study: one task, widths over three decades, every rate, three seeds."""

from __future__ import annotations

import numpy as np

from scalelaw import Trials, fit, forecast, kept_setting, load

from .record import ROOT, Part

NAME = "width"


def parts() -> list[Part]:
    """One folder."""
    return [Part(ROOT / NAME)]


def tables() -> None:
    """Best rate and loss at every width; what the smaller widths foretold of the largest."""
    table = load(ROOT / NAME)
    widths = np.unique(table.numbers("width"))
    kept = kept_setting(table.where(f"width <= {widths[-4]:g}"))["learning_rate"]
    best: dict[float, float] = {}
    print(f"Kept from the middle widths up to {widths[-4]:g}: {kept:.3g}.\n")
    print("| width | best rate | loss there, mean of seeds | loss at the kept rate | excess of keeping |\n|---|---|---|---|---|")
    for width in widths:
        means = _means(table, float(width))
        rate = min(means, key=lambda each: means[each])
        best[float(width)] = means[rate]
        stayed = means.get(kept)
        told = "diverged | " if stayed is None else f"{stayed:.4f} | {stayed - means[rate]:.4f}"
        print(f"| {width:g} | {rate:.3g} | {means[rate]:.4f} | {told} |")
    top = float(widths[-1])
    print(
        "\n| from widths up to | loss at the largest when tuned | 90 % | measured | its best rate | 90 % | law at the kept rate |"
    )
    print("|---|---|---|---|---|---|---|")
    for most in (float(widths[-5]), float(widths[-4]), float(widths[-3])):
        small = table.where(f"width <= {most:g}")
        found = forecast(small, {"width": top})
        line = fit("log_linear", small.finished.where(f"learning_rate == {kept!r}"), over="width").predict({"width": top})
        rate = found.optimum["learning_rate"]
        print(
            f"| {most:g} | {found.loss:.3f} | {found.low:.3f} to {found.high:.3f} | {best[top]:.3f} "
            f"| {rate.value:.3g} | {rate.low:.3g} to {rate.high:.3g} | {float(np.squeeze(line)):.3f} |"
        )
    print()


def _means(table: Trials, width: float) -> dict[float, float]:
    """Mean loss of each rate whose seeds all finished."""
    rows = table.where(f"width == {width:g}")
    found: dict[float, float] = {}
    for (rate,), part in rows.groups(["learning_rate"]):
        losses = part.numbers("loss")
        if np.isfinite(losses).all():
            found[float(rate)] = float(losses.mean())
    return found
