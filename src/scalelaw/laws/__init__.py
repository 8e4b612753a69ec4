"""Scaling laws, an open set: one file, one law. `laws["chinchilla"]` is the law; `laws.names()` lists them."""

from __future__ import annotations

from ..registry import OpenSet
from ._base import Example, Law, Linear, Parameter, Term, coefficient, exponent

__all__ = ["Example", "Law", "Linear", "Parameter", "Term", "coefficient", "exponent", "laws", "resolve"]

laws: OpenSet[Law] = OpenSet("scalelaw.laws", list(__path__), "law", Law)


def resolve(law: Law | str) -> Law:
    """A law from its name; `name:option` asks for a variant, for example `broken:2` for two breaks."""
    if isinstance(law, Law):
        return law
    name, _, option = law.partition(":")
    found = laws[name.strip()]
    return found.option(option.strip()) if option else found
