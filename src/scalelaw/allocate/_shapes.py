"""Shapes that a model can have: a list of sizes, or a family of decoder-only transformers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import InputError
from ._runs import Count

__all__ = ["Family", "Shape", "Shapes", "read_shapes"]

# Widths over depth that published models have, GPT-2 XL (33) to PaLM 540B (156), and where most large ones lie.
_ASPECTS, USUAL_ASPECT = (32.0, 160.0), 100.0
_HEAD_WIDTHS = (64, 128)
_LEAST, _WIDE, _WIDEST = 64, 1024, 32_768
_HOW = 'transformer; sizes, 7e9,13e9; or what is allowed, "width=1024:8192:128,depth=16/24/32,heads=8/16,vocabulary=50257"'


@dataclass(frozen=True)
class Shape:
    """One model: N as the allocation counts it, and its width, depth and heads where they are known."""

    parameters: float
    width: int | None = None
    depth: int | None = None
    heads: int | None = None

    @property
    def aspect(self) -> float | None:
        """Width over depth."""
        return self.width / self.depth if self.width and self.depth else None


@dataclass(frozen=True)
class Family:
    """Decoder-only transformers of width d, depth l and an MLP of 4 d, without biases:

        N = 12 l d^2 + (2 l + 1) d,   and m V d more where embeddings are counted

    (Kaplan et al. 2020, arXiv:2001.08361, table 1, with the gains of the norms.) They are counted where the data count them,
    and where the data do not say and a vocabulary is given.

    Args:
        widths: d; default the multiples of 64 up to 1024, and of 128 up to 32768.
        depths: l; default every depth that makes d / l from 32 to 160.
        heads: numbers of heads; default those that make heads 64 or 128 wide. A number of heads divides its width.
        vocabulary: V; 0 where it is not known.
        tied: m is 1, else 2.
    """

    widths: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    vocabulary: int = 0
    tied: bool = False

    def near(self, parameters: float, count: Count) -> tuple[Shape, ...]:
        """The shape nearest to N at every width.

        Raises:
            InputError: N counts embeddings and the vocabulary is not known, or no width can be divided into heads.
        """
        if count is Count.TOTAL and not self.vocabulary:
            raise InputError(
                "N counts embeddings and the vocabulary is not known", "shapes", "Add vocabulary=50257 to the shapes"
            )
        rows = 0 if count is Count.PARAMETERS else (1 if self.tied else 2) * self.vocabulary
        found = [self._at(width, parameters, rows) for width in self.widths or _every_width()]
        shapes = tuple(each for each in found if each is not None)
        if not shapes:
            heads = ", ".join(map(str, self.heads)) or "heads 64 or 128 wide"
            raise InputError(f"no width can be divided into {heads}", "shapes", "Allow other widths or numbers of heads")
        return shapes

    def usual(self, parameters: float, count: Count) -> Shape:
        """The shape of the most usual aspect among those within 10 % of N, or the nearest where none is as near."""
        near = self.near(parameters, count)
        away = [abs(math.log(each.parameters / parameters)) for each in near]
        least = max(min(away), math.log(1.1))
        fit = [each for each, far in zip(near, away, strict=True) if far <= least]
        return min(fit, key=lambda each: abs(math.log((each.aspect or 1.0) / USUAL_ASPECT)))

    def _at(self, width: int, parameters: float, rows: int) -> Shape | None:
        heads = self._heads(width)
        if heads is None:
            return None

        def size(depth: int) -> int:
            return 12 * depth * width**2 + (2 * depth + 1) * width + rows * width

        if self.depths:
            depths: Iterable[int] = self.depths
        else:
            low, high = max(math.ceil(width / _ASPECTS[1]), 1), max(math.floor(width / _ASPECTS[0]), 1)
            wanted = (parameters - (rows + 1) * width) / (12 * width**2 + 2 * width)
            depths = (min(max(each, low), high) for each in (math.floor(wanted), math.ceil(wanted)))
        best = min(depths, key=lambda depth: abs(math.log(size(depth) / parameters)))
        return Shape(float(size(best)), width, best, heads)

    def _heads(self, width: int) -> int | None:
        """The number whose heads are nearest to the usual width; None where none divides the width."""
        usual = _HEAD_WIDTHS[width >= _WIDE]
        allowed = self.heads or tuple(width // each for each in _HEAD_WIDTHS if width % each == 0)
        # Widths that somebody names may be narrower than any usual head.
        fitting = [each for each in allowed or (max(round(width / usual), 1),) if width % each == 0]
        return min(fitting, key=lambda each: (abs(math.log(width / each / usual)), each), default=None)


Shapes: TypeAlias = "str | Sequence[float] | Family"


def _every_width() -> Iterable[int]:
    yield from range(_LEAST, _WIDE + 1, 64)
    yield from range(_WIDE + 128, _WIDEST + 1, 128)


def read_shapes(shapes: Shapes) -> Family | tuple[Shape, ...]:
    """Shapes from what a user gives.

    Args:
        shapes: a `Family`, a list of N, or text: `transformer`; `7e9,13e9`; or keys width, depth, heads (values parted by "/",
            ranges as low:high:step), vocabulary and embeddings (tied or untied), parted by commas.

    Raises:
        InputError: it means nothing.
    """
    if isinstance(shapes, Family):
        _whole((*shapes.widths, *shapes.depths, *shapes.heads), "a width, depth or number of heads")
        return shapes
    if isinstance(shapes, str):
        text = shapes.strip()
        if text == "transformer":
            return Family()
        if "=" in text:
            return read_shapes(_family(text))
        shapes = [_number(each, text) for each in text.split(",")]
    sizes = sorted({float(each) for each in shapes})
    if not sizes or not all(each > 0 and math.isfinite(each) for each in sizes):
        raise InputError("a size is not a positive number" if sizes else "no size is given", "shapes", f"Give {_HOW}")
    return tuple(Shape(each) for each in sizes)


def _family(text: str) -> Family:
    given: dict[str, str] = {}
    for part in text.split(","):
        key, _, value = (each.strip() for each in part.partition("="))
        if key not in ("width", "depth", "heads", "vocabulary", "embeddings") or not value or key in given:
            raise InputError(f"cannot read {part.strip()!r}", "shapes", f"Give {_HOW}")
        given[key] = value
    embeddings = given.get("embeddings", "untied")
    if embeddings not in ("tied", "untied"):
        raise InputError(f"embeddings are {embeddings!r}", "shapes", "Give embeddings=tied or embeddings=untied")
    widths, depths, heads, vocabulary = (
        _axis(given[key], text) if key in given else () for key in ("width", "depth", "heads", "vocabulary")
    )
    return Family(widths, depths, heads, max(vocabulary, default=0), embeddings == "tied")


def _axis(text: str, where: str) -> tuple[int, ...]:
    values: list[int] = []
    for part in text.split("/"):
        numbers = [_number(each, where) for each in part.split(":")]
        low, *rest = _whole(numbers, "a value")
        if len(rest) > 2 or (rest and rest[0] < low):
            raise InputError(f"cannot read {part!r}", "shapes", "A range is low:high:step, for example width=1024:8192:128")
        high, step = rest[0] if rest else low, rest[1] if len(rest) == 2 else 1
        if (high - low) // step > 10_000:
            raise InputError(f"{part!r} holds more than 10,000 values", "shapes", "Take a larger step: low:high:step")
        values += range(low, high + 1, step)
    return tuple(dict.fromkeys(values))


def _whole(values: Iterable[float], what: str) -> tuple[int, ...]:
    listed = tuple(values)
    for each in listed:
        if not (math.isfinite(each) and each >= 1 and float(each).is_integer()):
            raise InputError(f"{what} is {each:g}", "shapes", "Give whole numbers from 1")
    return tuple(int(each) for each in listed)


def _number(text: str, where: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"cannot read {text.strip()!r} in {where!r}", "shapes", f"Give {_HOW}") from None
