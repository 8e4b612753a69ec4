"""Counts as people write them: 125M, 1.3B, 2 trillion, and columns such as `params (M)`."""

from __future__ import annotations

import re

from ..notation import quantity

__all__ = ["COUNTS", "count_in", "header_unit", "mapped_unit"]

# Quantities that are counted by the million. A context of 4k is 4096 or 4000: that is not guessed at.
COUNTS = frozenset({"parameters", "embedding_parameters", "tokens", "compute", "steps", "dataset_size"})
_FACTORS = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_UNIT = "|".join(sorted(_FACTORS, key=len, reverse=True))
_COUNT = re.compile(rf"\+?((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*({_UNIT})", re.IGNORECASE)
_HEADER = re.compile(rf"(.*\S)\s*[(\[]\s*({_UNIT})\w?\s*[)\]]", re.IGNORECASE)
_SUFFIX = re.compile(r"(.+)[_ ]([KMBT])")
_MAPPED = re.compile(rf"(.+):\s*({_UNIT})", re.IGNORECASE)


def count_in(text: str) -> float | None:
    """The count in `125M` or `1.3 billion`; None where it is none."""
    found = _COUNT.fullmatch(text.strip())
    return float(found[1]) * _FACTORS[found[2].lower()] if found else None


def header_unit(column: str) -> tuple[str, float]:
    """`params (M)` is (`params`, 1e6), `tokens_B` is (`tokens`, 1e9); any other name is itself, with factor 1."""
    found = _HEADER.fullmatch(column.strip()) or _SUFFIX.fullmatch(column.strip())
    if found is None or quantity(column) is not None:
        return column, 1.0
    known = quantity(found[1])
    return (found[1], _FACTORS[found[2].lower()]) if known is not None and known.column in COUNTS else (column, 1.0)


def mapped_unit(column: str) -> tuple[str, float]:
    """The column and factor of `--map tokens=seen:B`."""
    found = _MAPPED.fullmatch(column)
    return (found[1].strip(), _FACTORS[found[2].lower()]) if found else (column, 1.0)
