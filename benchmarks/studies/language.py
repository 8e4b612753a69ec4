"""The language ladder: byte-level transformers on Python's own source, parameters x tokens with rate and batch in every cell."""

from __future__ import annotations

from scalelaw import allocate, fit, frontier, load, optimum

from .record import ROOT, Part

NAME = "language"
OVER = ("parameters", "tokens")


def parts() -> list[Part]:
    """One folder, with its curves."""
    return [Part(ROOT / NAME, curves=True)]


def tables() -> None:
    """Chinchilla's law on the tuned frontier, the law of the best rate and batch, and how compute should be divided."""
    table = load(ROOT / NAME)
    edge = frontier(table, over=OVER)
    print(f"{len(table)} trials, {len(edge.trials)} cells of parameters x tokens, tuned over {', '.join(edge.hyper)}.\n")
    for name in ("chinchilla", "kaplan"):
        found = fit(name, edge.trials)
        told = ", ".join(f"{key} {value:.4g}" for key, value in found.theta.items())
        print(f"- {name}: {told} ({found.status.name})")
    laws = optimum(edge)
    print()
    for hyper in edge.hyper:
        law = laws[hyper]
        powers = [law.exponent(column) for column in OVER]
        told = ", ".join(
            f"{column}^{each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for column, each in zip(OVER, powers, strict=True)
        )
        print(f"- best {hyper}: {told}")
    compute = 10 * float(edge.trials.numbers("compute").max()) if "compute" in edge.trials else 1e13
    told = allocate(table, compute)
    print(f"\nDivision of {compute:.2g} FLOPs:\n")
    for each in told.to_dict()["approaches"]:
        reason = each["reason"] or f"{each['parameters']:.3g} parameters, {each['tokens']:.3g} tokens"
        print(f"- {each['name']}: {reason}")
    print()
