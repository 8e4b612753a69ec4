"""`scalelaw tag`, `exclude` and `include`: what people say of a store's trials."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError, printable
from ._json import emit
from ._options import Json
from ._screen import say

if TYPE_CHECKING:
    from ..store import Store

__all__ = ["exclude", "include", "tag"]

_Kept = Annotated[str, typer.Argument(metavar="STORE", help="The store: study.db, or postgresql://user@host/database.")]
_Which = Annotated[
    str,
    typer.Argument(metavar="WHERE", help='A condition such as "width <= 64", or ids, or how these begin: 3fa9,71c0.'),
]
_Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Tags.")]
_Remove = Annotated[bool, typer.Option("--remove", help="Take the tags away.")]
_Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the trials.")]


def tag(store: _Kept, where: _Which, names: _Names, *, remove: _Remove = False, as_json: Json = False) -> None:
    """Give trials tags, for --where "'pilot' in tags" of every command.

    Example: scalelaw tag study.db "width <= 64" pilot
    """
    word = ", ".join(names)
    done = f"no longer tagged {word}" if remove else f"tagged {word}"
    _change(store, where, lambda opened, ids: (opened.untag if remove else opened.tag)(ids, *names), done, as_json)


def exclude(store: _Kept, where: _Which, *, reason: _Reason, as_json: Json = False) -> None:
    """Leave trials out of every analysis, with the reason; they are kept, and not trained again.

    Example: scalelaw exclude study.db "learning_rate == 0.1 and seed == 3" --reason "the disk was full"
    """
    _change(store, where, lambda opened, ids: opened.exclude(ids, reason), f"left out ({reason})", as_json)


def include(store: _Kept, where: _Which, *, as_json: Json = False) -> None:
    """Undo `exclude`: trials are again what they were.

    Example: scalelaw include study.db "status == 'EXCLUDED'"
    """
    _change(store, where, lambda opened, ids: opened.include(ids), "no longer left out", as_json)


def _change(address: str, where: str, change: Callable[[Store, list[str]], int], done: str, as_json: bool) -> None:
    from ..store import Store

    with Store(address, read_only=True) as opened:  # what is not there is not made, and where nothing is meant nothing is touched
        ids = opened.find(where)
        if not ids:
            raise InputError(f"no trial meets {where!r}", opened.name, "Loosen the condition; scalelaw trials lists them")
    with Store(address) as opened:
        changed = change(opened, ids)
        if as_json:
            emit({"storage": opened.name, "matched": len(ids), "changed": changed, "ids": ids})
            return
        were = "" if changed == len(ids) else f"; {len(ids) - changed} were so before"
        say(printable(f"{changed} trial{'s are' if changed != 1 else ' is'} {done}{were}."))
