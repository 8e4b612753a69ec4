"""The law's floor against the entropy rate of a random language that is known exactly."""

from __future__ import annotations

from scalelaw import fit, frontier, load
from scalelaw.tasks import tasks

from .record import ROOT, Part

NAME = "entropy"


def parts() -> list[Part]:
    """One folder."""
    return [Part(ROOT / NAME)]


def tables() -> None:
    """The tuned losses, the floor E of the saturating law over the parameters with its interval, and what is known."""
    table = load(ROOT / NAME)
    edge = frontier(table, over="parameters")
    told = ", ".join(f"{loss:.4f}" for loss in edge.trials.numbers("loss"))
    found = fit("saturating", edge.trials, over="parameters")
    low, high = found.interval(0.9)["E"]
    truths = tasks["zipf_markov"].data({"context": 16}).truths
    rate, window = truths["entropy_rate"], truths["window_entropy"]
    print(f"Tuned losses, by size: {told}.\n")
    print(f"Floor of the saturating law: {found.theta['E']:.4f} ({low:.4f} to {high:.4f}, 90 %), {found.status.name}.")
    print(f"Entropy rate {rate:.4f}; mean entropy within a window of 16 tokens, which is what is trained on, {window:.4f} nats.")
    print(f"Inside: {'yes' if low <= rate <= high else 'no'} and {'yes' if low <= window <= high else 'no'}.\n")
