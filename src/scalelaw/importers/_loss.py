"""Which of a tracker's metrics is the loss that counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from ..errors import DataError, near
from ..notation import quantity

__all__ = ["choose", "loss_rank"]

_HELD_OUT = frozenset({"eval", "val", "valid", "validation", "test", "dev", "heldout"})
_LATE = frozenset({"test", "epoch", "final", "total"})
_PLAIN = frozenset(
    {"loss", "nll", "train", "training", "cross", "entropy", "ce", "lm", "step", "epoch", "avg", "mean", "total", "final"}
)


def loss_rank(name: str) -> tuple[int, int, int, str] | None:
    """How good a guess it is that a metric is the loss; lower is better, None where it is no loss by its name.

    Held-out losses come before training losses, plain names before long ones. A name with any other word in it, such as
    `z_loss`, is not guessed at.
    """
    words = {word for word in re.split(r"[^a-z]+", name.lower()) if word}
    if not words & {"loss", "nll"} or words - _PLAIN - _HELD_OUT:
        return None
    return (0 if words & _HELD_OUT else 1, len(words & _LATE), len(words), name)


def choose(names: Sequence[Collection[str]], asked: str | None, others: Sequence[str], source: str) -> tuple[str, list[str]]:
    """(the metric that is the loss, the other candidates).

    Args:
        names: of each run the metrics it has.
        asked: the name that the user gave.
        others: further columns that the user may have meant.

    Raises:
        DataError: no such metric, or none that looks like a loss.
    """
    count = Counter(name for each in names for name in each)
    ranked = sorted((name for name in count if loss_rank(name) is not None), key=lambda name: loss_rank(name) or (9, 9, 9, name))
    metrics = list(dict.fromkeys((*ranked, *sorted(count), *others)))
    listed = ", ".join(metrics[:30]) + (", ..." if len(metrics) > 30 else "")
    if asked is not None:
        if asked in metrics:
            return asked, [name for name in ranked if name != asked]
        known = quantity(asked)
        same = next((name for name in metrics if known is not None and quantity(name) is known), None)
        if same is not None:
            return same, [name for name in ranked if name != same]
        close = near(asked, metrics)
        hint = f"Did you mean {close!r}? The metrics are" if close else "The metrics are"
        raise DataError(f"there is no metric {asked!r} to take as loss", source, f"{hint}: {listed or 'none'}")
    if not ranked:
        mend = f"Name it with --map loss=NAME. The metrics are: {listed}" if metrics else "Check that the runs logged one"
        raise DataError("no metric is a loss by its name", source, mend)
    with_one = sum(any(name in each for name in ranked) for each in names)
    chosen = next((name for name in ranked if 2 * count[name] >= with_one), max(ranked, key=count.__getitem__))
    return chosen, [name for name in ranked if name != chosen]
