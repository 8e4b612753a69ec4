"""`scalelaw laws`, `tasks`, `models`, `optimisers`, `importers`, ...: the members of an open set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._json import emit
from ._options import Json
from ._screen import say, table

if TYPE_CHECKING:
    from ..registry import OpenSet

__all__ = ["diagnostics", "engines", "figures", "importers", "laws", "models", "optimisers", "tasks", "trainers"]


def laws(*, as_json: Json = False) -> None:
    """List the laws with their formulas.

    Example: scalelaw laws
    """
    from ..laws import laws as members

    rows: list[dict[str, Any]] = []
    for name, law in members.items():
        inputs = ["any scale" if each == "x" else each for each in law.inputs]
        rows.append(
            {
                "name": name,
                "formula": law.formula,
                "parameters": list(law.names),
                "inputs": inputs,
                "reference": law.reference,
            }
        )
    if as_json:
        emit({"laws": rows})
        return
    say(f"{len(rows)} laws; name one with --law.", "bold")
    cells = [(row["name"], row["formula"], ", ".join(row["inputs"]), row["reference"]) for row in rows]
    table(("law", "formula", "over", "reference"), cells, left=("law", "formula", "over", "reference"))


def tasks(*, as_json: Json = False) -> None:
    """List what a study can train on."""
    from ..tasks import tasks as members

    _list(members, "Name one with `task =` in a study.", as_json)


def models(*, as_json: Json = False) -> None:
    """List the families of networks that a study can train."""
    from ..train.models import models as members

    _list(members, "Name one with `model =` in a study.", as_json)


def optimisers(*, as_json: Json = False) -> None:
    """List how networks can learn."""
    from ..train.optimisers import optimisers as members

    _list(members, "Name one with `optimiser =` among a study's hyperparameters.", as_json)


def importers(*, as_json: Json = False) -> None:
    """List the files and folders that `scalelaw import` reads."""
    from ..importers import importers as members

    _list(members, "Give the file or the folder; the importer that knows it reads it.", as_json)


def engines(*, as_json: Json = False) -> None:
    """List where a study's trials can be trained, with the options of each."""
    from ..engines import engines as members

    if as_json:
        rows = [{"name": name, "summary": each.summary, "options": dict(each.options)} for name, each in members.items()]
        emit({"engines": rows})
        return
    _list(members, "Name one with `scalelaw run --engine`; its options follow, each given as --option NAME=VALUE.", False)
    cells = [(name, option, told) for name, each in members.items() for option, told in each.options.items()]
    table(("engine", "option", "what it sets"), cells, left=("engine", "option", "what it sets"))


def trainers(*, as_json: Json = False) -> None:
    """List what can train a study's trials."""
    from ..trainers import trainers as members

    _list(members, "Choose one with a study's [trainer] table; without one it is the built-in.", as_json)


def figures(*, as_json: Json = False) -> None:
    """List what `scalelaw plot` draws."""
    from ..figures import figures as members

    _list(members, "Draw one with `scalelaw plot NAME DATA -o FILE`.", as_json)


def diagnostics(*, as_json: Json = False) -> None:
    """List what every forecast and verdict is checked for."""
    from ..diagnostics import diagnostics as members

    _list(members, "They are asked by themselves; what they find stands under each result.", as_json, "question")


def _list(members: OpenSet[Any], use: str, as_json: bool, told: str = "summary") -> None:
    rows = [{"name": name, "summary": str(getattr(member, told))} for name, member in members.items()]
    kind = f"{members.kind}s"
    if as_json:
        emit({kind: rows})
        return
    say(f"{len(rows)} {kind if len(rows) != 1 else members.kind}. {use}", "bold")
    table((members.kind, told), [(row["name"], row["summary"]) for row in rows], left=(members.kind, told))
